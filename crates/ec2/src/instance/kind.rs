//! Instance types as launches see them, and what the running instances take of the host.

use control::Tables;
use model::MiB;
use model::host::Architecture;
use model::record::instance::Instance;
use plan::instance::{Demand, HostFacts, TypeFacts};

/// A type of the catalogue.
pub fn facts(name: &str) -> Option<TypeFacts<'static>> {
    TYPES.iter().find(|kind| kind.name == name).copied()
}

/// What the host has left, once it has told its capacity.
pub fn host(ctx: &control::Context, tables: &Tables) -> Option<HostFacts> {
    let capacity = ctx.cloud.host.hello()?.capacity;
    let mut used = Demand::default();
    for (_, instance) in tables.everywhere::<Instance>() {
        if instance.phase.occupies_host()
            && let Some(kind) = facts(&instance.instance_type)
        {
            used.add(kind.vcpus, kind.memory);
        }
    }
    Some(HostFacts { capacity, used })
}

const fn burstable(
    name: &'static str,
    memory: u32,
    architectures: &'static [Architecture],
) -> TypeFacts<'static> {
    let threads_per_core = match architectures {
        [Architecture::Arm64] => 1,
        _ => 2,
    };
    TypeFacts { name, vcpus: 2, threads_per_core, memory: MiB(memory), architectures }
}

const X86: &[Architecture] = &[Architecture::X86_64];
const ARM: &[Architecture] = &[Architecture::Arm64];
const TYPES: [TypeFacts<'static>; 6] = [
    burstable("t3.nano", 512, X86),
    burstable("t3.micro", 1024, X86),
    burstable("t3.small", 2048, X86),
    burstable("t3.medium", 4096, X86),
    burstable("t4g.nano", 512, ARM),
    burstable("t4g.micro", 1024, ARM),
];
