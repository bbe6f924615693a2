//! The awsJson codec over the shapes of the other protocols' tests, and against bodies that no client sends.

use crate::protocols::Node;
use proptest::prelude::*;
use wire::{Blob, DecodeError, Fault, Timestamp, fill, json};

fn read(body: &str) -> Result<Node, DecodeError> {
    json::decode(body.as_bytes())
}

fn code(body: &str) -> String {
    json::api_error(&read(body).expect_err(body)).code().to_owned()
}

fn node(role: &str) -> Node {
    Node { role: role.to_owned(), ..Node::default() }
}

#[test]
fn an_object_is_read_by_its_shape() {
    let read = read(
        r#" {"label":"L\u00e9\ud83d\ude00\n","Size":10,"Ratio":0.5,"Flat":["x","y"],"Wrapped":[{"Role":"cd"}],"Unknown":{"a":[1,
        {"b":null}]},"Attributes":{"k":{"Role":"ef"}},"FlatMap":{"a":1,"b":-2},"Inner":{"Role":"ij","Inner":{"Role":"gh"}},
        "At":951782400.25,"Bytes":"AAH+","Role":"ab"} "#,
    );
    let expected = Node {
        label: Some("Lé😀\n".to_owned()),
        size: Some(10),
        ratio: Some(0.5),
        flat: Some(vec!["x".to_owned(), "y".to_owned()]),
        wrapped: Some(vec![node("cd")]),
        attributes: Some([("k".to_owned(), node("ef"))].into()),
        flat_map: Some([("a".to_owned(), 1), ("b".to_owned(), -2)].into()),
        inner: Some(Box::new(Node { inner: Some(Box::new(node("gh"))), ..node("ij") })),
        at: Some(Timestamp::from_millis(951_782_400_250)),
        bytes: Some(Blob(vec![0, 1, 254])),
        role: "ab".to_owned(),
    };
    assert_eq!(read, Ok(expected));
}

