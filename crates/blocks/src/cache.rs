//! A bounded cache: what was used least recently goes first, roughly (the clock algorithm).

use crate::BlockRef;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Values by key, up to a weight.
pub struct Cache<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// In the order of their coming; who was used since gets another round.
    order: VecDeque<K>,
    weight: usize,
    limit: usize,
}

struct Entry<V> {
    value: V,
    weight: usize,
    used: bool,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), weight: 0, limit }
    }

    pub fn get(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.get_mut(key)?;
        entry.used = true;
        Some(entry.value.clone())
    }

    pub fn put(&mut self, key: K, value: V, weight: usize) {
        if weight > self.limit || self.entries.contains_key(&key) {
            return;
        }
        while self.weight + weight > self.limit {
            let Some(oldest) = self.order.pop_front() else { break };
            let Some(entry) = self.entries.get_mut(&oldest) else { continue };
            if std::mem::take(&mut entry.used) {
                self.order.push_back(oldest);
            } else {
                self.weight -= entry.weight;
                self.entries.remove(&oldest);
            }
        }
        self.weight += weight;
        self.order.push_back(key.clone());
        self.entries.insert(key, Entry { value, weight, used: false });
    }
}

/// Blocks in memory, shared by all snapshots that are read: one bound for a whole process.
pub struct BlockCache(Mutex<Cache<(BlockRef, u64), Bytes>>);

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockCache").finish_non_exhaustive()
    }
}

impl BlockCache {
    /// Holds at most so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Mutex::new(Cache::new(bytes)))
    }

    /// `domain` is a number of the reader's domain: a block is handed only to whoever has shown its keys.
    pub(crate) fn get(&self, block: &BlockRef, domain: u64) -> Option<Bytes> {
        self.0.lock().get(&(*block, domain))
    }

    pub(crate) fn put(&self, block: &BlockRef, domain: u64, bytes: Bytes) {
        let weight = bytes.len();
        self.0.lock().put((*block, domain), bytes, weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_stays_within_its_bound_and_keeps_what_is_used() {
        let mut cache = Cache::new(10);
        for key in 0..5 {
            cache.put(key, key, 2);
        }
        for key in 5..50 {
            assert_eq!(cache.get(&0), Some(0), "used again and again, at {key}");
            cache.put(key, key, 2);
            assert!(cache.weight <= 10 && cache.entries.len() <= 5 && cache.order.len() <= 5);
        }
        assert_eq!(cache.get(&1), None);
        cache.put(100, 100, 11);
        assert_eq!(cache.get(&100), None, "what is larger than the cache is not kept");
    }
}
