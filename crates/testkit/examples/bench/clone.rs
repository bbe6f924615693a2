//! Launches that are resumed from a memory template, against a plain QEMU that boots the same disk in the same run: alone, ten at
//! once, and what each takes of the host's memory beside a machine that booted.

use crate::client::{Client, texts};
use crate::cloud::Cloud;
use crate::launch::{alternate, await_state, banner, boot_once, open_ssh};
use crate::plain::Recipe;
use crate::{process, table};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const RUNS: usize = 11;
const AT_ONCE: usize = 10;
/// Until what a start set going has ended.
const SETTLE: Duration = Duration::from_secs(5);

pub fn run(nube: &Path) {
    let mut cloud = Cloud::new(nube, "linux");
    // All that are launched at once have processors promised to them.
    cloud.up_with(&["--cpu-overcommit", "16"]);
    let mut client = cloud.client();
    let image = open_ssh(&mut client);
    // There is no template yet.
    let recipe = boot_once(&cloud, &mut client, &image);
    let begun = Instant::now();
    let built = Command::new(nube)
        .args(["template", "build", &image, "t3.nano", "--wait", "--data"])
        .arg(cloud.data())
        .stdout(std::process::Stdio::null())
        .status();
    assert!(built.unwrap().success(), "no template");
    let building = begun.elapsed();
    alone(&mut client, &image, &recipe, building);
    together(&mut client, &image);
}

fn alone(client: &mut Client, image: &str, recipe: &Recipe, building: Duration) {
    let mut rows = alternate(client, image, recipe, RUNS);
    rows.push(vec!["the template was built in".into(), table::time(building), String::new()]);
    table::print(
        &format!(
            "Clone of a t3.nano with the nano image ({RUNS} runs, medians; each alternating with plain QEMU)"
        ),
        &["", "median", "to plain QEMU"],
        &rows,
    );
}

fn together(client: &mut Client, image: &str) {
    let begun = Instant::now();
    let request = format!("&ImageId={image}&InstanceType=t3.nano&MinCount={AT_ONCE}&MaxCount={AT_ONCE}");
    let made = client.call("RunInstances", &request);
    let ids: Vec<String> = texts(made, "instanceId").into_iter().map(str::to_owned).collect();
    let mut cpu = Vec::new();
    for id in &ids {
        let address = await_state(client, id, "running", begun).expect("a public address");
        banner(SocketAddr::new(address.parse().unwrap(), 22));
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
    banner(SocketAddr::new(address.parse().unwrap(), 22));
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
