//! Snapshots: first their instant, then their data.
//!
//! ```text
//! wait for the reboot ─► volumes' files freeze ─► machines write to new ones ─► record: captured ─► data is stored ─► record: ended
//! └──────── one set, nobody else at the volumes' files ───────┘
//! ```
//! Invariants:
//! - an instant is fixed once, for all snapshots that are taken together; what was done of it before a crash is finished;
//! - a volume is not removed while a snapshot of it is still to be taken, nor a snapshot while something is being made of it;
//! - what lacks a key that it needs waits for it; the instant of one set is not fixed before all of its volumes are there;
//! - what is archived, or is about to be, is nothing that the host still needs ([`tier`]);
//! - a guest that is down for the reboot which a snapshot waits for is not reset before the snapshot is taken.
//!
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-creating-snapshot.html>

mod tier;

use super::core::Core;
use super::schedule::{Drivers, Failure, Next, Outcome};
use super::tables::{Body, Job, Standing};
use crate::host::{Block, Fault, HostError, Net, Vmm};
use model::host::{Downtime, ObjectKey, ObservedBody, SnapshotDesired, SnapshotPhase, SnapshotSource, Tier};
use model::{InstanceId, SnapshotId, VolumeId};
use plan::host::{Asked, RunState, SnapshotRecord, is_due};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often the host is asked how far the data of a snapshot has come.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What became of an attempt to fix the instant of a snapshot.
enum Instant {
    Fixed,
    /// It is still to come.
    Waiting(String),
}

pub(super) async fn reconcile<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    snapshot: SnapshotId,
) -> Outcome {
    let key = ObjectKey::Snapshot(snapshot);
    let due = core.tables.lock().due(key);
    let Some((generation, body)) = due else { return Ok(Next::Idle) };
    match body {
        Body::Snapshot(desired) => ensure(core, drivers, &desired, generation).await,
        Body::Gone => remove(core, drivers, snapshot, generation).await,
        Body::Vpc(_) | Body::SecurityGroup(_) | Body::Volume(_) | Body::Instance(_) => Ok(Next::Idle),
    }
}

async fn ensure<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    desired: &SnapshotDesired,
    generation: u64,
) -> Outcome {
    let key = ObjectKey::Snapshot(desired.snapshot);
    let record = core.tables.lock().snapshots.get(&desired.snapshot).cloned();
    if !matches!(record.as_deref(), Some(SnapshotRecord::Ended(_))) {
        let needed = std::iter::once(key).chain(made_of(desired));
        let lacking = core.tables.lock().first_lacking_key(needed, key);
        if let Some(lacking) = lacking {
            return Ok(Next::Blocked(format!("waits for the key of {lacking}")));
        }
    }
    match record.as_deref() {
        Some(SnapshotRecord::Ended(SnapshotPhase::Completed { tier, .. })) if *tier != desired.tier => {
            return tier::change(core, drivers, desired, generation).await;
        }
        Some(SnapshotRecord::Ended(phase)) => {
            // What an agent that died had done of it, or what is lost.
            if matches!(phase, SnapshotPhase::Completed { .. })
                && drivers.block.is_fast(desired.snapshot).await? != (desired.tier == Tier::Fast)
            {
                return tier::change(core, drivers, desired, generation).await;
            }
            core.applied(key, generation, ObservedBody::Snapshot(phase.clone())).await?;
            return Ok(Next::Idle);
        }
        Some(SnapshotRecord::Captured) => {}
        None => match fix_instant(core, drivers, desired).await {
            Ok(Instant::Fixed) => {}
            Ok(Instant::Waiting(why)) => {
                core.report(key, generation, ObservedBody::Snapshot(SnapshotPhase::Waiting));
                tracing::debug!(%key, why, "a snapshot waits");
                return Ok(Next::At(core.clock.now() + core.resync));
            }
            Err(error) => return failed(core, desired, generation, error).await,
        },
    }
    let source = match desired.source {
        SnapshotSource::Copy(source) => core.tables.lock().data_key(ObjectKey::Snapshot(source)),
        SnapshotSource::Volume { .. } | SnapshotSource::Direct { .. } => None,
    };
    match drivers.block.store_snapshot(desired, source.as_ref()).await {
        Ok(phase @ (SnapshotPhase::Waiting | SnapshotPhase::Pending { .. })) => {
            core.report(key, generation, ObservedBody::Snapshot(phase));
            let is_open = matches!(desired.source, SnapshotSource::Direct { seal: None, .. });
            // Its owner says when it goes on.
            Ok(if is_open { Next::Idle } else { Next::At(core.clock.now() + LOOK_AGAIN) })
        }
        // It is there, and goes to where it is desired.
        Ok(phase @ SnapshotPhase::Completed { tier, .. }) if tier != desired.tier => {
            core.write_snapshot(desired.snapshot, SnapshotRecord::Ended(phase)).await?;
            trim(core, drivers, desired).await;
            Ok(Next::At(core.clock.now()))
        }
        Ok(phase @ (SnapshotPhase::Completed { .. } | SnapshotPhase::Failed { .. })) => {
            end(core, desired, generation, phase).await?;
            trim(core, drivers, desired).await;
            Ok(Next::Idle)
        }
        // Of one that is completed.
        Ok(SnapshotPhase::Moving { .. } | SnapshotPhase::Unmovable { .. }) => {
            Err(Failure("this is a bug: a snapshot is moved before it is completed".into()))
        }
        Err(error) => failed(core, desired, generation, error).await,
    }
}

