//! Other names of keys.

use crate::rig::{Kit, call, code, encrypt, key};
use serde_json::json;

#[tokio::test]
async fn an_alias_stands_for_its_key_and_moves_to_another() {
    let kit = Kit::new().await;
    let ((one, one_arn), (two, two_arn)) = (key(&kit).await, key(&kit).await);
    call(&kit, "CreateAlias", json!({ "AliasName": "alias/app/main", "TargetKeyId": one })).await;
    let asked = json!({ "AliasName": "alias/app/main", "TargetKeyId": two });
    assert_eq!(code(&kit, "CreateAlias", asked.clone()).await, "AlreadyExistsException");
    let opened = async |ciphertext: String| {
        call(&kit, "Decrypt", json!({ "CiphertextBlob": ciphertext })).await["KeyId"].clone()
    };
    let by_alias = encrypt(&kit, "alias/app/main", b"x", json!({})).await;
    assert_eq!(opened(by_alias).await, one_arn);
    call(&kit, "UpdateAlias", asked).await;
    let arn = "arn:aws:kms:us-east-1:111111111111:alias/app/main";
    assert_eq!(opened(encrypt(&kit, arn, b"x", json!({})).await).await, two_arn);
    let listed = call(&kit, "ListAliases", json!({ "KeyId": two })).await["Aliases"].clone();
    assert_eq!((&listed[0]["AliasArn"], &listed[0]["TargetKeyId"]), (&json!(arn), &json!(two)));
    assert_eq!(call(&kit, "ListAliases", json!({ "KeyId": one })).await["Aliases"], json!([]));
    call(&kit, "DeleteAlias", json!({ "AliasName": "alias/app/main" })).await;
    assert_eq!(code(&kit, "DescribeKey", json!({ "KeyId": arn })).await, "NotFoundException");
    assert_eq!(
        code(&kit, "DeleteAlias", json!({ "AliasName": "alias/app/main" })).await,
        "NotFoundException"
    );
}

#[tokio::test]
async fn names_that_no_alias_can_have_are_refused() {
    let kit = Kit::new().await;
    let (id, _) = key(&kit).await;
    for (name, expected) in [
        ("main", "ValidationException"),
        ("alias/", "InvalidAliasNameException"),
        ("alias/a b", "InvalidAliasNameException"),
        ("alias/a\u{0}", "InvalidAliasNameException"),
        ("alias/aws/mine", "NotAuthorizedException"),
    ] {
        let asked = json!({ "AliasName": name, "TargetKeyId": id });
        assert_eq!(code(&kit, "CreateAlias", asked).await, expected, "{name}");
    }
    // Keys are changed by their ids.
    call(&kit, "CreateAlias", json!({ "AliasName": "alias/mine", "TargetKeyId": id })).await;
    assert_eq!(code(&kit, "DisableKey", json!({ "KeyId": "alias/mine" })).await, "NotFoundException");
    let long = "x".repeat(2000);
    for named in
        ["alias/a\u{0}", "no-key", "arn:aws:kms:eu-west-1:111111111111:key/x", "arn:aws:ec2:a:b:c", &long]
    {
        let refused = code(&kit, "DescribeKey", json!({ "KeyId": named })).await;
        assert!(
            matches!(refused.as_str(), "NotFoundException" | "InvalidArnException"),
            "{named}: {refused}"
        );
    }
}

#[tokio::test]
async fn the_key_of_ebs_is_there_when_it_is_first_asked_for_and_is_not_ours_to_change() {
    let kit = Kit::new().await;
    assert_eq!(call(&kit, "ListKeys", json!({})).await["Keys"], json!([]));
    let described =
        call(&kit, "DescribeKey", json!({ "KeyId": "alias/aws/ebs" })).await["KeyMetadata"].clone();
    assert_eq!(described["KeyManager"], "AWS");
    let id = described["KeyId"].as_str().unwrap();
    assert_eq!(
        call(&kit, "DescribeKey", json!({ "KeyId": "alias/aws/ebs" })).await["KeyMetadata"],
        described
    );
    assert_eq!(call(&kit, "DescribeKey", json!({ "KeyId": id })).await["KeyMetadata"], described);
    let listed = call(&kit, "ListAliases", json!({})).await["Aliases"].clone();
    assert_eq!((&listed[0]["AliasName"], &listed[0]["TargetKeyId"]), (&json!("alias/aws/ebs"), &json!(id)));
    for action in ["DisableKey", "ScheduleKeyDeletion"] {
        assert_eq!(code(&kit, action, json!({ "KeyId": id })).await, "AccessDeniedException", "{action}");
    }
    let asked = json!({ "KeyId": id, "Plaintext": "AAAA" });
    assert_eq!(code(&kit, "Encrypt", asked).await, "AccessDeniedException");
}
