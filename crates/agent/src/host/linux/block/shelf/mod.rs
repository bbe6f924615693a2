//! The host's block store: snapshots on their way into it, and out of it into disks.
//!
//! ```text
//! snapshots/{format, objects/, tmp/}   the block store (crate `blocks`)
//! snapshots/domains/ACCOUNT            32 random bytes each: whose equal blocks are shared
//! snapshots/captures/SNAPSHOT          snapshots that are not stored yet
//! snapshots/archive/SNAPSHOT/          an archived snapshot: see [`super::archive`]
//! volumes/restored/SNAPSHOT.raw        a snapshot as a disk, made once, verified as it was read
//! volumes/fast/SNAPSHOT.{raw,qcow2}    a snapshot that is kept as a disk: see [`super::fast`]
//! ```
//! An encrypted snapshot's blocks are encrypted with its data key, whatever account it is of: who has the key shares, and nobody
//! else can. It becomes a disk only as an encrypted volume, each with a file of its own.
//! Two threads of low priority store snapshots, one after the other each. What a crash interrupts goes on from its last
//! checkpoint. A volume of a snapshot stands on a whole copy of it, and is used before that is there: [`lazy`]. A snapshot of such a
//! volume builds upon the one that it was made of. Garbage is collected in the background, some time after a removal.

mod restoring;
mod storing;

pub(super) use storing::{begin_in, copy};