/// What a snapshot is made of: another, or the volumes of its set.
fn made_of(desired: &SnapshotDesired) -> Vec<ObjectKey> {
    match &desired.source {
        SnapshotSource::Copy(source) => vec![ObjectKey::Snapshot(*source)],
        SnapshotSource::Direct { parent, .. } => parent.iter().copied().map(ObjectKey::Snapshot).collect(),
        SnapshotSource::Volume { volume, together, .. } => {
            let volumes = std::iter::once(volume).chain(together.iter().map(|(_, volume)| volume));
            volumes.map(|volume| ObjectKey::Volume(*volume)).collect()
        }
    }
}

/// What can never succeed is the snapshot's end.
async fn failed(core: &Core, desired: &SnapshotDesired, generation: u64, error: HostError) -> Outcome {
    if error.fault == Fault::Transient {
        return Err(error.into());
    }
    tracing::warn!(snapshot = %desired.snapshot, %error, "a snapshot cannot be completed");
    end(core, desired, generation, SnapshotPhase::Failed { reason: error.to_string() }).await?;
    Ok(Next::Idle)
}

async fn end(
    core: &Core,
    desired: &SnapshotDesired,
    generation: u64,
    phase: SnapshotPhase,
) -> Result<(), Failure> {
    core.write_snapshot(desired.snapshot, SnapshotRecord::Ended(phase.clone())).await?;
    core.applied(ObjectKey::Snapshot(desired.snapshot), generation, ObservedBody::Snapshot(phase)).await?;
    Ok(())
}

async fn fix_instant<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    desired: &SnapshotDesired,
) -> Result<Instant, HostError> {
    let key = ObjectKey::Snapshot(desired.snapshot);
    match &desired.source {
        SnapshotSource::Copy(source) => {
            if core.tables.lock().is_awaited(ObjectKey::Snapshot(*source), key) {
                return Ok(Instant::Waiting(format!("{source} is not completed")));
            }
            captured(core, &[desired.snapshot]).await?;
            Ok(Instant::Fixed)
        }
        SnapshotSource::Direct { parent, .. } => {
            let awaited =
                parent.filter(|parent| core.tables.lock().is_awaited(ObjectKey::Snapshot(*parent), key));
            if let Some(parent) = awaited {
                return Ok(Instant::Waiting(format!("{parent} is not completed")));
            }
            captured(core, &[desired.snapshot]).await?;
            Ok(Instant::Fixed)
        }
        SnapshotSource::Volume { volume, during, .. } => {
            if drivers.block.is_captured(desired.snapshot).await? {
                captured(core, &[desired.snapshot]).await?;
                return Ok(Instant::Fixed);
            }
            {
                let mut tables = core.tables.lock();
                match tables.standing(*volume) {
                    Standing::There => {}
                    Standing::Gone => {
                        return Err(HostError::permanent(format!("{volume} is gone")));
                    }
                    Standing::ToCome => {
                        tables.wait(key, ObjectKey::Volume(*volume));
                        return Ok(Instant::Waiting(format!("{volume} is not there yet")));
                    }
                }
            }
            if let Some(during) = during
                && !is_now(core, drivers, *during, key).await?
            {
                return Ok(Instant::Waiting(format!("{} has not shut down for its reboot", during.instance)));
            }
            capture(core, drivers, desired).await
        }
    }
}

