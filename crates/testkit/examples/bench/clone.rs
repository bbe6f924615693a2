//! Launches that are resumed from a memory template, against a plain QEMU that boots the same disk in the same run: alone, ten at
//! once, and what each takes of the host's memory beside a machine that booted.

use crate::client::{Client, texts};
use crate::cloud::Cloud;
use crate::launch::{Rounds, alternate, await_state, banner, boot_once};
use crate::subject::{DEBIAN, NANO, Prepared, Subject};
use crate::{process, table};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const NANOS: Rounds = Rounds { launches: 11, plain: 11 };
/// A plain Debian boots for minutes.
const DEBIANS: Rounds = Rounds { launches: 10, plain: 3 };
const AT_ONCE: usize = 10;
/// Until what a start set going has ended.
const SETTLE: Duration = Duration::from_secs(5);

pub fn run(nube: &Path) {
    let (cloud, mut client, prepared) = alone(nube, &NANO, NANOS);
    together(&mut client, &prepared);
    drop(cloud);
}

pub fn run_debian(nube: &Path) {
    alone(nube, &DEBIAN, DEBIANS);
}

/// One at a time, in turns with plain machines.
fn alone(nube: &Path, subject: &'static Subject, rounds: Rounds) -> (Cloud, Client, Prepared) {
    let mut cloud = Cloud::new(nube, "linux");
    // All that are launched at once have processors promised to them.
    cloud.up_with(&["--cpu-overcommit", "16"]);
    let mut client = cloud.client();
    let prepared = subject.prepare(&mut client);
    // There is no template yet.
    let recipe = boot_once(&cloud, &mut client, &prepared);
    let begun = Instant::now();
    let built = Command::new(nube)
        .args(["template", "build", &prepared.image, subject.instance_type, "--wait", "--data"])
        .arg(cloud.data())
        .stdout(std::process::Stdio::null())
        .status();
    assert!(built.unwrap().success(), "no template");
    let building = begun.elapsed();
    let mut rows = alternate(&mut client, &prepared, &recipe, rounds);
    rows.push(vec!["the template was built in".into(), table::time(building), String::new()]);
    let (launches, plain) = (rounds.launches, rounds.plain);
    table::print(
        &format!(
            "Clone of a {} ({launches} runs, {plain} of plain QEMU between them, medians)",
            subject.title()
        ),
        &["", "median", "to plain QEMU"],
        &rows,
    );
    (cloud, client, prepared)
}

fn together(client: &mut Client, prepared: &Prepared) {
    let begun = Instant::now();
    let made = client.call("RunInstances", &prepared.request(AT_ONCE));
    let ids: Vec<String> = texts(made, "instanceId").into_iter().map(str::to_owned).collect();
    let mut cpu = Vec::new();
    for id in &ids {
        let address = await_state(client, id, "running", begun).expect("a public address");
        banner(SocketAddr::new(address.parse().unwrap(), 22), prepared.subject.patience);
        cpu.push(process::cpu(pid(id)));
    }
    let last = begun.elapsed();
    let one = cpu.iter().sum::<Duration>() / cpu.len() as u32;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let bound = one.mul_f64(1.25 * AT_ONCE as f64 / cores as f64);
    std::thread::sleep(SETTLE);
    let clones: u64 = ids.iter().map(|id| process::pss_kib(pid(id))).sum::<u64>() / ids.len() as u64;
    // The same machine in its second run, which boots.
    let query = format!("&InstanceId.1={}", ids[0]);
    client.call("StopInstances", &query);
    await_state(client, &ids[0], "stopped", Instant::now());
    client.call("StartInstances", &query);
    let address = await_state(client, &ids[0], "running", Instant::now()).expect("a public address");
    banner(SocketAddr::new(address.parse().unwrap(), 22), prepared.subject.patience);
    std::thread::sleep(SETTLE);
    let cold = process::pss_kib(pid(&ids[0]));
    for id in &ids {
        client.call("TerminateInstances", &format!("&InstanceId.1={id}"));
    }
    for id in &ids {
        await_state(client, id, "terminated", Instant::now());
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mib = |kib: u64| format!("{} MiB", kib / 1024);
    table::print(
        &format!("{AT_ONCE} clones at once"),
        &["", ""],
        &[
            row("RunInstances to the last ssh banner", table::time(last)),
            row("processor time of one until its banner was seen", table::time(one)),
            row(&format!("1.25 × {AT_ONCE} × that / {cores} cores"), table::time(bound)),
            row("memory (PSS) of an idle clone", mib(clones)),
            row("memory (PSS) of a machine that booted, beside them", mib(cold)),
            row("ratio", format!("{:.2}", clones as f64 / cold as f64)),
        ],
    );
}

fn pid(id: &str) -> u32 {
    process::of("-name", id).expect("a running machine has a process")
}
