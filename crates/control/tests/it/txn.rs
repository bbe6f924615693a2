//! Transactions under contention.

use crate::rig::{Note, Rig, region};
use control::cloud::Mode;
use control::{Result, Txn, errors};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use store::{
    BoxFuture, Commit, CommitError, Key, Memory, ReadError, Revision, Scan, Store, Versioned, Watch,
    WatchError,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

fn count(txn: &mut Txn<'_>, name: &str) -> u32 {
    txn.get::<Note>(&region(), &name.to_owned()).map_or(0, |note| note.text.parse().unwrap())
}

fn put(txn: &mut Txn<'_>, note: Note) {
    txn.put(&region(), note);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost_among_many_writers_of_one_record() {
    let rig = Rig::new().await;
    let mut writers = JoinSet::new();
    for _ in 0..400 {
        let cloud = Arc::clone(&rig.cloud);
        writers.spawn(async move {
            let add = |txn: &mut Txn<'_>| {
                let next = count(txn, "counter") + 1;
                put(txn, Note::new("counter", next));
                Ok(next)
            };
            cloud.transact(Mode::Shared, add).await.unwrap()
        });
    }
    let mut seen = writers.join_all().await;
    seen.sort_unstable();
    assert_eq!(seen, (1..=400).collect::<Vec<_>>());
    assert_eq!(rig.note("counter").unwrap().text, "400");
    assert_eq!(rig.revision(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_one_callers_alone() {
    let rig = Rig::new().await;
    let mut callers = JoinSet::new();
    for n in 0..100 {
        let cloud = Arc::clone(&rig.cloud);
        callers.spawn(async move {
            let owner = format!("owner-{n}");
            let claim = |txn: &mut Txn<'_>| {
                txn.claim(&region(), "address/10.0.0.4", &owner)
                    .map_err(|taken| errors::unavailable(taken.by))?;
                put(txn, Note::new(&owner, ""));
                Ok(())
            };
            cloud.transact(Mode::Shared, claim).await.is_ok().then_some(owner)
        });
    }
    let winners: Vec<String> = callers.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let tables = rig.cloud.view.read();
    assert_eq!(tables.claimed(&region(), "address/10.0.0.4"), Some(&*winners[0]));
    assert_eq!(tables.all::<Note>(&region()).count(), 1, "those who lost have written nothing");
    assert_eq!(tables.count_claims(&region(), "address/"), 1);
}

#[tokio::test]
async fn a_claim_that_was_released_can_be_had_again_and_by_its_owner_always() {
    let rig = Rig::new().await;
    let claim = |owner: &'static str| {
        let cloud = Arc::clone(&rig.cloud);
        async move {
            let take = |txn: &mut Txn<'_>| Ok(txn.claim(&region(), "name", owner).map_err(|taken| taken.by));
            cloud.transact(Mode::Shared, take).await.unwrap()
        }
    };
    assert_eq!(claim("a").await, Ok(()));
    assert_eq!(claim("a").await, Ok(()));
    assert_eq!(claim("b").await, Err("a".to_owned()));
    let release = |txn: &mut Txn<'_>| {
        assert!(txn.is_claimed(&region(), "name"));
        txn.release(&region(), "name");
        assert!(!txn.is_claimed(&region(), "name"));
        Ok(())
    };
    rig.cloud.transact(Mode::Shared, release).await.unwrap();
    assert_eq!(claim("b").await, Ok(()));
}

#[tokio::test]
async fn the_first_name_that_is_free_is_claimed_each_once() {
    let rig = Rig::new().await;
    let take = |txn: &mut Txn<'_>| {
        let mut first = || txn.claim_first(&region(), "port/", 1..4, "a");
        Ok([first(), first()])
    };
    assert_eq!(rig.cloud.transact(Mode::Shared, take).await.unwrap(), [Some(1), Some(2)]);
    let rest = |txn: &mut Txn<'_>| {
        txn.release(&region(), "port/1");
        let mut first = || txn.claim_first(&region(), "port/", 1..4, "b");
        Ok([first(), first(), first()])
    };
    assert_eq!(rig.cloud.transact(Mode::Shared, rest).await.unwrap(), [Some(1), Some(3), None]);
    let tables = rig.cloud.view.read();
    let holders =
        ["1", "2", "3"].map(|port| tables.claimed(&region(), &format!("port/{port}")).map(str::to_owned));
    assert_eq!(holders, ["b", "a", "b"].map(|holder| Some(holder.to_owned())));
}

async fn make_folder(rig: &Rig) {
    let make = |txn: &mut Txn<'_>| {
        put(txn, Note::new("f", ""));
        Ok(())
    };
    rig.cloud.transact(Mode::Shared, make).await.unwrap();
}

fn delete_folder(txn: &mut Txn<'_>) -> Result<()> {
    if txn.tables().find::<Note>(&region(), "folder", "f").next().is_some() {
        return Err(errors::unavailable("the folder is in use"));
    }
    txn.delete::<Note>(&region(), &"f".to_owned());
    Ok(())
}

