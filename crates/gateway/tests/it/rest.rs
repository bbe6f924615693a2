//! A service of the restJson protocol, behind the same door.

use crate::door::{Door, credentials};
use wire::sigv4::{self, Payload};

/// A signed request of the service as text.
fn request(door: &Door, method: &str, path: &str, payload: &Payload, body: &str) -> String {
    let host = door.host();
    let mut headers = vec![("host", host.as_bytes())];
    if *payload == Payload::Waived {
        headers.push(("x-amz-content-sha256", sigv4::UNSIGNED_PAYLOAD.as_bytes()));
    }
    let signing = sigv4::Request { method, path, query: "", headers: &headers };
    let added = sigv4::sign(&signing, payload, &credentials("ebs"), door.now()).unwrap();
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n", body.len());
    if *payload == Payload::Waived {
        text += "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n";
    }
    for (name, value) in added {
        text.extend([name, ": ", &value, "\r\n"]);
    }
    text + "\r\n" + body
}

#[tokio::test]
async fn a_rest_request_is_routed_by_method_and_path() {
    let door = Door::open().await;
    let body = r#"{"Text":"50% a&b=c"}"#;
    let answer = door.ask(&request(&door, "PUT", "/echo/one", &Payload::of(body.as_bytes()), body)).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (201, r#"{"Text":"111111111111 50% a&b=c"}"#),
        "{answer:?}"
    );
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(!answer.headers["x-amzn-requestid"].is_empty());
    let answer = door.ask(&request(&door, "GET", "/echo/one", &Payload::of(b""), "")).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert_eq!(answer.headers["x-amzn-errortype"], "UnknownOperationException");
}

#[tokio::test]
async fn only_operations_that_say_so_let_callers_leave_the_body_unsigned() {
    let door = Door::open().await;
    let body = r#"{"Text":"a"}"#;
    let answer = door.ask(&request(&door, "POST", "/unsigned", &Payload::Waived, body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = door.ask(&request(&door, "PUT", "/echo/one", &Payload::Waived, body)).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(answer.headers["x-amzn-errortype"], "InvalidSignatureException");
    let signed = request(&door, "POST", "/unsigned", &Payload::of(body.as_bytes()), body);
    let answer = door.ask(&signed.replace(r#""a""#, r#""b""#)).await;
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[tokio::test]
async fn hostile_rest_requests_are_answered() {
    let door = Door::open().await;
    for (path, body) in [("/echo/one", "{"), ("/echo/one", "\u{0}\u{1}%zz"), ("/echo/one", "[[[[")] {
        let answer = door.ask(&request(&door, "PUT", path, &Payload::of(body.as_bytes()), body)).await;
        assert_eq!(answer.status, 400, "{path} {body} {answer:?}");
        assert_eq!(answer.headers["x-amzn-errortype"], "SerializationException");
    }
}
