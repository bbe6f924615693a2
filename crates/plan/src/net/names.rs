//! Names of namespaces, links, tables, chains and sets, and how to read them back.
//!
//! A link's name holds 15 bytes at most.

use super::Members;
use model::{
    CloudTag, NatGatewayId, NetworkAclId, NetworkInterfaceId, SecurityGroupId, SubnetId,
    TransitGatewayAttachmentId, VpcId, VpcPeeringConnectionId, VpnConnectionId,
};
use std::fmt::Display;

/// The link from a VPC's namespace to the edge.
pub const IGW: &str = "igw";
/// The link from the edge to the host.
pub const EDGE_UPLINK: &str = "up";
/// The table of a VPC's rule set, in the `inet` and the `arp` family.
pub const VPC_TABLE: &str = "vpc";
/// A map of earlier rule sets, which held instances to their bandwidth themselves.
pub const LIMITS_BY_PORT: &str = "bw_out";
/// The table of the edge's rule set.
pub const EDGE_TABLE: &str = "edge";
/// The edge's table for services beside the cloud.
pub const SERVICES_TABLE: &str = "services";
/// The map of a VPC's rule set that tells with which address it comes to such services.
pub const SERVICE_SNAT: &str = "service_snat";

/// The digits of an id, without its prefix.
pub(super) fn digits(id: impl Display) -> String {
    let text = id.to_string();
    text.rsplit_once('-').map_or(text.clone(), |(_, digits)| digits.to_owned())
}

/// What the names of all of a cloud's namespaces start with.
pub fn namespace_prefix(cloud: &CloudTag) -> String {
    format!("nube-{cloud}-")
}

pub fn edge_namespace(cloud: &CloudTag) -> String {
    format!("nube-{cloud}-edge")
}

pub fn vpc_namespace(cloud: &CloudTag, vpc: VpcId) -> String {
    format!("nube-{cloud}-{}", digits(vpc))
}

/// The VPC whose namespace this is, if it is one of this cloud.
pub fn vpc_of_namespace(cloud: &CloudTag, name: &str) -> Option<VpcId> {
    VpcId::parse(&format!("vpc-{}", name.strip_prefix(&namespace_prefix(cloud))?)).ok()
}

/// What stands behind one interface of an endpoint, or of an endpoint service.
pub fn endpoint_namespace(cloud: &CloudTag, interface: NetworkInterfaceId) -> String {
    format!("nube-{cloud}-{interface}")
}

/// The interface whose namespace this is, if it is one of this cloud.
pub fn interface_of_namespace(cloud: &CloudTag, name: &str) -> Option<NetworkInterfaceId> {
    NetworkInterfaceId::parse(name.strip_prefix(&namespace_prefix(cloud))?).ok()
}

/// The link from the node of an endpoint service to an endpoint's interface: 56 of the id's bits.
pub fn client_link(interface: NetworkInterfaceId) -> String {
    format!("c{:014x}", interface.bits() & ((1 << 56) - 1))
}

/// Whether it is such a link.
pub fn is_client_link(name: &str) -> bool {
    name.len() == 15 && is_counted(name, 'c')
}

/// Where the tunnels of a VPN connection end.
pub fn vpn_namespace(cloud: &CloudTag, connection: VpnConnectionId) -> String {
    format!("nube-{cloud}-{connection}")
}

/// The VPN connection whose namespace this is, if it is one of this cloud.
pub fn connection_of_namespace(cloud: &CloudTag, name: &str) -> Option<VpnConnectionId> {
    VpnConnectionId::parse(name.strip_prefix(&namespace_prefix(cloud))?).ok()
}

/// The link to a VPN connection's namespace, from the edge and from the VPC: 56 of the id's bits.
pub fn vpn_link(connection: VpnConnectionId) -> String {
    format!("w{:014x}", connection.bits() & ((1 << 56) - 1))
}

/// The link from the host to the cloud's edge.
pub fn host_link(cloud: &CloudTag) -> String {
    format!("nb-{cloud}")
}

/// The link from the edge to a VPC: 56 of the id's bits, which are random.
pub fn edge_link(vpc: VpcId) -> String {
    format!("v{:014x}", vpc.bits() & ((1 << 56) - 1))
}

/// The link from the edge to a VPC and from there, by which it reaches services beside the cloud.
pub fn service_link(vpc: VpcId) -> String {
    format!("s{:014x}", vpc.bits() & ((1 << 56) - 1))
}

/// The link from a VPC to another, the same on both sides: 56 of the id's bits.
pub fn peering_link(peering: VpcPeeringConnectionId) -> String {
    format!("p{:014x}", peering.bits() & ((1 << 56) - 1))
}

/// The link between two attachments of a transit gateway, the same on both sides and either way round.
pub fn transit_link([one, other]: [TransitGatewayAttachmentId; 2]) -> String {
    format!("g{:014x}", (one.bits() ^ other.bits()) & ((1 << 56) - 1))
}

/// The two ends of a NAT gateway's link, both in its VPC: packets go in by the first and come back by the second.
pub fn nat_links(gateway: NatGatewayId) -> [String; 2] {
    ["i", "o"].map(|end| format!("n{:013x}{end}", gateway.bits() & ((1 << 52) - 1)))
}

