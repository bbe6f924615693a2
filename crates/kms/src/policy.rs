//! `GetKeyPolicy`, `PutKeyPolicy`, `ListKeyPolicies`: a key has one policy, called `default`.
//!
//! AWS: <https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html>

use crate::errors::{invalid_state, limit_exceeded, malformed_policy};
use crate::page::{self, Page};
use crate::{held, named};
use api_kms::errors::NOT_FOUND_EXCEPTION;
use api_kms::{
    GetKeyPolicyRequest, GetKeyPolicyResponse, ListKeyPoliciesRequest, ListKeyPoliciesResponse,
    PutKeyPolicyRequest, PutKeyPolicyResult,
};
use control::keys::EncryptionContext;
use control::policy::{Ask, Document, LARGEST, Verdict};
use control::{Context, Result, Tables, Txn};
use model::record::kms::{Key, KeyState};
use wire::ApiError;

const NAME: &str = "default";

/// Whether a policy can be put on a key; unless that is bypassed, the caller must be able to change it.
pub fn check(ctx: &Context, text: &str, bypass: bool) -> Result<()> {
    if text.len() > LARGEST {
        return Err(limit_exceeded("A policy has at most 32 KiB."));
    }
    let document = Document::parse(text).map_err(|why| malformed_policy(why.0))?;
    let none = EncryptionContext::new();
    let ask = Ask {
        principal: &ctx.caller.arn,
        account: ctx.account(),
        action: "kms:PutKeyPolicy",
        resource: None,
        via: None,
        context: &none,
        passage: ctx.passage.as_deref(),
    };
    if !bypass && document.judge(&ask) != Verdict::Allow {
        return Err(malformed_policy("with it you could not change the policy any more"));
    }
    Ok(())
}

fn is_default(name: Option<&str>) -> Result<()> {
    if name.is_none_or(|name| name == NAME) {
        return Ok(());
    }
    Err(ApiError::of(&NOT_FOUND_EXCEPTION, "No such policy exists: a key has one, called 'default'."))
}

pub fn get(ctx: &Context, request: &GetKeyPolicyRequest, tables: &Tables) -> Result<GetKeyPolicyResponse> {
    let key = named(ctx, tables, &request.key_id, "GetKeyPolicy")?;
    is_default(request.policy_name.as_deref())?;
    Ok(GetKeyPolicyResponse { policy: Some(key.policy.clone()), policy_name: Some(NAME.to_owned()) })
}

pub fn put(ctx: &Context, request: &PutKeyPolicyRequest, txn: &mut Txn<'_>) -> Result<PutKeyPolicyResult> {
    is_default(request.policy_name.as_deref())?;
    let key = held(ctx, txn, &request.key_id, "PutKeyPolicy")?;
    if matches!(key.state, KeyState::PendingDeletion(_)) {
        return Err(invalid_state(format!("{} is pending deletion.", key.arn())));
    }
    check(ctx, &request.policy, request.bypass_policy_lockout_safety_check == Some(true))?;
    txn.put(&ctx.region, Key { policy: request.policy.clone(), ..(*key).clone() });
    Ok(PutKeyPolicyResult {})
}

pub fn list(
    ctx: &Context,
    request: &ListKeyPoliciesRequest,
    tables: &Tables,
) -> Result<ListKeyPoliciesResponse> {
    named(ctx, tables, &request.key_id, "ListKeyPolicies")?;
    let all = vec![(NAME.to_owned(), NAME.to_owned())];
    let Page { items, next, truncated } = page::cut(all, request.limit, 100, request.marker.as_deref())?;
    Ok(ListKeyPoliciesResponse { policy_names: Some(items), next_marker: next, truncated: Some(truncated) })
}
