//! The LUKS header of a volume's files, and the cipher that it holds the key of.
//!
//! A header wraps a random *master key*, which encrypts the file's clusters: AES-256 in XTS mode, in sectors of 512 bytes that are
//! numbered by their place in the file (which is what qcow2 with `encrypt.format=luks` does). What opens it is derived from the
//! volume's data key and the volume's id, so a machine's process never has the data key. That is 256 random bits already;
//! the iterations that stretch a bad password would only cost time, so there are as few as the format allows, and a header
//! is made in milliseconds where `qemu-img` takes two seconds to measure how many it could afford.
//! All layers of a volume have one master key: freezing one needs no data key.
//!
//! Only what QEMU makes by default, and we make, is understood. A process that its guest has taken over may have written any
//! header: it opens with the right key, or is refused.
//! Format: <https://gitlab.com/cryptsetup/cryptsetup/-/wikis/LUKS-standard/on-disk-format.pdf>; XTS: IEEE 1619.

use aes::Aes256;
use aes::cipher::{Block, BlockDecrypt, BlockEncrypt, KeyInit};
use model::{DataKey, SnapshotId, VolumeId};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, pbkdf2};
use std::fmt::Write as _;
use std::num::NonZeroU32;

/// The header with the room for its eight keys.
pub const HEADER_BYTES: usize = FIRST_KEY + SLOTS * SLOT_STRIDE;
/// The unit of encryption, in bytes.
pub const SECTOR: usize = 512;

const MAGIC: &[u8; 6] = b"LUKS\xba\xbe";
const SLOTS: usize = 8;
const FIRST_KEY: usize = 4096;
const STRIPES: usize = 4000;
const MASTER: usize = 64;
const MATERIAL: usize = MASTER * STRIPES;
/// Rounded up to eight sectors.
const SLOT_STRIDE: usize = MATERIAL.next_multiple_of(8 * SECTOR);
const ENABLED: u32 = 0x00ac_71f3;
const DISABLED: u32 = 0x0000_dead;
/// The fewest that other implementations accept.
const ITERATIONS: u32 = 1000;
/// What a header may ask of us: `qemu-img` chooses a second's worth.
const MOST_ITERATIONS: u32 = 20_000_000;
const SHA256: usize = digest::SHA256_OUTPUT_LEN;

/// Why a header does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    WrongKey,
    /// Not a header that we or QEMU would have made.
    Foreign,
    /// The host gives none for a new one.
    NoRandomNumbers,
}

impl std::fmt::Display for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WrongKey => "it is encrypted with another key",
            Self::Foreign => "its encryption is none of this host's making, or is damaged",
            Self::NoRandomNumbers => "the host has no random numbers",
        })
    }
}

impl std::error::Error for Locked {}

/// What opens the files of a volume.
pub fn passphrase(volume: VolumeId, key: &DataKey) -> String {
    passphrase_of(&volume.to_string(), key)
}

/// What opens the disk of a snapshot. No machine gets it.
pub fn passphrase_of_snapshot(snapshot: SnapshotId, key: &DataKey) -> String {
    passphrase_of(&snapshot.to_string(), key)
}

fn passphrase_of(name: &str, key: &DataKey) -> String {
    let own = blake3::derive_key("nube volume 2026 luks passphrase", key.expose());
    blake3::keyed_hash(&own, name.as_bytes()).to_hex().to_string()
}

/// AES-256-XTS over sectors.
pub struct Xts {
    data: Aes256,
    tweak: Aes256,
}

impl std::fmt::Debug for Xts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Xts(…)")
    }
}

type Blocks = [Block<Aes256>; SECTOR / 16];

impl Xts {
    fn new(key: &[u8; MASTER]) -> Self {
        let (data, tweak) = key.split_at(MASTER / 2);
        Self { data: Aes256::new(data.into()), tweak: Aes256::new(tweak.into()) }
    }

    /// In place, whole sectors, from the one of this number on.
    pub fn encrypt(&self, first: u64, bytes: &mut [u8]) {
        self.each(first, bytes, |data, blocks| data.encrypt_blocks(blocks));
    }

    pub fn decrypt(&self, first: u64, bytes: &mut [u8]) {
        self.each(first, bytes, |data, blocks| data.decrypt_blocks(blocks));
    }

