//! The parent of the server, the agent and blockd: starts them, starts them again when they end, ends them when told to.
//!
//! Each runs in a session of its own and logs to a file; killing the parent ends none. One that machines still wait for is not
//! ended with it either.

use crate::cloud_files::CloudDir;
use crate::{blockd_process, log};
use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// A process that runs shorter than this has failed to start.
const SETTLED: Duration = Duration::from_secs(10);
const LAST_BACKOFF: Duration = Duration::from_secs(10);
/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// Keeps `nube NAME` running until `stop` resolves, then ends it.
pub async fn keep(
    dir: CloudDir,
    name: &'static str,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> Result<()> {
    let mut backoff = Duration::from_millis(200);
    // What cannot be started at all is the caller's to know; later on it may be a full disk that empties again.
    let mut next = Some(start(&dir, name)?);
    loop {
        let started = Instant::now();
        match next.take().map_or_else(|| start(&dir, name), Ok) {
            Ok(mut child) => tokio::select! {
                ended = child.wait() => {
                    let status = ended.context("cannot wait for a child")?;
                    tracing::warn!(name, %status, "ended; starting it again");
                }
                () = told(&mut stop) => {
                    if name != blockd_process::NAME || !blockd_process::is_needed(&dir) {
                        end(child).await;
                    }
                    return Ok(());
                }
            },
            Err(error) => tracing::error!(name, error = format!("{error:#}"), "cannot start it again yet"),
        }
        backoff = if started.elapsed() > SETTLED {
            Duration::from_millis(200)
        } else {
            (backoff * 2).min(LAST_BACKOFF)
        };
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = told(&mut stop) => return Ok(()),
        }
    }
}

/// Resolves when the stop was called, or nobody is left to call it.
async fn told(stop: &mut tokio::sync::watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn start(dir: &CloudDir, name: &str) -> Result<Child> {
    let log = log_file(dir, name)?;
    // By its name, for whoever lists processes; when that file was replaced, the program that runs is still there.
    let program: PathBuf = "/proc/self/exe".into();
    let named = fs::read_link(&program).ok().filter(|path| path.exists());
    #[allow(
        clippy::disallowed_methods,
        reason = "the supervisor starts this very program; the simulator has no processes"
    )]
    let mut command = Command::new(named.unwrap_or(program));
    command.arg(name).arg("--data").arg(dir.path());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(false);
    command.spawn().with_context(|| format!("cannot start the {name}"))
}

fn log_file(dir: &CloudDir, name: &str) -> Result<fs::File> {
    fs::create_dir_all(dir.logs())?;
    let path = dir.logs().join(format!("{name}.log"));
    if fs::metadata(&path).is_ok_and(|m| m.len() > log::LIMIT) {
        log::shift(&path)?;
    }
    log::open(&path).with_context(|| format!("cannot write {}", path.display()))
}

async fn end(mut child: Child) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
