//! What a host's word on a snapshot changes: its record, and the images that wait for it.

use control::{Result, Tables, Txn};
use model::host::ObservedBody;
use model::record::image::{Image, Registration, State};
use model::record::snapshot::{FastRestore, Life, Snapshot, Tiering};
use model::{ImageId, Region, SnapshotId, Timestamp};

enum News {
    Gone,
    Life(Life),
    /// Where its data lie.
    Placed(Option<Tiering>, Option<Vec<FastRestore>>),
}

fn news(snapshot: &Snapshot, body: &ObservedBody, now: Timestamp) -> Option<News> {
    match body {
        ObservedBody::Removed => snapshot.is_deleting().then_some(News::Gone),
        ObservedBody::Snapshot(phase) => {
            let life = plan::snapshot::observe(&snapshot.life, phase, now).map(News::Life);
            life.or_else(|| {
                let tiering = plan::snapshot::tier::observe(snapshot, phase, now);
                let fast = plan::snapshot::fast::observe(snapshot, phase, now);
                (tiering.is_some() || fast.is_some()).then_some(News::Placed(tiering, fast))
            })
        }
        ObservedBody::Applied | ObservedBody::Failing { .. } | ObservedBody::Instance(_) => None,
    }
}

/// Whether it changes anything.
pub fn is_news(
    tables: &Tables,
    region: &Region,
    id: SnapshotId,
    body: &ObservedBody,
    now: Timestamp,
) -> bool {
    tables.get::<Snapshot>(region, &id).is_some_and(|snapshot| news(snapshot, body, now).is_some())
}

pub fn take(
    txn: &mut Txn<'_>,
    region: &Region,
    id: SnapshotId,
    body: &ObservedBody,
    now: Timestamp,
) -> Result<()> {
    let Some(before) = txn.get::<Snapshot>(region, &id) else { return Ok(()) };
    match news(&before, body, now) {
        None => {}
        Some(News::Gone) => txn.delete::<Snapshot>(region, &id),
        Some(News::Placed(tiering, fast)) => {
            let mut placed = Snapshot::clone(&before);
            placed.tiering = tiering.or(placed.tiering);
            placed.fast_restores = fast.unwrap_or(placed.fast_restores);
            txn.put(region, placed);
        }
        Some(News::Life(life)) => {
            let is_end = !matches!(life, Life::Pending { .. });
            txn.put(region, Snapshot { life, ..(*before).clone() });
            if is_end {
                settle_images(txn, region, id);
            }
        }
    }
    Ok(())
}

fn settle_images(txn: &mut Txn<'_>, region: &Region, snapshot: SnapshotId) {
    let waiting = txn.tables().find::<Image>(region, "snapshot", snapshot);
    let waiting: Vec<ImageId> = waiting.map(|image| image.image).collect();
    for id in waiting {
        let Some(image) = txn.get::<Image>(region, &id) else { continue };
        if image.registration.state != State::Pending {
            continue;
        }
        // Held, so that of two snapshots that end at the same time one sees the other.
        let snapshots: Vec<_> = image.snapshots().map(|id| txn.get::<Snapshot>(region, &id)).collect();
        let lives = snapshots.iter().map(|snapshot| snapshot.as_ref().map(|snapshot| &snapshot.life));
        if let Some(state) = plan::image::settled(lives) {
            let registration = Registration { state, ..image.registration.clone() };
            txn.put(region, Image { registration, ..(*image).clone() });
        }
    }
}
