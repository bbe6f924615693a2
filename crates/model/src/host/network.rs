//! What a host should hold of VPCs: routers, rules and interfaces.

use super::Rate;
use crate::flow_log::FlowLogDesired;
use crate::net::{AclEntry, Allow, Mac};
use crate::traffic_mirror::MirrorDesired;
use crate::{
    AccountId, InstanceId, NatGatewayId, NetworkAclId, NetworkInterfaceId, Region, RouteTableId,
    SecurityGroupId, SubnetId, TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId,
    VpcEndpointId, VpcEndpointServiceId, VpcId, VpcPeeringConnectionId, VpnConnectionId, VpnGatewayId,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One VPC as a host that carries some of its interfaces needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VpcDesired {
    pub vpc: VpcId,
    pub account: AccountId,
    pub region: Region,
    pub cidrs: Vec<Ipv4Net>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_cidrs: Vec<Ipv6Net>,
    /// Whether the VPC's resolver answers at all.
    pub dns_support: bool,
    pub subnets: Vec<SubnetDesired>,
    pub route_tables: Vec<RouteTableDesired>,
    /// Which of them leads what comes in by the internet gateway; none: it goes to whom it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_table: Option<RouteTableId>,
    /// The same for what comes in by its VPN connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpn_table: Option<RouteTableId>,
    pub network_acls: Vec<NetworkAclDesired>,
    /// The VPCs that it meets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peerings: Vec<PeeringDesired>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nat_gateways: Vec<NatGatewayDesired>,
    /// The transit gateways that it is attached to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transits: Vec<TransitDesired>,
    /// The ways to its owners' own networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vpns: Vec<VpnDesired>,
    /// Doors to the cloud's own API, and to services of accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointDesired>,
    /// Where what comes by endpoints of accounts' services comes out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_nodes: Vec<ServiceNodeDesired>,
    /// What is written of the flows of its interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flow_logs: Vec<FlowLogDesired>,
    /// Which packets of its interfaces are copied to others of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<MirrorDesired>,
}

/// A way to another VPC, open while both ask for it. Packets take it where routes of their subnets say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeeringDesired {
    pub peering: VpcPeeringConnectionId,
    pub peer: VpcId,
    /// The only sources that come from there.
    pub cidrs: Vec<Ipv4Net>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_cidrs: Vec<Ipv6Net>,
}

/// A VPC's end at a transit gateway: where packets go that its routes lead there, and who they come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitDesired {
    pub gateway: TransitGatewayId,
    pub attachment: TransitGatewayAttachmentId,
    /// Whether it carries IPv6 as well.
    pub ipv6: bool,
    /// The subnet whose routes packets ask that come by it.
    pub arrival: SubnetId,
    /// The subnets whose packets it takes: those of the zones that it is in.
    pub served: Vec<SubnetId>,
    /// The gateway's table that they ask; none: no packet passes.
    pub table: Option<TransitGatewayRouteTableId>,
    /// What that table says, each destination once.
    pub routes: Vec<TransitRouteDesired>,
    /// The VPCs on the other ends of its ways, in either direction.
    pub peers: Vec<TransitPeerDesired>,
}

/// A way through a transit gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitRouteDesired {
    pub destination: IpNet,
    /// None: packets are dropped.
    pub to: Option<TransitGatewayAttachmentId>,
}

/// The link between two ends stands while both name each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransitPeerDesired {
    pub attachment: TransitGatewayAttachmentId,
    pub vpc: VpcId,
}

/// A VPN connection by a virtual private gateway or a transit gateway: IPsec tunnels, of which any that is up carries
/// packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpnDesired {
    pub connection: VpnConnectionId,
    pub gateway: VpnGatewayId,
    /// The subnet whose routes what comes from there asks, wherever it goes; none: it goes to the VPC's own ranges alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<SubnetId>,
    /// Where the customer's device is.
    pub customer: Ipv4Addr,
    /// What lies behind it: the only destinations of what goes there and the only sources of what comes from there.
    pub routes: Vec<Ipv4Net>,
    pub tunnels: Vec<VpnTunnelDesired>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpnTunnelDesired {
    /// The cloud's end, a public address.
    pub outside: Ipv4Addr,
    /// A /30: its first address is the cloud's, its second the customer's.
    pub inside: Ipv4Net,
    pub versions: IkeVersions,
    /// Whether the cloud begins the negotiation.
    pub initiates: bool,
    /// None: it is not known here (any more).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PreSharedKey>,
}

