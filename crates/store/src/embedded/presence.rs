//! Which keys the store may have, in memory, so that a commit which makes new ones need not look for each in the database.
//!
//! Random 128-bit digests of the keys, 16 bytes each instead of the keys themselves: among a hundred million of them any two
//! are equal with a probability below 10⁻²². The writer keeps it up; it is of use once it knows of every key, which it
//! does from the start in a new store and after the first whole scan in another.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};

use parking_lot::Mutex;

use crate::{Event, Key};

pub(super) struct Presence {
    seeds: [RandomState; 2],
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    digests: HashSet<u128, BuildHasherDefault<Low>>,
    /// Deleted before the whole was known: a scan that began earlier may still bring them.
    deleted: HashSet<u128, BuildHasherDefault<Low>>,
    is_whole: bool,
}

impl Presence {
    /// `is_empty`: there is no key at all yet.
    pub(super) fn new(is_empty: bool) -> Self {
        let known = Known { is_whole: is_empty, ..Known::default() };
        Self { seeds: [RandomState::new(), RandomState::new()], known: Mutex::new(known) }
    }

    fn digest(&self, key: &str) -> u128 {
        let [high, low] = &self.seeds;
        u128::from(high.hash_one(key)) << 64 | u128::from(low.hash_one(key))
    }

    /// Whether there is certainly no such key.
    pub(super) fn lacks(&self, key: &Key) -> bool {
        let digest = self.digest(key.as_str());
        let known = self.known.lock();
        known.is_whole && !known.digests.contains(&digest)
    }

    /// Takes in what the journal has, in the order of the commits.
    pub(super) fn follow(&self, events: &[Event]) {
        let changes = events.iter().flat_map(|event| event.changes.iter());
        let changes: Vec<_> =
            changes.map(|change| (self.digest(change.key.as_str()), change.value.is_some())).collect();
        let mut known = self.known.lock();
        for (digest, is_put) in changes {
            if is_put {
                known.digests.insert(digest);
                known.deleted.remove(&digest);
            } else {
                known.digests.remove(&digest);
                if !known.is_whole {
                    known.deleted.insert(digest);
                }
            }
        }
    }

    /// Takes in every key that a scan of the whole store found.
    pub(super) fn complete<'a>(&self, keys: impl Iterator<Item = &'a Key>) {
        if self.known.lock().is_whole {
            return;
        }
        let found: Vec<u128> = keys.map(|key| self.digest(key.as_str())).collect();
        let mut known = self.known.lock();
        let deleted = std::mem::take(&mut known.deleted);
        known.digests.extend(found.into_iter().filter(|digest| !deleted.contains(digest)));
        known.is_whole = true;
    }
}

/// A digest is random enough as it is.
#[derive(Default)]
struct Low(u64);

impl Hasher for Low {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = digest as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Change;

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    fn event(changes: &[(&str, bool)]) -> Event {
        let change =
            |&(name, put): &(&str, bool)| Change { key: key(name), value: put.then(|| "value".into()) };
        Event { revision: 1, changes: changes.iter().map(change).collect::<Arc<[_]>>() }
    }

    #[test]
    fn a_new_store_lacks_what_was_never_put_or_is_deleted() {
        let presence = Presence::new(true);
        assert!(presence.lacks(&key("a")));
        presence.follow(&[event(&[("a", true), ("b", true)]), event(&[("b", false)])]);
        assert!(!presence.lacks(&key("a")));
        assert!(presence.lacks(&key("b")));
    }

    #[test]
    fn nothing_is_known_to_lack_before_the_whole_was_scanned() {
        let presence = Presence::new(false);
        assert!(!presence.lacks(&key("old")) && !presence.lacks(&key("none")));
        // While the scan is under way: one comes, and one of what it finds goes.
        presence.follow(&[event(&[("new", true), ("gone", false)])]);
        presence.complete([key("old"), key("gone")].iter());
        assert!(!presence.lacks(&key("old")) && !presence.lacks(&key("new")));
        assert!(presence.lacks(&key("gone")) && presence.lacks(&key("none")));
    }
}
