//! A distribution with systemd and cloud-init: as a memory template, as the instance that wakes up from one, and at an
//! instance's first boot, which takes the same way to its first login.
//!
//! Any other boot has nothing of this: [`generator`] adds units only where a template is asked for ([`crate::template`]) or
//! the disk boots as this instance for the first time. There it holds back what needs a network or makes an identity (its list
//! says what), for cloud-init has four programs' worth of Python to load before anybody could log in. So all else of
//! the boot, up to `multi-user.target`, is behind a template. This agent runs as `nube-guest.service`:
//!
//! 1. In a template it waits until the boot has nothing left to do, runs the image's [`WARM`] and says that it is ready.
//! 2. Woken or booted, it takes the identity: address, host name, host keys, login key; woken also entropy, clock,
//!    boot id and machine id, which a boot brings by itself.
//! 3. It tells systemd that it is ready, which starts the ssh server, whose start waited for nothing else.
//! 4. When the first login is through ([`first_login`]), it starts what was held back: network daemon, console, and the whole of cloud-init, which finds a new instance and
//!    does all that it does at a first boot. Its settings for this boot let the host keys be.
//!
//! Where the user data may have a say in who logs in how ([`user_data::ssh_may_come_first`]), step 4 comes before 3:
//! then ssh starts when cloud-init has been through its network stage, as at any boot.
//!
//! The address goes over to systemd-networkd without being taken off: address and routes look as if that had set them,
//! and it finds the configuration that cloud-init is about to write there already.

mod first_login;
pub mod generator;
mod user_data;

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::ExitCode;
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use crate::console::{raw, report, say};
use crate::files::{self, Access, PUBLIC};
use crate::imds::{Imds, USER_DATA};
use crate::netlink::{Keeper, Routing};
use crate::nic::{self, Nic};
use crate::template::Asleep;
use crate::told::Told;
use crate::{exec, identity, ipv6, lease, template, timeline, told};

/// Reads into memory what a start needs.
const WARM: &str = "/usr/lib/nube/template-warm";
/// While it exists, what the generator lists is held back.
pub const HELD: &str = "/run/nube/template";
/// Once it exists, this machine is an instance.
pub const WOKEN: &str = "/run/nube/woken";
const MACHINE_ID: &str = "/etc/machine-id";
const JOURNALS: &str = "/var/log/journal";
/// What of the template's disk is a secret.
const FORGOTTEN: [&str; 2] = ["/var/lib/systemd/random-seed", "/var/lib/nube/random-seed"];
/// Stands for the rule that cloud-init will write; taken away when it has.
const SUDOERS: &str = "/etc/sudoers.d/nube-early";
/// Written by cloud-init's generator; what is said here goes for this boot alone.
const SETTINGS: &str = "/run/cloud-init/cloud.cfg";

pub fn main() -> ExitCode {
    let user = std::env::args().nth(1).unwrap_or_default();
    let (begin, nic) = match template::asked() {
        Some(nonce) => {
            let asleep =
                if Path::new(WOKEN).exists() { Ok(Asleep::default()) } else { settle(&nonce, &user) };
            (Begin::Woken, asleep.and_then(|asleep| template::wake(&asleep, || {})))
        }
        None if Path::new(HELD).exists() => {
            let nic = nic::wait();
            timeline::mark("link");
            report("what waits", cancel_waiting());
            timeline::mark("woken");
            (Begin::Booted, nic)
        }
        None => {
            report("systemd", notify_ready());
            return ExitCode::SUCCESS;
        }
    };
    let nic = match nic {
        Ok(nic) => nic,
        Err(error) => {
            say(&format!("cannot watch for a network interface: {error}"));
            return ExitCode::FAILURE;
        }
    };
    report("mark", files::write(WOKEN, b"", PUBLIC));
    become_instance(&nic, &user, begin, begin.told());
    ExitCode::SUCCESS
}

/// How a machine came to the point where it becomes an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// From a memory template.
    Woken,
    /// By itself.
    Booted,
}

impl Begin {
    fn told(self) -> Option<Told> {
        match self {
            Self::Woken => told::read(),
            Self::Booted => None,
        }
    }
}

