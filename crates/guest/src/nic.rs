//! Network interfaces: finding the primary one, or waiting until it is plugged in, and following those that come later.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::sys;

/// An Ethernet interface that stands for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    pub name: String,
    pub index: u32,
    pub mac: [u8; 6],
}

/// Waits, for ever if it must, for the first interface. An instance made from a memory template gets its
/// interface after it began to run, so this is a phase of its own.
pub fn wait() -> io::Result<Nic> {
    loop {
        if let Some(nic) = wait_for(Duration::MAX)? {
            return Ok(nic);
        }
    }
}

/// Waits so long for the first interface.
pub fn wait_for(patience: Duration) -> io::Result<Option<Nic>> {
    const LINK_EVENTS: u32 = libc::RTMGRP_LINK as u32;
    const LOOK: Duration = Duration::from_secs(10);
    let events = sys::netlink_socket(libc::NETLINK_ROUTE, LINK_EVENTS)?;
    let mut buffer = [0u8; 8192];
    let begun = sys::uptime();
    loop {
        // Subscribed before looking, so that nothing is missed between the two.
        if let Some(nic) = first(Path::new("/sys/class/net")) {
            return Ok(Some(nic));
        }
        let left = patience.saturating_sub(sys::uptime().saturating_sub(begun));
        if left.is_zero() {
            return Ok(None);
        }
        sys::receive(&events, &mut buffer, Some(left.min(LOOK)))?;
    }
}

fn first(folder: &Path) -> Option<Nic> {
    all(folder).into_iter().min_by_key(|nic| nic.index)
}

fn all(folder: &Path) -> Vec<Nic> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| read(&entry.path())).collect()
}

/// Calls `found` with every interface beside `primary`, now and whenever one is plugged in, for ever.
pub fn watch_others(primary: &Nic, mut found: impl FnMut(Nic)) -> io::Result<()> {
    const LINK_EVENTS: u32 = libc::RTMGRP_LINK as u32;
    let events = sys::netlink_socket(libc::NETLINK_ROUTE, LINK_EVENTS)?;
    let mut buffer = [0u8; 8192];
    let mut known: Vec<Nic> = vec![primary.clone()];
    loop {
        let present = all(Path::new("/sys/class/net"));
        known.retain(|nic| present.contains(nic));
        // It has another address once it has been forked.
        for nic in present.into_iter().filter(|nic| nic.index != primary.index) {
            if !known.contains(&nic) {
                known.push(nic.clone());
                found(nic);
            }
        }
        sys::receive(&events, &mut buffer, Some(Duration::from_secs(10)))?;
    }
}

/// Whether the interface is still there.
pub fn is_present(nic: &Nic) -> bool {
    read(&Path::new("/sys/class/net").join(&nic.name)).as_ref() == Some(nic)
}

fn read(folder: &Path) -> Option<Nic> {
    const ETHERNET: &str = "1";
    let field = |name: &str| fs::read_to_string(folder.join(name)).ok().map(|text| text.trim().to_owned());
    if field("type")? != ETHERNET || !folder.join("device").exists() {
        return None;
    }
    Some(Nic {
        name: folder.file_name()?.to_str()?.to_owned(),
        index: field("ifindex")?.parse().ok()?,
        mac: parse_mac(&field("address")?)?,
    })
}

pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_has_six_parts() {
        assert_eq!(parse_mac("02:00:0a:00:00:10"), Some([2, 0, 10, 0, 0, 16]));
        assert_eq!(parse_mac("02:00:0a"), None);
    }

    #[test]
    fn the_first_device_wins_and_virtual_links_do_not_count() {
        let folder = std::env::temp_dir().join(format!("nube-guest-nic-{}", std::process::id()));
        for (name, index, device) in
            [("lo", 1, false), ("eth1", 3, true), ("eth0", 2, true), ("dummy0", 0, false)]
        {
            let path = folder.join(name);
            fs::create_dir_all(if device { path.join("device") } else { path.clone() }).unwrap();
            fs::write(path.join("type"), "1\n").unwrap();
            fs::write(path.join("ifindex"), format!("{index}\n")).unwrap();
            fs::write(path.join("address"), "02:00:0a:00:00:10\n").unwrap();
        }
        assert_eq!(first(&folder).unwrap().name, "eth0");
        fs::remove_dir_all(folder).unwrap();
    }
}
