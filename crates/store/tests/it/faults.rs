//! Failing writes and syncs, and a full disk: the answer says what became of the commit, and the store goes on.

use store::{Commit, CommitError, Embedded, Options, Outcome, Scan, Store};

use crate::disk::Disk;
use crate::{Dice, journal_alone, key};

fn change(n: u64) -> Commit {
    // Large enough for a few pages; all three keys agree.
    ["a", "b", "c"].iter().fold(Commit::new(), |commit, part| commit.put(key(part), vec![n as u8; 3000]))
}

fn number(scan: &Scan, context: &str) -> u8 {
    assert_eq!(scan.entries.len(), 3, "{context}");
    let first = &scan.entries[0].1;
    for (key, entry) in &scan.entries {
        assert!(entry.value.iter().all(|byte| *byte == first.value[0]), "{context}: {key} is torn");
        assert_eq!((entry.value[0], entry.version), (first.value[0], first.version), "{context}: {key}");
    }
    first.value[0]
}

async fn shown(store: &Embedded, context: &str) -> u8 {
    number(&store.scan("").await.unwrap(), context)
}

async fn begun() -> (Disk, Embedded) {
    let disk = Disk::default();
    let store = disk.store(journal_alone()).unwrap();
    for n in 1..=3 {
        store.commit(change(n)).await.unwrap();
    }
    (disk, store)
}

/// Every operation that a commit makes on the disk fails once, and for a while.
#[tokio::test]
async fn wherever_a_commit_fails_its_answer_is_true_and_the_next_one_works() {
    let mut dice = Dice::seeded();
    println!("seed {}", dice.0);
    let mut outcomes = std::collections::BTreeMap::new();
    for count in [1, 2, 5, 20, 1000] {
        for at in 0.. {
            let context = format!("{count} operations fail from the {at}th, seed {}", dice.0);
            let (disk, store) = begun().await;
            let mut watch = store.watch(3).await.unwrap();
            let ops = disk.ops();
            disk.fail(at, count);
            let answer = store.commit(change(4)).await;
            let reached = disk.ops() - ops > at;
            disk.heal();
            let fourth = match &answer {
                Ok(4) => Some(true),
                Err(CommitError::Unavailable { outcome: Outcome::NotApplied, .. }) => Some(false),
                Err(CommitError::Unavailable { outcome: Outcome::Unknown, .. }) => None,
                other => panic!("{context}: {other:?}"),
            };
            assert!(count > 1 || fourth.is_some(), "{context}: one failure leaves no doubt");
            *outcomes.entry(fourth).or_insert(0) += 1;
            if let Some(fourth) = fourth {
                assert_eq!(shown(&store, &context).await, 3 + u8::from(fourth), "{context}");
                let found = disk.after_kill().store(journal_alone()).unwrap();
                assert_eq!(shown(&found, &context).await, 3 + u8::from(fourth), "{context}, after a kill");
                drop(found);
                let found = disk.after_power_cut(&mut dice).store(journal_alone()).unwrap();
                assert_eq!(
                    shown(&found, &context).await,
                    3 + u8::from(fourth),
                    "{context}, after a power cut"
                );
            }
            let revision =
                store.commit(change(5)).await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
            assert_eq!(shown(&store, &context).await, 5, "{context}");
            if let Some(fourth) = fourth {
                assert_eq!(revision, 4 + u64::from(fourth), "{context}");
            }
            for expected in 4..=revision {
                assert_eq!(watch.next().await.unwrap().revision, expected, "{context}");
            }
            let found = disk.after_power_cut(&mut dice).store(journal_alone()).unwrap();
            assert_eq!(shown(&found, &context).await, 5, "{context}, after a power cut");
            if !reached {
                assert!(answer.is_ok());
                break;
            }
        }
    }
    println!("{outcomes:?}");
    assert_eq!(outcomes.len(), 3, "not every kind of outcome was met: {outcomes:?}");
}

