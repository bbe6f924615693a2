//! One QEMU process with the nano image's kernel and an overlay of its disk.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use images::{Boot, Image};

use crate::scene::run;

/// Far more than a boot takes, because CI's processors are shared.
pub const PATIENCE: Duration = Duration::from_mins(2);

pub struct Machine {
    qemu: Child,
    pub port: u16,
    pub boot_to_banner: Duration,
    console: PathBuf,
    monitor: PathBuf,
}

/// A disk of its own for an instance.
pub fn overlay(image: &Image, path: &Path, size: &str) {
    let base = image.disk();
    run(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            "qcow2",
            "-b",
            base.to_str().unwrap(),
            path.to_str().unwrap(),
            size,
        ],
    );
}

impl Machine {
    /// Starts a machine and waits for the ssh server's first line.
    pub fn boot(image: &Image, disk: &Path, busybox: &Path, imds: u16, folder: &Path) -> Machine {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (console, monitor) = (folder.join("console"), folder.join("qmp"));
        let _ = fs::remove_file(&monitor);
        let Boot::DirectKernel { command_line, command_line_emulated } = &image.manifest.boot else {
            panic!("nano has a kernel of its own");
        };
        let network = format!(
            "user,id=n,net=169.254.0.0/16,host=169.254.0.2,dhcpstart=169.254.5.5,hostfwd=tcp:127.0.0.1:{port}-:22,\
             guestfwd=tcp:169.254.169.254:80-cmd:{} nc 127.0.0.1 {imds}",
            busybox.display()
        );
        let started = Instant::now();
        let qemu = Command::new("qemu-system-x86_64")
            .args([
                "-machine",
                "q35,usb=off,vmport=off",
                "-accel",
                "tcg,tb-size=64",
                "-cpu",
                "max,la57=off",
                "-m",
                "256",
            ])
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", monitor.display()))
            .arg("-kernel")
            .arg(image.kernel())
            .arg("-initrd")
            .arg(image.initrd())
            .args(["-append", &format!("{command_line} {command_line_emulated}")])
            .arg("-drive")
            .arg(format!("if=none,id=root,format=qcow2,file={}", disk.display()))
            .args([
                "-device",
                "virtio-blk-pci,drive=root,serial=vol0123456789abcdef0",
                "-device",
                "virtio-rng-pci",
            ])
            .args(["-netdev", &network, "-device", "virtio-net-pci,netdev=n,romfile="])
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-system-x86_64 is missing: install qemu-system-x86");
        let mut machine = Machine { qemu, port, boot_to_banner: Duration::ZERO, console, monitor };
        machine.until("the ssh server answers", |machine| has_banner(machine.port));
        machine.boot_to_banner = started.elapsed();
        machine
    }

    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).replace('\r', "")
    }

    pub fn wait_for_console(&mut self, text: &str) {
        self.until(&format!("the console says {text:?}"), |machine| machine.console().contains(text));
    }

    /// Presses the power button and gives the time until the machine is gone.
    pub fn press_power_button(&mut self) -> Duration {
        let began = Instant::now();
        let mut monitor = UnixStream::connect(&self.monitor).unwrap();
        let mut answers = BufReader::new(monitor.try_clone().unwrap()).lines();
        answers.next().unwrap().unwrap();
        for command in ["qmp_capabilities", "system_powerdown"] {
            writeln!(monitor, "{{\"execute\":\"{command}\"}}").unwrap();
            answers.next().unwrap().unwrap();
        }
        self.wait_for_end();
        began.elapsed()
    }

    pub fn wait_for_end(&mut self) {
        self.until("the machine ends", |machine| machine.qemu.try_wait().unwrap().is_some());
    }

    fn until(&mut self, what: &str, condition: impl Fn(&mut Machine) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(
                began.elapsed() < PATIENCE,
                "waited in vain until {what}; the console:\n{}",
                self.console()
            );
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn has_banner(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    // QEMU accepts before the guest does, and a connection made too early is never answered.
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut start = [0u8; 4];
    stream.read_exact(&mut start).is_ok() && &start == b"SSH-"
}
