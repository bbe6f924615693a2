//! The one error of the API: a code and a message that the caller sees, and a cause that only we see.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

type Source = Box<dyn Error + Send + Sync>;

/// What an operation answers when it refuses or fails. One word wide, so that results stay small.
#[derive(Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Cow<'static, str>,
    status: u16,
    message: Cow<'static, str>,
    details: Vec<(&'static str, Cow<'static, str>)>,
    source: Option<Source>,
}

/// An error that a service model names (the ec2 model names none).
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorShape {
    /// The shape in the model.
    pub name: &'static str,
    /// The code on the wire.
    pub code: &'static str,
    pub status: u16,
    /// The member that holds the message, as the model spells it.
    pub message: &'static str,
}

impl ApiError {
    /// `code` as AWS spells it, the HTTP status, and the sentence that the caller reads.
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        status: u16,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Inner {
            code: code.into(),
            status,
            message: message.into(),
            details: Vec::new(),
            source: None,
        }))
    }

    /// An error of the service's model.
    pub fn of(shape: &'static ErrorShape, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(shape.code, shape.status, message)
    }

    /// A further member of the error, such as the `Reason` of ebs. The protocols of JSON carry it, the others do not.
    pub fn with_detail(mut self, member: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        self.0.details.push((member, text.into()));
        self
    }

    /// The members of [`Self::with_detail`].
    pub fn details(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.details.iter().map(|(member, text)| (*member, text.as_ref()))
    }

    /// The cause, for the log alone: it never reaches the wire.
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub fn code(&self) -> &str {
        &self.0.code
    }

    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The public sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the caller is at fault (`Sender` in envelopes) rather than we (`Receiver`).
    pub fn is_sender(&self) -> bool {
        self.0.status < 500
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
