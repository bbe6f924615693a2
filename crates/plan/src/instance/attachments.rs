//! How far the attachments of an instance's volumes and interfaces have come, by what its host observed.
//!
//! A running machine gains and loses devices later than its owner asks; one that is off has neither to wait for.

use model::VolumeId;
use model::record::instance::{AttachmentState, BlockDevice};

/// What the host said of the machine.
#[derive(Debug, Clone, Copy)]
pub enum Machine<'a, Id = VolumeId> {
    /// It runs with these disks, or these interfaces.
    Running { plugged: &'a [Id], wished: &'a [Id] },
    /// There is none.
    Off,
}

/// What becomes of one attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// As it is.
    Same,
    Attached,
    /// The machine has let go of it.
    Gone,
}

/// What an observation means for an attachment in this state.
pub fn fate<Id: PartialEq>(state: AttachmentState, id: &Id, machine: Machine<'_, Id>) -> Fate {
    let (is_in, may_be_plugged) = match machine {
        Machine::Running { plugged, wished } => {
            let is_in = plugged.contains(id);
            // While the host is still told to plug it in, that it has not says nothing.
            (is_in, is_in || wished.contains(id))
        }
        Machine::Off => (true, false),
    };
    match state {
        AttachmentState::Attaching if is_in => Fate::Attached,
        AttachmentState::Detaching { .. } | AttachmentState::Busy { .. } if !may_be_plugged => Fate::Gone,
        AttachmentState::Attaching
        | AttachmentState::Attached
        | AttachmentState::Detaching { .. }
        | AttachmentState::Busy { .. } => Fate::Same,
    }
}

/// What becomes of the attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// In their order.
    pub stay: Vec<BlockDevice>,
    /// The machine has let go of these.
    pub gone: Vec<VolumeId>,
}

/// The change that an observation brings, if any.
pub fn settle(volumes: &[BlockDevice], machine: Machine<'_>) -> Option<Settled> {
    let mut settled = Settled { stay: Vec::with_capacity(volumes.len()), gone: Vec::new() };
    let mut changed = false;
    for device in volumes {
        match fate(device.state, &device.volume, machine) {
            Fate::Same => settled.stay.push(device.clone()),
            Fate::Attached => {
                changed = true;
                settled.stay.push(BlockDevice { state: AttachmentState::Attached, ..device.clone() });
            }
            Fate::Gone => {
                changed = true;
                settled.gone.push(device.volume);
            }
        }
    }
    changed.then_some(settled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;
    use model::record::instance::Force;

    const LEAVING: AttachmentState =
        AttachmentState::Detaching { force: Force::Graceful, since: Timestamp::from_millis(0) };

    fn device(number: u128, state: AttachmentState) -> BlockDevice {
        BlockDevice {
            device: format!("/dev/sd{number}"),
            volume: VolumeId::from_entropy(number),
            delete_on_termination: false,
            attached_at: Timestamp::default(),
            state,
        }
    }

    #[test]
    fn what_is_plugged_in_is_attached_and_what_is_gone_is_detached() {
        let volumes = [
            device(1, AttachmentState::Attached),
            device(2, AttachmentState::Attaching),
            device(3, LEAVING),
            device(4, AttachmentState::Busy { force: Force::Forced }),
        ];
        let id = |number| VolumeId::from_entropy(number);
        let wished = [id(1), id(2)];
        let see = |plugged: &[VolumeId]| settle(&volumes, Machine::Running { plugged, wished: &wished });
        assert_eq!(see(&[id(1), id(3), id(4)]), None, "the machine lags behind");
        assert_eq!(see(&[id(3), id(4)]), None, "an attached volume stays so");
        let all = see(&[id(1), id(2)]).unwrap();
        assert_eq!(all.gone, [id(3), id(4)]);
        assert_eq!(all.stay, [device(1, AttachmentState::Attached), device(2, AttachmentState::Attached)]);
    }

    #[test]
    fn what_the_host_is_still_told_to_plug_in_is_not_gone() {
        let volumes = [device(3, LEAVING)];
        let wished = [VolumeId::from_entropy(3)];
        assert_eq!(settle(&volumes, Machine::Running { plugged: &[], wished: &wished }), None);
        assert!(settle(&volumes, Machine::Running { plugged: &[], wished: &[] }).is_some());
    }

    #[test]
    fn a_machine_that_is_off_waits_for_nothing() {
        let volumes = [device(1, AttachmentState::Attaching), device(2, LEAVING)];
        let settled = settle(&volumes, Machine::Off).unwrap();
        assert_eq!(settled.stay, [device(1, AttachmentState::Attached)]);
        assert_eq!(settled.gone, [VolumeId::from_entropy(2)]);
        assert_eq!(settle(&settled.stay, Machine::Off), None);
    }
}
