//! Single entries: `CreateNetworkAclEntry`, `ReplaceNetworkAclEntry`, `DeleteNetworkAclEntry`.

use super::{Egress, MAX_ENTRIES, MAX_NUMBER, entries};
use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::noun::{hold, touched};
use crate::parameter::one_block;
use api_ec2::{
    CreateNetworkAclEntryRequest, CreateNetworkAclEntryResult, DeleteNetworkAclEntryRequest,
    DeleteNetworkAclEntryResult, IcmpTypeCode, PortRange, ReplaceNetworkAclEntryRequest,
    ReplaceNetworkAclEntryResult, RuleAction,
};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::IpNet;
use model::net::{AclAction, AclEntry, Traffic};
use model::record::vpc::NetworkAcl;

/// What a request says of an entry.
struct Wanted<'a> {
    number: i32,
    protocol: &'a str,
    action: &'a RuleAction,
    cidr: Option<&'a str>,
    ipv6_cidr: Option<&'a str>,
    icmp: Option<&'a IcmpTypeCode>,
    ports: Option<&'a PortRange>,
}

pub fn create_touches(
    ctx: &Context,
    request: &CreateNetworkAclEntryRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<NetworkAcl>(ctx, tables, [&request.network_acl_id])
}

pub fn create(
    ctx: &Context,
    request: &CreateNetworkAclEntryRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateNetworkAclEntryResult> {
    let mut acl = NetworkAcl::clone(&*hold::<NetworkAcl>(ctx, txn, &request.network_acl_id)?);
    let entry = parse(&Wanted {
        number: request.rule_number,
        protocol: &request.protocol,
        action: &request.rule_action,
        cidr: request.cidr_block.as_deref(),
        ipv6_cidr: request.ipv6_cidr_block.as_deref(),
        icmp: request.icmp_type_code.as_ref(),
        ports: request.port_range.as_ref(),
    })?;
    let all = entries(&mut acl, request.egress.into());
    if all.iter().any(|known| known.number == entry.number) {
        return Err(client(
            "NetworkAclEntryAlreadyExists",
            format!("The network acl entry identified by {} already exists.", entry.number),
        ));
    }
    all.push(entry);
    check_quota(all)?;
    all.sort_by_key(|entry| entry.number);
    txn.put(&ctx.region, acl);
    Ok(CreateNetworkAclEntryResult {})
}

pub fn replace_touches(
    ctx: &Context,
    request: &ReplaceNetworkAclEntryRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<NetworkAcl>(ctx, tables, [&request.network_acl_id])
}

pub fn replace(
    ctx: &Context,
    request: &ReplaceNetworkAclEntryRequest,
    txn: &mut Txn<'_>,
) -> Result<ReplaceNetworkAclEntryResult> {
    let mut acl = NetworkAcl::clone(&*hold::<NetworkAcl>(ctx, txn, &request.network_acl_id)?);
    let entry = parse(&Wanted {
        number: request.rule_number,
        protocol: &request.protocol,
        action: &request.rule_action,
        cidr: request.cidr_block.as_deref(),
        ipv6_cidr: request.ipv6_cidr_block.as_deref(),
        icmp: request.icmp_type_code.as_ref(),
        ports: request.port_range.as_ref(),
    })?;
    let all = entries(&mut acl, request.egress.into());
    let known = all.iter_mut().find(|known| known.number == entry.number);
    *known.ok_or_else(|| not_found(request.rule_number, request.egress.into(), &request.network_acl_id))? =
        entry;
    check_quota(all)?;
    txn.put(&ctx.region, acl);
    Ok(ReplaceNetworkAclEntryResult {})
}

pub fn delete_touches(
    ctx: &Context,
    request: &DeleteNetworkAclEntryRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<NetworkAcl>(ctx, tables, [&request.network_acl_id])
}

pub fn delete(
    ctx: &Context,
    request: &DeleteNetworkAclEntryRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteNetworkAclEntryResult> {
    let mut acl = NetworkAcl::clone(&*hold::<NetworkAcl>(ctx, txn, &request.network_acl_id)?);
    let number = number(request.rule_number)?;
    let all = entries(&mut acl, request.egress.into());
    let before = all.len();
    all.retain(|entry| entry.number != number);
    if all.len() == before {
        return Err(not_found(request.rule_number, request.egress.into(), &request.network_acl_id));
    }
    txn.put(&ctx.region, acl);
    Ok(DeleteNetworkAclEntryResult {})
}

fn not_found(number: i32, egress: Egress, acl: &str) -> wire::ApiError {
    let direction = match egress {
        Egress::Yes => "egress",
        Egress::No => "ingress",
    };
    client(
        "InvalidNetworkAclEntry.NotFound",
        format!("The {direction} entry {number} does not exist in network ACL {acl}"),
    )
}

fn check_quota(entries: &[AclEntry]) -> Result<()> {
    let v4 = entries.iter().filter(|entry| matches!(entry.net, IpNet::V4(_))).count();
    if v4 > MAX_ENTRIES || entries.len() - v4 > MAX_ENTRIES {
        return Err(client(
            "NetworkAclEntryLimitExceeded",
            format!("The maximum number of network ACL entries ({MAX_ENTRIES}) has been reached."),
        ));
    }
    Ok(())
}

fn number(number: i32) -> Result<u16> {
    u16::try_from(number).ok().filter(|n| (1..=MAX_NUMBER).contains(n)).ok_or_else(|| {
        invalid_parameter_value(format!(
            "Value ({number}) for parameter ruleNumber is invalid. Expecting a number between 1 and {MAX_NUMBER}."
        ))
    })
}

fn parse(wanted: &Wanted<'_>) -> Result<AclEntry> {
    let number = number(wanted.number)?;
    let action = match wanted.action {
        RuleAction::Allow => AclAction::Allow,
        RuleAction::Deny => AclAction::Deny,
        RuleAction::Other(text) => {
            let shown: String = text.chars().take(64).collect();
            return Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter ruleAction is invalid."
            )));
        }
    };
    let net = one_block(wanted.cidr, wanted.ipv6_cidr, ["cidrBlock", "ipv6CidrBlock"])?
        .ok_or_else(|| missing_parameter("cidrBlock or ipv6CidrBlock"))?;
    Ok(AclEntry { number, traffic: traffic(wanted)?, net, action })
}

