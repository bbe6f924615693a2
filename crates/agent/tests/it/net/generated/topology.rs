//! Small topologies out of a seed: a base of VPCs, subnets, peerings and interfaces, and rounds of rules over it.
//!
//! The palettes are narrow on purpose: few ports, few ranges, addresses that are somebody's, so that most rules matter to
//! some packet.

use super::dice::Dice;
use super::transit::Gateway;
use crate::net::world::Vpc;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::host::{
    AddressDesired, InterfaceDesired, NatGatewayDesired, NetworkAclDesired, PeeringDesired, RouteDesired,
    RouteTableDesired, RouteTarget, SecurityGroupDesired, SubnetDesired, VpcDesired,
};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::{
    Mac, NatGatewayId, NetworkAclId, NetworkInterfaceId, RouteTableId, SecurityGroupId, SubnetId, VpcId,
    VpcPeeringConnectionId,
};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Debug, Clone, Default)]
pub struct Topology {
    pub vpcs: Vec<VpcDesired>,
    pub groups: Vec<SecurityGroupDesired>,
    pub interfaces: Vec<InterfaceDesired>,
    pub gateways: Vec<Gateway>,
}

const BLOCKS: [&str; 5] = ["10.0.0.0/16", "10.1.0.0/16", "10.0.0.0/17", "10.2.0.0/16", "10.1.128.0/20"];
const FURTHER: [&str; 3] = ["100.64.0.0/20", "100.64.16.0/20", "10.77.0.0/16"];
const PORTS: [u16; 4] = [22, 80, 443, 5000];

pub fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

impl Topology {
    /// What stays over all rounds: VPCs and their ranges, subnets, peerings, interfaces and their addresses.
    pub fn base(dice: &mut Dice) -> Self {
        let mut topology = Self::default();
        for _ in 0..*dice.pick(&[1, 2, 2, 3, 3]) {
            let vpc = Self::vpc(dice);
            topology.vpcs.push(vpc);
        }
        topology.ipv6_blocks(dice);
        topology.peer(dice);
        for (number, vpc) in topology.vpcs.iter_mut().enumerate() {
            if dice.percent(40) {
                continue;
            }
            let subnets: Vec<_> = vpc.subnets.iter().filter_map(|s| Some((s.subnet, s.cidr?))).collect();
            if subnets.is_empty() {
                continue;
            }
            let (subnet, cidr) = *dice.pick(&subnets);
            let public = dice.percent(75).then(|| Ipv4Addr::new(198, 18, 2, number as u8 + 1));
            vpc.nat_gateways.push(NatGatewayDesired {
                gateway: NatGatewayId::from_entropy(dice.id()),
                subnet,
                // Above all that interfaces get.
                address: AddressDesired {
                    private: Ipv4Addr::from_bits(cidr.network().to_bits() + 60),
                    public,
                    withheld: None,
                },
            });
        }
        for vpc in topology.vpcs.clone() {
            for _ in 0..dice.between(1, 3) {
                topology.groups.push(SecurityGroupDesired {
                    group: SecurityGroupId::from_entropy(dice.id()),
                    vpc: vpc.vpc,
                    ingress: Vec::new(),
                    egress: Vec::new(),
                });
            }
        }
        for _ in 0..dice.between(3, 7) {
            topology.interface(dice);
        }
        if topology.vpcs.len() > 1 && dice.percent(60) {
            topology.gateways.push(Gateway::base(dice, &topology.vpcs));
        }
        topology
    }

    fn vpc(dice: &mut Dice) -> VpcDesired {
        // Overlaps with another VPC come by themselves; within one VPC there are none.
        let mut vpc = Vpc::new(BLOCKS[dice.below(BLOCKS.len())]).desired;
        vpc.vpc = VpcId::from_entropy(dice.id());
        if dice.percent(40) {
            let further: Ipv4Net = FURTHER[dice.below(FURTHER.len())].parse().unwrap();
            vpc.cidrs.push(further);
        }
        let ids: Vec<RouteTableId> =
            (0..dice.between(1, 2)).map(|_| RouteTableId::from_entropy(dice.id())).collect();
        vpc.route_tables = ids
            .into_iter()
            .map(|route_table| RouteTableDesired { route_table, routes: Vec::new() })
            .collect();
        vpc.network_acls = (0..dice.between(1, 2))
            .map(|_| NetworkAclDesired {
                network_acl: NetworkAclId::from_entropy(dice.id()),
                ingress: Vec::new(),
                egress: Vec::new(),
            })
            .collect();
        vpc.subnets.clear();
        for number in 0..dice.between(1, 3) {
            let block = *dice.pick(&vpc.cidrs);
            let cidr = block.subnets(24).unwrap().nth(number * 4 + dice.below(4)).unwrap();
            vpc.subnets.push(SubnetDesired {
                ipv6_cidr: None,
                subnet: SubnetId::from_entropy(dice.id()),
                cidr: Some(cidr),
                route_table: vpc.route_tables[0].route_table,
                network_acl: vpc.network_acls[0].network_acl,
            });
        }
        vpc
    }

