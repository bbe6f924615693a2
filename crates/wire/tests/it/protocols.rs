//! The codecs over shapes written by hand: what no model that is committed today has (maps, flattened lists, recursion).

use std::collections::BTreeMap;

use proptest::prelude::*;
use wire::{
    ApiError, Blob, DecodeError, Fault, Form, Limits, ListShape, MapShape, Member, NumberShape,
    OperationShape, Protocol, ServiceShape, StringShape, StructShape, Target, Timestamp, fill, query,
};

pub struct Node {
    pub label: Option<String>,
    pub size: Option<i64>,
    pub ratio: Option<f32>,
    pub flat: Option<Vec<String>>,
    pub wrapped: Option<Vec<Node>>,
    pub attributes: Option<BTreeMap<String, Node>>,
    pub flat_map: Option<BTreeMap<String, i32>>,
    pub inner: Option<Box<Node>>,
    pub at: Option<Timestamp>,
    pub bytes: Option<Blob>,
    pub role: String,
}

wire::structure!(Node, NODE; 0 label: None, 1 size: None, 2 ratio: None, 3 flat: None, 4 wrapped: None, 5 attributes: None,
    6 flat_map: None, 7 inner: None, 8 at: None, 9 bytes: None, 10 role: String::new());

static SIZE: NumberShape = NumberShape { name: "Size", min: Some(1.0), max: Some(10.0) };
static ROLE: StringShape = StringShape {
    name: "Role",
    length: Limits { min: Some(2), max: None },
    sensitive: true,
    ..StringShape::BASE
};
static FLAT: ListShape = ListShape { name: "Flat", item_name: Some("One"), ..ListShape::BASE };
static NODES: ListShape = ListShape { name: "Nodes", item: Target::Structure(&NODE), ..ListShape::BASE };
static ATTRIBUTES: MapShape = MapShape {
    name: "Attributes",
    key_name: Some("Name"),
    value_name: Some("Node"),
    value: Target::Structure(&NODE),
    ..MapShape::BASE
};
static COUNTS: MapShape = MapShape { name: "Counts", value: Target::INTEGER, ..MapShape::BASE };
static NODE: StructShape = StructShape {
    name: "Node",
    members: &[
        Member { name: "Label", location_name: Some("label"), ..Member::BASE },
        Member { name: "Size", target: Target::Long(&SIZE), ..Member::BASE },
        Member { name: "Ratio", target: Target::FLOAT, ..Member::BASE },
        Member { name: "Flat", target: Target::List(&FLAT), flattened: true, ..Member::BASE },
        Member { name: "Wrapped", target: Target::List(&NODES), ..Member::BASE },
        Member { name: "Attributes", target: Target::Map(&ATTRIBUTES), ..Member::BASE },
        Member { name: "FlatMap", target: Target::Map(&COUNTS), flattened: true, ..Member::BASE },
        Member { name: "Inner", target: Target::Structure(&NODE), ..Member::BASE },
        Member { name: "At", target: Target::TIMESTAMP, ..Member::BASE },
        Member { name: "Bytes", target: Target::Blob, ..Member::BASE },
        Member { name: "Role", target: Target::String(&ROLE), required: true, ..Member::BASE },
    ],
    ..StructShape::BASE
};

static PUT: OperationShape = OperationShape {
    name: "Put",
    input: &NODE,
    output: &NODE,
    result_wrapper: Some("PutResult"),
    ..OperationShape::BASE
};
static SERVICE: ServiceShape = ServiceShape {
    name: "test",
    api_version: "1",
    protocol: Protocol::Query,
    xml_namespace: "urn:test",
    operations: &[&PUT],
};

fn read(body: &str) -> Result<Node, DecodeError> {
    query::decode(&Form::parse(body.as_bytes())?)
}

fn fault(body: &str) -> (Fault, String) {
    let error = read(body).expect_err(body);
    (error.fault, error.path)
}

fn node(role: &str) -> Node {
    Node { role: role.to_owned(), ..Node::default() }
}

#[test]
fn lists_and_maps_of_the_query_protocol_are_read() {
    let read = read(
        "Role=ab&One.1=x&One.2=y&Wrapped.member.1.Role=cd&Attributes.entry.1.Name=k&Attributes.entry.1.Node.Role=ef\
         &FlatMap.1.key=a&FlatMap.1.value=1&FlatMap.2.key=b&FlatMap.2.value=2&Inner.Inner.Role=gh&Inner.Role=ij&Size=10&\
         label=L&Ratio=0.5&At=2000-02-29T00:00:00Z&Bytes=AAH%2B",
    );
    let expected = Node {
        label: Some("L".to_owned()),
        size: Some(10),
        ratio: Some(0.5),
        flat: Some(vec!["x".to_owned(), "y".to_owned()]),
        wrapped: Some(vec![node("cd")]),
        attributes: Some([("k".to_owned(), node("ef"))].into()),
        flat_map: Some([("a".to_owned(), 1), ("b".to_owned(), 2)].into()),
        inner: Some(Box::new(Node { inner: Some(Box::new(node("gh"))), ..node("ij") })),
        at: Some(Timestamp::from_secs(951_782_400)),
        bytes: Some(Blob(vec![0, 1, 254])),
        role: "ab".to_owned(),
    };
    assert_eq!(read, Ok(expected));
}

