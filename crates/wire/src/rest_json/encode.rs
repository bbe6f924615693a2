//! A structure into an answer, each member where its shape says that it travels.

use super::{CONTENT_TYPE, ERROR_TYPE, scalar};
use crate::{
    ApiError, Body, Location, OperationShape, Response, ServiceShape, Structure, Target, ValueRef, json,
};

const BYTES: &str = "application/octet-stream";
const TEXT: &str = "text/plain";
/// Answers without a body.
const NO_CONTENT: u16 = 204;

/// A successful answer.
pub fn encode(operation: &OperationShape, output: &dyn Structure) -> Response {
    let shape = output.shape();
    let mut response = Response {
        status: operation.status,
        content_type: Some(CONTENT_TYPE),
        headers: Vec::new(),
        body: Body::default(),
    };
    for (index, member) in shape.members.iter().enumerate() {
        let value = output.member(index).view();
        match (member.location, value) {
            (Location::Header, ValueRef::List(list)) => {
                let Target::List(shape) = member.target else { continue };
                let items = (0..list.len()).filter_map(|at| scalar::render(shape.item, list.item(at).view()));
                let items: Vec<String> = items.map(|item| quoted(&item)).collect();
                response.headers.push((member.wire_name().to_owned(), clean(&items.join(", "))));
            }
            (Location::Header, value) => {
                if let Some(text) = scalar::render(member.target, value) {
                    response.headers.push((member.wire_name().to_owned(), clean(&text)));
                }
            }
            (Location::Headers, ValueRef::Map(map)) => {
                let Target::Map(shape) = member.target else { continue };
                let prefix = member.location_name.unwrap_or_default();
                map.each(&mut |key, held| {
                    if let Some(text) = scalar::render(shape.value, held.view())
                        && is_token(key)
                    {
                        response.headers.push((format!("{prefix}{key}"), clean(&text)));
                    }
                });
            }
            (Location::StatusCode, ValueRef::Integer(status)) => {
                response.status = u16::try_from(status).unwrap_or(operation.status);
            }
            _ => {}
        }
    }
    let payload = shape.payload.and_then(|name| shape.index_of(name));
    match payload.map(|index| output.member(index).view()) {
        None if response.status == NO_CONTENT => {}
        None => response.body = json::encode_bound(output).into(),
        Some(ValueRef::Blob(blob)) => {
            response.content_type = Some(BYTES);
            response.body = blob.0.clone().into();
        }
        Some(ValueRef::Text(text)) => {
            response.content_type = Some(TEXT);
            response.body = text.to_owned().into();
        }
        Some(ValueRef::Structure(inner)) => response.body = json::encode(inner).into(),
        Some(_) => {}
    }
    response
}

/// An error: its name in a header, its message and what else it says in JSON.
pub fn encode_error(service: &ServiceShape, error: &ApiError) -> Response {
    let shapes = service.operations.iter().flat_map(|operation| operation.errors);
    let known = shapes.into_iter().find(|shape| shape.code == error.code());
    let message = known.map_or("message", |shape| shape.message);
    Response {
        status: error.status(),
        content_type: Some(CONTENT_TYPE),
        headers: vec![(ERROR_TYPE.to_owned(), clean(error.code()))],
        body: json::encode_members([(message, error.message())].into_iter().chain(error.details())).into(),
    }
}

/// No value breaks out of its header.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn quoted(item: &str) -> String {
    if item.contains([',', '"']) {
        format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        item.to_owned()
    }
}

/// What the name of a header may hold.
fn is_token(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(known)
}
