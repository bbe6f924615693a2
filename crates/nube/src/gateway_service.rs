//! `up --gateway-service`: where the services beside the cloud are that gateway endpoints lead to. Remembered; what is given
//! replaces what was.

use crate::cloud_files::CloudFile;
use anyhow::{Result, bail};
use ipnet::Ipv4Net;
use model::ServiceRanges;
use plan::net::gateway_service::{MOST_RANGES, fits};
use plan::net::overlap;

/// One flag's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    At(ServiceRanges),
    /// `off`: there are none.
    Off,
}

pub fn parse(text: &str) -> Result<Choice, String> {
    if text == "off" {
        return Ok(Choice::Off);
    }
    let ranges: ServiceRanges =
        text.parse().map_err(|error: model::gateway_service::NoRanges| error.to_string())?;
    if ranges.cidrs.len() > MOST_RANGES {
        return Err(format!("a service has {MOST_RANGES} ranges at most"));
    }
    match ranges.cidrs.iter().find(|cidr| !fits(**cidr)) {
        Some(cidr) => Err(format!("no service can be at {cidr}: its addresses are set aside")),
        None => Ok(Choice::At(ranges)),
    }
}

/// The services from now on.
pub fn settle(given: &[Choice], cloud: &CloudFile) -> Result<Vec<ServiceRanges>> {
    let publics: Vec<Ipv4Net> =
        std::iter::once(cloud.public_pool).chain(cloud.byoip.iter().map(|grant| grant.cidr)).collect();
    let services = chosen(given, &cloud.gateway_services)?;
    // Other flags may have changed what is public.
    for cidr in services.iter().flat_map(|service| &service.cidrs) {
        if let Some(public) = publics.iter().find(|public| overlap(**public, *cidr)) {
            bail!("--gateway-service {cidr} overlaps {public}, whose addresses are instances'");
        }
    }
    Ok(services)
}

fn chosen(given: &[Choice], known: &[ServiceRanges]) -> Result<Vec<ServiceRanges>> {
    match given {
        [] => return Ok(known.to_vec()),
        [Choice::Off] => return Ok(Vec::new()),
        _ => {}
    }
    let mut services: Vec<ServiceRanges> = Vec::new();
    for choice in given {
        let Choice::At(ranges) = choice else { bail!("--gateway-service off goes with no other") };
        for (at, cidr) in ranges.cidrs.iter().enumerate() {
            let mut others = services.iter().flat_map(|other| &other.cidrs).chain(&ranges.cidrs[..at]);
            if let Some(other) = others.find(|other| overlap(**other, *cidr)) {
                bail!("--gateway-service {ranges}: {cidr} overlaps {other}");
            }
        }
        if services.iter().any(|other| other.service == ranges.service) {
            bail!(
                "--gateway-service {}=… is given twice; its ranges go together, with commas",
                ranges.service
            );
        }
        services.push(ranges.clone());
    }
    Ok(services)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(given: &[&str]) -> Result<Vec<String>> {
        let parsed: Result<Vec<Choice>, String> = given.iter().map(|text| parse(text)).collect();
        let services = chosen(&parsed.map_err(anyhow::Error::msg)?, &["s3=192.0.2.0/24".parse()?])?;
        Ok(services.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_given_replaces_what_was_known() {
        assert_eq!(settled(&[]).unwrap(), ["s3=192.0.2.0/24"]);
        assert_eq!(settled(&["off"]).unwrap(), [""; 0]);
        let two = ["s3=203.0.113.7/32,10.0.0.0/8", "dynamodb=198.51.100.0/24"];
        assert_eq!(settled(&two).unwrap(), two);
    }

    #[test]
    fn what_no_service_can_have_is_refused() {
        for given in [
            &["s3=127.0.0.1/32"][..],
            &["s3=169.254.169.254/32"],
            &["sqs=192.0.2.0/24"],
            &["s3=192.0.2.0/24", "s3=198.51.100.0/24"],
            &["s3=192.0.2.0/24", "dynamodb=192.0.2.7/32"],
            &["s3=192.0.2.0/24,192.0.2.7/32"],
            &["off", "s3=192.0.2.0/24"],
        ] {
            assert!(settled(given).is_err(), "{given:?}");
        }
    }
}
