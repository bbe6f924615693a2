//! `Encrypt`, `Decrypt`, `ReEncrypt`.
//!
//! AWS: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>

use crate::describe::material_id;
use crate::errors::{incorrect_key, invalid_ciphertext, unsupported, validation};
use crate::{errors, usable};
use api_kms::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, EncryptionAlgorithmSpec as Algorithm,
    ReEncryptRequest, ReEncryptResponse,
};
use control::keys::{self, EncryptionContext, Use, cipher};
use control::{Context, Result, Tables};
use model::record::kms::Key;
use std::sync::Arc;
use wire::Blob;

/// Bytes that one call encrypts, and that one ciphertext has.
const LARGEST_PLAIN: usize = 4096;
const LARGEST_CIPHERTEXT: usize = 6144;
/// Of an encryption context, in bytes.
const LARGEST_CONTEXT: usize = 8192;

pub fn context(given: Option<&EncryptionContext>) -> Result<EncryptionContext> {
    let context = given.cloned().unwrap_or_default();
    let size: usize = context.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > LARGEST_CONTEXT {
        return Err(validation(format!("An encryption context has at most {LARGEST_CONTEXT} bytes.")));
    }
    Ok(context)
}

fn algorithm(given: Option<&Algorithm>) -> Result<()> {
    match given {
        None | Some(Algorithm::SymmetricDefault) => Ok(()),
        Some(other) => Err(unsupported(&format!("The algorithm {}", other.as_str()))),
    }
}

/// A key that works, for the caller to use like this.
pub fn working<'a>(
    ctx: &Context,
    tables: &'a Tables,
    named: &str,
    action: &str,
    context: &EncryptionContext,
) -> Result<&'a Arc<Key>> {
    let key = usable(ctx, tables, named, Use { action, via: None, context })?;
    keys::working(key).map_err(errors::of)?;
    Ok(key)
}

pub fn sealed(ctx: &Context, key: &Key, plain: &[u8], context: &EncryptionContext) -> Blob {
    Blob(cipher::encrypt(&ctx.cloud.root, key, plain, context, &*ctx.cloud.entropy))
}

pub fn encrypt(ctx: &Context, request: &EncryptRequest, tables: &Tables) -> Result<EncryptResponse> {
    algorithm(request.encryption_algorithm.as_ref())?;
    let plain = &request.plaintext.0;
    if !(1..=LARGEST_PLAIN).contains(&plain.len()) {
        return Err(validation(format!(
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have a length of 1 \
             to {LARGEST_PLAIN}"
        )));
    }
    let context = context(request.encryption_context.as_ref())?;
    let key = working(ctx, tables, &request.key_id, "Encrypt", &context)?;
    Ok(EncryptResponse {
        ciphertext_blob: Some(sealed(ctx, key, plain, &context)),
        key_id: Some(key.arn()),
        encryption_algorithm: Some(Algorithm::SymmetricDefault),
    })
}

struct Opened {
    key: Arc<Key>,
    version: u32,
    plain: Vec<u8>,
}

/// Opens a ciphertext with the key that made it; a key that the request names must be that one.
fn open(
    ctx: &Context,
    tables: &Tables,
    ciphertext: Option<&Blob>,
    named: Option<&str>,
    wanted: Use<'_>,
) -> Result<Opened> {
    let ciphertext = ciphertext.ok_or_else(|| {
        validation(
            "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null",
        )
    })?;
    if ciphertext.0.len() > LARGEST_CIPHERTEXT {
        return Err(validation(format!("A ciphertext has at most {LARGEST_CIPHERTEXT} bytes.")));
    }
    let named = named.map(|named| keys::find(ctx, tables, named).map_err(errors::of)).transpose()?;
    let (id, version) = cipher::made_by(&ciphertext.0).map_err(|_| invalid_ciphertext())?;
    if named.is_some_and(|named| named.key != id) {
        return Err(incorrect_key());
    }
    // Of whichever account: its policy says whether this caller may.
    let key = tables.get::<Key>(&ctx.region, &id).filter(|key| !key.is_gone(ctx.now));
    let key = key.ok_or_else(invalid_ciphertext)?;
    keys::permit(ctx, tables, key, wanted).map_err(errors::of)?;
    keys::working(key).map_err(errors::of)?;
    let opened = cipher::decrypt(&ctx.cloud.root, key, &ciphertext.0, wanted.context);
    let plain = opened.map_err(|_| invalid_ciphertext())?;
    Ok(Opened { key: Arc::clone(key), version, plain })
}

pub fn decrypt(ctx: &Context, request: &DecryptRequest, tables: &Tables) -> Result<DecryptResponse> {
    algorithm(request.encryption_algorithm.as_ref())?;
    if request.recipient.is_some() {
        return Err(unsupported("A recipient in an enclave"));
    }
    let context = context(request.encryption_context.as_ref())?;
    let wanted = Use { action: "Decrypt", via: None, context: &context };
    let opened = open(ctx, tables, request.ciphertext_blob.as_ref(), request.key_id.as_deref(), wanted)?;
    Ok(DecryptResponse {
        key_id: Some(opened.key.arn()),
        plaintext: Some(Blob(opened.plain)),
        encryption_algorithm: Some(Algorithm::SymmetricDefault),
        key_material_id: Some(material_id(opened.key.key, opened.version as usize)),
        ..DecryptResponse::default()
    })
}

pub fn re_encrypt(ctx: &Context, request: &ReEncryptRequest, tables: &Tables) -> Result<ReEncryptResponse> {
    algorithm(request.source_encryption_algorithm.as_ref())?;
    algorithm(request.destination_encryption_algorithm.as_ref())?;
    let from = context(request.source_encryption_context.as_ref())?;
    let to = context(request.destination_encryption_context.as_ref())?;
    let wanted = Use { action: "ReEncryptFrom", via: None, context: &from };
    let opened =
        open(ctx, tables, request.ciphertext_blob.as_ref(), request.source_key_id.as_deref(), wanted)?;
    let key = working(ctx, tables, &request.destination_key_id, "ReEncryptTo", &to)?;
    Ok(ReEncryptResponse {
        ciphertext_blob: Some(sealed(ctx, key, &opened.plain, &to)),
        source_key_id: Some(opened.key.arn()),
        key_id: Some(key.arn()),
        source_encryption_algorithm: Some(Algorithm::SymmetricDefault),
        destination_encryption_algorithm: Some(Algorithm::SymmetricDefault),
        source_key_material_id: Some(material_id(opened.key.key, opened.version as usize)),
        destination_key_material_id: Some(material_id(key.key, key.material.len().saturating_sub(1))),
    })
}