#[test]
fn an_empty_list_is_told_from_an_absent_one() {
    assert_eq!(read("Role=ab&Wrapped=").expect("readable").wrapped, Some(vec![]));
    assert_eq!(read("Role=ab").expect("readable").wrapped, None);
}

#[test]
fn what_is_malformed_is_refused_with_its_path() {
    for (body, expected, path) in [
        ("Role=ab&Wrapped.1.Role=cd", Fault::Unknown, "Wrapped.1.Role"),
        ("Role=ab&Wrapped.member=cd", Fault::Unknown, "Wrapped.member"),
        ("Role=ab&Wrapped=x", Fault::Unknown, "Wrapped"),
        ("Role=ab&Wrapped.member.1=cd", Fault::Unknown, "Wrapped.member.1"),
        ("Role=ab&Flat.1=x", Fault::Unknown, "Flat.1"),
        ("Role=ab&Attributes.entry.1=x", Fault::Unknown, "Attributes.entry.1"),
        ("Role=ab&FlatMap.1.key=x", Fault::Missing, "FlatMap.1.value"),
        ("Role=ab&FlatMap.1.value=1", Fault::Missing, "FlatMap.1.key"),
        (
            "Role=ab&FlatMap.1.key=x&FlatMap.1.value=1&FlatMap.2.key=x&FlatMap.2.value=1",
            Fault::Duplicate,
            "FlatMap.2",
        ),
        ("Role=ab&Inner.Size=1", Fault::Missing, "Inner.Role"),
        ("Role=ab&Size=11", Fault::TooLarge { max: 10.0 }, "Size"),
        ("Role=ab&Size=0", Fault::TooSmall { min: 1.0 }, "Size"),
        ("Role=ab&Ratio=NaN", Fault::Malformed { expected: "a finite number" }, "Ratio"),
        ("Role=a", Fault::TooShort { min: 2 }, "Role"),
        ("", Fault::Missing, "Role"),
    ] {
        assert_eq!(fault(body), (expected, path.to_owned()), "{body}");
    }
}

#[test]
fn a_shape_that_recurs_is_bounded_in_depth() {
    let (fault, path) = fault(&format!("{}Role=ab", "Inner.".repeat(1_000)));
    assert_eq!(fault, Fault::TooDeep);
    assert!(path.starts_with("Inner.Inner"));
}

#[test]
fn errors_of_the_query_protocol_name_the_constraint_and_no_secret() {
    let error = query::api_error(&read("Role=s").expect_err("short"));
    assert_eq!((error.code(), error.status()), ("ValidationError", 400));
    assert_eq!(
        error.message(),
        "1 validation error detected: Value '***' at 'role' failed to satisfy constraint: expecting a length of at least 2"
    );
    let missing = query::api_error(&read("Inner.Size=1&Role=ab").expect_err("missing"));
    assert!(missing.message().contains("at 'inner.role'"), "{}", missing.message());
}

#[test]
fn answers_of_the_query_protocol_have_their_wrapper_and_metadata() {
    let output = Node {
        flat: Some(vec!["x".to_owned(), "y".to_owned()]),
        wrapped: Some(vec![node("cd")]),
        attributes: Some([("k".to_owned(), node("ef"))].into()),
        flat_map: Some([("a".to_owned(), 1)].into()),
        ..node("ab")
    };
    assert_eq!(
        query::encode(&SERVICE, &PUT, &output, "req-1"),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PutResponse xmlns=\"urn:test\"><PutResult><One>x</One><One>y</One>\
         <Wrapped><member><Role>cd</Role></member></Wrapped>\
         <Attributes><entry><Name>k</Name><Node><Role>ef</Role></Node></entry></Attributes>\
         <FlatMap><key>a</key><value>1</value></FlatMap><Role>ab</Role></PutResult>\
         <ResponseMetadata><RequestId>req-1</RequestId></ResponseMetadata></PutResponse>"
    );
    let error = ApiError::new("Nope", 500, "m");
    assert_eq!(
        query::encode_error(&SERVICE, &error, "req-1"),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ErrorResponse xmlns=\"urn:test\"><Error><Type>Receiver</Type>\
         <Code>Nope</Code><Message>m</Message></Error><RequestId>req-1</RequestId></ErrorResponse>"
    );
}

#[test]
fn filling_a_shape_that_recurs_ends_and_a_clone_is_equal() {
    let filled: Node = fill::filled();
    assert!(filled.inner.is_none() && filled.wrapped.is_none());
    assert!(filled.size.is_some_and(|size| (1..=10).contains(&size)));
    assert_eq!(filled.clone(), filled);
    assert_ne!(filled, node("ab"));
}

#[test]
fn debug_shows_no_secret_at_any_depth() {
    let value =
        Node { wrapped: Some(vec![node("hidden")]), label: Some("shown".to_owned()), ..node("hidden") };
    assert_eq!(format!("{value:?}"), "Node { Label: \"shown\", Wrapped: [Node { Role: *** }], Role: *** }");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn no_form_makes_the_decoder_panic(
        body in "((Role|Inner|Wrapped|member|entry|Attributes|Name|Node|FlatMap|key|value|One|1|2|é|%41|%)[.=&+]?){0,24}"
    ) {
        if let Err(error) = read(&body) {
            prop_assert_eq!(query::api_error(&error).status(), 400);
        }
    }
}
