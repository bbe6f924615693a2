//! The agent protocol: what the control plane wants of a host, and what the host says it sees.
//!
//! Two channels. *Desired/observed* carries state, one object at a time: the server sends each object's latest desired
//! form with a generation that only grows, the agent stores it on its own disk before it acts, and answers with what it
//! observed of that generation. *Request/reply* carries what is no state (a console's text, say).
//! The agent serves from its last desired state while the server is away.
//!
//! Framing on a stream: a 4-byte big-endian length, then one JSON [`ToAgent`] or [`FromAgent`] (see [`frame`]).

pub mod blocks;
pub mod frame;

use crate::flow_log::FlowLogDesired;
use crate::metadata::Metadata;
use crate::net::{AclEntry, Allow, Mac};
use crate::{
    AccountId, Blob, DataKey, ForkId, GiB, InstanceId, MiB, NatGatewayId, NetworkAclId, NetworkInterfaceId,
    Region, RouteTableId, SecurityGroupId, SnapshotId, SubnetId, Timestamp, TransitGatewayAttachmentId,
    TransitGatewayId, TransitGatewayRouteTableId, VolumeId, VpcEndpointId, VpcId, VpcPeeringConnectionId,
    Zone,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The largest frame that either side accepts, in bytes.
pub const MAX_FRAME: usize = 16 << 20;

/// Names one desired object of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKey {
    Vpc(VpcId),
    SecurityGroup(SecurityGroupId),
    Volume(VolumeId),
    Snapshot(SnapshotId),
    Instance(InstanceId),
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vpc(id) => write!(f, "{id}"),
            Self::SecurityGroup(id) => write!(f, "{id}"),
            Self::Volume(id) => write!(f, "{id}"),
            Self::Snapshot(id) => write!(f, "{id}"),
            Self::Instance(id) => write!(f, "{id}"),
        }
    }
}

/// The latest wish for one object. A higher generation replaces a lower one; `body: None` asks for removal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    pub key: ObjectKey,
    pub generation: u64,
    pub body: Option<DesiredBody>,
}

/// Shared: of a hundred thousand objects the server and an agent of the same process hold one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum DesiredBody {
    Vpc(Arc<VpcDesired>),
    SecurityGroup(Arc<SecurityGroupDesired>),
    Volume(Arc<VolumeDesired>),
    Snapshot(Arc<SnapshotDesired>),
    Instance(Arc<InstanceDesired>),
}

macro_rules! shared {
    ($($kind:ident($body:ty)),* $(,)?) => {$(
        impl From<$body> for DesiredBody {
            fn from(body: $body) -> Self {
                Self::$kind(Arc::new(body))
            }
        }
    )*};
}

shared! {
    Vpc(VpcDesired),
    SecurityGroup(SecurityGroupDesired),
    Volume(VolumeDesired),
    Snapshot(SnapshotDesired),
    Instance(InstanceDesired),
}

impl DesiredBody {
    /// Whether it brings the key of its data; none for what never has one.
    pub fn has_data_key(&self) -> Option<bool> {
        match self {
            Self::Volume(volume) => Some(volume.data_key.is_some()),
            Self::Snapshot(snapshot) => Some(snapshot.data_key.is_some()),
            Self::Vpc(_) | Self::SecurityGroup(_) | Self::Instance(_) => None,
        }
    }

    /// Leaves the key out.
    pub fn drop_data_key(&mut self) {
        match self {
            Self::Volume(volume) => Arc::make_mut(volume).data_key = None,
            Self::Snapshot(snapshot) => Arc::make_mut(snapshot).data_key = None,
            Self::Vpc(_) | Self::SecurityGroup(_) | Self::Instance(_) => {}
        }
    }
}

