//! `application/x-www-form-urlencoded`: the body of a POST, or the query of a GET.
//!
//! Bounded: at most [`MAX_PAIRS`] parameters; the size of a body is the gateway's to bound.

use std::fmt;

use crate::{DecodeError, Fault};

/// AWS's own limits lie far below (1,000 ids, 50 tags each for a few resources).
pub(crate) const MAX_PAIRS: usize = 20_000;

/// The parameters of a request, decoded, in the order in which they came.
#[derive(Clone, Default)]
pub struct Form {
    pub(crate) pairs: Vec<(String, String)>,
}

impl Form {
    /// Percent escapes and `+` are undone; what is no UTF-8 afterwards is refused. `a` alone is `a=`.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut form = Self::default();
        form.extend(bytes)?;
        Ok(form)
    }

    /// Adds the parameters of another part of the same request (its query, say).
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        for piece in bytes.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()) {
            if self.pairs.len() == MAX_PAIRS {
                return Err(DecodeError::new(Fault::TooMany, ""));
            }
            let mut halves = piece.splitn(2, |byte| *byte == b'=');
            let key = unescape(halves.next().unwrap_or_default())?;
            let value = unescape(halves.next().unwrap_or_default())?;
            self.pairs.push((key, value));
        }
        Ok(())
    }

    /// The first value of `key` (`Action`, `Version`).
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Values may be secrets: only the names are shown.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.pairs.iter().map(|(key, _)| key)).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Form {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { pairs: pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }
}

fn unescape(bytes: &[u8]) -> Result<String, DecodeError> {
    unescape_with(bytes, b' ')
}

/// Of a path, where `+` is itself.
pub(crate) fn unescape_path(bytes: &[u8]) -> Result<String, DecodeError> {
    unescape_with(bytes, b'+')
}

fn unescape_with(bytes: &[u8], plus: u8) -> Result<String, DecodeError> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => plus,
            b'%' => match (rest.next().copied().and_then(hex), rest.next().copied().and_then(hex)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(broken(bytes)),
            },
            other => *other,
        });
    }
    String::from_utf8(out).map_err(|_| broken(bytes))
}

fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

fn broken(bytes: &[u8]) -> DecodeError {
    let shown: String = String::from_utf8_lossy(bytes).chars().take(40).collect();
    DecodeError::new(Fault::Encoding, shown)
}

#[cfg(test)]
mod tests {
    use super::{Form, MAX_PAIRS};
    use crate::Fault;

    #[test]
    fn escapes_and_plus_are_undone() {
        let form = Form::parse(b"Action=A&Name=a+b%2Bc%C3%A9&Flag&Empty=&&x=1=2").expect("well-formed");
        assert_eq!(form.get("Name"), Some("a b+cé"));
        assert_eq!(form.get("Flag"), Some(""));
        assert_eq!(form.get("Empty"), Some(""));
        assert_eq!(form.get("x"), Some("1=2"));
        assert_eq!(form.iter().count(), 5);
    }

    #[test]
    fn broken_escapes_and_text_are_refused() {
        for body in ["a=%", "a=%1", "a=%zz", "%ff=1", "a=%C3"] {
            let error = Form::parse(body.as_bytes()).expect_err(body);
            assert_eq!(error.fault, Fault::Encoding, "{body}");
        }
    }

    #[test]
    fn the_number_of_parameters_is_bounded() {
        let body = "a&".repeat(MAX_PAIRS + 1);
        assert_eq!(Form::parse(body.as_bytes()).expect_err("too many").fault, Fault::TooMany);
    }
}
