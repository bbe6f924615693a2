//! Ranges of public addresses that accounts bring: which are fit, who may bring them, and what becomes of them.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-byoip.html>
//! Differs: the operator's word decides who may bring a range; the signature of an authorization is not verified.

use super::overlap;
use ipnet::Ipv4Net;
use model::record::byoip::{ByoipCidr, ByoipPhase};
use model::{AccountId, ByoipGrant, Timestamp};
use std::fmt;
use std::net::Ipv4Addr;

/// The longest prefix that a range may have.
pub const MOST_SPECIFIC: u8 = 24;
/// The shortest one.
pub const LEAST_SPECIFIC: u8 = 8;

/// Why a range cannot be anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    HostBits,
    Size,
    /// No interface can have these addresses.
    Special,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostBits => f.write_str("it has host bits"),
            Self::Size => write!(f, "its prefix must be between /{LEAST_SPECIFIC} and /{MOST_SPECIFIC}"),
            Self::Special => f.write_str("its addresses are set aside"),
        }
    }
}

/// Whether a range can be brought at all.
pub fn fit(cidr: Ipv4Net) -> Result<(), Unfit> {
    const SPECIAL: [(Ipv4Addr, u8); 4] = [
        (Ipv4Addr::UNSPECIFIED, 8),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(224, 0, 0, 0), 3),
    ];
    if cidr.trunc() != cidr {
        return Err(Unfit::HostBits);
    }
    if !(LEAST_SPECIFIC..=MOST_SPECIFIC).contains(&cidr.prefix_len()) {
        return Err(Unfit::Size);
    }
    let special = |(address, length)| Ipv4Net::new(address, length).is_ok_and(|net| overlap(net, cidr));
    if SPECIAL.into_iter().any(special) { Err(Unfit::Special) } else { Ok(()) }
}

/// Whether an account may bring a range.
pub fn may_bring(grants: &[ByoipGrant], account: AccountId, cidr: Ipv4Net) -> bool {
    let mut own = grants.iter().filter(|grant| grant.account.is_none_or(|only| only == account));
    own.any(|grant| grant.cidr.contains(&cidr))
}

/// What is wrong with an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadAuthorization {
    Form,
    Account,
    Cidr,
    Expired,
    Signature,
}

impl fmt::Display for BadAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "the message must read 1|aws|ACCOUNT|CIDR|YYYYMMDD|SHA256|RSAPSS",
            Self::Account => "the message is for another account",
            Self::Cidr => "the message is for another address range",
            Self::Expired => "the message has expired",
            Self::Signature => "the signature is malformed",
        })
    }
}

/// Whether an authorization has the form that AWS documents and speaks of this account and range. `today` is `YYYYMMDD`.
pub fn authorization(
    message: &str,
    signature: &str,
    account: AccountId,
    cidr: Ipv4Net,
    today: &str,
) -> Result<(), BadAuthorization> {
    let parts: Vec<&str> = message.split('|').collect();
    let ["1", "aws", of, range, expires, "SHA256", "RSAPSS"] = parts[..] else {
        return Err(BadAuthorization::Form);
    };
    if expires.len() != 8 || !expires.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadAuthorization::Form);
    }
    if AccountId::parse(of) != Some(account) {
        return Err(BadAuthorization::Account);
    }
    if range.parse() != Ok(cidr) {
        return Err(BadAuthorization::Cidr);
    }
    if expires < today {
        return Err(BadAuthorization::Expired);
    }
    // Base64 with AWS's own three letters in place of those that mean something in an address.
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"-_~+/=".contains(&b);
    if signature.is_empty() || !signature.bytes().all(letter) {
        return Err(BadAuthorization::Signature);
    }
    Ok(())
}

/// What its owner wants of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Advertise,
    Withdraw,
    /// None of its addresses may be allocated any more.
    Deprovision,
}

/// A range is not where this can be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IllegalTransition;

