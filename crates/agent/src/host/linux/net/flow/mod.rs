//! Flow logs by what the kernel counts: connections that it tracks, and packets that rules refuse.
//!
//! Every few seconds the counters of each VPC with a log are read and taken into a [`Book`], which is stored with the files
//! that are due before these are written: after any end of the agent the next one counts on from there, writes the same
//! files again, and counts nothing twice. No packet comes to user land for this.
//! What a connection has carried is still there for ten seconds after its last packet at least, so none is missed.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html>
//! Differs: what a machine passes on, and what a NAT gateway's own interface carries, is in no log of theirs; connections
//! that were open before the VPC's first log are not counted.

mod gzip;

use super::nft::{Counted, Family, address_behind};
use super::router::Router;
use super::{Inner, State, conntrack};
use crate::host::linux::vmm::replace;
use model::host::{InterfaceDesired, VpcDesired};
use model::{Clock as _, VpcId};
use plan::flow_log::{Book, Count, Observation, Port, Rejected, Tuple, Written};
use plan::net::names::VPC_TABLE;
use plan::net::{RejectedSet, Version, routes};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;

/// How often counters are read: sooner than any flow is forgotten.
pub const EVERY: Duration = Duration::from_secs(5);

/// What survives the agent.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    book: Book,
    /// Files that are being written.
    due: Vec<Written>,
}

/// The books of a cloud's flow logs.
#[derive(Debug)]
pub struct Ledger {
    stored: Stored,
    state: PathBuf,
    /// What all files lie below.
    files: PathBuf,
}

impl Ledger {
    /// Reads the book of an earlier agent, and writes the files that it may not have come to.
    pub fn open(state_dir: &Path, files: &Path) -> io::Result<Self> {
        let state = state_dir.join("flow-logs.json");
        let stored = match std::fs::read(&state) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(%error, "the book of flow logs is damaged and begins anew");
                Stored::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(error) => return Err(error),
        };
        let mut ledger = Self { stored, state, files: files.to_owned() };
        ledger.write_due()?;
        Ok(ledger)
    }

    fn write_due(&mut self) -> io::Result<()> {
        for file in &self.stored.due {
            let path = self.files.join(&file.path);
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            replace(&path, &gzip::compress(file.text.as_bytes()))?;
        }
        self.stored.due.clear();
        Ok(())
    }

    fn store(&self) -> io::Result<()> {
        replace(&self.state, &serde_json::to_vec(&self.stored)?)
    }

    /// Reads the counters of every VPC that has a log, and writes the files of windows that are over.
    pub(super) fn look(&mut self, inner: &Inner, now: i64) -> io::Result<()> {
        {
            let mut state = inner.state.lock();
            self.observe_all(inner, &mut state, now)?;
        }
        if self.stored.book.is_empty() && self.stored.due.is_empty() {
            return Ok(());
        }
        self.stored.book.observed(now);
        self.stored.due.extend(self.stored.book.close(now));
        self.store()?;
        self.write_due()
    }

    /// Notes where the counters of a VPC stand that has its first log: what they count from here on belongs to it. Nothing is
    /// said of other VPCs, which an agent that has just started may not know yet.
    pub(super) fn begin(&mut self, inner: &Inner, vpc: VpcId, now: i64) -> io::Result<()> {
        if self.stored.book.knows(vpc) {
            return Ok(());
        }
        {
            let mut state = inner.state.lock();
            let Some((router, _)) = state.vpcs.get_mut(&vpc) else { return Ok(()) };
            self.observe(inner, router, now)?;
        }
        self.store()
    }

    /// Closes the books of a VPC that is removed.
    pub(super) fn end(&mut self, vpc: VpcId) -> io::Result<()> {
        if self.stored.book.is_empty() {
            return Ok(());
        }
        self.stored.book.end(vpc);
        self.store()
    }

    /// Reads the counters of each VPC that has a log. Those that are known to have none have ended theirs; of a VPC that an
    /// agent has not heard of since it started, nothing is known.
    fn observe_all(&mut self, inner: &Inner, state: &mut State, now: i64) -> io::Result<()> {
        for (id, (router, _)) in &mut state.vpcs {
            match &router.desired {
                Some(vpc) if vpc.flow_logs.is_empty() => self.stored.book.end(*id),
                _ => self.observe(inner, router, now)?,
            }
        }
        Ok(())
    }

    /// Reads the counters of a VPC if it has a log.
    fn observe(&mut self, inner: &Inner, router: &mut Router, now: i64) -> io::Result<()> {
        let Some(vpc) = router.desired.clone().filter(|vpc| !vpc.flow_logs.is_empty()) else {
            return Ok(());
        };
        let ports = ports(inner, router, &vpc);
        let tracked = conntrack::carried(&mut router.conntrack)?;
        let mut rejected = Vec::new();
        for set in RejectedSet::ALL {
            let elements = router.nft.counted(Family::Inet, VPC_TABLE, set.name)?.unwrap_or_default();
            rejected.extend(elements.iter().filter_map(|element| refused(set, element)));
        }
        self.stored.book.observe(now, &Observation { vpc: &vpc, ports, tracked, rejected });
        Ok(())
    }
}

/// Reads counters until the driver is gone.
pub(super) async fn keep(inner: Weak<Inner>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(inner) = inner.upgrade() else { return };
        let look = move || {
            let now = model::clock::SystemClock.now().as_secs();
            inner.ledger.lock().look(&inner, now)
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "flow logs cannot be kept"),
            Err(_) => return,
        }
    }
}

fn ports(inner: &Inner, router: &Router, vpc: &VpcDesired) -> Vec<Port> {
    let standing = router.ports.iter().filter_map(|(id, port)| {
        let wanted = port.wanted.clone().or_else(|| router.derive(*id))?;
        let instance = inner.config.directory.behind(*id).map(|occupant| occupant.instance.instance);
        Some(described(&wanted, vpc, instance))
    });
    standing.collect()
}

fn described(interface: &InterfaceDesired, vpc: &VpcDesired, instance: Option<model::InstanceId>) -> Port {
    let v4 = interface.own_ipv4().map(Into::into);
    let subnet = vpc.subnets.iter().find(|subnet| subnet.subnet == interface.subnet);
    let public = subnet.is_some_and(|subnet| routes::is_public(vpc, subnet));
    Port {
        interface: interface.interface,
        subnet: interface.subnet,
        instance,
        addresses: v4.chain(interface.ipv6.iter().map(|address| (*address).into())).collect(),
        prefixes: interface.ipv6_prefixes.clone(),
        public: public && interface.addresses.iter().any(|address| address.public.is_some()),
    }
}

/// What an element of such a set says.
fn refused(set: RejectedSet, element: &Counted) -> Option<Rejected> {
    let size = match set.version {
        Version::V4 => 4,
        Version::V6 => 16,
    };
    let key = &element.key;
    let address = |at: usize| address_behind(key.get(at..at + size)?, 0);
    let port = |at: usize| {
        let bytes = key.get(at..at + 2).filter(|_| set.ports);
        bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes)
    };
    let behind = 2 * size;
    let tuple = Tuple {
        src: address(0)?,
        dst: address(size)?,
        protocol: *key.get(behind)?,
        src_port: port(behind + 4),
        dst_port: port(behind + 8),
    };
    let count = Count { packets: element.packets, bytes: element.bytes };
    Some(Rejected { tuple, gate: set.gate, count })
}