/// Whether a guest is down for a reboot, or that reboot is past. If not, `who` is nudged when the instance changes.
async fn is_now<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    during: Downtime,
    who: ObjectKey,
) -> Result<bool, HostError> {
    core.tables.lock().wait(who, ObjectKey::Instance(during.instance));
    let machine = drivers.vmm.state(during.instance).await?;
    let record = core.tables.lock().records.get(&during.instance).cloned().unwrap_or_default();
    Ok(is_due(during, &record, machine))
}

/// Fixes the instant of a snapshot, and of those that are taken together with it. One that was removed while its volume's
/// files were busy is left alone: nobody would remove it again.
async fn capture<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    desired: &SnapshotDesired,
) -> Result<Instant, HostError> {
    let SnapshotSource::Volume { volume, together, .. } = &desired.source else { return Ok(Instant::Fixed) };
    let mut set: BTreeSet<(SnapshotId, VolumeId)> = together.iter().copied().collect();
    set.insert((desired.snapshot, *volume));
    let _files = core.files(set.iter().map(|(_, volume)| *volume)).await;
    let taking = {
        let mut tables = core.tables.lock();
        // Whoever was faster took all of them.
        if tables.snapshots.contains_key(&desired.snapshot) {
            return Ok(Instant::Fixed);
        }
        let own = tables.objects.get(&ObjectKey::Snapshot(desired.snapshot));
        if !own.is_some_and(|object| matches!(object.body, Body::Snapshot(_))) {
            return Ok(Instant::Waiting("it is not wanted any more".into()));
        }
        set.retain(|(snapshot, volume)| {
            let unwanted = tables.objects.get(&ObjectKey::Snapshot(*snapshot)).map_or_else(
                || tables.removed.contains(snapshot),
                |object| matches!(object.body, Body::Gone),
            );
            let is_own = *snapshot == desired.snapshot;
            is_own
                || (!unwanted
                    && tables.standing(*volume) == Standing::There
                    && !tables.snapshots.contains_key(snapshot))
        });
        tables.being_taken.extend(set.iter().map(|(snapshot, _)| *snapshot));
        Taking { core, snapshots: set.iter().map(|(snapshot, _)| *snapshot).collect() }
    };
    let set: Vec<(SnapshotId, VolumeId)> = set.into_iter().collect();
    drivers.block.freeze(&set).await?;
    follow(core, drivers, set.iter().map(|(_, volume)| *volume)).await?;
    drivers.block.captured(&taking.snapshots).await?;
    captured(core, &taking.snapshots).await?;
    Ok(Instant::Fixed)
}

/// Until it is dropped none of these is removed: what was taken after that would stay.
struct Taking<'a> {
    core: &'a Core,
    snapshots: Vec<SnapshotId>,
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        let mut tables = self.core.tables.lock();
        for snapshot in &self.snapshots {
            tables.being_taken.remove(snapshot);
            tables.nudge(Job::Object(ObjectKey::Snapshot(*snapshot)));
        }
        drop(tables);
        self.core.pending.notify_one();
    }
}

/// Has the machines that hold these volumes write to the volumes' newest files.
async fn follow<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    volumes: impl Iterator<Item = VolumeId>,
) -> Result<(), HostError> {
    let volumes: Vec<VolumeId> = volumes.collect();
    let mut holders: BTreeMap<InstanceId, usize> = BTreeMap::new();
    {
        let tables = core.tables.lock();
        for holder in volumes.iter().flat_map(|volume| tables.holders(ObjectKey::Volume(*volume))) {
            *holders.entry(holder).or_default() += 1;
        }
    }
    // Who has all of them first: only there is it one instant, if others have some of them too.
    let mut holders: Vec<(InstanceId, usize)> = holders.into_iter().collect();
    holders.sort_by_key(|(_, held)| Reverse(*held));
    for (holder, _) in holders {
        drivers.vmm.follow(holder, &volumes).await?;
    }
    Ok(())
}

/// Notes that the instant of these is fixed, and tells those who wait for it.
async fn captured(core: &Core, snapshots: &[SnapshotId]) -> Result<(), HostError> {
    for snapshot in snapshots {
        let noted = core.write_snapshot(*snapshot, SnapshotRecord::Captured).await;
        noted.map_err(|e| HostError::transient("the agent's state directory").caused_by(e))?;
        let mut tables = core.tables.lock();
        tables.nudge_waiters(ObjectKey::Snapshot(*snapshot));
        tables.nudge(Job::Object(ObjectKey::Snapshot(*snapshot)));
    }
    core.pending.notify_one();
    Ok(())
}

