//! `DescribeKey`, and a key as the API shows it.

use crate::{errors, usable};
use api_kms::{
    DescribeKeyRequest, DescribeKeyResponse, EncryptionAlgorithmSpec, KeyManagerType, KeyMetadata, KeySpec,
    KeyState as State, KeyUsageType, OriginType,
};
use control::keys::{self, Use};
use control::{Context, Result, Txn};
use model::Timestamp;
use model::record::kms::{Key, KeyId, KeyState};

pub fn wire_time(at: Timestamp) -> wire::Timestamp {
    wire::Timestamp::from_millis(at.as_millis())
}

/// The id of a version of a key's material: 64 hex digits.
pub fn material_id(key: KeyId, version: usize) -> String {
    format!("{:032x}{:032x}", key.bits(), version + 1)
}

pub fn metadata(key: &Key) -> KeyMetadata {
    let deletion_date = match key.state {
        KeyState::PendingDeletion(at) => Some(wire_time(at)),
        KeyState::Enabled | KeyState::Disabled => None,
    };
    KeyMetadata {
        aws_account_id: Some(key.account.to_string()),
        key_id: Some(key.key.to_string()),
        arn: Some(key.arn()),
        creation_date: Some(wire_time(key.created_at)),
        enabled: Some(key.state == KeyState::Enabled),
        description: Some(key.description.clone()),
        key_usage: Some(KeyUsageType::EncryptDecrypt),
        key_state: Some(State::from(key.state.name())),
        deletion_date,
        origin: Some(OriginType::AwsKms),
        key_manager: Some(if key.managed_by.is_some() {
            KeyManagerType::Aws
        } else {
            KeyManagerType::Customer
        }),
        customer_master_key_spec: Some("SYMMETRIC_DEFAULT".into()),
        key_spec: Some(KeySpec::SymmetricDefault),
        encryption_algorithms: Some(vec![EncryptionAlgorithmSpec::SymmetricDefault]),
        multi_region: Some(false),
        current_key_material_id: Some(material_id(key.key, key.material.len().saturating_sub(1))),
        ..KeyMetadata::default()
    }
}

/// Describing the key of a service by its alias makes it, as on AWS.
pub fn describe(
    ctx: &Context,
    request: &DescribeKeyRequest,
    txn: &mut Txn<'_>,
) -> Result<DescribeKeyResponse> {
    let own = format!("arn:aws:kms:{}:{}:{}", ctx.region, ctx.account(), keys::EBS_ALIAS);
    if request.key_id == keys::EBS_ALIAS || request.key_id == own {
        let key = keys::managed(ctx, txn);
        return Ok(DescribeKeyResponse { key_metadata: Some(metadata(&key)) });
    }
    if request.key_id.starts_with("alias/") && !keys::is_alias_name(&request.key_id) {
        return Err(errors::invalid_key_id(&request.key_id));
    }
    let key = usable(ctx, txn.tables(), &request.key_id, Use::plain("DescribeKey"))?;
    Ok(DescribeKeyResponse { key_metadata: Some(metadata(key)) })
}