fn settle(nonce: &str, user: &str) -> io::Result<Asleep> {
    while !boot_is_over() {
        sleep(Duration::from_millis(300));
    }
    report("what waits", cancel_waiting());
    // What it will be told who it is by.
    report("the machine's configuration", exec::output("modprobe", &["qemu_fw_cfg"]));
    report("udev", exec::output("udevadm", &["settle"]));
    // Twice: the first run does what stays, the second leaves in memory what a start needs and no more.
    report(WARM, exec::output(WARM, &[user]));
    if let Err(error) = account(user) {
        raw(&format!("\r\nnube.template: unfit {nonce} {error}\r\n"));
        return Ok(Asleep::default());
    }
    // udev would have a say in one that it saw earlier: name, link settings, events that wait for the network daemon.
    template::settle(nonce, template::Interface::Appears, || {
        report(WARM, exec::output(WARM, &[user]));
        report("machine id", forget());
    })
}

/// A clone that is killed before it knows who it is boots like a new disk, not as the template.
fn forget() -> io::Result<()> {
    for path in FORGOTTEN {
        let _ = fs::remove_file(path);
    }
    files::write(MACHINE_ID, b"", Access { mode: 0o444, owner: 0 })
}

/// Is this agent's own start the only thing that systemd works on?
fn boot_is_over() -> bool {
    jobs().lines().filter(|line| line.trim_end().ends_with("running")).count() == 1
}

/// One line each: number, unit, what is to be done, whether it runs or waits.
fn jobs() -> String {
    let jobs = exec::output("systemctl", &["list-jobs", "--no-legend", "--plain"]).unwrap_or_default();
    String::from_utf8_lossy(&jobs).into_owned()
}

/// cloud-init's last stage waits for `multi-user.target`, which waits for ssh: it would run before the others.
fn cancel_waiting() -> io::Result<()> {
    let jobs = jobs();
    let waiting = generator::held_jobs(&jobs);
    if waiting.is_empty() {
        return Ok(());
    }
    let mut cancel = vec!["cancel"];
    cancel.extend(waiting);
    exec::output("systemctl", &cancel).map(drop)
}

fn become_instance(nic: &Nic, user: &str, begin: Begin, told: Option<Told>) {
    let host_keys: Vec<_> = ["ed25519", "ecdsa"].into_iter().filter_map(make_host_key).collect();
    if begin == Begin::Woken {
        report("machine id", identity::write_machine_id());
    }
    report(&nic.name, Routing::open().and_then(|routing| routing.up(nic.index, None)));
    let (lease, known) = match told {
        Some(told) => (Some(told.lease.clone()), Some(Imds::knowing(told))),
        None => (lease::obtain(nic), None),
    };
    timeline::mark("lease");
    if let Some(lease) = &lease {
        lease::configure(nic, lease, Keeper::Networkd);
        say(&format!("{}: {}/{}", nic.name, lease.address, lease.prefix));
    }
    report("network configuration", configure_networkd(nic));
    let mut imds = known.unwrap_or_else(Imds::connect);
    timeline::mark("token");
    let instance = identity::instance_id(&mut imds);
    let address = lease.as_ref().map(|lease| lease.address);
    let name = imds.text("meta-data/local-hostname");
    let name = name.unwrap_or_else(|| identity::default_name(address, &instance));
    report("host name", identity::set_name(&name));
    template::name_firmware(&instance);
    let data = imds.get(USER_DATA).unwrap_or_default();
    let early = user_data::ssh_may_come_first(&data) && report("login", admit(&mut imds, user)).is_some();
    timeline::mark("identity");
    for key in host_keys {
        let _ = key.join();
    }
    timeline::mark("host keys");
    report("what was held back", fs::remove_file(HELD));
    if early {
        report("settings of cloud-init", keep_host_keys());
        report("systemd", notify_ready());
        timeline::mark("ssh");
        say(&format!("{instance} takes logins"));
        first_login::wait();
        timeline::mark("rest");
        timeline::tell();
        start_the_rest(begin);
    } else {
        report(user, remove_user(user));
        start_the_rest(begin);
        report("systemd", notify_ready());
        say(&format!("{instance} takes logins when cloud-init has read its user data"));
    }
}

fn make_host_key(kind: &'static str) -> Option<JoinHandle<()>> {
    let make = move || {
        let path = format!("/etc/ssh/ssh_host_{kind}_key");
        let _ = fs::remove_file(&path);
        report("host key", exec::output("ssh-keygen", &["-q", "-t", kind, "-N", "", "-f", &path]));
    };
    report("cannot start a thread", thread::Builder::new().stack_size(128 * 1024).spawn(make))
}

