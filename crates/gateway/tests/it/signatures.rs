//! Who may pass: signatures, sessions, scopes, and what each service answers to those who may not.

use crate::door::{ALICE, Door, KEY, SECRET, TEMPORARY, TOKEN, credentials, temporary};
use std::time::Duration;
use wire::sigv4::Credentials;

const ECHO: &str = "Action=Echo&Version=2016-11-15&Text=hello";

#[tokio::test]
async fn signed_and_presigned_requests_are_answered_for_their_account() {
    let door = Door::open().await;
    for request in [
        door.post(&credentials("ec2"), ECHO),
        door.get(&credentials("ec2"), ECHO, 60),
        door.post(&temporary("ec2"), ECHO),
        door.get(&temporary("ec2"), ECHO, 60),
    ] {
        let answer = door.ask(&request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            answer.element("Text").to_owned() + answer.headers["content-type"].as_str(),
            format!("{ALICE} hellotext/xml;charset=UTF-8")
        );
    }
    let answer = door.ask(&door.post(&credentials("sts"), "Action=Echo&Version=2011-06-15&Text=hi")).await;
    assert_eq!((answer.status, answer.element("Text")), (200, "111111111111 hi"));
}

#[tokio::test]
async fn ec2_takes_version_2_too() {
    let door = Door::open().await;
    for method in ["GET", "POST"] {
        let answer = door.ask(&door.version_2(method, KEY, SECRET, ECHO)).await;
        assert_eq!((answer.status, answer.element("Text")), (200, "111111111111 hello"), "{method}");
        let session = format!(
            "{ECHO}&SecurityToken={}",
            TOKEN.replace('+', "%2B").replace(' ', "%20").replace('=', "%3D")
        );
        assert_eq!(door.ask(&door.version_2(method, TEMPORARY, SECRET, &session)).await.status, 200);
        for refused in [
            door.version_2(method, KEY, SECRET, ECHO).replace("hello", "jello"),
            door.version_2(method, KEY, "wrong", ECHO),
            door.version_2(method, "AKIANOBODYNOBODY0000", SECRET, ECHO),
            door.version_2(method, TEMPORARY, SECRET, ECHO),
        ] {
            assert_eq!(door.ask(&refused).await.error(), ("AuthFailure", 401));
        }
    }
    door.clock.advance(Duration::from_mins(16));
    let late = door.version_2("GET", KEY, SECRET, ECHO);
    assert_eq!(door.ask(&late).await.error(), ("RequestExpired", 400));
}

