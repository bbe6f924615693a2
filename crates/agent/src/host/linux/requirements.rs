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
const FILES: [(&str, &str); 2] = [
    (
        "/dev/net/tun",
        "the kernel's TUN/TAP device is missing (load the module `tun`, or give the container /dev/net/tun)",
    ),
    (
        "/usr/share/seabios/bios-256k.bin",
        "the firmware of x86 machines is missing (Debian package `seabios`)",
    ),
];

/// One sentence for each thing that this host lacks; empty when it has everything.
pub fn missing() -> Vec<String> {
    let mut lacks = Vec::new();
    if !rustix::process::geteuid().is_root() {
        lacks.push(
            "root's rights are needed (namespaces, users and control groups are made per machine)".into(),
        );
    }
    for (program, purpose, package) in PROGRAMS {
        if !DIRECTORIES.iter().any(|dir| Path::new(dir).join(program).exists()) {
            lacks
                .push(format!("`{program}`, which {purpose}, is not installed (Debian package `{package}`)"));
        }
    }
    for (file, sentence) in FILES {
        if !Path::new(file).exists() {
            lacks.push(sentence.into());
        }
    }
    if super::vmm::cgroup::Hierarchy::detect().is_none() {
        lacks.push("no control groups with the memory controller are mounted (/sys/fs/cgroup)".into());
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
