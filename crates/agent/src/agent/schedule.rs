//! The one task that starts all others: what is pending now, and what becomes due later.

use super::core::{Core, Question};
use super::tables::{Job, Lane};
use super::{fork, instance, part, snapshot, sweep};
use crate::host::{self, Block, HostError, Net, Vmm};
use model::Timestamp;
use model::host::{ObjectKey, ObservedBody, Reply, Request};
use plan::host::backoff;
use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

pub(super) struct Drivers<V, N, B> {
    pub vmm: V,
    pub net: N,
    pub block: B,
}

/// How a run of a job ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing to do until a nudge.
    Idle,
    At(Timestamp),
    /// Something else must come first, and will nudge.
    Blocked(String),
    /// A part of it failed and is tried again; what was observed stays.
    Retry(String),
}

pub(super) type Outcome = Result<Next, Failure>;

/// How a run of a job ended badly; it is tried again.
#[derive(Debug)]
pub(super) struct Failure(pub String);

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(format!("the agent's state directory: {error}"))
    }
}

/// Nudges the instances that the driver names.
pub(super) async fn listen<V: Vmm, N: Net, B: Block>(core: Arc<Core>, drivers: Arc<Drivers<V, N, B>>) {
    loop {
        let instance = drivers.vmm.changed().await;
        core.tables.lock().nudge_from_driver(Job::Object(ObjectKey::Instance(instance)));
        core.pending.notify_one();
    }
}

/// Runs jobs until the agent is dropped.
pub(super) async fn run<V: Vmm, N: Net, B: Block>(
    core: Arc<Core>,
    drivers: Arc<Drivers<V, N, B>>,
    mut questions: mpsc::Receiver<Question>,
) {
    let mut tasks: JoinSet<Outcome> = JoinSet::new();
    let mut answers: JoinSet<()> = JoinSet::new();
    let mut jobs: HashMap<Id, Job> = HashMap::new();
    let mut timers: BinaryHeap<Reverse<(Instant, Job)>> = BinaryHeap::new();
    loop {
        for job in core.tables.lock().take_pending() {
            let task = work(Arc::clone(&core), Arc::clone(&drivers), job);
            jobs.insert(tasks.spawn(task).id(), job);
        }
        let due = timers.peek().map(|Reverse((due, _))| *due);
        tokio::select! {
            () = core.pending.notified() => {}
            Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                let (id, outcome) = match ended {
                    Ok((id, outcome)) => (id, outcome),
                    Err(error) => (error.id(), Err(Failure(format!("this is a bug: {error}")))),
                };
                if let Some(job) = jobs.remove(&id) {
                    timers.extend(settle(&core, job, outcome).map(|due| Reverse((due, job))));
                    core.settled.send_replace(());
                }
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                fire(&core, &mut timers);
            }
            Some(Question { request, reply }) = questions.recv() => {
                answers.spawn(answer(Arc::clone(&core), Arc::clone(&drivers), request, reply));
            }
            Some(_) = answers.join_next(), if !answers.is_empty() => {}
        }
    }
}

async fn work<V: Vmm, N: Net, B: Block>(
    core: Arc<Core>,
    drivers: Arc<Drivers<V, N, B>>,
    job: Job,
) -> Outcome {
    match job {
        Job::Sweep => sweep::sweep(&core, &drivers).await,
        Job::Object(ObjectKey::Instance(id)) => {
            // The semaphore is never closed.
            let _place = core.places.acquire().await.ok();
            instance::reconcile(&core, &drivers, id).await
        }
        Job::Object(ObjectKey::Snapshot(id)) => snapshot::reconcile(&core, &drivers, id).await,
        Job::Object(key @ (ObjectKey::Vpc(_) | ObjectKey::SecurityGroup(_) | ObjectKey::Volume(_))) => {
            part::reconcile(&core, &drivers, key).await
        }
    }
}

