//! Reading a volume's files as they lie on the disk: a chain of qcow2 files, which nobody writes to, maybe on a raw one, or on a
//! snapshot in the block store that has not become one yet.
//!
//! Why not by QEMU: no process to start, watch and end, no guest-written file opened by a program with root's rights, and the
//! tables say in which file a block lies, so that what has changed since a parent is known without reading it.
//! A process that its guest has taken over may have written every byte of these files: whatever they say is bounded, and
//! they lead to no other file (the chain is given). Features that our machines do not use are refused. An encrypted file is
//! decrypted here too ([`luks`]): its clusters' sectors are numbered by their place in the file.
//! Format: <https://www.qemu.org/docs/master/interop/qcow2.html>

use super::luks::{self, SECTOR, Xts};
use plan::machine::qcow2::{self, Format};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const BLOCK: u64 = blocks::BLOCK_SIZE as u64;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Incompatible features that do not change how data is read: refcounts that were not written.
const HARMLESS: u64 = 1;
/// 64 TiB in clusters of 64 KiB take 1 MiB of first table.
const LONGEST_TABLE: u64 = 32 << 20;

/// A volume as one of its files and those under it have it.
pub struct Disk {
    /// From the newest down.
    layers: Vec<Layer>,
    size: u64,
}

struct Layer {
    size: u64,
    kind: Kind,
}

enum Kind {
    Raw(File),
    Qcow2(File, Tables),
    /// What is not on the host as a file yet.
    Stored(Box<blocks::Snapshot>),
}

struct Tables {
    cluster_bits: u32,
    version: u32,
    first: Vec<u64>,
    /// The second table that was looked at last, by its place in the first.
    second: Option<(usize, Vec<u64>)>,
    cipher: Option<Box<Xts>>,
}

/// What a layer has at some place, up to some byte.
enum Found {
    /// Nothing: the layer below tells.
    Nothing,
    Zero,
    /// From this byte of the file, or of the snapshot, on.
    Data(u64),
    /// A cluster, compressed into these bytes of the file.
    Compressed {
        at: u64,
        length: usize,
    },
}

/// One bit for each block of a volume.
#[derive(Clone)]
pub struct Blocks(Vec<u64>);

impl Blocks {
    fn new(size: u64) -> Self {
        Self(vec![0; usize::try_from(size.div_ceil(BLOCK).div_ceil(64)).unwrap_or(usize::MAX)])
    }

    fn add(&mut self, from: u64, to: u64) {
        for block in from / BLOCK..to.div_ceil(BLOCK) {
            if let Some(word) = self.0.get_mut((block / 64) as usize) {
                *word |= 1 << (block % 64);
            }
        }
    }

    pub fn has(&self, block: u64) -> bool {
        self.0.get((block / 64) as usize).is_some_and(|word| word >> (block % 64) & 1 == 1)
    }

    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        words.flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at as u64 * 64 + bit)
        })
    }
}

impl Disk {
    /// Opens the files of a chain, from the newest down; `passphrase` opens those that are encrypted.
    pub fn open(files: &[(PathBuf, Format)], passphrase: Option<&str>) -> io::Result<Self> {
        let layers = files.iter().map(|(path, format)| Layer::open(path, *format, passphrase));
        let layers = layers.collect::<io::Result<Vec<_>>>()?;
        let size = layers.first().ok_or(ErrorKind::InvalidInput)?.size;
        Ok(Self { layers, size })
    }

    /// Puts under them what a snapshot holds.
    pub fn stand_on(&mut self, snapshot: blocks::Snapshot) {
        self.layers.push(Layer { size: snapshot.size(), kind: Kind::Stored(Box::new(snapshot)) });
    }

    /// Bytes, as the guest sees it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The blocks of which the topmost `layers` files have anything, zeros included.
    pub fn touched(&mut self, layers: usize) -> io::Result<Blocks> {
        let mut touched = Blocks::new(self.size);
        for layer in self.layers.iter_mut().take(layers) {
            layer.touched(self.size, &mut touched)?;
        }
        Ok(touched)
    }

    /// Fills `into` with the bytes from `offset` on. What lies behind the end is zero.
    pub fn read(&mut self, mut offset: u64, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            let mut most = (into.len() as u64).min(self.size.saturating_sub(offset));
            if most == 0 {
                into.fill(0);
                return Ok(());
            }
            let mut source = None;
            for (number, layer) in self.layers.iter_mut().enumerate() {
                if offset >= layer.size {
                    // It was shorter then, and what lies under it was no longer.
                    break;
                }
                let (found, reach) = layer.find(offset)?;
                most = most.min(reach);
                match found {
                    Found::Nothing => {}
                    Found::Zero => break,
                    other => {
                        source = Some((number, other));
                        break;
                    }
                }
            }
            let (now, rest) = into.split_at_mut(most as usize);
            match source {
                None => now.fill(0),
                Some((number, found)) => self.layers[number].fetch(found, offset, now)?,
            }
            (offset, into) = (offset + most, rest);
        }
        Ok(())
    }
}

