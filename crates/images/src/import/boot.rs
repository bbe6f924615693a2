//! What a disk boots by: its partition table, and the programs that its EFI system partition has for firmware that knows
//! nothing of the system (`\EFI\BOOT\BOOTX64.EFI` and its like).
//!
//! The partition is not read as a file system: a program's name stands in its folder as an entry of 32 bytes, which is
//! looked for wherever it is. That needs no parser for what others wrote.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::convert;
use crate::error::{At, Error, Result};
use crate::manifest::{Architecture, Firmware};

const SECTOR: u64 = 512;
/// Where partition tables lie.
const TABLE_BYTES: u64 = 1 << 20;
/// An EFI system partition is at most this large.
const MOST_ESP_BYTES: u64 = 4 << 30;

const ESP: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";
const ESP_IN_MBR: u8 = 0xef;

/// For which firmware a disk has something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// A boot sector, with what it needs.
    pub bios: bool,
    pub uefi_x86_64: bool,
    pub uefi_arm64: bool,
    /// An EFI system partition, whatever is in it.
    pub esp: bool,
}

/// The partitions that matter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    bios: bool,
    /// Offset and size in bytes.
    esp: Vec<(u64, u64)>,
}

/// A part of a disk: a file, and where in it the part begins.
type Part = (File, u64);

/// Looks at a raw disk of this size.
pub fn inspect_raw(disk: &File, size: u64) -> Result<Found> {
    inspect(size, |offset, _| Ok((disk.try_clone().at("the disk")?, offset)))
}

/// Looks at a qcow2 disk of this size; `scratch` is a folder for parts of it.
pub fn inspect_qcow2(disk: &Path, size: u64, scratch: &Path) -> Result<Found> {
    let part = scratch.join("part");
    let found = inspect(size, |offset, size| {
        let _ = fs::remove_file(&part);
        convert::part(disk, offset, size, &part)?;
        Ok((File::open(&part).at(&part)?, 0))
    });
    let _ = fs::remove_file(&part);
    found
}

fn inspect(size: u64, part: impl Fn(u64, u64) -> Result<Part>) -> Result<Found> {
    let whole = |bytes: u64| bytes / SECTOR * SECTOR;
    let mut head = vec![0; usize::try_from(whole(size.min(TABLE_BYTES))).unwrap_or(0)];
    let (file, at) = part(0, head.len() as u64)?;
    read_at(&file, &mut head, at)?;
    let table = read(&head);
    let mut found = Found { bios: table.bios, esp: !table.esp.is_empty(), ..Found::default() };
    for (offset, length) in table.esp {
        let length = whole(length.min(size.saturating_sub(offset)).min(MOST_ESP_BYTES));
        if length > 0 {
            search(&part(offset, length)?, length, &mut found)?;
        }
    }
    Ok(found)
}

/// Reads what there is; behind the file's end are zeros.
fn read_at(disk: &File, buffer: &mut [u8], at: u64) -> Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match disk.read_at(&mut buffer[done..], at + done as u64).at("the disk")? {
            0 => break,
            read => done += read,
        }
    }
    buffer[done..].fill(0);
    Ok(())
}

fn read(head: &[u8]) -> Table {
    let code = head.get(..440).is_some_and(|code| code.iter().any(|byte| *byte != 0))
        && head.get(510..512) == Some(b"\x55\xaa");
    if head.get(512..520) == Some(b"EFI PART") {
        return gpt(head, code).unwrap_or_default();
    }
    let entries = head.get(446..510).unwrap_or_default().chunks_exact(16);
    let le32 = |bytes: &[u8]| u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let esp = entries.filter(|entry| entry[4] == ESP_IN_MBR);
    Table {
        bios: code,
        esp: esp.map(|entry| (le32(&entry[8..]) * SECTOR, le32(&entry[12..]) * SECTOR)).collect(),
    }
}

