//! Hibernation: a machine's memory, kept while it has no process.
//!
//! ```text
//! <home>/memory/{state, manifest.json}   what is kept, whole and durable; `memory.new` while it is written
//! <home>/forking                         there while the machine stands still for that
//! <home>/waking                          there from the moment that nothing is kept any more until the machine has its links
//! ```
//! Invariants:
//! - What is kept is of an instant after which the guest has run no instruction. It gets its name when all of it is durable, and
//!   loses it before the guest runs. So no instant is ever gone on from twice, nor one that a disk has moved away from.
//! - Neither a process nor an agent that is killed leaves half: a machine that stands still without anything kept is let go, one
//!   with something kept is ended, and one that has read it and has nothing kept any more is let run ([`Inner::settle`]).
//! - What is kept is void once one of its volumes is given to another machine ([`Inner::forsake`]).
//! - The state lies encrypted with a key that is derived from that of the root volume ([`seal`]), as EC2 keeps it on an encrypted
//!   root volume. No guest takes part; one of ours corrects its clock when its network comes back (`guest::clock`).
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-hibernate-overview.html>

mod keep;
mod seal;
mod wake;

pub(super) use wake::{Woken, wake};

use super::Inner;
use super::home::{Home, private_directory};
use super::monitor::{Monitor, MonitorError};
use crate::host::linux::vmm::replace;
use crate::host::{HostError, MachineState, Result};
use model::{InstanceId, VolumeId};
use plan::machine::devices;
use plan::machine::fork::{Link, link};
use plan::machine::hibernate::Shape;
use plan::machine::qmp::{Command, Status};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const KEPT: &str = "memory";
const NEW: &str = "memory.new";
const OLD: &str = "memory.old";
const STATE: &str = "state";
const MANIFEST: &str = "manifest.json";

/// How long a machine that goes on is without its links: long enough for a guest to notice.
const UNLINKED: Duration = Duration::from_millis(250);

/// What is kept says of itself. All of it is bound to the key of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    instance: InstanceId,
    /// The volume whose key the state's is derived from.
    root: VolumeId,
    /// Makes the key one of its own.
    salt: String,
    shape: Shape,
}

/// The memory that is kept of a machine, if there is any.
#[derive(Debug, Clone)]
pub(super) struct Kept(PathBuf);

impl Kept {
    pub fn of(home: &Home) -> Self {
        Self(home.path().to_owned())
    }

    pub fn exists(&self) -> bool {
        self.0.join(KEPT).exists()
    }

    fn manifest(&self) -> io::Result<(Vec<u8>, Manifest)> {
        let bytes = fs::read(self.0.join(KEPT).join(MANIFEST))?;
        let manifest = serde_json::from_slice(&bytes)?;
        Ok((bytes, manifest))
    }

    fn state(&self) -> PathBuf {
        self.0.join(KEPT).join(STATE)
    }

    /// The volumes that it would go on with.
    pub fn volumes(&self) -> Vec<VolumeId> {
        let manifest = self.manifest().map(|(_, manifest)| manifest);
        manifest.map(|m| m.shape.volumes.iter().map(|seat| seat.volume).collect()).unwrap_or_default()
    }

