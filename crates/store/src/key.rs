//! Keys: `region/noun/id`, ordered bytewise.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

pub const MAX_KEY_BYTES: usize = 512;

/// Non-empty UTF-8 of at most [`MAX_KEY_BYTES`], without NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    #[error("a key is not empty")]
    Empty,
    #[error("a key of {bytes} bytes is over {MAX_KEY_BYTES}")]
    TooLong { bytes: usize },
    #[error("a key holds no NUL")]
    Nul,
}

impl Key {
    pub fn new(key: impl AsRef<str>) -> Result<Self, KeyError> {
        let key = key.as_ref();
        Self::check(key)?;
        Ok(Self(key.into()))
    }

    /// Whether a text can be a key.
    pub fn check(key: &str) -> Result<(), KeyError> {
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { bytes: key.len() });
        }
        if key.contains('\0') {
            return Err(KeyError::Nul);
        }
        Ok(())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Sound because `Key` orders and hashes as its text does.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::str::FromStr for Key {
    type Err = KeyError;

    fn from_str(key: &str) -> Result<Self, KeyError> {
        Self::new(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_bounded_text_without_nul() {
        assert_eq!(Key::new("").unwrap_err(), KeyError::Empty);
        assert_eq!(Key::new("a\0b").unwrap_err(), KeyError::Nul);
        assert_eq!(Key::new("k".repeat(513)).unwrap_err(), KeyError::TooLong { bytes: 513 });
        assert_eq!(Key::new("k".repeat(512)).unwrap().as_str().len(), 512);
        assert_eq!(Key::new("us-east-1/tag/ü").unwrap().to_string(), "us-east-1/tag/ü");
    }
}