impl Layer {
    fn open(path: &Path, format: Format, passphrase: Option<&str>) -> io::Result<Self> {
        let file = File::open(path)?;
        match format {
            Format::Raw => Ok(Self { size: file.metadata()?.len(), kind: Kind::Raw(file) }),
            Format::Qcow2 => {
                let (size, tables) = tables(&file, passphrase)
                    .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
                Ok(Self { size, kind: Kind::Qcow2(file, tables) })
            }
        }
    }

    /// What is at this byte, and for how many bytes from it on.
    fn find(&mut self, offset: u64) -> io::Result<(Found, u64)> {
        let (file, tables) = match &mut self.kind {
            Kind::Raw(_) | Kind::Stored(_) => return Ok((Found::Data(offset), self.size - offset)),
            Kind::Qcow2(file, tables) => (file, tables),
        };
        let bits = tables.cluster_bits;
        let within = offset & ((1 << bits) - 1);
        let reach = (1 << bits) - within;
        let per_table = 1_u64 << (bits - 3);
        let cluster = offset >> bits;
        let at = (cluster / per_table) as usize;
        let Some(entry) = tables.entry(file, at, (cluster % per_table) as usize)? else {
            // Nothing of all that the table would tell.
            let span = per_table << bits;
            return Ok((Found::Nothing, span - offset % span));
        };
        let found = if entry & COMPRESSED != 0 {
            let shift = 62 - (bits - 8);
            let at = entry & ((1 << shift) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> shift;
            let length = (sectors + 1) * 512 - (at & 511);
            Found::Compressed { at, length: length as usize }
        } else if tables.version >= 3 && entry & ZERO != 0 {
            Found::Zero
        } else if entry & OFFSET == 0 {
            Found::Nothing
        } else {
            Found::Data((entry & OFFSET) + within)
        };
        Ok((found, reach))
    }

    fn fetch(&self, found: Found, offset: u64, into: &mut [u8]) -> io::Result<()> {
        match (found, &self.kind) {
            (Found::Nothing | Found::Zero, _) => into.fill(0),
            (Found::Data(at), Kind::Stored(snapshot)) => {
                snapshot.read_at(at, into).map_err(io::Error::other)?;
            }
            (Found::Data(at), Kind::Qcow2(file, Tables { cipher: Some(cipher), .. })) => {
                read_decrypted(file, cipher, at, into)?;
            }
            (Found::Data(at), Kind::Qcow2(file, _) | Kind::Raw(file)) => read_padded(file, at, into)?,
            (
                Found::Compressed { at, length },
                Kind::Qcow2(file, Tables { cluster_bits, cipher: None, .. }),
            ) => {
                let mut packed = vec![0; length];
                read_padded(file, at, &mut packed)?;
                let mut cluster = vec![0; 1 << cluster_bits];
                inflate(&packed, &mut cluster)?;
                let within = (offset & ((1 << cluster_bits) - 1)) as usize;
                let part = cluster.get(within..within + into.len()).ok_or(ErrorKind::InvalidData)?;
                into.copy_from_slice(part);
            }
            (Found::Compressed { .. }, _) => {
                return Err(io::Error::new(ErrorKind::Unsupported, "a compressed cluster is encrypted"));
            }
        }
        Ok(())
    }

    fn touched(&mut self, size: u64, touched: &mut Blocks) -> io::Result<()> {
        let size = size.min(self.size);
        let (file, tables) = match &mut self.kind {
            Kind::Raw(file) => return touched_raw(file, size, touched),
            Kind::Stored(snapshot) => return touched_stored(snapshot, size, touched),
            Kind::Qcow2(file, tables) => (file, tables),
        };
        let (bits, per_table) = (tables.cluster_bits, 1_u64 << (tables.cluster_bits - 3));
        for at in 0..tables.first.len() {
            for slot in 0..per_table {
                let from = (at as u64 * per_table + slot) << bits;
                if from >= size {
                    return Ok(());
                }
                match tables.entry(file, at, slot as usize)? {
                    None => break,
                    Some(0) => {}
                    Some(_) => touched.add(from, (from + (1 << bits)).min(size)),
                }
            }
        }
        Ok(())
    }
}

impl Tables {
    /// An entry of a second table; none when there is no such table.
    fn entry(&mut self, file: &File, at: usize, slot: usize) -> io::Result<Option<u64>> {
        let place = self.first.get(at).copied().unwrap_or(0) & OFFSET;
        if place == 0 {
            return Ok(None);
        }
        if self.second.as_ref().is_none_or(|(known, _)| *known != at) {
            let mut bytes = vec![0; 1 << self.cluster_bits];
            file.read_exact_at(&mut bytes, place)?;
            self.second = Some((at, words(&bytes)));
        }
        Ok(self.second.as_ref().and_then(|(_, table)| table.get(slot).map(|entry| entry & !COPIED)))
    }
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|word| u64::from_be_bytes(word.try_into().expect("eight bytes"))).collect()
}

