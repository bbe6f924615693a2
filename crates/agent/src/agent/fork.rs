//! Forks: an instant of a running machine, memory and volumes, kept for other instances to go on from.
//!
//! ```text
//! volumes' files freeze ─► memory is written while the machine runs ─► it stands still: it writes to new files, the rest is written
//! ─► it runs ─► what the frozen files hold is kept apart ─► those are no snapshots any more, and join the volumes' layers
//! └──────────────────────── one set, nobody else at the volumes' files ──────────────────────────────────────┘
//! ```
//! The frozen files are those of snapshots which nobody asked for: an agent that dies in the middle leaves what [`sweep`](super::sweep)
//! takes for strays and removes, and a machine that the driver lets go on. No child is heard of before all of it is kept, so
//! there is never half of one.

use super::core::Core;
use super::schedule::Drivers;
use super::snapshot::trim_volume;
use super::tables::{Body, Standing, Tables};
use crate::host::{Block, HostError, Net, Vmm};
use model::host::{InstanceDesired, ObjectKey, Power, StopCause};
use model::{ForkId, InstanceId, SnapshotId, VolumeId};
use plan::host::{ChildState, RunState, is_spent};
use std::sync::Arc;
use std::time::Duration;

/// Keeps the instant; says how long the machine stood still for it.
pub(super) async fn take<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    fork: ForkId,
    instance: InstanceId,
    children: &[InstanceId],
) -> Result<Duration, HostError> {
    let volumes = volumes(&core.tables.lock(), instance)?;
    let set: Vec<(SnapshotId, VolumeId)> = (1..)
        .zip(&volumes)
        .map(|(n, volume)| (SnapshotId::from_entropy(fork.bits().wrapping_add(n)), *volume))
        .collect();
    let taken = {
        let _files = core.files(volumes.iter().copied()).await;
        // They may have changed while others were at the files.
        if self::volumes(&core.tables.lock(), instance)? != volumes {
            return Err(HostError::transient(format!("the volumes of {instance} have just changed")));
        }
        let taken = capture(drivers, fork, instance, children, &set).await;
        for (snapshot, _) in &set {
            if let Err(error) = drivers.block.remove_snapshot(*snapshot).await {
                tracing::warn!(%fork, %snapshot, %error, "what a fork froze is removed when the agent starts anew");
            }
        }
        taken
    };
    for volume in volumes {
        trim_volume(core, drivers, volume).await;
    }
    if taken.is_err()
        && let Err(error) = drivers.vmm.remove_fork(fork).await
    {
        tracing::warn!(%fork, %error, "a fork that failed leaves something behind");
    }
    taken
}

async fn capture<V: Vmm, N: Net, B: Block>(
    drivers: &Drivers<V, N, B>,
    fork: ForkId,
    instance: InstanceId,
    children: &[InstanceId],
    set: &[(SnapshotId, VolumeId)],
) -> Result<Duration, HostError> {
    let (snapshots, volumes): (Vec<_>, Vec<_>) = set.iter().copied().unzip();
    drivers.block.freeze(set).await?;
    let pause = drivers.vmm.fork(instance, fork, &volumes, children).await?;
    drivers.block.captured(&snapshots).await?;
    drivers.block.keep_fork(fork, set).await?;
    Ok(pause)
}

/// The volumes of an instance that runs.
fn volumes(tables: &Tables, instance: InstanceId) -> Result<Vec<VolumeId>, HostError> {
    let desired = desired(tables, instance)
        .filter(|desired| desired.power == Power::On)
        .ok_or_else(|| HostError::permanent(format!("{instance} is not to run here")))?;
    let state = tables.records.get(&instance).map(|record| &record.state);
    if !matches!(state, Some(RunState::Started { run, .. }) if *run == desired.run) {
        return Err(HostError::transient(format!("{instance} does not run yet")));
    }
    let volumes: Vec<VolumeId> = desired.volumes.iter().map(|attachment| attachment.volume).collect();
    match volumes.iter().find(|volume| tables.standing(**volume) != Standing::There) {
        Some(volume) => Err(HostError::transient(format!("{volume} is not there"))),
        None => Ok(volumes),
    }
}

fn desired(tables: &Tables, instance: InstanceId) -> Option<Arc<InstanceDesired>> {
    match &tables.objects.get(&ObjectKey::Instance(instance))?.body {
        Body::Instance(desired) => Some(Arc::clone(desired)),
        Body::Vpc(_) | Body::SecurityGroup(_) | Body::Volume(_) | Body::Snapshot(_) | Body::Gone => None,
    }
}

/// Removes the instants that nobody will begin from any more; of one fork, or of all. What fails is found again by the next.
pub(super) async fn tidy<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    only: Option<ForkId>,
) {
    let kept = match drivers.vmm.forks().await {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(%error, "the forks that are kept are not known");
            return;
        }
    };
    for kept in kept.into_iter().filter(|kept| only.is_none_or(|only| only == kept.fork)) {
        let spent = {
            let tables = core.tables.lock();
            let (new, over) = (RunState::New, RunState::Ended { run: 1, cause: StopCause::Requested });
            let state = |child: &InstanceId| match (
                desired(&tables, *child),
                tables.objects.contains_key(&ObjectKey::Instance(*child)),
            ) {
                (Some(_), _) => {
                    ChildState::Desired(tables.records.get(child).map_or(&new, |record| &record.state))
                }
                // It is to go.
                (None, true) => ChildState::Desired(&over),
                (None, false) => ChildState::Unheard,
            };
            is_spent(kept.children.iter().map(state), kept.age)
        };
        if spent && let Err(error) = drivers.vmm.remove_fork(kept.fork).await {
            tracing::warn!(fork = %kept.fork, %error, "a fork that nobody wants stays for now");
        }
    }
}
