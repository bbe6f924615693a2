//! A stream, encrypted and bound together: AES-256-GCM over chunks, numbered by their nonces.
//!
//! ```text
//! chunk   length (4 bytes, little endian) ─ sealed bytes ─ tag
//! ```
//! All chunks but the last are full ([`CHUNK`]), and the last is not: so none can be left out, added or moved, and a stream that
//! was cut short is told from a whole one. What is opened was verified before anybody gets it. A key is used for one stream.
//! After the STREAM construction: <https://eprint.iacr.org/2015/189>

use model::DataKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::io::{self, Read, Write};

/// What a chunk holds, in bytes.
const CHUNK: usize = 1 << 20;

/// Seals or opens one stream.
pub struct Key(LessSafeKey);

impl Key {
    /// The one that belongs to this manifest, whose salt makes it unique.
    pub fn of(root: &DataKey, manifest: &[u8]) -> io::Result<Self> {
        let own = blake3::derive_key("nube instance 2026 memory while it hibernates", root.expose());
        let key = blake3::keyed_hash(&own, manifest);
        let key = UnboundKey::new(&AES_256_GCM, key.as_bytes());
        key.map(|key| Self(LessSafeKey::new(key))).map_err(|_| io::Error::other("no key"))
    }
}

fn nonce(number: u64, length: usize) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce[8] = u8::from(length < CHUNK);
    Nonce::assume_unique_for_key(nonce)
}

/// Seals a stream to its end; says how many bytes it had.
pub fn seal(key: &Key, mut from: impl Read, mut to: impl Write) -> io::Result<u64> {
    let mut bytes = Vec::with_capacity(CHUNK + AES_256_GCM.tag_len());
    let mut total = 0;
    for number in 0.. {
        bytes.clear();
        let length = from.by_ref().take(CHUNK as u64).read_to_end(&mut bytes)?;
        let sealed = key.0.seal_in_place_append_tag(nonce(number, length), Aad::empty(), &mut bytes);
        sealed.map_err(|_| io::Error::other("sealing failed"))?;
        to.write_all(&(length as u32).to_le_bytes())?;
        to.write_all(&bytes)?;
        total += length as u64;
        if length < CHUNK {
            break;
        }
    }
    to.flush()?;
    Ok(total)
}

/// Opens a stream to its end, and says how many bytes it had. A reader that has had enough (`BrokenPipe`) gets no more, but the rest is
/// verified nonetheless. `InvalidData`: it is not what was sealed.
pub fn open(key: &Key, mut from: impl Read, mut to: impl Write) -> io::Result<u64> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is not what was written");
    let cut = |e: io::Error| if e.kind() == io::ErrorKind::UnexpectedEof { damaged() } else { e };
    let mut bytes = Vec::with_capacity(CHUNK + AES_256_GCM.tag_len());
    let (mut total, mut wanted) = (0, true);
    for number in 0.. {
        let mut header = [0; 4];
        from.read_exact(&mut header).map_err(cut)?;
        let length = u32::from_le_bytes(header) as usize;
        if length > CHUNK {
            return Err(damaged());
        }
        bytes.resize(length + AES_256_GCM.tag_len(), 0);
        from.read_exact(&mut bytes).map_err(cut)?;
        let opened = key.0.open_in_place(nonce(number, length), Aad::empty(), &mut bytes);
        let opened = opened.map_err(|_| damaged())?;
        if wanted {
            match to.write_all(opened) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => wanted = false,
                written => written?,
            }
        }
        total += length as u64;
        if length < CHUNK {
            break;
        }
    }
    if from.read(&mut [0])? > 0 {
        return Err(damaged());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(manifest: &[u8]) -> Key {
        Key::of(&DataKey::new([7; 32]), manifest).unwrap()
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        assert_eq!(seal(&key(b"m"), plain, &mut sealed).unwrap(), plain.len() as u64);
        sealed
    }

    fn opened(key: &Key, sealed: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        open(key, sealed, &mut plain).map(|_| plain)
    }

    #[test]
    fn what_was_sealed_is_opened_whatever_its_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let plain: Vec<u8> = (0..length).map(|at| ((at * 31) >> 3) as u8).collect();
            let sealed = sealed(&plain);
            assert!(
                plain.len() < 16 || !sealed.windows(16).any(|w| w == &plain[..16]),
                "it lies in the clear"
            );
            assert_eq!(opened(&key(b"m"), &sealed).unwrap(), plain);
        }
    }

    #[test]
    fn another_key_or_another_manifest_opens_nothing() {
        let sealed = sealed(b"memory");
        for wrong in [key(b"n"), Key::of(&DataKey::new([8; 32]), b"m").unwrap()] {
            assert_eq!(opened(&wrong, &sealed).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_stream_that_was_changed_cut_or_rearranged_is_refused() {
        let plain = vec![5; 2 * CHUNK + 7];
        let whole = sealed(&plain);
        let chunk = 4 + CHUNK + AES_256_GCM.tag_len();
        let mut flipped = whole.clone();
        flipped[chunk + 100] ^= 1;
        let swapped = [&whole[chunk..2 * chunk], &whole[..chunk], &whole[2 * chunk..]].concat();
        let without = [&whole[..chunk], &whole[2 * chunk..]].concat();
        let more = [&whole[..], b"x"].concat();
        let cut = whole[..2 * chunk].to_vec();
        let torn = whole[..whole.len() - 1].to_vec();
        for bad in [flipped, swapped, without, more, cut, torn, Vec::new(), vec![0xff; 64]] {
            assert_eq!(opened(&key(b"m"), &bad).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_reader_that_leaves_early_does_not_keep_damage_from_being_found() {
        struct Leaves;
        impl Write for Leaves {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let whole = sealed(&vec![5; CHUNK + 7]);
        assert_eq!(open(&key(b"m"), &whole[..], Leaves).unwrap(), CHUNK as u64 + 7);
        let mut bad = whole;
        let last = bad.len() - 1;
        bad[last] ^= 1;
        assert!(open(&key(b"m"), &bad[..], Leaves).is_err());
    }
}
