//! What the store's steps cost: `cargo run --release -p blocks --example bench -- DIRECTORY [RAW-DISK]`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "it measures time")]

use blocks::{BLOCK_SIZE, Begin, BlockStore, Directory, Domain, DomainId, ingest};
use model::{AccountId, SnapshotId, Timestamp};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

fn rate(what: &str, bytes: usize, act: impl FnOnce()) {
    let begun = Instant::now();
    act();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what:<44} {:>8.1} MiB/s {seconds:>8.3} s", bytes as f64 / seconds / f64::from(1 << 20));
}

/// Numbers that do not compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).to_le_bytes()
    };
    std::iter::repeat_with(next).take(BLOCK_SIZE / 8).flatten().collect()
}

fn begin(snapshot: u128, parent: Option<u128>, size: u64) -> Begin {
    Begin {
        snapshot: SnapshotId::from_entropy(snapshot),
        parent: parent.map(SnapshotId::from_entropy),
        account: AccountId::parse("123456789012").unwrap(),
        key_id: None,
        size,
        created_at: Timestamp::from_millis(0),
    }
}

fn main() {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let directory = arguments.next().expect("a directory for the store");
    let block = noise(1);
    let rounds = 400;
    let bytes = rounds * BLOCK_SIZE;
    rate("BLAKE3, keyed", bytes, || {
        for _ in 0..rounds {
            black_box(blake3::keyed_hash(&[1; 32], &block));
        }
    });
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[1; 32]);
    rate("HMAC-SHA256", bytes, || {
        for _ in 0..rounds {
            black_box(ring::hmac::sign(&key, &block));
        }
    });
    for encrypted in [false, true] {
        let id = DomainId::parse(if encrypted { "encrypted" } else { "plain" }).unwrap();
        let domain = if encrypted { Domain::encrypted(id, &[1; 32]) } else { Domain::plain(id, &[1; 32]) };
        let domain = Arc::new(domain);
        for workers in [1, 4, 8] {
            let number = u128::from(encrypted) * 100 + workers;
            let store = BlockStore::new(Arc::new(Directory::open(&directory).unwrap()));
            let session = store.begin(begin(number, None, 1 << 30), Arc::clone(&domain)).unwrap();
            let blocks = 160;
            let told = format!("put, {workers} threads, encrypted: {encrypted}");
            rate(&told, blocks * BLOCK_SIZE, || {
                std::thread::scope(|scope| {
                    for worker in 0..workers as usize {
                        let session = &session;
                        scope.spawn(move || {
                            for index in (worker..blocks).step_by(workers as usize) {
                                session
                                    .put_block(index as u64, &noise(number as u64 * 1000 + index as u64))
                                    .unwrap();
                            }
                        });
                    }
                });
            });
            session.complete().unwrap();
            let snapshot = store.snapshot(SnapshotId::from_entropy(number), Arc::clone(&domain)).unwrap();
            rate("  read and verify", blocks * BLOCK_SIZE, || {
                for index in 0..blocks as u64 {
                    black_box(snapshot.block(index).unwrap());
                }
            });
        }
    }
    let Some(disk) = arguments.next() else { return };
    let file = File::open(disk).unwrap();
    let size = file.metadata().unwrap().len();
    let (mut raw, mut packed) = (0, 0);
    let mut block = vec![0; BLOCK_SIZE];
    let begun = Instant::now();
    for index in 0..size / BLOCK_SIZE as u64 {
        file.read_exact_at(&mut block, index * BLOCK_SIZE as u64).unwrap();
        if block.iter().any(|b| *b != 0) {
            raw += BLOCK_SIZE;
            packed += lz4_flex::block::compress(&block).len();
        }
    }
    println!("LZ4: {} MiB become {} MiB, {:.1} s", raw >> 20, packed >> 20, begun.elapsed().as_secs_f64());
    let store = BlockStore::new(Arc::new(Directory::open(&directory).unwrap()));
    let domain = Arc::new(Domain::plain(DomainId::parse("disk").unwrap(), &[3; 32]));
    for (number, parent) in [(1000, None), (1001, Some(1000))] {
        let session = store.begin(begin(number, parent, size), Arc::clone(&domain)).unwrap();
        let told = if parent.is_some() { "the same disk again, by hashes" } else { "a disk, 4 threads" };
        rate(told, size as usize, || {
            ingest::file(&session, &file, 4).unwrap();
        });
        rate("  completing", 0, || {
            session.complete().unwrap();
        });
        println!("  {:?}", session.progress());
    }
}
