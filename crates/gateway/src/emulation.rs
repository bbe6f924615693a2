//! What an emulator does that a cloud must not: let anybody in under any name, and forget everything on request.
//!
//! With signatures off, whatever credentials a request carries only say which account is meant: an access key id of twelve
//! digits is the account's number, a key that this cloud gave out stands for its principal, and everything else, or
//! nothing, is the operator. Signature, secret and date are not looked at.
//!
//! A browser can send such requests from any page that its user visits, so what comes from a page is refused: requests
//! with `Origin` or a foreign `Sec-Fetch-Site` unless they have an `Authorization` header (which a page can set for its own
//! origin alone), and, on loopback, names in `Host` that could be anybody's (a page whose name is made to resolve to
//! 127.0.0.1).

use crate::Gateway;
use crate::answer::{Answer, Incoming, no_such_service};
use crate::authenticate::{Signature, authenticate};
use crate::head::Head;
use control::{Caller, Cloud, Service};
use futures_util::future::BoxFuture;
use http::StatusCode;
use model::record::access_key::AccessKey;
use model::{AccessKeyId, AccountId, Region, Timestamp};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use wire::sigv4::{self, Payload, SigError};
use wire::{ApiError, Form, Response};

/// Whether signatures count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Auth {
    #[default]
    Signed,
    /// Nobody is asked for a secret, and the port is reachable from this host alone.
    OffOnLoopback,
    /// Nobody is asked for a secret, wherever the request comes from.
    OffAnywhere,
}

/// Forgets everything and says how much of each noun there was.
pub type Reset = Arc<dyn Fn() -> BoxFuture<'static, Result<BTreeMap<String, usize>, ApiError>> + Send + Sync>;

/// How a gateway is an emulator's. The default is a cloud's.
#[derive(Clone)]
pub struct Emulation {
    pub auth: Auth,
    /// Who may reset, and who requests without credentials are from.
    pub operator: AccountId,
    pub reset: Option<Reset>,
}

impl Default for Emulation {
    fn default() -> Self {
        Self { auth: Auth::Signed, operator: AccountId::from_number(0), reset: None }
    }
}

/// What a request says of who sends it, unproven.
#[derive(Debug, Default, PartialEq, Eq)]
struct Claim<'a> {
    access_key: Option<&'a str>,
    region: Option<&'a str>,
    service: Option<&'a str>,
}

impl<'a> Claim<'a> {
    /// From the header or the query, of whatever version of signature, whole or not.
    fn of(authorization: Option<&'a str>, form: &'a Form) -> Self {
        let scope = authorization
            .and_then(|header| header.split_once("Credential="))
            .map(|(_, rest)| rest.split([',', ' ']).next().unwrap_or_default())
            .or_else(|| form.get("X-Amz-Credential"));
        if let Some(scope) = scope {
            // KEY/DAY/REGION/SERVICE/aws4_request
            let mut parts = scope.split('/').map(|part| Some(part).filter(|part| !part.is_empty()));
            let access_key = parts.next().flatten();
            let _day = parts.next();
            return Self { access_key, region: parts.next().flatten(), service: parts.next().flatten() };
        }
        let version_2 = authorization.and_then(|header| header.strip_prefix("AWS ")?.split(':').next());
        Self { access_key: version_2.or_else(|| form.get("AWSAccessKeyId")), ..Self::default() }
    }
}

/// `eu-west-1` in `ec2.eu-west-1.amazonaws.com`.
pub(crate) fn region_in_host(host: &str) -> Option<&str> {
    host.split('.').nth(1)
}

/// Why a request that carries no proof is refused for where it comes from.
fn from_a_page(head: &Head<'_>, auth: Auth) -> Option<&'static str> {
    let foreign = head.header("sec-fetch-site").is_some_and(|site| !matches!(site, b"none" | b"same-origin"));
    if (foreign || head.header("origin").is_some()) && head.header("authorization").is_none() {
        return Some("Requests from web pages need credentials, though any will do.");
    }
    let host = head.host().unwrap_or_default();
    let known = auth != Auth::OffOnLoopback || is_a_name_of_this_host(host);
    (!known).then_some("Without signatures, requests must name this host as localhost or by its address.")
}

/// Whether no stranger can have made this name resolve to this host.
fn is_a_name_of_this_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let ours = ["localhost", "internal", "local", "amazonaws.com", "localhost.localstack.cloud"];
    name.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || ours
            .iter()
            .any(|ours| name.strip_suffix(ours).is_some_and(|front| front.is_empty() || front.ends_with('.')))
}

/// Who a request without proof is from.
fn caller(cloud: &Cloud, operator: AccountId, access_key: Option<&str>) -> Caller {
    let id = access_key.and_then(AccessKeyId::parse);
    if let Some(id) = &id
        && let Some(key) = cloud.view.read().get::<AccessKey>(&Region::global(), id)
    {
        return Caller {
            account: key.account,
            access_key: id.clone(),
            arn: key.principal.clone(),
            user_id: key.user_id.clone(),
        };
    }
    let account = access_key.and_then(AccountId::parse).unwrap_or(operator);
    let stand_in = || AccessKeyId::parse(&format!("NUBE{account}")).expect("16 word characters");
    Caller {
        account,
        access_key: id.unwrap_or_else(stand_in),
        arn: format!("arn:aws:iam::{account}:root"),
        user_id: account.to_string(),
    }
}