/// What EC2 and STS answer to the same mistake.
async fn refused(door: &Door, request: impl Fn(&'static str) -> String, ec2: (&str, u16), sts: (&str, u16)) {
    for (service, expected) in [("ec2", ec2), ("sts", sts)] {
        let answer = door.ask(&request(service)).await;
        assert_eq!(answer.error(), expected, "{service}: {answer:?}");
        let envelope = if service == "ec2" { "<Response>" } else { "<ErrorResponse xmlns=\"urn:sts\">" };
        assert!(answer.body.contains(envelope), "{answer:?}");
    }
}

#[tokio::test]
async fn wrong_secrets_and_unknown_keys_are_refused_as_each_service_does() {
    let door = Door::open().await;
    let wrong = |service| Credentials { secret: b"wrong", ..credentials(service) };
    let mismatch = (("AuthFailure", 401), ("SignatureDoesNotMatch", 403));
    refused(&door, |s| door.post(&wrong(s), ECHO), mismatch.0, mismatch.1).await;
    refused(&door, |s| door.get(&wrong(s), ECHO, 60), mismatch.0, mismatch.1).await;
    let changed = |s| door.post(&credentials(s), ECHO).replace("hello", "jello");
    refused(&door, changed, mismatch.0, mismatch.1).await;
    for id in ["AKIANOBODYNOBODY0000", "no key at all"] {
        let unknown = |s| door.post(&Credentials { access_key_id: id, ..credentials(s) }, ECHO);
        refused(&door, unknown, ("AuthFailure", 401), ("InvalidClientTokenId", 403)).await;
    }
}

#[tokio::test]
async fn a_request_lives_for_its_time_alone() {
    let door = Door::open().await;
    let (early, presigned) = (
        ["ec2", "sts"].map(|s| door.post(&credentials(s), ECHO)),
        ["ec2", "sts"].map(|s| door.get(&credentials(s), ECHO, 1200)),
    );
    let of = |requests: &[String; 2], s: &str| requests[usize::from(s == "sts")].clone();
    door.clock.advance(Duration::from_mins(15));
    assert_eq!(door.ask(&early[0]).await.status, 200);
    door.clock.advance(Duration::from_secs(1));
    refused(&door, |s| of(&early, s), ("RequestExpired", 400), ("SignatureDoesNotMatch", 403)).await;
    door.clock.advance(Duration::from_secs(299));
    assert_eq!(door.ask(&presigned[0]).await.status, 200);
    door.clock.advance(Duration::from_secs(1));
    refused(&door, |s| of(&presigned, s), ("RequestExpired", 400), ("SignatureDoesNotMatch", 403)).await;
}

#[tokio::test]
async fn a_session_token_comes_with_its_key_and_no_other_and_ends() {
    let door = Door::open().await;
    let invalid = (("AuthFailure", 401), ("InvalidClientTokenId", 403));
    for token in [None, Some("another"), Some("")] {
        let request = |s| door.post(&Credentials { session_token: token, ..temporary(s) }, ECHO);
        refused(&door, request, invalid.0, invalid.1).await;
    }
    let stray = |s| door.post(&Credentials { session_token: Some(TOKEN), ..credentials(s) }, ECHO);
    refused(&door, stray, invalid.0, invalid.1).await;
    door.clock.advance(Duration::from_secs(599));
    assert_eq!(door.ask(&door.post(&temporary("ec2"), ECHO)).await.status, 200);
    door.clock.advance(Duration::from_secs(1));
    refused(&door, |s| door.post(&temporary(s), ECHO), ("RequestExpired", 400), ("ExpiredToken", 403)).await;
}

#[tokio::test]
async fn regions_that_are_not_served_and_services_that_are_not_built_are_refused() {
    let door = Door::open().await;
    for region in ["us-lab-9", "nonsense"] {
        let elsewhere = |s| door.post(&Credentials { region, ..credentials(s) }, ECHO);
        refused(&door, elsewhere, ("AuthFailure", 401), ("SignatureDoesNotMatch", 403)).await;
    }
    let answer = door.ask(&door.post(&Credentials { region: "eu-west-1", ..credentials("ec2") }, ECHO)).await;
    assert_eq!(answer.error(), ("AuthFailure", 401));
    assert!(answer.element("Message").contains("'eu-west-1'"));
    // One STS answers for every region that there is.
    let answer = door.ask(&door.post(&Credentials { region: "eu-west-1", ..credentials("sts") }, ECHO)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let lambda = Credentials::new(KEY, SECRET.as_bytes(), "us-east-1", "lambda");
    let answer = door.ask(&door.post(&lambda, ECHO)).await;
    assert_eq!(answer.error(), ("UnsupportedOperation", 400));
    assert!(answer.element("Message").contains("lambda"));
}

#[tokio::test]
async fn unsigned_requests_are_told_by_the_service_that_they_mean() {
    let door = Door::open().await;
    let get = |host: &str, version: &str| {
        format!("GET /?Action=Echo&Version={version} HTTP/1.1\r\nhost: {host}\r\n\r\n")
    };
    for (host, version, envelope) in [
        ("localhost", "2016-11-15", "<Response>"),
        ("localhost", "2011-06-15", "<ErrorResponse"),
        ("sts.us-east-1.amazonaws.com", "", "<ErrorResponse"),
        ("localhost", "", "<Response>"),
    ] {
        let answer = door.ask(&get(host, version)).await;
        assert_eq!(answer.error(), ("MissingAuthenticationToken", 403));
        assert!(answer.body.contains(envelope), "{host} {version}: {answer:?}");
    }
    let half = door.post(&credentials("ec2"), ECHO).replace("Signature=", "Sign=");
    assert_eq!(door.ask(&half).await.error(), ("IncompleteSignature", 400));
}
