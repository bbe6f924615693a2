//! How a cloud is watched while it runs: metrics, the logs' format, traces. Chosen at a start, remembered in `cloud.json`.

use crate::metrics::Metrics;
use crate::otel::{Collector, Exporter};
use crate::{metrics, otel};
use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use control::Cloud;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use tokio::net::TcpListener;

#[derive(Debug, Args)]
pub struct Flags {
    /// Serve Prometheus' metrics at this loopback address, or `off`; remembered.
    #[arg(long, value_name = "ADDRESS:PORT|off")]
    metrics: Option<Switch<SocketAddr>>,
    /// Send traces to this OpenTelemetry collector (OTLP over HTTP), or `off`; remembered.
    #[arg(long, value_name = "URL|off")]
    otel: Option<Switch<Collector>>,
    /// How the logs are written; remembered.
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// A thing, or that there shall be none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Switch<T> {
    Off,
    On(T),
}

impl<T: FromStr> FromStr for Switch<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::On) }
    }
}

impl<T: Clone> Switch<T> {
    fn settle(given: Option<&Self>, known: Option<&T>) -> Option<T> {
        match given {
            None => known.cloned(),
            Some(Self::Off) => None,
            Some(Self::On(value)) => Some(value.clone()),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operation {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otel: Option<Collector>,
    pub log_format: LogFormat,
}

impl Flags {
    /// What was known, with what this start changes.
    pub fn settle(&self, known: &Operation) -> Result<Operation> {
        let metrics = Switch::settle(self.metrics.as_ref(), known.metrics.as_ref());
        if let Some(address) = metrics.filter(|address| !address.ip().is_loopback()) {
            bail!(
                "metrics ask nobody who they are, so {address} is refused: name a loopback address, and let something with \
                 a password stand before it where others must reach them"
            );
        }
        Ok(Operation {
            metrics,
            otel: Switch::settle(self.otel.as_ref(), known.otel.as_ref()),
            log_format: self.log_format.unwrap_or(known.log_format),
        })
    }
}

/// Starts what watches a cloud; the exporter of traces is to be told when the cloud ends.
pub async fn watch(
    operation: &Operation,
    cloud: &Arc<Cloud>,
    metrics: Arc<Metrics>,
) -> Result<Option<Exporter>> {
    if let Some(address) = operation.metrics {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot serve metrics at {address}"))?;
        tracing::info!(%address, "serving metrics");
        tokio::spawn(metrics::serve(metrics, listener));
    }
    Ok(operation.otel.clone().map(|collector| otel::export(cloud, collector)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(metrics: Option<&str>, otel: Option<&str>) -> Flags {
        Flags {
            metrics: metrics.map(|text| text.parse().unwrap()),
            otel: otel.map(|text| text.parse().unwrap()),
            log_format: None,
        }
    }

    #[test]
    fn what_was_chosen_stays_until_it_is_switched_off() {
        let chosen =
            flags(Some("127.0.0.1:9464"), Some("http://127.0.0.1:4318")).settle(&Operation::default());
        let chosen = chosen.unwrap();
        assert_eq!(chosen.metrics, Some("127.0.0.1:9464".parse().unwrap()));
        assert_eq!(flags(None, None).settle(&chosen).unwrap(), chosen);
        assert_eq!(flags(Some("off"), Some("off")).settle(&chosen).unwrap(), Operation::default());
    }

    #[test]
    fn metrics_are_never_served_to_others() {
        let refused = flags(Some("0.0.0.0:9464"), None).settle(&Operation::default()).unwrap_err();
        assert!(refused.to_string().contains("loopback"), "{refused}");
    }
}
