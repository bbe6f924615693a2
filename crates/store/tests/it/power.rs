//! Power cuts with torn and lost writes: what kill -9 cannot show, because the kernel keeps what was written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use store::{Commit, Embedded, Options, Revision, Store, Window};

use crate::disk::Disk;
use crate::{Dice, key};

const CUTS: u64 = 300;
const WRITERS: u64 = 4;

#[tokio::test]
async fn power_cuts_with_torn_writes_lose_nothing_acknowledged() {
    let mut dice = Dice::seeded();
    let seed = dice.0;
    println!("seed {seed}");
    let mut disk = Disk::default();
    let mut acknowledged: BTreeMap<String, Revision> = BTreeMap::new();
    for cut in 0..CUTS {
        let context = format!("seed {seed}, cut {cut}");
        if cut % 20 == 0 {
            (disk, acknowledged) = (Disk::default(), BTreeMap::new());
            // A file has its name only once it is whole.
            drop(disk.store(options(&mut dice)).unwrap());
        }
        // From here on the disk takes nothing more; also while the file is being repaired.
        disk.fail(dice.below(60), u64::MAX);
        if let Ok(store) = disk.store(options(&mut dice)) {
            acknowledged.extend(write_until_the_end(store, cut).await);
        }
        disk = disk.after_power_cut(&mut dice);
        let store = disk.store(options(&mut dice)).unwrap_or_else(|error| panic!("{context}: {error:?}"));
        let scan = store.scan("").await.unwrap();
        let mut parts: BTreeMap<&str, Vec<Revision>> = BTreeMap::new();
        for (key, entry) in &scan.entries {
            parts.entry(key.as_str().split_once('/').unwrap().1).or_default().push(entry.version);
        }
        for (name, versions) in &parts {
            assert!(
                versions.len() == 3 && versions.iter().all(|v| *v == versions[0]),
                "{context}: {name} by half"
            );
        }
        for (name, revision) in &acknowledged {
            let there = parts.get(name.as_str()).map(|versions| versions[0]);
            assert_eq!(there, Some(*revision), "{context}: {name} was acknowledged");
        }
        assert_eq!(parts.len() as u64, scan.revision, "{context}");
        drop(store);
    }
}

/// Small segments; the database takes commits at once, soon, or not at all before the cut.
fn options(dice: &mut Dice) -> Options {
    let linger = [Duration::ZERO, Duration::from_millis(1), Duration::from_hours(1)][dice.below(3) as usize];
    let lag = Window { events: 8 + dice.below(100), bytes: 1 << 20 };
    Options { linger, lag, segment_bytes: 32 << 10, ..Options::default() }
}

async fn write_until_the_end(store: Embedded, cut: u64) -> BTreeMap<String, Revision> {
    let store = Arc::new(store);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut acknowledged = BTreeMap::new();
                for number in 0.. {
                    let name = format!("{cut}.{writer}.{number}");
                    let commit = ["a", "b", "c"].iter().fold(Commit::new(), |commit, part| {
                        commit.put(key(format!("{part}/{name}")), vec![b'x'; 700])
                    });
                    match store.commit(commit).await {
                        Ok(revision) => acknowledged.insert(name, revision),
                        Err(_) => break,
                    };
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    acknowledged
}
