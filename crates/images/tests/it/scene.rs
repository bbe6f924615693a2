//! What every test of the image needs: the image, keys, a metadata service, and ssh.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use images::{Architecture, Image, Silent};
use tempfile::TempDir;

use crate::imds::Imds;
use crate::machine::{Machine, overlay};

pub const SCRIPT: &str = "#!/bin/bash\nid -un >> /root/ran\necho \"user data on $(hostname)\"\n";

/// Built once for all tests, in the target folder, so that packages are fetched once a machine.
pub fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let cache = target().join("test-images");
        images::nano::build(&cache, Architecture::X86_64, &guest(), &Silent).expect("the image is built");
        images::cache::open(&cache, "nano").unwrap()
    })
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// The static guest agent, built as the crate `guest` says.
pub fn guest() -> PathBuf {
    static GUEST: OnceLock<PathBuf> = OnceLock::new();
    GUEST
        .get_or_init(|| {
            let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            let target = target();
            let status = Command::new(env!("CARGO"))
                .current_dir(workspace)
                .args([
                    "build",
                    "--quiet",
                    "-p",
                    "guest",
                    "--profile",
                    "guest",
                    "--target",
                    "x86_64-unknown-linux-gnu",
                    "--target-dir",
                ])
                .arg(target.join("guest"))
                .args([
                    "--config",
                    "target.x86_64-unknown-linux-gnu.rustflags=[\"-Ctarget-feature=+crt-static\"]",
                ])
                .status()
                .unwrap();
            assert!(status.success(), "the guest agent is built");
            target.join("guest/x86_64-unknown-linux-gnu/guest/nube-guest")
        })
        .clone()
}

/// An instance's surroundings; the folder goes when it does.
pub struct Scene {
    pub folder: TempDir,
    pub imds: Imds,
    busybox: PathBuf,
}

impl Scene {
    pub fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        for kind in ["ed25519", "rsa"] {
            run(
                "ssh-keygen",
                &["-q", "-t", kind, "-N", "", "-f", folder.path().join(kind).to_str().unwrap()],
            );
        }
        let imds = Imds::start();
        imds.set("meta-data/instance-id", "i-00000000000000001");
        imds.set("meta-data/local-hostname", "ip-169-254-5-5.ec2.internal");
        imds.set("user-data", SCRIPT);
        let busybox = unpack_busybox(folder.path());
        let scene = Scene { folder, imds, busybox };
        scene.launch_with_key("ed25519");
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The key pair of the launch, `ed25519` or `rsa`.
    pub fn launch_with_key(&self, kind: &str) {
        let key = fs::read(self.path(&format!("{kind}.pub"))).unwrap();
        self.imds.set("meta-data/public-keys/0/openssh-key", key);
    }

    pub fn new_disk(&self, size: &str) -> PathBuf {
        let disk = self.path("disk.qcow2");
        overlay(image(), &disk, size);
        disk
    }

    pub fn boot(&self, disk: &Path) -> Machine {
        let mut machine = Machine::boot(image(), disk, &self.busybox, self.imds.port, self.folder.path());
        machine.wait_for_console("nube-guest: finished.");
        machine
    }

    /// Runs a command over ssh; the output on success.
    pub fn ssh(&self, machine: &Machine, login: &str, key: &str, command: &str) -> String {
        said("ssh", self.run_ssh(machine, login, key, command))
    }

    /// Runs a command that ends the machine, so that the connection may or may not end well.
    pub fn ssh_and_lose(&self, machine: &Machine, login: &str, key: &str, command: &str) {
        self.run_ssh(machine, login, key, command);
    }

    fn run_ssh(&self, machine: &Machine, login: &str, key: &str, command: &str) -> Output {
        let port = machine.port.to_string();
        let output = Command::new("ssh")
            .args(self.options(key))
            .args(["-p", &port, "-l", login, "127.0.0.1", command])
            .output();
        output.expect("ssh is missing: install openssh-client")
    }

    pub fn options(&self, key: &str) -> Vec<String> {
        let identity = format!("IdentityFile={}", self.path(key).display());
        [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "ConnectTimeout=60",
            &identity,
        ]
        .iter()
        .flat_map(|option| ["-o".to_owned(), (*option).to_owned()])
        .collect()
    }
}

/// QEMU needs a program that carries a connection; the image's own packages hold one.
fn unpack_busybox(folder: &Path) -> PathBuf {
    let packages = image().folder.join("../.packages");
    let package = fs::read_dir(packages).unwrap().flatten().map(|entry| entry.path());
    let package = package
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("busybox-static_"))
        .max()
        .unwrap();
    run("dpkg-deb", &["-x", package.to_str().unwrap(), folder.join("busybox").to_str().unwrap()]);
    ["bin/busybox", "usr/bin/busybox"]
        .iter()
        .map(|path| folder.join("busybox").join(path))
        .find(|path| path.exists())
        .unwrap()
}

pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    said(program, output.unwrap_or_else(|error| panic!("{program}: {error}; is its package installed?")))
}

pub fn said(program: &str, output: Output) -> String {
    assert!(
        output.status.success(),
        "{program} failed: {} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
