//! What interface endpoints are made of: an interface in each subnet, groups, names.

use super::{invalid_parameter, service};
use crate::errors::{client, invalid_parameter_value};
use crate::network_interface::{ipv6, managed, parse_address};
use crate::noun::hold;
use crate::parameter::refuse;
use crate::vpc_endpoint_service;
use api_ec2::{DnsOptionsSpecification, DnsRecordIpType, IpAddressType, SubnetConfiguration};
use control::{Context, Result, Tables, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::vpc::{Subnet, Vpc};
use model::record::vpc_endpoint::{
    Addressing, EndpointInterface, EndpointService, InterfaceEndpoint, VpcEndpoint,
};
use model::record::vpc_endpoint_service::VpcEndpointService;
use model::{Region, SecurityGroupId, SubnetId, VpcEndpointId, VpcId, Zone};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Eight letters and digits.
pub fn label(entropy: u128) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..8).map(|i| char::from(ALPHABET[(entropy >> (i * 5)) as usize & 31])).collect()
}

/// Which addresses a request asks for, and which of them names shall lead to; none: as it is, or as is usual.
pub fn addressing(
    kind: Option<&IpAddressType>,
    options: Option<&DnsOptionsSpecification>,
) -> Result<[Option<Addressing>; 2]> {
    let known = |parameter: &str, text: &str| {
        Addressing::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            invalid_parameter_value(format!("Value ({shown}) for parameter {parameter} is invalid."))
        })
    };
    let kind = kind.map(|kind| known("IpAddressType", kind.as_str())).transpose()?;
    let Some(options) = options else { return Ok([kind, None]) };
    refuse(&[
        (
            "PrivateDnsOnlyForInboundResolverEndpoint",
            options.private_dns_only_for_inbound_resolver_endpoint == Some(true),
        ),
        ("PrivateDnsPreference", options.private_dns_preference.is_some()),
        (
            "PrivateDnsSpecifiedDomains",
            options.private_dns_specified_domains.as_ref().is_some_and(|list| !list.is_empty()),
        ),
    ])?;
    let record = options.dns_record_ip_type.as_ref().map(DnsRecordIpType::as_str);
    let record = record.filter(|record| *record != "service-defined");
    Ok([kind, record.map(|record| known("DnsRecordIpType", record)).transpose()?])
}

/// Gives an endpoint what a request asks for; its interfaces have yet to follow ([`follow`]).
pub fn set_addressing(
    region: &Region,
    own: &mut InterfaceEndpoint,
    [kind, named]: [Option<Addressing>; 2],
) -> Result<()> {
    if let Some(kind) = kind {
        (own.addressing, own.named) = (kind, kind);
    }
    own.named = named.unwrap_or(own.named);
    if let Some(service) = own.service.shared().filter(|_| !own.addressing.is_ipv4()) {
        return Err(invalid_parameter(format!(
            "The VPC endpoint service {} does not support the IP address type {}.",
            vpc_endpoint_service::name(region, service),
            own.addressing.as_str()
        )));
    }
    if own.named != own.addressing && own.addressing != Addressing::Dualstack {
        return Err(invalid_parameter(format!(
            "The DNS record IP type {} is not compatible with the IP address type {}.",
            own.named.as_str(),
            own.addressing.as_str()
        )));
    }
    Ok(())
}

/// Whether an endpoint's interface in a subnet can have these addresses: IPv6 alone is for subnets of it alone, as on AWS.
fn carries(subnet: &Subnet, addressing: Addressing) -> Result<()> {
    let can = match addressing {
        Addressing::Ipv4 => subnet.cidr.is_some(),
        Addressing::Ipv6 => subnet.is_ipv6_native(),
        Addressing::Dualstack => subnet.cidr.is_some() && subnet.ipv6.is_some(),
    };
    if can {
        return Ok(());
    }
    Err(invalid_parameter(format!(
        "The subnet {} does not support the IP address type {}.",
        subnet.subnet,
        addressing.as_str()
    )))
}

/// Gives the interfaces that an endpoint has what its addressing asks for, and takes the rest.
pub fn follow(ctx: &Context, txn: &mut Txn<'_>, own: &InterfaceEndpoint) -> Result<()> {
    for one in &own.interfaces {
        let subnet = hold::<Subnet>(ctx, txn, &one.subnet.to_string())?;
        carries(&subnet, own.addressing)?;
        let Some(interface) = txn.get::<NetworkInterface>(&ctx.region, &one.interface) else { continue };
        if own.addressing.has_ipv6() == interface.ipv6.is_empty() {
            let mut changed = NetworkInterface::clone(&interface);
            if own.addressing.has_ipv6() {
                changed.ipv6 = vec![ipv6::allocate(ctx, txn, &subnet, None, one.interface)?];
            } else {
                for address in std::mem::take(&mut changed.ipv6) {
                    ipv6::release(ctx, txn, subnet.subnet, address);
                }
            }
            txn.put(&ctx.region, changed);
        }
    }
    Ok(())
}

/// The endpoint whose the interfaces are.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    pub endpoint: VpcEndpointId,
    pub vpc: VpcId,
}

