//! The query protocol (sts, iam, elb, autoscaling, …): a form in, XML out.
//!
//! In: `X.member.1` and `X.entry.1.key`, unless flattened; `X=` is an empty list; members go by their location name, else
//! their name. Out: the result stands in its own element, the request id in the metadata after it.
//! AWS: <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>

use crate::decode::{self, Dialect};
use crate::xml::{self, Writer};
use crate::{ApiError, DecodeError, Fault, Form, Member, OperationShape, ServiceShape, Structure, Target};

/// The `Content-Type` of every answer.
pub const CONTENT_TYPE: &str = "text/xml";

const DIALECT: Dialect = Dialect { names, spells, item: Some("member"), empty_lists: true };

fn names(member: &Member, segment: &str) -> bool {
    spelling(member) == segment
}

fn spells(member: &Member) -> String {
    spelling(member).to_owned()
}

/// A flattened list goes by the name of its items.
fn spelling(member: &Member) -> &'static str {
    match member.target {
        Target::List(shape) if member.flattened || shape.flattened => {
            shape.item_name.unwrap_or_else(|| member.wire_name())
        }
        _ => member.wire_name(),
    }
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
    let mut out = Writer::document(1000);
    out.open(&name);
    out.attribute("xmlns", service.xml_namespace);
    match operation.result_wrapper {
        Some(wrapper) => {
            out.open(wrapper);
            xml::members(&mut out, output, "member");
            out.close(wrapper);
        }
        None => xml::members(&mut out, output, "member"),
    }
    out.open("ResponseMetadata");
    out.text_element("RequestId", request_id);
    out.close("ResponseMetadata");
    out.close(&name);
    out.finish()
}

/// The body of an error; its status is the error's own.
pub fn encode_error(service: &ServiceShape, error: &ApiError, request_id: &str) -> String {
    let mut out = Writer::document(1000);
    out.open("ErrorResponse");
    out.attribute("xmlns", service.xml_namespace);
    out.open("Error");
    out.text_element("Type", if error.is_sender() { "Sender" } else { "Receiver" });
    out.text_element("Code", error.code());
    out.text_element("Message", error.message());
    out.close("Error");
    out.text_element("RequestId", request_id);
    out.close("ErrorResponse");
    out.finish()
}

/// A fault of decoding as the query services report it: always 400. What breaks a constraint of the model is a
/// `ValidationError`, which names the member as the model does, in lower camel case.
pub fn api_error(error: &DecodeError) -> ApiError {
    let path = &error.path;
    let (code, message) = match error.fault {
        Fault::Unknown => ("UnknownParameter", format!("The parameter {path} is not recognized")),
        Fault::Duplicate => {
            ("InvalidQueryParameter", format!("The parameter {path} is given more than once"))
        }
        Fault::Encoding => {
            ("MalformedQueryString", format!("The request holds a broken escape near '{path}'"))
        }
        Fault::TooDeep => ("InvalidQueryParameter", format!("The parameter {path} is nested too deeply")),
        Fault::TooMany => ("InvalidQueryParameter", "The request holds too many parameters".to_owned()),
        Fault::Malformed { expected } => (
            "MalformedInput",
            format!("Value '{}' at '{path}' is invalid: expecting {expected}", error.value()),
        ),
        Fault::Missing => (
            "ValidationError",
            format!(
                "1 validation error detected: Value null at '{}' failed to satisfy constraint: it is required",
                lower_camel(path)
            ),
        ),
        fault => (
            "ValidationError",
            format!(
                "1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: expecting {}",
                error.value(),
                lower_camel(path),
                fault.expectation().unwrap_or_default()
            ),
        ),
    };
    ApiError::new(code, 400, message)
}

fn lower_camel(path: &str) -> String {
    let segments = path.split('.').map(|segment| {
        let mut segment = segment.to_owned();
        if let Some(first) = segment.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        segment
    });
    segments.collect::<Vec<_>>().join(".")
}
