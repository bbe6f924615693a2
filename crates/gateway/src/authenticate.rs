//! From a signature to a caller.

use control::{Caller, Cloud};
use model::record::access_key::{AccessKey, Secret};
use model::{AccessKeyId, Region, Timestamp};
use std::sync::Arc;
use wire::sigv4::{self, Payload, Request, SigError, Signed};

/// The principal who signed, if key, token, time and signature are all good.
pub(crate) fn authenticate(
    cloud: &Cloud,
    signed: &Signed,
    request: &Request<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<Caller, SigError> {
    let id = AccessKeyId::parse(&signed.access_key_id).ok_or(SigError::UnknownKey)?;
    let key = find(cloud, &id).ok_or(SigError::UnknownKey)?;
    sigv4::verify(signed, request, &Payload::of(body), key.secret.expose().as_bytes(), now.as_secs())?;
    match (&key.session, signed.session_token.as_deref()) {
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
