//! Process 1 of the instance: mounts, the agent, orphans, and an orderly end.
//!
//! It does nothing that can fail for long, because the kernel panics when it ends. All that may go wrong lives in
//! the agent, which is started again when it ends.
//! Signals as BusyBox's and SysV's programs send them: TERM and INT restart; USR1, USR2 and PWR power off.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use crate::console::{report, say};
use crate::exec;
use crate::sys::{self, Reaped, Signals};

const AGENT: &str = "/usr/bin/nube-guest";
/// How long programs may take to end by themselves.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy)]
enum End {
    Restart,
    PowerOff,
}

pub fn main() -> ExitCode {
    let signals = Signals::block(&[
        libc::SIGCHLD,
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGPWR,
        libc::SIGHUP,
    ]);
    // Control-Alt-Delete becomes a SIGINT for us instead of a restart without a sync.
    let _ = sys::restart(libc::RB_DISABLE_CAD);
    mount_all();
    let mut agent = start_agent();
    let end = loop {
        match signals.wait(Duration::from_mins(1)) {
            Some(libc::SIGTERM | libc::SIGINT) => break End::Restart,
            Some(libc::SIGUSR1 | libc::SIGUSR2 | libc::SIGPWR) => break End::PowerOff,
            _ => {}
        }
        while let Reaped::Child(pid) = sys::reap() {
            if Some(pid) == agent {
                say("the agent ended; it starts again");
                agent = None;
            }
        }
        if agent.is_none() {
            sleep(Duration::from_secs(1));
            agent = start_agent();
        }
    };
    finish(end)
}

fn mount_all() {
    // Those of the initial RAM disk are there already; then the call fails and nothing is lost.
    for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        if !mounted(target) {
            report(target, sys::mount(kind, target, kind, 0));
        }
    }
    for folder in ["/dev/pts", "/dev/shm"] {
        let _ = fs::create_dir_all(folder);
    }
    let guarded = libc::MS_NOSUID | libc::MS_NODEV;
    for (kind, target, flags) in [
        ("devpts", "/dev/pts", libc::MS_NOSUID),
        ("tmpfs", "/dev/shm", guarded),
        ("tmpfs", "/run", guarded),
        ("cgroup2", "/sys/fs/cgroup", guarded),
    ] {
        report(target, sys::mount(kind, target, kind, flags));
    }
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ] {
        let _ = std::os::unix::fs::symlink(target, link);
    }
}

fn mounted(target: &str) -> bool {
    fs::read_to_string("/proc/mounts")
        .is_ok_and(|mounts| mounts.lines().any(|line| line.split(' ').nth(1) == Some(target)))
}

fn start_agent() -> Option<u32> {
    let child = exec::command(AGENT).arg0("nube-agent").spawn();
    report("cannot start the agent", child).map(|child| child.id())
}

fn finish(end: End) -> ExitCode {
    say(match end {
        End::Restart => "restarting",
        End::PowerOff => "powering off",
    });
    // HUP besides TERM, because interactive shells ignore TERM.
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGCONT] {
        let _ = sys::kill(-1, signal);
    }
    if !all_ended(GRACE) {
        let _ = sys::kill(-1, libc::SIGKILL);
        all_ended(Duration::from_secs(2));
    }
    sys::sync();
    unmount_volumes();
    report("/", sys::mount("", "/", "", libc::MS_REMOUNT | libc::MS_RDONLY));
    sys::sync();
    let how = match end {
        End::Restart => libc::RB_AUTOBOOT,
        End::PowerOff => libc::RB_POWER_OFF,
    };
    report("restart", sys::restart(how));
    loop {
        sleep(Duration::from_mins(1));
    }
}

fn all_ended(limit: Duration) -> bool {
    let end = sys::uptime() + limit;
    loop {
        match sys::reap() {
            Reaped::None => return true,
            Reaped::Child(_) => {}
            Reaped::Running if sys::uptime() >= end => return false,
            Reaped::Running => sleep(Duration::from_millis(10)),
        }
    }
}

/// Unmounts what users mounted from block devices, the newest first.
fn unmount_volumes() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts.lines().rev() {
        let mut words = line.split(' ');
        if let (Some(source), Some(target)) = (words.next(), words.next())
            && source.starts_with("/dev/")
            && target != "/"
        {
            report(target, sys::unmount(target));
        }
    }
}