    /// Begins to keep something; nothing is kept before [`Self::commit`].
    fn begin(&self, manifest: &[u8]) -> io::Result<File> {
        self.tidy()?;
        let directory = self.0.join(NEW);
        private_directory(&directory)?;
        replace(&directory.join(MANIFEST), manifest)?;
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.join(STATE))
    }

    /// Whole and durable from here on.
    fn commit(&self) -> io::Result<()> {
        let directory = self.0.join(NEW);
        File::open(directory.join(STATE))?.sync_all()?;
        File::open(&directory)?.sync_all()?;
        fs::rename(&directory, self.0.join(KEPT))?;
        File::open(&self.0)?.sync_all()
    }

    /// Nothing is kept from here on, whatever happens to the host.
    pub fn discard(&self) -> io::Result<()> {
        if self.exists() {
            remove(&self.0.join(OLD))?;
            fs::rename(self.0.join(KEPT), self.0.join(OLD))?;
            File::open(&self.0)?.sync_all()?;
        }
        self.tidy()
    }

    /// Removes what is not whole yet, or no longer kept.
    fn tidy(&self) -> io::Result<()> {
        remove(&self.0.join(NEW))?;
        remove(&self.0.join(OLD))
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

impl Inner {
    /// Takes up what is kept, and removes what an agent before this one did not finish.
    pub(super) fn open_memories(&self, instances: &[InstanceId]) -> io::Result<()> {
        for instance in instances {
            let kept = Kept::of(&self.home(*instance));
            kept.tidy()?;
            self.remember(*instance, &kept.volumes());
        }
        Ok(())
    }

    fn remember(&self, instance: InstanceId, volumes: &[VolumeId]) {
        self.asleep.lock().extend(volumes.iter().map(|volume| (*volume, instance)));
    }

    /// Removes what is kept of a machine.
    pub(super) fn forget_memory(&self, instance: InstanceId) -> Result<()> {
        Kept::of(&self.home(instance))
            .discard()
            .map_err(|e| HostError::transient(format!("removing the memory of {instance}")).caused_by(e))?;
        self.asleep.lock().retain(|_, sleeper| *sleeper != instance);
        Ok(())
    }

    /// Before a machine gets volumes: whatever memory went with one of them is of no use any more.
    pub(super) fn forsake(&self, by: InstanceId, volumes: impl IntoIterator<Item = VolumeId>) -> Result<()> {
        for volume in volumes {
            let sleeper = self.asleep.lock().get(&volume).copied().filter(|sleeper| *sleeper != by);
            if let Some(sleeper) = sleeper {
                tracing::warn!(instance = %sleeper, %volume, %by, "its memory is void: another machine gets its volume");
                self.forget_memory(sleeper)?;
            }
        }
        Ok(())
    }

    /// What a machine without a process is.
    pub(super) fn without_process(&self, instance: InstanceId) -> MachineState {
        if Kept::of(&self.home(instance)).exists() { MachineState::Asleep } else { MachineState::Absent }
    }

    /// Brings a machine with a process out of the middle of falling asleep or waking, in which an agent before this one left it.
    /// None: it was in neither, or runs now.
    pub(super) async fn settle(
        self: &Arc<Self>,
        instance: InstanceId,
        monitor: &Monitor,
    ) -> Result<Option<MachineState>> {
        let home = self.home(instance);
        if self.forking.lock().contains(&instance) {
            return Ok(None);
        }
        if home.is_waking() {
            self.go_on(instance, monitor).await?;
            return Ok(None);
        }
        if !Kept::of(&home).exists() {
            return Ok(None);
        }
        // One that reads what is kept begins anew; one whose memory has just been kept has nothing more to do.
        if !home.is_unborn() {
            self.end(instance).await?;
            home.is_forked_from();
        }
        Ok(Some(MachineState::Asleep))
    }

    /// Lets a machine run that has read its memory. From the first step on there is no way back.
    async fn go_on(self: &Arc<Self>, instance: InstanceId, monitor: &Monitor) -> Result<()> {
        let home = self.home(instance);
        self.forget_memory(instance)?;
        let failed = |e: MonitorError| HostError::transient(format!("letting {instance} go on")).caused_by(e);
        if monitor.status().await.map_err(failed)? == Status::Paused {
            monitor.execute(Command::Continue).await.map_err(failed)?;
        }
        home.is_born();
        tokio::time::sleep(UNLINKED).await;
        let present = devices::devices(&monitor.execute(Command::ListDevices).await.map_err(failed)?);
        for interface in present.interfaces {
            monitor.execute(link(interface, Link::On)).await.map_err(failed)?;
        }
        home.is_awake();
        Ok(())
    }
}
