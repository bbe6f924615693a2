//! One request from its parts to its answer.

use crate::Gateway;
use crate::authenticate::{Signature, authenticate};
use crate::body::Parts;
use crate::emulation::{Auth, region_in_host};
use crate::observe::{Answered, Seen};
use bytes::Bytes;
use control::{Caller, Context, Service, errors};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header, request};
use model::{AccountId, Region, Timestamp};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wire::sigv4::{self, SigError};
use wire::{ApiError, Body, DecodeError, Form};

/// The version of this program, for clients that ask for its health.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Gateway {
    pub(crate) async fn answer(&self, parts: request::Parts, body: Bytes) -> Response<Parts> {
        if parts.uri.path() == "/_nube/health" {
            return self.health();
        }
        let (now, started) = (self.cloud.clock.now(), Instant::now());
        let request = Incoming { parts: &parts, body: &body, seen: Seen::new() };
        if parts.uri.path() == "/_nube/reset" {
            return self.reset(&request, now).await;
        }
        let request_id = self.request_id();
        let form = request.form();
        let (service, outcome) = self.run(&request, form.as_ref(), &request_id, now).await;
        let action = form.as_ref().ok().and_then(|form| form.get("Action")).unwrap_or_default();
        let took = started.elapsed();
        let (parts, seen) = (&parts, request.seen.get());
        let answered = Answered { parts, service, action, request_id: &request_id, seen, start: now, took };
        self.observe(&answered, outcome.as_ref().err());
        match outcome {
            Ok(xml) => respond(StatusCode::OK, &request_id, xml),
            Err(error) => refused(service, &error, &request_id),
        }
    }

    /// The answer to a request whose body could not be read, in the envelope of the service that it seems to be for.
    pub(crate) fn refuse(&self, parts: &request::Parts, error: &ApiError) -> Response<Parts> {
        let request = Incoming { parts, body: &[], seen: Seen::new() };
        let headers = request.headers();
        let signed = sigv4::parse(&request.signing(&headers)).ok();
        let named = signed.as_ref().map(|signed| signed.service.as_str());
        let service = self.route(named, request.host(), &Form::default());
        let request_id = self.request_id();
        let (start, took) = (self.cloud.clock.now(), Duration::ZERO);
        let answered =
            Answered { parts, service, action: "", request_id: &request_id, seen: None, start, took };
        self.observe(&answered, Some(error));
        refused(service, error, &request_id)
    }

    async fn run(
        &self,
        request: &Incoming<'_>,
        form: Result<&Form, &wire::DecodeError>,
        request_id: &str,
        now: Timestamp,
    ) -> (Option<&Service>, Result<Body, ApiError>) {
        let headers = request.headers();
        let signing = request.signing(&headers);
        let form = match form {
            Ok(form) => form,
            Err(error) => {
                let signed = sigv4::parse(&signing).ok();
                let named = signed.as_ref().map(|signed| signed.service.as_str());
                let service = self.route(named, request.host(), &Form::default());
                return (service, Err(wire::ec2::api_error(error)));
            }
        };
        if self.emulation.auth != Auth::Signed {
            return self.run_unproven(request, form, request_id, now).await;
        }
        let signature = Signature::of(&signing, form);
        let service = self.route(signature.as_ref().ok().map(Signature::service), request.host(), form);
        let outcome = match (service, signature) {
            (Some(service), Ok(signature)) => {
                self.run_signed(service, &signature, &signing, request, form, request_id, now).await
            }
            (None, Ok(signature)) => Err(no_such_service(signature.service())),
            (_, Err(error)) => Err(refusal(service, &error)),
        };
        (service, outcome)
    }

    #[allow(clippy::too_many_arguments, reason = "one call, with the parts of one request")]
    async fn run_signed(
        &self,
        service: &Service,
        signature: &Signature,
        signing: &sigv4::Request<'_>,
        request: &Incoming<'_>,
        form: &Form,
        request_id: &str,
        now: Timestamp,
    ) -> Result<Body, ApiError> {
        let refuse = |error: SigError| refusal(Some(service), &error);
        let keys = &self.signing_keys;
        let caller =
            authenticate(&self.cloud, keys, signature, signing, request.body, now).map_err(refuse)?;
        let region = match signature.region() {
            Some(named) => self.region(service, named)?,
            None => self.region_without_scope(request.host()).ok_or_else(|| refuse(SigError::WrongScope))?,
        };
        self.run_as(service, caller, region, request, form, request_id, now).await
    }

    /// Of a signature that names none: the host's (`ec2.REGION.…`), else the cloud's first.
    fn region_without_scope(&self, host: Option<&str>) -> Option<Region> {
        let settings = &self.cloud.settings;
        let served = |name: &str| Region::parse(name).filter(|region| settings.region(region).is_some());
        let by_host = host.and_then(region_in_host).and_then(served);
        by_host.or_else(|| settings.regions.first().map(|first| first.region.clone()))
    }

    /// Runs a request for a caller who is known.
    #[allow(clippy::too_many_arguments, reason = "one call, with the parts of one request")]
    pub(crate) async fn run_as(
        &self,
        service: &Service,
        caller: Caller,
        region: Region,
        request: &Incoming<'_>,
        form: &Form,
        request_id: &str,
        now: Timestamp,
    ) -> Result<Body, ApiError> {
        request.seen(caller.account, &region);
        let action = form.get("Action").ok_or_else(|| {
            ApiError::new(
                "MissingAction",
                400,
                "The request must name an action: the parameter Action is missing.",
            )
        })?;
        let context = Context {
            cloud: Arc::clone(&self.cloud),
            caller,
            region,
            request_id: request_id.to_owned(),
            now,
        };
        // A bug in one operation must not take the others down.
        let run = AssertUnwindSafe(service.dispatch(context, action, form)).catch_unwind().await;
        run.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            Err(errors::internal(said.to_owned()))
        })
    }

    fn health(&self) -> Response<Parts> {
        let host = self.cloud.host.is_connected();
        let services: Vec<&str> = self.services.iter().map(|service| service.shape().name).collect();
        let body = serde_json::json!({ "status": "running", "version": VERSION, "host_connected": host, "services": services });
        let mut response = Response::new(Body::from(body.to_string()).into());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// A random UUID, version 4.
    pub(crate) fn request_id(&self) -> String {
        let bits = self.cloud.entropy.bits();
        let bits = bits & !(0xf << 76) | 0x4 << 76;
        let bits = bits & !(0x3 << 62) | 0x2 << 62;
        let mut id = String::with_capacity(36);
        for digit in (0..32).rev() {
            if matches!(digit, 23 | 19 | 15 | 11) {
                id.push('-');
            }
            id.push(char::from(b"0123456789abcdef"[(bits >> (4 * digit)) as usize & 15]));
        }
        id
    }
}

