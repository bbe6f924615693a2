//! What a machine needs of an image in the host's cache: `<images>/<name>/{manifest.json, disk.qcow2, kernel, initrd}`.

use crate::host::{HostError, Result};
use plan::machine::Initrd;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// A kernel that boots machines directly.
#[derive(Debug)]
pub(super) struct DirectBoot {
    pub kernel: PathBuf,
    pub initrd: Option<PathBuf>,
    pub command_line: String,
}

impl DirectBoot {
    pub fn initrd_state(&self) -> Initrd {
        if self.initrd.is_some() { Initrd::Present } else { Initrd::Absent }
    }
}

/// The part of an image's manifest that concerns a machine.
#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default)]
    kernel_cmdline: Option<String>,
}

/// Whether this is a name and no path.
pub fn plain_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Reads how an image boots directly.
pub(super) fn direct_boot(images: &Path, name: &str) -> Result<DirectBoot> {
    if !plain_name(name) {
        return Err(HostError::permanent(format!("\"{name}\" is no image's name")));
    }
    let directory = images.join(name);
    let lacking =
        |what: &str| HostError::permanent(format!("the image {name} has no {what} in this host's cache"));
    let text = fs::read(directory.join("manifest.json")).map_err(|e| lacking("manifest").caused_by(e))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|e| lacking("manifest that can be read").caused_by(e))?;
    let kernel = directory.join("kernel");
    if !kernel.is_file() {
        return Err(lacking("kernel"));
    }
    let initrd = Some(directory.join("initrd")).filter(|path| path.is_file());
    let command_line = manifest.kernel_cmdline.ok_or_else(|| lacking("kernel command line"))?;
    Ok(DirectBoot { kernel, initrd, command_line })
}

/// Any kernel of the cache, for trying an accelerator.
pub(super) fn any_kernel(images: &Path) -> Option<PathBuf> {
    let mut kernels: Vec<_> = fs::read_dir(images)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("kernel")))
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
