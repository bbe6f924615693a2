//! Choosing types by what they must have, instead of by name.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetInstanceTypesFromInstanceRequirements.html>
//! Differs: prices are not known here, so the protection against dear types protects from nothing.

use super::{AcceleratorKind, Flag, InstanceType};

/// Bounds, both inclusive; a missing one bounds nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range<T> {
    pub min: Option<T>,
    pub max: Option<T>,
}

impl<T> Default for Range<T> {
    fn default() -> Self {
        Self { min: None, max: None }
    }
}

impl<T: PartialOrd> Range<T> {
    pub fn holds(&self, value: T) -> bool {
        self.min.as_ref().is_none_or(|min| value >= *min) && self.max.as_ref().is_none_or(|max| value <= *max)
    }

    /// Whether nothing can be in it.
    pub fn is_upside_down(&self) -> bool {
        matches!((&self.min, &self.max), (Some(min), Some(max)) if min > max)
    }

    fn is_open(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }
}

/// Whether types with a trait are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Included,
    Required,
    Excluded,
}

impl Choice {
    fn takes(self, has: bool) -> bool {
        match self {
            Self::Included => true,
            Self::Required => has,
            Self::Excluded => !has,
        }
    }
}

/// What a type must have. An empty list asks for nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirements {
    pub architectures: Vec<String>,
    pub virtualization: Vec<String>,
    pub vcpus: Range<u32>,
    pub memory_mib: Range<u32>,
    pub memory_gib_per_vcpu: Range<f64>,
    /// As EC2's requirements spell them: `intel`, `amd`, `amazon-web-services`, `apple`.
    pub cpu_manufacturers: Vec<String>,
    /// With `*` for anything.
    pub allowed: Vec<String>,
    pub excluded: Vec<String>,
    /// `current`, `previous`.
    pub generations: Vec<String>,
    pub bare_metal: Choice,
    pub burstable: Choice,
    pub hibernation: bool,
    pub encryption_in_transit: bool,
    pub interfaces: Range<u32>,
    pub local_storage: Choice,
    pub local_storage_types: Vec<String>,
    pub local_storage_gb: Range<f64>,
    pub ebs_mbps: Range<u32>,
    pub network_gbps: Range<f64>,
    pub accelerators: Accelerators,
}

/// What is asked of accelerators.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accelerators {
    pub types: Vec<String>,
    pub count: Range<u32>,
    pub manufacturers: Vec<String>,
    pub names: Vec<String>,
    pub total_memory_mib: Range<u32>,
}

impl Default for Requirements {
    fn default() -> Self {
        Self {
            architectures: Vec::new(),
            virtualization: Vec::new(),
            vcpus: Range::default(),
            memory_mib: Range::default(),
            memory_gib_per_vcpu: Range::default(),
            cpu_manufacturers: Vec::new(),
            allowed: Vec::new(),
            excluded: Vec::new(),
            generations: Vec::new(),
            bare_metal: Choice::Excluded,
            burstable: Choice::Excluded,
            hibernation: false,
            encryption_in_transit: false,
            interfaces: Range::default(),
            local_storage: Choice::Included,
            local_storage_types: Vec::new(),
            local_storage_gb: Range::default(),
            ebs_mbps: Range::default(),
            network_gbps: Range::default(),
            accelerators: Accelerators::default(),
        }
    }
}

impl Requirements {
    pub fn met_by(&self, kind: &InstanceType) -> bool {
        let memory = kind.memory.0;
        let store = kind.instance_store;
        let generation = if kind.has(Flag::CurrentGeneration) { "current" } else { "previous" };
        any(&self.architectures, |name| kind.architecture_names.contains(name))
            && any(&self.virtualization, |name| kind.virtualization.contains(name))
            && self.vcpus.holds(kind.vcpus)
            && self.memory_mib.holds(memory)
            && self.memory_gib_per_vcpu.holds(f64::from(memory) / 1024.0 / f64::from(kind.vcpus))
            && any(&self.cpu_manufacturers, |name| name == spelled(kind.manufacturer))
            && any(&self.allowed, |pattern| matches(pattern, kind.name))
            && !self.excluded.iter().any(|pattern| matches(pattern, kind.name))
            && any(&self.generations, |name| name == generation)
            && self.bare_metal.takes(kind.has(Flag::BareMetal))
            && self.burstable.takes(kind.has(Flag::Burstable))
            && (!self.hibernation || kind.has(Flag::Hibernation))
            && (!self.encryption_in_transit || kind.has(Flag::EncryptionInTransit))
            && self.interfaces.holds(kind.max_interfaces)
            && self.local_storage.takes(store.is_some())
            && store.is_none_or(|store| any(&self.local_storage_types, |name| name == store.kind))
            && (self.local_storage_gb.is_open()
                || self.local_storage_gb.holds(store.map_or(0.0, |store| f64::from(store.total_gb()))))
            && (self.ebs_mbps.is_open()
                || self.ebs_mbps.holds(kind.ebs.map_or(0, |rates| rates.baseline_mbps as u32)))
            && (self.network_gbps.is_open() || self.network_gbps.holds(kind.peak_gbps()))
            && self.accelerators.met_by(kind)
    }
}