/// Reads the header, and the first table.
fn tables(file: &File, passphrase: Option<&str>) -> io::Result<(u64, Tables)> {
    let refused = |what: &str| io::Error::new(ErrorKind::Unsupported, what.to_owned());
    let mut header = vec![0; 104];
    read_padded(file, 0, &mut header)?;
    let be32 = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let be64 = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let (version, cluster_bits, size) = (be32(4), be32(20), be64(24));
    if &header[..4] != b"QFI\xfb" || !(2..=3).contains(&version) || !(9..=21).contains(&cluster_bits) {
        return Err(refused("not a qcow2 file of this host's making"));
    }
    let cipher = if be32(32) == 0 { None } else { Some(Box::new(unlock(file, passphrase)?)) };
    if version == 3 && be64(72) & !HARMLESS != 0 {
        return Err(refused("it has features that volumes of this host do not have, or is damaged"));
    }
    let length = u64::from(be32(36)) * 8;
    let needed = size.div_ceil(1 << (2 * cluster_bits - 3)) * 8;
    if length > LONGEST_TABLE || length < needed {
        return Err(refused("its first table is too long or too short"));
    }
    let mut first = vec![0; length as usize];
    file.read_exact_at(&mut first, be64(40))?;
    Ok((size, Tables { cluster_bits, version, first: words(&first), second: None, cipher }))
}

/// The cipher of an encrypted file.
fn unlock(file: &File, passphrase: Option<&str>) -> io::Result<Xts> {
    let refused = |what: &str| io::Error::new(ErrorKind::Unsupported, what.to_owned());
    let passphrase = passphrase.ok_or_else(|| refused("it is encrypted, and its key was not given"))?;
    let header =
        luks_header(file)?.ok_or_else(|| refused("it is encrypted in a way that this host does not know"))?;
    luks::unlock(&header, passphrase).map_err(|e| io::Error::new(ErrorKind::Unsupported, e))
}

/// The LUKS header of a qcow2 file, if it has one.
pub fn luks_header(file: &File) -> io::Result<Option<Vec<u8>>> {
    let damaged = |e: qcow2::NotQcow2| io::Error::new(ErrorKind::InvalidData, e);
    let mut bytes = vec![0; qcow2::HEADER_BYTES];
    read_padded(file, 0, &mut bytes)?;
    let Some(place) = qcow2::parse(&bytes).map_err(damaged)?.luks else { return Ok(None) };
    if place.length != luks::HEADER_BYTES as u64 {
        return Err(io::Error::new(ErrorKind::Unsupported, luks::Locked::Foreign));
    }
    let mut header = vec![0; luks::HEADER_BYTES];
    file.read_exact_at(&mut header, place.offset)?;
    Ok(Some(header))
}

/// Whole sectors are decrypted, whatever is asked for.
fn read_decrypted(file: &File, cipher: &Xts, at: u64, into: &mut [u8]) -> io::Result<()> {
    let sector = SECTOR as u64;
    let from = at - at % sector;
    let mut bytes = vec![0; (at + into.len() as u64 - from).next_multiple_of(sector) as usize];
    read_padded(file, from, &mut bytes)?;
    cipher.decrypt(from / sector, &mut bytes);
    let start = (at - from) as usize;
    into.copy_from_slice(&bytes[start..start + into.len()]);
    Ok(())
}

/// Reads from a file that may end within the last cluster: the rest is zero.
fn read_padded(file: &File, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        match file.read_at(into, at) {
            Ok(0) => {
                into.fill(0);
                return Ok(());
            }
            Ok(read) => {
                into = &mut into[read..];
                at += read as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// What was packed may be followed by bytes of something else, up to the sector's end.
fn inflate(packed: &[u8], into: &mut [u8]) -> io::Result<()> {
    use miniz_oxide::inflate::TINFLStatus;
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, _, written) = decompress(&mut DecompressorOxide::new(), packed, into, 0, flags);
    let whole = written == into.len() && matches!(status, TINFLStatus::Done | TINFLStatus::HasMoreOutput);
    if whole {
        Ok(())
    } else {
        Err(io::Error::new(ErrorKind::InvalidData, "a compressed cluster is damaged"))
    }
}

fn touched_stored(snapshot: &blocks::Snapshot, size: u64, touched: &mut Blocks) -> io::Result<()> {
    const BATCH: usize = 1024;
    let mut next = 0;
    loop {
        let batch = snapshot.blocks(next, BATCH).map_err(io::Error::other)?;
        let Some((last, _)) = batch.last() else { return Ok(()) };
        next = last + 1;
        for (index, _) in batch {
            touched.add(index * BLOCK, ((index + 1) * BLOCK).min(size));
        }
    }
}

fn touched_raw(file: &File, size: u64, touched: &mut Blocks) -> io::Result<()> {
    use rustix::fs::{SeekFrom, seek};
    let mut at = 0;
    while at < size {
        let from = match seek(file, SeekFrom::Data(at)) {
            Ok(from) => from,
            // There is none behind.
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let to = seek(file, SeekFrom::Hole(from))?;
        touched.add(from, to.min(size));
        at = to.max(from + 1);
    }
    Ok(())
}
