//! A snapshot's data key, encrypted with the key of the volume that needs it: AES-256-GCM, bound to the volume.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{DataKey, VolumeId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// Nonce and sealed key, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(String);

fn wrapping(key: &DataKey) -> Result<LessSafeKey, Unspecified> {
    let own = blake3::derive_key("nube volume 2026 key of its snapshot", key.expose());
    UnboundKey::new(&AES_256_GCM, &own).map(LessSafeKey::new)
}

pub fn seal(volume: VolumeId, key: &DataKey, source: &DataKey) -> Result<Sealed, Unspecified> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce)?;
    let mut bytes = source.expose().to_vec();
    let bound = volume.to_string();
    let nonce_used = Nonce::assume_unique_for_key(nonce);
    wrapping(key)?.seal_in_place_append_tag(nonce_used, Aad::from(bound.as_bytes()), &mut bytes)?;
    Ok(Sealed(STANDARD.encode([&nonce[..], &bytes].concat())))
}

pub fn open(volume: VolumeId, key: &DataKey, sealed: &Sealed) -> Result<DataKey, Unspecified> {
    let bytes = STANDARD.decode(&sealed.0).map_err(|_| Unspecified)?;
    let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or(Unspecified)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce)?;
    let mut rest = rest.to_vec();
    let bound = volume.to_string();
    let opened = wrapping(key)?.open_in_place(nonce, Aad::from(bound.as_bytes()), &mut rest)?;
    Ok(DataKey::new((&*opened).try_into().map_err(|_| Unspecified)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_with_its_volumes_key_alone() {
        let (volume, other) = (VolumeId::from_entropy(1), VolumeId::from_entropy(2));
        let (key, source) = (DataKey::new([1; 32]), DataKey::new([2; 32]));
        let sealed = seal(volume, &key, &source).unwrap();
        assert!(open(volume, &key, &sealed).is_ok_and(|opened| opened == source));
        assert!(open(other, &key, &sealed).is_err());
        assert!(open(volume, &source, &sealed).is_err());
        let again = seal(volume, &key, &source).unwrap();
        assert_ne!(sealed, again, "its nonce is fresh each time");
        assert!(open(volume, &key, &Sealed("AAAA".into())).is_err());
    }
}
