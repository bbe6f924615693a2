//! One interface's port: its TAP, its place in the rule set, its routes.

use super::bpf::{self, Told};
use super::nft::{Batch, Data, address_key, port_key, sender_key};
use super::router::{MAPPINGS, Port, Router, family, single};
use super::rtnl::{Hop, Link};
use super::{conntrack, sysctl, tap};
use ipnet::{IpNet, Ipv6Net};
use model::NetworkInterfaceId;
use model::host::{InterfaceDesired, addresses_of};
use plan::net::detour::{self, Edge};
use plan::net::names::{self, VPC_TABLE};
use plan::net::{Members, ipv6, routes};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

/// Public addresses whose mapping a call has changed.
#[derive(Debug, Default)]
pub struct Moved {
    pub gained: BTreeSet<Ipv4Addr>,
    pub lost: BTreeSet<Ipv4Addr>,
}

impl Router {
    /// Makes a new TAP for the interface, with the number. Whatever stood for it before is gone.
    pub fn open_port(&mut self, interface: &InterfaceDesired, number: u64) -> io::Result<(OwnedFd, Moved)> {
        let lost = self.remove_port(interface.interface)?;
        let (name, index) = (names::tap(number), bpf::link_number(number));
        let fd = self.namespace.run(|| tap::create(&name, Some(index)))?;
        let link = self
            .rtnl
            .link(&name)?
            .ok_or_else(|| io::Error::other(format!("{name} has vanished while it was made")))?;
        let alias = interface.interface.to_string();
        self.programs.attach(&mut self.rtnl, link.index)?;
        self.rtnl.dress_port(link.index, plan::net::GATEWAY_MAC, &alias, plan::net::MTU)?;
        let port = Port { tap: name, index: link.index, wanted: None, class: link.group };
        self.ports.insert(interface.interface, port.clone());
        self.links.write().insert(link.index, interface.interface);
        let mut moved = self.place_on(interface, &port, &link)?;
        moved.lost.extend(lost.difference(&moved.gained).copied().collect::<Vec<_>>());
        Ok((fd, moved))
    }

    pub fn remove_port(&mut self, interface: NetworkInterfaceId) -> io::Result<BTreeSet<Ipv4Addr>> {
        let Some(port) = self.ports.get(&interface).cloned() else { return Ok(BTreeSet::new()) };
        // Routes and neighbours go with the link.
        self.rtnl.delete_link(port.index)?;
        self.programs.forget(port.index)?;
        let lost = self.clear(&port.tap)?;
        self.links.write().remove(&port.index);
        self.ports.remove(&interface);
        self.leave_class(port.class)?;
        self.steer(interface)?;
        Ok(lost)
    }