#[tokio::test]
async fn a_full_disk_refuses_the_whole_commit_and_the_store_goes_on_once_there_is_room() {
    let disk = Disk::default();
    let store = disk.store(Options { segment_bytes: 256 << 10, ..Options::default() }).unwrap();
    let fill =
        |n: u64| Commit::new().put(key(format!("a/{n}")), vec![7; 20_000]).put(key(format!("b/{n}")), "");
    let mut watch = store.watch(0).await.unwrap();
    let mut accepted = 0;
    for room in [200, 500] {
        disk.leave_room_for(Some(room));
        let refused = loop {
            match store.commit(fill(accepted)).await {
                Ok(_) => accepted += 1,
                Err(error) => break error,
            }
            assert!(accepted < 10_000, "the disk never filled");
        };
        assert!(matches!(refused, CommitError::Full), "{refused:?}");
        for _ in 0..3 {
            // A checkpoint that ends meanwhile gives the journal's segments back: then there is room for some more.
            match store.commit(fill(accepted)).await {
                Ok(_) => accepted += 1,
                Err(error) => assert!(matches!(error, CommitError::Full), "{error:?}"),
            }
            let scan = store.scan("").await.unwrap();
            assert_eq!((scan.entries.len() as u64, scan.revision), (2 * accepted, accepted));
        }
    }
    assert!(accepted > 10);
    disk.leave_room_for(None);
    assert_eq!(store.commit(fill(accepted)).await.unwrap(), accepted + 1);
    for revision in 1..=accepted + 1 {
        assert_eq!(watch.next().await.unwrap().revision, revision);
    }
}

#[tokio::test]
async fn while_the_disk_takes_nothing_what_was_acknowledged_is_answered_and_then_all_is_well() {
    let (disk, store) = begun().await;
    disk.fail(0, u64::MAX);
    for _ in 0..3 {
        let lost = store.commit(change(4)).await;
        let Err(CommitError::Unavailable { outcome, .. }) = &lost else { panic!("{lost:?}") };
        assert_eq!(*outcome, Outcome::NotApplied, "not even written");
        assert_eq!(shown(&store, "while the disk fails").await, 3);
    }
    disk.heal();
    assert_eq!(store.commit(change(5)).await.unwrap(), 4);
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().version, 4);
}

/// A process that is killed after a failed sync leaves in the kernel's memory what the disk may not have: what the next
/// one shows must be on the disk as well.
#[tokio::test]
async fn what_is_shown_after_a_kill_survives_a_power_cut() {
    let mut dice = Dice::seeded();
    println!("seed {}", dice.0);
    let mut shown_as = std::collections::BTreeSet::new();
    for at in 0..8 {
        for round in 0..20 {
            let context = format!("all fails from the {at}th operation, round {round}, seed {}", dice.0);
            let (disk, store) = begun().await;
            disk.fail(at, u64::MAX);
            drop(store.commit(change(4)).await);
            let found = disk.after_kill();
            let store = found.store(journal_alone()).unwrap_or_else(|error| panic!("{context}: {error:?}"));
            let before = shown(&store, &context).await;
            shown_as.insert(before);
            let cut = found.after_power_cut(&mut dice);
            let store = cut.store(journal_alone()).unwrap_or_else(|error| panic!("{context}: {error:?}"));
            assert_eq!(shown(&store, &context).await, before, "{context}");
        }
    }
    assert_eq!(shown_as.len(), 2, "either was met: {shown_as:?}");
}

/// Every operation of bringing the journal into the database fails once, and for a while.
#[tokio::test]
async fn wherever_a_checkpoint_fails_the_journal_still_has_everything() {
    let mut dice = Dice::seeded();
    println!("seed {}", dice.0);
    for count in [1, 3, u64::MAX] {
        for at in 0.. {
            let context = format!("{count} operations fail from the {at}th, seed {}", dice.0);
            let (disk, store) = begun().await;
            let ops = disk.ops();
            disk.fail(at, count);
            // Closing it is a checkpoint.
            drop(store);
            let reached = disk.ops() - ops > at;
            disk.heal();
            for found in [disk.after_power_cut(&mut dice), disk.after_kill()] {
                let store =
                    found.store(journal_alone()).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                assert_eq!(shown(&store, &context).await, 3, "{context}");
                assert_eq!(store.commit(change(4)).await.unwrap(), 4, "{context}");
                let mut watch = store.watch(0).await.unwrap();
                for revision in 1..=4 {
                    assert_eq!(watch.next().await.unwrap().revision, revision, "{context}");
                }
            }
            if !reached {
                break;
            }
        }
    }
}
