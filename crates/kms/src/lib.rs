//! The key service (KMS): symmetric keys, their aliases, policies and grants, and what is encrypted with them.
//!
//! Records are in `model::record::kms`; finding, judging and using a key is `control::keys`, which EC2 shares. Here are the
//! operations and what the clock does to keys ([`sweeps`]): those whose waiting period is over are deleted with their
//! material, and what they encrypted stays closed; those that rotate get new material.
//!
//! Callers: the gateway, by [`service`]; the server, by [`sweeps`].
//! AWS: <https://docs.aws.amazon.com/kms/latest/APIReference/Welcome.html>
//! Differs: keys are symmetric (`SYMMETRIC_DEFAULT`, `ENCRYPT_DECRYPT`) of the service's own making; asymmetric and HMAC keys,
//! imported material, key stores and multi-region keys are refused by name. Policies and grants are enforced at once
//! (grant tokens need not be shown); where a policy leaves a decision to IAM, everybody in the account may. Of conditions
//! some are known, see `control::policy`.

mod alias;
mod crypto;
mod data_key;
mod describe;
mod errors;
mod grant;
mod key;
mod list;
mod page;
mod policy;
mod rotation;
mod sweep;
mod tag;

pub use sweep::sweep;

use api_kms::ops;
use control::keys::{self, Use};
use control::{Arn, Context, Result, Schema, Service, Sweep, Tables, Touched, Txn};
use model::record::kms::{Alias, Grant, Key};
use std::sync::Arc;

/// What the clock does.
pub fn sweeps() -> Vec<Sweep> {
    vec![Sweep::new("keys", async |cloud| sweep(&cloud).await)]
}

/// The nouns that keys are kept in. Whoever keeps encrypted data needs them too.
pub fn schema(schema: &mut Schema) {
    schema.add::<Key>().add::<Alias>().add::<Grant>();
}

/// A key that a request names in any way, for the caller to use like this.
fn usable<'a>(ctx: &Context, tables: &'a Tables, named: &str, wanted: Use<'_>) -> Result<&'a Arc<Key>> {
    let key = keys::find(ctx, tables, named).map_err(errors::of)?;
    keys::permit(ctx, tables, key, wanted).map_err(errors::of)?;
    Ok(key)
}

/// A key that a request names by its id or ARN, for the caller to look at or to change.
fn named<'a>(ctx: &Context, tables: &'a Tables, id: &str, action: &str) -> Result<&'a Arc<Key>> {
    if id.starts_with("alias/") || id.contains(":alias/") {
        return Err(errors::invalid_key_id(id));
    }
    usable(ctx, tables, id, Use::plain(action))
}

/// [`named`], held until the commit.
fn held(ctx: &Context, txn: &mut Txn<'_>, id: &str, action: &str) -> Result<Arc<Key>> {
    let key = named(ctx, txn.tables(), id, action)?;
    let id = key.key;
    txn.get::<Key>(&ctx.region, &id).ok_or_else(|| errors::invalid_key_id(&id.to_string()))
}

/// What operations on one key touch.
fn one(ctx: &Context, tables: &Tables, id: &str) -> Vec<Touched> {
    keys::find(ctx, tables, id).map_or_else(
        |_| Touched::anything(),
        |key| vec![Touched::new(Arn::new("kms", &ctx.region, key.account, "key", key.key)).tagged(&key.tags)],
    )
}

/// The service with every operation that is built.
pub fn service() -> Service {
    let mut service = Service::new(&api_kms::SERVICE);
    service
        .write(ops::CreateKey, |_, _, _| Touched::anything(), key::create)
        .write(ops::DescribeKey, |ctx, r, tables| one(ctx, tables, &r.key_id), describe::describe)
        .read(ops::ListKeys, |_, _, _| Touched::anything(), list::keys)
        .read(ops::ListAliases, |_, _, _| Touched::anything(), list::aliases)
        .write(ops::CreateAlias, |ctx, r, tables| one(ctx, tables, &r.target_key_id), alias::create)
        .write(ops::UpdateAlias, |ctx, r, tables| one(ctx, tables, &r.target_key_id), alias::update)
        .write(ops::DeleteAlias, |_, _, _| Touched::anything(), alias::delete)
        .read(ops::Encrypt, |ctx, r, tables| one(ctx, tables, &r.key_id), crypto::encrypt)
        .read(ops::Decrypt, |_, _, _| Touched::anything(), crypto::decrypt)
        .read(ops::ReEncrypt, |ctx, r, tables| one(ctx, tables, &r.destination_key_id), crypto::re_encrypt)
        .read(ops::GenerateDataKey, |ctx, r, tables| one(ctx, tables, &r.key_id), data_key::generate)
        .read(
            ops::GenerateDataKeyWithoutPlaintext,
            |ctx, r, tables| one(ctx, tables, &r.key_id),
            data_key::without_plaintext,
        )
        .read(ops::GenerateRandom, |_, _, _| Touched::anything(), data_key::random)
        .write(ops::EnableKey, |ctx, r, tables| one(ctx, tables, &r.key_id), key::enable)
        .write(ops::DisableKey, |ctx, r, tables| one(ctx, tables, &r.key_id), key::disable)
        .write(ops::ScheduleKeyDeletion, |ctx, r, tables| one(ctx, tables, &r.key_id), key::schedule_deletion)
        .write(ops::CancelKeyDeletion, |ctx, r, tables| one(ctx, tables, &r.key_id), key::cancel_deletion)
        .write(ops::UpdateKeyDescription, |ctx, r, tables| one(ctx, tables, &r.key_id), key::describe_anew)
        .read(ops::GetKeyPolicy, |ctx, r, tables| one(ctx, tables, &r.key_id), policy::get)
        .write(ops::PutKeyPolicy, |ctx, r, tables| one(ctx, tables, &r.key_id), policy::put)
        .read(ops::ListKeyPolicies, |ctx, r, tables| one(ctx, tables, &r.key_id), policy::list)
        .write(ops::CreateGrant, |ctx, r, tables| one(ctx, tables, &r.key_id), grant::create)
        .read(ops::ListGrants, |ctx, r, tables| one(ctx, tables, &r.key_id), grant::list)
        .read(ops::ListRetirableGrants, |_, _, _| Touched::anything(), grant::retirable)
        .write(ops::RevokeGrant, |ctx, r, tables| one(ctx, tables, &r.key_id), grant::revoke)
        .write(ops::RetireGrant, |_, _, _| Touched::anything(), grant::retire)
        .write(ops::TagResource, |ctx, r, tables| one(ctx, tables, &r.key_id), tag::tag)
        .write(ops::UntagResource, |ctx, r, tables| one(ctx, tables, &r.key_id), tag::untag)
        .read(ops::ListResourceTags, |ctx, r, tables| one(ctx, tables, &r.key_id), tag::list)
        .write(ops::EnableKeyRotation, |ctx, r, tables| one(ctx, tables, &r.key_id), rotation::enable)
        .write(ops::DisableKeyRotation, |ctx, r, tables| one(ctx, tables, &r.key_id), rotation::disable)
        .read(ops::GetKeyRotationStatus, |ctx, r, tables| one(ctx, tables, &r.key_id), rotation::status)
        .write(ops::RotateKeyOnDemand, |ctx, r, tables| one(ctx, tables, &r.key_id), rotation::on_demand)
        .read(ops::ListKeyRotations, |ctx, r, tables| one(ctx, tables, &r.key_id), rotation::list);
    service
}
