//! StartInstances, StopInstances, RebootInstances, TerminateInstances: intent, for all of the instances or for none.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html>
//! Differs: a call that names instances of which one refuses changes none of them; AWS may end those in other zones.

use super::{errors, kind, render, store};
use crate::encryption;
use crate::errors::{invalid_parameter_combination, invalid_parameter_value};
use crate::network_interface as interfaces;
use crate::noun::{find_all, touched};
use api_ec2::{
    InstanceStateChange, RebootInstancesRequest, RebootInstancesResult, StartInstancesRequest,
    StartInstancesResult, StopInstancesRequest, StopInstancesResult, TerminateInstancesRequest,
    TerminateInstancesResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::instance::{Event, Force, Hibernation, Instance, Phase, StateReason};
use model::record::network_interface::{NetworkInterface, PublicAddress};
use model::record::volume::Volume;
use model::{InstanceId, Timestamp};
use plan::instance::devices::same_device;
use std::sync::Arc;

/// The instances that a request names, each once, held until the commit.
pub fn held(ctx: &Context, txn: &mut Txn<'_>, ids: &[String]) -> Result<Vec<Arc<Instance>>> {
    let found = find_all::<Instance>(ctx, txn.tables(), ids)?;
    let mut named: Vec<InstanceId> = Vec::new();
    for instance in found {
        if !named.contains(&instance.instance) {
            named.push(instance.instance);
        }
    }
    Ok(named.iter().filter_map(|id| txn.get::<Instance>(&ctx.region, id)).collect())
}

fn change(before: Phase, instance: &Instance) -> InstanceStateChange {
    InstanceStateChange {
        instance_id: Some(instance.instance.to_string()),
        current_state: Some(render::state(instance.phase)),
        previous_state: Some(render::state(before)),
    }
}

fn user_initiated(at: Timestamp) -> StateReason {
    let code = "Client.UserInitiatedShutdown";
    StateReason { code: code.into(), message: format!("{code}: User initiated shutdown"), at }
}

fn hibernated(at: Timestamp) -> StateReason {
    let code = "Client.UserInitiatedHibernate";
    StateReason { code: code.into(), message: format!("{code}: User initiated hibernate"), at }
}

/// Of an instance that does not start because a key of its volumes cannot be used.
pub fn unusable_key(at: Timestamp) -> StateReason {
    let code = encryption::INVALID_STATE;
    let message = format!("{code}: The KMS key of an encrypted volume cannot be used");
    StateReason { code: code.into(), message, at }
}

/// Whether the keys of all volumes of an instance can be used.
fn can_open(ctx: &Context, txn: &mut Txn<'_>, instance: &Instance) -> bool {
    instance.volumes.iter().all(|device| {
        let volume = txn.get::<Volume>(&ctx.region, &device.volume);
        volume.is_none_or(|volume| encryption::can_be_opened(ctx, txn.tables(), &volume).is_ok())
    })
}

pub fn touches_start(ctx: &Context, request: &StartInstancesRequest, tables: &Tables) -> Vec<Touched> {
    touched::<Instance>(ctx, tables, &request.instance_ids)
}

/// Runs exclusively, as a launch does: starting claims room on the host.
pub fn start(
    ctx: &Context,
    request: &StartInstancesRequest,
    txn: &mut Txn<'_>,
) -> Result<StartInstancesResult> {
    if request.additional_info.as_deref().is_some_and(|info| !info.is_empty()) {
        return Err(errors::unbuilt("AdditionalInfo"));
    }
    let mut host = kind::host(&ctx.cloud, txn.tables());
    let mut changes = Vec::new();
    for instance in held(ctx, txn, &request.instance_ids)? {
        let before = instance.phase;
        let phase = before
            .next(Event::Start, ctx.now)
            .map_err(|refused| errors::illegal(instance.instance, refused))?;
        if phase == before {
            changes.push(change(before, &instance));
            continue;
        }
        if !instance.volumes.iter().any(|volume| same_device(&volume.device, &instance.root_device)) {
            return Err(invalid_parameter_value(format!(
                "Invalid value '{}' for instanceId. Instance does not have a volume attached at root ({})",
                instance.instance, instance.root_device
            )));
        }
        if !can_open(ctx, txn, &instance) {
            // As on AWS, the answer says that it is pending, and it is stopped again before anything has started.
            changes.push(InstanceStateChange {
                current_state: Some(render::state(phase)),
                ..change(before, &instance)
            });
            txn.put(&ctx.region, Instance { reason: Some(unusable_key(ctx.now)), ..(*instance).clone() });
            continue;
        }
        if let Some(kind) = kind::facts(&instance.instance_type) {
            if host.room(&kind) == 0 {
                return Err(errors::insufficient_capacity(kind.name, &instance.zone));
            }
            host.take(&kind);
        }
        let mut started = (*instance).clone();
        started.phase = phase;
        started.reason = None;
        started.run += 1;
        started.reboots = 0;
        started.hibernation = started.hibernation.not_asked();
        started.launched_at = ctx.now;
        started.store = store::begin(ctx, txn, started.instance, &started.instance_type, &started.ephemeral);
        if started.automatic_public_address {
            give_public_address(ctx, txn, &started)?;
        }
        changes.push(change(before, &started));
        txn.put(&ctx.region, started);
    }
    Ok(StartInstancesResult { starting_instances: Some(changes) })
}

/// A fresh public address for the primary interface, unless it has one. As on AWS, an instance with several interfaces gets
/// none, nor has one without a private address.
pub fn give_public_address(ctx: &Context, txn: &mut Txn<'_>, instance: &Instance) -> Result<()> {
    let [primary] = instance.interfaces.as_slice() else { return Ok(()) };
    let Some(interface) = txn.get::<NetworkInterface>(&ctx.region, primary) else { return Ok(()) };
    let mut interface = (*interface).clone();
    let id = interface.interface;
    let Some(private) = interface.addresses.first_mut().filter(|private| private.public.is_none()) else {
        return Ok(());
    };
    private.public = Some(PublicAddress::Automatic(interfaces::allocate_public(ctx, txn, id)?));
    txn.put(&ctx.region, interface);
    Ok(())
}

pub fn touches_stop(ctx: &Context, request: &StopInstancesRequest, tables: &Tables) -> Vec<Touched> {
    touched::<Instance>(ctx, tables, &request.instance_ids)
}

pub fn stop(ctx: &Context, request: &StopInstancesRequest, txn: &mut Txn<'_>) -> Result<StopInstancesResult> {
    let hibernate = request.hibernate == Some(true);
    let force = match (request.force, request.skip_os_shutdown) {
        (Some(true), _) | (_, Some(true)) => Force::Forced,
        _ => Force::Graceful,
    };
    if hibernate && force == Force::Forced {
        return Err(invalid_parameter_combination("Hibernate and Force may not be specified together."));
    }
    let mut changes = Vec::new();
    for instance in held(ctx, txn, &request.instance_ids)? {
        if hibernate && instance.hibernation.is_off() {
            return Err(errors::not_configured_for_hibernation(instance.instance));
        }
        if instance.disable_api_stop {
            return Err(errors::protected(instance.instance, "stopped", "disableApiStop"));
        }
        let before = instance.phase;
        let phase = before
            .next(Event::Stop(force), ctx.now)
            .map_err(|refused| errors::illegal(instance.instance, refused))?;
        let mut stopped = (*instance).clone();
        stopped.phase = phase;
        if matches!(before, Phase::Running { .. }) {
            stopped.reason = Some(if hibernate { hibernated(ctx.now) } else { user_initiated(ctx.now) });
            if hibernate {
                stopped.hibernation = Hibernation::Asked;
            }
        }
        if force == Force::Forced {
            // Also while its memory is being kept: nobody waits for that any more.
            stopped.hibernation = stopped.hibernation.not_asked();
        }
        changes.push(change(before, &stopped));
        if phase != before {
            txn.put(&ctx.region, stopped);
        }
    }
    Ok(StopInstancesResult { stopping_instances: Some(changes) })
}

pub fn touches_reboot(ctx: &Context, request: &RebootInstancesRequest, tables: &Tables) -> Vec<Touched> {
    touched::<Instance>(ctx, tables, &request.instance_ids)
}

pub fn reboot(
    ctx: &Context,
    request: &RebootInstancesRequest,
    txn: &mut Txn<'_>,
) -> Result<RebootInstancesResult> {
    for instance in held(ctx, txn, &request.instance_ids)? {
        match instance.phase {
            Phase::Running { .. } => {
                let mut rebooted = (*instance).clone();
                rebooted.reboots += 1;
                txn.put(&ctx.region, rebooted);
            }
            // It boots just now.
            Phase::Pending => {}
            Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::ShuttingDown { .. }
            | Phase::Terminated { .. } => {
                return Err(errors::incorrect_state(instance.instance, "rebooted"));
            }
        }
    }
    Ok(RebootInstancesResult::default())
}

pub fn touches_terminate(
    ctx: &Context,
    request: &TerminateInstancesRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Instance>(ctx, tables, &request.instance_ids)
}

pub fn terminate(
    ctx: &Context,
    request: &TerminateInstancesRequest,
    txn: &mut Txn<'_>,
) -> Result<TerminateInstancesResult> {
    // `Force` asks for what happens anyway: a guest that does not shut down in time is ended.
    let force = if request.skip_os_shutdown == Some(true) { Force::Forced } else { Force::Graceful };
    let mut changes = Vec::new();
    for instance in held(ctx, txn, &request.instance_ids)? {
        let before = instance.phase;
        if instance.disable_api_termination && !before.is_terminated() {
            return Err(errors::protected(instance.instance, "terminated", "disableApiTermination"));
        }
        let phase = before
            .next(Event::Terminate(force), ctx.now)
            .map_err(|refused| errors::illegal(instance.instance, refused))?;
        let mut ended = (*instance).clone();
        ended.phase = phase;
        if phase != before {
            ended.reason = Some(user_initiated(ctx.now));
        }
        changes.push(change(before, &ended));
        if phase != before {
            txn.put(&ctx.region, ended);
        }
    }
    Ok(TerminateInstancesResult { terminating_instances: Some(changes) })
}
