//! Instances: the record, the states, and which events move them.
//!
//! ```text
//!            MachineRunning              Stop               MachineStopped
//! Pending ───────────────────► Running ───────► Stopping ──────────────────► Stopped ──Start──► Pending
//!    │ Unstartable (never ran)    │ MachineStopped ─────────────────────────────▲
//!    └──────────────────────────► ▼ Terminate (from every state but the last)
//! Terminated ◄──MachineRemoved── ShuttingDown
//! ```
//! A running guest is asked to shut down before its machine is taken away: `ShuttingDown` is `Graceful` until the machine
//! is off, `Forced` from then on, and from the start when there is no guest to ask or the caller wants it skipped.
//!
//! Operations write intent (`Start`, `Stop`, `Terminate`); what the machine does is observed by the host and absorbed by
//! the reconciler alone.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html>

use super::image::Platform;
use super::{IndexValue, Record, Tags};
use crate::host::{Architecture, Firmware};
use crate::metadata::MetadataOptions;
use crate::{
    AccountId, Blob, ForkId, ImageId, InstanceId, NetworkInterfaceId, ReservationId, SubnetId, Timestamp,
    VolumeId, VpcId, Zone,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Instance {
    pub instance: InstanceId,
    pub account: AccountId,
    pub reservation: ReservationId,
    pub launch_index: u32,
    pub image: ImageId,
    pub instance_type: String,
    pub architecture: Architecture,
    #[serde(default)]
    pub firmware: Firmware,
    /// What boots the machine; none: an earlier version wrote the record, and the image tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    /// The image's at launch.
    #[serde(default)]
    pub platform: Platform,
    /// Name and OpenSSH line of the key at launch: deleting the key pair later changes nothing here.
    pub key: Option<LaunchKey>,
    pub zone: Zone,
    pub vpc: VpcId,
    pub subnet: SubnetId,
    /// In the order of their device indexes.
    pub interfaces: Vec<NetworkInterfaceId>,
    /// The first is the root volume.
    pub volumes: Vec<BlockDevice>,
    pub root_device: String,
    /// Which disks of the instance store the launch mapped to device names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ephemeral: Vec<EphemeralMapping>,
    /// The disks of its instance store in this run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub store: Vec<StoreDevice>,
    pub user_data: Option<Blob>,
    /// Gets a public address of the cloud's own whenever it starts.
    pub automatic_public_address: bool,
    pub shutdown_behavior: ShutdownBehavior,
    pub disable_api_termination: bool,
    pub disable_api_stop: bool,
    pub metadata_options: MetadataOptions,
    pub monitoring: bool,
    pub ebs_optimized: bool,
    /// Cores and threads as the launch asked for them; none: as the type has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<CpuOptions>,
    pub client_token: Option<String>,
    /// The latest start.
    pub launched_at: Timestamp,
    pub phase: Phase,
    pub reason: Option<StateReason>,
    /// Counts the starts; the launch is 1.
    pub run: u64,
    /// Counts the reboots asked for in this run.
    pub reboots: u64,
    /// Whether its memory may be kept while it is stopped.
    #[serde(default, skip_serializing_if = "Hibernation::is_off")]
    pub hibernation: Hibernation,
    /// What it began as; none: it was launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked: Option<Forked>,
    pub tags: Tags,
}

/// Whether the memory of an instance may be kept while it is stopped: said at its launch, for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hibernation {
    #[default]
    Off,
    Configured,
    /// It may, and its latest stop is to do so.
    Asked,
}

impl Hibernation {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Before a start, and for a stop that shuts the guest down.
    pub const fn not_asked(self) -> Self {
        match self {
            Self::Off => Self::Off,
            Self::Configured | Self::Asked => Self::Configured,
        }
    }
}

/// The beginning of an instance that was forked from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forked {
    pub parent: InstanceId,
    pub fork: ForkId,
}

/// What boots a machine, whatever becomes of its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Boot {
    /// Its firmware, from the root volume.
    Firmware,
    /// The kernel of this image in the hosts' cache.
    Kernel(String),
}

impl From<Option<&str>> for Boot {
    fn from(kernel: Option<&str>) -> Self {
        kernel.map_or(Self::Firmware, |image| Self::Kernel(image.to_owned()))
    }
}

/// Fewer processors than the type has, or one thread on each core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuOptions {
    pub cores: u32,
    pub threads_per_core: u32,
}

