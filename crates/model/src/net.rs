//! Network facts that both planes speak of: MAC addresses and the packets that a rule matches.

use crate::{PrefixListId, SecurityGroupId};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    pub fn parse(text: &str) -> Option<Self> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2)?;
            *octet = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(octets))
    }

    /// A locally administered unicast address out of 40 random bits. The first octet is 0a, as in EC2.
    pub const fn from_entropy(entropy: u128) -> Self {
        let b = entropy.to_be_bytes();
        Self([0x0a, b[11], b[12], b[13], b[14], b[15]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let o = self.0;
        write!(f, "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", o[0], o[1], o[2], o[3], o[4], o[5])
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a MAC address"))
    }
}

/// The protocol and ports that a security-group rule or ACL entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Traffic {
    /// Every protocol (`-1`).
    All,
    Tcp {
        from: u16,
        to: u16,
    },
    Udp {
        from: u16,
        to: u16,
    },
    /// ICMPv4; `None` stands for every type or code (`-1`).
    Icmp {
        kind: Option<u8>,
        code: Option<u8>,
    },
    /// ICMPv6; `None` stands for every type or code.
    Icmpv6 {
        kind: Option<u8>,
        code: Option<u8>,
    },
    /// Any other IP protocol by its number.
    Protocol(u8),
}

/// The other end of a security-group rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    Net(IpNet),
    Group(SecurityGroupId),
    /// Every range of a list. Hosts are told the ranges instead.
    PrefixList(PrefixListId),
}

/// One allowance of a security group, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Allow {
    pub traffic: Traffic,
    pub peer: Peer,
}

/// What a network ACL entry does with a packet that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AclAction {
    Allow,
    Deny,
}

/// An entry of a network ACL, in one direction. Entries act in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AclEntry {
    pub number: u16,
    pub traffic: Traffic,
    pub net: IpNet,
    pub action: AclAction,
}
