//! What a launch asks for, after the soup of optional parameters has been read.

use super::DeviceSpec;
use ipnet::{Ipv4Net, Ipv6Net};
use model::metadata::MetadataOptions;
use model::record::Tags;
use model::record::instance::{CpuOptions, ShutdownBehavior};
use model::{Blob, ImageId, NetworkInterfaceId, SecurityGroupId, SubnetId, Zone};
use std::net::{Ipv4Addr, Ipv6Addr};

/// One call of RunInstances.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchSpec {
    pub image: ImageId,
    /// `None`: the default type.
    pub instance_type: Option<String>,
    /// As many as fit between these, both at least 1 and in order.
    pub min: u32,
    pub max: u32,
    pub key_name: Option<String>,
    pub user_data: Option<Blob>,
    pub zone: Option<Zone>,
    pub network: NetworkSpec,
    /// The interfaces beside the primary one, in the order of their device indexes.
    pub further: Vec<FurtherInterface>,
    pub devices: Vec<DeviceSpec>,
    pub metadata_options: MetadataOptions,
    pub shutdown_behavior: ShutdownBehavior,
    pub disable_api_termination: bool,
    pub disable_api_stop: bool,
    pub monitoring: bool,
    pub ebs_optimized: bool,
    pub client_token: Option<String>,
    /// Cores and threads; none: as the type has them.
    pub cpus: Option<CpuOptions>,
    /// Whether memory may be kept while an instance is stopped.
    pub hibernation: bool,
    pub tags: LaunchTags,
}

/// Tags of what the launch creates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaunchTags {
    pub instance: Tags,
    pub volume: Tags,
    pub network_interface: Tags,
}

/// A network interface beside the primary one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FurtherInterface {
    /// From 1.
    pub device_index: u32,
    pub network: NetworkSpec,
}

impl LaunchSpec {
    /// All of its interfaces with their device indexes, in that order.
    pub fn interfaces(&self) -> impl Iterator<Item = (u32, &NetworkSpec)> {
        let further = self.further.iter().map(|further| (further.device_index, &further.network));
        std::iter::once((0, &self.network)).chain(further)
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkSpec {
    New {
        /// `None`: a default subnet.
        subnet: Option<SubnetId>,
        groups: GroupChoice,
        private_address: Option<Ipv4Addr>,
        secondary: SecondaryAddresses,
        prefixes: Ipv4Prefixes,
        ipv6: Ipv6Addresses,
        ipv6_prefixes: Ipv6Prefixes,
        public: PublicChoice,
        description: String,
        delete_on_termination: bool,
    },
    Existing {
        interface: NetworkInterfaceId,
        delete_on_termination: bool,
    },
}

/// The private addresses beside the primary one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecondaryAddresses {
    Any(u32),
    These(Vec<Ipv4Addr>),
}

impl SecondaryAddresses {
    pub const NONE: Self = Self::Any(0);

    /// One by one; `None` is any.
    pub fn each(&self) -> Vec<Option<Ipv4Addr>> {
        match self {
            Self::Any(count) => vec![None; *count as usize],
            Self::These(addresses) => addresses.iter().copied().map(Some).collect(),
        }
    }
}

/// The /28 prefixes of a new interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipv4Prefixes {
    Any(u32),
    These(Vec<Ipv4Net>),
}

impl Ipv4Prefixes {
    pub const NONE: Self = Self::Any(0);

    /// One by one; `None` is any.
    pub fn each(&self) -> Vec<Option<Ipv4Net>> {
        match self {
            Self::Any(count) => vec![None; *count as usize],
            Self::These(prefixes) => prefixes.iter().copied().map(Some).collect(),
        }
    }
}

/// The /80 prefixes of a new interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipv6Prefixes {
    Any(u32),
    These(Vec<Ipv6Net>),
}

impl Ipv6Prefixes {
    pub const NONE: Self = Self::Any(0);

    /// One by one; `None` is any.
    pub fn each(&self) -> Vec<Option<Ipv6Net>> {
        match self {
            Self::Any(count) => vec![None; *count as usize],
            Self::These(prefixes) => prefixes.iter().copied().map(Some).collect(),
        }
    }
}

/// The IPv6 addresses of a new interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipv6Addresses {
    /// One if the subnet says so.
    AsSubnet,
    Any(u32),
    These(Vec<Ipv6Addr>),
}

impl Ipv6Addresses {
    /// How many are asked for.
    pub fn count(&self) -> usize {
        match self {
            Self::AsSubnet => 0,
            Self::Any(count) => *count as usize,
            Self::These(addresses) => addresses.len(),
        }
    }
}

impl NetworkSpec {
    /// Whether only one interface can be like this.
    pub fn is_unique(&self) -> bool {
        match self {
            Self::New { private_address, secondary, prefixes, ipv6, ipv6_prefixes, .. } => {
                private_address.is_some()
                    || matches!(secondary, SecondaryAddresses::These(_))
                    || matches!(prefixes, Ipv4Prefixes::These(_))
                    || matches!(ipv6, Ipv6Addresses::These(_))
                    || matches!(ipv6_prefixes, Ipv6Prefixes::These(_))
            }
            Self::Existing { .. } => true,
        }
    }
}

/// Security groups by id and by name; neither: the VPC's default group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupChoice {
    pub ids: Vec<SecurityGroupId>,
    pub names: Vec<String>,
}

/// Whether the instance gets a public address of the cloud's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicChoice {
    /// As the subnet says.
    Subnet,
    Yes,
    No,
}
