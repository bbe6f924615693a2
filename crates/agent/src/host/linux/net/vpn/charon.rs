//! strongSwan's IKE daemon for one VPN connection: started in the connection's namespace, told its settings, asked, ended.
//!
//! It runs as a user of its own with no rights but those over its namespace's network and low ports, in a control group and a
//! session of its own, so it outlives the agent as machines do. ESP is done by the daemon itself over a TUN device (its plugin kernel-libipsec), always in
//! UDP: no kernel needs to know IPsec. Keys come over the daemon's socket and are in no file.

use super::vici::{Message, Vici};
use crate::host::linux::exec::blocking;
use crate::host::linux::netns::Namespace;
use crate::host::linux::vmm::cgroup::{Cgroups, Hierarchy, Limits};
use crate::host::linux::vmm::launcher::Priority;
use crate::host::linux::vmm::uids;
use model::host::{IkeVersions, VpnDesired, VpnTunnelDesired};
use model::{CloudTag, MiB, VpnConnectionId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a start may take.
const START: Duration = Duration::from_secs(30);
/// The user ids of a cloud's block that machines never get.
const UIDS: std::ops::Range<u32> = 65_001..65_536;

/// What a daemon may take of the host; it has a few dozen threads, and a machine's share of the processors.
const LIMITS: Limits = Limits { memory: MiB(256), processes: 128, cpu: None, priority: Priority::Usual };

/// The routes for everything that the daemon makes all the same stand behind those of the namespace, and so are never asked.
const SETTINGS: &str = "charon {
  load = random nonce aes sha1 sha2 hmac kdf gcm openssl kernel-libipsec kernel-netlink socket-default vici
  install_routes = no
  install_virtual_ip = no
  routing_table_prio = 40000
  plugins {
    kernel-libipsec {
      load = yes
    }
    vici {
      socket = tcp://127.0.0.1:4502
    }
  }
  filelog {
    stderr {
      default = 0
    }
  }
}
charon-systemd {
  journal {
    default = -1
  }
}
";

