//! From a signature to a caller.

use control::{Caller, Cloud};
use model::record::access_key::{AccessKey, Secret};
use model::{AccessKeyId, Region, Timestamp};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use wire::sigv4::{self, Payload, Request, SigError, Signed, SigningKey};
use wire::{Form, sigv2};

/// The signing keys that callers used last: one for each access key, as clients keep to a region and a service.
#[derive(Default)]
pub struct SigningKeys(Mutex<HashMap<AccessKeyId, Derived>>);

/// Access keys whose signing keys are kept.
const KEPT: usize = 1024;

struct Derived {
    /// The very record whose secret it came from.
    from: Arc<AccessKey>,
    day: String,
    region: String,
    service: String,
    key: SigningKey,
}

impl SigningKeys {
    fn of(&self, id: &AccessKeyId, record: &Arc<AccessKey>, signed: &Signed) -> SigningKey {
        if let Some(derived) = self.0.lock().get(id)
            && Arc::ptr_eq(&derived.from, record)
            && (&derived.day, &derived.region, &derived.service)
                == (&signed.day, &signed.region, &signed.service)
        {
            return derived.key.clone();
        }
        let key = SigningKey::derive(record.secret.expose().as_bytes(), signed);
        let mut kept = self.0.lock();
        if kept.len() == KEPT {
            kept.clear();
        }
        kept.insert(
            id.clone(),
            Derived {
                from: Arc::clone(record),
                day: signed.day.clone(),
                region: signed.region.clone(),
                service: signed.service.clone(),
                key: key.clone(),
            },
        );
        key
    }
}

/// What a request says about who signed it, in either way of signing. Nothing here is proven before [`authenticate`].
pub(crate) enum Signature {
    V4(sigv4::Signed),
    /// EC2's alone.
    V2(sigv2::Signed),
}

impl Signature {
    /// Version 2 is looked for where there is no other.
    pub(crate) fn of(request: &Request<'_>, form: &Form) -> Result<Self, SigError> {
        match sigv4::parse(request) {
            Err(SigError::Missing) if sigv2::is_meant(form) => {
                let host = request.header("host").and_then(|host| std::str::from_utf8(host).ok());
                let host = host.ok_or_else(|| SigError::AbsentHeader("host".to_owned()))?;
                sigv2::parse(request.method, host, request.path, form).map(Self::V2)
            }
            parsed => parsed.map(Self::V4),
        }
    }

    /// The name of the service that it is for.
    pub(crate) fn service(&self) -> &str {
        match self {
            Self::V4(signed) => &signed.service,
            Self::V2(_) => "ec2",
        }
    }

    /// The region that it is for; version 2 names none.
    pub(crate) fn region(&self) -> Option<&str> {
        match self {
            Self::V4(signed) => Some(&signed.region),
            Self::V2(_) => None,
        }
    }

    /// Whether it says that it does not cover the body.
    pub(crate) fn waives_payload(&self) -> bool {
        matches!(self, Self::V4(signed) if signed.waives_payload())
    }

    fn access_key_id(&self) -> &str {
        match self {
            Self::V4(signed) => &signed.access_key_id,
            Self::V2(signed) => &signed.access_key_id,
        }
    }

    fn session_token(&self) -> Option<&str> {
        match self {
            Self::V4(signed) => signed.session_token.as_deref(),
            Self::V2(signed) => signed.session_token.as_deref(),
        }
    }

    fn verify(
        &self,
        request: &Request<'_>,
        payload: &Payload,
        keys: &SigningKeys,
        (id, key): (&AccessKeyId, &Arc<AccessKey>),
        now: Timestamp,
    ) -> Result<(), SigError> {
        let now = now.as_secs();
        match self {
            Self::V4(signed) => {
                let signing_key = keys.of(id, key, signed);
                sigv4::verify_with(&signing_key, signed, request, payload, now)
            }
            Self::V2(signed) => sigv2::verify(signed, key.secret.expose().as_bytes(), now),
        }
    }
}

/// The principal who signed, if key, token, time and signature are all good.
pub(crate) fn authenticate(
    cloud: &Cloud,
    keys: &SigningKeys,
    signature: &Signature,
    request: &Request<'_>,
    payload: &Payload,
    now: Timestamp,
) -> Result<Caller, SigError> {
    let id = AccessKeyId::parse(signature.access_key_id()).ok_or(SigError::UnknownKey)?;
    let key = find(cloud, &id).ok_or(SigError::UnknownKey)?;
    signature.verify(request, payload, keys, (&id, &key), now)?;
    match (&key.session, signature.session_token()) {
        (None, None) => {}
        (Some(session), Some(token)) if same(&session.token, token) => {
            if now >= session.expires_at {
                return Err(SigError::ExpiredToken);
            }
        }
        _ => return Err(SigError::InvalidToken),
    }
    Ok(Caller {
        account: key.account,
        access_key: id,
        arn: key.principal.clone(),
        user_id: key.user_id.clone(),
    })
}

fn find(cloud: &Cloud, id: &AccessKeyId) -> Option<Arc<AccessKey>> {
    cloud.view.read().get::<AccessKey>(&Region::global(), id).cloned()
}

/// Compares in a time that does not tell how much was right.
fn same(secret: &Secret, given: &str) -> bool {
    let (a, b) = (secret.expose().as_bytes(), given.as_bytes());
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}
