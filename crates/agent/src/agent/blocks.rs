//! Blocks of snapshots, for whoever the control plane lets have them: read from completed ones, put into open ones.
//!
//! The keys are those that came with the wishes; what lacks its key fails until it comes.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-accessing-snapshot.html>

use super::core::Core;
use super::schedule::Drivers;
use super::tables::Body;
use crate::host::{Block, HostError, Net, Result, Vmm};
use model::host::blocks::{BLOCK, BlockReply, BlockRequest};
use model::host::{ObjectKey, Reply, SnapshotDesired, SnapshotSource};
use model::{DataKey, SnapshotId};
use std::sync::Arc;

pub(super) async fn answer<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    asked: BlockRequest,
) -> Reply {
    match run(core, drivers, asked).await {
        Ok(Some(reply)) => Reply::Blocks(reply),
        Ok(None) => Reply::NotFound,
        Err(error) => Reply::Failed { reason: error.to_string() },
    }
}

/// The wish for a snapshot, and its key if it has one.
fn wish(core: &Core, snapshot: SnapshotId) -> Result<Option<(Arc<SnapshotDesired>, Option<DataKey>)>> {
    let tables = core.tables.lock();
    let Some(object) = tables.objects.get(&ObjectKey::Snapshot(snapshot)) else { return Ok(None) };
    let Body::Snapshot(desired) = &object.body else { return Ok(None) };
    if object.lacks_key {
        return Err(HostError::transient(format!("waits for the key of {snapshot}")));
    }
    Ok(Some((Arc::clone(desired), tables.data_key(ObjectKey::Snapshot(snapshot)))))
}

/// `None`: no such snapshot, or none that is open.
async fn run<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    asked: BlockRequest,
) -> Result<Option<BlockReply>> {
    match asked {
        BlockRequest::List { snapshot, from, most } => {
            let Some((_, key)) = wish(core, snapshot)? else { return Ok(None) };
            let listed = drivers.block.blocks(snapshot, key.as_ref(), from, most).await?;
            Ok(Some(BlockReply::Listed(listed)))
        }
        BlockRequest::Changed { first, second, from, most } => {
            let (Some((_, one)), Some((_, two))) = (wish(core, first)?, wish(core, second)?) else {
                return Ok(None);
            };
            let (first, second) = ((first, one.as_ref()), (second, two.as_ref()));
            let changed = drivers.block.changed_blocks(first, second, from, most).await?;
            Ok(Some(changed.map_or(BlockReply::Unrelated, BlockReply::Changed)))
        }
        BlockRequest::Get { snapshot, index } => {
            let Some((_, key)) = wish(core, snapshot)? else { return Ok(None) };
            let block = drivers.block.block(snapshot, key.as_ref(), index).await?;
            Ok(Some(BlockReply::Block(block.map(Into::into))))
        }
        BlockRequest::Put { snapshot, index, data } => {
            let Some((desired, _)) = wish(core, snapshot)? else { return Ok(None) };
            let is_open = matches!(desired.source, SnapshotSource::Direct { seal: None, .. });
            if !is_open || data.as_slice().len() != BLOCK {
                return Ok(None);
            }
            drivers.block.put_block(&desired, index, data.as_slice().to_vec()).await?;
            Ok(Some(BlockReply::Stored))
        }
    }
}
