//! `/init` of the initial RAM disk: modules in, root filesystem mounted, hand over to the disk's own `init`.
//!
//! The image builder lists the modules in [`MODULES`] in an order in which each finds what it depends on.
//! The kernel command line names the root device (`root=/dev/vda`).

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use crate::console::{report, say};
use crate::{exec, sys};

/// One file name a line, relative to the same folder.
const MODULES: &str = "/modules/order";
const NEW_ROOT: &str = "/root";

/// Is this process in the initial RAM disk, not on the instance's disk?
pub fn is_here() -> bool {
    std::process::id() == 1 && Path::new(MODULES).exists()
}

pub fn main() -> ExitCode {
    match hand_over() {
        Ok(never) => match never {},
        Err(error) => {
            say(&format!("cannot start the instance: {error}"));
            // Process 1 may not return: the kernel would panic without showing the line above for long.
            sleep(Duration::from_secs(5));
            ExitCode::FAILURE
        }
    }
}

fn hand_over() -> io::Result<std::convert::Infallible> {
    for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        sys::mount(kind, target, kind, 0)?;
    }
    let order = fs::read_to_string(MODULES)?;
    for name in order.lines() {
        let module = File::open(format!("/modules/{name}")).and_then(|file| sys::insert_module(&file));
        report(name, module);
    }
    let root = root_device(&fs::read_to_string("/proc/cmdline")?).to_owned();
    wait_for(&root);
    // A volume reads as zeros where nothing was written, so the tables of a filesystem that grew need no background
    // thread that writes them, which would also fill the volume.
    sys::mount_with(&root, NEW_ROOT, "ext4", libc::MS_NOATIME, "noinit_itable")?;
    for target in ["/dev", "/proc", "/sys"] {
        sys::mount(target, &format!("{NEW_ROOT}{target}"), "", libc::MS_MOVE)?;
    }
    // The files of the RAM disk are memory: give it back before its root becomes unreachable.
    for name in order.lines() {
        let _ = fs::remove_file(format!("/modules/{name}"));
    }
    let _ = fs::remove_file(MODULES);
    let _ = fs::remove_file("/init");
    std::env::set_current_dir(NEW_ROOT)?;
    sys::mount(".", "/", "", libc::MS_MOVE)?;
    std::os::unix::fs::chroot(".")?;
    std::env::set_current_dir("/")?;
    Err(exec::command("/sbin/init").arg0("init").exec())
}

fn root_device(command_line: &str) -> &str {
    command_line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("root="))
        .next_back()
        .unwrap_or("/dev/vda")
}

/// virtio probes in the background, so the disk may come a moment after its module.
fn wait_for(device: &str) {
    let mut rounds = 0;
    while !Path::new(device).exists() {
        rounds += 1;
        if rounds % 1000 == 0 {
            say(&format!("still waiting for the root disk {device}"));
        }
        sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_last_root_on_the_command_line_counts() {
        assert_eq!(super::root_device("quiet root=/dev/vda root=/dev/nvme0n1 rw\n"), "/dev/nvme0n1");
        assert_eq!(super::root_device("quiet"), "/dev/vda");
    }
}
