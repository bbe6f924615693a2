//! The few fields of a qcow2 header that decide what a sandbox must hold: the size, the backing file, and where the header of
//! its encryption lies; and whole files that hold nothing yet.
//!
//! Format: <https://www.qemu.org/docs/master/interop/qcow2.html>

/// How much of a file's beginning [`parse`] wants to see: the header's cluster, in which the backing file's name lies.
pub const HEADER_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// As the guest sees it, in bytes.
    pub size: u64,
    pub backing_file: Option<String>,
    /// Where the LUKS header lies of a file whose data are encrypted.
    pub luks: Option<Span>,
}

/// A part of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub offset: u64,
    pub length: u64,
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
    let luks = match be32(bytes, 32)? {
        0 => None,
        LUKS => Some(luks(bytes, version)?),
        _ => return Err(NotQcow2),
    };
    Ok(Header { size: be64(bytes, 24)?, backing_file, luks })
}

/// The beginning of a file, with another name for what it stands on. It must stand on something already.
pub fn led_to(first: &[u8], below: &str) -> Result<Vec<u8>, NotQcow2> {
    let had = parse(first)?.backing_file.ok_or(NotQcow2)?;
    let start = usize::try_from(be64(first, 8)?).map_err(|_| NotQcow2)?;
    // A name lies behind all else that the first cluster holds.
    let end = start.checked_add(below.len()).filter(|_| below.len() <= LONGEST_NAME).ok_or(NotQcow2)?;
    let mut led = first.to_vec();
    led.get_mut(start..start + had.len()).ok_or(NotQcow2)?.fill(0);
    led.get_mut(start..end).ok_or(NotQcow2)?.copy_from_slice(below.as_bytes());
    led[16..20].copy_from_slice(&(below.len() as u32).to_be_bytes());
    Ok(led)
}

/// Looks among the header's extensions for the place of the LUKS header.
fn luks(bytes: &[u8], version: u32) -> Result<Span, NotQcow2> {
    let mut at = if version == 3 { be32(bytes, 100)? as usize } else { 72 };
    loop {
        let (kind, length) = (be32(bytes, at)?, be32(bytes, at + 4)? as usize);
        match kind {
            0 => return Err(NotQcow2),
            LUKS_HEADER if length == 16 => {
                return Ok(Span { offset: be64(bytes, at + 8)?, length: be64(bytes, at + 16)? });
            }
            // An extension that lies outside the header is found out by the next look.
            _ => {
                let padded = length.checked_next_multiple_of(8).ok_or(NotQcow2)?;
                at = at.checked_add(8).and_then(|at| at.checked_add(padded)).ok_or(NotQcow2)?;
            }
        }
    }
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
/// The unit in which files of ours are laid out, in bytes.
pub const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// What one entry of the first table maps: a cluster full of entries, each a cluster.
pub const L1_SPAN: u64 = CLUSTER * (CLUSTER / 8);
/// How many clusters one refcount block counts.
pub const REFCOUNTS: u64 = CLUSTER / 2;
const LONGEST_NAME: usize = 1023;
const HEADER_LENGTH: usize = 104;
/// The encryption method and the extension that tells where its header lies.
const LUKS: u32 = 2;
const LUKS_HEADER: u32 = 0x0537_be77;

/// What the header of a file of ours says. Every part lies at a cluster's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape<'a> {
    /// As the guest sees it, in bytes.
    pub size: u64,
    pub below: Option<Below<'a>>,
    pub first_table: u64,
    pub refcount_table: u64,
    /// The length of the refcount table.
    pub refcount_clusters: u32,
    pub luks: Option<Span>,
}

/// The entries of the first table of a disk of this size.
pub const fn first_table_entries(size: u64) -> u64 {
    size.div_ceil(L1_SPAN)
}

