//! What the kernel tells of a process.

use std::fs;
use std::time::Duration;

/// Linux tells CPU time in hundredths of a second, whatever its own tick.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all its threads so far.
pub fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may hold spaces.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split(' ').collect();
    let ticks: u32 = fields[12].parse::<u32>().unwrap() + fields[13].parse::<u32>().unwrap();
    TICK * ticks
}

/// Proportional set size in KiB: memory of its own, and its share of what it shares.
pub fn pss_kib(pid: u32) -> u64 {
    sum(pid, "Pss:")
}

/// The part of it that no file backs.
pub fn anonymous_kib(pid: u32) -> u64 {
    sum(pid, "Pss_Anon:")
}

fn sum(pid: u32, field: &str) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The process that was given this argument right after `flag`.
pub fn of(flag: &str, starts: &str) -> Option<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.windows(2).any(|two| two[0] == flag.as_bytes() && two[1].starts_with(starts.as_bytes()))
    })
}

/// The command line of the process that was given this argument right after `flag`.
pub fn command_line(flag: &str, starts: &str) -> Option<Vec<String>> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| {
        line.split(|byte| *byte == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect::<Vec<_>>()
    });
    lines.into_iter().find(|line| line.windows(2).any(|two| two[0] == flag && two[1].starts_with(starts)))
}
