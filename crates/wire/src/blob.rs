//! Bytes, base64 on the wire.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Bytes. `Debug` shows their number only.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob(pub Vec<u8>);

/// Writes padding and does not insist on it: clients differ.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Blob {
    pub fn to_base64(&self) -> String {
        ENGINE.encode(&self.0)
    }

    /// White space is ignored: some tools wrap lines.
    pub fn from_base64(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
            let packed: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            return ENGINE.decode(packed).ok().map(Self);
        }
        ENGINE.decode(text).ok().map(Self)
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}
