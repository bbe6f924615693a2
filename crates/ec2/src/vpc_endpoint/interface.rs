//! What interface endpoints are made of: an interface in each subnet, groups, names.

use super::{invalid_parameter, service};
use crate::errors::{client, invalid_parameter_value};
use crate::network_interface::{managed, parse_address};
use crate::noun::hold;
use crate::parameter::{refuse, unsupported};
use crate::vpc_endpoint_service;
use api_ec2::{DnsOptionsSpecification, DnsRecordIpType, IpAddressType, SubnetConfiguration};
use control::{Context, Result, Tables, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::vpc::{Subnet, Vpc};
use model::record::vpc_endpoint::{EndpointInterface, EndpointService, InterfaceEndpoint, VpcEndpoint};
use model::record::vpc_endpoint_service::VpcEndpointService;
use model::{SecurityGroupId, SubnetId, VpcEndpointId, VpcId, Zone};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Eight letters and digits.
pub fn label(entropy: u128) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..8).map(|i| char::from(ALPHABET[(entropy >> (i * 5)) as usize & 31])).collect()
}

/// IPv4 is what endpoints have.
pub fn addressing(kind: Option<&IpAddressType>, options: Option<&DnsOptionsSpecification>) -> Result<()> {
    if let Some(kind) = kind.filter(|kind| kind.as_str() != "ipv4") {
        let shown: String = kind.as_str().chars().take(64).collect();
        return Err(unsupported(&format!("The IpAddressType {shown} of an endpoint")));
    }
    let Some(options) = options else { return Ok(()) };
    let record = options.dns_record_ip_type.as_ref().map(DnsRecordIpType::as_str);
    refuse(&[
        ("DnsRecordIpType", record.is_some_and(|kind| !["ipv4", "service-defined"].contains(&kind))),
        (
            "PrivateDnsOnlyForInboundResolverEndpoint",
            options.private_dns_only_for_inbound_resolver_endpoint == Some(true),
        ),
        ("PrivateDnsPreference", options.private_dns_preference.is_some()),
        (
            "PrivateDnsSpecifiedDomains",
            options.private_dns_specified_domains.as_ref().is_some_and(|list| !list.is_empty()),
        ),
    ])
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

/// The addresses that interfaces shall have, by subnet.
pub fn addresses(
    configurations: &[SubnetConfiguration],
    subnets: &[String],
) -> Result<BTreeMap<String, Ipv4Addr>> {
    let mut addresses = BTreeMap::new();
    for configuration in configurations {
        refuse(&[("SubnetConfiguration.Ipv6", configuration.ipv6.is_some())])?;
        let subnet = configuration.subnet_id.as_deref().unwrap_or_default();
        if !subnets.iter().any(|named| named == subnet) {
            let shown: String = subnet.chars().take(64).collect();
            return Err(invalid_parameter(format!(
                "The subnet '{shown}' of a subnet configuration is not among the subnets of the request."
            )));
        }
        if let Some(address) = &configuration.ipv4 {
            addresses.insert(subnet.to_owned(), parse_address(address)?);
        }
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
    addresses: &BTreeMap<String, Ipv4Addr>,
) -> Result<()> {
    let mut taken: Vec<Zone> = own.interfaces.iter().map(|interface| interface.zone.clone()).collect();
    let mut subnets: Vec<(Arc<Subnet>, Option<Ipv4Addr>)> = Vec::new();
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
        subnets.push((subnet, addresses.get(id).copied()));
    }
    for (subnet, wanted) in subnets {
        let record = interface(ctx, txn, &subnet, endpoint, (&own.groups, wanted))?;
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
    (groups, wanted): (&[SecurityGroupId], Option<Ipv4Addr>),
) -> Result<NetworkInterface> {
    Ok(NetworkInterface {
        groups: groups.to_vec(),
        description: format!("VPC Endpoint Interface {}", endpoint.endpoint),
        vpc_endpoint: Some(endpoint.endpoint),
        ..managed(ctx, txn, subnet, wanted)?
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