use super::direct::Openings;
use super::lazy;
use crate::host::linux::vmm::{private_directory, replace};
use crate::host::{Fault, HostError, Result, SourceKey};
use blocks::{BlockStore, Domain, DomainId, Error, Place};
use model::host::{SnapshotDesired, SnapshotPhase, SnapshotSource, Tier};
use model::{AccountId, DataKey, SnapshotId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::Notify;

pub(super) const CAPTURES: &str = "captures";
const DOMAINS: &str = "domains";
const RESTORED: &str = "restored";
const WORKERS: usize = 2;
/// How long a call waits for what may be done at once.
const SOON: Duration = Duration::from_millis(300);
/// How long after a removal its garbage is collected.
const COLLECT_AFTER: Duration = Duration::from_mins(1);

pub(super) struct Shelf {
    pub(super) inner: Arc<Inner>,
    queue: Option<mpsc::Sender<Task>>,
    workers: Vec<std::thread::JoinHandle<()>>,
    collector: Option<tokio::task::JoinHandle<()>>,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

pub(super) struct Inner {
    path: PathBuf,
    volumes: PathBuf,
    store: BlockStore,
    jobs: Mutex<HashMap<SnapshotId, Arc<Job>>>,
    /// One at a time.
    restoring: Mutex<()>,
    garbage: Notify,
    pub(super) openings: Openings,
    /// Sessions that were completed, and are cleared away by a collection.
    completed: AtomicU64,
    /// Of the files on their way that each have a name of their own.
    numbered: AtomicU64,
}

struct Task {
    job: Arc<Job>,
    aim: Aim,
    wanted: SnapshotDesired,
    /// What the snapshot that it is a copy of is encrypted with.
    source: Option<DataKey>,
}

/// What is to be done about a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    Store,
    ChangeTier,
}

/// A snapshot that is being stored, or moved to another tier.
#[derive(Default)]
pub(super) struct Job {
    tier: Tier,
    done: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
    end: Mutex<Option<Result<SnapshotPhase>>>,
    ended: Notify,
}

impl Job {
    fn percent(&self) -> u8 {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        (done * 100).checked_div(total).unwrap_or(0).min(99) as u8
    }

    /// There is so much to do.
    pub(super) fn expect(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    pub(super) fn advance(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Shelf {
    pub fn open(path: &Path, volumes: &Path, place: &Place) -> Result<Self> {
        let failed = |e: io::Error| HostError::transient(format!("opening {}", path.display())).caused_by(e);
        for directory in [path.to_owned(), path.join(DOMAINS), path.join(CAPTURES), volumes.join(RESTORED)] {
            private_directory(&directory).map_err(failed)?;
        }
        let objects = place.open(path).map_err(|e| failed(e.into()))?;
        let inner = Arc::new(Inner {
            path: path.to_owned(),
            volumes: volumes.to_owned(),
            store: BlockStore::new(objects),
            jobs: Mutex::default(),
            restoring: Mutex::default(),
            garbage: Notify::new(),
            openings: Openings::default(),
            completed: AtomicU64::new(0),
            numbered: AtomicU64::new(0),
        });
        inner.open_fast().and_then(|()| inner.drop_unused()).map_err(failed)?;
        let (queue, tasks) = mpsc::channel::<Task>();
        let tasks = Arc::new(Mutex::new(tasks));
        let mut workers = Vec::with_capacity(WORKERS);
        for _ in 0..WORKERS {
            let (inner, tasks) = (Arc::clone(&inner), Arc::clone(&tasks));
            let worker = std::thread::Builder::new().name("snapshots".into()).spawn(move || {
                // Guests and calls come first. On Linux this is the thread's own priority.
                let _ = rustix::process::setpriority_process(None, 10);
                loop {
                    let next = tasks.lock().recv();
                    let Ok(task) = next else { return };
                    inner.work(&task);
                }
            });
            workers.push(worker.map_err(failed)?);
        }
        // What an earlier life left is looked for once.
        inner.garbage.notify_one();
        let collecting = tokio::runtime::Handle::try_current().ok();
        let collector = collecting.map(|runtime| runtime.spawn(collect(Arc::clone(&inner))));
        Ok(Self { inner, queue: Some(queue), workers, collector })
    }

    pub fn captures(&self) -> PathBuf {
        self.inner.path.join(CAPTURES)
    }

    /// Whether a snapshot is stored, or has begun to be.
    pub async fn has(&self, snapshot: SnapshotId) -> Result<bool> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.has(snapshot)).await
    }

    /// Snapshots that are stored, or have begun to be.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotId>> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.snapshots()).await
    }

    /// Has a snapshot stored, and says how far that is.
    pub async fn store(&self, wanted: &SnapshotDesired, source: SourceKey<'_>) -> Result<SnapshotPhase> {
        if matches!(wanted.source, SnapshotSource::Direct { seal: None, .. }) {
            self.open_direct(wanted).await?;
            return Ok(SnapshotPhase::Pending { percent: 0 });
        }
        let done = self.have_done(Aim::Store, wanted, source).await?;
        Ok(done.unwrap_or_else(|percent| SnapshotPhase::Pending { percent }))
    }

    /// Has a completed snapshot's data brought to where they are desired, and says how far that is.
    pub async fn change_tier(&self, wanted: &SnapshotDesired) -> Result<SnapshotPhase> {
        let done = self.have_done(Aim::ChangeTier, wanted, None).await?;
        Ok(done.unwrap_or_else(|percent| SnapshotPhase::Moving { percent }))
    }

    /// Has it done in the background; until it is, the answer is how far it has come.
    async fn have_done(
        &self,
        aim: Aim,
        wanted: &SnapshotDesired,
        source: SourceKey<'_>,
    ) -> Result<std::result::Result<SnapshotPhase, u8>> {
        let id = wanted.snapshot;
        let job = {
            let mut jobs = self.inner.jobs.lock();
            let known = jobs.get(&id).cloned();
            if let Some(job) = known {
                if aim == Aim::ChangeTier && job.tier != wanted.tier {
                    job.stop.store(true, Ordering::Relaxed);
                }
                job
            } else {
                let job = Arc::new(Job { tier: wanted.tier, ..Job::default() });
                let queue = self.queue.as_ref().ok_or_else(|| HostError::transient("the agent ends"))?;
                let (wanted, source) = (wanted.clone(), source.cloned());
                let task = Task { job: Arc::clone(&job), aim, wanted, source };
                queue.send(task).map_err(|_| HostError::transient("the agent ends"))?;
                jobs.insert(id, Arc::clone(&job));
                job
            }
        };
        let ended = job.ended.notified();
        if job.end.lock().is_none() {
            let _elapsed = tokio::time::timeout(SOON, ended).await;
        }
        let end = job.end.lock().take();
        let Some(end) = end else { return Ok(Err(job.percent())) };
        self.inner.jobs.lock().remove(&id);
        if aim == Aim::ChangeTier && job.tier != wanted.tier {
            // It was desired elsewhere; the next call begins anew.
            return Ok(Err(0));
        }
        end.map(Ok)
    }

    /// Stops storing a snapshot, and removes what there is of it.
    pub async fn remove(&self, snapshot: SnapshotId) -> Result<()> {
        let job = self.inner.jobs.lock().get(&snapshot).cloned();
        if let Some(job) = job {
            job.stop.store(true, Ordering::Relaxed);
            loop {
                let ended = job.ended.notified();
                if job.end.lock().is_some() {
                    break;
                }
                let _elapsed = tokio::time::timeout(Duration::from_secs(1), ended).await;
            }
            self.inner.jobs.lock().remove(&snapshot);
        }
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            match inner.store.abort(snapshot) {
                Ok(()) | Err(Error::NoSession(_) | Error::Exists(_)) => {}
                Err(e) => return Err(failed(snapshot, e)),
            }
            inner.drop_stored(snapshot)?;
            inner.drop_archived(snapshot)
        })
        .await
    }

    /// What makes volumes whole.
    pub fn make(&self) -> lazy::Make {
        let inner = Arc::clone(&self.inner);
        Box::new(move |order, is_wanted| inner.fill(order, is_wanted))
    }

    /// Does the same at once. Whoever stops waiting for it has it stopped, some time after.
    pub async fn fill(&self, order: lazy::Order) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let waited_for = Arc::new(());
        let is_wanted = Arc::downgrade(&waited_for);
        let made = blocking(move || inner.fill(&order, &|| is_wanted.strong_count() > 0)).await;
        drop(waited_for);
        made
    }

    /// Whether a snapshot is kept as a disk.
    pub fn is_fast(&self, snapshot: SnapshotId) -> bool {
        self.inner.is_fast(snapshot)
    }

    /// Whether an encrypted snapshot is.
    pub fn is_sealed(&self, snapshot: SnapshotId) -> bool {
        self.inner.sealed_disk(snapshot).is_some()
    }

    /// The disk of a snapshot, if it has become one.
    pub fn restored(&self, snapshot: SnapshotId) -> Option<PathBuf> {
        Some(self.inner.restored(snapshot)).filter(|disk| disk.exists())
    }

    /// Where the disk of a snapshot lies, if it has become one.
    pub fn disk_of(&self, snapshot: SnapshotId) -> PathBuf {
        self.inner.restored(snapshot)
    }

    /// How many bytes a snapshot holds. One that is not whole, or does not open, is refused.
    pub async fn size(&self, snapshot: SnapshotId, source: SourceKey<'_>) -> Result<u64> {
        let (inner, source) = (Arc::clone(&self.inner), source.cloned());
        blocking(move || Ok(inner.snapshot(snapshot, source.as_ref())?.size())).await
    }
}

