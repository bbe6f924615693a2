//! One cloud: its store, the view of it, its clock and its settings. Shared by all services and all requests.

use crate::bucket::Buckets;
use crate::entropy::Entropy;
use crate::host::Host;
use crate::keys::RootKey;
use crate::metrics::Metrics;
use crate::span::Spans;
use crate::txn::Txn;
use crate::view::Underway;
use crate::{Policy, Result, View, errors};
use ipnet::{Ipv4Net, Ipv6Net};
use model::{ByoipGrant, Clock, CloudTag, Overcommit, Region, ServiceRanges, Zone};
use std::collections::BTreeMap;
use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use store::{Commit, CommitError, Key, Revision, Store};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What an operator decides when the cloud is made.
#[derive(Debug, Clone)]
pub struct Settings {
    pub tag: CloudTag,
    pub regions: Vec<RegionSettings>,
    /// Where public and elastic addresses come from.
    pub public_pool: Ipv4Net,
    /// Who may bring which public addresses along.
    pub byoip: Vec<ByoipGrant>,
    /// Services beside the cloud that gateway endpoints lead to, each at most once.
    pub gateway_services: Vec<ServiceRanges>,
    /// Where the IPv6 blocks of VPCs come from.
    pub ipv6_pool: Ipv6Net,
    /// How often a host's processors and memory are promised.
    pub overcommit: Overcommit,
    pub public_images: PublicImages,
    /// How long an instance's status checks take after each start.
    pub status_checks: Duration,
    /// What disks are imported from and exported to; none: there are no buckets.
    pub buckets: Option<Buckets>,
}

/// What becomes of AWS's well-known public images here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicImages {
    /// There are none.
    Absent,
    /// They are listed; a launch needs an imported one.
    Listed,
    /// The host is simulated: it starts any of them.
    Launchable,
}

#[derive(Debug, Clone)]
pub struct RegionSettings {
    pub region: Region,
    pub zones: Vec<Zone>,
}

impl Settings {
    pub fn region(&self, region: &Region) -> Option<&RegionSettings> {
        self.regions.iter().find(|r| r.region == *region)
    }
}

pub struct Cloud {
    pub store: Arc<dyn Store>,
    pub view: Arc<View>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub policy: Arc<dyn Policy>,
    /// What the secrets in the store are sealed with.
    pub root: RootKey,
    /// The host that carries the instances.
    pub host: Arc<Host>,
    pub settings: Settings,
    pub metrics: Metrics,
    pub spans: Spans,
    /// Held shared by transactions, alone by those that decide upon an absence. One server writes to a store at a time.
    gate: Arc<RwLock<()>>,
}

/// Whether others may commit between a transaction's decision and its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Others may; whatever this one read by id is compared at the commit.
    Shared,
    /// Nobody else: for decisions upon something that an index did not find (a delete that nothing may depend on).
    Exclusive,
}

/// After so many conflicts a transaction is decided alone, so that it ends however many others want the same records.
const ATTEMPTS_AMONG_OTHERS: u32 = 16;
/// How often a transaction is decided in all before the caller is told to come back.
const ATTEMPTS: u32 = 32;
/// Well inside of what a commit may hold.
const DELETED_AT_ONCE: usize = 4000;
/// How long the view may take to show a commit that is in the store.
const LAG: Duration = Duration::from_secs(5);

/// A transaction's place at the gate, held until its commit shows in the view.
enum Turn {
    Among(#[allow(dead_code, reason = "held for its lock alone")] OwnedRwLockReadGuard<()>),
    Alone(#[allow(dead_code, reason = "held for its lock alone")] OwnedRwLockWriteGuard<()>),
}

impl Cloud {
    pub fn new(
        store: Arc<dyn Store>,
        view: Arc<View>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        policy: Arc<dyn Policy>,
        root: RootKey,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            view,
            clock,
            entropy,
            policy,
            root,
            host: Arc::default(),
            settings,
            metrics: Metrics::default(),
            spans: Spans::default(),
            gate: Arc::default(),
        })
    }

