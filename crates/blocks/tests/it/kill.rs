//! Processes that are killed in the middle, with a real directory.

use crate::Dice;
use crate::world::*;
use blocks::fsck::Depth;
use blocks::{BlockStore, Directory, Error};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const ROUNDS: u64 = 15;
const BLOCKS: u64 = 8;

fn content(id: u64) -> Disk {
    (0..BLOCKS).map(|index| (index, 1 + (id * 7 + index) % 20)).collect()
}

/// Writes, deletes and collects for ever; tells what is acknowledged.
#[test]
#[ignore = "the child of the test below, which kills it"]
fn child() {
    let store = store(Directory::open(Path::new(&std::env::var("DIRECTORY").unwrap())).unwrap());
    let from: u64 = std::env::var("FROM").unwrap().parse().unwrap();
    let domain = domain((from % 2) as u8);
    // The test's own line has no end yet.
    println!();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                store.collect().unwrap();
            }
        });
        for id in from.. {
            let parent = (id > from).then(|| id - 1);
            write(&store, &domain, id, parent, BLOCKS, &content(id));
            println!("+{id}");
            if id >= from + 2 {
                store.delete(snap(id - 2)).unwrap();
                println!("-{}", id - 2);
            }
        }
    });
}

fn examine(store: &BlockStore, from: u64, told: &[String]) {
    let domain = domain((from % 2) as u8);
    let written = told.iter().filter_map(|line| line.strip_prefix('+')?.parse().ok());
    let deleted: Vec<u64> = told.iter().filter_map(|line| line.strip_prefix('-')?.parse().ok()).collect();
    let written: Vec<u64> = written.collect();
    for id in &written {
        // Its deletion may have begun.
        let going = written.last().is_some_and(|last| id + 2 <= *last);
        match open(store, &domain, *id) {
            Ok(snapshot) => {
                assert!(!deleted.contains(id), "{id} was deleted");
                assert_eq!(read(&snapshot).unwrap(), content(*id), "{id}");
            }
            Err(Error::NoSnapshot(_)) => assert!(going, "{id} was acknowledged"),
            Err(error) => panic!("{id}: {error}"),
        }
    }
    // What was not acknowledged is whole or not there.
    for snapshot in store.snapshots().unwrap() {
        let opened = store.snapshot(snapshot, Arc::clone(&domain)).unwrap();
        assert_eq!(read(&opened).unwrap().len() as u64, BLOCKS);
    }
    let report = store.fsck(Depth::Full).unwrap();
    assert!(report.is_clean() && report.foreign.is_empty(), "{report:?}");
}

#[test]
fn killing_a_writer_and_collector_at_any_moment_loses_nothing_acknowledged() {
    let mut dice = Dice::seeded();
    println!("seed {}", dice.0);
    let directory = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let from = 1 + round * 10_000;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env("DIRECTORY", directory.path())
            .env("FROM", from.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // After so many acknowledgements, and then somewhere within the next steps.
        let wanted = dice.below(6) as usize;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said = |line: &String| line.starts_with('+') || line.starts_with('-');
        let mut told: Vec<String> = lines.by_ref().filter(said).take(wanted).collect();
        std::thread::sleep(std::time::Duration::from_millis(dice.below(60)));
        child.kill().unwrap();
        child.wait().unwrap();
        told.extend(lines.filter(said));
        let store = store(Directory::open(directory.path()).unwrap());
        assert_eq!(std::fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0);
        examine(&store, from, &told);
        for snapshot in store.snapshots().unwrap() {
            store.delete(snapshot).unwrap();
        }
        for session in store.sessions().unwrap() {
            let snapshot = session.begin.snapshot;
            if session.completing {
                store.resume(snapshot, domain((from % 2) as u8)).unwrap().complete().unwrap();
                store.delete(snapshot).unwrap();
            } else {
                store.abort(snapshot).unwrap();
            }
        }
        for _ in 0..2 {
            store.collect().unwrap();
        }
        assert_eq!(store.fsck(Depth::Full).unwrap().blocks, 0, "round {round}");
    }
}
