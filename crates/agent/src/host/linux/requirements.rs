//! What a host must have before it can run machines, and what to install when it is missing.

use model::host::Architecture;
use std::fs;
use std::path::Path;

/// Programs, what each is for, and the Debian package that holds it.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("qemu-system-x86_64", "runs the machines", "qemu-system-x86"),
    ("qemu-img", "makes and grows the volumes", "qemu-utils"),
    ("nft", "loads the packet filter", "nftables"),
];

const DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Files that only certain packages or kernels bring.
const FILES: [(&str, &str, Option<&str>); 2] = [
    (
        "/dev/net/tun",
        "the kernel's TUN/TAP device is missing (load the module `tun`, or give the container /dev/net/tun)",
        None,
    ),
    (
        "/usr/share/seabios/bios-256k.bin",
        "the firmware of x86 machines is missing (Debian package `seabios`)",
        Some("seabios"),
    ),
];

/// Something that this host lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// One sentence.
    pub says: String,
    /// The Debian package that has it.
    pub package: Option<&'static str>,
}

impl Lack {
    fn new(says: impl Into<String>, package: Option<&'static str>) -> Self {
        Self { says: says.into(), package }
    }
}

/// One sentence for each thing that this host lacks; empty when it has everything.
pub fn missing() -> Vec<String> {
    lacks().into_iter().map(|lack| lack.says).collect()
}

/// The same, with the packages that help.
pub fn lacks() -> Vec<Lack> {
    let mut lacks = Vec::new();
    if !rustix::process::geteuid().is_root() {
        lacks.push(Lack::new(
            "root's rights are needed (namespaces, users and control groups are made per machine)",
            None,
        ));
    }
    for (program, purpose, package) in PROGRAMS {
        if !DIRECTORIES.iter().any(|dir| Path::new(dir).join(program).exists()) {
            let says = format!("`{program}`, which {purpose}, is not installed (Debian package `{package}`)");
            lacks.push(Lack::new(says, Some(package)));
        }
    }
    for (file, sentence, package) in FILES {
        if !Path::new(file).exists() {
            lacks.push(Lack::new(sentence, package));
        }
    }
    if super::vmm::cgroup::Hierarchy::detect().is_none() {
        lacks.push(Lack::new(
            "no control groups with the memory controller are mounted (/sys/fs/cgroup)",
            None,
        ));
    }
    if fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| !is_mount_point(&mounts, "/")) {
        let says = "this is a change-root environment, where machines cannot be shut in (enter it by pivot_root, or as a container)";
        lacks.push(Lack::new(says, None));
    }
    lacks
}

/// Where distributions put strongSwan's plugins.
const STRONGSWAN_PLUGINS: [&str; 3] =
    ["/usr/lib/ipsec/plugins", "/usr/lib64/strongswan/plugins", "/usr/lib/strongswan/plugins"];
/// What the IKE daemon needs of them, and the Debian packages that hold it.
const IKE_PLUGINS: [(&str, &str); 3] = [
    ("kernel-libipsec", "libcharon-extra-plugins"),
    ("vici", "strongswan-swanctl"),
    ("openssl", "libstrongswan-standard-plugins"),
];

/// The program that speaks IKE for VPN connections; an error says in one sentence what is missing.
pub(super) fn ike_daemon() -> Result<&'static Path, String> {
    let program = ["/usr/sbin/charon-systemd", "/usr/local/sbin/charon-systemd"].map(Path::new);
    let program = program.into_iter().find(|path| path.exists()).ok_or_else(|| {
        "strongSwan's `charon-systemd` is not installed (Debian package `charon-systemd`)".to_owned()
    })?;
    for (plugin, package) in IKE_PLUGINS {
        let file = format!("libstrongswan-{plugin}.so");
        if !STRONGSWAN_PLUGINS.iter().any(|dir| Path::new(dir).join(&file).exists()) {
            return Err(format!(
                "strongSwan's plugin `{plugin}` is not installed (Debian package `{package}`)"
            ));
        }
    }
    Ok(program)
}

/// One sentence if this host cannot carry VPN connections. Nothing else suffers from it.
pub fn lacks_vpn() -> Option<String> {
    ike_daemon().err()
}

/// Whether something is mounted at `path`, by the text of `/proc/self/mountinfo`: the fifth word of each line.
fn is_mount_point(mounts: &str, path: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(path))
}

/// One sentence for each thing without which this host runs no machines of an architecture, or not those that boot by
/// UEFI; empty when it has everything. Nothing else suffers from it.
pub fn missing_for(architecture: Architecture) -> Vec<String> {
    let program = plan::machine::qemu(architecture).0;
    let mut lacks = Vec::new();
    if !DIRECTORIES.iter().any(|dir| Path::new(dir).join(program).exists()) {
        lacks.push(lacks_qemu(architecture));
    }
    if uefi(architecture).is_none() {
        lacks.push(lacks_uefi(architecture));
    }
    lacks
}

/// The UEFI firmware of this host for machines of an architecture.
pub(super) fn uefi(architecture: Architecture) -> Option<&'static Path> {
    plan::machine::uefi(architecture).0.iter().map(Path::new).find(|file| file.is_file())
}

pub(super) fn lacks_qemu(architecture: Architecture) -> String {
    let (program, package) = plan::machine::qemu(architecture);
    let name = architecture.as_str();
    format!("`{program}`, which runs {name} machines, is not installed (Debian package `{package}`)")
}

pub(super) fn lacks_uefi(architecture: Architecture) -> String {
    let name = architecture.as_str();
    let package = plan::machine::uefi(architecture).1;
    format!("the UEFI firmware of {name} machines is not installed (Debian package `{package}`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_root_is_no_mount_point() {
        let host = "25 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n26 25 0:5 / /dev rw - devtmpfs none rw\n";
        assert!(is_mount_point(host, "/"));
        assert!(!is_mount_point("26 25 0:5 / /dev rw - devtmpfs none rw\n", "/"));
    }

    #[test]
    fn every_sentence_names_something() {
        let optional = [Architecture::X86_64, Architecture::Arm64].into_iter().flat_map(missing_for);
        for sentence in missing().into_iter().chain(optional) {
            assert!(sentence.len() > 20, "{sentence}");
        }
    }
}
