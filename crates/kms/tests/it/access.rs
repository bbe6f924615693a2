//! Whose keys are whose: accounts, policies, grants.

use crate::rig::{ALICE, BOB, Kit, base64, call, call_as, code, code_as, encrypt, key};
use model::AccountId;
use serde_json::json;

const BOB_ROOT: &str = "arn:aws:iam::222222222222:root";

fn policy(account: AccountId, more: serde_json::Value) -> String {
    let own = json!({ "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
        "Action": "kms:*", "Resource": "*" });
    json!({ "Version": "2012-10-17", "Statement": [own, more] }).to_string()
}

#[tokio::test]
async fn an_account_sees_and_uses_its_own_keys_alone() {
    let kit = Kit::new().await;
    let (id, arn) = key(&kit).await;
    let ciphertext = encrypt(&kit, &id, b"secret", json!({})).await;
    assert_eq!(call_as(&kit, BOB, "ListKeys", json!({})).await["Keys"], json!([]));
    assert_eq!(code_as(&kit, BOB, "DescribeKey", json!({ "KeyId": id })).await, "NotFoundException");
    let plain = base64(b"x");
    for (action, asked) in [
        ("DescribeKey", json!({ "KeyId": arn })),
        ("Encrypt", json!({ "KeyId": arn, "Plaintext": plain })),
        ("Decrypt", json!({ "CiphertextBlob": ciphertext })),
        ("DisableKey", json!({ "KeyId": arn })),
        ("GetKeyPolicy", json!({ "KeyId": arn })),
        ("ScheduleKeyDeletion", json!({ "KeyId": arn })),
        ("CreateGrant", json!({ "KeyId": arn, "GranteePrincipal": BOB_ROOT, "Operations": ["Decrypt"] })),
    ] {
        assert_eq!(code_as(&kit, BOB, action, asked).await, "AccessDeniedException", "{action}");
    }
}

#[tokio::test]
async fn a_policy_lets_another_account_in_and_keeps_it_to_what_it_says() {
    let kit = Kit::new().await;
    let (id, arn) = key(&kit).await;
    let ciphertext = encrypt(&kit, &id, b"secret", json!({})).await;
    let more = json!({ "Effect": "Allow", "Principal": { "AWS": BOB_ROOT }, "Action": ["kms:Decrypt", "kms:DescribeKey"],
        "Resource": "*" });
    let text = policy(ALICE, more);
    call(&kit, "PutKeyPolicy", json!({ "KeyId": id, "PolicyName": "default", "Policy": text })).await;
    assert_eq!(call(&kit, "GetKeyPolicy", json!({ "KeyId": id })).await["Policy"], json!(text));
    assert_eq!(
        call(&kit, "ListKeyPolicies", json!({ "KeyId": id })).await["PolicyNames"],
        json!(["default"])
    );
    let opened = call_as(&kit, BOB, "Decrypt", json!({ "CiphertextBlob": ciphertext })).await;
    assert_eq!(opened["Plaintext"], base64(b"secret"));
    let asked = json!({ "KeyId": arn, "Plaintext": base64(b"x") });
    assert_eq!(code_as(&kit, BOB, "Encrypt", asked).await, "AccessDeniedException");
    let denied = policy(
        ALICE,
        json!({ "Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*" }),
    );
    call(&kit, "PutKeyPolicy", json!({ "KeyId": id, "Policy": denied })).await;
    let asked = json!({ "KeyId": id, "Plaintext": base64(b"x") });
    assert_eq!(code(&kit, "Encrypt", asked).await, "AccessDeniedException");
}

#[tokio::test]
async fn a_policy_that_is_none_or_that_locks_its_author_out_is_refused() {
    let kit = Kit::new().await;
    let (id, _) = key(&kit).await;
    let others =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Principal": { "AWS": BOB_ROOT },
        "Action": "kms:*", "Resource": "*" }] })
        .to_string();
    for text in ["{", "{}", "[]", r#"{"Statement":[{"Effect":"Allow"}]}"#, &others] {
        let asked = json!({ "KeyId": id, "Policy": text });
        assert_eq!(code(&kit, "PutKeyPolicy", asked).await, "MalformedPolicyDocumentException", "{text}");
        assert_eq!(
            code(&kit, "CreateKey", json!({ "Policy": text })).await,
            "MalformedPolicyDocumentException"
        );
    }
    let asked = json!({ "KeyId": id, "Policy": others, "BypassPolicyLockoutSafetyCheck": true });
    call(&kit, "PutKeyPolicy", asked).await;
    assert_eq!(code(&kit, "DescribeKey", json!({ "KeyId": id })).await, "AccessDeniedException");
}

