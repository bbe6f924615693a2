//! The API on simulated machines: latency, rate and server CPU of each kind of request, by how much there is.

use crate::client::{Client, texts};
use crate::cloud::Cloud;
use crate::load::{Load, Measured, timed};
use crate::table;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Default subnets hold some 4,091 addresses each, and there are three: the launches stay below.
const PRESENT: [usize; 3] = [1, 1_000, 10_000];
/// Of one filling launch.
const FILL: usize = 500;
/// One in so many instances carries the tag that the filtered describe asks for.
const TAGGED: usize = 100;

pub fn run(nube: &Path) {
    let mut cloud = Cloud::new(nube, "sim");
    cloud.up();
    let mut bench = Bench {
        client: cloud.client(),
        cloud,
        rows: Vec::new(),
        ids: Vec::new(),
        launches: 0,
        image: String::new(),
    };
    bench.image = texts(bench.client.call("DescribeImages", ""), "imageId")[0].to_owned();
    let sync = disk_sync(&bench.cloud.data());
    for present in PRESENT {
        bench.fill(present);
        bench.describes(present);
        bench.writes(present);
    }
    let title = format!(
        "API of nube up --host sim, signed requests over loopback\n  \
         (launches return when durable; one 4 KiB append with fdatasync takes {} here;\n  \
         a launch's CPU includes taking its instances to running)",
        table::time(sync)
    );
    table::print(&title, &Measured::HEADINGS, &bench.rows);
}

struct Bench {
    cloud: Cloud,
    client: Client,
    rows: Vec<Vec<String>>,
    /// Of all instances so far.
    ids: Vec<String>,
    launches: usize,
    image: String,
}

impl Bench {
    fn measure(&mut self, name: &str, load: &Load, call: impl Fn(&mut Client, usize) -> Duration + Sync) {
        let measured = load.run(&self.cloud, call);
        let row = measured.row(name, load.clients);
        eprintln!("  {}", row.join("  "));
        self.rows.push(row);
    }

    /// Launches until there are so many, and waits until all run.
    fn fill(&mut self, present: usize) {
        self.reconnect();
        let (begun, before) = (Instant::now(), self.ids.len());
        while self.ids.len() < present {
            let count = FILL.min(present - self.ids.len());
            // A small part gets a tag, by launches of its own.
            let tagged = (count / TAGGED).max(1);
            self.launch(tagged, "&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=role&TagSpecification.1.Tag.1.Value=web");
            if count > tagged {
                self.launch(count - tagged, "");
            }
        }
        let launched = begun.elapsed();
        while !self.settled("&Filter.1.Name=instance-state-name&Filter.1.Value.1=pending&MaxResults=5") {
            std::thread::sleep(Duration::from_millis(20));
        }
        let (made, running) = (self.ids.len() - before, begun.elapsed());
        eprintln!(
            "{made} instances launched in {}, all running after {}",
            table::time(launched),
            table::time(running)
        );
    }

    /// The server closes a connection that was idle while others measured.
    fn reconnect(&mut self) {
        self.client = self.cloud.client();
    }

    fn settled(&mut self, query: &str) -> bool {
        !self.client.call("DescribeInstances", query).contains("<instanceId>")
    }

    fn launch(&mut self, count: usize, more: &str) {
        let parameters = launch_parameters(&self.image, self.launches, count) + more;
        self.launches += 1;
        let body = self.client.call("RunInstances", &parameters);
        self.ids.extend(texts(body, "instanceId").into_iter().map(str::to_owned));
    }

