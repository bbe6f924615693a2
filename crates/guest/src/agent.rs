//! The agent: one boot of an instance, in phases.
//!
//! 1. [`prepare`] needs neither network nor identity. An instance that is made from a memory template has this behind it.
//! 2. The wait for an interface is the point where a template is taken ([`template`]): nothing before it knows who the instance is.
//! 3. [`become_instance`]: network, clock, identity, ssh; a clone is [told](told) what it would have to ask for.
//! 4. User data, once for each instance; then the lease is kept for ever, or until it goes on as another ([`forked`]).

use std::process::ExitCode;
use std::sync::Once;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::console::{report, say};
use crate::dhcp::Lease;
use crate::imds::Imds;
use crate::netlink::Routing;
use crate::nic::Nic;
use crate::told::Told;
use crate::{
    clock, disk, endpoint, forked, identity, ipv6, lease, nic, power, random, secondary, sshd, sys, template,
    timeline, told, user_data,
};

/// How long a login may wait for the metadata service before ssh starts with the keys that the disk has.
const SSH_PATIENCE: Duration = Duration::from_secs(15);
/// How long what a login does not need waits for a clone's ssh server, and for the first to greet it.
const SSH_START: Duration = Duration::from_secs(2);
const FIRST_LOGIN: Duration = Duration::from_millis(100);
const LOOPBACK: u32 = 1;

pub fn main() -> ExitCode {
    // Process 1 blocks signals to wait for them; that must not reach the agent's children.
    sys::Signals::unblock_all();
    let asked = template::asked();
    let mut grown = prepare();
    let nic = if let Some(nonce) = &asked {
        if let Some(grown) = grown.take() {
            let _ = grown.join();
        }
        // A clone hears of its volume's size before it has an interface, when it has better things to do.
        disk::grow_later();
        template::settle(nonce, template::Interface::Parked, template::warm).and_then(|asleep| {
            template::wake(&asleep, || {
                // Serial numbers are asked of the device each time, and this is another one.
                report("disk names", disk::name_disks());
            })
        })
    } else {
        nic::wait().inspect(|_| timeline::mark("link"))
    };
    let nic = match nic {
        Ok(nic) => nic,
        Err(error) => {
            say(&format!("cannot watch for a network interface: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let told = asked.as_ref().and_then(|_| told::read());
    let is_told = told.is_some();
    let (mut imds, instance, mut lease) = become_instance(&nic, told);
    if asked.is_some() {
        // The volume is larger than the template's disk.
        grown = spawn(|| {
            report("cannot grow the root filesystem", disk::grow_root());
        });
    }
    // Scripts may count on the whole disk.
    if let Some(grown) = grown {
        let _ = grown.join();
    }
    endpoint::preset(&mut imds);
    user_data::run_once(&mut imds, &instance);
    say(&format!("finished. Instance {instance}, up {:.2} seconds", sys::uptime().as_secs_f64()));
    timeline::tell();
    if is_told {
        lease = lease::obtain(&nic);
        lease::apply(&nic, lease.as_ref());
    }
    let mut nic = nic;
    loop {
        let (held, mac) = lease::keep(&nic, lease);
        (nic, lease) = forked::become_other(&nic, held.as_ref(), mac);
    }
}

fn prepare() -> Option<JoinHandle<()>> {
    report("loopback", Routing::open().and_then(|routing| routing.up(LOOPBACK, None)));
    if let Ok(name) = std::fs::read_to_string("/etc/hostname") {
        report("host name", sys::set_hostname(name.trim()));
    }
    let grown = spawn(|| {
        report("cannot grow the root filesystem", disk::grow_root());
    });
    spawn(|| {
        report("disk names", disk::watch());
    });
    spawn(|| {
        report("power button", power::watch_button());
    });
    grown
}

fn become_instance(nic: &Nic, told: Option<Told>) -> (Imds, String, Option<Lease>) {
    report("random generator", random::seed());
    // Made while the network comes up: at the first boot it is ready when the identity is.
    spawn(|| {
        report("host key", sshd::ensure_host_key());
    });
    let primary = nic.clone();
    spawn(move || {
        thread::sleep(SSH_PATIENCE);
        sshd::start_if_stopped();
        settle_in(&primary);
    });
    report(&nic.name, Routing::open().and_then(|routing| routing.up(nic.index, None)));
    let is_told = told.is_some();
    let (lease, known) = match told {
        Some(told) => (Some(told.lease.clone()), Some(Imds::knowing(told))),
        None => (lease::obtain(nic), None),
    };
    timeline::mark("lease");
    lease::apply(nic, lease.as_ref());
    timeline::mark("address");
    if let Some(lease) = &lease {
        say(&format!("{}: {}/{}", nic.name, lease.address, lease.prefix));
    }
    let mut imds = known.unwrap_or_else(Imds::connect);
    timeline::mark("token");
    let instance = identity::assume(&mut imds, lease.as_ref().map(|lease| lease.address));
    if is_told {
        // What follows would take the processors from the server, whose start somebody waits for.
        sshd::await_listening(SSH_START);
        timeline::mark("listening");
        thread::sleep(FIRST_LOGIN);
    }
    settle_in(nic);
    (imds, instance, lease)
}

/// What a login does not need: begun once, when there can be one or it has been waited for too long.
fn settle_in(primary: &Nic) {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let primary = primary.clone();
        ipv6::begin(&primary);
        spawn(|| clock::keep());
        spawn(move || {
            report("further interfaces", secondary::configure(&primary));
        });
    });
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    report("cannot start a thread", thread::Builder::new().stack_size(128 * 1024).spawn(work))
}
