//! Keys are made, enabled and disabled, and deleted after a waiting period that lets one change one's mind.
//!
//! AWS: <https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html>

use crate::describe::{metadata, wire_time};
use crate::errors::{invalid_state, unsupported, validation};
use crate::{errors, held, policy, tag};
use api_kms::{
    CancelKeyDeletionRequest, CancelKeyDeletionResponse, CreateKeyRequest, CreateKeyResponse,
    CustomerMasterKeySpec, DisableKeyRequest, DisableKeyResult, EnableKeyRequest, EnableKeyResult, KeySpec,
    KeyUsageType, OriginType, ScheduleKeyDeletionRequest, ScheduleKeyDeletionResponse,
    UpdateKeyDescriptionRequest, UpdateKeyDescriptionResult,
};
use control::{Context, Result, Txn, keys};
use model::record::kms::{Key, KeyState};
use std::time::Duration;

/// Days that a key waits to be deleted.
const WAITING: std::ops::RangeInclusive<i32> = 7..=30;
const USUAL_WAIT: i32 = 30;

pub fn create(ctx: &Context, request: &CreateKeyRequest, txn: &mut Txn<'_>) -> Result<CreateKeyResponse> {
    let spec = request.key_spec.as_ref().map(KeySpec::as_str);
    let old = request.customer_master_key_spec.as_ref().map(CustomerMasterKeySpec::as_str);
    match spec.or(old) {
        None | Some("SYMMETRIC_DEFAULT") => {}
        Some(other) => return Err(unsupported(&format!("The key spec {other}"))),
    }
    match &request.key_usage {
        None | Some(KeyUsageType::EncryptDecrypt) => {}
        Some(other) => return Err(unsupported(&format!("The key usage {}", other.as_str()))),
    }
    match &request.origin {
        None | Some(OriginType::AwsKms) => {}
        Some(other) => return Err(unsupported(&format!("The origin {}", other.as_str()))),
    }
    if request.custom_key_store_id.is_some() || request.xks_key_id.is_some() {
        return Err(unsupported("A custom key store"));
    }
    if request.multi_region == Some(true) {
        return Err(unsupported("A multi-region key"));
    }
    let policy = match &request.policy {
        None => keys::default_policy(ctx.account()),
        Some(text) => {
            let bypass = request.bypass_policy_lockout_safety_check == Some(true);
            policy::check(ctx, text, bypass)?;
            text.clone()
        }
    };
    let mut key = keys::make(ctx, request.description.clone().unwrap_or_default(), policy);
    tag::merge(&mut key.tags, request.tags.as_deref().unwrap_or_default())?;
    let key = txn.put(&ctx.region, key);
    Ok(CreateKeyResponse { key_metadata: Some(metadata(&key)) })
}

/// Keys that wait for their deletion are changed by taking that back alone.
fn not_pending(key: &Key) -> Result<()> {
    match key.state {
        KeyState::Enabled | KeyState::Disabled => Ok(()),
        KeyState::PendingDeletion(_) => Err(invalid_state(format!("{} is pending deletion.", key.arn()))),
    }
}

pub fn enable(ctx: &Context, request: &EnableKeyRequest, txn: &mut Txn<'_>) -> Result<EnableKeyResult> {
    let key = held(ctx, txn, &request.key_id, "EnableKey")?;
    not_pending(&key)?;
    txn.put(&ctx.region, Key { state: KeyState::Enabled, ..(*key).clone() });
    Ok(EnableKeyResult {})
}

pub fn disable(ctx: &Context, request: &DisableKeyRequest, txn: &mut Txn<'_>) -> Result<DisableKeyResult> {
    let key = held(ctx, txn, &request.key_id, "DisableKey")?;
    not_pending(&key)?;
    txn.put(&ctx.region, Key { state: KeyState::Disabled, ..(*key).clone() });
    Ok(DisableKeyResult {})
}

pub fn schedule_deletion(
    ctx: &Context,
    request: &ScheduleKeyDeletionRequest,
    txn: &mut Txn<'_>,
) -> Result<ScheduleKeyDeletionResponse> {
    let days = request.pending_window_in_days.unwrap_or(USUAL_WAIT);
    if !WAITING.contains(&days) {
        return Err(validation(format!(
            "PendingWindowInDays must be between {} and {}, not {days}.",
            WAITING.start(),
            WAITING.end()
        )));
    }
    let key = held(ctx, txn, &request.key_id, "ScheduleKeyDeletion")?;
    not_pending(&key)?;
    let at = ctx.now + Duration::from_hours(24) * days.unsigned_abs();
    let state = KeyState::PendingDeletion(at);
    let arn = key.arn();
    txn.put(&ctx.region, Key { state, ..(*key).clone() });
    Ok(ScheduleKeyDeletionResponse {
        key_id: Some(arn),
        deletion_date: Some(wire_time(at)),
        key_state: Some(state.name().into()),
        pending_window_in_days: Some(days),
    })
}

pub fn cancel_deletion(
    ctx: &Context,
    request: &CancelKeyDeletionRequest,
    txn: &mut Txn<'_>,
) -> Result<CancelKeyDeletionResponse> {
    let key = held(ctx, txn, &request.key_id, "CancelKeyDeletion")?;
    match key.state {
        KeyState::PendingDeletion(_) => {}
        KeyState::Enabled | KeyState::Disabled => {
            return Err(invalid_state(format!("{} is not pending deletion.", key.arn())));
        }
    }
    let arn = key.arn();
    // As on AWS it comes back disabled.
    txn.put(&ctx.region, Key { state: KeyState::Disabled, ..(*key).clone() });
    Ok(CancelKeyDeletionResponse { key_id: Some(arn) })
}

pub fn describe_anew(
    ctx: &Context,
    request: &UpdateKeyDescriptionRequest,
    txn: &mut Txn<'_>,
) -> Result<UpdateKeyDescriptionResult> {
    let key = held(ctx, txn, &request.key_id, "UpdateKeyDescription")?;
    if key.managed_by.is_some() {
        return Err(errors::unsupported("Changing a key that a service manages"));
    }
    not_pending(&key)?;
    txn.put(&ctx.region, Key { description: request.description.clone(), ..(*key).clone() });
    Ok(UpdateKeyDescriptionResult {})
}
