//! The life of a key.

use crate::rig::{Kit, base64, call, code, encrypt, key};
use model::record::kms::Key;
use serde_json::json;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn a_new_key_is_described_by_its_id_and_its_arn() {
    let kit = Kit::new().await;
    let asked = json!({ "Description": "mine", "Tags": [{ "TagKey": "a", "TagValue": "b" }] });
    let made = call(&kit, "CreateKey", asked).await["KeyMetadata"].clone();
    assert_eq!(made["KeyState"], "Enabled");
    assert_eq!(
        (&made["KeySpec"], &made["KeyUsage"]),
        (&json!("SYMMETRIC_DEFAULT"), &json!("ENCRYPT_DECRYPT"))
    );
    assert_eq!(made["CreationDate"], json!(1_767_225_600));
    let (id, arn) = (made["KeyId"].as_str().unwrap(), made["Arn"].as_str().unwrap());
    assert_eq!(arn, format!("arn:aws:kms:us-east-1:111111111111:key/{id}"));
    for named in [id, arn] {
        assert_eq!(call(&kit, "DescribeKey", json!({ "KeyId": named })).await["KeyMetadata"], made);
    }
    let tags = call(&kit, "ListResourceTags", json!({ "KeyId": id })).await;
    assert_eq!(tags["Tags"], json!([{ "TagKey": "a", "TagValue": "b" }]));
    call(&kit, "UpdateKeyDescription", json!({ "KeyId": id, "Description": "ours" })).await;
    assert_eq!(call(&kit, "DescribeKey", json!({ "KeyId": id })).await["KeyMetadata"]["Description"], "ours");
}

#[tokio::test]
async fn what_is_no_symmetric_key_is_refused_by_name() {
    let kit = Kit::new().await;
    for asked in [
        json!({ "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY" }),
        json!({ "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC" }),
        json!({ "Origin": "EXTERNAL" }),
        json!({ "MultiRegion": true }),
    ] {
        assert_eq!(code(&kit, "CreateKey", asked).await, "UnsupportedOperationException");
    }
    assert_eq!(code(&kit, "Sign", json!({})).await, "UnsupportedOperationException");
    assert_eq!(code(&kit, "Nothing", json!({})).await, "UnknownOperationException");
}

#[tokio::test]
async fn keys_are_listed_in_pages() {
    let kit = Kit::new().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(key(&kit).await.0);
    }
    made.sort();
    let (mut seen, mut marker) = (Vec::new(), json!(null));
    loop {
        let page = call(&kit, "ListKeys", json!({ "Limit": 2, "Marker": marker })).await;
        seen.extend(
            page["Keys"].as_array().unwrap().iter().map(|key| key["KeyId"].as_str().unwrap().to_owned()),
        );
        if page["Truncated"] == false {
            break;
        }
        marker = page["NextMarker"].clone();
    }
    assert_eq!(seen, made);
    assert_eq!(code(&kit, "ListKeys", json!({ "Marker": "x" })).await, "InvalidMarkerException");
    assert_eq!(code(&kit, "ListKeys", json!({ "Limit": 0 })).await, "ValidationException");
}

#[tokio::test]
async fn a_disabled_key_encrypts_and_decrypts_nothing_until_it_is_enabled() {
    let kit = Kit::new().await;
    let (id, _) = key(&kit).await;
    let ciphertext = encrypt(&kit, &id, b"secret", json!({})).await;
    call(&kit, "DisableKey", json!({ "KeyId": id })).await;
    let plain = base64(b"x");
    for (action, asked) in [
        ("Encrypt", json!({ "KeyId": id, "Plaintext": plain })),
        ("Decrypt", json!({ "CiphertextBlob": ciphertext })),
        ("GenerateDataKey", json!({ "KeyId": id, "KeySpec": "AES_256" })),
    ] {
        assert_eq!(code(&kit, action, asked).await, "DisabledException", "{action}");
    }
    call(&kit, "EnableKey", json!({ "KeyId": id })).await;
    call(&kit, "Decrypt", json!({ "CiphertextBlob": ciphertext })).await;
}

