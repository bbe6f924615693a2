//! The few fields of a qcow2 header that decide what a sandbox must hold: the size and the backing file; and whole files that
//! hold nothing yet.
//!
//! Format: <https://www.qemu.org/docs/master/interop/qcow2.html>

/// How much of a file's beginning [`parse`] wants to see: the header's cluster, in which the backing file's name lies.
pub const HEADER_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// As the guest sees it, in bytes.
    pub size: u64,
    pub backing_file: Option<String>,
}

/// How the bytes of a disk lie in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Qcow2,
    /// As the guest sees them.
    Raw,
}

impl Format {
    /// As QEMU calls its driver.
    pub const fn driver(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// What an overlay stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Below<'a> {
    pub file: &'a str,
    pub format: Format,
}

/// Not a qcow2 file, or a damaged header, or one that keeps its data in a file of its own: no image of ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotQcow2;

impl std::fmt::Display for NotQcow2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a qcow2 file of this host's making, or its header is damaged")
    }
}

/// The bit among the incompatible features that says: the data lies in another file.
const EXTERNAL_DATA: u64 = 1 << 2;

impl std::error::Error for NotQcow2 {}

/// Reads the header at the beginning of a file.
pub fn parse(bytes: &[u8]) -> Result<Header, NotQcow2> {
    let version = be32(bytes, 4)?;
    if bytes.get(..4) != Some(b"QFI\xfb") || !(2..=3).contains(&version) {
        return Err(NotQcow2);
    }
    if version == 3 && be64(bytes, 72)? & EXTERNAL_DATA != 0 {
        return Err(NotQcow2);
    }
    let (offset, length) = (be64(bytes, 8)?, be32(bytes, 16)?);
    let backing_file = if offset == 0 {
        None
    } else {
        let start = usize::try_from(offset).map_err(|_| NotQcow2)?;
        let end = start.checked_add(length as usize).ok_or(NotQcow2)?;
        let name = bytes.get(start..end).ok_or(NotQcow2)?;
        Some(String::from_utf8(name.to_vec()).map_err(|_| NotQcow2)?)
    };
    Ok(Header { size: be64(bytes, 24)?, backing_file })
}

/// Why there is no file of this kind: its size is zero or beyond what one refcount block can count, or its backing file's
/// name does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritable;

impl std::fmt::Display for Unwritable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no empty qcow2 file has this size and backing file")
    }
}

impl std::error::Error for Unwritable {}

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// What one entry of the first table maps: a cluster full of entries, each a cluster.
const L1_SPAN: u64 = CLUSTER * (CLUSTER / 8);
const LONGEST_NAME: usize = 1023;
const HEADER_LENGTH: usize = 104;

/// A whole file without any data of its own: reads come from the backing file, or are zeros. `size` is what the guest sees,
/// in bytes, a multiple of 512.
pub fn empty(size: u64, below: Option<Below<'_>>) -> Result<Vec<u8>, Unwritable> {
    let entries = size.div_ceil(L1_SPAN);
    let l1_clusters = (entries * 8).div_ceil(CLUSTER);
    // Header, refcount table, refcount block, then the first table.
    let clusters = 3 + l1_clusters;
    let name = below.map_or("", |below| below.file).as_bytes();
    if size == 0 || !size.is_multiple_of(512) || clusters > CLUSTER / 2 || name.len() > LONGEST_NAME {
        return Err(Unwritable);
    }
    let mut file = vec![0; usize::try_from(clusters * CLUSTER).map_err(|_| Unwritable)?];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &3u32.to_be_bytes());
    put(20, &CLUSTER_BITS.to_be_bytes());
    put(24, &size.to_be_bytes());
    put(36, &(entries as u32).to_be_bytes());
    put(40, &(3 * CLUSTER).to_be_bytes());
    put(48, &CLUSTER.to_be_bytes());
    put(56, &1u32.to_be_bytes());
    // Refcounts of 16 bits.
    put(96, &4u32.to_be_bytes());
    put(100, &(HEADER_LENGTH as u32).to_be_bytes());
    let mut at = HEADER_LENGTH;
    if let Some(below) = below {
        const FORMAT: u32 = 0xe279_2aca;
        let driver = below.format.driver();
        put(at, &FORMAT.to_be_bytes());
        put(at + 4, &(driver.len() as u32).to_be_bytes());
        put(at + 8, driver.as_bytes());
        // Padded to eight bytes.
        at += 16;
    }
    // The list of extensions ends with eight zeros.
    at += 8;
    if below.is_some() {
        put(8, &(at as u64).to_be_bytes());
        put(16, &(name.len() as u32).to_be_bytes());
        put(at, name);
    }
    put(CLUSTER as usize, &(2 * CLUSTER).to_be_bytes());
    for cluster in 0..clusters as usize {
        put(2 * CLUSTER as usize + cluster * 2, &1u16.to_be_bytes());
    }
    Ok(file)
}

fn be32(bytes: &[u8], at: usize) -> Result<u32, NotQcow2> {
    let field = bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or(NotQcow2)?;
    Ok(u32::from_be_bytes(field))
}

fn be64(bytes: &[u8], at: usize) -> Result<u64, NotQcow2> {
    let field = bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).ok_or(NotQcow2)?;
    Ok(u64::from_be_bytes(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(backing: &str) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..4].copy_from_slice(b"QFI\xfb");
        bytes[7] = 3;
        if !backing.is_empty() {
            bytes[8..16].copy_from_slice(&200u64.to_be_bytes());
            bytes[16..20].copy_from_slice(&(backing.len() as u32).to_be_bytes());
            bytes[200..200 + backing.len()].copy_from_slice(backing.as_bytes());
        }
        bytes[24..32].copy_from_slice(&(8u64 << 30).to_be_bytes());
        bytes
    }

    #[test]
    fn size_and_backing_file_are_read() {
        assert_eq!(parse(&header("")), Ok(Header { size: 8 << 30, backing_file: None }));
        assert_eq!(
            parse(&header("/images/a/disk.qcow2")).unwrap().backing_file.as_deref(),
            Some("/images/a/disk.qcow2")
        );
    }

    #[test]
    fn a_name_that_lies_outside_the_file_is_refused() {
        let mut bytes = header("/a");
        bytes[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(parse(&bytes), Err(NotQcow2));
        bytes[8..16].copy_from_slice(&511u64.to_be_bytes());
        assert_eq!(parse(&bytes), Err(NotQcow2));
    }

    #[test]
    fn data_in_another_file_is_refused() {
        let mut bytes = header("");
        bytes[79] = 4;
        assert_eq!(parse(&bytes), Err(NotQcow2));
    }

    #[test]
    fn an_empty_file_says_what_it_was_made_with() {
        for (size, backing) in [(1 << 30, Some("/a/disk.qcow2")), (512, None), (16 << 40, Some("/b"))] {
            let below = backing.map(|file| Below { file, format: Format::Qcow2 });
            let file = empty(size, below).unwrap();
            assert_eq!(parse(&file), Ok(Header { size, backing_file: backing.map(str::to_owned) }));
        }
        assert_eq!(empty(0, None), Err(Unwritable));
        let file = &*"x".repeat(2000);
        assert_eq!(empty(512, Some(Below { file, format: Format::Raw })), Err(Unwritable));
    }

    #[test]
    fn what_is_no_qcow2_is_refused() {
        assert_eq!(parse(b""), Err(NotQcow2));
        assert_eq!(parse(&[0; 512]), Err(NotQcow2));
        assert_eq!(parse(&header("")[..20]), Err(NotQcow2));
    }
}
