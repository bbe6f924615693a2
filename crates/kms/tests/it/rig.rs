//! A control plane with the key service, and its calls.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::AccountId;
use serde_json::{Value, json};
pub use testkit::{ALICE, BOB, Kit};

pub async fn call(kit: &Kit, action: &str, body: Value) -> Value {
    call_as(kit, ALICE, action, body).await
}

pub async fn call_as(kit: &Kit, account: AccountId, action: &str, body: Value) -> Value {
    let shown = body.to_string();
    kit.json(account, "kms", action, body).await.unwrap_or_else(|error| panic!("{action} {shown}: {error}"))
}

/// The code of the error that a call answers.
pub async fn code(kit: &Kit, action: &str, body: Value) -> String {
    code_as(kit, ALICE, action, body).await
}

pub async fn code_as(kit: &Kit, account: AccountId, action: &str, body: Value) -> String {
    let shown = body.to_string();
    match kit.json(account, "kms", action, body).await {
        Ok(answer) => panic!("{action} {shown} answers {answer}"),
        Err(error) => {
            assert_eq!(error.status(), 400, "{error}");
            error.code().to_owned()
        }
    }
}

/// A new key of Alice's: its id and its ARN.
pub async fn key(kit: &Kit) -> (String, String) {
    let made = call(kit, "CreateKey", json!({})).await;
    let text = |name: &str| made["KeyMetadata"][name].as_str().unwrap().to_owned();
    (text("KeyId"), text("Arn"))
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

pub async fn encrypt(kit: &Kit, key: &str, plain: &[u8], context: Value) -> String {
    let asked = json!({ "KeyId": key, "Plaintext": base64(plain), "EncryptionContext": context });
    call(kit, "Encrypt", asked).await["CiphertextBlob"].as_str().unwrap().to_owned()
}
