//! The reconcile driver: keys in, `reconcile(key)` out, until nothing is left to do.
//!
//! Level-triggered: a nudge carries only a key; whoever reconciles reads everything anew. One key never runs twice at
//! once. Failures are retried with backoff and jitter per key, and every key that is not at rest has a visible status.

use crate::metrics::ReconcileMetrics;
use crate::span::{Span, SpanKind};
use crate::view::{ChangedKey, Tables};
use crate::{Cloud, View};
use model::Timestamp;
use parking_lot::Mutex;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{Debug, Display};
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant; // pausable, unlike std

/// When to look at a key again without a nudge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Idle,
    After(Duration),
}

/// What moves one kind of object towards its intent.
pub trait Reconciler: Send + Sync + 'static {
    const NAME: &'static str;
    /// Whether changes of records concern it at all.
    const FOLLOWS: bool = true;
    type Key: Clone + Eq + Ord + Hash + Debug + Display + Send + Sync + 'static;

    /// Every key there is, for the start and after a lag.
    fn all(&self, tables: &Tables) -> Vec<Self::Key>;

    /// The keys that a changed record concerns.
    fn concerns(&self, changed: &ChangedKey, tables: &Tables) -> Vec<Self::Key>;

    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Next, String>> + Send;
}

/// How a key that is not at rest fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    pub failures: u32,
    pub last_error: Option<String>,
    pub last_run: Timestamp,
    pub next_run: Option<Timestamp>,
}

struct Entry {
    due: Option<Instant>,
    running: bool,
    /// Nudged while running.
    again: bool,
    failures: u32,
}

struct Queue<K> {
    entries: HashMap<K, Entry>,
    due: BTreeSet<(Instant, K)>,
    /// Of the keys that are not at rest. Under the queue's lock, so that a later run's word is never overwritten.
    status: BTreeMap<K, KeyStatus>,
}

/// A running driver: nudge it, ask it how things stand.
pub struct Driver<R: Reconciler> {
    reconciler: R,
    cloud: Arc<Cloud>,
    queue: Mutex<Queue<R::Key>>,
    wake: Notify,
    slots: Arc<Semaphore>,
    metrics: Arc<ReconcileMetrics>,
}

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// The longest that a reconciler can ask to be left alone.
const LONGEST: Duration = Duration::from_hours(24);
const CONCURRENT: usize = 64;

impl<R: Reconciler> Driver<R> {
    /// Starts the driver's tasks; they live as long as the runtime.
    pub fn start(cloud: Arc<Cloud>, reconciler: R) -> Arc<Self> {
        let driver = Arc::new(Self {
            reconciler,
            queue: Mutex::new(Queue {
                entries: HashMap::new(),
                due: BTreeSet::new(),
                status: BTreeMap::new(),
            }),
            wake: Notify::new(),
            slots: Arc::new(Semaphore::new(CONCURRENT)),
            metrics: cloud.metrics.reconciler(R::NAME),
            cloud,
        });
        let changes = driver.cloud.view.changes();
        driver.nudge_all();
        if R::FOLLOWS {
            tokio::spawn(listen(Arc::clone(&driver), Arc::clone(&driver.cloud.view), changes));
        }
        tokio::spawn(run(Arc::clone(&driver)));
        driver
    }

    pub fn reconciler(&self) -> &R {
        &self.reconciler
    }

    /// Asks for a run soon.
    pub fn nudge(&self, key: R::Key) {
        {
            let mut queue = self.queue.lock();
            queue.schedule(key, Instant::now());
        }
        self.wake.notify_one();
    }

    pub fn nudge_all(&self) {
        let keys = self.reconciler.all(&self.cloud.view.read());
        for key in keys {
            self.nudge(key);
        }
    }

    /// The keys that are not at rest.
    pub fn status(&self) -> Vec<(String, KeyStatus)> {
        self.queue
            .lock()
            .status
            .iter()
            .map(|(key, status)| (format!("{}/{key}", R::NAME), status.clone()))
            .collect()
    }

    fn take_due(&self, now: Instant) -> Result<R::Key, Option<Instant>> {
        let mut queue = self.queue.lock();
        let Some((due, key)) = queue.due.first().cloned() else { return Err(None) };
        if due > now {
            return Err(Some(due));
        }
        queue.due.pop_first();
        self.metrics.lag.record(now.duration_since(due));
        if let Some(entry) = queue.entries.get_mut(&key) {
            entry.due = None;
            entry.running = true;
            entry.again = false;
        }
        Ok(key)
    }

