//! The buckets that hold instances to their bandwidth; what they hold is [`plan::net::bandwidth`]'s.
//!
//! A bucket is made with the first port that is led to it and goes with the last, each in the same transaction, so a port is
//! never without its limits and no limit is without a port.

use super::nft::{Batch, Data, Family};
use super::router::Router;
use model::host::{Bandwidth, InterfaceDesired};
use plan::net::bandwidth::{self, Bucket, MAPS};
use plan::net::names::VPC_TABLE;
use std::collections::BTreeSet;
use std::io;

/// The buckets that an interface is led to.
pub(super) fn limits(interface: &InterfaceDesired) -> Vec<Bucket> {
    interface.bandwidth.map(bandwidth::buckets).unwrap_or_default()
}

impl Router {
    /// What a port is held to.
    pub(super) fn bandwidth(&self, tap: &str) -> Option<Bandwidth> {
        MAPS.into_iter().flat_map(|map| self.of_link(map, tap)).find_map(|(_, data)| match data {
            Data::Object(name) => bandwidth::of_name(name),
            _ => None,
        })
    }

    /// Makes the buckets that an interface needs and that are not there.
    pub(super) fn add_limits(&mut self, batch: &mut Batch, interface: &InterfaceDesired) {
        for bucket in limits(interface) {
            if self.buckets.insert(bucket.name.clone()) {
                batch.add_bucket(Family::Inet, VPC_TABLE, &bucket);
            }
        }
    }

    /// Removes the buckets to which nothing leads any more once `changes`, which are one port's, are made.
    pub(super) fn drop_limits(&mut self, batch: &mut Batch, changes: &[(String, Vec<u8>, Option<Data>)]) {
        let mut left = BTreeSet::new();
        for (set, key, _) in changes {
            let elements = self.sets.get(set);
            let Some(before @ Data::Object(name)) = elements.and_then(|all| all.get(key)) else { continue };
            let now = changes.iter().rev().find(|(s, k, _)| s == set && k == key);
            let stays = now.and_then(|(_, _, data)| data.as_ref()) == Some(before);
            let mut others = elements.into_iter().flatten().filter(|(other, _)| *other != key);
            if !stays && !others.any(|(_, data)| data == before) {
                left.insert(name.clone());
            }
        }
        self.forget_limits(batch, &left);
    }

    /// Removes the buckets to which nothing leads: somebody's hand, or another version of this program.
    pub(super) fn sweep_limits(&mut self) -> io::Result<()> {
        let elements = MAPS.iter().filter_map(|map| self.sets.get(*map)).flat_map(|map| map.values());
        let used: BTreeSet<&String> = elements
            .filter_map(|data| match data {
                Data::Object(name) => Some(name),
                _ => None,
            })
            .collect();
        let stale = self.buckets.iter().filter(|name| bandwidth::is_bucket(name) && !used.contains(name));
        let stale: BTreeSet<String> = stale.cloned().collect();
        let mut batch = Batch::default();
        self.forget_limits(&mut batch, &stale);
        if batch.is_empty() { Ok(()) } else { self.nft.commit(batch) }
    }

    fn forget_limits(&mut self, batch: &mut Batch, names: &BTreeSet<String>) {
        for name in names {
            batch.delete_bucket(Family::Inet, VPC_TABLE, name);
            self.buckets.remove(name);
        }
    }
}
