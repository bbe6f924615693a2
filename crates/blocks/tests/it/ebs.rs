//! What the EBS direct APIs, lazy volumes and bills need: lists, differences, cost.

use crate::world::*;
use blocks::{BLOCK_SIZE, Error, Memory, Objects, Piece, Stored};
use std::sync::Arc;

#[test]
fn lists_and_differences_are_paged_and_exact() {
    let store = store(Memory::default());
    let domain = domain(0);
    let first = Disk::from([(0, 1), (1023, 2), (1024, 3), (5000, 4)]);
    write(&store, &domain, 1, None, 6000, &first);
    write(&store, &domain, 2, Some(1), 6000, &Disk::from([(1023, 0), (1024, 9), (3000, 5), (0, 1)]));
    let (one, two) = (open(&store, &domain, 1).unwrap(), open(&store, &domain, 2).unwrap());
    let listed = |from, most| -> Vec<u64> {
        one.blocks(from, most).unwrap().into_iter().map(|(index, _)| index).collect()
    };
    assert_eq!(listed(0, 100), [0, 1023, 1024, 5000]);
    assert_eq!(listed(1, 2), [1023, 1024]);
    assert_eq!(listed(5001, 2), [0; 0]);
    let differences = |from, most| -> Vec<_> {
        let changed = one.changed(&two, from, most).unwrap();
        changed.into_iter().map(|c| (c.index, c.first.is_some(), c.second.is_some())).collect()
    };
    let all = [(1023, true, false), (1024, true, true), (3000, false, true)];
    assert_eq!(differences(0, 100), all);
    assert_eq!(differences(1024, 1), all[1..2]);
    assert_eq!(differences(3001, 1), []);
    assert_eq!(two.manifest().changed, 4);
    // The same content in another epoch is no difference.
    store.collect().unwrap();
    write(&store, &domain, 3, None, 6000, &first);
    assert_eq!(one.changed(&open(&store, &domain, 3).unwrap(), 0, 10).unwrap(), []);
}

#[test]
fn a_session_refuses_what_makes_no_sense() {
    let store = store(Memory::default());
    let domain = domain(0);
    write(&store, &domain, 1, None, 8, &Disk::new());
    let start = |id, parent, blocks| store.begin(begin(id, parent, blocks), Arc::clone(&domain)).map(drop);
    assert!(matches!(start(1, None, 8), Err(Error::Exists(_))));
    assert!(matches!(start(2, Some(9), 8), Err(Error::NoSnapshot(_))));
    assert!(matches!(start(2, Some(1), 7), Err(Error::Smaller { .. })));
    assert!(matches!(start(2, None, 1 << 40), Err(Error::TooLarge { .. })));
    let mut odd = begin(2, Some(1), 9);
    odd.size -= 100;
    let session = store.begin(odd, Arc::clone(&domain)).unwrap();
    assert!(matches!(start(2, None, 8), Err(Error::Exists(_))));
    assert!(matches!(session.put_block(9, &block(1)), Err(Error::NoBlock { blocks: 9, .. })));
    assert!(matches!(session.put_block(0, &[1; 10]), Err(Error::WrongLength(10))));
    // The last block of a volume that ends within it may be put whole or as far as it goes.
    session.put_block(8, &vec![7; BLOCK_SIZE - 100]).unwrap();
    session.complete().unwrap();
    assert!(matches!(session.put_block(0, &block(1)), Err(Error::Ended(_))));
    let snapshot = open(&store, &domain, 2).unwrap();
    let mut tail = vec![9; 200];
    snapshot.read_at(snapshot.size() - 100, &mut tail).unwrap();
    assert_eq!((&tail[..100], &tail[100..]), ([7; 100].as_slice(), [0; 100].as_slice()));
}

#[test]
fn the_cost_of_a_snapshot_is_that_of_what_changed() {
    let memory = Memory::default();
    let store = store(memory.clone());
    let domain = domain(1);
    let full: Disk = (0..2500).map(|index| (index, index + 1)).collect();
    write(&store, &domain, 1, None, 4096, &full);
    let (objects, bytes) = memory.size();
    write(&store, &domain, 2, Some(1), 4096, &Disk::from([(1, 99_999), (2, 99_998)]));
    let (more, grown) = memory.size();
    // Two blocks, a leaf, the root, and six parts of the session.
    assert_eq!(more - objects, 2 + 1 + 1 + 6);
    assert!(grown - bytes < 100_000, "{} bytes for two blocks that compress well", grown - bytes);
    // Without a bitmap: every block is put, and those that are the same cost nothing but a note.
    let session = store.begin(begin(3, Some(2), 4096), Arc::clone(&domain)).unwrap();
    let mut counts = [0; 3];
    for (index, number) in changed(&full, &Disk::from([(1, 99_999), (2, 99_998), (3, 77_777)])) {
        counts[session.put_block(index, &block(number)).unwrap() as usize] += 1;
    }
    assert_eq!(counts, [1, 2499, 0], "{:?}", Stored::Written);
    session.complete().unwrap();
    assert_eq!(session.progress().written, 1);
    store.collect().unwrap();
    let mut leaves = 0;
    memory.list("leaves/", &mut |_| leaves += 1).unwrap();
    assert_eq!(leaves, 3 + 1 + 1, "leaves that are the same are shared");
}

