//! Services beside the cloud that gateway endpoints lead to: what an operator says where they are.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A service that has gateway endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayService {
    Dynamodb,
    S3,
}

impl GatewayService {
    pub const ALL: [Self; 2] = [Self::Dynamodb, Self::S3];

    /// As the names of services end with it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dynamodb => "dynamodb",
            Self::S3 => "s3",
        }
    }
}

impl fmt::Display for GatewayService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The addresses of one service, written `SERVICE=CIDR[,CIDR…]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ServiceRanges {
    pub service: GatewayService,
    /// Without host bits; at least one.
    pub cidrs: Vec<Ipv4Net>,
}

/// The text names no service that has gateway endpoints, or no ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRanges;

impl fmt::Display for NoRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected s3=CIDR[,CIDR…] or dynamodb=CIDR[,CIDR…], such as s3=192.168.7.20/32")
    }
}

impl std::error::Error for NoRanges {}

impl FromStr for ServiceRanges {
    type Err = NoRanges;

    fn from_str(text: &str) -> Result<Self, NoRanges> {
        let (name, cidrs) = text.split_once('=').ok_or(NoRanges)?;
        let service = GatewayService::ALL.into_iter().find(|service| service.as_str() == name);
        let cidr = |text: &str| text.parse().ok().filter(|net: &Ipv4Net| net.trunc() == *net);
        let cidrs: Option<Vec<Ipv4Net>> = cidrs.split(',').map(cidr).collect();
        Ok(Self { service: service.ok_or(NoRanges)?, cidrs: cidrs.ok_or(NoRanges)? })
    }
}

impl fmt::Display for ServiceRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cidrs: Vec<String> = self.cidrs.iter().map(ToString::to_string).collect();
        write!(f, "{}={}", self.service, cidrs.join(","))
    }
}

impl From<ServiceRanges> for String {
    fn from(ranges: ServiceRanges) -> Self {
        ranges.to_string()
    }
}

impl TryFrom<String> for ServiceRanges {
    type Error = NoRanges;

    fn try_from(text: String) -> Result<Self, NoRanges> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_back_as_they_were_written() {
        for text in ["s3=192.0.2.0/24", "dynamodb=192.0.2.7/32,198.51.100.0/24"] {
            assert_eq!(text.parse::<ServiceRanges>().unwrap().to_string(), text);
        }
        for text in
            ["", "s3", "s3=", "s3=192.0.2.7", "s3=192.0.2.7/24", "sqs=192.0.2.0/24", "s3=2001:db8::/32"]
        {
            assert_eq!(text.parse::<ServiceRanges>(), Err(NoRanges), "{text}");
        }
    }
}