    fn each(&self, first: u64, bytes: &mut [u8], work: impl Fn(&Aes256, &mut Blocks)) {
        debug_assert!(bytes.len().is_multiple_of(SECTOR), "whole sectors");
        for (number, sector) in (first..).zip(bytes.as_chunks_mut::<SECTOR>().0) {
            let mut tweak = Block::<Aes256>::from(u128::from(number).to_le_bytes());
            self.tweak.encrypt_block(&mut tweak);
            let mut tweak = u128::from_le_bytes(tweak.into());
            let mut tweaks = [0_u128; SECTOR / 16];
            let mut blocks = Blocks::default();
            for ((own, block), bytes) in tweaks.iter_mut().zip(&mut blocks).zip(sector.as_chunks::<16>().0) {
                *own = tweak;
                *block = (u128::from_le_bytes(*bytes) ^ tweak).to_le_bytes().into();
                // Times x, in the field of 2^128 elements.
                tweak = (tweak << 1) ^ (0x87 * (tweak >> 127));
            }
            work(&self.data, &mut blocks);
            for ((own, block), bytes) in tweaks.iter().zip(&blocks).zip(sector.as_chunks_mut::<16>().0) {
                *bytes = (u128::from_le_bytes((*block).into()) ^ own).to_le_bytes();
            }
        }
    }
}

/// Makes a header that this opens, and the cipher of its new master key.
pub fn format(passphrase: &str) -> Result<(Vec<u8>, Xts), ring::error::Unspecified> {
    let mut master = [0; MASTER];
    SystemRandom::new().fill(&mut master)?;
    Ok((wrap(&master, passphrase)?, Xts::new(&master)))
}

/// A header with the same master key that another passphrase opens.
pub fn change(header: &[u8], old: &str, new: &str) -> Result<Vec<u8>, Locked> {
    wrap(&master(header, old)?, new).map_err(|_| Locked::NoRandomNumbers)
}

fn wrap(master: &[u8; MASTER], passphrase: &str) -> Result<Vec<u8>, ring::error::Unspecified> {
    let random = SystemRandom::new();
    let fresh = |bytes: &mut [u8]| random.fill(bytes);
    let (mut salt, mut master_salt, mut uuid) = ([0; 32], [0; 32], [0; 16]);
    for bytes in [&mut salt[..], &mut master_salt, &mut uuid] {
        fresh(bytes)?;
    }
    let mut header = vec![0; HEADER_BYTES];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, MAGIC);
    put(6, &1_u16.to_be_bytes());
    put(8, b"aes");
    put(40, b"xts-plain64");
    put(72, b"sha256");
    put(104, &((HEADER_BYTES / SECTOR) as u32).to_be_bytes());
    put(108, &(MASTER as u32).to_be_bytes());
    put(112, &stretch::<20>(master, &master_salt, ITERATIONS));
    put(132, &master_salt);
    put(164, &ITERATIONS.to_be_bytes());
    put(168, uuid_text(&uuid).as_bytes());
    for slot in 0..SLOTS {
        let at = slot_at(slot);
        put(at, &if slot == 0 { ENABLED } else { DISABLED }.to_be_bytes());
        put(at + 40, &((key_at(slot) / SECTOR) as u32).to_be_bytes());
        put(at + 44, &(STRIPES as u32).to_be_bytes());
    }
    put(slot_at(0) + 4, &ITERATIONS.to_be_bytes());
    put(slot_at(0) + 8, &salt);
    let material = &mut header[FIRST_KEY..FIRST_KEY + MATERIAL];
    fresh(&mut material[..MATERIAL - MASTER])?;
    let sum = fold(&material[..MATERIAL - MASTER]);
    for (place, (sum, key)) in material[MATERIAL - MASTER..].iter_mut().zip(sum.iter().zip(master)) {
        *place = sum ^ key;
    }
    Xts::new(&stretch(passphrase.as_bytes(), &salt, ITERATIONS)).encrypt(0, material);
    Ok(header)
}

/// The cipher of a header's master key.
pub fn unlock(header: &[u8], passphrase: &str) -> Result<Xts, Locked> {
    Ok(Xts::new(&master(header, passphrase)?))
}

fn master(header: &[u8], passphrase: &str) -> Result<[u8; MASTER], Locked> {
    if header.len() != HEADER_BYTES
        || &header[..6] != MAGIC
        || header[6..8] != 1_u16.to_be_bytes()
        || text(&header[8..40]) != b"aes"
        || text(&header[40..72]) != b"xts-plain64"
        || text(&header[72..104]) != b"sha256"
        || be32(header, 108) as usize != MASTER
    {
        return Err(Locked::Foreign);
    }
    let iterations = be32(header, 164);
    for slot in 0..SLOTS {
        let at = slot_at(slot);
        if be32(header, at) != ENABLED {
            continue;
        }
        let from = (be32(header, at + 40) as usize).checked_mul(SECTOR);
        let span = from.and_then(|from| header.get(from..from.checked_add(MATERIAL)?));
        let (Some(material), STRIPES) = (span, be32(header, at + 44) as usize) else {
            return Err(Locked::Foreign);
        };
        let of_slot = be32(header, at + 4);
        if ![iterations, of_slot].iter().all(|count| (1..=MOST_ITERATIONS).contains(count)) {
            return Err(Locked::Foreign);
        }
        let mut material = material.to_vec();
        Xts::new(&stretch(passphrase.as_bytes(), &header[at + 8..at + 40], of_slot))
            .decrypt(0, &mut material);
        let (before, last) = material.split_at(MATERIAL - MASTER);
        let mut master = fold(before);
        for (byte, last) in master.iter_mut().zip(last) {
            *byte ^= last;
        }
        if stretch::<20>(&master, &header[132..164], iterations) == header[112..132] {
            return Ok(master);
        }
    }
    Err(Locked::WrongKey)
}