/// The daemon gets a TUN device and a file of settings that nobody else sees. Arguments: its user, the settings, what to run.
const INSIDE: &str = "set -e
number=$(stat -c '%t:%T' /dev/net/tun)
mount -t tmpfs -o size=256k,mode=755 none /dev/net
mknod -m 600 /dev/net/tun c $((0x${number%:*})) $((0x${number#*:}))
chown \"$1\" /dev/net/tun
printf '%s' \"$2\" >/dev/net/strongswan.conf
rights=-all,+net_admin,+net_bind_service
STRONGSWAN_CONF=/dev/net/strongswan.conf exec setpriv --reuid \"$1\" --regid \"$1\" --clear-groups \
--inh-caps=$rights --ambient-caps=$rights --bounding-set=$rights --no-new-privs \"$3\"";

/// Arguments: the control groups to join, where its words go, and those of [`INSIDE`].
const OUTSIDE: &str = "groups=$1; log=$2; inside=$3; shift 3
for group in $groups; do echo $$ >\"$group\" || exit; done
exec setsid --fork unshare --mount --propagation private -- sh -c \"$inside\" sh \"$@\" \
</dev/null >\"$log\" 2>&1";

/// Where a daemon is started, and for what.
pub struct Place<'a> {
    pub cloud: &'a CloudTag,
    pub connection: VpnConnectionId,
    pub namespace: &'a Namespace,
    /// What it says.
    pub log: &'a Path,
}

/// Starts a daemon in a namespace where none is, and waits until it listens, or until nobody wants it any more.
pub fn start(program: &Path, place: &Place<'_>, unwanted: impl Fn() -> bool) -> io::Result<()> {
    let Place { cloud, connection, namespace, log } = place;
    let choice = (connection.bits() % u128::from(UIDS.end - UIDS.start)) as u32;
    let uid = (uids::first(cloud) + UIDS.start + choice).to_string();
    let groups =
        groups(cloud).map(|groups| groups.ensure(connection, LIMITS)).transpose()?.unwrap_or_default();
    let groups: Vec<_> = groups.iter().map(|group| group.to_string_lossy()).collect();
    let (groups, log, program) = (groups.join(" "), log.to_string_lossy(), program.to_string_lossy());
    let arguments = ["-c", OUTSIDE, "sh", &groups, &log, INSIDE, &uid, SETTINGS, &program];
    namespace.run(|| blocking::run_ok("sh", &arguments, b"", START).map(drop))?;
    #[allow(
        clippy::disallowed_methods,
        reason = "how long to wait for a process is no matter of the cloud's clock"
    )]
    let until = Instant::now() + START;
    loop {
        match namespace.run(Vici::connect) {
            Ok(_) => return Ok(()),
            #[allow(clippy::disallowed_methods, reason = "as above")]
            Err(error) if unwanted() || Instant::now() >= until => {
                let said = fs::read_to_string(&*log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(3).collect();
                return Err(io::Error::new(
                    error.kind(),
                    format!("the IKE daemon does not come up: {}", last.join("; ")),
                ));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The control groups of a cloud's daemons; none where the host has none at all.
fn groups(cloud: &CloudTag) -> Option<Cgroups> {
    Some(Cgroups::of_vpns(cloud, Hierarchy::detect()?))
}

/// Removes what bounded a connection's daemon, which must have ended.
pub fn unbound(cloud: &CloudTag, connection: VpnConnectionId) -> io::Result<()> {
    let Some(groups) = groups(cloud) else { return Ok(()) };
    // The kernel empties the group a moment after its last process is gone.
    let mut removed = groups.remove(connection);
    for _ in 0..200 {
        match &removed {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            _ => break,
        }
        std::thread::sleep(Duration::from_millis(10));
        removed = groups.remove(connection);
    }
    removed
}

/// Removes what is left of a cloud's control groups when no connection is.
pub fn unbound_all(cloud: &CloudTag) -> io::Result<()> {
    groups(cloud).map_or(Ok(()), |groups| groups.remove_all())
}

/// Ends every process of a namespace, and waits for their end.
pub fn end(namespace: &Namespace) -> io::Result<()> {
    let processes: Vec<_> =
        within(namespace)?.into_iter().filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()).collect();
    for process in &processes {
        match pidfd_send_signal(process, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for process in &processes {
        let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&Timespec { tv_sec: 10, tv_nsec: 0 }));
    }
    Ok(())
}

/// The processes that live in a namespace. Threads of others that look in for a moment are none.
fn within(namespace: &Namespace) -> io::Result<Vec<Pid>> {
    let inode = rustix::fs::fstat(namespace)?.st_ino;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let theirs = fs::metadata(entry.path().join("ns/net")).map(|ns| ns.st_ino());
        if theirs.is_ok_and(|theirs| theirs == inode) {
            found.extend(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// What a tunnel's settings are called.
pub fn name(at: usize) -> String {
    format!("tunnel-{}", at + 1)
}

const GROUPS: &str = "modp2048-modp3072-modp4096-ecp256-ecp384-ecp521-curve25519";
const GCM: &str = "aes128gcm16-aes256gcm16";
const CBC: &str = "aes128-aes256-sha256-sha384-sha512-sha1";

/// Gives the daemon the settings and keys of all tunnels, and takes from it what it had beyond these. A tunnel whose key is
/// not known keeps what it has.
pub fn tell(vici: &mut Vici, vpn: &VpnDesired) -> io::Result<()> {
    let standing = vici.request("get-conns", &Message::default())?;
    for stale in
        standing.list("conns").iter().filter(|known| !(0..vpn.tunnels.len()).any(|at| name(at) == **known))
    {
        vici.request("unload-conn", Message::default().set("name", stale))?;
    }
    for (at, tunnel) in vpn.tunnels.iter().enumerate() {
        let Some(key) = &tunnel.key else { continue };
        let outside = tunnel.outside.to_string();
        let mut secret = Message::default();
        secret.set("id", &name(at)).set("type", "IKE").set("data", key.expose()).list("owners", &[&outside]);
        vici.request("load-shared", &secret)?;
        vici.request("load-conn", &settings(&name(at), tunnel, &vpn.customer.to_string()))?;
    }
    Ok(())
}

fn settings(name: &str, tunnel: &VpnTunnelDesired, customer: &str) -> Message {
    let outside = tunnel.outside.to_string();
    let version = match tunnel.versions {
        IkeVersions { v1: true, v2: false } => "1",
        IkeVersions { v1: false, v2: true } => "2",
        IkeVersions { .. } => "0",
    };
    let hashes = "prfsha256-prfsha384-prfsha512";
    let keys = [format!("{GCM}-{hashes}-{GROUPS}"), format!("{CBC}-{GROUPS}")];
    let packets = [GCM.to_owned(), CBC.to_owned(), format!("{GCM}-{GROUPS}"), format!("{CBC}-{GROUPS}")];
    let start = if tunnel.initiates { "start" } else { "none" };
    let mut message = Message::default();
    message.section(name, |it| {
        it.set("version", version).list("local_addrs", &[&outside]).list("remote_addrs", &[customer]);
        it.set("encap", "yes").set("unique", "replace").set("dpd_delay", "10s").set("dpd_timeout", "30s");
        it.set("rekey_time", "28800s").set("keyingtries", "0");
        it.list("proposals", &keys.each_ref().map(String::as_str));
        // A device behind NAT may call itself by an address that nobody else knows: key and sender tell who it is.
        it.section("local", |it| {
            it.set("auth", "psk").set("id", &outside);
        });
        it.section("remote", |it| {
            it.set("auth", "psk");
        });
        it.section("children", |it| {
            it.section(name, |it| {
                it.list("local_ts", &["0.0.0.0/0"]).list("remote_ts", &["0.0.0.0/0"]).set("mode", "tunnel");
                it.list("esp_proposals", &packets.each_ref().map(String::as_str)).set("rekey_time", "3600s");
                it.set("start_action", start).set("close_action", start).set("dpd_action", "clear");
            });
        });
    });
    message
}

/// Of each of so many tunnels: whether packets pass, and whether at least the keys are agreed upon.
pub fn states(vici: &mut Vici, tunnels: usize) -> io::Result<Vec<(bool, bool)>> {
    let mut states = vec![(false, false); tunnels];
    for (known, association) in vici.associations()? {
        let Some(state) = (0..tunnels).find(|at| name(*at) == known).and_then(|at| states.get_mut(at)) else {
            continue;
        };
        state.1 |= association.text("state") == Some("ESTABLISHED");
        let children = association.section("child-sas");
        let carries = |child: &super::vici::Section| {
            matches!(child.text("state"), Some("INSTALLED" | "REKEYING" | "REKEYED"))
        };
        state.0 |= children.is_some_and(|children| children.sections().any(|(_, child)| carries(child)));
    }
    Ok(states)
}
