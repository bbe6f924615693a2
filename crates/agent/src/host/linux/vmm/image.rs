//! What a machine needs of an image in the host's cache: `<images>/<name>/{manifest.json, disk.qcow2, kernel, initrd}`.

use crate::host::{HostError, Result};
use model::host::Architecture;
pub use model::manifest::Manifest;
use model::manifest::{Boot, INITRD, KERNEL, MANIFEST};
use plan::machine::{Accelerator, Initrd};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A kernel that boots machines directly.
#[derive(Debug)]
pub(super) struct DirectBoot {
    pub kernel: PathBuf,
    pub initrd: Option<PathBuf>,
    /// What the kernel is told on any accelerator.
    pub command_line: String,
    /// What is added to that under TCG.
    pub command_line_emulated: String,
}

impl DirectBoot {
    pub fn initrd_state(&self) -> Initrd {
        if self.initrd.is_some() { Initrd::Present } else { Initrd::Absent }
    }

    pub fn command_line(&self, accelerator: Accelerator) -> String {
        match accelerator {
            Accelerator::Tcg(_) if !self.command_line_emulated.is_empty() => {
                format!("{} {}", self.command_line, self.command_line_emulated)
            }
            Accelerator::Tcg(_) | Accelerator::Kvm => self.command_line.clone(),
        }
    }
}

/// Reads the manifest of the image in this directory.
pub fn manifest(directory: &Path) -> io::Result<Manifest> {
    let text = fs::read(directory.join(MANIFEST))?;
    serde_json::from_slice(&text).map_err(io::Error::from)
}

/// Whether this is a name and no path.
pub fn plain_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Reads how an image boots directly: from `base`, the build of it that the boot disk stands on, as its kernel and the
/// disk's modules belong together; from the cache when the disk stands on nothing of this name.
pub(super) fn direct_boot(images: &Path, name: &str, base: Option<&Path>) -> Result<DirectBoot> {
    if !plain_name(name) {
        return Err(HostError::permanent(format!("\"{name}\" is no image's name")));
    }
    let lacking = |what: &str| HostError::permanent(format!("the image {name} has no {what} on this host"));
    let own = base.and_then(|base| Some((base.to_owned(), manifest(base).ok().filter(|m| m.name == name)?)));
    let (directory, manifest) = if let Some(own) = own {
        own
    } else {
        let cached = images.join(name);
        let manifest = manifest(&cached).map_err(|e| lacking("manifest").caused_by(e))?;
        (cached, manifest)
    };
    let Boot::DirectKernel { command_line, command_line_emulated } = manifest.boot else {
        return Err(lacking("kernel to boot directly"));
    };
    let kernel = directory.join(KERNEL);
    if !kernel.is_file() {
        return Err(lacking("kernel"));
    }
    let initrd = Some(directory.join(INITRD)).filter(|path| path.is_file());
    Ok(DirectBoot { kernel, initrd, command_line, command_line_emulated })
}

/// Any kernel of the cache for this architecture, for trying an accelerator.
pub(super) fn any_kernel(images: &Path, architecture: Architecture) -> Option<PathBuf> {
    let mut kernels: Vec<_> = fs::read_dir(images)
        .ok()?
        .filter_map(|entry| {
            let image = entry.ok()?.path();
            manifest(&image).ok().filter(|manifest| manifest.architecture == architecture)?;
            Some(image.join(KERNEL))
        })
        .filter(|kernel| kernel.is_file())
        .collect();
    kernels.sort();
    kernels.into_iter().next()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_leads_nowhere_else() {
        for bad in ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", "a,b"] {
            assert!(!super::plain_name(bad), "{bad:?}");
        }
        assert!(super::plain_name("debian-12.5_x86-64"));
    }
}