/// What the last stripe of a split key is added to.
fn fold(stripes: &[u8]) -> [u8; MASTER] {
    let mut sum = [0; MASTER];
    for stripe in stripes.as_chunks::<MASTER>().0 {
        for (byte, stripe) in sum.iter_mut().zip(stripe) {
            *byte ^= stripe;
        }
        for (number, part) in (0_u32..).zip(sum.as_chunks_mut::<SHA256>().0) {
            let mut hash = digest::Context::new(&digest::SHA256);
            hash.update(&number.to_be_bytes());
            hash.update(part);
            part.copy_from_slice(hash.finish().as_ref());
        }
    }
    sum
}

fn stretch<const N: usize>(secret: &[u8], salt: &[u8], iterations: u32) -> [u8; N] {
    let mut out = [0; N];
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, secret, &mut out);
    out
}

const fn slot_at(slot: usize) -> usize {
    208 + slot * 48
}

const fn key_at(slot: usize) -> usize {
    FIRST_KEY + slot * SLOT_STRIDE
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// A field without the zeros at its end.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            text.push('-');
        }
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IEEE 1619, vector 10: XTS-AES-256.
    #[test]
    fn the_cipher_is_that_of_the_standard() {
        let mut key = [0; 64];
        let words = [
            "2718281828459045235360287471352662497757247093699959574966967627",
            "3141592653589793238462643383279502884197169399375105820974944592",
        ];
        for (byte, digits) in key.iter_mut().zip(words.concat().as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        }
        let plain: Vec<u8> = (0..512).map(|at| at as u8).collect();
        let mut bytes = plain.clone();
        Xts::new(&key).encrypt(0xff, &mut bytes);
        assert_eq!(bytes[..8], [0x1c, 0x3b, 0x3a, 0x10, 0x2f, 0x77, 0x03, 0x86]);
        Xts::new(&key).decrypt(0xff, &mut bytes);
        assert_eq!(bytes, plain);
    }

    #[test]
    fn a_header_opens_with_its_own_key_alone() {
        let (volume, key) = (VolumeId::from_entropy(1), DataKey::new([7; 32]));
        let right = passphrase(volume, &key);
        let (header, cipher) = format(&right).unwrap();
        let mut sector = [9; SECTOR];
        cipher.encrypt(5, &mut sector);
        unlock(&header, &right).unwrap().decrypt(5, &mut sector);
        assert_eq!(sector, [9; SECTOR]);
        let other = passphrase_of_snapshot(model::SnapshotId::from_entropy(1), &key);
        let changed = change(&header, &right, &other).unwrap();
        cipher.encrypt(5, &mut sector);
        unlock(&changed, &other).unwrap().decrypt(5, &mut sector);
        assert_eq!(sector, [9; SECTOR], "the master key is the same");
        assert_eq!(unlock(&changed, &right).unwrap_err(), Locked::WrongKey);
        assert_eq!(change(&header, &other, &right), Err(Locked::WrongKey));
        for wrong in [passphrase(VolumeId::from_entropy(2), &key), passphrase(volume, &DataKey::new([8; 32]))]
        {
            assert_eq!(unlock(&header, &wrong).unwrap_err(), Locked::WrongKey);
        }
    }

    #[test]
    fn a_header_that_is_cut_or_asks_for_too_much_is_refused() {
        let (header, _) = format("x").unwrap();
        assert_eq!(unlock(&header[..4096], "x").unwrap_err(), Locked::Foreign);
        for (at, word) in [
            (slot_at(0) + 4, u32::MAX),
            (slot_at(0) + 4, 0),
            (164, u32::MAX),
            (slot_at(0) + 40, u32::MAX),
            (slot_at(0) + 44, 1),
            (108, 32),
        ] {
            let mut bad = header.clone();
            bad[at..at + 4].copy_from_slice(&word.to_be_bytes());
            assert_eq!(unlock(&bad, "x").unwrap_err(), Locked::Foreign, "{at}");
        }
    }
}
