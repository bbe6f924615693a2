//! One request from its parts to its answer.

use crate::Gateway;
use crate::authenticate::{Signature, authenticate};
use crate::emulation::{Auth, region_in_host};
use crate::head::Head;
use crate::observe::{Answered, Seen};
use control::{Caller, Context, Passage, Service, errors};
use futures_util::FutureExt as _;
use model::host::Arrival;
use model::{AccountId, Region, Timestamp};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wire::sigv4::{self, Payload, SigError};
use wire::{
    ApiError, Body, DecodeError, Form, OperationShape, Parameters, Protocol, Response, json, rest_json,
};

/// The version of this program, for clients that ask for its health.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An answer, whatever HTTP carries it.
pub(crate) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub request_id: Option<String>,
    /// Beside those that every answer has.
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Answer {
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let body = body.to_string().into();
        Self { status, content_type: "application/json", request_id: None, headers: Vec::new(), body }
    }

    fn of(service: Option<&Service>, request_id: String, response: Response) -> Self {
        let Response { status, content_type, headers, body } = response;
        let usual = || service.map_or(wire::ec2::CONTENT_TYPE, Service::content_type);
        let content_type = content_type.unwrap_or_else(usual);
        Self { status, content_type, request_id: Some(request_id), headers, body }
    }
}

impl Gateway {
    pub(crate) async fn answer(&self, head: &Head<'_>, body: &[u8], arrival: Option<&Arrival>) -> Answer {
        // An endpoint leads to its service and to nothing of the cloud's own.
        let is_own = |path: &str| arrival.is_none() && head.path == path;
        if is_own("/_nube/health") {
            return self.health();
        }
        let (now, started) = (self.cloud.clock.now(), Instant::now());
        let rest = self.rest(head);
        let request = Incoming { head, body, rest, seen: Seen::new(), arrival };
        if is_own("/_nube/reset") {
            return self.reset(&request, now).await;
        }
        let request_id = self.request_id();
        let form = request.form();
        let (service, outcome) = self.run(&request, form.as_ref(), &request_id, now).await;
        let action = form.as_ref().ok().and_then(|form| request.action(form)).unwrap_or_default();
        let took = started.elapsed();
        let seen = request.seen.get();
        let answered = Answered { head, service, action, request_id: &request_id, seen, start: now, took };
        self.observe(&answered, outcome.as_ref().err());
        match outcome {
            Ok(response) => Answer::of(service, request_id, response),
            Err(error) => refused(service, &error, request_id),
        }
    }

    /// The answer to a request whose body could not be read, in the envelope of the service that it seems to be for.
    pub(crate) fn refuse(&self, head: &Head<'_>, error: &ApiError) -> Answer {
        let signed = sigv4::parse(&signing(head)).ok();
        let named = signed.as_ref().map(|signed| signed.service.as_str());
        let service = self.route(named, head, &Form::default());
        let request_id = self.request_id();
        let (start, took) = (self.cloud.clock.now(), Duration::ZERO);
        let answered =
            Answered { head, service, action: "", request_id: &request_id, seen: None, start, took };
        self.observe(&answered, Some(error));
        refused(service, error, request_id)
    }

