//! The kernel of a package, in the form that starts fastest, and the order of its modules.
//!
//! A packed kernel (bzImage) unpacks itself in the guest, which costs most of a second on an emulated processor. The
//! image keeps it unpacked where the kernel can be entered by PVH, which QEMU does by itself for an ELF file. An Arm
//! kernel is started by UEFI firmware, which takes it as it is packed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::elf::Elf;
use crate::error::{At, Error, Result};
use crate::exec::program;

/// A kernel with its modules, in a folder of unpacked packages.
pub struct Kernel {
    pub image: Vec<u8>,
    modules: PathBuf,
}

impl Kernel {
    pub fn open(root: &Path) -> Result<Kernel> {
        let missing = || Error::Missing { wanted: "the kernel".to_owned() };
        let packed = only_entry(&root.join("boot"), "vmlinuz-").ok_or_else(missing)?;
        let folders = ["lib/modules", "usr/lib/modules"];
        let modules =
            folders.iter().find_map(|folder| only_entry(&root.join(folder), "")).ok_or_else(missing)?;
        let packed = fs::read(&packed).at(&packed)?;
        let image = unpack(&packed)?
            .filter(|image| Elf::parse(image).is_ok_and(|elf| elf.starts_by_pvh()))
            .unwrap_or(packed);
        Ok(Kernel { image, modules })
    }

    /// Whether this kernel was built with a module, into itself or beside.
    pub fn provides(&self, name: &str) -> Result<bool> {
        let mut files = BTreeMap::new();
        collect(&self.modules.join("kernel"), &mut files)?;
        let list = self.modules.join("modules.builtin");
        let builtin = fs::read_to_string(&list).at(&list)?;
        let named = |path: &str| module_name(Path::new(path)).as_deref() == Some(name);
        Ok(files.contains_key(name) || builtin.lines().any(named))
    }

    /// The files of these modules and of all that they need, each after what it needs. What is built into the kernel is
    /// left out; a module that is nowhere is an error.
    pub fn modules(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = BTreeMap::new();
        collect(&self.modules.join("kernel"), &mut files)?;
        let list = self.modules.join("modules.builtin");
        let builtin = fs::read_to_string(&list).at(&list)?;
        let is_builtin =
            |name: &str| builtin.lines().any(|line| module_name(Path::new(line)).as_deref() == Some(name));
        let mut ordered: Vec<(String, Vec<u8>)> = Vec::new();
        let mut stack: Vec<(String, bool)> = names.iter().rev().map(|name| (normal(name), false)).collect();
        let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        while let Some((name, needs_are_done)) = stack.pop() {
            if ordered.iter().any(|(present, _)| *present == name) || is_builtin(&name) {
                continue;
            }
            if needs_are_done {
                let content = contents.remove(&name).unwrap_or_default();
                ordered.push((name, content));
                continue;
            }
            let file = files
                .get(&name)
                .ok_or_else(|| Error::Missing { wanted: format!("the kernel module {name}") })?;
            let content = read_module(file)?;
            let needs = depends(&content);
            contents.insert(name.clone(), content);
            stack.push((name, true));
            stack.extend(needs.into_iter().map(|need| (need, false)));
        }
        Ok(ordered)
    }
}

fn only_entry(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    entries.sort();
    entries.pop()
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).at(folder)? {
        let entry = entry.at(folder)?;
        let path = entry.path();
        if entry.file_type().at(&path)?.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

fn module_name(path: &Path) -> Option<String> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(normal(name))
}

/// The kernel does not tell `-` and `_` apart in names of modules.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn read_module(file: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(file).at(file)?;
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => program("xz").arg("-dc").filter(bytes),
        Some("zst") => program("zstd").arg("-dc").filter(bytes),
        _ => Ok(bytes),
    }
}

