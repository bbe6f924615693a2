//! Links, addresses, routes, rules and neighbours of one namespace.
//!
//! `add_*` of what is there already and `delete_*` of what is not there succeed.

mod hook;

use super::netlink::{ACK, CREATE, EXCL, Message, REPLACE, Socket, as_text, as_u32, attr, attrs};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::Mac;
use plan::net::Version;
use plan::net::routes::Rule;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd as _};

/// What the kernel gives to IPv6 routes that name no metric; ours stand behind it.
const IPV6_METRIC: u32 = 1024;
/// An address that is taken without asking whether somebody else has it.
const NODAD: u8 = 0x02;
const UP: u32 = 0x1;
const NOARP: u32 = 0x80;
/// Marks routes and rules that this driver made.
const PROTOCOL: u8 = 0x9e;

const UNICAST: u8 = 1;
const BLACKHOLE: u8 = 6;
const UNREACHABLE: u8 = 7;
const THROW: u8 = 9;
/// The next hop needs no route of its own.
const ONLINK: u32 = 4;

/// A link's own settings of IPv4 (`IFLA_INET_CONF`), by their numbers in `linux/ip.h`.
const INET_CONF: u16 = 1;
const PROXY_ARP: u16 = 3;
const SEND_REDIRECTS: u16 = 6;
const RP_FILTER: u16 = 8;
const NEIGHBOUR_TABLE: u16 = 1;
const NEIGHBOUR_PARAMETERS: u16 = 6;
const PARAMETERS_OF: u16 = 1;
const PROXY_DELAY: u16 = 13;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub alias: Option<String>,
    /// The number that a link of a port bears for its class; 0: none.
    pub group: u32,
}

impl Link {
    fn parse(payload: &[u8]) -> Option<Self> {
        let attributes = payload.get(16..)?;
        Some(Self {
            index: as_u32(payload.get(4..)?),
            name: as_text(attr(attributes, libc::IFLA_IFNAME)?),
            alias: attr(attributes, libc::IFLA_IFALIAS).map(as_text),
            group: attr(attributes, libc::IFLA_GROUP).map_or(0, as_u32),
        })
    }
}

/// Routes, links and the rest, by one socket.
#[derive(Debug)]
pub struct Rtnl(Socket);

/// A route through a link, as far as this driver makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    pub link: u32,
    pub via: Option<IpAddr>,
    pub source: Option<IpAddr>,
}

/// A planned route whose way is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Planned {
    pub table: u32,
    pub destination: IpNet,
    pub metric: u32,
    pub way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Link { index: u32, via: IpAddr },
    Blackhole,
    Unreachable,
    Throw,
}

fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

fn dressed(index: u32, mac: [u8; 6], alias: &str, mtu: u16) -> Message {
    let mut message = Message::new(libc::RTM_NEWLINK, ACK, &link_header(index, UP, UP));
    message.attr(libc::IFLA_ADDRESS, &mac).attr(libc::IFLA_IFALIAS, alias.as_bytes());
    message.u32(libc::IFLA_MTU, u32::from(mtu));
    message
}

