//! An Ed25519 host key in Dropbear's format. Made here rather than by its own program, whose start alone takes an emulated
//! processor longer than everything else that a login waits for.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ed25519_dalek::{KEYPAIR_LENGTH, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

const KIND: &[u8] = b"ssh-ed25519";

/// The half that clients see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Public(VerifyingKey);

impl Public {
    /// As in `known_hosts`: type and key.
    pub fn line(self) -> String {
        format!("ssh-ed25519 {}", STANDARD.encode(self.blob()))
    }

    /// `SHA256:…`, as OpenSSH writes it.
    pub fn fingerprint(self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(self.blob())))
    }

    /// RFC 8709: the type and the key as strings.
    fn blob(self) -> Vec<u8> {
        let mut blob = Vec::new();
        push_string(&mut blob, KIND);
        push_string(&mut blob, self.0.as_bytes());
        blob
    }
}

/// A key of this secret: Dropbear's file, and the public half.
pub fn make(secret: [u8; 32]) -> (Vec<u8>, Public) {
    let key = SigningKey::from_bytes(&secret);
    let mut file = Vec::new();
    push_string(&mut file, KIND);
    push_string(&mut file, &key.to_keypair_bytes());
    (file, Public(key.verifying_key()))
}

/// The public half of the key in Dropbear's file; `None` when that is cut short, or is another thing.
pub fn read(file: &[u8]) -> Option<Public> {
    let (kind, rest) = take_string(file)?;
    let (pair, rest) = take_string(rest)?;
    let pair: &[u8; KEYPAIR_LENGTH] = pair.try_into().ok()?;
    let is_whole = kind == KIND && rest.is_empty();
    let key = SigningKey::from_keypair_bytes(pair).ok().filter(|_| is_whole)?;
    Some(Public(key.verifying_key()))
}

fn push_string(buffer: &mut Vec<u8>, string: &[u8]) {
    buffer.extend((string.len() as u32).to_be_bytes());
    buffer.extend(string);
}

fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first example of RFC 8032, section 7.1.
    const SECRET: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
        0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];

    #[test]
    fn a_key_that_was_made_is_read_again() {
        let (file, public) = make(SECRET);
        assert_eq!(read(&file), Some(public));
        assert_eq!(file.len(), 4 + 11 + 4 + 64);
        // As `ssh-keygen -l` and `dropbearkey -y` say of this key.
        assert_eq!(
            public.line(),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
        );
        assert_eq!(public.fingerprint().len(), "SHA256:".len() + 43);
    }

    #[test]
    fn what_is_no_whole_key_is_none() {
        let (file, _) = make(SECRET);
        for length in 0..file.len() {
            assert_eq!(read(&file[..length]), None);
        }
        let mut other = file.clone();
        other[40] ^= 1;
        assert_eq!(read(&other), None);
        assert_eq!(read(&[file, vec![0]].concat()), None);
    }
}
