//! A sorted map that mostly holds one entry, and sometimes a hundred thousand.
//!
//! A `BTreeMap` makes room for eleven entries as soon as it has one. Indexes have a map for every value, and most values are
//! one record's own.

use std::collections::BTreeMap;

/// Entries in the order of their keys. One entry takes no memory of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Few<K, V> {
    #[default]
    None,
    One(K, V),
    Many(BTreeMap<K, V>),
}

/// Keys in their order.
pub type FewKeys<K> = Few<K, ()>;

impl<K: Ord, V> Few<K, V> {
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(..) => 1,
            Self::Many(entries) => entries.len(),
        }
    }

    pub const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub fn contains(&self, key: &K) -> bool {
        match self {
            Self::None => false,
            Self::One(only, _) => only == key,
            Self::Many(entries) => entries.contains_key(key),
        }
    }

    /// Takes the place of the entry with the same key.
    pub fn insert(&mut self, key: K, value: V) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(key, value),
            Self::One(only, _) if only == key => Self::One(key, value),
            Self::One(only, its) => {
                // Each of its types would have a sort of its own for `BTreeMap::from`.
                let mut entries = BTreeMap::new();
                entries.insert(only, its);
                entries.insert(key, value);
                Self::Many(entries)
            }
            Self::Many(mut entries) => {
                entries.insert(key, value);
                Self::Many(entries)
            }
        };
    }

    pub fn remove(&mut self, key: &K) {
        *self = match std::mem::take(self) {
            Self::One(only, _) if only == *key => Self::None,
            Self::Many(mut entries) => {
                entries.remove(key);
                match entries.len() {
                    1 => entries.pop_first().map_or(Self::None, |(only, its)| Self::One(only, its)),
                    _ => Self::Many(entries),
                }
            }
            unchanged => unchanged,
        };
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(key, value) => (Some((key, value)), None),
            Self::Many(entries) => (None, Some(entries)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_map(changes in prop::collection::vec((0u8..5, any::<bool>(), any::<u8>()), 0..40)) {
            let (mut few, mut map) = (Few::default(), BTreeMap::new());
            for (key, goes, value) in changes {
                if goes {
                    few.remove(&key);
                    map.remove(&key);
                } else {
                    few.insert(key, value);
                    map.insert(key, value);
                }
                prop_assert!(few.iter().eq(map.iter()));
                prop_assert!(few.values().rev().eq(map.values().rev()));
                prop_assert!(few.keys().eq(map.keys()));
                prop_assert_eq!((few.len(), few.is_empty()), (map.len(), map.is_empty()));
                prop_assert_eq!(few.contains(&3), map.contains_key(&3));
            }
        }
    }
}