#[test]
fn a_sparse_volume_of_16_tib_opens_and_reads_by_a_handful_of_objects() {
    let memory = Memory::default();
    let objects = blocks::Faulty::new(memory.clone());
    let store = store(objects.clone());
    let domain = domain(0);
    let blocks = (16_u64 << 40) / BLOCK_SIZE as u64;
    let disk = Disk::from([(0, 1), (blocks / 2, 2), (blocks - 1, 3)]);
    write(&store, &domain, 1, None, blocks, &disk);
    assert!(memory.size().0 < 20 && memory.size().1 < 100_000, "{:?}", memory.size());
    let before = objects.calls();
    let snapshot = open(&store, &domain, 1).unwrap();
    assert_eq!(objects.calls() - before, 1, "opening reads the root alone");
    let extents = snapshot.extents(0..snapshot.size(), 100).unwrap();
    let data: Vec<u64> = extents.iter().filter(|e| e.data).map(|e| e.offset / BLOCK_SIZE as u64).collect();
    assert_eq!(data, [0, blocks / 2, blocks - 1]);
    assert_eq!(extents.iter().map(|e| e.length).sum::<u64>(), snapshot.size());
    assert_eq!(extents.len(), 5);
    assert_eq!(objects.calls() - before, 4, "and three leaves");
    assert!(matches!(snapshot.piece(BLOCK_SIZE as u64, 1 << 40).unwrap(), Piece::Zero(n) if n == 1 << 40));
    assert_eq!(snapshot.block(blocks - 1).unwrap().unwrap(), block(3));
}

#[test]
fn a_session_goes_on_in_another_process_where_it_was_noted() {
    let memory = Memory::default();
    let domain = domain(1);
    let first = store(memory.clone());
    write(&first, &domain, 1, None, 2048, &Disk::from([(7, 7)]));
    let session = first.begin(begin(2, Some(1), 2048), Arc::clone(&domain)).unwrap();
    // More than a leaf, which is written as soon as it is whole, and changed afterwards.
    for index in 0..1024 {
        session.put_block(index, &block(index % 3)).unwrap();
    }
    session.put_block(3, &block(55)).unwrap();
    session.put_block(1500, &block(56)).unwrap();
    session.checkpoint().unwrap();
    session.put_block(1501, &block(57)).unwrap();
    drop(session);
    let second = store(memory);
    let open_sessions = second.sessions().unwrap();
    assert_eq!(open_sessions.len(), 1);
    assert!(open_sessions[0].begin == begin(2, Some(1), 2048) && !open_sessions[0].completing);
    let session = second.resume(snap(2), Arc::clone(&domain)).unwrap();
    session.put_block(1502, &block(58)).unwrap();
    let manifest = session.complete().unwrap();
    assert_eq!(manifest.changed, 1024 + 2);
    let mut disk: Disk = (0..1024).map(|index| (index, index % 3)).filter(|(_, n)| *n != 0).collect();
    disk.extend([(3, 55), (1500, 56), (1502, 58)]);
    assert_eq!(manifest.blocks, disk.len() as u64);
    assert_eq!(read(&open(&second, &domain, 2).unwrap()).unwrap(), disk);
    assert!(matches!(second.resume(snap(2), domain), Err(Error::Exists(_))));
    assert!(second.sessions().unwrap().is_empty());
}

#[test]
fn what_was_put_is_told_and_read_back_while_it_is_open() {
    let store = store(Memory::default());
    let domain = domain(0);
    write(&store, &domain, 1, None, 1030, &Disk::from([(0, 1), (1029, 2)]));
    let session = store.begin(begin(2, Some(1), 1030), Arc::clone(&domain)).unwrap();
    // A leaf as a whole, some of it zeros, and a part of the next.
    for index in 0..1024 {
        session.put_block(index, &block(if index == 7 { 0 } else { index + 1 })).unwrap();
    }
    session.put_block(1025, &block(5)).unwrap();
    session.checkpoint().unwrap();
    drop(session);
    let session = store.resume(snap(2), domain).unwrap();
    let expected: Vec<u64> = (0..1024).chain([1025]).collect();
    assert_eq!(session.written(), expected);
    let read = |index| session.written_block(index).unwrap().map(|bytes| bytes.to_vec());
    assert_eq!((read(7), read(0), read(1025)), (None, Some(block(1)), Some(block(5))));
    assert_eq!(read(1029), None, "it is the parent's");
    assert_eq!(session.complete().unwrap().changed, 1025);
}
