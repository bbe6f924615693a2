//! `CreateVpcEndpoint`: with an interface in each subnet that is named.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVpcEndpoint.html>

use super::{MAX_ENDPOINTS, invalid_parameter, render, service};
use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::network_interface::{managed, member_groups, parse_address};
use crate::noun::{created, given_tags, hold, touched};
use crate::parameter::{refuse, unsupported};
use api_ec2::{
    CreateVpcEndpointRequest, CreateVpcEndpointResult, DnsOptionsSpecification, DnsRecordIpType,
    IpAddressType, SubnetConfiguration, VpcEndpointType,
};
use control::policy::Document;
use control::{Context, Result, Tables, Touched, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::security_group::SecurityGroup;
use model::record::vpc::{Subnet, Vpc};
use model::record::vpc_endpoint::{EndpointInterface, VpcEndpoint};
use model::{SecurityGroupId, SubnetId, VpcEndpointId, Zone};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A policy's text in characters, at most.
const LARGEST_POLICY: usize = 20_480;

pub fn touches(ctx: &Context, request: &CreateVpcEndpointRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "vpc-endpoint")];
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all.extend(touched::<Subnet>(ctx, tables, request.subnet_ids.iter().flatten()));
    all.extend(touched::<SecurityGroup>(ctx, tables, request.security_group_ids.iter().flatten()));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateVpcEndpointRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateVpcEndpointResult> {
    refuse(&[
        ("ServiceNetworkArn", request.service_network_arn.is_some()),
        ("ResourceConfigurationArn", request.resource_configuration_arn.is_some()),
    ])?;
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?;
    let name = request.service_name.as_deref().filter(|name| !name.is_empty());
    let service = service::named(&ctx.region, name.ok_or_else(|| missing_parameter("ServiceName"))?)?;
    let kind = request.vpc_endpoint_type.clone().unwrap_or(VpcEndpointType::Gateway);
    if kind != VpcEndpointType::Interface {
        let shown: String = kind.as_str().chars().take(64).collect();
        return Err(invalid_parameter(format!(
            "Endpoint type ({shown}) does not match available service types ([Interface])."
        )));
    }
    if request.route_table_ids.as_ref().is_some_and(|ids| !ids.is_empty()) {
        return Err(invalid_parameter("Route table IDs are only supported for Gateway type VPC Endpoint."));
    }
    if let Some(region) = request.service_region.as_deref().filter(|region| ctx.region.as_str() != *region) {
        let shown: String = region.chars().take(64).collect();
        return Err(unsupported(&format!("An endpoint to a service of another region ({shown})")));
    }
    addressing(request.ip_address_type.as_ref(), request.dns_options.as_ref())?;
    let policy =
        request.policy_document.as_deref().filter(|text| !text.is_empty()).map(policy).transpose()?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["vpc-endpoint"])?;
    let ids = request.security_group_ids.as_deref().unwrap_or_default();
    let groups = member_groups(ctx, txn.tables(), vpc.vpc, ids)?;
    let there = txn.tables().find::<VpcEndpoint>(&ctx.region, "vpc", vpc.vpc).filter(|e| e.is_there());
    if there.count() >= MAX_ENDPOINTS {
        return Err(client(
            "VpcEndpointLimitExceeded",
            format!("The maximum number of VPC endpoints has been reached for VPC {}.", vpc.vpc),
        ));
    }
    let mut record = VpcEndpoint {
        endpoint: VpcEndpointId::from_entropy(ctx.bits()),
        account: ctx.account(),
        region: ctx.region.clone(),
        vpc: vpc.vpc,
        service: service.to_owned(),
        interfaces: Vec::new(),
        groups,
        private_dns: false,
        policy,
        label: label(ctx.bits()),
        created_at: ctx.now,
        deleted_at: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    if request.private_dns_enabled != Some(false) {
        enable_private_dns(txn.tables(), &vpc, &record)?;
        record.private_dns = true;
    }
    let subnets = request.subnet_ids.as_deref().unwrap_or_default();
    let addresses = addresses(request.subnet_configurations.as_deref().unwrap_or_default(), subnets)?;
    add_subnets(ctx, txn, &mut record, subnets, &addresses)?;
    txn.put(&ctx.region, record.clone());
    let mut shown = render::endpoint(txn.tables(), &record);
    // As EC2 answers while it makes one; a describe says `available`.
    shown.state = Some("pending".into());
    Ok(CreateVpcEndpointResult { vpc_endpoint: Some(shown), client_token: request.client_token.clone() })
}

/// Eight letters and digits.
fn label(entropy: u128) -> String {
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

/// A policy that can be judged; `InvalidPolicyDocument`.
pub fn policy(text: &str) -> Result<String> {
    let invalid = |why: &str| {
        client("InvalidPolicyDocument", format!("The specified policy document is not valid: {why}."))
    };
    if text.chars().count() > LARGEST_POLICY {
        return Err(invalid("it has more than 20,480 characters"));
    }
    Document::parse(text).map_err(|why| invalid(why.0))?;
    Ok(text.to_owned())
}

/// Whether the service's own names may lead to an endpoint.
pub fn enable_private_dns(tables: &Tables, vpc: &Vpc, endpoint: &VpcEndpoint) -> Result<()> {
    if !vpc.dns_support || !vpc.dns_hostnames {
        return Err(invalid_parameter(format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for {}",
            vpc.vpc
        )));
    }
    let mut others = tables.find::<VpcEndpoint>(&endpoint.region, "vpc", vpc.vpc);
    let conflicts = others.any(|other| {
        other.is_there()
            && other.private_dns
            && other.service == endpoint.service
            && other.endpoint != endpoint.endpoint
    });
    if conflicts {
        return Err(invalid_parameter(format!(
            "private-dns-enabled cannot be set because there is already a conflicting DNS domain for {} in the VPC {}",
            service::private_name(&endpoint.region, &endpoint.service),
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
    endpoint: &mut VpcEndpoint,
    ids: &[String],
    addresses: &BTreeMap<String, Ipv4Addr>,
) -> Result<()> {
    let mut taken: Vec<Zone> = endpoint.interfaces.iter().map(|own| own.zone.clone()).collect();
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
        if endpoint.interfaces.iter().any(|i| known(i.subnet)) || subnets.iter().any(|(s, _)| known(s.subnet))
        {
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
        let record = interface(ctx, txn, &subnet, endpoint, wanted)?;
        let (subnet, zone) = (subnet.subnet, subnet.zone.clone());
        endpoint.interfaces.push(EndpointInterface { subnet, zone, interface: record.interface });
        txn.put(&ctx.region, record);
    }
    Ok(())
}

fn interface(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    endpoint: &VpcEndpoint,
    wanted: Option<Ipv4Addr>,
) -> Result<NetworkInterface> {
    Ok(NetworkInterface {
        groups: endpoint.groups.clone(),
        description: format!("VPC Endpoint Interface {}", endpoint.endpoint),
        vpc_endpoint: Some(endpoint.endpoint),
        ..managed(ctx, txn, subnet, wanted)?
    })
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