pub(super) fn must_be_encrypted(snapshot: SnapshotId) -> HostError {
    HostError::permanent(format!("{snapshot} is encrypted, and so must be what is made of it"))
}

impl Drop for Shelf {
    fn drop(&mut self) {
        if let Some(collector) = self.collector.take() {
            collector.abort();
        }
        for job in self.inner.jobs.lock().values() {
            job.stop.store(true, Ordering::Relaxed);
        }
        self.queue = None;
        // A session has one writer: whoever opens the store next must not meet this one's.
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| HostError::transient("this is a bug").caused_by(e))?
}

async fn collect(inner: Arc<Inner>) {
    loop {
        inner.garbage.notified().await;
        tokio::time::sleep(COLLECT_AFTER).await;
        let store = inner.store.clone();
        let collected = tokio::task::spawn_blocking(move || store.collect()).await;
        match collected {
            Ok(Ok(collected)) => {
                tracing::info!(
                    blocks = collected.blocks,
                    live = collected.live,
                    "collected garbage of snapshots"
                );
            }
            Ok(Err(error)) => tracing::warn!(%error, "garbage of snapshots stays for now"),
            Err(error) => tracing::error!(%error, "this is a bug"),
        }
    }
}

/// What a failure of the store means for a snapshot.
pub(super) fn failed(snapshot: SnapshotId, error: Error) -> HostError {
    let fault = match &error {
        Error::Damaged { .. }
        | Error::NoSnapshot(_)
        | Error::Aborted(_)
        | Error::OtherDomain { .. }
        | Error::TooLarge { .. }
        | Error::Smaller { .. }
        | Error::NoBlock { .. }
        | Error::WrongLength(_) => Fault::Permanent,
        Error::Reading(e) if matches!(e.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidData) => {
            Fault::Permanent
        }
        Error::Objects(_)
        | Error::NoSession(_)
        | Error::Exists(_)
        | Error::Ended(_)
        | Error::Source(_)
        | Error::Reading(_)
        | Error::Target(_) => Fault::Transient,
    };
    HostError { fault, what: format!("storing {snapshot}"), source: Some(error.into()) }
}

fn domain(path: &Path, id: DomainId) -> io::Result<Arc<Domain>> {
    let path = path.join(DOMAINS).join(id.as_str());
    let secret: [u8; 32] = match fs::read(&path).map(<[u8; 32]>::try_from) {
        Ok(Ok(secret)) => secret,
        Ok(Err(_)) => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{id} has no secret")));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let mut fresh = [0; 32];
            File::open("/dev/urandom")?.read_exact(&mut fresh)?;
            replace(&path, &fresh)?;
            fresh
        }
        Err(e) => return Err(e),
    };
    Ok(Arc::new(Domain::plain(id, &secret)))
}

