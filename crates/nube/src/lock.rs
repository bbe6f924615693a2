//! One process of a kind for a cloud: a locked file that also names the process.
//!
//! The lock goes with the process, however it ends; so a pid read from a file that is locked is the pid of a process that
//! lives.

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

/// Held for as long as the process runs.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held for its lock alone")] File);

fn open(run: &Path, name: &str) -> Result<File> {
    fs::create_dir_all(run).with_context(|| format!("cannot make {}", run.display()))?;
    let path = run.join(format!("{name}.lock"));
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub fn take(run: &Path, name: &str) -> Result<Self> {
        let mut file = open(run, name)?;
        // Whoever looks for the holder has the lock for an instant: that must not pass for a running process.
        let mut looks = 25;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK && error != Errno::INTR {
                return Err(error).with_context(|| format!("cannot lock the {name} of this cloud"));
            }
            looks -= 1;
            if looks > 0 {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            bail!("the {name} of this cloud is already running (process {})", pid.trim());
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(file))
    }
}

/// The process that holds a lock.
pub fn holder(run: &Path, name: &str) -> Option<Pid> {
    let mut file = File::open(run.join(format!("{name}.lock"))).ok()?;
    if flock(&file, FlockOperation::NonBlockingLockShared) != Err(Errno::WOULDBLOCK) {
        return None;
    }
    let mut pid = String::new();
    file.read_to_string(&mut pid).ok()?;
    Pid::from_raw(pid.trim().parse().ok()?)
}

/// Asks the holder of a lock to end and waits until it has.
pub fn end_holder(run: &Path, name: &str, patience: Duration) -> Result<()> {
    let Some(pid) = holder(run, name) else { return Ok(()) };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    // Between the two looks the process may have ended and its number been given away: the lock tells.
    if holder(run, name) != Some(pid) {
        return Ok(());
    }
    for (signal, wait) in [(Signal::TERM, patience), (Signal::KILL, Duration::from_secs(5))] {
        if pidfd_send_signal(&process, signal).is_err() {
            return Ok(());
        }
        let timeout = rustix::event::Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: 0 };
        let mut ended = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
        // Interrupted (the terminal stopped us, say): wait anew rather than kill early.
        let ended = retry_on_intr(|| rustix::event::poll(&mut ended, Some(&timeout)));
        if ended.is_ok_and(|n| n > 0) {
            return Ok(());
        }
    }
    bail!("the {name} process {} does not end", pid.as_raw_nonzero())
}
