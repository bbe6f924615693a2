//! An encrypted volume with what a snapshot holds, written from front to back: nothing of it is on the disk but encrypted.
//!
//! ```text
//! header │ first table │ LUKS header │ data and second tables, as they come │ refcount table │ refcount blocks
//! ```
//! The header's own cluster comes last. Whoever calls gives the file its name when it is whole.

use super::luks::{self, SECTOR, Xts};
use blocks::{Error, Piece, Snapshot};
use plan::machine::qcow2::{self, CLUSTER, L1_SPAN, REFCOUNTS, Shape, Span};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

/// Writes what a snapshot holds into a disk of this size, in bytes. Ends early once nobody wants it.
pub fn export(
    from: &Snapshot,
    into: File,
    size: u64,
    passphrase: &str,
    is_wanted: &dyn Fn() -> bool,
) -> blocks::Result<()> {
    let mut disk = Written::begin(into, size, passphrase).map_err(Error::Target)?;
    let mut at = 0;
    while at < from.size() && is_wanted() {
        match from.piece(at, from.size() - at)? {
            Piece::Data(bytes) => {
                disk.put(at, &bytes).map_err(Error::Target)?;
                at += bytes.len() as u64;
            }
            Piece::Zero(length) => at += length,
        }
    }
    disk.finish().map_err(Error::Target)
}

/// An entry whose cluster is in use once.
const COPIED: u64 = 1 << 63;

/// A file on its way.
#[derive(Debug)]
struct Written {
    file: File,
    size: u64,
    cipher: Xts,
    luks: Span,
    first: Vec<u64>,
    /// The second table that is being filled, and its place in the first.
    second: Option<(usize, Vec<u64>)>,
    /// Where the file ends so far.
    end: u64,
}

impl Written {
    /// `size` is what the guest sees, in bytes.
    fn begin(file: File, size: u64, passphrase: &str) -> io::Result<Self> {
        let (header, cipher) = luks::format(passphrase).map_err(|_| io::Error::other("no random numbers"))?;
        let entries = qcow2::first_table_entries(size);
        let offset = CLUSTER + (entries * 8).next_multiple_of(CLUSTER);
        file.set_len(0)?;
        file.write_all_at(&header, offset)?;
        let luks = Span { offset, length: header.len() as u64 };
        let end = (luks.offset + luks.length).next_multiple_of(CLUSTER);
        let first = vec![0; usize::try_from(entries).map_err(|_| ErrorKind::FileTooLarge)?];
        Ok(Self { file, size, cipher, luks, first, second: None, end })
    }

    /// Takes the bytes from `offset` on, which lies at a cluster's beginning behind all that was put before.
    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (at, piece) in (offset..).step_by(CLUSTER as usize).zip(bytes.chunks(CLUSTER as usize)) {
            if piece.iter().all(|byte| *byte == 0) {
                continue;
            }
            let mut cluster = piece.to_vec();
            cluster.resize(CLUSTER as usize, 0);
            let place = self.take(1);
            self.cipher.encrypt(place / SECTOR as u64, &mut cluster);
            self.file.write_all_at(&cluster, place)?;
            let table = (at / L1_SPAN) as usize;
            if self.second.as_ref().is_none_or(|(filling, _)| *filling != table) {
                self.put_table()?;
                self.second = Some((table, vec![0; (CLUSTER / 8) as usize]));
            }
            if let Some((_, entries)) = &mut self.second {
                entries[(at % L1_SPAN / CLUSTER) as usize] = place | COPIED;
            }
        }
        Ok(())
    }

    fn take(&mut self, clusters: u64) -> u64 {
        let place = self.end;
        self.end += clusters * CLUSTER;
        place
    }

    fn put_table(&mut self) -> io::Result<()> {
        let Some((table, entries)) = self.second.take() else { return Ok(()) };
        let place = self.take(1);
        self.file.write_all_at(&be(&entries), place)?;
        *self.first.get_mut(table).ok_or(ErrorKind::InvalidInput)? = place | COPIED;
        Ok(())
    }

    /// Writes what is left, to the disk.
    fn finish(mut self) -> io::Result<()> {
        self.put_table()?;
        self.file.write_all_at(&be(&self.first), CLUSTER)?;
        let used = self.end / CLUSTER;
        let (mut blocks, mut tables) = (0, 0);
        loop {
            let needed = (used + blocks + tables).div_ceil(REFCOUNTS);
            let table = (needed * 8).div_ceil(CLUSTER);
            if (needed, table) == (blocks, tables) {
                break;
            }
            (blocks, tables) = (needed, table);
        }
        let table = self.take(tables);
        let first = self.take(blocks);
        let places: Vec<u64> = (0..blocks).map(|block| first + block * CLUSTER).collect();
        self.file.write_all_at(&be(&places), table)?;
        let total = used + blocks + tables;
        for (block, place) in (0..).zip(&places) {
            let counted = (total - block * REFCOUNTS).min(REFCOUNTS) as usize;
            self.file.write_all_at(&[0, 1].repeat(counted), *place)?;
        }
        self.file.set_len(self.end)?;
        let shape = Shape {
            size: self.size,
            below: None,
            first_table: CLUSTER,
            refcount_table: table,
            refcount_clusters: u32::try_from(tables).map_err(|_| ErrorKind::FileTooLarge)?,
            luks: Some(self.luks),
        };
        self.file.write_all_at(&qcow2::header(&shape).map_err(io::Error::other)?, 0)?;
        self.file.sync_all()
    }
}

fn be(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}
