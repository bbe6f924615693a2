//! What is told of each request: to the counters, to the log, and to whoever follows the cloud's traces.
//!
//! Never its parameters and never its answer: they hold user data, private keys and secrets.

use crate::Gateway;
use crate::head::Head;
use control::Service;
use control::span::{Span, SpanKind, parse_traceparent};
use model::{AccountId, Region, Timestamp};
use std::sync::OnceLock;
use std::time::Duration;
use wire::ApiError;

/// Who asks for what region, once it is known.
pub(crate) type Seen = OnceLock<(AccountId, Region)>;

/// A request that was answered.
pub(crate) struct Answered<'a> {
    pub head: &'a Head<'a>,
    pub service: Option<&'a Service>,
    /// As the caller wrote it: nothing says that there is such an operation.
    pub action: &'a str,
    pub request_id: &'a str,
    pub seen: Option<&'a (AccountId, Region)>,
    pub start: Timestamp,
    pub took: Duration,
}

impl Gateway {
    pub(crate) fn observe(&self, request: &Answered<'_>, error: Option<&ApiError>) {
        let metrics = request.service.map_or(&self.cloud.metrics.unrouted, |s| s.metrics(request.action));
        match error {
            None => metrics.succeed(request.took),
            Some(error) => metrics.fail(request.took, error.code()),
        }
        log(request, error);
        self.cloud.spans.record(|| self.span(request, error));
    }

    fn span(&self, request: &Answered<'_>, error: Option<&ApiError>) -> Span {
        let caller = request.head.text("traceparent").and_then(parse_traceparent);
        let service = name(request);
        let action = shown(request.action);
        let status = error.map_or(200, ApiError::status);
        let mut attributes = vec![
            ("rpc.system", "aws-api".to_owned()),
            ("rpc.service", service.to_owned()),
            ("rpc.method", action.to_owned()),
            ("http.request.method", request.head.method.to_owned()),
            ("http.response.status_code", status.to_string()),
            ("aws.request_id", request.request_id.to_owned()),
        ];
        if let Some((account, region)) = request.seen {
            attributes.push(("cloud.account.id", account.to_string()));
            attributes.push(("cloud.region", region.to_string()));
        }
        attributes.extend(error.map(|error| ("error.type", error.code().to_owned())));
        Span {
            kind: SpanKind::Server,
            name: format!("{service}/{}", if action.is_empty() { "request" } else { action }),
            trace: caller.map_or_else(|| self.cloud.entropy.bits() | 1, |(trace, _)| trace),
            id: self.cloud.entropy.bits() as u64 | 1,
            parent: caller.map(|(_, parent)| parent),
            start: request.start,
            duration: request.took,
            attributes,
            // What the caller did wrong is no failure of the server.
            error: error.filter(|error| !error.is_sender()).map(|error| error.code().to_owned()),
        }
    }
}

fn name<'a>(request: &Answered<'a>) -> &'a str {
    request.service.map_or("", |service| service.shape().name)
}

/// As much of an action's name as any operation's has.
fn shown(action: &str) -> &str {
    action.get(..128).unwrap_or(action)
}

fn log(request: &Answered<'_>, error: Option<&ApiError>) {
    use tracing::field::display;
    let Answered { request_id, seen, took, .. } = request;
    let (account, region) = seen.map(|(account, region)| (display(account), display(region))).unzip();
    let (service, action, elapsed_us) = (name(request), shown(request.action), took.as_micros() as u64);
    match error {
        None => tracing::debug!(
            request_id,
            account,
            region,
            service,
            action,
            status = 200,
            elapsed_us,
            "answered"
        ),
        Some(error) if error.is_sender() => {
            let (code, status, message) = (error.code(), error.status(), error.message());
            tracing::info!(
                request_id, account, region, service, action, status, elapsed_us, code, message, "refused"
            );
        }
        Some(error) => {
            let (code, status) = (error.code(), error.status());
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(
                request_id, account, region, service, action, status, elapsed_us, code, cause, "failed"
            );
        }
    }
}
