//! What can be wrong with the parameters of a request, before any operation sees them.

use std::fmt;

use crate::Target;

/// A fault, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeError {
    pub fault: Fault,
    /// The parameter, as the wire spells it: `BlockDeviceMapping.1.Ebs.VolumeSize`.
    pub path: String,
    /// The refused value, shortened; masked where it is a secret.
    pub value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// No such parameter, or not of this form.
    Unknown,
    Missing,
    Duplicate,
    /// Not of the type: `expected` completes "Expecting …".
    Malformed {
        expected: &'static str,
    },
    TooSmall {
        min: f64,
    },
    TooLarge {
        max: f64,
    },
    TooShort {
        min: u64,
    },
    TooLong {
        max: u64,
    },
    /// A broken escape, or no UTF-8.
    Encoding,
    TooDeep,
    TooMany,
}

/// A value in a message is cut here, in characters.
const SHOWN: usize = 100;

impl DecodeError {
    pub(crate) fn new(fault: Fault, path: impl Into<String>) -> Self {
        Self { fault, path: path.into(), value: None }
    }

    pub(crate) fn with_value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    pub(crate) fn of_value(fault: Fault, path: &str, value: &str, target: Target) -> Self {
        let secret =
            matches!(target, Target::Blob) || matches!(target, Target::String(shape) if shape.sensitive);
        let shown = if secret { "***".to_owned() } else { value.chars().take(SHOWN).collect() };
        Self::new(fault, path).with_value(shown)
    }

    pub(crate) fn value(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }
}

impl Fault {
    /// What was expected instead, where the fault is about a value.
    pub(crate) fn expectation(self) -> Option<String> {
        Some(match self {
            Self::Malformed { expected } => expected.to_owned(),
            Self::TooSmall { min } => format!("a value of at least {min}"),
            Self::TooLarge { max } => format!("a value of at most {max}"),
            Self::TooShort { min } => format!("a length of at least {min}"),
            Self::TooLong { max } => format!("a length of at most {max}"),
            _ => return None,
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match self.fault {
            Fault::Unknown => write!(f, "{path} is not a parameter of this operation"),
            Fault::Missing => write!(f, "{path} is missing"),
            Fault::Duplicate => write!(f, "{path} is given twice"),
            Fault::Encoding => write!(f, "broken escape near {path:?}"),
            Fault::TooDeep => write!(f, "{path} is nested too deeply"),
            Fault::TooMany => f.write_str("too many parameters"),
            fault => {
                write!(
                    f,
                    "{path} is {:?}, expected {}",
                    self.value(),
                    fault.expectation().unwrap_or_default()
                )
            }
        }
    }
}

impl std::error::Error for DecodeError {}
