//! What a file is, from its own bytes, and whether it stands alone.
//!
//! Formats: <https://www.qemu.org/docs/master/interop/qcow2.html>; for vmdk the sparse extent's header of VMware's
//! *Virtual Disk Format 5.0*; for VHD Microsoft's *Virtual Hard Disk Image Format Specification*, for VHDX
//! <https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-vhdx>.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::error::{Error, Result};

/// How much of a file's beginning is looked at.
pub const HEAD_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Qcow2,
    Vmdk,
    Vhd,
    Vhdx,
    Raw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Xz,
    Gzip,
    Zstd,
}

impl Packing {
    pub const fn program(self) -> &'static str {
        match self {
            Packing::Xz => "xz",
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        }
    }
}

/// How the file is packed, if it is.
pub fn packing(head: &[u8]) -> Option<Packing> {
    const MAGICS: [(&[u8], Packing); 3] = [
        (b"\xfd7zXZ\0", Packing::Xz),
        (b"\x1f\x8b\x08", Packing::Gzip),
        (b"\x28\xb5\x2f\xfd", Packing::Zstd),
    ];
    MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, packing)| *packing)
}

/// A footer ends every VHD file.
const FOOTER: usize = 512;

/// The format of a file, and the size of the disk in it where its header is enough to tell that.
pub fn of_file(file: &File) -> Result<(Format, Option<u64>)> {
    let unreadable = |error: std::io::Error| Error::NotAnImage { why: format!("it cannot be read: {error}") };
    let bytes = file.metadata().map_err(unreadable)?.len();
    let mut head = vec![0; usize::try_from(bytes.min(HEAD_BYTES)).unwrap_or(0)];
    file.read_exact_at(&mut head, 0).map_err(unreadable)?;
    let mut tail = vec![0; head.len().min(FOOTER)];
    let end = bytes - tail.len() as u64;
    file.read_exact_at(&mut tail, end).map_err(unreadable)?;
    if tail.starts_with(b"conectix") {
        return vhd(&tail).map(|size| (Format::Vhd, Some(size)));
    }
    if head.starts_with(b"conectix") {
        return refuse("it is a VHD disk whose end is cut off");
    }
    if head.starts_with(b"vhdxfile") {
        return Ok((Format::Vhdx, None));
    }
    detect(&head, bytes).map(|(format, size)| (format, Some(size)))
}

/// The size that a footer tells.
fn vhd(footer: &[u8]) -> Result<u64> {
    let be64 = |at: usize| Some(u64::from_be_bytes(footer.get(at..at + 8)?.try_into().ok()?));
    match (footer.get(60..64), be64(48)) {
        (Some([0, 0, 0, 2 | 3]), Some(size)) => Ok(size),
        (Some([0, 0, 0, 4]), _) => refuse("it is a VHD disk that stands on another file (a parent)"),
        _ => refuse("its VHD footer is damaged"),
    }
}

/// The format of a file that begins so and has so many bytes, and the size of the disk in it. Whatever is no disk that
/// stands alone is refused.
fn detect(head: &[u8], bytes: u64) -> Result<(Format, u64)> {
    if head.starts_with(b"QFI\xfb") {
        return Ok((Format::Qcow2, qcow2(head)?));
    }
    if head.starts_with(b"KDMV") {
        return Ok((Format::Vmdk, vmdk(head)?));
    }
    if let Some(what) = something_else(head) {
        return refuse(what);
    }
    if has_partitions(head) {
        // A disk has whole sectors; qemu-img fills up the last one.
        return Ok((Format::Raw, bytes.next_multiple_of(512)));
    }
    refuse(
        "it is no qcow2, vmdk, VHD, VHDX or raw disk: it has neither of their headers, nor a partition table",
    )
}

fn refuse<T>(why: &str) -> Result<T> {
    Err(Error::NotAnImage { why: why.to_owned() })
}

