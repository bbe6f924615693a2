//! A service that speaks JSON, behind the same door.

use crate::door::Door;

const JSON: &str = "application/x-amz-json-1.1";

#[tokio::test]
async fn a_json_request_is_routed_by_its_target_and_answered_in_json() {
    let door = Door::open().await;
    // What a form would choke on is no form.
    let answer = door.ask(&door.post_json(Some("TrentService.Echo"), r#"{"Text":"50% a&b=c"}"#)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"Text":"111111111111 50% a&b=c"}"#));
    assert_eq!(answer.headers["content-type"], JSON);
    assert!(!answer.headers["x-amzn-requestid"].is_empty());
}

#[tokio::test]
async fn errors_of_a_json_service_are_json() {
    let door = Door::open().await;
    let cases = [
        (Some("TrentService.Nothing"), "{}", "UnknownOperationException", 400),
        (None, "{}", "UnknownOperationException", 400),
        (Some("TrentService.Echo"), "{", "SerializationException", 400),
        (Some("TrentService.Echo"), r#"{"Text":[]}"#, "SerializationException", 400),
        (Some("TrentService.Panic"), "{}", "InternalError", 500),
    ];
    for (target, body, code, status) in cases {
        let answer = door.ask(&door.post_json(target, body)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.starts_with(&format!("{{\"__type\":\"{code}\"")), "{answer:?}");
        assert_eq!(answer.headers["content-type"], JSON);
    }
}

#[tokio::test]
async fn a_json_request_with_a_broken_signature_is_refused_in_json() {
    let door = Door::open().await;
    let request =
        door.post_json(Some("TrentService.Echo"), "{}").replace("TrentService.Echo", "TrentService.Wait");
    let answer = door.ask(&request).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("InvalidSignatureException"), "{answer:?}");
}
