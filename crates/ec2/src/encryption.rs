//! Whether a volume or a snapshot is encrypted, and with whose key.
//!
//! What starts from something encrypted is encrypted; what does not is if that is asked for, or if the account wishes so for
//! all. The key is the one that is named, else that of what it starts from if that is the caller's own, else the account's
//! default. With the same key as what it starts from it has the same data key; with another, a new one: then its host
//! encrypts anew. Data keys are in the records only as the key service sealed them.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption.html>
//! Differs: a key that cannot be used is refused in the call, but for launches and starts, which fail as on AWS.

use crate::account_settings;
use crate::errors::client;
use control::keys::{self, KeyError, Use};
use control::{Context, Result, Tables, Txn};
use model::AccountId;
use model::record::image::EncryptionChoice;
use model::record::kms::{Encryption, Key};
use model::record::snapshot::Snapshot;
use model::record::volume::Volume;
use std::sync::Arc;
use wire::ApiError;

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
            Self::New(key) => Some(keys::new_data_key(ctx, key)),
        }
    }
}

/// What a request says of encryption.
pub fn asked(encrypted: Option<bool>, key: Option<&str>) -> Result<Option<EncryptionChoice>> {
    let key = key.filter(|key| !key.is_empty());
    if key.is_some() && encrypted != Some(true) {
        return Err(client(
            "InvalidParameterDependency",
            "The parameter KmsKeyId requires the parameter Encrypted to be set.",
        ));
    }
    Ok((encrypted == Some(true)).then(|| EncryptionChoice { key: key.map(str::to_owned) }))
}

/// The account's key where none is named.
fn default_key(ctx: &Context, txn: &mut Txn<'_>) -> Result<Arc<Key>, KeyError> {
    match account_settings::of(ctx, txn).default_key {
        Some(arn) => keys::find(ctx, txn.tables(), &arn).cloned(),
        None => Ok(keys::managed(ctx, txn)),
    }
}

/// A key that a request names. The managed one is made when it is first named.
pub fn named_key(ctx: &Context, txn: &mut Txn<'_>, named: &str) -> Result<Arc<Key>, KeyError> {
    if named == keys::EBS_ALIAS {
        return Ok(keys::managed(ctx, txn));
    }
    keys::find(ctx, txn.tables(), named).cloned()
}

/// Whether the caller may have EC2 use a key like this, and whether the key can be used.
fn usable(ctx: &Context, tables: &Tables, key: &Key, action: &str) -> Result<(), KeyError> {
    keys::working(key)?;
    keys::permit(ctx, tables, key, Use::via(action, SERVICE))
}

/// What something made of `source` (and its owner) is encrypted with.
pub fn choose(
    ctx: &Context,
    txn: &mut Txn<'_>,
    asked: Option<&EncryptionChoice>,
    source: Option<(&Encryption, AccountId)>,
) -> Result<Choice, KeyError> {
    let wished = asked.is_some() || source.is_some() || account_settings::of(ctx, txn).encrypts_by_default;
    if !wished {
        return Ok(Choice::Plain);
    }
    if let Some((source, _)) = source {
        let behind = keys::behind(ctx, txn.tables(), source)?;
        usable(ctx, txn.tables(), behind, "Decrypt")?;
    }
    let named = asked.and_then(|asked| asked.key.as_deref());
    let own = source.filter(|(source, owner)| *owner == ctx.account() && source.region == ctx.region);
    let key = match (named, own) {
        (Some(named), _) => named_key(ctx, txn, named)?,
        (None, Some((source, _))) => Arc::clone(keys::behind(ctx, txn.tables(), source)?),
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

/// Whether a volume can be given to an instance: its data key must be there to be had.
pub fn can_be_opened(ctx: &Context, tables: &Tables, volume: &Volume) -> Result<(), KeyError> {
    let Some(encryption) = &volume.encryption else { return Ok(()) };
    usable(ctx, tables, keys::behind(ctx, tables, encryption)?, "Decrypt")
}

/// As a call answers that is refused for a key.
pub fn refused(error: KeyError) -> ApiError {
    match error {
        KeyError::Disabled(arn) => {
            client("InvalidKmsKey.InvalidState", format!("The KMS key {arn} is disabled."))
        }
        KeyError::PendingDeletion(arn) => {
            client("InvalidKmsKey.InvalidState", format!("The KMS key {arn} is pending deletion."))
        }
        KeyError::NotFound(named) | KeyError::InvalidArn(named) => {
            client("InvalidKmsKey.NotFound", format!("The KMS key '{named}' does not exist."))
        }
        KeyError::Denied { action, arn } => client(
            "InvalidKmsKey.NotAccessible",
            format!("The KMS key {arn} cannot be used: its policy does not allow {action}."),
        ),
    }
}

/// The state reason of an instance that did not start for a key.
pub const INVALID_STATE: &str = "Client.InvalidKMSKey.InvalidState";

/// What may be shared: nothing encrypted with everybody, nothing encrypted with a key that is AWS's own with anybody.
pub fn may_be_shared<'a>(
    ctx: &Context,
    tables: &Tables,
    encryptions: impl IntoIterator<Item = &'a Encryption>,
    publicly: bool,
) -> Result<()> {
    for encryption in encryptions {
        if publicly {
            return Err(client(
                "OperationNotPermitted",
                "What is encrypted cannot be shared with everybody.",
            ));
        }
        let managed = keys::behind(ctx, tables, encryption).is_ok_and(|key| key.managed_by.is_some());
        if managed {
            return Err(client(
                "OperationNotPermitted",
                "Encrypted snapshots with EBS default key cannot be shared",
            ));
        }
    }
    Ok(())
}
