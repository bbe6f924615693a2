//! Whether something new of EBS is encrypted, and with whose key: for every service that makes volumes or snapshots.
//!
//! What starts from something encrypted is encrypted; what does not is if that is asked for, or if the account wishes so for
//! all. The key is the one that is named, else that of what it starts from if that is the caller's own, else the account's
//! default.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption.html>

use super::{EBS_ALIAS, KeyError, Use, behind, find, managed, new_data_key, permit, working};
use crate::{Context, Tables, Txn};
use model::AccountId;
use model::record::account::Settings;
use model::record::image::EncryptionChoice;
use model::record::kms::{Encryption, Key};
use model::record::snapshot::Snapshot;
use std::sync::Arc;

/// On whose behalf keys are used here.
const SERVICE: &str = "ec2";

/// What something new is to be encrypted with.
#[derive(Debug, Clone)]
pub enum Choice {
    Plain,
    /// The data key of what it starts from.
    Same(Encryption),
    /// A data key of its own.
    New(Arc<Key>),
}

impl Choice {
    /// For the record of one volume or snapshot.
    pub fn encryption(&self, ctx: &Context) -> Option<Encryption> {
        match self {
            Self::Plain => None,
            Self::Same(encryption) => Some(encryption.clone()),
            Self::New(key) => Some(new_data_key(ctx, key)),
        }
    }
}

fn settings(ctx: &Context, txn: &mut Txn<'_>) -> Settings {
    let settings = txn.get::<Settings>(&ctx.region, &ctx.account());
    settings.map_or_else(|| Settings::default_of(ctx.account()), |settings| (*settings).clone())
}

/// The account's key where none is named.
fn default_key(ctx: &Context, txn: &mut Txn<'_>) -> Result<Arc<Key>, KeyError> {
    match settings(ctx, txn).default_key {
        Some(arn) => find(ctx, txn.tables(), &arn).cloned(),
        None => Ok(managed(ctx, txn)),
    }
}

/// A key that a request names. The managed one is made when it is first named.
pub fn named_key(ctx: &Context, txn: &mut Txn<'_>, named: &str) -> Result<Arc<Key>, KeyError> {
    if named == EBS_ALIAS {
        return Ok(managed(ctx, txn));
    }
    find(ctx, txn.tables(), named).cloned()
}

/// Whether the caller may have EC2 use a key like this, and whether the key can be used.
pub fn usable(ctx: &Context, tables: &Tables, key: &Key, action: &str) -> Result<(), KeyError> {
    working(key)?;
    permit(ctx, tables, key, Use::via(action, SERVICE))
}

/// What something made of `source` (and its owner) is encrypted with.
pub fn choose(
    ctx: &Context,
    txn: &mut Txn<'_>,
    asked: Option<&EncryptionChoice>,
    source: Option<(&Encryption, AccountId)>,
) -> Result<Choice, KeyError> {
    let wished = asked.is_some() || source.is_some() || settings(ctx, txn).encrypts_by_default;
    if !wished {
        return Ok(Choice::Plain);
    }
    if let Some((source, _)) = source {
        let behind = behind(ctx, txn.tables(), source)?;
        usable(ctx, txn.tables(), behind, "Decrypt")?;
    }
    let named = asked.and_then(|asked| asked.key.as_deref());
    let own = source.filter(|(source, owner)| *owner == ctx.account() && source.region == ctx.region);
    let key = match (named, own) {
        (Some(named), _) => named_key(ctx, txn, named)?,
        (None, Some((source, _))) => Arc::clone(behind(ctx, txn.tables(), source)?),
        (None, None) => default_key(ctx, txn)?,
    };
    match source {
        Some((source, _)) if source.key == key.key => Ok(Choice::Same(source.clone())),
        Some(_) | None => {
            usable(ctx, txn.tables(), &key, "GenerateDataKeyWithoutPlaintext")?;
            Ok(Choice::New(key))
        }
    }
}

/// [`choose`], where the source is a snapshot.
pub fn choose_of(
    ctx: &Context,
    txn: &mut Txn<'_>,
    asked: Option<&EncryptionChoice>,
    source: Option<&Snapshot>,
) -> Result<Choice, KeyError> {
    let source = source.and_then(|snapshot| Some((snapshot.encryption.as_ref()?, snapshot.account)));
    choose(ctx, txn, asked, source)
}