    /// A block for most VPCs, and a part of it for most of their subnets, some of which have nothing else. None is in two VPCs.
    fn ipv6_blocks(&mut self, dice: &mut Dice) {
        let pool: Ipv6Net = "fd12:3456:7800::/40".parse().unwrap();
        for vpc in &mut self.vpcs {
            if dice.percent(25) {
                continue;
            }
            let number = dice.roll() % 60_000 + 1;
            let block = plan::net::ipv6::block(pool, number);
            vpc.ipv6_cidrs = vec![block];
            for (subnet, cidr) in vpc.subnets.iter_mut().zip(block.subnets(64).unwrap()) {
                subnet.ipv6_cidr = dice.percent(85).then_some(cidr);
                subnet.cidr = subnet.cidr.filter(|_| subnet.ipv6_cidr.is_none() || dice.percent(75));
            }
        }
    }

    fn peer(&mut self, dice: &mut Dice) {
        for one in 0..self.vpcs.len() {
            for other in one + 1..self.vpcs.len() {
                let (a, b) = (self.vpcs[one].clone(), self.vpcs[other].clone());
                let clash = a.cidrs.iter().any(|a| b.cidrs.iter().any(|b| overlap(*a, *b)));
                if clash || !dice.percent(75) {
                    continue;
                }
                let peering = VpcPeeringConnectionId::from_entropy(dice.id());
                let end = |of: VpcDesired| PeeringDesired {
                    ipv6_cidrs: of.ipv6_cidrs,
                    peering,
                    peer: of.vpc,
                    cidrs: of.cidrs,
                };
                self.vpcs[one].peerings.push(end(b));
                self.vpcs[other].peerings.push(end(a));
            }
        }
    }

    fn interface(&mut self, dice: &mut Dice) {
        let vpc = dice.pick(&self.vpcs).clone();
        let subnet = dice.pick(&vpc.subnets).clone();
        let mut addresses: Vec<AddressDesired> = Vec::new();
        for _ in 0..*dice.pick(&[1, 1, 1, 2, 3]) {
            let Some(cidr) = subnet.cidr else { break };
            let host = 10 + dice.below(40) as u32;
            let private = Ipv4Addr::from_bits(cidr.network().to_bits() + host);
            let taken = self.interfaces.iter().filter(|i| i.vpc == vpc.vpc).flat_map(|i| &i.addresses);
            if taken.chain(&addresses).any(|address| address.private == private) {
                continue;
            }
            addresses.push(AddressDesired { private, public: self.public(dice, &addresses), withheld: None });
        }
        let mut ipv6: Vec<Ipv6Addr> = Vec::new();
        if let Some(cidr) = subnet.ipv6_cidr {
            let count = *dice.pick(&[0, 1, 1, 1, 2]);
            for _ in 0..count.max(usize::from(subnet.cidr.is_none())) {
                let address = Ipv6Addr::from_bits(cidr.network().to_bits() | (10 + dice.below(40)) as u128);
                let taken = self.interfaces.iter().flat_map(|i| &i.ipv6).chain(&ipv6);
                if taken.copied().all(|other| other != address) {
                    ipv6.push(address);
                }
            }
        }
        if addresses.is_empty() && (subnet.cidr.is_some() || ipv6.is_empty()) {
            return;
        }
        // Blocks of their own, beside all single addresses.
        let (mut ipv4_prefixes, mut ipv6_prefixes) = (Vec::new(), Vec::new());
        if let Some(cidr) = subnet.cidr.filter(|_| dice.percent(30)) {
            let start = Ipv4Addr::from_bits(cidr.network().to_bits() + 64 + 16 * dice.below(8) as u32);
            ipv4_prefixes.push(Ipv4Net::new(start, 28).unwrap());
        }
        if let Some(cidr) = subnet.ipv6_cidr.filter(|_| dice.percent(30)) {
            let start = Ipv6Addr::from_bits(cidr.network().to_bits() | (1 + dice.below(6) as u128) << 48);
            ipv6_prefixes.push(Ipv6Net::new(start, 80).unwrap());
        }
        let own = self.interfaces.iter().filter(|i| i.vpc == vpc.vpc);
        for other in own {
            ipv4_prefixes.retain(|prefix| !other.ipv4_prefixes.contains(prefix));
            ipv6_prefixes.retain(|prefix| !other.ipv6_prefixes.contains(prefix));
        }
        self.interfaces.push(InterfaceDesired {
            ipv6,
            interface: NetworkInterfaceId::from_entropy(dice.id()),
            device_index: 0,
            mac: Mac::from_entropy(dice.id()),
            vpc: vpc.vpc,
            subnet: subnet.subnet,
            subnet_cidr: subnet.cidr,
            addresses,
            security_groups: Vec::new(),
            source_dest_check: true,
            ipv4_prefixes,
            ipv6_prefixes,
            hostname: "host".into(),
            domain: "ec2.internal".into(),
            bandwidth: None,
        });
    }

