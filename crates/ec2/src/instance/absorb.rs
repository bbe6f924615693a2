//! From what a host observed to the records: the only writer of phases that nobody asked for.
//!
//! Idempotent, and fenced twice: an observation counts only for the present generation of its object, and, of an
//! instance, for its present run. The records may be ahead of the wish that the host speaks of, so what it says of
//! volumes and interfaces is held against that wish.

use super::{desired, store};
use crate::network_interface::allocate::{private_claim, public_claim};
use crate::snapshot;
use control::cloud::Mode;
use control::{Cloud, Record, Result, Txn};
use model::host::{
    Desired, DesiredBody, InstancePhase, ObjectKey, Observed, ObservedBody, SnapshotPhase, StopCause,
    VolumeDesired, addresses_of,
};
use model::record::instance::{AttachmentState, Instance, Phase};
use model::record::network_interface::{Attachment, NetworkInterface, PublicAddress};
use model::record::snapshot::Snapshot;
use model::record::store_disk::StoreDisk;
use model::record::volume::{Life, Volume};
use model::{InstanceId, NetworkInterfaceId, Region, Timestamp, VolumeId};
use plan::instance::attachments::{Fate, Machine, Settled, fate, settle};
use plan::instance::observe::observe;
use std::sync::Arc;
use std::time::Duration;

/// How long a store that cannot be written is waited for, and how often it is tried.
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 20;
/// A new volume that its host has failed to make for so long is shown as failed; the host goes on trying.
const GIVEN_UP: Duration = Duration::from_mins(5);