/// The file that cloud-init writes for one interface that gets its address by DHCP, where its own will win.
fn configure_networkd(nic: &Nic) -> io::Result<()> {
    let mac = nic.mac.map(|byte| format!("{byte:02x}")).join(":");
    let path = format!("/run/systemd/network/10-cloud-init-{}.network", nic.name);
    let version = if ipv6::is_alone() { "ipv6" } else { "ipv4" };
    let content = format!("[Match]\nMACAddress={mac}\nName={}\n\n[Network]\nDHCP={version}\n\n", nic.name);
    files::write(&path, content.as_bytes(), PUBLIC)?;
    files::write(format!("{path}.d/nube.conf"), b"[Network]\nKeepConfiguration=dhcp\n", PUBLIC)
}

/// Lets the key of the launch in.
fn admit(imds: &mut Imds, user: &str) -> io::Result<()> {
    let account = account(user)?;
    if let Some(key) = imds.text("meta-data/public-keys/0/openssh-key") {
        let folder = format!("{}/.ssh", account.home);
        files::ensure_folder(&folder, Access { mode: 0o700, owner: account.uid })?;
        let keys = format!("{folder}/authorized_keys");
        files::ensure_line(&keys, &key, Access { mode: 0o600, owner: account.uid })?;
        for path in [folder, keys] {
            chown(path, None, Some(account.gid))?;
        }
    }
    let rule = format!("{user} ALL=(ALL) NOPASSWD:ALL\n");
    files::write(SUDOERS, rule.as_bytes(), Access { mode: 0o440, owner: 0 })
}

struct Account {
    uid: u32,
    gid: u32,
    home: String,
}

fn account(user: &str) -> io::Result<Account> {
    find_account(&fs::read_to_string("/etc/passwd")?, user)
        .ok_or_else(|| io::Error::other(format!("there is no user {user}")))
}

fn find_account(passwd: &str, user: &str) -> Option<Account> {
    let fields: Vec<&str> =
        passwd.lines().map(|line| line.split(':').collect()).find(|line: &Vec<_>| line[0] == user)?;
    let number = |at: usize| fields.get(at)?.parse().ok();
    Some(Account { uid: number(2)?, gid: number(3)?, home: (*fields.get(5)?).to_owned() })
}

/// cloud-init makes whom the user data names, with the first free number.
fn remove_user(user: &str) -> io::Result<()> {
    exec::output("/usr/sbin/userdel", &["--force", "--remove", user]).map(drop)
}

/// Without this cloud-init would make new ones, after a client has seen these.
fn keep_host_keys() -> io::Result<()> {
    let mut settings = fs::read_to_string(SETTINGS).unwrap_or_default();
    settings.push_str("\nssh_deletekeys: false\n");
    files::write(SETTINGS, settings.as_bytes(), PUBLIC)
}

fn start_the_rest(begin: Begin) {
    let mut start = vec!["start", "--no-block"];
    start.extend(generator::STARTED);
    report("systemd", exec::output("systemctl", &start));
    if begin == Begin::Booted {
        return;
    }
    // What has the template's machine id in mind, and links to disks by the template's serial numbers.
    report("journal", exec::output("systemctl", &["restart", "systemd-journald.service"]));
    report("flushing the identity", files::flush());
    report("journal of the template", drop_journals());
    report("udev", exec::output("udevadm", &["trigger", "--action=change", "--subsystem-match=block"]));
}

/// Removes the journals of other machine ids than this machine's.
fn drop_journals() -> io::Result<()> {
    let own = fs::read_to_string(MACHINE_ID)?;
    for entry in fs::read_dir(JOURNALS)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.len() == own.trim().len() && name != own.trim() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn notify_ready() -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(b"READY=1", "/run/systemd/notify").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nadministrator:x:5:5::/a:/bin/sh\n\
                      admin:x:1000:1001:Debian:/home/admin:/bin/bash\n";
        let account = find_account(passwd, "admin").unwrap();
        assert_eq!((account.uid, account.gid, &*account.home), (1000, 1001, "/home/admin"));
        assert!(find_account(passwd, "adm").is_none());
        assert!(find_account("admin\n", "admin").is_none());
    }
}
