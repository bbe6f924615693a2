//! The envelope of every stored object: what it is, how it was compressed and encrypted, and a checksum that needs no key.
//!
//! ```text
//! "NBK1" kind codec cipher 0 | plain length u32 | body length u32 | nonce 12 | body | checksum 16
//! ```
//!
//! The checksum (BLAKE3, cut to 16 bytes) covers all before it: `fsck` finds rot without keys. Whoever reads with the domain's
//! keys verifies the content's keyed hash on top, and the cipher's tag. Numbers are little-endian.
//!
//! The nonce is a keyed hash of what is encrypted, so the same block makes the same object, and no nonce meets two messages:
//! by chance they would at 2^48 blocks.

use crate::error::Damage;
use crate::{BLOCK_SIZE, Domain};
use ring::aead::{Aad, Nonce};

const MAGIC: &[u8; 4] = b"NBK1";
pub const HEADER: usize = 28;
const CHECKSUM: usize = 16;
const TAG: usize = 16;
/// The largest root: 64 TiB take 5 MiB of table.
const LARGEST: usize = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Block = 1,
    Leaf = 2,
    Root = 3,
    Session = 4,
    Epoch = 5,
}

const RAW: u8 = 0;
const LZ4: u8 = 1;
const CLEAR: u8 = 0;
const AES_256_GCM: u8 = 1;

/// Puts what is neither compressed nor encrypted into its envelope.
pub fn wrap(kind: Kind, plain: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + plain.len() + CHECKSUM);
    frame.resize(HEADER, 0);
    frame.extend_from_slice(plain);
    finish(frame, kind, RAW, CLEAR, plain.len(), [0; 12])
}

/// Compresses a block where that saves an eighth, and encrypts it if its domain is encrypted.
pub fn seal_block(domain: &Domain, address: &[u8; 32], plain: &[u8]) -> Vec<u8> {
    let room = lz4_flex::block::get_maximum_output_size(plain.len());
    let mut frame = vec![0; HEADER + room + TAG + CHECKSUM];
    let packed = lz4_flex::block::compress_into(plain, &mut frame[HEADER..]).unwrap_or(usize::MAX);
    let codec = if packed <= plain.len() / 8 * 7 {
        frame.truncate(HEADER + packed);
        LZ4
    } else {
        frame.truncate(HEADER);
        frame.extend_from_slice(plain);
        RAW
    };
    let Some(key) = &domain.cipher else {
        return finish(frame, Kind::Block, codec, CLEAR, plain.len(), [0; 12]);
    };
    let nonce = blake3::keyed_hash(&domain.nonce_key, &frame[HEADER..]);
    let nonce: [u8; 12] = nonce.as_bytes()[..12].try_into().expect("12 of 32 bytes");
    let bound = Aad::from(associated(address, codec, plain.len()));
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), bound, &mut frame[HEADER..])
        .expect("a block is far below the cipher's limit");
    frame.extend_from_slice(tag.as_ref());
    finish(frame, Kind::Block, codec, AES_256_GCM, plain.len(), nonce)
}

/// Moving a ciphertext to another address, or telling another codec, must not go unnoticed.
fn associated(address: &[u8; 32], codec: u8, plain: usize) -> [u8; 37] {
    let mut bytes = [0; 37];
    bytes[..32].copy_from_slice(address);
    bytes[32] = codec;
    bytes[33..].copy_from_slice(&(plain as u32).to_le_bytes());
    bytes
}

fn finish(mut frame: Vec<u8>, kind: Kind, codec: u8, cipher: u8, plain: usize, nonce: [u8; 12]) -> Vec<u8> {
    let body = frame.len() - HEADER;
    frame[..4].copy_from_slice(MAGIC);
    frame[4..8].copy_from_slice(&[kind as u8, codec, cipher, 0]);
    frame[8..12].copy_from_slice(&(plain as u32).to_le_bytes());
    frame[12..16].copy_from_slice(&(body as u32).to_le_bytes());
    frame[16..HEADER].copy_from_slice(&nonce);
    let sum = checksum(&frame);
    frame.extend_from_slice(&sum);
    frame
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    blake3::hash(bytes).as_bytes()[..CHECKSUM].try_into().expect("16 of 32 bytes")
}

/// A frame whose checksum holds.
pub struct Checked<'a> {
    codec: u8,
    cipher: u8,
    plain: usize,
    nonce: [u8; 12],
    body: &'a [u8],
}

fn number(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes.try_into().expect("4 bytes")) as usize
}

/// What the header says the whole object's length is.
pub fn length(kind: Kind, header: &[u8]) -> Result<u64, Damage> {
    if header.len() < HEADER {
        return Err(Damage::Length);
    }
    if header[..4] != *MAGIC || header[4] != kind as u8 || header[5] > LZ4 || header[6] > AES_256_GCM {
        return Err(Damage::Header);
    }
    Ok((HEADER + number(&header[12..16]) + CHECKSUM) as u64)
}

/// Verifies all that can be verified without keys.
pub fn check(kind: Kind, frame: &[u8]) -> Result<Checked<'_>, Damage> {
    if length(kind, frame)? != frame.len() as u64 {
        return Err(Damage::Length);
    }
    let (sealed, sum) = frame.split_at(frame.len() - CHECKSUM);
    if checksum(sealed) != *sum {
        return Err(Damage::Checksum);
    }
    let plain = number(&sealed[8..12]);
    let most = if kind == Kind::Block { BLOCK_SIZE } else { LARGEST };
    if plain > most {
        return Err(Damage::Malformed);
    }
    let nonce = sealed[16..HEADER].try_into().expect("12 bytes");
    Ok(Checked { codec: sealed[5], cipher: sealed[6], plain, nonce, body: &sealed[HEADER..] })
}

/// What [`wrap`] took.
pub fn unwrap(kind: Kind, frame: &[u8]) -> Result<&[u8], Damage> {
    let checked = check(kind, frame)?;
    if checked.codec != RAW || checked.cipher != CLEAR || checked.plain != checked.body.len() {
        return Err(Damage::Malformed);
    }
    Ok(checked.body)
}

/// What [`seal_block`] took: checksum, tag and address all hold.
pub fn open_block(domain: &Domain, address: &[u8; 32], frame: &[u8]) -> Result<Vec<u8>, Damage> {
    let checked = check(Kind::Block, frame)?;
    let mut body = checked.body.to_vec();
    match (&domain.cipher, checked.cipher) {
        (None, CLEAR) => {}
        (Some(key), AES_256_GCM) => {
            let bound = Aad::from(associated(address, checked.codec, checked.plain));
            let nonce = Nonce::assume_unique_for_key(checked.nonce);
            key.open_in_place(nonce, bound, &mut body).map_err(|_| Damage::Cipher)?;
            body.truncate(body.len() - TAG);
        }
        _ => return Err(Damage::Cipher),
    }
    if checked.codec == LZ4 {
        let mut plain = vec![0; checked.plain];
        let length = lz4_flex::block::decompress_into(&body, &mut plain).map_err(|_| Damage::Codec)?;
        plain.truncate(length);
        body = plain;
    }
    if body.len() != checked.plain {
        return Err(Damage::Codec);
    }
    if blake3::keyed_hash(&domain.block_key, &body) != blake3::Hash::from(*address) {
        return Err(Damage::Content);
    }
    Ok(body)
}
