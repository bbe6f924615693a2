//! Collecting while others write, reuse and delete.

use crate::Dice;
use crate::world::*;
use blocks::fsck::Depth;
use blocks::{BlockStore, Directory, Error, Memory, Objects};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Writers that delete and inherit, each in a line of its own, beside collectors that run all the time.
fn race(store: &BlockStore, seed: u64, writers: u64, rounds: u64) {
    let done = AtomicBool::new(false);
    let ids = AtomicU64::new(1);
    let runs = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    store.collect().unwrap();
                    runs.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let all: Vec<_> = (0..writers)
            .map(|writer| {
                let (ids, store) = (&ids, store.clone());
                scope.spawn(move || {
                    let mut dice = Dice(seed ^ (writer << 32));
                    let domain = domain((writer % 2) as u8);
                    let mut held: BTreeMap<u64, Disk> = BTreeMap::new();
                    for round in 0..rounds {
                        let told = format!("seed {seed}, writer {writer}, round {round}");
                        let id = ids.fetch_add(1, Ordering::Relaxed);
                        let parent = held.keys().copied().nth(dice.below(3) as usize);
                        let begun = begin(id, parent, 4);
                        let session = store.begin(begun, Arc::clone(&domain)).unwrap();
                        // The parent goes as soon as it has been inherited from.
                        let disk = parent.map(|id| held[&id].clone()).unwrap_or_default();
                        if let Some(parent) = parent.filter(|_| dice.below(2) == 0) {
                            store.delete(snap(parent)).unwrap();
                            held.remove(&parent);
                        }
                        // Few numbers: what one writer's collector is about to sweep another one writes anew.
                        let changes: Disk = (0..2).map(|_| (dice.below(4), dice.below(4))).collect();
                        put(&session, &changes);
                        if dice.below(5) == 0 {
                            session.abort().unwrap();
                        } else {
                            session.complete().unwrap();
                            held.insert(id, changed(&disk, &changes));
                        }
                        if held.len() > 4 {
                            let (oldest, _) = held.pop_first().unwrap();
                            store.delete(snap(oldest)).unwrap();
                        }
                        for (id, disk) in &held {
                            let snapshot = open(&store, &domain, *id);
                            let snapshot = snapshot.unwrap_or_else(|e| panic!("{told}: {e}"));
                            let found = read(&snapshot).unwrap_or_else(|e| panic!("{told}: {e}"));
                            assert_eq!(found, *disk, "{told}");
                        }
                    }
                    held
                })
            })
            .collect();
        let results: Vec<_> = all.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        for result in results {
            for id in result.unwrap().into_keys() {
                store.delete(snap(id)).unwrap();
            }
        }
    });
    assert!(runs.load(Ordering::Relaxed) > 1, "seed {seed}: collectors have run beside");
    for _ in 0..3 {
        store.collect().unwrap();
    }
    let report = store.fsck(Depth::Full).unwrap();
    assert_eq!((report.blocks, report.leaves, report.damaged), (0, 0, 0), "seed {seed}: {report:?}");
}

#[test]
fn collectors_and_writers_in_one_store_lose_nothing() {
    let first = Dice::seeded().roll();
    println!("seeds from {first}");
    for seed in (0..12).map(|n| first.wrapping_add(n)) {
        race(&store(Memory::default()), seed, 4, 12);
    }
}

#[test]
fn collectors_and_writers_in_one_directory_lose_nothing() {
    let seed = Dice::seeded().roll();
    println!("seed {seed}");
    let directory = tempfile::tempdir().unwrap();
    race(&store(Directory::open(directory.path()).unwrap()), seed, 2, 8);
}

/// Two orders that the proof in the module's documentation names.
#[test]
fn a_block_that_is_put_again_while_it_is_swept_stays() {
    let memory = Memory::default();
    let store = store(memory);
    let domain = domain(0);
    write(&store, &domain, 1, None, 4, &Disk::from([(0, 5)]));
    let session = store.begin(begin(2, None, 4), Arc::clone(&domain)).unwrap();
    store.delete(snap(1)).unwrap();
    // Known by the store, and garbage but for the session that is about to rely on it.
    assert_eq!(session.put_block(3, &block(5)).unwrap(), blocks::Stored::Known);
    store.collect().unwrap();
    store.collect().unwrap();
    session.complete().unwrap();
    store.collect().unwrap();
    assert_eq!(read(&open(&store, &domain, 2).unwrap()).unwrap(), Disk::from([(3, 5)]));
    // A session of a later epoch does not rely on it.
    let session = store.begin(begin(3, None, 4), Arc::clone(&domain)).unwrap();
    assert_eq!(session.put_block(3, &block(5)).unwrap(), blocks::Stored::Written);
}

#[test]
fn a_parent_may_be_deleted_while_a_session_inherits_from_it() {
    let store = store(Memory::default());
    let domain = domain(1);
    write(&store, &domain, 1, None, 4, &Disk::from([(0, 5), (1, 6)]));
    store.collect().unwrap();
    let session = store.begin(begin(2, Some(1), 4), Arc::clone(&domain)).unwrap();
    store.delete(snap(1)).unwrap();
    store.collect().unwrap();
    store.collect().unwrap();
    session.put_block(1, &block(9)).unwrap();
    session.complete().unwrap();
    for _ in 0..3 {
        store.collect().unwrap();
    }
    assert_eq!(read(&open(&store, &domain, 2).unwrap()).unwrap(), Disk::from([(0, 5), (1, 9)]));
    assert_eq!(store.fsck(Depth::Full).unwrap().blocks, 2, "the block that was replaced is gone");
    assert!(matches!(store.begin(begin(3, Some(1), 4), domain), Err(Error::NoSnapshot(_))));
}

#[test]
fn an_aborted_session_never_completes() {
    let memory = Memory::default();
    let store = store(memory.clone());
    let session = store.begin(begin(1, None, 4), domain(0)).unwrap();
    session.put_block(0, &block(1)).unwrap();
    store.abort(snap(1)).unwrap();
    store.collect().unwrap();
    assert!(matches!(session.complete(), Err(Error::Aborted(_))));
    assert!(store.snapshots().unwrap().is_empty());
    let mut blocks = 0;
    memory.list("blocks/", &mut |_| blocks += 1).unwrap();
    assert_eq!(blocks, 0);
}

#[test]
fn completing_twice_is_completing_once_even_when_the_session_was_cleared_away() {
    let store = store(Memory::default());
    let session = store.begin(begin(1, None, 4), domain(0)).unwrap();
    session.put_block(0, &block(1)).unwrap();
    let manifest = session.complete().unwrap();
    assert_eq!(session.complete().unwrap(), manifest);
    assert_eq!(store.collect().unwrap().sessions, 1);
    assert_eq!(session.complete().unwrap(), manifest);
    store.delete(snap(1)).unwrap();
    assert!(session.complete().is_err(), "what was deleted does not come back");
    store.collect().unwrap();
    assert!(store.snapshots().unwrap().is_empty() && store.sessions().unwrap().is_empty());
}
