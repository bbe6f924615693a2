//! Flow logs: what a record of a flow may tell, and what a host is told to write.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>

use crate::{FlowLogId, NetworkInterfaceId, SubnetId};
use serde::{Deserialize, Serialize};

macro_rules! fields {
    ($($name:ident = $text:literal, $version:literal;)*) => {
        /// A field of a record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Field {
            $($name,)*
        }

        impl Field {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The version of the format that it came with.
            pub const fn since(self) -> u8 {
                match self {
                    $(Self::$name => $version,)*
                }
            }
        }
    };
}

fields! {
    Version = "version", 2;
    AccountId = "account-id", 2;
    InterfaceId = "interface-id", 2;
    SrcAddr = "srcaddr", 2;
    DstAddr = "dstaddr", 2;
    SrcPort = "srcport", 2;
    DstPort = "dstport", 2;
    Protocol = "protocol", 2;
    Packets = "packets", 2;
    Bytes = "bytes", 2;
    Start = "start", 2;
    End = "end", 2;
    Action = "action", 2;
    LogStatus = "log-status", 2;
    VpcId = "vpc-id", 3;
    SubnetId = "subnet-id", 3;
    InstanceId = "instance-id", 3;
    TcpFlags = "tcp-flags", 3;
    Type = "type", 3;
    PktSrcAddr = "pkt-srcaddr", 3;
    PktDstAddr = "pkt-dstaddr", 3;
    Region = "region", 4;
    AzId = "az-id", 4;
    SublocationType = "sublocation-type", 4;
    SublocationId = "sublocation-id", 4;
    PktSrcAwsService = "pkt-src-aws-service", 5;
    PktDstAwsService = "pkt-dst-aws-service", 5;
    FlowDirection = "flow-direction", 5;
    TrafficPath = "traffic-path", 5;
}

impl Field {
    /// The first fourteen: what a log tells that was asked for nothing else.
    pub fn default_format() -> Vec<Self> {
        Self::ALL.iter().copied().filter(|field| field.since() == 2).collect()
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.as_str() == text)
    }
}

/// Whose flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Of every interface of its VPC.
    Vpc,
    Subnet(SubnetId),
    Interface(NetworkInterfaceId),
}

/// Which flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    Accept,
    Reject,
    All,
}

/// Where files go, below the directory for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub bucket: String,
    /// Without a slash at either end; may be empty.
    pub prefix: String,
    pub hive: bool,
    pub per_hour: bool,
}

/// A flow log as a host that carries some of its interfaces needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowLogDesired {
    pub log: FlowLogId,
    pub scope: Scope,
    pub kept: Kept,
    /// How long a record gathers, in seconds.
    pub interval: u32,
    pub fields: Vec<Field>,
    pub destination: Destination,
    /// The zones of subnets, where a field tells them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<(SubnetId, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_format_has_the_fourteen_fields_in_their_order() {
        let names: Vec<&str> = Field::default_format().into_iter().map(Field::as_str).collect();
        assert_eq!(
            names.join(" "),
            "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action \
             log-status"
        );
    }

    #[test]
    fn every_field_is_read_by_its_name() {
        for field in Field::ALL {
            assert_eq!(Field::parse(field.as_str()), Some(*field));
        }
    }
}