/// Whether the service's own names may lead to an endpoint.
pub fn enable_private_dns(
    ctx: &Context,
    tables: &Tables,
    vpc: &Vpc,
    endpoint: &Owner,
    service: EndpointService,
) -> Result<()> {
    let service = match service {
        EndpointService::Api(service) => service,
        EndpointService::Shared(service) => {
            return Err(invalid_parameter(format!(
                "Private DNS can't be enabled because the service {} does not provide a private DNS name.",
                vpc_endpoint_service::name(&ctx.region, service)
            )));
        }
    };
    if !vpc.dns_support || !vpc.dns_hostnames {
        return Err(invalid_parameter(format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for {}",
            vpc.vpc
        )));
    }
    let mut others = tables.find::<VpcEndpoint>(&ctx.region, "vpc", vpc.vpc);
    let conflicts = others.any(|other| {
        let known = other
            .interface()
            .is_some_and(|own| own.private_dns && own.service == EndpointService::Api(service));
        known && other.is_there() && other.endpoint != endpoint.endpoint
    });
    if conflicts {
        return Err(invalid_parameter(format!(
            "private-dns-enabled cannot be set because there is already a conflicting DNS domain for {} in the VPC {}",
            service::private_name(&ctx.region, service),
            vpc.vpc
        )));
    }
    Ok(())
}

/// Addresses that a request names for one interface.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// The addresses that interfaces shall have, by subnet.
pub fn addresses(
    configurations: &[SubnetConfiguration],
    subnets: &[String],
) -> Result<BTreeMap<String, Wanted>> {
    let mut addresses = BTreeMap::new();
    for configuration in configurations {
        let subnet = configuration.subnet_id.as_deref().unwrap_or_default();
        if !subnets.iter().any(|named| named == subnet) {
            let shown: String = subnet.chars().take(64).collect();
            return Err(invalid_parameter(format!(
                "The subnet '{shown}' of a subnet configuration is not among the subnets of the request."
            )));
        }
        let v4 = configuration.ipv4.as_deref().map(parse_address).transpose()?;
        let v6 = configuration.ipv6.as_deref().map(ipv6::parse).transpose()?;
        addresses.insert(subnet.to_owned(), Wanted { v4, v6 });
    }
    Ok(addresses)
}

/// Puts an interface into each of these subnets. A zone has one at most.
pub fn add_subnets(
    ctx: &Context,
    txn: &mut Txn<'_>,
    endpoint: &Owner,
    own: &mut InterfaceEndpoint,
    ids: &[String],
    addresses: &BTreeMap<String, Wanted>,
) -> Result<()> {
    let mut taken: Vec<Zone> = own.interfaces.iter().map(|interface| interface.zone.clone()).collect();
    let mut subnets: Vec<(Arc<Subnet>, Wanted)> = Vec::new();
    for id in ids {
        let subnet = hold::<Subnet>(ctx, txn, id)?;
        if subnet.vpc != endpoint.vpc {
            return Err(invalid_parameter(format!(
                "The subnet ID '{id}' is not in the VPC {}",
                endpoint.vpc
            )));
        }
        let known = |other: SubnetId| other == subnet.subnet;
        if own.interfaces.iter().any(|i| known(i.subnet)) || subnets.iter().any(|(s, _)| known(s.subnet)) {
            continue;
        }
        if taken.contains(&subnet.zone) {
            return Err(client(
                "DuplicateSubnetsInSameZone",
                format!("Found another VPC endpoint subnet in the availability zone of {}", subnet.subnet),
            ));
        }
        taken.push(subnet.zone.clone());
        carries(&subnet, own.addressing)?;
        subnets.push((subnet, addresses.get(id).copied().unwrap_or_default()));
    }
    for (subnet, wanted) in subnets {
        let record = interface(ctx, txn, &subnet, endpoint, (own, wanted))?;
        let (subnet, zone) = (subnet.subnet, subnet.zone.clone());
        own.interfaces.push(EndpointInterface { subnet, zone, interface: record.interface });
        txn.put(&ctx.region, record);
    }
    Ok(())
}

fn interface(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    endpoint: &Owner,
    (own, wanted): (&InterfaceEndpoint, Wanted),
) -> Result<NetworkInterface> {
    let unwanted = |parameter: &str| {
        invalid_parameter(format!(
            "{parameter} cannot be given with the IP address type {}.",
            own.addressing.as_str()
        ))
    };
    if wanted.v4.is_some() && !own.addressing.has_ipv4() {
        return Err(unwanted("An IPv4 address"));
    }
    if wanted.v6.is_some() && !own.addressing.has_ipv6() {
        return Err(unwanted("An IPv6 address"));
    }
    let v4 = own.addressing.has_ipv4().then_some(wanted.v4);
    let v6 = own.addressing.has_ipv6().then_some(wanted.v6);
    Ok(NetworkInterface {
        groups: own.groups.clone(),
        description: format!("VPC Endpoint Interface {}", endpoint.endpoint),
        vpc_endpoint: Some(endpoint.endpoint),
        ..managed(ctx, txn, subnet, (v4, v6))?
    })
}

/// Whether an account's service answers in the zones of these interfaces.
pub fn within_zones(shared: &VpcEndpointService, interfaces: &[EndpointInterface]) -> Result<()> {
    match interfaces.iter().find(|own| shared.in_zone(&own.zone).is_none()) {
        None => Ok(()),
        Some(own) => Err(invalid_parameter(format!(
            "The VPC endpoint service {} does not support the availability zone of the subnet: {}.",
            vpc_endpoint_service::name(&shared.region, shared.service),
            own.subnet
        ))),
    }
}

/// Groups that are named twice count once; there is at least one.
pub fn limit_groups(groups: &[SecurityGroupId]) -> Result<()> {
    match groups.len() {
        0 => Err(invalid_parameter_value("An endpoint must have at least one security group.")),
        1..=crate::network_interface::MAX_GROUPS => Ok(()),
        _ => Err(client(
            "SecurityGroupsPerInterfaceLimitExceeded",
            format!(
                "The maximum number of security groups per interface is {}.",
                crate::network_interface::MAX_GROUPS
            ),
        )),
    }
}
