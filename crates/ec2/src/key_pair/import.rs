//! `ImportKeyPair`: a public key of the caller's own.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportKeyPair.html>

use super::{PublicKey, check_name, fingerprint, put};
use crate::errors::client;
use crate::noun::{given_tags, render_tags};
use api_ec2::{ImportKeyPairRequest, ImportKeyPairResult};
use control::{Context, Result, Txn, errors};

pub(super) fn import(
    ctx: &Context,
    request: &ImportKeyPairRequest,
    txn: &mut Txn<'_>,
) -> Result<ImportKeyPairResult> {
    check_name(&request.key_name)?;
    let key = PublicKey::parse(&request.public_key_material.0)
        .map_err(|reason| client("InvalidKey.Format", reason.to_string()))?;
    let mut tags = given_tags(request.tag_specifications.as_deref(), &["key-pair"])?;
    let tags = tags.remove("key-pair").unwrap_or_default();
    let fingerprint = fingerprint::imported(&key).map_err(errors::internal)?;
    let record = put(ctx, txn, &request.key_name, &key, fingerprint, tags)?;
    Ok(ImportKeyPairResult {
        key_fingerprint: Some(record.fingerprint.clone()),
        key_name: Some(record.name.clone()),
        key_pair_id: Some(record.key_pair.to_string()),
        tags: render_tags(&record.tags),
    })
}
