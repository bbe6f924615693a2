//! What a host must have before it can run machines, and what to install when it is missing.

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
    lacks
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_sentence_names_something() {
        for sentence in super::missing() {
            assert!(sentence.len() > 20, "{sentence}");
        }
    }
}
