//! Instance types as launches see them, and what the running instances take of the host.

use control::{Cloud, Tables};
use model::host::Capacity;
use model::record::IndexValue;
use model::record::instance::{CpuOptions, Instance};
use plan::instance::{Demand, Host, HostFacts, TypeFacts};

/// A type of the catalogue.
pub fn facts(name: &str) -> Option<TypeFacts<'static>> {
    let kind = plan::instance_type::get(name)?;
    Some(TypeFacts {
        name: kind.name,
        vcpus: kind.vcpus,
        threads_per_core: kind.threads_per_core,
        valid_cores: kind.valid_cores,
        valid_threads_per_core: kind.valid_threads_per_core,
        memory: kind.memory,
        architectures: kind.architectures(),
        needs_hardware: kind.needs_hardware(),
    })
}

/// The processors of an instance.
pub fn cpus(instance: &Instance) -> Option<CpuOptions> {
    instance.cpus.or_else(|| {
        let kind = plan::instance_type::get(&instance.instance_type)?;
        Some(CpuOptions { cores: kind.cores, threads_per_core: kind.threads_per_core })
    })
}

/// What the host has, and what of it is promised.
pub fn host(cloud: &Cloud, tables: &Tables) -> Host {
    let Some(hello) = cloud.host.hello() else { return Host::Unknown };
    let capacity = hello.capacity;
    if capacity == Capacity::UNLIMITED {
        return Host::Unlimited;
    }
    let mut used = Demand::default();
    for region in tables.regions::<Instance>() {
        // By what is there, not by the catalogue, which is much longer.
        for (kind, count) in tables.counts::<Instance>(region, Instance::OCCUPYING_TYPE) {
            if let IndexValue::Text(name) = kind
                && let Some(kind) = plan::instance_type::get(name)
            {
                used.add_many(count, kind.vcpus, kind.memory);
            }
        }
    }
    Host::Real(HostFacts { capacity, overcommit: cloud.settings.overcommit, used })
}

/// How many volumes an instance may have: what its type says, and no more than a machine has slots for beside its interfaces
/// and the disks of its instance store.
pub fn most_volumes(instance_type: &str, interfaces: usize, store: usize) -> usize {
    let slots = plan::machine::ROOT_PORTS.saturating_sub(interfaces + store);
    plan::instance_type::get(instance_type)
        .map_or(slots, |kind| slots.min(kind.volumes_beside(interfaces as u32) as usize))
}

/// How many network interfaces an instance may have; all are of its first network card.
pub fn most_interfaces(instance_type: &str) -> usize {
    let first = plan::instance_type::get(instance_type).and_then(|kind| kind.network_cards().next());
    first.map_or(1, |card| card.max_interfaces as usize)
}

/// How many IPv6 addresses an interface of an instance may have.
pub fn most_ipv6_addresses(instance_type: &str) -> usize {
    plan::instance_type::get(instance_type).map_or(0, |kind| kind.ipv6_per_interface() as usize)
}

/// How many private addresses an interface of an instance may have.
pub fn most_addresses(instance_type: &str) -> usize {
    plan::instance_type::get(instance_type).map_or(1, |kind| kind.ipv4_per_interface as usize)
}