    fn describes(&mut self, present: usize) {
        let ids = self.ids.clone();
        let by_id = |client: &mut Client, n: usize| {
            // A step that meets all of them, far apart.
            let id = &ids[n.wrapping_mul(7919) % ids.len()];
            timed(client, "DescribeInstances", &format!("&InstanceId.1={id}"))
        };
        if present > 1 {
            // What was launched since it was last asked for is rendered now, and kept.
            let load = Load { clients: 1, requests: ids.len(), time: Duration::from_secs(10) };
            let name = format!("DescribeInstances by id, {present} present, each once");
            self.measure(&name, &load, by_id);
        }
        for clients in [1, 8] {
            let load = Load { clients, requests: 20_000, time: Duration::from_secs(5) };
            self.measure(&format!("DescribeInstances by id, {present} present"), &load, by_id);
        }
        if present == 1 {
            for clients in [1, 8] {
                let load = Load { clients, requests: 20_000, time: Duration::from_secs(5) };
                self.measure("DescribeVpcs", &load, |client, _| timed(client, "DescribeVpcs", ""));
            }
            return;
        }
        let load = Load { clients: 1, requests: 100, time: Duration::from_secs(5) };
        for (what, query) in [
            ("filtered by tag", "&Filter.1.Name=tag:role&Filter.1.Value.1=web"),
            ("filtered by address", "&Filter.1.Name=private-ip-address&Filter.1.Value.1=172.31.0.9"),
            ("first page of 1,000", "&MaxResults=1000"),
            ("unpaged", ""),
        ] {
            self.measure(&format!("DescribeInstances {what}, {present} present"), &load, |client, _| {
                timed(client, "DescribeInstances", query)
            });
        }
    }

    fn writes(&mut self, present: usize) {
        let image = self.image.clone();
        let first = self.launches;
        for (count, requests) in [(1, 100), (100, 5)] {
            let load = Load { clients: 1, requests, time: Duration::from_secs(10) };
            self.measure(&format!("RunInstances of {count}, {present} present"), &load, |client, n| {
                let begun = Instant::now();
                let body = client.call("RunInstances", &launch_parameters(&image, first + n, count));
                let took = begun.elapsed();
                let ids: Vec<String> = texts(body, "instanceId").into_iter().map(str::to_owned).collect();
                await_state(client, &ids, "pending");
                took
            });
        }
        self.reconnect();
        let running = self.client.call("DescribeInstances", "");
        self.ids = texts(running, "instanceId").into_iter().map(str::to_owned).collect();
        // The last ones of the order of ids: spread over all launches.
        let stopped = self.ids.split_off(self.ids.len().saturating_sub(100).max(1));
        let load = Load { clients: 1, requests: stopped.len(), time: Duration::from_secs(10) };
        self.measure(&format!("StopInstances of 1, {present} present"), &load, |client, n| {
            let id = &stopped[n];
            let took = timed(client, "StopInstances", &format!("&InstanceId.1={id}"));
            await_state(client, std::slice::from_ref(id), "stopping");
            took
        });
        // Stopped ones are there like any other.
        self.ids.extend(stopped);
    }
}

/// Waits until none of these is in this state any more.
fn await_state(client: &mut Client, ids: &[String], state: &str) {
    let mut query = format!("&Filter.1.Name=instance-state-name&Filter.1.Value.1={state}");
    for (at, id) in ids.iter().enumerate() {
        let _ = write!(query, "&InstanceId.{}={id}", at + 1);
    }
    while client.call("DescribeInstances", &query).contains("<instanceId>") {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Launches go round the zones, as one subnet is too small for all.
fn launch_parameters(image: &str, number: usize, count: usize) -> String {
    let zone = ["a", "b", "c"][number % 3];
    format!(
        "&ImageId={image}&InstanceType=t3.nano&MinCount={count}&MaxCount={count}&Placement.AvailabilityZone=us-east-1{zone}"
    )
}

/// What one durable append costs on the disk that holds the store.
fn disk_sync(folder: &Path) -> Duration {
    let path = folder.join("sync-probe");
    let mut file = File::create(&path).unwrap();
    let mut took: Vec<Duration> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[0; 4096]).unwrap();
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    std::fs::remove_file(&path).unwrap();
    table::median(&mut took)
}
