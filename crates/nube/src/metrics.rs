//! The numbers of a running cloud in Prometheus' text format: over HTTP at a loopback address (`--metrics`), and for the
//! operator as `nube metrics`.
//!
//! Never on the API's own port: guests and others reach that one, and metrics ask nobody who they are.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use crate::admin::{self, Question, Reconcilers};
use crate::cli::Data;
use crate::cloud_files::CloudDir;
use crate::{lock, process, terminal};
use anyhow::Result;
use control::Tables;
use control::metrics::{BOUNDS_MICROS, Histogram, OperationMetrics};
use gateway::Gateway;
use model::Region;
use model::record::instance::Instance;
use model::record::volume::Volume;
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// `nube metrics`.
pub fn run(data: &Data) -> Result<ExitCode> {
    let dir = CloudDir::existing(&data.data)?;
    let text: String = admin::ask(&dir, &Question::Metrics)?;
    terminal::say(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// What the numbers are read from.
pub struct Metrics {
    dir: CloudDir,
    gateway: Arc<Gateway>,
    reconcilers: Reconcilers,
}

impl Metrics {
    pub fn new(dir: &CloudDir, gateway: Arc<Gateway>, reconcilers: Reconcilers) -> Self {
        Self { dir: dir.clone(), gateway, reconcilers }
    }

    pub fn render(&self) -> String {
        let mut text = Exposition::default();
        text.family("nube_build_info", "gauge", "The version of the program.");
        text.sample("nube_build_info", &[("version", &env!("CARGO_PKG_VERSION"))], 1);
        self.requests(&mut text);
        self.work(&mut text);
        self.host(&mut text);
        self.processes(&mut text);
        text.0
    }

    /// The requests, operation by operation; those that nobody called yet are left out.
    fn requests(&self, text: &mut Exposition) {
        let of_services = self.gateway.services.iter().flat_map(|service| {
            service.all_metrics().map(move |(operation, metrics)| (service.shape().name, operation, metrics))
        });
        let unrouted = ("none", "other", &self.gateway.cloud.metrics.unrouted);
        let called: Vec<(&str, &str, &OperationMetrics)> = of_services
            .chain([unrouted])
            .filter(|(_, _, metrics)| metrics.latency.cumulative()[BOUNDS_MICROS.len()] > 0)
            .collect();
        text.family("nube_requests_total", "counter", "Requests answered, by the code that the caller saw.");
        for (service, operation, metrics) in &called {
            let mut counts = metrics.failed();
            if metrics.succeeded() > 0 {
                counts.insert("ok".to_owned(), metrics.succeeded());
            }
            for (code, count) in &counts {
                let labels: &Labels<'_> = &[("service", service), ("operation", operation), ("code", code)];
                text.sample("nube_requests_total", labels, count);
            }
        }
        let name = "nube_request_duration_seconds";
        text.family(name, "histogram", "From a request's last byte to its answer.");
        for (service, operation, metrics) in &called {
            text.histogram(name, &[("service", service), ("operation", operation)], &metrics.latency);
        }
    }

    /// Commits, reconcilers, traces.
    fn work(&self, text: &mut Exposition) {
        let metrics = &self.gateway.cloud.metrics;
        let name = "nube_store_commit_duration_seconds";
        text.family(name, "histogram", "From a decision to when it is on the disk and shows in the view.");
        text.histogram(name, &[], &metrics.commits);
        text.family("nube_store_conflicts_total", "counter", "Transactions that were decided again.");
        text.sample("nube_store_conflicts_total", &[], metrics.conflicts());
        text.family(
            "nube_store_commit_failures_total",
            "counter",
            "Transactions that the store did not take.",
        );
        text.sample("nube_store_commit_failures_total", &[], metrics.commit_failures());
        let reconcilers = metrics.reconcilers();
        let name = "nube_reconcile_duration_seconds";
        text.family(name, "histogram", "How long a run of a reconciler takes.");
        for (reconciler, metrics) in &reconcilers {
            text.histogram(name, &[("reconciler", reconciler)], &metrics.duration);
        }
        let name = "nube_reconcile_lag_seconds";
        text.family(name, "histogram", "From when a run was due to its start.");
        for (reconciler, metrics) in &reconcilers {
            text.histogram(name, &[("reconciler", reconciler)], &metrics.lag);
        }
        text.family("nube_reconcile_failures_total", "counter", "Runs of reconcilers that failed.");
        for (reconciler, metrics) in &reconcilers {
            text.sample("nube_reconcile_failures_total", &[("reconciler", reconciler)], metrics.failed());
        }
        let failing = (self.reconcilers)().iter().filter(|object| object.last_error.is_some()).count();
        text.family("nube_reconcile_failing", "gauge", "Objects for which the latest run failed.");
        text.sample("nube_reconcile_failing", &[], failing);
        text.family("nube_spans_dropped_total", "counter", "Spans that the trace exporter had no room for.");
        text.sample("nube_spans_dropped_total", &[], self.gateway.cloud.spans.dropped());
    }

    /// The host and what it carries.
    fn host(&self, text: &mut Exposition) {
        let cloud = &self.gateway.cloud;
        let tables = cloud.view.read();
        let (instances, volumes, room) = (instances(&tables), volumes(&tables), admin::room(cloud, &tables));
        let revision = tables.revision();
        drop(tables);
        text.family("nube_store_revision", "counter", "Commits since the cloud was made.");
        text.sample("nube_store_revision", &[], revision);
        text.family("nube_instances", "gauge", "Instances by state.");
        for ((region, state), count) in &instances {
            text.sample("nube_instances", &[("region", region), ("state", state)], count);
        }
        text.family("nube_volumes", "gauge", "Volumes by state.");
        for ((region, state), (count, _)) in &volumes {
            text.sample("nube_volumes", &[("region", region), ("state", state)], count);
        }
        text.family("nube_volume_bytes", "gauge", "The sizes of volumes together, by state.");
        for ((region, state), (_, gib)) in &volumes {
            text.sample("nube_volume_bytes", &[("region", region), ("state", state)], gib << 30);
        }
        text.family("nube_host_connected", "gauge", "Whether the host's agent is connected.");
        text.sample("nube_host_connected", &[], u8::from(cloud.host.is_connected()));
        let Some(room) = room else { return };
        for (name, help, value) in [
            ("nube_host_vcpus", "Virtual CPUs that the host may promise.", room.vcpus),
            ("nube_host_vcpus_promised", "Virtual CPUs promised to instances.", room.vcpus_used),
            ("nube_host_memory_bytes", "Memory that the host may promise.", room.memory_mib << 20),
            ("nube_host_memory_promised_bytes", "Memory promised to instances.", room.memory_mib_used << 20),
        ] {
            text.family(name, "gauge", help);
            text.sample(name, &[], value);
        }
    }

    /// Our own processes; the server's by the names that every Prometheus client uses.
    fn processes(&self, text: &mut Exposition) {
        if let Some(usage) = process::usage(std::process::id()) {
            text.family("process_cpu_seconds_total", "counter", "Processor time of the server.");
            text.sample("process_cpu_seconds_total", &[], usage.cpu_seconds);
            text.family("process_resident_memory_bytes", "gauge", "Memory of the server.");
            text.sample("process_resident_memory_bytes", &[], usage.resident_bytes);
            text.family("process_threads", "gauge", "Threads of the server.");
            text.sample("process_threads", &[], usage.threads);
            if let Some(open) = usage.open_files {
                text.family("process_open_fds", "gauge", "Open descriptors of the server.");
                text.sample("process_open_fds", &[], open);
            }
            if let Some(started) = usage.started {
                text.family("process_start_time_seconds", "gauge", "When the server started.");
                text.sample("process_start_time_seconds", &[], started);
            }
        }
        let holder = |name| {
            let pid = lock::holder(&self.dir.run(), name)?.as_raw_nonzero().get().cast_unsigned();
            Some((name, process::usage(pid)?))
        };
        let others: Vec<_> = ["up", "agent", "blockd"].into_iter().filter_map(holder).collect();
        text.family(
            "nube_process_cpu_seconds_total",
            "counter",
            "Processor time of the cloud's other processes.",
        );
        for (name, usage) in &others {
            text.sample("nube_process_cpu_seconds_total", &[("process", name)], usage.cpu_seconds);
        }
        text.family("nube_process_resident_memory_bytes", "gauge", "Memory of the cloud's other processes.");
        for (name, usage) in &others {
            text.sample("nube_process_resident_memory_bytes", &[("process", name)], usage.resident_bytes);
        }
    }
}

fn instances(tables: &Tables) -> BTreeMap<(String, &'static str), u64> {
    let mut counts: BTreeMap<(&Region, &'static str), u64> = BTreeMap::new();
    for (region, instance) in tables.everywhere::<Instance>() {
        *counts.entry((region, instance.phase.name())).or_default() += 1;
    }
    counts.into_iter().map(|((region, state), count)| ((region.to_string(), state), count)).collect()
}

fn volumes(tables: &Tables) -> BTreeMap<(String, &'static str), (u64, u64)> {
    let mut counts: BTreeMap<(&Region, &'static str), (u64, u64)> = BTreeMap::new();
    for (region, volume) in tables.everywhere::<Volume>() {
        let state = volume.state_name();
        let (count, gib) = counts.entry((region, state)).or_default();
        *count += 1;
        *gib += u64::from(volume.size().0);
    }
    counts.into_iter().map(|((region, state), counted)| ((region.to_string(), state), counted)).collect()
}

type Labels<'a> = [(&'a str, &'a dyn Display)];

#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn histogram(&mut self, name: &str, labels: &Labels<'_>, histogram: &Histogram) {
        let (counts, bucket) = (histogram.cumulative(), format!("{name}_bucket"));
        let bounds = BOUNDS_MICROS.map(|micros| (micros as f64 / 1e6).to_string());
        for (le, count) in bounds.iter().map(String::as_str).chain(["+Inf"]).zip(counts) {
            let labels: Vec<(&str, &dyn Display)> =
                labels.iter().copied().chain([("le", &le as &dyn Display)]).collect();
            self.sample(&bucket, &labels, count);
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), labels, counts[BOUNDS_MICROS.len()]);
    }
}

/// A scraper that takes longer than this has gone.
const PATIENCE: Duration = Duration::from_secs(5);
const REQUEST: usize = 8 << 10;

/// Answers `GET /metrics` until dropped.
pub async fn serve(metrics: Arc<Metrics>, listener: TcpListener) {
    let few = Arc::new(Semaphore::new(8));
    loop {
        let Ok(slot) = Arc::clone(&few).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            let answered = tokio::time::timeout(PATIENCE, answer(&metrics, stream)).await;
            if !matches!(answered, Ok(Ok(()))) {
                tracing::debug!("a scrape of the metrics ended early");
            }
            drop(slot);
        });
    }
}

