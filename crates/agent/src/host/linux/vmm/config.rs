//! What the driver is told of its host.

use super::{AccelPolicy, TemplateConfig};
use model::CloudTag;
use model::host::Architecture;
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub struct LinuxVmmConfig {
    pub cloud: CloudTag,
    /// Where the machines' own directories lie.
    pub state_dir: PathBuf,
    /// The host's image cache.
    pub images_dir: PathBuf,
    pub accel: AccelPolicy,
    /// Where the accelerator's verdict is kept.
    pub probe_cache: PathBuf,
    /// The QEMU program of each architecture that this host runs, as an absolute path.
    pub qemu: Vec<(Architecture, String)>,
    pub launcher: Launcher,
    pub templates: TemplateConfig,
}

/// The program whose main is [`launcher::main`], with the arguments that make it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    pub program: String,
    pub arguments: Vec<String>,
}

impl Launcher {
    /// This very program, started with `vm-exec`; also when its file has been replaced since.
    pub fn this_program() -> Self {
        Self { program: "/proc/self/exe".into(), arguments: vec!["vm-exec".into()] }
    }
}

/// The QEMU programs as Debian installs them; one that is not there is missed when a machine wants it.
pub fn default_qemu() -> Vec<(Architecture, String)> {
    [Architecture::X86_64, Architecture::Arm64]
        .map(|architecture| (architecture, format!("/usr/bin/{}", plan::machine::qemu(architecture).0)))
        .into()
}
