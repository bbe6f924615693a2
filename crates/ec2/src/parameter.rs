//! Parameters that several nouns read alike: address blocks, zones, and what is not built.

use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value};
use control::{Context, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::Zone;
use wire::ApiError;

/// An IPv4 block as a caller writes it, host bits and all; `InvalidParameterValue` otherwise.
pub fn ipv4_block(parameter: &str, text: &str) -> Result<Ipv4Net> {
    text.parse().map_err(|_| not_a_block(parameter, text))
}

/// An IPv6 block as a caller writes it, host bits and all; `InvalidParameterValue` otherwise.
pub fn ipv6_block(parameter: &str, text: &str) -> Result<Ipv6Net> {
    text.parse().map_err(|_| not_a_block(parameter, text))
}

fn not_a_block(parameter: &str, text: &str) -> ApiError {
    let shown: String = text.chars().take(64).collect();
    invalid_parameter_value(format!(
        "Value ({shown}) for parameter {parameter} is invalid. This is not a valid CIDR block."
    ))
}

/// The one destination of a route or an ACL entry, out of the two parameters that may hold it. Host bits are cut off.
pub fn one_block(v4: Option<&str>, v6: Option<&str>, names: [&str; 2]) -> Result<Option<IpNet>> {
    match (v4, v6) {
        (Some(_), Some(_)) => Err(invalid_parameter_combination(format!(
            "The parameters {} and {} cannot be used together",
            names[0], names[1]
        ))),
        (Some(v4), None) => Ok(Some(IpNet::V4(ipv4_block(names[0], v4)?.trunc()))),
        (None, Some(v6)) => Ok(Some(IpNet::V6(ipv6_block(names[1], v6)?.trunc()))),
        (None, None) => Ok(None),
    }
}

/// A value that is none of those that a parameter may have.
pub fn not_one_of(parameter: &str, given: &str, known: &str) -> ApiError {
    let shown: String = given.chars().take(64).collect();
    invalid_parameter_value(format!(
        "Value ({shown}) for parameter {parameter} is invalid. Use one of {known}."
    ))
}

/// A part of the API that this cloud does not have.
pub fn unsupported(what: &str) -> ApiError {
    client("UnsupportedOperation", format!("{what} is not supported by this cloud yet."))
}

/// Refuses the parameters that are there (`true`) and not built.
pub fn refuse(parameters: &[(&str, bool)]) -> Result<()> {
    match parameters.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(unsupported(&format!("The parameter {name}"))),
        None => Ok(()),
    }
}

/// The zone that a request names by name or by id, if it names any.
pub fn zone(ctx: &Context, name: Option<&str>, id: Option<&str>) -> Result<Option<Zone>> {
    let zones = ctx.cloud.settings.region(&ctx.region).map(|r| r.zones.as_slice()).unwrap_or_default();
    let invalid = |parameter: &str, text: &str| {
        let known: Vec<String> = zones.iter().map(ToString::to_string).collect();
        let shown: String = text.chars().take(64).collect();
        invalid_parameter_value(format!(
            "Value ({shown}) for parameter {parameter} is invalid. The zones of this region are: {}.",
            known.join(", ")
        ))
    };
    let by_name = name
        .map(|text| {
            let found = zones.iter().find(|zone| zone.to_string() == text);
            found.ok_or_else(|| invalid("availabilityZone", text))
        })
        .transpose()?;
    let by_id = id
        .map(|text| {
            let found = zones.iter().find(|zone| zone.id() == text);
            found.ok_or_else(|| invalid("availabilityZoneId", text))
        })
        .transpose()?;
    match (by_name, by_id) {
        (Some(name), Some(id)) if name != id => Err(invalid_parameter_combination(
            "The availability zone and the availability zone id name different zones",
        )),
        (name, id) => Ok(name.or(id).cloned()),
    }
}
