//! An emulator's door: without signatures, and with a way to forget everything.

use crate::door::{ALICE, Answer, Door, KEY, credentials};
use gateway::{Auth, Emulation, Limits};
use model::AccountId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use wire::sigv4::Credentials;

const ECHO: &str = "Action=Echo&Version=2016-11-15&Text=hi";

async fn open(auth: Auth) -> Door {
    Door::emulating(Limits::default(), |_| Emulation { auth, ..Emulation::default() }).await
}

/// A POST of the parameters with these headers.
async fn post(door: &Door, headers: &[&str]) -> Answer {
    let host =
        if headers.iter().any(|header| header.starts_with("host:")) { "" } else { "host: localhost\r\n" };
    let length = ECHO.len();
    let lines: String = headers.iter().flat_map(|header| [*header, "\r\n"]).collect();
    door.ask(&format!("POST / HTTP/1.1\r\ncontent-length: {length}\r\n{host}{lines}\r\n{ECHO}")).await
}

fn authorization(key: &str) -> String {
    format!(
        "authorization: AWS4-HMAC-SHA256 Credential={key}/20010101/us-east-1/ec2/aws4_request, \
         SignedHeaders=host, Signature=00"
    )
}

#[tokio::test]
async fn without_signatures_an_access_key_id_of_twelve_digits_is_an_account_and_other_keys_are_the_operator()
{
    let door = open(Auth::OffOnLoopback).await;
    for (headers, account) in [
        (vec![authorization("123456789012")], "123456789012"),
        (vec![authorization("test")], "000000000000"),
        (vec![authorization("AKIAWHATEVERWHATEVER")], "000000000000"),
        // A key that the cloud gave out stands for its account, whatever the signature.
        (vec![authorization(KEY)], "111111111111"),
        (vec!["authorization: AWS 210987654321:c2ln".to_owned()], "210987654321"),
        (Vec::new(), "000000000000"),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = post(&door, &headers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.element("Text"), format!("{account} hi"));
    }
    // A wrong secret and a date of years ago are as good as any.
    let wrong = Credentials::new(KEY, b"wrong", "us-east-1", "ec2");
    door.clock.advance(Duration::from_hours(24 * 365));
    assert_eq!(door.ask(&door.post(&wrong, ECHO)).await.element("Text"), format!("{ALICE} hi"));
    let presigned = door.get(&wrong, ECHO, 1);
    assert_eq!(door.ask(&presigned).await.element("Text"), format!("{ALICE} hi"));
}

#[tokio::test]
async fn without_signatures_regions_that_are_not_served_are_still_refused() {
    let door = open(Auth::OffOnLoopback).await;
    let elsewhere = authorization("test").replace("us-east-1", "eu-west-9");
    assert_eq!(post(&door, &[&elsewhere]).await.error(), ("AuthFailure", 401));
    let strange = authorization("test").replace("/ec2/", "/lambda/");
    assert_eq!(post(&door, &[&strange]).await.error(), ("UnsupportedOperation", 400));
}

#[tokio::test]
async fn a_page_in_a_browser_does_not_pass_for_a_client_without_credentials() {
    let door = open(Auth::OffOnLoopback).await;
    for header in [
        "origin: https://evil.example",
        "origin: null",
        "sec-fetch-site: cross-site",
        "sec-fetch-site: same-site",
        "host: evil.example:4566",
    ] {
        assert_eq!(post(&door, &[header]).await.error(), ("AuthFailure", 403), "{header}");
    }
    assert_eq!(post(&door, &["host: evil.example", &authorization("test")]).await.status, 403);
    assert_eq!(post(&door, &["origin: http://localhost:3000", &authorization("test")]).await.status, 200);
    // Where others may reach it, it has names that nobody here knows.
    let door = open(Auth::OffAnywhere).await;
    assert_eq!(post(&door, &["host: emulator.ci.example"]).await.status, 200);
    assert_eq!(post(&door, &["origin: https://evil.example"]).await.status, 403);
}

#[tokio::test]
async fn with_signatures_nothing_of_this_holds() {
    let door = Door::open().await;
    assert_eq!(post(&door, &[]).await.error(), ("MissingAuthenticationToken", 403));
    let wrong = Credentials::new(KEY, b"wrong", "us-east-1", "ec2");
    assert_eq!(door.ask(&door.post(&wrong, ECHO)).await.error(), ("AuthFailure", 401));
    let answer = door.ask("POST /_nube/reset HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(answer.status, 404);
}

/// A door that counts its resets.
async fn resettable(auth: Auth, operator: AccountId) -> (Door, Arc<AtomicUsize>) {
    let resets = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&resets);
    let reset: gateway::Reset = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(BTreeMap::from([("instance".to_owned(), 3)])) })
    });
    let emulation = Emulation { auth, operator, reset: Some(reset) };
    (Door::emulating(Limits::default(), |_| emulation).await, resets)
}

#[tokio::test]
async fn a_reset_says_what_was_forgotten_and_is_a_post_that_no_page_sent() {
    let (door, resets) = resettable(Auth::OffOnLoopback, ALICE).await;
    let ask = async |method: &str, header: &str| {
        let request = format!("{method} /_nube/reset HTTP/1.1\r\n{header}\r\ncontent-length: 0\r\n\r\n");
        door.ask(&request).await
    };
    assert_eq!(ask("GET", "host: localhost").await.status, 405);
    for header in [
        "host: localhost\r\norigin: null",
        "host: localhost\r\nsec-fetch-site: cross-site",
        "host: evil.example",
    ] {
        assert_eq!(ask("POST", header).await.status, 403, "{header}");
    }
    assert_eq!(resets.load(Ordering::Relaxed), 0);
    let answer = ask("POST", "host: localhost:4566").await;
    assert_eq!((answer.status, resets.load(Ordering::Relaxed)), (200, 1));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(answer.body.contains(r#""instance":3"#), "{answer:?}");
}

#[tokio::test]
async fn with_signatures_only_the_operator_resets() {
    for (operator, status) in [(ALICE, 200), (AccountId::from_number(0), 403)] {
        let (door, resets) = resettable(Auth::Signed, operator).await;
        let unsigned = "POST /_nube/reset HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(door.ask(unsigned).await.status, 403);
        let signed = door.post_to("/_nube/reset", &credentials("ec2"), "");
        assert_eq!(door.ask(&signed).await.status, status);
        assert_eq!(resets.load(Ordering::Relaxed), usize::from(status == 200));
        let wrong = Credentials::new(KEY, b"wrong", "us-east-1", "ec2");
        assert_eq!(door.ask(&door.post_to("/_nube/reset", &wrong, "")).await.status, 403);
    }
}
