//! A generator of systemd units: adds the agent where a template is asked for, and at an instance's first boot, and holds back
//! what is an instance's.
//!
//! systemd calls it early in each boot and at each `daemon-reload`, with three folders to put units into, which it leaves empty
//! otherwise. Held back is by a condition on one file: the unit counts as done, so the boot goes
//! on without it, and starts whenever it is asked to once the file is gone.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use super::{HELD, WOKEN};
use crate::console::report;
use crate::files::{self, PUBLIC};
use crate::template;

/// What is held back and started later: what makes an identity or needs one.
pub const STARTED: [&str; 9] = [
    "systemd-networkd.socket",
    "systemd-networkd.service",
    "systemd-networkd-wait-online.service",
    "cloud-init-local.service",
    "cloud-init.service",
    "cloud-config.service",
    "cloud-final.service",
    "nube-endpoint.service",
    // It shows the host's name.
    "serial-getty@ttyS0.service",
];

const SERVICE: &str = "nube-guest.service";
/// The agent's own unit is part of the image; this pulls it in.
const WANTED: &str = "[Unit]\nWants=nube-guest.service\n";
/// Its test of keys and settings takes as long as its start.
const SSH: &str = "[Unit]\nAfter=nube-guest.service\n[Service]\nExecStartPre=\n";
/// A network of more than one interface is not what the agent wrote.
const LOCAL: &str = "[Service]\nExecStartPost=-/usr/lib/nube/adopt-network\n";
const NETWORK: &str = "[Service]\nExecStartPost=-/bin/rm -f /etc/sudoers.d/nube-early\n";
/// At a boot the order of these two follows from targets, which a clone has behind it.
const CONFIG: &str = "[Unit]\nAfter=cloud-init.service\n";

/// Where the firmware names the instance, as EC2's does.
const INSTANCE: &str = "/sys/class/dmi/id/board_asset_tag";
/// For whom cloud-init has set the disk up.
const KNOWN: &str = "/var/lib/cloud/data/instance-id";
/// Whoever wants no cloud-init wants nothing before it either.
const DISABLED: &str = "/etc/cloud/cloud-init.disabled";

pub fn main() -> ExitCode {
    let folder = std::env::args().nth(1).unwrap_or_default();
    let is_wanted = || {
        // Once woken, it stays as it is: a reload in the middle changes nothing.
        template::asked().is_some() || Path::new(WOKEN).exists() || is_first_boot()
    };
    if folder.is_empty() || !is_wanted() {
        return ExitCode::SUCCESS;
    }
    let written = write(Path::new(&folder), Path::new(HELD), Path::new(WOKEN));
    report("cannot hold back what is an instance's", written)
        .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn is_first_boot() -> bool {
    let read = |path| fs::read_to_string(path).ok();
    !Path::new(DISABLED).exists() && read(INSTANCE).is_some_and(|tag| is_news(&tag, read(KNOWN).as_deref()))
}

/// Is this an instance that the disk was not set up for?
fn is_news(tag: &str, known: Option<&str>) -> bool {
    tag.starts_with("i-") && known.map(str::trim) != Some(tag.trim())
}

/// The numbers of those jobs that are about what is held back.
pub fn held_jobs(jobs: &str) -> Vec<&str> {
    let fields = jobs.lines().map(str::split_whitespace);
    fields
        .filter_map(|mut line| Some((line.next()?, line.next()?)))
        .filter(|(_, unit)| STARTED.contains(unit))
        .map(|(number, _)| number)
        .collect()
}

fn write(folder: &Path, held: &Path, woken: &Path) -> io::Result<()> {
    let put = |unit: &str, name: &str, text: &str| {
        files::write(folder.join(format!("{unit}.d/{name}.conf")), text.as_bytes(), PUBLIC)
    };
    for unit in STARTED {
        put(unit, "nube-held", &format!("[Unit]\nConditionPathExists=!{}\n", held.display()))?;
    }
    put("multi-user.target", "nube-guest", WANTED)?;
    put("ssh.service", "nube-guest", SSH)?;
    put("cloud-init-local.service", "nube-guest", LOCAL)?;
    put("cloud-init.service", "nube-guest", NETWORK)?;
    put("cloud-config.service", "nube-guest", CONFIG)?;
    // Again in an instance, at a daemon-reload: nothing may be held back there.
    if !woken.exists() {
        files::write(held, SERVICE.as_bytes(), PUBLIC)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_ssh_is_known_by_its_number() {
        let jobs = "100 ssh.service start waiting\n 7 cloud-final.service start waiting\n2 multi-user.target start waiting\n";
        assert_eq!(held_jobs(jobs), ["7"]);
        assert!(held_jobs("").is_empty());
    }

    #[test]
    fn a_disk_that_was_set_up_for_this_instance_boots_as_any() {
        assert!(is_news("i-0123456789abcdef0\n", None));
        assert!(is_news("i-0123456789abcdef0\n", Some("i-0fedcba9876543210\n")));
        assert!(!is_news("i-0123456789abcdef0\n", Some("i-0123456789abcdef0\n")));
        assert!(!is_news("Not Specified\n", None));
    }

    #[test]
    fn a_clone_that_reloads_its_units_holds_nothing_back() {
        let folder = std::env::temp_dir().join(format!("nube-guest-generator-{}", std::process::id()));
        let (held, woken) = (folder.join("held"), folder.join("woken"));
        write(&folder.join("units"), &held, &woken).unwrap();
        assert!(held.exists());
        let condition = folder.join("units/cloud-init.service.d/nube-held.conf");
        assert!(std::fs::read_to_string(condition).unwrap().contains("/held\n"));
        std::fs::remove_file(&held).unwrap();
        std::fs::write(&woken, "").unwrap();
        write(&folder.join("units"), &held, &woken).unwrap();
        assert!(!held.exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
