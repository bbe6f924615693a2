//! What one client may cost.

use crate::door::{Door, credentials};
use gateway::Limits;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_by_the_service_it_is_for() {
    let door = Door::with(Limits { body: 1000, ..Limits::default() }).await;
    let fits = format!("Action=Echo&Text={}", "x".repeat(1000 - 17));
    assert_eq!(door.ask(&door.post(&credentials("ec2"), &fits)).await.status, 200);
    for (service, envelope) in [("ec2", "<Response>"), ("sts", "<ErrorResponse")] {
        let answer = door.ask(&door.post(&credentials(service), &(fits.clone() + "x"))).await;
        assert_eq!(answer.error(), ("RequestEntityTooLarge", 413));
        assert!(answer.body.contains(envelope), "{answer:?}");
        assert_eq!(answer.headers["x-amzn-requestid"].len(), 36);
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let door = Door::with(Limits { body_timeout: SOON, ..Limits::default() }).await;
    let request = door.post(&credentials("ec2"), "Action=Echo&Text=hello");
    let answer = door.ask(&request[..request.len() - 1]).await;
    assert_eq!(answer.error(), ("RequestTimeout", 408));
}

#[tokio::test]
async fn a_connection_that_brings_no_request_is_closed() {
    let door = Door::with(Limits { header_timeout: SOON, ..Limits::default() }).await;
    // Nothing, the beginning of either HTTP, and half a head.
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nhost: x\r\n"] {
        let mut client = door.connect().await;
        client.send(start).await;
        let closed = tokio::time::timeout(Duration::from_secs(5), client.0.readable());
        closed.await.unwrap_or_else(|_| panic!("after {start:?} the connection stays open")).unwrap();
    }
}

#[tokio::test]
async fn a_full_house_waits_rather_than_turning_away() {
    let door = Door::with(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = door.connect().await;
    let request = door.post(&credentials("ec2"), "Action=Echo");
    first.send(&request).await;
    assert_eq!(first.answer().await.status, 200);
    let mut second = door.connect().await;
    second.send(&request).await;
    let unanswered = tokio::time::timeout(SOON, second.0.readable()).await;
    assert!(unanswered.is_err(), "there is one place");
    drop(first);
    assert_eq!(second.answer().await.status, 200);
}