#[tokio::test]
async fn a_grant_lets_its_grantee_do_what_it_says_until_it_is_revoked_or_retired() {
    let kit = Kit::new().await;
    let (id, arn) = key(&kit).await;
    let (bound, free) = (json!({ "a": "1", "b": "2" }), json!({ "a": "2" }));
    let inside = encrypt(&kit, &id, b"inside", bound.clone()).await;
    let outside = encrypt(&kit, &id, b"outside", free.clone()).await;
    let asked = json!({ "KeyId": id, "GranteePrincipal": BOB_ROOT, "Operations": ["Decrypt", "RetireGrant"], "Name": "one",
        "Constraints": { "EncryptionContextSubset": { "a": "1" } } });
    let grant = call(&kit, "CreateGrant", asked.clone()).await;
    assert_eq!(call(&kit, "CreateGrant", asked.clone()).await, grant, "the same grant is there once");
    let decrypt =
        |ciphertext: &str, context| json!({ "CiphertextBlob": ciphertext, "EncryptionContext": context });
    let opened = call_as(&kit, BOB, "Decrypt", decrypt(&inside, bound.clone())).await;
    assert_eq!(opened["Plaintext"], base64(b"inside"));
    assert_eq!(code_as(&kit, BOB, "Decrypt", decrypt(&outside, free)).await, "AccessDeniedException");
    let listed = call(&kit, "ListGrants", json!({ "KeyId": id })).await["Grants"].clone();
    assert_eq!((&listed[0]["GrantId"], &listed[0]["KeyId"]), (&grant["GrantId"], &json!(arn)));
    assert_eq!(listed[0]["Constraints"], json!({ "EncryptionContextSubset": { "a": "1" } }));

    let named = json!({ "KeyId": id, "GrantId": grant["GrantId"] });
    call(&kit, "RevokeGrant", named.clone()).await;
    assert_eq!(code(&kit, "RevokeGrant", named).await, "NotFoundException");
    assert_eq!(code_as(&kit, BOB, "Decrypt", decrypt(&inside, bound)).await, "AccessDeniedException");

    let grant = call(&kit, "CreateGrant", asked).await;
    let token = json!({ "GrantToken": grant["GrantToken"] });
    call_as(&kit, BOB, "RetireGrant", token.clone()).await;
    assert_eq!(code(&kit, "RetireGrant", token).await, "InvalidGrantTokenException");
    assert_eq!(call(&kit, "ListGrants", json!({ "KeyId": id })).await["Grants"], json!([]));
}

#[tokio::test]
async fn retirable_grants_are_listed_and_wrong_ones_refused() {
    let kit = Kit::new().await;
    let (id, _) = key(&kit).await;
    let asked = |more: serde_json::Value| {
        let mut asked = json!({ "KeyId": id, "GranteePrincipal": BOB_ROOT, "Operations": ["Encrypt"] });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    call(&kit, "CreateGrant", asked(json!({ "RetiringPrincipal": BOB_ROOT }))).await;
    let listed = call_as(&kit, BOB, "ListRetirableGrants", json!({ "RetiringPrincipal": BOB_ROOT })).await;
    assert_eq!(listed["Grants"].as_array().unwrap().len(), 1);
    for (more, expected) in [
        (json!({ "Operations": ["Sign"] }), "UnsupportedOperationException"),
        (json!({ "Operations": [] }), "ValidationException"),
        (json!({ "GranteePrincipal": "bob" }), "InvalidArnException"),
    ] {
        assert_eq!(code(&kit, "CreateGrant", asked(more)).await, expected);
    }
    call(&kit, "DisableKey", json!({ "KeyId": id })).await;
    assert_eq!(code(&kit, "CreateGrant", asked(json!({}))).await, "DisabledException");
}

#[tokio::test]
async fn tags_come_and_go_within_their_bounds() {
    let kit = Kit::new().await;
    let (id, _) = key(&kit).await;
    let tags: Vec<_> = (0..50).map(|n| json!({ "TagKey": format!("k{n:02}"), "TagValue": "v" })).collect();
    call(&kit, "TagResource", json!({ "KeyId": id, "Tags": tags })).await;
    let more = json!({ "KeyId": id, "Tags": [{ "TagKey": "one more", "TagValue": "" }] });
    assert_eq!(code(&kit, "TagResource", more).await, "LimitExceededException");
    let reserved = json!({ "KeyId": id, "Tags": [{ "TagKey": "aws:x", "TagValue": "" }] });
    assert_eq!(code(&kit, "TagResource", reserved).await, "TagException");
    call(&kit, "UntagResource", json!({ "KeyId": id, "TagKeys": ["k00", "k01", "none"] })).await;
    let page = call(&kit, "ListResourceTags", json!({ "KeyId": id, "Limit": 50 })).await;
    assert_eq!((page["Tags"].as_array().unwrap().len(), &page["Tags"][0]["TagKey"]), (48, &json!("k02")));
}
