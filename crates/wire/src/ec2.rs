//! The ec2 protocol: a form in, XML out.
//!
//! In: lists are always flattened (`Filter.1.Value.2`); a member is named by its query name, else its capitalised location
//! name, else its capitalised name. Out: `<item>` lists under their own names, an absent list left out, an empty one empty.
//! AWS: <https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html>

use bytes::Bytes;

use crate::decode::{self, Dialect};
use crate::xml::{self, Writer};
use crate::{ApiError, Body, DecodeError, Fault, Form, Member, OperationShape, ServiceShape, Structure};

/// The `Content-Type` of every answer.
pub const CONTENT_TYPE: &str = "text/xml;charset=UTF-8";

/// The element of list items whose shape names none.
pub const ITEM: &str = "item";

/// Of an answer's beginning in bytes: one that grows past it is large enough for growing to be the least of its costs.
const CAPACITY: usize = 1000;

const DIALECT: Dialect = Dialect { names, spells, item: None, empty_lists: false };

fn names(member: &Member, segment: &str) -> bool {
    match (member.query_name, member.location_name) {
        (Some(name), _) => name == segment,
        (None, Some(name)) => is_capitalised(name, segment),
        // Botocore leaves a member name as it is.
        (None, None) => member.name == segment || is_capitalised(member.name, segment),
    }
}

fn spells(member: &Member) -> String {
    match member.query_name {
        Some(name) => name.to_owned(),
        None => capitalised(member.wire_name()),
    }
}

fn is_capitalised(name: &str, segment: &str) -> bool {
    match (name.as_bytes(), segment.as_bytes()) {
        ([first, rest @ ..], [upper, others @ ..]) => first.to_ascii_uppercase() == *upper && rest == others,
        _ => false,
    }
}

fn capitalised(name: &str) -> String {
    let mut out = name.to_owned();
    if let Some(first) = out.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    out
}

/// Decodes the parameters of a request; those of the protocol itself (`Action`, `Version`, signatures) are passed over.
pub fn decode<T: Structure + Default>(form: &Form) -> Result<T, DecodeError> {
    let mut out = T::default();
    decode_into(form, &mut out)?;
    Ok(out)
}

/// [`decode`], where the type is known only by reflection.
pub fn decode_into(form: &Form, target: &mut dyn Structure) -> Result<(), DecodeError> {
    decode::decode(form, &DIALECT, target)
}

/// The body of a successful answer.
pub fn encode(
    service: &ServiceShape,
    operation: &OperationShape,
    output: &dyn Structure,
    request_id: &str,
) -> String {
    let mut answer = Answer::begin(service, operation, request_id);
    answer.members(output);
    answer.out.close(&answer.name);
    answer.out.finish()
}

/// One element that was encoded ahead, to be put into answers by [`Answer::encoded`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded(Bytes);

impl Encoded {
    /// A list's `<item>`.
    pub fn item(value: &dyn Structure) -> Self {
        let mut out = Writer::fragment();
        out.open(ITEM);
        xml::members(&mut out, value, ITEM);
        out.close(ITEM);
        let mut text = out.finish().into_bytes();
        // It is made to be kept.
        text.shrink_to_fit();
        Self(text.into())
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// A successful answer in the making, for operations much of whose answer was encoded before: the rest of it is written
/// member by member, in the order in which [`encode`] would write it.
pub struct Answer {
    name: String,
    out: Writer,
    body: Body,
}

impl Answer {
    pub fn begin(service: &ServiceShape, operation: &OperationShape, request_id: &str) -> Self {
        let name = format!("{}Response", operation.name);
        let mut out = Writer::document(CAPACITY);
        out.open(&name);
        out.attribute("xmlns", service.xml_namespace);
        out.text_element("requestId", request_id);
        if operation.void {
            // The model leaves it out; AWS sends it, and old clients look at it.
            out.text_element("return", "true");
        }
        Self { name, out, body: Body::default() }
    }

    /// The members of a structure that are present.
    pub fn members(&mut self, value: &dyn Structure) {
        xml::members(&mut self.out, value, ITEM);
    }

    /// An element around what `inside` writes: a list, or an item of one.
    pub fn element(&mut self, name: &'static str, inside: impl FnOnce(&mut Self)) {
        self.out.open(name);
        inside(self);
        self.out.close(name);
    }

    pub fn encoded(&mut self, element: &Encoded) {
        self.body.push(self.out.take());
        self.body.push(element.0.clone());
    }

    pub fn finish(mut self) -> Body {
        self.out.close(&self.name);
        self.body.push(self.out.finish());
        self.body
    }
}

/// The body of an error; its status is the error's own.
pub fn encode_error(error: &ApiError, request_id: &str) -> String {
    let mut out = Writer::document(CAPACITY);
    out.open("Response");
    out.open("Errors");
    out.open("Error");
    out.text_element("Code", error.code());
    out.text_element("Message", error.message());
    out.close("Error");
    out.close("Errors");
    out.text_element("RequestID", request_id);
    out.close("Response");
    out.finish()
}

/// A fault of decoding as EC2 reports it: always 400.
pub fn api_error(error: &DecodeError) -> ApiError {
    let path = &error.path;
    let (code, message) = match error.fault {
        Fault::Unknown => ("UnknownParameter", format!("The parameter {path} is not recognized")),
        Fault::Missing => ("MissingParameter", format!("The request must contain the parameter {path}")),
        Fault::Duplicate => {
            ("InvalidQueryParameter", format!("The parameter {path} is given more than once"))
        }
        Fault::Encoding => {
            ("MalformedQueryString", format!("The request holds a broken escape near '{path}'"))
        }
        Fault::TooDeep => ("InvalidQueryParameter", format!("The parameter {path} is nested too deeply")),
        Fault::TooMany => ("InvalidQueryParameter", "The request holds too many parameters".to_owned()),
        fault => (
            "InvalidParameterValue",
            format!(
                "Value ({}) for parameter {path} is invalid. Expecting {}.",
                error.value(),
                fault.expectation().unwrap_or_default()
            ),
        ),
    };
    ApiError::new(code, 400, message)
}
