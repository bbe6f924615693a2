//! The few rtnetlink requests that configure an interface.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::dhcp::Route;
use crate::sys;

const REQUEST: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
const ENSURE: u16 = REQUEST | (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;

/// From linux/rtnetlink.h; the crate lacks it.
const RTNH_F_ONLINK: u32 = 4;
/// From linux/fib_rules.h.
const FR_ACT_TO_TBL: u8 = 1;
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
/// Before the main table's 32766.
const RULE_PRIORITY: u32 = 10_000;
/// From linux/rtnetlink.h likewise.
const RTPROT_DHCP: u8 = 16;

/// Who looks after a route that we set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// This program.
    Agent,
    /// systemd-networkd, which takes over what looks like its own.
    Networkd,
}

impl Keeper {
    /// Protocol and metric.
    fn marks(self) -> (u8, u32) {
        match self {
            Keeper::Agent => (libc::RTPROT_BOOT, 0),
            Keeper::Networkd => (RTPROT_DHCP, 1024),
        }
    }
}

/// A connection to the kernel's routing tables.
pub struct Routing(OwnedFd);

impl Routing {
    pub fn open() -> io::Result<Routing> {
        sys::netlink_socket(libc::NETLINK_ROUTE, 0).map(Routing)
    }

    /// Brings an interface up, with this MTU if one is given.
    pub fn up(&self, interface: u32, mtu: Option<u16>) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, REQUEST);
        // struct ifinfomsg: family, padding, type, index, flags, change mask.
        message.body(&[0, 0, 0, 0]).body(&interface.to_ne_bytes());
        let up = libc::IFF_UP as u32;
        message.body(&up.to_ne_bytes()).body(&up.to_ne_bytes());
        if let Some(mtu) = mtu {
            message.attribute(libc::IFLA_MTU, &u32::from(mtu).to_ne_bytes());
        }
        self.ask(message)
    }

    /// Gives an interface another hardware address.
    pub fn set_mac(&self, interface: u32, mac: [u8; 6]) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, REQUEST);
        message.body(&[0, 0, 0, 0]).body(&interface.to_ne_bytes()).body(&[0; 8]);
        message.attribute(libc::IFLA_ADDRESS, &mac);
        self.ask(message)
    }

    pub fn add_address(&self, interface: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        self.address(libc::RTM_NEWADDR, ENSURE, interface, address, prefix)
    }

    pub fn remove_address(&self, interface: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        self.address(libc::RTM_DELADDR, REQUEST, interface, address, prefix)
    }

    fn address(
        &self,
        kind: u16,
        flags: u16,
        interface: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> io::Result<()> {
        let mut message = Message::new(kind, flags);
        message.body(&[libc::AF_INET as u8, prefix, 0, 0]).body(&interface.to_ne_bytes());
        message.attribute(libc::IFA_LOCAL, &address.octets()).attribute(libc::IFA_ADDRESS, &address.octets());
        if prefix < 31 {
            let broadcast = u32::from(address) | (u32::MAX >> prefix);
            message.attribute(libc::IFA_BROADCAST, &broadcast.to_be_bytes());
        }
        self.ask(message)
    }

    /// Adds the address alone, without asking whether somebody else has it.
    pub fn add_ipv6_address(&self, interface: u32, address: Ipv6Addr) -> io::Result<()> {
        self.ipv6_address(libc::RTM_NEWADDR, ENSURE, interface, address)
    }

    pub fn remove_ipv6_address(&self, interface: u32, address: Ipv6Addr) -> io::Result<()> {
        self.ipv6_address(libc::RTM_DELADDR, REQUEST, interface, address)
    }

    fn ipv6_address(&self, kind: u16, flags: u16, interface: u32, address: Ipv6Addr) -> io::Result<()> {
        let mut message = Message::new(kind, flags);
        let alone = [libc::AF_INET6 as u8, 128, libc::IFA_F_NODAD as u8, 0];
        message.body(&alone).body(&interface.to_ne_bytes());
        message.attribute(libc::IFA_LOCAL, &address.octets()).attribute(libc::IFA_ADDRESS, &address.octets());
        self.ask(message)
    }

    /// Sets a route of the main table.
    pub fn set_route(
        &self,
        interface: u32,
        route: &Route,
        source: Ipv4Addr,
        keeper: Keeper,
    ) -> io::Result<()> {
        self.set_route_of(libc::RT_TABLE_MAIN, interface, route, source, keeper)
    }

    /// Sets a route of this table, `onlink` so that a gateway outside the subnet works too.
    pub fn set_route_of(
        &self,
        table: u8,
        interface: u32,
        route: &Route,
        source: Ipv4Addr,
        keeper: Keeper,
    ) -> io::Result<()> {
        let (protocol, metric) = keeper.marks();
        let direct = route.gateway.is_unspecified();
        let scope = if direct { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
        let mut message = Message::new(libc::RTM_NEWROUTE, ENSURE);
        // struct rtmsg: family, prefix lengths, tos, table, protocol, scope, type, flags.
        message.body(&[libc::AF_INET as u8, route.prefix, 0, 0, table, protocol, scope, libc::RTN_UNICAST]);
        let onlink = if direct { 0 } else { RTNH_F_ONLINK };
        message.body(&onlink.to_ne_bytes());
        if route.prefix > 0 {
            message.attribute(libc::RTA_DST, &route.destination.octets());
        }
        if metric > 0 {
            message.attribute(libc::RTA_PRIORITY, &metric.to_ne_bytes());
        }
        if !direct {
            message.attribute(libc::RTA_GATEWAY, &route.gateway.octets());
        }
        message
            .attribute(libc::RTA_PREFSRC, &source.octets())
            .attribute(libc::RTA_OIF, &interface.to_ne_bytes());
        self.ask(message)
    }

    /// What is sent from this address looks into this table before the main one.
    pub fn add_rule(&self, source: Ipv4Addr, table: u8) -> io::Result<()> {
        match self.rule(libc::RTM_NEWRULE, ENSURE | libc::NLM_F_EXCL as u16, source, table) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            added => added,
        }
    }

    pub fn remove_rule(&self, source: Ipv4Addr, table: u8) -> io::Result<()> {
        self.rule(libc::RTM_DELRULE, REQUEST, source, table)
    }

    fn rule(&self, kind: u16, flags: u16, source: Ipv4Addr, table: u8) -> io::Result<()> {
        let mut message = Message::new(kind, flags);
        // struct fib_rule_hdr: family, prefix lengths, tos, table, two reserved, action, flags.
        message.body(&[libc::AF_INET as u8, 0, 32, 0, table, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0]);
        message.attribute(FRA_SRC, &source.octets());
        message.attribute(FRA_PRIORITY, &RULE_PRIORITY.to_ne_bytes());
        self.ask(message)
    }

    fn ask(&self, message: Message) -> io::Result<()> {
        sys::send(&self.0, &message.finish())?;
        let mut buffer = [0u8; 4096];
        let answer = sys::receive(&self.0, &mut buffer, Some(Duration::from_secs(5)))?;
        let code = answer
            .and_then(|answer| answer.get(16..20))
            .ok_or_else(|| io::Error::other("no answer from netlink"))?;
        match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(-code)),
        }
    }
}

struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16) -> Message {
        let mut bytes = vec![0u8; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Message(bytes)
    }

    fn body(&mut self, bytes: &[u8]) -> &mut Message {
        self.0.extend(bytes);
        self
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Message {
        self.0.extend((value.len() as u16 + 4).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_to_four_bytes_and_counted_in_the_length() {
        let mut message = Message::new(libc::RTM_NEWLINK, REQUEST);
        message.body(&[0; 16]).attribute(libc::IFLA_IFNAME, b"eth0\0");
        let bytes = message.finish();
        assert_eq!(bytes.len(), 16 + 16 + 12);
        assert_eq!(bytes[..4], 44u32.to_ne_bytes());
        assert_eq!(bytes[32..36], [9, 0, libc::IFLA_IFNAME as u8, 0]);
    }
}
