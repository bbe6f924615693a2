//! `up --byoip`: who may bring which public addresses along. Remembered; what is given replaces what was.

use anyhow::{Result, bail};
use ipnet::Ipv4Net;
use model::ByoipGrant;
use plan::net::byoip::fit;
use plan::net::overlap;

/// One flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Grant(ByoipGrant),
    /// `off`: nobody may bring anything.
    Off,
}

pub fn parse(text: &str) -> Result<Choice, String> {
    if text == "off" {
        return Ok(Choice::Off);
    }
    let grant: ByoipGrant = text.parse().map_err(|error: model::byoip::NoGrant| error.to_string())?;
    match fit(grant.cidr) {
        Ok(()) => Ok(Choice::Grant(grant)),
        Err(why) => Err(format!("nobody can bring this: {why}")),
    }
}

/// The grants from now on. Those that are taken back leave ranges provisioned, and nobody reaches them any more.
pub fn settle(given: &[Choice], known: Vec<ByoipGrant>, public_pool: Ipv4Net) -> Result<Vec<ByoipGrant>> {
    match given {
        [] => return Ok(known),
        [Choice::Off] => return Ok(Vec::new()),
        _ => {}
    }
    let mut grants: Vec<ByoipGrant> = Vec::new();
    for choice in given {
        let Choice::Grant(grant) = *choice else { bail!("--byoip off goes with no other --byoip") };
        if overlap(public_pool, grant.cidr) {
            bail!("--byoip {grant} overlaps the cloud's own public addresses, {public_pool}");
        }
        if let Some(other) = grants.iter().find(|other| overlap(other.cidr, grant.cidr)) {
            bail!("--byoip {grant} overlaps --byoip {other}");
        }
        grants.push(grant);
    }
    Ok(grants)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(given: &[&str]) -> Result<Vec<String>> {
        let parsed: Result<Vec<Choice>, String> = given.iter().map(|text| parse(text)).collect();
        let known = vec!["192.0.2.0/24".parse()?];
        let grants = settle(&parsed.map_err(anyhow::Error::msg)?, known, "198.18.0.0/22".parse()?)?;
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
