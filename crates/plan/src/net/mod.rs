//! The network of a host, as text and numbers: names, reserved addresses, rule sets, routes.
//!
//! Pure rendering from the agent protocol's types; the agent's `linux` driver puts it into the kernel. Invariants:
//! - Every name of a cloud carries its tag, so several clouds share a host.
//! - A VPC's rule set has a fixed skeleton; what changes often (interfaces, members, public addresses) lives in sets and
//!   maps, what changes rarely (bodies of groups and ACLs) in chains of their own.
//! - Two independent gates judge each packet: the sender's egress, then the receiver's ingress. Only the second accepts.
//!
//! Differs: a guest's link-local address is the one that follows from its hardware address.

mod acl;
pub mod bandwidth;
pub mod byoip;
pub mod detour;
mod edge;
pub mod endpoint_service;
pub mod gateway_service;
mod group;
pub mod ipv6;
pub mod names;
pub mod packet;
pub mod pool;
mod rejected;
mod root;
pub mod routes;
mod side;
mod skeleton;
mod traffic;
pub mod transit;
pub mod vpn;

pub use acl::vpc_body;
pub use edge::{edge_blocks, edge_skeleton};
pub use group::{group_body, group_sets};
pub use rejected::{REJECTED_IN, REJECTED_OUT, RejectedSet};
pub use root::{Uplink, root_table};
pub use side::nat_publics;
pub use skeleton::{FORWARD_IN, vpc_skeleton};

use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr};

/// Whether two ranges share an address; those of different versions never do.
pub fn overlap(one: impl Into<IpNet>, other: impl Into<IpNet>) -> bool {
    let (one, other) = (one.into(), other.into());
    one.contains(&other) || other.contains(&one)
}

/// A version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    V4,
    V6,
}

impl Version {
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub const fn of_net(net: IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// The word before `saddr` and `daddr`.
    const fn header(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// The word for all packets of this version, and the type of its addresses.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::V4 => ("ipv4", "ipv4_addr"),
            Self::V6 => ("ipv6", "ipv6_addr"),
        }
    }
}

/// How members of a group are written down: by addresses of a version, or by whole prefixes of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Members {
    V4,
    V6,
    Prefixes,
}

impl Members {
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Prefixes];

    /// Those of a version; single addresses first.
    const fn of(version: Version) -> &'static [Self] {
        match version {
            Version::V4 => &[Self::V4],
            Version::V6 => &[Self::V6, Self::Prefixes],
        }
    }

    /// How an interface's address or prefix is written down.
    pub const fn of_net(net: IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(net) if net.prefix_len() == 128 => Self::V6,
            IpNet::V6(_) => Self::Prefixes,
        }
    }
}

/// Where the metadata service answers, on port 80.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Where every VPC's resolver answers, beside its own address in the VPC.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
/// Where the cloud's own API answers, on ports 80 and 443.
pub const API: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 252);
/// The API's name in every VPC.
pub const API_NAME: &str = "api.nube.internal";
/// Where the time service answers.
pub const TIME: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 123);
/// Every link-local address that a VPC's router has.
pub const SERVICES: [Ipv4Addr; 4] = [METADATA, RESOLVER, API, TIME];
/// The next hop's name on point-to-point links, which have no addresses of their own.
pub const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);
/// The mark of a packet that passes a VPC's rule set because its connection is tracked, on its way to a port. No subnet's number
/// has it.
pub const TRACKED: u32 = 1 << 30;
/// The MAC address that a guest's router shows on every port.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// The largest packet of an interface, in bytes.
pub const MTU: u16 = 1500;

/// A subnet's router: its base plus one.
pub fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    nth(subnet, 1)
}

/// A VPC's resolver: the base of its first CIDR plus two.
pub fn resolver(first_cidr: Ipv4Net) -> Ipv4Addr {
    nth(first_cidr, 2)
}

fn nth(net: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(net.network().to_bits().saturating_add(n))
}

#[cfg(test)]
mod golden;
