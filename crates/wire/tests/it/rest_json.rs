//! The restJson codec over shapes written by hand, and against requests that no client sends.

use proptest::prelude::*;
use std::collections::BTreeMap;
use wire::rest_json::{self, Request};
use wire::{
    ApiError, Blob, DecodeError, ErrorShape, Fault, Limits, ListShape, Location, MapShape, Member,
    NumberShape, OperationShape, Protocol, Response, ServiceShape, StructShape, Structure, Target, Timestamp,
    TimestampFormat,
};

/// Everything that may travel somewhere.
pub struct Thing {
    pub name: String,
    pub limit: Option<i32>,
    pub keys: Option<Vec<String>>,
    pub rest: Option<BTreeMap<String, String>>,
    pub since: Option<Timestamp>,
    pub sum: Option<String>,
    pub many: Option<Vec<i32>>,
    pub modified: Option<Timestamp>,
    pub meta: Option<BTreeMap<String, String>>,
    pub status: Option<i32>,
    pub label: Option<String>,
    pub made: Option<Timestamp>,
}
wire::structure!(Thing, THING; 0 name: String::new(), 1 limit: None, 2 keys: None, 3 rest: None, 4 since: None, 5 sum: None,
    6 many: None, 7 modified: None, 8 meta: None, 9 status: None, 10 label: None, 11 made: None);
static LIMIT: NumberShape = NumberShape { name: "Limit", min: Some(1.0), max: Some(10.0) };
static KEYS: ListShape =
    ListShape { name: "Keys", length: Limits { min: None, max: Some(2) }, ..ListShape::BASE };
static NUMBERS: ListShape = ListShape { name: "Numbers", item: Target::INTEGER, ..ListShape::BASE };
static TEXTS: MapShape = MapShape { name: "Texts", ..MapShape::BASE };
const fn of(name: &'static str, wire: &'static str, location: Location, target: Target) -> Member {
    Member { name, location_name: Some(wire), location, target, ..Member::BASE }
}
static THING: StructShape = StructShape {
    name: "Thing",
    members: &[
        Member { required: true, ..of("Name", "name", Location::Uri, Target::STRING) },
        of("Limit", "limit", Location::QueryString, Target::Integer(&LIMIT)),
        of("Keys", "key", Location::QueryString, Target::List(&KEYS)),
        of("Rest", "", Location::QueryString, Target::Map(&TEXTS)),
        of("Since", "since", Location::QueryString, Target::TIMESTAMP),
        of("Sum", "x-sum", Location::Header, Target::STRING),
        of("Many", "x-many", Location::Header, Target::List(&NUMBERS)),
        of("Modified", "last-modified", Location::Header, Target::TIMESTAMP),
        of("Meta", "x-meta-", Location::Headers, Target::Map(&TEXTS)),
        of("Status", "", Location::StatusCode, Target::INTEGER),
        Member { name: "Label", ..Member::BASE },
        Member { name: "Made", target: Target::Timestamp(TimestampFormat::Iso8601), ..Member::BASE },
    ],
    ..StructShape::BASE
};

pub struct Data {
    pub sum: Option<String>,
    pub data: Option<Blob>,
}
wire::structure!(Data, DATA; 0 sum: None, 1 data: None);
static DATA: StructShape = StructShape {
    name: "Data",
    members: &[
        of("Sum", "x-sum", Location::Header, Target::STRING),
        Member { name: "Data", target: Target::Blob, ..Member::BASE },
    ],
    payload: Some("Data"),
    ..StructShape::BASE
};

static GONE: ErrorShape = ErrorShape { name: "Gone", code: "GoneException", status: 410, message: "Message" };
static PUT: OperationShape = OperationShape {
    name: "Put",
    input: &THING,
    output: &THING,
    method: "PUT",
    uri: "/things/{name}",
    status: 201,
    errors: &[&GONE],
    ..OperationShape::BASE
};
static STORE: OperationShape =
    OperationShape { name: "Store", input: &DATA, output: &DATA, uri: "/data", ..OperationShape::BASE };
static FORGET: OperationShape =
    OperationShape { name: "Forget", method: "DELETE", uri: "/data", status: 204, ..OperationShape::BASE };
static SERVICE: ServiceShape = ServiceShape {
    name: "things",
    api_version: "1",
    protocol: Protocol::RestJson,
    xml_namespace: "",
    operations: &[&FORGET, &PUT, &STORE],
};