/// Notes how a run ended; returns when the job is due again.
fn settle(core: &Core, job: Job, outcome: Outcome) -> Option<Instant> {
    let now = core.clock.now();
    let mut failing = None;
    let mut tables = core.tables.lock();
    tables.active.remove(&job);
    if let Job::Object(key) = job
        && let Err(Failure(reason)) = &outcome
    {
        failing = tables.objects.get(&key).map(|object| (key, object.generation, reason.clone()));
    }
    let lane = tables.lane(job)?;
    lane.last_run = Some(now);
    let delay = match outcome {
        Ok(Next::Idle) => {
            well(lane, None);
            None
        }
        Ok(Next::At(at)) => {
            well(lane, None);
            Some(at.since(now))
        }
        Ok(Next::Blocked(reason)) => {
            well(lane, Some(reason));
            None
        }
        Ok(Next::Retry(reason)) | Err(Failure(reason)) => Some(failed(lane, job, reason)),
    };
    let (dirty, hurried) = (std::mem::take(&mut lane.dirty), std::mem::take(&mut lane.hurried));
    let due = if hurried || (dirty && lane.failures == 0) {
        tables.pending.insert(job);
        core.pending.notify_one();
        None
    } else {
        lane.next_run = delay.map(|delay| Instant::now() + delay);
        lane.next_run_at = delay.map(|delay| now + delay);
        lane.next_run
    };
    drop(tables);
    if let Some((key, generation, reason)) = failing {
        core.report(key, generation, ObservedBody::Failing { reason });
    }
    due
}

fn well(lane: &mut Lane, waits_for: Option<String>) {
    lane.failures = 0;
    lane.last_error = waits_for;
}

/// Notes a failure; returns when to try again.
fn failed(lane: &mut Lane, job: Job, reason: String) -> Duration {
    tracing::warn!(?job, reason, "a run failed");
    lane.failures = lane.failures.saturating_add(1);
    lane.last_error = Some(reason);
    backoff(salt(job), lane.failures)
}

fn salt(job: Job) -> u64 {
    let mut hasher = DefaultHasher::new();
    job.hash(&mut hasher);
    hasher.finish()
}

/// Nudges every job whose time has come. A timer that was superseded does nothing.
fn fire(core: &Core, timers: &mut BinaryHeap<Reverse<(Instant, Job)>>) {
    let now = Instant::now();
    let mut tables = core.tables.lock();
    while let Some(Reverse((due, job))) = timers.peek().copied().filter(|Reverse((due, _))| *due <= now) {
        timers.pop();
        if tables.lane(job).is_some_and(|lane| lane.next_run == Some(due)) {
            tables.nudge(job);
        }
    }
}

async fn answer<V: Vmm, N: Net, B: Block>(
    core: Arc<Core>,
    drivers: Arc<Drivers<V, N, B>>,
    request: Request,
    reply: oneshot::Sender<Reply>,
) {
    let answer = match request {
        Request::Status => Reply::Status { objects: core.tables.lock().status() },
        Request::ConsoleOutput { instance, limit } => {
            let is_known = core.tables.lock().objects.contains_key(&ObjectKey::Instance(instance));
            if is_known {
                match drivers.vmm.console(instance, limit).await {
                    Ok((text, at)) => Reply::ConsoleOutput { text: text.into(), at },
                    Err(error) => Reply::Failed { reason: error.to_string() },
                }
            } else {
                Reply::NotFound
            }
        }
        Request::Templates => match drivers.vmm.templates().await {
            Ok(host::Templates { templates, origins }) => Reply::Templates { templates, origins },
            Err(error) => Reply::Failed { reason: error.to_string() },
        },
        Request::BuildTemplate { image, machine } => {
            match drivers.vmm.build_template(&image, &machine).await {
                Ok(key) => Reply::Template { key },
                Err(error) => Reply::Failed { reason: error.to_string() },
            }
        }
        Request::Fork { fork, instance, children } => {
            match fork::take(&core, &drivers, fork, instance, &children).await {
                Ok(pause) => Reply::Forked { pause: u64::try_from(pause.as_micros()).unwrap_or(u64::MAX) },
                Err(error) => Reply::Failed { reason: error.to_string() },
            }
        }
        Request::Trace { instance } => match core.directory.traces.of(instance) {
            Some(steps) => Reply::Trace { steps },
            None => Reply::NotFound,
        },
        Request::Blocks(asked) => super::blocks::answer(&core, &drivers, asked).await,
        Request::Tunnels => match drivers.net.tunnels().await {
            Ok(host::Tunnels { lack, seen }) => Reply::Tunnels { lack, tunnels: seen },
            Err(error) => Reply::Failed { reason: error.to_string() },
        },
        Request::RemoveTemplate { key } => match drivers.vmm.remove_template(&key).await {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Failed { reason: error.to_string() },
        },
    };
    // Whoever asked may have gone.
    let _gone = reply.send(answer);
}