fn gpt(head: &[u8], code: bool) -> Option<Table> {
    const BIOS_BOOTABLE: u64 = 1 << 2;
    let le32 = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let le64 = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let start = usize::try_from(le64(512 + 72)?.checked_mul(SECTOR)?).ok()?;
    let (count, size) = (le32(512 + 80)?.min(1024) as usize, le32(512 + 84)? as usize);
    if !(128..=4096).contains(&size) {
        return None;
    }
    let mut table = Table::default();
    let mut bios = false;
    for entry in head.get(start..)?.chunks_exact(size).take(count) {
        let field = |at: usize| Some(u64::from_le_bytes(entry.get(at..at + 8)?.try_into().ok()?));
        let kind = &entry[..16];
        let (first, last) = (field(32)?, field(40)?);
        if kind.iter().all(|byte| *byte == 0) {
            continue;
        }
        bios |= kind == BIOS_BOOT || field(48)? & BIOS_BOOTABLE != 0;
        if kind == ESP {
            let sectors = last.checked_sub(first)?.checked_add(1)?;
            table.esp.push((first.checked_mul(SECTOR)?, sectors.checked_mul(SECTOR)?));
        }
    }
    // A protective boot sector may have code, but finds nothing to load without such a partition.
    table.bios = bios && code;
    Some(table)
}

fn search((disk, offset): &Part, length: u64, found: &mut Found) -> Result<()> {
    const PIECE: u64 = 1 << 20;
    let mut piece = vec![0; PIECE as usize];
    for at in (0..length).step_by(PIECE as usize) {
        let size = usize::try_from(PIECE.min(length - at)).unwrap_or(0);
        read_at(disk, &mut piece[..size], *offset + at)?;
        for entry in piece[..size].chunks_exact(32) {
            const NO_FILE: u8 = 0x08 | 0x10;
            let file = entry[11] & NO_FILE == 0;
            found.uefi_x86_64 |= file && entry.starts_with(b"BOOTX64 EFI");
            found.uefi_arm64 |= file && entry.starts_with(b"BOOTAA64EFI");
        }
    }
    Ok(())
}

