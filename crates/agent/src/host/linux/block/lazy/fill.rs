//! Brings what volumes lack of their snapshots onto the host, one volume at a time, when nothing else wants the processor.
//!
//! A volume that is not encrypted gets the disk of its snapshot that all volumes of it share; an encrypted one a file of its own.
//! When that is whole the volume is named to the host's loop ([`Filler::next`]), which has it stood on it; it is named again until
//! that was done ([`Filler::forget`]).

use crate::host::{Fault, HostError, Result};
use model::{DataKey, SnapshotId, VolumeId};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long after a failure it is tried again, and how often a volume is named.
const AGAIN: Duration = Duration::from_secs(10);

/// What a volume is to stand on.
#[derive(Debug, Clone)]
pub struct Order {
    pub volume: VolumeId,
    pub snapshot: SnapshotId,
    /// The snapshot's key.
    pub source: Option<DataKey>,
    pub target: Target,
}

#[derive(Debug, Clone)]
pub enum Target {
    /// The disk of the snapshot that its volumes share.
    Shared,
    /// A file of the volume's own, which this opens.
    Own { passphrase: String },
}

/// Makes what an order says, unless nobody wants it any more; then any error is as good as another.
pub type Make = Box<dyn Fn(&Order, &dyn Fn() -> bool) -> Result<()> + Send>;

struct Job {
    /// None: nothing is to be made, it is there.
    order: Option<Order>,
    due: Instant,
    stage: Stage,
    cancelled: Arc<AtomicBool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Filled,
    /// It can never be made whole.
    Failed,
}

#[derive(Default)]
struct State {
    jobs: BTreeMap<VolumeId, Job>,
    ended: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Filler {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
    filled: tokio::sync::Mutex<mpsc::UnboundedReceiver<VolumeId>>,
}

impl std::fmt::Debug for Filler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filler").finish_non_exhaustive()
    }
}

impl Filler {
    pub fn start(make: Make) -> Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let (tell, filled) = mpsc::unbounded_channel();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("filler".into()).spawn(move || {
            // Guests and calls come first. On Linux this is the thread's own priority.
            let _ = rustix::process::setpriority_process(None, 19);
            theirs.run(&make, &tell);
        });
        let thread = thread.map_err(|e| HostError::transient("starting a thread").caused_by(e))?;
        Ok(Self { shared, thread: Some(thread), filled: tokio::sync::Mutex::new(filled) })
    }

    /// Has a volume made whole some time from now; not anew when that is under way.
    pub fn order(&self, order: Order, after: Duration) {
        let mut state = self.shared.state.lock();
        if state.jobs.get(&order.volume).is_none_or(|job| job.stage == Stage::Failed) {
            let due = Instant::now() + after;
            let job =
                Job { due, stage: Stage::Waiting, cancelled: Arc::default(), order: Some(order.clone()) };
            state.jobs.insert(order.volume, job);
            self.shared.changed.notify_all();
        }
    }

    /// What the volume lacked is there already.
    pub fn is_there(&self, volume: VolumeId) {
        let mut state = self.shared.state.lock();
        let job = Job { order: None, due: Instant::now(), stage: Stage::Filled, cancelled: Arc::default() };
        state.jobs.insert(volume, job);
        self.shared.changed.notify_all();
    }

    /// Nothing is to be done for this volume any more.
    pub fn forget(&self, volume: VolumeId) {
        if let Some(job) = self.shared.state.lock().jobs.remove(&volume) {
            job.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until some volume lacks nothing.
    pub async fn next(&self) -> VolumeId {
        match self.filled.lock().await.recv().await {
            Some(volume) => volume,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.ended = true;
        for job in state.jobs.values() {
            job.cancelled.store(true, Ordering::Relaxed);
        }
        drop(state);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, make: &Make, tell: &mpsc::UnboundedSender<VolumeId>) {
        while let Some((volume, order, cancelled)) = self.due(tell) {
            let made = make(&order, &|| !cancelled.load(Ordering::Relaxed));
            let mut state = self.state.lock();
            let Some(job) = state.jobs.get_mut(&volume).filter(|_| !cancelled.load(Ordering::Relaxed)) else {
                continue;
            };
            match made {
                Ok(()) => {
                    tracing::info!(%volume, snapshot = %order.snapshot, "all of its snapshot is on the host");
                    (job.stage, job.due) = (Stage::Filled, Instant::now());
                }
                Err(error) if error.fault == Fault::Transient => {
                    tracing::warn!(%volume, %error, "it is not filled yet");
                    job.due = Instant::now() + AGAIN;
                }
                Err(error) => {
                    tracing::error!(%volume, %error, "it can never be filled; what can be read of its snapshot is served");
                    job.stage = Stage::Failed;
                }
            }
        }
    }

    /// Waits for what is to be done next. Tells of what is done meanwhile; none at the end.
    fn due(&self, tell: &mpsc::UnboundedSender<VolumeId>) -> Option<(VolumeId, Order, Arc<AtomicBool>)> {
        let mut state = self.state.lock();
        loop {
            if state.ended {
                return None;
            }
            let now = Instant::now();
            for (volume, job) in &mut state.jobs {
                if job.stage == Stage::Filled && job.due <= now {
                    job.due = now + AGAIN;
                    let _ended = tell.send(*volume);
                }
            }
            let waiting = state.jobs.iter().filter(|(_, job)| job.stage == Stage::Waiting && job.due <= now);
            let first = waiting.min_by_key(|(_, job)| job.due);
            if let Some((volume, Job { order: Some(order), cancelled, .. })) = first {
                return Some((*volume, order.clone(), Arc::clone(cancelled)));
            }
            let next = state.jobs.values().filter(|job| job.stage != Stage::Failed).map(|job| job.due).min();
            let wait = next.map_or(AGAIN, |next| next.saturating_duration_since(now));
            let _ = self.changed.wait_for(&mut state, wait.max(Duration::from_millis(1)));
        }
    }
}
