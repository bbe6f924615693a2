//! Rules that look at a packet: groups and ACLs.

use super::hop::{In, Out};
use super::{Network, Vpc};
use model::SubnetId;
use model::host::InterfaceDesired;
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::packet::{Component, Obstacle, Packet, Transport};
use model::record::security_group::Direction;
use std::net::IpAddr;

/// Whether a rule's protocol and ports match; of one family's ICMP no packet of the other is.
pub(super) fn matches(traffic: Traffic, packet: Packet) -> bool {
    let icmp = |of_this: bool, kind: Option<u8>, code: Option<u8>| match packet.transport {
        Transport::Icmp { kind: is_kind, code: is_code } => {
            of_this && kind.is_none_or(|kind| kind == is_kind && code.is_none_or(|code| code == is_code))
        }
        Transport::Tcp { .. } | Transport::Udp { .. } | Transport::Other(_) => false,
    };
    match (traffic, packet.transport) {
        (Traffic::All, _) => true,
        (Traffic::Tcp { from, to }, Transport::Tcp { to: port, .. })
        | (Traffic::Udp { from, to }, Transport::Udp { to: port, .. }) => (from..=to).contains(&port),
        (Traffic::Tcp { .. } | Traffic::Udp { .. }, _) => false,
        (Traffic::Icmp { kind, code }, _) => icmp(packet.src.is_ipv4(), kind, code),
        (Traffic::Icmpv6 { kind, code }, _) => icmp(packet.src.is_ipv6(), kind, code),
        (Traffic::Protocol(number), _) => number == packet.protocol(),
    }
}

/// The entry that decides: of those that match the one with the smallest number.
fn decides(entries: &[AclEntry], end: IpAddr, packet: Packet) -> Option<&AclEntry> {
    let matching = entries.iter().filter(|entry| entry.net.contains(&end) && matches(entry.traffic, packet));
    matching.min_by_key(|entry| entry.number)
}

/// What the ACL of a subnet says of a packet that crosses its border.
pub(super) fn border(
    vpc: &Vpc,
    subnet: SubnetId,
    direction: Direction,
    packet: Packet,
) -> Result<Option<Component>, Obstacle> {
    let Some(place) = vpc.desired.subnets.iter().find(|place| place.subnet == subnet) else {
        return Ok(None);
    };
    let acl = place.network_acl;
    let rules = vpc.desired.network_acls.iter().find(|known| known.network_acl == acl);
    let (entries, end) = match direction {
        Direction::Ingress => (rules.map(|rules| &rules.ingress), packet.src),
        Direction::Egress => (rules.map(|rules| &rules.egress), packet.dst),
    };
    let rule = entries.and_then(|entries| decides(entries, end, packet));
    match rule {
        Some(rule) if rule.action == AclAction::Allow => {
            Ok(Some(Component::NetworkAcl { acl, subnet, direction, rule: *rule }))
        }
        rule => Err(Obstacle::NetworkAcl { acl, subnet, direction, rule: rule.copied() }),
    }
}

/// How a packet passes an interface's gate.
pub(super) struct Passing<'a> {
    pub vpc: &'a Vpc,
    pub packet: Packet,
    /// Whether its source is who it says.
    pub vouched: bool,
    pub came: In<'a>,
    pub goes: Out<'a>,
}

impl Network {
    /// The group and rule that let a packet out of an interface or into it; none out of one without groups.
    pub(super) fn gate(
        &self,
        interface: &InterfaceDesired,
        direction: Direction,
        passing: &Passing<'_>,
    ) -> Result<Option<Component>, Obstacle> {
        if interface.security_groups.is_empty() && direction == Direction::Egress {
            return Ok(None);
        }
        for id in &interface.security_groups {
            let Some(group) = self.groups.get(id) else { continue };
            let rules = match direction {
                Direction::Ingress => &group.ingress,
                Direction::Egress => &group.egress,
            };
            if let Some(rule) = rules.iter().find(|rule| self.allows(rule, direction, passing)) {
                let interface = interface.interface;
                return Ok(Some(Component::SecurityGroup { group: *id, interface, direction, rule: *rule }));
            }
        }
        let groups = interface.security_groups.clone();
        Err(Obstacle::SecurityGroups { interface: interface.interface, groups, direction })
    }

    fn allows(&self, rule: &Allow, direction: Direction, passing: &Passing<'_>) -> bool {
        if !matches(rule.traffic, passing.packet) {
            return false;
        }
        let (end, by) = match direction {
            Direction::Ingress => (passing.packet.src, passing.came.peering()),
            Direction::Egress => (passing.packet.dst, passing.goes.peering()),
        };
        match rule.peer {
            Peer::Net(net) => net.contains(&end),
            // Lists come as their ranges.
            Peer::PrefixList(_) => false,
            Peer::Group(group) => {
                let is_member = |vpc| {
                    let holder = self.holder(vpc, end);
                    holder.is_some_and(|holder| holder.security_groups.contains(&group))
                };
                // A member is who has the address, not who claims it.
                let counts = direction == Direction::Egress || passing.vouched;
                counts && is_member(passing.vpc.desired.vpc)
                    || by.is_some_and(|peering| is_member(peering.peer))
            }
        }
    }
}
