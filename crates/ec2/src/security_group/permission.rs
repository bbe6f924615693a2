//! From the API's permissions, structured or flat, to single allowances: protocol, ports, peers, descriptions.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html>

use super::{named, named_in_default_vpc};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::find;
use api_ec2::{IpPermission, SecurityGroupRuleRequest, UserIdGroupPair};
use control::{Context, Result, Tables};
use ipnet::IpNet;
use model::SecurityGroupId;
use model::net::{Allow, Peer, Traffic};
use model::record::prefix_list::PrefixList;
use model::record::security_group::SecurityGroup;

/// One allowance that a request speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub allow: Allow,
    pub description: Option<String>,
}

/// The parameters of old that stand for one permission.
#[derive(Debug, Default, Clone, Copy)]
pub struct Flat<'a> {
    pub protocol: Option<&'a str>,
    pub from: Option<i32>,
    pub to: Option<i32>,
    pub cidr: Option<&'a str>,
    pub group_name: Option<&'a str>,
    pub group_owner: Option<&'a str>,
}

impl Flat<'_> {
    fn is_empty(&self) -> bool {
        self.protocol.is_none() && self.cidr.is_none() && self.group_name.is_none()
    }
}

/// Every allowance that a request names for `group`, each once.
pub fn wanted(
    ctx: &Context,
    tables: &Tables,
    group: &SecurityGroup,
    permissions: Option<&[IpPermission]>,
    flat: Flat<'_>,
) -> Result<Vec<Wanted>> {
    let permissions = permissions.unwrap_or_default();
    let mut all = Vec::new();
    match (permissions.is_empty(), flat.is_empty()) {
        (false, false) => {
            return Err(invalid_parameter_combination(
                "The parameter ipPermissions may not be used in combination with ipProtocol, cidrIp or sourceSecurityGroupName",
            ));
        }
        (true, true) => return Err(missing_parameter("ipPermissions")),
        (true, false) => from_flat(ctx, tables, group, flat, &mut all)?,
        (false, true) => {
            for permission in permissions {
                from_permission(ctx, tables, group, permission, &mut all)?;
            }
        }
    }
    for (index, one) in all.iter().enumerate() {
        if all[..index].iter().any(|earlier: &Wanted| earlier.allow == one.allow) {
            return Err(invalid_parameter_value("The same permission must not appear multiple times"));
        }
    }
    Ok(all)
}

fn from_permission(
    ctx: &Context,
    tables: &Tables,
    group: &SecurityGroup,
    permission: &IpPermission,
    all: &mut Vec<Wanted>,
) -> Result<()> {
    let name = permission.ip_protocol.as_deref().ok_or_else(|| missing_parameter("ipProtocol"))?;
    let traffic = traffic(name, permission.from_port, permission.to_port)?;
    let before = all.len();
    let mut add = |peer, text: &Option<String>| {
        let description = text.as_deref().map(description).transpose()?.flatten();
        all.push(Wanted { allow: Allow { traffic, peer }, description });
        Ok(())
    };
    for range in permission.ip_ranges.iter().flatten() {
        let text = range.cidr_ip.as_deref().ok_or_else(|| missing_parameter("cidrIp"))?;
        add(Peer::Net(IpNet::V4(ipv4(text)?)), &range.description)?;
    }
    for range in permission.ipv6_ranges.iter().flatten() {
        let text = range.cidr_ipv6.as_deref().ok_or_else(|| missing_parameter("cidrIpv6"))?;
        add(Peer::Net(IpNet::V6(ipv6(text)?)), &range.description)?;
    }
    for pair in permission.user_id_group_pairs.iter().flatten() {
        add(Peer::Group(paired(ctx, tables, group, pair)?), &pair.description)?;
    }
    for list in permission.prefix_list_ids.iter().flatten() {
        let id = list.prefix_list_id.as_deref().ok_or_else(|| missing_parameter("prefixListId"))?;
        add(Peer::PrefixList(find::<PrefixList>(ctx, tables, id)?.list), &list.description)?;
    }
    if all.len() == before {
        return Err(client(
            "InvalidPermission.Malformed",
            "A permission must name at least one address range, prefix list or security group.",
        ));
    }
    Ok(())
}

