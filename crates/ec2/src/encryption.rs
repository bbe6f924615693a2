//! Whether a volume or a snapshot is encrypted, and with whose key.
//!
//! What starts from something encrypted is encrypted; what does not is if that is asked for, or if the account wishes so for
//! all. The key is the one that is named, else that of what it starts from if that is the caller's own, else the account's
//! default. With the same key as what it starts from it has the same data key; with another, a new one: then its host
//! encrypts anew. Data keys are in the records only as the key service sealed them.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption.html>
//! Differs: a key that cannot be used is refused in the call, but for launches and starts, which fail as on AWS.

use crate::errors::client;
pub use control::keys::choice::{Choice, choose, choose_of, named_key};
use control::keys::{self, KeyError};
use control::{Context, Result, Tables};
use model::record::image::EncryptionChoice;
use model::record::kms::Encryption;
use model::record::volume::Volume;
use wire::ApiError;

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

/// Whether a volume can be given to an instance: its data key must be there to be had.
pub fn can_be_opened(ctx: &Context, tables: &Tables, volume: &Volume) -> Result<(), KeyError> {
    let Some(encryption) = &volume.encryption else { return Ok(()) };
    keys::choice::usable(ctx, tables, keys::behind(ctx, tables, encryption)?, "Decrypt")
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
