//! What every backend must do, as functions: each takes an empty store that keeps [`WINDOW`] of its log.
//!
//! `run` calls them all, each on a store of its own. A failure panics with what was expected; cases that race print
//! nothing random, their schedule is the runtime's.

// Assertions are what this module is for.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{
    Change, Commit, CommitError, Excess, Invalid, Key, MAX_COMMIT_BYTES, MAX_COMMIT_OPS, OP_OVERHEAD_BYTES,
    Revision, Store, Watch, WatchError, Window,
};

/// The log that a store under test keeps (or, for a backend that is compacted from outside, is compacted to).
pub const WINDOW: Window = Window { events: 256, bytes: 8 << 20 };

/// How long an event that must come may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run<Made>(make: impl Fn() -> Made)
where
    Made: Future<Output = Arc<dyn Store>>,
{
    a_put_is_read_back_with_its_version(make().await).await;
    a_delete_removes_and_a_delete_of_nothing_changes_nothing(make().await).await;
    a_commit_without_writes_only_checks(make().await).await;
    a_stale_compare_conflicts_and_leaves_no_trace(make().await).await;
    absent_means_absent_again_after_a_delete(make().await).await;
    a_key_is_written_once_in_a_commit(make().await).await;
    a_commit_is_bounded_in_operations(make().await).await;
    a_commit_is_bounded_in_bytes(make().await).await;
    a_scan_is_ordered_and_keeps_to_its_prefix(make().await).await;
    a_scan_is_of_one_revision(make().await).await;
    a_launch_of_a_hundred_is_one_commit(make().await).await;
    of_many_claims_on_one_key_exactly_one_wins(make().await).await;
    concurrent_increments_lose_no_update(make().await).await;
    a_writer_reads_its_writes(make().await).await;
    a_watch_replays_and_goes_on_live(make().await).await;
    a_watch_sees_concurrent_commits_in_order_without_a_gap(make().await).await;
    a_watch_that_is_cancelled_loses_nothing(make().await).await;
    a_watch_from_before_the_log_is_refused(make().await).await;
    a_watch_that_lags_behind_the_log_is_told(make().await).await;
    a_watch_from_the_future_is_refused(make().await).await;
}

fn key(name: impl AsRef<str>) -> Key {
    Key::new(name).expect("a valid key")
}

async fn value(store: &dyn Store, name: &str) -> Option<Bytes> {
    store.get(&key(name)).await.unwrap().map(|entry| entry.value)
}

async fn put(store: &dyn Store, name: &str, value: impl Into<Bytes>) -> Revision {
    store.commit(Commit::new().put(key(name), value)).await.unwrap()
}

async fn next(watch: &mut Watch) -> crate::Event {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event in time").unwrap()
}

pub async fn a_put_is_read_back_with_its_version(store: Arc<dyn Store>) {
    assert_eq!(store.get(&key("a")).await.unwrap(), None);
    assert_eq!(put(&*store, "a", "one").await, 1);
    assert_eq!(put(&*store, "b", "").await, 2);
    assert_eq!(put(&*store, "a", "two").await, 3);
    let entry = store.get(&key("a")).await.unwrap().unwrap();
    assert_eq!((entry.value.as_ref(), entry.version), (b"two".as_slice(), 3));
    let entry = store.get(&key("b")).await.unwrap().unwrap();
    assert_eq!((entry.value.as_ref(), entry.version), (b"".as_slice(), 2));
}

pub async fn a_delete_removes_and_a_delete_of_nothing_changes_nothing(store: Arc<dyn Store>) {
    put(&*store, "a", "one").await;
    assert_eq!(store.commit(Commit::new().delete(key("a"))).await.unwrap(), 2);
    assert_eq!(value(&*store, "a").await, None);
    assert_eq!(store.commit(Commit::new().delete(key("a"))).await.unwrap(), 2, "no revision is taken");
    let mixed = Commit::new().delete(key("a")).put(key("b"), "x");
    assert_eq!(store.commit(mixed).await.unwrap(), 3);
    let mut watch = store.watch(2).await.unwrap();
    let event = next(&mut watch).await;
    assert_eq!(*event.changes, [Change { key: key("b"), value: Some(Bytes::from_static(b"x")) }]);
}

pub async fn a_commit_without_writes_only_checks(store: Arc<dyn Store>) {
    assert_eq!(store.commit(Commit::new()).await.unwrap(), 0);
    put(&*store, "a", "one").await;
    let check = Commit::new().compare(key("a"), 1).absent(key("b"));
    assert_eq!(store.commit(check).await.unwrap(), 1);
    let stale = store.commit(Commit::new().absent(key("a"))).await;
    assert!(matches!(stale, Err(CommitError::Conflict { key: at }) if at == key("a")));
}

