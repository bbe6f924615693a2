//! Rot: any bit of any object.

use crate::Dice;
use crate::world::*;
use blocks::fsck::Depth;
use blocks::{Damage, Error, Memory, Objects};

fn keys(objects: &Memory, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    objects.list(prefix, &mut |key| keys.push(key.to_owned())).unwrap();
    keys
}

#[test]
fn a_flipped_bit_anywhere_is_told_with_snapshot_and_block_and_never_read() {
    for of in [0, 1] {
        let domain = domain(of);
        let memory = Memory::default();
        let store = store(memory.clone());
        let disk = Disk::from([(0, 1), (5, 2), (1030, 3)]);
        write(&store, &domain, 1, None, 1100, &disk);
        let mut dice = Dice::seeded();
        println!("seed {}", dice.0);
        for prefix in ["snapshots/", "leaves/", "blocks/"] {
            for key in keys(&memory, prefix) {
                let good = memory.get(&key).unwrap().unwrap();
                // Every byte of the envelope, and some of the content.
                let mut places: Vec<usize> = (0..28).chain(good.len() - 16..good.len()).collect();
                places.extend((0..40).map(|_| dice.below(good.len() as u64) as usize));
                for place in places {
                    let mut bad = good.clone();
                    bad[place] ^= 1 << dice.below(8);
                    memory.replace(&key, &bad).unwrap();
                    let error = match open(&store, &domain, 1) {
                        Err(error) => error,
                        Ok(snapshot) => disk
                            .keys()
                            .find_map(|index| snapshot.block(*index).err())
                            .unwrap_or_else(|| panic!("{key} at {place}: not noticed")),
                    };
                    let Error::Damaged { snapshot, block, object, .. } = &error else { panic!("{error}") };
                    assert_eq!((*snapshot, object), (Some(snap(1)), &key));
                    assert_eq!(block.is_some(), prefix != "snapshots/", "{error}");
                    if prefix != "blocks/" || place < 4 || (12..16).contains(&place) {
                        assert!(!store.fsck(Depth::Quick).unwrap().is_clean(), "{key} at {place}");
                    }
                }
                let mut bad = good.clone();
                let middle = bad.len() / 2;
                bad[middle] ^= 1;
                memory.replace(&key, &bad).unwrap();
                let report = store.fsck(Depth::Full).unwrap();
                assert_eq!(report.damaged, 1, "{key}: {report:?}");
                assert_eq!(report.problems[0].snapshot, Some(snap(1)));
                assert_eq!((report.problems[0].object.as_str(), report.orphans), (key.as_str(), 0));
                for cut in [0, 10, good.len() - 1] {
                    memory.replace(&key, &good[..cut]).unwrap();
                    assert!(!store.fsck(Depth::Quick).unwrap().is_clean(), "{key} cut to {cut}");
                }
                memory.delete(std::slice::from_ref(&key)).unwrap();
                if prefix != "snapshots/" {
                    let report = store.fsck(Depth::Quick).unwrap();
                    assert_eq!(report.problems[0].damage, Damage::Missing, "{report:?}");
                }
                memory.replace(&key, &good).unwrap();
            }
        }
        assert_eq!(read(&open(&store, &domain, 1).unwrap()).unwrap(), disk);
        assert!(store.fsck(Depth::Full).unwrap().is_clean());
    }
}

#[test]
fn blocks_that_were_swapped_are_noticed() {
    for of in [0, 1] {
        let domain = domain(of);
        let memory = Memory::default();
        let store = store(memory.clone());
        write(&store, &domain, 1, None, 4, &Disk::from([(0, 1), (1, 2)]));
        let keys = keys(&memory, "blocks/");
        let [one, two] = keys.as_slice() else { panic!("{keys:?}") };
        let (first, second) = (memory.get(one).unwrap().unwrap(), memory.get(two).unwrap().unwrap());
        memory.replace(one, &second).unwrap();
        memory.replace(two, &first).unwrap();
        let snapshot = open(&store, &domain, 1).unwrap();
        for index in 0..2 {
            let Err(Error::Damaged { damage, block, .. }) = snapshot.block(index) else {
                panic!("not noticed")
            };
            let expected = if of == 1 { Damage::Cipher } else { Damage::Content };
            assert_eq!((damage, block), (expected, Some(index)));
        }
    }
}

#[test]
fn nothing_readable_of_an_encrypted_volume_is_stored_and_other_keys_open_nothing() {
    let memory = Memory::default();
    let store = store(memory.clone());
    let mut secret = b"a very well known secret of the tenant ".repeat(20_000);
    secret.truncate(blocks::BLOCK_SIZE);
    let session = store.begin(begin(1, None, 4), domain(1)).unwrap();
    session.put_block(2, &secret).unwrap();
    session.complete().unwrap();
    for key in keys(&memory, "") {
        let bytes = memory.get(&key).unwrap().unwrap();
        assert!(!bytes.windows(10).any(|w| w == b"well known"), "{key}");
    }
    let other = blocks::DomainId::parse("domain-1").unwrap();
    let other = std::sync::Arc::new(blocks::Domain::encrypted(other, &[99; 32]));
    assert!(matches!(store.snapshot(snap(1), other), Err(Error::Damaged { .. })));
    assert!(matches!(open(&store, &domain(2), 1), Err(Error::OtherDomain { .. })));
}

#[test]
fn equal_content_of_two_domains_has_nothing_in_common() {
    let memory = Memory::default();
    let store = store(memory.clone());
    for of in [0, 2] {
        write(&store, &domain(of), u64::from(of) + 1, None, 4, &Disk::from([(0, 7)]));
    }
    let keys = keys(&memory, "blocks/");
    let hashes: Vec<_> = keys.iter().map(|key| key.rsplit('/').next().unwrap()).collect();
    assert_eq!(hashes.len(), 2);
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn damage_of_one_domain_stops_collecting_there_and_nowhere_else() {
    let memory = Memory::default();
    let store = store(memory.clone());
    for of in [0, 1] {
        let id = u64::from(of) * 10;
        write(&store, &domain(of), id + 1, None, 4, &Disk::from([(0, 7)]));
        write(&store, &domain(of), id + 2, None, 4, &Disk::from([(0, 8)]));
        store.delete(snap(id + 2)).unwrap();
    }
    let leaf = keys(&memory, "leaves/domain-1/").remove(0);
    let good = memory.get(&leaf).unwrap().unwrap();
    // Whether it is the deleted one's or the other's leaf: damage both.
    for key in keys(&memory, "leaves/domain-1/") {
        memory.replace(&key, &good[..good.len() - 1]).unwrap();
    }
    store.collect().unwrap();
    let collected = store.collect().unwrap();
    assert_eq!(collected.spared.len(), 1, "{collected:?}");
    assert_eq!(keys(&memory, "blocks/domain-0/").len(), 1);
    assert_eq!(keys(&memory, "blocks/domain-1/").len(), 2);
}