/// Which versions of IKE a tunnel speaks; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeVersions {
    pub v1: bool,
    pub v2: bool,
}

impl IkeVersions {
    pub const BOTH: Self = Self { v1: true, v2: true };
}

/// The secret that both ends of a tunnel know, in the clear: for memory and for the agent's socket, never for a disk or a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PreSharedKey(String);

impl PreSharedKey {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PreSharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PreSharedKey(…)")
    }
}

/// A tunnel as a host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelSeen {
    pub connection: VpnConnectionId,
    pub outside: Ipv4Addr,
    /// Whether packets can pass.
    pub up: bool,
    /// Whether there is a security association for keys, without one for packets.
    pub ike_up: bool,
}

/// What leaves by it takes its private address, with a port of its own, and is routed on as its subnet says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewayDesired {
    pub gateway: NatGatewayId,
    pub subnet: SubnetId,
    pub address: AddressDesired,
}

/// Interfaces at which a service answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointDesired {
    pub endpoint: VpcEndpointId,
    pub interfaces: Vec<InterfaceDesired>,
    pub names: Vec<EndpointName>,
    #[serde(default, skip_serializing_if = "EndpointLead::is_api")]
    pub lead: EndpointLead,
}

/// What stands behind an endpoint's interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointLead {
    /// The cloud's own API, on ports 80 and 443; nothing else answers.
    #[default]
    Api,
    /// An account's service: TCP and UDP to any port go on to these nodes. An interface that is not among them leads nowhere.
    Service(Vec<NodeLink>),
}

impl EndpointLead {
    pub const fn is_api(&self) -> bool {
        matches!(self, Self::Api)
    }
}

/// The node that one interface of an endpoint leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLink {
    /// The endpoint's.
    pub interface: NetworkInterfaceId,
    /// The VPC of the service.
    pub vpc: VpcId,
    /// The node's interface there.
    pub node: NetworkInterfaceId,
}

/// An endpoint service in a zone of its VPC: an interface that answers nobody, and by which what comes from endpoints goes to
/// its target, with the interface's own address. It is in no security group: none keeps it from sending, nobody begins
/// anything with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceNodeDesired {
    pub service: VpcEndpointServiceId,
    pub interface: InterfaceDesired,
    /// None: there is nobody to send to.
    pub target: Option<Ipv4Addr>,
    /// The interfaces of endpoints that may send; the link to one stands while both name each other.
    pub clients: Vec<ServiceClient>,
}

/// An interface of an endpoint that leads to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceClient {
    pub interface: NetworkInterfaceId,
    pub vpc: VpcId,
}

/// A name of an endpoint, in lower case, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointName {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    /// Whether it is known in the endpoint's VPC alone.
    pub private: bool,
}