/// What a range becomes.
pub fn next(cidr: &ByoipCidr, event: Event, now: Timestamp) -> Result<ByoipPhase, IllegalTransition> {
    match (cidr.phase, event) {
        (ByoipPhase::Provisioned, Event::Advertise) if cidr.advertisable => Ok(ByoipPhase::Advertised),
        (ByoipPhase::Advertised, Event::Withdraw) => Ok(ByoipPhase::Provisioned),
        (ByoipPhase::Provisioned | ByoipPhase::Failed, Event::Deprovision) => {
            Ok(ByoipPhase::Deprovisioned { at: now })
        }
        (ByoipPhase::Provisioned | ByoipPhase::Failed, Event::Advertise | Event::Withdraw)
        | (ByoipPhase::Advertised, Event::Advertise | Event::Deprovision)
        | (ByoipPhase::Deprovisioned { .. }, Event::Advertise | Event::Withdraw | Event::Deprovision) => {
            Err(IllegalTransition)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::PublicIpv4PoolId;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_fit_between_8_and_24_bits_outside_of_what_is_set_aside() {
        for good in ["203.0.113.0/24", "8.0.0.0/8", "10.1.0.0/16", "192.168.4.0/22"] {
            assert_eq!(fit(net(good)), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("203.0.113.128/25", Unfit::Size),
            ("8.0.0.0/7", Unfit::Size),
            ("203.0.113.1/24", Unfit::HostBits),
            ("127.0.0.0/24", Unfit::Special),
            ("169.254.7.0/24", Unfit::Special),
            ("239.0.0.0/8", Unfit::Special),
            ("255.255.255.0/24", Unfit::Special),
            ("0.0.0.0/8", Unfit::Special),
        ] {
            assert_eq!(fit(net(bad)), Err(why), "{bad}");
        }
    }

    #[test]
    fn a_range_is_brought_by_whom_the_operator_named() {
        let (alice, bob) = (AccountId::from_number(1), AccountId::from_number(2));
        let grants = ["203.0.112.0/23=000000000001", "198.51.100.0/24"].map(|text| text.parse().unwrap());
        for (who, what, may) in [
            (alice, "203.0.113.0/24", true),
            (alice, "203.0.112.0/23", true),
            (bob, "203.0.113.0/24", false),
            (bob, "198.51.100.0/24", true),
            (alice, "203.0.112.0/22", false),
            (alice, "192.0.2.0/24", false),
        ] {
            assert_eq!(may_bring(&grants, who, net(what)), may, "{who} {what}");
        }
    }

    #[test]
    fn an_authorization_speaks_of_this_account_and_range_and_is_not_over() {
        let (account, cidr) = (AccountId::from_number(1), net("203.0.113.0/24"));
        let judged =
            |message: &str, signature: &str| authorization(message, signature, account, cidr, "20260101");
        let good = "1|aws|000000000001|203.0.113.0/24|20260101|SHA256|RSAPSS";
        assert_eq!(judged(good, "ab-_~"), Ok(()));
        for (message, why) in [
            ("", BadAuthorization::Form),
            ("2|aws|000000000001|203.0.113.0/24|20260101|SHA256|RSAPSS", BadAuthorization::Form),
            ("1|aws|000000000001|203.0.113.0/24|someday|SHA256|RSAPSS", BadAuthorization::Form),
            ("1|aws|000000000002|203.0.113.0/24|20260101|SHA256|RSAPSS", BadAuthorization::Account),
            ("1|aws|000000000001|203.0.112.0/24|20260101|SHA256|RSAPSS", BadAuthorization::Cidr),
            ("1|aws|000000000001|203.0.113.0/24|20251231|SHA256|RSAPSS", BadAuthorization::Expired),
        ] {
            assert_eq!(judged(message, "ab"), Err(why), "{message}");
        }
        for signature in ["", "a b", "é"] {
            assert_eq!(judged(good, signature), Err(BadAuthorization::Signature), "{signature}");
        }
    }

    #[test]
    fn a_range_is_advertised_before_it_is_withdrawn_and_withdrawn_before_it_ends() {
        let now = Timestamp::from_millis(7);
        let over = ByoipPhase::Deprovisioned { at: now };
        let range = |phase, advertisable| ByoipCidr {
            pool: PublicIpv4PoolId::from_entropy(1),
            account: AccountId::from_number(1),
            cidr: net("203.0.113.0/24"),
            description: None,
            advertisable,
            phase,
            tags: model::record::Tags::new(),
        };
        let after = |phase, event| next(&range(phase, true), event, now).ok();
        for (phase, advertise, withdraw, deprovision) in [
            (ByoipPhase::Provisioned, Some(ByoipPhase::Advertised), None, Some(over)),
            (ByoipPhase::Advertised, None, Some(ByoipPhase::Provisioned), None),
            (ByoipPhase::Failed, None, None, Some(over)),
            (over, None, None, None),
        ] {
            assert_eq!(after(phase, Event::Advertise), advertise, "{phase:?}");
            assert_eq!(after(phase, Event::Withdraw), withdraw, "{phase:?}");
            assert_eq!(after(phase, Event::Deprovision), deprovision, "{phase:?}");
        }
        assert_eq!(
            next(&range(ByoipPhase::Provisioned, false), Event::Advertise, now),
            Err(IllegalTransition)
        );
    }
}
