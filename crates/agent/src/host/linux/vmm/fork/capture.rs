//! The parent's part: its memory is written while it runs, then it stands still for the rest.

use super::super::Inner;
use super::super::devices::Process;
use super::super::home::private_directory;
use super::super::image;
use super::super::monitor::MonitorError;
use super::super::processes;
use super::super::template::pass;
use super::{MANIFEST, Manifest, STATE, buses, let_go};
use crate::host::linux::block::backing_chain;
use crate::host::linux::vmm::replace;
use crate::host::{HostError, Result};
use model::{ForkId, InstanceId, VolumeId};
use plan::machine::fork::{Progress, Shape, finish, patience, prepare, progress, shape};
use plan::machine::qmp::{Command, Status};
use plan::machine::template::{query, save};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long all of it may take.
const LONGEST: Duration = Duration::from_mins(10);
const LOOK: Duration = Duration::from_millis(1);

/// Marks a machine as being forked by this agent for as long as it lives.
struct Forking<'a>(&'a Inner, InstanceId);

impl Drop for Forking<'_> {
    fn drop(&mut self) {
        self.0.forking.lock().remove(&self.1);
    }
}

impl Inner {
    pub(in super::super) async fn fork(
        self: &Arc<Self>,
        instance: InstanceId,
        fork: ForkId,
        volumes: &[VolumeId],
        children: &[InstanceId],
    ) -> Result<Duration> {
        let process = self.process(instance).await?;
        let monitor = Arc::clone(&process.monitor);
        self.let_go_on(instance, &monitor).await?;
        let failed = |e: io::Error| HostError::transient(format!("forking {instance}")).caused_by(e);
        self.knows_forks(instance, volumes)?;
        match monitor.status().await {
            Ok(Status::On) => {}
            Ok(_) => return Err(HostError::transient(format!("{instance} does not run just now"))),
            Err(e) => return Err(HostError::transient(format!("forking {instance}")).caused_by(e)),
        }
        let shape = shape_of(&process, volumes).await?;
        let directory = self.fork_dir(fork);
        private_directory(&directory).map_err(failed)?;
        let path = directory.join(STATE);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;

        let home = self.home(instance);
        home.expect_fork().map_err(failed)?;
        self.forking.lock().insert(instance);
        let forking = Forking(self, instance);
        let written = self.write(&process, volumes, file).await;
        let gone_on = let_go(&monitor).await;
        drop(forking);
        match gone_on {
            Ok(()) => home.is_forked_from(),
            // Whoever looks at it next tries again.
            Err(error) => tracing::warn!(%instance, %error, "it does not go on after a fork"),
        }
        let pause = written?;
        let manifest = Manifest { parent: instance, children: children.to_vec(), shape };
        let keep = move || -> io::Result<()> {
            File::open(&path)?.sync_all()?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400))?;
            replace(&directory.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)?;
            File::open(directory.parent().unwrap_or(&directory))?.sync_all()
        };
        tokio::task::spawn_blocking(keep).await.map_err(|e| failed(e.into()))?.map_err(failed)?;
        tracing::info!(%instance, %fork, ?pause, "forked");
        Ok(pause)
    }

    /// Says how long the machine stood still.
    async fn write(
        self: &Arc<Self>,
        process: &Process,
        volumes: &[VolumeId],
        file: File,
    ) -> Result<Duration> {
        let judge = |e: MonitorError| {
            HostError::transient(format!("writing the memory of {}", process.instance)).caused_by(e)
        };
        let monitor = &process.monitor;
        for command in prepare() {
            monitor.execute(command).await.map_err(judge)?;
        }
        pass(monitor, "fork", file.into()).await.map_err(judge)?;
        monitor.execute(save("fork")).await.map_err(judge)?;
        let begun = Instant::now();
        let (mut still_since, mut told) = (begun, begun);
        loop {
            let asked = Instant::now();
            match moved(process).await? {
                Moved::Standing => break,
                Moved::Done => return Err(HostError::transient("its memory was written without a pause")),
                Moved::Not if begun.elapsed() > LONGEST => {
                    return Err(HostError::transient("its memory changes faster than it is written"));
                }
                Moved::Not => still_since = asked,
            }
            if told.elapsed() > Duration::from_secs(1) {
                told = Instant::now();
                monitor.execute(patience(begun.elapsed())).await.map_err(judge)?;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.follow(process.instance, volumes).await?;
        monitor.execute(finish()).await.map_err(judge)?;
        while moved(process).await? != Moved::Done {
            if begun.elapsed() > LONGEST * 2 {
                return Err(HostError::transient("the last of its memory is not written"));
            }
            tokio::time::sleep(LOOK).await;
        }
        monitor.execute(Command::Continue).await.map_err(judge)?;
        Ok(still_since.elapsed())
    }

    /// Refuses a machine whose guest would not know what to do: the image that its first volume stands on says whether it does.
    fn knows_forks(&self, instance: InstanceId, volumes: &[VolumeId]) -> Result<()> {
        let lent = self.lent(instance)?;
        let root = volumes.first().and_then(|root| lent.iter().find(|(volume, _)| volume == root));
        let chain = root.map(|(_, path)| backing_chain(path)).transpose()?.unwrap_or_default();
        let mut images = chain.iter().filter_map(|file| image::manifest(file.parent()?).ok());
        if images.any(|image| image.forkable) {
            return Ok(());
        }
        Err(HostError::permanent(format!(
            "{instance} cannot be forked: its root volume stands on no image whose guest knows forks"
        )))
    }
}

/// What a child must be like. The machine has these volumes and no others.
async fn shape_of(process: &Process, volumes: &[VolumeId]) -> Result<Shape> {
    let instance = process.instance;
    let (mut has, interfaces) = buses(process).await?;
    has.sort_unstable();
    let mut wanted = volumes.to_vec();
    wanted.sort_unstable();
    if has.iter().map(|(volume, _)| *volume).ne(wanted) {
        return Err(HostError::transient(format!("{instance} has other volumes than it should have")));
    }
    let line = processes::command_line(process.monitor.pid)
        .map_err(|e| HostError::transient(format!("looking at {instance}")).caused_by(e))?;
    shape(line.get(1..).unwrap_or_default(), &has, &interfaces)
        .map_err(|e| HostError::permanent(format!("{instance} cannot be forked")).caused_by(e))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    Not,
    Standing,
    Done,
}

async fn moved(process: &Process) -> Result<Moved> {
    match progress(&process.execute(query()).await?) {
        Progress::Moving => Ok(Moved::Not),
        Progress::Standing => Ok(Moved::Standing),
        Progress::Done => Ok(Moved::Done),
        Progress::Idle => Err(HostError::transient("its memory is not written any more")),
        Progress::Failed(why) => Err(HostError::transient(format!("its memory cannot be written: {why}"))),
    }
}
