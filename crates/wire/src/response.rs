//! An answer as HTTP carries it, but for what every answer has (a date, a length, the request's id).

use crate::Body;

/// Status, headers and body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// None: that of the service's protocol.
    pub content_type: Option<&'static str>,
    /// Names in any case; values hold no control characters.
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// A success of the protocols that use the body alone.
impl From<Body> for Response {
    fn from(body: Body) -> Self {
        Self { status: 200, content_type: None, headers: Vec::new(), body }
    }
}