/// Takes an observation in.
pub async fn absorb(cloud: &Arc<Cloud>, observed: Observed) {
    let key = observed.key;
    let present = |wish: &Desired| (wish.generation == observed.generation).then(|| Wish::of(wish));
    let Some(wish) = cloud.host.wish(key, present).flatten() else { return };
    log(&observed);
    for attempt in 1..=ATTEMPTS {
        match take(cloud, &observed, &wish).await {
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

/// What the observed wish said of volumes and interfaces.
enum Wish {
    /// These are to be plugged in.
    Plugged(Vec<VolumeId>, Vec<NetworkInterfaceId>),
    Volume(Arc<VolumeDesired>),
    Other,
}

impl Wish {
    fn of(wish: &Desired) -> Self {
        match &wish.body {
            Some(DesiredBody::Instance(instance)) => {
                let interfaces = instance.interfaces.iter().map(|i| i.interface).collect();
                Self::Plugged(instance.volumes.iter().map(|v| v.volume).collect(), interfaces)
            }
            Some(DesiredBody::Volume(volume)) => Self::Volume(Arc::clone(volume)),
            Some(DesiredBody::Vpc(_) | DesiredBody::SecurityGroup(_) | DesiredBody::Snapshot(_)) | None => {
                Self::Other
            }
        }
    }
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
        ObservedBody::Instance(InstancePhase::Stopped {
            cause: StopCause::NotHibernated { reason }, ..
        }) => {
            tracing::warn!(%key, reason, "an instance was stopped, for it could not be hibernated");
        }
        ObservedBody::Snapshot(SnapshotPhase::Failed { reason }) => {
            tracing::error!(%key, reason, "a snapshot failed");
        }
        ObservedBody::Applied
        | ObservedBody::Removed
        | ObservedBody::Instance(_)
        | ObservedBody::Snapshot(_) => {}
    }
}

async fn take(cloud: &Arc<Cloud>, observed: &Observed, wish: &Wish) -> Result<()> {
    let now = cloud.clock.now();
    match observed.key {
        ObjectKey::Vpc(_) | ObjectKey::SecurityGroup(_) => Ok(()),
        ObjectKey::Instance(id) => {
            let Some(region) = region_of::<Instance>(cloud, &id) else { return Ok(()) };
            cloud.transact(Mode::Shared, |txn| instance(txn, &region, id, &observed.body, wish, now)).await
        }
        ObjectKey::Snapshot(id) => {
            let Some(region) = region_of::<Snapshot>(cloud, &id) else { return Ok(()) };
            let body = &observed.body;
            if !snapshot::absorb::is_news(&cloud.view.read(), &region, id, body, now) {
                return Ok(());
            }
            cloud.transact(Mode::Shared, |txn| snapshot::absorb::take(txn, &region, id, body, now)).await
        }
        ObjectKey::Volume(id) => {
            let Some(region) = region_of::<Volume>(cloud, &id) else {
                return store_disk(cloud, id, &observed.body).await;
            };
            let news = |volume: &Volume| volume_news(volume, &observed.body, wish, now);
            // Most of what is said of volumes is no news.
            let none = {
                let tables = cloud.view.read();
                tables.get::<Volume>(&region, &id).is_none_or(|volume| news(volume).is_none())
            };
            if none {
                return Ok(());
            }
            cloud
                .transact(Mode::Shared, |txn| {
                    match txn.get::<Volume>(&region, &id).and_then(|volume| news(&volume)) {
                        Some(VolumeNews::Gone) => txn.delete::<Volume>(&region, &id),
                        Some(VolumeNews::Changed(volume)) => drop(txn.put(&region, *volume)),
                        None => {}
                    }
                    Ok(())
                })
                .await
        }
    }
}

async fn store_disk(cloud: &Arc<Cloud>, disk: VolumeId, body: &ObservedBody) -> Result<()> {
    let region = region_of::<StoreDisk>(cloud, &disk).filter(|_| *body == ObservedBody::Removed);
    let Some(region) = region else { return Ok(()) };
    let forget = |txn: &mut Txn<'_>| {
        store::forget(txn, &region, disk);
        Ok(())
    };
    cloud.transact(Mode::Shared, forget).await
}

/// Objects are named without their region: ids are unique across them.
fn region_of<R: Record>(cloud: &Cloud, id: &R::Id) -> Option<Region> {
    let tables = cloud.view.read();
    tables.regions::<R>().find(|region| tables.get::<R>(region, id).is_some()).cloned()
}

/// What an observation changes about a volume.
enum VolumeNews {
    Gone,
    Changed(Box<Volume>),
}

fn volume_news(before: &Volume, body: &ObservedBody, wish: &Wish, now: Timestamp) -> Option<VolumeNews> {
    let mut volume = before.clone();
    match (body, &before.life) {
        (ObservedBody::Removed, Life::Deleting) => return Some(VolumeNews::Gone),
        (ObservedBody::Applied, Life::Creating | Life::Failed { .. } | Life::Ready) => {
            let Wish::Volume(wish) = wish else { return None };
            let is_new = before.life != Life::Ready;
            volume.life = Life::Ready;
            let in_force = desired::volume(before, wish.data_key.clone()) == **wish;
            let begins = match &mut volume.modification {
                Some(modification) if modification.in_force_since.is_none() && in_force => {
                    modification.in_force_since = Some(now);
                    volume.provision = modification.target;
                    true
                }
                Some(_) | None => false,
            };
            if !is_new && !begins {
                return None;
            }
        }
        (ObservedBody::Failing { reason }, Life::Creating) if now.since(before.created_at) > GIVEN_UP => {
            volume.life = Life::Failed { reason: reason.clone() };
        }
        (
            ObservedBody::Removed
            | ObservedBody::Applied
            | ObservedBody::Failing { .. }
            | ObservedBody::Instance(_)
            | ObservedBody::Snapshot(_),
            _,
        ) => return None,
    }
    Some(VolumeNews::Changed(Box::new(volume)))
}

fn instance(
    txn: &mut Txn<'_>,
    region: &Region,
    id: InstanceId,
    body: &ObservedBody,
    wish: &Wish,
    now: Timestamp,
) -> Result<()> {
    let Some(before) = txn.get::<Instance>(region, &id) else { return Ok(()) };
    let change = observe(&before, body, now);
    let mut after = (*before).clone();
    if let Some(change) = &change {
        after.phase = change.phase;
        if let Some(reason) = change.reason {
            after.reason = reason.render(now);
        }
    }
    let settled = machine(&after, body, wish).and_then(|machine| settle(&after.volumes, machine));
    let fates = wired(&after, body, wish).map(|machine| interface_fates(txn, region, &after, machine));
    let fates = fates.unwrap_or_default();
    if change.is_none() && settled.is_none() && fates.is_empty() {
        return Ok(());
    }
    for (interface, fate) in fates {
        settle_interface(txn, region, &mut after, interface, fate);
    }
    if let Some(Settled { stay, gone }) = settled {
        after.volumes = stay;
        for volume in gone {
            crate::volume::set_free(txn, region, volume, id);
        }
    }
    match change.map(|change| change.phase) {
        Some(Phase::Stopped) => {
            release_public(txn, region, &after);
            store::end(txn, region, &mut after);
        }
        Some(Phase::Terminated { .. }) => part_from(txn, region, &mut after),
        Some(
            Phase::Pending | Phase::Running { .. } | Phase::Stopping { .. } | Phase::ShuttingDown { .. },
        )
        | None => {}
    }
    txn.put(region, after);
    Ok(())
}

/// What the observation says of the machine's disks, if it speaks of the present run.
fn machine<'a>(instance: &Instance, body: &'a ObservedBody, wish: &'a Wish) -> Option<Machine<'a>> {
    match (body, instance.phase, wish) {
        (_, Phase::Stopped, _) => Some(Machine::Off),
        (
            ObservedBody::Instance(InstancePhase::Running { run, devices, .. }),
            Phase::Running { .. } | Phase::Stopping { .. } | Phase::ShuttingDown { .. },
            Wish::Plugged(wished, _),
        ) if *run == instance.run => Some(Machine::Running { plugged: &devices.volumes, wished }),
        _ => None,
    }
}

/// The same of its interfaces.
fn wired<'a>(
    instance: &Instance,
    body: &'a ObservedBody,
    wish: &'a Wish,
) -> Option<Machine<'a, NetworkInterfaceId>> {
    match (body, instance.phase, wish) {
        (_, Phase::Stopped, _) => Some(Machine::Off),
        (
            ObservedBody::Instance(InstancePhase::Running { run, devices, .. }),
            Phase::Running { .. } | Phase::Stopping { .. } | Phase::ShuttingDown { .. },
            Wish::Plugged(_, wished),
        ) if *run == instance.run => Some(Machine::Running { plugged: &devices.interfaces, wished }),
        _ => None,
    }
}

