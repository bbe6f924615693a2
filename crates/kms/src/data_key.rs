//! `GenerateDataKey`, `GenerateDataKeyWithoutPlaintext`, `GenerateRandom`.

use crate::crypto::{context, sealed, working};
use crate::describe::material_id;
use crate::errors::{unsupported, validation};
use api_kms::{
    DataKeySpec, GenerateDataKeyRequest, GenerateDataKeyResponse, GenerateDataKeyWithoutPlaintextRequest,
    GenerateDataKeyWithoutPlaintextResponse, GenerateRandomRequest, GenerateRandomResponse,
};
use control::{Context, Result, Tables};
use wire::Blob;

/// How many bytes are asked for. The model bounds them.
fn length(spec: Option<&DataKeySpec>, bytes: Option<i32>) -> Result<usize> {
    match (spec, bytes) {
        (Some(DataKeySpec::Aes256), None) => Ok(32),
        (Some(DataKeySpec::Aes128), None) => Ok(16),
        (None, Some(bytes)) => usize::try_from(bytes).map_err(|_| validation("NumberOfBytes is negative.")),
        (Some(DataKeySpec::Other(other)), None) => {
            let shown: String = other.chars().take(64).collect();
            Err(validation(format!("The key spec '{shown}' is neither AES_256 nor AES_128.")))
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(validation("Please specify either number of bytes or key spec."))
        }
    }
}

fn secret(ctx: &Context, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ctx.cloud.entropy.fill(&mut bytes);
    bytes
}

pub fn generate(
    ctx: &Context,
    request: &GenerateDataKeyRequest,
    tables: &Tables,
) -> Result<GenerateDataKeyResponse> {
    if request.recipient.is_some() {
        return Err(unsupported("A recipient in an enclave"));
    }
    let length = length(request.key_spec.as_ref(), request.number_of_bytes)?;
    let context = context(request.encryption_context.as_ref())?;
    let key = working(ctx, tables, &request.key_id, "GenerateDataKey", &context)?;
    let plain = secret(ctx, length);
    Ok(GenerateDataKeyResponse {
        ciphertext_blob: Some(sealed(ctx, key, &plain, &context)),
        plaintext: Some(Blob(plain)),
        key_id: Some(key.arn()),
        key_material_id: Some(material_id(key.key, key.material.len().saturating_sub(1))),
        ..GenerateDataKeyResponse::default()
    })
}

pub fn without_plaintext(
    ctx: &Context,
    request: &GenerateDataKeyWithoutPlaintextRequest,
    tables: &Tables,
) -> Result<GenerateDataKeyWithoutPlaintextResponse> {
    let length = length(request.key_spec.as_ref(), request.number_of_bytes)?;
    let context = context(request.encryption_context.as_ref())?;
    let key = working(ctx, tables, &request.key_id, "GenerateDataKeyWithoutPlaintext", &context)?;
    Ok(GenerateDataKeyWithoutPlaintextResponse {
        ciphertext_blob: Some(sealed(ctx, key, &secret(ctx, length), &context)),
        key_id: Some(key.arn()),
        key_material_id: Some(material_id(key.key, key.material.len().saturating_sub(1))),
    })
}

pub fn random(ctx: &Context, request: &GenerateRandomRequest, _: &Tables) -> Result<GenerateRandomResponse> {
    if request.custom_key_store_id.is_some() || request.recipient.is_some() {
        return Err(unsupported("Randomness from a custom key store or for an enclave"));
    }
    let bytes = request.number_of_bytes.ok_or_else(|| validation("Please specify the number of bytes."))?;
    let length = usize::try_from(bytes).map_err(|_| validation("NumberOfBytes is negative."))?;
    Ok(GenerateRandomResponse {
        plaintext: Some(Blob(secret(ctx, length))),
        ..GenerateRandomResponse::default()
    })
}
