//! A guest's disk by its own fio: a volume whose limits are out of reach, against the disk of a plain QEMU, in turns.
//!
//! Plain is what a person writes by hand: a qcow2 file of the same size in the same directory's file system, `if=virtio`,
//! `cache=none`. Both guests measure the same part of their disks, which they have written to before, with `O_DIRECT`.
//! fio is no part of the image: a disk made of the host's own brings it, with its loader and its libraries.

use crate::client::texts;
use crate::cloud::Cloud;
use crate::launch::{await_state, banner, boot_once};
use crate::plain::Plain;
use crate::subject::{NANO, Prepared};
use crate::table;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ROUNDS: usize = 11;
/// Of one pattern in one round.
const SECONDS: u32 = 1;
/// Of the disk that is measured: as much as 64,000 IOPS need.
const GIB: u32 = 64;
/// What of it is read and written.
const PART: &str = "1g";
const PATIENCE: Duration = Duration::from_mins(5);

/// Name, fio's `rw`, size of an operation, and how many at once.
const PATTERNS: [(&str, &str, &str, u32); 8] = [
    ("random reads of 4 KiB", "randread", "4k", 1),
    ("random reads of 4 KiB", "randread", "4k", 16),
    ("random writes of 4 KiB", "randwrite", "4k", 1),
    ("random writes of 4 KiB", "randwrite", "4k", 16),
    ("reads of 128 KiB in a row", "read", "128k", 4),
    ("writes of 128 KiB in a row", "write", "128k", 4),
    ("reads of 1 MiB in a row", "read", "1m", 4),
    ("writes of 1 MiB in a row", "write", "1m", 4),
];

pub fn run(nube: &Path) {
    let mut cloud = Cloud::new(nube, "linux");
    cloud.up_with(&["--templates", "off"]);
    let folder = TempDir::new().unwrap();
    let tool = tool(folder.path());
    let mut client = cloud.client();
    let prepared = NANO.prepare(&mut client);
    let recipe = boot_once(&cloud, &mut client, &prepared);

    let instance = texts(client.call("RunInstances", &prepared.request(1)), "instanceId")[0].to_owned();
    let address = await_state(&mut client, &instance, "running", Instant::now()).expect("a public address");
    let zone =
        texts(client.call("DescribeInstances", &format!("&InstanceId.1={instance}")), "availabilityZone");
    let zone = zone[0].to_owned();
    let mut disks = Vec::new();
    for (device, what) in
        [("/dev/sdf", "Size=1".to_owned()), ("/dev/sdg", format!("Size={GIB}&VolumeType=io2&Iops=64000"))]
    {
        let made = client.call("CreateVolume", &format!("&AvailabilityZone={zone}&{what}"));
        let volume = texts(made, "volumeId")[0].to_owned();
        let asked = format!("&VolumeId.1={volume}");
        until(|| texts(client.call("DescribeVolumes", &asked), "status").contains(&"available"));
        if device == "/dev/sdf" {
            let file = cloud.data().join("volumes").join(format!("{volume}.qcow2"));
            command(Command::new("qemu-img").args(["convert", "-n", "-O", "qcow2"]).args([&tool, &file]));
        }
        client.call("AttachVolume", &format!("&VolumeId={volume}&InstanceId={instance}&Device={device}"));
        until(|| texts(client.call("DescribeVolumes", &asked), "status").contains(&"attached"));
        disks.push(format!("/dev/disk/by-id/virtio-{}", volume.replace('-', "")));
    }
    let address = SocketAddr::new(address.parse().unwrap(), 22);
    let ours = Guest::ready(&prepared, address, &disks[0], &disks[1]);

    let file = folder.path().join("plain.qcow2");
    command(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&file).arg(format!("{GIB}G")));
    let machine = Plain::boot_with(
        &recipe,
        &[
            format!("file={},if=virtio,format=raw,readonly=on", tool.display()),
            format!("file={},if=virtio,format=qcow2,cache=none", file.display()),
        ],
    );
    let plain = Guest::ready(&prepared, machine.ssh, "/dev/vdb", "/dev/vdc");
    compare(&ours, &plain);
}

/// What both did in one round: operations a second of each pattern.
struct Round {
    ours: Vec<f64>,
    plain: Vec<f64>,
}