/// Takes the snapshots that wait for the reset which is about to happen. One that can never be taken does not keep the
/// guest down.
pub(super) async fn before_reset<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    instance: InstanceId,
    state: &RunState,
) -> Result<(), HostError> {
    let RunState::Started { run, asked: Asked::ResetFromOff { to } | Asked::HardReset { to }, .. } = state
    else {
        return Ok(());
    };
    let due: Vec<Arc<SnapshotDesired>> = core.tables.lock().due_before_reset(instance, *run, *to);
    for desired in due {
        match capture(core, drivers, &desired).await {
            Err(error) if error.fault == Fault::Transient => return Err(error),
            Err(error) => tracing::warn!(snapshot = %desired.snapshot, %error, "cannot be taken"),
            Ok(Instant::Fixed | Instant::Waiting(_)) => {}
        }
    }
    Ok(())
}

/// Joins the layers of a volume that no snapshot needs any more. What fails here is done after the next snapshot, or when the
/// agent starts anew.
async fn trim<V: Vmm, N: Net, B: Block>(core: &Core, drivers: &Drivers<V, N, B>, desired: &SnapshotDesired) {
    if let SnapshotSource::Volume { volume, .. } = desired.source {
        trim_volume(core, drivers, volume).await;
    }
}

pub(super) async fn trim_volume<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    volume: VolumeId,
) {
    let _files = core.files([volume]).await;
    let data_key = {
        let tables = core.tables.lock();
        let of = ObjectKey::Volume(volume);
        // They are joined once the key is there, when the volume is looked at again.
        if tables.objects.get(&of).is_some_and(|object| object.lacks_key) {
            return;
        }
        tables.data_key(of)
    };
    let trimmed = async {
        // A machine that still writes to a frozen layer must not be overtaken.
        follow(core, drivers, std::iter::once(volume)).await?;
        drivers.block.trim(volume, data_key.as_ref()).await?;
        follow(core, drivers, std::iter::once(volume)).await
    };
    if let Err(error) = trimmed.await {
        tracing::warn!(%volume, %error, "its layers stay apart for now");
    }
}

/// Has volumes stand on what they lacked, as it comes onto the host. What fails here is tried again.
pub(super) async fn take_in_filled<V: Vmm, N: Net, B: Block>(
    core: Arc<Core>,
    drivers: Arc<Drivers<V, N, B>>,
) {
    loop {
        let volume = drivers.block.filled().await;
        let taken_in = async {
            let _files = core.files([volume]).await;
            drivers.block.take_in(volume).await?;
            follow(&core, &drivers, std::iter::once(volume)).await?;
            drivers.block.taken_in(volume).await
        };
        match taken_in.await {
            Ok(()) => {
                core.tables.lock().nudge_waiters(ObjectKey::Volume(volume));
                core.pending.notify_one();
            }
            Err(error) => tracing::warn!(%volume, %error, "it is served from its snapshot for now"),
        }
    }
}

async fn remove<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    snapshot: SnapshotId,
    generation: u64,
) -> Outcome {
    let key = ObjectKey::Snapshot(snapshot);
    if core.tables.lock().being_taken.contains(&snapshot) {
        return Ok(Next::Blocked("it is being taken".into()));
    }
    if let Some(user) = core.tables.lock().made_of(snapshot, key) {
        return Ok(Next::Blocked(format!("{user} is being made of it")));
    }
    if let Some(volume) = drivers.block.lacking_of(snapshot).await? {
        core.tables.lock().wait(key, ObjectKey::Volume(volume));
        tracing::debug!(%snapshot, %volume, "is removed when this volume lacks nothing of it");
        return Ok(Next::At(core.clock.now() + core.resync));
    }
    if let Some(volume) = drivers.block.remove_snapshot(snapshot).await? {
        trim_volume(core, drivers, volume).await;
    }
    {
        let mut tables = core.tables.lock();
        tables.snapshots.remove(&snapshot);
        if tables.is_to_be_taken_with(snapshot) {
            tables.removed.insert(snapshot);
        }
    }
    core.io(move |disk| disk.remove_snapshot(snapshot)).await?;
    core.applied(key, generation, ObservedBody::Removed).await?;
    Ok(Next::Idle)
}