/// The size of a qcow2 disk without a reference to another file.
fn qcow2(head: &[u8]) -> Result<u64> {
    const CORRUPT: u64 = 1 << 1;
    const EXTERNAL_DATA: u64 = 1 << 2;
    /// Dirty, compression type, extended L2 entries.
    const HARMLESS: u64 = 1 | 1 << 3 | 1 << 4;
    const DATA_FILE_NAME: u32 = 0x4441_5441;
    let cut = || Error::NotAnImage { why: "its qcow2 header is cut off".to_owned() };
    let be32 = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let be64 = |at: usize| Some(u64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let version = be32(4).ok_or_else(cut)?;
    if !(2..=3).contains(&version) {
        return refuse("it is a qcow2 disk of an unknown version");
    }
    if be64(8).ok_or_else(cut)? != 0 || be32(16).ok_or_else(cut)? != 0 {
        return refuse(
            "it is a qcow2 disk that stands on another file (a backing file); merge them first: qemu-img convert",
        );
    }
    if be32(32).ok_or_else(cut)? != 0 {
        return refuse("it is an encrypted qcow2 disk");
    }
    if version == 3 {
        let features = be64(72).ok_or_else(cut)?;
        if features & EXTERNAL_DATA != 0 {
            return refuse("it is a qcow2 disk whose data lies in another file");
        }
        if features & CORRUPT != 0 {
            return refuse("it is a qcow2 disk that is marked as corrupt");
        }
        if features & !HARMLESS != 0 {
            return refuse("it is a qcow2 disk with features that are not known here");
        }
        let mut at = be32(100).ok_or_else(cut)? as usize;
        // Extensions follow the header: type, length, data to a multiple of eight; the last has type 0.
        while let Some(kind @ 1..) = be32(at) {
            if kind == DATA_FILE_NAME {
                return refuse("it is a qcow2 disk whose data lies in another file");
            }
            let length = be32(at + 4).ok_or_else(cut)? as usize;
            at = at.saturating_add(8).saturating_add(length.next_multiple_of(8));
            if at > head.len() {
                return Err(cut());
            }
        }
    }
    be64(24).ok_or_else(cut)
}

/// The size of a vmdk disk in one file.
fn vmdk(head: &[u8]) -> Result<u64> {
    let le64 = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let (Some(capacity), Some(descriptor), Some(length)) = (le64(12), le64(28), le64(36)) else {
        return refuse("its vmdk header is cut off");
    };
    if capacity == 0 {
        return refuse("it is a vmdk disk whose data lies in other files");
    }
    // In sectors. It names a parent, if there is one, so it must be where it is looked for.
    let end = descriptor.checked_add(length).and_then(|end| end.checked_mul(512));
    if end.is_none_or(|end| end > HEAD_BYTES) {
        return refuse("it is a vmdk disk with a descriptor at an unusual place");
    }
    let lower = head.to_ascii_lowercase();
    if lower.windows(18).any(|window| window == b"parentfilenamehint") {
        return refuse("it is a vmdk disk that stands on another file (a parent)");
    }
    capacity.checked_mul(512).map_or_else(|| refuse("its vmdk header is damaged"), Ok)
}

/// Formats that people take for a cloud image.
fn something_else(head: &[u8]) -> Option<&'static str> {
    let at = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let text = String::from_utf8_lossy(&head[..head.len().min(256)]).trim_start().to_ascii_lowercase();
    Some(match () {
        () if head.is_empty() => "it is empty",
        () if text.starts_with("# disk descriptorfile") => {
            "it is the description of a vmdk disk whose data lies in other files; make one file of it: qemu-img convert"
        }
        () if at(0, b"COWD") => "it is a vmdk disk of ESX 3; convert it to qcow2: qemu-img convert",
        () if at(0, b"<<< ") && at(64, b"\x7f\x10\xda\xbe") => {
            "it is a VirtualBox disk (VDI); convert it to qcow2: qemu-img convert"
        }
        () if at(0, b"QED\0") => "it is a QED disk; convert it to qcow2: qemu-img convert",
        () if at(257, b"ustar") => {
            "it is a tar archive; unpack it and import the disk in it (import-image takes OVA archives as they are)"
        }
        () if at(0, b"PK\x03\x04") || at(0, b"7z\xbc\xaf\x27\x1c") || at(0, b"BZh") => {
            "it is packed in a way that is not known here; unpack it first"
        }
        () if at(0x8001, b"CD001") => "it is an installation disc, not the disk of an installed system",
        () if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") => {
            "it is a web page, not a disk: is the address that of the file itself?"
        }
        () if at(0, b"\x7fELF") => "it is a program, not a disk",
        () => return None,
    })
}

