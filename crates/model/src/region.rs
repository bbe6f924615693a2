//! The commercial regions of AWS: names, whether an account must opt in, zones.
//!
//! Facts, as of botocore 1.43.11 (regions and their long names) and AWS's public lists (opt-in, zones). A cloud may serve
//! regions of other names too, which then have three zones.
//! AWS: <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>

use crate::{Region, Zone};

/// A region of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub name: &'static str,
    /// What people call it, such as `Europe (Ireland)`.
    pub long_name: &'static str,
    /// Closed to an account until it asks.
    pub opt_in: bool,
    /// The letters of its zones.
    letters: &'static str,
}

const fn open(name: &'static str, long_name: &'static str, letters: &'static str) -> Facts {
    Facts { name, long_name, opt_in: false, letters }
}

const fn opt_in(name: &'static str, long_name: &'static str) -> Facts {
    Facts { name, long_name, opt_in: true, letters: ANYWHERE }
}

/// The zones of a region of which nothing else is known.
const ANYWHERE: &str = "abc";

/// Every commercial region, by name.
pub static COMMERCIAL: &[Facts] = &[
    opt_in("af-south-1", "Africa (Cape Town)"),
    opt_in("ap-east-1", "Asia Pacific (Hong Kong)"),
    opt_in("ap-east-2", "Asia Pacific (Taipei)"),
    open("ap-northeast-1", "Asia Pacific (Tokyo)", "acd"),
    open("ap-northeast-2", "Asia Pacific (Seoul)", "abcd"),
    open("ap-northeast-3", "Asia Pacific (Osaka)", "abc"),
    open("ap-south-1", "Asia Pacific (Mumbai)", "abc"),
    opt_in("ap-south-2", "Asia Pacific (Hyderabad)"),
    open("ap-southeast-1", "Asia Pacific (Singapore)", "abc"),
    open("ap-southeast-2", "Asia Pacific (Sydney)", "abc"),
    opt_in("ap-southeast-3", "Asia Pacific (Jakarta)"),
    opt_in("ap-southeast-4", "Asia Pacific (Melbourne)"),
    opt_in("ap-southeast-5", "Asia Pacific (Malaysia)"),
    opt_in("ap-southeast-6", "Asia Pacific (New Zealand)"),
    opt_in("ap-southeast-7", "Asia Pacific (Thailand)"),
    open("ca-central-1", "Canada (Central)", "abd"),
    opt_in("ca-west-1", "Canada West (Calgary)"),
    open("eu-central-1", "Europe (Frankfurt)", "abc"),
    opt_in("eu-central-2", "Europe (Zurich)"),
    open("eu-north-1", "Europe (Stockholm)", "abc"),
    opt_in("eu-south-1", "Europe (Milan)"),
    opt_in("eu-south-2", "Europe (Spain)"),
    open("eu-west-1", "Europe (Ireland)", "abc"),
    open("eu-west-2", "Europe (London)", "abc"),
    open("eu-west-3", "Europe (Paris)", "abc"),
    opt_in("il-central-1", "Israel (Tel Aviv)"),
    opt_in("me-central-1", "Middle East (UAE)"),
    opt_in("me-south-1", "Middle East (Bahrain)"),
    opt_in("mx-central-1", "Mexico (Central)"),
    open("sa-east-1", "South America (Sao Paulo)", "abc"),
    open("us-east-1", "US East (N. Virginia)", "abcdef"),
    open("us-east-2", "US East (Ohio)", "abc"),
    open("us-west-1", "US West (N. California)", "ac"),
    open("us-west-2", "US West (Oregon)", "abcd"),
];

/// What is known of a region of this name.
pub fn facts(name: &str) -> Option<&'static Facts> {
    COMMERCIAL.binary_search_by(|facts| facts.name.cmp(name)).ok().map(|at| &COMMERCIAL[at])
}

/// A region's zones: those that AWS has there, or three.
pub fn zones(region: &Region) -> Vec<Zone> {
    let letters = facts(region.as_str()).map_or(ANYWHERE, |facts| facts.letters);
    letters.chars().map(|letter| Zone { region: region.clone(), letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_region_is_found_by_its_name_and_parses() {
        for known in COMMERCIAL {
            assert_eq!(facts(known.name), Some(known), "the table is sorted");
            assert!(Region::parse(known.name).is_some(), "{}", known.name);
        }
        assert_eq!(COMMERCIAL.iter().filter(|known| !known.opt_in).count(), 17);
    }

    #[test]
    fn zone_ids_are_unique_and_those_of_aws() {
        let of = |name: &str| zones(&Region::parse(name).unwrap());
        let ids: BTreeSet<String> = COMMERCIAL.iter().flat_map(|f| of(f.name)).map(|z| z.id()).collect();
        assert_eq!(ids.len(), COMMERCIAL.iter().map(|f| f.letters.len()).sum::<usize>());
        for (name, expected) in [
            ("ap-northeast-1", vec!["apne1-az4", "apne1-az1", "apne1-az2"]),
            ("ca-central-1", vec!["cac1-az1", "cac1-az2", "cac1-az4"]),
            ("us-west-1", vec!["usw1-az1", "usw1-az3"]),
            ("lab-9", vec!["lab9-az1", "lab9-az2", "lab9-az3"]),
        ] {
            assert_eq!(of(name).iter().map(Zone::id).collect::<Vec<_>>(), expected, "{name}");
        }
        assert_eq!(of("us-east-1").len(), 6);
    }
}