/// How a connection came that an agent hands to the server: by which endpoint, and from whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    pub region: Region,
    pub vpc: VpcId,
    pub endpoint: VpcEndpointId,
    /// The sender's address as the endpoint's VPC sees it.
    pub source: IpAddr,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubnetDesired {
    pub subnet: SubnetId,
    /// None: a subnet of IPv6 alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<Ipv4Net>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_cidr: Option<Ipv6Net>,
    pub route_table: RouteTableId,
    pub network_acl: NetworkAclId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteTableDesired {
    pub route_table: RouteTableId,
    /// Routes beside the VPC's local ones, which always exist.
    pub routes: Vec<RouteDesired>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteDesired {
    pub destination: IpNet,
    pub target: RouteTarget,
}

/// Where a route leads on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    InternetGateway,
    /// Out as by the internet gateway; nobody outside begins anything with who has no other way out.
    EgressOnly,
    /// To an interface whose machine forwards. While it has none here, or checks its sources and destinations, packets are
    /// dropped.
    Interface(NetworkInterfaceId),
    Peering(VpcPeeringConnectionId),
    NatGateway(NatGatewayId),
    /// On by the gateway's own routes, see [`TransitDesired`].
    TransitGateway(TransitGatewayId),
    /// On by the static routes of the gateway's connections, see [`VpnDesired`].
    VpnGateway(VpnGatewayId),
    /// Out to a service beside the cloud, with an address of the host's.
    GatewayEndpoint(VpcEndpointId),
    /// The target is gone: packets are dropped.
    Blackhole,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkAclDesired {
    pub network_acl: NetworkAclId,
    /// In the order of their numbers; what matches none is denied.
    pub ingress: Vec<AclEntry>,
    pub egress: Vec<AclEntry>,
}

/// A security group's rules. Its members are the interfaces that name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroupDesired {
    pub group: SecurityGroupId,
    pub vpc: VpcId,
    pub ingress: Vec<Allow>,
    pub egress: Vec<Allow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InterfaceDesired {
    pub interface: NetworkInterfaceId,
    /// Its place in the instance, from 0; places may be left out.
    #[serde(default)]
    pub device_index: u32,
    pub mac: Mac,
    pub vpc: VpcId,
    pub subnet: SubnetId,
    /// None: the subnet has IPv6 alone, and so has the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_cidr: Option<Ipv4Net>,
    /// The first is the primary address.
    pub addresses: Vec<AddressDesired>,
    /// The first is the primary one, which DHCPv6 gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<Ipv6Addr>,
    /// Blocks of /28 that are wholly its own, beside its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv4_prefixes: Vec<Ipv4Net>,
    /// Blocks of /80 likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_prefixes: Vec<Ipv6Net>,
    pub security_groups: Vec<SecurityGroupId>,
    pub source_dest_check: bool,
    /// The name that DHCP hands out with the address, without its domain.
    pub hostname: String,
    /// The domain that DHCP hands out.
    pub domain: String,
    /// None: what the host can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
}

impl InterfaceDesired {
    /// Every IPv4 address that is its own, the primary one first and those of its prefixes last.
    pub fn own_ipv4(&self) -> impl Iterator<Item = Ipv4Addr> {
        let of_prefixes = self.ipv4_prefixes.iter().flat_map(|prefix| addresses_of(*prefix));
        self.addresses.iter().map(|address| address.private).chain(of_prefixes)
    }

    /// Whether it has IPv4 at all; else the routers take none of it from it, and lead none to it.
    pub const fn has_ipv4(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Whether it has any IPv6 address, by itself or by a prefix.
    pub const fn has_ipv6(&self) -> bool {
        !self.ipv6.is_empty() || !self.ipv6_prefixes.is_empty()
    }

    /// Whether an IPv6 address is its own.
    pub fn holds_ipv6(&self, address: Ipv6Addr) -> bool {
        self.ipv6.contains(&address) || self.ipv6_prefixes.iter().any(|prefix| prefix.contains(&address))
    }
}

/// All of a block, its first and its last one too.
pub fn addresses_of(block: Ipv4Net) -> impl Iterator<Item = Ipv4Addr> {
    (block.network().to_bits()..=block.broadcast().to_bits()).map(Ipv4Addr::from_bits)
}

/// What the interfaces of an instance may carry together, each way.
/// AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-network-bandwidth.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Interfaces that name the same instance share it.
    pub instance: InstanceId,
    /// In bytes.
    pub rate: Rate,
}

/// A private address and the public one that is translated to it at the VPC's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressDesired {
    pub private: Ipv4Addr,
    pub public: Option<Ipv4Addr>,
    /// A public address that is its own and that nobody is to reach yet: its range is not advertised. Metadata shows it, no
    /// packet uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Ipv4Addr>,
}

impl AddressDesired {
    /// The public address as its owner knows it.
    pub fn shown(&self) -> Option<Ipv4Addr> {
        self.public.or(self.withheld)
    }
}
