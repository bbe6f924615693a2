//! `CreateNetworkInterface`: an interface by itself.

use super::allocate::{allocate_private, block};
use super::{MAX_GROUPS, MAX_INTERFACES, render};
use crate::defaults::group_name_claim;
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value};
use crate::noun::{created, find, given_tags, hold, touched};
use crate::parameter::{refuse, unsupported};
use api_ec2::{CreateNetworkInterfaceRequest, CreateNetworkInterfaceResult, PrivateIpAddressSpecification};
use control::tag::Tags;
use control::{Context, Result, Tables, Touched, Txn};
use model::net::Mac;
use model::record::network_interface::{NetworkInterface, PrivateAddress};
use model::record::security_group::SecurityGroup;
use model::record::vpc::Subnet;
use model::{NetworkInterfaceId, SecurityGroupId, VpcId};
use plan::instance::SecondaryAddresses;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How many addresses an interface may have.
pub const MAX_ADDRESSES: usize = 50;

pub fn touches(ctx: &Context, request: &CreateNetworkInterfaceRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "network-interface")];
    all.extend(touched::<Subnet>(ctx, tables, [&request.subnet_id]));
    all.extend(touched::<SecurityGroup>(ctx, tables, request.groups.iter().flatten()));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateNetworkInterfaceRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateNetworkInterfaceResult> {
    refuse(&[
        ("EnablePrimaryIpv6", request.enable_primary_ipv6 == Some(true)),
        ("ConnectionTrackingSpecification", request.connection_tracking_specification.is_some()),
        ("Operator", request.operator.is_some()),
    ])?;
    if let Some(kind) = &request.interface_type
        && kind.as_str() != "interface"
    {
        return Err(unsupported(&format!("An interface of the type {}", kind.as_str())));
    }
    let subnet = hold::<Subnet>(ctx, txn, &request.subnet_id)?;
    let groups = member_groups(ctx, txn.tables(), subnet.vpc, request.groups.as_deref().unwrap_or_default())?;
    let description = request.description.clone().unwrap_or_default();
    check_description(&description)?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["network-interface"])?;
    if txn.tables().find::<NetworkInterface>(&ctx.region, "account", ctx.account()).count() >= MAX_INTERFACES
    {
        return Err(client(
            "NetworkInterfaceLimitExceeded",
            "The maximum number of network interfaces has been reached.",
        ));
    }
    let interface = NetworkInterfaceId::from_entropy(ctx.bits());
    let (primary, secondary) = wanted_addresses(
        request.private_ip_address.as_deref(),
        request.private_ip_addresses.as_deref().unwrap_or_default(),
        request.secondary_private_ip_address_count,
    )?;
    let prefixes = super::prefix::wanted_of_new(
        request.ipv4_prefixes.as_deref(),
        request.ipv4_prefix_count,
        &secondary,
    )?;
    let claims = super::prefix::Claims { subnet: &subnet, interface, primary, secondary: &secondary };
    let (addresses, ipv4_prefixes) = claims.make(ctx, txn, &prefixes)?;
    let ipv6 = super::ipv6::wanted(request.ipv6_addresses.as_deref(), request.ipv6_address_count)?;
    let ipv6_prefixes = super::ipv6_prefix::wanted_of_new(
        request.ipv6_prefixes.as_deref(),
        request.ipv6_prefix_count,
        &ipv6,
    )?;
    let ipv6_prefixes = super::ipv6_prefix::claim_wanted(ctx, txn, &subnet, interface, &ipv6_prefixes)?;
    let ipv6 = super::ipv6::claim_wanted(ctx, txn, &subnet, interface, &ipv6)?;
    let record = NetworkInterface {
        interface,
        account: ctx.account(),
        vpc: subnet.vpc,
        subnet: subnet.subnet,
        zone: subnet.zone.clone(),
        mac: Mac::from_entropy(ctx.bits()),
        addresses,
        ipv6,
        ipv4_prefixes,
        ipv6_prefixes,
        groups,
        description,
        source_dest_check: true,
        attachment: None,
        nat_gateway: None,
        vpc_endpoint: None,
        endpoint_service: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let mut shown = render::network_interface(txn.tables(), &record);
    // As EC2 answers while it makes one; a describe says `available`.
    shown.status = Some("pending".into());
    txn.put(&ctx.region, record);
    Ok(CreateNetworkInterfaceResult {
        network_interface: Some(shown),
        client_token: request.client_token.clone(),
    })
}

/// A new interface that a service keeps in a subnet (requester-managed): of each version that is asked for one address, this
/// one or any; no groups, checked. What it is for is its service's to say. `InvalidParameterValue` where the subnet has no
/// block of a version.
#[allow(clippy::option_option, reason = "not asked for and any are told apart")]
pub fn managed(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    (v4, v6): (Option<Option<Ipv4Addr>>, Option<Option<Ipv6Addr>>),
) -> Result<NetworkInterface> {
    let interface = NetworkInterfaceId::from_entropy(ctx.bits());
    let mut addresses = Vec::new();
    if let Some(wanted) = v4 {
        block(subnet)?;
        addresses = claim_addresses(ctx, txn, subnet, interface, wanted, &SecondaryAddresses::NONE)?;
    }
    let mut ipv6 = Vec::new();
    if let Some(wanted) = v6 {
        ipv6.push(super::ipv6::allocate(ctx, txn, subnet, wanted, interface)?);
    }
    Ok(NetworkInterface {
        interface,
        account: ctx.account(),
        vpc: subnet.vpc,
        subnet: subnet.subnet,
        zone: subnet.zone.clone(),
        mac: Mac::from_entropy(ctx.bits()),
        addresses,
        ipv6,
        ipv4_prefixes: Vec::new(),
        ipv6_prefixes: Vec::new(),
        groups: Vec::new(),
        description: String::new(),
        source_dest_check: true,
        attachment: None,
        nat_gateway: None,
        vpc_endpoint: None,
        endpoint_service: None,
        tags: Tags::default(),
    })
}

