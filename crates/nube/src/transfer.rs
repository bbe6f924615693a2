//! Moves the bytes of imports and exports: files of the operator's buckets, as snapshots and back.
//!
//! A reconciler of the tasks in `ec2::transfer`, in the server: what its owner would do by the EBS direct APIs it does for them,
//! block by block through the host's agent. Each attempt begins anew in an empty folder; a server or an agent that dies
//! costs repetition alone. Two tasks move at a time.

mod export;
mod import;

use crate::cloud_files::CloudDir;
use anyhow::{Context as _, Result};
use control::reconcile::{Driver, Next, Reconciler};
use control::view::ChangedKey;
use control::{Cloud, Record, Tables};
use ec2::transfer::progress::{self, Transfer};
use images::Progress;
use model::host::blocks::{BlockReply, BlockRequest};
use model::host::{Reply, Request};
use model::record::transfer::{ExportImageTask, ImportImageTask, ImportSnapshotTask, Stage};
use model::{ExportImageTaskId, ImportImageTaskId, ImportSnapshotTaskId, Region};
use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Tasks that move at a time; others wait.
const AT_ONCE: usize = 2;
/// Blocks on their way to or from the host at a time.
const BLOCKS_AT_ONCE: usize = 8;
/// How long the host may take for a block.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// How often the host may fail with one block before the task does: a few minutes.
const ATTEMPTS: u32 = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    ImportSnapshot(ImportSnapshotTaskId),
    ImportImage(ImportImageTaskId),
    ExportImage(ExportImageTaskId),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    region: Region,
    task: Task,
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.task {
            Task::ImportSnapshot(id) => id.fmt(f),
            Task::ImportImage(id) => id.fmt(f),
            Task::ExportImage(id) => id.fmt(f),
        }
    }
}

/// Why a task stops.
enum Stop {
    /// It was cancelled.
    Over,
    /// It can never succeed; as its owner is told.
    Failed(String),
    /// It is tried again.
    Later(String),
}

impl Stop {
    fn client(why: impl Display) -> Self {
        Self::Failed(format!("ClientError: {why}"))
    }

    /// What the operator should know, and the caller need not.
    fn server(why: impl Display) -> Self {
        tracing::warn!(%why, "a disk cannot be imported or exported");
        Self::Failed("ServerError: an internal error has occurred during conversion".to_owned())
    }
}

