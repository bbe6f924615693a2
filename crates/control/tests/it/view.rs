//! The view of the store.

use crate::rig::{Note, Rig, region};
use control::cloud::Mode;
use control::{Result, Txn};
use model::Region;
use model::record::IndexValue;
use std::sync::Arc;
use store::{Commit, Embedded, Key, Options};

async fn change(rig: &Rig, decide: impl Fn(&mut Txn<'_>)) {
    let decide = |txn: &mut Txn<'_>| -> Result<()> {
        decide(txn);
        Ok(())
    };
    rig.cloud.transact(Mode::Shared, decide).await.unwrap();
}

fn within(rig: &Rig, folder: &str) -> Vec<String> {
    let region = region();
    let tables = rig.cloud.view.read();
    tables.find::<Note>(&region, "folder", folder).map(|note| note.name.clone()).collect()
}

#[tokio::test]
async fn indexes_follow_updates_and_deletes() {
    let rig = Rig::new().await;
    change(&rig, |txn| {
        for name in ["c", "a", "b"] {
            txn.put(&region(), Note::within(name, "x"));
        }
    })
    .await;
    assert_eq!(within(&rig, "x"), ["a", "b", "c"]);
    change(&rig, |txn| drop(txn.put(&region(), Note::within("b", "y")))).await;
    assert_eq!((within(&rig, "x"), within(&rig, "y")), (vec!["a".into(), "c".into()], vec!["b".into()]));
    change(&rig, |txn| {
        txn.delete::<Note>(&region(), &"a".to_owned());
        txn.delete::<Note>(&region(), &"b".to_owned());
    })
    .await;
    assert_eq!((within(&rig, "x"), within(&rig, "y")), (vec!["c".into()], vec![]));
    let (region, tables) = (region(), rig.cloud.view.read());
    let counts: Vec<_> = tables.counts::<Note>(&region, "folder").collect();
    assert_eq!(counts, [(&IndexValue::from("x"), 1)], "a value without records is gone");
}

#[tokio::test]
async fn every_change_of_a_record_is_counted_in_its_region() {
    let rig = Rig::new().await;
    let elsewhere = Region::parse("elsewhere-1").unwrap();
    let count = |region: &Region| rig.cloud.view.read().changes::<Note>(region);
    let mut last = count(&region());
    let mut grown = |what: &str| {
        let now = count(&region());
        assert!(now > last, "{what}");
        last = now;
    };
    change(&rig, |txn| drop(txn.put(&region(), Note::within("a", "x")))).await;
    grown("a new record");
    change(&rig, |txn| drop(txn.put(&region(), Note::within("a", "x")))).await;
    grown("the same once more");
    change(&rig, |txn| txn.delete::<Note>(&region(), &"a".to_owned())).await;
    grown("a deletion");
    rig.cloud.view.show_facts(&region(), vec![Note::within("fact", "x")]);
    grown("a fact");
    write_raw(&rig, "{ no record").await;
    let before = count(&region());
    change(&rig, |txn| {
        txn.put(&elsewhere, Note::within("a", "x"));
        txn.claim(&region(), "name", "owner").unwrap();
    })
    .await;
    assert_eq!(count(&region()), before, "nothing of this noun changed here");
    assert!(count(&elsewhere) > 0);
}

#[tokio::test]
async fn claims_are_counted_by_folder() {
    let rig = Rig::new().await;
    let count = |folder| rig.cloud.view.read().count_claims(&region(), folder);
    change(&rig, |txn| {
        for name in ["ip/a/1", "ip/a/2", "ip/b/1", "ipx/a/1"] {
            txn.claim(&region(), name, "owner").unwrap();
        }
    })
    .await;
    assert_eq!((count("ip/"), count("ip/a/"), count("ip/b/"), count("ip/c/")), (3, 2, 1, 0));
    change(&rig, |txn| {
        txn.claim(&region(), "ip/a/1", "owner").unwrap();
        txn.release(&region(), "ip/a/2");
        txn.release(&region(), "ip/b/1");
    })
    .await;
    assert_eq!((count("ip/"), count("ip/a/"), count("ip/b/")), (1, 1, 0));
}

