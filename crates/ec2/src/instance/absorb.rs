//! From what a host observed to the records: the only writer of phases that nobody asked for.
//!
//! Idempotent, and fenced twice: an observation counts only for the present generation of its object, and, of an
//! instance, for its present run.

use crate::network_interface::allocate::{private_claim, public_claim};
use control::cloud::Mode;
use control::{Cloud, Record, Result, Txn};
use model::host::{InstancePhase, ObjectKey, Observed, ObservedBody, StopCause};
use model::record::instance::{Instance, Phase};
use model::record::network_interface::{NetworkInterface, PublicAddress};
use model::record::volume::Volume;
use model::{InstanceId, Region, Timestamp, VolumeId};
use plan::instance::observe::observe;
use std::sync::Arc;
use std::time::Duration;

/// How long a store that cannot be written is waited for, and how often it is tried.
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 20;

/// Takes an observation in.
pub async fn absorb(cloud: &Arc<Cloud>, observed: Observed) {
    let key = observed.key;
    if cloud.host.generation(key) != Some(observed.generation) {
        return;
    }
    log(&observed);
    for attempt in 1..=ATTEMPTS {
        match take(cloud, &observed).await {
            Ok(()) => {
                if observed.body == ObservedBody::Removed {
                    cloud.host.forget(key);
                }
                return;
            }
            Err(error) => {
                tracing::warn!(%key, attempt, %error, "an observation could not be written");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // The host says it again when it next connects.
    tracing::error!(%key, "an observation was given up");
}

fn log(observed: &Observed) {
    let key = observed.key;
    match &observed.body {
        ObservedBody::Failing { reason } => {
            tracing::warn!(%key, reason, "the host cannot apply an object yet");
        }
        ObservedBody::Instance(InstancePhase::Unstartable { reason, .. }) => {
            tracing::error!(%key, reason, "an instance cannot be started");
        }
        ObservedBody::Instance(InstancePhase::Stopped { cause: StopCause::Crashed { detail }, .. }) => {
            tracing::error!(%key, detail, "a machine ended unexpectedly");
        }
        ObservedBody::Applied | ObservedBody::Removed | ObservedBody::Instance(_) => {}
    }
}

async fn take(cloud: &Arc<Cloud>, observed: &Observed) -> Result<()> {
    match observed.key {
        ObjectKey::Vpc(_) | ObjectKey::SecurityGroup(_) => Ok(()),
        ObjectKey::Instance(id) => {
            let Some(region) = region_of::<Instance>(cloud, &id) else { return Ok(()) };
            let now = cloud.clock.now();
            cloud.transact(Mode::Shared, |txn| instance(txn, &region, id, &observed.body, now)).await
        }
        ObjectKey::Volume(id) if observed.body == ObservedBody::Removed => {
            let Some(region) = region_of::<Volume>(cloud, &id) else { return Ok(()) };
            cloud.transact(Mode::Shared, |txn| volume_gone(txn, &region, id)).await
        }
        ObjectKey::Volume(_) => Ok(()),
    }
}

/// Objects are named without their region: ids are unique across them.
fn region_of<R: Record>(cloud: &Cloud, id: &R::Id) -> Option<Region> {
    let tables = cloud.view.read();
    tables.regions::<R>().find(|region| tables.get::<R>(region, id).is_some()).cloned()
}

fn volume_gone(txn: &mut Txn<'_>, region: &Region, id: VolumeId) -> Result<()> {
    if txn.get::<Volume>(region, &id).is_some_and(|volume| volume.deleting) {
        txn.delete::<Volume>(region, &id);
    }
    Ok(())
}

fn instance(
    txn: &mut Txn<'_>,
    region: &Region,
    id: InstanceId,
    body: &ObservedBody,
    now: Timestamp,
) -> Result<()> {
    let Some(before) = txn.get::<Instance>(region, &id) else { return Ok(()) };
    let Some(change) = observe(&before, body, now) else { return Ok(()) };
    let mut after = (*before).clone();
    after.phase = change.phase;
    if let Some(reason) = change.reason {
        after.reason = reason.render(now);
    }
    match change.phase {
        Phase::Stopped => release_public(txn, region, &after),
        Phase::Terminated { .. } => part_from(txn, region, &mut after),
        Phase::Pending | Phase::Running { .. } | Phase::Stopping { .. } | Phase::ShuttingDown { .. } => {}
    }
    txn.put(region, after);
    Ok(())
}

/// A stopped instance keeps its private addresses and loses its automatic public ones.
fn release_public(txn: &mut Txn<'_>, region: &Region, instance: &Instance) {
    for id in &instance.interfaces {
        let Some(interface) = txn.get::<NetworkInterface>(region, id) else { continue };
        let mut interface = (*interface).clone();
        if give_back_automatic(txn, &mut interface) {
            txn.put(region, interface);
        }
    }
}

/// Whether there was one.
fn give_back_automatic(txn: &mut Txn<'_>, interface: &mut NetworkInterface) -> bool {
    let mut any = false;
    for address in &mut interface.addresses {
        if let Some(PublicAddress::Automatic(public)) = address.public {
            txn.release(&Region::global(), &public_claim(public));
            address.public = None;
            any = true;
        }
    }
    any
}

/// The end: interfaces and volumes go or are set free, as they say.
fn part_from(txn: &mut Txn<'_>, region: &Region, instance: &mut Instance) {
    for id in std::mem::take(&mut instance.interfaces) {
        let Some(interface) = txn.get::<NetworkInterface>(region, &id) else { continue };
        let mut interface = (*interface).clone();
        give_back_automatic(txn, &mut interface);
        if interface.attachment.as_ref().is_some_and(|a| a.delete_on_termination) {
            for address in &interface.addresses {
                txn.release(region, &private_claim(interface.subnet, address.address));
                if let Some(PublicAddress::Elastic { allocation, .. }) = address.public {
                    crate::address::part(txn, region, allocation);
                }
            }
            txn.delete::<NetworkInterface>(region, &id);
        } else {
            interface.attachment = None;
            txn.put(region, interface);
        }
    }
    for device in std::mem::take(&mut instance.volumes) {
        let Some(volume) = txn.get::<Volume>(region, &device.volume) else { continue };
        let mut volume = (*volume).clone();
        volume.attachment = None;
        volume.deleting = device.delete_on_termination;
        txn.put(region, volume);
    }
}