/// What becomes of the interfaces that are not simply attached: most observations find none such.
fn interface_fates(
    txn: &mut Txn<'_>,
    region: &Region,
    instance: &Instance,
    machine: Machine<'_, NetworkInterfaceId>,
) -> Vec<(NetworkInterfaceId, Fate)> {
    let under_way = |id: &&NetworkInterfaceId| {
        let interface = txn.tables().get::<NetworkInterface>(region, id);
        interface.and_then(|i| i.attachment.as_ref()).is_some_and(|a| !a.state.is_attached())
    };
    let under_way: Vec<NetworkInterfaceId> = instance.interfaces.iter().filter(under_way).copied().collect();
    let fates = under_way.into_iter().filter_map(|id| {
        let interface = txn.get::<NetworkInterface>(region, &id)?;
        let state = interface.attachment.as_ref().filter(|a| a.instance == instance.instance)?.state;
        Some((id, fate(state, &id, machine)))
    });
    fates.filter(|(_, fate)| *fate != Fate::Same).collect()
}

fn settle_interface(
    txn: &mut Txn<'_>,
    region: &Region,
    instance: &mut Instance,
    id: NetworkInterfaceId,
    fate: Fate,
) {
    match fate {
        Fate::Same => {}
        Fate::Gone => {
            instance.interfaces.retain(|interface| *interface != id);
            crate::network_interface::set_free(txn, region, id);
        }
        Fate::Attached => {
            let Some(interface) = txn.get::<NetworkInterface>(region, &id) else { return };
            let mut interface = (*interface).clone();
            if let Some(attachment) = &mut interface.attachment {
                attachment.state = AttachmentState::Attached;
            }
            txn.put(region, interface);
        }
    }
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
pub(super) fn part_from(txn: &mut Txn<'_>, region: &Region, instance: &mut Instance) {
    for id in std::mem::take(&mut instance.interfaces) {
        let Some(interface) = txn.get::<NetworkInterface>(region, &id) else { continue };
        let mut interface = (*interface).clone();
        give_back_automatic(txn, &mut interface);
        // What was to be detached stays, however far that had come.
        let goes = |a: &Attachment| a.delete_on_termination && a.state.leaving().is_none();
        if interface.attachment.as_ref().is_some_and(goes) {
            for address in &interface.addresses {
                txn.release(region, &private_claim(interface.subnet, address.address));
                if let Some(PublicAddress::Elastic { allocation, .. }) = address.public {
                    crate::address::part(txn, region, allocation);
                }
            }
            for address in interface.ipv4_prefixes.iter().flat_map(|prefix| addresses_of(*prefix)) {
                txn.release(region, &private_claim(interface.subnet, address));
            }
            for address in &interface.ipv6 {
                let claim = crate::network_interface::ipv6::claim(interface.subnet, *address);
                // A fork shows its parent's.
                if txn.tables().claimed(region, &claim).is_some_and(|owner| *owner == *id.to_string()) {
                    txn.release(region, &claim);
                }
            }
            for prefix in &interface.ipv6_prefixes {
                txn.release(region, &crate::network_interface::ipv6_prefix::claim(interface.subnet, *prefix));
            }
            crate::traffic_mirror::part(txn, region, id);
            txn.delete::<NetworkInterface>(region, &id);
        } else {
            interface.attachment = None;
            txn.put(region, interface);
        }
    }
    store::end(txn, region, instance);
    for device in std::mem::take(&mut instance.volumes) {
        let Some(volume) = txn.get::<Volume>(region, &device.volume) else { continue };
        let mut volume = volume.without(instance.instance);
        // What was to be detached stays, however far that had come, and what others have.
        if volume.attachment.is_none() && device.delete_on_termination && device.state.leaving().is_none() {
            volume.life = Life::Deleting;
        }
        txn.put(region, volume);
    }
}
