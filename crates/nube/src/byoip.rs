//! `up --byoip`: who may bring which public addresses along. Remembered; what is given replaces what was.

use anyhow::{Result, bail};
use ipnet::Ipv4Net;
use model::ByoipGrant;
use plan::net::byoip::{fit, overlap};

/// What takes every grant back.
const OFF: &str = "off";

/// The grants from now on. Those that are taken back leave ranges provisioned, and nobody reaches them any more.
pub fn settle(given: &[String], known: Vec<ByoipGrant>, public_pool: Ipv4Net) -> Result<Vec<ByoipGrant>> {
    match given {
        [] => return Ok(known),
        [off] if off == OFF => return Ok(Vec::new()),
        _ => {}
    }
    let mut grants: Vec<ByoipGrant> = Vec::new();
    for text in given {
        let grant: ByoipGrant = match text.parse() {
            Ok(grant) => grant,
            Err(error) => bail!("--byoip {text}: {error}"),
        };
        if let Err(why) = fit(grant.cidr) {
            bail!("--byoip {text}: nobody can bring this, as {why}");
        }
        if overlap(public_pool, grant.cidr) {
            bail!("--byoip {text}: this overlaps the cloud's own public addresses, {public_pool}");
        }
        if let Some(other) = grants.iter().find(|other| overlap(other.cidr, grant.cidr)) {
            bail!("--byoip {text}: this overlaps {other}");
        }
        grants.push(grant);
    }
    Ok(grants)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(given: &[&str]) -> Result<Vec<String>> {
        let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
        let known = vec!["192.0.2.0/24".parse().unwrap()];
        let grants = settle(&given, known, "198.18.0.0/22".parse().unwrap())?;
        Ok(grants.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_given_replaces_what_was_known() {
        assert_eq!(settled(&[]).unwrap(), ["192.0.2.0/24"]);
        assert_eq!(settled(&["off"]).unwrap(), [""; 0]);
        let two = ["203.0.113.0/24", "198.51.100.0/24=000000000001"];
        assert_eq!(settled(&two).unwrap(), two);
    }

    #[test]
    fn what_nobody_can_bring_is_refused() {
        for given in [
            &["203.0.113.0/25"][..],
            &["127.0.0.0/24"],
            &["198.18.0.0/16"],
            &["203.0.113.0/24", "203.0.112.0/22"],
            &["off", "203.0.113.0/24"],
            &["203.0.113.0/24=me"],
        ] {
            assert!(settled(given).is_err(), "{given:?}");
        }
    }
}
