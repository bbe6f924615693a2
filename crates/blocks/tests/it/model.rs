//! Random lives of a store against a plain model of it.

use crate::Dice;
use crate::world::*;
use blocks::{Fault, Faulty, Memory, Session};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 200;
const STEPS: u64 = 40;
const BLOCKS: u64 = 6;

struct Writing {
    session: Session,
    domain: u8,
    disk: Disk,
    /// As of the last checkpoint.
    noted: Disk,
}

fn changes(dice: &mut Dice) -> Disk {
    // Few numbers, so that blocks meet again; zero among them.
    (0..=dice.below(3)).map(|_| (dice.below(BLOCKS), dice.below(6))).collect()
}

fn live(seed: u64) {
    let mut dice = Dice(seed);
    let memory = Memory::default();
    let objects = Faulty::new(memory.clone());
    let mut store = store(objects.clone());
    let domains = [domain(0), domain(1)];
    let mut snapshots: BTreeMap<u64, (u8, Disk)> = BTreeMap::new();
    let mut open_sessions: BTreeMap<u64, Writing> = BTreeMap::new();
    let mut next = 1;
    for step in 0..STEPS {
        let told = format!("seed {seed}, step {step}");
        let some = |dice: &mut Dice, of: Vec<u64>| {
            (!of.is_empty()).then(|| of[dice.below(of.len() as u64) as usize])
        };
        match dice.below(12) {
            0..=2 => {
                let of = dice.below(2) as u8;
                let parents = snapshots.iter().filter(|(_, (d, _))| *d == of).map(|(id, _)| *id).collect();
                let parent = some(&mut dice, parents).filter(|_| dice.below(4) > 0);
                let disk = parent.map(|id| snapshots[&id].1.clone()).unwrap_or_default();
                let session =
                    store.begin(begin(next, parent, BLOCKS), Arc::clone(&domains[of as usize])).unwrap();
                open_sessions.insert(next, Writing { session, domain: of, noted: disk.clone(), disk });
                next += 1;
            }
            3..=5 => {
                if let Some(id) = some(&mut dice, open_sessions.keys().copied().collect()) {
                    let writing = open_sessions.get_mut(&id).unwrap();
                    let changes = changes(&mut dice);
                    put(&writing.session, &changes);
                    writing.disk = changed(&writing.disk, &changes);
                    if dice.below(2) == 0 {
                        writing.session.checkpoint().unwrap();
                        writing.noted = writing.disk.clone();
                    }
                }
            }
            6 | 7 => {
                if let Some(id) = some(&mut dice, open_sessions.keys().copied().collect()) {
                    let writing = open_sessions.remove(&id).unwrap();
                    let manifest = writing.session.complete().unwrap();
                    assert_eq!(manifest.blocks, writing.disk.len() as u64, "{told}");
                    snapshots.insert(id, (writing.domain, writing.disk));
                }
            }
            8 => {
                if let Some(id) = some(&mut dice, open_sessions.keys().copied().collect()) {
                    open_sessions.remove(&id).unwrap().session.abort().unwrap();
                }
            }
            9 => {
                if let Some(id) = some(&mut dice, snapshots.keys().copied().collect()) {
                    store.delete(snap(id)).unwrap();
                    snapshots.remove(&id);
                }
            }
            10 => {
                // A collection that is cut short anywhere, or not at all.
                objects.fail_at(dice.below(60), Fault::Crash);
                let _ = store.collect();
                objects.heal();
            }
            _ => {
                // The process dies and comes back: sessions go on from what they have noted.
                store = crate::world::store(objects.clone());
                for (id, writing) in &mut open_sessions {
                    let domain = Arc::clone(&domains[writing.domain as usize]);
                    writing.session = store.resume(snap(*id), domain).unwrap();
                    writing.disk = writing.noted.clone();
                }
            }
        }
        if step % 4 != 3 {
            continue;
        }
        for (id, (of, disk)) in &snapshots {
            let held = read(&open(&store, &domains[*of as usize], *id).unwrap()).unwrap();
            assert_eq!(held, *disk, "{told}: {}", snap(*id));
        }
        let mut listed = store.snapshots().unwrap();
        listed.sort();
        assert_eq!(listed, snapshots.keys().map(|id| snap(*id)).collect::<Vec<_>>(), "{told}");
        let report = store.fsck(blocks::fsck::Depth::Quick).unwrap();
        assert!(report.is_clean() && report.foreign.is_empty(), "{told}: {report:?}");
    }
    for (_, writing) in open_sessions {
        writing.session.abort().unwrap();
    }
    for id in snapshots.keys() {
        store.delete(snap(*id)).unwrap();
    }
    // The first clears what was aborted, the second collects what it held.
    for _ in 0..2 {
        store.collect().unwrap();
    }
    let left = store.fsck(blocks::fsck::Depth::Full).unwrap();
    assert_eq!((left.blocks, left.leaves, left.orphans, left.in_doubt), (0, 0, 0, 0), "seed {seed}");
    let (objects, _) = memory.size();
    assert!(objects <= 20, "seed {seed}: {objects} objects are left, epochs and nothing else");
}

#[test]
fn any_order_of_writing_deleting_collecting_and_dying_keeps_what_is_there_and_leaves_nothing_else() {
    let first = Dice::seeded().roll();
    println!("seeds from {first}");
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    live(first.wrapping_add(seed));
                }
            });
        }
    });
}
