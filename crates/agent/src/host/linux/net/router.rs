//! One VPC's router: its namespace, the sockets into it, and what its kernel holds.
//!
//! The kernel is the truth. Sets are read once, when the router is opened, and mirrored from then on; after a failed
//! transaction they are read again. Every port can be told from the kernel alone: its link bears the interface's id and the
//! number of its class, and the sets name its addresses, groups and mappings.

use super::bpf::{self, Programs};
use super::class::{BY_CLASS, Classes};
use super::netlink::Socket;
use super::nft::{self, Batch, Data, Elements, Family, Nft, link_key};
use super::rtnl::{Hop, Rtnl};
use super::services::Ports;
use super::{conntrack, sysctl};
use crate::host::linux::netns::{self, Namespace};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::host::{AddressDesired, InterfaceDesired, VpcDesired};
use model::{CloudTag, Mac, NetworkInterfaceId, SecurityGroupId, VpcId};
use plan::net::names::{self, IGW, VPC_TABLE};
use plan::net::{Members, ipv6};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Sets and maps whose keys begin with a port's link.
pub(super) const BY_LINK: [&str; 7] = ["taps", "src4", "src6", "net6", "known6", "anysrc", "known"];
const BY_ADDRESS: [&str; 7] =
    ["eip_dnat", "eip_snat", "detour_dnat", "detour_snat", "open6", "opennet6", NAT_PUBLICS];
/// The maps between public and private addresses, and back: those whose flows are translated, and those of detours, whose
/// packets are.
pub(super) const MAPPINGS: [[&str; 2]; 2] = [["eip_dnat", "eip_snat"], ["detour_dnat", "detour_snat"]];
/// The public addresses of NAT gateways; filled with the VPC's body.
const NAT_PUBLICS: &str = "nat_dnat";
/// The only set of the `arp` table.
const ARP_SET: &str = "known";

pub(super) fn family(set: &str) -> Family {
    if set == ARP_SET { Family::Arp } else { Family::Inet }
}

/// A port that stands.
#[derive(Debug, Clone)]
pub struct Port {
    pub tap: String,
    pub index: u32,
    /// What this process was last asked for; none: the port was found standing.
    pub wanted: Option<InterfaceDesired>,
    /// What its link bears.
    pub class: u32,
}

#[derive(Debug)]
pub struct Router {
    pub vpc: VpcId,
    pub namespace: Namespace,
    pub rtnl: Rtnl,
    pub nft: Nft,
    pub conntrack: Socket,
    pub igw: u32,
    pub sets: BTreeMap<String, Elements>,
    pub chains: BTreeSet<String>,
    pub(super) classes: Classes,
    /// What runs at the ports of all VPCs.
    pub(super) programs: Arc<Programs>,
    pub ports: BTreeMap<NetworkInterfaceId, Port>,
    pub links: Ports,
    /// The links to other VPCs, to VPN connections and into NAT gateways that stand, by name.
    pub side_links: BTreeMap<String, u32>,
    /// The port that last got an address or a prefix. One that moved must not lose its memberships with its old port.
    pub holders: HashMap<IpNet, String>,
    pub desired: Option<VpcDesired>,
    /// Whether all of `desired` has taken effect.
    pub settled: bool,
    /// The texts that were last loaded, to load none twice.
    body: Option<String>,
    pub(super) groups: HashMap<SecurityGroupId, String>,
}

