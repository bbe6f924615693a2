//! The decision itself.

use super::{Asked, AskedAt, Changes, InstanceRecord, MachineState, Plugged, RunState, changes, reported};
use model::Timestamp;
use model::host::{InstanceDesired, InstancePhase, Power, StopCause};
use std::sync::Arc;
use std::time::Duration;

/// How long a guest may take over a request before it is forced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graces {
    pub stop: Duration,
    /// EC2 resets an instance that has not shut down within four minutes.
    pub reboot: Duration,
}

impl Default for Graces {
    fn default() -> Self {
        Self { stop: Duration::from_mins(1), reboot: Duration::from_mins(4) }
    }
}

/// How long after a press of the power button the next one comes.
const PRESS_AGAIN: Duration = Duration::from_secs(2);

/// What the agent knows at the moment of the decision.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub machine: MachineState,
    pub now: Timestamp,
    pub boot_id: &'a Arc<str>,
    pub graces: Graces,
    /// Whether everything that the instance stands on (VPC, groups, volumes) is there.
    pub ready: bool,
    /// Whether the ports of the running machine are known to be as desired.
    pub ports_current: bool,
    /// What the machine holds; nothing while it is absent.
    pub plugged: &'a Plugged,
    /// When its guest was last asked to let go of each device.
    pub asked: &'a AskedAt,
}

/// One step: write the state, then act, then decide again (unless the act is to wait).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub state: RunState,
    pub act: Act,
    /// What to report before acting; `None` while the instance is being removed.
    pub phase: Option<InstancePhase>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Open the ports and start the machine.
    Start,
    /// Change what the running machine holds, and bring its ports to their desired form once all that they stand on is
    /// there.
    EnsureDevices(Changes),
    PressPowerButton,
    Reset,
    /// Keep the memory and end the process; whatever fails, the guest runs on.
    Hibernate,
    End,
    /// Remove the ports and let go of what the machine used.
    Release,
    /// Forget the machine; nothing of it is left then.
    Forget,
    /// All is as desired.
    Rest,
    /// Nothing to do before that time.
    WaitUntil(Timestamp),
    /// What the instance stands on is not there yet.
    Await,
}

/// What the instance needs next.
pub fn next_step(desired: Option<&InstanceDesired>, record: &InstanceRecord, facts: &Facts<'_>) -> Step {
    let Some(desired) = desired else { return remove(record, facts) };
    let case = Case { desired, record, facts };
    match desired.power {
        Power::On => case.on(record.state.clone()),
        Power::Off | Power::Hibernate | Power::ForceOff => case.off(record.state.clone()),
    }
}

fn remove(record: &InstanceRecord, facts: &Facts<'_>) -> Step {
    let act = match facts.machine {
        MachineState::Running | MachineState::PoweredOff => Act::End,
        MachineState::Absent | MachineState::Asleep if is_released(record) => Act::Forget,
        MachineState::Absent | MachineState::Asleep => Act::Release,
    };
    Step { state: record.state.clone(), act, phase: None }
}

fn is_released(record: &InstanceRecord) -> bool {
    record.ports.is_empty() && record.holds.is_empty()
}

struct Case<'a> {
    desired: &'a InstanceDesired,
    record: &'a InstanceRecord,
    facts: &'a Facts<'a>,
}