    /// Counts a run and shows it to whoever follows the cloud's traces.
    fn note(&self, key: &R::Key, start: Timestamp, duration: Duration, error: Option<&String>) {
        self.metrics.duration.record(duration);
        if error.is_some() {
            self.metrics.fail();
        }
        self.cloud.spans.record(|| Span {
            kind: SpanKind::Internal,
            name: format!("reconcile {}", R::NAME),
            trace: self.cloud.entropy.bits() | 1,
            id: self.cloud.entropy.bits() as u64 | 1,
            parent: None,
            start,
            duration,
            attributes: vec![("nube.reconciler", R::NAME.to_owned()), ("nube.key", key.to_string())],
            error: error.cloned(),
        });
    }

    async fn run_one(&self, key: R::Key) {
        let (began, started) = (self.cloud.clock.now(), Instant::now());
        let outcome = unwound(self.reconciler.reconcile(&key)).await;
        let now = self.cloud.clock.now();
        self.note(&key, began, started.elapsed(), outcome.as_ref().err());
        let mut queue = self.queue.lock();
        let Some(entry) = queue.entries.get_mut(&key) else { return };
        entry.running = false;
        let (wait, error) = match outcome {
            Ok(Next::Idle) => {
                entry.failures = 0;
                (None, None)
            }
            Ok(Next::After(wait)) => {
                entry.failures = 0;
                (Some(wait.min(LONGEST)), None)
            }
            Err(error) => {
                entry.failures += 1;
                tracing::warn!(reconciler = R::NAME, key = %key, failures = entry.failures, error, "reconciling failed");
                (Some(backoff(entry.failures, self.cloud.entropy.bits())), Some(error))
            }
        };
        let failures = entry.failures;
        let wait = match (entry.again, &error) {
            (true, None) => Some(Duration::ZERO),
            // What a failing run writes nudges its own key: that must not make it spin.
            (true, Some(_)) => Some(FIRST_RETRY),
            (false, _) => wait,
        };
        if let Some(wait) = wait {
            queue.schedule(key.clone(), Instant::now() + wait);
            let next_run = Some(now + wait);
            queue.status.insert(key, KeyStatus { failures, last_error: error, last_run: now, next_run });
        } else {
            queue.entries.remove(&key);
            queue.status.remove(&key);
        }
        drop(queue);
        self.wake.notify_one();
    }
}

impl<K: Clone + Eq + Ord + Hash> Queue<K> {
    fn schedule(&mut self, key: K, at: Instant) {
        let entry = self.entries.entry(key.clone()).or_insert(Entry {
            due: None,
            running: false,
            again: false,
            failures: 0,
        });
        if entry.running {
            entry.again = true;
            return;
        }
        if let Some(due) = entry.due {
            if due <= at {
                return;
            }
            self.due.remove(&(due, key.clone()));
        }
        entry.due = Some(at);
        self.due.insert((at, key));
    }
}

/// A panic is a failure of its key: it is retried and seen like any other, and takes nothing else down.
async fn unwound(run: impl Future<Output = Result<Next, String>>) -> Result<Next, String> {
    let mut run = pin!(run);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(panic) => Poll::Ready(Err(format!("panicked: {}", said(&*panic)))),
    })
    .await
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

/// Doubles from 0.2 s to 30 s, up to a quarter longer at random.
fn backoff(failures: u32, entropy: u128) -> Duration {
    let base = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LAST_RETRY);
    base + base.mul_f64((entropy & 0xffff) as f64 / f64::from(0xffff) / 4.0)
}

async fn listen<R: Reconciler>(
    driver: Arc<Driver<R>>,
    view: Arc<View>,
    mut changes: tokio::sync::broadcast::Receiver<ChangedKey>,
) {
    loop {
        match changes.recv().await {
            Ok(changed) => {
                let keys = driver.reconciler.concerns(&changed, &view.read());
                for key in keys {
                    driver.nudge(key);
                }
            }
            Err(RecvError::Lagged(_)) => driver.nudge_all(),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn run<R: Reconciler>(driver: Arc<Driver<R>>) {
    loop {
        match driver.take_due(Instant::now()) {
            Ok(key) => {
                let Ok(slot) = Arc::clone(&driver.slots).acquire_owned().await else { return };
                let driver = Arc::clone(&driver);
                tokio::spawn(async move {
                    driver.run_one(key).await;
                    drop(slot);
                });
            }
            Err(Some(due)) => {
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = driver.wake.notified() => {}
                }
            }
            Err(None) => driver.wake.notified().await,
        }
    }
}