const fn family(version: Version) -> u8 {
    match version {
        Version::V4 => libc::AF_INET as u8,
        Version::V6 => libc::AF_INET6 as u8,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The metric that the kernel is told for one of the plan's.
fn kernel_metric(version: Version, metric: u32) -> u32 {
    match version {
        Version::V4 => metric,
        Version::V6 => metric + IPV6_METRIC,
    }
}

fn route_header(destination: IpNet, table: u32, kind: u8, scope: u8, flags: u32) -> [u8; 12] {
    let small = u8::try_from(table).unwrap_or(0);
    let family = family(Version::of_net(destination));
    let mut header = [family, destination.prefix_len(), 0, 0, small, PROTOCOL, scope, kind, 0, 0, 0, 0];
    header[8..].copy_from_slice(&flags.to_ne_bytes());
    header
}

fn ignoring(result: io::Result<()>, codes: &[i32]) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error().is_some_and(|code| codes.contains(&code)) => Ok(()),
        other => other,
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    ignoring(result, &[libc::ENOENT, libc::ESRCH, libc::ENODEV, libc::EADDRNOTAVAIL])
}

fn there(result: io::Result<()>) -> io::Result<()> {
    ignoring(result, &[libc::EEXIST])
}

impl Rtnl {
    /// For the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Socket::route().map(Self)
    }

    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let found = self.0.dump(Message::new(libc::RTM_GETLINK, 0, &link_header(0, 0, 0)))?;
        Ok(found.iter().filter_map(|payload| Link::parse(payload)).collect())
    }

    pub fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = Message::new(libc::RTM_GETLINK, 0, &link_header(0, 0, 0));
        message.text(libc::IFLA_IFNAME, name);
        Ok(self.0.get(message)?.and_then(|payload| Link::parse(&payload)))
    }

    /// A pair of links without addresses or neighbours: both ends have one MAC address and never ask for it.
    pub fn add_point_to_point(
        &mut self,
        name: &str,
        peer: &str,
        peer_namespace: &impl AsFd,
        mac: Mac,
    ) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, CREATE | EXCL, &link_header(0, NOARP, NOARP));
        message.text(libc::IFLA_IFNAME, name).attr(libc::IFLA_ADDRESS, &mac.0);
        message.nest(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth").nest(libc::IFLA_INFO_DATA, |data| {
                data.nest(1, |other| {
                    other.raw(&link_header(0, NOARP, NOARP));
                    other.text(libc::IFLA_IFNAME, peer).attr(libc::IFLA_ADDRESS, &mac.0);
                    other.u32(libc::IFLA_NET_NS_FD, peer_namespace.as_fd().as_raw_fd() as u32);
                });
            });
        });
        self.0.request(message)
    }

    /// A pair of links, the other end in another namespace and with this MAC address.
    pub fn add_pair(
        &mut self,
        name: &str,
        peer: &str,
        peer_namespace: &impl AsFd,
        peer_mac: Mac,
    ) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, CREATE | EXCL, &link_header(0, 0, 0));
        message.text(libc::IFLA_IFNAME, name);
        message.nest(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth").nest(libc::IFLA_INFO_DATA, |data| {
                data.nest(1, |other| {
                    other.raw(&link_header(0, 0, 0));
                    other.text(libc::IFLA_IFNAME, peer).attr(libc::IFLA_ADDRESS, &peer_mac.0);
                    other.u32(libc::IFLA_NET_NS_FD, peer_namespace.as_fd().as_raw_fd() as u32);
                });
            });
        });
        self.0.request(message)
    }

    /// Up, and without ARP.
    pub fn set_up_silent(&mut self, index: u32) -> io::Result<()> {
        self.0.request(Message::new(libc::RTM_NEWLINK, ACK, &link_header(index, UP | NOARP, UP | NOARP)))
    }

    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        self.0.request(Message::new(libc::RTM_NEWLINK, ACK, &link_header(index, UP, UP)))
    }

    /// Address, name for the record, packet size and up, in one request.
    pub fn dress(&mut self, index: u32, mac: [u8; 6], alias: &str, mtu: u16) -> io::Result<()> {
        self.0.request(dressed(index, mac, alias, mtu))
    }

    /// What a port needs beside that: its router answers for all neighbours, at once, and has no opinion on where packets
    /// come from. `/proc/sys` would take a call of the kernel's for each, and as long as all the rest.
    pub fn dress_port(&mut self, index: u32, mac: [u8; 6], alias: &str, mtu: u16) -> io::Result<()> {
        let mut message = dressed(index, mac, alias, mtu);
        message.nest(libc::IFLA_AF_SPEC, |families| {
            families.nest(libc::AF_INET as u16, |family| {
                family.nest(INET_CONF, |conf| {
                    conf.u32(PROXY_ARP, 1).u32(RP_FILTER, 0).u32(SEND_REDIRECTS, 0);
                });
            });
        });
        self.0.request(message)?;
        let mut message = Message::new(libc::RTM_SETNEIGHTBL, ACK, &[libc::AF_INET as u8, 0, 0, 0]);
        message.text(NEIGHBOUR_TABLE, "arp_cache").nest(NEIGHBOUR_PARAMETERS, |parameters| {
            parameters.u32(PARAMETERS_OF, index).attr(PROXY_DELAY, &0_u64.to_ne_bytes());
        });
        self.0.request(message)
    }

    pub fn set_group(&mut self, index: u32, group: u32) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, ACK, &link_header(index, 0, 0));
        message.u32(libc::IFLA_GROUP, group);
        self.0.request(message)
    }

    pub fn delete_link(&mut self, index: u32) -> io::Result<()> {
        gone(self.0.request(Message::new(libc::RTM_DELLINK, ACK, &link_header(index, 0, 0))))
    }

    /// Adds the address and nothing else of its net.
    pub fn add_address(&mut self, index: u32, address: impl Into<IpAddr>) -> io::Result<()> {
        let address = IpNet::from(address.into());
        there(self.0.request(address_message(libc::RTM_NEWADDR, CREATE | EXCL, index, address)))
    }

    /// Adds the address with a route to its net.
    pub fn add_address_in(&mut self, index: u32, address: impl Into<IpNet>) -> io::Result<()> {
        there(self.0.request(address_message(libc::RTM_NEWADDR, CREATE | EXCL, index, address.into())))
    }

    pub fn delete_address(&mut self, index: u32, address: impl Into<IpAddr>) -> io::Result<()> {
        let address = IpNet::from(address.into());
        gone(self.0.request(address_message(libc::RTM_DELADDR, 0, index, address)))
    }

    /// The addresses of a link, of both versions.
    pub fn addresses(&mut self, index: u32) -> io::Result<Vec<IpAddr>> {
        let mut all = Vec::new();
        for version in Version::ALL {
            let header = [family(version), 0, 0, 0, 0, 0, 0, 0];
            let found = self.0.dump(Message::new(libc::RTM_GETADDR, 0, &header))?;
            let own = found.iter().filter(|payload| {
                payload.first() == Some(&family(version)) && payload.get(4..).map(as_u32) == Some(index)
            });
            all.extend(own.filter_map(|payload| {
                let attributes = payload.get(8..)?;
                let local = attr(attributes, libc::IFA_LOCAL);
                as_address(local.or_else(|| attr(attributes, libc::IFA_ADDRESS))?)
            }));
        }
        Ok(all)
    }

    /// Makes or replaces a route of the main table through a link.
    pub fn set_route(&mut self, destination: impl Into<IpNet>, hop: Hop) -> io::Result<()> {
        let destination = destination.into();
        let (scope, flags) = if hop.via.is_some() { (0, ONLINK) } else { (253, 0) };
        let header = route_header(destination, plan::net::routes::MAIN, UNICAST, scope, flags);
        let mut message = Message::new(libc::RTM_NEWROUTE, CREATE | REPLACE, &header);
        message.attr(libc::RTA_DST, &octets(destination.addr())).u32(libc::RTA_OIF, hop.link);
        if let Some(via) = hop.via {
            message.attr(libc::RTA_GATEWAY, &octets(via));
        }
        if let Some(source) = hop.source {
            message.attr(libc::RTA_PREFSRC, &octets(source));
        }
        self.0.request(message)
    }

    /// Deletes the route of the main table to exactly this destination through this link.
    pub fn delete_route(&mut self, destination: impl Into<IpNet>, link: u32) -> io::Result<()> {
        let destination = destination.into();
        let header = route_header(destination, plan::net::routes::MAIN, 0, 255, 0);
        let mut message = Message::new(libc::RTM_DELROUTE, 0, &header);
        message.attr(libc::RTA_DST, &octets(destination.addr())).u32(libc::RTA_OIF, link);
        gone(self.0.request(message))
    }

    /// The /32 routes of the main table through links: (address, link).
    pub fn host_routes(&mut self) -> io::Result<BTreeMap<Ipv4Addr, u32>> {
        let routes = self.routes_raw(Version::V4)?.into_iter();
        let routes = routes.filter(|r| r.table == plan::net::routes::MAIN && r.kind == UNICAST);
        Ok(routes
            .filter_map(|r| match r.destination {
                IpNet::V4(net) if net.prefix_len() == 32 => Some((net.addr(), r.link?)),
                IpNet::V4(_) | IpNet::V6(_) => None,
            })
            .collect())
    }

    /// The IPv6 routes of the main table that this driver has made through a link.
    pub fn ipv6_routes(&mut self, link: u32) -> io::Result<Vec<IpNet>> {
        let routes = self.routes_raw(Version::V6)?.into_iter();
        let ours = routes.filter(|r| r.table == plan::net::routes::MAIN && r.protocol == PROTOCOL);
        Ok(ours.filter(|r| r.link == Some(link)).map(|r| r.destination).collect())
    }

    fn routes_raw(&mut self, version: Version) -> io::Result<Vec<RawRoute>> {
        let header = [family(version), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let found = self.0.dump(Message::new(libc::RTM_GETROUTE, 0, &header))?;
        let of_it = found.iter().filter(|payload| payload.first() == Some(&family(version)));
        Ok(of_it.filter_map(|payload| RawRoute::parse(payload)).collect())
    }

    /// Brings the planned routes to exactly `wanted`. Host routes of ports are not touched.
    pub fn reconcile_routes(&mut self, wanted: &BTreeSet<Planned>) -> io::Result<()> {
        let mut standing: BTreeMap<(u32, IpNet, u32), (u8, Option<Way>)> = BTreeMap::new();
        let mut raw_routes = self.routes_raw(Version::V4)?;
        raw_routes.extend(self.routes_raw(Version::V6)?);
        for raw in raw_routes {
            if raw.protocol != PROTOCOL || (raw.table == plan::net::routes::MAIN && raw.kind == UNICAST) {
                continue;
            }
            let way = match (raw.kind, raw.link, raw.via) {
                (UNICAST, Some(index), Some(via)) => Some(Way::Link { index, via }),
                (BLACKHOLE, ..) => Some(Way::Blackhole),
                (UNREACHABLE, ..) => Some(Way::Unreachable),
                (THROW, ..) => Some(Way::Throw),
                _ => None,
            };
            standing.insert((raw.table, raw.destination, raw.metric), (raw.kind, way));
        }
        for route in wanted {
            let key = (route.table, route.destination, route.metric);
            match standing.remove(&key) {
                Some((_, Some(way))) if way == route.way => {}
                // A machine that has just ended took its link along: what stands behind the route counts.
                Some(_) | None => ignoring(self.set_planned(*route), &[libc::ENODEV])?,
            }
        }
        for ((table, destination, metric), (kind, _)) in standing {
            let header = route_header(destination, table, kind, 255, 0);
            let mut message = Message::new(libc::RTM_DELROUTE, 0, &header);
            message.attr(libc::RTA_DST, &octets(destination.addr())).u32(libc::RTA_TABLE, table);
            message.u32(libc::RTA_PRIORITY, kernel_metric(Version::of_net(destination), metric));
            gone(self.0.request(message))?;
        }
        Ok(())
    }

    fn set_planned(&mut self, route: Planned) -> io::Result<()> {
        let (kind, flags) = match route.way {
            Way::Link { .. } => (UNICAST, ONLINK),
            Way::Blackhole => (BLACKHOLE, 0),
            Way::Unreachable => (UNREACHABLE, 0),
            Way::Throw => (THROW, 0),
        };
        let header = route_header(route.destination, route.table, kind, 0, flags);
        let mut message = Message::new(libc::RTM_NEWROUTE, CREATE | REPLACE, &header);
        message.attr(libc::RTA_DST, &octets(route.destination.addr())).u32(libc::RTA_TABLE, route.table);
        message.u32(libc::RTA_PRIORITY, kernel_metric(Version::of_net(route.destination), route.metric));
        if let Way::Link { index, via } = route.way {
            message.u32(libc::RTA_OIF, index).attr(libc::RTA_GATEWAY, &octets(via));
        }
        self.0.request(message)
    }

    /// A route of the main table that refuses, for what no better route knows.
    pub fn set_unreachable(&mut self, destination: impl Into<IpNet>) -> io::Result<()> {
        let destination = destination.into();
        let table = plan::net::routes::MAIN;
        self.set_planned(Planned { table, destination, metric: 0, way: Way::Unreachable })
    }

    /// Brings the rules that choose tables to exactly `wanted`; rules of others stay.
    pub fn reconcile_rules(&mut self, wanted: &BTreeSet<Rule>) -> io::Result<()> {
        let mut standing = BTreeSet::new();
        for version in Version::ALL {
            let header = [family(version), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let found = self.0.dump(Message::new(libc::RTM_GETRULE, 0, &header))?;
            for payload in found.iter().filter(|payload| payload.first() == Some(&family(version))) {
                let Some(attributes) = payload.get(12..) else { continue };
                let net = |kind, length: u8| {
                    let address = as_address(attr(attributes, kind)?)?;
                    IpNet::new(address, length).ok()
                };
                let rule = Rule {
                    version,
                    priority: attr(attributes, FRA_PRIORITY).map_or(0, as_u32),
                    from: net(FRA_SRC, payload[2]),
                    to: net(FRA_DST, payload[1]),
                    mark: attr(attributes, FRA_FWMARK)
                        .map(|mark| (as_u32(mark), attr(attributes, FRA_FWMASK).map_or(u32::MAX, as_u32))),
                    table: attr(attributes, FRA_TABLE).map_or(u32::from(payload[4]), as_u32),
                };
                if plan::net::routes::is_ours(rule.priority) {
                    standing.insert(rule);
                }
            }
        }
        for rule in wanted.difference(&standing) {
            there(self.0.request(rule_message(libc::RTM_NEWRULE, CREATE | EXCL, *rule)))?;
        }
        for rule in standing.difference(wanted) {
            gone(self.0.request(rule_message(libc::RTM_DELRULE, 0, *rule)))?;
        }
        Ok(())
    }

    /// A neighbour that nothing a guest says can change.
    pub fn set_neighbour(&mut self, index: u32, address: impl Into<IpAddr>, mac: Mac) -> io::Result<()> {
        let address = address.into();
        let mut header = neighbour_header(index, address);
        header[8..10].copy_from_slice(&0x80u16.to_ne_bytes());
        let mut message = Message::new(libc::RTM_NEWNEIGH, CREATE | REPLACE, &header);
        message.attr(libc::NDA_DST, &octets(address)).attr(libc::NDA_LLADDR, &mac.0);
        self.0.request(message)
    }

    pub fn delete_neighbour(&mut self, index: u32, address: impl Into<IpAddr>) -> io::Result<()> {
        let address = address.into();
        let mut message = Message::new(libc::RTM_DELNEIGH, 0, &neighbour_header(index, address));
        message.attr(libc::NDA_DST, &octets(address));
        gone(self.0.request(message))
    }
}

fn neighbour_header(index: u32, address: IpAddr) -> [u8; 12] {
    let mut header = [0; 12];
    header[0] = family(Version::of(address));
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_PROTOCOL: u16 = 21;

fn rule_message(kind: u16, flags: u16, rule: Rule) -> Message {
    let length = |net: Option<IpNet>| net.map_or(0, |net| net.prefix_len());
    let (to, from) = (length(rule.to), length(rule.from));
    let small = u8::try_from(rule.table).unwrap_or(0);
    let mut message =
        Message::new(kind, flags, &[family(rule.version), to, from, 0, small, 0, 0, 1, 0, 0, 0, 0]);
    message.u32(FRA_PRIORITY, rule.priority).u32(FRA_TABLE, rule.table).attr(FRA_PROTOCOL, &[PROTOCOL]);
    if let Some(net) = rule.from {
        message.attr(FRA_SRC, &octets(net.addr()));
    }
    if let Some(net) = rule.to {
        message.attr(FRA_DST, &octets(net.addr()));
    }
    if let Some((mark, mask)) = rule.mark {
        message.u32(FRA_FWMARK, mark).u32(FRA_FWMASK, mask);
    }
    message
}

fn address_message(kind: u16, flags: u16, index: u32, address: IpNet) -> Message {
    let version = Version::of_net(address);
    let own_flags = if version == Version::V6 { NODAD } else { 0 };
    let mut header = [family(version), address.prefix_len(), own_flags, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    let mut message = Message::new(kind, flags, &header);
    let octets = octets(address.addr());
    message.attr(libc::IFA_LOCAL, &octets).attr(libc::IFA_ADDRESS, &octets);
    message
}

fn as_address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(|v4| Ipv4Addr::from(v4).into()),
        16 => <[u8; 16]>::try_from(value).ok().map(|v6| Ipv6Addr::from(v6).into()),
        _ => None,
    }
}

struct RawRoute {
    table: u32,
    destination: IpNet,
    kind: u8,
    protocol: u8,
    /// The plan's.
    metric: u32,
    link: Option<u32>,
    via: Option<IpAddr>,
}

impl RawRoute {
    fn parse(payload: &[u8]) -> Option<Self> {
        let header = payload.get(..12)?;
        let is_v6 = header[0] == family(Version::V6);
        let everything: IpNet = if is_v6 { Ipv6Net::default().into() } else { Ipv4Net::default().into() };
        let mut route = Self {
            table: u32::from(header[4]),
            destination: everything,
            kind: header[7],
            protocol: header[5],
            metric: 0,
            link: None,
            via: None,
        };
        let mut address = everything.addr();
        for (kind, value) in attrs(&payload[12..]) {
            match kind {
                libc::RTA_DST => address = as_address(value)?,
                libc::RTA_TABLE => route.table = as_u32(value),
                libc::RTA_OIF => route.link = Some(as_u32(value)),
                libc::RTA_PRIORITY => route.metric = as_u32(value),
                libc::RTA_GATEWAY => route.via = as_address(value),
                _ => {}
            }
        }
        if is_v6 {
            route.metric = route.metric.saturating_sub(IPV6_METRIC);
        }
        route.destination = IpNet::new(address, header[1]).ok()?;
        Some(route)
    }
}
