//! The control plane's end of the agent channel, against a hand-played agent.

use control::host::{Connection, Host, Unreachable};
use model::host::{
    Capacity, Desired, DesiredBody, FromAgent, Hello, ObjectKey, Observed, ObservedBody, Reply, Request,
    ToAgent, VolumeDesired,
};
use model::{GiB, MiB, Timestamp, VolumeId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

const A: ObjectKey = ObjectKey::Volume(VolumeId::from_entropy(1));
const B: ObjectKey = ObjectKey::Volume(VolumeId::from_entropy(2));

fn wish(key: ObjectKey, generation: u64, size: Option<u32>) -> Desired {
    let ObjectKey::Volume(volume) = key else { panic!("a volume") };
    let body = size.map(|size| {
        DesiredBody::from(VolumeDesired {
            shared: false,
            fork: None,
            volume,
            size: GiB(size),
            image: None,
            snapshot: None,
            limits: None,
            data_key: None,
        })
    });
    Desired { key, generation, body }
}

struct Agent {
    says: UnboundedSender<FromAgent>,
    hears: UnboundedReceiver<ToAgent>,
    served: JoinHandle<()>,
    absorbed: UnboundedReceiver<Observed>,
}

impl Agent {
    fn connect(host: &Arc<Host>) -> Self {
        let (to_agent, hears) = mpsc::unbounded_channel();
        let (says, from_agent) = mpsc::unbounded_channel();
        let (absorb, absorbed) = mpsc::unbounded_channel();
        let serving =
            Arc::clone(host).serve(Connection { to_agent, from_agent }, move |o| drop(absorb.send(o)));
        Self { says, hears, served: tokio::spawn(serving), absorbed }
    }

    fn greet(&self, epoch: u64) {
        let capacity = Capacity { vcpus: 2, memory: MiB(1024) };
        let hello = Hello { host: "h".into(), boot_id: "b".into(), epoch, capacity };
        self.says.send(FromAgent::Hello(hello)).unwrap();
    }

    async fn connected(host: &Arc<Host>) -> Self {
        let mut agent = Self::connect(host);
        agent.greet(1);
        host.connected().await;
        host.complete();
        assert!(matches!(agent.hears.recv().await, Some(ToAgent::Sync { .. })));
        agent
    }

    async fn synced(&mut self) -> Vec<(ObjectKey, u64)> {
        let Some(ToAgent::Sync { objects }) = self.hears.recv().await else { panic!("a sync comes first") };
        objects.iter().map(|object| (object.key, object.generation)).collect()
    }

    async fn asked(&mut self) -> u64 {
        let Some(ToAgent::Request { id, .. }) = self.hears.recv().await else { panic!("a request") };
        id
    }

    fn reply(&self, id: u64, reason: &str) {
        let reply = Reply::Failed { reason: reason.into() };
        self.says.send(FromAgent::Reply { id, reply }).unwrap();
    }

    /// Everything said before is heard.
    async fn leave(self) {
        drop(self.says);
        self.served.await.unwrap();
    }
}

#[test]
fn a_wish_takes_a_new_generation_only_when_it_changes() {
    let host = Host::default();
    assert_eq!(host.generation(A), None);
    assert_eq!(host.set(wish(A, 5, Some(1))), 5);
    assert_eq!(host.set(wish(A, 9, Some(1))), 5, "the same");
    assert_eq!(host.set(wish(A, 9, Some(2))), 9);
    assert_eq!(host.set(wish(A, 9, None)), 10, "never the same generation for another wish");
    assert_eq!((host.generation(A), host.generation(B)), (Some(10), None));
}

#[test]
fn only_a_removal_is_forgotten() {
    let host = Host::default();
    host.set(wish(A, 1, Some(1)));
    host.forget(A);
    assert_eq!(host.generation(A), Some(1));
    host.set(wish(A, 2, None));
    host.forget(A);
    assert_eq!(host.generation(A), None);
}

#[tokio::test]
async fn nothing_is_said_before_the_hello_and_a_sync_comes_first() {
    let host = Arc::new(Host::default());
    host.set(wish(A, 1, Some(1)));
    let mut agent = Agent::connect(&host);
    tokio::task::yield_now().await;
    host.complete();
    host.set(wish(B, 2, Some(1)));
    assert_eq!(host.request(Request::Status).await, Err(Unreachable::Away));
    assert!(!host.is_connected() && agent.hears.is_empty());
    agent.greet(7);
    assert_eq!(agent.synced().await, [(A, 1), (B, 2)]);
    host.connected().await;
    assert_eq!(host.hello().unwrap().epoch, 7);
    host.set(wish(A, 3, Some(2)));
    host.set(wish(A, 4, Some(2)));
    host.set(wish(A, 5, None));
    for generation in [3, 5] {
        let Some(ToAgent::Set { object }) = agent.hears.recv().await else { panic!("a set") };
        assert_eq!((object.key, object.generation), (A, generation));
    }
    assert!(agent.hears.is_empty(), "the same wish is not sent again");
}

#[tokio::test]
async fn a_host_that_comes_before_the_wishes_are_complete_waits_for_them() {
    let host = Arc::new(Host::default());
    let mut agent = Agent::connect(&host);
    agent.greet(1);
    host.connected().await;
    host.set(wish(A, 1, Some(1)));
    assert!(agent.hears.is_empty(), "an incomplete sync would remove what is missing");
    host.complete();
    host.complete();
    assert_eq!(agent.synced().await, [(A, 1)]);
    assert!(agent.hears.is_empty());
}

#[tokio::test]
async fn a_host_that_comes_back_is_told_everything() {
    let host = Arc::new(Host::default());
    let agent = Agent::connected(&host).await;
    host.set(wish(A, 1, Some(1)));
    agent.leave().await;
    assert!(!host.is_connected() && host.hello().is_some());
    host.set(wish(B, 2, None));
    let mut agent = Agent::connect(&host);
    agent.greet(2);
    assert_eq!(agent.synced().await, [(A, 1), (B, 2)]);
    assert_eq!(host.hello().unwrap().epoch, 2);
}

#[tokio::test]
async fn the_end_of_an_old_connection_does_not_end_the_new_one() {
    let host = Arc::new(Host::default());
    let old = Agent::connected(&host).await;
    let mut new = Agent::connect(&host);
    new.greet(2);
    new.synced().await;
    old.leave().await;
    assert!(host.is_connected());
    host.set(wish(A, 1, Some(1)));
    assert!(matches!(new.hears.recv().await, Some(ToAgent::Set { .. })));
}

#[tokio::test]
async fn replies_find_their_questions_in_any_order() {
    let host = Arc::new(Host::default());
    let mut agent = Agent::connected(&host).await;
    let ask = |host: &Arc<Host>| {
        let host = Arc::clone(host);
        tokio::spawn(async move { host.request(Request::Status).await })
    };
    let (first, second) = (ask(&host), ask(&host));
    let (one, two) = (agent.asked().await, agent.asked().await);
    agent.reply(two, "two");
    agent.reply(999, "nobody asked");
    agent.reply(one, "one");
    agent.reply(one, "again");
    assert_eq!(first.await.unwrap(), Ok(Reply::Failed { reason: "one".into() }));
    assert_eq!(second.await.unwrap(), Ok(Reply::Failed { reason: "two".into() }));
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_is_waited_for_ten_seconds_and_one_that_leaves_not_at_all() {
    let host = Arc::new(Host::default());
    assert_eq!(host.request(Request::Status).await, Err(Unreachable::Away));
    let mut agent = Agent::connected(&host).await;
    let began = tokio::time::Instant::now();
    assert_eq!(host.request(Request::Status).await, Err(Unreachable::Silent));
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    let late = agent.asked().await;
    agent.reply(late, "too late");
    let asking = {
        let host = Arc::clone(&host);
        tokio::spawn(async move { host.request(Request::Status).await })
    };
    agent.asked().await;
    agent.leave().await;
    assert_eq!(asking.await.unwrap(), Err(Unreachable::Away));
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn observations_are_passed_on_in_their_order() {
    let host = Arc::new(Host::default());
    let mut agent = Agent::connect(&host);
    for generation in 1..=3 {
        let at = Timestamp::from_millis(0);
        let observed = Observed { key: A, generation, at, body: ObservedBody::Applied };
        agent.says.send(FromAgent::Observed(observed)).unwrap();
    }
    for generation in 1..=3 {
        assert_eq!(agent.absorbed.recv().await.unwrap().generation, generation);
    }
}