/// A protocol by number or name. TCP and UDP need ports, ICMP a type and a code.
fn traffic(wanted: &Wanted<'_>) -> Result<Traffic> {
    let ports = || {
        let range = wanted.ports.ok_or_else(|| missing_parameter("portRange"))?;
        let (Some(from), Some(to)) = (range.from, range.to) else {
            return Err(missing_parameter("portRange.from and portRange.to"));
        };
        match (u16::try_from(from), u16::try_from(to)) {
            (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
            _ => Err(invalid_parameter_value(format!("Invalid TCP/UDP port range ({from}:{to})"))),
        }
    };
    let icmp = || {
        let given = wanted.icmp.ok_or_else(|| missing_parameter("icmpTypeCode"))?;
        let (Some(kind), Some(code)) = (given.r#type, given.code) else {
            return Err(missing_parameter("icmpTypeCode.type and icmpTypeCode.code"));
        };
        let one = |value: i32| match value {
            -1 => Ok(None),
            value => u8::try_from(value)
                .map(Some)
                .map_err(|_| invalid_parameter_value(format!("ICMP type or code ({value}) out of range"))),
        };
        Ok((one(kind)?, one(code)?))
    };
    match wanted.protocol.to_ascii_lowercase().as_str() {
        "-1" | "all" => Ok(Traffic::All),
        "6" | "tcp" => ports().map(|(from, to)| Traffic::Tcp { from, to }),
        "17" | "udp" => ports().map(|(from, to)| Traffic::Udp { from, to }),
        "1" | "icmp" => icmp().map(|(kind, code)| Traffic::Icmp { kind, code }),
        "58" | "icmpv6" => icmp().map(|(kind, code)| Traffic::Icmpv6 { kind, code }),
        other => other.parse().map(Traffic::Protocol).map_err(|_| {
            let shown: String = wanted.protocol.chars().take(64).collect();
            invalid_parameter_value(format!("Invalid value '{shown}' for IP protocol. Unknown protocol."))
        }),
    }
}
