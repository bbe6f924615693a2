//! The journal's segments: what an opening reads from them, and what it makes of damage.

use store::{Commit, Damage, Embedded, OpenError, Options, Scan, Store};

use crate::disk::{Disk, PAGE};
use crate::{Dice, journal_alone, key};

/// One frame of one block each: the commit that is acknowledged before the next begins.
fn change(n: u64) -> Commit {
    Commit::new().put(key(format!("k/{n:03}")), vec![n as u8; 700]).put(key("last"), n.to_string())
}

/// A disk whose database has nothing and whose journal has so many commits, as a killed process leaves it.
async fn written(count: u64, options: Options) -> Disk {
    let disk = Disk::default();
    let store = disk.store(options).unwrap();
    for n in 1..=count {
        assert_eq!(store.commit(change(n)).await.unwrap(), n);
    }
    disk.after_kill()
}

fn check(scan: &Scan, head: u64, context: &str) {
    assert_eq!(scan.revision, head, "{context}");
    let expected: Vec<_> = (1..=head).map(|n| format!("k/{n:03}")).collect();
    let found: Vec<_> = scan.entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(found[..head as usize], expected, "{context}");
    for (n, (_, entry)) in (1..=head).zip(&scan.entries) {
        assert_eq!((entry.version, &entry.value[..]), (n, &[n as u8; 700][..]), "{context}");
    }
    if head > 0 {
        let (last, entry) = &scan.entries[head as usize];
        assert_eq!((last.as_str(), entry.version), ("last", head), "{context}");
        assert_eq!(entry.value, head.to_string(), "{context}");
    }
}

async fn state(store: &Embedded) -> Scan {
    store.scan("").await.unwrap()
}

fn damage(result: Result<Embedded, OpenError>, context: &str) -> Damage {
    match result.err() {
        Some(OpenError::Damaged { damage, .. }) => damage,
        other => panic!("{context}: {other:?}"),
    }
}

#[tokio::test]
async fn what_the_file_lacks_is_read_from_the_journal_each_time_the_same() {
    let mut disk = written(60, journal_alone()).await;
    assert!(disk.segments().len() > 3, "several segments: {:?}", disk.segments());
    let mut dice = Dice::seeded();
    for round in 0..3 {
        let store = disk.store(journal_alone()).unwrap();
        check(&state(&store).await, 60, &format!("opening {round}"));
        let mut watch = store.watch(0).await.unwrap();
        for revision in 1..=60 {
            let event = watch.next().await.unwrap();
            assert_eq!((event.revision, event.changes.len()), (revision, 2));
        }
        assert_eq!(store.get(&key("k/017")).await.unwrap().unwrap().version, 17);
        disk = if round == 0 { disk.after_kill() } else { disk.after_power_cut(&mut dice) };
    }
    let store = disk.store(journal_alone()).unwrap();
    assert_eq!(store.commit(change(61)).await.unwrap(), 61);
    drop(store);
    assert_eq!(disk.segments(), [""; 0], "closed, the file has everything");
    check(&state(&disk.store(journal_alone()).unwrap()).await, 61, "after closing");
}

/// Journals that are partly in the database, in any order of kills and commits.
#[tokio::test]
async fn any_sequence_of_commits_checkpoints_and_kills_keeps_every_commit() {
    let seed = Dice::seeded().0;
    println!("seed {seed}");
    for life in 0..30 {
        let mut dice = Dice(seed.wrapping_add(life));
        let mut disk = Disk::default();
        let mut head = 0;
        for round in 0..10 {
            let context = format!("seed {seed}, life {life}, round {round}");
            let linger = [std::time::Duration::ZERO, std::time::Duration::from_hours(1)][dice.below(2) as usize];
            let store = disk.store(Options { linger, ..journal_alone() });
            let store = store.unwrap_or_else(|error| panic!("{context}: {error:?}"));
            check(&state(&store).await, head, &context);
            for _ in 0..dice.below(30) {
                head += 1;
                assert_eq!(store.commit(change(head)).await.unwrap(), head, "{context}");
            }
            check(&state(&store).await, head, &context);
            disk = match dice.below(3) {
                0 => disk.after_kill(),
                1 => disk.after_power_cut(&mut dice),
                _ => {
                    drop(store);
                    disk.after_kill()
                }
            };
        }
    }
}

#[tokio::test]
async fn a_torn_last_frame_was_never_acknowledged_and_is_written_over() {
    let disk = written(5, journal_alone()).await;
    let name = disk.segments().pop().unwrap();
    let whole = disk.segment(&name);
    let last = 5 * PAGE;
    assert!(whole[last..].iter().any(|byte| *byte != 0) && whole[last + PAGE..].iter().all(|byte| *byte == 0));
    for kept in (0..PAGE).step_by(128) {
        let context = format!("{kept} bytes of the last frame");
        let torn = disk.after_kill();
        let mut bytes = whole.clone();
        bytes[last + kept..].fill(0);
        let complete = bytes == whole;
        torn.overwrite(&name, &bytes);
        let head = if complete { 5 } else { 4 };
        for n in head + 1..=head + 3 {
            let store = torn.store(journal_alone()).unwrap();
            check(&state(&store).await, n - 1, &context);
            assert_eq!(store.commit(change(n)).await.unwrap(), n, "{context}");
            // Not closed in order.
            let again = torn.after_kill().store(journal_alone()).unwrap();
            check(&state(&again).await, n, &context);
        }
    }
}

