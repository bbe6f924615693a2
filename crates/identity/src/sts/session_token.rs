//! `GetSessionToken`: temporary credentials with the caller's own permissions.
//!
//! AWS: <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html>

use super::{access_denied, validation};
use api_sts::{Credentials, GetSessionTokenRequest, GetSessionTokenResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::{Context, Result, Txn};
use model::record::access_key::{AccessKey, Secret, Session};
use model::{AccessKeyId, Region};
use std::time::Duration;

/// 15 minutes to 36 hours.
const BOUNDS: std::ops::RangeInclusive<i32> = 900..=129_600;
const DEFAULT: i32 = 43_200;
/// The most that root gets, whatever it asks for.
const ROOT: i32 = 3_600;
/// How many expired credentials one call sweeps away.
const SWEPT: usize = 100;

pub(super) fn get(
    ctx: &Context,
    request: &GetSessionTokenRequest,
    txn: &mut Txn<'_>,
) -> Result<GetSessionTokenResponse> {
    let asked = request.duration_seconds.unwrap_or(DEFAULT);
    if !BOUNDS.contains(&asked) {
        let (word, bound) =
            if asked < *BOUNDS.start() { ("greater", BOUNDS.start()) } else { ("less", BOUNDS.end()) };
        return Err(validation(format!(
            "1 validation error detected: Value '{asked}' at 'durationSeconds' failed to satisfy constraint: Member \
             must have value {word} than or equal to {bound}"
        )));
    }
    if request.serial_number.is_some() || request.token_code.is_some() {
        return Err(access_denied("MultiFactorAuthentication failed: there is no such MFA device."));
    }
    let global = Region::global();
    let own = txn.tables().get::<AccessKey>(&global, &ctx.caller.access_key);
    if own.is_some_and(|key| key.session.is_some()) {
        return Err(access_denied("Cannot call GetSessionToken with session credentials"));
    }
    sweep(ctx, txn);
    let is_root = ctx.caller.arn.ends_with(":root");
    let seconds = if is_root { asked.min(ROOT) } else { asked };
    let expires_at = ctx.now + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let access_key = AccessKeyId::from_entropy("ASIA", ctx.bits());
    let (secret, token) = (random::<30>(ctx), random::<240>(ctx));
    let credentials = Credentials {
        access_key_id: Some(access_key.to_string()),
        secret_access_key: Some(secret.clone()),
        session_token: Some(token.clone()),
        expiration: Some(wire::Timestamp::from_millis(expires_at.as_millis())),
    };
    txn.put(
        &global,
        AccessKey {
            access_key,
            secret: Secret::new(secret),
            account: ctx.account(),
            principal: ctx.caller.arn.clone(),
            user_id: ctx.caller.user_id.clone(),
            created_at: ctx.now,
            session: Some(Session { token: Secret::new(token), expires_at }),
        },
    );
    Ok(GetSessionTokenResponse { credentials: Some(credentials) })
}

/// Deletes what nobody can use any more.
fn sweep(ctx: &Context, txn: &mut Txn<'_>) {
    let global = Region::global();
    let expired: Vec<AccessKeyId> = txn
        .tables()
        .find::<AccessKey>(&global, "account", ctx.account())
        .filter(|key| key.session.as_ref().is_some_and(|session| session.expires_at <= ctx.now))
        .map(|key| key.access_key.clone())
        .take(SWEPT)
        .collect();
    for id in expired {
        txn.delete::<AccessKey>(&global, &id);
    }
}

/// `N` random bytes in base64.
fn random<const N: usize>(ctx: &Context) -> String {
    let mut bytes = [0; N];
    ctx.cloud.entropy.fill(&mut bytes);
    STANDARD.encode(bytes)
}
