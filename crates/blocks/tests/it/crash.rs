//! The process dies at every single step of writing, deleting and collecting.

use crate::world::*;
use blocks::{BlockStore, Domain, Error, Fault, Faulty, Memory};
use std::sync::Arc;

fn first() -> Disk {
    Disk::from([(0, 11), (1, 12), (3, 14)])
}

fn second() -> Disk {
    Disk::from([(1, 0), (2, 23), (3, 11)])
}

/// What every life does.
fn story(store: &BlockStore, domain: &Arc<Domain>) -> blocks::Result<()> {
    let session = store.begin(begin(2, Some(1), 4), Arc::clone(domain))?;
    for (index, number) in second() {
        session.put_block(index, &block(number))?;
    }
    session.checkpoint()?;
    store.collect()?;
    store.delete(snap(1))?;
    store.collect()?;
    session.complete()?;
    store.collect()?;
    store.collect()?;
    Ok(())
}

/// How many calls it takes.
fn length(domain: &Arc<Domain>) -> u64 {
    let objects = Faulty::new(Memory::default());
    let store = store(objects.clone());
    write(&store, domain, 1, None, 4, &first());
    let before = objects.calls();
    story(&store, domain).unwrap();
    objects.calls() - before
}

/// One life after another, each of which dies at the next step; what was acknowledged must be there.
fn lives(of: u8, crash: Fault) {
    let domain = domain(of);
    let length = length(&domain);
    assert!(length > 80, "{length}");
    for at in 0..length {
        let told = format!("dies at call {at} by {crash:?}");
        let objects = Faulty::new(Memory::default());
        let store = store(objects.clone());
        write(&store, &domain, 1, None, 4, &first());
        objects.fail_at(at, crash);
        let survived = story(&store, &domain).is_ok();
        objects.heal();
        objects.cut_power(at);
        // Another process.
        let store = crate::world::store(objects.clone());
        let visible = store.snapshots().unwrap().contains(&snap(2));
        let both = changed(&first(), &second());
        assert!(visible || !survived, "{told}");
        if visible {
            assert_eq!(read(&open(&store, &domain, 2).unwrap()).unwrap(), both, "{told}");
        } else {
            assert!(matches!(open(&store, &domain, 2), Err(Error::NoSnapshot(_))), "{told}");
        }
        if store.snapshots().unwrap().contains(&snap(1)) {
            assert_eq!(read(&open(&store, &domain, 1).unwrap()).unwrap(), first(), "{told}");
        }
        assert!(store.fsck(blocks::fsck::Depth::Full).unwrap().is_clean(), "{told}");
        // What was in progress can go on, also after a collection.
        store.collect().unwrap();
        match store.resume(snap(2), Arc::clone(&domain)) {
            Ok(session) => {
                if !visible {
                    for (index, number) in second() {
                        session.put_block(index, &block(number)).unwrap();
                    }
                }
                session.complete().unwrap();
                assert_eq!(read(&open(&store, &domain, 2).unwrap()).unwrap(), both, "{told}");
            }
            Err(Error::Exists(_)) => assert!(visible, "{told}"),
            Err(Error::NoSession(_) | Error::Aborted(_) | Error::NoSnapshot(_)) => {}
            Err(error) => panic!("{told}: {error}"),
        }
        for id in store.snapshots().unwrap() {
            store.delete(id).unwrap();
        }
        for open in store.sessions().unwrap() {
            store.abort(open.begin.snapshot).unwrap();
        }
        for _ in 0..3 {
            store.collect().unwrap();
        }
        let left = store.fsck(blocks::fsck::Depth::Full).unwrap();
        assert_eq!((left.blocks, left.leaves, left.sessions), (0, 0, 0), "{told}");
    }
}

#[test]
fn a_death_at_any_step_loses_nothing_and_leaves_nothing_behind() {
    lives(0, Fault::Crash);
}

#[test]
fn a_failed_call_at_any_step_loses_nothing_and_leaves_nothing_behind() {
    std::thread::scope(|scope| {
        for fault in [Fault::Error, Fault::ErrorAfterWork, Fault::Torn, Fault::Full] {
            scope.spawn(move || lives(1, fault));
        }
    });
}