/// The architecture of the disk's machines, and what boots them.
pub fn decide(found: Found, wanted: Option<Architecture>) -> Result<(Architecture, Firmware)> {
    let refuse = |why: &str| Err(Error::NotAnImage { why: why.to_owned() });
    let (x86_64, arm64) = (found.bios || found.uefi_x86_64, found.uefi_arm64);
    let architecture = match (wanted, x86_64, arm64) {
        (Some(Architecture::X86_64), false, true) => return refuse("it boots on arm64 only, not on x86_64"),
        (Some(Architecture::Arm64), true, false) => return refuse("it boots on x86_64 only, not on arm64"),
        (Some(wanted), _, _) => wanted,
        (None, true, false) => Architecture::X86_64,
        (None, false, true) => Architecture::Arm64,
        (None, true, true) => return refuse("it boots on x86_64 and on arm64; choose with --arch"),
        (None, false, false) => {
            return refuse(
                "nothing on it boots: it has no boot sector and no EFI/BOOT/BOOTX64.EFI or BOOTAA64.EFI; if you know \
                 better, name its architecture with --arch",
            );
        }
    };
    let firmware = match architecture {
        Architecture::Arm64 => Firmware::Uefi,
        // Where a disk has both, the boot sector is quicker.
        Architecture::X86_64 if found.bios => Firmware::LegacyBios,
        Architecture::X86_64 if found.esp => Firmware::Uefi,
        Architecture::X86_64 => Firmware::LegacyBios,
    };
    Ok((architecture, firmware))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Found = Found { bios: false, uefi_x86_64: false, uefi_arm64: false, esp: false };

    fn disk(partitions: &[([u8; 16], u64, u64)]) -> Vec<u8> {
        let mut head = vec![0; 1 << 20];
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        head[512..520].copy_from_slice(b"EFI PART");
        head[512 + 72] = 2;
        head[512 + 80] = 128;
        head[512 + 84] = 128;
        for (number, (kind, first, last)) in partitions.iter().enumerate() {
            let at = 1024 + number * 128;
            head[at..at + 16].copy_from_slice(kind);
            head[at + 32..at + 40].copy_from_slice(&first.to_le_bytes());
            head[at + 40..at + 48].copy_from_slice(&last.to_le_bytes());
        }
        head
    }

    #[test]
    fn partitions_are_read_from_a_gpt() {
        let mut head = disk(&[(BIOS_BOOT, 34, 2047), (ESP, 2048, 4095)]);
        assert_eq!(read(&head), Table { bios: false, esp: vec![(1 << 20, 1 << 20)] });
        head[0] = 0xeb;
        assert!(read(&head).bios);
        // Code alone, as partitioning programs leave it, boots nothing.
        let mut head = disk(&[(ESP, 2048, 4095)]);
        head[0] = 0xeb;
        assert!(!read(&head).bios);
    }

    #[test]
    fn a_damaged_table_holds_nothing_and_ends_nothing() {
        for (at, value) in [(512 + 79, 0xff), (512 + 84, 1), (1024 + 39, 0xff), (1024 + 47, 0xff)] {
            let mut head = disk(&[(ESP, 2048, 4095)]);
            head[at] = value;
            let _ = read(&head);
        }
        assert_eq!(read(&[]), Table::default());
        assert_eq!(read(&disk(&[(ESP, 5, 4)])), Table::default());
    }

    #[test]
    fn the_programs_tell_the_architecture() {
        let x86 = Found { uefi_x86_64: true, esp: true, ..NOTHING };
        let arm = Found { uefi_arm64: true, esp: true, ..NOTHING };
        let bios = Found { bios: true, ..NOTHING };
        assert_eq!(decide(x86, None).unwrap(), (Architecture::X86_64, Firmware::Uefi));
        assert_eq!(decide(arm, None).unwrap(), (Architecture::Arm64, Firmware::Uefi));
        assert_eq!(decide(bios, None).unwrap(), (Architecture::X86_64, Firmware::LegacyBios));
        let hybrid = Found { bios: true, ..x86 };
        assert_eq!(decide(hybrid, None).unwrap(), (Architecture::X86_64, Firmware::LegacyBios));
        assert!(decide(arm, Some(Architecture::X86_64)).is_err());
        assert!(decide(bios, Some(Architecture::Arm64)).is_err());
    }

    #[test]
    fn where_the_disk_does_not_tell_the_caller_must() {
        assert!(decide(NOTHING, None).unwrap_err().to_string().contains("--arch"));
        let both = Found { uefi_x86_64: true, uefi_arm64: true, esp: true, bios: false };
        assert!(decide(both, None).unwrap_err().to_string().contains("--arch"));
        assert_eq!(decide(both, Some(Architecture::Arm64)).unwrap(), (Architecture::Arm64, Firmware::Uefi));
        assert_eq!(
            decide(NOTHING, Some(Architecture::Arm64)).unwrap(),
            (Architecture::Arm64, Firmware::Uefi)
        );
    }

    #[test]
    fn an_entry_of_a_folder_is_found_wherever_it_lies() {
        let mut content = vec![0; 3 << 20];
        let at = (2 << 20) + 96;
        content[at..at + 12].copy_from_slice(b"BOOTAA64EFI\x20");
        // A folder of that name is no program.
        content[640..652].copy_from_slice(b"BOOTX64 EFI\x10");
        let disk = tempfile::tempfile().unwrap();
        disk.write_all_at(&content, 4096).unwrap();
        let mut found = NOTHING;
        search(&(disk, 4096), content.len() as u64, &mut found).unwrap();
        assert_eq!(found, Found { uefi_arm64: true, ..NOTHING });
    }
}
