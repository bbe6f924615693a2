//! One instance: ask what is there, decide, write down, act, and again until there is nothing left to do.

use super::core::Core;
use super::schedule::{Drivers, Failure, Next, Outcome};
use super::tables::Body;
use crate::host::{Block, DiskSpec, Fault, HostError, Life, MachineSpec, Net, Vmm};
use model::InstanceId;
use model::host::{InstanceDesired, ObjectKey, ObservedBody};
use plan::host::{Act, Facts, InstanceRecord, RunState, next_step};
use std::collections::BTreeSet;
use std::sync::Arc;

/// More steps than any way from one state to another takes.
const MOST_STEPS: usize = 32;

pub(super) async fn reconcile<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    instance: InstanceId,
) -> Outcome {
    for _ in 0..MOST_STEPS {
        if let Some(next) = step(core, drivers, instance).await? {
            return Ok(next);
        }
    }
    Err(Failure(format!("{instance} does not settle")))
}

/// What an instance stands on: its VPCs, its groups, its volumes.
fn parts(desired: &InstanceDesired) -> Vec<ObjectKey> {
    let networks = desired.interfaces.iter().flat_map(|interface| {
        let groups = interface.security_groups.iter().map(|group| ObjectKey::SecurityGroup(*group));
        std::iter::once(ObjectKey::Vpc(interface.vpc)).chain(groups)
    });
    let volumes = desired.volumes.iter().map(|attachment| ObjectKey::Volume(attachment.volume));
    networks.chain(volumes).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Takes one step; `None` asks for another.
async fn step<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    instance: InstanceId,
) -> Result<Option<Next>, Failure> {
    let key = ObjectKey::Instance(instance);
    let Some(is_removed) = core
        .tables
        .lock()
        .objects
        .get(&key)
        .map(|object| matches!(object.body, Body::Gone) && object.applied == Some(object.generation))
    else {
        return Ok(Some(Next::Idle));
    };
    if is_removed {
        return Ok(Some(Next::Idle));
    }
    let machine = drivers.vmm.state(instance).await?;

    let (generation, desired, record, missing, refusal, ports_current) = {
        let mut tables = core.tables.lock();
        let Some(object) = tables.objects.get(&key) else { return Ok(Some(Next::Idle)) };
        let (generation, ports_current) = (object.generation, object.ports_at == Some(object.generation));
        let desired = match &object.body {
            Body::Instance(desired) => Some(Arc::clone(desired)),
            Body::Gone | Body::Vpc(_) | Body::SecurityGroup(_) | Body::Volume(_) => None,
        };
        let missing = desired.as_deref().and_then(|desired| tables.first_missing(&parts(desired), key));
        let refusal = desired.as_deref().and_then(|desired| tables.refusal(&parts(desired)));
        let record = tables.records.get(&instance).cloned().unwrap_or_default();
        (generation, desired, record, missing, refusal, ports_current)
    };
    let facts = Facts {
        machine,
        now: core.clock.now(),
        boot_id: &core.boot_id,
        graces: core.graces,
        ready: missing.is_none(),
        ports_current,
    };
    let decided = next_step(desired.as_deref(), &record, &facts);

    let mut noted = InstanceRecord { state: decided.state, ..InstanceRecord::clone(&record) };
    if let (Act::Start | Act::EnsurePorts, Some(desired)) = (&decided.act, &desired) {
        hold(&mut noted, desired, &decided.act);
    }
    if noted != *record {
        let uses = desired.as_deref().filter(|_| matches!(decided.act, Act::Start | Act::EnsurePorts));
        if !take_hold(core, key, uses, &noted) {
            return Ok(None);
        }
        core.write_record(instance, noted.clone()).await?;
    }
    if let Some(phase) = decided.phase {
        core.report(key, generation, ObservedBody::Instance(phase));
    }

    match (&decided.act, &desired) {
        (Act::Rest, _) => {
            let is_alive = matches!(noted.state, RunState::Started { .. });
            return Ok(Some(if is_alive { Next::At(core.clock.now() + core.resync) } else { Next::Idle }));
        }
        (Act::WaitUntil(until), _) => return Ok(Some(Next::At(*until))),
        (Act::Await, Some(desired)) if is_before_start(&noted.state, desired.run) && refusal.is_some() => {
            let refused = noted.unstartable(desired.run, refusal.unwrap_or_default());
            core.write_record(instance, refused).await?;
            return Ok(None);
        }
        (Act::Await, _) => {
            let what = missing.map_or_else(|| "its parts".into(), |missing| missing.to_string());
            return Ok(Some(Next::Blocked(format!("waits for {what}"))));
        }
        (Act::Start, Some(desired)) => match start(core, drivers, desired).await {
            Ok(()) => ports_are_at(core, key, generation),
            Err(error) if error.fault == Fault::Permanent => {
                let refused = noted.unstartable(desired.run, error.to_string());
                core.write_record(instance, refused).await?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        },
        (Act::EnsurePorts, Some(desired)) => {
            for interface in desired.interfaces.iter().filter(|i| noted.ports.contains(&i.interface)) {
                drivers.net.ensure_port(interface).await?;
            }
            ports_are_at(core, key, generation);
        }
        (Act::Start | Act::EnsurePorts, None) => {}
        (Act::PressPowerButton, _) => drivers.vmm.press_power_button(instance).await?,
        (Act::Reset, _) => drivers.vmm.reset(instance).await?,
        (Act::End, _) => drivers.vmm.end(instance).await?,
        (Act::Release, _) => {
            for port in &noted.ports {
                drivers.net.remove_port(*port).await?;
            }
        }
        (Act::Forget, _) => return forget(core, drivers, instance, generation).await.map(Some),
    }
    let mut after = noted.after(&decided.act, core.clock.now());
    if let (Act::EnsurePorts, Some(desired)) = (&decided.act, &desired) {
        // Groups that the ports have left are let go of; the machine's volumes are not, whatever is desired by now.
        let volumes = after.holds.iter().copied().filter(|key| matches!(key, ObjectKey::Volume(_)));
        let held: BTreeSet<ObjectKey> = volumes.chain(parts(desired)).collect();
        after.holds = held.into_iter().collect();
    }
    if after != noted {
        core.write_record(instance, after).await?;
    }
    if matches!(decided.act, Act::Start | Act::Release | Act::EnsurePorts) {
        core.tables.lock().nudge_waiters(key);
        core.pending.notify_one();
    }
    Ok(None)
}

/// Whether no machine has been seen in this run.
fn is_before_start(state: &RunState, run: u64) -> bool {
    match state {
        RunState::New | RunState::Starting { .. } => true,
        RunState::Started { .. } => false,
        RunState::Ended { run: ended, .. } | RunState::Unstartable { run: ended, .. } => *ended < run,
    }
}

/// Sets the record in memory, so that its parts are held from here on. That none of them went in the meantime is asked
/// under the same lock; `false` when one did.
fn take_hold(core: &Core, key: ObjectKey, uses: Option<&InstanceDesired>, record: &InstanceRecord) -> bool {
    let ObjectKey::Instance(instance) = key else { return false };
    let mut tables = core.tables.lock();
    if uses.and_then(|desired| tables.first_missing(&parts(desired), key)).is_some() {
        return false;
    }
    tables.set_record(instance, Arc::new(record.clone()));
    true
}

/// Notes in the record what the machine is about to use: beside what it uses already, or instead of what an earlier
/// attempt to start it wanted.
fn hold(record: &mut InstanceRecord, desired: &InstanceDesired, act: &Act) {
    let kept = if *act == Act::Start { Vec::new() } else { std::mem::take(&mut record.holds) };
    let held: BTreeSet<ObjectKey> = kept.into_iter().chain(parts(desired)).collect();
    record.holds = held.into_iter().collect();
    if *act == Act::Start {
        let opened = desired.interfaces.iter().map(|interface| interface.interface);
        let ports: BTreeSet<_> = record.ports.iter().copied().chain(opened).collect();
        record.ports = ports.into_iter().collect();
    }
}

fn ports_are_at(core: &Core, key: ObjectKey, generation: u64) {
    if let Some(object) = core.tables.lock().objects.get_mut(&key) {
        object.ports_at = Some(generation);
    }
}

async fn start<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    desired: &InstanceDesired,
) -> Result<(), HostError> {
    let disks = {
        let tables = core.tables.lock();
        let disk = |attachment: &model::host::AttachmentDesired| {
            let path = tables.paths.get(&attachment.volume)?.clone();
            Some(DiskSpec { volume: attachment.volume, path, device: attachment.device.clone() })
        };
        desired.volumes.iter().map(disk).collect::<Option<Vec<_>>>()
    };
    let disks = disks.ok_or_else(|| HostError::transient("a volume has no path yet"))?;
    let spec = MachineSpec {
        instance: desired.instance,
        account: desired.account,
        machine: desired.machine.clone(),
        disks,
        life: if desired.run == 1 { Life::First } else { Life::Later },
    };
    let mut taps = Vec::with_capacity(desired.interfaces.len());
    for interface in &desired.interfaces {
        taps.push(drivers.net.open_port(interface).await?);
    }
    drivers.vmm.start(&spec, taps).await
}

async fn forget<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    instance: InstanceId,
    generation: u64,
) -> Result<Next, Failure> {
    let key = ObjectKey::Instance(instance);
    drivers.vmm.forget(instance).await?;
    core.tables.lock().remove_record(instance);
    core.io(move |disk| disk.remove_record(instance)).await?;
    core.directory.remove_instance(instance);
    core.applied(key, generation, ObservedBody::Removed).await?;
    Ok(Next::Idle)
}
