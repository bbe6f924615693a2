//! What the work of a cloud looks like in a trace: a span for each request and each run of a reconciler.
//!
//! Unless somebody exports them, a span is never made: [`Spans::record`] costs one load.

use model::Timestamp;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// An answer to somebody's request.
    Server,
    Internal,
}

/// Something that was done, when, for how long and with what outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub kind: SpanKind,
    pub name: String,
    pub trace: u128,
    pub id: u64,
    pub parent: Option<u64>,
    pub start: Timestamp,
    pub duration: Duration,
    /// By the names of OpenTelemetry's semantic conventions.
    pub attributes: Vec<(&'static str, String)>,
    /// What went wrong, if it did.
    pub error: Option<String>,
}

/// Where spans go.
#[derive(Debug, Default)]
pub struct Spans {
    exporter: OnceLock<mpsc::Sender<Span>>,
    dropped: AtomicU64,
}

impl Spans {
    /// Sends spans there from now on. The first exporter stays.
    pub fn export_to(&self, exporter: mpsc::Sender<Span>) {
        let _ = self.exporter.set(exporter);
    }

    /// Makes the span and hands it over, if anybody wants it. What the exporter is too slow for is dropped and counted.
    pub fn record(&self, make: impl FnOnce() -> Span) {
        if let Some(exporter) = self.exporter.get()
            && exporter.try_send(make()).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The trace and the span that a caller's `traceparent` header names.
/// <https://www.w3.org/TR/trace-context/>
pub fn parse_traceparent(header: &str) -> Option<(u128, u64)> {
    let mut parts = header.trim().split('-');
    let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
    let _flags = parts.next()?;
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if version.len() != 2
        || version == "ff"
        || trace.len() != 32
        || parent.len() != 16
        || !hex(trace)
        || !hex(parent)
    {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    let parent = u64::from_str_radix(parent, 16).ok().filter(|id| *id != 0)?;
    Some((trace, parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_exports_so_nothing_is_made() {
        Spans::default().record(|| unreachable!("nobody asked for it"));
    }

    #[test]
    fn what_an_exporter_cannot_take_is_counted() {
        let spans = Spans::default();
        let (sender, mut receiver) = mpsc::channel(1);
        spans.export_to(sender);
        let span = Span {
            kind: SpanKind::Internal,
            name: "x".into(),
            trace: 1,
            id: 2,
            parent: None,
            start: Timestamp::from_millis(0),
            duration: Duration::ZERO,
            attributes: vec![],
            error: None,
        };
        for _ in 0..3 {
            spans.record(|| span.clone());
        }
        assert_eq!(receiver.try_recv().unwrap(), span);
        assert_eq!(spans.dropped(), 2);
    }

    #[test]
    fn a_traceparent_is_read_strictly() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(
            parse_traceparent(good),
            Some((0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331))
        );
        for bad in [
            "",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(parse_traceparent(bad), None, "{bad}");
        }
    }
}
