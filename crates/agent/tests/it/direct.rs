//! Snapshots that their owners write block by block: the same on the simulator and on a real store, which also survives its agent.

use crate::sample;
use agent::host::linux::block::{Filling, LinuxBlock, LinuxBlockConfig};
use agent::host::sim::{SimConfig, SimHost, TokioClock};
use agent::host::{Block, Fault};
use model::host::blocks::{BLOCK, ChangedBlock, Seal};
use model::host::{SnapshotDesired, SnapshotPhase, SnapshotSource};
use model::{CloudTag, DataKey, Timestamp};
use ring::digest::{Context, SHA256, digest};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn direct(number: u32, parent: Option<u32>, seal: Option<Seal>) -> SnapshotDesired {
    let source = SnapshotSource::Direct { parent: parent.map(sample::snapshot_id), seal };
    SnapshotDesired { source, ..sample::snapshot(number, 1) }
}

fn content(byte: u8) -> Vec<u8> {
    (0..BLOCK).map(|at| byte.wrapping_add((at / 4096) as u8)).collect()
}

/// Of blocks by their indexes.
fn seal(blocks: &BTreeMap<u64, Vec<u8>>) -> Seal {
    let mut all = Context::new(&SHA256);
    for block in blocks.values() {
        all.update(digest(&SHA256, block).as_ref());
    }
    Seal { changed: blocks.len() as u64, checksum: Some(all.finish().as_ref().to_vec().into()) }
}

async fn ended(block: &impl Block, wanted: &SnapshotDesired) -> agent::host::Result<SnapshotPhase> {
    loop {
        match block.store_snapshot(wanted, None).await? {
            SnapshotPhase::Pending { .. } => tokio::task::yield_now().await,
            phase => return Ok(phase),
        }
    }
}

async fn held(block: &impl Block, number: u32, key: Option<&DataKey>) -> BTreeMap<u64, Vec<u8>> {
    let id = sample::snapshot_id(number);
    let mut held = BTreeMap::new();
    for index in block.blocks(id, key, 0, 100).await.unwrap() {
        held.insert(index, block.block(id, key, index).await.unwrap().unwrap());
    }
    held
}

/// What both kinds of host do.
async fn blocks_are_put_sealed_and_got(block: &impl Block) {
    let open = direct(1, None, None);
    let phase = block.store_snapshot(&open, None).await.unwrap();
    assert_eq!(phase, SnapshotPhase::Pending { percent: 0 });
    let mut first = BTreeMap::from([(0, content(1)), (5, content(2)), (2047, content(3))]);
    for (index, data) in &first {
        block.put_block(&open, *index, content(9)).await.unwrap();
        block.put_block(&open, *index, data.clone()).await.unwrap();
    }
    let wrong = Seal { changed: 2, checksum: None };
    let error = ended(block, &direct(1, None, Some(wrong))).await.unwrap_err();
    assert_eq!(error.fault, Fault::Permanent, "{error}");
    assert!(error.to_string().contains("3 blocks were written"), "{error}");
    let other = Seal { checksum: Some(vec![0; 32].into()), ..seal(&first) };
    let error = ended(block, &direct(1, None, Some(other))).await.unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    let phase = ended(block, &direct(1, None, Some(seal(&first)))).await.unwrap();
    assert_eq!(phase, SnapshotPhase::Completed { full: 3 * BLOCK as u64, tier: model::host::Tier::Standard });
    assert_eq!(held(block, 1, None).await, first);
    assert_eq!(block.blocks(sample::snapshot_id(1), None, 1, 1).await.unwrap(), [5]);
    assert_eq!(block.block(sample::snapshot_id(1), None, 7).await.unwrap(), None);
    // Upon a parent: what is not put is as it was, and zeros are nothing.
    let child = direct(2, Some(1), None);
    let puts = BTreeMap::from([(0, vec![0; BLOCK]), (5, content(2)), (6, content(6))]);
    for (index, data) in &puts {
        block.put_block(&child, *index, data.clone()).await.unwrap();
    }
    ended(block, &direct(2, Some(1), Some(seal(&puts)))).await.unwrap();
    first.remove(&0);
    first.insert(6, content(6));
    assert_eq!(held(block, 2, None).await, first);
    let (one, two) = ((sample::snapshot_id(1), None), (sample::snapshot_id(2), None));
    let changed = block.changed_blocks(one, two, 0, 100).await.unwrap().unwrap();
    let told = |index, in_first, in_second| ChangedBlock { index, in_first, in_second };
    assert_eq!(changed, [told(0, true, false), told(6, false, true)]);
    block.remove_snapshot(sample::snapshot_id(1)).await.unwrap();
    assert_eq!(held(block, 2, None).await, first);
    // One that is given up leaves nothing.
    let given_up = direct(3, None, None);
    block.put_block(&given_up, 0, content(1)).await.unwrap();
    block.remove_snapshot(sample::snapshot_id(3)).await.unwrap();
    assert_eq!(block.snapshots().await.unwrap(), [sample::snapshot_id(2)]);
}

fn real(directory: &Path) -> LinuxBlock {
    LinuxBlock::open(LinuxBlockConfig {
        cloud: CloudTag::parse("direct").unwrap(),
        state_dir: directory.join("volumes"),
        images_dir: directory.join("images"),
        snapshots_dir: directory.join("snapshots"),
        blocks: blocks::Place::Directory,
        filling: Filling::First,
    })
    .unwrap()
}

#[tokio::test]
async fn the_simulator_holds_blocks() {
    let clock = Arc::new(TokioClock::starting_at(Timestamp::from_millis(0)));
    blocks_are_put_sealed_and_got(&SimHost::new(SimConfig::default(), clock)).await;
}

#[tokio::test]
async fn a_real_store_holds_blocks() {
    let directory = tempfile::tempdir().unwrap();
    blocks_are_put_sealed_and_got(&real(directory.path())).await;
}

#[tokio::test]
async fn what_was_put_outlives_the_agent_and_is_read_with_its_key_alone() {
    let directory = tempfile::tempdir().unwrap();
    let key = DataKey::new([7; DataKey::LEN]);
    let with_key = |seal| SnapshotDesired { data_key: Some(key.clone()), ..direct(1, None, seal) };
    let puts = BTreeMap::from([(3, content(3)), (4, content(4))]);
    for (index, data) in &puts {
        // Another life for each.
        real(directory.path()).put_block(&with_key(None), *index, data.clone()).await.unwrap();
    }
    let block = real(directory.path());
    ended(&block, &with_key(Some(seal(&puts)))).await.unwrap();
    assert_eq!(held(&block, 1, Some(&key)).await, puts);
    let id = sample::snapshot_id(1);
    for wrong in [None, Some(DataKey::new([8; DataKey::LEN]))] {
        let error = block.block(id, wrong.as_ref(), 3).await.unwrap_err();
        assert_eq!(error.fault, Fault::Permanent, "{error}");
    }
}