/// The first cluster of a file.
pub fn header(shape: &Shape<'_>) -> Result<Vec<u8>, Unwritable> {
    let name = shape.below.map_or("", |below| below.file).as_bytes();
    let entries = u32::try_from(first_table_entries(shape.size)).map_err(|_| Unwritable)?;
    if shape.size == 0 || !shape.size.is_multiple_of(512) || name.len() > LONGEST_NAME {
        return Err(Unwritable);
    }
    let mut cluster = vec![0; CLUSTER as usize];
    let mut put = |at: usize, bytes: &[u8]| cluster[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &3u32.to_be_bytes());
    put(20, &CLUSTER_BITS.to_be_bytes());
    put(24, &shape.size.to_be_bytes());
    put(36, &entries.to_be_bytes());
    put(40, &shape.first_table.to_be_bytes());
    put(48, &shape.refcount_table.to_be_bytes());
    put(56, &shape.refcount_clusters.to_be_bytes());
    // Refcounts of 16 bits.
    put(96, &4u32.to_be_bytes());
    put(100, &(HEADER_LENGTH as u32).to_be_bytes());
    let mut at = HEADER_LENGTH;
    if let Some(luks) = shape.luks {
        put(32, &LUKS.to_be_bytes());
        put(at, &LUKS_HEADER.to_be_bytes());
        put(at + 4, &16u32.to_be_bytes());
        put(at + 8, &luks.offset.to_be_bytes());
        put(at + 16, &luks.length.to_be_bytes());
        at += 24;
    }
    if let Some(below) = shape.below {
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
    if shape.below.is_some() {
        put(8, &(at as u64).to_be_bytes());
        put(16, &(name.len() as u32).to_be_bytes());
        put(at, name);
    }
    Ok(cluster)
}

/// A whole file without any data of its own: reads come from the backing file, or are zeros. `size` is what the guest sees,
/// in bytes, a multiple of 512. What will be written is encrypted if there is a LUKS header.
pub fn empty(size: u64, below: Option<Below<'_>>, luks: Option<&[u8]>) -> Result<Vec<u8>, Unwritable> {
    let l1_clusters = (first_table_entries(size) * 8).div_ceil(CLUSTER);
    let luks_clusters = luks.map_or(0, |luks| (luks.len() as u64).div_ceil(CLUSTER));
    // Header, refcount table, refcount block, then the first table.
    let clusters = 3 + l1_clusters + luks_clusters;
    if clusters > REFCOUNTS {
        return Err(Unwritable);
    }
    let luks_at = (3 + l1_clusters) * CLUSTER;
    let mut file = header(&Shape {
        size,
        below,
        first_table: 3 * CLUSTER,
        refcount_table: CLUSTER,
        refcount_clusters: 1,
        luks: luks.map(|luks| Span { offset: luks_at, length: luks.len() as u64 }),
    })?;
    file.resize(usize::try_from(clusters * CLUSTER).map_err(|_| Unwritable)?, 0);
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(CLUSTER as usize, &(2 * CLUSTER).to_be_bytes());
    for cluster in 0..clusters as usize {
        put(2 * CLUSTER as usize + cluster * 2, &1u16.to_be_bytes());
    }
    if let Some(luks) = luks {
        put(luks_at as usize, luks);
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
        assert_eq!(parse(&header("")), Ok(Header { size: 8 << 30, backing_file: None, luks: None }));
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
            for luks in [None, Some(&*vec![7; 100_000])] {
                let file = empty(size, below, luks).unwrap();
                let found = parse(&file).unwrap();
                assert_eq!((found.size, found.backing_file.as_deref()), (size, backing));
                let within = |luks: Span| &file[luks.offset as usize..(luks.offset + luks.length) as usize];
                assert_eq!(found.luks.map(within), luks);
            }
        }
        assert_eq!(empty(0, None, None), Err(Unwritable));
        let file = &*"x".repeat(2000);
        assert_eq!(empty(512, Some(Below { file, format: Format::Raw }), None), Err(Unwritable));
    }

    #[test]
    fn an_extension_that_leads_nowhere_is_refused() {
        let mut file = empty(512, None, Some(&[7; 512])).unwrap();
        file[108..112].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(parse(&file), Err(NotQcow2));
        // One that is of no kind ends the list.
        file[104..112].fill(0);
        assert_eq!(parse(&file), Err(NotQcow2));
    }

    #[test]
    fn what_is_no_qcow2_is_refused() {
        assert_eq!(parse(b""), Err(NotQcow2));
        assert_eq!(parse(&[0; 512]), Err(NotQcow2));
        assert_eq!(parse(&header("")[..20]), Err(NotQcow2));
    }
}
