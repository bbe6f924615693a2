//! One cloud: its store, the view of it, its clock and its settings. Shared by all services and all requests.

use crate::entropy::Entropy;
use crate::host::Host;
use crate::txn::Txn;
use crate::{Policy, Result, View, errors};
use ipnet::Ipv4Net;
use model::{Clock, CloudTag, Region, Zone};
use std::sync::Arc;
use store::{CommitError, Store};

/// What an operator decides when the cloud is made.
#[derive(Debug, Clone)]
pub struct Settings {
    pub tag: CloudTag,
    pub regions: Vec<RegionSettings>,
    /// Where public and elastic addresses come from.
    pub public_pool: Ipv4Net,
}

#[derive(Debug, Clone)]
pub struct RegionSettings {
    pub region: Region,
    pub zones: Vec<Zone>,
}

impl Settings {
    pub fn region(&self, region: &Region) -> Option<&RegionSettings> {
        self.regions.iter().find(|r| r.region == *region)
    }
}

pub struct Cloud {
    pub store: Arc<dyn Store>,
    pub view: Arc<View>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub policy: Arc<dyn Policy>,
    /// The host that carries the instances.
    pub host: Arc<Host>,
    pub settings: Settings,
    /// Held shared by transactions, alone by those that decide upon an absence. One server writes to a store at a time.
    gate: tokio::sync::RwLock<()>,
}

/// Whether others may commit between a transaction's decision and its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Others may; whatever this one read by id is compared at the commit.
    Shared,
    /// Nobody else: for decisions upon something that an index did not find (a delete that nothing may depend on).
    Exclusive,
}

/// How often a transaction is decided anew before the caller is told to come back.
const ATTEMPTS: u32 = 256;

impl Cloud {
    pub fn new(
        store: Arc<dyn Store>,
        view: Arc<View>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        policy: Arc<dyn Policy>,
        settings: Settings,
    ) -> Arc<Self> {
        let gate = tokio::sync::RwLock::new(());
        Arc::new(Self { store, view, clock, entropy, policy, host: Arc::default(), settings, gate })
    }

    /// Decides on the present state and commits what was decided; on a conflict decides again. Returns when the commit is
    /// durable and the view shows it. `decide` may run several times and must have no effect but on its transaction.
    pub async fn transact<T>(
        &self,
        mode: Mode,
        mut decide: impl FnMut(&mut Txn<'_>) -> Result<T>,
    ) -> Result<T> {
        let (_shared, _exclusive);
        match mode {
            Mode::Shared => _shared = self.gate.read().await,
            Mode::Exclusive => _exclusive = self.gate.write().await,
        }
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let (outcome, (commit, written)) = {
                let tables = self.view.read();
                let mut txn = Txn::new(&tables);
                let outcome = decide(&mut txn)?;
                if txn.is_empty() {
                    return Ok(outcome);
                }
                (outcome, txn.into_commit())
            };
            let _expected = self.view.expect(written);
            match self.store.commit(commit).await {
                Ok(revision) => {
                    self.view.reached(revision).await;
                    return Ok(outcome);
                }
                Err(conflict @ CommitError::Conflict { .. }) => {
                    last = Some(conflict);
                    // The winner's commit is on its way into the view.
                    tokio::task::yield_now().await;
                }
                Err(error) => return Err(errors::commit(error)),
            }
        }
        Err(match last {
            Some(conflict) => errors::commit(conflict),
            None => errors::unavailable("no attempt was made"),
        })
    }
}
