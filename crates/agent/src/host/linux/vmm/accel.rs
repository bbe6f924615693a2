//! KVM or TCG, settled by running a guest: a `/dev/kvm` that opens may still not work.
//!
//! The probe boots a cached image's kernel with plan's tiny initrd and believes only the token that comes out. Its verdict is
//! kept in a file for as long as the host's kernel and QEMU stay the same.

use super::home::replace;
use super::image::any_kernel;
use super::template;
use crate::host::linux::exec;
use crate::host::{HostError, Result};
use model::host::Architecture;
use plan::machine::template::Program;
use plan::machine::{Accelerator, Version, probe};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the accelerator is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccelPolicy {
    /// KVM if a guest runs under it here, else TCG.
    Probe,
    Kvm,
    Tcg,
}

/// A guest that works has spoken long before.
const fn patience(accelerator: Accelerator) -> Duration {
    match accelerator {
        Accelerator::Kvm => Duration::from_secs(10),
        // Emulation works, however busy the host is.
        Accelerator::Tcg(_) => Duration::from_mins(3),
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    /// The host's kernel and QEMU that it holds for.
    of: String,
    kvm: bool,
}

/// The accelerator for machines of this architecture. Another one's than the host's own is emulated; and the probe's guest
/// is an x86-64 program, so hosts of other architectures emulate unless told otherwise.
pub(super) async fn choose(
    versions: &mut Versions,
    policy: AccelPolicy,
    architecture: Architecture,
    qemu: &str,
    images: &Path,
    cache: &Path,
) -> Result<Accelerator> {
    let version = versions.of(qemu).await?;
    let emulation = Accelerator::emulation(Version::parse(&version));
    if std::env::consts::ARCH != machine_name(architecture) {
        return Ok(emulation);
    }
    match policy {
        AccelPolicy::Probe if architecture != Architecture::X86_64 => return Ok(emulation),
        AccelPolicy::Kvm => return Ok(Accelerator::Kvm),
        AccelPolicy::Tcg => return Ok(emulation),
        AccelPolicy::Probe => {}
    }
    if fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(emulation);
    }
    let kernel = fs::read_to_string("/proc/version").unwrap_or_default();
    let of = format!("{} / {version}", kernel.trim());
    let known = fs::read(cache).ok().and_then(|text| serde_json::from_slice::<Verdict>(&text).ok());
    if let Some(verdict) = known.filter(|verdict| verdict.of == of) {
        return Ok(if verdict.kvm { Accelerator::Kvm } else { emulation });
    }
    let Some(kernel) = any_kernel(images, Architecture::X86_64) else {
        tracing::warn!("no cached image has a kernel to try KVM with; machines run under TCG");
        return Ok(emulation);
    };
    let kvm = runs_a_guest(Accelerator::Kvm, qemu, &kernel, cache).await;
    tracing::info!(kvm, "tried a guest under KVM");
    let verdict = Verdict { of, kvm };
    let kept =
        serde_json::to_vec(&verdict).map_err(std::io::Error::from).and_then(|text| replace(cache, &text));
    if let Err(error) = kept {
        tracing::warn!(%error, "the accelerator's verdict could not be kept");
    }
    Ok(if kvm { Accelerator::Kvm } else { emulation })
}

/// Whether a guest prints the token under this accelerator.
pub async fn runs_a_guest(accelerator: Accelerator, qemu: &str, kernel: &Path, cache: &Path) -> bool {
    let initrd: PathBuf = cache.with_extension("initrd");
    if replace(&initrd, &probe::initrd()).is_err() {
        return false;
    }
    let args = probe::arguments(accelerator, &kernel.to_string_lossy(), &initrd.to_string_lossy());
    let output = exec::run_within(qemu, &args, b"", patience(accelerator)).await;
    let _ = fs::remove_file(&initrd);
    output.is_ok_and(|o| o.stdout.windows(probe::TOKEN.len()).any(|w| w == probe::TOKEN))
}

/// As `uname -m` has it.
const fn machine_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "x86_64",
        Architecture::Arm64 => "aarch64",
    }
}

/// What came of trying KVM on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kvm {
    /// A guest spoke.
    Works,
    /// There is no /dev/kvm.
    Absent,
    /// It does not open.
    Forbidden(String),
    /// It opens, but no guest speaks.
    Broken,
    /// It opens; there is no kernel to try it with.
    Untried,
}

/// Tries KVM with any kernel of these images, whatever was found out before.
pub async fn try_kvm(qemu: &str, images: &Path) -> Kvm {
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return match error.kind() {
            std::io::ErrorKind::NotFound => Kvm::Absent,
            _ => Kvm::Forbidden(error.to_string()),
        };
    }
    let Some(kernel) = any_kernel(images, Architecture::X86_64) else { return Kvm::Untried };
    let scratch = images.join(format!(".doctor-{}", std::process::id()));
    if runs_a_guest(Accelerator::Kvm, qemu, &kernel, &scratch).await { Kvm::Works } else { Kvm::Broken }
}

/// What programs say of their versions. Each is asked once, until its file is another.
#[derive(Debug, Default)]
pub(super) struct Versions(HashMap<String, (Program, String)>);

impl Versions {
    async fn of(&mut self, qemu: &str) -> Result<String> {
        let program = template::program(qemu, qemu)
            .map_err(|error| HostError::transient(format!("looking at {qemu}")).caused_by(error))?;
        if let Some((_, said)) = self.0.get(qemu).filter(|(known, _)| *known == program) {
            return Ok(said.clone());
        }
        let output = exec::run(qemu, &["--version"], b"").await?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        self.0.insert(qemu.to_owned(), (program, said.clone()));
        Ok(said)
    }
}
