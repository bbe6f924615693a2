//! As much of ELF as the builder asks: which libraries a program needs, its loader, and whether a kernel starts by PVH.

use crate::error::{Error, Result};
use crate::manifest::Architecture;

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const NOTE: u32 = 4;

const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;

/// A 64-bit little-endian ELF file.
pub struct Elf<'a> {
    bytes: &'a [u8],
    segments: Vec<Segment>,
}

struct Segment {
    kind: u32,
    offset: usize,
    address: u64,
    size: usize,
}

impl<'a> Elf<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Elf<'a>> {
        Elf::read(bytes).ok_or_else(|| Error::Malformed {
            what: "a program of the image".to_owned(),
            why: "not a 64-bit ELF file".to_owned(),
        })
    }

    fn read(bytes: &'a [u8]) -> Option<Elf<'a>> {
        const CLASS_64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
        if !bytes.starts_with(CLASS_64_LITTLE_ENDIAN) {
            return None;
        }
        let (table, size, count) = (word(bytes, 32)? as usize, half(bytes, 54)?, half(bytes, 56)?);
        let segments = (0..count as usize).map(|index| {
            let at = table.checked_add(index * size as usize)?;
            let kind = u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?);
            Some(Segment {
                kind,
                offset: word(bytes, at + 8)? as usize,
                address: word(bytes, at + 16)?,
                size: word(bytes, at + 32)? as usize,
            })
        });
        Some(Elf { bytes, segments: segments.collect::<Option<_>>()? })
    }

    fn content(&self, segment: &Segment) -> &'a [u8] {
        self.bytes.get(segment.offset..segment.offset.saturating_add(segment.size)).unwrap_or_default()
    }

    fn of_kind(&self, kind: u32) -> impl Iterator<Item = &'a [u8]> {
        self.segments.iter().filter(move |segment| segment.kind == kind).map(|segment| self.content(segment))
    }

    /// What it runs on, of the architectures that images have.
    pub fn architecture(&self) -> Option<Architecture> {
        match half(self.bytes, 18)? {
            62 => Some(Architecture::X86_64),
            183 => Some(Architecture::Arm64),
            _ => None,
        }
    }

    /// The path of the dynamic loader; `None` for a static program.
    pub fn interpreter(&self) -> Option<&'a str> {
        text(self.of_kind(INTERPRETER).next()?)
    }

    /// Names of the libraries that must be loaded with it.
    pub fn needed(&self) -> Vec<&'a str> {
        let entries: Vec<(u64, u64)> = self
            .of_kind(DYNAMIC)
            .flat_map(|table| table.chunks_exact(16))
            .filter_map(|entry| Some((word(entry, 0)?, word(entry, 8)?)))
            .collect();
        let strings = entries
            .iter()
            .find(|(tag, _)| *tag == DT_STRTAB)
            .and_then(|(_, address)| self.at_address(*address));
        let name = |offset: u64| text(strings?.get(offset as usize..)?);
        entries.iter().filter(|(tag, _)| *tag == DT_NEEDED).filter_map(|(_, offset)| name(*offset)).collect()
    }

    fn at_address(&self, address: u64) -> Option<&'a [u8]> {
        let inside = |segment: &&Segment| {
            segment.kind == LOAD
                && (segment.address..segment.address + segment.size as u64).contains(&address)
        };
        let segment = self.segments.iter().find(inside)?;
        self.bytes.get(segment.offset + (address - segment.address) as usize..)
    }

    /// Does this kernel state a 32-bit entry point for PVH (a Xen note of type 18)?
    pub fn starts_by_pvh(&self) -> bool {
        const PHYS32_ENTRY: u32 = 18;
        self.of_kind(NOTE).any(|notes| {
            let mut rest = notes;
            while let Some((name, kind, after)) = next_note(rest) {
                if name == b"Xen\0" && kind == PHYS32_ENTRY {
                    return true;
                }
                rest = after;
            }
            false
        })
    }
}

fn next_note(bytes: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let field = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (name, body, kind) = (field(0)? as usize, field(4)? as usize, field(8)?);
    let end = 12 + name.next_multiple_of(4) + body.next_multiple_of(4);
    Some((bytes.get(12..12 + name)?, kind, bytes.get(end..)?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_host_names_its_loader_and_libraries() {
        let bytes = std::fs::read("/bin/sh").unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        assert!(elf.interpreter().unwrap().contains("ld-linux"));
        assert!(elf.needed().contains(&"libc.so.6"), "{:?}", elf.needed());
        assert!(!elf.starts_by_pvh());
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_or_read_without_a_panic() {
        let bytes = std::fs::read("/bin/sh").unwrap();
        for end in (0..bytes.len().min(4096)).step_by(7) {
            if let Ok(elf) = Elf::parse(&bytes[..end]) {
                let _ = (elf.interpreter(), elf.needed(), elf.starts_by_pvh());
            }
        }
        assert!(Elf::parse(b"#!/bin/sh").is_err());
    }
}
