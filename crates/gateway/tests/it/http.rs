//! HTTP itself: both versions, request ids, bugs, health, shutdown.

use crate::door::{Door, LET_GO, UNDER_WAY, credentials};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashSet;
use tokio::net::TcpStream;
use wire::sigv4::{self, Payload};

const ECHO: &str = "Action=Echo&Text=hello";

#[tokio::test]
async fn a_connection_serves_many_requests_and_each_has_an_id_of_its_own() {
    let door = Door::open().await;
    let mut client = door.connect().await;
    let mut ids = HashSet::new();
    for action in ["Echo", "Echo", "Explode", "Panic", "Echo"] {
        client.send(&door.post(&credentials("ec2"), &format!("Action={action}"))).await;
        let answer = client.answer().await;
        let id = answer.headers["x-amzn-requestid"].clone();
        assert_eq!(answer.headers["x-amz-request-id"], id);
        let element = if answer.status == 200 { "requestId" } else { "RequestID" };
        assert_eq!(answer.element(element), id);
        assert_eq!((id.len(), id.as_bytes()[14]), (36, b'4'), "a UUID of version 4: {id}");
        ids.insert(id);
    }
    assert_eq!(ids.len(), 5);
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge() {
    let door = Door::open().await;
    let stream = TokioIo::new(TcpStream::connect(door.at).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let host = door.host();
        let headers = [("host", host.as_bytes())];
        let request = sigv4::Request { method: "POST", path: "/", query: "", headers: &headers };
        let added =
            sigv4::sign(&request, &Payload::of(ECHO.as_bytes()), &credentials("ec2"), door.now()).unwrap();
        let mut request = http::Request::post(format!("http://{host}/"));
        for (name, value) in added {
            request = request.header(name, value);
        }
        let answer =
            client.send_request(request.body(Full::<bytes::Bytes>::new(ECHO.into())).unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("111111111111 hello"));
    }
}

#[tokio::test]
async fn a_bug_in_one_operation_is_an_internal_error_that_tells_nothing() {
    let door = Door::open().await;
    for service in ["ec2", "sts"] {
        let answer = door.ask(&door.post(&credentials(service), "Action=Panic")).await;
        assert_eq!(answer.error(), ("InternalError", 500));
        assert!(!answer.body.contains("bug"));
    }
    assert_eq!(door.ask(&door.post(&credentials("ec2"), ECHO)).await.status, 200);
}

#[tokio::test]
async fn requests_without_an_action_or_with_broken_parameters_are_the_callers_fault() {
    let door = Door::open().await;
    for (body, code) in [
        ("", "MissingAction"),
        ("Text=hello", "MissingAction"),
        ("Action=Explode", "InvalidAction"),
        ("Action=Echo&Text=%zz", "MalformedQueryString"),
        ("Action=Echo&Text=%ff", "MalformedQueryString"),
        ("Action=Echo&Colour=red", "UnknownParameter"),
        ("Action=Echo&Text=a&Text=b", "InvalidQueryParameter"),
    ] {
        let answer = door.ask(&door.post(&credentials("ec2"), body)).await;
        assert_eq!(answer.error(), (code, 400), "{body}");
    }
    let many = "a&".repeat(20_001);
    let answer = door.ask(&door.post(&credentials("sts"), &many)).await;
    assert_eq!(answer.error(), ("InvalidQueryParameter", 400));
    assert!(answer.body.contains("<ErrorResponse"));
}

#[tokio::test]
async fn health_is_told_to_everybody() {
    let door = Door::open().await;
    let answer = door.ask("GET /_nube/health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
    assert!(
        answer.body.contains("\"status\":\"running\"")
            && answer.body.contains("[\"ec2\",\"sts\",\"kms\",\"ebs\"]")
    );
}

#[tokio::test]
async fn a_shutdown_lets_requests_under_way_end_and_takes_no_new_ones() {
    let door = Door::open().await;
    let (mut busy, mut idle) = (door.connect().await, door.connect().await);
    idle.send(&door.post(&credentials("ec2"), ECHO)).await;
    idle.answer().await;
    busy.send(&door.post(&credentials("ec2"), "Action=Wait")).await;
    UNDER_WAY.acquire().await.unwrap().forget();
    let at = door.at;
    door.stop.send(()).unwrap();
    assert!(idle.is_closed().await);
    assert!(!door.serving.is_finished());
    TcpStream::connect(at).await.unwrap_err();
    LET_GO.add_permits(1);
    let answer = busy.answer().await;
    assert_eq!((answer.status, answer.element("Text")), (200, "waited"));
    assert!(busy.is_closed().await);
    door.serving.await.unwrap();
}