impl From<wire::ApiError> for Stop {
    fn from(error: wire::ApiError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<images::Error> for Stop {
    fn from(error: images::Error) -> Self {
        match error {
            images::Error::NotAnImage { why } => Self::client(format!("Disk validation failed [{why}]")),
            images::Error::Failed { .. } => {
                tracing::info!(%error, "a disk cannot be converted");
                Self::client("Disk validation failed [it is damaged or cut off]")
            }
            images::Error::Unwanted => Self::Over,
            images::Error::MissingProgram { .. } => Self::Failed(format!("ServerError: {error}")),
            other => Self::server(other),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::server(error)
    }
}

/// A folder for one attempt, gone with it.
struct Work(PathBuf);

impl Work {
    fn new(folder: &Path, name: impl Display) -> io::Result<Self> {
        let path = folder.join(name.to_string());
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub struct Transfers {
    cloud: Arc<Cloud>,
    folder: PathBuf,
    slots: Semaphore,
}

/// Goes on with every task that has not ended. What an earlier server left of its attempts goes.
pub fn start(cloud: &Arc<Cloud>, dir: &CloudDir) -> Result<Arc<Driver<Transfers>>> {
    let folder = dir.transfers();
    let _ = fs::remove_dir_all(&folder);
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.with_context(|| format!("cannot make {}", folder.display()))?;
    let transfers = Transfers { cloud: Arc::clone(cloud), folder, slots: Semaphore::new(AT_ONCE) };
    Ok(Driver::start(Arc::clone(cloud), transfers))
}

fn keys<'a, T: Transfer>(
    tables: &'a Tables,
    task: impl Fn(T::Id) -> Task + 'a,
) -> impl Iterator<Item = Key> + 'a {
    let active = tables.everywhere::<T>().filter(|(_, record)| record.stage().is_active());
    active.map(move |(region, record)| Key { region: region.clone(), task: task(record.id()) })
}

impl Reconciler for Transfers {
    const NAME: &'static str = "transfer";
    type Key = Key;

    fn all(&self, tables: &Tables) -> Vec<Key> {
        let snapshots = keys::<ImportSnapshotTask>(tables, Task::ImportSnapshot);
        let images = keys::<ImportImageTask>(tables, Task::ImportImage);
        // A server that died may have left something of one that did not succeed.
        let exports = tables.everywhere::<ExportImageTask>();
        let exports = exports.filter(|(_, task)| !matches!(task.stage, Stage::Completed { .. }));
        let exports =
            exports.map(|(region, task)| Key { region: region.clone(), task: Task::ExportImage(task.task) });
        snapshots.chain(images).chain(exports).collect()
    }

    fn concerns(&self, changed: &ChangedKey, _: &Tables) -> Vec<Key> {
        let task = match changed.noun {
            ImportSnapshotTask::NOUN => changed.id.parse().ok().map(Task::ImportSnapshot),
            ImportImageTask::NOUN => changed.id.parse().ok().map(Task::ImportImage),
            ExportImageTask::NOUN => changed.id.parse().ok().map(Task::ExportImage),
            _ => None,
        };
        task.map(|task| Key { region: changed.region.clone(), task }).into_iter().collect()
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, String> {
        let stopped = match key.task {
            Task::ImportSnapshot(id) => self.import::<ImportSnapshotTask>(&key.region, id).await,
            Task::ImportImage(id) => self.import::<ImportImageTask>(&key.region, id).await,
            Task::ExportImage(id) => self.export(&key.region, id).await,
        };
        match stopped {
            Ok(()) | Err(Stop::Over) => Ok(Next::Idle),
            Err(Stop::Failed(why) | Stop::Later(why)) => Err(why),
        }
    }
}

/// Asks the host for something of a block, as often as it takes. `goes_on` says whether the answer is still wanted, and
/// whether what is asked about is still there.
async fn ask(
    cloud: &Cloud,
    request: BlockRequest,
    goes_on: impl Fn() -> Result<(), Stop>,
) -> Result<BlockReply, Stop> {
    let mut failures = 0;
    loop {
        goes_on()?;
        match cloud.host.request_patiently(Request::Blocks(request.clone()), PATIENCE).await {
            Ok(Reply::Blocks(reply)) => return Ok(reply),
            Ok(Reply::Failed { reason }) => {
                failures += 1;
                if failures == ATTEMPTS {
                    return Err(Stop::server(reason));
                }
            }
            // The host has not heard of the snapshot yet, or is away: `goes_on` knows when that has no end.
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Ends what takes long when its task does.
struct Wanted<T: Transfer> {
    cloud: Arc<Cloud>,
    region: Region,
    task: T::Id,
}

impl<T: Transfer> Progress for Wanted<T> {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, _done: u64) {}
    fn end(&self) {}

    fn is_wanted(&self) -> bool {
        progress::active::<T>(&self.cloud, &self.region, &self.task).is_some()
    }
}

fn joined(done: Option<Result<Result<(), Stop>, tokio::task::JoinError>>) -> Result<(), Stop> {
    match done {
        None => Ok(()),
        Some(Ok(done)) => done,
        Some(Err(error)) => Err(Stop::server(error)),
    }
}

/// What does not wait for the network, and takes its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Stop> + Send + 'static,
) -> Result<T, Stop> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Stop::server(error)))
}

impl Transfers {
    /// Writes down how far a task has come.
    async fn reached<T: Transfer>(&self, region: &Region, id: &T::Id, stage: Stage) -> Result<(), Stop> {
        let goes_on = progress::reached::<T>(&self.cloud, region, id, stage).await?;
        if goes_on { Ok(()) } else { Err(Stop::Over) }
    }

    fn wanted<T: Transfer>(&self, region: &Region, id: &T::Id) -> Wanted<T> {
        Wanted { cloud: self.cloud.clone(), region: region.clone(), task: id.clone() }
    }

    fn active<T: Transfer>(&self, region: &Region, id: &T::Id) -> Result<Arc<T>, Stop> {
        progress::active::<T>(&self.cloud, region, id).ok_or(Stop::Over)
    }
}