/// Whether the link belongs to a peering, a transit gateway, a NAT gateway, a VPN connection or gateway endpoints.
pub fn is_side_link(name: &str) -> bool {
    name.len() == 15 && name.starts_with(['p', 'g', 'n', 'w', 's'])
}

/// The chain that a packet from another VPC passes first.
pub fn peering_arrival(peering: VpcPeeringConnectionId) -> String {
    format!("pci_{}", digits(peering))
}

/// The chain that a packet passes first that comes by a transit gateway, and the one before it leaves by it.
pub fn transit_chains(attachment: TransitGatewayAttachmentId) -> [String; 2] {
    ["tgi", "tgo"].map(|end| format!("{end}_{}", digits(attachment)))
}

/// The chain that a packet from a VPN connection passes first.
pub fn vpn_arrival(connection: VpnConnectionId) -> String {
    format!("vpi_{}", digits(connection))
}

/// The chain of an answer that comes back from a NAT gateway.
pub fn nat_back(gateway: NatGatewayId) -> String {
    format!("ngb_{}", digits(gateway))
}

/// The chains that a packet passes on its way into a NAT gateway, and when it comes out of it.
pub fn nat_chains(gateway: NatGatewayId) -> [String; 2] {
    ["ngi", "ngo"].map(|end| format!("{end}_{}", digits(gateway)))
}

/// The cloud's table in the host's own namespace.
pub fn root_table_name(cloud: &CloudTag) -> String {
    format!("nube_{cloud}")
}

/// The comment that marks a rule which the cloud has put into a chain of somebody else.
pub fn foreign_comment(cloud: &CloudTag) -> String {
    format!("nube {cloud}")
}

/// A port's link. The counter never goes back, so no name is used twice.
pub fn tap(counter: u64) -> String {
    format!("t{counter:x}")
}

/// The link to an endpoint, counted with the taps.
pub fn endpoint_port(counter: u64) -> String {
    format!("e{counter:x}")
}

pub fn is_endpoint_port(name: &str) -> bool {
    is_counted(name, 'e')
}

/// Whether it is a port's link, a machine's or an endpoint's.
pub fn is_tap(name: &str) -> bool {
    is_counted(name, 't') || is_endpoint_port(name)
}

