//! The same disk and kernel in a QEMU that nothing manages: what a launch is held against.

use crate::subject::Prepared;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// What a plain machine has in common with the cloud's.
pub struct Recipe {
    program: String,
    /// Accelerator, processor, memory, kernel command line: taken from the cloud's machine.
    shared: Vec<String>,
    image: PathBuf,
    /// Of the disk, as `qemu-img` takes it.
    size: &'static str,
    /// Whom the machine lets in.
    key: String,
}

/// Options that decide how fast a machine boots.
const SHARED: [&str; 6] = ["-machine", "-accel", "-cpu", "-smp", "-m", "-append"];

impl Recipe {
    /// From the command line of a machine of the cloud in this directory.
    pub fn of(command_line: &[String], prepared: &Prepared, data: &Path) -> Self {
        let shared = command_line.windows(2).filter(|two| SHARED.contains(&two[0].as_str()));
        Self {
            program: command_line[0].clone(),
            shared: shared.flatten().cloned().collect(),
            image: prepared.folder(data),
            size: prepared.subject.disk,
            key: prepared.public_key(),
        }
    }
}

pub struct Plain {
    process: Child,
    pub ssh: SocketAddr,
    _folder: TempDir,
}

impl Plain {
    /// An overlay on the image's disk, and a machine on it.
    pub fn boot(recipe: &Recipe) -> Self {
        Self::boot_with(recipe, &[])
    }

    /// The same with more disks, each as `-drive` takes it.
    pub fn boot_with(recipe: &Recipe, drives: &[String]) -> Self {
        let folder = TempDir::new().unwrap();
        let disk = folder.path().join("disk.qcow2");
        let base = recipe.image.join("disk.qcow2");
        let made = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .args([&base, &disk])
            .arg(recipe.size)
            .status();
        assert!(made.unwrap().success());
        let ssh = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let key = folder.path().join("key.pub");
        fs::write(&key, &recipe.key).unwrap();
        let metadata = std::env::current_exe().unwrap();
        let network = format!(
            "user,id=net,net=169.254.169.0/24,hostfwd=tcp:{ssh}-:22,guestfwd=tcp:169.254.169.254:80-cmd:{} metadata {}",
            metadata.display(),
            key.display()
        );
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(&recipe.program)
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"])
            .args(&recipe.shared)
            .arg("-kernel")
            .arg(recipe.image.join("kernel"))
            .arg("-initrd")
            .arg(recipe.image.join("initrd"))
            .args(["-drive", &format!("file={},if=virtio,format=qcow2", disk.display())])
            .args(drives.iter().flat_map(|drive| ["-drive", drive]))
            .args(["-netdev", &network, "-device", "virtio-net-pci,netdev=net,romfile="])
            .args(["-device", "virtio-rng-pci"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, ssh, _folder: folder }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
