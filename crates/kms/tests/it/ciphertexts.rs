//! What is encrypted opens with the same key and context alone.

use crate::rig::{Kit, base64, bytes, call, code, encrypt, key};
use serde_json::json;

#[tokio::test]
async fn what_was_encrypted_is_decrypted_with_its_context_alone() {
    let kit = Kit::new().await;
    let (id, arn) = key(&kit).await;
    let context = json!({ "a": "1", "b": "2" });
    let ciphertext = encrypt(&kit, &id, b"secret", context.clone()).await;
    assert!(!bytes(&json!(ciphertext)).windows(6).any(|window| window == b"secret"));
    let asked = json!({ "CiphertextBlob": ciphertext, "EncryptionContext": context });
    let opened = call(&kit, "Decrypt", asked).await;
    assert_eq!((bytes(&opened["Plaintext"]), &opened["KeyId"]), (b"secret".to_vec(), &json!(arn)));
    for other in
        [json!({}), json!({ "a": "1" }), json!({ "a": "2", "b": "1" }), json!({ "a": "12", "b": "" })]
    {
        let asked = json!({ "CiphertextBlob": ciphertext, "EncryptionContext": other });
        assert_eq!(code(&kit, "Decrypt", asked).await, "InvalidCiphertextException");
    }
}

#[tokio::test]
async fn a_ciphertext_that_was_changed_anywhere_is_refused() {
    let kit = Kit::new().await;
    let (id, _) = key(&kit).await;
    let ciphertext = bytes(&json!(encrypt(&kit, &id, b"secret", json!({})).await));
    for at in 0..ciphertext.len() {
        let mut changed = ciphertext.clone();
        changed[at] ^= 1;
        let asked = json!({ "CiphertextBlob": base64(&changed) });
        assert_eq!(code(&kit, "Decrypt", asked).await, "InvalidCiphertextException", "byte {at}");
        let asked = json!({ "CiphertextBlob": base64(&ciphertext[..at]) });
        assert_eq!(code(&kit, "Decrypt", asked).await, "InvalidCiphertextException", "{at} bytes");
    }
}

#[tokio::test]
async fn a_key_that_is_named_must_be_the_one() {
    let kit = Kit::new().await;
    let ((id, arn), (other, _)) = (key(&kit).await, key(&kit).await);
    let ciphertext = encrypt(&kit, &id, b"secret", json!({})).await;
    let named = |key: &str| json!({ "CiphertextBlob": ciphertext, "KeyId": key });
    call(&kit, "Decrypt", named(&arn)).await;
    assert_eq!(code(&kit, "Decrypt", named(&other)).await, "IncorrectKeyException");
    assert_eq!(code(&kit, "Decrypt", named("alias/none")).await, "NotFoundException");
}

#[tokio::test]
async fn a_ciphertext_moves_to_another_key_and_context() {
    let kit = Kit::new().await;
    let ((from, from_arn), (to, to_arn)) = (key(&kit).await, key(&kit).await);
    let ciphertext = encrypt(&kit, &from, b"secret", json!({ "a": "1" })).await;
    let asked = json!({
        "CiphertextBlob": ciphertext, "SourceEncryptionContext": { "a": "1" },
        "DestinationKeyId": to, "DestinationEncryptionContext": { "b": "2" },
    });
    let moved = call(&kit, "ReEncrypt", asked).await;
    assert_eq!((&moved["SourceKeyId"], &moved["KeyId"]), (&json!(from_arn), &json!(to_arn)));
    call(&kit, "DisableKey", json!({ "KeyId": from })).await;
    let asked = json!({ "CiphertextBlob": moved["CiphertextBlob"], "EncryptionContext": { "b": "2" } });
    assert_eq!(call(&kit, "Decrypt", asked).await["Plaintext"], base64(b"secret"));
}

#[tokio::test]
async fn data_keys_come_in_the_clear_and_sealed_or_sealed_alone() {
    let kit = Kit::new().await;
    let (id, _) = key(&kit).await;
    let made = call(&kit, "GenerateDataKey", json!({ "KeyId": id, "KeySpec": "AES_256" })).await;
    assert_eq!(bytes(&made["Plaintext"]).len(), 32);
    let opened = call(&kit, "Decrypt", json!({ "CiphertextBlob": made["CiphertextBlob"] })).await;
    assert_eq!(opened["Plaintext"], made["Plaintext"]);
    let asked = json!({ "KeyId": id, "NumberOfBytes": 64 });
    let sealed = call(&kit, "GenerateDataKeyWithoutPlaintext", asked).await;
    assert!(sealed.get("Plaintext").is_none());
    let opened = call(&kit, "Decrypt", json!({ "CiphertextBlob": sealed["CiphertextBlob"] })).await;
    assert_eq!(bytes(&opened["Plaintext"]).len(), 64);
    for wrong in [
        json!({ "KeyId": id }),
        json!({ "KeyId": id, "KeySpec": "AES_256", "NumberOfBytes": 32 }),
        json!({ "KeyId": id, "NumberOfBytes": 1025 }),
        json!({ "KeyId": id, "KeySpec": "AES_512" }),
    ] {
        assert_eq!(code(&kit, "GenerateDataKey", wrong).await, "ValidationException");
    }
    let one = call(&kit, "GenerateRandom", json!({ "NumberOfBytes": 24 })).await;
    let two = call(&kit, "GenerateRandom", json!({ "NumberOfBytes": 24 })).await;
    assert_eq!(bytes(&one["Plaintext"]).len(), 24);
    assert_ne!(one, two);
    assert_eq!(code(&kit, "GenerateRandom", json!({})).await, "ValidationException");
}

#[tokio::test]
async fn plaintext_and_context_are_bounded() {
    let kit = Kit::new().await;
    let (id, _) = key(&kit).await;
    encrypt(&kit, &id, &[1; 4096], json!({})).await;
    for plain in [vec![], vec![1; 4097]] {
        let asked = json!({ "KeyId": id, "Plaintext": base64(&plain) });
        assert_eq!(code(&kit, "Encrypt", asked).await, "ValidationException");
    }
    let large = json!({ "KeyId": id, "Plaintext": "AAAA", "EncryptionContext": { "a": "x".repeat(9000) } });
    assert_eq!(code(&kit, "Encrypt", large).await, "ValidationException");
    assert_eq!(code(&kit, "Encrypt", json!({ "KeyId": id, "Plaintext": 1 })).await, "SerializationException");
    let dry = json!({ "KeyId": id, "Plaintext": "AAAA", "DryRun": true });
    assert_eq!(code(&kit, "Encrypt", dry).await, "DryRunOperationException");
}