/// Whatever one bit that flips: all is there, or the last commit alone is taken for torn, or the store is not opened.
#[tokio::test]
async fn a_flipped_bit_is_never_passed_over() {
    let mut dice = Dice::seeded();
    println!("seed {}", dice.0);
    let disk = written(25, journal_alone()).await;
    let segments = disk.segments();
    assert!(segments.len() > 1);
    let (mut refused, mut torn, mut harmless) = (0, 0, 0);
    for round in 0..400 {
        let name = &segments[dice.below(segments.len() as u64) as usize];
        let mut bytes = disk.segment(name);
        // Mostly where there is something.
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let at = dice.below(used as u64) as usize;
        bytes[at] ^= 1 << dice.below(8);
        let found = disk.after_kill();
        found.overwrite(name, &bytes);
        let context = format!("seed {}, round {round}: byte {at} of {name}", dice.0);
        match found.store(journal_alone()) {
            Ok(store) => {
                let scan = state(&store).await;
                check(&scan, scan.revision, &context);
                match scan.revision {
                    25 => harmless += 1,
                    24 => {
                        assert!(name == segments.last().unwrap() && at >= used - PAGE, "{context}");
                        torn += 1;
                    }
                    other => panic!("{context}: {other} commits are left"),
                }
            }
            Err(OpenError::Damaged { damage, revision: 0, .. }) => {
                if let Damage::Missing { from, to } = damage {
                    assert!(0 < from && from < to && to <= 25, "{context}: {damage}");
                }
                refused += 1;
            }
            Err(other) => panic!("{context}: {other:?}"),
        }
    }
    println!("{refused} refused, {torn} taken for torn, {harmless} harmless");
    assert!(refused > 0 && torn > 0 && harmless > 0);
}

#[tokio::test]
async fn a_damaged_frame_that_the_database_has_is_not_missed() {
    let disk = Disk::default();
    let store = disk.store(journal_alone()).unwrap();
    for n in 1..=3 {
        store.commit(change(n)).await.unwrap();
    }
    let name = disk.segments().pop().unwrap();
    // As if the process were killed right after the database took them, before the segment was given back.
    let bytes = disk.segment(&name);
    drop(store);
    let found = disk.after_kill();
    let spare = written(0, journal_alone()).await;
    assert_eq!(spare.segments(), [""; 0]);
    let restored = found.after_kill();
    {
        use store::Folder as _;
        let file = restored.create(&name, bytes.len() as u64).unwrap();
        drop(file);
        restored.sync().unwrap();
    }
    let mut damaged = bytes.clone();
    damaged[2 * PAGE + 100] ^= 1;
    restored.overwrite(&name, &damaged);
    let store = restored.store(journal_alone()).unwrap();
    check(&state(&store).await, 3, "all three are in the database");
    assert_eq!(store.commit(change(4)).await.unwrap(), 4);
    check(&state(&restored.after_kill().store(journal_alone()).unwrap()).await, 4, "and one more");
}

#[tokio::test]
async fn a_segment_that_is_gone_is_missed_unless_it_was_the_last_and_empty() {
    let disk = written(60, journal_alone()).await;
    let segments = disk.segments();
    for (at, name) in segments.iter().enumerate().take(segments.len() - 1) {
        let found = disk.after_kill();
        found.lose(name);
        let damage = damage(found.store(journal_alone()), name);
        let Damage::Missing { from, to } = damage else { panic!("{damage:?}") };
        assert_eq!(from == 1, at == 0, "{damage}");
        assert!(from < to, "{damage}");
    }
}

#[tokio::test]
async fn the_journal_of_another_store_is_refused() {
    let disk = written(3, journal_alone()).await;
    disk.exchange_journal(&written(4, journal_alone()).await);
    assert_eq!(damage(disk.store(journal_alone()), "exchanged"), Damage::Foreign);
}

#[tokio::test]
async fn segments_are_used_again_and_their_number_stays_small() {
    let disk = Disk::default();
    let options = Options { linger: std::time::Duration::ZERO, ..journal_alone() };
    let store = disk.store(options).unwrap();
    let mut most = 0;
    for n in 1..=2000 {
        store.commit(Commit::new().put(key("k"), vec![n as u8; 3000])).await.unwrap();
        most = most.max(disk.segments().len());
    }
    drop(store);
    // Of 64 KiB, so some 130 were filled; how many wait for the database is a matter of the machine's load.
    let files = disk.0.lock().files.pages() * PAGE / (64 << 10);
    assert!(files <= 2, "{files} segments are left, {most} were there at once");
    let store = disk.store(options).unwrap();
    assert_eq!(state(&store).await.revision, 2000);
}
