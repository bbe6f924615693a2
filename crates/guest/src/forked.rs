//! Going on as another instance: what a guest does when it finds that it was forked.
//!
//! A host may keep memory and disks of a running instance and have other machines go on from that instant. Such a machine is its
//! parent's copy in everything, while its parent runs on. Its host lets nothing of it be heard until it has said that it is
//! somebody of its own. The guest's part, which every guest that wants to be forked follows (an image says so by `forkable` in its
//! manifest):
//!
//! 1. **Woken.** The interface loses its link, which the guest hears of ([`watch`] waits for that, and looks now and then), and
//!    `opt/nube/mac` of the machine's configuration names another hardware address than the interface has. A link that is lost
//!    for any other reason changes no address.
//! 2. **Held.** All other processes are frozen ([`freeze`]): none sees half an identity.
//! 3. **Shed.** Fresh entropy of the host's, the clock, a boot id, a machine id, host keys; the ssh server and its sessions are
//!    ended, for they are the parent's; addresses and routes go, and the interface takes the new hardware address.
//! 4. **Said.** One line `nube.fork: ready ADDRESS` on the first serial port. From then on the machine has its link.
//! 5. **Named.** Address, host name, login keys, the firmware's ids, the names of the disks: as at any start. Then the ssh server starts
//!    and the processes go on. User data was the parent's to run.
//!
//! What a child keeps of its parent, on purpose: everything in the memory of its processes. Whoever draws random numbers from
//! a generator of its own there draws the same as the parent does, and connections that were open lead nowhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, sleep};
use std::time::Duration;

use crate::console::{raw, report, say};
use crate::dhcp::Lease;
use crate::imds::Imds;
use crate::netlink::Routing;
use crate::nic::Nic;
use crate::{
    clock, disk, files, identity, ipv6, lease, parked, random, sshd, sys, template, timeline, user_data,
};

const CGROUPS: &str = "/sys/fs/cgroup";
/// Where processes are put that are in no group of their own.
const GROUP: &str = "/sys/fs/cgroup/nube-forked";
/// How often it is looked whether an event was missed.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is looked whether all processes stand still.
const ROUNDS: usize = 200;
/// A kernel's own thread, among the flags in `/proc/PID/stat`.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Waits so long for a fork; the new hardware address.
pub fn watch(nic: &Nic, patience: Duration) -> Option<[u8; 6]> {
    const LINK_EVENTS: u32 = libc::RTMGRP_LINK as u32;
    let end = sys::uptime().checked_add(patience);
    let events = report("watching the link", sys::netlink_socket(libc::NETLINK_ROUTE, LINK_EVENTS));
    let mut buffer = [0u8; 8192];
    loop {
        // Subscribed before looking, so that nothing is missed between the two.
        if let Some(mac) = parked::word().filter(|mac| *mac != nic.mac) {
            return Some(mac);
        }
        clock::catch_up();
        let left = end.map_or(LOOK, |end| end.saturating_sub(sys::uptime()));
        if left.is_zero() {
            return None;
        }
        match &events {
            Some(events) => {
                let _ = sys::receive(events, &mut buffer, Some(left.min(LOOK)));
            }
            None => sleep(left.min(LOOK)),
        }
    }
}

/// Takes another identity; gives the interface and its lease as they are then.
pub fn become_other(nic: &Nic, lease: Option<&Lease>, mac: [u8; 6]) -> (Nic, Option<Lease>) {
    let held = freeze();
    timeline::mark("frozen");
    let nic = shed(nic, lease, mac);
    timeline::mark("shed");
    wait_for_link(&nic, mac);
    parked::switch_ipv6(&nic.name, "0");
    let lease = lease::obtain(&nic);
    lease::apply(&nic, lease.as_ref());
    let mut imds = Imds::connect();
    template::was_woken();
    // Before anybody can log in and look.
    report("disk names", disk::name_disks());
    report("random generator", random::seed());
    let instance = identity::assume(&mut imds, lease.as_ref().map(|lease| lease.address));
    report("user data", user_data::was_run(&instance));
    held.thaw();
    timeline::mark("thawed");
    let address = lease.as_ref().map(|lease| format!(", {}/{}", lease.address, lease.prefix));
    say(&format!("forked; now this is {instance}{}", address.unwrap_or_default()));
    thread::spawn(clock::correct_soon);
    ipv6::begin(&nic);
    (nic, lease)
}

