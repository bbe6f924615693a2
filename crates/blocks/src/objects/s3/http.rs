//! The requests of an S3 client, sent by the HTTP client that this program has anyway.

use http::Method;
use http::request::Parts;
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use std::time::Duration;
use ureq::Agent;

const CONNECT: Duration = Duration::from_secs(10);
/// What a request may take as a whole: half a MiB over a slow line.
pub(super) const WHOLE: Duration = Duration::from_secs(45);
/// No object of the store is larger, and no page of a list.
const LONGEST: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Connector {
    /// Connections that are kept.
    pub kept: usize,
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .max_idle_connections(self.kept)
            .max_idle_connections_per_host(self.kept)
            .user_agent(concat!("nube/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(HttpClient::new(Client(config.into())))
    }
}

#[derive(Debug)]
struct Client(Agent);

#[async_trait::async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let agent = self.0.clone();
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let exchanged = tokio::task::spawn_blocking(move || exchange(&agent, parts, &body)).await;
        exchanged.map_err(|e| HttpError::new(HttpErrorKind::Unknown, e))?
    }
}

fn exchange(agent: &Agent, parts: Parts, body: &[u8]) -> Result<HttpResponse, HttpError> {
    // Whether or not it was done: every call of this store may be made again, so every one is.
    let lost = |e: ureq::Error| HttpError::new(HttpErrorKind::Request, e);
    let response = if matches!(parts.method, Method::PUT | Method::POST) {
        agent.run(http::Request::from_parts(parts, body))
    } else {
        agent.run(http::Request::from_parts(parts, ()))
    };
    let (parts, mut body) = response.map_err(lost)?.into_parts();
    let bytes = body.with_config().limit(LONGEST).read_to_vec().map_err(lost)?;
    Ok(HttpResponse::from_parts(parts, bytes.into()))
}
