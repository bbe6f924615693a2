//! `CreateNatGateway`: with its interface, and its elastic address if it is public.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNatGateway.html>

use super::{MAX_GATEWAYS, render};
use crate::address;
use crate::errors::{client, invalid_parameter_combination, missing_parameter};
use crate::network_interface::managed;
use crate::noun::{created, given_tags, hold, touched};
use crate::parameter::refuse;
use api_ec2::{ConnectivityType, CreateNatGatewayRequest, CreateNatGatewayResult, NatGatewayState};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::address::{Address, Association};
use model::record::nat_gateway::{Connectivity, NatGateway};
use model::record::network_interface::NetworkInterface;
use model::record::vpc::{InternetGateway, Subnet};
use model::{AddressAssociationId, NatGatewayId};
use std::net::Ipv4Addr;

pub fn touches(ctx: &Context, request: &CreateNatGatewayRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "natgateway")];
    all.extend(touched::<Subnet>(ctx, tables, &request.subnet_id));
    all.extend(touched::<Address>(ctx, tables, &request.allocation_id));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateNatGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateNatGatewayResult> {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    refuse(&[
        ("AvailabilityMode", request.availability_mode.as_ref().is_some_and(|mode| mode.as_str() != "zonal")),
        ("VpcId", request.vpc_id.as_ref().is_some_and(|id| !id.is_empty())),
        (
            "AvailabilityZoneAddress",
            request.availability_zone_addresses.as_ref().is_some_and(|list| !list.is_empty()),
        ),
        ("SecondaryAllocationId", some(&request.secondary_allocation_ids)),
        ("SecondaryPrivateIpAddress", some(&request.secondary_private_ip_addresses)),
        (
            "SecondaryPrivateIpAddressCount",
            request.secondary_private_ip_address_count.is_some_and(|count| count != 0),
        ),
    ])?;
    let subnet = request.subnet_id.as_deref().filter(|id| !id.is_empty());
    let subnet = hold::<Subnet>(ctx, txn, subnet.ok_or_else(|| missing_parameter("SubnetId"))?)?;
    let connectivity = match &request.connectivity_type {
        None | Some(ConnectivityType::Public) => Connectivity::Public,
        Some(ConnectivityType::Private) => Connectivity::Private,
        Some(ConnectivityType::Other(other)) => {
            let shown: String = other.chars().take(64).collect();
            return Err(crate::errors::invalid_parameter_value(format!(
                "Value ({shown}) for parameter ConnectivityType is invalid."
            )));
        }
    };
    let wanted =
        request.private_ip_address.as_deref().map(crate::network_interface::parse_address).transpose()?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["natgateway"])?;
    let of_account = txn.tables().find::<NatGateway>(&ctx.region, "account", ctx.account());
    let zone = |id| txn.tables().get::<Subnet>(&ctx.region, &id).map(|subnet| subnet.zone.clone());
    let beside =
        of_account.filter(|g| g.deleted_at.is_none() && zone(g.subnet).as_ref() == Some(&subnet.zone));
    if beside.count() >= MAX_GATEWAYS {
        return Err(client(
            "NatGatewayLimitExceeded",
            format!("The maximum number of NAT gateways in {} has been reached.", subnet.zone),
        ));
    }
    let elastic = match (connectivity, request.allocation_id.as_deref().filter(|id| !id.is_empty())) {
        (Connectivity::Public, None) => return Err(missing_parameter("AllocationId")),
        (Connectivity::Private, Some(_)) => {
            return Err(invalid_parameter_combination(
                "AllocationId cannot be specified for a private NAT gateway.",
            ));
        }
        (Connectivity::Private, None) => None,
        (Connectivity::Public, Some(id)) => Some(free_address(ctx, txn, &subnet, id)?),
    };
    let gateway = NatGatewayId::from_entropy(ctx.bits());
    let interface = interface(ctx, txn, &subnet, gateway, wanted)?;
    let private = interface.primary().map(|primary| primary.address);
    let private = private.expect("the interface of a service has an address");
    let interface = txn.put(&ctx.region, interface).interface;
    if let Some(elastic) = elastic {
        let association = AddressAssociationId::from_entropy(ctx.bits());
        address::join(txn, &ctx.region, &elastic, Association { association, interface, private });
    }
    let record = NatGateway {
        gateway,
        account: ctx.account(),
        vpc: subnet.vpc,
        subnet: subnet.subnet,
        connectivity,
        interface,
        private,
        created_at: ctx.now,
        deleted_at: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let interface = txn.get::<NetworkInterface>(&ctx.region, &interface);
    let mut shown = render::nat_gateway(interface.as_deref(), &record);
    // As EC2 answers while it makes one; a describe says `available`.
    shown.state = Some(NatGatewayState::Pending);
    txn.put(&ctx.region, record);
    Ok(CreateNatGatewayResult { client_token: request.client_token.clone(), nat_gateway: Some(shown) })
}

/// An elastic address that stands for nothing yet, in a VPC that leads to the internet.
fn free_address(ctx: &Context, txn: &mut Txn<'_>, subnet: &Subnet, id: &str) -> Result<Address> {
    let address = hold::<Address>(ctx, txn, id)?;
    if address.association.is_some() {
        return Err(client(
            "Resource.AlreadyAssociated",
            format!("Elastic IP address [{id}] is already associated"),
        ));
    }
    if txn.tables().find::<InternetGateway>(&ctx.region, "vpc", subnet.vpc).next().is_none() {
        return Err(client(
            "Gateway.NotAttached",
            format!("Network {} has no Internet gateway attached", subnet.vpc),
        ));
    }
    Ok((*address).clone())
}

fn interface(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    gateway: NatGatewayId,
    wanted: Option<Ipv4Addr>,
) -> Result<NetworkInterface> {
    Ok(NetworkInterface {
        description: format!("Interface for NAT Gateway {gateway}"),
        source_dest_check: false,
        nat_gateway: Some(gateway),
        ..managed(ctx, txn, subnet, (Some(wanted), None))?
    })
}
