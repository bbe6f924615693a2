//! What the embedded store does on this disk: commits/s by number of writers, the latency of commits as large as those of
//! launches beside that of a bare append, reads, and opening a million records after a kill. Prints medians. `cargo run --release -p store --example bench [-- DIR]`
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // measures time, kills its own child

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::{Commit, Embedded, Key, Options, Store};

const RUNS: usize = 5;
const WINDOW: Duration = Duration::from_secs(2);
const RECORDS: u64 = 1_000_000;
const RECORD_BYTES: usize = 300;

fn main() {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(word) if word == "write-until-killed" => write_until_killed(Path::new(&args.next().unwrap())),
        Some(dir) => bench(Path::new(&dir)),
        None => bench(&std::env::temp_dir()),
    }
}

fn bench(parent: &Path) {
    let dir = tempfile::tempdir_in(parent).unwrap();
    println!("{RUNS} runs, medians; values of {RECORD_BYTES} bytes; {}", parent.display());
    for writers in [1, 16, 64] {
        let rates =
            (0..RUNS).map(|run| commits_per_second(&dir.path().join(format!("{writers}-{run}")), writers));
        println!("{writers:>3} writers: {:>8.0} commits/s", median(rates.collect()));
    }
    for (what, writes) in [("one", 6), ("a hundred", 500)] {
        latency(dir.path(), what, writes);
    }
    opening(&dir.path().join("million"));
}

/// Commits one after the other, as many writes in each as a launch has; each beside an append and sync of as many bytes to
/// a file of its own.
fn latency(dir: &Path, what: &str, writes: u64) {
    const COMMITS: u64 = 200;
    let store = Embedded::open(dir.join(format!("launch-{writes}")), Options::default()).unwrap();
    let runtime = runtime();
    let mut plain = std::fs::File::create(dir.join(format!("plain-{writes}"))).unwrap();
    let (mut commits, mut appends) = (Vec::new(), Vec::new());
    for n in 0..COMMITS {
        let commit = (0..writes).fold(Commit::new(), |commit, write| {
            let (key, value) = record(n * writes + write);
            commit.absent(key.clone()).put(key, value)
        });
        let bytes = vec![1; commit.bytes()];
        let begun = Instant::now();
        runtime.block_on(store.commit(commit)).unwrap();
        commits.push(begun.elapsed().as_secs_f64() * 1e6);
        let begun = Instant::now();
        std::io::Write::write_all(&mut plain, &bytes).unwrap();
        plain.sync_data().unwrap();
        appends.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    println!(
        "a commit like a launch of {what} ({writes} writes): {:.0} µs; a bare append of its size: {:.0} µs",
        median(commits),
        median(appends)
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn record(n: u64) -> (Key, Vec<u8>) {
    // Ids are random in practice; a multiplicative hash spreads these.
    let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (Key::new(format!("us-east-1/instance/i-{id:017x}")).unwrap(), vec![b'x'; RECORD_BYTES])
}

fn commits_per_second(path: &Path, writers: u64) -> f64 {
    let store = Arc::new(Embedded::open(path, Options::default()).unwrap());
    let runtime = runtime();
    let begun = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = Arc::clone(&store);
            runtime.spawn(async move {
                let mut done = 0_u64;
                while begun.elapsed() < WINDOW {
                    let (key, value) = record(writer << 32 | done);
                    store.commit(Commit::new().absent(key.clone()).put(key, value)).await.unwrap();
                    done += 1;
                }
                done
            })
        })
        .collect();
    let done: u64 = tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).sum();
    done as f64 / begun.elapsed().as_secs_f64()
}

fn opening(path: &PathBuf) {
    let runtime = runtime();
    let begun = Instant::now();
    {
        let store = Embedded::open(path, Options::default()).unwrap();
        for start in (0..RECORDS).step_by(1000) {
            let commit =
                (start..start + 1000).map(record).fold(Commit::new(), |c, (key, value)| c.put(key, value));
            runtime.block_on(store.commit(commit)).unwrap();
        }
    }
    println!("loading {RECORDS} records by 1000: {:.1} s", begun.elapsed().as_secs_f64());
    let mut opened = Vec::new();
    for _ in 0..RUNS {
        kill_a_writer(path);
        let begun = Instant::now();
        let store = Embedded::open(path, Options::default()).unwrap();
        let scan = runtime.block_on(store.scan("none/")).unwrap();
        opened.push(begun.elapsed().as_secs_f64() * 1000.0);
        assert!(scan.revision > RECORDS / 1000);
    }
    let size = std::fs::metadata(path).unwrap().len() >> 20;
    println!("open after a kill, {RECORDS} records, {size} MiB: {:.1} ms", median(opened));

    let store = Embedded::open(path, Options::default()).unwrap();
    let gets = 100_000;
    let begun = Instant::now();
    for n in 0..gets {
        let (key, _) = record(n * 7919 % RECORDS);
        assert!(runtime.block_on(store.get(&key)).unwrap().is_some());
    }
    println!("get: {:.1} µs", begun.elapsed().as_secs_f64() * 1e6 / gets as f64);
    let begun = Instant::now();
    let scan = runtime.block_on(store.scan("")).unwrap();
    println!("scan of all {}: {:.2} s", scan.entries.len(), begun.elapsed().as_secs_f64());
}

/// Until it has acknowledged some commits.
fn kill_a_writer(path: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("write-until-killed")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..20 {
        lines.next().unwrap().unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn write_until_killed(path: &Path) {
    let store = Embedded::open(path, Options::default()).unwrap();
    let runtime = runtime();
    for n in 0.. {
        let (key, value) = record(n % RECORDS);
        let revision = runtime.block_on(store.commit(Commit::new().put(key, value))).unwrap();
        println!("{revision}");
    }
}