/// Rounds in turns, and the table of them.
fn compare(ours: &Guest<'_>, plain: &Guest<'_>) {
    let mut rounds = Vec::new();
    for n in 1..=ROUNDS {
        // Whoever comes first does not always come first.
        let round = if n % 2 == 1 {
            Round { ours: ours.measure(), plain: plain.measure() }
        } else {
            Round { plain: plain.measure(), ours: ours.measure() }
        };
        let told: Vec<String> =
            round.ours.iter().zip(&round.plain).map(|(ours, plain)| format!("{:.2}", ours / plain)).collect();
        eprintln!("  {n}: {}", told.join(" "));
        rounds.push(round);
    }
    let rows: Vec<Vec<String>> = PATTERNS
        .iter()
        .enumerate()
        .map(|(at, (name, _, size, depth))| {
            let of = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value).collect());
            let shown = |rate: f64| match *size {
                "4k" => format!("{rate:.0} /s"),
                "128k" => format!("{:.0} MiB/s", rate / 8.0),
                _ => format!("{rate:.0} MiB/s"),
            };
            vec![
                format!("{name}, {depth} at once"),
                shown(of(&|round| round.ours[at])),
                shown(of(&|round| round.plain[at])),
                format!("{:.2}", of(&|round| round.ours[at] / round.plain[at])),
            ]
        })
        .collect();
    table::print(
        &format!("A guest's disk by fio ({ROUNDS} rounds of {SECONDS} s each, in turns; medians)"),
        &["", "volume", "plain QEMU", "ratio"],
        &rows,
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A machine with fio and a disk.
struct Guest<'a> {
    prepared: &'a Prepared,
    address: SocketAddr,
    /// fio with all patterns, one after the other.
    fio: String,
}

impl<'a> Guest<'a> {
    /// Waits for it, and writes to what will be measured.
    fn ready(prepared: &'a Prepared, address: SocketAddr, tool: &str, disk: &str) -> Self {
        banner(address, prepared.subject.patience);
        let sees = format!("test -e {tool} && test -e {disk}");
        until(|| prepared.ssh(address, &sees).is_ok());
        let program = "sudo /fio/ld.so --library-path /fio/lib /fio/fio --output-format=json";
        let every = format!("--direct=1 --ioengine=libaio --thread --randrepeat=1 --size={PART} --filename=");
        let mut fio = format!("{program} {every}{disk} --time_based --runtime={SECONDS}");
        for (at, (_, pattern, size, depth)) in PATTERNS.iter().enumerate() {
            write!(fio, " --name={at} --stonewall --rw={pattern} --bs={size} --iodepth={depth}").unwrap();
        }
        let guest = Self { prepared, address, fio };
        guest.ssh(&format!("sudo mkdir -p /fio && sudo mount -t ext4 -o ro {tool} /fio"));
        // By its own name: a link is no disk to fio.
        let disk = guest.ssh(&format!("readlink -f {disk}"));
        guest.ssh(&format!("{program} {every}{} --name=first --rw=write --bs=1m --iodepth=4", disk.trim()));
        guest
    }

    fn ssh(&self, command: &str) -> String {
        self.prepared.ssh(self.address, command).unwrap_or_else(|failed| panic!("{command}: {failed}"))
    }

    /// Operations a second of each pattern, by the guest's clock.
    fn measure(&self) -> Vec<f64> {
        let said = self.ssh(&self.fio);
        let report: serde_json::Value = serde_json::from_str(&said[said.find('{').unwrap()..]).unwrap();
        let jobs = report["jobs"].as_array().unwrap();
        assert_eq!(jobs.len(), PATTERNS.len(), "{said}");
        let done = |job: &serde_json::Value| {
            let count = |way: &str| job[way]["total_ios"].as_f64().unwrap();
            (count("read") + count("write")) * 1000.0 / job["job_runtime"].as_f64().unwrap()
        };
        jobs.iter().map(done).collect()
    }
}

/// A file system with fio, its loader and its libraries; nothing is mounted for it.
fn tool(folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("lib")).unwrap();
    let program = Path::new("/usr/bin/fio");
    fs::copy(program, tree.join("fio")).expect("fio is installed");
    for line in command(Command::new("ldd").arg(program)).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words {
            [name, "=>", file, _] => fs::copy(file, tree.join("lib").join(name)).unwrap(),
            [loader, _] if loader.starts_with('/') => fs::copy(loader, tree.join("ld.so")).unwrap(),
            _ => continue,
        };
    }
    let disk = folder.join("fio.ext4");
    let mut made = Command::new("mke2fs");
    made.args(["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"]).args([&tree, &disk]).arg("256M");
    command(&mut made);
    disk
}

/// Runs a program to its end; what it printed.
fn command(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited for in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}
