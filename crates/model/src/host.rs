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
mod machine;
mod network;
mod storage;

pub use machine::*;
pub use network::*;
pub use storage::*;

use crate::{
    Blob, ForkId, InstanceId, MiB, NetworkInterfaceId, SecurityGroupId, SnapshotId, Timestamp, VolumeId,
    VpcId,
};
use serde::{Deserialize, Serialize};
use std::fmt;
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
    /// Whether it brings the key of its data, or all keys of its tunnels; none for what never has one.
    pub fn has_data_key(&self) -> Option<bool> {
        match self {
            Self::Volume(volume) => Some(volume.data_key.is_some()),
            Self::Snapshot(snapshot) => Some(snapshot.data_key.is_some()),
            Self::Vpc(vpc) => {
                let mut tunnels = vpc.vpns.iter().flat_map(|vpn| &vpn.tunnels).peekable();
                tunnels.peek()?;
                Some(tunnels.all(|tunnel| tunnel.key.is_some()))
            }
            Self::SecurityGroup(_) | Self::Instance(_) => None,
        }
    }

    /// Leaves the keys out.
    pub fn drop_data_key(&mut self) {
        match self {
            Self::Volume(volume) => Arc::make_mut(volume).data_key = None,
            Self::Snapshot(snapshot) => Arc::make_mut(snapshot).data_key = None,
            Self::Vpc(vpc) => {
                let tunnels = Arc::make_mut(vpc).vpns.iter_mut().flat_map(|vpn| &mut vpn.tunnels);
                tunnels.for_each(|tunnel| tunnel.key = None);
            }
            Self::SecurityGroup(_) | Self::Instance(_) => {}
        }
    }
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
    /// Whether the host can carry VPN connections, and how their tunnels are. The answer is [`Reply::Tunnels`].
    Tunnels,
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
    Tunnels {
        /// What the host lacks to carry any; none: nothing.
        lack: Option<String>,
        tunnels: Vec<TunnelSeen>,
    },
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
