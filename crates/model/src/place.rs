//! Whose and where: accounts, regions, zones.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// A 12-digit AWS account number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(u64);

impl AccountId {
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().ok().map(Self))
            .flatten()
    }

    /// The account with this number, which must lie below 10^12.
    pub const fn from_number(number: u64) -> Self {
        assert!(number < 1_000_000_000_000, "an account number has twelve digits");
        Self(number)
    }
}

impl std::str::FromStr for AccountId {
    type Err = crate::MalformedId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed =
            || crate::MalformedId { expected: "twelve digits", value: text.chars().take(64).collect() };
        Self::parse(text).ok_or_else(malformed)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("an account id has twelve digits"))
    }
}

/// A region's name, such as `us-east-1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Region(Arc<str>);

impl Region {
    /// Lower-case letters, digits and dashes, with a digit last (`us-east-1`, `us-gov-west-1`).
    pub fn parse(text: &str) -> Option<Self> {
        let good = (5..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.ends_with(|c: char| c.is_ascii_digit());
        good.then(|| Self(text.into()))
    }

    /// Where records live that belong to no region (accounts, access keys).
    pub fn global() -> Self {
        static GLOBAL: std::sync::LazyLock<Region> = std::sync::LazyLock::new(|| Region("global".into()));
        GLOBAL.clone()
    }

    /// The region in a store key: a region's name, or `global`.
    pub fn of_key(text: &str) -> Option<Self> {
        if text == "global" { Some(Self::global()) } else { Self::parse(text) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain of private DNS names: `ec2.internal` in us-east-1, `REGION.compute.internal` elsewhere.
    pub fn internal_domain(&self) -> String {
        if self.as_str() == "us-east-1" {
            "ec2.internal".into()
        } else {
            format!("{}.compute.internal", self.0)
        }
    }

    /// The domain of public DNS names: `compute-1.amazonaws.com` in us-east-1, `REGION.compute.amazonaws.com` elsewhere.
    pub fn public_domain(&self) -> String {
        if self.as_str() == "us-east-1" {
            "compute-1.amazonaws.com".into()
        } else {
            format!("{}.compute.amazonaws.com", self.0)
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An availability zone: a region and a letter (`us-east-1a`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone {
    pub region: Region,
    pub letter: char,
}

impl Zone {
    pub fn parse(text: &str) -> Option<Self> {
        let letter = text.chars().last().filter(char::is_ascii_lowercase)?;
        Some(Self { region: Region::parse(&text[..text.len() - 1])?, letter })
    }

    /// The number in the zone's id: the letter's place, except in Tokyo, whose zone 3 takes no new accounts.
    fn ordinal(&self) -> u32 {
        match (self.region.as_str(), self.letter) {
            ("ap-northeast-1", 'a') => 4,
            ("ap-northeast-1", 'b') => 3,
            ("ap-northeast-1", 'c') => 1,
            ("ap-northeast-1", 'd') => 2,
            (_, letter) => u32::from(letter) - u32::from('a') + 1,
        }
    }

    /// The zone's id (`use1-az1`): the region's short form, then the zone's ordinal. Unlike on AWS the letter maps to
    /// the same ordinal in every account.
    pub fn id(&self) -> String {
        let mut parts = self.region.as_str().split('-');
        let mut short = parts.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = parts.collect();
        for part in &rest {
            short.push_str(match *part {
                "north" => "n",
                "south" => "s",
                "east" => "e",
                "west" => "w",
                "central" => "c",
                "northeast" => "ne",
                "northwest" => "nw",
                "southeast" => "se",
                "southwest" => "sw",
                "gov" => "g",
                other => other,
            });
        }
        format!("{short}-az{}", self.ordinal())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.region.as_str())?;
        f.write_char(self.letter)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not an availability zone"))
    }
}

/// Tells one cloud's things on a host from another's: six lower-case letters and digits, part of the name of every
/// namespace, link, table, user and cgroup that the cloud makes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CloudTag(String);

impl CloudTag {
    pub fn parse(text: &str) -> Option<Self> {
        let good = text.len() == 6 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        good.then(|| Self(text.to_owned()))
    }

    /// A fresh tag out of 30 random bits.
    pub fn from_entropy(entropy: u128) -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        Self((0..6).map(|i| char::from(ALPHABET[(entropy >> (i * 5)) as usize & 31])).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CloudTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_the_ids_that_aws_gives_them() {
        for (name, id) in
            [("us-east-1a", "use1-az1"), ("eu-central-1b", "euc1-az2"), ("ap-southeast-2c", "apse2-az3")]
        {
            assert_eq!(Zone::parse(name).unwrap().id(), id);
        }
    }
}
