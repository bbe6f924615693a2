//! One instance on one host: what its machine needs next.
//!
//! [`next_step`] compares the wish with what the agent remembers and what the monitor says, and returns a single step.
//! The agent writes the step's record to disk, acts, and asks again until the step is to rest. Facts are re-read every
//! time, so a step that failed, or worked without saying so, is decided anew.
//!
//! ```text
//! New ──► Starting ──► Started ──► Ended ──► (a later run) Starting …
//!             └──────────────────► Unstartable ──► (a later run) Starting …
//! ```
//!
//! Invariants:
//! - `Starting` is written only while no process is there, so a process belongs to the run that the record names.
//! - `Ended` is written *before* the process is ended, so the cause survives a crash of the agent in between.
//! - A machine that was seen in run N and is gone is not started again in run N, unless the host has rebooted since.
//! - That a machine's memory is kept is a fact, never a record: [`MachineState::Asleep`]. A machine whose memory cannot be kept
//!   is asked to shut down, as by any other stop.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html>

mod backoff;
mod devices;
mod fork;
mod snapshot;
mod step;

pub use backoff::backoff;
pub use devices::{ASK_AGAIN, AskedAt, Changes, Device, Plugged, changes, reported};
pub use fork::{ChildState, UNHEARD, is_spent};
pub use snapshot::{SnapshotRecord, is_due};
pub use step::{Act, Facts, Graces, Step, next_step};

use model::host::{ObjectKey, StopCause};
use model::{NetworkInterfaceId, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A machine's process as its monitor describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    /// There is no process.
    Absent,
    /// There is no process; the memory is kept, and the next start goes on with it if it can.
    Asleep,
    Running,
    /// The guest has powered off; the process is still there and holds its devices until it is ended.
    PoweredOff,
}

/// What the agent remembers of an instance, on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    pub state: RunState,
    /// Ports that may stand for this instance.
    pub ports: Vec<NetworkInterfaceId>,
    /// Objects that its machine uses; none of them is removed before it has let go.
    pub holds: Vec<ObjectKey>,
    /// Interfaces that its machine was cut off from, whose devices the guest may still have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<NetworkInterfaceId>,
    /// The memory that was to be kept and could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unkept: Option<Unkept>,
}

/// Why a run's memory was not kept, though that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unkept {
    pub run: u64,
    pub reason: String,
}

impl Default for InstanceRecord {
    fn default() -> Self {
        Self { state: RunState::New, ports: Vec::new(), holds: Vec::new(), cut_off: Vec::new(), unkept: None }
    }
}

/// How far the latest run of an instance has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunState {
    New,
    /// A start was decided; whether it worked is not known.
    Starting {
        run: u64,
        boot_id: Arc<str>,
        reboots: u64,
    },
    /// The machine has been seen.
    Started {
        run: u64,
        boot_id: Arc<str>,
        since: Timestamp,
        /// Reboots of this run that are done.
        reboots: u64,
        asked: Asked,
    },
    /// The run is over. Its process may still have to be ended.
    Ended {
        run: u64,
        cause: StopCause,
    },
    Unstartable {
        run: u64,
        reason: String,
    },
}

/// What the guest, or the machine's firmware, has been asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    Nothing,
    /// `pressed`: when the power button was last pressed.
    Stop {
        at: Timestamp,
        pressed: Option<Timestamp>,
    },
    Reboot {
        at: Timestamp,
        pressed: Option<Timestamp>,
    },
    /// The guest powered off for its reboot; a reset brings it back. Done once the machine runs.
    ResetFromOff {
        to: u64,
    },
    /// The guest did not react in time. Done once a reset has succeeded.
    HardReset {
        to: u64,
    },
}

impl RunState {
    /// The run that this speaks of.
    pub fn run(&self) -> Option<u64> {
        match self {
            Self::New => None,
            Self::Starting { run, .. }
            | Self::Started { run, .. }
            | Self::Ended { run, .. }
            | Self::Unstartable { run, .. } => Some(*run),
        }
    }
}

impl InstanceRecord {
    /// The record after `act` has succeeded.
    pub fn after(&self, act: &Act, now: Timestamp) -> Self {
        let mut next = self.clone();
        match act {
            Act::Start => {
                if let RunState::Starting { run, boot_id, reboots } = &self.state {
                    next.state = RunState::Started {
                        run: *run,
                        boot_id: Arc::clone(boot_id),
                        since: now,
                        reboots: *reboots,
                        asked: Asked::Nothing,
                    };
                }
            }
            Act::PressPowerButton => {
                if let RunState::Started { asked, .. } = &mut next.state {
                    *asked = match *asked {
                        Asked::Stop { at, .. } => Asked::Stop { at, pressed: Some(now) },
                        Asked::Reboot { at, .. } => Asked::Reboot { at, pressed: Some(now) },
                        other => other,
                    };
                }
            }
            Act::Reset => {
                if let RunState::Started { asked, reboots, .. } = &mut next.state
                    && let Asked::ResetFromOff { to } | Asked::HardReset { to } = *asked
                {
                    *reboots = to;
                    *asked = Asked::Nothing;
                }
            }
            Act::Release => {
                next.ports.clear();
                next.holds.clear();
                next.cut_off.clear();
            }
            Act::Hibernate => {
                if let RunState::Started { run, .. } = self.state {
                    next.state = RunState::Ended { run, cause: StopCause::Hibernated };
                }
            }
            Act::EnsureDevices(_) | Act::End | Act::Forget | Act::Rest | Act::WaitUntil(_) | Act::Await => {}
        }
        next
    }

    /// The record before the devices of a running machine change: ports and parts that it will use are noted first.
    pub fn gaining(&self, changes: &Changes) -> Self {
        let mut next = self.clone();
        for device in &changes.plug {
            match *device {
                Device::Volume(id) => note(&mut next.holds, ObjectKey::Volume(id)),
                Device::Interface(id) => note(&mut next.ports, id),
            }
        }
        next
    }

    /// The record after these devices left the machine, or were found to have left.
    pub fn without(&self, gone: &[Device]) -> Self {
        let mut next = self.clone();
        next.ports.retain(|id| !gone.contains(&Device::Interface(*id)));
        next.holds.retain(|key| !matches!(key, ObjectKey::Volume(id) if gone.contains(&Device::Volume(*id))));
        next
    }

    /// The record before interfaces are cut off: from here on their devices are no ports' any more.
    pub fn severing(&self, interfaces: &[NetworkInterfaceId]) -> Self {
        let mut next = self.clone();
        for interface in interfaces {
            note(&mut next.cut_off, *interface);
        }
        next
    }

    /// The record after the memory could not be kept: the guest is to be asked to shut down.
    pub fn unkept(&self, reason: String) -> Self {
        let unkept = self.state.run().map(|run| Unkept { run, reason });
        Self { unkept, ..self.clone() }
    }

    /// The record after the host refused for good to start run `run`.
    pub fn unstartable(&self, run: u64, reason: String) -> Self {
        Self { state: RunState::Unstartable { run, reason }, ..self.clone() }
    }
}

fn note<T: Ord>(list: &mut Vec<T>, item: T) {
    if let Err(place) = list.binary_search(&item) {
        list.insert(place, item);
    }
}

#[cfg(test)]
mod devices_tests;
#[cfg(test)]
mod tests;
