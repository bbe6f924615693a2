//! Instance types as launches see them, and what the running instances take of the host.

use control::Tables;
use model::record::IndexValue;
use model::record::instance::Instance;
use plan::instance::{Demand, HostFacts, TypeFacts};

/// A type of the catalogue.
pub fn facts(name: &str) -> Option<TypeFacts<'static>> {
    let kind = plan::instance_type::get(name)?;
    Some(TypeFacts {
        name: kind.name,
        vcpus: kind.vcpus,
        threads_per_core: kind.threads_per_core,
        memory: kind.memory,
        architectures: kind.architectures,
    })
}

/// What the host has left, once it has told its capacity.
pub fn host(ctx: &control::Context, tables: &Tables) -> Option<HostFacts> {
    let capacity = ctx.cloud.host.hello()?.capacity;
    let mut used = Demand::default();
    for region in &ctx.cloud.settings.regions {
        // By what is there, not by the catalogue, which is much longer.
        for (kind, count) in tables.counts::<Instance>(&region.region, Instance::OCCUPYING_TYPE) {
            if let IndexValue::Text(name) = kind
                && let Some(kind) = plan::instance_type::get(name)
            {
                used.add_many(count, kind.vcpus, kind.memory);
            }
        }
    }
    Some(HostFacts { capacity, used })
}
