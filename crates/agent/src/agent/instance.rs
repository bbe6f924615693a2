//! One instance: ask what is there, decide, write down, act, and again until there is nothing left to do.

mod devices;

use super::core::Core;
use super::schedule::{Drivers, Failure, Next, Outcome};
use super::tables::{Body, Tables};
use super::{fork, snapshot};
use crate::host::{
    Block, DiskSpec, Fault, HostError, Identity, Life, MachineSpec, MachineState, Net, Plugged, Vmm,
};
use crate::link_local::dhcp;
use model::InstanceId;
use model::host::{AttachmentDesired, InstanceDesired, ObjectKey, ObservedBody};
use plan::host::{Act, Facts, InstanceRecord, RunState, next_step};
use plan::machine::identity::UserData;
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

/// What the instance stands on and cannot have yet: it is not as desired, or another machine has it.
fn first_missing(tables: &mut Tables, desired: &InstanceDesired) -> Option<String> {
    let (parts, instance) = (parts(desired), desired.instance);
    if let Some(missing) = tables.first_missing(&parts, ObjectKey::Instance(instance)) {
        return Some(missing.to_string());
    }
    let (part, holder) = tables.first_held_elsewhere(&parts, instance)?;
    Some(format!("{part}, which {holder} has"))
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
    let plugged = match machine {
        MachineState::Absent | MachineState::Asleep => Plugged::default(),
        MachineState::Running | MachineState::PoweredOff => drivers.vmm.plugged(instance).await?,
    };

    let (generation, desired, record, missing, refusal, ports_current, asked) = {
        let mut tables = core.tables.lock();
        let Some(object) = tables.objects.get(&key) else { return Ok(Some(Next::Idle)) };
        let (generation, ports_current) = (object.generation, object.ports_at == Some(object.generation));
        let asked = object.asked.clone();
        let desired = match &object.body {
            Body::Instance(desired) => Some(Arc::clone(desired)),
            Body::Gone | Body::Vpc(_) | Body::SecurityGroup(_) | Body::Volume(_) | Body::Snapshot(_) => None,
        };
        let missing = desired.as_deref().and_then(|desired| first_missing(&mut tables, desired));
        let refusal = desired.as_deref().and_then(|desired| tables.refusal(&parts(desired)));
        let record = tables.records.get(&instance).cloned().unwrap_or_default();
        (generation, desired, record, missing, refusal, ports_current, asked)
    };
    let plugged = plugged.knowing(&record.cut_off);
    let facts = Facts {
        machine,
        now: core.clock.now(),
        boot_id: &core.boot_id,
        graces: core.graces,
        ready: missing.is_none(),
        ports_current,
        plugged: &plugged,
        asked: &asked,
    };
    let is_ready = facts.ready;
    let decided = next_step(desired.as_deref(), &record, &facts);

    let mut noted = InstanceRecord { state: decided.state, ..InstanceRecord::clone(&record) };
    // Nothing is used before it is held; a release uses nothing new.
    let gains = decided.act == Act::Start || (is_ready && matches!(decided.act, Act::EnsureDevices(_)));
    let uses = desired.as_deref().filter(|_| gains);
    if let Some(desired) = uses {
        hold(&mut noted, desired, &decided.act);
    }
    if let Act::EnsureDevices(changes) = &decided.act {
        noted = noted.severing(&changes.cut_off);
    }
    if noted != *record {
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
            let what = missing.unwrap_or_else(|| "its parts".into());
            core.mark(instance, &format!("to wait for {what}"));
            return Ok(Some(Next::Blocked(format!("waits for {what}"))));
        }
        (Act::Start, Some(desired)) => match start(core, drivers, desired).await {
            Ok(given) if given.iter().any(|disk| is_outdated(core, disk)) => {}
            Ok(_) => ports_are_at(core, key, generation),
            Err(error) if error.fault == Fault::Permanent => {
                let refused = noted.unstartable(desired.run, error.to_string());
                core.write_record(instance, refused).await?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        },
        (Act::EnsureDevices(changes), Some(desired)) => {
            let all = devices::Round { core, drivers, desired, generation, plugged: &plugged, is_ready };
            return all.run(changes, noted).await;
        }
        (Act::Hibernate, Some(desired)) => {
            if let Err(error) = hibernate(core, drivers, desired).await {
                tracing::warn!(%instance, %error, "its memory is not kept; it is asked to shut down");
                core.write_record(instance, noted.unkept(error.to_string())).await?;
                return Ok(None);
            }
        }
        (Act::Start | Act::EnsureDevices(_) | Act::Hibernate, None) => {}
        (Act::PressPowerButton, _) => drivers.vmm.press_power_button(instance).await?,
        (Act::Reset, _) => {
            snapshot::before_reset(core, drivers, instance, &noted.state).await?;
            drivers.vmm.reset(instance).await?;
        }
        (Act::End, _) => drivers.vmm.end(instance).await?,
        (Act::Release, _) => {
            for port in &noted.ports {
                drivers.net.remove_port(*port).await?;
            }
        }
        (Act::Forget, _) => return forget(core, drivers, instance, generation).await.map(Some),
    }
    let after = noted.after(&decided.act, core.clock.now());
    if after != noted {
        core.write_record(instance, after).await?;
    }
    if decided.act == Act::Start {
        core.mark(instance, "noted");
    }
    if let Some(fork) = desired.as_deref().and_then(|desired| desired.fork)
        && decided.act == Act::Start
    {
        fork::tidy(core, drivers, Some(fork)).await;
    }
    if matches!(decided.act, Act::Start | Act::Release | Act::Reset) {
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
    if uses.and_then(|desired| first_missing(&mut tables, desired)).is_some() {
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
        record.cut_off.clear();
    } else if let Act::EnsureDevices(changes) = act {
        *record = record.gaining(changes);
    }
}

fn ports_are_at(core: &Core, key: ObjectKey, generation: u64) {
    if let Some(object) = core.tables.lock().objects.get_mut(&key) {
        object.ports_at = Some(generation);
    }
}

/// Starts the machine, and says with which disks.
async fn start<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    desired: &InstanceDesired,
) -> Result<Vec<DiskSpec>, HostError> {
    core.mark(desired.instance, "to start");
    // What the disks stand on stays as it is until the process has opened it.
    let _files = core.files(desired.volumes.iter().map(|attachment| attachment.volume)).await;
    let disks = desired.volumes.iter().map(|attachment| disk(core, attachment));
    let disks = disks.collect::<Option<Vec<_>>>();
    let disks = disks.ok_or_else(|| HostError::transient("a volume has no path yet"))?;
    let spec = MachineSpec {
        fork: desired.fork.filter(|_| desired.run == 1),
        instance: desired.instance,
        account: desired.account,
        machine: desired.machine.clone(),
        disks,
        identity: identity(core, desired),
        life: if desired.run == 1 { Life::First } else { Life::Later },
    };
    let mut taps = Vec::with_capacity(desired.interfaces.len());
    for interface in &desired.interfaces {
        taps.push(drivers.net.open_port(interface).await?);
    }
    core.mark(desired.instance, "ports");
    let begun = core.clock.now();
    for (step, after) in drivers.vmm.start(&spec, taps).await? {
        core.directory.traces.mark(desired.instance, step, begun + after);
    }
    Ok(spec.disks)
}

