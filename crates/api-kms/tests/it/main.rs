//! The awsJson protocol over the real shapes of kms.

use api_kms::{CreateKeyResponse, DecryptRequest, DescribeKeyRequest, GenerateDataKeyResponse, KeyMetadata};
use api_kms::{SERVICE, errors};
use wire::{ApiError, Blob, Protocol, Timestamp, json};

#[test]
fn a_ciphertext_comes_with_its_context() {
    let body =
        br#"{"CiphertextBlob":"AAEC","EncryptionContext":{"a":"b"},"GrantTokens":["t"],"NewMember":[{}]}"#;
    let request: DecryptRequest = json::decode(body).expect("readable");
    assert_eq!(request.ciphertext_blob, Some(Blob(vec![0, 1, 2])));
    assert_eq!(request.encryption_context, Some([("a".to_owned(), "b".to_owned())].into()));
    assert_eq!(request.grant_tokens.as_deref(), Some(&["t".to_owned()][..]));
}

#[test]
fn a_key_that_is_not_named_is_a_validation_error() {
    let error = json::decode::<DescribeKeyRequest>(b"{}").expect_err("no key");
    let error = json::api_error(&error);
    assert_eq!((error.code(), error.status()), ("ValidationException", 400));
    assert!(error.message().contains("'keyId'"), "{}", error.message());
}

#[test]
fn answers_are_objects_with_times_as_numbers() {
    let metadata = KeyMetadata {
        key_id: Some("k".to_owned()),
        creation_date: Some(Timestamp::from_millis(1_500)),
        enabled: Some(true),
        ..KeyMetadata::default()
    };
    let answer = CreateKeyResponse { key_metadata: Some(metadata) };
    assert_eq!(json::encode(&answer), r#"{"KeyMetadata":{"KeyId":"k","CreationDate":1.5,"Enabled":true}}"#);
}

#[test]
fn plaintext_is_not_shown() {
    let answer = GenerateDataKeyResponse { plaintext: Some(Blob(vec![7; 32])), ..Default::default() };
    assert!(!format!("{answer:?}").contains('7'), "{answer:?}");
}

#[test]
fn the_service_speaks_json_and_its_errors_have_their_names() {
    assert_eq!((SERVICE.name, SERVICE.protocol), ("kms", Protocol::Json11));
    assert_eq!(SERVICE.unknown_action("Nothing").code(), "UnknownOperationException");
    let error = ApiError::of(&errors::NOT_FOUND_EXCEPTION, "no key");
    assert_eq!((error.code(), error.status()), ("NotFoundException", 400));
}