impl Gateway {
    /// Runs a request whose signature nobody looks at.
    pub(crate) async fn run_unproven(
        &self,
        request: &Incoming<'_>,
        form: &Form,
        request_id: &str,
        now: Timestamp,
    ) -> (Option<&Service>, Result<Response, ApiError>) {
        let claim = Claim::of(request.head.text("authorization"), form);
        let service = self.route(claim.service, request.head, form);
        if let Some(reason) = from_a_page(request.head, self.emulation.auth) {
            return (service, Err(ApiError::new("AuthFailure", 403, reason)));
        }
        let Some(service) = service else {
            return (None, Err(no_such_service(claim.service.unwrap_or_default())));
        };
        let in_host = || {
            let region = region_in_host(request.host()?)?;
            self.cloud.settings.regions.iter().map(|r| r.region.as_str()).find(|served| *served == region)
        };
        let first = || self.cloud.settings.regions.first().map(|r| r.region.as_str());
        let name = claim.region.or_else(in_host).or_else(first).unwrap_or_default();
        let region = match self.region(service, name) {
            Ok(region) => region,
            Err(error) => return (Some(service), Err(error)),
        };
        let caller = caller(&self.cloud, self.emulation.operator, claim.access_key);
        (Some(service), self.run_as(service, caller, region, request, form, request_id, now).await)
    }

    /// `POST /_nube/reset`.
    pub(crate) async fn reset(&self, request: &Incoming<'_>, now: Timestamp) -> Answer {
        let outcome = match self.may_reset(request, now) {
            Ok(reset) => reset().await.map_err(|error| {
                tracing::error!(error = %error, "a reset failed");
                (
                    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    error.to_string(),
                )
            }),
            Err(refused) => Err(refused),
        };
        let (status, body) = match outcome {
            Ok(forgotten) => {
                tracing::info!(?forgotten, "everything is forgotten");
                (StatusCode::OK, serde_json::json!({ "status": "reset", "forgotten": forgotten }))
            }
            Err((status, message)) => {
                (status, serde_json::json!({ "status": "refused", "message": message }))
            }
        };
        Answer::json(status.as_u16(), &body)
    }

    fn may_reset(&self, request: &Incoming<'_>, now: Timestamp) -> Result<&Reset, (StatusCode, String)> {
        let refused = |status, message: &str| Err((status, message.to_owned()));
        let Some(reset) = &self.emulation.reset else {
            return refused(
                StatusCode::NOT_FOUND,
                "Only a cloud of simulated machines (nube up --host sim) forgets.",
            );
        };
        if request.head.method != "POST" {
            return refused(StatusCode::METHOD_NOT_ALLOWED, "A reset is a POST.");
        }
        if self.emulation.auth != Auth::Signed {
            return match from_a_page(request.head, self.emulation.auth) {
                Some(reason) => refused(StatusCode::FORBIDDEN, reason),
                None => Ok(reset),
            };
        }
        let signing = request.signing();
        let caller = sigv4::parse(&signing).and_then(|signed| {
            let signature = Signature::V4(signed);
            authenticate(
                &self.cloud,
                &self.signing_keys,
                &signature,
                &signing,
                &Payload::of(request.body),
                now,
            )
        });
        match caller {
            Ok(caller) if caller.account == self.emulation.operator => Ok(reset),
            Ok(_) => refused(StatusCode::FORBIDDEN, "Only the operator's account may reset."),
            Err(error) => Err((
                StatusCode::FORBIDDEN,
                format!("A reset is signed with the operator's key, or needs --auth off. {error}"),
            )),
        }
    }

    /// The region that a request is for.
    pub(crate) fn region(&self, service: &Service, name: &str) -> Result<Region, ApiError> {
        let served = self.cloud.settings.regions.iter().map(|settings| &settings.region);
        if let Some(region) = served.into_iter().find(|region| region.as_str() == name) {
            return Ok(region.clone());
        }
        // One STS answers for the world: clients sign for its own region, or for whichever they are set to.
        let global = matches!(service.shape().name, "sts" | "iam");
        Region::parse(name).filter(|_| global && model::region::facts(name).is_some()).ok_or_else(|| {
            let (code, status) = sigv4::public_error(service.shape().name, &SigError::WrongScope);
            let shown: String = name.chars().take(32).collect();
            let message = format!("The credential's region '{shown}' is not one that this cloud serves.");
            ApiError::new(code, status, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_from_whatever_is_there() {
        let none = Form::default();
        let all = "AWS4-HMAC-SHA256 Credential=123456789012/20200101/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=0";
        let claim = Claim::of(Some(all), &none);
        assert_eq!(
            claim,
            Claim { access_key: Some("123456789012"), region: Some("eu-west-1"), service: Some("ec2") }
        );
        let half = Claim::of(Some("AWS4-HMAC-SHA256 Credential=test"), &none);
        assert_eq!(half, Claim { access_key: Some("test"), ..Claim::default() });
        assert_eq!(Claim::of(Some("AWS test:c2ln"), &none).access_key, Some("test"));
        assert_eq!(Claim::of(None, &none), Claim::default());
        let query = Form::parse(b"X-Amz-Credential=k%2F20200101%2Fus-east-2%2Fsts%2Faws4_request").unwrap();
        assert_eq!(Claim::of(None, &query).service, Some("sts"));
    }

    #[test]
    fn only_names_that_mean_this_host_pass_for_it() {
        for host in [
            "localhost:4566",
            "127.0.0.1",
            "[::1]:4566",
            "ec2.eu-west-1.amazonaws.com",
            "nube:80",
            "a.localhost",
        ] {
            assert!(is_a_name_of_this_host(host), "{host}");
        }
        for host in
            ["evil.example:4566", "notlocalhost.com", "evilamazonaws.com", "amazonaws.com.evil.example"]
        {
            assert!(!is_a_name_of_this_host(host), "{host}");
        }
    }
}