/// Opens a snapshot of whatever account, in the store at this path.
pub(super) fn open_snapshot(
    store: &BlockStore,
    path: &Path,
    snapshot: SnapshotId,
    key: SourceKey<'_>,
) -> Result<blocks::Snapshot> {
    let manifest = store.manifest(snapshot).map_err(|e| failed(snapshot, e))?;
    if manifest.domain.is_of_key() {
        let refused = |why: &str| HostError::permanent(format!("{snapshot} is encrypted{why}"));
        let key = key.ok_or_else(|| refused(", and its key was not given"))?;
        let domain = Domain::of_key(key.expose());
        if *domain.id() != manifest.domain {
            return Err(refused(" with another key"));
        }
        return store.snapshot(snapshot, Arc::new(domain)).map_err(|e| failed(snapshot, e));
    }
    let domain = domain(path, manifest.domain)
        .map_err(|e| HostError::transient(format!("the domain of {snapshot}")).caused_by(e))?;
    store.snapshot(snapshot, domain).map_err(|e| failed(snapshot, e))
}

impl Inner {
    pub(super) fn volumes(&self) -> &Path {
        &self.volumes
    }

    /// Another one each time.
    pub(super) fn number(&self) -> u64 {
        self.numbered.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn restored(&self, snapshot: SnapshotId) -> PathBuf {
        self.volumes.join(RESTORED).join(format!("{snapshot}.raw"))
    }

    /// Removes disks of snapshots that no volume stands on.
    fn drop_unused(&self) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        for entry in fs::read_dir(self.volumes.join(RESTORED))? {
            let entry = entry?;
            if entry.metadata()?.nlink() == 1 {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn store(&self) -> &BlockStore {
        &self.store
    }

    fn has(&self, snapshot: SnapshotId) -> Result<bool> {
        match self.store.manifest(snapshot) {
            Ok(_) => return Ok(true),
            Err(Error::NoSnapshot(_)) => {}
            // It is there, in whatever state.
            Err(Error::Damaged { .. }) => return Ok(true),
            Err(e) => return Err(failed(snapshot, e)),
        }
        let is_begun = self.store.has_session(snapshot).map_err(|e| failed(snapshot, e))?;
        Ok(is_begun || self.archived_manifest(snapshot)?.is_some())
    }

    fn snapshots(&self) -> Result<Vec<SnapshotId>> {
        let listing = |e: Error| HostError::transient("listing the snapshots").caused_by(e);
        let mut found = self.store.snapshots().map_err(listing)?;
        let sessions = self.store.sessions().map_err(listing)?;
        found.extend(sessions.iter().map(|session| session.begin.snapshot));
        found.extend(self.archived()?);
        found.extend(self.all_fast().map_err(|e| listing(Error::Target(e)))?);
        Ok(found)
    }

    /// Removes a completed snapshot from the store; what was made of it stays.
    pub(super) fn drop_stored(&self, snapshot: SnapshotId) -> Result<()> {
        self.openings.forget(snapshot);
        self.drop_fast(snapshot)?;
        self.store.delete(snapshot).map_err(|e| failed(snapshot, e))?;
        let restored = self.restored(snapshot);
        super::remove_if_there(&restored)
            .map_err(|e| HostError::transient(format!("removing {}", restored.display())).caused_by(e))?;
        self.garbage.notify_one();
        Ok(())
    }

    fn domain_of(&self, account: AccountId) -> Result<Arc<Domain>> {
        let id = DomainId::parse(&account.to_string())
            .ok_or_else(|| HostError::permanent(format!("{account} names no domain")))?;
        domain(&self.path, id)
            .map_err(|e| HostError::transient(format!("the domain of {account}")).caused_by(e))
    }

    /// Whom a new snapshot shares its blocks with.
    pub(super) fn domain_for(&self, wanted: &SnapshotDesired) -> Result<Arc<Domain>> {
        match &wanted.data_key {
            Some(key) => Ok(Arc::new(Domain::of_key(key.expose()))),
            None => self.domain_of(wanted.account),
        }
    }

    /// Opens a snapshot of whatever account.
    pub(super) fn snapshot(&self, snapshot: SnapshotId, key: SourceKey<'_>) -> Result<blocks::Snapshot> {
        open_snapshot(&self.store, &self.path, snapshot, key)
    }

    fn work(&self, task: &Task) {
        let Task { job, aim, wanted, source } = task;
        let end = match aim {
            _ if job.is_stopped() => Err(stopped()),
            Aim::Store => self.make(wanted, source.as_ref(), job),
            Aim::ChangeTier => self.change_tier(wanted, job),
        };
        if let Err(error) = &end {
            tracing::warn!(snapshot = %wanted.snapshot, ?aim, %error, "a snapshot is not stored as desired");
        }
        *job.end.lock() = Some(end);
        job.ended.notify_waiters();
    }
}

pub(super) fn stopped() -> HostError {
    HostError::transient("it was told to stop")
}
