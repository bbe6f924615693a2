//! Classes of ports: what those of one subnet with the same groups share, their gates and their border.
//!
//! A class is a number that links bear, two chains that jump to those of the groups, and the elements that lead from the
//! number to the chains. It comes with its first port and goes with its last. What the kernel is asked for each port beside
//! that are elements without verdicts, for which it looks at no chain.
//!
//! A process knows the classes that it made. Ports that it finds bear a number of an earlier one: each gets a new number when
//! it is asked for, and no number is used again that any link bears.

use super::nft::{Batch, Data, Elements, Family, class_key};
use super::router::Router;
use super::rtnl::Link;
use model::host::InterfaceDesired;
use model::{NetworkInterfaceId, SecurityGroupId, SubnetId};
use plan::net::names::{self, VPC_TABLE};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The maps whose keys are classes.
pub(super) const BY_CLASS: [&str; 4] = ["gate_in", "gate_out", "border_in", "border_out"];

/// The classes of a VPC.
#[derive(Debug, Default)]
pub(super) struct Classes {
    /// Those whose gates this process wrote.
    numbers: BTreeMap<Class, u32>,
    /// How many links bear each number.
    borne: BTreeMap<u32, usize>,
    /// No link and no chain has a higher number.
    highest: u32,
}

impl Classes {
    /// As read anew: what the links of ports bear, and the classes that have gates.
    fn found(&mut self, borne: impl Iterator<Item = u32>, standing: &BTreeSet<u32>) {
        self.numbers.retain(|_, number| standing.contains(number));
        self.borne.clear();
        borne.for_each(|number| *self.borne.entry(number).or_default() += 1);
        let highest = self.borne.keys().chain(standing).max().copied().unwrap_or(0);
        self.highest = self.highest.max(highest);
    }

    fn join(&mut self, number: u32) {
        *self.borne.entry(number).or_default() += 1;
    }

    /// Whether that was the last one.
    fn leave(&mut self, number: u32) -> bool {
        let Some(count) = self.borne.get_mut(&number) else { return true };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.borne.remove(&number);
        }
        last
    }
}

/// What ports of a class have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class {
    subnet: SubnetId,
    groups: BTreeSet<SecurityGroupId>,
}

impl Class {
    fn of(interface: &InterfaceDesired) -> Self {
        Self { subnet: interface.subnet, groups: interface.security_groups.iter().copied().collect() }
    }
}

impl Router {
    /// The number of an interface's class, which is made where it is not there.
    pub(super) fn class_for(
        &mut self,
        interface: &InterfaceDesired,
        batch: &mut Batch,
        changes: &mut Vec<(String, Vec<u8>, Option<Data>)>,
    ) -> u32 {
        let class = Class::of(interface);
        if let Some(number) = self.classes.numbers.get(&class) {
            return *number;
        }
        self.classes.highest += 1;
        let number = self.classes.highest;
        let (ingress, egress) = (names::class_ingress(number), names::class_egress(number));
        for chain in [&ingress, &egress] {
            batch.add_chain(Family::Inet, VPC_TABLE, chain);
        }
        for group in &class.groups {
            batch.append_jump(Family::Inet, VPC_TABLE, &ingress, &names::group_ingress(*group));
            batch.append_jump(Family::Inet, VPC_TABLE, &egress, &names::group_egress(*group));
        }
        batch.append_goto(Family::Inet, VPC_TABLE, &ingress, plan::net::REJECTED_IN);
        // Without groups nothing comes in, and all goes out to the receiver's gate.
        let rest = if class.groups.is_empty() { plan::net::FORWARD_IN } else { plan::net::REJECTED_OUT };
        batch.append_goto(Family::Inet, VPC_TABLE, &egress, rest);
        let elements = [
            ("gate_in".to_owned(), Data::Goto(ingress)),
            ("gate_out".to_owned(), Data::Goto(egress)),
            ("border_in".to_owned(), Data::Jump(names::subnet_ingress(class.subnet))),
            ("border_out".to_owned(), Data::Jump(names::subnet_egress(class.subnet))),
            (names::subnet_ports(class.subnet), Data::None),
        ];
        for (set, data) in elements {
            batch.add_element(Family::Inet, VPC_TABLE, &set, &class_key(number), &data);
            changes.push((set, class_key(number), Some(data)));
        }
        // A transaction that fails takes them out again.
        self.classes.numbers.insert(class, number);
        number
    }

    /// Lets the port's link bear its class, whose gates stand.
    pub(super) fn join_class(
        &mut self,
        interface: NetworkInterfaceId,
        link: &Link,
        class: u32,
    ) -> io::Result<()> {
        self.chains.extend([names::class_ingress(class), names::class_egress(class)]);
        if link.group != class {
            self.rtnl.set_group(link.index, class)?;
        }
        let Some(port) = self.ports.get_mut(&interface).filter(|port| port.class != class) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut port.class, class);
        self.classes.join(class);
        self.leave_class(before)
    }

    /// A port has left a class, which goes with its last one.
    pub(super) fn leave_class(&mut self, number: u32) -> io::Result<()> {
        if self.classes.leave(number) { self.remove_class(number) } else { Ok(()) }
    }

    /// Deletes what stands of a class. The mirror changes only with the kernel, which is not read anew here: a class that
    /// somebody's hand has tied is in nobody's way.
    fn remove_class(&mut self, number: u32) -> io::Result<()> {
        let key = class_key(number);
        let mut batch = Batch::default();
        let of_classes = |set: &str| BY_CLASS.contains(&set) || names::is_subnet_ports(set);
        let holds = |(set, elements): (&String, &Elements)| {
            (of_classes(set) && elements.contains_key(&key)).then(|| set.clone())
        };
        let sets: Vec<String> = self.sets.iter().filter_map(holds).collect();
        for set in &sets {
            batch.delete_element(Family::Inet, VPC_TABLE, set, &key);
        }
        let mut chains = [names::class_ingress(number), names::class_egress(number)].to_vec();
        chains.retain(|chain| self.chains.contains(chain));
        for chain in &chains {
            batch.flush_chain(Family::Inet, VPC_TABLE, chain);
            batch.delete_chain(Family::Inet, VPC_TABLE, chain);
        }
        if !batch.is_empty() {
            self.nft.commit(batch)?;
        }
        for set in sets {
            self.sets.entry(set).or_default().remove(&key);
        }
        for chain in &chains {
            self.chains.remove(chain);
        }
        self.classes.numbers.retain(|_, standing| *standing != number);
        Ok(())
    }

    /// Takes in what is read: forgets classes that do not stand, and removes those that no port has.
    pub(super) fn sweep_classes(&mut self) {
        let standing: BTreeSet<u32> =
            self.chains.iter().filter_map(|chain| names::class_of_ingress(chain)).collect();
        let borne = self.ports.values().map(|port| port.class).filter(|number| *number != 0);
        self.classes.found(borne, &standing);
        let unused: Vec<u32> =
            standing.into_iter().filter(|number| !self.classes.borne.contains_key(number)).collect();
        for number in unused {
            if let Err(error) = self.remove_class(number) {
                tracing::warn!(number, %error, "a class without ports stays in a VPC's rule set");
            }
        }
    }
}
