//! HTTP/1 as clients send it, well and badly.

use crate::door::{Client, Door, credentials};
use gateway::Limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ECHO: &str = "Action=Echo&Text=hello";

/// All that the server says until it closes.
async fn rest(client: &mut Client) -> String {
    let mut said = Vec::new();
    // A reset ends it as well.
    let _ = client.0.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn requests_may_come_in_any_pieces_and_several_at_once() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    client.0.set_nodelay(true).unwrap();
    let request = door.post(&credentials("ec2"), ECHO);
    for size in [1, 7, 100] {
        for piece in request.as_bytes().chunks(size) {
            client.0.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(client.answer().await.element("Text"), "111111111111 hello");
    }
    // Empty lines between requests are passed over.
    client.send(&format!("{request}\r\n{request}{request}\r\n\r\n")).await;
    for _ in 0..3 {
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    let whole = door.post(&credentials("ec2"), ECHO);
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    let head = head.replace(&format!("content-length: {}", body.len()), "Transfer-Encoding: chunked");
    for _ in 0..2 {
        client.send(&format!("{head}\r\n\r\n6;a=b\r\n{}\r\n", &body[..6])).await;
        client.send(&format!("{:x}\r\n{}\r\n0\r\nx: y\r\n\r\n", body.len() - 6, &body[6..])).await;
        assert_eq!(client.answer().await.element("Text"), "111111111111 hello");
    }
    client.send(&format!("{head}\r\n\r\nno size\r\n")).await;
    assert_eq!(client.answer().await.error(), ("IncompleteBody", 400));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let door = Door::with(Limits { body: 1000, ..Limits::default() }).await;
    let whole = door.post(&credentials("ec2"), ECHO).replacen("\r\n", "\r\nExpect: 100-continue\r\n", 1);
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    let mut client = door.connect().await;
    client.send(&format!("{head}\r\n\r\n")).await;
    let mut said = [0; 25];
    client.0.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(body).await;
    assert_eq!(client.answer().await.element("Text"), "111111111111 hello");
    // Not if the body is too large anyway.
    let large = head.replace(&format!("content-length: {}", body.len()), "content-length: 1001");
    client.send(&format!("{large}\r\n\r\n")).await;
    assert_eq!(client.answer().await.error(), ("RequestEntityTooLarge", 413));
}

#[tokio::test]
async fn a_connection_closes_when_the_client_says_so_or_speaks_the_old_version() {
    let door = Door::open().await;
    let request = door.post(&credentials("ec2"), ECHO);
    for (from, to) in [("\r\n", "\r\nConnection: close\r\n"), ("HTTP/1.1", "HTTP/1.0")] {
        let mut client = door.connect().await;
        client.send(&request.replacen(from, to, 1)).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.headers["connection"].as_str()), (200, "close"));
        assert!(client.is_closed().await);
    }
    // What it has sent before it stopped sending is answered.
    let mut client = door.connect().await;
    client.send(&(request.clone() + &request)).await;
    client.0.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.matches("111111111111 hello").count(), 2);
}

#[tokio::test]
async fn every_answer_is_dated_and_typed_and_a_head_has_no_body() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    client.send("HEAD /_nube/health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.0.read_u8().await.unwrap());
    }
    assert!(!String::from_utf8(head).unwrap().contains("content-length: 0"));
    client.send(&door.post(&credentials("ec2"), ECHO)).await;
    let answer = client.answer().await;
    assert_eq!(answer.headers["date"], "Thu, 01 Jan 2026 00:00:00 GMT");
    assert_eq!(answer.headers["content-type"], "text/xml;charset=UTF-8");
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_connection_closed() {
    let door = Door::open().await;
    for (text, status) in [
        ("NOTHTTP\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", 400),
        ("POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        ("GET / HTTP/7.0\r\n\r\n", 505),
        (&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200)), 431),
        (&format!("GET / HTTP/1.1\r\na: {}", "b".repeat(200_000)), 431),
    ] {
        let mut client = door.connect().await;
        client.send(text).await;
        client.0.shutdown().await.unwrap();
        let said = rest(&mut client).await;
        let shown = &text[..text.len().min(60)];
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{shown:?}: {said}");
    }
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_the_callers_fault() {
    let door = Door::open().await;
    let request = door.post(&credentials("ec2"), ECHO);
    let mut client = door.connect().await;
    client.send(&request[..request.len() - 1]).await;
    client.0.shutdown().await.unwrap();
    assert!(rest(&mut client).await.contains("<Code>IncompleteBody</Code>"));
}

#[tokio::test]
async fn a_connection_at_rest_is_closed_after_a_while() {
    let door = Door::with(Limits { header_timeout: Duration::from_secs(2), ..Limits::default() }).await;
    let mut client = door.connect().await;
    client.send(&door.post(&credentials("ec2"), ECHO)).await;
    assert_eq!(client.answer().await.status, 200);
    assert!(client.is_closed().await);
}
