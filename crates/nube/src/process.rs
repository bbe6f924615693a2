//! What a process takes of this host, as the kernel tells it.

use std::fs;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub threads: u64,
    pub open_files: Option<u64>,
    /// Seconds since 1970.
    pub started: Option<f64>,
}

/// None when there is no such process.
pub fn usage(pid: u32) -> Option<Usage> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| boot_time(&stat));
    let open_files = fs::read_dir(folder.join("fd")).ok().map(|files| files.count() as u64);
    let mut usage = parse(&stat, ticks, rustix::param::page_size() as u64, boot)?;
    usage.open_files = open_files;
    Some(usage)
}

fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// Fields as in proc(5); those after the name, which may hold anything, count from the last parenthesis.
fn parse(stat: &str, ticks: f64, page: u64, boot: Option<f64>) -> Option<Usage> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Usage {
        cpu_seconds: (number(14)? + number(15)?) as f64 / ticks,
        resident_bytes: number(24)? * page,
        threads: number(20)?,
        open_files: None,
        started: boot.zip(number(22)).map(|(boot, after)| boot + after as f64 / ticks),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 1 0 0 0 250 50 0 0 20 0 3 0 1000 9 512 0";
        let usage = parse(stat, 100.0, 4096, Some(1_000.0)).unwrap();
        assert_eq!((usage.cpu_seconds * 100.0).round() as u64, 300);
        assert_eq!((usage.resident_bytes, usage.threads), (512 * 4096, 3));
        assert_eq!(usage.started, Some(1_010.0));
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(usage(std::process::id()).unwrap().resident_bytes > 1 << 20);
        assert_eq!(usage(u32::MAX), None);
    }
}
