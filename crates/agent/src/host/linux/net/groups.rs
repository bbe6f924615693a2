//! Security groups in a VPC's rule set: their chains, and the sets of their members, here and beyond its peerings.

use super::nft::{Batch, Data, Family};
use super::router::Router;
use model::SecurityGroupId;
use model::host::SecurityGroupDesired;
use plan::net::Members;
use plan::net::names::{self, VPC_TABLE};
use std::collections::BTreeSet;
use std::io;

/// A group as rules of one version know it, with the members of it that are of other VPCs.
pub type ForeignGroup = ((SecurityGroupId, Members), BTreeSet<Vec<u8>>);

impl Router {
    /// The groups that rules here refer to and that may be of other VPCs, each with its members there as far as they are
    /// known here.
    pub fn foreign_groups(&self) -> Vec<ForeignGroup> {
        let foreign = self.sets.iter().filter_map(|(name, elements)| {
            Some((names::group_of_members_beyond(name)?, elements.keys().cloned().collect()))
        });
        foreign.collect()
    }

    /// Takes out of groups of other VPCs whom earlier agents wrote there by address alone.
    pub fn forget_strangers(&mut self) -> io::Result<()> {
        let (mut batch, mut changes) = (Batch::default(), Vec::new());
        for (set, elements) in &self.sets {
            let Some((group, _)) = names::group_of_members(set) else { continue };
            if !self.chains.contains(&names::group_ingress(group)) {
                for key in elements.keys() {
                    batch.delete_element(Family::Inet, VPC_TABLE, set, key);
                    changes.push((set.clone(), key.clone(), None));
                }
            }
        }
        self.commit(batch, changes)
    }

    /// The members of a group, if it is of this VPC.
    pub fn members_of(&self, group: SecurityGroupId, members: Members) -> Option<BTreeSet<Vec<u8>>> {
        if !self.chains.contains(&names::group_ingress(group)) {
            return None;
        }
        Some(self.sets.get(&names::group_members(group, members))?.keys().cloned().collect())
    }

    /// Makes a foreign group's members here exactly these: the link that each comes by, and its address.
    pub fn set_members(
        &mut self,
        (group, members): (SecurityGroupId, Members),
        wanted: &BTreeSet<Vec<u8>>,
    ) -> io::Result<()> {
        let set = names::group_members_beyond(group, members);
        let standing: BTreeSet<Vec<u8>> =
            self.sets.get(&set).map(|elements| elements.keys().cloned().collect()).unwrap_or_default();
        let (mut batch, mut changes) = (Batch::default(), Vec::new());
        for key in standing.difference(wanted) {
            batch.delete_element(Family::Inet, VPC_TABLE, &set, key);
            changes.push((set.clone(), key.clone(), None));
        }
        for key in wanted.difference(&standing) {
            batch.add_element(Family::Inet, VPC_TABLE, &set, key, &Data::None);
            changes.push((set.clone(), key.clone(), Some(Data::None)));
        }
        self.commit(batch, changes)
    }

    pub fn ensure_group(&mut self, group: &SecurityGroupDesired) -> io::Result<()> {
        let text = plan::net::group_body(group);
        if self.groups.get(&group.group) == Some(&text) {
            return Ok(());
        }
        self.load(&text)?;
        let before = self.groups.insert(group.group, text);
        self.chains.extend([names::group_ingress(group.group), names::group_egress(group.group)]);
        for name in self.nft.sets(Family::Inet, VPC_TABLE)? {
            if names::group_of_members(&name).is_some() || names::group_of_members_beyond(&name).is_some() {
                self.sets.entry(name).or_default();
            }
        }
        self.sweep_beyond(before.as_deref().map(named_beyond).unwrap_or_default())?;
        self.sweep_groups()
    }

    /// Makes sure that a port can name a group whose rules have not come yet: until then it allows nothing.
    pub fn ensure_group_exists(&mut self, group: SecurityGroupId) -> io::Result<()> {
        let complete = self.chains.contains(&names::group_ingress(group))
            && Members::ALL.iter().all(|m| self.sets.contains_key(&names::group_members(group, *m)));
        if complete {
            return Ok(());
        }
        if self.chains.contains(&names::group_ingress(group)) {
            // An earlier agent's: its rules stay until they come anew.
            self.load(&plan::net::group_sets(group))?;
        } else {
            let empty =
                SecurityGroupDesired { group, vpc: self.vpc, ingress: Vec::new(), egress: Vec::new() };
            self.load(&plan::net::group_body(&empty))?;
        }
        self.chains.extend([names::group_ingress(group), names::group_egress(group)]);
        for members in Members::ALL {
            self.sets.entry(names::group_members(group, members)).or_default();
        }
        Ok(())
    }

    /// Deletes a group's chains. Its set stays while another group's rules refer to it.
    pub fn remove_group(&mut self, group: SecurityGroupId) -> io::Result<()> {
        let (ingress, egress) = (names::group_ingress(group), names::group_egress(group));
        let mut batch = Batch::default();
        for chain in [&ingress, &egress] {
            batch.flush_chain(Family::Inet, VPC_TABLE, chain);
        }
        for chain in [&ingress, &egress] {
            batch.delete_chain(Family::Inet, VPC_TABLE, chain);
        }
        self.nft.commit(batch)?;
        let before = self.groups.remove(&group);
        self.chains.remove(&ingress);
        self.chains.remove(&egress);
        self.sweep_beyond(before.as_deref().map(named_beyond).unwrap_or_default())?;
        self.sweep_groups()
    }

    /// Deletes those of these sets of members beyond the VPC that no rule names any more.
    pub(super) fn sweep_beyond(&mut self, mut sets: BTreeSet<String>) -> io::Result<()> {
        if !sets.is_empty() {
            for text in self.groups.values() {
                for named in named_beyond(text) {
                    sets.remove(&named);
                }
            }
        }
        self.delete_unused(sets)
    }

    /// Deletes the sets that belong to no group and that no rule refers to.
    fn sweep_groups(&mut self) -> io::Result<()> {
        let orphans: Vec<String> = self
            .sets
            .keys()
            .filter(|set| {
                names::group_of_members(set)
                    .is_some_and(|(g, _)| !self.chains.contains(&names::group_ingress(g)))
            })
            .cloned()
            .collect();
        self.delete_unused(orphans)
    }

    pub fn groups(&self) -> impl Iterator<Item = SecurityGroupId> {
        self.chains.iter().filter_map(|chain| names::group_of_ingress(chain))
    }
}

/// The sets of members beyond the VPC that a group's rules name.
fn named_beyond(text: &str) -> BTreeSet<String> {
    let named = text.split_whitespace().filter_map(|word| word.strip_prefix('@'));
    named.filter(|set| names::group_of_members_beyond(set).is_some()).map(str::to_owned).collect()
}
