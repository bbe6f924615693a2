//! Rotation: new material for a key, by the clock or on demand. What the old encrypted is still decrypted.
//!
//! AWS: <https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html>

use crate::describe::{material_id, wire_time};
use crate::errors::{invalid_state, limit_exceeded, unsupported, validation};
use crate::page::{self, Page};
use crate::{held, named};
use api_kms::{
    DisableKeyRotationRequest, DisableKeyRotationResult, EnableKeyRotationRequest, EnableKeyRotationResult,
    GetKeyRotationStatusRequest, GetKeyRotationStatusResponse, IncludeKeyMaterial, KeyMaterialState,
    ListKeyRotationsRequest, ListKeyRotationsResponse, RotateKeyOnDemandRequest, RotateKeyOnDemandResponse,
    RotationType, RotationsListEntry,
};
use control::keys::{self, KeyError};
use control::{Cloud, Context, Result, Tables, Txn};
use model::Timestamp;
use model::record::kms::{Key, KeyState, Rotation};
use std::sync::Arc;
use std::time::Duration;

/// Days between rotations.
const PERIOD: std::ops::RangeInclusive<i32> = 90..=2560;
const USUAL: i32 = 365;
/// The most rotations on demand of one key.
const MOST: usize = 25;

pub fn due(since: Timestamp, days: u32) -> Timestamp {
    since + Duration::from_hours(24) * days
}

fn rotatable(ctx: &Context, txn: &mut Txn<'_>, id: &str, action: &str) -> Result<Arc<Key>> {
    let key = held(ctx, txn, id, action)?;
    if key.managed_by.is_some() {
        return Err(unsupported("Rotating a key that a service manages"));
    }
    match key.state {
        KeyState::Enabled => Ok(key),
        KeyState::Disabled => Err(crate::errors::of(KeyError::Disabled(key.arn()))),
        KeyState::PendingDeletion(_) => Err(invalid_state(format!("{} is pending deletion.", key.arn()))),
    }
}

pub fn enable(
    ctx: &Context,
    request: &EnableKeyRotationRequest,
    txn: &mut Txn<'_>,
) -> Result<EnableKeyRotationResult> {
    let key = rotatable(ctx, txn, &request.key_id, "EnableKeyRotation")?;
    let before = key.rotation.map_or(USUAL, |rotation| rotation.days.cast_signed());
    let days = request.rotation_period_in_days.unwrap_or(before);
    if !PERIOD.contains(&days) {
        return Err(validation(format!("A rotation period is {} to {} days.", PERIOD.start(), PERIOD.end())));
    }
    let days = days.unsigned_abs();
    let rotation = Some(Rotation { days, next: due(ctx.now, days) });
    txn.put(&ctx.region, Key { rotation, ..(*key).clone() });
    Ok(EnableKeyRotationResult {})
}

pub fn disable(
    ctx: &Context,
    request: &DisableKeyRotationRequest,
    txn: &mut Txn<'_>,
) -> Result<DisableKeyRotationResult> {
    let key = rotatable(ctx, txn, &request.key_id, "DisableKeyRotation")?;
    txn.put(&ctx.region, Key { rotation: None, ..(*key).clone() });
    Ok(DisableKeyRotationResult {})
}

pub fn status(
    ctx: &Context,
    request: &GetKeyRotationStatusRequest,
    tables: &Tables,
) -> Result<GetKeyRotationStatusResponse> {
    let key = named(ctx, tables, &request.key_id, "GetKeyRotationStatus")?;
    Ok(GetKeyRotationStatusResponse {
        key_rotation_enabled: Some(key.rotation.is_some()),
        key_id: Some(key.arn()),
        rotation_period_in_days: key.rotation.map(|rotation| rotation.days.cast_signed()),
        next_rotation_date: key.rotation.map(|rotation| wire_time(rotation.next)),
        ..GetKeyRotationStatusResponse::default()
    })
}

/// Gives a key new material.
pub fn rotated(cloud: &Cloud, key: &Key, now: Timestamp, on_demand: bool) -> Key {
    let mut after = key.clone();
    let number = u32::try_from(key.material.len()).unwrap_or(u32::MAX);
    after.material.push(keys::material(cloud, now, key.key, number, on_demand));
    after
}

pub fn on_demand(
    ctx: &Context,
    request: &RotateKeyOnDemandRequest,
    txn: &mut Txn<'_>,
) -> Result<RotateKeyOnDemandResponse> {
    let key = rotatable(ctx, txn, &request.key_id, "RotateKeyOnDemand")?;
    if key.material.iter().filter(|material| material.on_demand).count() >= MOST {
        return Err(limit_exceeded(format!("A key is rotated on demand at most {MOST} times.")));
    }
    let arn = key.arn();
    txn.put(&ctx.region, rotated(&ctx.cloud, &key, ctx.now, true));
    Ok(RotateKeyOnDemandResponse { key_id: Some(arn) })
}

pub fn list(
    ctx: &Context,
    request: &ListKeyRotationsRequest,
    tables: &Tables,
) -> Result<ListKeyRotationsResponse> {
    let key = named(ctx, tables, &request.key_id, "ListKeyRotations")?;
    let all = request.include_key_material == Some(IncludeKeyMaterial::AllKeyMaterial);
    let last = key.material.len().saturating_sub(1);
    let rotations = key.material.iter().enumerate().filter(|(version, _)| all || *version > 0);
    let entries = rotations.map(|(version, material)| {
        let state = if version == last { KeyMaterialState::Current } else { KeyMaterialState::NonCurrent };
        let kind = if material.on_demand { RotationType::OnDemand } else { RotationType::Automatic };
        let entry = RotationsListEntry {
            key_id: Some(key.key.to_string()),
            key_material_id: Some(material_id(key.key, version)),
            key_material_state: Some(state),
            // The first came with the key.
            rotation_date: (version > 0).then(|| wire_time(material.since)),
            rotation_type: (version > 0).then_some(kind),
            ..RotationsListEntry::default()
        };
        (format!("{version:08}"), entry)
    });
    let Page { items, next, truncated } =
        page::cut(entries.collect(), request.limit, 100, request.marker.as_deref())?;
    Ok(ListKeyRotationsResponse { rotations: Some(items), next_marker: next, truncated: Some(truncated) })
}
