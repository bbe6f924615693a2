//! What an observation of the host means for an instance: which phase it moves to, and why.
//!
//! An observation of another run is stale, and one that the phase has no place for changes nothing: hosts repeat
//! themselves, and intent may have moved on meanwhile.

use model::Timestamp;
use model::host::{InstancePhase, ObservedBody, StopCause};
use model::record::instance::{Event, Force, Instance, Phase, ShutdownBehavior, StateReason};

/// What becomes of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub phase: Phase,
    /// `None`: the reason stays as it is.
    pub reason: Option<Reason>,
}

/// The reasons that an observation gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It runs: there is nothing to explain.
    Cleared,
    GuestShutdown,
    Crashed,
    LaunchFailed,
    /// It was to be hibernated, and was shut down instead.
    NotHibernated,
}

impl Reason {
    /// The code and sentence that the API shows.
    pub fn render(self, at: Timestamp) -> Option<StateReason> {
        let (code, what) = match self {
            Self::Cleared => return None,
            Self::GuestShutdown => ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown"),
            Self::Crashed => ("Server.InternalError", "Internal error: the machine ended unexpectedly"),
            Self::LaunchFailed => ("Server.InternalError", "Internal error on launch"),
            Self::NotHibernated => {
                ("Server.InternalError", "Internal error: its memory could not be kept, so it was shut down")
            }
        };
        Some(StateReason { code: code.into(), message: format!("{code}: {what}"), at })
    }
}

/// The change that an observation brings, if any.
pub fn observe(instance: &Instance, body: &ObservedBody, now: Timestamp) -> Option<Change> {
    let (event, reason) = match body {
        ObservedBody::Applied | ObservedBody::Failing { .. } | ObservedBody::Snapshot(_) => return None,
        ObservedBody::Removed => (Event::MachineRemoved, None),
        ObservedBody::Instance(phase) => read(instance, phase)?,
    };
    let phase = instance.phase.next(event, now).ok()?;
    (phase != instance.phase).then_some(Change { phase, reason })
}

