//! What all images have in common at the end of their build: the guest agent and the initial RAM disk, the digest, the
//! files on the disk, the place in the cache.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::elf::Elf;
use crate::error::{At, Error, Result};
use crate::exec::program;
use crate::kernel::Kernel;
use crate::manifest::{MANIFEST, Manifest};
use crate::packages::hex;
use crate::progress::Progress;
use crate::tree::Tree;

const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_net", "button", "evdev"];
/// The host's entropy: Debian's cloud kernel for Arm is built without it, the firmware seeds that one. The machine's
/// configuration: what a memory template's clone learns its hardware address from.
const IF_THERE: [&str; 2] = ["virtio_rng", "qemu_fw_cfg"];

/// Reads the program `nube-guest` and judges whether it runs in an initial RAM disk.
pub fn read_guest(path: &Path) -> Result<Vec<u8>> {
    let bad = |hint| Error::NoGuest { path: path.to_owned(), hint };
    let bytes = fs::read(path)
        .map_err(|_| bad("build the package guest with the profile guest, as its documentation says"))?;
    // It runs where there are no libraries yet.
    if Elf::parse(&bytes)?.interpreter().is_some() {
        return Err(bad("it is not static: build it with -Ctarget-feature=+crt-static"));
    }
    Ok(bytes)
}

/// The initial RAM disk of a machine that boots its kernel directly: modules in, root mounted, hand over.
pub fn initrd(kernel: &Kernel, guest: &[u8]) -> Result<Tree> {
    let mut tree = Tree::default();
    for folder in ["dev", "proc", "sys", "root"] {
        tree.folder(folder, 0o755, 0);
    }
    tree.file("init", 0o755, guest);
    let mut order = String::new();
    let mut modules = MODULES.to_vec();
    for name in IF_THERE {
        if kernel.provides(name)? {
            modules.push(name);
        }
    }
    for (name, content) in kernel.modules(&modules)? {
        order.extend([&name, ".ko\n"]);
        tree.file(&format!("modules/{name}.ko"), 0o644, content);
    }
    tree.file("modules/order", 0o644, order);
    Ok(tree)
}

/// `sha256:…` over things of any length, told apart by their lengths.
pub fn recipe<'a>(things: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for thing in things {
        hash.update((thing.len() as u64).to_le_bytes());
        hash.update(thing);
    }
    format!("sha256:{}", hex(&hash.finalize()))
}

/// How a file's content gets into a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// Every byte of it.
    Whole(&'a Path),
    /// Each MiB that is not all zeros, after its number: for disks that are nearly empty.
    Sparse(&'a Path),
}

/// `sha256:…` over the content of files, one after another.
pub fn digest(files: &[Content<'_>], progress: &dyn Progress) -> Result<String> {
    let path = |content: &Content<'_>| match *content {
        Content::Whole(path) | Content::Sparse(path) => path.to_owned(),
    };
    let mut total = 0;
    for file in files.iter().map(path) {
        total += fs::metadata(&file).at(&file)?.len();
    }
    progress.begin("compute the digest", Some(total));
    let (mut hash, mut done, mut buffer) = (Sha256::new(), 0, vec![0u8; 1 << 20]);
    for content in files {
        let path = path(content);
        let mut file = File::open(&path).at(&path)?;
        for number in 0u64.. {
            let length = fill(&mut file, &mut buffer).at(&path)?;
            if length == 0 {
                break;
            }
            let block = &buffer[..length];
            match content {
                Content::Whole(_) => hash.update(block),
                Content::Sparse(_) if is_zero(block) => {}
                Content::Sparse(_) => {
                    hash.update(number.to_le_bytes());
                    hash.update(block);
                }
            }
            done += length as u64;
            progress.advance(done);
        }
    }
    progress.end();
    Ok(format!("sha256:{}", hex(&hash.finalize())))
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Makes a qcow2 disk of a raw one. Not compressed: QEMU unpacks 64 KiB for each read of 4, a quarter of a millisecond of a
/// processor each time.
pub fn convert(raw: &Path, disk: &Path) -> Result<()> {
    let convert = program("qemu-img").args(["convert", "-q", "-f", "raw", "-O", "qcow2"]);
    convert.arg(raw).arg(disk).run().map(drop)
}

/// Nothing but zeros?
pub fn is_zero(block: &[u8]) -> bool {
    // Whole slices compare as memory, which a loop over bytes does not in an unoptimized build.
    const ZEROS: [u8; 4096] = [0; 4096];
    block.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// Writes the manifest beside the image's files.
pub fn write_manifest(manifest: &Manifest, folder: &Path) -> Result<()> {
    let text = serde_json::to_vec_pretty(manifest)
        .map_err(|error| Error::Malformed { what: MANIFEST.to_owned(), why: error.to_string() })?;
    write_file(&folder.join(MANIFEST), &text)
}

/// Puts the finished image in the place of the last one, which is moved away first: a folder cannot be replaced at once.
/// A build that is killed in between leaves no image, and the next build makes one.
pub fn replace(cache: &Path, name: &str, result: &Path, work: &Path) -> Result<()> {
    let target = cache.join(name);
    match fs::rename(&target, work.join("last")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).at(&target),
        _ => {}
    }
    fs::rename(result, &target).at(&target)
}

pub fn folder(parent: &Path, name: &str) -> Result<PathBuf> {
    let path = parent.join(name);
    fs::create_dir_all(&path).at(&path)?;
    Ok(path)
}

pub fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).at(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn a_sparse_digest_knows_where_the_content_lies() {
        let folder = tempfile::tempdir().unwrap();
        let digest_of = |at: usize| {
            let path = folder.path().join("disk");
            let mut content = vec![0; 3 << 20];
            content[at] = 1;
            fs::write(&path, content).unwrap();
            digest(&[Content::Sparse(&path)], &Silent).unwrap()
        };
        assert_eq!(digest_of(5), digest_of(5));
        assert_ne!(digest_of(5), digest_of((1 << 20) + 5));
    }

    #[test]
    fn recipes_tell_where_one_thing_ends() {
        assert_ne!(recipe([&b"ab"[..], b"c"]), recipe([&b"a"[..], b"bc"]));
    }
}
