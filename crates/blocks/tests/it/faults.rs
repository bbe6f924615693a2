//! Objects that fail by chance: everything is tried again until it works.

use crate::Dice;
use crate::world::*;
use blocks::{Error, Fault, Faulty, Memory};
use std::sync::Arc;

const FAULTS: &[Fault] =
    &[Fault::Error, Fault::ErrorAfterWork, Fault::Torn, Fault::Delay, Fault::Full, Fault::Error];

fn until<T>(told: &str, mut act: impl FnMut() -> blocks::Result<T>) -> T {
    for _ in 0..10_000 {
        match act() {
            Ok(value) => return value,
            Err(Error::Objects(_)) => {}
            Err(error) => panic!("{told}: {error}"),
        }
    }
    panic!("{told}: it never works");
}

#[test]
fn calls_that_failed_may_be_made_again_until_they_work() {
    let first = Dice::seeded().roll();
    println!("seeds from {first}");
    for seed in (0..100).map(|n| first.wrapping_add(n)) {
        let told = format!("seed {seed}");
        let mut dice = Dice(seed);
        let objects = Faulty::new(Memory::default());
        let store = store(objects.clone());
        let domain = domain((seed % 2) as u8);
        objects.fail_by_chance(seed, 6, FAULTS);
        let mut disks: Vec<Disk> = vec![Disk::new()];
        for id in 1..5 {
            let parent = (id > 1).then_some(id - 1);
            let mut begun = false;
            let session = until(&told, || {
                let result = if begun {
                    store.resume(snap(id), Arc::clone(&domain))
                } else {
                    store.begin(begin(id, parent, 4), Arc::clone(&domain))
                };
                match result {
                    // The first try did more than it said; or it was undone.
                    Err(Error::Exists(_)) => {
                        begun = true;
                        store.resume(snap(id), Arc::clone(&domain))
                    }
                    Err(Error::NoSession(_)) => {
                        begun = false;
                        store.begin(begin(id, parent, 4), Arc::clone(&domain))
                    }
                    other => other,
                }
            });
            let changes: Disk = (0..3).map(|_| (dice.below(4), dice.below(5))).collect();
            for (index, number) in &changes {
                until(&told, || session.put_block(*index, &block(*number)));
            }
            until(&told, || session.complete());
            until(&told, || store.collect());
            disks.push(changed(&disks[id as usize - 1], &changes));
        }
        objects.heal();
        for (id, disk) in disks.iter().enumerate().skip(1) {
            assert_eq!(read(&open(&store, &domain, id as u64).unwrap()).unwrap(), *disk, "{told}: {id}");
        }
        assert!(store.fsck(blocks::fsck::Depth::Full).unwrap().is_clean(), "{told}");
    }
}