async fn answer(metrics: &Metrics, mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > REQUEST || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let target = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix("GET ")?.split(' ').next());
    let (status, body) = match target.map(|target| target.split('?').next().unwrap_or_default()) {
        Some("/metrics" | "/_nube/metrics") => ("200 OK", metrics.render()),
        Some(_) => ("404 Not Found", "The metrics are at /metrics.\n".to_owned()),
        None => ("405 Method Not Allowed", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_a_histogram_adds_up() {
        let mut text = Exposition::default();
        text.family("x", "gauge", "Help.");
        text.sample("x", &[("a", &"q\"\\\n"), ("b", &1)], 2.5);
        text.sample("x", &[], 3);
        assert_eq!(text.0, "# HELP x Help.\n# TYPE x gauge\nx{a=\"q\\\"\\\\\\n\",b=\"1\"} 2.5\nx 3\n");
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(20));
        histogram.record(Duration::from_mins(1));
        let mut text = Exposition::default();
        text.histogram("h", &[("s", &"ec2")], &histogram);
        let lines: Vec<&str> = text.0.lines().collect();
        assert_eq!(lines[0], "h_bucket{s=\"ec2\",le=\"0.00001\"} 0");
        assert_eq!(lines[1], "h_bucket{s=\"ec2\",le=\"0.000025\"} 1");
        assert_eq!(lines[BOUNDS_MICROS.len()], "h_bucket{s=\"ec2\",le=\"+Inf\"} 2");
        assert_eq!(lines[BOUNDS_MICROS.len() + 1..], ["h_sum{s=\"ec2\"} 60.00002", "h_count{s=\"ec2\"} 2"]);
    }
}