fn from_flat(
    ctx: &Context,
    tables: &Tables,
    group: &SecurityGroup,
    flat: Flat<'_>,
    all: &mut Vec<Wanted>,
) -> Result<()> {
    let peer = match (flat.cidr, flat.group_name) {
        (Some(_), Some(_)) => {
            return Err(invalid_parameter_combination(
                "The parameter cidrIp may not be used in combination with sourceSecurityGroupName",
            ));
        }
        (Some(cidr), None) => Peer::Net(IpNet::V4(ipv4(cidr)?)),
        (None, Some(name)) => {
            own_account(ctx, flat.group_owner)?;
            let peer = named_in_default_vpc(ctx, tables, name)?;
            same_vpc(group, peer)?;
            Peer::Group(peer.group)
        }
        (None, None) => return Err(missing_parameter("cidrIp or sourceSecurityGroupName")),
    };
    let add = |traffic| Wanted { allow: Allow { traffic, peer }, description: None };
    match flat.protocol {
        Some(name) => all.push(add(traffic(name, flat.from, flat.to)?)),
        None if flat.group_name.is_some() => {
            // A source group alone stands for everything that the three protocols of old carry.
            all.push(add(Traffic::Tcp { from: 0, to: u16::MAX }));
            all.push(add(Traffic::Udp { from: 0, to: u16::MAX }));
            all.push(add(Traffic::Icmp { kind: None, code: None }));
        }
        None => return Err(missing_parameter("ipProtocol")),
    }
    Ok(())
}

/// The whole rule that `ModifySecurityGroupRules` puts in the place of another.
pub fn replacement(
    ctx: &Context,
    tables: &Tables,
    group: &SecurityGroup,
    request: &SecurityGroupRuleRequest,
) -> Result<Wanted> {
    let name = request.ip_protocol.as_deref().ok_or_else(|| missing_parameter("IpProtocol"))?;
    let traffic = traffic(name, request.from_port, request.to_port)?;
    let lists = request.prefix_list_id.as_ref();
    let peer = match (&request.cidr_ipv4, &request.cidr_ipv6, &request.referenced_group_id, lists) {
        (Some(text), None, None, None) => Peer::Net(IpNet::V4(ipv4(text)?)),
        (None, Some(text), None, None) => Peer::Net(IpNet::V6(ipv6(text)?)),
        (None, None, Some(id), None) => {
            let peer = find::<SecurityGroup>(ctx, tables, id)?;
            near(ctx, tables, group, peer)?;
            Peer::Group(peer.group)
        }
        (None, None, None, Some(id)) => Peer::PrefixList(find::<PrefixList>(ctx, tables, id)?.list),
        (None, None, None, None) => {
            return Err(missing_parameter("CidrIpv4, CidrIpv6, PrefixListId or ReferencedGroupId"));
        }
        _ => {
            return Err(invalid_parameter_combination(
                "A rule has exactly one of CidrIpv4, CidrIpv6, PrefixListId and ReferencedGroupId",
            ));
        }
    };
    let description = request.description.as_deref().map(description).transpose()?.flatten();
    Ok(Wanted { allow: Allow { traffic, peer }, description })
}

fn paired(
    ctx: &Context,
    tables: &Tables,
    group: &SecurityGroup,
    pair: &UserIdGroupPair,
) -> Result<SecurityGroupId> {
    own_account(ctx, pair.user_id.as_deref())?;
    let peer = match (pair.group_id.as_deref(), pair.group_name.as_deref()) {
        // Clients that echo what a describe showed send both.
        (Some(id), _) => find::<SecurityGroup>(ctx, tables, id)?,
        (None, Some(name)) => named(ctx, tables, group.vpc, name).ok_or_else(|| {
            client(
                "InvalidGroup.NotFound",
                format!("The security group '{name}' does not exist in VPC '{}'", group.vpc),
            )
        })?,
        (None, None) => return Err(missing_parameter("groupId or groupName")),
    };
    near(ctx, tables, group, peer)?;
    Ok(peer.group)
}

/// A group's rules may name groups of its own VPC and of those that it is peered with.
fn near(ctx: &Context, tables: &Tables, group: &SecurityGroup, peer: &SecurityGroup) -> Result<()> {
    if crate::vpc_peering_connection::meet(tables, &ctx.region, group.vpc, peer.vpc) {
        return Ok(());
    }
    same_vpc(group, peer)
}

fn own_account(ctx: &Context, user: Option<&str>) -> Result<()> {
    match user {
        Some(user) if user != ctx.account().to_string() => Err(client(
            "InvalidGroup.NotFound",
            format!("Account '{user}' has no security group that this account may refer to"),
        )),
        _ => Ok(()),
    }
}

fn same_vpc(group: &SecurityGroup, peer: &SecurityGroup) -> Result<()> {
    if group.vpc == peer.vpc {
        return Ok(());
    }
    Err(client(
        "InvalidGroup.NotFound",
        format!(
            "You have specified two resources that belong to different networks: {} and {}",
            group.group, peer.group
        ),
    ))
}

fn ipv4(text: &str) -> Result<ipnet::Ipv4Net> {
    let net: ipnet::Ipv4Net = text.parse().map_err(|_| malformed_cidr(text))?;
    Ok(net.trunc())
}

fn ipv6(text: &str) -> Result<ipnet::Ipv6Net> {
    let net: ipnet::Ipv6Net = text.parse().map_err(|_| malformed_cidr(text))?;
    Ok(net.trunc())
}

