//! What fades with time: terminated instances after an hour, used client tokens after a day.

use control::cloud::Mode;
use control::token::{KEPT, UsedToken};
use control::{Cloud, Record, Result, Tables};
use model::record::instance::{Instance, Phase};
use model::{Region, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// How long a terminated instance is still described.
pub const FADES: Duration = Duration::from_hours(1);
/// How many records one transaction removes.
const BATCH: usize = 500;

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
    sweep::<Instance>(cloud, instance_faded).await
}

/// Removes the client tokens that are no longer remembered.
pub async fn tokens(cloud: &Arc<Cloud>) -> Result<()> {
    sweep::<UsedToken>(cloud, |token, now| now.since(token.at) > KEPT).await
}

async fn sweep<R: Record>(cloud: &Arc<Cloud>, over: fn(&R, Timestamp) -> bool) -> Result<()> {
    let now = cloud.clock.now();
    let faded: Vec<(Region, R::Id)> = {
        let tables: &Tables = &cloud.view.read();
        let over = tables.everywhere::<R>().filter(|(_, record)| over(record, now));
        over.map(|(region, record)| (region.clone(), record.id())).collect()
    };
    for batch in faded.chunks(BATCH) {
        cloud
            .transact(Mode::Shared, |txn| {
                for (region, id) in batch {
                    if txn.get::<R>(region, id).is_some_and(|record| over(&record, now)) {
                        txn.delete::<R>(region, id);
                    }
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}
