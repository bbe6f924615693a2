//! Who this instance is: what the metadata service says, made true on the disk.
//!
//! Host name and login keys are refreshed at each boot. Host keys and machine id belong to an instance id: when the
//! disk wakes up as another instance (an image made of it, say) they are made anew. The id is recorded last, so a kill
//! before that repeats all of it and a kill after it repeats nothing. Where the flushes are put off ([`files::flush_later`]) one
//! covers the record too: the journal keeps the order, so a record is never there without the removal of what was another
//! instance's, and what else a kill cuts short is found to be no key and no id, and made anew. ssh starts after it.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::thread::{self, sleep};
use std::time::Duration;

use crate::console::{raw, report, say};
use crate::files::{self, Access};
use crate::imds::Imds;
use crate::sshd::{self, HostKey};
use crate::{sys, template, timeline};

const RECORD: &str = "/var/lib/nube/instance-id";
const MACHINE_ID: &str = "/etc/machine-id";

/// The user that EC2's own images have; in the group wheel.
const USER: u32 = 1000;
const LOGINS: [(&str, u32); 2] = [("/home/ec2-user", USER), ("/root", 0)];

/// Takes the identity that the service gives and returns the instance id.
pub fn assume(imds: &mut Imds, address: Option<Ipv4Addr>) -> String {
    let instance = instance_id(imds);
    timeline::mark("instance");
    let recorded = fs::read_to_string(RECORD).unwrap_or_default();
    let is_copy = !recorded.is_empty() && recorded.trim() != instance;
    if is_copy {
        say(&format!("this disk was {}; now it is {instance}", recorded.trim()));
        report("host keys", sshd::forget_host_keys());
        report("machine id", fs::remove_file(MACHINE_ID));
    }
    let name = imds.text("meta-data/local-hostname").unwrap_or_else(|| default_name(address, &instance));
    report("host name", set_name(&name));
    if let Some(key) = imds.text("meta-data/public-keys/0/openssh-key") {
        report("login key", authorize(&key));
    }
    timeline::mark("login key");
    report("machine id", ensure_machine_id());
    let host_key = report("host key", sshd::ensure_host_key());
    timeline::mark("host key");
    if host_key.is_some() {
        report("instance id", files::write(RECORD, instance.as_bytes(), files::PUBLIC));
    }
    // Nothing of it needs the disk, which the flush waits for.
    thread::scope(|beside| {
        beside.spawn(|| template::name_firmware(&instance));
        report("flushing the identity", files::flush());
        timeline::mark("flushed");
    });
    sshd::start();
    timeline::mark("ssh");
    if let Some(key) = host_key {
        announce(&key, short(&name));
    }
    instance
}

/// The instance's id; asks until the service tells it.
pub fn instance_id(imds: &mut Imds) -> String {
    loop {
        let id = imds.text("meta-data/instance-id");
        // It becomes a file name.
        if let Some(id) = id.filter(|id| id.chars().all(|char| char.is_ascii_alphanumeric() || char == '-')) {
            return id;
        }
        sleep(Duration::from_secs(1));
    }
}

/// What an instance is called that nobody gave a name.
pub fn default_name(address: Option<Ipv4Addr>, instance: &str) -> String {
    let of_address = address.map(|address| format!("ip-{}", address.to_string().replace('.', "-")));
    of_address.unwrap_or_else(|| instance.to_owned())
}

fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Sets the name as Debian's and Ubuntu's images do: the first label is the host name, `/etc/hosts` knows the whole.
pub fn set_name(name: &str) -> io::Result<()> {
    let short = short(name);
    sys::set_hostname(short)?;
    files::write("/etc/hostname", format!("{short}\n").as_bytes(), files::PUBLIC)?;
    files::write("/etc/hosts", hosts(name).as_bytes(), files::PUBLIC)
}

fn hosts(name: &str) -> String {
    let short = short(name);
    let names = if short == name { name.to_owned() } else { format!("{name} {short}") };
    format!("127.0.0.1 localhost\n127.0.1.1 {names}\n::1 localhost ip6-localhost ip6-loopback\n")
}

fn authorize(key: &str) -> io::Result<()> {
    for (home, owner) in LOGINS {
        files::ensure_folder(home, Access { mode: 0o700, owner })?;
        let folder = format!("{home}/.ssh");
        files::ensure_folder(&folder, Access { mode: 0o700, owner })?;
        // Added, never replaced: users put more keys beside the one of the launch.
        files::ensure_line(format!("{folder}/authorized_keys"), key, Access { mode: 0o600, owner })?;
    }
    Ok(())
}

fn ensure_machine_id() -> io::Result<()> {
    if fs::read_to_string(MACHINE_ID).is_ok_and(|id| id.trim().len() == 32) {
        return Ok(());
    }
    write_machine_id()
}

/// Makes a new machine id, whatever there was.
pub fn write_machine_id() -> io::Result<()> {
    let id = format!("{:032x}", u128::from_ne_bytes(sys::random()));
    files::write(MACHINE_ID, format!("{id}\n").as_bytes(), Access { mode: 0o444, owner: 0 })
}

/// Prints the host key as cloud-init does, so that it can be checked with get-console-output before the first login.
fn announce(key: &HostKey, name: &str) {
    raw(&format!(
        "ec2: \r\nec2: #############################################################\r\n\
         ec2: -----BEGIN SSH HOST KEY FINGERPRINTS-----\r\n\
         ec2: 256 {} root@{name} (ED25519)\r\n\
         ec2: -----END SSH HOST KEY FINGERPRINTS-----\r\n\
         ec2: #############################################################\r\n\
         -----BEGIN SSH HOST KEY KEYS-----\r\n{} root@{name}\r\n-----END SSH HOST KEY KEYS-----\r\n",
        key.fingerprint, key.public
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_knows_both_names() {
        assert!(
            hosts("ip-10-0-0-16.ec2.internal").contains("127.0.1.1 ip-10-0-0-16.ec2.internal ip-10-0-0-16\n")
        );
        assert!(hosts("web").contains("127.0.1.1 web\n"));
    }

    #[test]
    fn without_a_name_the_address_makes_one_or_the_id() {
        assert_eq!(default_name(Some(Ipv4Addr::new(10, 0, 0, 16)), "i-1"), "ip-10-0-0-16");
        assert_eq!(default_name(None, "i-1"), "i-1");
    }
}