    /// Brings a standing port to the desired addresses, groups and checks.
    pub fn place(&mut self, interface: &InterfaceDesired) -> io::Result<Moved> {
        let Some(port) = self.ports.get(&interface.interface).cloned() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the port is not there"));
        };
        let Some(link) = self.rtnl.link(&port.tap)?.filter(|link| link.index == port.index) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the port's machine has let go of it"));
        };
        self.place_on(interface, &port, &link)
    }

    fn place_on(&mut self, interface: &InterfaceDesired, port: &Port, link: &Link) -> io::Result<Moved> {
        for group in &interface.security_groups {
            self.ensure_group_exists(*group)?;
        }
        let before = self.nets(&port.tap);
        let mapped_before: BTreeMap<IpAddr, ([&'static str; 2], Ipv4Addr)> =
            before.iter().filter_map(|net| Some((net.addr(), self.mapping_of(net.addr())?))).collect();
        let wanted = self.wanted(interface, &port.tap)?;
        let mut standing: BTreeSet<(String, Vec<u8>)> =
            self.elements_of(&port.tap, &before).into_iter().collect();
        let taken_over = self.taken_over(interface);
        let taken_publics: Vec<Ipv4Addr> = taken_over.iter().filter_map(|(_, _, public)| *public).collect();
        standing.extend(taken_over.into_iter().map(|(set, key, _)| (set, key)));

        let (mut batch, mut changes) = (Batch::default(), Vec::new());
        for (set, key) in standing {
            let place = (set, key);
            let old = self.sets.get(&place.0).and_then(|elements| elements.get(&place.1));
            if wanted.get(&place) != old {
                batch.delete_element(family(&place.0), VPC_TABLE, &place.0, &place.1);
                changes.push((place.0, place.1, None));
            }
        }
        let class = self.class_for(interface, &mut batch, &mut changes);
        for ((set, key), data) in wanted {
            if self.sets.get(&set).and_then(|elements| elements.get(&key)) != Some(&data) {
                batch.add_element(family(&set), VPC_TABLE, &set, &key, &data);
                changes.push((set, key, Some(data)));
            }
        }
        self.tell_programs(interface, port)?;
        self.commit(batch, changes)?;
        self.join_class(interface.interface, link, class)?;
        for net in nets(interface) {
            self.holders.insert(net, port.tap.clone());
        }
        self.route(interface, port, &before)?;

        let after: BTreeSet<IpNet> = nets(interface).collect();
        let mut ended: BTreeSet<IpNet> = before.into_iter().filter(|net| !after.contains(net)).collect();
        let gained: BTreeSet<Ipv4Addr> =
            after.iter().filter_map(|private| self.public_of(private.addr())).collect();
        let remapped =
            mapped_before.iter().filter(|(private, mapping)| self.mapping_of(**private) != Some(**mapping));
        let remapped: Vec<_> = remapped.collect();
        // Flows over a detour are tracked by their private ends.
        let detoured = remapped.iter().filter(|(_, (maps, _))| *maps == MAPPINGS[1]);
        ended.extend(detoured.map(|(private, _)| IpNet::from(**private)));
        let remapped: BTreeSet<Ipv4Addr> = remapped.iter().map(|(_, (_, public))| *public).collect();
        ended.extend(remapped.iter().copied().chain(taken_publics).map(|public| IpNet::V4(single(public))));
        // An address that moved within the interface is not lost.
        let moved = Moved { lost: remapped.difference(&gained).copied().collect(), gained };
        conntrack::forget(&mut self.conntrack, &ended)?;
        if let Some(port) = self.ports.get_mut(&interface.interface) {
            port.wanted = Some(interface.clone());
        }
        self.steer(interface.interface)?;
        Ok(moved)
    }

    fn tell_programs(&self, interface: &InterfaceDesired, port: &Port) -> io::Result<()> {
        if !bpf::is_port(port.index) {
            return Ok(());
        }
        let vpc = self.desired.as_ref();
        let told = Told {
            mac: interface.mac,
            resolver: vpc.and_then(|vpc| vpc.cidrs.first()).map(|first| plan::net::resolver(*first)),
            cached: vpc.is_some_and(|vpc| vpc.flow_logs.is_empty()),
            bandwidth: interface.bandwidth,
        };
        self.programs.tell(port.index, told)
    }

    /// Every element that the interface should have.
    fn wanted(
        &self,
        interface: &InterfaceDesired,
        tap: &str,
    ) -> io::Result<BTreeMap<(String, Vec<u8>), Data>> {
        let missing =
            |what: &str| io::Error::new(io::ErrorKind::NotFound, format!("{what} is not there yet"));
        let vpc = self.desired.as_ref().ok_or_else(|| missing("the VPC"))?;
        let subnet = vpc
            .subnets
            .iter()
            .find(|subnet| subnet.subnet == interface.subnet)
            .ok_or_else(|| missing("the port's subnet"))?;
        let number = *routes::marks(vpc).get(&subnet.subnet).ok_or_else(|| missing("the subnet's mark"))?;
        let public_subnet = routes::is_public(vpc, subnet);
        let mark = Data::Value(number.to_ne_bytes().to_vec());
        let mut wanted = BTreeMap::new();
        let mut want = |set: &str, key: Vec<u8>, data: Data| {
            wanted.insert((set.to_owned(), key), data);
        };
        want("taps", port_key(tap, interface.mac), Data::None);
        if interface.has_ipv4() {
            // A guest that asks whether an address is taken has none yet.
            want("known", sender_key(tap, interface.mac, Ipv4Addr::UNSPECIFIED), Data::None);
        }
        let open = routes::is_open(vpc, subnet);
        if interface.has_ipv6() {
            let own = ipv6::link_local(interface.mac);
            want("known6", sender_key(tap, interface.mac, own), Data::None);
        }
        for address in &interface.ipv6 {
            let key = address_key(*address);
            want("src6", sender_key(tap, interface.mac, *address), mark.clone());
            if open {
                want("open6", key.clone(), Data::None);
            }
            for group in &interface.security_groups {
                want(&names::group_members(*group, Members::V6), key.clone(), Data::None);
            }
        }
        for prefix in &interface.ipv6_prefixes {
            let key = address_key(prefix.network());
            want("net6", sender_key(tap, interface.mac, prefix.network()), mark.clone());
            if open {
                want("opennet6", key.clone(), Data::None);
            }
            for group in &interface.security_groups {
                want(&names::group_members(*group, Members::Prefixes), key.clone(), Data::None);
            }
        }
        if !interface.source_dest_check {
            let unverified = number | routes::UNVERIFIED;
            want("anysrc", port_key(tap, interface.mac), Data::Value(unverified.to_ne_bytes().to_vec()));
        }
        for address in &interface.addresses {
            let private = address.private.octets().to_vec();
            want("src4", sender_key(tap, interface.mac, address.private), mark.clone());
            want("known", sender_key(tap, interface.mac, address.private), Data::None);
            if let Some(public) = address.public.filter(|_| public_subnet) {
                let [dnat, snat] =
                    MAPPINGS[usize::from(detour::holds(vpc, Edge::Internet, address.private.into()))];
                want(snat, private.clone(), Data::Value(public.octets().to_vec()));
                want(dnat, public.octets().to_vec(), Data::Value(private.clone()));
            }
            for group in &interface.security_groups {
                want(&names::group_members(*group, Members::V4), private.clone(), Data::None);
            }
        }
        for private in interface.ipv4_prefixes.iter().flat_map(|prefix| addresses_of(*prefix)) {
            want("src4", sender_key(tap, interface.mac, private), mark.clone());
            want("known", sender_key(tap, interface.mac, private), Data::None);
            for group in &interface.security_groups {
                want(&names::group_members(*group, Members::V4), private.octets().to_vec(), Data::None);
            }
        }
        Ok(wanted)
    }

    /// Mappings of other interfaces that use a public address which is now this one's: the latest word counts.
    fn taken_over(&self, interface: &InterfaceDesired) -> Vec<(String, Vec<u8>, Option<Ipv4Addr>)> {
        let mut found = Vec::new();
        for address in &interface.addresses {
            let Some(public) = address.public else { continue };
            let key = public.octets().to_vec();
            for [dnat, snat] in MAPPINGS {
                let holder = self.sets.get(dnat).and_then(|map| map.get(&key));
                if let Some(Data::Value(holder)) = holder
                    && *holder != address.private.octets()
                {
                    found.push((dnat.to_owned(), key.clone(), Some(public)));
                    found.push((snat.to_owned(), holder.clone(), None));
                }
            }
        }
        found
    }

    fn route(&mut self, interface: &InterfaceDesired, port: &Port, before: &[IpNet]) -> io::Result<()> {
        let known = port.wanted.as_ref();
        let unchanged = known.is_some_and(|old| {
            old.mac == interface.mac
                && old.subnet_cidr == interface.subnet_cidr
                && nets(old).eq(nets(interface))
        });
        if unchanged {
            return Ok(());
        }
        if !interface.has_ipv4() {
            self.namespace.run(|| sysctl::stop_ipv4(&port.tap))?;
        }
        if interface.has_ipv6() {
            self.carry_ipv6(interface, port)?;
        }
        for address in all_addresses(interface) {
            self.rtnl.set_neighbour(port.index, address, interface.mac)?;
            // What the router itself says to a guest, it says as the gateway of its subnet.
            let gateway = interface.subnet_cidr.map(|cidr| IpAddr::V4(plan::net::gateway(cidr)));
            let source = gateway.filter(|_| address.is_ipv4());
            self.rtnl.set_route(IpNet::from(address), Hop { link: port.index, via: None, source })?;
        }
        // Nobody is asked for who has which address of a prefix: all lie behind the guest.
        let via = Some(IpAddr::V6(ipv6::link_local(interface.mac)));
        for prefix in &interface.ipv6_prefixes {
            self.rtnl.set_route(*prefix, Hop { link: port.index, via, source: None })?;
        }
        for gone in before.iter().filter(|old| !nets(interface).any(|net| net == **old)) {
            self.rtnl.delete_route(*gone, port.index)?;
            if Members::of_net(*gone) != Members::Prefixes {
                self.rtnl.delete_neighbour(port.index, gone.addr())?;
            }
        }
        if !interface.has_ipv6() && before.iter().any(|net| net.addr().is_ipv6()) {
            self.namespace.run(|| sysctl::stop_ipv6(&port.tap))?;
        }
        Ok(())
    }

    /// The router's own address on the link, and the guest's: what the guest says of itself changes nothing of it.
    fn carry_ipv6(&mut self, interface: &InterfaceDesired, port: &Port) -> io::Result<()> {
        self.namespace.run(|| sysctl::carry_ipv6(&port.tap))?;
        self.rtnl.add_address_in(port.index, ROUTER_NET)?;
        self.rtnl.set_neighbour(port.index, ipv6::link_local(interface.mac), interface.mac)
    }
}

const ROUTER_NET: IpNet = IpNet::V6(Ipv6Net::new_assert(ipv6::ROUTER, 64));

/// Of both versions, those of prefixes one by one.
fn all_addresses(interface: &InterfaceDesired) -> impl Iterator<Item = IpAddr> {
    let v6 = interface.ipv6.iter().copied().map(|address: Ipv6Addr| IpAddr::V6(address));
    interface.own_ipv4().map(IpAddr::V4).chain(v6)
}

/// These, each as a net of its own, and the IPv6 prefixes.
fn nets(interface: &InterfaceDesired) -> impl Iterator<Item = IpNet> {
    let prefixes = interface.ipv6_prefixes.iter().copied().map(IpNet::V6);
    all_addresses(interface).map(IpNet::from).chain(prefixes)
}
