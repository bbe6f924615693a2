//! Operating-system packages and the Python environment of the client tests.

use crate::run;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// What a cloud with real machines needs: the machines, their disks, their networks, and the image's build.
pub const CLOUD: &[&str] = &[
    "gcc",
    "libc6-dev",
    "qemu-system-x86",
    "qemu-utils",
    "nftables",
    "e2fsprogs",
    "openssh-client",
    "xz-utils",
    "zstd",
];
/// What the tests need beside that.
pub const TESTS: &[&str] = &[
    "python3",
    "python3-venv",
    "openssl",
    "iproute2",
    "iptables",
    "util-linux",
    "gzip",
    // what captures say
    "tcpdump",
    // VPN connections, and the office at their other end
    "charon-systemd",
    "strongswan-swanctl",
    "libstrongswan-standard-plugins",
    "libcharon-extra-plugins",
    // disks that boot by GRUB and by UEFI
    "grub-common",
    "grub-pc-bin",
    "grub-efi-amd64-bin",
    "mtools",
    "ovmf",
    // what measures disks in guests
    "fio",
];

/// What the clients need beside that: Ansible with its collections, and what its AWS modules import.
pub const CLIENTS: &[&str] = &["ansible", "python3-boto3"];

/// What the tests of `--full` need beside those: the build of the Debian image, and Arm machines.
pub const FULL: &[&str] = &[
    "mmdebstrap",
    "fdisk",
    "dosfstools",
    "mtools",
    "debian-archive-keyring",
    "qemu-system-arm",
    "qemu-efi-aarch64",
];

/// Python packages of the client tests. The service models were taken from this version of botocore.
const PYTHON: &[&str] = &[
    "boto3==1.43.11",
    "botocore==1.43.11",
    "awscli==1.45.11",
    "awscli-local==0.23.0",
    "localstack-client==2.12",
    "apache-libcloud==3.9.1",
    "dnspython",
    "pytest",
    "pytest-xdist==3.8.0",
    // an S3 server that heeds If-None-Match
    "moto[s3]==5.2.1",
    "flask==3.1.3",
    "flask-cors==6.0.5",
];

/// A mirror that does not answer at once is asked again.
const RETRIES: [&str; 2] = ["-o", "Acquire::Retries=5"];

/// Installs the packages that are not there yet.
pub fn ensure(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if run::output("id", &["-u"])?.trim() != "0" {
        bail!("these packages are missing; as root run: apt-get install {}", missing.join(" "));
    }
    run::say(format_args!("Installing {}", missing.join(", ")));
    run::program("apt-get", &["update", "-qq", RETRIES[0], RETRIES[1]])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(RETRIES);
    arguments.extend(missing);
    let mut apt = std::process::Command::new("apt-get");
    run::finish(apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
}

fn installed(package: &str) -> bool {
    let asked = ["-W", "-f=${Status}", package];
    run::output("dpkg-query", &asked).is_ok_and(|status| status.trim() == "install ok installed")
}

/// The `bin` directory of a Python environment with the clients; made on first use.
pub fn python() -> Result<PathBuf> {
    let environment = run::target().join("clients");
    let bin = environment.join("bin");
    let stamp = environment.join("packages");
    let wanted = PYTHON.join("\n");
    if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
        run::say("Making the Python environment of the client tests");
        run::program("python3", &[Path::new("-m"), Path::new("venv"), &environment])?;
        let mut arguments = vec!["install", "--quiet", "--disable-pip-version-check"];
        arguments.extend(PYTHON);
        run::program(&bin.join("pip").display().to_string(), &arguments)?;
        std::fs::write(&stamp, wanted)?;
    }
    Ok(std::path::absolute(bin)?)
}

/// The AWS SDK for JavaScript beside its walk, as the lock file has it.
pub fn javascript() -> Result<()> {
    if run::output("npm", &["--version"]).is_err() {
        ensure(&["nodejs", "npm"])?;
    }
    let folder = run::target().join("clients-javascript");
    let stamp = folder.join("node_modules/.packages");
    let sources = Path::new("tests/clients/javascript");
    let wanted = std::fs::read_to_string(sources.join("package-lock.json"))?;
    std::fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json", "walk.mjs"] {
        std::fs::copy(sources.join(file), folder.join(file))?;
    }
    if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
        run::say("Fetching the AWS SDK for JavaScript");
        let mut npm = std::process::Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]).current_dir(&folder);
        run::finish(&mut npm)?;
        std::fs::write(&stamp, wanted)?;
    }
    Ok(())
}