/// Whether a raw disk begins with a partition table.
fn has_partitions(head: &[u8]) -> bool {
    if head.get(512..520) == Some(b"EFI PART") {
        return true;
    }
    if head.get(510..512) != Some(b"\x55\xaa") {
        return false;
    }
    // A file system's boot sector ends so, too, but has code where a partition table has its entries.
    let entries: Vec<&[u8]> = head[446..510].chunks(16).collect();
    entries.iter().all(|entry| [0, 0x80].contains(&entry[0])) && entries.iter().any(|entry| entry[4] != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn qcow2_header() -> Vec<u8> {
        let mut head = vec![0; 4096];
        head[..4].copy_from_slice(b"QFI\xfb");
        head[7] = 3;
        head[24..32].copy_from_slice(&(2u64 << 30).to_be_bytes());
        head[100..104].copy_from_slice(&104u32.to_be_bytes());
        head
    }

    fn why(head: &[u8]) -> String {
        detect(head, head.len() as u64).unwrap_err().to_string()
    }

    #[test]
    fn a_qcow2_disk_that_stands_alone_is_taken() {
        assert_eq!(detect(&qcow2_header(), 4096).unwrap(), (Format::Qcow2, 2 << 30));
    }

    #[test]
    fn a_backing_file_is_refused() {
        let mut head = qcow2_header();
        head[8..16].copy_from_slice(&200u64.to_be_bytes());
        head[16..20].copy_from_slice(&11u32.to_be_bytes());
        head[200..211].copy_from_slice(b"/etc/shadow");
        assert!(why(&head).contains("backing file"));
        // A length without a place is no less a sign.
        head[8..16].fill(0);
        assert!(why(&head).contains("backing file"));
    }

    #[test]
    fn an_external_data_file_is_refused_by_feature_and_by_name() {
        let mut head = qcow2_header();
        head[79] = 4;
        assert!(why(&head).contains("another file"));
        let mut head = qcow2_header();
        head[104..112].copy_from_slice(&[0x44, 0x41, 0x54, 0x41, 0, 0, 0, 4]);
        assert!(why(&head).contains("another file"));
        // Behind another extension, too.
        let mut head = qcow2_header();
        head[104..112].copy_from_slice(&[0x68, 0x03, 0xf8, 0x57, 0, 0, 0, 5]);
        head[120..128].copy_from_slice(&[0x44, 0x41, 0x54, 0x41, 0, 0, 0, 4]);
        assert!(why(&head).contains("another file"));
    }

    #[test]
    fn unknown_features_encryption_and_cut_headers_are_refused() {
        let mut head = qcow2_header();
        head[78] = 1;
        assert!(why(&head).contains("not known"));
        let mut head = qcow2_header();
        head[35] = 1;
        assert!(why(&head).contains("encrypted"));
        assert!(why(b"QFI\xfb\0\0\0\x03").contains("cut off"));
        let mut head = qcow2_header();
        head[104..112].copy_from_slice(&[1, 1, 1, 1, 0xff, 0xff, 0xff, 0xff]);
        assert!(why(&head).contains("cut off"));
    }

    #[test]
    fn a_vmdk_disk_is_one_file_without_a_parent() {
        let mut head = vec![0; 2048];
        head[..4].copy_from_slice(b"KDMV");
        assert!(why(&head).contains("other files"));
        head[12..20].copy_from_slice(&2048u64.to_le_bytes());
        head[28] = 1;
        head[36] = 2;
        assert_eq!(detect(&head, 2048).unwrap(), (Format::Vmdk, 1 << 20));
        head[600..632].copy_from_slice(b"parentFileNameHint=\"/etc/shadow\"");
        assert!(why(&head).contains("a parent"));
        head[600..632].fill(0);
        head[28..36].fill(0xff);
        assert!(why(&head).contains("unusual place"));
    }

    #[test]
    fn what_is_no_disk_is_called_by_its_name() {
        let cases: [(&[u8], &str); 6] = [
            (b"", "empty"),
            (b"# Disk DescriptorFile\nversion=1\nRW 1 FLAT \"/etc/shadow\" 0", "other files"),
            (b"  <!DOCTYPE html><title>404", "web page"),
            (b"PK\x03\x04", "unpack"),
            (b"hello, world", "partition table"),
            (&[0; 4096], "partition table"),
        ];
        for (head, word) in cases {
            let why = why(head);
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn a_raw_disk_is_known_by_its_partition_table() {
        let mut head = vec![0; 1024];
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert!(why(&head).contains("partition table"));
        head[446 + 4] = 0x83;
        assert_eq!(detect(&head, 1000).unwrap(), (Format::Raw, 1024));
        // A file system's boot sector.
        head[446..510].fill(0x41);
        assert!(why(&head).contains("partition table"));
        head[512..520].copy_from_slice(b"EFI PART");
        assert_eq!(detect(&head, 1024).unwrap().0, Format::Raw);
    }

    fn file(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    #[test]
    fn a_vhd_disk_is_known_by_its_footer() {
        let mut footer = vec![0; 512];
        footer[..8].copy_from_slice(b"conectix");
        footer[48..56].copy_from_slice(&(3u64 << 30).to_be_bytes());
        footer[63] = 2;
        let mut disk = vec![0; 4096];
        disk.extend_from_slice(&footer);
        assert_eq!(of_file(&file(&disk)).unwrap(), (Format::Vhd, Some(3 << 30)));
        disk[4096 + 63] = 4;
        assert!(of_file(&file(&disk)).unwrap_err().to_string().contains("a parent"));
        disk[4096 + 63] = 9;
        assert!(of_file(&file(&disk)).unwrap_err().to_string().contains("damaged"));
        // A dynamic one begins with a copy of its footer.
        let mut cut = footer.clone();
        cut.resize(5000, 0);
        assert!(of_file(&file(&cut)).unwrap_err().to_string().contains("cut off"));
        assert_eq!(of_file(&file(b"vhdxfile")).unwrap(), (Format::Vhdx, None));
        assert!(of_file(&file(b"")).unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn packed_files_are_known_by_their_magic() {
        assert_eq!(packing(b"\xfd7zXZ\0abc"), Some(Packing::Xz));
        assert_eq!(packing(b"\x1f\x8b\x08\0"), Some(Packing::Gzip));
        assert_eq!(packing(b"\x28\xb5\x2f\xfd\0"), Some(Packing::Zstd));
        assert_eq!(packing(b"QFI\xfb"), None);
    }
}
