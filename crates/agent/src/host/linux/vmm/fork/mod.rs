//! Forks: instants of running machines, kept for others to go on from.
//!
//! ```text
//! <volumes>/forks/<fork>/{state, manifest.json}    root's alone; without its manifest it is none
//! <home of a parent>/forking                       there while its memory is being written
//! <home of a child>/forked                         how far it has come to an identity of its own
//! ```
//! Invariants:
//! - A parent runs on, whatever happens. A machine that stands still for a fork which this agent does not know is let go when it is
//!   looked at ([`Inner::let_go_on`]).
//! - A child whose guest has no identity of its own has no link, and counts as absent: it is started anew, from the same
//!   instant and with fresh disks. From the moment that its link may be on it never begins anew again.
//! - A fork's memory is read for instances of its parent's account only: nobody else's wishes name it.

mod birth;
mod capture;

pub(super) use birth::bear;

use super::Inner;
use super::devices::Process;
use super::home::Stage;
use super::monitor::{Monitor, MonitorError};
use crate::host::{HostError, KeptFork, Result};
use model::{ForkId, InstanceId, VolumeId};
use plan::machine::devices;
use plan::machine::fork::{Link, Progress, Shape, give_up, link, progress};
use plan::machine::qmp::{Command, Status};
use plan::machine::template::query;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const FORKS: &str = crate::host::linux::block::FORKS;
const STATE: &str = "state";
const MANIFEST: &str = "manifest.json";
/// How long a machine may take to run again.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a fork's directory says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    parent: InstanceId,
    children: Vec<InstanceId>,
    shape: Shape,
}

impl Inner {
    fn forks_dir(&self) -> PathBuf {
        self.config.templates.volumes_dir.join(FORKS)
    }

    fn fork_dir(&self, fork: ForkId) -> PathBuf {
        self.forks_dir().join(fork.to_string())
    }

    fn manifest(&self, fork: ForkId) -> io::Result<Manifest> {
        Ok(serde_json::from_slice(&fs::read(self.fork_dir(fork).join(MANIFEST))?)?)
    }

    fn each_fork(&self) -> io::Result<Vec<ForkId>> {
        let entries = match fs::read_dir(self.forks_dir()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut forks = Vec::new();
        for entry in entries {
            forks.extend(entry?.file_name().to_str().and_then(|name| ForkId::parse(name).ok()));
        }
        Ok(forks)
    }

    /// Removes what an agent before this one did not finish.
    pub(super) fn open_forks(&self) -> io::Result<()> {
        for fork in self.each_fork()? {
            if self.manifest(fork).is_err() {
                fs::remove_dir_all(self.fork_dir(fork))?;
            }
        }
        Ok(())
    }

    pub(super) fn forks(&self) -> io::Result<Vec<KeptFork>> {
        let mut kept = Vec::new();
        for fork in self.each_fork()? {
            let Ok(Manifest { children, .. }) = self.manifest(fork) else { continue };
            let changed = fs::metadata(self.fork_dir(fork).join(MANIFEST))?.modified()?;
            // A clock that was set back makes it young.
            kept.push(KeptFork { fork, children, age: changed.elapsed().unwrap_or_default() });
        }
        Ok(kept)
    }

    pub(super) fn remove_fork(&self, fork: ForkId) -> io::Result<()> {
        match fs::remove_dir_all(self.fork_dir(fork)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Lets a machine go that an agent before this one had stand still, for a fork or to hibernate.
    pub(super) async fn let_go_on(self: &Arc<Self>, instance: InstanceId, monitor: &Monitor) -> Result<()> {
        let home = self.home(instance);
        if !home.is_forking() || self.forking.lock().contains(&instance) {
            return Ok(());
        }
        let failed = |e: MonitorError| HostError::transient(format!("letting {instance} go on")).caused_by(e);
        self.follow_all(instance).await?;
        let_go(monitor).await.map_err(failed)?;
        home.is_forked_from();
        tracing::warn!(%instance, "it goes on: whoever had it stand still was interrupted");
        Ok(())
    }

    /// Gives a machine its link whose guest has its identity.
    async fn connect(self: &Arc<Self>, instance: InstanceId) -> Result<()> {
        let process = self.process(instance).await?;
        let present = devices::devices(&process.execute(Command::ListDevices).await?);
        for interface in present.interfaces {
            process.execute(link(interface, Link::On)).await?;
        }
        let home = self.home(instance);
        home.set_stage(Stage::Born)
            .map_err(|e| HostError::transient(format!("noting that {instance} is itself")).caused_by(e))
    }

    /// Whether a machine that has a process is nobody yet. One that an agent before this one was about to connect is connected.
    pub(super) async fn is_nameless(self: &Arc<Self>, instance: InstanceId) -> Result<bool> {
        match self.home(instance).stage() {
            Some(Stage::Nameless) => Ok(true),
            Some(Stage::Named) => self.connect(instance).await.map(|()| false),
            Some(Stage::Born) | None => Ok(false),
        }
    }
}

/// Has a machine run, whatever a fork has made of it.
pub(super) async fn let_go(monitor: &Monitor) -> Result<(), MonitorError> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let refused = match progress(&monitor.execute(query()).await?) {
            Progress::Moving | Progress::Standing => monitor.execute(give_up()).await,
            Progress::Idle | Progress::Done | Progress::Failed(_) => match monitor.status().await? {
                Status::Paused => monitor.execute(Command::Continue).await,
                Status::On | Status::OutOfSpace | Status::Off => return Ok(()),
            },
        };
        match refused {
            // It was about to do so by itself.
            Ok(_) | Err(MonitorError::Refused(_)) if tokio::time::Instant::now() < end => {}
            Ok(_) => return Err(MonitorError::Silent),
            Err(e) => return Err(e),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The slots of a machine's devices, as their buses.
pub(super) async fn buses(
    process: &Process,
) -> Result<(Vec<(VolumeId, String)>, Vec<(model::NetworkInterfaceId, String)>)> {
    let present = devices::devices(&process.execute(Command::ListDevices).await?);
    let (mut volumes, mut interfaces) = (Vec::new(), Vec::new());
    for volume in present.volumes {
        volumes.push((volume, bus(process, volume.to_string()).await?));
    }
    for interface in present.interfaces {
        interfaces.push((interface, bus(process, interface.to_string()).await?));
    }
    Ok((volumes, interfaces))
}

async fn bus(process: &Process, device: String) -> Result<String> {
    let bus = process.execute(Command::QueryBus { device }).await?;
    Ok(bus.as_str().unwrap_or_default().to_owned())
}