/// What is the parent's alone.
fn shed(nic: &Nic, lease: Option<&Lease>, mac: [u8; 6]) -> Nic {
    files::flush_later();
    report("random generator", template::freshen());
    report("clock", clock::from_hardware());
    report("boot id", template::take_boot_id());
    sshd::stop();
    report("host keys", sshd::forget_host_keys());
    report("host key", sshd::ensure_host_key());
    report("machine id", identity::write_machine_id());
    parked::switch_ipv6(&nic.name, "1");
    let shed = Routing::open().and_then(|routing| {
        if let Some(lease) = lease {
            routing.remove_address(nic.index, lease.address, lease.prefix)?;
        }
        routing.set_mac(nic.index, mac)
    });
    report(&nic.name, shed);
    report("flushing", files::flush());
    Nic { mac, ..nic.clone() }
}

fn say_ready(mac: [u8; 6]) {
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    // Whatever stands on the console's last line, ours begins a new one.
    raw(&format!("\r\nnube.fork: ready {mac}\r\n"));
}

/// Says that this is somebody of its own until the host has heard it: the kernel may write into the line.
fn wait_for_link(nic: &Nic, mac: [u8; 6]) {
    let carrier = format!("/sys/class/net/{}/carrier", nic.name);
    let mut rounds = 0;
    loop {
        if rounds % 200 == 0 {
            say_ready(mac);
        }
        if !fs::read_to_string(&carrier).is_ok_and(|carrier| carrier.trim() == "0") {
            return;
        }
        rounds += 1;
        sleep(Duration::from_millis(5));
    }
}

/// Groups of processes that stand still.
struct Held(Vec<PathBuf>);

impl Held {
    fn thaw(self) {
        for group in self.0 {
            report("letting processes go on", fs::write(group.join("cgroup.freeze"), "0"));
        }
    }
}

/// Stops every process but the first and this one.
fn freeze() -> Held {
    let own = Path::new(GROUP);
    report("a group for processes", fs::create_dir_all(own));
    let mut held = Vec::new();
    for entry in fs::read_dir(CGROUPS).into_iter().flatten().flatten() {
        let group = entry.path();
        // One that its user froze stays so.
        let is_free = fs::read_to_string(group.join("cgroup.freeze")).is_ok_and(|state| state.trim() == "0");
        if is_free && report("freezing", fs::write(group.join("cgroup.freeze"), "1")).is_some() {
            held.push(group);
        }
    }
    // What was forked before its parent stood still is found in the next round.
    for _ in 0..ROUNDS {
        let loose = loose();
        if loose.is_empty() {
            break;
        }
        for pid in loose {
            // One that has ended meanwhile needs nothing.
            let _ = fs::write(own.join("cgroup.procs"), pid.to_string());
        }
    }
    for group in &held {
        for _ in 0..ROUNDS {
            let events = fs::read_to_string(group.join("cgroup.events")).unwrap_or_default();
            if events.contains("frozen 1") || events.contains("populated 0") {
                break;
            }
            sleep(Duration::from_millis(5));
        }
    }
    Held(held)
}

/// The processes in no group, but for the first and this one.
fn loose() -> Vec<u32> {
    let text = fs::read_to_string(Path::new(CGROUPS).join("cgroup.procs")).unwrap_or_default();
    let pids = text.lines().filter_map(|line| line.trim().parse().ok());
    pids.filter(|pid| *pid > 1 && *pid != std::process::id() && !is_kernels(*pid)).collect()
}

/// Whether a process is a thread of the kernel, or gone.
fn is_kernels(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    flags(&stat).is_none_or(|flags| flags & KERNEL_THREAD != 0)
}

/// The flags of a process. Its name, in brackets, may hold anything.
fn flags(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(6)?.parse().ok()
}

/// Every process of this name.
pub fn processes_called(name: &str) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name) {
            found.push(pid);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_thread_is_told_by_its_flags_whatever_its_name() {
        let stat =
            |name: &str, flags: u32| format!("7 ({name}) S 2 0 0 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0");
        assert_eq!(flags(&stat("kworker/0:1", 69_238_880)).map(|f| f & KERNEL_THREAD != 0), Some(true));
        assert_eq!(flags(&stat("a) S 1 2 3", 4_194_560)).map(|f| f & KERNEL_THREAD != 0), Some(false));
        assert_eq!(flags(""), None);
    }

    #[test]
    fn this_process_is_found_by_its_name() {
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        assert!(processes_called(own.trim()).unwrap().contains(&(std::process::id() as i32)));
    }
}
