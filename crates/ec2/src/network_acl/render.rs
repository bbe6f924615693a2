//! A network ACL as the API shows it. Protocols are numbers here, unlike in security groups.

use crate::noun::render_tags;
use api_ec2 as api;
use control::Tables;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::Region;
use model::net::{AclAction, AclEntry, Traffic};
use model::record::vpc::{NetworkAcl, Vpc};
use std::net::{Ipv4Addr, Ipv6Addr};

pub fn network_acl(region: &Region, tables: &Tables, acl: &NetworkAcl) -> api::NetworkAcl {
    let has_ipv6 = tables.get::<Vpc>(region, &acl.vpc).is_some_and(|vpc| !vpc.ipv6.is_empty());
    let associations = acl.associations.iter().map(|association| api::NetworkAclAssociation {
        network_acl_association_id: Some(association.association.to_string()),
        network_acl_id: Some(acl.acl.to_string()),
        subnet_id: Some(association.subnet.to_string()),
    });
    api::NetworkAcl {
        associations: Some(associations.collect()),
        entries: Some(entries(acl, if has_ipv6 { &[IPV4, IPV6] } else { &[IPV4] })),
        is_default: Some(acl.is_default),
        network_acl_id: Some(acl.acl.to_string()),
        tags: render_tags(&acl.tags),
        vpc_id: Some(acl.vpc.to_string()),
        owner_id: Some(acl.account.to_string()),
    }
}

/// The implied last entry of each family.
pub const IPV4: AclEntry = last(1, IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)));
pub const IPV6: AclEntry = last(2, IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)));

const fn last(place: u16, net: IpNet) -> AclEntry {
    AclEntry { number: super::MAX_NUMBER + place, traffic: Traffic::All, net, action: AclAction::Deny }
}

/// Every entry of both directions, and the implied last ones.
pub fn entries(acl: &NetworkAcl, last: &[AclEntry]) -> Vec<api::NetworkAclEntry> {
    let mut out = Vec::new();
    for (egress, given) in [(true, &acl.egress), (false, &acl.ingress)] {
        let mut ordered: Vec<&AclEntry> = given.iter().collect();
        ordered.sort_by_key(|entry| entry.number);
        out.extend(
            ordered
                .into_iter()
                .chain(last)
                .map(|one| api::NetworkAclEntry { egress: Some(egress), ..entry(one) }),
        );
    }
    out
}

fn entry(entry: &AclEntry) -> api::NetworkAclEntry {
    let or_any = |value: Option<u8>| Some(value.map_or(-1, i32::from));
    let (protocol, port_range, icmp) = match entry.traffic {
        Traffic::All => ("-1".to_owned(), None, None),
        Traffic::Tcp { from, to } => ("6".to_owned(), Some((from, to)), None),
        Traffic::Udp { from, to } => ("17".to_owned(), Some((from, to)), None),
        Traffic::Icmp { kind, code } => ("1".to_owned(), None, Some((kind, code))),
        Traffic::Icmpv6 { kind, code } => ("58".to_owned(), None, Some((kind, code))),
        Traffic::Protocol(number) => (number.to_string(), None, None),
    };
    let (cidr_block, ipv6_cidr_block) = match entry.net {
        IpNet::V4(net) => (Some(net.to_string()), None),
        IpNet::V6(net) => (None, Some(net.to_string())),
    };
    api::NetworkAclEntry {
        cidr_block,
        egress: None,
        icmp_type_code: icmp
            .map(|(kind, code)| api::IcmpTypeCode { code: or_any(code), r#type: or_any(kind) }),
        ipv6_cidr_block,
        port_range: port_range
            .map(|(from, to)| api::PortRange { from: Some(from.into()), to: Some(to.into()) }),
        protocol: Some(protocol),
        rule_action: Some(match entry.action {
            AclAction::Allow => api::RuleAction::Allow,
            AclAction::Deny => api::RuleAction::Deny,
        }),
        rule_number: Some(entry.number.into()),
    }
}
