//! Failing writes and syncs, and a full disk: the answer says what became of the commit, and the store goes on.

use store::{Commit, CommitError, Embedded, Outcome, Scan, Store};

use crate::disk::Disk;
use crate::{Dice, key};

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
    let store = disk.store().unwrap();
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
                // A file that could not be reopened is opened by the next commit.
                let live = store.scan("").await.map(|scan| number(&scan, &context));
                assert!(live.is_err() || live.is_ok_and(|n| n == 3 + u8::from(fourth)), "{context}");
                let found = disk.after_power_cut(&mut dice).store().unwrap();
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
            let found = disk.after_power_cut(&mut dice).store().unwrap();
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
    let store = disk.store().unwrap();
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
            assert!(matches!(store.commit(fill(accepted)).await, Err(CommitError::Full)));
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
async fn while_the_file_cannot_be_opened_nothing_is_answered_and_then_all_is_well() {
    let (disk, store) = begun().await;
    disk.fail(0, u64::MAX);
    let lost = store.commit(change(4)).await;
    assert!(matches!(lost, Err(CommitError::Unavailable { .. })), "{lost:?}");
    let again = store.commit(change(4)).await;
    let Err(CommitError::Unavailable { outcome, .. }) = &again else { panic!("{again:?}") };
    assert_eq!(*outcome, Outcome::NotApplied, "nothing was tried");
    assert!(store.get(&key("a")).await.is_err());
    disk.heal();
    let revision = store.commit(change(5)).await.unwrap();
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().version, revision);
}
