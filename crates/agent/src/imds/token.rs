//! Session tokens of IMDSv2: an expiry and a MAC over it and the instance.
//!
//! Nothing is stored, so a guest can ask for as many as it likes, and a token outlives a restart of the agent (its
//! secret is on the agent's disk).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, Mac as _};
use model::{InstanceId, Timestamp};
use rsa::sha2::Sha256;

/// The lifetimes that may be asked for, in seconds.
pub(super) const TTLS: std::ops::RangeInclusive<u32> = 1..=21_600;

const MAC_LENGTH: usize = 32;

pub(super) fn mint(secret: &[u8; 32], instance: InstanceId, now: Timestamp, ttl: u32) -> String {
    let expiry = now.as_millis() + i64::from(ttl) * 1000;
    let mut token = expiry.to_be_bytes().to_vec();
    token.extend_from_slice(&mac(secret, instance, expiry).finalize().into_bytes());
    URL_SAFE.encode(token)
}

/// The seconds that the token still lives; `None` when it is none of this instance's, or has expired.
pub(super) fn check(secret: &[u8; 32], instance: InstanceId, now: Timestamp, token: &[u8]) -> Option<u64> {
    let token = URL_SAFE.decode(token).ok()?;
    let (expiry, tag) = token.split_first_chunk::<8>()?;
    let expiry = i64::from_be_bytes(*expiry);
    if tag.len() != MAC_LENGTH || mac(secret, instance, expiry).verify_slice(tag).is_err() {
        return None;
    }
    let left = Timestamp::from_millis(expiry).since(now);
    (!left.is_zero()).then_some(left.as_millis().div_ceil(1000) as u64)
}

fn mac(secret: &[u8; 32], instance: InstanceId, expiry: i64) -> Hmac<Sha256> {
    let mut mac =
        <Hmac<Sha256> as hmac::Mac>::new_from_slice(secret).expect("an HMAC takes a key of any length");
    mac.update(b"imds token 1");
    mac.update(&instance.bits().to_be_bytes());
    mac.update(&expiry.to_be_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_token_is_good_for_its_instance_until_it_expires() {
        let (secret, now) = ([7; 32], Timestamp::from_millis(1_700_000_000_000));
        let (mine, other) = (InstanceId::from_entropy(1), InstanceId::from_entropy(2));
        let token = mint(&secret, mine, now, 60);
        let check = |secret: &[u8; 32], who, at, token: &str| super::check(secret, who, at, token.as_bytes());
        assert_eq!(check(&secret, mine, now, &token), Some(60));
        assert_eq!(check(&secret, mine, now + Duration::from_secs(59), &token), Some(1));
        assert_eq!(check(&secret, mine, now + Duration::from_mins(1), &token), None);
        assert_eq!(check(&secret, other, now, &token), None);
        assert_eq!(check(&[8; 32], mine, now, &token), None);
        let mut later = URL_SAFE.decode(&token).unwrap();
        later[7] ^= 1;
        assert_eq!(check(&secret, mine, now, &URL_SAFE.encode(later)), None);
        for nonsense in ["", "AAAA", "not base64!"] {
            assert_eq!(check(&secret, mine, now, nonsense), None);
        }
    }
}
