//! What a host can still carry.
//!
//! Memory is promised once and virtual CPUs several times, unless the operator says otherwise ([`Overcommit`]). A stopped
//! instance takes nothing; every other one takes what its type says, also when it was launched with fewer CPUs.

use super::TypeFacts;
use model::host::Capacity;
use model::{MiB, Overcommit};

/// What is behind the instances of a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// No host has told its capacity yet. It refuses only what hardly any host has: its instances wait pending.
    Unknown,
    /// A simulated one: it has whatever is asked of it.
    Unlimited,
    Real(HostFacts),
}

/// What the host has, and what of it is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFacts {
    pub capacity: Capacity,
    pub overcommit: Overcommit,
    pub used: Demand,
}

/// Virtual CPUs and memory, in MiB, of some instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    pub vcpus: u64,
    pub memory: u64,
}

impl Demand {
    /// So many machines of one size.
    pub fn add_many(&mut self, count: usize, vcpus: u32, memory: MiB) {
        self.vcpus += count as u64 * u64::from(vcpus);
        self.memory += count as u64 * u64::from(memory.0);
    }
}

impl Host {
    /// How many more machines of this type the host takes.
    pub fn room(&self, machine: &TypeFacts<'_>) -> u32 {
        match self {
            Self::Unlimited => u32::MAX,
            // No driver hands a GPU of the host on to a machine.
            Self::Unknown | Self::Real(_) if machine.needs_hardware => 0,
            Self::Unknown => u32::MAX,
            Self::Real(facts) => facts.room(machine.vcpus, machine.memory),
        }
    }

    /// Promises one more machine.
    pub fn take(&mut self, machine: &TypeFacts<'_>) {
        match self {
            Self::Unknown | Self::Unlimited => {}
            Self::Real(facts) => facts.used.add_many(1, machine.vcpus, machine.memory),
        }
    }
}

impl HostFacts {
    /// All that may be promised.
    pub fn most(&self) -> Demand {
        let Overcommit { cpu, memory } = self.overcommit;
        Demand { vcpus: cpu.of(self.capacity.vcpus), memory: memory.of(self.capacity.memory.0) }
    }

    fn room(&self, vcpus: u32, memory: MiB) -> u32 {
        let most = self.most();
        let free_vcpus = most.vcpus.saturating_sub(self.used.vcpus);
        let free_memory = most.memory.saturating_sub(self.used.memory);
        let by_vcpus = free_vcpus / u64::from(vcpus.max(1));
        let by_memory = free_memory / u64::from(memory.0.max(1));
        u32::try_from(by_vcpus.min(by_memory)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::admit::tests::{MICRO, host};
    use super::*;

    fn overcommitted(cpu: &str, memory: &str, host: Host) -> Host {
        let Host::Real(facts) = host else { panic!("a real host") };
        let overcommit = Overcommit { cpu: cpu.parse().unwrap(), memory: memory.parse().unwrap() };
        Host::Real(HostFacts { overcommit, ..facts })
    }

    #[test]
    fn the_operator_decides_how_often_things_are_promised() {
        let small = host(2, 4096, Demand::default());
        assert_eq!(small.room(&MICRO), 4, "by memory");
        assert_eq!(overcommitted("8", "1.5", small).room(&MICRO), 6);
        assert_eq!(overcommitted("1", "1.5", small).room(&MICRO), 1, "by processors");
        assert_eq!(overcommitted("2.5", "10", small).room(&MICRO), 2, "rounded down");
        assert_eq!(overcommitted("0.5", "1", small).room(&MICRO), 0);
    }

    #[test]
    fn what_is_taken_is_no_longer_there() {
        let mut small = host(2, 2048, Demand::default());
        small.take(&MICRO);
        assert_eq!(small.room(&MICRO), 1);
        small.take(&MICRO);
        assert_eq!(small.room(&MICRO), 0);
        // A host that lost memory since.
        small.take(&MICRO);
        assert_eq!(small.room(&MICRO), 0);
    }

    #[test]
    fn only_a_simulated_host_has_rare_hardware() {
        let gpu = TypeFacts { needs_hardware: true, ..MICRO };
        assert_eq!(host(1000, u32::MAX, Demand::default()).room(&gpu), 0);
        assert_eq!(Host::Unknown.room(&gpu), 0);
        assert_eq!(Host::Unknown.room(&MICRO), u32::MAX);
        assert_eq!(Host::Unlimited.room(&gpu), u32::MAX);
    }
}