pub async fn a_stale_compare_conflicts_and_leaves_no_trace(store: Arc<dyn Store>) {
    put(&*store, "a", "one").await;
    put(&*store, "b", "one").await;
    let stale =
        Commit::new().compare(key("b"), 2).compare(key("a"), 2).put(key("b"), "two").put(key("c"), "new");
    let answer = store.commit(stale).await;
    assert!(matches!(answer, Err(CommitError::Conflict { key: at }) if at == key("a")));
    let scan = store.scan("").await.unwrap();
    let names: Vec<_> = scan.entries.iter().map(|(key, entry)| (key.as_str(), entry.version)).collect();
    assert_eq!(names, [("a", 1), ("b", 2)]);
    assert_eq!(scan.revision, 2);
}

pub async fn absent_means_absent_again_after_a_delete(store: Arc<dyn Store>) {
    let claim = || Commit::new().absent(key("claim")).put(key("claim"), "mine");
    assert_eq!(store.commit(claim()).await.unwrap(), 1);
    assert!(matches!(store.commit(claim()).await, Err(CommitError::Conflict { .. })));
    store.commit(Commit::new().compare(key("claim"), 1).delete(key("claim"))).await.unwrap();
    assert_eq!(store.commit(claim()).await.unwrap(), 3);
    let old = store.commit(Commit::new().compare(key("claim"), 1)).await;
    assert!(matches!(old, Err(CommitError::Conflict { .. })), "a new life has a new version");
}

pub async fn a_key_is_written_once_in_a_commit(store: Arc<dyn Store>) {
    let twice = Commit::new().put(key("a"), "1").delete(key("a"));
    let answer = store.commit(twice).await;
    assert!(matches!(answer, Err(CommitError::Invalid(Invalid::WrittenTwice { key: at })) if at == key("a")));
    assert_eq!(value(&*store, "a").await, None);
}

pub async fn a_commit_is_bounded_in_operations(store: Arc<dyn Store>) {
    let many = |count| (0..count).fold(Commit::new(), |commit, n| commit.put(key(format!("k/{n}")), "v"));
    let refused = store.commit(many(MAX_COMMIT_OPS + 1)).await;
    assert!(matches!(refused, Err(CommitError::TooLarge(Excess::Ops { ops })) if ops == MAX_COMMIT_OPS + 1));
    assert_eq!(store.scan("").await.unwrap().entries.len(), 0);
    assert_eq!(store.commit(many(MAX_COMMIT_OPS)).await.unwrap(), 1);
    assert_eq!(store.scan("k/").await.unwrap().entries.len(), MAX_COMMIT_OPS);
}

pub async fn a_commit_is_bounded_in_bytes(store: Arc<dyn Store>) {
    let room = MAX_COMMIT_BYTES - OP_OVERHEAD_BYTES - "k".len();
    let refused = store.commit(Commit::new().put(key("k"), vec![7; room + 1])).await;
    assert!(
        matches!(refused, Err(CommitError::TooLarge(Excess::Bytes { bytes })) if bytes == MAX_COMMIT_BYTES + 1)
    );
    assert_eq!(value(&*store, "k").await, None);
    assert_eq!(put(&*store, "k", vec![7; room]).await, 1);
    assert_eq!(value(&*store, "k").await.unwrap(), vec![7; room]);
}

pub async fn a_scan_is_ordered_and_keeps_to_its_prefix(store: Arc<dyn Store>) {
    for name in
        ["us-east-1/vpc/b", "us-east-1/vpc/a", "us-east-1/vpce/c", "us-east-1/vpc/ü", "us-east-1/subnet/a"]
    {
        put(&*store, name, name.to_owned()).await;
    }
    let names = async |prefix: &str| {
        let scan = store.scan(prefix).await.unwrap();
        assert_eq!(scan.revision, 5);
        scan.entries.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("us-east-1/vpc/").await, ["us-east-1/vpc/a", "us-east-1/vpc/b", "us-east-1/vpc/ü"]);
    assert_eq!(names("us-east-1/vpc").await.len(), 4);
    assert_eq!(names("").await.len(), 5);
    assert_eq!(names("us-west").await.len(), 0);
}

