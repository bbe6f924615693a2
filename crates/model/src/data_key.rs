//! The key that a volume's data are encrypted with.

use crate::Blob;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// 256 bits, in the clear: for memory and for the agent's socket, never for a disk or a log. Base64 text in JSON.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DataKey([u8; DataKey::LEN]);

impl DataKey {
    /// In bytes.
    pub const LEN: usize = 32;

    pub fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

impl Serialize for DataKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Blob::from(self.0.to_vec()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DataKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Blob::deserialize(deserializer)?;
        let bytes = bytes.as_slice().try_into();
        bytes.map(Self).map_err(|_| de::Error::custom("a data key is 32 bytes long"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_json_and_is_not_shown() {
        let key = DataKey::new([7; DataKey::LEN]);
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<DataKey>(&text).unwrap(), key);
        assert_eq!(format!("{key:?}"), "DataKey(…)");
        assert!(serde_json::from_str::<DataKey>("\"AAAA\"").is_err());
    }
}