/// What a module says about itself: `depends=a,b` among strings ended by NUL.
fn depends(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = module.windows(FIELD.len()).position(|window| window == FIELD) else { return Vec::new() };
    let value = module[at + FIELD.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    value.split(',').filter(|name| !name.is_empty()).map(normal).collect()
}

/// The ELF file inside a bzImage; `None` when it is packed in a way that is not known here.
fn unpack(packed: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(payload) = payload(packed) else { return Ok(None) };
    Ok(match payload {
        [0x02, 0x21, 0x4c, 0x18, ..] => unpack_lz4(payload),
        // The packed size is followed by the unpacked one, which these programs would take for rubbish at the end.
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Some(program("zstd").arg("-dc").filter(payload[..payload.len() - 4].to_vec())?)
        }
        [0xfd, b'7', b'z', b'X', ..] => {
            Some(program("xz").args(["-dc", "--single-stream"]).filter(payload.to_vec())?)
        }
        _ => None,
    })
}

/// The boot protocol's header tells where the packed kernel is.
fn payload(packed: &[u8]) -> Option<&[u8]> {
    if packed.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let field = |at: usize| Some(u32::from_le_bytes(packed.get(at..at + 4)?.try_into().ok()?) as usize);
    let sectors = match packed[0x1f1] {
        0 => 4,
        sectors => sectors as usize,
    };
    let start = (sectors + 1) * 512 + field(0x248)?;
    packed.get(start..start.checked_add(field(0x24c)?)?).filter(|payload| payload.len() > 8)
}

/// The legacy LZ4 stream that the kernel's build makes: a magic number, then blocks with their lengths.
fn unpack_lz4(stream: &[u8]) -> Option<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(stream.len() * 4);
    // The last four bytes are the unpacked size.
    let (mut rest, size) = stream[4..].split_at(stream.len() - 8);
    while let Some((length, tail)) = rest.split_at_checked(4) {
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let (block, tail) = tail.split_at_checked(length)?;
        unpack_lz4_block(block, &mut unpacked)?;
        rest = tail;
    }
    (unpacked.len() == u32::from_le_bytes(size.try_into().ok()?) as usize).then_some(unpacked)
}

/// One block: literals and copies of what came before. Blocks do not refer to each other.
fn unpack_lz4_block(block: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    let mut bytes = block.iter();
    while let Some(token) = bytes.next() {
        let literals = long_length(token >> 4, &mut bytes)?;
        let (now, later) = bytes.as_slice().split_at_checked(literals)?;
        out.extend(now);
        bytes = later.iter();
        let Some(low) = bytes.next() else { break };
        let distance = u16::from_le_bytes([*low, *bytes.next()?]) as usize;
        let length = long_length(token & 15, &mut bytes)? + 4;
        let from = out.len().checked_sub(distance).filter(|from| *from >= start && distance > 0)?;
        if distance >= length {
            out.extend_from_within(from..from + length);
        } else {
            // The copy overlaps what it makes: a short pattern repeated.
            for at in from..from + length {
                out.push(out[at]);
            }
        }
    }
    Some(())
}

fn long_length(nibble: u8, bytes: &mut std::slice::Iter<u8>) -> Option<usize> {
    let mut length = nibble as usize;
    if nibble == 15 {
        loop {
            let more = *bytes.next()?;
            length += more as usize;
            if more != 255 {
                break;
            }
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_overlapping_copies_are_unpacked() {
        let mut out = Vec::new();
        // "ab", then 8 bytes from 2 back, then "!".
        unpack_lz4_block(&[0x24, b'a', b'b', 2, 0, 0x10, b'!'], &mut out).unwrap();
        assert_eq!(out, b"ababababab!");
    }

    #[test]
    fn a_copy_from_before_the_beginning_is_refused() {
        assert_eq!(unpack_lz4_block(&[0x14, b'a', 9, 0], &mut Vec::new()), None);
        assert_eq!(unpack_lz4_block(&[0xf0, 255], &mut Vec::new()), None);
    }

    #[test]
    fn dependencies_are_read_from_the_module_itself() {
        assert_eq!(
            depends(b"\x7fELF\0license=GPL\0depends=virtio,virtio_ring\0name=x\0"),
            ["virtio", "virtio_ring"]
        );
        assert!(depends(b"\0depends=\0name=x\0").is_empty());
    }
}
