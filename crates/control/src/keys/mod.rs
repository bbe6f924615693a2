//! Keys of the key service as the services use them: found by name, judged by policy and state, and used.
//!
//! The `kms` room serves the API and alone changes keys; whoever keeps encrypted data (EC2) asks here for data keys and
//! has them opened again. All secrets are sealed: a key's material with the [`RootKey`] of the cloud, data with the
//! material ([`cipher`]). Nothing is sealed with a name: ciphertexts say which key and which version of it made them.
//! AWS: <https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html>
//! Differs: key policies are judged here ([`crate::policy`]); where they leave a decision to IAM, everybody in the account may.

pub mod choice;
pub mod cipher;
mod root;

pub use cipher::Unreadable;
pub use root::RootKey;

use crate::policy::{Ask, Document, Verdict};
use crate::{Cloud, Context, Tables, Txn};
use model::record::kms::{Alias, Encryption, Grant, Key, KeyId, KeyState, Material};
use model::{AccountId, DataKey, Region, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a secret is bound to: it opens with the same context alone.
pub type EncryptionContext = BTreeMap<String, String>;

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// No such key or alias, or one of another account named by its id alone.
    NotFound(String),
    /// Named by an ARN of another region, or one that is none.
    InvalidArn(String),
    Disabled(String),
    PendingDeletion(String),
    Denied {
        action: String,
        arn: String,
    },
}

/// How a key is meant to be used.
#[derive(Clone, Copy)]
pub struct Use<'a> {
    /// `Encrypt`, without the service.
    pub action: &'a str,
    /// The service that asks on the caller's behalf, such as `ec2`.
    pub via: Option<&'a str>,
    pub context: &'a EncryptionContext,
}

static NO_CONTEXT: EncryptionContext = EncryptionContext::new();

impl<'a> Use<'a> {
    /// By the caller itself, without a context.
    pub fn plain(action: &'a str) -> Self {
        Self { action, via: None, context: &NO_CONTEXT }
    }

    /// By a service for the caller.
    pub fn via(action: &'a str, service: &'a str) -> Self {
        Self { action, via: Some(service), context: &NO_CONTEXT }
    }
}

/// What a request calls a key.
enum Name<'a> {
    Id(KeyId, Option<AccountId>),
    Alias(&'a str, Option<AccountId>),
}

fn parse<'a>(region: &Region, named: &'a str) -> Result<Name<'a>, KeyError> {
    let not_found = || KeyError::NotFound(shown(named));
    let Some(arn) = named.strip_prefix("arn:") else {
        if named.starts_with("alias/") {
            return Ok(Name::Alias(named, None));
        }
        return named.parse().map(|id| Name::Id(id, None)).map_err(|_| not_found());
    };
    let mut parts = arn.splitn(5, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (partition, service, at, account, resource) = (next(), next(), next(), next(), next());
    let account = AccountId::parse(account);
    let (Some(account), "aws", "kms") = (account, partition, service) else {
        return Err(KeyError::InvalidArn(shown(named)));
    };
    if at != region.as_str() {
        return Err(KeyError::InvalidArn(shown(named)));
    }
    match resource.strip_prefix("key/") {
        Some(id) => id.parse().map(|id| Name::Id(id, Some(account))).map_err(|_| not_found()),
        None if resource.starts_with("alias/") => Ok(Name::Alias(resource, Some(account))),
        None => Err(KeyError::InvalidArn(shown(named))),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(256).collect()
}

/// Whether an alias may be called this, `alias/` included.
pub fn is_alias_name(name: &str) -> bool {
    name.strip_prefix("alias/").is_some_and(|rest| {
        (1..=250).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-'))
    })
}

/// The key that `named` (an id, an ARN, an alias or an alias's ARN) names for the caller, whatever its state.
pub fn find<'a>(ctx: &Context, tables: &'a Tables, named: &str) -> Result<&'a Arc<Key>, KeyError> {
    find_in(ctx, tables, &ctx.region, named)
}

