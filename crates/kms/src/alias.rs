//! Aliases: other names for a key, which may be given to another key later.
//!
//! AWS: <https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html>

use crate::errors::{invalid_state, limit_exceeded, validation};
use crate::held;
use api_kms::errors::{ALREADY_EXISTS_EXCEPTION, INVALID_ALIAS_NAME_EXCEPTION, NOT_FOUND_EXCEPTION};
use api_kms::{
    CreateAliasRequest, CreateAliasResult, DeleteAliasRequest, DeleteAliasResult, UpdateAliasRequest,
    UpdateAliasResult,
};
use control::{Context, Result, Txn, keys};
use model::record::kms::{Alias, Key, KeyState};
use std::sync::Arc;
use wire::ApiError;

/// The most aliases of one key.
const MOST: usize = 50;

fn check(name: &str) -> Result<()> {
    if !name.starts_with("alias/") {
        return Err(validation("Invalid identifier: an alias begins with 'alias/'."));
    }
    if !keys::is_alias_name(name) {
        return Err(ApiError::of(
            &INVALID_ALIAS_NAME_EXCEPTION,
            "An alias consists of letters, digits, '/', '_' and '-'.",
        ));
    }
    // Those of the services.
    if name.starts_with("alias/aws/") {
        return Err(ApiError::new(
            "NotAuthorizedException",
            400,
            "Aliases that begin with 'alias/aws/' are AWS's own.",
        ));
    }
    Ok(())
}

fn not_found(ctx: &Context, name: &str) -> ApiError {
    let arn = format!("arn:aws:kms:{}:{}:{name}", ctx.region, ctx.account());
    ApiError::of(&NOT_FOUND_EXCEPTION, format!("Alias {arn} is not found."))
}

fn target(ctx: &Context, txn: &mut Txn<'_>, id: &str, action: &str) -> Result<Arc<Key>> {
    let key = held(ctx, txn, id, action)?;
    if matches!(key.state, KeyState::PendingDeletion(_)) {
        return Err(invalid_state(format!("{} is pending deletion.", key.arn())));
    }
    if txn.tables().find::<Alias>(&ctx.region, "key", key.key).count() >= MOST {
        return Err(limit_exceeded(format!("A key has at most {MOST} aliases.")));
    }
    Ok(key)
}

pub fn create(ctx: &Context, request: &CreateAliasRequest, txn: &mut Txn<'_>) -> Result<CreateAliasResult> {
    let name = &request.alias_name;
    check(name)?;
    let key = target(ctx, txn, &request.target_key_id, "CreateAlias")?;
    if txn.get::<Alias>(&ctx.region, &Alias::id_of(ctx.account(), name)).is_some() {
        let arn = format!("arn:aws:kms:{}:{}:{name}", ctx.region, ctx.account());
        return Err(ApiError::of(
            &ALREADY_EXISTS_EXCEPTION,
            format!("An alias with the name {arn} already exists"),
        ));
    }
    txn.put(
        &ctx.region,
        Alias {
            account: ctx.account(),
            name: name.clone(),
            key: key.key,
            created_at: ctx.now,
            updated_at: ctx.now,
        },
    );
    Ok(CreateAliasResult {})
}

pub fn update(ctx: &Context, request: &UpdateAliasRequest, txn: &mut Txn<'_>) -> Result<UpdateAliasResult> {
    let name = &request.alias_name;
    check(name)?;
    let id = Alias::id_of(ctx.account(), name);
    let alias = txn.get::<Alias>(&ctx.region, &id).ok_or_else(|| not_found(ctx, name))?;
    let key = target(ctx, txn, &request.target_key_id, "UpdateAlias")?;
    txn.put(&ctx.region, Alias { key: key.key, updated_at: ctx.now, ..(*alias).clone() });
    Ok(UpdateAliasResult {})
}

pub fn delete(ctx: &Context, request: &DeleteAliasRequest, txn: &mut Txn<'_>) -> Result<DeleteAliasResult> {
    let name = &request.alias_name;
    check(name)?;
    let id = Alias::id_of(ctx.account(), name);
    txn.get::<Alias>(&ctx.region, &id).ok_or_else(|| not_found(ctx, name))?;
    txn.delete::<Alias>(&ctx.region, &id);
    Ok(DeleteAliasResult {})
}