fn malformed_cidr(text: &str) -> wire::ApiError {
    let shown: String = text.chars().take(64).collect();
    invalid_parameter_value(format!("CIDR block {shown} is malformed"))
}

/// A protocol by name or number, with its ports or ICMP type and code. Ports of protocols that have none are ignored.
pub fn traffic(protocol: &str, from: Option<i32>, to: Option<i32>) -> Result<Traffic> {
    match protocol.to_ascii_lowercase().as_str() {
        "-1" | "all" => Ok(Traffic::All),
        "tcp" | "6" => ports(from, to).map(|(from, to)| Traffic::Tcp { from, to }),
        "udp" | "17" => ports(from, to).map(|(from, to)| Traffic::Udp { from, to }),
        "icmp" | "1" => {
            let (Some(kind), Some(code)) = (from, to) else {
                return Err(invalid_parameter_value(
                    "Invalid value 'Must specify both from and to ports with ICMP.' for portRange.",
                ));
            };
            icmp(kind, code).map(|(kind, code)| Traffic::Icmp { kind, code })
        }
        "icmpv6" | "58" => {
            icmp(from.unwrap_or(-1), to.unwrap_or(-1)).map(|(kind, code)| Traffic::Icmpv6 { kind, code })
        }
        other => other.parse().map(Traffic::Protocol).map_err(|_| {
            let shown: String = protocol.chars().take(64).collect();
            invalid_parameter_value(format!("Invalid value '{shown}' for IP protocol. Unknown protocol."))
        }),
    }
}

fn ports(from: Option<i32>, to: Option<i32>) -> Result<(u16, u16)> {
    let (Some(from), Some(to)) = (from, to) else {
        return Err(invalid_parameter_value(
            "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.",
        ));
    };
    let port = |port: i32| {
        u16::try_from(port)
            .map_err(|_| invalid_parameter_value(format!("TCP/UDP port ({port}) out of range")))
    };
    let (first, last) = (port(from)?, port(to)?);
    if first > last {
        return Err(invalid_parameter_value(format!("Invalid TCP/UDP port range ({from}:{to})")));
    }
    Ok((first, last))
}

fn icmp(kind: i32, code: i32) -> Result<(Option<u8>, Option<u8>)> {
    let number = |what: &str, value: i32| match value {
        -1 => Ok(None),
        value => u8::try_from(value)
            .map(Some)
            .map_err(|_| invalid_parameter_value(format!("ICMP {what} ({value}) out of range"))),
    };
    let (kind, code) = (number("type", kind)?, number("code", code)?);
    if let (None, Some(code)) = (kind, code) {
        return Err(invalid_parameter_value(format!(
            "ICMP code ({code}) is only valid with a specific type"
        )));
    }
    Ok((kind, code))
}

/// The characters of descriptions of groups and rules, beside letters and digits.
pub const DESCRIPTION_MARKS: &str = " ._-:/()#,@[]+=&;{}!$*";

/// A rule's description; an empty one is none.
pub fn description(text: &str) -> Result<Option<String>> {
    if text.len() > 255 || !text.chars().all(|c| c.is_ascii_alphanumeric() || DESCRIPTION_MARKS.contains(c)) {
        return Err(invalid_parameter_value(format!(
            "Invalid rule description. It may have up to 255 letters, digits and characters of {DESCRIPTION_MARKS}"
        )));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_known_by_name_and_by_number() {
        assert_eq!(traffic("-1", Some(1), Some(2)).unwrap(), Traffic::All);
        assert_eq!(traffic("6", Some(22), Some(22)).unwrap(), Traffic::Tcp { from: 22, to: 22 });
        assert_eq!(traffic("UDP", Some(0), Some(65535)).unwrap(), Traffic::Udp { from: 0, to: 65535 });
        assert_eq!(traffic("icmp", Some(8), Some(-1)).unwrap(), Traffic::Icmp { kind: Some(8), code: None });
        assert_eq!(traffic("58", None, None).unwrap(), Traffic::Icmpv6 { kind: None, code: None });
        assert_eq!(traffic("50", None, None).unwrap(), Traffic::Protocol(50));
    }

    #[test]
    fn traffic_that_cannot_be_is_refused() {
        for (protocol, from, to) in [
            ("tcp", None, Some(1)),
            ("tcp", Some(2), Some(1)),
            ("tcp", Some(-1), Some(-1)),
            ("udp", Some(0), Some(65536)),
            ("icmp", None, None),
            ("icmp", Some(-1), Some(3)),
            ("icmp", Some(256), Some(0)),
            ("256", None, None),
            ("carrier-pigeon", None, None),
            ("", None, None),
        ] {
            let refused = traffic(protocol, from, to).unwrap_err();
            assert_eq!(refused.code(), "InvalidParameterValue", "{protocol} {from:?} {to:?}");
        }
    }
}
