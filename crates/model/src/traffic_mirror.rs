//! Traffic mirroring: which packets of an interface are copied, and what a host is told to copy where.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/mirroring/traffic-mirroring-filters.html>

use crate::{NetworkInterfaceId, TrafficMirrorSessionId};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Seen from the machine whose packets are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    Ingress,
    Egress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    Accept,
    Reject,
}

/// Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    pub from: u16,
    pub to: u16,
}

/// A rule of a filter. Of those of a direction the one with the lowest number that matches decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorRule {
    pub number: u16,
    pub action: Action,
    /// IANA's number; none: every protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    pub source: IpNet,
    pub destination: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<Ports>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_ports: Option<Ports>,
}

/// What a filter lets through. What no rule matches is not copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorFilter {
    /// By number.
    pub ingress: Vec<MirrorRule>,
    pub egress: Vec<MirrorRule>,
    /// Whether all that the machine and its VPC's resolver say to each other is copied; otherwise nothing of it is.
    pub dns: bool,
}

/// A session as the host that carries its interfaces needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorDesired {
    pub session: TrafficMirrorSessionId,
    /// Of the sessions of an interface, the one with the lowest number whose filter accepts a packet gets it.
    pub number: u16,
    pub source: NetworkInterfaceId,
    /// The primary addresses of both ends.
    pub from: Ipv4Addr,
    pub to: Ipv4Addr,
    /// Whether both ends are in one subnet, so that no network ACL stands between them.
    pub within_subnet: bool,
    /// The network's number in the VXLAN header: 24 bits.
    pub network: u32,
    /// How many octets of each packet are copied; none: as many as fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u16>,
    pub filter: MirrorFilter,
}
