//! Grants: leave for one principal to use a key in some ways, beside its policy.
//!
//! AWS: <https://docs.aws.amazon.com/kms/latest/developerguide/grants.html>

use crate::describe::wire_time;
use crate::errors::{invalid_state, unsupported, validation};
use crate::page::{self, Page};
use crate::{held, named};
use api_kms::errors::{
    INVALID_ARN_EXCEPTION, INVALID_GRANT_ID_EXCEPTION, INVALID_GRANT_TOKEN_EXCEPTION, NOT_FOUND_EXCEPTION,
};
use api_kms::{
    CreateGrantRequest, CreateGrantResponse, GrantConstraints, GrantListEntry, GrantOperation,
    ListGrantsRequest, ListGrantsResponse, ListRetirableGrantsRequest, RetireGrantRequest, RetireGrantResult,
    RevokeGrantRequest, RevokeGrantResult,
};
use control::{Context, Result, Tables, Txn};
use model::record::kms::{Constraint, Grant, Key, KeyState};
use std::sync::Arc;
use wire::ApiError;

/// What a grant for a symmetric key can be about.
const OPERATIONS: [&str; 9] = [
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "CreateGrant",
    "RetireGrant",
    "DescribeKey",
];

fn principal(arn: &str) -> Result<String> {
    let known = arn.starts_with("arn:aws:iam::") || arn.starts_with("arn:aws:sts::");
    let service = arn.ends_with(".amazonaws.com");
    if known || service {
        return Ok(arn.to_owned());
    }
    let shown: String = arn.chars().take(256).collect();
    Err(ApiError::of(&INVALID_ARN_EXCEPTION, format!("Invalid principal {shown}")))
}

fn constraint(given: Option<&GrantConstraints>) -> Result<Option<Constraint>> {
    let Some(given) = given else { return Ok(None) };
    match (&given.encryption_context_equals, &given.encryption_context_subset) {
        (Some(equals), None) => Ok(Some(Constraint::Equals(equals.clone()))),
        (None, Some(subset)) => Ok(Some(Constraint::Subset(subset.clone()))),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(validation("A grant has one constraint at most.")),
    }
}

fn hex(ctx: &Context) -> String {
    format!("{:032x}{:032x}", ctx.bits(), ctx.bits())
}

pub fn create(ctx: &Context, request: &CreateGrantRequest, txn: &mut Txn<'_>) -> Result<CreateGrantResponse> {
    let mut operations: Vec<String> =
        request.operations.iter().map(|operation| operation.as_str().to_owned()).collect();
    operations.sort_unstable();
    operations.dedup();
    if let Some(other) = operations.iter().find(|operation| !OPERATIONS.contains(&operation.as_str())) {
        let shown: String = other.chars().take(64).collect();
        return Err(unsupported(&format!("A grant for {shown}")));
    }
    if operations.is_empty() {
        return Err(validation("A grant is for at least one operation."));
    }
    let grantee = principal(&request.grantee_principal)?;
    let retiring = request.retiring_principal.as_deref().map(principal).transpose()?;
    let constraint = constraint(request.constraints.as_ref())?;
    let key = held(ctx, txn, &request.key_id, "CreateGrant")?;
    match key.state {
        KeyState::Enabled => {}
        KeyState::Disabled => return Err(crate::errors::of(control::keys::KeyError::Disabled(key.arn()))),
        KeyState::PendingDeletion(_) => {
            return Err(invalid_state(format!("{} is pending deletion.", key.arn())));
        }
    }
    let same = txn.tables().find::<Grant>(&ctx.region, "key", key.key).find(|grant| {
        request.name.is_some()
            && grant.name == request.name
            && (&grant.grantee, &grant.retiring, &grant.operations, &grant.constraint)
                == (&grantee, &retiring, &operations, &constraint)
    });
    // The same grant by the same name is there once.
    if let Some(same) = same {
        return Ok(CreateGrantResponse {
            grant_token: Some(same.token.clone()),
            grant_id: Some(same.grant.clone()),
        });
    }
    let grant = Grant {
        grant: hex(ctx),
        key: key.key,
        token: hex(ctx),
        name: request.name.clone(),
        issuer: ctx.account(),
        grantee,
        retiring,
        operations,
        constraint,
        created_at: ctx.now,
    };
    let grant = txn.put(&ctx.region, grant);
    Ok(CreateGrantResponse { grant_token: Some(grant.token.clone()), grant_id: Some(grant.grant.clone()) })
}

fn entry(key: &Key, grant: &Grant) -> GrantListEntry {
    let constraints = grant.constraint.as_ref().map(|constraint| match constraint {
        Constraint::Equals(context) => GrantConstraints {
            encryption_context_equals: Some(context.clone()),
            ..GrantConstraints::default()
        },
        Constraint::Subset(context) => GrantConstraints {
            encryption_context_subset: Some(context.clone()),
            ..GrantConstraints::default()
        },
    });
    GrantListEntry {
        key_id: Some(key.arn()),
        grant_id: Some(grant.grant.clone()),
        name: Some(grant.name.clone().unwrap_or_default()),
        creation_date: Some(wire_time(grant.created_at)),
        grantee_principal: Some(grant.grantee.clone()),
        retiring_principal: grant.retiring.clone(),
        issuing_account: Some(format!("arn:aws:iam::{}:root", grant.issuer)),
        operations: Some(grant.operations.iter().map(|name| GrantOperation::from(name.as_str())).collect()),
        constraints,
    }
}

