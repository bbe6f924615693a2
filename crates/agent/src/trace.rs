//! When each step of a launch was done, as this host saw it: what `nube trace` shows, and a slow launch is to be explained by.
//!
//! A trace begins when the host hears of an instance's run. The loop, the machines' driver and the link-local services mark
//! their steps; what the guest does between two of its questions is the guest's own time. Traces are kept in memory only,
//! of the latest launches, and each is bounded: a guest can fill its own and no other.

use model::host::TraceStep;
use model::{InstanceId, Timestamp};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;

/// How many launches are remembered.
const LAUNCHES: usize = 256;
/// How many steps of each.
const STEPS: usize = 96;
/// What happens later belongs to no start.
const LONGEST_START: Duration = Duration::from_mins(30);
/// A step's name is cut after so many bytes.
const LONGEST: usize = 100;

#[derive(Debug, Default)]
pub struct Traces(Mutex<VecDeque<Trace>>);

#[derive(Debug)]
struct Trace {
    instance: InstanceId,
    run: u64,
    steps: Vec<TraceStep>,
}

impl Traces {
    /// Begins the trace of a run, unless it has begun.
    pub fn begin(&self, instance: InstanceId, run: u64, now: Timestamp) {
        let mut traces = self.0.lock();
        if traces.iter().any(|trace| trace.instance == instance && trace.run >= run) {
            return;
        }
        traces.retain(|trace| trace.instance != instance);
        if traces.len() == LAUNCHES {
            traces.pop_front();
        }
        let heard = TraceStep { step: "heard of".into(), at: now };
        traces.push_back(Trace { instance, run, steps: vec![heard] });
    }

    /// Notes that a step is done; again and again, if it is done again and again.
    pub fn mark(&self, instance: InstanceId, step: &str, at: Timestamp) {
        self.note(instance, step, at, |_| true);
    }

    /// Notes the first time that this is done.
    pub fn mark_first(&self, instance: InstanceId, step: &str, at: Timestamp) {
        self.note(instance, step, at, |steps| steps.iter().all(|known| known.step != step));
    }

    fn note(&self, instance: InstanceId, step: &str, at: Timestamp, is_news: impl Fn(&[TraceStep]) -> bool) {
        let step = &step[..step.floor_char_boundary(LONGEST)];
        let mut traces = self.0.lock();
        // The latest are at the end.
        let Some(trace) = traces.iter_mut().rev().find(|trace| trace.instance == instance) else { return };
        let is_of_start = trace.steps.first().is_some_and(|heard| at.since(heard.at) <= LONGEST_START);
        if is_of_start && trace.steps.len() < STEPS && is_news(&trace.steps) {
            trace.steps.push(TraceStep { step: step.into(), at });
        }
    }

    /// The steps of the instance's latest run that this process has seen begin.
    pub fn of(&self, instance: InstanceId) -> Option<Vec<TraceStep>> {
        let traces = self.0.lock();
        let trace = traces.iter().rev().find(|trace| trace.instance == instance)?;
        let mut steps = trace.steps.clone();
        steps.sort_by_key(|step| step.at);
        Some(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> InstanceId {
        InstanceId::parse(&format!("i-{n:017x}")).unwrap()
    }

    fn names(traces: &Traces, instance: InstanceId) -> Vec<String> {
        traces.of(instance).into_iter().flatten().map(|step| step.step).collect()
    }

    #[test]
    fn a_later_run_begins_anew_and_the_same_run_does_not() {
        let traces = Traces::default();
        let at = Timestamp::from_millis;
        traces.begin(id(1), 1, at(0));
        traces.mark(id(1), "ports", at(3));
        traces.begin(id(1), 1, at(5));
        assert_eq!(names(&traces, id(1)), ["heard of", "ports"]);
        traces.begin(id(1), 2, at(9));
        assert_eq!(names(&traces, id(1)), ["heard of"]);
        traces.mark(id(2), "ports", at(9));
        assert_eq!(traces.of(id(2)), None);
    }

    #[test]
    fn what_a_guest_asks_long_after_its_start_is_no_step_of_it() {
        let traces = Traces::default();
        traces.begin(id(1), 1, Timestamp::from_millis(0));
        let late = Timestamp::from_millis(0) + LONGEST_START + Duration::from_millis(1);
        traces.mark(id(1), "DHCP", late);
        assert_eq!(names(&traces, id(1)), ["heard of"]);
    }

    #[test]
    fn what_is_only_news_once_is_noted_once_and_a_trace_is_bounded() {
        let traces = Traces::default();
        traces.begin(id(1), 1, Timestamp::from_millis(0));
        for n in 0..1000 {
            traces.mark_first(id(1), "GET /latest/user-data", Timestamp::from_millis(n));
        }
        assert_eq!(names(&traces, id(1)).len(), 2);
        for n in 0..1000 {
            traces.mark_first(id(1), &format!("GET /{n}/{}", "é".repeat(100)), Timestamp::from_millis(n));
        }
        assert_eq!(names(&traces, id(1)).len(), STEPS);
        for n in 0..300 {
            traces.begin(id(10 + n), 1, Timestamp::from_millis(0));
        }
        assert_eq!(traces.of(id(1)), None);
        assert_eq!(traces.of(id(309)).unwrap().len(), 1);
    }
}