fn create_within(txn: &mut Txn<'_>) -> Result<()> {
    if txn.get::<Note>(&region(), &"f".to_owned()).is_none() {
        return Err(errors::unavailable("no such folder"));
    }
    put(txn, Note::within("child", "f"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_never_races_with_the_making_of_what_depends_on_it() {
    for _ in 0..50 {
        let rig = Rig::new().await;
        make_folder(&rig).await;
        let (a, b) = (Arc::clone(&rig.cloud), Arc::clone(&rig.cloud));
        let deleting = tokio::spawn(async move { a.transact(Mode::Exclusive, delete_folder).await.is_ok() });
        let creating = tokio::spawn(async move { b.transact(Mode::Shared, create_within).await.is_ok() });
        let (deleted, created) = (deleting.await.unwrap(), creating.await.unwrap());
        assert!(deleted != created, "one of the two, never both");
        assert_eq!((rig.note("f").is_none(), rig.note("child").is_some()), (deleted, created));
    }
}

/// A memory store whose commits wait for a permit.
struct Held {
    memory: Memory,
    arrived: Arc<Semaphore>,
    let_go: Arc<Semaphore>,
}

impl Store for Held {
    fn get(&self, key: &Key) -> BoxFuture<'_, Result<Option<Versioned>, ReadError>> {
        self.memory.get(key)
    }

    fn scan(&self, prefix: &str) -> BoxFuture<'_, Result<Scan, ReadError>> {
        self.memory.scan(prefix)
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(async move {
            self.arrived.add_permits(1);
            self.let_go.acquire().await.unwrap().forget();
            self.memory.commit(commit).await
        })
    }

    fn watch(&self, after: Revision) -> BoxFuture<'_, Result<Watch, WatchError>> {
        self.memory.watch(after)
    }
}

#[tokio::test]
async fn a_commit_whose_caller_hung_up_still_keeps_exclusive_ones_waiting() {
    let (arrived, let_go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(1)));
    let held = Held { memory: Memory::default(), arrived: Arc::clone(&arrived), let_go: Arc::clone(&let_go) };
    let rig = Rig::over(Arc::new(held)).await;
    make_folder(&rig).await;
    arrived.acquire().await.unwrap().forget();
    let cloud = Arc::clone(&rig.cloud);
    let creating = tokio::spawn(async move { cloud.transact(Mode::Shared, create_within).await });
    arrived.acquire().await.unwrap().forget();
    creating.abort();
    assert!(creating.await.unwrap_err().is_cancelled());
    let cloud = Arc::clone(&rig.cloud);
    let deleting = tokio::spawn(async move { cloud.transact(Mode::Exclusive, delete_folder).await });
    let_go.add_permits(2);
    deleting.await.unwrap().unwrap_err();
    assert!(rig.note("f").is_some() && rig.note("child").is_some());
}

#[tokio::test]
async fn a_transaction_and_its_caller_see_its_own_writes() {
    let rig = Rig::new().await;
    let write = |txn: &mut Txn<'_>| {
        assert_eq!(count(txn, "n"), 0);
        put(txn, Note::new("n", 1));
        assert_eq!(count(txn, "n"), 1);
        txn.delete::<Note>(&region(), &"n".to_owned());
        assert_eq!(count(txn, "n"), 0);
        put(txn, Note::new("n", 2));
        Ok(count(txn, "n"))
    };
    assert_eq!(rig.cloud.transact(Mode::Shared, write).await.unwrap(), 2);
    assert_eq!(rig.note("n").unwrap().text, "2");
}

#[tokio::test]
async fn what_a_transaction_makes_and_deletes_leaves_no_trace() {
    let rig = Rig::new().await;
    let both = |txn: &mut Txn<'_>| {
        put(txn, Note::new("n", ""));
        txn.claim(&region(), "name", "n").unwrap();
        txn.delete::<Note>(&region(), &"n".to_owned());
        txn.release(&region(), "name");
        assert!(txn.is_empty());
        Ok(())
    };
    rig.cloud.transact(Mode::Shared, both).await.unwrap();
    assert_eq!((rig.revision(), rig.notes()), (0, 0));
}

#[tokio::test]
async fn an_error_leaves_no_trace() {
    let rig = Rig::new().await;
    let fail = |txn: &mut Txn<'_>| -> Result<()> {
        put(txn, Note::new("n", ""));
        Err(errors::missing_parameter("X"))
    };
    let error = rig.cloud.transact(Mode::Shared, fail).await.unwrap_err();
    assert_eq!((error.code(), rig.revision()), ("MissingParameter", 0));
}

/// Commits behind the back of whoever decides.
fn meddle(store: &Arc<dyn Store>, note: &Note) {
    let key = Key::new(format!("{}/note/{}", region(), note.name)).unwrap();
    let commit = Commit::new().put(key, serde_json::to_vec(note).unwrap());
    let store = Arc::clone(store);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.commit(commit)).unwrap();
    })
    .join()
    .unwrap();
}

#[tokio::test]
async fn a_decision_on_what_has_changed_is_made_again() {
    let rig = Rig::new().await;
    let runs = AtomicU32::new(0);
    let decide = |txn: &mut Txn<'_>| {
        let seen = count(txn, "read");
        if runs.fetch_add(1, Ordering::Relaxed) == 0 {
            meddle(&rig.cloud.store, &Note::new("read", 7));
        }
        put(txn, Note::new("written", seen));
        Ok(seen)
    };
    assert_eq!(rig.cloud.transact(Mode::Shared, decide).await.unwrap(), 7);
    assert_eq!(runs.into_inner(), 2);
    assert_eq!(rig.note("written").unwrap().text, "7");
}

#[tokio::test]
async fn a_transaction_that_always_loses_gives_up() {
    let rig = Rig::new().await;
    let runs = AtomicU32::new(0);
    let decide = |txn: &mut Txn<'_>| {
        count(txn, "read");
        meddle(&rig.cloud.store, &Note::new("read", runs.fetch_add(1, Ordering::Relaxed)));
        put(txn, Note::new("written", ""));
        Ok(())
    };
    let error = rig.cloud.transact(Mode::Shared, decide).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("Unavailable", 503));
    assert!(rig.note("written").is_none());
}
