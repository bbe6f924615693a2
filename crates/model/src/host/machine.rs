//! What a host should hold of instances: machines and how they are run.

use super::{AttachmentDesired, InterfaceDesired};
use crate::metadata::Metadata;
use crate::{AccountId, ForkId, InstanceId, MiB, NetworkInterfaceId, VolumeId, Zone};
use serde::{Deserialize, Serialize};

/// One instance, whole: machine, volumes, interfaces and what its metadata service tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceDesired {
    pub instance: InstanceId,
    pub account: AccountId,
    pub zone: Zone,
    pub power: Power,
    /// Counts the starts of this instance (launch is 1). A machine that ended in run N is not started again in run N,
    /// unless the host itself has rebooted since.
    pub run: u64,
    /// Counts the reboots asked for in this run; the agent resets the machine when it grows.
    pub reboots: u64,
    pub machine: Machine,
    /// The first is the root volume. Each is an object of its own, which outlives the instance unless removed too. What is
    /// not among them is unplugged, with the guest's consent.
    pub volumes: Vec<AttachmentDesired>,
    /// Volumes that are unplugged whether the guest lets go of them or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub torn_out: Vec<VolumeId>,
    /// In the order of their device indexes. What is not among them is unplugged, with the guest's consent.
    pub interfaces: Vec<InterfaceDesired>,
    /// Interfaces that are cut off from the network whether the guest lets go of them or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<NetworkInterfaceId>,
    pub metadata: Metadata,
    /// The instant of another instance that its first run goes on from, with an identity of its own; none: it boots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkId>,
}

/// Whether the machine should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    On,
    /// Ask the guest by ACPI, then cut the power after a grace time.
    Off,
    /// Keep its memory for the next start, which goes on with it; what cannot be kept is switched off as by `Off`.
    Hibernate,
    /// Cut the power at once.
    ForceOff,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The type's name as the guest's firmware tables show it, such as `t3.micro`.
    pub instance_type: String,
    pub architecture: Architecture,
    pub vcpus: u32,
    pub memory: MiB,
    /// The name of the image in the host's cache whose kernel and command line boot this machine, or none: firmware.
    pub direct_kernel: Option<String>,
    /// What boots the first disk when no kernel is given.
    #[serde(default)]
    pub firmware: Firmware,
}

/// Spelled as EC2 does; earlier versions wrote the names of the variants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Architecture {
    #[default]
    #[serde(rename = "x86_64", alias = "X86_64")]
    X86_64,
    #[serde(rename = "arm64", alias = "Arm64")]
    Arm64,
}

/// What a machine runs before its operating system. Arm machines know UEFI only.
/// AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-boot.html>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    #[default]
    LegacyBios,
    Uefi,
}

impl Firmware {
    /// As EC2 spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LegacyBios => "legacy-bios",
            Self::Uefi => "uefi",
        }
    }
}

impl Architecture {
    /// As EC2 spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// What an image boots by when it does not say.
    pub const fn default_firmware(self) -> Firmware {
        match self {
            Self::X86_64 => Firmware::LegacyBios,
            Self::Arm64 => Firmware::Uefi,
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::X86_64, Self::Arm64].into_iter().find(|a| a.as_str() == text)
    }
}
