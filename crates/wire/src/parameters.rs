//! The parameters of a request, as its protocol carries them.

use crate::{ApiError, Form, Operation, Protocol, ec2, json, query, rest_json};

/// Not decoded yet: that needs the shape of the operation.
#[derive(Clone, Copy)]
pub enum Parameters<'a> {
    Form(&'a Form),
    /// The body of a request of the awsJson protocols.
    Json(&'a [u8]),
    /// All parts of a request of the restJson protocol.
    Rest(rest_json::Request<'a>),
}

impl<'a> From<&'a Form> for Parameters<'a> {
    fn from(form: &'a Form) -> Self {
        Self::Form(form)
    }
}

impl Parameters<'_> {
    /// Decodes them as a service of this protocol does.
    pub fn decode<O: Operation>(self, protocol: Protocol) -> Result<O::Input, ApiError> {
        match (protocol, self) {
            (Protocol::Json10 | Protocol::Json11, Self::Json(body)) => {
                json::decode(body).map_err(|error| json::api_error(&error))
            }
            (Protocol::Query, Self::Form(form)) => {
                query::decode(form).map_err(|error| query::api_error(&error))
            }
            (Protocol::Ec2, Self::Form(form)) => ec2::decode(form).map_err(|error| ec2::api_error(&error)),
            (Protocol::RestJson, Self::Rest(request)) => {
                let mut input = O::Input::default();
                rest_json::decode_into(O::SHAPE, request, &mut input)
                    .map_err(|error| rest_json::api_error(&error))?;
                Ok(input)
            }
            (_, Self::Form(_)) => {
                Err(ApiError::new("SerializationException", 400, "The service takes JSON, not a form."))
            }
            (_, Self::Json(_) | Self::Rest(_)) => {
                Err(ApiError::new("MalformedQueryString", 400, "The service takes a form, not JSON."))
            }
        }
    }
}