#[tokio::test]
async fn a_key_is_deleted_after_its_waiting_period_unless_that_is_taken_back() {
    let kit = Kit::new().await;
    let (id, arn) = key(&kit).await;
    let ciphertext = encrypt(&kit, &id, b"secret", json!({})).await;
    call(&kit, "CreateAlias", json!({ "AliasName": "alias/mine", "TargetKeyId": id })).await;
    for wrong in [6, 31] {
        let asked = json!({ "KeyId": id, "PendingWindowInDays": wrong });
        assert_eq!(code(&kit, "ScheduleKeyDeletion", asked).await, "ValidationException");
    }
    let asked = json!({ "KeyId": id, "PendingWindowInDays": 7 });
    let answer = call(&kit, "ScheduleKeyDeletion", asked.clone()).await;
    assert_eq!((&answer["KeyId"], &answer["KeyState"]), (&json!(arn), &json!("PendingDeletion")));
    assert_eq!(answer["DeletionDate"], json!(1_767_225_600 + 7 * 86_400));
    for (action, more) in [
        ("Encrypt", json!({ "KeyId": id, "Plaintext": base64(b"x") })),
        ("Decrypt", json!({ "CiphertextBlob": ciphertext })),
        ("EnableKey", json!({ "KeyId": id })),
        ("ScheduleKeyDeletion", json!({ "KeyId": id })),
        ("CreateAlias", json!({ "AliasName": "alias/other", "TargetKeyId": id })),
    ] {
        assert_eq!(code(&kit, action, more).await, "KMSInvalidStateException", "{action}");
    }
    call(&kit, "CancelKeyDeletion", json!({ "KeyId": id })).await;
    assert_eq!(
        call(&kit, "DescribeKey", json!({ "KeyId": id })).await["KeyMetadata"]["KeyState"],
        "Disabled"
    );
    assert_eq!(code(&kit, "CancelKeyDeletion", json!({ "KeyId": id })).await, "KMSInvalidStateException");

    call(&kit, "ScheduleKeyDeletion", asked).await;
    kit.clock.advance(6 * DAY + Duration::from_hours(23));
    kms::sweep(&kit.cloud).await.unwrap();
    assert_eq!(call(&kit, "DescribeKey", json!({ "KeyId": id })).await["KeyMetadata"]["Enabled"], false);
    kit.clock.advance(Duration::from_hours(1));
    // Gone at that instant, swept or not.
    for _ in 0..2 {
        assert_eq!(code(&kit, "DescribeKey", json!({ "KeyId": id })).await, "NotFoundException");
        assert_eq!(code(&kit, "DescribeKey", json!({ "KeyId": "alias/mine" })).await, "NotFoundException");
        let asked = json!({ "CiphertextBlob": ciphertext });
        assert_eq!(code(&kit, "Decrypt", asked).await, "InvalidCiphertextException");
        assert_eq!(call(&kit, "ListAliases", json!({})).await["Aliases"], json!([]));
        kms::sweep(&kit.cloud).await.unwrap();
    }
    assert_eq!(kit.cloud.view.read().everywhere::<Key>().count(), 0, "its material is deleted too");
}

#[tokio::test]
async fn rotation_changes_the_material_and_old_ciphertexts_stay_readable() {
    let kit = Kit::new().await;
    let (id, _) = key(&kit).await;
    let old = encrypt(&kit, &id, b"old", json!({})).await;
    call(&kit, "RotateKeyOnDemand", json!({ "KeyId": id })).await;
    call(&kit, "EnableKeyRotation", json!({ "KeyId": id, "RotationPeriodInDays": 90 })).await;
    let asked = json!({ "KeyId": id, "RotationPeriodInDays": 89 });
    assert_eq!(code(&kit, "EnableKeyRotation", asked).await, "ValidationException");
    let status = call(&kit, "GetKeyRotationStatus", json!({ "KeyId": id })).await;
    assert_eq!((&status["KeyRotationEnabled"], &status["RotationPeriodInDays"]), (&json!(true), &json!(90)));
    kit.clock.advance(91 * DAY);
    kms::sweep(&kit.cloud).await.unwrap();
    kms::sweep(&kit.cloud).await.unwrap();
    let rotations = call(&kit, "ListKeyRotations", json!({ "KeyId": id })).await["Rotations"].clone();
    let kinds: Vec<_> = rotations.as_array().unwrap().iter().map(|r| r["RotationType"].clone()).collect();
    assert_eq!(kinds, [json!("ON_DEMAND"), json!("AUTOMATIC")]);
    let new = encrypt(&kit, &id, b"new", json!({})).await;
    let opened =
        async |ciphertext: &str| call(&kit, "Decrypt", json!({ "CiphertextBlob": ciphertext })).await;
    assert_eq!(opened(&old).await["Plaintext"], base64(b"old"));
    let with_new = opened(&new).await;
    assert_eq!(with_new["Plaintext"], base64(b"new"));
    assert_ne!(with_new["KeyMaterialId"], opened(&old).await["KeyMaterialId"]);
    call(&kit, "DisableKeyRotation", json!({ "KeyId": id })).await;
    let status = call(&kit, "GetKeyRotationStatus", json!({ "KeyId": id })).await;
    assert_eq!(status["KeyRotationEnabled"], false);
}

#[tokio::test]
async fn the_store_and_what_is_logged_hold_no_secret_in_the_clear() {
    let kit = Kit::new().await;
    let (id, _) = key(&kit).await;
    let tables = kit.cloud.view.read();
    let (_, record) = tables.everywhere::<Key>().next().unwrap();
    assert_eq!(record.key.to_string(), id);
    // Sealed: a nonce, 32 bytes and a tag.
    assert_eq!(record.material[0].sealed.as_slice().len(), 12 + 32 + 16);
    assert!(kit.cloud.root.opens(record));
    let other = control::keys::RootKey::new([8; 32]);
    assert!(!other.opens(record));
    assert_eq!(format!("{other:?}"), "RootKey(…)");
}
