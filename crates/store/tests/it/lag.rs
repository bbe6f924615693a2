//! The database behind the journal: reads and watches are right all the same, and it is never behind by more than allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use store::{Commit, CommitError, Embedded, Key, Options, Outcome, Store, Window};

use crate::disk::Disk;
use crate::{Dice, journal_alone, key};

type Model = BTreeMap<Key, (Vec<u8>, u64)>;

async fn compare(store: &Embedded, model: &Model, head: u64, context: &str) {
    let scan = store.scan("").await.unwrap();
    assert_eq!(scan.revision, head, "{context}");
    let found: Model =
        scan.entries.into_iter().map(|(key, entry)| (key, (entry.value.to_vec(), entry.version))).collect();
    assert_eq!(found, *model, "{context}");
    let scan = store.scan("k/1").await.unwrap();
    let expected: Vec<_> = model.keys().filter(|key| key.as_str().starts_with("k/1")).collect();
    assert_eq!(scan.entries.iter().map(|(key, _)| key).collect::<Vec<_>>(), expected, "{context}");
}

#[tokio::test]
async fn reads_and_watches_are_right_however_far_the_file_is_behind() {
    let seed = Dice::seeded().0;
    println!("seed {seed}");
    for life in 0..20 {
        let mut dice = Dice(seed.wrapping_add(life));
        let mut disk = Disk::default();
        let (mut model, mut head, mut history) = (Model::new(), 0, BTreeMap::new());
        for round in 0..4 {
            let context = format!("seed {seed}, life {life}, round {round}");
            let linger = [0, 1, 3_600_000][dice.below(3) as usize];
            let lag = Window { events: 4 + dice.below(60), bytes: 1 << 20 };
            let options = Options { linger: Duration::from_millis(linger), lag, ..journal_alone() };
            let store = disk.store(options).unwrap();
            compare(&store, &model, head, &context).await;
            for step in 0..100 {
                let name = key(format!("k/{}", dice.below(20)));
                let version = model.get(&name).map_or(0, |(_, version)| *version);
                let commit = match dice.below(4) {
                    0 => Commit::new().compare(name.clone(), version).delete(name.clone()),
                    1 => Commit::new().compare(name.clone(), version + 1).put(name.clone(), "never"),
                    _ => Commit::new().compare(name.clone(), version).put(name.clone(), format!("{round}.{step}")),
                };
                let stale = commit.compares[0].version != version;
                let put = matches!(commit.writes[0], store::Write::Put(..));
                let answer = store.commit(commit).await;
                if stale {
                    assert!(matches!(answer, Err(CommitError::Conflict { .. })), "{context}");
                    continue;
                }
                let changed = put || version != 0;
                head += u64::from(changed);
                assert_eq!(answer.unwrap(), head, "{context}");
                if put {
                    model.insert(name.clone(), (format!("{round}.{step}").into_bytes(), head));
                } else {
                    model.remove(&name);
                }
                if changed {
                    history.insert(head, (name.clone(), put));
                }
                let found = store.get(&name).await.unwrap().map(|entry| (entry.value.to_vec(), entry.version));
                assert_eq!(found.as_ref(), model.get(&name), "{context}");
                if step % 10 == 0 {
                    compare(&store, &model, head, &context).await;
                }
            }
            let from = dice.below(head + 1);
            let mut watch = store.watch(from).await.unwrap();
            for (revision, (name, put)) in history.range(from + 1..) {
                let event = watch.next().await.unwrap();
                assert_eq!(event.revision, *revision, "{context}");
                assert_eq!(event.changes[0].key, *name, "{context}");
                assert_eq!(event.changes[0].value.is_some(), *put, "{context}");
            }
            disk = disk.after_power_cut(&mut dice);
        }
    }
}

#[tokio::test]
async fn a_writer_waits_for_a_database_that_is_too_far_behind_and_is_refused_if_it_fails() {
    let disk = Disk::default();
    let lag = Window { events: 10, bytes: 1 << 20 };
    let store = disk.store(Options { lag, ..journal_alone() }).unwrap();
    let change = |n: u64| Commit::new().put(key(format!("k/{n}")), "v");
    // Far beyond the lag: each time it is reached the database takes all.
    for n in 1..=95 {
        assert_eq!(store.commit(change(n)).await.unwrap(), n);
    }
    disk.fail_the_database(true);
    let mut head = 95;
    let refused = loop {
        match store.commit(change(head + 1)).await {
            Ok(revision) => head = revision,
            Err(error) => break error,
        }
        assert!(head <= 95 + 10, "the lag is not bounded");
    };
    assert!(
        matches!(refused, CommitError::Unavailable { outcome: Outcome::NotApplied, .. }),
        "{refused:?}"
    );
    let again = store.commit(change(0)).await;
    assert!(matches!(again, Err(CommitError::Unavailable { outcome: Outcome::NotApplied, .. })), "{again:?}");
    disk.fail_the_database(false);
    assert_eq!(store.commit(change(head + 1)).await.unwrap(), head + 1);
    let scan = store.scan("").await.unwrap();
    assert_eq!((scan.entries.len() as u64, scan.revision), (head + 1, head + 1));
    drop(store);
    let store = disk.store(journal_alone()).unwrap();
    assert_eq!(store.scan("").await.unwrap().revision, head + 1);
}
