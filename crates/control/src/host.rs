//! The control plane's side of the agent channel: desired objects out, observations in, questions and answers.
//!
//! Desired objects are derived from records and not stored: the server holds the latest form of each, sends it when it
//! changes, and sends everything when a host (re)connects. Generations are revisions of the store, so they grow across
//! restarts of the server.

use model::host::{Desired, FromAgent, Hello, ObjectKey, Observed, Reply, Request, ToAgent};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// A host cannot answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// No agent is connected.
    Away,
    /// It did not answer in time.
    Silent,
}

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Away => "the host's agent is not connected",
            Self::Silent => "the host's agent did not answer in time",
        })
    }
}

/// One connection to an agent, whatever carries it (a unix socket, a pair of channels).
pub struct Connection {
    pub to_agent: mpsc::UnboundedSender<ToAgent>,
    pub from_agent: mpsc::UnboundedReceiver<FromAgent>,
}

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct State {
    desired: BTreeMap<ObjectKey, Desired>,
    /// Desired objects are complete enough to sync: set once every reconciler has spoken after a start.
    complete: bool,
    /// The way to the agent, from its hello on: a sync comes first on each connection.
    outgoing: Option<mpsc::UnboundedSender<ToAgent>>,
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
    next_request: u64,
    hello: Option<Hello>,
}

/// The one host that this server drives.
pub struct Host {
    state: Mutex<State>,
    connected: watch::Sender<bool>,
}

impl Default for Host {
    fn default() -> Self {
        Self { state: Mutex::default(), connected: watch::Sender::new(false) }
    }
}

impl Host {
    /// Sets the wish for one object, derived from the view at the revision that is its generation. Whoever calls holds
    /// the view's guard meanwhile, so that wishes come in the order of their revisions. Sends it when it differs from the last. Returns its generation.
    pub fn set(&self, mut desired: Desired) -> u64 {
        let mut state = self.state.lock();
        if let Some(known) = state.desired.get(&desired.key) {
            if known.body == desired.body {
                return known.generation;
            }
            desired.generation = desired.generation.max(known.generation + 1);
        }
        let generation = desired.generation;
        state.desired.insert(desired.key, desired.clone());
        if state.complete
            && let Some(outgoing) = &state.outgoing
        {
            // A closed channel is noticed by the reader; the next connection syncs.
            let _ = outgoing.send(ToAgent::Set { object: Box::new(desired) });
        }
        generation
    }

    /// Forgets an object whose removal was observed.
    pub fn forget(&self, key: ObjectKey) {
        let mut state = self.state.lock();
        if state.desired.get(&key).is_some_and(|d| d.body.is_none()) {
            state.desired.remove(&key);
        }
    }

    /// The generation of the present wish for an object: observations of an earlier one are stale.
    pub fn generation(&self, key: ObjectKey) -> Option<u64> {
        self.state.lock().desired.get(&key).map(|d| d.generation)
    }

    /// Looks at the present wish for an object.
    pub fn wish<T>(&self, key: ObjectKey, look: impl FnOnce(&Desired) -> T) -> Option<T> {
        self.state.lock().desired.get(&key).map(look)
    }

    /// Says that `set` was called for everything there is: from now on what is missing may be removed from the host.
    pub fn complete(&self) {
        let mut state = self.state.lock();
        if !state.complete {
            state.complete = true;
            state.sync();
        }
    }

    /// Wishes for nothing any more: whatever the host holds is removed, and nobody waits to hear of it.
    pub fn forget_everything(&self) {
        let mut state = self.state.lock();
        state.desired.clear();
        if state.complete {
            state.sync();
        }
    }

    pub fn hello(&self) -> Option<Hello> {
        self.state.lock().hello.clone()
    }

    /// Waits until an agent is connected.
    pub async fn connected(&self) {
        // The sender is ours: the channel cannot close.
        let _ = self.connected.subscribe().wait_for(|up| *up).await;
    }

    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Asks the agent and waits for its answer.
    pub async fn request(&self, request: Request) -> Result<Reply, Unreachable> {
        self.request_patiently(request, PATIENCE).await
    }

    /// The same for what may take longer.
    pub async fn request_patiently(
        &self,
        request: Request,
        patience: Duration,
    ) -> Result<Reply, Unreachable> {
        let (answer, receiver) = oneshot::channel();
        let id = {
            let mut state = self.state.lock();
            let id = state.next_request;
            state.next_request += 1;
            // Those whose caller has hung up.
            state.waiting.retain(|_, waiting| !waiting.is_closed());
            let outgoing = state.outgoing.as_ref().ok_or(Unreachable::Away)?;
            outgoing.send(ToAgent::Request { id, request }).map_err(|_| Unreachable::Away)?;
            state.waiting.insert(id, answer);
            id
        };
        let reply = tokio::time::timeout(patience, receiver).await;
        self.state.lock().waiting.remove(&id);
        match reply {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(Unreachable::Away),
            Err(_) => Err(Unreachable::Silent),
        }
    }

    /// Serves one connection until it ends, passing observations to `absorb`.
    pub async fn serve(self: Arc<Self>, mut connection: Connection, absorb: impl Fn(Observed) + Send + Sync) {
        while let Some(message) = connection.from_agent.recv().await {
            match message {
                FromAgent::Hello(hello) => {
                    tracing::info!(
                        host = hello.host,
                        boot = hello.boot_id,
                        epoch = hello.epoch,
                        "agent connected"
                    );
                    let mut state = self.state.lock();
                    state.hello = Some(hello);
                    state.outgoing = Some(connection.to_agent.clone());
                    if state.complete {
                        state.sync();
                    }
                    drop(state);
                    self.connected.send_replace(true);
                }
                FromAgent::Observed(observed) => absorb(observed),
                FromAgent::Reply { id, reply } => {
                    if let Some(waiting) = self.state.lock().waiting.remove(&id) {
                        let _ = waiting.send(reply);
                    }
                }
            }
        }
        let mut state = self.state.lock();
        // A newer connection may have taken over.
        if state.outgoing.as_ref().is_some_and(|present| present.same_channel(&connection.to_agent)) {
            state.outgoing = None;
            state.waiting.clear();
            self.connected.send_replace(false);
        }
        drop(state);
        tracing::warn!("the agent's connection ended");
    }
}

impl State {
    fn sync(&self) {
        if let Some(outgoing) = &self.outgoing {
            let objects = self.desired.values().cloned().collect();
            let _ = outgoing.send(ToAgent::Sync { objects });
        }
    }
}