/// One VPC as a host that carries some of its interfaces needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VpcDesired {
    pub vpc: VpcId,
    pub account: AccountId,
    pub region: Region,
    pub cidrs: Vec<Ipv4Net>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_cidrs: Vec<Ipv6Net>,
    /// Whether the VPC's resolver answers at all.
    pub dns_support: bool,
    pub subnets: Vec<SubnetDesired>,
    pub route_tables: Vec<RouteTableDesired>,
    pub network_acls: Vec<NetworkAclDesired>,
    /// The VPCs that it meets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peerings: Vec<PeeringDesired>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nat_gateways: Vec<NatGatewayDesired>,
    /// The transit gateways that it is attached to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transits: Vec<TransitDesired>,
    /// Doors to the cloud's own API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<EndpointDesired>,
    /// What is written of the flows of its interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flow_logs: Vec<FlowLogDesired>,
}

/// A way to another VPC, open while both ask for it. Packets take it where routes of their subnets say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeeringDesired {
    pub peering: VpcPeeringConnectionId,
    pub peer: VpcId,
    /// The only sources that come from there.
    pub cidrs: Vec<Ipv4Net>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_cidrs: Vec<Ipv6Net>,
}

/// A VPC's end at a transit gateway: where packets go that its routes lead there, and who they come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitDesired {
    pub gateway: TransitGatewayId,
    pub attachment: TransitGatewayAttachmentId,
    /// Whether it carries IPv6 as well.
    pub ipv6: bool,
    /// The subnet whose routes packets ask that come by it.
    pub arrival: SubnetId,
    /// The subnets whose packets it takes: those of the zones that it is in.
    pub served: Vec<SubnetId>,
    /// The gateway's table that they ask; none: no packet passes.
    pub table: Option<TransitGatewayRouteTableId>,
    /// What that table says, each destination once.
    pub routes: Vec<TransitRouteDesired>,
    /// The VPCs on the other ends of its ways, in either direction.
    pub peers: Vec<TransitPeerDesired>,
}

/// A way through a transit gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitRouteDesired {
    pub destination: IpNet,
    /// None: packets are dropped.
    pub to: Option<TransitGatewayAttachmentId>,
}

/// The link between two ends stands while both name each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransitPeerDesired {
    pub attachment: TransitGatewayAttachmentId,
    pub vpc: VpcId,
}

/// What leaves by it takes its private address, with a port of its own, and is routed on as its subnet says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewayDesired {
    pub gateway: NatGatewayId,
    pub subnet: SubnetId,
    pub address: AddressDesired,
}

/// Interfaces at which the cloud's own API answers, on ports 80 and 443, and nothing else does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointDesired {
    pub endpoint: VpcEndpointId,
    pub interfaces: Vec<InterfaceDesired>,
    pub names: Vec<EndpointName>,
}

/// A name of an endpoint, in lower case, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointName {
    pub name: String,
    pub addresses: Vec<Ipv4Addr>,
    /// Whether it is known in the endpoint's VPC alone.
    pub private: bool,
}