fn answer(
    entries: Vec<(String, GrantListEntry)>,
    limit: Option<i32>,
    marker: Option<&str>,
) -> Result<ListGrantsResponse> {
    let Page { items, next, truncated } = page::cut(entries, limit, 50, marker)?;
    Ok(ListGrantsResponse { grants: Some(items), next_marker: next, truncated: Some(truncated) })
}

pub fn list(ctx: &Context, request: &ListGrantsRequest, tables: &Tables) -> Result<ListGrantsResponse> {
    let key = named(ctx, tables, &request.key_id, "ListGrants")?;
    let all = tables.find::<Grant>(&ctx.region, "key", key.key);
    let shown = all.filter(|grant| {
        request.grant_id.as_ref().is_none_or(|id| *id == grant.grant)
            && request.grantee_principal.as_ref().is_none_or(|who| *who == grant.grantee)
    });
    let entries: Vec<_> = shown.map(|grant| (grant.grant.clone(), entry(key, grant))).collect();
    if entries.is_empty() && request.grant_id.is_some() {
        return Err(ApiError::of(&INVALID_GRANT_ID_EXCEPTION, "The key has no such grant."));
    }
    answer(entries, request.limit, request.marker.as_deref())
}

pub fn retirable(
    ctx: &Context,
    request: &ListRetirableGrantsRequest,
    tables: &Tables,
) -> Result<ListGrantsResponse> {
    let all = tables.all::<Grant>(&ctx.region);
    let shown = all.filter_map(|grant| {
        let key = tables.get::<Key>(&ctx.region, &grant.key)?;
        // Whose grants they are: those of the caller's account, or for the caller.
        let visible = grant.issuer == ctx.account() || request.retiring_principal == ctx.caller.arn;
        let retirable = grant.retiring.as_ref() == Some(&request.retiring_principal);
        (visible && retirable).then(|| (grant.grant.clone(), entry(key, grant)))
    });
    answer(shown.collect(), request.limit, request.marker.as_deref())
}

/// A grant by an id that a caller sent: whatever else it is, it is short.
fn by_id(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Option<Arc<Grant>> {
    let plausible = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plausible { txn.get::<Grant>(&ctx.region, &id.to_owned()) } else { None }
}

pub fn revoke(ctx: &Context, request: &RevokeGrantRequest, txn: &mut Txn<'_>) -> Result<RevokeGrantResult> {
    let key = held(ctx, txn, &request.key_id, "RevokeGrant")?;
    let grant = by_id(ctx, txn, &request.grant_id).filter(|grant| grant.key == key.key);
    let grant = grant.ok_or_else(|| ApiError::of(&NOT_FOUND_EXCEPTION, "The key has no such grant."))?;
    txn.delete::<Grant>(&ctx.region, &grant.grant);
    Ok(RevokeGrantResult {})
}

pub fn retire(ctx: &Context, request: &RetireGrantRequest, txn: &mut Txn<'_>) -> Result<RetireGrantResult> {
    let grant = match (&request.grant_token, &request.key_id, &request.grant_id) {
        (Some(token), None, None) => {
            let id = txn.tables().all::<Grant>(&ctx.region).find(|grant| grant.token == *token);
            let id = id.map(|grant| grant.grant.clone());
            id.and_then(|id| txn.get::<Grant>(&ctx.region, &id))
                .ok_or_else(|| ApiError::of(&INVALID_GRANT_TOKEN_EXCEPTION, "No grant has this token."))?
        }
        (None, Some(named), Some(id)) => {
            let key = control::keys::find(ctx, txn.tables(), named).map_err(crate::errors::of)?.key;
            by_id(ctx, txn, id)
                .filter(|grant| grant.key == key)
                .ok_or_else(|| ApiError::of(&INVALID_GRANT_ID_EXCEPTION, "The key has no such grant."))?
        }
        _ => return Err(validation("A grant is named by its token, or by its key and its id.")),
    };
    let root = format!("arn:aws:iam::{}:root", ctx.account());
    let is = |who: &String| *who == ctx.caller.arn || *who == root;
    let as_grantee = is(&grant.grantee) && grant.operations.iter().any(|name| name == "RetireGrant");
    if grant.issuer != ctx.account() && !grant.retiring.as_ref().is_some_and(is) && !as_grantee {
        return Err(control::errors::access_denied_exception(&ctx.caller, "kms:RetireGrant", 400));
    }
    txn.delete::<Grant>(&ctx.region, &grant.grant);
    Ok(RetireGrantResult {})
}