/// Keeps the machine's memory, which is as secret as what its root volume holds.
async fn hibernate<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    desired: &InstanceDesired,
) -> Result<(), HostError> {
    let root = desired.volumes.first().and_then(|attachment| disk(core, attachment));
    let root = root.ok_or_else(|| HostError::transient("its root volume is not there"))?;
    drivers.vmm.hibernate(desired.instance, &root).await
}

/// The instance as its lease and its metadata will show it; none where there are none to be had.
fn identity(core: &Core, desired: &InstanceDesired) -> Option<Identity> {
    let primary = desired.interfaces.first().filter(|_| desired.metadata.options.endpoint_enabled)?;
    let lease = dhcp::lease(&core.directory, primary.interface)?;
    Some(Identity {
        instance: desired.instance,
        address: lease.address,
        prefix: lease.subnet.prefix_len(),
        router: plan::net::gateway(lease.subnet),
        mtu: lease.mtu,
        resolver: lease.resolver,
        domain: lease.domain,
        host_name: plan::imds::full_name(primary),
        user_data: if desired.metadata.user_data.is_some() { UserData::Present } else { UserData::Absent },
        login_key: desired.metadata.public_key.as_ref().map(|key| key.openssh.clone()),
    })
}

/// A desired disk as a machine takes it; none while its volume is not there.
fn disk(core: &Core, attachment: &AttachmentDesired) -> Option<DiskSpec> {
    let tables = core.tables.lock();
    let (volume, path) = (attachment.volume, tables.paths.get(&attachment.volume)?.clone());
    let desired = tables.volume(volume)?;
    let (limits, data_key) = (desired.limits, desired.data_key.clone());
    let forked = desired.fork.map(|fork| fork.volume);
    let (device, medium) = (attachment.device.clone(), attachment.medium);
    Some(DiskSpec { volume, medium, path, device, limits, data_key, forked })
}

/// Whether a volume changed while it was on its way into the machine, where its change was not seen.
fn is_outdated(core: &Core, given: &DiskSpec) -> bool {
    let latest = core.tables.lock().volume(given.volume);
    latest.is_some_and(|latest| latest.limits != given.limits)
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