    /// Decides on the present state and commits what was decided; on a conflict decides again. Returns when the commit is
    /// durable and the view shows it. `decide` may run several times and must have no effect but on its transaction.
    ///
    /// Dropping the future does not recall a commit that is under way.
    pub async fn transact<T>(&self, mode: Mode, decide: impl FnMut(&mut Txn<'_>) -> Result<T>) -> Result<T> {
        self.transact_while(mode, decide, |decided| decided).await
    }

    /// [`Cloud::transact`], with something to do with what was decided while it is being made durable. That comes to
    /// nothing if the commit does.
    pub async fn transact_while<T, U>(
        &self,
        mode: Mode,
        mut decide: impl FnMut(&mut Txn<'_>) -> Result<T>,
        meanwhile: impl Fn(T) -> U,
    ) -> Result<U> {
        let mut turn = self.turn(mode).await;
        let mut conflicts = 0;
        loop {
            let (outcome, (commit, written), seen) = {
                let tables = self.view.read();
                let mut txn = Txn::new(&tables);
                let outcome = decide(&mut txn)?;
                if txn.is_empty() {
                    drop(txn);
                    drop(tables);
                    return Ok(meanwhile(outcome));
                }
                if let Some(key) = txn.damaged() {
                    return Err(errors::internal(format!("the stored record {key} cannot be read")));
                }
                (outcome, txn.into_commit(), tables.revision())
            };
            let started = Instant::now();
            let committing = self.commit(commit, written, turn).await;
            let outcome = meanwhile(outcome);
            let (verdict, place) = committing.await.map_err(errors::internal)?;
            self.metrics.commits.record(started.elapsed());
            turn = place;
            let conflict = match verdict {
                Ok(_) => return Ok(outcome),
                Err(conflict @ CommitError::Conflict { .. }) => conflict,
                Err(error) => {
                    self.metrics.commit_failed();
                    return Err(errors::commit(error));
                }
            };
            conflicts += 1;
            self.metrics.conflict();
            // Whoever won has a later revision than the one that was decided on: deciding again before the view shows
            // it would conflict again.
            let shown = tokio::time::timeout(LAG, self.view.reached(seen + 1)).await;
            if shown.is_err() || conflicts == ATTEMPTS {
                return Err(errors::commit(conflict));
            }
            if conflicts == ATTEMPTS_AMONG_OTHERS && matches!(turn, Turn::Among(_)) {
                drop(turn);
                turn = self.turn(Mode::Exclusive).await;
            }
        }
    }

    /// Deletes every record and claim whose key `keeps` does not know, alone, and takes back every wish to the host. Says
    /// how many records of each noun there were. Facts are shown again to whoever next asks.
    ///
    /// More than one commit when there is much: a crash in between leaves the rest, and the next call deletes that.
    /// Dropping the future does not stop it.
    pub async fn forget_everything(
        self: &Arc<Self>,
        keeps: impl Fn(&Key) -> bool + Send + 'static,
    ) -> Result<BTreeMap<String, usize>> {
        let cloud = Arc::clone(self);
        let forgetting = tokio::spawn(async move {
            let _turn = cloud.turn(Mode::Exclusive).await;
            let scan = cloud.store.scan("").await.map_err(errors::internal)?;
            let mut counts = BTreeMap::new();
            let mut doomed = Vec::new();
            for (key, _) in scan.entries {
                if !keeps(&key) {
                    let noun = key.as_str().split('/').nth(1).unwrap_or_default();
                    *counts.entry(noun.to_owned()).or_insert(0) += 1;
                    doomed.push(key);
                }
            }
            for keys in doomed.chunks(DELETED_AT_ONCE) {
                let commit = keys.iter().cloned().fold(Commit::new(), Commit::delete);
                let revision = cloud.store.commit(commit).await.map_err(errors::commit)?;
                cloud.view.reached(revision).await;
            }
            cloud.view.forget_facts();
            cloud.host.forget_everything();
            Ok(counts)
        });
        forgetting.await.map_err(errors::internal)?
    }

    async fn turn(&self, mode: Mode) -> Turn {
        let gate = Arc::clone(&self.gate);
        match mode {
            Mode::Shared => Turn::Among(gate.read_owned().await),
            Mode::Exclusive => Turn::Alone(gate.write_owned().await),
        }
    }

    /// Puts a commit on its way, and answers what waits until the view shows it. That is a task of its own, which keeps
    /// the place at the gate: a caller who hangs up must not let an exclusive transaction decide before the commit shows.
    async fn commit(
        &self,
        commit: Commit,
        written: Vec<(Key, Underway)>,
        turn: Turn,
    ) -> JoinHandle<(Result<Revision, CommitError>, Turn)> {
        let (store, view) = (Arc::clone(&self.store), Arc::clone(&self.view));
        let mut committing = Box::pin(async move {
            let _expected = view.expect(written);
            let verdict = store.commit(commit).await;
            if let Ok(revision) = verdict {
                view.reached(revision).await;
            }
            (verdict, turn)
        });
        // The store has it before another thread wakes up for the task.
        match poll_fn(|cx| Poll::Ready(committing.as_mut().poll(cx))).await {
            Poll::Ready(settled) => tokio::spawn(ready(settled)),
            Poll::Pending => tokio::spawn(committing),
        }
    }
}