    fn public(&self, dice: &mut Dice, pending: &[AddressDesired]) -> Option<Ipv4Addr> {
        if !dice.percent(40) {
            return None;
        }
        let public = Ipv4Addr::new(198, 18, 1, dice.between(1, 250) as u8);
        let taken = self.interfaces.iter().flat_map(|i| &i.addresses).chain(pending);
        taken.filter_map(|address| address.public).all(|other| other != public).then_some(public)
    }

    /// Rolls everything that can change: rules, routes, associations, groups of interfaces, checks.
    pub fn round(&mut self, dice: &mut Dice) {
        let nets = self.nets();
        for gateway in &mut self.gateways {
            gateway.round(dice, &nets);
        }
        for at in 0..self.groups.len() {
            let peers = self.groups_near(self.groups[at].vpc);
            self.groups[at].egress = allows(dice, 70, &nets, &peers);
            self.groups[at].ingress = allows(dice, 35, &nets, &peers);
        }
        let targets: Vec<(VpcId, NetworkInterfaceId)> =
            self.interfaces.iter().map(|i| (i.vpc, i.interface)).collect();
        for vpc in &mut self.vpcs {
            // As long as all let everything pass, packets of connections take another way through the rules.
            let open = dice.percent(40);
            for acl in &mut vpc.network_acls {
                let mut list = || if open { everything_passes() } else { entries(dice, &nets) };
                (acl.ingress, acl.egress) = (list(), list());
            }
            let own: Vec<NetworkInterfaceId> =
                targets.iter().filter(|(of, _)| *of == vpc.vpc).map(|(_, id)| *id).collect();
            let attached = self.gateways.iter().find(|g| g.attachments.iter().any(|a| a.vpc == vpc.vpc));
            let tables = (0..vpc.route_tables.len())
                .map(|_| routes(dice, (vpc, attached), &own, &nets))
                .collect::<Vec<_>>();
            for (table, routes) in vpc.route_tables.iter_mut().zip(tables) {
                table.routes = routes;
            }
            let (acls, tables): (Vec<NetworkAclId>, Vec<RouteTableId>) = (
                vpc.network_acls.iter().map(|acl| acl.network_acl).collect(),
                vpc.route_tables.iter().map(|table| table.route_table).collect(),
            );
            for subnet in &mut vpc.subnets {
                subnet.network_acl = *dice.pick(&acls);
                subnet.route_table = *dice.pick(&tables);
            }
            // No gateway is led to itself or another.
            let holds = |subnet: &&SubnetDesired| vpc.nat_gateways.iter().any(|g| g.subnet == subnet.subnet);
            let leading: Vec<RouteTableId> =
                vpc.subnets.iter().filter(holds).map(|s| s.route_table).collect();
            for table in vpc.route_tables.iter_mut().filter(|t| leading.contains(&t.route_table)) {
                for route in &mut table.routes {
                    if matches!(route.target, RouteTarget::NatGateway(_)) {
                        route.target = RouteTarget::InternetGateway;
                    }
                }
            }
        }
        for interface in &mut self.interfaces {
            let own: Vec<SecurityGroupId> =
                self.groups.iter().filter(|g| g.vpc == interface.vpc).map(|g| g.group).collect();
            let count = dice.between(1, own.len());
            let chosen: BTreeSet<SecurityGroupId> = (0..count).map(|_| *dice.pick(&own)).collect();
            interface.security_groups = chosen.into_iter().collect();
            interface.source_dest_check = dice.percent(70);
        }
        self.tell_of_gateways();
    }