fn put<'a>(path: &'a str, query: &'a str, headers: &'a [(&'a str, &'a [u8])], body: &'a [u8]) -> Request<'a> {
    Request { method: "PUT", path, query, headers, body }
}

fn read(request: Request<'_>) -> Result<Thing, DecodeError> {
    let mut thing = Thing::default();
    rest_json::decode_into(&PUT, request, &mut thing).map(|()| thing)
}

fn fault(request: Request<'_>) -> (Fault, String) {
    let error = read(request).expect_err("a refusal");
    (error.fault, error.path)
}

#[test]
fn members_are_read_from_where_they_travel() {
    let headers: &[(&str, &[u8])] = &[
        ("X-Sum", b" a+b= "),
        ("x-many", b"1, 2"),
        ("X-MANY", b"3"),
        ("Last-Modified", b"Tue, 29 Apr 2014 18:30:38 GMT"),
        ("x-meta-Colour", b"red"),
        ("other", b"1"),
    ];
    let body = br#"{"Label":"l","Made":"2000-02-29T00:00:00Z","name":"another","Other":[1]}"#;
    let query = "limit=3&key=a&key=b%20c&x=1&y=&since=2000-02-29T00%3A00%3A00Z";
    let expected = Thing {
        name: "a/b+c".to_owned(),
        limit: Some(3),
        keys: Some(vec!["a".to_owned(), "b c".to_owned()]),
        rest: Some([("x".to_owned(), "1".to_owned()), ("y".to_owned(), String::new())].into()),
        since: Some(Timestamp::from_millis(951_782_400_000)),
        sum: Some("a+b=".to_owned()),
        many: Some(vec![1, 2, 3]),
        modified: Some(Timestamp::from_millis(1_398_796_238_000)),
        meta: Some([("Colour".to_owned(), "red".to_owned())].into()),
        status: None,
        label: Some("l".to_owned()),
        made: Some(Timestamp::from_millis(951_782_400_000)),
    };
    assert_eq!(read(put("/things/a%2Fb+c", query, headers, body)), Ok(expected));
    let bare = read(put("/things/a", "", &[], b"")).expect("nothing else is required");
    assert_eq!(bare, Thing { name: "a".to_owned(), ..Thing::default() });
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let at = |query, headers, body| fault(put("/things/a", query, headers, body));
    assert_eq!(at("limit=11", &[], b"").1, "limit");
    assert_eq!(
        at("limit=x", &[], b""),
        (Fault::Malformed { expected: "an integer of 32 bits" }, "limit".into())
    );
    assert_eq!(at("limit=1&limit=2", &[], b""), (Fault::Duplicate, "limit".into()));
    assert_eq!(at("key=1&key=2&key=3", &[], b""), (Fault::TooLong { max: 2 }, "keys".into()));
    assert_eq!(at("since=yesterday", &[], b"").1, "since");
    assert_eq!(at("limit=%zz", &[], b"").0, Fault::Encoding);
    assert_eq!(at("", &[("x-sum", b"\xff")], b""), (Fault::Encoding, "sum".into()));
    assert_eq!(at("", &[("x-sum", b"1"), ("x-sum", b"2")], b""), (Fault::Duplicate, "sum".into()));
    assert_eq!(at("", &[("x-many", b"1,x")], b"").1, "many");
    assert_eq!(at("", &[("last-modified", b"2000-02-29")], b"").1, "modified");
    assert_eq!(at("", &[("x-meta-a", b"1"), ("X-Meta-a", b"2")], b"").0, Fault::Duplicate);
    assert_eq!(at("", &[], b"[").0, Fault::Malformed { expected: "an object" });
    assert_eq!(at("", &[], br#"{"Made":1}"#).1, "made");
    assert_eq!(fault(put("/things/%", "", &[], b"")).0, Fault::Encoding);
    assert_eq!(fault(put("/things/%ff", "", &[], b"")).0, Fault::Encoding);
    assert_eq!(fault(put("/other/a", "", &[], b"")).0, Fault::Encoding);
    let many = "a&".repeat(30_000);
    assert_eq!(at(&many, &[], b"").0, Fault::TooMany);
}

#[test]
fn a_payload_is_the_whole_body() {
    let mut data = Data::default();
    let bytes = [0, 255, b'{', b'\n'];
    let request =
        Request { method: "POST", path: "/data", query: "", headers: &[("x-sum", b"s")], body: &bytes };
    rest_json::decode_into(&STORE, request, &mut data).expect("bytes are bytes");
    assert_eq!((data.sum.as_deref(), data.data.as_ref()), (Some("s"), Some(&Blob(bytes.to_vec()))));
    let answer = rest_json::encode(&STORE, &data);
    assert_eq!((answer.status, answer.content_type), (200, Some("application/octet-stream")));
    assert_eq!(answer.headers, [("x-sum".to_owned(), "s".to_owned())]);
    assert_eq!(&*answer.body.into_bytes(), bytes);
    let empty = Request { body: b"", ..request };
    let mut data = Data::default();
    rest_json::decode_into(&STORE, empty, &mut data).expect("nothing is required");
    assert_eq!(data.data, None);
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
}

#[test]
fn members_are_written_to_where_they_travel_and_no_value_breaks_a_header() {
    let thing = Thing {
        name: "in the path".to_owned(),
        sum: Some("a\r\nset-cookie: b".to_owned()),
        many: Some(vec![1, 2]),
        modified: Some(Timestamp::from_millis(1_398_796_238_000)),
        meta: Some([("ok".to_owned(), "1".to_owned()), ("no: \n".to_owned(), "2".to_owned())].into()),
        status: Some(299),
        label: Some("l".to_owned()),
        made: Some(Timestamp::from_millis(951_782_400_000)),
        ..Thing::default()
    };
    let answer = rest_json::encode(&PUT, &thing);
    assert_eq!(answer.status, 299);
    assert_eq!(header(&answer, "x-sum"), Some("a  set-cookie: b"));
    assert_eq!(header(&answer, "x-many"), Some("1, 2"));
    assert_eq!(header(&answer, "last-modified"), Some("Tue, 29 Apr 2014 18:30:38 GMT"));
    assert_eq!(header(&answer, "x-meta-ok"), Some("1"));
    assert_eq!(answer.headers.len(), 4, "{:?}", answer.headers);
    assert_eq!(&*answer.body.into_bytes(), br#"{"Label":"l","Made":"2000-02-29T00:00:00.000Z"}"#);
    let plain = rest_json::encode(&PUT, &Thing::default());
    assert_eq!((plain.status, &*plain.body.into_bytes()), (201, &b"{}"[..]));
    let nothing = rest_json::encode(&FORGET, &Thing::default());
    assert_eq!((nothing.status, nothing.body.len()), (204, 0));
}

#[test]
fn errors_have_their_name_in_a_header_and_their_members_in_the_body() {
    let error = ApiError::of(&GONE, "no \"thing\"").with_detail("Reason", "LOST");
    let answer = rest_json::encode_error(&SERVICE, &error);
    assert_eq!(answer.status, 410);
    assert_eq!(header(&answer, rest_json::ERROR_TYPE), Some("GoneException"));
    assert_eq!(&*answer.body.into_bytes(), br#"{"Message":"no \"thing\"","Reason":"LOST"}"#);
    let unknown = SERVICE.unknown_action("/nothing");
    assert_eq!((unknown.code(), unknown.status()), ("UnknownOperationException", 404));
    let answer = rest_json::encode_error(&SERVICE, &unknown);
    assert!(answer.body.into_bytes().starts_with(b"{\"message\":"));
}

#[test]
fn a_required_member_must_be_there() {
    let mut shape = Thing::default();
    assert_eq!(shape.shape().members.len(), 12);
    let request = Request { method: "PUT", path: "/things/", query: "", headers: &[], body: b"" };
    assert!(rest_json::decode_into(&PUT, request, &mut shape).is_err());
    assert!(rest_json::route(&SERVICE, "PUT", "/things/", "").is_none());
    assert_eq!(rest_json::route(&SERVICE, "PUT", "/things/a", "").map(|found| found.name), Some("Put"));
}

proptest! {
    #[test]
    fn no_request_breaks_the_decoder(
        path in "/things/[a-z%+/0-9]{0,20}",
        query in "[a-z&=%+0-9]{0,60}",
        name in "(x-sum|x-many|last-modified|x-meta-[a-z]?)",
        value in proptest::collection::vec(any::<u8>(), 0..40),
        body in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let headers: &[(&str, &[u8])] = &[(&name, &value)];
        let _ = read(put(&path, &query, headers, &body));
        let _ = rest_json::route(&SERVICE, "PUT", &path, &query);
    }
}