/// [`find`], in another region.
pub fn find_in<'a>(
    ctx: &Context,
    tables: &'a Tables,
    region: &Region,
    named: &str,
) -> Result<&'a Arc<Key>, KeyError> {
    let not_found = || KeyError::NotFound(shown(named));
    let (id, account) = match parse(region, named)? {
        Name::Id(id, account) => (id, account),
        Name::Alias(name, account) => {
            let owner = account.unwrap_or_else(|| ctx.account());
            let alias = is_alias_name(name).then(|| Alias::id_of(owner, name));
            let alias = alias.and_then(|id| tables.get::<Alias>(region, &id)).ok_or_else(not_found)?;
            (alias.key, account)
        }
    };
    let owner = account.unwrap_or_else(|| ctx.account());
    let key = tables.get::<Key>(region, &id).filter(|key| key.account == owner && !key.is_gone(ctx.now));
    key.ok_or_else(not_found)
}

/// The key behind the data of a record.
pub fn behind<'a>(
    ctx: &Context,
    tables: &'a Tables,
    encryption: &Encryption,
) -> Result<&'a Arc<Key>, KeyError> {
    let key = tables.get::<Key>(&encryption.region, &encryption.key);
    key.filter(|key| !key.is_gone(ctx.now)).ok_or_else(|| KeyError::NotFound(encryption.key_arn()))
}

/// Whether the caller may use the key like this, by its policy and its grants.
pub fn permit(ctx: &Context, tables: &Tables, key: &Key, wanted: Use<'_>) -> Result<(), KeyError> {
    let arn = key.arn();
    let action = format!("kms:{}", wanted.action);
    let via = wanted.via.map(|service| format!("{service}.{}.amazonaws.com", key.region));
    let ask = Ask {
        principal: &ctx.caller.arn,
        account: ctx.account(),
        action: &action,
        resource: None,
        via: via.as_deref(),
        context: wanted.context,
        passage: ctx.passage.as_deref(),
    };
    // Only what could be read was stored.
    let verdict = Document::parse(&key.policy).map_or(Verdict::Silent, |document| document.judge(&ask));
    let granted = || {
        let root = format!("arn:aws:iam::{}:root", ctx.account());
        tables.find::<Grant>(&key.region, "key", key.key).any(|grant| {
            (grant.grantee == ctx.caller.arn || grant.grantee == root)
                && grant.operations.iter().any(|operation| operation == wanted.action)
                && grant.constraint.as_ref().is_none_or(|constraint| constraint.holds(wanted.context))
        })
    };
    match verdict {
        Verdict::Allow => Ok(()),
        Verdict::Silent if granted() => Ok(()),
        Verdict::Silent | Verdict::Deny => Err(KeyError::Denied { action, arn }),
    }
}

/// Whether a key is in a state in which it encrypts and decrypts.
pub fn working(key: &Key) -> Result<(), KeyError> {
    match key.state {
        KeyState::Enabled => Ok(()),
        KeyState::Disabled => Err(KeyError::Disabled(key.arn())),
        KeyState::PendingDeletion(_) => Err(KeyError::PendingDeletion(key.arn())),
    }
}

/// The policy of a new key: its account's root may do everything, and leave it to others.
pub fn default_policy(account: AccountId) -> String {
    format!(
        "{{\n  \"Version\" : \"2012-10-17\",\n  \"Id\" : \"key-default-1\",\n  \"Statement\" : [ {{\n    \"Sid\" : \"Enable IAM \
         User Permissions\",\n    \"Effect\" : \"Allow\",\n    \"Principal\" : {{\n      \"AWS\" : \
         \"arn:aws:iam::{account}:root\"\n    }},\n    \"Action\" : \"kms:*\",\n    \"Resource\" : \"*\"\n  }} ]\n}}"
    )
}

