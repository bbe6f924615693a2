//! Key pairs: made here or imported, and put into instances at their launch.
//!
//! A name is one account's alone in a region: the claim [`name_claim`], whose value is the key pair's id. The private half
//! is made outside the transaction, leaves with the answer and is kept nowhere.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-key-pairs.html>
//! Differs: no `ppk` format.

mod create;
mod delete;
mod describe;
pub mod fingerprint;
mod generate;
mod import;
mod public_key;

pub use public_key::{InvalidKey, PublicKey};

use crate::errors::{self, IdErrors, client, invalid_parameter_value};
use crate::noun::{Noun, created, touched};
use api_ec2::ops;
use control::filter::{FilterField, one, shown};
use control::tag::Tags;
use control::{Context, Result, Service, Tables, Touched, Txn};
use model::record::key_pair::{KeyPair, KeyType};
use model::{AccountId, KeyPairId};
use std::sync::Arc;

impl Noun for KeyPair {
    const RESOURCE_TYPE: &'static str = "key-pair";
    const ERRORS: IdErrors = errors::KEY_PAIR;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        const FILTERS: &[FilterField<KeyPair, Tables>] = &[
            FilterField { name: "fingerprint", values: |k, _| one(k.fingerprint.as_str()) },
            FilterField { name: "key-name", values: |k, _| one(k.name.as_str()) },
            FilterField { name: "key-pair-id", values: |k, _| shown(k.key_pair) },
        ];
        FILTERS
    }

    /// Key pairs are granted by their name, not by their id.
    fn arn(&self, ctx: &Context) -> control::Arn {
        control::Arn::new("ec2", &ctx.region, self.account, Self::RESOURCE_TYPE, &self.name)
    }
}

/// The claim that makes a name one key pair's alone; its value is the key pair's id.
pub fn name_claim(account: AccountId, name: &str) -> String {
    format!("key-name/{account}/{name}")
}

/// The caller's key pair of that name.
pub fn by_name<'a>(ctx: &Context, tables: &'a Tables, name: &str) -> Option<&'a Arc<KeyPair>> {
    let id = tables.claimed(&ctx.region, &name_claim(ctx.account(), name))?;
    tables.get(&ctx.region, &KeyPairId::parse(id).ok()?)
}

/// `The key pair 'x' does not exist`.
pub fn no_such_name(name: &str) -> wire::ApiError {
    errors::KEY_PAIR.not_found(name)
}

fn touched_by_name<'a>(
    ctx: &Context,
    tables: &Tables,
    names: impl IntoIterator<Item = &'a String>,
) -> Vec<Touched> {
    let known = names.into_iter().filter_map(|name| by_name(ctx, tables, name));
    known.map(|k| Touched::new(k.arn(ctx)).tagged(&k.tags)).collect()
}

/// What AWS takes for a key's name: 1 to 255 printable ASCII characters, no space at either end.
fn check_name(name: &str) -> Result<()> {
    let printable = name.bytes().all(|b| (b' '..=b'~').contains(&b));
    if name.trim().is_empty() {
        Err(invalid_parameter_value(format!(
            "Invalid value '{name}' for keyPairName. It should not be blank."
        )))
    } else if !printable || name.len() > 255 || name.trim() != name {
        let shown: String = name.chars().take(64).collect();
        Err(invalid_parameter_value(format!(
            "Value ({shown}) for parameter keyName is invalid. A name has up to 255 ASCII characters and no spaces \
             at its ends."
        )))
    } else {
        Ok(())
    }
}

fn duplicate(name: &str) -> wire::ApiError {
    client("InvalidKeyPair.Duplicate", format!("The keypair already exists: {name}"))
}

/// Writes a new key pair under its name.
fn put(
    ctx: &Context,
    txn: &mut Txn<'_>,
    name: &str,
    key: &PublicKey,
    fingerprint: String,
    tags: Tags,
) -> Result<Arc<KeyPair>> {
    let id = KeyPairId::from_entropy(ctx.bits());
    let claim = name_claim(ctx.account(), name);
    txn.claim(&ctx.region, &claim, &id.to_string()).map_err(|_| duplicate(name))?;
    let record = KeyPair {
        key_pair: id,
        account: ctx.account(),
        name: name.to_owned(),
        key_type: key.key_type(),
        fingerprint,
        public_key: key.openssh_line(name),
        created_at: ctx.now,
        tags,
    };
    Ok(txn.put(&ctx.region, record))
}

fn render_type(key_type: KeyType) -> api_ec2::KeyType {
    match key_type {
        KeyType::Rsa => api_ec2::KeyType::Rsa,
        KeyType::Ed25519 => api_ec2::KeyType::Ed25519,
    }
}

pub fn register(service: &mut Service) {
    service
        .call(ops::CreateKeyPair, |ctx, _, _| vec![created(ctx, KeyPair::RESOURCE_TYPE)], create::create)
        .write(ops::ImportKeyPair, |ctx, _, _| vec![created(ctx, KeyPair::RESOURCE_TYPE)], import::import)
        .read(
            ops::DescribeKeyPairs,
            |ctx, request, tables| {
                let mut all = touched::<KeyPair>(ctx, tables, request.key_pair_ids.iter().flatten());
                all.extend(touched_by_name(ctx, tables, request.key_names.iter().flatten()));
                if all.is_empty() { Touched::anything() } else { all }
            },
            describe::describe,
        )
        .write(
            ops::DeleteKeyPair,
            |ctx, request, tables| {
                let mut all = touched::<KeyPair>(ctx, tables, &request.key_pair_id);
                all.extend(touched_by_name(ctx, tables, &request.key_name));
                all
            },
            delete::delete,
        );
}