impl Accelerators {
    fn met_by(&self, kind: &InstanceType) -> bool {
        const KINDS: [(AcceleratorKind, &str); 5] = [
            (AcceleratorKind::Gpu, "gpu"),
            (AcceleratorKind::Fpga, "fpga"),
            (AcceleratorKind::Inference, "inference"),
            (AcceleratorKind::Media, "media"),
            // Chips that are also shown as inference accelerators were found above.
            (AcceleratorKind::Neuron, "inference"),
        ];
        let found = KINDS.iter().find_map(|(of, name)| Some((name, kind.accelerator(*of)?)));
        let Some((of, device)) = found else {
            return self.types.is_empty()
                && self.manufacturers.is_empty()
                && self.names.is_empty()
                && self.count.holds(0)
                && self.total_memory_mib.holds(0);
        };
        let count = device.gpu.map_or(device.count, |share| share.logical);
        let name = device.name.to_ascii_lowercase().replace(' ', "-");
        // Neuron devices do not say whose they are.
        let manufacturer = spelled(device.manufacturer.unwrap_or("AWS"));
        any(&self.types, |wanted| wanted == *of)
            && self.count.holds(count)
            && any(&self.manufacturers, |wanted| wanted == manufacturer)
            && any(&self.names, |wanted| *wanted == name)
            && self.total_memory_mib.holds(device.total_memory().0)
    }
}

/// A maker as EC2's requirements spell it.
fn spelled(maker: &'static str) -> &'static str {
    match maker {
        "Intel" => "intel",
        "AMD" => "amd",
        "AWS" => "amazon-web-services",
        "Apple" => "apple",
        "NVIDIA" => "nvidia",
        "Xilinx" => "xilinx",
        "Habana" => "habana",
        other => other,
    }
}

fn any(wanted: &[String], holds: impl Fn(&String) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(holds)
}

/// Whether a name is of a pattern, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance_type::all;

    fn chosen(requirements: &Requirements) -> Vec<&'static str> {
        all().iter().filter(|kind| requirements.met_by(kind)).map(|kind| kind.name).collect()
    }

    fn some(text: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    fn exactly<T: Copy>(value: T) -> Range<T> {
        Range { min: Some(value), max: Some(value) }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, holds) in [
            ("m5.8xlarge", "m5.8xlarge", true),
            ("m5.8xlarge", "m5.8xlarge2", false),
            ("c5*.*", "c5d.large", true),
            ("m5a.*", "m5ad.large", false),
            ("r*", "r5.large", true),
            ("*3*", "m3.large", true),
            ("*3*", "m5.large", false),
            ("*.large", "m5.xlarge", false),
            ("*.metal", "m5.metal", true),
        ] {
            assert_eq!(matches(pattern, name), holds, "{pattern} {name}");
        }
    }

    #[test]
    fn types_are_chosen_by_what_they_have() {
        let small = Requirements {
            architectures: some("x86_64"),
            vcpus: exactly(2),
            memory_mib: exactly(4096),
            generations: some("current"),
            cpu_manufacturers: some("intel"),
            allowed: some("c6*"),
            ..Requirements::default()
        };
        assert_eq!(chosen(&small), ["c6i.large", "c6id.large", "c6in.large"]);
        let with_disk = Requirements { local_storage: Choice::Required, ..small.clone() };
        assert_eq!(chosen(&with_disk), ["c6id.large"]);
        let fast = Requirements { network_gbps: Range { min: Some(20.0), max: None }, ..small.clone() };
        assert_eq!(chosen(&fast), ["c6in.large"]);
        let none = Requirements { excluded: some("c6i*"), ..small };
        assert!(chosen(&none).is_empty());
    }

    #[test]
    fn burstable_and_bare_metal_types_are_left_out_unless_asked_for() {
        let t3 = Requirements { allowed: some("t3.*"), ..Requirements::default() };
        assert!(chosen(&t3).is_empty());
        assert_eq!(chosen(&Requirements { burstable: Choice::Included, ..t3 }).len(), 7);
        let metal =
            Requirements { allowed: some("m5.*"), bare_metal: Choice::Required, ..Requirements::default() };
        assert_eq!(chosen(&metal), ["m5.metal"]);
    }

    #[test]
    fn accelerators_are_asked_for_by_kind_maker_name_count_and_memory() {
        let of = |accelerators| Requirements { accelerators, ..Requirements::default() };
        let t4 = Accelerators { names: some("t4"), count: exactly(4), ..Accelerators::default() };
        assert_eq!(chosen(&of(t4)), ["g4dn.12xlarge"]);
        let fpga = Accelerators { types: some("fpga"), ..Accelerators::default() };
        assert_eq!(chosen(&of(fpga)), ["f2.12xlarge", "f2.48xlarge", "f2.6xlarge"]);
        let aws = Accelerators { manufacturers: some("amazon-web-services"), ..Accelerators::default() };
        assert!(chosen(&of(aws)).contains(&"trn2.48xlarge"));
        let large = Range { min: Some(2_000_000), max: None };
        let large = Accelerators { types: some("gpu"), total_memory_mib: large, ..Accelerators::default() };
        assert_eq!(chosen(&of(large)), ["p6-b300.48xlarge"]);
        let none = Accelerators { count: Range { min: None, max: Some(0) }, ..Accelerators::default() };
        assert!(chosen(&of(none)).iter().all(|name| !name.starts_with("g5.") && !name.starts_with("inf")));
    }
}
