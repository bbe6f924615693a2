//! `ModifySubnetAttribute`: one attribute a call.

use crate::errors::{invalid_parameter_combination, invalid_parameter_value};
use crate::noun::{hold, touched};
use crate::parameter::refuse;
use api_ec2::{
    AttributeBooleanValue, HostnameType, ModifySubnetAttributeRequest, ModifySubnetAttributeResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::vpc::Subnet;

pub fn touches(ctx: &Context, request: &ModifySubnetAttributeRequest, tables: &Tables) -> Vec<Touched> {
    touched::<Subnet>(ctx, tables, [&request.subnet_id])
}

/// What a subnet of IPv6 alone cannot have, and what it cannot be without; `InvalidParameterValue`.
fn refuse_ipv4(request: &ModifySubnetAttributeRequest, subnet: &Subnet) -> Result<()> {
    let is = |attribute: &Option<AttributeBooleanValue>, value| {
        attribute.as_ref().is_some_and(|given| given.value == Some(value))
    };
    let name = request.private_dns_hostname_type_on_launch.as_ref();
    for (given, value, attribute) in [
        (is(&request.map_public_ip_on_launch, true), "true", "map-public-ip-on-launch"),
        (is(&request.assign_ipv6_address_on_creation, false), "false", "assign-ipv6-address-on-creation"),
        (name == Some(&HostnameType::IpName), "ip-name", "private-dns-hostname-type-on-launch"),
        (
            is(&request.enable_resource_name_dns_a_record_on_launch, true),
            "true",
            "enable-resource-name-dns-a-record-on-launch",
        ),
    ] {
        if given {
            return Err(invalid_parameter_value(format!(
                "Invalid value '{value}' for {attribute}. The subnet ({}) is an IPv6-only subnet.",
                subnet.subnet
            )));
        }
    }
    Ok(())
}

pub fn modify(
    ctx: &Context,
    request: &ModifySubnetAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifySubnetAttributeResult> {
    let mut subnet = Subnet::clone(&*hold::<Subnet>(ctx, txn, &request.subnet_id)?);
    let value = |attribute: &Option<AttributeBooleanValue>| attribute.as_ref().and_then(|a| a.value);
    let map_public_ip = value(&request.map_public_ip_on_launch);
    let assign_ipv6 = value(&request.assign_ipv6_address_on_creation);
    let native = subnet.is_ipv6_native();
    let hostname_type = super::render::hostname_type(&subnet);
    // What is not built may be switched off, which it is, but not on.
    let others = [
        ("MapCustomerOwnedIpOnLaunch", value(&request.map_customer_owned_ip_on_launch)),
        ("CustomerOwnedIpv4Pool", request.customer_owned_ipv4_pool.as_ref().map(|_| true)),
        ("EnableDns64", value(&request.enable_dns64)),
        (
            "PrivateDnsHostnameTypeOnLaunch",
            request.private_dns_hostname_type_on_launch.as_ref().map(|t| *t != hostname_type),
        ),
        ("EnableResourceNameDnsARecordOnLaunch", value(&request.enable_resource_name_dns_a_record_on_launch)),
        (
            "EnableResourceNameDnsAAAARecordOnLaunch",
            value(&request.enable_resource_name_dns_aaaa_record_on_launch).map(|on| on != native),
        ),
        ("EnableLniAtDeviceIndex", request.enable_lni_at_device_index.map(|_| true)),
        ("DisableLniAtDeviceIndex", value(&request.disable_lni_at_device_index).map(|_| false)),
    ];
    let given = others.iter().filter(|(_, value)| value.is_some()).count()
        + usize::from(map_public_ip.is_some())
        + usize::from(assign_ipv6.is_some());
    match given {
        0 => return Err(invalid_parameter_combination("No attributes specified.")),
        1 => {}
        _ => return Err(invalid_parameter_combination("Fields for multiple attribute types specified")),
    }
    if native {
        refuse_ipv4(request, &subnet)?;
    }
    refuse(&others.map(|(name, value)| (name, value == Some(true))))?;
    if let Some(map_public_ip) = map_public_ip {
        subnet.map_public_ip = map_public_ip;
        txn.put(&ctx.region, subnet);
    } else if let Some(assign_ipv6) = assign_ipv6 {
        if assign_ipv6 && subnet.ipv6.is_none() {
            return Err(invalid_parameter_value(format!(
                "Invalid value 'true' for assignIpv6AddressOnCreation. Subnet {} has no IPv6 CIDR block.",
                subnet.subnet
            )));
        }
        subnet.assign_ipv6 = assign_ipv6;
        txn.put(&ctx.region, subnet);
    }
    Ok(ModifySubnetAttributeResult {})
}
