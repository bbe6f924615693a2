//! One request and its answer.

use super::{Imds, REMEMBERED, SignedDocument, token};
use crate::directory::Occupant;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use model::VpcId;
use model::host::InstanceDesired;
use plan::imds::{Answer, Signature};
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

const TOKEN_PATH: &str = "/latest/api/token";
const TOKEN: &str = "x-aws-ec2-metadata-token";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const FORWARDED: &str = "x-forwarded-for";
/// Far enough for what is no token.
const ORDINARY_TTL: u32 = 64;

type Reply = Response<Full<Bytes>>;

impl Imds {
    pub(super) async fn respond<B>(
        &self,
        vpc: VpcId,
        source: IpAddr,
        request: &Request<B>,
        connection: &OwnedFd,
    ) -> Reply {
        // Asked anew for each request: the address may have changed hands since the connection began.
        let Some(occupant) = self.directory.at(vpc, source) else { return refuse(StatusCode::NOT_FOUND) };
        let options = occupant.instance.metadata.options;
        let by_ipv6 = source.is_ipv6();
        if !options.endpoint_enabled || (by_ipv6 && !options.ipv6) {
            return refuse(StatusCode::FORBIDDEN);
        }
        let is_token_request = request.uri().path() == TOKEN_PATH;
        let hops = if is_token_request { u32::from(options.hop_limit.max(1)) } else { ORDINARY_TTL };
        let limited = if by_ipv6 {
            rustix::net::sockopt::set_ipv6_unicast_hops(connection, u8::try_from(hops).ok())
        } else {
            rustix::net::sockopt::set_ip_ttl(connection, hops)
        };
        if let Err(error) = limited {
            tracing::warn!("the hop limit of a metadata connection: {error}");
            return refuse(StatusCode::SERVICE_UNAVAILABLE);
        }
        let reply = match (request.method(), is_token_request) {
            (&Method::PUT, true) => self.mint(&occupant, request.headers()),
            (&Method::GET | &Method::HEAD, false) => self.get(&occupant, request).await,
            (_, true) => not_allowed("PUT"),
            (_, false) => not_allowed("GET, HEAD"),
        };
        let step = format!("{} {}", request.method(), request.uri().path());
        self.directory.traces.mark_first(occupant.instance.instance, &step, self.clock.now());
        reply
    }

    fn mint(&self, occupant: &Occupant, headers: &HeaderMap) -> Reply {
        if headers.contains_key(FORWARDED) {
            return refuse(StatusCode::FORBIDDEN);
        }
        let ttl =
            headers.get(TTL).and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
        let Some(ttl) = ttl.filter(|ttl| token::TTLS.contains(ttl)) else {
            return refuse(StatusCode::BAD_REQUEST);
        };
        let token = token::mint(&self.secret, occupant.instance.instance, self.clock.now(), ttl);
        let mut reply = found("text/plain", token.into());
        reply.headers_mut().insert(TTL, HeaderValue::from(ttl));
        reply
    }

    async fn get<B>(&self, occupant: &Occupant, request: &Request<B>) -> Reply {
        let instance = &occupant.instance;
        let left = match request.headers().get(TOKEN) {
            Some(given) => {
                let left = token::check(&self.secret, instance.instance, self.clock.now(), given.as_bytes());
                let Some(left) = left else { return refuse(StatusCode::UNAUTHORIZED) };
                Some(left)
            }
            None if instance.metadata.options.tokens_required => return refuse(StatusCode::UNAUTHORIZED),
            None => None,
        };
        let mut reply = self.content(instance, request.uri().path()).await;
        if let Some(left) = left {
            reply.headers_mut().insert(TTL, HeaderValue::from(left));
        }
        reply
    }

    async fn content(&self, instance: &Arc<InstanceDesired>, path: &str) -> Reply {
        let vpcs: HashMap<VpcId, _> = instance
            .interfaces
            .iter()
            .filter_map(|interface| Some((interface.vpc, self.directory.vpc(interface.vpc)?)))
            .collect();
        match plan::imds::answer(path, instance, |vpc| vpcs.get(&vpc).map(|vpc| &**vpc), self.api.as_ref()) {
            Answer::Text(text) => found("text/plain", text.into()),
            Answer::Bytes(bytes) => {
                found("application/octet-stream", Bytes::copy_from_slice(bytes.as_slice()))
            }
            Answer::NotFound => refuse(StatusCode::NOT_FOUND),
            Answer::Signed(kind) => match self.signed(instance).await {
                Some(signed) => {
                    let text = match kind {
                        Signature::Bare => &signed.signature,
                        Signature::Pkcs7 => &signed.pkcs7,
                    };
                    found("text/plain", text.clone().into())
                }
                None => refuse(StatusCode::INTERNAL_SERVER_ERROR),
            },
        }
    }

    /// The signatures over the instance's document, made at most once while the document stays as it is.
    async fn signed(&self, instance: &Arc<InstanceDesired>) -> Option<Arc<SignedDocument>> {
        let document = plan::imds::document(instance);
        if let Some(signed) = self.signed.lock().get(&instance.instance).filter(|s| s.document == document) {
            return Some(Arc::clone(signed));
        }
        let (signer, signed_at) = (Arc::clone(&self.signer), instance.metadata.pending_time);
        let signing = tokio::task::spawn_blocking(move || {
            let (signature, pkcs7) = (signer.signature(&document), signer.pkcs7(&document, signed_at));
            Arc::new(SignedDocument { document, signature, pkcs7 })
        });
        let signed = signing.await.ok()?;
        let mut remembered = self.signed.lock();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(instance.instance, Arc::clone(&signed));
        Some(signed)
    }
}

fn found(content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    reply.headers_mut().insert(header::SERVER, HeaderValue::from_static("EC2ws"));
    reply
}

fn refuse(status: StatusCode) -> Reply {
    let (code, reason) = (status.as_str(), status.canonical_reason().unwrap_or_default());
    let page = format!(
        "<html><head><title>{code} - {reason}</title></head><body><h1>{code} - {reason}</h1></body></html>\n"
    );
    let mut reply = found("text/html", page.into());
    *reply.status_mut() = status;
    reply
}

fn not_allowed(allowed: &'static str) -> Reply {
    let mut reply = refuse(StatusCode::METHOD_NOT_ALLOWED);
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    reply
}
