//! The instance's disks: the root filesystem grows to its volume, and volumes get names that tell which is which.
//!
//! Names: `/dev/disk/by-id/virtio-SERIAL`, where the serial is the volume id without its dash, and `/dev/xvda` and
//! `/dev/sda1` for the root. The kernel's uevents keep both current while volumes come, go and grow.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::console::{report, say};
use crate::sys;

const BY_ID: &str = "/dev/disk/by-id";
/// The block size that the image builder gives its filesystem.
const FS_BLOCK: u64 = 4096;
const SECTOR: u64 = 512;

/// Set while something more urgent is done, after which [`grow_root`] is called.
static HELD_BACK: AtomicBool = AtomicBool::new(false);

/// Leaves the root filesystem as it is until the next [`grow_root`].
pub fn grow_later() {
    HELD_BACK.store(true, Ordering::Relaxed);
}

/// Grows the root filesystem to the size of its device.
pub fn grow_root() -> io::Result<()> {
    HELD_BACK.store(false, Ordering::Relaxed);
    let device = root_device()?;
    let sectors: u64 = fs::read_to_string(device.join("size"))?.trim().parse().map_err(io::Error::other)?;
    sys::grow_ext4(&File::open("/")?, sectors * SECTOR / FS_BLOCK)
}

/// The folder in sysfs of the device that `/` is on.
fn root_device() -> io::Result<PathBuf> {
    let device = fs::metadata("/")?.dev();
    fs::canonicalize(format!("/sys/dev/block/{}:{}", libc::major(device), libc::minor(device)))
}

/// Names the disks that there are, then follows what the kernel says about block devices.
pub fn watch() -> io::Result<()> {
    const KERNEL_EVENTS: u32 = 1;
    let events = sys::netlink_socket(libc::NETLINK_KOBJECT_UEVENT, KERNEL_EVENTS)?;
    let root = root_device()?.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    for name in ["xvda", "sda1"] {
        link(&format!("/dev/{name}"), &root);
    }
    name_disks()?;
    let mut buffer = vec![0u8; 16 * 1024];
    loop {
        let message = sys::receive(&events, &mut buffer, None)?.unwrap_or_default();
        let Some(event) = Event::parse(message) else { continue };
        match event.action {
            "add" => name_disk(event.disk),
            "remove" => forget_disk(event.disk),
            "change" if event.resized && event.disk == root && !HELD_BACK.load(Ordering::Relaxed) => {
                let grown = grow_root().map(|()| say("the root filesystem grew with its volume"));
                report("cannot grow the root filesystem", grown);
            }
            _ => {}
        }
    }
}

/// Names the disks that there are, and no others.
pub fn name_disks() -> io::Result<()> {
    let _ = fs::remove_dir_all(BY_ID);
    fs::create_dir_all(BY_ID)?;
    for disk in fs::read_dir("/sys/block")?.flatten() {
        name_disk(&disk.file_name().to_string_lossy());
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
struct Event<'a> {
    action: &'a str,
    disk: &'a str,
    resized: bool,
}

impl<'a> Event<'a> {
    /// Reads a uevent; `None` when it is about something else than a whole disk.
    fn parse(message: &'a [u8]) -> Option<Event<'a>> {
        let fields = || std::str::from_utf8(message).ok().into_iter().flat_map(|text| text.split('\0'));
        let field = |name: &str| fields().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        if field("SUBSYSTEM")? != "block" || field("DEVTYPE")? != "disk" {
            return None;
        }
        Some(Event {
            action: field("ACTION")?,
            disk: field("DEVNAME")?,
            resized: field("RESIZE") == Some("1"),
        })
    }
}

fn name_disk(disk: &str) {
    let serial = fs::read_to_string(format!("/sys/block/{disk}/serial")).unwrap_or_default();
    let serial = serial.trim();
    if !serial.is_empty() && serial.chars().all(|char| char.is_ascii_alphanumeric() || "-_".contains(char)) {
        link(&format!("{BY_ID}/virtio-{serial}"), &format!("../../{disk}"));
    }
}

fn forget_disk(disk: &str) {
    for entry in fs::read_dir(BY_ID).into_iter().flatten().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target.file_name() == Path::new(disk).file_name()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn link(path: &str, target: &str) {
    let _ = fs::remove_file(path);
    report(path, symlink(target, path));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_disks_are_of_interest() {
        let grown =
            b"change@/devices/x\0ACTION=change\0SUBSYSTEM=block\0RESIZE=1\0DEVNAME=vda\0DEVTYPE=disk\0";
        assert_eq!(Event::parse(grown), Some(Event { action: "change", disk: "vda", resized: true }));
        assert_eq!(
            Event::parse(b"add@/x\0ACTION=add\0SUBSYSTEM=block\0DEVNAME=vda1\0DEVTYPE=partition\0"),
            None
        );
        assert_eq!(Event::parse(b"add@/x\0ACTION=add\0SUBSYSTEM=net\0INTERFACE=eth0\0"), None);
        assert_eq!(Event::parse(&[0xff, 0]), None);
    }
}
