//! The DHCP client: gets a lease, applies it, and keeps it for as long as the instance runs.
//!
//! An address is never taken off because a server is silent: an instance's address is its own for life, and a
//! working network is worth more than the letter of the lease.

use std::io;
use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use crate::console::{report, say};
use crate::dhcp::{self, Kind, Lease, Query, Reply};
use crate::netlink::{Keeper, Routing};
use crate::nic::Nic;
use crate::{files, forked, imds, ipv6, sys};

const FIRST_PATIENCE: Duration = Duration::from_millis(400);
const LONGEST_PATIENCE: Duration = Duration::from_secs(8);

/// Asks until a server answers; none when the network has IPv6 alone, which the metadata service says by that.
pub fn obtain(nic: &Nic) -> Option<Lease> {
    ipv6::set_alone(false);
    let mut patience = FIRST_PATIENCE;
    let mut told = false;
    loop {
        match exchange(nic, patience) {
            Ok(Some(lease)) => return Some(lease),
            Ok(None) => {}
            Err(error) => {
                say(&format!("DHCP on {}: {error}", nic.name));
                sleep(patience);
            }
        }
        ipv6::begin(nic);
        if ipv6::is_held(nic) && imds::denies_ipv4(nic.mac) {
            ipv6::set_alone(true);
            return None;
        }
        patience = (patience * 2).min(LONGEST_PATIENCE);
        if patience == LONGEST_PATIENCE && !told {
            say(&format!("no DHCP server answers on {}; asking on", nic.name));
            told = true;
        }
    }
}

/// Discover, offer, request, acknowledgement, or no more than the first and the last; `None` when a server was silent for
/// `patience` or took its offer back.
pub fn exchange(nic: &Nic, patience: Duration) -> io::Result<Option<Lease>> {
    let socket = sys::packet_socket(nic.index)?;
    let transaction = u32::from_ne_bytes(sys::random());
    let mut query = Query { kind: Kind::Discover, transaction, mac: nic.mac, current: None, taken: None };
    let ask = |query: &Query, wanted: Kind| -> io::Result<Option<Reply>> {
        sys::broadcast(&socket, nic.index, &dhcp::wrap(&query.render()))?;
        let end = sys::uptime() + patience;
        let mut buffer = [0u8; 2048];
        while let Some(left) = end.checked_sub(sys::uptime()).filter(|left| !left.is_zero()) {
            let packet = sys::receive(&socket, &mut buffer, Some(left))?.unwrap_or_default();
            let reply = dhcp::unwrap(packet).and_then(|message| Reply::parse(message, transaction, nic.mac));
            let is_answer = |kind: Kind| kind == wanted || matches!(kind, Kind::Ack | Kind::Nak);
            if let Some(reply) = reply.filter(|reply| is_answer(reply.kind)) {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    };
    let Some(offer) = ask(&query, Kind::Offer)? else { return Ok(None) };
    match offer.kind {
        Kind::Ack => return Ok(Some(offer.lease)),
        Kind::Nak => return Ok(None),
        Kind::Discover | Kind::Offer | Kind::Request => {}
    }
    query.kind = Kind::Request;
    query.taken = Some((offer.lease.address, offer.lease.server));
    let answer = ask(&query, Kind::Ack)?;
    Ok(answer.filter(|reply| reply.kind == Kind::Ack).map(|reply| reply.lease))
}

/// Configures the interface and the resolver; without a lease the interface has IPv6 alone, and its address already.
pub fn apply(nic: &Nic, lease: Option<&Lease>) {
    let resolver = match lease {
        Some(lease) => {
            configure(nic, lease, Keeper::Agent);
            resolver(lease)
        }
        None => ipv6::resolver(nic),
    };
    report("/etc/resolv.conf", files::write("/etc/resolv.conf", resolver.as_bytes(), files::PUBLIC));
}

/// Configures the interface alone.
pub fn configure(nic: &Nic, lease: &Lease, keeper: Keeper) {
    let configured = Routing::open().and_then(|routing| {
        if lease.mtu.is_some() {
            routing.up(nic.index, lease.mtu)?;
        }
        routing.add_address(nic.index, lease.address, lease.prefix)?;
        lease.routes.iter().try_for_each(|route| routing.set_route(nic.index, route, lease.address, keeper))
    });
    report(&format!("cannot configure {}", nic.name), configured);
}

fn resolver(lease: &Lease) -> String {
    let mut text = String::new();
    if let Some(domain) = &lease.domain {
        text.extend(["search ", domain, "\n"]);
    }
    for server in &lease.dns {
        text.extend(["nameserver ", &server.to_string(), "\n"]);
    }
    text
}

/// Renews for ever; applies what changed. Ends with a fork: the lease as it was, and the new hardware address.
pub fn keep(nic: &Nic, lease: Option<Lease>) -> (Option<Lease>, [u8; 6]) {
    let Some(mut lease) = lease else {
        loop {
            if let Some(mac) = forked::watch(nic, Duration::MAX) {
                return (None, mac);
            }
        }
    };
    loop {
        let (Some(renew), Some(rebind), Some(duration)) =
            (lease.renew_after(), lease.rebind_after(), lease.duration)
        else {
            if let Some(mac) = forked::watch(nic, Duration::MAX) {
                return (Some(lease), mac);
            }
            continue;
        };
        let since = sys::uptime();
        if let Some(mac) = forked::watch(nic, renew) {
            return (Some(lease), mac);
        }
        let obtained = || loop {
            // It had an address, and keeps one.
            if let Some(lease) = obtain(nic) {
                break lease;
            }
        };
        let renewed = loop {
            let elapsed = sys::uptime().saturating_sub(since);
            let server = if elapsed < rebind { lease.server } else { Ipv4Addr::BROADCAST };
            match renew_once(nic, &lease, server) {
                Ok(Some(reply)) if reply.kind == Kind::Ack => break reply.lease,
                Ok(Some(_)) => break obtained(),
                Ok(None) | Err(_) if elapsed >= duration => break obtained(),
                // RFC 2131: half the time that is left, but no oftener than a server can bear.
                Ok(None) | Err(_) => {
                    let pause = (duration.saturating_sub(elapsed) / 8)
                        .clamp(Duration::from_secs(1), Duration::from_mins(5));
                    if let Some(mac) = forked::watch(nic, pause) {
                        return (Some(lease), mac);
                    }
                }
            }
        };
        if renewed.address != lease.address {
            say(&format!(
                "the address of {} changed from {} to {}",
                nic.name, lease.address, renewed.address
            ));
            let removed = Routing::open()
                .and_then(|routing| routing.remove_address(nic.index, lease.address, lease.prefix));
            report("cannot remove the old address", removed);
        }
        apply(nic, Some(&renewed));
        lease = renewed;
    }
}

fn renew_once(nic: &Nic, lease: &Lease, server: Ipv4Addr) -> io::Result<Option<Reply>> {
    let socket = sys::udp_on_interface(&nic.name, lease.address, dhcp::CLIENT_PORT)?;
    socket.set_read_timeout(Some(Duration::from_secs(4)))?;
    let transaction = u32::from_ne_bytes(sys::random());
    let query =
        Query { kind: Kind::Request, transaction, mac: nic.mac, current: Some(lease.address), taken: None };
    socket.send_to(&query.render(), (server, dhcp::SERVER_PORT))?;
    let mut buffer = [0u8; 2048];
    let (length, _) = socket.recv_from(&mut buffer)?;
    Ok(Reply::parse(&buffer[..length], transaction, nic.mac))
}
