//! Falling asleep: the machine stands still, all of its memory is written, and only when that is durable its process ends.

use super::seal::{Key, seal};
use super::{Kept, Manifest};
use crate::host::linux::block::{check_key, header};
use crate::host::linux::vmm::Inner;
use crate::host::linux::vmm::devices::Process;
use crate::host::linux::vmm::fork::{buses, let_go};
use crate::host::linux::vmm::monitor::MonitorError;
use crate::host::linux::vmm::processes;
use crate::host::linux::vmm::template::{pass, program};
use crate::host::{DiskSpec, HostError, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::InstanceId;
use plan::machine::fork::{Progress, progress};
use plan::machine::hibernate::{Plugged, Shape, prepare, shape};
use plan::machine::qmp::{Command, Status};
use plan::machine::template::{query, save};
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long all of it may take.
const LONGEST: Duration = Duration::from_mins(30);
const LOOK: Duration = Duration::from_millis(2);
/// How long what was written may take to be finished when the process has written all of it, or will write no more.
const REST: Duration = Duration::from_mins(2);
const DESCRIPTOR: &str = "hibernation";
/// What a pipe to or from a process holds, if the host allows it.
const PIPE: usize = 1 << 20;

/// Marks a machine as one that this agent has stand still.
struct StandsStill<'a>(&'a Inner, InstanceId);

impl Drop for StandsStill<'_> {
    fn drop(&mut self) {
        self.0.forking.lock().remove(&self.1);
    }
}

impl Inner {
    pub(in super::super) async fn hibernate(
        self: &Arc<Self>,
        instance: InstanceId,
        root: &DiskSpec,
    ) -> Result<()> {
        let failed = |e: io::Error| HostError::transient(format!("hibernating {instance}")).caused_by(e);
        let process = self.process(instance).await?;
        if self.settle(instance, &process.monitor).await?.is_some() {
            return Ok(());
        }
        self.let_go_on(instance, &process.monitor).await?;
        match process.monitor.status().await {
            Ok(Status::On) => {}
            Ok(_) => return Err(HostError::transient(format!("{instance} does not run just now"))),
            Err(e) => return Err(HostError::transient(format!("hibernating {instance}")).caused_by(e)),
        }
        let Some(data_key) = &root.data_key else {
            return Err(HostError::permanent("its root volume is not encrypted"));
        };
        check_key(root.volume, &root.path, Some(data_key))?;
        let mut salt = [0; 32];
        SystemRandom::new().fill(&mut salt).map_err(|_| HostError::transient("no random numbers"))?;
        let salt = STANDARD.encode(salt);
        let shape = self.shape_of(&process).await?;
        let manifest = Manifest { instance, root: root.volume, salt, shape };
        let bytes = serde_json::to_vec_pretty(&manifest).map_err(|e| failed(e.into()))?;
        let key = Key::of(data_key, &bytes).map_err(failed)?;

        let home = self.home(instance);
        let kept = Kept::of(&home);
        let file = kept.begin(&bytes).map_err(failed)?;
        home.expect_fork().map_err(failed)?;
        self.forking.lock().insert(instance);
        let _still = StandsStill(self, instance);
        let begun = Instant::now();
        match self.keep(&process, &kept, file, key).await {
            Ok(size) => {
                self.remember(instance, &kept.volumes());
                tracing::info!(%instance, bytes = size, took = ?begun.elapsed(), "its memory is kept");
                // What this does not do, whoever looks at the machine next does.
                match self.end(instance).await {
                    Ok(()) => home.is_forked_from(),
                    Err(error) => {
                        tracing::warn!(%instance, %error, "it hibernates, and its process does not end");
                    }
                }
                Ok(())
            }
            Err(error) => {
                match let_go(&process.monitor).await {
                    Ok(()) => home.is_forked_from(),
                    // Whoever looks at it next tries again.
                    Err(error) => tracing::warn!(%instance, %error, "it does not go on"),
                }
                if let Err(error) = kept.tidy() {
                    tracing::warn!(%instance, %error, "half of its memory stays on the disk");
                }
                Err(error)
            }
        }
    }

