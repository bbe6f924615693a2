//! Leaves the processors to who logs in first.
//!
//! A tool that launches an instance knocks until it is let in. A first login costs an emulated processor a second or two, and
//! all of cloud-init many: the login goes first, within bounds, and only if somebody is there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::Duration;

use crate::sys;

/// So long for somebody to come, so long for a login, so long for what it is for.
const COMES: Duration = Duration::from_secs(1);
const TAKES: Duration = Duration::from_secs(20);
const COMMAND: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(100);
/// A login waits for its client now and then, too.
const LOOKS: u32 = 3;
/// So much of all processors' time is idle when a login is through.
const IDLE_PERCENT: u64 = 80;

/// Returns when nobody has come, when the login is through, or when it takes too long.
pub fn wait() {
    let begin = sys::uptime();
    let elapsed = || sys::uptime().saturating_sub(begin);
    while !is_any(LISTENING) && elapsed() < TAKES {
        sleep(LOOK);
    }
    let open = elapsed();
    while !is_any(ESTABLISHED) {
        if elapsed() > open + COMES {
            return;
        }
        sleep(LOOK);
    }
    let (mut last, mut idle, mut end) = (times(), 0, TAKES);
    while elapsed() < end && idle < LOOKS {
        sleep(LOOK);
        if end == TAKES && a_user_is_in() {
            end = elapsed() + COMMAND;
        }
        let now = times();
        idle = if is_idle(last, now) { idle + 1 } else { 0 };
        last = now;
    }
}

/// Has somebody's own process been started?
fn a_user_is_in() -> bool {
    const FIRST_USER: u32 = 1000;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .any(|entry| entry.metadata().is_ok_and(|process| (FIRST_USER..60_000).contains(&process.uid())))
}

/// States of TCP as the kernel prints them.
const ESTABLISHED: &str = "01";
const LISTENING: &str = "0A";

/// Has the ssh server a socket in this state?
fn is_any(state: &str) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        fs::read_to_string(table).is_ok_and(|table| table.lines().any(|line| is_ssh(line, state)))
    })
}

/// Reads a line of the kernel's: number, local address, remote address, state.
fn is_ssh(line: &str, wanted: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let (local, state) = (words.next(), words.nth(1));
    local.is_some_and(|local| local.ends_with(":0016")) && state == Some(wanted)
}

/// Idle and whole time of all processors, in ticks.
fn times() -> (u64, u64) {
    read_times(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

fn read_times(stat: &str) -> (u64, u64) {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    (ticks.get(3).copied().unwrap_or(0), ticks.iter().take(8).sum())
}

fn is_idle(last: (u64, u64), now: (u64, u64)) -> bool {
    let (idle, all) = (now.0.saturating_sub(last.0), now.1.saturating_sub(last.1));
    all > 0 && idle * 100 >= all * IDLE_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_to_the_ssh_server_is_told_from_others() {
        let login = |line| is_ssh(line, ESTABLISHED);
        assert!(login("   1: 1200000A:0016 0100000A:8736 01 00000000:00000000 02:00 0 0 1"));
        assert!(!login("   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00 0 0 1"));
        assert!(!login("   1: 1200000A:8736 0100000A:0016 01 00000000:00000000 02:00 0 0 1"));
        assert!(!login("  sl  local_address rem_address   st"));
        assert!(is_ssh("   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00 0 0 1", LISTENING));
    }

    #[test]
    fn idle_is_when_most_of_the_time_nothing_ran() {
        let last = read_times("cpu  100 0 50 1000 0 0 0 0 0 0\ncpu0 1 1\n");
        assert_eq!(last, (1000, 1150));
        assert!(is_idle(last, (1019, 1171)));
        assert!(!is_idle(last, (1010, 1170)));
        assert!(!is_idle(last, last));
        assert_eq!(read_times(""), (0, 0));
    }
}
