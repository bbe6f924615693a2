//! Interfaces beside the primary one, there from the start or plugged in while the instance runs.
//!
//! Each gets its address by DHCP and a routing table of its own, which what is sent from that address uses: replies leave
//! by the interface that was asked, where the network expects them. The main table's routes and the resolver stay the
//! primary interface's. An interface that is unplugged takes its address and routes along; its rule is removed here.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-net-utils.html>

use std::io;
use std::thread;
use std::time::Duration;

use crate::console::{report, say};
use crate::dhcp::Lease;
use crate::lease;
use crate::netlink::Routing;
use crate::nic::{self, Nic};

const PATIENCE: Duration = Duration::from_secs(2);
/// How often an interface is looked for that may have been unplugged.
const LOOK: Duration = Duration::from_secs(5);
/// The kernel's own tables begin at 253.
const FIRST_TABLE: u32 = 100;
const TABLES: u32 = 150;

/// Configures every further interface, now and later.
pub fn configure(primary: &Nic) -> io::Result<()> {
    nic::watch_others(primary, |nic| {
        let name = nic.name.clone();
        let keeper = thread::Builder::new().stack_size(128 * 1024).spawn(move || keep(&nic));
        report(&name, keeper);
    })
}

/// Configures one interface, and keeps its lease until it is unplugged.
fn keep(nic: &Nic) {
    report(&nic.name, Routing::open().and_then(|routing| routing.up(nic.index, None)));
    let mut held: Option<Lease> = None;
    while let Some(lease) = obtain(nic) {
        if held.as_ref().map(|held| held.address) != Some(lease.address) {
            say(&format!("{}: {}/{}", nic.name, lease.address, lease.prefix));
        }
        report(&format!("cannot configure {}", nic.name), apply(nic, &lease, held.as_ref()));
        let mut left = lease.renew_after().unwrap_or(Duration::MAX);
        held = Some(lease);
        while nic::is_present(nic) && !left.is_zero() {
            thread::sleep(LOOK.min(left));
            left = left.saturating_sub(LOOK);
        }
    }
    if let Some(lease) = held {
        let removed = Routing::open().and_then(|routing| routing.remove_rule(lease.address, table(nic)));
        report(&nic.name, removed);
    }
}

/// Asks until a server answers; none when the interface is gone.
fn obtain(nic: &Nic) -> Option<Lease> {
    while nic::is_present(nic) {
        match lease::exchange(nic, PATIENCE) {
            Ok(Some(lease)) => return Some(lease),
            Ok(None) => {}
            Err(_) => thread::sleep(PATIENCE),
        }
    }
    None
}

fn apply(nic: &Nic, lease: &Lease, before: Option<&Lease>) -> io::Result<()> {
    let routing = Routing::open()?;
    if let Some(before) = before.filter(|before| before.address != lease.address) {
        routing.remove_rule(before.address, table(nic))?;
        routing.remove_address(nic.index, before.address, before.prefix)?;
    }
    if lease.mtu.is_some() {
        routing.up(nic.index, lease.mtu)?;
    }
    routing.add_address(nic.index, lease.address, lease.prefix)?;
    for route in &lease.routes {
        routing.set_route_of(table(nic), nic.index, route, lease.address)?;
    }
    routing.add_rule(lease.address, table(nic))
}

fn table(nic: &Nic) -> u8 {
    (FIRST_TABLE + nic.index % TABLES) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interfaces_table_is_none_of_the_kernels() {
        for index in [0, 3, 149, 150, u32::MAX] {
            let nic = Nic { name: "eth1".into(), index, mac: [0; 6] };
            assert!((100..253).contains(&table(&nic)), "{index}");
        }
    }
}