fn read(instance: &Instance, seen: &InstancePhase) -> Option<(Event, Option<Reason>)> {
    let run = match seen {
        InstancePhase::Starting { .. } | InstancePhase::Stopping { .. } => return None,
        InstancePhase::Running { run, .. }
        | InstancePhase::Stopped { run, .. }
        | InstancePhase::Unstartable { run, .. } => *run,
    };
    if run != instance.run {
        return None;
    }
    let meant_to_run = matches!(instance.phase, Phase::Pending | Phase::Running { .. });
    match seen {
        InstancePhase::Starting { .. } | InstancePhase::Stopping { .. } => None,
        InstancePhase::Running { .. } => Some((Event::MachineRunning, Some(Reason::Cleared))),
        InstancePhase::Stopped { cause: StopCause::NotHibernated { .. }, .. } if !meant_to_run => {
            Some((Event::MachineStopped, Some(Reason::NotHibernated)))
        }
        InstancePhase::Stopped {
            cause: StopCause::Requested | StopCause::Hibernated | StopCause::NotHibernated { .. },
            ..
        } => {
            // Nobody asked for it in this phase: word of an earlier wish.
            (!meant_to_run).then_some((Event::MachineStopped, None))
        }
        // What was asked for happened, whichever way.
        InstancePhase::Stopped { .. } if !meant_to_run => Some((Event::MachineStopped, None)),
        InstancePhase::Stopped { cause: StopCause::GuestShutdown, .. } => Some((
            match instance.shutdown_behavior {
                ShutdownBehavior::Stop => Event::MachineStopped,
                ShutdownBehavior::Terminate => Event::Terminate(Force::Forced),
            },
            Some(Reason::GuestShutdown),
        )),
        InstancePhase::Stopped { cause: StopCause::Crashed { .. }, .. } => {
            Some((Event::MachineStopped, Some(Reason::Crashed)))
        }
        // Only a first launch ends for good; what ran before keeps its disks.
        InstancePhase::Unstartable { .. } if !meant_to_run => Some((Event::MachineStopped, None)),
        InstancePhase::Unstartable { .. } => Some((
            if instance.run == 1 && instance.phase == Phase::Pending {
                Event::Unstartable
            } else {
                Event::MachineStopped
            },
            Some(Reason::LaunchFailed),
        )),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use model::host::{Architecture, Devices};
    use model::metadata::MetadataOptions;
    use model::record::Tags;
    use model::{AccountId, ImageId, InstanceId, ReservationId, SubnetId, VpcId, Zone};

    const NOW: Timestamp = Timestamp::from_millis(5_000);

    pub fn instance(phase: Phase, run: u64) -> Instance {
        Instance {
            forked: None,
            hibernation: model::record::instance::Hibernation::Off,
            instance: InstanceId::from_entropy(1),
            account: AccountId::from_number(1),
            reservation: ReservationId::from_entropy(1),
            launch_index: 0,
            image: ImageId::from_entropy(1),
            instance_type: "t3.micro".into(),
            architecture: Architecture::X86_64,
            firmware: model::host::Firmware::LegacyBios,
            boot: None,
            platform: model::record::image::Platform::Linux,
            key: None,
            zone: Zone::parse("us-east-1a").unwrap(),
            vpc: VpcId::from_entropy(1),
            subnet: SubnetId::from_entropy(1),
            interfaces: Vec::new(),
            volumes: Vec::new(),
            root_device: "/dev/xvda".into(),
            ephemeral: Vec::new(),
            store: Vec::new(),
            user_data: None,
            automatic_public_address: false,
            shutdown_behavior: ShutdownBehavior::Stop,
            disable_api_termination: false,
            disable_api_stop: false,
            metadata_options: MetadataOptions::default(),
            monitoring: false,
            ebs_optimized: false,
            cpus: None,
            client_token: None,
            launched_at: NOW,
            phase,
            reason: None,
            run,
            reboots: 0,
            tags: Tags::default(),
        }
    }

    fn stopped(run: u64, cause: StopCause) -> ObservedBody {
        ObservedBody::Instance(InstancePhase::Stopped { run, cause })
    }

    fn running(run: u64) -> ObservedBody {
        ObservedBody::Instance(InstancePhase::Running { run, since: NOW, devices: Devices::default() })
    }

    const RUNNING: Phase = Phase::Running { since: NOW };
    const GONE: Phase = Phase::ShuttingDown { force: Force::Forced };

    #[test]
    fn a_machine_that_runs_makes_a_pending_instance_run_once() {
        let change = observe(&instance(Phase::Pending, 1), &running(1), NOW).unwrap();
        assert_eq!(change, Change { phase: RUNNING, reason: Some(Reason::Cleared) });
        assert_eq!(observe(&instance(RUNNING, 1), &running(1), NOW), None);
    }

    #[test]
    fn word_of_an_earlier_run_is_stale() {
        assert_eq!(observe(&instance(Phase::Pending, 2), &running(1), NOW), None);
        assert_eq!(observe(&instance(RUNNING, 2), &stopped(1, StopCause::GuestShutdown), NOW), None);
        assert_eq!(observe(&instance(RUNNING, 2), &stopped(2, StopCause::Requested), NOW), None);
    }

    #[test]
    fn a_power_off_from_inside_does_what_the_instance_says() {
        let off = stopped(1, StopCause::GuestShutdown);
        let change = observe(&instance(RUNNING, 1), &off, NOW).unwrap();
        assert_eq!(change, Change { phase: Phase::Stopped, reason: Some(Reason::GuestShutdown) });
        let mut fleeting = instance(RUNNING, 1);
        fleeting.shutdown_behavior = ShutdownBehavior::Terminate;
        assert_eq!(observe(&fleeting, &off, NOW).unwrap().phase, GONE);
    }

    #[test]
    fn a_stop_that_was_asked_for_keeps_its_reason_however_the_machine_ended() {
        for cause in [
            StopCause::Requested,
            StopCause::Hibernated,
            StopCause::GuestShutdown,
            StopCause::Crashed { detail: "killed".into() },
        ] {
            let stopping = instance(Phase::Stopping { force: Force::Graceful }, 1);
            let change = observe(&stopping, &stopped(1, cause), NOW).unwrap();
            assert_eq!(change, Change { phase: Phase::Stopped, reason: None });
        }
    }

    #[test]
    fn an_instance_whose_memory_could_not_be_kept_says_so() {
        let failed = || stopped(1, StopCause::NotHibernated { reason: "the disk is full".into() });
        let stopping = instance(Phase::Stopping { force: Force::Graceful }, 1);
        let change = observe(&stopping, &failed(), NOW).unwrap();
        assert_eq!(change, Change { phase: Phase::Stopped, reason: Some(Reason::NotHibernated) });
        assert_eq!(observe(&instance(RUNNING, 2), &failed(), NOW), None, "word of an earlier wish");
    }

    #[test]
    fn a_crash_stops_and_says_that_it_was_our_fault() {
        let crash = stopped(1, StopCause::Crashed { detail: "signal 9".into() });
        let change = observe(&instance(RUNNING, 1), &crash, NOW).unwrap();
        assert_eq!(change, Change { phase: Phase::Stopped, reason: Some(Reason::Crashed) });
    }

    #[test]
    fn only_a_first_launch_that_cannot_start_ends_the_instance() {
        let hopeless =
            |run| ObservedBody::Instance(InstancePhase::Unstartable { run, reason: "no image".into() });
        let first = observe(&instance(Phase::Pending, 1), &hopeless(1), NOW).unwrap();
        assert_eq!(first, Change { phase: GONE, reason: Some(Reason::LaunchFailed) });
        let later = observe(&instance(Phase::Pending, 2), &hopeless(2), NOW).unwrap();
        assert_eq!(later, Change { phase: Phase::Stopped, reason: Some(Reason::LaunchFailed) });
    }

    #[test]
    fn a_guest_that_has_shut_down_for_its_termination_lets_the_machine_go() {
        let asked = Phase::ShuttingDown { force: Force::Graceful };
        for cause in [StopCause::Requested, StopCause::GuestShutdown] {
            let change = observe(&instance(asked, 1), &stopped(1, cause), NOW).unwrap();
            assert_eq!(change, Change { phase: GONE, reason: None });
        }
        assert_eq!(observe(&instance(asked, 1), &running(1), NOW), None);
    }

    #[test]
    fn what_is_gone_is_terminated_only_if_that_was_meant() {
        let gone = ObservedBody::Removed;
        let change = observe(&instance(GONE, 1), &gone, NOW).unwrap();
        assert_eq!(change.phase, Phase::Terminated { at: NOW });
        assert_eq!(observe(&instance(RUNNING, 1), &gone, NOW), None);
    }
}