/// The policy of a key that a service manages: it is used through that service, and seen by its account.
fn managed_policy(account: AccountId, region: &Region) -> String {
    serde_json::json!({
        "Version": "2012-10-17",
        "Id": "auto-ebs-2",
        "Statement": [
            {
                "Sid": "Use through the service, by principals of the account",
                "Effect": "Allow",
                "Principal": { "AWS": "*" },
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant",
                           "kms:DescribeKey"],
                "Resource": "*",
                "Condition": { "StringEquals": {
                    "kms:CallerAccount": account.to_string(),
                    "kms:ViaService": format!("ec2.{region}.amazonaws.com")
                } }
            },
            {
                "Sid": "Sight of the key itself, by its account",
                "Effect": "Allow",
                "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
                "Action": ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"],
                "Resource": "*"
            }
        ]
    })
    .to_string()
}

/// The alias of the key that a service manages for each account that uses it.
pub const EBS_ALIAS: &str = "alias/aws/ebs";

/// The account's key for EBS, made when it is first asked for.
pub fn managed(ctx: &Context, txn: &mut Txn<'_>) -> Arc<Key> {
    let alias = Alias::id_of(ctx.account(), EBS_ALIAS);
    // Held: of two that ask at once one makes it.
    if let Some(alias) = txn.get::<Alias>(&ctx.region, &alias)
        && let Some(key) = txn.get::<Key>(&ctx.region, &alias.key)
    {
        return key;
    }
    let description = "Default key that protects my EBS volumes when no other key is defined";
    let policy = managed_policy(ctx.account(), &ctx.region);
    let mut key = make(ctx, description.to_owned(), policy);
    key.managed_by = Some("ebs".to_owned());
    txn.put(
        &ctx.region,
        Alias {
            account: ctx.account(),
            name: EBS_ALIAS.to_owned(),
            key: key.key,
            created_at: ctx.now,
            updated_at: ctx.now,
        },
    );
    txn.put(&ctx.region, key)
}

/// A new key of the caller's account, in no table yet.
pub fn make(ctx: &Context, description: String, policy: String) -> Key {
    let id = KeyId::from_entropy(ctx.bits());
    Key {
        key: id,
        account: ctx.account(),
        region: ctx.region.clone(),
        description,
        managed_by: None,
        state: KeyState::Enabled,
        created_at: ctx.now,
        material: vec![material(&ctx.cloud, ctx.now, id, 0, false)],
        policy,
        rotation: None,
        tags: model::record::Tags::new(),
    }
}

/// A new secret for the version `number` of a key.
pub fn material(cloud: &Cloud, now: Timestamp, key: KeyId, number: u32, on_demand: bool) -> Material {
    let mut secret = [0; DataKey::LEN];
    cloud.entropy.fill(&mut secret);
    let sealed = cloud.root.seal(key, number, &secret, &*cloud.entropy);
    Material { sealed: sealed.into(), since: now, on_demand }
}

/// What the data of EBS are bound to.
fn ebs_context() -> EncryptionContext {
    [("nube:service".to_owned(), "ebs".to_owned())].into()
}

/// A new data key, sealed with `key`.
pub fn new_data_key(ctx: &Context, key: &Key) -> Encryption {
    let mut secret = [0; DataKey::LEN];
    ctx.cloud.entropy.fill(&mut secret);
    let sealed = cipher::encrypt(&ctx.cloud.root, key, &secret, &ebs_context(), &*ctx.cloud.entropy);
    Encryption { key: key.key, account: key.account, region: key.region.clone(), sealed: sealed.into() }
}

/// The data key of a record, in the clear, whatever the state of its key: what runs goes on. A pure view of the records and
/// of the root key. `None`: its key is gone for good, or it is not encrypted; a host that knows the data as encrypted keeps
/// them so, and lets nobody near.
pub fn data_key(root: &RootKey, tables: &Tables, encryption: Option<&Encryption>) -> Option<DataKey> {
    let encryption = encryption?;
    let key = tables.get::<Key>(&encryption.region, &encryption.key)?;
    let secret = cipher::decrypt(root, key, encryption.sealed.as_slice(), &ebs_context()).ok()?;
    <[u8; DataKey::LEN]>::try_from(secret).ok().map(DataKey::new)
}
