//! The interface that a template keeps for its clones: driven, up, and connected to nothing.
//!
//! A device that is plugged into a running machine is found by way of the firmware's tables, set up and bound to its driver.
//! That is code which a clone runs for the first time, and took longer than all else of its wake. So a template's guest asks
//! its host for the interface beforehand and brings it up. It has no addresses and sends nothing: IPv6, which would take
//! one by itself, is off for it.
//!
//! The host of a clone connects that interface to the clone's port. What the clone's own hardware address is stands in the
//! machine's configuration (`opt/nube/mac` of QEMU's, by the kernel's module `qemu_fw_cfg`), which is not part of a
//! template's state: that it is another than the template's is how the guest knows that it woke up.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use crate::console::{raw, report};
use crate::files;
use crate::netlink::Routing;
use crate::nic::{self, Nic};

/// What the machine's configuration says of its first interface.
const WORD: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/nube/mac/raw";
/// How long the host may take to plug the interface in: one that does not know of this never does.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a sleeping template looks.
const LOOK: Duration = Duration::from_millis(2);
/// What is parked, for an agent that is started again: the interface's number and the address that it had.
const RECORD: &str = "/run/nube/parked";

/// The interface that waits for IPv6.
static HELD_BACK: Mutex<Option<String>> = Mutex::new(None);

/// An interface at rest, with the template's address.
#[derive(Debug, PartialEq)]
pub struct Parked {
    index: u32,
    mac: [u8; 6],
}

/// Asks for the interface and parks it. None from a host that does not give it: then an interface appears at waking.
pub fn park(nonce: &str) -> io::Result<Option<Parked>> {
    if let Some(parked) = fs::read_to_string(RECORD).ok().as_deref().and_then(Parked::parse) {
        return Ok(Some(parked));
    }
    if word().is_none() {
        return Ok(None);
    }
    // Whatever stands on the console's last line, ours begins a new one.
    raw(&format!("\r\nnube.template: plug {nonce}\r\n"));
    let Some(nic) = nic::wait_for(PATIENCE)? else { return Ok(None) };
    let parked = Parked { index: nic.index, mac: nic.mac };
    files::write(RECORD, parked.render().as_bytes(), files::PRIVATE)?;
    switch_ipv6(&nic.name, "1");
    Routing::open()?.up(nic.index, None)?;
    raw(&format!("\r\nnube.template: parked {nonce}\r\n"));
    Ok(Some(parked))
}

impl Parked {
    /// Waits, for ever if it must, until the machine is a clone, and gives its address.
    pub fn wait(&self) -> [u8; 6] {
        loop {
            match word() {
                Some(mac) if mac != self.mac => return mac,
                _ => sleep(LOOK),
            }
        }
    }

    /// Gives the interface its address.
    pub fn take(&self, mac: [u8; 6]) -> io::Result<Nic> {
        Routing::open()?.set_mac(self.index, mac)?;
        let nic = nic::wait()?;
        *HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner) = Some(nic.name.clone());
        Ok(nic)
    }

    fn render(&self) -> String {
        let mac: Vec<String> = self.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {}\n", self.index, mac.join(":"))
    }

    fn parse(text: &str) -> Option<Self> {
        let (index, mac) = text.trim().split_once(' ')?;
        Some(Self { index: index.parse().ok()?, mac: nic::parse_mac(mac)? })
    }
}

/// Lets a clone's interface have IPv6, as any other has it; a login does not need it.
pub fn release() {
    if let Some(name) = HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner).take() {
        switch_ipv6(&name, "0");
    }
}

pub fn word() -> Option<[u8; 6]> {
    nic::parse_mac(fs::read_to_string(WORD).ok()?.trim_end_matches('\0').trim())
}

pub fn switch_ipv6(name: &str, off: &str) {
    let switch = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    // A kernel without IPv6 has nothing to switch.
    if Path::new(&switch).exists() {
        report("IPv6", fs::write(switch, off));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_starts_again_knows_what_is_parked() {
        let parked = Parked { index: 3, mac: [2, 0, 0, 0, 0, 0xfe] };
        assert_eq!(parked.render(), "3 02:00:00:00:00:fe\n");
        assert_eq!(Parked::parse(&parked.render()), Some(parked));
        assert_eq!(Parked::parse("3"), None);
    }
}
