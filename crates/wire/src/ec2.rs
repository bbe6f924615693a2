//! The ec2 protocol: a form in, XML out.
//!
//! In: lists are always flattened (`Filter.1.Value.2`); a member is named by its query name, else its capitalised location
//! name, else its capitalised name. Out: `<item>` lists under their own names, an absent list left out, an empty one empty.
//! AWS: <https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html>

use crate::decode::{self, Dialect};
use crate::xml::{self, Writer};
use crate::{ApiError, DecodeError, Fault, Form, Member, OperationShape, ServiceShape, Structure};

/// The `Content-Type` of every answer.
pub const CONTENT_TYPE: &str = "text/xml;charset=UTF-8";

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
    let name = format!("{}Response", operation.name);
    let mut out = Writer::document();
    out.open(&name);
    out.attribute("xmlns", service.xml_namespace);
    out.text_element("requestId", request_id);
    if operation.void {
        // The model leaves it out; AWS sends it, and old clients look at it.
        out.text_element("return", "true");
    }
    xml::members(&mut out, output, "item");
    out.close(&name);
    out.finish()
}

/// The body of an error; its status is the error's own.
pub fn encode_error(error: &ApiError, request_id: &str) -> String {
    let mut out = Writer::document();
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
