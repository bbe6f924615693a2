//! Who one is, and temporary credentials.

use model::record::access_key::AccessKey;
use model::{AccessKeyId, Region};
use std::time::Duration;
use testkit::{ALICE, Answer, BOB, Kit, START};
use wire::{ApiError, Form};

async fn call(kit: &Kit, action: &str, parameters: &[(&str, &str)]) -> Result<Answer, ApiError> {
    kit.call_as(ALICE, "sts", action, parameters).await
}

const CREDENTIALS: &str = "GetSessionTokenResult/Credentials";

async fn session(kit: &Kit, seconds: &str) -> (String, Answer) {
    let answer = call(kit, "GetSessionToken", &[("DurationSeconds", seconds)]).await.unwrap();
    (answer.one(&format!("{CREDENTIALS}/AccessKeyId")), answer)
}

fn expiration(answer: &Answer) -> wire::Timestamp {
    wire::Timestamp::parse(&answer.one(&format!("{CREDENTIALS}/Expiration"))).unwrap()
}

#[tokio::test]
async fn callers_learn_who_they_are() {
    let kit = Kit::new().await;
    let me = call(&kit, "GetCallerIdentity", &[]).await.unwrap();
    assert_eq!(me.one("GetCallerIdentityResult/Account"), "111111111111");
    assert_eq!(me.one("GetCallerIdentityResult/Arn"), "arn:aws:iam::111111111111:root");
    assert_eq!(me.one("GetCallerIdentityResult/UserId"), "111111111111");
    assert!(!me.one("ResponseMetadata/RequestId").is_empty());
    let bob = kit.call_as(BOB, "sts", "GetCallerIdentity", &[]).await.unwrap();
    assert_eq!(bob.one("GetCallerIdentityResult/Account"), "222222222222");
}

#[tokio::test]
async fn a_session_token_is_a_key_that_the_cloud_knows_and_that_ends() {
    let kit = Kit::new().await;
    let (id, answer) = session(&kit, "900").await;
    assert!(id.starts_with("ASIA"));
    assert_eq!(expiration(&answer), wire::Timestamp::parse("2026-01-01T00:15:00Z").unwrap());
    let tables = kit.cloud.view.read();
    let key = tables.get::<AccessKey>(&Region::global(), &AccessKeyId::parse(&id).unwrap()).unwrap();
    assert_eq!(key.account, ALICE);
    assert_eq!(key.secret.expose(), answer.one(&format!("{CREDENTIALS}/SecretAccessKey")));
    let session = key.session.as_ref().unwrap();
    assert_eq!(session.token.expose(), answer.one(&format!("{CREDENTIALS}/SessionToken")));
    assert_eq!(session.expires_at, START + Duration::from_mins(15));
}

#[tokio::test]
async fn durations_outside_of_the_bounds_are_refused_and_root_gets_an_hour_at_most() {
    let kit = Kit::new().await;
    for wrong in ["899", "129601", "-1"] {
        let refused = call(&kit, "GetSessionToken", &[("DurationSeconds", wrong)]).await.unwrap_err();
        assert_eq!(refused.code(), "ValidationError", "{wrong}");
    }
    let (_, answer) = session(&kit, "129600").await;
    assert_eq!(expiration(&answer), wire::Timestamp::parse("2026-01-01T01:00:00Z").unwrap());
}

#[tokio::test]
async fn nobody_has_an_mfa_device() {
    let kit = Kit::new().await;
    let asked = [("SerialNumber", "arn:aws:iam::111111111111:mfa/me"), ("TokenCode", "123456")];
    let refused = call(&kit, "GetSessionToken", &asked).await.unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("AccessDenied", 403));
}

#[tokio::test]
async fn temporary_credentials_beget_no_others() {
    let kit = Kit::new().await;
    let (id, _) = session(&kit, "900").await;
    let mut ctx = kit.context(ALICE);
    ctx.caller.access_key = AccessKeyId::parse(&id).unwrap();
    let form = Form::parse(b"Action=GetSessionToken&Version=2011-06-15").unwrap();
    let refused = identity::sts::service().dispatch(ctx, "GetSessionToken", &form).await.unwrap_err();
    assert_eq!(refused.code(), "AccessDenied");
}

#[tokio::test]
async fn expired_credentials_are_swept_when_new_ones_are_asked_for() {
    let kit = Kit::new().await;
    let (old, _) = session(&kit, "900").await;
    kit.clock.advance(Duration::from_mins(16));
    let (new, _) = session(&kit, "900").await;
    let account = async |id: &str| call(&kit, "GetAccessKeyInfo", &[("AccessKeyId", id)]).await;
    assert_eq!(account(&new).await.unwrap().one("GetAccessKeyInfoResult/Account"), "111111111111");
    assert_eq!(account(&old).await.unwrap_err().code(), "ValidationError");
    assert_eq!(account("short").await.unwrap_err().code(), "ValidationError");
}