#[test]
fn what_was_written_is_read_again() {
    let full: Node = fill::filled();
    let text = json::encode(&full);
    assert_eq!(read(&text), Ok(full), "{text}");
    let empty = Node { flat: Some(Vec::new()), ..node("ab") };
    assert_eq!(json::encode(&empty), r#"{"Flat":[],"Role":"ab"}"#);
}

#[test]
fn times_are_seconds_and_bytes_are_base64() {
    let at = |millis| Node { at: Some(Timestamp::from_millis(millis)), ..node("ab") };
    assert_eq!(json::encode(&at(1_767_225_600_000)), r#"{"At":1767225600,"Role":"ab"}"#);
    assert_eq!(json::encode(&at(1_767_225_600_123)), r#"{"At":1767225600.123,"Role":"ab"}"#);
    let bytes = Node { bytes: Some(Blob(vec![0, 1, 254])), ratio: Some(f32::NAN), ..node("a\"\u{1}") };
    assert_eq!(json::encode(&bytes), r#"{"Ratio":"NaN","Bytes":"AAH+","Role":"a\"\u0001"}"#);
}

#[test]
fn absent_and_null_are_the_same_and_an_empty_body_has_no_members() {
    assert_eq!(read(r#"{"Role":"ab","Size":null,"Inner":null}"#), Ok(node("ab")));
    for body in ["", "  ", "{}", r#"{"Role":null}"#] {
        let error = read(body).expect_err(body);
        assert_eq!((error.fault, error.path.as_str()), (Fault::Missing, "role"), "{body}");
    }
    assert_eq!(code("{}"), "ValidationException");
    let nested = read(r#"{"Role":"ab","Inner":{}}"#).expect_err("no role");
    assert_eq!(nested.path, "inner.role");
}

#[test]
fn what_is_no_json_is_a_serialization_exception() {
    for body in [
        "{",
        "[",
        "nul",
        "{\"Role\"",
        "{\"Role\":}",
        "{\"Role\":\"ab\"",
        "{\"Role\":\"ab\"}}",
        "{\"Role\":\"ab\",}",
        "{'Role':1}",
        "{\"Role\":\"a\nb\"}",
        "{\"Role\":\"\\x\"}",
        "{\"Role\":\"\\ud800\"}",
        "{\"Role\":\"\\ud800\\u0041\"}",
        "{\"At\":01}",
        "{\"Size\":1.}",
        "{\"Size\":-}",
        "{\"Size\":+1}",
        "{\"Role\":\"\\u12\"}",
        "\u{feff}{}",
        "{\"a\":[1,]}",
        "{\"a\":tru}",
    ] {
        assert_eq!(code(body), "SerializationException", "{body}");
    }
    let bytes: &[u8] = b"{\"Role\":\"\xff\"}";
    assert_eq!(json::decode::<Node>(bytes).expect_err("no UTF-8").fault, Fault::Encoding);
}

#[test]
fn values_of_another_type_are_serialization_exceptions() {
    for body in [
        "[]",
        "1",
        "\"a\"",
        "null",
        r#"{"Role":1}"#,
        r#"{"Role":{}}"#,
        r#"{"Size":"1"}"#,
        r#"{"Size":1.5}"#,
        r#"{"Size":1e99}"#,
        r#"{"Size":99999999999999999999}"#,
        r#"{"Flat":{}}"#,
        r#"{"Flat":[1]}"#,
        r#"{"Flat":[null]}"#,
        r#"{"Inner":[]}"#,
        r#"{"FlatMap":{"a":2147483648}}"#,
        r#"{"FlatMap":[]}"#,
        r#"{"Bytes":"!"}"#,
        r#"{"Bytes":1}"#,
        r#"{"At":"2026-01-01"}"#,
        r#"{"Role":"ab","Role":"cd"}"#,
        r#"{"FlatMap":{"a":1,"a":2}}"#,
    ] {
        assert_eq!(code(body), "SerializationException", "{body}");
    }
}

#[test]
fn bounds_of_the_model_are_validated_and_secrets_stay_hidden() {
    assert_eq!(code(r#"{"Role":"ab","Size":11}"#), "ValidationException");
    let short = read(r#"{"Role":"s"}"#).expect_err("too short");
    assert_eq!((short.fault, short.value.as_deref()), (Fault::TooShort { min: 2 }, Some("***")));
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    for (open, close) in [("{\"Inner\":", "}"), ("{\"x\":", "}")] {
        let body = format!("{}{{}}{}", open.repeat(10_000), close.repeat(10_000));
        assert_eq!(read(&body).expect_err("deep").fault, Fault::TooDeep);
    }
    let lists = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read(&lists).expect_err("deep").fault, Fault::TooDeep);
    let wide = format!("{{\"Wrapped\":[{}]}}", vec!["{\"Role\":\"ab\"}"; 30_000].join(","));
    assert_eq!(read(&wide).expect_err("wide").fault, Fault::TooMany);
}

#[test]
fn an_operation_is_what_follows_the_last_dot_of_the_target() {
    assert_eq!(json::operation("TrentService.CreateKey"), "CreateKey");
    assert_eq!(json::operation("CreateKey"), "CreateKey");
    let error = wire::ApiError::new("NotFoundException", 400, "no \"key\"");
    assert_eq!(json::encode_error(&error), r#"{"__type":"NotFoundException","message":"no \"key\""}"#);
}

proptest! {
    #[test]
    fn no_body_breaks_the_decoder(body in "[\\[\\]{}\":,0-9a-zA-Z\\\\ .\\-]{0,200}") {
        let _ = read(&body);
    }

    #[test]
    fn a_body_that_is_cut_or_changed_is_read_or_refused(at in 0usize..400, byte in any::<u8>()) {
        let full: Node = fill::filled();
        let mut body = json::encode(&full).into_bytes();
        let at = at % body.len();
        let _ = json::decode::<Node>(&body[..at]);
        body[at] = byte;
        let _ = json::decode::<Node>(&body);
    }
}