/// Every commit writes the same number to all keys; a scan that mixed two revisions would show two numbers.
pub async fn a_scan_is_of_one_revision(store: Arc<dyn Store>) {
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for n in 1..=100 {
                let all = (0..20).fold(Commit::new(), |c, k| c.put(key(format!("k/{k:02}")), n.to_string()));
                assert_eq!(store.commit(all).await.unwrap(), n);
            }
        }
    });
    loop {
        let done = writer.is_finished();
        let scan = store.scan("k/").await.unwrap();
        for (key, entry) in &scan.entries {
            assert_eq!(entry.value, scan.revision.to_string(), "{key}");
            assert_eq!(entry.version, scan.revision, "{key}");
        }
        assert!(scan.entries.is_empty() || scan.entries.len() == 20);
        if done {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

/// As `RunInstances` of 100 writes it: records of a few hundred bytes, a claim for each that must be unique, and the
/// versions of what was read.
pub async fn a_launch_of_a_hundred_is_one_commit(store: Arc<dyn Store>) {
    let nouns = ["instance", "eni", "volume", "attachment", "address", "desired"];
    let mut launch = Commit::new();
    for fact in 0..20 {
        let name = format!("us-east-1/host/{fact}");
        let version = put(&*store, &name, "capacity").await;
        launch = launch.compare(key(&name), version);
    }
    for n in 0..100 {
        for noun in nouns {
            let record = key(format!("us-east-1/{noun}/{n:017x}"));
            launch = launch.absent(record.clone()).put(record, vec![b'r'; 700]);
        }
        for claim in ["ip", "mac"] {
            let claim = key(format!("us-east-1/claim/{claim}/{n}"));
            launch = launch.absent(claim.clone()).put(claim, format!("eni-{n:017x}"));
        }
    }
    assert!(launch.ops() >= 1500, "{} operations", launch.ops());
    let taken = launch.clone();
    assert_eq!(store.commit(launch).await.unwrap(), 21);
    assert_eq!(store.scan("us-east-1/instance/").await.unwrap().entries.len(), 100);
    assert_eq!(store.scan("us-east-1/claim/").await.unwrap().entries.len(), 200);
    let mut watch = store.watch(20).await.unwrap();
    assert_eq!(next(&mut watch).await.changes.len(), 800);
    assert!(matches!(store.commit(taken).await, Err(CommitError::Conflict { .. })));
}

pub async fn of_many_claims_on_one_key_exactly_one_wins(store: Arc<dyn Store>) {
    let claims: Vec<_> = (0..32)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let claim = Commit::new().absent(key("claim")).put(key("claim"), n.to_string());
                (n, store.commit(claim).await)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for claim in claims {
        match claim.await.unwrap() {
            (n, Ok(revision)) => winners.push((n, revision)),
            (_, Err(CommitError::Conflict { key: at })) => assert_eq!(at, key("claim")),
            (_, Err(other)) => panic!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(winners[0].1, 1);
    assert_eq!(value(&*store, "claim").await.unwrap(), winners[0].0.to_string());
}

pub async fn concurrent_increments_lose_no_update(store: Arc<dyn Store>) {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut done = 0;
                while done < EACH {
                    let entry = store.get(&key("counter")).await.unwrap();
                    let (count, version) = entry.map_or((0, 0), |entry| {
                        (std::str::from_utf8(&entry.value).unwrap().parse::<usize>().unwrap(), entry.version)
                    });
                    let next = (count + 1).to_string();
                    match store
                        .commit(Commit::new().compare(key("counter"), version).put(key("counter"), next))
                        .await
                    {
                        Ok(_) => done += 1,
                        Err(CommitError::Conflict { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let entry = store.get(&key("counter")).await.unwrap().unwrap();
    assert_eq!(entry.value, (WRITERS * EACH).to_string());
    assert_eq!(entry.version, (WRITERS * EACH) as Revision, "a conflict takes no revision");
}

pub async fn a_writer_reads_its_writes(store: Arc<dyn Store>) {
    let writers: Vec<_> = (0..8)
        .map(|w| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let name = format!("w/{w}");
                for n in 0..25 {
                    let revision = put(&*store, &name, n.to_string()).await;
                    let entry = store.get(&key(&name)).await.unwrap().unwrap();
                    assert_eq!((entry.value, entry.version), (Bytes::from(n.to_string()), revision));
                    assert!(store.scan(&name).await.unwrap().revision >= revision);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

pub async fn a_watch_replays_and_goes_on_live(store: Arc<dyn Store>) {
    put(&*store, "a", "1").await;
    store.commit(Commit::new().put(key("b"), "2").delete(key("a"))).await.unwrap();
    let mut watch = store.watch(0).await.unwrap();
    let mut late = store.watch(1).await.unwrap();
    let first = next(&mut watch).await;
    assert_eq!(first.revision, 1);
    assert_eq!(*first.changes, [Change { key: key("a"), value: Some(Bytes::from_static(b"1")) }]);
    for watch in [&mut watch, &mut late] {
        let second = next(watch).await;
        assert_eq!(second.revision, 2);
        let mut changes = second.changes.to_vec();
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        let put = Change { key: key("b"), value: Some(Bytes::from_static(b"2")) };
        assert_eq!(changes, [Change { key: key("a"), value: None }, put]);
    }
    let live = tokio::spawn(async move { next(&mut watch).await });
    put(&*store, "c", "3").await;
    assert_eq!(live.await.unwrap().revision, 3);
    assert_eq!(next(&mut late).await.revision, 3);
}

/// The state rebuilt from events equals the state scanned.
pub async fn a_watch_sees_concurrent_commits_in_order_without_a_gap(store: Arc<dyn Store>) {
    const WRITERS: u64 = 8;
    const EACH: u64 = 30;
    let mut watch = store.watch(0).await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|w| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 0..EACH {
                    let commit =
                        Commit::new().put(key(format!("k/{}", (w * 7 + n * 3) % 11)), format!("{w}.{n}"));
                    let gone = key(format!("gone/{}", (w + n) % 5));
                    let commit = if n % 3 == 0 { commit.delete(gone) } else { commit.put(gone, "x") };
                    store.commit(commit).await.unwrap();
                }
            })
        })
        .collect();
    let mut rebuilt = BTreeMap::new();
    for revision in 1..=WRITERS * EACH {
        let event = next(&mut watch).await;
        assert_eq!(event.revision, revision);
        for change in event.changes.iter() {
            match &change.value {
                Some(value) => drop(rebuilt.insert(change.key.clone(), (value.clone(), revision))),
                None => drop(rebuilt.remove(&change.key)),
            }
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let scan = store.scan("").await.unwrap();
    assert_eq!(scan.revision, WRITERS * EACH);
    let scanned: BTreeMap<_, _> =
        scan.entries.into_iter().map(|(key, entry)| (key, (entry.value, entry.version))).collect();
    assert_eq!(rebuilt, scanned);
}

pub async fn a_watch_that_is_cancelled_loses_nothing(store: Arc<dyn Store>) {
    let mut watch = store.watch(0).await.unwrap();
    for revision in 1..=20 {
        // Polled once while there is nothing, then dropped.
        let idle = tokio::time::timeout(Duration::ZERO, watch.next()).await;
        assert!(idle.is_err(), "nothing was committed");
        put(&*store, "a", "x").await;
        assert_eq!(next(&mut watch).await.revision, revision);
    }
}

/// Overwrites one key until the log has turned over so many times; by several writers, which is faster.
async fn fill_the_log(store: &Arc<dyn Store>, times: u64) {
    const WRITERS: u64 = 16;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for n in 0..WINDOW.events * times / WRITERS {
                    put(&*store, "filler", n.to_string()).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

pub async fn a_watch_from_before_the_log_is_refused(store: Arc<dyn Store>) {
    fill_the_log(&store, 2).await;
    let head = WINDOW.events * 2;
    let refused = store.watch(0).await.err();
    let Some(WatchError::Compacted { oldest }) = refused else { panic!("{refused:?}") };
    assert!(oldest > 1 && oldest <= head + 1, "{oldest}");
    // From the oldest event that is kept, nothing is missing.
    let mut watch = store.watch(oldest - 1).await.unwrap();
    for revision in oldest..=head {
        assert_eq!(next(&mut watch).await.revision, revision);
    }
}

pub async fn a_watch_that_lags_behind_the_log_is_told(store: Arc<dyn Store>) {
    put(&*store, "a", "1").await;
    let mut watch = store.watch(0).await.unwrap();
    fill_the_log(&store, 3).await;
    let mut expected = 1;
    // A backend may have some events at hand; they come in order, and then the gap is an error.
    let error = loop {
        match tokio::time::timeout(PATIENCE, watch.next()).await.expect("an answer in time") {
            Ok(event) => assert_eq!(event.revision, expected),
            Err(error) => break error,
        }
        expected += 1;
        assert!(expected < WINDOW.events * 3, "the log was not trimmed");
    };
    assert!(matches!(error, WatchError::Compacted { oldest } if oldest > expected), "{error:?}");
}

pub async fn a_watch_from_the_future_is_refused(store: Arc<dyn Store>) {
    put(&*store, "a", "1").await;
    assert!(matches!(store.watch(2).await.err(), Some(WatchError::Ahead { head: 1 })));
}