impl CpuOptions {
    pub const fn vcpus(self) -> u32 {
        self.cores * self.threads_per_core
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchKey {
    pub name: String,
    pub public_key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    pub device: String,
    pub volume: VolumeId,
    pub delete_on_termination: bool,
    pub attached_at: Timestamp,
    #[serde(default, skip_serializing_if = "AttachmentState::is_attached")]
    pub state: AttachmentState,
}

/// `VirtualName=ephemeralN` of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EphemeralMapping {
    pub device: String,
    pub number: u8,
}

/// A disk of the instance store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreDevice {
    pub disk: VolumeId,
    pub number: u8,
    /// The name that the launch mapped it to; NVMe disks have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// How far the attachment of a volume or an interface has come. What a launch attaches is attached from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttachmentState {
    /// Asked for; the running machine does not have it yet.
    Attaching,
    #[default]
    Attached,
    /// To be let go of; the running machine still has it, or may have it.
    Detaching { force: Force, since: Timestamp },
    /// The guest does not let go of it.
    Busy { force: Force },
}

impl AttachmentState {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub const fn is_attached(&self) -> bool {
        matches!(self, Self::Attached)
    }

    /// How it is to be let go of; none: it stays.
    pub const fn leaving(self) -> Option<Force> {
        match self {
            Self::Attaching | Self::Attached => None,
            Self::Detaching { force, .. } | Self::Busy { force } => Some(force),
        }
    }
}

/// What a power-off from inside means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShutdownBehavior {
    Stop,
    Terminate,
}

/// Why the instance is in its state: a code such as `Client.UserInitiatedShutdown`, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReason {
    pub code: String,
    pub message: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Pending,
    Running { since: Timestamp },
    Stopping { force: Force },
    Stopped,
    ShuttingDown { force: Force },
    Terminated { at: Timestamp },
}

/// Whether the guest is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Force {
    Graceful,
    Forced,
}

/// What happens to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Start,
    Stop(Force),
    Terminate(Force),
    MachineRunning,
    /// The machine is off: as asked, by the guest, or by accident.
    MachineStopped,
    /// The machine cannot be started, and never ran.
    Unstartable,
    MachineRemoved,
}

/// The event has no place in the phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IllegalTransition {
    pub from: Phase,
    pub event: Event,
}

impl Phase {
    /// The phase after `event`. Total: every pair is written out.
    pub fn next(self, event: Event, now: Timestamp) -> Result<Phase, IllegalTransition> {
        use Event::{MachineRemoved, MachineRunning, MachineStopped, Start, Stop, Terminate, Unstartable};
        use Phase::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
        let illegal = Err(IllegalTransition { from: self, event });
        match (self, event) {
            (Pending, Start) => Ok(Pending),
            (Pending, MachineRunning) => Ok(Running { since: now }),
            (Pending, MachineStopped) => Ok(Stopped),
            // What the host made of it so far has to go first.
            (Pending, Unstartable | Terminate(_)) => Ok(ShuttingDown { force: Force::Forced }),
            (Pending, Stop(_) | MachineRemoved) => illegal,

            (Running { since }, Start | MachineRunning) => Ok(Running { since }),
            (Running { .. }, Stop(force)) => Ok(Stopping { force }),
            (Running { .. }, MachineStopped) => Ok(Stopped),
            (Running { .. }, Terminate(force)) => Ok(ShuttingDown { force }),
            (Running { .. }, Unstartable | MachineRemoved) => illegal,

            (Stopping { .. }, Stop(Force::Forced)) => Ok(Stopping { force: Force::Forced }),
            (Stopping { force }, Stop(Force::Graceful) | MachineRunning) => Ok(Stopping { force }),
            (Stopping { .. }, MachineStopped) => Ok(Stopped),
            (Stopping { force: Force::Graceful }, Terminate(force)) => Ok(ShuttingDown { force }),
            (Stopping { force: Force::Forced }, Terminate(_)) => Ok(ShuttingDown { force: Force::Forced }),
            (Stopping { .. }, Start | Unstartable | MachineRemoved) => illegal,

            (Stopped, Start) => Ok(Pending),
            (Stopped, Stop(_) | MachineStopped) => Ok(Stopped),
            (Stopped, Terminate(_)) => Ok(ShuttingDown { force: Force::Forced }),
            (Stopped, MachineRunning | Unstartable | MachineRemoved) => illegal,

            (ShuttingDown { .. }, Terminate(Force::Forced) | MachineStopped | Unstartable) => {
                Ok(ShuttingDown { force: Force::Forced })
            }
            (ShuttingDown { force }, Terminate(Force::Graceful) | MachineRunning) => {
                Ok(ShuttingDown { force })
            }
            (ShuttingDown { .. }, MachineRemoved) => Ok(Terminated { at: now }),
            (ShuttingDown { .. }, Start | Stop(_)) => illegal,

            (Terminated { at }, Terminate(_) | MachineStopped | MachineRemoved) => Ok(Terminated { at }),
            (Terminated { .. }, Start | Stop(_) | MachineRunning | Unstartable) => illegal,
        }
    }

