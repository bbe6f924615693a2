//! `CreateCustomerGateway`: what is there already with the same address, number and name is given again.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateCustomerGateway.html>

use super::{MAX_GATEWAYS, render};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{created, given_tags};
use crate::parameter::refuse;
use api_ec2::{CreateCustomerGatewayRequest, CreateCustomerGatewayResult, GatewayType};
use control::{Context, Result, Tables, Touched, Txn};
use model::CustomerGatewayId;
use model::record::vpn::CustomerGateway;
use std::net::Ipv4Addr;

/// The number of who names none.
const DEFAULT_ASN: u32 = 65_000;

pub fn touches(ctx: &Context, _: &CreateCustomerGatewayRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "customer-gateway")]
}

pub fn create(
    ctx: &Context,
    request: &CreateCustomerGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateCustomerGatewayResult> {
    refuse(&[("CertificateArn", request.certificate_arn.as_ref().is_some_and(|arn| !arn.is_empty()))])?;
    ipsec(&request.r#type)?;
    let address = match (&request.ip_address, &request.public_ip) {
        (Some(_), Some(_)) => {
            return Err(invalid_parameter_combination("IpAddress and PublicIp cannot be used together"));
        }
        (Some(address), None) | (None, Some(address)) => parse(address)?,
        (None, None) => return Err(missing_parameter("IpAddress")),
    };
    let asn = asn(request)?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["customer-gateway"])?;
    let device = request.device_name.clone().filter(|name| !name.is_empty());
    let own = txn.tables().find::<CustomerGateway>(&ctx.region, "account", ctx.account());
    let own: Vec<_> = own.filter(|gateway| gateway.is_there()).collect();
    let same = |gateway: &CustomerGateway| {
        (gateway.address, gateway.asn) == (address, asn) && gateway.device == device
    };
    if let Some(known) = own.iter().find(|gateway| same(gateway)) {
        return Ok(CreateCustomerGatewayResult { customer_gateway: Some(render(known)) });
    }
    if own.len() >= MAX_GATEWAYS {
        return Err(client(
            "CustomerGatewayLimitExceeded",
            format!("The maximum number of customer gateways in {} has been reached.", ctx.region),
        ));
    }
    let record = CustomerGateway {
        gateway: CustomerGatewayId::from_entropy(ctx.bits()),
        account: ctx.account(),
        address,
        asn,
        device,
        created_at: ctx.now,
        deleted_at: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let shown = render(&record);
    txn.put(&ctx.region, record);
    Ok(CreateCustomerGatewayResult { customer_gateway: Some(shown) })
}

/// Gateways have one type.
pub fn ipsec(kind: &GatewayType) -> Result<()> {
    match kind {
        GatewayType::Ipsec1 => Ok(()),
        GatewayType::Other(other) => {
            let shown: String = other.chars().take(64).collect();
            Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter type is invalid. Use 'ipsec.1'."
            )))
        }
    }
}

fn parse(text: &str) -> Result<Ipv4Addr> {
    let shown: String = text.chars().take(64).collect();
    let address: Ipv4Addr = text.parse().map_err(|_| {
        invalid_parameter_value(format!(
            "Value ({shown}) for parameter ipAddress is invalid. Invalid IPv4 address."
        ))
    })?;
    let nobodys = address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_link_local();
    if nobodys {
        return Err(invalid_parameter_value(format!(
            "Value ({shown}) for parameter ipAddress is invalid. No device has this address."
        )));
    }
    Ok(address)
}

fn asn(request: &CreateCustomerGatewayRequest) -> Result<u32> {
    let given = match (request.bgp_asn, request.bgp_asn_extended) {
        (Some(_), Some(_)) => {
            return Err(invalid_parameter_combination("BgpAsn and BgpAsnExtended cannot be used together"));
        }
        (Some(asn), None) => i64::from(asn),
        (None, Some(asn)) => asn,
        (None, None) => return Ok(DEFAULT_ASN),
    };
    let number = u32::try_from(given).ok().filter(|asn| *asn > 0);
    number.ok_or_else(|| {
        invalid_parameter_value(format!("Value ({given}) for parameter bgpAsn is invalid. Invalid BGP ASN."))
    })
}
