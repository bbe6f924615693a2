//! Who may bring which public addresses of their own: the operator's word, which stands where AWS asks registries.

use crate::AccountId;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One range, written `CIDR` or `CIDR=ACCOUNT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ByoipGrant {
    /// Without host bits.
    pub cidr: Ipv4Net,
    /// None: any account may.
    pub account: Option<AccountId>,
}

/// The text is no range, or names no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoGrant;

impl fmt::Display for NoGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected CIDR or CIDR=ACCOUNT, such as 203.0.113.0/24=000000000000")
    }
}

impl std::error::Error for NoGrant {}

impl FromStr for ByoipGrant {
    type Err = NoGrant;

    fn from_str(text: &str) -> Result<Self, NoGrant> {
        let (cidr, account) = match text.split_once('=') {
            Some((cidr, account)) => (cidr, Some(AccountId::parse(account).ok_or(NoGrant)?)),
            None => (text, None),
        };
        let cidr: Ipv4Net = cidr.parse().map_err(|_| NoGrant)?;
        if cidr.trunc() == cidr { Ok(Self { cidr, account }) } else { Err(NoGrant) }
    }
}

impl fmt::Display for ByoipGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.account {
            Some(account) => write!(f, "{}={account}", self.cidr),
            None => write!(f, "{}", self.cidr),
        }
    }
}

impl From<ByoipGrant> for String {
    fn from(grant: ByoipGrant) -> Self {
        grant.to_string()
    }
}

impl TryFrom<String> for ByoipGrant {
    type Error = NoGrant;

    fn try_from(text: String) -> Result<Self, NoGrant> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_reads_back_as_it_was_written() {
        for text in ["203.0.113.0/24", "198.51.100.0/24=000000000012"] {
            assert_eq!(text.parse::<ByoipGrant>().unwrap().to_string(), text);
        }
        for text in
            ["", "203.0.113.0", "203.0.113.9/24", "203.0.113.0/24=", "203.0.113.0/24=12", "2001:db8::/32"]
        {
            assert_eq!(text.parse::<ByoipGrant>(), Err(NoGrant), "{text}");
        }
    }
}