    /// The name that the API shows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown { .. } => "shutting-down",
            Self::Terminated { .. } => "terminated",
        }
    }

    /// The low byte of the state code that the API shows.
    pub const fn code(self) -> i32 {
        match self {
            Self::Pending => 0,
            Self::Running { .. } => 16,
            Self::ShuttingDown { .. } => 32,
            Self::Terminated { .. } => 48,
            Self::Stopping { .. } => 64,
            Self::Stopped => 80,
        }
    }

    /// Whether a machine of it runs or may still run on a host.
    pub const fn occupies_host(self) -> bool {
        match self {
            Self::Pending | Self::Running { .. } | Self::Stopping { .. } | Self::ShuttingDown { .. } => true,
            Self::Stopped | Self::Terminated { .. } => false,
        }
    }

    pub const fn is_terminated(self) -> bool {
        matches!(self, Self::Terminated { .. })
    }
}

impl Instance {
    /// The index of the instances that take room on the host, by the name of their type.
    pub const OCCUPYING_TYPE: &'static str = "occupying-type";
}

owned!(Instance);

impl Record for Instance {
    const NOUN: &'static str = "instance";
    type Id = InstanceId;

    fn id(&self) -> InstanceId {
        self.instance
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into()), ("reservation", self.reservation.into())];
        if self.phase.occupies_host() {
            // So that a launch counts what the host carries without looking at every instance.
            indexes.push((Self::OCCUPYING_TYPE, self.instance_type.as_str().into()));
        }
        indexes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn walk(events: &[Event]) -> Result<Phase, IllegalTransition> {
        events.iter().try_fold(Phase::Pending, |phase, event| phase.next(*event, NOW))
    }

    #[test]
    fn an_instance_lives_as_in_the_lifecycle_page() {
        use Event::*;
        assert_eq!(walk(&[MachineRunning]), Ok(Phase::Running { since: NOW }));
        assert_eq!(walk(&[MachineRunning, Stop(Force::Graceful), MachineStopped]), Ok(Phase::Stopped));
        assert_eq!(
            walk(&[MachineRunning, MachineStopped, Start, MachineRunning]),
            Ok(Phase::Running { since: NOW })
        );
        let ended = [MachineRunning, Terminate(Force::Graceful), MachineStopped, MachineRemoved];
        assert_eq!(walk(&ended), Ok(Phase::Terminated { at: NOW }));
        assert_eq!(walk(&[Unstartable, MachineRemoved]), Ok(Phase::Terminated { at: NOW }));
    }

    #[test]
    fn a_terminated_instance_never_comes_back() {
        use Event::*;
        let dead = Phase::Terminated { at: NOW };
        for event in [Start, Stop(Force::Graceful), MachineRunning] {
            assert!(dead.next(event, NOW).is_err(), "{event:?}");
        }
    }

    #[test]
    fn only_a_guest_that_may_run_is_asked_to_shut_down_before_the_end() {
        use Event::*;
        let asked = Ok(Phase::ShuttingDown { force: Force::Graceful });
        let unasked = Ok(Phase::ShuttingDown { force: Force::Forced });
        let end = Terminate(Force::Graceful);
        assert_eq!(walk(&[MachineRunning, end]), asked);
        assert_eq!(walk(&[MachineRunning, Stop(Force::Graceful), end, end]), asked);
        assert_eq!(walk(&[MachineRunning, end, MachineStopped]), unasked);
        assert_eq!(walk(&[MachineRunning, end, Terminate(Force::Forced), end]), unasked);
        assert_eq!(walk(&[MachineRunning, Stop(Force::Forced), end]), unasked);
        assert_eq!(walk(&[MachineRunning, MachineStopped, end]), unasked);
        assert_eq!(walk(&[end]), unasked);
        assert_eq!(walk(&[Unstartable, end]), unasked);
    }

    #[test]
    fn a_stop_can_become_forced_but_not_graceful_again() {
        let stopping = Phase::Stopping { force: Force::Graceful };
        let forced = stopping.next(Event::Stop(Force::Forced), NOW).unwrap();
        assert_eq!(forced, Phase::Stopping { force: Force::Forced });
        assert_eq!(forced.next(Event::Stop(Force::Graceful), NOW).unwrap(), forced);
    }
}
