//! The host loop: keeps one host as it is desired, object by object.
//!
//! ```text
//! set/sync ─► disk ─► tables ─► pending ─► one task per object at a time ─► drivers ─► record ─► observed
//!                                  ▲ driver nudges, timers, objects waited for
//! ```
//! Invariants:
//! - A desired object is on disk before it is acted on, a record before the act that it speaks of.
//! - One object is never worked on twice at a time; different objects are worked on in parallel.
//! - A run re-reads everything. It never retries inside: failures go to the timer, with backoff.
//! - What stands and nobody desires is removed only when the full desired state is known.
//!
//! Dropping the [`Agent`] ends its tasks wherever they are, as a crash would; the next one carries on from disk.

mod blocks;
mod core;
mod fork;
mod instance;
mod part;
mod schedule;
mod snapshot;
mod sweep;
mod tables;

use crate::desired::{Disk, Durability};
use crate::directory::Directory;
use crate::host::{Block, Net, Vmm};
use core::{Core, Question};
use model::Clock;
use model::host::{Capacity, Desired, Hello, Observed, Reply, Request};
use plan::host::Graces;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Everything that one agent is told at its start.
pub struct AgentConfig {
    /// The agent keeps its state in `agent/` below it.
    pub state_dir: PathBuf,
    pub durability: Durability,
    /// The host's name, unique in the cloud.
    pub host: String,
    /// The kernel's boot id.
    pub boot_id: String,
    pub capacity: Capacity,
    pub graces: Graces,
    /// How long a machine is left unobserved when nothing nudges.
    pub resync: Duration,
    /// How many instances are worked on at a time.
    pub parallel: usize,
    pub clock: Arc<dyn Clock>,
}

impl AgentConfig {
    /// Ordinary settings for a real host.
    pub fn new(
        state_dir: PathBuf,
        host: String,
        boot_id: String,
        capacity: Capacity,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            state_dir,
            durability: Durability::Flushed,
            host,
            boot_id,
            capacity,
            graces: Graces::default(),
            resync: Duration::from_mins(1),
            parallel: 32,
            clock,
        }
    }
}

/// A running agent. Dropping it stops the loop and leaves the machines alone.
pub struct Agent {
    core: Arc<Core>,
    _tasks: JoinSet<()>,
}

impl Agent {
    /// Takes the state directory and starts the loop on the current runtime.
    pub async fn open<V: Vmm, N: Net, B: Block>(
        config: AgentConfig,
        vmm: V,
        net: N,
        block: B,
        directory: Arc<Directory>,
    ) -> io::Result<Self> {
        let (state_dir, durability, now) = (config.state_dir.clone(), config.durability, config.clock.now());
        let (disk, loaded) =
            tokio::task::spawn_blocking(move || Disk::open(&state_dir, durability, now)).await??;
        for report in &loaded.set_aside {
            tracing::error!("{report}");
        }
        let (questions, asked) = mpsc::channel(64);
        let core = Arc::new(Core::new(config, disk, loaded, directory, questions));
        let drivers = Arc::new(schedule::Drivers { vmm, net, block });
        let mut tasks = JoinSet::new();
        tasks.spawn(schedule::run(Arc::clone(&core), Arc::clone(&drivers), asked));
        tasks.spawn(schedule::listen(Arc::clone(&core), Arc::clone(&drivers)));
        tasks.spawn(snapshot::take_in_filled(Arc::clone(&core), drivers));
        Ok(Self { core, _tasks: tasks })
    }

    pub fn handle(&self) -> AgentHandle {
        AgentHandle(Arc::clone(&self.core))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.core.close();
    }
}

/// The agent as the channel and the link-local services see it.
#[derive(Clone)]
pub struct AgentHandle(Arc<Core>);

impl fmt::Debug for AgentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AgentHandle").field(&self.0.hello.host).finish()
    }
}

impl AgentHandle {
    pub fn hello(&self) -> Hello {
        self.0.hello.clone()
    }

    /// Takes over newer wishes. They are on disk when this returns; older ones are ignored.
    pub async fn set(&self, objects: Vec<Desired>) -> io::Result<()> {
        self.0.intake(objects, core::Extent::Some).await
    }

    /// Takes over the full desired state: what it does not name is removed.
    pub async fn sync(&self, objects: Vec<Desired>) -> io::Result<()> {
        self.0.intake(objects, core::Extent::All).await
    }

    /// Observations: first the latest of each object, then each as it comes. A slow reader misses what was superseded.
    pub fn subscribe(&self) -> Observations {
        Observations { core: Arc::clone(&self.0), revision: 0 }
    }

    pub async fn request(&self, request: Request) -> Reply {
        if request == Request::Status {
            return Reply::Status { objects: self.0.tables.lock().status() };
        }
        let (reply, answer) = oneshot::channel();
        let ended = || Reply::Failed { reason: "the agent has ended".into() };
        if self.0.questions.send(Question { request, reply }).await.is_err() {
            return ended();
        }
        answer.await.unwrap_or_else(|_| ended())
    }

    /// The secret of this agent's state directory, for signing what must outlive a restart.
    pub async fn secret(&self, fresh: [u8; 32]) -> io::Result<[u8; 32]> {
        self.0.io(move |disk| disk.secret(fresh)).await
    }

    /// Waits until no object has anything left to do but wait for time or for others.
    pub async fn quiet(&self) {
        self.0.quiet().await;
    }
}

/// A reader's place among the observations.
pub struct Observations {
    core: Arc<Core>,
    revision: u64,
}

impl Observations {
    /// The next observation; `None` once the agent has ended.
    pub async fn next(&mut self) -> Option<Observed> {
        let mut news = self.core.news.subscribe();
        loop {
            let next = self.core.tables.lock().observed_after(self.revision);
            if let Some((revision, observed)) = next {
                self.revision = revision;
                return Some(observed);
            }
            if self.core.is_closed() {
                return None;
            }
            news.changed().await.ok()?;
        }
    }
}
