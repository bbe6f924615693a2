//! A snapshot on one host: what is remembered of it, and when its instant is.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/creating-an-ami-ebs.html> (why a guest is down for it)

use super::{InstanceRecord, MachineState, RunState};
use model::host::{Downtime, SnapshotPhase};
use serde::{Deserialize, Serialize};

/// What the agent remembers of a snapshot, on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotRecord {
    /// Its instant is fixed.
    Captured,
    /// It is completed, or never will be.
    Ended(SnapshotPhase),
}

/// Whether the instant is now: the guest is down for that reboot, or that reboot will not come any more. `record` is the
/// instance's, `machine` its process.
pub fn is_due(during: Downtime, record: &InstanceRecord, machine: MachineState) -> bool {
    match &record.state {
        RunState::Started { run, reboots, .. } => {
            *run > during.run
                || (*run == during.run && *reboots >= during.reboot)
                || machine != MachineState::Running
        }
        // Nothing of the guest runs, or it runs in a run that the wish knows nothing of.
        RunState::New | RunState::Starting { .. } | RunState::Ended { .. } | RunState::Unstartable { .. } => {
            machine != MachineState::Running || record.state.run() > Some(during.run)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Asked;
    use model::{InstanceId, Timestamp};

    fn started(run: u64, reboots: u64) -> InstanceRecord {
        let (boot_id, since) = ("boot".into(), Timestamp::from_millis(0));
        let state = RunState::Started { run, boot_id, since, reboots, asked: Asked::Nothing };
        InstanceRecord { state, ..InstanceRecord::default() }
    }

    #[test]
    fn the_instant_is_while_the_guest_is_down_for_the_reboot_or_later() {
        let during = Downtime { instance: InstanceId::from_entropy(1), run: 2, reboot: 3 };
        let due = |record: &InstanceRecord, machine| is_due(during, record, machine);
        for early in [started(2, 2), started(1, 9)] {
            assert!(!due(&early, MachineState::Running));
            assert!(due(&early, MachineState::PoweredOff));
            assert!(due(&early, MachineState::Absent));
        }
        for past in [started(2, 3), started(3, 0)] {
            assert!(due(&past, MachineState::Running));
        }
        assert!(due(&InstanceRecord::default(), MachineState::Absent));
        assert!(!due(&InstanceRecord::default(), MachineState::Running));
    }
}
