//! Model packets through the rules that a host is given, hop by hop: the way that one takes, or what stops it.
//!
//! It reads what the driver is told (the desired objects and the compiled [`super::routes`]) and judges in the order of the
//! kernel's hooks: anti-spoofing, the route, the ACLs of both borders, the sender's gate, the receiver's gate, translation.
//! So an analysis speaks of the rules in force, on the simulator as on Linux. Pure; nothing is tracked: an answer's walk
//! begins from the walk of what it answers.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/reachability/how-reachability-analyzer-works.html>
//! Differs, as the rules themselves do: see the network's documentation.

mod gate;
mod hop;
pub mod reach;
mod walk;

use super::ipv6;
use super::routes::{self, Route};
use ipnet::Ipv6Net;
use model::host::{InterfaceDesired, SecurityGroupDesired, VpcDesired};
use model::{NetworkInterfaceId, RouteTableId, SecurityGroupId, VpcId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// What the hosts of a cloud are told of its networks, compiled as the driver does.
#[derive(Debug)]
pub struct Network {
    vpcs: BTreeMap<VpcId, Vpc>,
    groups: BTreeMap<SecurityGroupId, SecurityGroupDesired>,
    interfaces: BTreeMap<NetworkInterfaceId, InterfaceDesired>,
    holders: BTreeMap<(VpcId, IpAddr), NetworkInterfaceId>,
    /// Those of IPv6 prefixes.
    blocks: BTreeMap<(VpcId, Ipv6Net), NetworkInterfaceId>,
    publics: BTreeMap<Ipv4Addr, NetworkInterfaceId>,
}

#[derive(Debug)]
struct Vpc {
    desired: VpcDesired,
    routes: BTreeSet<Route>,
    numbers: BTreeMap<RouteTableId, u32>,
}

impl Network {
    pub fn new(
        vpcs: impl IntoIterator<Item = VpcDesired>,
        groups: impl IntoIterator<Item = SecurityGroupDesired>,
        interfaces: impl IntoIterator<Item = InterfaceDesired>,
    ) -> Self {
        let compile = |desired: VpcDesired| {
            let (routes, numbers) = (routes::routes(&desired), routes::numbers(&desired));
            (desired.vpc, Vpc { desired, routes, numbers })
        };
        let interfaces: BTreeMap<NetworkInterfaceId, InterfaceDesired> =
            interfaces.into_iter().map(|interface| (interface.interface, interface)).collect();
        let (mut holders, mut blocks, mut publics) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (id, interface) in &interfaces {
            for address in &interface.addresses {
                publics.extend(address.public.map(|public| (public, *id)));
            }
            holders.extend(interface.own_ipv4().map(|v4| ((interface.vpc, IpAddr::V4(v4)), *id)));
            blocks.extend(interface.ipv6_prefixes.iter().map(|prefix| ((interface.vpc, *prefix), *id)));
            holders.extend(interface.ipv6.iter().map(|v6| ((interface.vpc, IpAddr::V6(*v6)), *id)));
        }
        Self {
            vpcs: vpcs.into_iter().map(compile).collect(),
            groups: groups.into_iter().map(|group| (group.group, group)).collect(),
            interfaces,
            holders,
            blocks,
            publics,
        }
    }

    pub fn interface(&self, id: NetworkInterfaceId) -> Option<&InterfaceDesired> {
        self.interfaces.get(&id)
    }

    pub fn vpc(&self, id: VpcId) -> Option<&VpcDesired> {
        self.vpcs.get(&id).map(|vpc| &vpc.desired)
    }

    /// The interface of a VPC that has an address.
    fn holder(&self, vpc: VpcId, address: IpAddr) -> Option<&InterfaceDesired> {
        let of_block = || match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => self.blocks.get(&(vpc, ipv6::around(v6))),
        };
        self.interfaces.get(self.holders.get(&(vpc, address)).or_else(of_block)?)
    }

    /// Whose public address this is, while it is in force: the VPC and the private address.
    fn behind_public(&self, public: Ipv4Addr) -> Option<(&Vpc, Ipv4Addr)> {
        let holder = self.publics.get(&public).and_then(|id| self.interfaces.get(id));
        let of_interface = holder.and_then(|interface| {
            let address = interface.addresses.iter().find(|address| address.public == Some(public))?;
            let vpc = self.vpcs.get(&interface.vpc)?;
            let subnet = vpc.desired.subnets.iter().find(|subnet| subnet.subnet == interface.subnet)?;
            routes::is_public(&vpc.desired, subnet).then_some((vpc, address.private))
        });
        of_interface.or_else(|| {
            self.vpcs.values().find_map(|vpc| {
                let gateways = vpc.desired.nat_gateways.iter();
                let gateway = gateways.clone().find(|gateway| gateway.address.public == Some(public))?;
                let in_force = super::nat_publics(&vpc.desired).any(|own| own == public);
                in_force.then_some((vpc, gateway.address.private))
            })
        })
    }

    /// What stands for a private address outside, while it is in force.
    fn public_of(&self, vpc: &Vpc, private: Ipv4Addr) -> Option<Ipv4Addr> {
        let of_interface = self.holder(vpc.desired.vpc, private.into()).and_then(|interface| {
            let subnet = vpc.desired.subnets.iter().find(|subnet| subnet.subnet == interface.subnet)?;
            let address = interface.addresses.iter().find(|address| address.private == private)?;
            address.public.filter(|_| routes::is_public(&vpc.desired, subnet))
        });
        of_interface.or_else(|| {
            let gateway =
                vpc.desired.nat_gateways.iter().find(|gateway| gateway.address.private == private)?;
            let public = gateway.address.public?;
            super::nat_publics(&vpc.desired).find(|own| *own == public)
        })
    }
}

fn holds(interface: &InterfaceDesired, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => interface.own_ipv4().any(|own| own == v4),
        IpAddr::V6(v6) => interface.holds_ipv6(v6),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transit_tests;