    /// Every range that a rule may well name.
    fn nets(&self) -> Vec<IpNet> {
        let mut nets = vec![everywhere(), everywhere(), everywhere_v6(), everywhere_v6()];
        for vpc in &self.vpcs {
            nets.extend(vpc.cidrs.iter().copied().map(IpNet::V4));
            nets.extend(vpc.subnets.iter().filter_map(|subnet| subnet.cidr).map(IpNet::V4));
            nets.extend(vpc.ipv6_cidrs.iter().copied().map(IpNet::V6));
            nets.extend(vpc.subnets.iter().filter_map(|subnet| subnet.ipv6_cidr).map(IpNet::V6));
        }
        let gateways = self.vpcs.iter().flat_map(|vpc| &vpc.nat_gateways).map(|gateway| &gateway.address);
        for address in self.interfaces.iter().flat_map(|i| &i.addresses).chain(gateways) {
            nets.push(Ipv4Net::from(address.private).into());
            nets.extend(address.public.map(|public| IpNet::from(Ipv4Net::from(public))));
        }
        let ipv6 = self.interfaces.iter().flat_map(|interface| &interface.ipv6);
        nets.extend(ipv6.map(|address| IpNet::from(Ipv6Net::from(*address))));
        nets.extend(self.interfaces.iter().flat_map(|i| &i.ipv4_prefixes).copied().map(IpNet::V4));
        nets.extend(self.interfaces.iter().flat_map(|i| &i.ipv6_prefixes).copied().map(IpNet::V6));
        nets.push("198.18.0.0/22".parse().unwrap());
        nets
    }

    /// The groups that a VPC's rules may name: its own, and those across its peerings.
    fn groups_near(&self, vpc: VpcId) -> Vec<SecurityGroupId> {
        let peers = self.vpcs.iter().filter(|v| v.vpc == vpc).flat_map(|v| &v.peerings).map(|p| p.peer);
        let near: BTreeSet<VpcId> = peers.chain([vpc]).collect();
        self.groups.iter().filter(|g| near.contains(&g.vpc)).map(|g| g.group).collect()
    }
}

fn everything_passes() -> Vec<AclEntry> {
    let pass = |number, net| AclEntry { number, traffic: Traffic::All, net, action: AclAction::Allow };
    vec![pass(100, everywhere()), pass(101, everywhere_v6())]
}

fn everywhere() -> IpNet {
    Ipv4Net::default().into()
}

fn everywhere_v6() -> IpNet {
    Ipv6Net::default().into()
}

pub fn traffic(dice: &mut Dice) -> Traffic {
    let port = *dice.pick(&PORTS);
    match dice.below(12) {
        0 | 1 => Traffic::All,
        2 | 3 => Traffic::Tcp { from: port, to: port },
        4 => Traffic::Tcp { from: 0, to: u16::MAX },
        5 => Traffic::Udp { from: 20, to: port.max(80) },
        6 => Traffic::Udp { from: 0, to: u16::MAX },
        7 => Traffic::Icmp { kind: None, code: None },
        8 => {
            Traffic::Icmp { kind: Some(*dice.pick(&[0, 8, 13])), code: *dice.pick(&[None, Some(0), Some(1)]) }
        }
        9 => Traffic::Icmpv6 { kind: None, code: None },
        10 => {
            Traffic::Icmpv6 { kind: Some(*dice.pick(&[128, 129, 139])), code: *dice.pick(&[None, Some(0)]) }
        }
        _ => Traffic::Protocol(99),
    }
}

fn allows(dice: &mut Dice, open: usize, nets: &[IpNet], groups: &[SecurityGroupId]) -> Vec<Allow> {
    if dice.percent(open) {
        let open = [everywhere(), everywhere_v6()];
        return open.map(|net| Allow { traffic: Traffic::All, peer: Peer::Net(net) }).to_vec();
    }
    let mut allows: Vec<Allow> = (0..dice.between(0, 6))
        .map(|_| {
            let peer =
                if dice.percent(40) { Peer::Group(*dice.pick(groups)) } else { Peer::Net(*dice.pick(nets)) };
            Allow { traffic: traffic(dice), peer }
        })
        .collect();
    allows.sort_unstable();
    allows.dedup();
    allows
}

fn entries(dice: &mut Dice, nets: &[IpNet]) -> Vec<AclEntry> {
    let everything = |number, net| AclEntry { number, traffic: Traffic::All, net, action: AclAction::Allow };
    let both = |number| [everything(number, everywhere()), everything(number + 1, everywhere_v6())];
    if dice.percent(55) {
        return both(100).to_vec();
    }
    let numbers: BTreeSet<u16> = (0..dice.between(1, 5)).map(|_| dice.between(1, 300) as u16).collect();
    let mut entries: Vec<AclEntry> = numbers
        .into_iter()
        .map(|number| AclEntry {
            number,
            traffic: traffic(dice),
            net: *dice.pick(nets),
            action: if dice.percent(40) { AclAction::Deny } else { AclAction::Allow },
        })
        .collect();
    if dice.percent(85) {
        entries.extend(both(32_000));
    }
    entries
}

