//! VPCs, security groups and volumes: ensured as desired, removed once no machine uses them. A volume that a machine holds
//! is grown, and held to its limits, within the machine.

use super::core::Core;
use super::schedule::{Drivers, Failure, Next, Outcome};
use super::snapshot;
use super::tables::Body;
use crate::host::{Block, Fault, HostError, Net, Vmm};
use model::host::{ObjectKey, ObservedBody};

pub(super) async fn reconcile<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    key: ObjectKey,
) -> Outcome {
    let due = core.tables.lock().due(key);
    let Some((generation, body)) = due else { return Ok(Next::Idle) };
    match body {
        Body::Vpc(vpc) => drivers.net.ensure_vpc(&vpc).await.map_err(|error| failed(core, key, error))?,
        Body::SecurityGroup(group) => {
            let missing = core.tables.lock().first_missing(&[ObjectKey::Vpc(group.vpc)], key);
            if let Some(missing) = missing {
                return Ok(Next::Blocked(format!("waits for {missing}")));
            }
            let ensured = drivers.net.ensure_security_group(&group).await;
            ensured.map_err(|error| failed(core, key, error))?;
        }
        Body::Volume(volume) => {
            let source = {
                let mut tables = core.tables.lock();
                let is_made = tables.paths.contains_key(&volume.volume);
                let of = volume.snapshot.filter(|_| !is_made).map(ObjectKey::Snapshot);
                if let Some(snapshot) = of.filter(|snapshot| tables.is_awaited(*snapshot, key)) {
                    return Ok(Next::Blocked(format!("waits for {snapshot}")));
                }
                if let Some(lacking) = tables.first_lacking_key(std::iter::once(key).chain(of), key) {
                    return Ok(Next::Blocked(format!("waits for the key of {lacking}")));
                }
                of.and_then(|snapshot| tables.data_key(snapshot))
            };
            let _files = core.files([volume.volume]).await;
            // The file of a volume that a machine has open is the machine's to grow.
            let holders = core.tables.lock().holders(key);
            for holder in holders {
                let tuned = drivers.vmm.tune_disk(holder, &volume).await;
                tuned.map_err(|error| failed(core, key, error))?;
            }
            let ensured = drivers.block.ensure_volume(&volume, source.as_ref()).await;
            let path = ensured.map_err(|error| failed(core, key, error))?;
            core.tables.lock().paths.insert(volume.volume, path);
        }
        Body::Instance(_) | Body::Snapshot(_) => return Ok(Next::Idle),
        Body::Gone => return remove(core, drivers, key, generation).await,
    }
    core.applied(key, generation, ObservedBody::Applied).await?;
    if let ObjectKey::Volume(volume) = key {
        // What an agent that died after a snapshot left to be done.
        snapshot::trim_volume(core, drivers, volume).await;
    }
    Ok(Next::Idle)
}

/// Notes a refusal for good, which the instances that wait for the object need to know.
fn failed(core: &Core, key: ObjectKey, error: HostError) -> Failure {
    if error.fault == Fault::Permanent {
        let mut tables = core.tables.lock();
        if let Some(object) = tables.objects.get_mut(&key) {
            object.refused = Some(error.to_string());
        }
        tables.nudge_waiters(key);
        core.pending.notify_one();
    }
    error.into()
}

async fn remove<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    key: ObjectKey,
    generation: u64,
) -> Outcome {
    if let Some(holder) = core.tables.lock().holder(key) {
        return Ok(Next::Blocked(format!("{holder} still uses it")));
    }
    match key {
        ObjectKey::Vpc(vpc) => {
            drivers.net.remove_vpc(vpc).await?;
            core.directory.remove_vpc(vpc);
        }
        ObjectKey::SecurityGroup(group) => drivers.net.remove_security_group(group).await?,
        ObjectKey::Volume(volume) => {
            if let Some(snapshot) = core.tables.lock().untaken_of(volume, key) {
                return Ok(Next::Blocked(format!("{snapshot} is to be taken first")));
            }
            {
                let _files = core.files([volume]).await;
                drivers.block.remove_volume(volume).await?;
            }
            core.tables.lock().paths.remove(&volume);
            core.forget_files(volume);
        }
        ObjectKey::Instance(_) | ObjectKey::Snapshot(_) => return Ok(Next::Idle),
    }
    core.applied(key, generation, ObservedBody::Removed).await?;
    Ok(Next::Idle)
}
