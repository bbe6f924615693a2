//! What time alone changes: terminated instances fade after an hour; a volume that its guest does not let go of is busy after a minute.

use crate::sweep::remove;
use control::cloud::Mode;
use control::{Cloud, Result, Tables, Txn};
use model::record::instance::{AttachmentState, Instance, Phase};
use model::{InstanceId, Region, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// How long a terminated instance is still described.
pub const FADES: Duration = Duration::from_hours(1);

fn instance_faded(instance: &Instance, now: Timestamp) -> bool {
    match instance.phase {
        Phase::Terminated { at } => now.since(at) >= FADES,
        Phase::Pending
        | Phase::Running { .. }
        | Phase::Stopping { .. }
        | Phase::Stopped
        | Phase::ShuttingDown { .. } => false,
    }
}

/// Removes the terminated instances whose time is over.
pub async fn instances(cloud: &Arc<Cloud>) -> Result<()> {
    remove::<Instance>(cloud, instance_faded).await
}

/// How long a guest may take to let go of a volume before that is called busy.
pub const BUSY_AFTER: Duration = Duration::from_mins(1);

fn became_busy(instance: &Instance, now: Timestamp) -> Option<Instance> {
    let mut after = instance.clone();
    let mut any = false;
    for device in &mut after.volumes {
        if let AttachmentState::Detaching { force, since } = device.state
            && now.since(since) >= BUSY_AFTER
        {
            device.state = AttachmentState::Busy { force };
            any = true;
        }
    }
    any.then_some(after)
}

/// Marks the detachments that guests resist.
pub async fn detachments(cloud: &Arc<Cloud>) -> Result<()> {
    let now = cloud.clock.now();
    let stuck: Vec<(Region, InstanceId)> = {
        let tables: &Tables = &cloud.view.read();
        let leaving = |instance: &Instance| instance.volumes.iter().any(|v| v.state.leaving().is_some());
        let all = tables.everywhere::<Instance>().filter(|(_, instance)| leaving(instance));
        let stuck = all.filter(|(_, instance)| became_busy(instance, now).is_some());
        stuck.map(|(region, instance)| (region.clone(), instance.instance)).collect()
    };
    for (region, id) in stuck {
        let mark = |txn: &mut Txn<'_>| {
            if let Some(busy) = txn.get::<Instance>(&region, &id).and_then(|i| became_busy(&i, now)) {
                txn.put(&region, busy);
            }
            Ok(())
        };
        cloud.transact(Mode::Shared, mark).await?;
    }
    Ok(())
}