/// How a connection came that an agent hands to the server: by which endpoint, and from whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    pub region: Region,
    pub vpc: VpcId,
    pub endpoint: VpcEndpointId,
    /// The sender's address as the endpoint's VPC sees it.
    pub source: Ipv4Addr,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubnetDesired {
    pub subnet: SubnetId,
    pub cidr: Ipv4Net,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_cidr: Option<Ipv6Net>,
    pub route_table: RouteTableId,
    pub network_acl: NetworkAclId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteTableDesired {
    pub route_table: RouteTableId,
    /// Routes beside the VPC's local ones, which always exist.
    pub routes: Vec<RouteDesired>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteDesired {
    pub destination: IpNet,
    pub target: RouteTarget,
}

/// Where a route leads on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    InternetGateway,
    /// Out as by the internet gateway; nobody outside begins anything with who has no other way out.
    EgressOnly,
    /// To an interface whose machine forwards. While it has none here, or checks its sources and destinations, packets are
    /// dropped.
    Interface(NetworkInterfaceId),
    Peering(VpcPeeringConnectionId),
    NatGateway(NatGatewayId),
    /// On by the gateway's own routes, see [`TransitDesired`].
    TransitGateway(TransitGatewayId),
    /// The target is gone: packets are dropped.
    Blackhole,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkAclDesired {
    pub network_acl: NetworkAclId,
    /// In the order of their numbers; what matches none is denied.
    pub ingress: Vec<AclEntry>,
    pub egress: Vec<AclEntry>,
}

/// A security group's rules. Its members are the interfaces that name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroupDesired {
    pub group: SecurityGroupId,
    pub vpc: VpcId,
    pub ingress: Vec<Allow>,
    pub egress: Vec<Allow>,
}

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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeDesired {
    pub volume: VolumeId,
    pub size: GiB,
    /// The image in the host's cache that the volume starts from, when it does not start from a snapshot; none: empty.
    pub image: Option<String>,
    /// The completed snapshot that the volume starts from, in the host's block store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// The volume that it starts as, at the instant of a fork; then it starts from nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkedVolume>,
    /// What it may do in a second; none: what the host can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<VolumeLimits>,
    /// What its own data are encrypted with; what it shares with its image is not its own. None: not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_key: Option<DataKey>,
    /// Several machines may have it at once; each of them is held to `limits`. No snapshot is taken of it.
    #[serde(default)]
    pub shared: bool,
}

/// A volume as it was at the instant of a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkedVolume {
    pub fork: ForkId,
    pub volume: VolumeId,
}

/// What a volume may do in a second, reads and writes together.
/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-io-characteristics.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeLimits {
    /// Operations.
    pub iops: Rate,
    /// Bytes.
    pub bytes: Rate,
    /// A larger operation counts as several of this size, in bytes.
    pub operation: u32,
}

/// A rate that always holds, and a higher one for as long as saved credit lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Per second.
    pub base: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// Per second.
    pub rate: u64,
    /// How long a full credit lasts at the burst's rate, in seconds.
    pub seconds: u32,
}

/// A snapshot in the host's block store. It is made once; a later generation changes nothing about its content.
/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-creating-snapshot.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotDesired {
    pub snapshot: SnapshotId,
    /// Whose data it is: equal blocks are shared within an account only.
    pub account: AccountId,
    pub size: GiB,
    pub source: SnapshotSource,
    /// Where its data lie once it is completed.
    #[serde(default)]
    pub tier: Tier,
    /// How often its owners have changed their minds about fast restore: a host says anew where the data lie when this grows.
    #[serde(default)]
    pub asked: u64,
    /// What its blocks are encrypted with: its volume's key, or for a copy one of its own. None: not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_key: Option<DataKey>,
}

/// Where the data of a completed snapshot lie.
/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-archive.html>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// Among those of other snapshots: it can be used.
    #[default]
    Standard,
    /// Apart, whole: nothing can be made of it.
    Archive,
    /// In both places.
    Both,
    /// Among those of other snapshots, and whole besides, so that a new volume lacks nothing (fast restore).
    Fast,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotSource {
    /// What a volume of this host holds at one instant, soon after the host hears of it.
    Volume {
        volume: VolumeId,
        /// The latest snapshot of the volume that is completed: only what has changed since is read and stored.
        parent: Option<SnapshotId>,
        /// The other snapshots of the same instant, each with its volume. All of them are taken together.
        together: Vec<(SnapshotId, VolumeId)>,
        /// The instant is while the guest is down for this reboot; none: at once.
        during: Option<Downtime>,
    },
    /// Another snapshot of this host's store, of whatever account and region.
    Copy(SnapshotId),
    /// What is put into it, block by block ([`blocks`]), until it is sealed. Blocks that are not put are as its parent has them.
    Direct { parent: Option<SnapshotId>, seal: Option<blocks::Seal> },
}

/// The time between a guest's shutdown for a reboot and the reset that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downtime {
    pub instance: InstanceId,
    /// In the run and by the count of reboots that the instance's own wish names. Once they are past, the instant is at once.
    pub run: u64,
    pub reboot: u64,
}

