//! VPCs and what stands in them: subnets, gateways, route tables, network ACLs, DHCP options.

use super::{IndexValue, Record, Tags};
use crate::net::AclEntry;
use crate::{
    AccountId, DhcpOptionsId, EgressOnlyInternetGatewayId, InternetGatewayId, NatGatewayId,
    NetworkAclAssociationId, NetworkAclId, NetworkInterfaceId, PrefixListId, RouteTableAssociationId,
    RouteTableId, SubnetCidrAssociationId, SubnetCidrReservationId, SubnetId, TransitGatewayId,
    VpcCidrAssociationId, VpcEndpointId, VpcId, VpcPeeringConnectionId, VpnGatewayId, Zone,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vpc {
    pub vpc: VpcId,
    pub account: AccountId,
    pub cidr: Ipv4Net,
    pub cidr_association: VpcCidrAssociationId,
    /// The blocks that it got later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<VpcCidr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<VpcIpv6Cidr>,
    pub dhcp_options: DhcpOptionsId,
    pub dns_support: bool,
    pub dns_hostnames: bool,
    pub is_default: bool,
    pub tags: Tags,
}

/// A block beside the primary one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcCidr {
    pub association: VpcCidrAssociationId,
    pub cidr: Ipv4Net,
}

/// A /56 of the cloud's own pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpcIpv6Cidr {
    pub association: VpcCidrAssociationId,
    pub cidr: Ipv6Net,
}

impl Vpc {
    pub fn ipv6_cidrs(&self) -> impl Iterator<Item = Ipv6Net> {
        self.ipv6.iter().map(|block| block.cidr)
    }

    /// Every block of both families.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> {
        self.cidrs().map(IpNet::V4).chain(self.ipv6_cidrs().map(IpNet::V6))
    }

    /// Every block, the primary one first.
    pub fn cidrs(&self) -> impl Iterator<Item = Ipv4Net> {
        self.blocks().map(|(_, cidr)| cidr)
    }

    /// Every block with its association, the primary one first.
    pub fn blocks(&self) -> impl Iterator<Item = (VpcCidrAssociationId, Ipv4Net)> {
        let further = self.further.iter().map(|block| (block.association, block.cidr));
        std::iter::once((self.cidr_association, self.cidr)).chain(further)
    }

    /// Whether addresses are the VPC's own, whose route is local in every table.
    pub fn holds(&self, net: IpNet) -> bool {
        self.nets().any(|cidr| cidr.contains(&net))
    }
}

owned!(Vpc);

impl Record for Vpc {
    const NOUN: &'static str = "vpc";
    type Id = VpcId;

    fn id(&self) -> VpcId {
        self.vpc
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subnet {
    pub subnet: SubnetId,
    pub account: AccountId,
    pub vpc: VpcId,
    pub zone: Zone,
    /// None: its interfaces have IPv6 alone (`Ipv6Native`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<Ipv4Net>,
    pub default_for_zone: bool,
    /// Instances launched here get a public address unless the launch says otherwise.
    pub map_public_ip: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<SubnetIpv6Cidr>,
    /// New interfaces here get an IPv6 address.
    #[serde(default)]
    pub assign_ipv6: bool,
    pub tags: Tags,
}

/// A /64 of the VPC's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetIpv6Cidr {
    pub association: SubnetCidrAssociationId,
    pub cidr: Ipv6Net,
}

impl Subnet {
    /// Its blocks of both families.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> {
        self.cidr.into_iter().map(IpNet::V4).chain(self.ipv6.iter().map(|block| IpNet::V6(block.cidr)))
    }

    /// Whether its interfaces have IPv6 alone.
    pub const fn is_ipv6_native(&self) -> bool {
        self.cidr.is_none()
    }
}

owned!(Subnet);

impl Record for Subnet {
    const NOUN: &'static str = "subnet";
    type Id = SubnetId;

    fn id(&self) -> SubnetId {
        self.subnet
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("vpc", self.vpc.into())]
    }
}

/// A part of a subnet that is kept out of automatic assignment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubnetCidrReservation {
    pub reservation: SubnetCidrReservationId,
    pub account: AccountId,
    pub subnet: SubnetId,
    pub cidr: IpNet,
    pub kind: ReservationKind,
    pub description: Option<String>,
    pub tags: Tags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReservationKind {
    /// For prefixes of interfaces.
    Prefix,
    /// For addresses that requests name.
    Explicit,
}

owned!(SubnetCidrReservation);

impl Record for SubnetCidrReservation {
    const NOUN: &'static str = "subnet-cidr-reservation";
    type Id = SubnetCidrReservationId;

    fn id(&self) -> SubnetCidrReservationId {
        self.reservation
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("subnet", self.subnet.into())]
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InternetGateway {
    pub gateway: InternetGatewayId,
    pub account: AccountId,
    pub vpc: Option<VpcId>,
    pub tags: Tags,
}

owned!(InternetGateway);

impl Record for InternetGateway {
    const NOUN: &'static str = "internet-gateway";
    type Id = InternetGatewayId;

    fn id(&self) -> InternetGatewayId {
        self.gateway
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into())];
        indexes.extend(self.vpc.map(|vpc| ("vpc", vpc.into())));
        indexes
    }
}

/// A way out for IPv6 that lets nobody in. It belongs to its VPC for life.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EgressOnlyInternetGateway {
    pub gateway: EgressOnlyInternetGatewayId,
    pub account: AccountId,
    pub vpc: VpcId,
    pub tags: Tags,
}

owned!(EgressOnlyInternetGateway);

impl Record for EgressOnlyInternetGateway {
    const NOUN: &'static str = "egress-only-internet-gateway";
    type Id = EgressOnlyInternetGatewayId;

