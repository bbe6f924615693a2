//! Snapshots and volumes of them on a real host: what a snapshot costs against what has changed since the last, and how soon a
//! volume of one can be used, whatever its size.
//!
//! What guests would write is written to the files of volumes that nobody has attached, by QEMU's own tool.

use crate::client::{Client, texts};
use crate::cloud::Cloud;
use crate::table;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Of volumes, in GiB.
const SIZES: [u64; 2] = [1, 16];
/// What a volume holds, in MiB.
const HELD: u64 = 256;
/// What changes between two snapshots, in MiB.
const CHANGED: [u64; 4] = [1, 8, 64, 256];
const RUNS: usize = 11;
const PATIENCE: Duration = Duration::from_mins(5);

pub fn run(nube: &Path) {
    let mut cloud = Cloud::new(nube, "linux");
    cloud.up();
    let mut client = cloud.client();
    let zones = client.call("DescribeAvailabilityZones", "");
    let zone = texts(zones, "zoneName")[0].to_owned();
    let (mut taken, mut made) = (Vec::new(), Vec::new());
    for size in SIZES {
        let volume = create(&mut client, &format!("&AvailabilityZone={zone}&Size={size}")).id;
        let mut snapshot = String::new();
        for (what, mebibytes) in
            std::iter::once(("first", HELD)).chain(CHANGED.map(|changed| ("next", changed)))
        {
            write(&cloud, &volume, mebibytes);
            let begun = Instant::now();
            let answer = client.call("CreateSnapshot", &format!("&VolumeId={volume}"));
            texts(answer, "snapshotId")[0].clone_into(&mut snapshot);
            let asked = format!("&SnapshotId.1={snapshot}");
            until(&mut client, "DescribeSnapshots", &asked, "completed");
            let took = begun.elapsed();
            eprintln!("  {size} GiB, {what}: {mebibytes} MiB in {}", table::time(took));
            taken.push(vec![
                format!("{size} GiB, {what} snapshot, {mebibytes} MiB changed"),
                table::time(took),
                table::time(took / u32::try_from(mebibytes).expect("some")),
            ]);
        }
        for (name, more) in [("", ""), (", encrypted", "&Encrypted=true")] {
            let (mut answered, mut usable) = (Vec::new(), Vec::new());
            for _ in 0..RUNS {
                let asked = format!("&AvailabilityZone={zone}&SnapshotId={snapshot}{more}");
                let Created { id, answered: call, usable: available } = create(&mut client, &asked);
                answered.push(call);
                usable.push(available);
                client.call("DeleteVolume", &format!("&VolumeId={id}"));
            }
            made.push(vec![
                format!("{size} GiB{name}"),
                table::time(table::median(&mut answered)),
                table::time(table::median(&mut usable)),
                table::time(table::percentile(&mut usable, 90)),
            ]);
        }
    }
    table::print("Snapshots: from the call to completed", &["", "all of it", "for each MiB changed"], &taken);
    table::print(
        &format!("Volumes of a snapshot that holds {HELD} MiB ({RUNS} runs)"),
        &["", "call answered", "usable, median", "usable, 90 %"],
        &made,
    );
}

struct Created {
    id: String,
    answered: Duration,
    usable: Duration,
}

/// Makes a volume and waits until it can be used.
fn create(client: &mut Client, parameters: &str) -> Created {
    let begun = Instant::now();
    let id = texts(client.call("CreateVolume", parameters), "volumeId")[0].to_owned();
    let answered = begun.elapsed();
    until(client, "DescribeVolumes", &format!("&VolumeId.1={id}"), "available");
    Created { id, answered, usable: begun.elapsed() }
}

fn until(client: &mut Client, action: &str, parameters: &str, state: &str) {
    let begun = Instant::now();
    while !texts(client.call(action, parameters), "status").contains(&state) {
        assert!(begun.elapsed() < PATIENCE, "{action}{parameters}: not {state}");
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Writes what was never there to the beginning of a volume that nobody has attached.
fn write(cloud: &Cloud, volume: &str, mebibytes: u64) {
    let noise = tempfile::NamedTempFile::new().unwrap();
    let mut random = std::fs::File::open("/dev/urandom").unwrap().take(mebibytes << 20);
    std::io::copy(&mut random, &mut noise.as_file()).unwrap();
    let file = cloud.data().join("volumes").join(format!("{volume}.qcow2"));
    let order = format!("write -q -s {} 0 {mebibytes}M", noise.path().display());
    let written = Command::new("qemu-io").args(["-f", "qcow2", "-c", &order]).arg(file).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
}