/// A volume of this host, plugged into an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachmentDesired {
    pub volume: VolumeId,
    /// The device name that the API shows, such as `/dev/xvda`; empty: it has none.
    pub device: String,
    #[serde(default, skip_serializing_if = "Medium::is_volume")]
    pub medium: Medium,
}

/// What a machine's disk is to its guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Medium {
    #[default]
    Volume,
    /// A disk of the instance store, `ephemeral` and this number: it belongs to one run of the machine.
    InstanceStore(u8),
}

impl Medium {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub const fn is_volume(&self) -> bool {
        matches!(self, Self::Volume)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InterfaceDesired {
    pub interface: NetworkInterfaceId,
    /// Its place in the instance, from 0; places may be left out.
    #[serde(default)]
    pub device_index: u32,
    pub mac: Mac,
    pub vpc: VpcId,
    pub subnet: SubnetId,
    pub subnet_cidr: Ipv4Net,
    /// The first is the primary address.
    pub addresses: Vec<AddressDesired>,
    /// The first is the primary one, which DHCPv6 gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<Ipv6Addr>,
    pub security_groups: Vec<SecurityGroupId>,
    pub source_dest_check: bool,
    /// The name that DHCP hands out with the address, without its domain.
    pub hostname: String,
    /// The domain that DHCP hands out.
    pub domain: String,
    /// None: what the host can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
}

/// What the interfaces of an instance may carry together, each way.
/// AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-network-bandwidth.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Interfaces that name the same instance share it.
    pub instance: InstanceId,
    /// In bytes.
    pub rate: Rate,
}

/// A private address and the public one that is translated to it at the VPC's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressDesired {
    pub private: Ipv4Addr,
    pub public: Option<Ipv4Addr>,
}

/// What the host saw of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    pub key: ObjectKey,
    /// The generation of the desired object that this speaks of.
    pub generation: u64,
    pub at: Timestamp,
    pub body: ObservedBody,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ObservedBody {
    /// The object is as desired (a VPC, a group, a volume).
    Applied,
    /// Nothing of it is left on the host.
    Removed,
    /// The last attempt failed; the agent goes on trying.
    Failing {
        reason: String,
    },
    Instance(InstancePhase),
    Snapshot(SnapshotPhase),
}

/// How far a snapshot has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotPhase {
    /// Its instant is still to come.
    Waiting,
    /// Its instant is fixed, whatever becomes of the volume; the data is being read.
    Pending { percent: u8 },
    /// All of it is durable, and can be used without its volume or its parent.
    Completed {
        /// What a volume made of it would hold, in bytes, holes not counted.
        full: u64,
        #[serde(default)]
        tier: Tier,
    },
    /// It will never be completed.
    Failed { reason: String },
    /// It is completed, and its data are on their way to where they are desired.
    Moving { percent: u8 },
    /// It is completed, and its data will never be where they are desired: they stay where they were.
    Unmovable { reason: String },
}

/// The machine of an instance as the host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstancePhase {
    /// Its parts are being brought up.
    Starting {
        run: u64,
    },
    Running {
        run: u64,
        since: Timestamp,
        /// What is plugged into it now, which lags behind what is desired.
        #[serde(default)]
        devices: Devices,
    },
    Stopping {
        run: u64,
    },
    /// No machine runs; the volumes are there.
    Stopped {
        run: u64,
        cause: StopCause,
    },
    /// It could not be started in this run, and never will be: the request itself is at fault.
    Unstartable {
        run: u64,
        reason: String,
    },
}

/// The disks and interfaces that a running machine holds, each in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    pub volumes: Vec<VolumeId>,
    pub interfaces: Vec<NetworkInterfaceId>,
}

/// Why a machine is not running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCause {
    /// The desired state asked for it.
    Requested,
    /// The guest powered itself off.
    GuestShutdown,
    /// The machine's process ended without being asked.
    Crashed { detail: String },
    /// The desired state asked for it; its memory is kept.
    Hibernated,
    /// Its memory was to be kept, and could not be: the guest was asked to shut down instead.
    NotHibernated { reason: String },
}

