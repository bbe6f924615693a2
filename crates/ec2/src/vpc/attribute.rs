//! A VPC's attributes: `DescribeVpcAttribute`, `ModifyVpcAttribute`, `AssociateDhcpOptions`.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html>

use crate::defaults;
use crate::errors::{invalid_parameter_combination, invalid_parameter_value};
use crate::noun::{find, hold, touched};
use crate::parameter::unsupported;
use api_ec2::{
    AssociateDhcpOptionsRequest, AssociateDhcpOptionsResult, AttributeBooleanValue,
    DescribeVpcAttributeRequest, DescribeVpcAttributeResult, ModifyVpcAttributeRequest,
    ModifyVpcAttributeResult, VpcAttributeName,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::vpc::{DhcpOptions, Vpc};

pub fn describe_touches(
    ctx: &Context,
    request: &DescribeVpcAttributeRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Vpc>(ctx, tables, [&request.vpc_id])
}

pub fn describe(
    ctx: &Context,
    request: &DescribeVpcAttributeRequest,
    tables: &Tables,
) -> Result<DescribeVpcAttributeResult> {
    let vpc = find::<Vpc>(ctx, tables, &request.vpc_id)?;
    let mut result = DescribeVpcAttributeResult { vpc_id: Some(vpc.vpc.to_string()), ..Default::default() };
    let value = |value| Some(AttributeBooleanValue { value: Some(value) });
    match &request.attribute {
        VpcAttributeName::EnableDnsSupport => result.enable_dns_support = value(vpc.dns_support),
        VpcAttributeName::EnableDnsHostnames => result.enable_dns_hostnames = value(vpc.dns_hostnames),
        VpcAttributeName::EnableNetworkAddressUsageMetrics => {
            result.enable_network_address_usage_metrics = value(false);
        }
        VpcAttributeName::Other(name) => {
            return Err(invalid_parameter_value(format!(
                "Value ({name}) for parameter attribute is invalid."
            )));
        }
    }
    Ok(result)
}

pub fn modify_touches(ctx: &Context, request: &ModifyVpcAttributeRequest, tables: &Tables) -> Vec<Touched> {
    touched::<Vpc>(ctx, tables, [&request.vpc_id])
}

pub fn modify(
    ctx: &Context,
    request: &ModifyVpcAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyVpcAttributeResult> {
    let mut vpc = Vpc::clone(&*hold::<Vpc>(ctx, txn, &request.vpc_id)?);
    let value = |attribute: &Option<AttributeBooleanValue>| attribute.as_ref().and_then(|a| a.value);
    match (
        value(&request.enable_dns_support),
        value(&request.enable_dns_hostnames),
        value(&request.enable_network_address_usage_metrics),
    ) {
        (Some(support), None, None) => vpc.dns_support = support,
        (None, Some(hostnames), None) => vpc.dns_hostnames = hostnames,
        (None, None, Some(false)) => {}
        (None, None, Some(true)) => {
            return Err(unsupported("The attribute enableNetworkAddressUsageMetrics"));
        }
        (None, None, None) => return Err(invalid_parameter_combination("No attributes specified.")),
        _ => return Err(invalid_parameter_combination("Fields for multiple attribute types specified")),
    }
    txn.put(&ctx.region, vpc);
    Ok(ModifyVpcAttributeResult {})
}

pub fn associate_touches(
    ctx: &Context,
    request: &AssociateDhcpOptionsRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = touched::<Vpc>(ctx, tables, [&request.vpc_id]);
    all.extend(touched::<DhcpOptions>(ctx, tables, [&request.dhcp_options_id]));
    all
}

/// `default` stands for the options that every region has.
pub fn associate_dhcp_options(
    ctx: &Context,
    request: &AssociateDhcpOptionsRequest,
    txn: &mut Txn<'_>,
) -> Result<AssociateDhcpOptionsResult> {
    let mut vpc = Vpc::clone(&*hold::<Vpc>(ctx, txn, &request.vpc_id)?);
    vpc.dhcp_options = match request.dhcp_options_id.as_str() {
        "default" => defaults::default_dhcp_options(ctx, txn),
        id => hold::<DhcpOptions>(ctx, txn, id)?.options,
    };
    txn.put(&ctx.region, vpc);
    Ok(AssociateDhcpOptionsResult {})
}
