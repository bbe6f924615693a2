//! A hundred thousand simulated instances: what they take of memory, and what a request costs among them.

use crate::client::{Client, texts};
use crate::cloud::Cloud;
use crate::load::{Load, timed};
use crate::{process, table};
use std::path::Path;
use std::time::{Duration, Instant};

const INSTANCES: usize = 100_000;
/// Of one launch.
const FILL: usize = 500;
/// Two VPCs of two halves each hold 131,052 addresses.
const NETWORKS: [(&str, [&str; 2]); 2] =
    [("10.1.0.0/16", ["10.1.0.0/17", "10.1.128.0/17"]), ("10.2.0.0/16", ["10.2.0.0/17", "10.2.128.0/17"])];

pub fn run(nube: &Path) {
    let mut cloud = Cloud::new(nube, "sim");
    cloud.up();
    let mut client = cloud.client();
    let image = texts(client.call("DescribeImages", ""), "imageId")[0].to_owned();
    let mut subnets = Vec::new();
    for (block, halves) in NETWORKS {
        let vpc = texts(client.call("CreateVpc", &format!("&CidrBlock={block}")), "vpcId")[0].to_owned();
        for half in halves {
            let made = client.call("CreateSubnet", &format!("&VpcId={vpc}&CidrBlock={half}"));
            subnets.push(texts(made, "subnetId")[0].to_owned());
        }
    }
    let (begun, mut ids) = (Instant::now(), Vec::with_capacity(INSTANCES));
    while ids.len() < INSTANCES {
        let subnet = &subnets[ids.len() / FILL % subnets.len()];
        let body = client.call(
            "RunInstances",
            &format!(
                "&ImageId={image}&InstanceType=t3.nano&MinCount={FILL}&MaxCount={FILL}&SubnetId={subnet}"
            ),
        );
        ids.extend(texts(body, "instanceId").into_iter().map(str::to_owned));
    }
    let launched = begun.elapsed();
    await_all(&mut client);
    let running = begun.elapsed();
    let pss = process::pss_kib(cloud.pid());
    let load = Load { clients: 1, requests: 20_000, time: Duration::from_secs(5) };
    let by_id = load.run(&cloud, |client, n| {
        timed(
            client,
            "DescribeInstances",
            &format!("&InstanceId.1={}", ids[n.wrapping_mul(7919) % ids.len()]),
        )
    });
    let after = process::pss_kib(cloud.pid());
    let mib = |kib: u64| format!("{} MiB", kib / 1024);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("launched, in calls of 500", table::time(launched)),
        row("all running, from the first call", table::time(running)),
        row("memory (PSS)", mib(pss)),
        row("memory after reading some of them", mib(after)),
    ];
    let [_, _, _, p50, p99, rate, cpu]: [String; 7] = by_id.row("", 1).try_into().unwrap();
    rows.push(row("DescribeInstances by id: p50, p99", format!("{p50}, {p99}")));
    rows.push(row("  requests/s, server CPU/request", format!("{rate}, {cpu}")));
    table::print(&format!("{INSTANCES} simulated instances"), &["", ""], &rows);
}

fn await_all(client: &mut Client) {
    let pending = "&Filter.1.Name=instance-state-name&Filter.1.Value.1=pending&MaxResults=5";
    while client.call("DescribeInstances", pending).contains("<instanceId>") {
        std::thread::sleep(Duration::from_millis(200));
    }
}