/// Names one life of an agent: replies and observations of an earlier life are stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub host: String,
    /// The kernel's boot id: a change means that the host has restarted.
    pub boot_id: String,
    /// Grows by one with each start of the agent on its state directory.
    pub epoch: u64,
    pub capacity: Capacity,
}

/// What the host can give to instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    pub vcpus: u32,
    pub memory: MiB,
}

impl Capacity {
    /// Of a simulated host, which has whatever is asked of it.
    pub const UNLIMITED: Self = Self { vcpus: u32::MAX, memory: MiB(u32::MAX) };
}

/// A memory template of a host, or one that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateStatus {
    pub key: String,
    /// The image's name on the host.
    pub image: String,
    pub instance_type: String,
    pub vcpus: u32,
    pub memory: MiB,
    #[serde(flatten)]
    pub state: TemplateState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum TemplateState {
    /// It is built when nothing is being launched.
    Wanted,
    Building,
    Ready {
        /// What it takes of the disk.
        bytes: u64,
        last_used: Timestamp,
    },
    /// The last attempt to build it failed.
    Failed {
        reason: String,
    },
}

/// What is no state: asked once, answered once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The last `limit` bytes that the instance wrote to its serial console.
    ConsoleOutput {
        instance: InstanceId,
        limit: usize,
    },
    /// A few lines on every object that is not as desired.
    Status,
    /// The memory templates of the host, and which instances were started from one.
    Templates,
    /// Has a template made of an image in the host's cache and a shape, soon. The answer is [`Reply::Template`].
    BuildTemplate {
        image: String,
        machine: Machine,
    },
    RemoveTemplate {
        key: String,
    },
    /// Has the memory and the volumes of a running instance kept as they are at one instant, soon, for these instances to begin
    /// from, of which the host has not heard yet. The answer is [`Reply::Forked`]; that takes a while.
    Fork {
        fork: ForkId,
        instance: InstanceId,
        children: Vec<InstanceId>,
    },
    /// When each step of the instance's latest start was done. The answer is [`Reply::Trace`].
    Trace {
        instance: InstanceId,
    },
    /// The answer is [`Reply::Blocks`].
    Blocks(blocks::BlockRequest),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    ConsoleOutput {
        text: Blob,
        at: Option<Timestamp>,
    },
    Status {
        objects: Vec<ObjectStatus>,
    },
    Templates {
        templates: Vec<TemplateStatus>,
        /// How the machines of this host were last started, in a few words: `clone tpl-…`, `cold: …`.
        origins: Vec<(InstanceId, String)>,
    },
    /// The key by which the template will be listed.
    Template {
        key: String,
    },
    /// The instant is kept.
    Forked {
        /// How long the instance stood still for it, in microseconds.
        pause: u64,
    },
    /// In the order of their times; the first is when the host heard of the run.
    Trace {
        steps: Vec<TraceStep>,
    },
    Blocks(blocks::BlockReply),
    Done,
    /// The host knows no such object.
    NotFound,
    Failed {
        reason: String,
    },
}

/// A step of a start that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStep {
    pub step: String,
    pub at: Timestamp,
}

/// One line of `nube status`: an object, the result of its last run and when it is tried next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    pub key: String,
    pub last_error: Option<String>,
    pub failures: u32,
    pub last_run: Option<Timestamp>,
    pub next_run: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    /// Every object that the host should hold; what it holds beyond these is removed. Sent first on each connection.
    Sync {
        objects: Vec<Desired>,
    },
    Set {
        object: Desired,
    },
    Request {
        id: u64,
        request: Request,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromAgent {
    /// Sent first on each connection.
    Hello(Hello),
    Observed(Observed),
    Reply {
        id: u64,
        reply: Reply,
    },
}