/// An HTTP request whose body was read.
pub(crate) struct Incoming<'a> {
    pub parts: &'a request::Parts,
    pub body: &'a [u8],
    seen: Seen,
}

impl<'a> Incoming<'a> {
    /// Notes who asks for what region, for the log.
    fn seen(&self, account: AccountId, region: &Region) {
        let _ = self.seen.set((account, region.clone()));
    }

    fn uri(&self) -> &'a Uri {
        &self.parts.uri
    }

    pub fn host(&self) -> Option<&'a str> {
        let from_header = self.parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
        from_header.or_else(|| self.uri().authority().map(http::uri::Authority::as_str))
    }

    /// The headers as they came; over HTTP/2 the authority stands for Host.
    pub fn headers(&self) -> Vec<(&'a str, &'a [u8])> {
        let map: &HeaderMap = &self.parts.headers;
        let mut headers: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        if !map.contains_key(header::HOST)
            && let Some(authority) = self.uri().authority()
        {
            headers.push(("host", authority.as_str().as_bytes()));
        }
        headers
    }

    pub fn signing<'h>(&self, headers: &'h [(&'h str, &'h [u8])]) -> sigv4::Request<'h>
    where
        'a: 'h,
    {
        sigv4::Request {
            method: self.parts.method.as_str(),
            path: self.uri().path(),
            query: self.uri().query().unwrap_or_default(),
            headers,
        }
    }

    /// The parameters: of the query and, in a POST, of the body.
    fn form(&self) -> Result<Form, DecodeError> {
        let mut form = Form::parse(self.uri().query().unwrap_or_default().as_bytes())?;
        if self.parts.method == Method::POST {
            form.extend(self.body)?;
        }
        Ok(form)
    }
}

pub(crate) fn no_such_service(name: &str) -> ApiError {
    let name: String = name.chars().take(64).collect();
    ApiError::new("UnsupportedOperation", 400, format!("The service {name} is not part of this cloud yet."))
}

fn refusal(service: Option<&Service>, error: &SigError) -> ApiError {
    let name = service.map_or("ec2", |service| service.shape().name);
    let (code, status) = sigv4::public_error(name, error);
    ApiError::new(code, status, error.to_string())
}

fn refused(service: Option<&Service>, error: &ApiError, request_id: &str) -> Response<Parts> {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let xml = service.map_or_else(
        || wire::ec2::encode_error(error, request_id),
        |service| service.encode_error(error, request_id),
    );
    respond(status, request_id, xml.into())
}

/// An answer in XML.
fn respond(status: StatusCode, request_id: &str, body: Body) -> Response<Parts> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml;charset=UTF-8"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id.clone());
        headers.insert("x-amz-request-id", id);
    }
    response
}