    async fn run(
        &self,
        request: &Incoming<'_>,
        form: Result<&Form, &wire::DecodeError>,
        request_id: &str,
        now: Timestamp,
    ) -> (Option<&Service>, Result<Response, ApiError>) {
        let signing = request.signing();
        let form = match form {
            Ok(form) => form,
            Err(error) => {
                let signed = sigv4::parse(&signing).ok();
                let named = signed.as_ref().map(|signed| signed.service.as_str());
                let service = self.route(named, request.head, &Form::default());
                let is_rest = service.is_some_and(|service| service.shape().protocol == Protocol::RestJson);
                let told = if is_rest { rest_json::api_error(error) } else { wire::ec2::api_error(error) };
                return (service, Err(told));
            }
        };
        if self.emulation.auth != Auth::Signed {
            return self.run_unproven(request, form, request_id, now).await;
        }
        let signature = Signature::of(&signing, form);
        let service = self.route(signature.as_ref().ok().map(Signature::service), request.head, form);
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
    ) -> Result<Response, ApiError> {
        let refuse = |error: SigError| refusal(Some(service), &error);
        let keys = &self.signing_keys;
        let payload = request.payload(signature);
        let caller = authenticate(&self.cloud, keys, signature, signing, &payload, now).map_err(refuse)?;
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
    ) -> Result<Response, ApiError> {
        request.seen(caller.account, &region);
        let passage = self.passage(service, &region, request)?;
        let (action, parameters) = if service.shape().protocol == Protocol::RestJson {
            let unknown = || service.shape().unknown_action(request.head.path);
            let operation = request.rest.ok_or_else(unknown)?;
            (operation.name, Parameters::Rest(request.parts()))
        } else if service.shape().protocol.is_json() {
            let action = request.target().ok_or_else(|| service.shape().unknown_action(""))?;
            (action, Parameters::Json(request.body))
        } else {
            let action = form.get("Action").ok_or_else(|| {
                ApiError::new(
                    "MissingAction",
                    400,
                    "The request must name an action: the parameter Action is missing.",
                )
            })?;
            (action, Parameters::Form(form))
        };
        let context = Context {
            cloud: Arc::clone(&self.cloud),
            caller,
            region,
            request_id: request_id.to_owned(),
            now,
            passage,
        };
        // A bug in one operation must not take the others down.
        let run = AssertUnwindSafe(service.dispatch(context, action, parameters)).catch_unwind().await;
        run.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            Err(errors::internal(said.to_owned()))
        })
    }

    /// What a request passes that came by an endpoint, which is good for one service of its own region.
    fn passage(
        &self,
        service: &Service,
        region: &Region,
        request: &Incoming<'_>,
    ) -> Result<Option<Arc<Passage>>, ApiError> {
        let Some(arrival) = request.arrival else { return Ok(None) };
        let passage = Passage::find(&self.cloud.view.read(), arrival).ok_or_else(|| {
            errors::not_permitted(
                service.shape().protocol,
                &format!("The VPC endpoint {} does not exist any more.", arrival.endpoint),
            )
        })?;
        if passage.service != service.shape().name || passage.region != *region {
            return Err(refusal(Some(service), &SigError::WrongScope));
        }
        Ok(Some(Arc::new(passage)))
    }

    fn health(&self) -> Answer {
        let host = self.cloud.host.is_connected();
        let services: Vec<&str> = self.services.iter().map(|service| service.shape().name).collect();
        Answer::json(
            200,
            &serde_json::json!({ "status": "running", "version": VERSION, "host_connected": host, "services": services }),
        )
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
    pub head: &'a Head<'a>,
    pub body: &'a [u8],
    /// The operation that method and path name, of the rest protocols.
    rest: Option<&'static OperationShape>,
    seen: Seen,
    /// The VPC endpoint that it came by, if by any.
    arrival: Option<&'a Arrival>,
}

impl<'a> Incoming<'a> {
    /// Notes who asks for what region, for the log.
    fn seen(&self, account: AccountId, region: &Region) {
        let _ = self.seen.set((account, region.clone()));
    }

    pub fn host(&self) -> Option<&'a str> {
        self.head.host()
    }

    pub fn signing(&self) -> sigv4::Request<'a> {
        signing(self.head)
    }

    /// The operation that a header names, as in the JSON protocols.
    fn target(&self) -> Option<&'a str> {
        self.head.text(json::TARGET).map(json::operation)
    }

    fn action<'b>(&self, form: &'b Form) -> Option<&'b str>
    where
        'a: 'b,
    {
        let named = || form.get("Action").or_else(|| self.target());
        self.rest.map(|operation| operation.name).or_else(named)
    }

    /// Its body as the signature covers it.
    fn payload(&self, signature: &Signature) -> Payload {
        let may_be_left_out = self.rest.is_some_and(|operation| operation.unsigned_payload);
        if may_be_left_out && signature.waives_payload() { Payload::Waived } else { Payload::of(self.body) }
    }

    fn parts(&self) -> rest_json::Request<'_> {
        let Head { method, path, query, headers } = self.head;
        rest_json::Request { method, path, query, headers, body: self.body }
    }

    /// The parameters: of the query and, in a POST, of the body, unless a header says that it is JSON.
    fn form(&self) -> Result<Form, DecodeError> {
        let mut form = Form::parse(self.head.query.as_bytes())?;
        if self.head.method == "POST" && self.target().is_none() && self.rest.is_none() {
            form.extend(self.body)?;
        }
        Ok(form)
    }
}

/// A request as a signature sees it.
fn signing<'a>(head: &'a Head<'_>) -> sigv4::Request<'a> {
    sigv4::Request { method: head.method, path: head.path, query: head.query, headers: &head.headers }
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

fn refused(service: Option<&Service>, error: &ApiError, request_id: String) -> Answer {
    let plain = || {
        let body = Body::from(wire::ec2::encode_error(error, &request_id));
        Response { status: error.status(), ..body.into() }
    };
    let response = service.map_or_else(plain, |service| service.encode_error(error, &request_id));
    Answer::of(service, request_id, response)
}
