//! A simulated host and an agent on it that can be restarted.

use agent::agent::{Agent, AgentConfig, AgentHandle, Observations};
use agent::desired::Durability;
use agent::directory::Directory;
use agent::host::sim::{SimConfig, SimHost, TokioClock};
use model::host::{Capacity, InstancePhase, ObjectKey, Observed, ObservedBody};
use model::{Clock, MiB, Timestamp};
use plan::host::Graces;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub struct Rig {
    pub sim: SimHost,
    pub directory: Arc<Directory>,
    pub state_dir: tempfile::TempDir,
    pub durability: Durability,
    clock: Arc<dyn Clock>,
    agent: Option<Agent>,
}

/// Runs a test on one thread with time that jumps whenever nothing is left to do.
pub fn in_virtual_time<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

impl Rig {
    pub async fn new(config: SimConfig) -> Self {
        let clock: Arc<dyn Clock> =
            Arc::new(TokioClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
        let sim = SimHost::new(config, Arc::clone(&clock));
        let state_dir = tempfile::tempdir().unwrap();
        let durability = Durability::Cached;
        let mut rig = Self { sim, directory: Arc::default(), state_dir, durability, clock, agent: None };
        rig.start().await;
        rig
    }

    /// Another host, on which nothing stands, in this one's place.
    pub async fn replace(&mut self, config: SimConfig) {
        self.kill();
        self.sim = SimHost::new(config, Arc::clone(&self.clock));
        self.start().await;
    }

    /// Ends the agent wherever it is, as kill -9 would.
    pub fn kill(&mut self) {
        self.agent = None;
    }

    pub async fn start(&mut self) {
        // The lock of the agent before may still be held for an instant: by a child that another test of this process has
        // just forked, until it executes its program.
        let deadline = std::time::Instant::now() + Duration::from_mins(1);
        while let Err(error) = self.try_start().await {
            let busy = error.kind() == std::io::ErrorKind::WouldBlock && std::time::Instant::now() < deadline;
            assert!(busy, "the agent does not start: {error}");
            std::thread::yield_now();
        }
    }

    async fn try_start(&mut self) -> std::io::Result<()> {
        self.directory = Arc::default();
        let config = AgentConfig {
            durability: self.durability,
            graces: Graces { stop: Duration::from_mins(1), reboot: Duration::from_mins(4) },
            ..AgentConfig::new(
                self.state_dir.path().to_owned(),
                "host-1".into(),
                self.sim.boot_id(),
                Capacity { vcpus: 64, memory: MiB(65536) },
                Arc::clone(&self.clock),
            )
        };
        let (sim, directory) = (&self.sim, Arc::clone(&self.directory));
        self.agent = Some(Agent::open(config, sim.clone(), sim.clone(), sim.clone(), directory).await?);
        Ok(())
    }

    pub async fn restart(&mut self) {
        self.kill();
        self.start().await;
    }

    pub fn handle(&self) -> AgentHandle {
        self.agent.as_ref().expect("the agent runs").handle()
    }

    pub async fn phase(&self, n: u32, wanted: impl Fn(&InstancePhase) -> bool) -> InstancePhase {
        let key = ObjectKey::Instance(super::sample::instance_id(n));
        let seen = until(&mut self.handle().subscribe(), |observed| {
            observed.key == key && matches!(&observed.body, ObservedBody::Instance(phase) if wanted(phase))
        })
        .await;
        match seen.body {
            ObservedBody::Instance(phase) => phase,
            other => panic!("{other:?}"),
        }
    }
}

/// Reads observations until one is as wanted, for at most an hour of virtual time.
pub async fn until(observations: &mut Observations, wanted: impl Fn(&Observed) -> bool) -> Observed {
    let mut last = Vec::new();
    let read = async {
        loop {
            let observed = observations.next().await.expect("the agent runs");
            if wanted(&observed) {
                return observed;
            }
            last.push(observed);
        }
    };
    match tokio::time::timeout(Duration::from_hours(1), read).await {
        Ok(observed) => observed,
        Err(tokio::time::error::Elapsed { .. }) => panic!("never observed; seen: {last:#?}"),
    }
}
