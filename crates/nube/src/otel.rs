//! Traces for an OpenTelemetry collector: spans of requests and reconcilers, in batches, as OTLP over HTTP in JSON.
//!
//! Written by hand rather than with OpenTelemetry's own crates: those bring an SDK, protobuf and an HTTP client for what is
//! one stable JSON document. Nothing waits for a collector: spans that it is too slow for are dropped and counted.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use crate::http;
use anyhow::{Context as _, Result, bail};
use control::Cloud;
use control::span::{Span, SpanKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::ToSocketAddrs as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Spans that wait for their batch.
const WAITING: usize = 8192;
const BATCH: usize = 512;
/// How long a batch is waited for.
const GATHER: Duration = Duration::from_secs(1);
/// How often a collector that is away is complained about.
const COMPLAIN: Duration = Duration::from_mins(1);
/// How long the end of the server may wait for the last batch.
const LAST: Duration = Duration::from_secs(3);

/// Where a collector listens: `http://HOST:PORT[/PATH]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Collector {
    authority: String,
    path: String,
}

impl FromStr for Collector {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(rest) = text.strip_prefix("http://") else {
            bail!("a collector's URL begins with http://; let one on this host carry the traces on over TLS");
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
        if authority.is_empty() || !plain(authority) || !plain(path) {
            bail!("\"{text}\" is no collector's URL, such as http://127.0.0.1:4318");
        }
        let port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if port { authority.to_owned() } else { format!("{authority}:4318") };
        Ok(Self { authority, path: path.trim_end_matches('/').to_owned() })
    }
}

impl TryFrom<String> for Collector {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Collector> for String {
    fn from(collector: Collector) -> Self {
        format!("http://{}/{}", collector.authority, collector.path)
    }
}

impl Collector {
    fn send(&self, body: &[u8]) -> Result<()> {
        let address = self.authority.to_socket_addrs().context("cannot look the collector up")?.next();
        let address = address.with_context(|| format!("{} has no address", self.authority))?;
        let path = format!("{}{}/v1/traces", if self.path.is_empty() { "" } else { "/" }, self.path);
        let headers = [
            ("host".to_owned(), self.authority.clone()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        let (status, _) = http::exchange(address, "POST", &path, &headers, body)?;
        if !(200..300).contains(&status) {
            bail!("the collector answers {status}");
        }
        Ok(())
    }
}

/// The task that sends spans.
pub struct Exporter {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Sends what is left.
    pub async fn finish(self) {
        let _ = self.end.send(());
        if tokio::time::timeout(LAST, self.task).await.is_err() {
            tracing::warn!("the last traces were not taken in time");
        }
    }
}

/// Sends the cloud's spans there from now on.
pub fn export(cloud: &Arc<Cloud>, collector: Collector) -> Exporter {
    let (sender, receiver) = mpsc::channel(WAITING);
    cloud.spans.export_to(sender);
    let (end, ended) = oneshot::channel();
    let instance = cloud.settings.tag.to_string();
    tracing::info!(collector = String::from(collector.clone()), "sending traces");
    Exporter { end, task: tokio::spawn(run(receiver, collector, instance, ended)) }
}

async fn run(
    mut spans: mpsc::Receiver<Span>,
    collector: Collector,
    instance: String,
    mut ended: oneshot::Receiver<()>,
) {
    let mut complained: Option<Instant> = None;
    let mut last = false;
    while !last {
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            _ = &mut ended => last = true,
        }
        let mut batch = Vec::new();
        while let Ok(span) = spans.try_recv() {
            batch.push(span);
            if batch.len() == BATCH {
                deliver(&collector, &instance, &mut batch, &mut complained).await;
            }
        }
        if !batch.is_empty() {
            deliver(&collector, &instance, &mut batch, &mut complained).await;
        }
    }
}

async fn deliver(
    collector: &Collector,
    instance: &str,
    batch: &mut Vec<Span>,
    complained: &mut Option<Instant>,
) {
    let (to, spans) = (collector.clone(), batch.len());
    let body = render(instance, batch).to_string();
    batch.clear();
    let sent = tokio::task::spawn_blocking(move || to.send(body.as_bytes())).await;
    let sent = sent.map_err(anyhow::Error::from).and_then(|sent| sent);
    let Err(error) = sent else { return };
    if complained.is_none_or(|then| then.elapsed() > COMPLAIN) {
        tracing::warn!(spans, error = format!("{error:#}"), "traces are lost");
        *complained = Some(Instant::now());
    }
}

/// One `ExportTraceServiceRequest`. Ids are hex and 64-bit numbers are strings, as OTLP's JSON has them.
fn render(instance: &str, spans: &[Span]) -> Value {
    let resource = [
        ("service.name", "nube"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
    ];
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(resource) },
        "scopeSpans": [{ "scope": { "name": "nube" }, "spans": spans.iter().map(span).collect::<Vec<_>>() }],
    }]})
}

fn span(span: &Span) -> Value {
    let start = i128::from(span.start.as_millis()) * 1_000_000;
    let end = start + i128::try_from(span.duration.as_nanos()).unwrap_or(0);
    let mut value = json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.id),
        "name": span.name,
        "kind": match span.kind { SpanKind::Internal => 1, SpanKind::Server => 2 },
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes(span.attributes.iter().map(|(name, value)| (*name, value.as_str()))),
    });
    if let Some(parent) = span.parent {
        value["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(error) = &span.error {
        value["status"] = json!({ "code": 2, "message": error });
    }
    value
}

fn attributes<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Value> {
    let pair = |(key, value): (&str, &str)| json!({ "key": key, "value": { "stringValue": value } });
    pairs.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    #[test]
    fn a_collectors_url_is_read_and_written() {
        for (given, kept) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/"),
            ("http://collector", "http://collector:4318/"),
            ("http://collector:80/otlp/", "http://collector:80/otlp"),
            ("http://[::1]:4318/", "http://[::1]:4318/"),
        ] {
            assert_eq!(String::from(given.parse::<Collector>().unwrap()), kept);
            assert_eq!(kept.parse::<Collector>().unwrap(), given.parse().unwrap());
        }
        for bad in
            ["https://collector", "collector:4318", "http://", "http://user:secret@collector", "http://a b"]
        {
            assert!(bad.parse::<Collector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_span_is_what_the_protocol_says() {
        let shown = span(&Span {
            kind: SpanKind::Server,
            name: "ec2/RunInstances".into(),
            trace: 0xabc,
            id: 0xd,
            parent: Some(0xe),
            start: Timestamp::from_millis(1_767_225_600_123),
            duration: Duration::from_micros(1_500),
            attributes: vec![("rpc.service", "ec2".into())],
            error: Some("InternalError".into()),
        });
        assert_eq!(
            shown,
            json!({
                "traceId": "00000000000000000000000000000abc", "spanId": "000000000000000d",
                "parentSpanId": "000000000000000e", "name": "ec2/RunInstances", "kind": 2,
                "startTimeUnixNano": "1767225600123000000", "endTimeUnixNano": "1767225600124500000",
                "attributes": [{ "key": "rpc.service", "value": { "stringValue": "ec2" } }],
                "status": { "code": 2, "message": "InternalError" },
            })
        );
    }
}