    /// Writes all of the memory; says how large it was.
    async fn keep(self: &Arc<Self>, process: &Process, kept: &Kept, file: File, key: Key) -> Result<u64> {
        let instance = process.instance;
        let failed = |e: io::Error| HostError::transient(format!("the memory of {instance}")).caused_by(e);
        process.execute(Command::Stop).await?;
        for command in prepare() {
            process.execute(command).await?;
        }
        let (reader, writer) = io::pipe().map_err(failed)?;
        // A larger pipe is faster, and no more.
        let _ = rustix::pipe::fcntl_setpipe_size(&reader, PIPE);
        let judge =
            |e: MonitorError| HostError::transient(format!("writing the memory of {instance}")).caused_by(e);
        pass(&process.monitor, DESCRIPTOR, writer.into()).await.map_err(judge)?;
        let mut sealing = tokio::task::spawn_blocking(move || {
            let size = seal(&key, reader, &file)?;
            file.sync_all().map(|()| size)
        });
        let written = self.written(process, &sealing).await;
        if written.is_err() {
            // One that never took the descriptor would keep the pipe open.
            let close = Command::CloseFd { name: DESCRIPTOR.to_owned() };
            let _ = process.monitor.execute(close).await;
            if !sealing.is_finished() {
                let _ = process.monitor.execute(plan::machine::fork::give_up()).await;
            }
        }
        let sealed = match tokio::time::timeout(REST, &mut sealing).await {
            Ok(Ok(sealed)) => sealed.map_err(failed),
            Ok(Err(e)) => Err(failed(e.into())),
            Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
        };
        // A full disk is the reason, and not that nobody reads any more.
        let size = match (written, sealed) {
            (Ok(()), sealed) => sealed?,
            (Err(_), Err(error)) if sealing_failed_first(&error) => return Err(error),
            (Err(error), _) => return Err(error),
        };
        kept.commit().map_err(failed)?;
        Ok(size)
    }

    /// Waits until the process has written everything.
    async fn written(
        self: &Arc<Self>,
        process: &Process,
        sealing: &JoinHandle<io::Result<u64>>,
    ) -> Result<()> {
        process.execute(save(DESCRIPTOR)).await?;
        let begun = Instant::now();
        loop {
            match progress(&process.execute(query()).await?) {
                Progress::Done => return Ok(()),
                Progress::Idle => return Err(HostError::transient("its memory is not written any more")),
                Progress::Failed(why) => {
                    return Err(HostError::transient(format!("its memory cannot be written: {why}")));
                }
                Progress::Moving | Progress::Standing if begun.elapsed() > LONGEST => {
                    return Err(HostError::transient("its memory takes too long to be written"));
                }
                Progress::Moving | Progress::Standing if sealing.is_finished() => {
                    // It may just have been completed.
                    tokio::time::sleep(LOOK).await;
                    if progress(&process.execute(query()).await?) == Progress::Done {
                        return Ok(());
                    }
                    return Err(HostError::transient("what it wrote could not be kept"));
                }
                Progress::Moving | Progress::Standing => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// What the machine must be like that goes on.
    async fn shape_of(self: &Arc<Self>, process: &Process) -> Result<Shape> {
        let instance = process.instance;
        let failed = |e: io::Error| HostError::transient(format!("looking at {instance}")).caused_by(e);
        let (volumes, interfaces) = buses(process).await?;
        let lent = self.lent(instance)?;
        let mut plugged = Vec::with_capacity(volumes.len());
        for (volume, bus) in volumes {
            let Some((_, path)) = lent.iter().find(|(lent, _)| *lent == volume) else {
                return Err(HostError::transient(format!("the guest has not let go of {volume}")));
            };
            plugged.push(Plugged { volume, bus, bytes: header(path).map_err(failed)?.size });
        }
        let pid = process.monitor.pid;
        let mut line = processes::command_line(pid).map_err(failed)?;
        if line.is_empty() {
            return Err(HostError::transient(format!("{instance} has no command line")));
        }
        let path = line.remove(0);
        // Its file may have been replaced since.
        let running = format!("/proc/{pid}/exe");
        let program = program(&running, &path).or_else(|_| program(&path, &path)).map_err(failed)?;
        shape(program, &line, &plugged, &interfaces)
            .map_err(|e| HostError::transient(format!("{instance} cannot be hibernated")).caused_by(e))
    }
}

/// Whether writing failed by itself, and not for want of something to write.
fn sealing_failed_first(error: &HostError) -> bool {
    let source = error.source.as_ref().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|e| matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
        || source.is_some_and(|e| e.raw_os_error() == Some(libc::EIO))
}
