//! kill -9 in a write loop, 1,000 times: nothing acknowledged is lost, nothing half-applied is seen.
//!
//! The child (this test binary again) runs several writers; each commit writes three keys that must agree, or as many as a
//! launch of a hundred does, and its number and revision are printed once it is acknowledged. The parent kills it at a random instant, opens the file
//! and holds it against what was printed. Directories are worked on in parallel and begun anew every few rounds, so
//! creation is killed as well.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use store::{Commit, Embedded, Options, Revision, Scan, Store, Window};

use crate::{Dice, key};

const ROUNDS: u64 = 1000;
const LANES: u64 = 4;
/// Rounds on one file before a new one.
const LIFE: u64 = 25;
const WRITERS: u64 = 6;
/// One in so many commits is large.
const LARGE: u64 = 16;
const CHILD: &str = "NUBE_STORE_CRASH_CHILD";

fn options() -> Options {
    // A small window, so that trimming is under way when the kill comes.
    let log = Window { events: 64, bytes: 64 << 20 };
    // And segments that are soon full, of commits that are soon in the file.
    let (linger, segment_bytes) = (Duration::from_millis(3), 256 << 10);
    Options { log, linger, segment_bytes, ..Options::default() }
}

fn parts(number: u64) -> usize {
    if number % LARGE == LARGE - 1 { 500 } else { 3 }
}

/// Acknowledged commits by writer and number.
type Acknowledged = BTreeMap<(u64, u64), Revision>;

#[test]
fn a_thousand_kills_lose_nothing_acknowledged_and_show_nothing_by_half() {
    let seed = Dice::seeded().0;
    println!("seed {seed}");
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let acknowledged = &acknowledged;
            scope.spawn(move || {
                let mut dice = Dice(seed.wrapping_add(lane));
                for life in 0..ROUNDS / LANES / LIFE {
                    let dir = tempfile::tempdir().unwrap();
                    let mut history = History::default();
                    for round in 0..LIFE {
                        let context = format!("seed {seed}, lane {lane}, life {life}, round {round}");
                        history.round(&dir.path().join("store"), &mut dice, &context);
                    }
                    acknowledged.fetch_add(history.acknowledged.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let acknowledged = acknowledged.into_inner();
    println!("{acknowledged} commits acknowledged");
    assert!(
        acknowledged > ROUNDS,
        "only {acknowledged} commits were acknowledged: the kills come too early to count"
    );
}

/// What is known of one file.
#[derive(Default)]
struct History {
    acknowledged: Acknowledged,
    revision: Revision,
}

impl History {
    fn round(&mut self, path: &Path, dice: &mut Dice, context: &str) {
        let child = Kill::start(path);
        // Either after some acknowledgements, or at an instant that may fall into the opening.
        let fresh = if dice.below(4) > 0 {
            child.after(1 + dice.below(60), Duration::from_micros(dice.below(2000)))
        } else {
            child.after(0, Duration::from_micros(dice.below(15_000)))
        };
        self.acknowledged.extend(fresh);
        let store = Embedded::open(path, options()).unwrap_or_else(|error| panic!("{context}: {error:?}"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let scan = runtime.block_on(store.scan("")).unwrap();
        self.check(&scan, context);
        runtime.block_on(check_log(&store, &scan, context));
    }

    fn check(&mut self, scan: &Scan, context: &str) {
        assert!(scan.revision >= self.revision, "{context}: the revision went back");
        self.revision = scan.revision;
        let mut found: BTreeMap<(u64, u64), Vec<Revision>> = BTreeMap::new();
        for (key, entry) in &scan.entries {
            let [_, writer, number] = key.as_str().split('/').collect::<Vec<_>>()[..] else {
                panic!("{key}")
            };
            let id = (writer.parse().unwrap(), number.parse().unwrap());
            assert_eq!(entry.value, format!("{}.{}", id.0, id.1), "{context}: {key}");
            found.entry(id).or_default().push(entry.version);
        }
        for (id, versions) in &found {
            assert_eq!(versions.len(), parts(id.1), "{context}: {id:?} is there by half");
            assert!(versions.iter().all(|version| *version == versions[0]), "{context}: {id:?} {versions:?}");
        }
        for (id, revision) in &self.acknowledged {
            let there = found.get(id).map(|versions| versions[0]);
            assert_eq!(there, Some(*revision), "{context}: {id:?} was acknowledged");
        }
        assert_eq!(found.len() as u64, scan.revision, "{context}: each commit is one revision");
    }
}

/// The log ends where the state does, and says of each commit what the state says.
async fn check_log(store: &Embedded, scan: &Scan, context: &str) {
    let oldest = (scan.revision + 1).saturating_sub(options().log.events).max(1);
    let mut watch = store.watch(oldest - 1).await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let state: BTreeMap<_, _> = scan.entries.iter().map(|(key, entry)| (key, entry)).collect();
    for revision in oldest..=scan.revision {
        let event = watch.next().await.unwrap();
        assert_eq!(event.revision, revision, "{context}");
        let number = event.changes[0].key.as_str().rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(event.changes.len(), parts(number), "{context}");
        for change in event.changes.iter() {
            assert_eq!(state[&change.key].version, revision, "{context}");
            assert_eq!(Some(&state[&change.key].value), change.value.as_ref(), "{context}");
        }
    }
}

struct Kill {
    child: Child,
    lines: mpsc::Receiver<((u64, u64), Revision)>,
}

impl Kill {
    fn start(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crash::child_of_the_crash_test",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                // A line cut by the kill was not an acknowledgement that anyone read.
                let line = line.unwrap();
                let Some(["ack", writer, number, revision, "."]) = words(&line) else { continue };
                let id = (writer.parse().unwrap(), number.parse().unwrap());
                if send.send((id, revision.parse().unwrap())).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// Kills once `count` commits were acknowledged and `then` has passed; answers all that were.
    fn after(mut self, count: u64, then: Duration) -> Acknowledged {
        let mut acknowledged = Acknowledged::new();
        while (acknowledged.len() as u64) < count {
            let (id, revision) = self.lines.recv_timeout(Duration::from_mins(1)).expect("the child to write");
            acknowledged.insert(id, revision);
        }
        let end = Instant::now() + then;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.lines.recv_timeout(left) {
                Ok((id, revision)) => drop(acknowledged.insert(id, revision)),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.code().is_none(), "the child ended by itself: {status}");
        acknowledged.extend(self.lines.iter());
        acknowledged
    }
}

fn words(line: &str) -> Option<[&str; 5]> {
    line.split(' ').collect::<Vec<_>>().try_into().ok()
}

#[test]
#[ignore = "the process that the crash test kills"]
fn child_of_the_crash_test() {
    let path = PathBuf::from(std::env::var_os(CHILD).expect("to be started by the crash test"));
    let store = Arc::new(Embedded::open(path, options()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let begun = store.scan("").await.unwrap().revision;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    // Numbers never come twice: no round starts at the revision of another.
                    for number in begun * 1_000_000.. {
                        let commit = (0..parts(number)).fold(Commit::new(), |commit, part| {
                            let key = key(format!("{part}/{writer}/{number}"));
                            commit.absent(key.clone()).put(key, format!("{writer}.{number}"))
                        });
                        let revision = store.commit(commit).await.unwrap();
                        let line = format!("ack {writer} {number} {revision} .\n");
                        std::io::stdout().write_all(line.as_bytes()).unwrap();
                        std::io::stdout().flush().unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}