impl Case<'_> {
    fn on(&self, state: RunState) -> Step {
        let wanted = self.desired.run;
        match state {
            RunState::New => match self.facts.machine {
                MachineState::Absent | MachineState::Asleep => self.begin(state),
                MachineState::Running | MachineState::PoweredOff => {
                    self.on(self.seen(wanted, self.desired.reboots))
                }
            },
            RunState::Starting { run, reboots, .. } => match self.facts.machine {
                MachineState::Running | MachineState::PoweredOff => self.on(self.seen(run, reboots)),
                MachineState::Absent | MachineState::Asleep => self.begin(state),
            },
            RunState::Started { run, .. } if run < wanted => self.stop(state, run, Power::Off),
            RunState::Started { .. } => self.keep_up(state),
            RunState::Ended { run, .. } | RunState::Unstartable { run, .. } if run < wanted => {
                match self.clear() {
                    Some(act) => Step { state, act, phase: Some(self.starting()) },
                    None => self.begin(state),
                }
            }
            RunState::Ended { .. } | RunState::Unstartable { .. } => self.closed(state),
        }
    }

    fn off(&self, state: RunState) -> Step {
        let run = self.desired.run;
        match state {
            RunState::New | RunState::Starting { .. } => match self.facts.machine {
                MachineState::Absent | MachineState::Asleep => self.closed(self.over(run)),
                MachineState::Running | MachineState::PoweredOff => {
                    let seen = self.seen(state.run().unwrap_or(run), self.desired.reboots);
                    self.stop(seen, run, self.desired.power)
                }
            },
            RunState::Started { .. } => self.stop(state, run, self.desired.power),
            RunState::Ended { run: ended, .. } if ended >= run => self.closed(state),
            RunState::Ended { .. } | RunState::Unstartable { .. } => self.closed(self.over(run)),
        }
    }

    /// The end of a run that was asked for.
    fn over(&self, run: u64) -> RunState {
        let cause = match (self.facts.machine, self.unkept(run)) {
            (MachineState::Asleep, _) => StopCause::Hibernated,
            (_, Some(reason)) => StopCause::NotHibernated { reason: reason.to_owned() },
            (_, None) => StopCause::Requested,
        };
        RunState::Ended { run, cause }
    }

    /// Why the memory of a run that is to be hibernated was not kept, if that was tried.
    fn unkept(&self, run: u64) -> Option<&str> {
        let tried = self.record.unkept.as_ref().filter(|unkept| unkept.run == run);
        tried.filter(|_| self.desired.power == Power::Hibernate).map(|unkept| unkept.reason.as_str())
    }

    /// A machine that should run, in the run that it was started in.
    fn keep_up(&self, state: RunState) -> Step {
        let RunState::Started { run, boot_id, since, reboots, asked } = state.clone() else {
            return Step { state, act: Act::Rest, phase: None };
        };
        let running = Some(InstancePhase::Running {
            run,
            since,
            devices: reported(self.desired, &self.record.ports, self.facts.plugged),
        });
        let with =
            |reboots, asked| RunState::Started { run, boot_id: boot_id.clone(), since, reboots, asked };
        let reset = |asked| Step { state: with(reboots, asked), act: Act::Reset, phase: running.clone() };
        let to = self.desired.reboots;
        match self.facts.machine {
            MachineState::Absent | MachineState::Asleep if boot_id != *self.facts.boot_id => {
                self.begin(state)
            }
            MachineState::Asleep => self.closed(self.over(run)),
            MachineState::Absent => {
                self.closed(RunState::Ended { run, cause: Self::cause_of_absence(asked) })
            }
            MachineState::PoweredOff => match asked {
                Asked::Stop { .. } => self.closed(self.over(run)),
                Asked::ResetFromOff { .. } => reset(asked),
                Asked::Reboot { .. } | Asked::HardReset { .. } => reset(Asked::ResetFromOff { to }),
                Asked::Nothing if to > reboots => reset(Asked::ResetFromOff { to }),
                Asked::Nothing => self.closed(RunState::Ended { run, cause: StopCause::GuestShutdown }),
            },
            MachineState::Running => match asked {
                Asked::ResetFromOff { to } => self.on(with(to, Asked::Nothing)),
                Asked::HardReset { .. } => reset(asked),
                Asked::Stop { .. } => self.on(with(reboots, Asked::Nothing)),
                Asked::Reboot { .. } if to <= reboots => self.on(with(reboots, Asked::Nothing)),
                Asked::Nothing if to <= reboots => Step { act: self.tend(), state, phase: running },
                Asked::Nothing => Step {
                    state: with(reboots, Asked::Reboot { at: self.facts.now, pressed: None }),
                    act: Act::PressPowerButton,
                    phase: running,
                },
                Asked::Reboot { at, pressed } => {
                    let until = at + self.facts.graces.reboot;
                    if self.facts.now >= until {
                        return reset(Asked::HardReset { to });
                    }
                    Step { state, act: self.press(pressed, until), phase: running }
                }
            },
        }
    }

    /// A machine that should not run; `reported` is the run whose end is reported.
    fn stop(&self, state: RunState, reported: u64, power: Power) -> Step {
        let RunState::Started { run, boot_id, since, reboots, asked } = state.clone() else {
            return self.closed(state);
        };
        let ended = || self.closed(self.over(reported));
        let phase = Some(InstancePhase::Stopping { run: reported });
        match (self.facts.machine, power, asked) {
            (MachineState::Absent | MachineState::Asleep | MachineState::PoweredOff, _, _)
            | (MachineState::Running, Power::ForceOff, _) => ended(),
            (MachineState::Running, Power::Hibernate, _) if run == reported && self.unkept(run).is_none() => {
                // What opens its root volume may have to come first.
                let act = if self.facts.ready { Act::Hibernate } else { Act::Await };
                Step { state, act, phase }
            }
            (
                MachineState::Running,
                Power::On | Power::Off | Power::Hibernate,
                Asked::Stop { at, pressed },
            ) => {
                let until = at + self.facts.graces.stop;
                if self.facts.now >= until {
                    return ended();
                }
                Step { state, act: self.press(pressed, until), phase }
            }
            (
                MachineState::Running,
                Power::On | Power::Off | Power::Hibernate,
                Asked::Nothing | Asked::Reboot { .. } | Asked::ResetFromOff { .. } | Asked::HardReset { .. },
            ) => {
                let asked = Asked::Stop { at: self.facts.now, pressed: None };
                let state = RunState::Started { run, boot_id, since, reboots, asked };
                Step { state, act: Act::PressPowerButton, phase }
            }
        }
    }

    /// A guest that still boots does not feel its power button: it is pressed again until the guest reacts.
    fn press(&self, pressed: Option<Timestamp>, until: Timestamp) -> Act {
        match pressed.map(|at| at + PRESS_AGAIN) {
            Some(again) if self.facts.now < again => Act::WaitUntil(again.min(until)),
            _ => Act::PressPowerButton,
        }
    }

    /// A run that is over: what is left of it goes, and only then is its end reported.
    fn closed(&self, state: RunState) -> Step {
        let (over, before) = match &state {
            RunState::Ended { run, cause } => (
                InstancePhase::Stopped { run: *run, cause: cause.clone() },
                InstancePhase::Stopping { run: *run },
            ),
            RunState::Unstartable { run, reason } => (
                InstancePhase::Unstartable { run: *run, reason: reason.clone() },
                InstancePhase::Starting { run: *run },
            ),
            RunState::New | RunState::Starting { .. } | RunState::Started { .. } => {
                return self.begin(state);
            }
        };
        // A run that was superseded before it ended: what comes next is the wanted run.
        if self.desired.power == Power::On && state.run() < Some(self.desired.run) && self.clear().is_none() {
            return self.begin(state);
        }
        match self.clear() {
            Some(act) => Step { state, act, phase: Some(before) },
            None => Step { state, act: Act::Rest, phase: Some(over) },
        }
    }

    /// The step that takes away what an earlier run left, if anything is left.
    fn clear(&self) -> Option<Act> {
        match self.facts.machine {
            MachineState::Running | MachineState::PoweredOff => Some(Act::End),
            MachineState::Absent | MachineState::Asleep if is_released(self.record) => None,
            MachineState::Absent | MachineState::Asleep => Some(Act::Release),
        }
    }

    fn begin(&self, state: RunState) -> Step {
        let phase = Some(self.starting());
        if !self.facts.ready {
            return Step { state, act: Act::Await, phase };
        }
        let state = RunState::Starting {
            run: self.desired.run,
            boot_id: self.facts.boot_id.clone(),
            reboots: self.desired.reboots,
        };
        Step { state, act: Act::Start, phase }
    }

    fn tend(&self) -> Act {
        let facts = self.facts;
        let (due, again) = changes(self.desired, &self.record.ports, facts.plugged, facts.asked, facts.now);
        let settled = facts.ports_current && due.plug.is_empty();
        let due = if facts.ready { due } else { due.releases() };
        if !due.is_empty() || (facts.ready && !settled) {
            return Act::EnsureDevices(due);
        }
        match again {
            Some(again) => Act::WaitUntil(again),
            None if settled => Act::Rest,
            None => Act::Await,
        }
    }

    fn starting(&self) -> InstancePhase {
        InstancePhase::Starting { run: self.desired.run }
    }

    fn seen(&self, run: u64, reboots: u64) -> RunState {
        RunState::Started {
            run,
            boot_id: self.facts.boot_id.clone(),
            since: self.facts.now,
            reboots,
            asked: Asked::Nothing,
        }
    }

    fn cause_of_absence(asked: Asked) -> StopCause {
        match asked {
            Asked::Stop { .. } => StopCause::Requested,
            Asked::Nothing | Asked::Reboot { .. } | Asked::ResetFromOff { .. } | Asked::HardReset { .. } => {
                StopCause::Crashed { detail: "the machine's process ended unexpectedly".into() }
            }
        }
    }
}
