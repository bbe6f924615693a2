//! `CreateDhcpOptions`.

use super::render;
use crate::errors::{invalid_parameter_value, missing_parameter};
use crate::noun::{created, given_tags};
use api_ec2::{CreateDhcpOptionsRequest, CreateDhcpOptionsResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::DhcpOptionsId;
use model::record::vpc::DhcpOptions;
use std::net::IpAddr;

pub fn touches(ctx: &Context, _: &CreateDhcpOptionsRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "dhcp-options")]
}

pub fn create(
    ctx: &Context,
    request: &CreateDhcpOptionsRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateDhcpOptionsResult> {
    let mut configuration: Vec<(String, Vec<String>)> = Vec::new();
    for option in &request.dhcp_configurations {
        let key = option.key.clone().ok_or_else(|| missing_parameter("key"))?;
        let values = option.values.clone().unwrap_or_default();
        check(&key, &values)?;
        if configuration.iter().any(|(known, _)| *known == key) {
            return Err(invalid_parameter_value(format!("The DHCP option {key} is given more than once")));
        }
        configuration.push((key, values));
    }
    if configuration.is_empty() {
        return Err(missing_parameter("dhcpConfiguration"));
    }
    let tags = given_tags(request.tag_specifications.as_deref(), &["dhcp-options"])?;
    let options = DhcpOptions {
        options: DhcpOptionsId::from_entropy(ctx.bits()),
        account: ctx.account(),
        configuration,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let shown = render::dhcp_options(&options);
    txn.put(&ctx.region, options);
    Ok(CreateDhcpOptionsResult { dhcp_options: Some(shown) })
}

fn check(key: &str, values: &[String]) -> Result<()> {
    let invalid = |value: &str| {
        let shown: String = value.chars().take(64).collect();
        invalid_parameter_value(format!("Value ({shown}) for parameter {key} is invalid."))
    };
    let Some(first) = values.first() else { return Err(missing_parameter("value")) };
    match key {
        "domain-name" => {
            // Some guests take several names in one value.
            let good = first.len() <= 255
                && !first.is_empty()
                && first.chars().all(|c| c.is_ascii_alphanumeric() || ".-_ ".contains(c));
            if good && values.len() == 1 { Ok(()) } else { Err(invalid(first)) }
        }
        "domain-name-servers" | "ntp-servers" | "netbios-name-servers" => {
            let provided = |v: &str| key == "domain-name-servers" && v == "AmazonProvidedDNS";
            let bad = values.iter().find(|v| v.parse::<IpAddr>().is_err() && !provided(v));
            match bad {
                Some(bad) => Err(invalid(bad)),
                None if values.len() > 4 => {
                    Err(invalid_parameter_value(format!("{key} takes up to 4 addresses")))
                }
                None => Ok(()),
            }
        }
        "netbios-node-type" if ["1", "2", "4", "8"].contains(&first.as_str()) && values.len() == 1 => Ok(()),
        "netbios-node-type" => Err(invalid(first)),
        other => {
            let shown: String = other.chars().take(64).collect();
            Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter name is invalid. Unknown DHCP option"
            )))
        }
    }
}
