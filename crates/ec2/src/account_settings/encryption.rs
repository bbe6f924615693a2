//! Encryption by default, and the key that encrypts where none is named: of an account, for a region.
//!
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html>

use crate::encryption::{named_key, refused};
use api_ec2::{
    DisableEbsEncryptionByDefaultResult, EnableEbsEncryptionByDefaultResult, GetEbsDefaultKmsKeyIdResult,
    GetEbsEncryptionByDefaultResult, ModifyEbsDefaultKmsKeyIdRequest, ModifyEbsDefaultKmsKeyIdResult,
    ResetEbsDefaultKmsKeyIdResult,
};
use control::keys::{self, EBS_ALIAS};
use control::{Context, Result, Tables, Txn};
use model::record::account::Settings;

pub fn enable(ctx: &Context, txn: &mut Txn<'_>) -> EnableEbsEncryptionByDefaultResult {
    let settings = super::of(ctx, txn);
    txn.put(&ctx.region, Settings { encrypts_by_default: true, ..settings });
    EnableEbsEncryptionByDefaultResult { ebs_encryption_by_default: Some(true) }
}

pub fn disable(ctx: &Context, txn: &mut Txn<'_>) -> DisableEbsEncryptionByDefaultResult {
    let settings = super::of(ctx, txn);
    txn.put(&ctx.region, Settings { encrypts_by_default: false, ..settings });
    DisableEbsEncryptionByDefaultResult { ebs_encryption_by_default: Some(false) }
}

pub fn get(ctx: &Context, tables: &Tables) -> GetEbsEncryptionByDefaultResult {
    GetEbsEncryptionByDefaultResult {
        ebs_encryption_by_default: Some(super::now(ctx, tables).encrypts_by_default),
        ..GetEbsEncryptionByDefaultResult::default()
    }
}

/// Nothing chosen shows as the alias of the managed key, as on AWS.
pub fn key(ctx: &Context, tables: &Tables) -> GetEbsDefaultKmsKeyIdResult {
    let chosen = super::now(ctx, tables).default_key;
    GetEbsDefaultKmsKeyIdResult { kms_key_id: Some(chosen.unwrap_or_else(|| EBS_ALIAS.to_owned())) }
}

pub fn modify_key(
    ctx: &Context,
    request: &ModifyEbsDefaultKmsKeyIdRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyEbsDefaultKmsKeyIdResult> {
    let key = named_key(ctx, txn, &request.kms_key_id).map_err(refused)?;
    keys::working(&key).map_err(refused)?;
    let arn = key.arn();
    let default_key = key.managed_by.is_none().then(|| arn.clone());
    let settings = super::of(ctx, txn);
    txn.put(&ctx.region, Settings { default_key, ..settings });
    Ok(ModifyEbsDefaultKmsKeyIdResult { kms_key_id: Some(arn) })
}

pub fn reset_key(ctx: &Context, txn: &mut Txn<'_>) -> ResetEbsDefaultKmsKeyIdResult {
    let settings = super::of(ctx, txn);
    txn.put(&ctx.region, Settings { default_key: None, ..settings });
    let arn = format!("arn:aws:kms:{}:{}:{EBS_ALIAS}", ctx.region, ctx.account());
    ResetEbsDefaultKmsKeyIdResult { kms_key_id: Some(arn) }
}
