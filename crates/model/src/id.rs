//! Resource ids, AWS-shaped: a prefix and 17 (or, as of old, 8) lower-case hex digits.
//!
//! An id is a `Copy` number inside and a string only at the edge: `InstanceId::parse("i-0abc…")` is the one way in.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A string that is not the id of this kind of resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MalformedId {
    /// The prefix that was expected, such as `i`.
    pub expected: &'static str,
    pub value: String,
}

impl fmt::Display for MalformedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not an id of the form {}-…", self.value, self.expected)
    }
}

impl std::error::Error for MalformedId {}

/// Marks the ids of old, with 8 hex digits.
const SHORT: u128 = 1 << 127;
const MASK_17: u128 = (1 << 68) - 1;

fn parse_hex(prefix: &'static str, text: &str) -> Result<u128, MalformedId> {
    let malformed = || MalformedId { expected: prefix, value: text.chars().take(64).collect() };
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')).ok_or_else(malformed)?;
    if !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(malformed());
    }
    let value = u128::from_str_radix(digits, 16).map_err(|_| malformed())?;
    match digits.len() {
        17 => Ok(value),
        8 => Ok(value | SHORT),
        _ => Err(malformed()),
    }
}

fn write_hex(prefix: &str, value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let count = if value & SHORT == 0 { 17 } else { 8 };
    let mut text = [b'-'; 1 + 17];
    for (at, digit) in text[1..=count].iter_mut().rev().enumerate() {
        *digit = DIGITS[(value >> (4 * at)) as usize & 15];
    }
    f.write_str(prefix)?;
    f.write_str(std::str::from_utf8(&text[..=count]).expect("digits are ASCII"))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A fresh id out of 128 random bits, of which the low 68 are used.
            pub const fn from_entropy(entropy: u128) -> Self {
                Self(entropy & MASK_17)
            }

            pub fn parse(text: &str) -> Result<Self, MalformedId> {
                parse_hex($prefix, text).map(Self)
            }

            /// The number behind the id, for deriving names and addresses from it.
            pub const fn bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex($prefix, self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex($prefix, self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = MalformedId;
            fn from_str(text: &str) -> Result<Self, MalformedId> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    )*};
}

ids! {
    InstanceId = "i";
    ReservationId = "r";
    ImageId = "ami";
    SnapshotId = "snap";
    VolumeId = "vol";
    KeyPairId = "key";
    VpcId = "vpc";
    VpcCidrAssociationId = "vpc-cidr-assoc";
    SubnetCidrAssociationId = "subnet-cidr-assoc";
    SubnetId = "subnet";
    SecurityGroupId = "sg";
    SecurityGroupRuleId = "sgr";
    NetworkInterfaceId = "eni";
    NetworkInterfaceAttachmentId = "eni-attach";
    InternetGatewayId = "igw";
    EgressOnlyInternetGatewayId = "eigw";
    RouteTableId = "rtb";
    RouteTableAssociationId = "rtbassoc";
    NetworkAclId = "acl";
    NetworkAclAssociationId = "aclassoc";
    AllocationId = "eipalloc";
    AddressAssociationId = "eipassoc";
    PublicIpv4PoolId = "ipv4pool-ec2";
    DhcpOptionsId = "dopt";
    VpcPeeringConnectionId = "pcx";
    NatGatewayId = "nat";
    VpcEndpointId = "vpce";
    VpcEndpointServiceId = "vpce-svc";
    VpcEndpointServicePermissionId = "vpce-svc-perm";
    TransitGatewayId = "tgw";
    TransitGatewayAttachmentId = "tgw-attach";
    TransitGatewayRouteTableId = "tgw-rtb";
    CustomerGatewayId = "cgw";
    VpnGatewayId = "vgw";
    VpnConnectionId = "vpn";
    PrefixListId = "pl";
    SubnetCidrReservationId = "scr";
    NetworkInsightsPathId = "nip";
    NetworkInsightsAnalysisId = "nia";
    FlowLogId = "fl";
    TrafficMirrorTargetId = "tmt";
    TrafficMirrorFilterId = "tmf";
    TrafficMirrorFilterRuleId = "tmfr";
    TrafficMirrorSessionId = "tms";
    ImportSnapshotTaskId = "import-snap";
    ImportImageTaskId = "import-ami";
    ExportImageTaskId = "export-ami";
    /// An instant of a running instance, memory and disks, that others begin from. Ours; AWS has none.
    ForkId = "fork";
}

/// A principal's id as IAM makes them: four letters that tell the kind, then 16 capitals and digits (`AKIA…`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// 16 to 128 word characters, as AWS documents for access key ids.
    pub fn parse(text: &str) -> Option<Self> {
        let good =
            (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        good.then(|| Self(text.to_owned()))
    }

    /// A long-term key (`AKIA`) or a temporary one (`ASIA`) out of 80 random bits.
    pub fn from_entropy(prefix: &str, entropy: u128) -> Self {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let tail = (0..16).map(|i| char::from(ALPHABET[(entropy >> (i * 5)) as usize & 31]));
        Self(prefix.chars().chain(tail).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for AccessKeyId {
    type Err = MalformedId;
    fn from_str(text: &str) -> Result<Self, MalformedId> {
        Self::parse(text)
            .ok_or_else(|| MalformedId { expected: "AKIA", value: text.chars().take(64).collect() })
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        for text in ["i-0123456789abcdef0", "i-fffffffffffffffff", "i-00000000000000000", "i-1234abcd"] {
            assert_eq!(InstanceId::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "i",
            "i-",
            "i-0123456789ABCDEF0",
            "vol-0123456789abcdef0",
            "i-0123456789abcdef",
            "i-+1234567",
            "i-0123456789abcdef00",
        ] {
            assert!(InstanceId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prefixes_with_dashes_do_not_swallow_each_other() {
        assert!(NetworkInterfaceId::parse("eni-attach-0123456789abcdef0").is_err());
        assert!(NetworkInterfaceAttachmentId::parse("eni-attach-0123456789abcdef0").is_ok());
    }
}