/// Routes as `CreateRoute` takes them: within the VPC's own ranges only whole subnets, and those to interfaces.
fn routes(
    dice: &mut Dice,
    (vpc, attached): (&VpcDesired, Option<&Gateway>),
    own: &[NetworkInterfaceId],
    nets: &[IpNet],
) -> Vec<RouteDesired> {
    let mut routes: Vec<(IpNet, RouteTarget)> = Vec::new();
    if let Some(gateway) = attached {
        let beyond = gateway.attachments.iter().filter(|attachment| attachment.vpc != vpc.vpc);
        for range in beyond.flat_map(|attachment| &attachment.ranges) {
            if dice.percent(60) {
                routes.push((*range, RouteTarget::TransitGateway(gateway.id)));
            }
        }
        for _ in 0..dice.below(3) {
            let wide: IpNet = dice.pick(&["10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "::/0"]).parse().unwrap();
            let destination = if dice.percent(60) { wide } else { *dice.pick(nets) };
            routes.push((destination, RouteTarget::TransitGateway(gateway.id)));
        }
    }
    for peering in &vpc.peerings {
        let v6 = peering.ipv6_cidrs.iter().copied().map(IpNet::V6);
        for cidr in peering.cidrs.iter().copied().map(IpNet::V4).chain(v6) {
            if dice.percent(80) {
                routes.push((cidr, RouteTarget::Peering(peering.peering)));
            }
        }
    }
    if let Some(gateway) = vpc.nat_gateways.first().filter(|_| dice.percent(80)) {
        routes.push((everywhere(), RouteTarget::NatGateway(gateway.gateway)));
    }
    if dice.percent(60) {
        let target = *dice.pick(&[true, true, false]);
        let target = if target { RouteTarget::InternetGateway } else { RouteTarget::EgressOnly };
        routes.push((everywhere_v6(), target));
    }
    for _ in 0..dice.between(0, 5) {
        let destination = if dice.percent(40) { everywhere() } else { *dice.pick(nets) };
        let is_v6 = matches!(destination, IpNet::V6(_));
        let peering = vpc.peerings.first().map(|p| RouteTarget::Peering(p.peering));
        let interface = (!own.is_empty()).then(|| RouteTarget::Interface(*dice.pick(own)));
        let nat = vpc.nat_gateways.first().map(|gateway| RouteTarget::NatGateway(gateway.gateway));
        let nat = nat.filter(|_| !is_v6).or(is_v6.then_some(RouteTarget::EgressOnly));
        let target = match dice.below(8) {
            0..=2 => RouteTarget::InternetGateway,
            6 | 7 => nat.unwrap_or(RouteTarget::InternetGateway),
            3 => interface.unwrap_or(RouteTarget::Blackhole),
            4 => peering.unwrap_or(RouteTarget::InternetGateway),
            _ => RouteTarget::Blackhole,
        };
        routes.push((destination, target));
    }
    let whole = |subnet: &SubnetDesired| {
        [subnet.cidr.map(IpNet::V4), subnet.ipv6_cidr.map(IpNet::V6)].into_iter().flatten()
    };
    if dice.percent(40) && !own.is_empty() {
        let nets: Vec<IpNet> = vpc.subnets.iter().flat_map(whole).collect();
        routes.push((*dice.pick(&nets), RouteTarget::Interface(*dice.pick(own))));
    }
    let v6 = vpc.ipv6_cidrs.iter().copied().map(IpNet::V6);
    let blocks: Vec<IpNet> = vpc.cidrs.iter().copied().map(IpNet::V4).chain(v6).collect();
    let mut seen = BTreeSet::new();
    routes.retain(|(destination, target)| {
        let within = blocks.iter().any(|block| block.contains(destination));
        let whole = vpc.subnets.iter().flat_map(whole).any(|net| net == *destination);
        let fits = !within || (whole && matches!(target, RouteTarget::Interface(_)));
        let local = blocks.contains(destination);
        fits && !local && seen.insert(*destination)
    });
    let mut routes: Vec<RouteDesired> =
        routes.into_iter().map(|(destination, target)| RouteDesired { destination, target }).collect();
    routes.sort_by_key(|route| route.destination);
    routes
}
