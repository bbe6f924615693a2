//! The wire crate as seen from outside: JSON lines in, JSON lines out, for `tests/clients/roundtrip.py`, which holds our
//! codecs against botocore's.
//!
//! `{"service": "ec2", "op": "RunInstances", "decode": "Action=…"}` answers `{"value": …}`, the input as we read it, or
//! `{"error": {"code", "message"}}`. `{"service", "op", "encode": true}` answers `{"value": …, "body": "<…>"}`: the output
//! filled, and its encoding. Requests of the rest protocols have `"http": {method, path, query, headers, body}` in the place of
//! `decode`, with the body in base64, and their answers `status` and `headers`, with the body in base64 too. Values are keyed by the member names of the model; times are milliseconds, bytes are base64.

mod services;

use std::io::{BufRead as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json as object};
use wire::{
    Form, OperationShape, Protocol, ServiceShape, Structure, Value, ValueRef, ec2, json, query, rest_json,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stdin = std::io::stdin().lock();
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    for line in stdin.lines() {
        let request: Json = serde_json::from_str(&line?)?;
        let answer = answer(&request).ok_or("not understood")?;
        serde_json::to_writer(&mut stdout, &answer)?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
    }
    Ok(())
}

/// `None`: the driver and this program disagree on what there is.
fn answer(request: &Json) -> Option<Json> {
    let service = services::service(request["service"].as_str()?)?;
    let operation = service.operation(request["op"].as_str()?)?;
    let (mut input, mut output) = services::shapes(service, operation.name)?;
    if let Some(body) = request["decode"].as_str() {
        return Some(match decode(service, body, &mut *input) {
            Ok(()) => object!({ "value": structure(&*input) }),
            Err(error) => object!({ "error": { "code": error.code(), "message": error.message() } }),
        });
    }
    if request["http"].is_object() {
        return Some(match decode_rest(service, operation, &request["http"], &mut *input)? {
            Ok(()) => object!({ "value": structure(&*input) }),
            Err(error) => object!({ "error": { "code": error.code(), "message": error.message() } }),
        });
    }
    wire::fill::fill(&mut *output);
    let body = match service.protocol {
        Protocol::Ec2 => ec2::encode(service, operation, &*output, "request-1"),
        Protocol::Query => query::encode(service, operation, &*output, "request-1"),
        Protocol::Json11 => json::encode(&*output),
        Protocol::RestJson => {
            let response = rest_json::encode(operation, &*output);
            let headers: Map<String, Json> =
                response.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
            let body = STANDARD.encode(response.body.into_bytes());
            return Some(
                object!({ "value": structure(&*output), "status": response.status, "headers": headers, "body": body }),
            );
        }
        _ => return None,
    };
    Some(object!({ "value": structure(&*output), "body": body }))
}

fn decode(service: &ServiceShape, body: &str, input: &mut dyn Structure) -> Result<(), wire::ApiError> {
    if service.protocol.is_json() {
        return json::decode_into(body.as_bytes(), input).map_err(|error| json::api_error(&error));
    }
    let form = Form::parse(body.as_bytes());
    match service.protocol {
        Protocol::Ec2 => {
            form.and_then(|form| ec2::decode_into(&form, input)).map_err(|error| ec2::api_error(&error))
        }
        _ => form.and_then(|form| query::decode_into(&form, input)).map_err(|error| query::api_error(&error)),
    }
}

/// The operation must be the one that its method and path name.
fn decode_rest(
    service: &ServiceShape,
    operation: &OperationShape,
    http: &Json,
    input: &mut dyn Structure,
) -> Option<Result<(), wire::ApiError>> {
    let text = |name: &str| http[name].as_str();
    let (method, path, query) = (text("method")?, text("path")?, text("query")?);
    if !std::ptr::eq(rest_json::route(service, method, path, query)?, operation) {
        return None;
    }
    let headers = http["headers"].as_object()?;
    let headers: Option<Vec<(&str, &[u8])>> =
        headers.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?.as_bytes()))).collect();
    let (headers, body) = (headers?, STANDARD.decode(text("body")?).ok()?);
    let request = rest_json::Request { method, path, query, headers: &headers, body: &body };
    let done = rest_json::decode_into(operation, request, input);
    Some(done.map_err(|error| rest_json::api_error(&error)))
}

fn structure(value: &dyn Structure) -> Json {
    let mut out = Map::new();
    for (index, member) in value.shape().members.iter().enumerate() {
        if let Some(json) = to_json(value.member(index)) {
            out.insert(member.name.to_owned(), json);
        }
    }
    Json::Object(out)
}

/// `None` where the value is absent.
fn to_json(value: &dyn Value) -> Option<Json> {
    Some(match value.view() {
        ValueRef::Absent => return None,
        ValueRef::Boolean(value) => value.into(),
        ValueRef::Integer(value) => value.into(),
        ValueRef::Float(value) => f64::from(value).into(),
        ValueRef::Double(value) => value.into(),
        ValueRef::Text(value) => value.into(),
        ValueRef::Timestamp(value) => value.millis().into(),
        ValueRef::Blob(value) => value.to_base64().into(),
        ValueRef::Structure(value) => structure(value),
        ValueRef::List(list) => (0..list.len()).filter_map(|index| to_json(list.item(index))).collect(),
        ValueRef::Map(map) => {
            let mut out = Map::new();
            map.each(&mut |key, value| {
                if let Some(json) = to_json(value) {
                    out.insert(key.to_owned(), json);
                }
            });
            Json::Object(out)
        }
    })
}