async fn write_raw(rig: &Rig, value: &str) {
    let key = Key::new(format!("{}/note/n", region())).unwrap();
    let revision = rig.cloud.store.commit(Commit::new().put(key, value.as_bytes().to_vec())).await.unwrap();
    rig.cloud.view.reached(revision).await;
}

#[tokio::test]
async fn a_damaged_record_is_left_out_and_nobody_writes_over_it() {
    let rig = Rig::new().await;
    change(&rig, |txn| drop(txn.put(&region(), Note::within("n", "x")))).await;
    write_raw(&rig, "{ no record").await;
    assert_eq!((rig.note("n"), within(&rig, "x").len()), (None, 0), "what it was before is no longer true");
    let over = |txn: &mut Txn<'_>| {
        txn.put(&region(), Note::new("n", "new"));
        Ok(())
    };
    let refused = rig.cloud.transact(Mode::Shared, over).await.unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("InternalError", 500));
    change(&rig, |txn| drop(txn.put(&region(), Note::new("other", "")))).await;
    assert!(rig.note("other").is_some(), "all else goes on");
    write_raw(&rig, r#"{"name":"n","text":"good","folder":"x"}"#).await;
    assert_eq!(within(&rig, "x"), ["n"]);
    change(&rig, |txn| drop(txn.put(&region(), Note::new("n", "new")))).await;
    assert_eq!(rig.note("n").unwrap().text, "new");
}

#[tokio::test]
async fn keys_of_unknown_nouns_and_regions_are_passed_over() {
    let rig = Rig::new().await;
    let mut commit = Commit::new();
    for key in ["us-east-1/unknown/x", "no region/note/x", "us-east-1", "us-east-1/note"] {
        commit = commit.put(Key::new(key).unwrap(), b"{}".to_vec());
    }
    let revision = rig.cloud.store.commit(commit).await.unwrap();
    rig.cloud.view.reached(revision).await;
    assert_eq!((rig.notes(), rig.revision()), (0, revision));
}

/// The view's task holds the store for as long as its runtime lives.
fn in_a_life_of_its_own<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_store_that_is_opened_again_gives_the_same_tables() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let open = || Arc::new(Embedded::open(&path, Options::default()).unwrap());
    let revision = in_a_life_of_its_own(async {
        let rig = Rig::over(open()).await;
        for n in 0..5 {
            change(&rig, |txn| drop(txn.put(&region(), Note::within(&format!("n{n}"), "x")))).await;
        }
        change(&rig, |txn| {
            txn.delete::<Note>(&region(), &"n3".to_owned());
            txn.claim(&region(), "name", "n1").unwrap();
        })
        .await;
        rig.revision()
    });
    in_a_life_of_its_own(async {
        let rig = Rig::over(open()).await;
        assert_eq!(rig.revision(), revision);
        assert_eq!(within(&rig, "x"), ["n0", "n1", "n2", "n4"]);
        assert_eq!(rig.cloud.view.read().claimed(&region(), "name"), Some("n1"));
        change(&rig, |txn| drop(txn.put(&region(), Note::within("n1", "y")))).await;
        assert_eq!((within(&rig, "y"), rig.revision()), (vec!["n1".to_owned()], revision + 1));
    });
}

#[tokio::test]
async fn changes_name_the_records_that_have_changed() {
    let rig = Rig::new().await;
    let mut changes = rig.cloud.view.changes();
    change(&rig, |txn| drop(txn.put(&region(), Note::new("n", "")))).await;
    change(&rig, |txn| txn.delete::<Note>(&region(), &"n".to_owned())).await;
    for _ in 0..2 {
        let changed = changes.recv().await.unwrap();
        assert_eq!((changed.noun, &*changed.id), ("note", "n"));
    }
}
