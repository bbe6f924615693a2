//! What a path begins or ends at: named by id or by ARN.

use crate::errors::invalid_parameter_value;
use crate::noun::{Noun as _, find};
use crate::parameter::unsupported;
use control::{Arn, Context, Result, Tables};
use model::record::instance::Instance;
use model::record::network_insights::Endpoint;
use model::record::network_interface::NetworkInterface;
use model::record::vpc::InternetGateway;
use model::{AccountId, InstanceId, InternetGatewayId, NetworkInterfaceId};

/// Kinds of ends that AWS knows and this cloud does not have, or does not take as ends.
const UNBUILT: [&str; 8] = ["tgw", "tgw-attach", "vpce", "vpce-svc", "vgw", "pcx", "vpn", "arn"];

/// The end that a request names, which must be there and the caller's.
pub fn parse(ctx: &Context, tables: &Tables, parameter: &str, given: &str) -> Result<Endpoint> {
    let id = match given.strip_prefix("arn:") {
        Some(rest) => rest.rsplit_once('/').map_or(given, |(_, id)| id),
        None => given,
    };
    match id.rsplit_once('-').map_or(id.split(':').next().unwrap_or_default(), |(prefix, _)| prefix) {
        InstanceId::PREFIX => Ok(Endpoint::Instance(find::<Instance>(ctx, tables, id)?.instance)),
        NetworkInterfaceId::PREFIX => {
            Ok(Endpoint::Interface(find::<NetworkInterface>(ctx, tables, id)?.interface))
        }
        InternetGatewayId::PREFIX => {
            Ok(Endpoint::InternetGateway(find::<InternetGateway>(ctx, tables, id)?.gateway))
        }
        prefix if UNBUILT.contains(&prefix) => {
            Err(unsupported(&format!("{parameter} as {}", prefix.chars().take(16).collect::<String>())))
        }
        _ => {
            let shown: String = given.chars().take(128).collect();
            Err(invalid_parameter_value(format!("Value ({shown}) for parameter {parameter} is invalid.")))
        }
    }
}

pub fn id(end: Endpoint) -> String {
    match end {
        Endpoint::Instance(id) => id.to_string(),
        Endpoint::Interface(id) => id.to_string(),
        Endpoint::InternetGateway(id) => id.to_string(),
    }
}

pub fn arn(ctx: &Context, account: AccountId, end: Endpoint) -> String {
    let kind = match end {
        Endpoint::Instance(_) => Instance::RESOURCE_TYPE,
        Endpoint::Interface(_) => NetworkInterface::RESOURCE_TYPE,
        Endpoint::InternetGateway(_) => InternetGateway::RESOURCE_TYPE,
    };
    Arn::new("ec2", &ctx.region, account, kind, id(end)).to_string()
}
