//! The embedded store's file: its mode, its lock, its format, its log across restarts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use redb::ReadableDatabase;
use store::{Commit, Embedded, FORMAT, OpenError, Options, Store, WatchError, Window};

use crate::key;

fn open(path: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(path, Options::default())
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open(&path).unwrap();
    store.commit(Commit::new().put(key("a"), "1").put(key("b"), "2")).await.unwrap();
    store.commit(Commit::new().delete(key("a"))).await.unwrap();
    let before = store.scan("").await.unwrap();
    drop(store);

    let store = open(&path).unwrap();
    assert_eq!(store.scan("").await.unwrap(), before);
    assert_eq!(before.revision, 2);
    let mut watch = store.watch(0).await.unwrap();
    assert_eq!(watch.next().await.unwrap().changes.len(), 2);
    assert_eq!(watch.next().await.unwrap().revision, 2);
    assert_eq!(store.commit(Commit::new().put(key("c"), "3")).await.unwrap(), 3);
    assert_eq!(watch.next().await.unwrap().revision, 3, "from the disk's log into the live tail");
}

#[tokio::test]
async fn the_log_is_trimmed_on_disk_by_events_and_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for (name, log, oldest) in [
        ("events", Window { events: 10, bytes: 1 << 20 }, 41),
        // An event of this test is 4 (count) + 1 + 2 + 1 (key) + 4 + 100 (value) = 112 bytes.
        ("bytes", Window { events: 1000, bytes: 560 }, 46),
    ] {
        let path = dir.path().join(name);
        let options = Options { log, ..Options::default() };
        let store = Embedded::open(&path, options).unwrap();
        for _ in 0..50 {
            store.commit(Commit::new().put(key("k"), vec![0; 100])).await.unwrap();
        }
        drop(store);
        // A new process has no tail in memory: only the disk's log counts.
        let store = Embedded::open(&path, options).unwrap();
        let refused = store.watch(0).await.err();
        assert!(
            matches!(refused, Some(WatchError::Compacted { oldest: at }) if at == oldest),
            "{name}: {refused:?}"
        );
        let mut watch = store.watch(oldest - 1).await.unwrap();
        assert_eq!(watch.next().await.unwrap().revision, oldest);
    }
}

#[tokio::test]
async fn a_watch_ends_when_the_store_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store")).unwrap();
    let mut watch = store.watch(0).await.unwrap();
    drop(store);
    assert!(matches!(watch.next().await, Err(WatchError::Closed)));
    open(&dir.path().join("store")).expect("a watch that is still held does not hold the file");
}

#[test]
fn the_file_is_private_even_if_it_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    drop(open(&path).unwrap());
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&path).unwrap());
    assert_eq!(mode(), 0o600);
}

#[test]
fn what_a_killed_creation_left_is_removed_and_an_empty_file_is_not_taken_for_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    fs::write(dir.path().join("store.new-0123456789abcdef"), "half").unwrap();
    fs::write(dir.path().join("store.other"), "not ours").unwrap();
    drop(open(&path).unwrap());
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["store", "store.other"]);
    fs::write(dir.path().join("empty"), "").unwrap();
    let error = open(&dir.path().join("empty")).err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
}

#[test]
fn of_many_that_open_a_new_store_at_once_one_has_it() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let opened: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..4).map(|_| scope.spawn(|| open(&path))).collect();
            tries.into_iter().map(|attempt| attempt.join().unwrap()).collect()
        });
        let (have, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
        assert_eq!(have.len(), 1);
        for refusal in refused {
            let error = refusal.err().unwrap();
            assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
        }
    }
}

#[test]
fn a_file_that_is_open_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let held = open(&path).unwrap();
    let error = open(&path).err().unwrap();
    assert!(matches!(&error, OpenError::InUse { path: at } if *at == path), "{error:?}");
    assert_eq!(error.to_string(), format!("{} is in use by another process", path.display()));
    drop(held);
    open(&path).unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(open(&path).unwrap());
    set_meta(&path, "format", FORMAT + 1);
    for _ in 0..2 {
        let error = open(&path).err().unwrap();
        assert!(matches!(error, OpenError::NewerFormat { found, .. } if found == FORMAT + 1), "{error:?}");
    }
    set_meta(&path, "format", FORMAT);
    open(&path).unwrap();
}

/// As the program before the journal left it.
#[tokio::test]
async fn a_store_without_a_journal_opens_as_it_is_and_has_one_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = open(&path).unwrap();
    for n in 1..=3 {
        store.commit(Commit::new().put(key(format!("k/{n}")), "v")).await.unwrap();
    }
    let before = store.scan("").await.unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("store.journal")).unwrap();
    {
        let database = redb::Database::open(&path).unwrap();
        let txn = database.begin_write().unwrap();
        let mut meta = txn.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap();
        meta.insert("format", 1).unwrap();
        meta.remove("id").unwrap().unwrap();
        drop(meta);
        txn.commit().unwrap();
    }
    let store = open(&path).unwrap();
    assert_eq!(store.scan("").await.unwrap(), before);
    let mut watch = store.watch(0).await.unwrap();
    assert_eq!(watch.next().await.unwrap().revision, 1);
    assert_eq!(store.commit(Commit::new().put(key("k/4"), "v")).await.unwrap(), 4);
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(store.scan("").await.unwrap().revision, 4);
    drop(store);
    // A program that knows of no journal must not open it any more.
    let database = redb::Database::open(&path).unwrap();
    let txn = database.begin_read().unwrap();
    let meta = txn.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap();
    assert_eq!(meta.get("format").unwrap().unwrap().value(), FORMAT);
}

#[tokio::test]
async fn closing_leaves_one_spare_segment_and_a_file_that_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let options = Options { segment_bytes: 64 << 10, ..Options::default() };
    let store = Embedded::open(&path, options).unwrap();
    for n in 0..100 {
        store.commit(Commit::new().put(key(format!("k/{n}")), vec![0; 3000])).await.unwrap();
    }
    let before = store.scan("").await.unwrap();
    drop(store);
    let journal = dir.path().join("store.journal");
    assert_eq!(fs::metadata(&journal).unwrap().permissions().mode() & 0o777, 0o700);
    let names: Vec<_> = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].file_name().to_str().unwrap().starts_with("spare-"), "{names:?}");
    assert_eq!(names[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_dir_all(&journal).unwrap();
    assert_eq!(open(&path).unwrap().scan("").await.unwrap(), before);
}

fn set_meta(path: &Path, name: &str, value: u64) {
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap().insert(name, value).unwrap();
    txn.commit().unwrap();
}

#[test]
fn a_file_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text");
    fs::write(&path, "not a database at all, only text ".repeat(1000)).unwrap();
    let error = open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");

    let path = dir.path().join("other");
    let database = redb::Database::create(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap().insert(1, 1).unwrap();
    txn.commit().unwrap();
    drop(database);
    let error = open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");

    let error = open(&dir.path().join("no/such/dir")).err().unwrap();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}