    fn id(&self) -> EgressOnlyInternetGatewayId {
        self.gateway
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("vpc", self.vpc.into())]
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RouteTable {
    pub table: RouteTableId,
    pub account: AccountId,
    pub vpc: VpcId,
    /// Routes beside the VPC's local ones.
    pub routes: Vec<Route>,
    pub associations: Vec<RouteTableAssociation>,
    /// The virtual private gateways whose routes it takes over.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub propagating: BTreeSet<VpnGatewayId>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub destination: Destination,
    pub target: RouteTarget,
}

/// What a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Destination {
    PrefixList(PrefixListId),
    Net(IpNet),
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PrefixList(list) => list.fmt(f),
            Self::Net(net) => net.fmt(f),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    InternetGateway(InternetGatewayId),
    EgressOnly(EgressOnlyInternetGatewayId),
    Interface(NetworkInterfaceId),
    Peering(VpcPeeringConnectionId),
    NatGateway(NatGatewayId),
    TransitGateway(TransitGatewayId),
    VpnGateway(VpnGatewayId),
    /// A gateway endpoint, for the list of its service alone.
    Endpoint(VpcEndpointId),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTableAssociation {
    pub association: RouteTableAssociationId,
    /// `None`, of a gateway too: the main association, for every subnet without one of its own.
    pub subnet: Option<SubnetId>,
    /// An edge association: the table leads what comes in by this gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<EdgeGateway>,
}

/// A gateway by which packets come into a VPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EdgeGateway {
    Internet(InternetGatewayId),
    Vpn(VpnGatewayId),
}

impl std::fmt::Display for EdgeGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internet(gateway) => gateway.fmt(f),
            Self::Vpn(gateway) => gateway.fmt(f),
        }
    }
}

impl From<EdgeGateway> for IndexValue {
    fn from(gateway: EdgeGateway) -> Self {
        match gateway {
            EdgeGateway::Internet(gateway) => gateway.into(),
            EdgeGateway::Vpn(gateway) => gateway.into(),
        }
    }
}

impl RouteTableAssociation {
    pub const fn is_main(&self) -> bool {
        self.subnet.is_none() && self.gateway.is_none()
    }
}

impl RouteTable {
    pub fn is_main(&self) -> bool {
        self.associations.iter().any(RouteTableAssociation::is_main)
    }

    /// The gateways whose arriving packets it leads.
    pub fn edges(&self) -> impl Iterator<Item = EdgeGateway> {
        self.associations.iter().filter_map(|association| association.gateway)
    }

    /// Whether it leads a gateway's.
    pub fn is_edge(&self) -> bool {
        self.edges().next().is_some()
    }
}

owned!(RouteTable);

impl Record for RouteTable {
    const NOUN: &'static str = "route-table";
    type Id = RouteTableId;

    fn id(&self) -> RouteTableId {
        self.table
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into()), ("vpc", self.vpc.into())];
        indexes.extend(self.associations.iter().filter_map(|a| Some(("subnet", a.subnet?.into()))));
        indexes.extend(self.edges().map(|gateway| ("gateway", gateway.into())));
        indexes.extend(self.routes.iter().filter_map(|route| match route.destination {
            Destination::PrefixList(list) => Some(("prefix-list", list.into())),
            Destination::Net(_) => None,
        }));
        indexes
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkAcl {
    pub acl: NetworkAclId,
    pub account: AccountId,
    pub vpc: VpcId,
    pub is_default: bool,
    /// In the order of their numbers; the final deny is implied.
    pub ingress: Vec<AclEntry>,
    pub egress: Vec<AclEntry>,
    pub associations: Vec<NetworkAclAssociation>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAclAssociation {
    pub association: NetworkAclAssociationId,
    pub subnet: SubnetId,
}

owned!(NetworkAcl);

impl Record for NetworkAcl {
    const NOUN: &'static str = "network-acl";
    type Id = NetworkAclId;

    fn id(&self) -> NetworkAclId {
        self.acl
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into()), ("vpc", self.vpc.into())];
        indexes.extend(self.associations.iter().map(|a| ("subnet", a.subnet.into())));
        indexes
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DhcpOptions {
    pub options: DhcpOptionsId,
    pub account: AccountId,
    /// Names and values, as `DescribeDhcpOptions` shows them.
    pub configuration: Vec<(String, Vec<String>)>,
    pub tags: Tags,
}

owned!(DhcpOptions);

impl Record for DhcpOptions {
    const NOUN: &'static str = "dhcp-options";
    type Id = DhcpOptionsId;

    fn id(&self) -> DhcpOptionsId {
        self.options
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_that_was_written_before_some_had_no_ipv4_block_is_read() {
        let old = r#"{"subnet":"subnet-00000000000000001","account":"000000000001","vpc":"vpc-00000000000000001",
            "zone":ZONE,"cidr":"10.0.1.0/24","default_for_zone":false,"map_public_ip":true,"tags":{}}"#;
        let zone = Zone::parse("us-east-1a").unwrap();
        let old = old.replace("ZONE", &serde_json::to_string(&zone).unwrap());
        let mut read: Subnet = serde_json::from_str(&old).unwrap();
        assert_eq!(read.cidr, Some("10.0.1.0/24".parse().unwrap()));
        assert!(serde_json::to_string(&read).unwrap().contains(r#""cidr":"10.0.1.0/24""#));
        read.cidr = None;
        let written = serde_json::to_string(&read).unwrap();
        let again: Subnet = serde_json::from_str(&written).unwrap();
        assert!(again.is_ipv6_native() && again.nets().next().is_none());
    }

    #[test]
    fn a_destination_is_written_as_it_ever_was() {
        for text in ["\"10.0.0.0/8\"", "\"2001:db8::/32\"", "\"pl-0123456789abcdef0\""] {
            let read: Destination = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }
}
