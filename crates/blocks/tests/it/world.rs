//! What tests begin with: domains, snapshots, and blocks whose content a number tells.

use blocks::{BLOCK_SIZE, Begin, BlockCache, BlockStore, Domain, DomainId, Objects, Session, Snapshot};
use model::{AccountId, SnapshotId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A volume as the tests know it: numbers by block; a block that is not there is zero.
pub type Disk = BTreeMap<u64, u64>;

pub fn store(objects: impl Objects) -> BlockStore {
    // No cache to speak of: what is read comes from the objects.
    BlockStore::with_cache(Arc::new(objects), Arc::new(BlockCache::new(1)))
}

pub fn domain(number: u8) -> Arc<Domain> {
    let id = DomainId::parse(&format!("domain-{number}")).unwrap();
    // Odd ones are encrypted.
    Arc::new(if number % 2 == 1 {
        Domain::encrypted(id, &[number; 32])
    } else {
        Domain::plain(id, &[number; 32])
    })
}

pub fn snap(number: u64) -> SnapshotId {
    SnapshotId::from_entropy(u128::from(number))
}

pub fn begin(snapshot: u64, parent: Option<u64>, blocks: u64) -> Begin {
    Begin {
        snapshot: snap(snapshot),
        parent: parent.map(snap),
        account: AccountId::parse("123456789012").unwrap(),
        key_id: None,
        size: blocks * BLOCK_SIZE as u64,
        created_at: Timestamp::from_millis(1_700_000_000_000),
    }
}

/// The block that a number stands for: half of it compresses.
pub fn block(number: u64) -> Vec<u8> {
    if number == 0 {
        return vec![0; BLOCK_SIZE];
    }
    let mut bytes = number.to_le_bytes().repeat(BLOCK_SIZE / 8);
    let hash = blake3_fill(number);
    bytes[..hash.len()].copy_from_slice(&hash);
    bytes
}

/// 256 bytes that do not compress.
fn blake3_fill(number: u64) -> Vec<u8> {
    let mut dice = crate::Dice(number);
    (0..32).flat_map(|_| dice.roll().to_le_bytes()).collect()
}

pub fn put(session: &Session, changes: &Disk) {
    for (index, number) in changes {
        session.put_block(*index, &block(*number)).unwrap();
    }
}

/// A snapshot of these blocks, on top of its parent.
pub fn write(
    store: &BlockStore,
    domain: &Arc<Domain>,
    id: u64,
    parent: Option<u64>,
    blocks: u64,
    changes: &Disk,
) {
    let session = store.begin(begin(id, parent, blocks), Arc::clone(domain)).unwrap();
    put(&session, changes);
    session.complete().unwrap();
}

/// What the snapshot holds, by looking at the block's first bytes behind the random ones; the whole block must fit.
pub fn read(snapshot: &Snapshot) -> blocks::Result<Disk> {
    let mut disk = Disk::new();
    for index in 0..snapshot.manifest().total_blocks() {
        let mut bytes = vec![1; BLOCK_SIZE];
        snapshot.read_at(index * BLOCK_SIZE as u64, &mut bytes)?;
        let number = u64::from_le_bytes(bytes[BLOCK_SIZE - 8..].try_into().unwrap());
        assert!(bytes == block(number), "{index} holds a mixture");
        if number != 0 {
            disk.insert(index, number);
        }
    }
    Ok(disk)
}

pub fn open(store: &BlockStore, domain: &Arc<Domain>, id: u64) -> blocks::Result<Snapshot> {
    store.snapshot(snap(id), Arc::clone(domain))
}

/// The disk with the changes made.
pub fn changed(disk: &Disk, changes: &Disk) -> Disk {
    let mut disk = disk.clone();
    disk.extend(changes);
    disk.retain(|_, number| *number != 0);
    disk
}
