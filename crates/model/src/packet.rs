//! Model packets: what one says on the wire, what it meets on its way, and what stops it.
//!
//! `plan::net::packet` walks them through the rules that a host is given; analyses keep what they found in records.

use crate::host::RouteTarget;
use crate::net::{AclEntry, Allow};
use crate::record::security_group::Direction;
use crate::{
    NatGatewayId, NetworkAclId, NetworkInterfaceId, RouteTableId, SecurityGroupId, SubnetId,
    TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId, VpcEndpointId, VpcId,
    VpcPeeringConnectionId, VpnConnectionId, VpnGatewayId,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What a packet carries, as far as rules look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    Tcp {
        from: u16,
        to: u16,
    },
    Udp {
        from: u16,
        to: u16,
    },
    /// Type and code, of the packet's own version of it.
    Icmp {
        kind: u8,
        code: u8,
    },
    Other(u8),
}

/// Both addresses are of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Packet {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub transport: Transport,
}

impl Packet {
    /// The number of its protocol.
    pub const fn protocol(self) -> u8 {
        match self.transport {
            Transport::Tcp { .. } => 6,
            Transport::Udp { .. } => 17,
            Transport::Icmp { .. } => {
                if self.src.is_ipv6() {
                    58
                } else {
                    1
                }
            }
            Transport::Other(number) => number,
        }
    }

    /// Its source and destination ports; 0 where there are none.
    pub const fn ports(self) -> (u16, u16) {
        match self.transport {
            Transport::Tcp { from, to } | Transport::Udp { from, to } => (from, to),
            Transport::Icmp { .. } | Transport::Other(_) => (0, 0),
        }
    }

    /// What answers it.
    #[must_use]
    pub const fn answer(self) -> Self {
        let transport = match self.transport {
            Transport::Tcp { from, to } => Transport::Tcp { from: to, to: from },
            Transport::Udp { from, to } => Transport::Udp { from: to, to: from },
            Transport::Icmp { kind, code } => {
                let kind = if self.src.is_ipv4() && kind == 8 { 0 } else { kind.saturating_add(1) };
                Transport::Icmp { kind, code }
            }
            other @ Transport::Other(_) => other,
        };
        Self { src: self.dst, dst: self.src, transport }
    }
}

/// Something that a packet passed, and the packet as it came there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub vpc: VpcId,
    pub component: Component,
    pub packet: Packet,
}

/// What stands in a packet's way, with the rule that lets it pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Component {
    Interface(NetworkInterfaceId),
    SecurityGroup {
        group: SecurityGroupId,
        interface: NetworkInterfaceId,
        direction: Direction,
        rule: Allow,
    },
    NetworkAcl {
        acl: NetworkAclId,
        subnet: SubnetId,
        direction: Direction,
        rule: AclEntry,
    },
    Route {
        table: RouteTableId,
        subnet: SubnetId,
        destination: IpNet,
        target: Lead,
    },
    NatGateway(NatGatewayId),
    /// The gateway of the step's VPC.
    InternetGateway,
    EgressOnlyInternetGateway,
    Peering(VpcPeeringConnectionId),
    /// Out of the step's VPC by its attachment, and on by this route of the gateway's table.
    TransitGateway {
        gateway: TransitGatewayId,
        attachment: TransitGatewayAttachmentId,
        table: TransitGatewayRouteTableId,
        destination: IpNet,
        to: TransitGatewayAttachmentId,
    },
    /// Out of the step's VPC by a VPN connection, or in by it.
    VpnGateway {
        gateway: VpnGatewayId,
        connection: VpnConnectionId,
    },
    /// Out of the step's VPC by a gateway endpoint, or back by it.
    GatewayEndpoint(VpcEndpointId),
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lead {
    /// To whoever in the VPC has the address.
    Local,
    Target(RouteTarget),
}

/// What stops a packet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Obstacle {
    /// No rule of these groups of the interface lets it pass.
    SecurityGroups { interface: NetworkInterfaceId, groups: Vec<SecurityGroupId>, direction: Direction },
    /// This entry denies it, or none matches.
    NetworkAcl { acl: NetworkAclId, subnet: SubnetId, direction: Direction, rule: Option<AclEntry> },
    /// The table knows no way.
    NoRoute { table: RouteTableId, subnet: SubnetId },
    /// The way that the table knows leads to what is not there.
    Blackhole { table: RouteTableId, subnet: SubnetId, destination: IpNet, target: RouteTarget },
    /// The interface takes and sends only what bears one of its addresses.
    SourceDestinationCheck { interface: NetworkInterfaceId, direction: Direction },
    /// Nobody here has the address.
    Nobody { vpc: VpcId, address: IpAddr },
    /// Addresses that no packet may have, or that go no further than to the next router.
    Kept { vpc: VpcId, address: IpAddr },
    /// The gateway translates to no public address.
    NoPublicAddress { vpc: VpcId, address: IpAddr },
    /// Nobody behind the gateway may be reached by the address.
    NotPublic { vpc: VpcId, address: IpAddr },
    /// Neither the gateway nor a peering takes what nobody vouches for.
    Forged { vpc: VpcId, peering: Option<VpcPeeringConnectionId> },
    /// Not from one side's own ranges to the other's.
    PeeringRange { peering: VpcPeeringConnectionId },
    /// The gateway's table knows no way, or says that there is none.
    NoTransit {
        gateway: TransitGatewayId,
        attachment: TransitGatewayAttachmentId,
        table: Option<TransitGatewayRouteTableId>,
        blackhole: Option<IpNet>,
    },
    /// The attachment is not in the subnet's zone.
    TransitZone { gateway: TransitGatewayId, attachment: TransitGatewayAttachmentId, subnet: SubnetId },
    /// A gateway takes only what one of its VPC's own vouches for, and gives a VPC nothing in its own name.
    TransitForged { gateway: TransitGatewayId, attachment: TransitGatewayAttachmentId },
    /// A NAT gateway takes only what its own VPC sends, and lets in answers alone.
    NatGateway { gateway: NatGatewayId },
    /// The connection's static routes do not hold the sender, or it is one of the VPC's own, or nobody vouches for it.
    VpnRange { gateway: VpnGatewayId, connection: VpnConnectionId },
    /// A gateway endpoint takes only what its own VPC sends.
    GatewayEndpoint { endpoint: VpcEndpointId },
    /// It comes to somebody else; what a machine does with packets for others is not known.
    Elsewhere { end: End },
    /// It goes in circles.
    Loop { vpc: VpcId },
}

/// Where a packet has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Interface(NetworkInterfaceId),
    /// Out of the cloud by this VPC's gateway.
    Outside(VpcId),
    /// Into the customer's network behind a VPN connection of this VPC.
    Customer(VpcId, VpnConnectionId),
    /// To the service behind a gateway endpoint of this VPC, which sees an address of the host's as its source.
    Service(VpcId, VpcEndpointId),
    /// To the VPC's router itself, or to one of its services.
    Router(VpcId),
}

/// The way of a packet through the network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    pub steps: Vec<Step>,
    /// What would stop it, in the order of its way. Rules that filter are passed over to find what else stands in the way;
    /// where there is no way on, the walk ends.
    pub obstacles: Vec<Obstacle>,
    pub end: Option<End>,
    /// As it arrives.
    pub arrives: Option<Packet>,
    /// The senders for whom NAT gateways have put in their own address, in the order of its way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub translated: Vec<(NatGatewayId, IpAddr)>,
}

impl Walk {
    /// Where it arrives, if nothing stops it.
    pub fn arrives_at(&self) -> Option<End> {
        self.end.filter(|_| self.obstacles.is_empty())
    }
}
