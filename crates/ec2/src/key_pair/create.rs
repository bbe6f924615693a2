//! `CreateKeyPair`. An RSA key takes a processor a good while, so it is made on a thread of its own and before the
//! transaction, which then decides whether the name was still free.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateKeyPair.html>

use super::{by_name, check_name, duplicate, generate, put};
use crate::errors::{client, invalid_parameter_value};
use crate::noun::{given_tags, render_tags};
use api_ec2::{CreateKeyPairRequest, KeyFormat, KeyPair};
use control::cloud::Mode;
use control::{Context, Result, errors};
use model::record::key_pair::KeyType;
use std::sync::Arc;

pub(super) async fn create(ctx: Context, request: CreateKeyPairRequest) -> Result<KeyPair> {
    let name = request.key_name;
    check_name(&name)?;
    let key_type = match request.key_type {
        None | Some(api_ec2::KeyType::Rsa) => KeyType::Rsa,
        Some(api_ec2::KeyType::Ed25519) => KeyType::Ed25519,
        Some(api_ec2::KeyType::Other(other)) => {
            return Err(invalid_parameter_value(format!(
                "Value ({other}) for parameter keyType is invalid."
            )));
        }
    };
    match request.key_format {
        None | Some(KeyFormat::Pem) => {}
        Some(KeyFormat::Ppk) => {
            return Err(client(
                "UnsupportedOperation",
                "Key pairs are made in the pem format only; puttygen converts them to ppk.",
            ));
        }
        Some(KeyFormat::Other(other)) => {
            return Err(invalid_parameter_value(format!(
                "Value ({other}) for parameter keyFormat is invalid."
            )));
        }
    }
    let mut tags = given_tags(request.tag_specifications.as_deref(), &["key-pair"])?;
    let tags = tags.remove("key-pair").unwrap_or_default();
    // A name that is taken already is not worth the computation.
    if by_name(&ctx, &ctx.cloud.view.read(), &name).is_some() {
        return Err(duplicate(&name));
    }
    let entropy = Arc::clone(&ctx.cloud.entropy);
    let made = tokio::task::spawn_blocking(move || generate::generate(key_type, &*entropy))
        .await
        .map_err(errors::internal)?
        .map_err(errors::internal)?;
    let cloud = Arc::clone(&ctx.cloud);
    let record = cloud
        .transact(Mode::Shared, |txn| {
            put(&ctx, txn, &name, &made.public, made.fingerprint.clone(), tags.clone())
        })
        .await?;
    Ok(KeyPair {
        key_pair_id: Some(record.key_pair.to_string()),
        key_name: Some(name),
        key_fingerprint: Some(record.fingerprint.clone()),
        key_material: Some(made.private),
        tags: render_tags(&record.tags),
    })
}
