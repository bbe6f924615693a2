//! The reconcile driver, in virtual time.

use crate::rig::{Note, Rig, region};
use control::cloud::Mode;
use control::reconcile::{Driver, Next, Reconciler};
use control::view::ChangedKey;
use control::{Record as _, Tables};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

enum Step {
    Done(Next),
    /// Takes so long, then is done.
    Slow(Duration),
    /// Takes so long, then fails.
    Fail(Duration),
    Panic,
}

/// Follows a script, then has nothing more to do.
struct Probe {
    script: Mutex<VecDeque<Step>>,
    runs: Mutex<Vec<(String, Instant)>>,
    running: Mutex<Vec<String>>,
}

impl Reconciler for Probe {
    const NAME: &'static str = "probe";
    type Key = String;

    fn all(&self, tables: &Tables) -> Vec<String> {
        tables.all::<Note>(&region()).map(|note| note.name.clone()).collect()
    }

    fn concerns(&self, changed: &ChangedKey, _: &Tables) -> Vec<String> {
        if changed.noun == Note::NOUN { vec![changed.id.to_string()] } else { Vec::new() }
    }

    async fn reconcile(&self, key: &String) -> Result<Next, String> {
        {
            let mut running = self.running.lock();
            assert!(!running.contains(key), "{key} runs twice at once");
            running.push(key.clone());
        }
        self.runs.lock().push((key.clone(), Instant::now()));
        let step = self.script.lock().pop_front().unwrap_or(Step::Done(Next::Idle));
        if let Step::Slow(long) | Step::Fail(long) = step {
            sleep(long).await;
        }
        self.running.lock().retain(|running| running != key);
        match step {
            Step::Done(next) => Ok(next),
            Step::Slow(_) => Ok(Next::Idle),
            Step::Fail(_) => Err("out of luck".into()),
            Step::Panic => panic!("a bug"),
        }
    }
}

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_hours(1);

fn start(rig: &Rig, script: impl IntoIterator<Item = Step>) -> Arc<Driver<Probe>> {
    let script = Mutex::new(script.into_iter().collect());
    Driver::start(Arc::clone(&rig.cloud), Probe { script, runs: Mutex::default(), running: Mutex::default() })
}

/// When each run began, in milliseconds since the first. Virtual time passes until all is quiet.
async fn runs(driver: &Driver<Probe>) -> Vec<u128> {
    sleep(LONG).await;
    let runs = driver.reconciler().runs.lock();
    runs.iter().map(|(_, at)| at.duration_since(runs[0].1).as_millis()).collect()
}

#[tokio::test(start_paused = true)]
async fn nudges_of_a_running_key_run_it_once_more_when_it_has_ended() {
    let rig = Rig::new().await;
    let driver = start(&rig, [Step::Slow(Duration::from_secs(5))]);
    driver.nudge("a".into());
    sleep(Duration::from_secs(1)).await;
    for _ in 0..10 {
        driver.nudge("a".into());
    }
    assert_eq!(runs(&driver).await, [0, 5000]);
    assert_eq!(driver.status(), []);
}

#[tokio::test(start_paused = true)]
async fn keys_run_beside_each_other() {
    let rig = Rig::new().await;
    let driver = start(&rig, (0..10).map(|_| Step::Slow(Duration::from_secs(5))));
    for n in 0..10 {
        driver.nudge(format!("k{n}"));
    }
    assert_eq!(runs(&driver).await, [0; 10]);
}

#[tokio::test(start_paused = true)]
async fn no_more_keys_run_at_once_than_there_are_slots() {
    let rig = Rig::new().await;
    let driver = start(&rig, (0..100).map(|_| Step::Slow(Duration::from_secs(5))));
    for n in 0..100 {
        driver.nudge(format!("k{n}"));
    }
    let began = runs(&driver).await;
    assert_eq!(began.len(), 100);
    assert_eq!(began.iter().filter(|at| **at == 0).count(), 64);
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_ever_more_slowly_and_are_seen_meanwhile() {
    let rig = Rig::new().await;
    let driver = start(&rig, (0..12).map(|_| Step::Fail(NOW)));
    driver.nudge("a".into());
    sleep(Duration::from_secs(1)).await;
    let status = driver.status();
    assert_eq!(status.len(), 1);
    assert_eq!(status[0].0, "probe/a");
    assert_eq!(status[0].1.last_error.as_deref(), Some("out of luck"));
    assert!((2..=3).contains(&status[0].1.failures) && status[0].1.next_run.is_some());
    let began = runs(&driver).await;
    assert_eq!(began.len(), 13);
    for (n, pair) in began.windows(2).enumerate() {
        let least = (200 << n.min(10)).min(30_000);
        let gap = pair[1] - pair[0];
        assert!((least..=least * 5 / 4 + 1).contains(&gap), "gap {n} is {gap} ms");
    }
    assert_eq!(driver.status(), [], "at rest");
}

#[tokio::test(start_paused = true)]
async fn success_forgets_the_failures_before_it() {
    let rig = Rig::new().await;
    let again = Step::Done(Next::After(Duration::from_mins(1)));
    let driver = start(&rig, [Step::Fail(NOW), Step::Fail(NOW), again, Step::Fail(NOW)]);
    driver.nudge("a".into());
    sleep(Duration::from_secs(30)).await;
    let status = driver.status();
    assert_eq!((status[0].1.failures, &status[0].1.last_error), (0, &None), "waits, and is well");
    let began = runs(&driver).await;
    assert_eq!(began.len(), 5);
    assert!((200..=251).contains(&(began[4] - began[3])), "the backoff starts anew: {began:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_run_that_nudges_its_own_key_does_not_spin() {
    let rig = Rig::new().await;
    let driver = start(&rig, (0..20).map(|_| Step::Fail(Duration::from_millis(10))));
    driver.nudge("a".into());
    for _ in 0..200 {
        sleep(Duration::from_millis(1)).await;
        if !driver.reconciler().running.lock().is_empty() {
            driver.nudge("a".into());
        }
    }
    assert_eq!(driver.reconciler().runs.lock().len(), 1, "the next is due 200 ms after the first's end");
}

#[tokio::test(start_paused = true)]
async fn a_nudge_cuts_a_wait_short() {
    let rig = Rig::new().await;
    let driver = start(&rig, [Step::Done(Next::After(Duration::MAX))]);
    driver.nudge("a".into());
    sleep(Duration::from_secs(7)).await;
    driver.nudge("a".into());
    assert_eq!(runs(&driver).await, [0, 7000]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_its_key() {
    let rig = Rig::new().await;
    let driver = start(&rig, [Step::Panic]);
    driver.nudge("a".into());
    sleep(Duration::from_millis(100)).await;
    // The panic left no trace of its own end.
    driver.reconciler().running.lock().clear();
    assert_eq!(driver.status()[0].1.last_error.as_deref(), Some("panicked: a bug"));
    let began = runs(&driver).await;
    assert_eq!(began.len(), 2);
    assert!((200..=251).contains(&began[1]));
    assert_eq!(driver.status(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_at_the_start_and_what_changes_later_is_reconciled() {
    let rig = Rig::new().await;
    let put = async |name: &str| {
        let put = |txn: &mut control::Txn<'_>| {
            txn.put(&region(), Note::new(name, ""));
            Ok(())
        };
        rig.cloud.transact(Mode::Shared, put).await.unwrap();
    };
    put("early").await;
    let driver = start(&rig, []);
    sleep(LONG).await;
    put("late").await;
    assert_eq!(runs(&driver).await.len(), 2);
    let keys: Vec<String> = driver.reconciler().runs.lock().iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, ["early", "late"]);
}