/// The addresses that a request asks for: the primary one (`None` is any) and the others.
pub fn wanted_addresses(
    primary: Option<&str>,
    listed: &[PrivateIpAddressSpecification],
    count: Option<i32>,
) -> Result<(Option<Ipv4Addr>, SecondaryAddresses)> {
    let mut primary = primary.map(parse_address).transpose()?;
    let mut secondary = Vec::new();
    for specification in listed {
        let address = parse_address(specification.private_ip_address.as_deref().unwrap_or_default())?;
        if specification.primary == Some(true) {
            if primary.is_some_and(|known| known != address) {
                return Err(invalid_parameter_combination(
                    "Only one primary private IP address can be specified.",
                ));
            }
            primary = Some(address);
        } else {
            secondary.push(address);
        }
    }
    let Some(count) = count else {
        let none = secondary.is_empty();
        return Ok((
            primary,
            if none { SecondaryAddresses::NONE } else { SecondaryAddresses::These(secondary) },
        ));
    };
    if !secondary.is_empty() {
        return Err(invalid_parameter_combination(
            "privateIpAddresses and secondaryPrivateIpAddressCount cannot be specified at the same time",
        ));
    }
    let count = u32::try_from(count).ok().filter(|count| *count < MAX_ADDRESSES as u32).ok_or_else(|| {
        invalid_parameter_value(format!(
            "Value ({count}) for parameter secondaryPrivateIpAddressCount is invalid."
        ))
    })?;
    Ok((primary, SecondaryAddresses::Any(count)))
}

/// A private address as a caller writes it.
pub fn parse_address(text: &str) -> Result<Ipv4Addr> {
    text.parse::<Ipv4Addr>().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        invalid_parameter_value(format!("invalid value for parameter address: {shown}"))
    })
}

/// Claims the primary address and the others for a new interface. In a subnet of IPv6 alone it has none, and may ask for none.
pub fn claim_addresses(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    interface: NetworkInterfaceId,
    primary: Option<Ipv4Addr>,
    secondary: &SecondaryAddresses,
) -> Result<Vec<PrivateAddress>> {
    let secondary = secondary.each();
    if subnet.is_ipv6_native() && primary.is_none() && secondary.is_empty() {
        return Ok(Vec::new());
    }
    if secondary.len() >= MAX_ADDRESSES {
        return Err(client(
            "PrivateIpAddressLimitExceeded",
            format!("An interface may have up to {MAX_ADDRESSES} private addresses."),
        ));
    }
    // Those that are named first: none of them may be taken as any.
    let mut wanted: Vec<(usize, Option<Ipv4Addr>)> =
        std::iter::once(primary).chain(secondary).enumerate().collect();
    wanted.sort_by_key(|(_, address)| address.is_none());
    let mut addresses = wanted
        .into_iter()
        .map(|(place, wanted)| Ok((place, allocate_private(ctx, txn, subnet, wanted, interface)?)))
        .collect::<Result<Vec<_>>>()?;
    addresses.sort_unstable_by_key(|(place, _)| *place);
    Ok(addresses.into_iter().map(|(_, address)| PrivateAddress { address, public: None }).collect())
}

/// The groups that an interface in a VPC becomes a member of: those named, or the VPC's default one. Each once, in order.
///
/// `InvalidGroup.NotFound` for a group that is not there or in another VPC, `SecurityGroupsPerInterfaceLimitExceeded`.
pub fn member_groups(
    ctx: &Context,
    tables: &Tables,
    vpc: VpcId,
    ids: &[String],
) -> Result<Vec<SecurityGroupId>> {
    if ids.is_empty() {
        let holder = tables.claimed(&ctx.region, &group_name_claim(vpc, "default"));
        // Made with the VPC, and never deleted before it.
        return Ok(holder.and_then(|id| SecurityGroupId::parse(id).ok()).into_iter().collect());
    }
    let mut groups = Vec::new();
    for id in ids {
        let group = find::<SecurityGroup>(ctx, tables, id)?;
        if group.vpc != vpc {
            return Err(client(
                "InvalidGroup.NotFound",
                format!("The security group '{id}' does not exist in VPC '{vpc}'"),
            ));
        }
        if !groups.contains(&group.group) {
            groups.push(group.group);
        }
    }
    if groups.len() > MAX_GROUPS {
        return Err(client(
            "SecurityGroupsPerInterfaceLimitExceeded",
            format!("The maximum number of security groups per interface is {MAX_GROUPS}."),
        ));
    }
    Ok(groups)
}

pub fn check_description(text: &str) -> Result<()> {
    if text.chars().count() > 255 {
        return Err(invalid_parameter_value("The description of an interface may have up to 255 characters"));
    }
    Ok(())
}
