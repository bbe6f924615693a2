//! The chains that hold instances to their bandwidth; what is in them is [`plan::net::bandwidth`]'s.
//!
//! A chain is made with the first port that leads to it and goes with the last, each in the same transaction, so a port is
//! never without its limits and no limit is without a port.

use super::nft::{Batch, Data, Family, Held};
use super::router::Router;
use model::host::{Bandwidth, InterfaceDesired};
use plan::net::bandwidth::{self, Direction};
use plan::net::names::VPC_TABLE;
use std::collections::BTreeSet;
use std::io;

/// The maps that lead an interface's packets to its chains.
pub(super) fn limited(interface: &InterfaceDesired) -> impl Iterator<Item = (&'static str, String)> {
    let chains = |bandwidth| Direction::ALL.map(|way| (way.map(), bandwidth::chain(bandwidth, way)));
    interface.bandwidth.map(chains).into_iter().flatten()
}

fn leads_to<'a>(map: &str, data: Option<&'a Data>) -> Option<&'a String> {
    let is_ours = Direction::ALL.iter().any(|way| way.map() == map);
    match data {
        Some(Data::Jump(chain)) if is_ours => Some(chain),
        _ => None,
    }
}

impl Router {
    /// What a port is held to.
    pub(super) fn bandwidth(&self, tap: &str) -> Option<Bandwidth> {
        let (_, data) = self.of_link(Direction::Out.map(), tap).next()?;
        bandwidth::of_chain(leads_to(Direction::Out.map(), Some(data))?)
    }

    /// Makes the chains that an interface needs and that are not there.
    pub(super) fn add_limits(&mut self, batch: &mut Batch, interface: &InterfaceDesired) {
        let Some(wish) = interface.bandwidth else { return };
        let limits = bandwidth::limits(wish.rate);
        for (_, chain) in limited(interface) {
            if !self.chains.insert(chain.clone()) {
                continue;
            }
            batch.add_chain(Family::Inet, VPC_TABLE, &chain);
            if let Some(ceiling) = limits.ceiling {
                batch.append_limit(Family::Inet, VPC_TABLE, &chain, ceiling, Held::DropBeyond);
            }
            for bucket in &limits.credit {
                batch.append_limit(Family::Inet, VPC_TABLE, &chain, *bucket, Held::ReturnWithin);
            }
            if !limits.credit.is_empty() {
                batch.append_drop(Family::Inet, VPC_TABLE, &chain);
            }
        }
    }

    /// Removes the chains to which nothing leads any more once `changes` are made.
    pub(super) fn drop_limits(&mut self, batch: &mut Batch, changes: &[(String, Vec<u8>, Option<Data>)]) {
        let mut left = BTreeSet::new();
        for (set, key, _) in changes {
            let before = self.sets.get(set).and_then(|elements| elements.get(key));
            let now = changes.iter().rev().find(|(s, k, _)| s == set && k == key);
            let now = now.and_then(|(_, _, data)| data.as_ref());
            if let Some(chain) = leads_to(set, before).filter(|_| now != before) {
                let mut others = self.sets.get(set).into_iter().flatten();
                // Another port's: its own element is none of these changes, which are one port's.
                if !others.any(|(other, data)| other != key && leads_to(set, Some(data)) == Some(chain)) {
                    left.insert(chain.clone());
                }
            }
        }
        self.forget_limits(batch, &left);
    }

    /// Removes the chains to which nothing leads: somebody's hand, or another version of this program.
    pub(super) fn sweep_limits(&mut self) -> io::Result<()> {
        let maps = Direction::ALL.map(Direction::map);
        let elements = maps.iter().filter_map(|map| Some((*map, self.sets.get(*map)?)));
        let used: BTreeSet<&String> = elements
            .flat_map(|(map, elements)| elements.values().filter_map(move |data| leads_to(map, Some(data))))
            .collect();
        let stale = self.chains.iter().filter(|chain| bandwidth::is_chain(chain) && !used.contains(chain));
        let stale: BTreeSet<String> = stale.cloned().collect();
        let mut batch = Batch::default();
        self.forget_limits(&mut batch, &stale);
        if batch.is_empty() { Ok(()) } else { self.nft.commit(batch) }
    }

    fn forget_limits(&mut self, batch: &mut Batch, chains: &BTreeSet<String>) {
        for chain in chains {
            batch.flush_chain(Family::Inet, VPC_TABLE, chain);
            batch.delete_chain(Family::Inet, VPC_TABLE, chain);
            self.chains.remove(chain);
        }
    }
}