fn is_counted(name: &str, letter: char) -> bool {
    name.strip_prefix(letter).is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

pub fn group_ingress(group: SecurityGroupId) -> String {
    format!("sgi_{}", digits(group))
}

pub fn group_egress(group: SecurityGroupId) -> String {
    format!("sgo_{}", digits(group))
}

/// The set of the private addresses of a group's members, or of the networks of their prefixes.
pub fn group_members(group: SecurityGroupId, members: Members) -> String {
    let prefix = match members {
        Members::V4 => "sgm",
        Members::V6 => "sgm6",
        Members::Prefixes => "sgmp",
    };
    format!("{prefix}_{}", digits(group))
}

/// The set of a group's members in other VPCs: the link that they come by, and the address.
pub fn group_members_beyond(group: SecurityGroupId, members: Members) -> String {
    let prefix = match members {
        Members::V4 => "sgb",
        Members::V6 => "sgb6",
        Members::Prefixes => BEYOND_BY_PREFIX,
    };
    format!("{prefix}_{}", digits(group))
}

const BEYOND_BY_PREFIX: &str = "sgbp";

/// Whether an element of the set stands for all addresses of an interface's IPv6 prefix; its key ends with the first.
pub fn is_of_prefixes(set: &str) -> bool {
    set == "net6" || set.strip_prefix(BEYOND_BY_PREFIX).is_some_and(|rest| rest.starts_with('_'))
}

pub fn group_of_members_beyond(set: &str) -> Option<(SecurityGroupId, Members)> {
    group_of(set, "sgb")
}

fn group_of(set: &str, family: &str) -> Option<(SecurityGroupId, Members)> {
    let (kind, digits) = set.strip_prefix(family)?.split_once('_')?;
    let members = match kind {
        "" => Members::V4,
        "6" => Members::V6,
        "p" => Members::Prefixes,
        _ => return None,
    };
    Some((SecurityGroupId::parse(&format!("sg-{digits}")).ok()?, members))
}

pub fn group_of_ingress(chain: &str) -> Option<SecurityGroupId> {
    SecurityGroupId::parse(&format!("sg-{}", chain.strip_prefix("sgi_")?)).ok()
}

pub fn group_of_members(set: &str) -> Option<(SecurityGroupId, Members)> {
    group_of(set, "sgm")
}

/// The chain of the edge that lets pass what a VPC sends by IPv6 in its own name.
pub fn edge_ipv6(vpc: VpcId) -> String {
    format!("v6_{}", digits(vpc))
}

pub fn vpc_of_edge_ipv6(chain: &str) -> Option<VpcId> {
    VpcId::parse(&format!("vpc-{}", chain.strip_prefix("v6_")?)).ok()
}

pub fn acl_ingress(acl: NetworkAclId) -> String {
    format!("nai_{}", digits(acl))
}

pub fn acl_egress(acl: NetworkAclId) -> String {
    format!("nao_{}", digits(acl))
}

/// The chain that a packet into a subnet passes.
pub fn subnet_ingress(subnet: SubnetId) -> String {
    format!("nsi_{}", digits(subnet))
}

/// The chain that a packet out of a subnet passes.
pub fn subnet_egress(subnet: SubnetId) -> String {
    format!("nso_{}", digits(subnet))
}

/// The set of the classes of a subnet's ports.
pub fn subnet_ports(subnet: SubnetId) -> String {
    format!("nsp_{}", digits(subnet))
}

pub fn is_subnet_ports(set: &str) -> bool {
    set.starts_with("nsp_")
}

/// Whether the chain belongs to an ACL, a subnet, a peering, a transit gateway or a NAT gateway.
pub fn is_acl_chain(chain: &str) -> bool {
    const PREFIXES: [&str; 11] =
        ["nai_", "nao_", "nsi_", "nso_", "pci_", "tgi_", "tgo_", "ngi_", "ngo_", "ngb_", "vpi_"];
    PREFIXES.iter().any(|prefix| chain.starts_with(prefix))
}

/// The receiver's gate of a class of ports: those of one subnet that have the same groups.
pub fn class_ingress(class: u32) -> String {
    format!("cgi_{class}")
}

/// The sender's gate of a class of ports.
pub fn class_egress(class: u32) -> String {
    format!("cgo_{class}")
}

pub fn class_of_ingress(chain: &str) -> Option<u32> {
    chain.strip_prefix("cgi_")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_names_its_vpc_and_no_other_clouds() {
        let (ours, theirs) = (CloudTag::parse("abc234").unwrap(), CloudTag::parse("xyz789").unwrap());
        for id in ["vpc-0123456789abcdef0", "vpc-1a2b3c4d"] {
            let vpc = VpcId::parse(id).unwrap();
            let name = vpc_namespace(&ours, vpc);
            assert_eq!(vpc_of_namespace(&ours, &name), Some(vpc));
            assert_eq!(vpc_of_namespace(&theirs, &name), None);
        }
        assert_eq!(vpc_of_namespace(&ours, &edge_namespace(&ours)), None);
        let interface = NetworkInterfaceId::from_entropy(7);
        let name = endpoint_namespace(&ours, interface);
        assert_eq!(vpc_of_namespace(&ours, &name), None);
        assert_eq!(interface_of_namespace(&ours, &name), Some(interface));
        assert_eq!(interface_of_namespace(&theirs, &name), None);
        assert_eq!(interface_of_namespace(&ours, &vpc_namespace(&ours, VpcId::from_entropy(7))), None);
    }

    #[test]
    fn a_set_names_its_group_and_whose_members_it_holds() {
        let group = SecurityGroupId::from_entropy(7);
        for members in Members::ALL {
            let (here, beyond) = (group_members(group, members), group_members_beyond(group, members));
            assert_eq!(group_of_members(&here), Some((group, members)));
            assert_eq!(group_of_members_beyond(&beyond), Some((group, members)));
            assert!(group_of_members(&beyond).is_none() && group_of_members_beyond(&here).is_none());
            assert!(!is_of_prefixes(&here));
            assert_eq!(is_of_prefixes(&beyond), members == Members::Prefixes);
        }
    }

    #[test]
    fn a_gate_names_its_class() {
        assert_eq!(class_of_ingress(&class_ingress(u32::MAX)), Some(u32::MAX));
        for other in [class_egress(7), group_ingress(SecurityGroupId::from_entropy(7)), "cgi_".into()] {
            assert_eq!(class_of_ingress(&other), None, "{other}");
        }
    }

    #[test]
    fn link_names_fit_into_the_kernels_fifteen_bytes() {
        assert!(edge_link(VpcId::from_entropy(u128::MAX)).len() <= 15);
        assert!(host_link(&CloudTag::parse("abc234").unwrap()).len() <= 15);
        let client = client_link(NetworkInterfaceId::from_entropy(u128::MAX));
        assert!(is_client_link(&client) && !is_side_link(&client) && !is_client_link("c1"));
        assert!(is_side_link(&peering_link(VpcPeeringConnectionId::from_entropy(u128::MAX))));
        let attachments = [1, u128::MAX].map(TransitGatewayAttachmentId::from_entropy);
        assert!(is_side_link(&transit_link(attachments)));
        let [one, other] = attachments;
        assert_eq!(transit_link([one, other]), transit_link([other, one]));
        assert!(is_side_link(&service_link(VpcId::from_entropy(u128::MAX))));
        assert!(is_side_link(&vpn_link(VpnConnectionId::from_entropy(u128::MAX))));
        assert!(nat_links(NatGatewayId::from_entropy(u128::MAX)).iter().all(|link| is_side_link(link)));
        assert!(tap(u64::from(u32::MAX) << 16).len() <= 15);
        assert!(is_tap(&tap(31)) && is_tap(&endpoint_port(31)) && !is_endpoint_port(&tap(31)));
        assert!(!is_tap("eth0"));
    }
}
