//! Removes what stands on the host and nobody desires: what an agent left whose state directory was lost, say.
//!
//! Runs only when the full desired state is known. Machines go first, then ports, then what those stood on. What is
//! found becomes an object without a wish, and goes the way of every removed object.

use super::core::Core;
use super::fork;
use super::schedule::{Drivers, Failure, Next, Outcome};
use super::tables::{Body, Job};
use crate::desired::Held;
use crate::host::{Block, Net, Vmm};
use model::host::{Desired, ObjectKey};
use model::{InstanceId, NetworkInterfaceId};
use std::collections::HashSet;

pub(super) async fn sweep<V: Vmm, N: Net, B: Block>(core: &Core, drivers: &Drivers<V, N, B>) -> Outcome {
    let machines = drivers.vmm.machines().await?;
    // A record without a wish may hold parts although no machine stands.
    let remembered: Vec<InstanceId> = core.tables.lock().records.keys().copied().collect();
    let strays = adopt_strays(core, machines.into_iter().chain(remembered).map(ObjectKey::Instance));
    if strays > 0 {
        return Err(Failure(format!("{strays} machines that nobody desires are being removed first")));
    }
    let standing = drivers.net.standing().await?;
    // The desired state is read after the host: a port that was opened in between is known by now.
    let known: HashSet<NetworkInterfaceId> = {
        let tables = core.tables.lock();
        let desired = tables.objects.values().filter_map(|object| match &object.body {
            Body::Instance(desired) => Some(desired.interfaces.iter().map(|interface| interface.interface)),
            Body::Vpc(_) | Body::SecurityGroup(_) | Body::Volume(_) | Body::Snapshot(_) | Body::Gone => None,
        });
        desired
            .flatten()
            .chain(tables.records.values().flat_map(|record| record.ports.iter().copied()))
            .collect()
    };
    for port in standing.ports.into_iter().filter(|port| !known.contains(port)) {
        drivers.net.remove_port(port).await?;
    }
    fork::tidy(core, drivers, None).await;
    let volumes = drivers.block.volumes().await?;
    let snapshots = drivers.block.snapshots().await?;
    let groups = standing.security_groups.into_iter().map(ObjectKey::SecurityGroup);
    let vpcs = standing.vpcs.into_iter().map(ObjectKey::Vpc);
    let volumes = volumes.into_iter().map(ObjectKey::Volume);
    let snapshots = snapshots.into_iter().map(ObjectKey::Snapshot);
    adopt_strays(core, groups.chain(vpcs).chain(volumes).chain(snapshots));
    Ok(Next::Idle)
}

/// Has those removed of which no wish is known; says how many are still there.
fn adopt_strays(core: &Core, standing: impl Iterator<Item = ObjectKey>) -> usize {
    let mut strays = 0;
    let mut tables = core.tables.lock();
    for key in standing {
        match tables.objects.get(&key) {
            Some(object) if object.forgotten && object.generation == 0 => strays += 1,
            Some(_) => {}
            None => {
                tracing::warn!(%key, "stands on the host, and nobody desires it");
                let desired = Desired { key, generation: 0, body: None };
                tables.put(&Held { forgotten: true, ..Held::new(desired) }, Body::Gone);
                tables.nudge(Job::Object(key));
                strays += 1;
            }
        }
    }
    drop(tables);
    core.pending.notify_one();
    strays
}
