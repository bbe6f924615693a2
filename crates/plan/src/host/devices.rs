//! Which disks and interfaces a running machine is to gain and to lose.
//!
//! Facts come from the machine's process and from what the host has lent it, so an agent that restarts between two steps
//! finds each device in one of four forms and carries on:
//!
//! ```text
//!  (none) ──plug──► partial ──► whole ──the guest lets go──► partial ──unplug──► (none)
//!                                 └──torn out──► dead ──the guest lets go──► (none)
//! ```
//! Invariants: a device that is desired and not whole is plugged; one that is not desired and not gone is unplugged; a
//! guest that does not let go is asked again every [`ASK_AGAIN`], without end. A volume counts as held until its file is
//! the host's again. A volume that was torn out is held no more, and can come back only once its dead device is gone;
//! so it is with an interface that was cut off. An interface counts as held until its port is gone.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-detaching-volume.html>

use model::host::{Devices, InstanceDesired};
use model::{NetworkInterfaceId, Timestamp, VolumeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long after a guest was asked to let go of a device it is asked again: one that still boots does not hear it.
pub const ASK_AGAIN: Duration = Duration::from_secs(3);

/// A part of a machine that can come and go while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    Volume(VolumeId),
    Interface(NetworkInterfaceId),
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Volume(id) => write!(f, "{id}"),
            Self::Interface(id) => write!(f, "{id}"),
        }
    }
}

/// What a machine holds, as the host finds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plugged {
    /// The guest has them.
    pub whole: Devices,
    /// Volumes of which the machine has a part, but no device: a step was interrupted, or the guest has just let go.
    pub partial: Vec<VolumeId>,
    /// Volumes that were torn out, whose devices the guest still has: they answer with errors.
    pub dead: Vec<VolumeId>,
    /// Interfaces that were cut off, whose devices the guest still has. Told from the record, not from the machine.
    pub cut_off: Vec<NetworkInterfaceId>,
}

impl Plugged {
    /// Whether the machine has the volume's file, or may have.
    pub fn holds(&self, volume: VolumeId) -> bool {
        self.whole.volumes.contains(&volume) || self.partial.contains(&volume)
    }

    fn holds_interface(&self, interface: NetworkInterfaceId) -> bool {
        self.whole.interfaces.contains(&interface)
    }

    /// With the interfaces that were cut off told apart.
    pub fn knowing(mut self, cut_off: &[NetworkInterfaceId]) -> Self {
        let left = self.whole.interfaces.extract_if(.., |id| cut_off.contains(id));
        self.cut_off = left.collect();
        self
    }
}

/// When the guest was last asked to let go of each device.
pub type AskedAt = BTreeMap<Device, Timestamp>;

/// What to do to a machine's devices now, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Volumes that go without the guest's consent.
    pub tear_out: Vec<VolumeId>,
    /// Interfaces that lose their port without the guest's consent.
    pub cut_off: Vec<NetworkInterfaceId>,
    /// Devices whose release is asked for, or completed.
    pub unplug: Vec<Device>,
    /// In device order.
    pub plug: Vec<Device>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.tear_out.is_empty() && self.cut_off.is_empty() && self.unplug.is_empty() && self.plug.is_empty()
    }

    /// Without what has to wait until all that the instance stands on is there.
    pub fn releases(self) -> Self {
        Self { plug: Vec::new(), ..self }
    }
}

/// What is to be done now, and when a guest that was asked already is to be asked again. `ports` are those that may stand
/// for the instance.
pub fn changes(
    desired: &InstanceDesired,
    ports: &[NetworkInterfaceId],
    plugged: &Plugged,
    asked: &AskedAt,
    now: Timestamp,
) -> (Changes, Option<Timestamp>) {
    let wants_volume = |id: &VolumeId| desired.volumes.iter().any(|a| a.volume == *id);
    let wants_interface = |id: &NetworkInterfaceId| desired.interfaces.iter().any(|i| i.interface == *id);
    let is_torn = |id: &VolumeId| desired.torn_out.contains(id) && !wants_volume(id);
    let is_cut = |id: &NetworkInterfaceId| desired.cut_off.contains(id) && !wants_interface(id);

    let held = plugged.whole.volumes.iter().chain(&plugged.partial);
    let tear_out: Vec<VolumeId> = held.copied().filter(is_torn).collect();
    // Also those whose cutting off was not finished.
    let cut_halfway = plugged.cut_off.iter().filter(|id| ports.contains(id));
    let cut_off = plugged.whole.interfaces.iter().chain(cut_halfway).copied().filter(is_cut);
    let cut_off: Vec<NetworkInterfaceId> = cut_off.collect();
    // The guest has these and must let go of them.
    let leaving = plugged.whole.volumes.iter().filter(|id| !wants_volume(id) && !is_torn(id));
    let interfaces = plugged.whole.interfaces.iter().filter(|id| !wants_interface(id) && !is_cut(id));
    let interfaces = interfaces.chain(&plugged.cut_off).copied().map(Device::Interface);
    let leaving = leaving.chain(&plugged.dead).copied().map(Device::Volume).chain(interfaces);
    let (mut unplug, mut again) = (Vec::new(), None::<Timestamp>);
    for device in leaving {
        match asked.get(&device).map(|at| *at + ASK_AGAIN) {
            Some(due) if now < due => again = Some(again.map_or(due, |other| other.min(due))),
            _ => unplug.push(device),
        }
    }
    // The guest has let go of these.
    let left = plugged.partial.iter().filter(|id| !wants_volume(id) && !is_torn(id));
    unplug.extend(left.copied().map(Device::Volume));
    let closed = ports
        .iter()
        .filter(|id| !wants_interface(id) && !plugged.holds_interface(**id) && !cut_off.contains(id));
    unplug.extend(closed.copied().map(Device::Interface));

    let volumes = desired.volumes.iter().map(|a| a.volume);
    let volumes = volumes.filter(|id| !plugged.whole.volumes.contains(id) && !plugged.dead.contains(id));
    let interfaces = desired.interfaces.iter().map(|i| i.interface);
    let interfaces = interfaces.filter(|id| !plugged.holds_interface(*id) && !plugged.cut_off.contains(id));
    let plug = volumes.map(Device::Volume).chain(interfaces.map(Device::Interface)).collect();
    (Changes { tear_out, cut_off, unplug, plug }, again)
}

/// What is reported as plugged in: what the guest has, and what is on its way out until nothing of it is left. `ports` are
/// those that may stand for the instance.
pub fn reported(desired: &InstanceDesired, ports: &[NetworkInterfaceId], plugged: &Plugged) -> Devices {
    let leaving = plugged.partial.iter().filter(|id| !desired.volumes.iter().any(|a| a.volume == **id));
    let mut devices = plugged.whole.clone();
    devices.volumes.extend(leaving);
    devices.volumes.sort_unstable();
    devices.volumes.dedup();
    let closing = ports.iter().filter(|id| !desired.interfaces.iter().any(|i| i.interface == **id));
    devices.interfaces.extend(closing);
    devices.interfaces.sort_unstable();
    devices.interfaces.dedup();
    devices
}