impl Router {
    /// Makes what is missing of the namespace and reads what stands. `edge` is the other end of its link.
    pub fn open(
        cloud: &CloudTag,
        vpc: VpcId,
        programs: &Arc<Programs>,
        edge: &Namespace,
        edge_rtnl: &mut Rtnl,
    ) -> io::Result<Self> {
        let name = names::vpc_namespace(cloud, vpc);
        let namespace = match Namespace::open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                netns::remove(&name)?;
                Namespace::create(&name)?
            }
            namespace => namespace?,
        };
        let (rtnl, nft, conntrack) = namespace.run(|| {
            sysctl::router()?;
            nft::load_skeleton(
                plan::net::vpc_skeleton(),
                &[(Family::Inet, VPC_TABLE), (Family::Arp, VPC_TABLE)],
                Some(names::LIMITS_BY_PORT),
            )?;
            Ok((Rtnl::open()?, Nft::open()?, Socket::netfilter()?))
        })?;
        let mut router = Self {
            vpc,
            namespace,
            rtnl,
            nft,
            conntrack,
            igw: 0,
            sets: BTreeMap::new(),
            chains: BTreeSet::new(),
            classes: Classes::default(),
            programs: Arc::clone(programs),
            ports: BTreeMap::new(),
            links: Ports::default(),
            side_links: BTreeMap::new(),
            holders: HashMap::new(),
            desired: None,
            settled: false,
            body: None,
            groups: HashMap::new(),
        };
        router.rtnl.set_up(1)?;
        for address in plan::net::SERVICES {
            router.rtnl.add_address(1, address)?;
        }
        router.connect(edge, edge_rtnl)?;
        router.read()?;
        Ok(router)
    }

    /// The link to the edge.
    fn connect(&mut self, edge: &Namespace, edge_rtnl: &mut Rtnl) -> io::Result<()> {
        let there = names::edge_link(self.vpc);
        if self.rtnl.link(IGW)?.is_none() {
            if let Some(orphan) = edge_rtnl.link(&there)? {
                edge_rtnl.delete_link(orphan.index)?;
            }
            let bits = self.vpc.bits().to_be_bytes();
            let mac = Mac([0x02, 0xec, bits[12], bits[13], bits[14], bits[15]]);
            self.rtnl.add_point_to_point(IGW, &there, edge, mac)?;
        }
        let igw =
            self.rtnl.link(IGW)?.ok_or_else(|| io::Error::other("the link to the edge has vanished"))?;
        let end =
            edge_rtnl.link(&there)?.ok_or_else(|| io::Error::other("the edge has lost its end of a link"))?;
        self.rtnl.set_up_silent(igw.index)?;
        edge_rtnl.set_up_silent(end.index)?;
        self.igw = igw.index;
        Ok(())
    }

    /// Reads sets, chains and ports, and clears away what is left of ports whose link is gone.
    pub fn read(&mut self) -> io::Result<()> {
        self.sets.clear();
        for set in self.nft.sets(Family::Inet, VPC_TABLE)? {
            let ours = BY_LINK.contains(&set.as_str())
                || BY_CLASS.contains(&set.as_str())
                || BY_ADDRESS.contains(&set.as_str())
                || names::is_subnet_ports(&set)
                || names::group_of_members(&set).is_some()
                || names::group_of_members_beyond(&set).is_some();
            if ours {
                let elements = self.nft.elements(Family::Inet, VPC_TABLE, &set)?.unwrap_or_default();
                self.sets.insert(set, elements);
            }
        }
        let known = self.nft.elements(Family::Arp, VPC_TABLE, ARP_SET)?.unwrap_or_default();
        self.sets.insert(ARP_SET.into(), known);
        self.chains = self.nft.chains(Family::Inet, VPC_TABLE)?.into_iter().collect();

        let mut standing = BTreeMap::new();
        for link in self.rtnl.links()? {
            let interface = link.alias.as_deref().and_then(|alias| NetworkInterfaceId::parse(alias).ok());
            if let Some(interface) = interface.filter(|_| names::is_tap(&link.name)) {
                let old = self.ports.remove(&interface).filter(|port| port.tap == link.name);
                let port = Port {
                    tap: link.name,
                    index: link.index,
                    wanted: old.as_ref().and_then(|port| port.wanted.clone()),
                    class: link.group,
                };
                standing.insert(interface, port);
            }
        }
        self.ports = standing;
        self.holders.clear();
        for port in self.ports.values() {
            let found: Vec<IpNet> = self.nets(&port.tap);
            self.holders.extend(found.into_iter().map(|net| (net, port.tap.clone())));
        }
        let taps: BTreeSet<String> = self.ports.values().map(|port| port.tap.clone()).collect();
        *self.links.write() = self.ports.iter().map(|(interface, port)| (port.index, *interface)).collect();

        let mut dead: BTreeSet<String> = BTreeSet::new();
        for set in BY_LINK {
            for key in self.sets.get(set).into_iter().flat_map(BTreeMap::keys) {
                dead.insert(super::netlink::as_text(&key[..16.min(key.len())]));
            }
        }
        for tap in dead.into_iter().filter(|tap| names::is_tap(tap) && !taps.contains(tap)) {
            self.clear(&tap)?;
        }
        self.sweep_classes();
        Ok(())
    }

    /// Puts today's programs at the links of all ports.
    pub fn renew_programs(&mut self) -> io::Result<()> {
        let mut links = self.ports.values().map(|port| port.index).filter(|link| bpf::is_port(*link));
        links.try_for_each(|link| self.programs.attach(&mut self.rtnl, link))
    }

    /// The addresses of a port as the kernel has them, those of IPv4 first.
    pub fn addresses(&self, tap: &str) -> Vec<IpAddr> {
        let of = |set| self.of_link(set, tap).filter_map(|(key, _)| nft::address_behind(key, 24));
        of("src4").chain(of("src6")).collect()
    }

    /// The IPv6 prefixes of a port as the kernel has them.
    pub fn prefixes(&self, tap: &str) -> Vec<Ipv6Net> {
        let keys = self.of_link("net6", tap).filter_map(|(key, _)| nft::address_behind(key, 24));
        let prefixes = keys.filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(ipv6::around(v6)),
        });
        prefixes.collect()
    }

    /// Both, each address as a net of its own.
    pub fn nets(&self, tap: &str) -> Vec<IpNet> {
        let prefixes = self.prefixes(tap).into_iter().map(IpNet::V6);
        self.addresses(tap).into_iter().map(IpNet::from).chain(prefixes).collect()
    }

    pub(super) fn mac(&self, tap: &str) -> Option<Mac> {
        self.of_link("taps", tap).find_map(|(key, _)| Some(Mac(key.get(16..22)?.try_into().ok()?)))
    }

    pub fn of_link(&self, set: &str, tap: &str) -> impl Iterator<Item = (&Vec<u8>, &Data)> {
        let start = link_key(tap);
        self.sets.get(set).into_iter().flat_map(move |elements| {
            let prefix = start.clone();
            elements.range(start.clone()..).take_while(move |(key, _)| key.starts_with(&prefix))
        })
    }

    /// The public address that stands for a private one now.
    pub fn public_of(&self, private: impl Into<IpAddr>) -> Option<Ipv4Addr> {
        self.mapping_of(private).map(|(_, public)| public)
    }

    /// The maps that know a private address, and its public one.
    pub(super) fn mapping_of(&self, private: impl Into<IpAddr>) -> Option<([&'static str; 2], Ipv4Addr)> {
        let key = nft::address_key(private);
        MAPPINGS.into_iter().find_map(|maps| match self.sets.get(maps[1])?.get(&key)? {
            Data::Value(value) => {
                Some((maps, <[u8; 4]>::try_from(value.as_slice()).ok().map(Ipv4Addr::from)?))
            }
            _ => None,
        })
    }

    /// Every mapped public address.
    pub fn publics(&self) -> BTreeSet<Ipv4Addr> {
        let keys =
            [MAPPINGS[0][0], MAPPINGS[1][0], NAT_PUBLICS].into_iter().filter_map(|map| self.sets.get(map));
        let keys = keys.flat_map(BTreeMap::keys);
        keys.filter_map(|key| <[u8; 4]>::try_from(key.as_slice()).ok()).map(Ipv4Addr::from).collect()
    }

    /// The groups that have an address or a prefix as a member.
    pub fn groups_of(&self, net: impl Into<IpNet>) -> Vec<SecurityGroupId> {
        let net = net.into();
        let key = nft::address_key(net.addr());
        let sets = self.sets.iter().filter(|(_, elements)| elements.contains_key(&key));
        let groups = sets.filter_map(|(name, _)| names::group_of_members(name));
        groups.filter(|(_, members)| *members == Members::of_net(net)).map(|(group, _)| group).collect()
    }

    /// What an interface must have been asked for, told from the kernel: of a port that an earlier agent made.
    pub fn derive(&self, interface: NetworkInterfaceId) -> Option<InterfaceDesired> {
        let (port, vpc) = (self.ports.get(&interface)?, self.desired.as_ref()?);
        let mut addresses: Vec<AddressDesired> = Vec::new();
        let mut ipv6 = Vec::new();
        for address in self.addresses(&port.tap) {
            match address {
                IpAddr::V4(private) => {
                    addresses.push(AddressDesired {
                        private,
                        public: self.public_of(private),
                        withheld: None,
                    });
                }
                IpAddr::V6(address) => ipv6.push(address),
            }
        }
        // By any of them, of either version; one without an address waits for who asks for it.
        let first = *self.nets(&port.tap).first()?;
        let subnet = plan::net::routes::subnet_holding(vpc, first.addr())?;
        Some(InterfaceDesired {
            ipv6,
            interface,
            device_index: 0,
            mac: self.mac(&port.tap)?,
            vpc: self.vpc,
            subnet: subnet.subnet,
            subnet_cidr: subnet.cidr,
            security_groups: self.groups_of(first),
            addresses,
            source_dest_check: self.of_link("anysrc", &port.tap).next().is_none(),
            ipv4_prefixes: Vec::new(),
            ipv6_prefixes: self.prefixes(&port.tap),
            hostname: String::new(),
            domain: String::new(),
            bandwidth: self.programs.bandwidth(port.index).ok().flatten(),
        })
    }

    /// Commits, and takes the changes into the mirror; on failure the mirror is read anew.
    pub fn commit(&mut self, batch: Batch, changes: Vec<(String, Vec<u8>, Option<Data>)>) -> io::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.nft.commit(batch) {
            self.read()?;
            return Err(error);
        }
        for (set, key, data) in changes {
            let elements = self.sets.entry(set).or_default();
            match data {
                Some(data) => elements.insert(key, data),
                None => elements.remove(&key),
            };
        }
        Ok(())
    }

    /// Removes every trace of a port from the rule set, and ends its connections.
    pub fn clear(&mut self, tap: &str) -> io::Result<BTreeSet<Ipv4Addr>> {
        let nets = self.nets(tap);
        let publics = self.addresses(tap).into_iter().filter_map(|a| self.public_of(a));
        let publics: BTreeSet<Ipv4Addr> = publics.collect();
        let (mut batch, mut changes) = (Batch::default(), Vec::new());
        for (set, key) in self.elements_of(tap, &nets) {
            batch.delete_element(family(&set), VPC_TABLE, &set, &key);
            changes.push((set, key, None));
        }
        self.commit(batch, changes)?;
        self.holders.retain(|_, holder| holder != tap);
        let mut ends: BTreeSet<IpNet> = nets.into_iter().collect();
        ends.extend(publics.iter().map(|public| IpNet::V4(single(*public))));
        conntrack::forget(&mut self.conntrack, &ends)?;
        Ok(publics)
    }

    /// Every element that is there because of a port.
    pub fn elements_of(&self, tap: &str, nets: &[IpNet]) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for set in BY_LINK {
            found.extend(self.of_link(set, tap).map(|(key, _)| (set.to_owned(), key.clone())));
        }
        for net in nets.iter().filter(|net| self.holders.get(*net).is_none_or(|holder| holder == tap)) {
            let (key, members) = (nft::address_key(net.addr()), Members::of_net(*net));
            let open = if members == Members::Prefixes { "opennet6" } else { "open6" };
            if self.sets.get(open).is_some_and(|open| open.contains_key(&key)) {
                found.push((open.into(), key.clone()));
            }
            if let Some(([dnat, snat], public)) = self.mapping_of(net.addr()) {
                found.push((snat.into(), key.clone()));
                let reverse = self.sets.get(dnat).and_then(|map| map.get(public.octets().as_slice()));
                if reverse == Some(&Data::Value(key.clone())) {
                    found.push((dnat.into(), public.octets().to_vec()));
                }
            }
            for group in self.groups_of(*net) {
                found.push((names::group_members(group, members), key.clone()));
            }
        }
        found
    }

    /// Brings addresses, routes, ACLs and subnets to the desired state. Ports are the caller's.
    pub fn configure(&mut self, vpc: &VpcDesired) -> io::Result<()> {
        let body = plan::net::vpc_body(vpc);
        if self.body.as_ref() != Some(&body) {
            self.load(&body)?;
            self.body = Some(body);
        }
        self.namespace.run(|| sysctl::count_connections(!vpc.flow_logs.is_empty()))?;
        let publics = plan::net::nat_publics(vpc).map(|public| (public.octets().to_vec(), Data::None));
        self.sets.insert(NAT_PUBLICS.into(), publics.collect());
        self.ensure_nat_links(vpc)?;
        if !vpc.ipv6_cidrs.is_empty() {
            let meetings = plan::net::transit::meetings(vpc).into_iter().map(|meeting| meeting.link);
            let standing = meetings.filter(|link| self.side_links.contains_key(link));
            let links: Vec<String> = standing.chain([IGW.to_owned()]).collect();
            self.namespace.run(|| links.iter().try_for_each(|link| sysctl::carry_ipv6(link)))?;
        }
        self.reconcile_routes(vpc)?;
        self.rtnl.reconcile_rules(&plan::net::routes::rules(vpc))?;
        let own = vpc.cidrs.first().map(|first| plan::net::resolver(*first));
        let gateways = vpc.subnets.iter().filter_map(|subnet| Some(plan::net::gateway(subnet.cidr?)));
        let mut wanted: BTreeSet<IpAddr> =
            plan::net::SERVICES.into_iter().chain(own).chain(gateways).map(IpAddr::V4).collect();
        if !vpc.ipv6_cidrs.is_empty() && sysctl::has_ipv6() {
            wanted.extend(plan::net::ipv6::SERVICES.map(IpAddr::V6));
        }
        let standing: BTreeSet<IpAddr> =
            self.rtnl.addresses(1)?.into_iter().filter(|a| !a.is_loopback()).collect();
        for address in wanted.difference(&standing) {
            self.rtnl.add_address(1, *address)?;
        }
        for address in standing.difference(&wanted) {
            self.rtnl.delete_address(1, *address)?;
        }
        self.desired = Some(vpc.clone());
        Ok(())
    }

    /// Makes the links of NAT gateways, and removes those of gateways and meetings that are gone. The rules that know them
    /// have been loaded before.
    fn ensure_nat_links(&mut self, vpc: &VpcDesired) -> io::Result<()> {
        let mut standing: BTreeMap<String, u32> = self
            .rtnl
            .links()?
            .into_iter()
            .filter(|link| names::is_side_link(&link.name))
            .map(|link| (link.name, link.index))
            .collect();
        let meetings = plan::net::transit::meetings(vpc).into_iter().map(|meeting| meeting.link);
        let nats = vpc.nat_gateways.iter().flat_map(|gateway| names::nat_links(gateway.gateway));
        let vpns = vpc.vpns.iter().map(|vpn| names::vpn_link(vpn.connection));
        let services = plan::net::routes::lead_to_services(vpc).then(|| names::service_link(vpc.vpc));
        let wanted: BTreeSet<String> = meetings.chain(nats).chain(vpns).chain(services).collect();
        for (name, index) in &standing {
            if !wanted.contains(name) {
                self.rtnl.delete_link(*index)?;
            }
        }
        standing.retain(|name, _| wanted.contains(name));
        for gateway in &vpc.nat_gateways {
            let ends = names::nat_links(gateway.gateway);
            if ends.iter().any(|end| !standing.contains_key(end)) {
                let bits = gateway.gateway.bits().to_be_bytes();
                let mac = Mac([0x02, 0xea, bits[12], bits[13], bits[14], bits[15]]);
                self.rtnl.add_point_to_point(&ends[0], &ends[1], &self.namespace, mac)?;
            }
            for end in ends {
                let link = self.rtnl.link(&end)?;
                let link = link.ok_or_else(|| io::Error::other("a NAT gateway's link has vanished"))?;
                self.rtnl.set_up_silent(link.index)?;
                standing.insert(end, link.index);
            }
            let [_, way_out] = names::nat_links(gateway.gateway);
            if let Some(link) = standing.get(&way_out) {
                let hop = Hop { link: *link, via: None, source: None };
                self.rtnl.set_route(single(gateway.address.private), hop)?;
            }
        }
        self.side_links = standing;
        Ok(())
    }

    /// Deletes the chains of ACLs and subnets that are no longer desired and that no port names.
    pub fn sweep_acls(&mut self) -> io::Result<()> {
        let Some(vpc) = &self.desired else { return Ok(()) };
        let current: BTreeSet<String> = vpc.subnets.iter().map(|s| names::subnet_ports(s.subnet)).collect();
        let mut wanted = BTreeSet::new();
        for subnet in &vpc.subnets {
            wanted.extend([names::subnet_ingress(subnet.subnet), names::subnet_egress(subnet.subnet)]);
            wanted.extend([names::acl_ingress(subnet.network_acl), names::acl_egress(subnet.network_acl)]);
        }
        for acl in &vpc.network_acls {
            wanted.extend([names::acl_ingress(acl.network_acl), names::acl_egress(acl.network_acl)]);
        }
        wanted.extend(vpc.peerings.iter().map(|peering| names::peering_arrival(peering.peering)));
        wanted.extend(vpc.vpns.iter().map(|vpn| names::vpn_arrival(vpn.connection)));
        wanted.extend(vpc.transits.iter().flat_map(|transit| names::transit_chains(transit.attachment)));
        wanted.extend(vpc.nat_gateways.iter().flat_map(|gateway| names::nat_chains(gateway.gateway)));
        wanted.extend(vpc.nat_gateways.iter().map(|gateway| names::nat_back(gateway.gateway)));
        self.chains = self.nft.chains(Family::Inet, VPC_TABLE)?.into_iter().collect();
        let stale: Vec<String> =
            self.chains.iter().filter(|c| names::is_acl_chain(c) && !wanted.contains(*c)).cloned().collect();
        let mut batch = Batch::default();
        for chain in &stale {
            batch.flush_chain(Family::Inet, VPC_TABLE, chain);
        }
        for chain in &stale {
            batch.delete_chain(Family::Inet, VPC_TABLE, chain);
        }
        // A port that still names one keeps them all; the next change of the VPC sweeps again.
        if !batch.is_empty() && self.nft.commit(batch).is_ok() {
            self.chains.retain(|chain| !stale.contains(chain));
        }
        let mut ports = self.nft.sets(Family::Inet, VPC_TABLE)?;
        ports.retain(|set| names::is_subnet_ports(set) && !current.contains(set));
        self.delete_unused(ports)?;
        let beyond = self.sets.keys().filter(|set| names::group_of_members_beyond(set).is_some());
        self.sweep_beyond(beyond.cloned().collect())
    }

    pub(super) fn load(&self, text: &str) -> io::Result<()> {
        self.namespace.run(|| nft::load(text))
    }

    /// Deletes these sets, but for those that the kernel says are in use.
    pub(super) fn delete_unused(&mut self, sets: impl IntoIterator<Item = String>) -> io::Result<()> {
        for set in sets {
            let mut batch = Batch::default();
            batch.delete_set(Family::Inet, VPC_TABLE, &set);
            match self.nft.commit(batch) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                done => {
                    done?;
                    self.sets.remove(&set);
                }
            }
        }
        Ok(())
    }
}

/// An address as a net of its own.
pub(super) fn single(address: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::from(address)
}
