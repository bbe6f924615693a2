//! `GetInstanceTypesFromInstanceRequirements`: types by what they must have.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetInstanceTypesFromInstanceRequirements.html>
//! Differs: prices are not known here, so the protections against dear types are taken and exclude nothing; performance
//! factors are refused.

use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use api_ec2::{
    AcceleratorManufacturer, AcceleratorType, ArchitectureType, BareMetal, BurstablePerformance,
    CpuManufacturer, GetInstanceTypesFromInstanceRequirementsRequest,
    GetInstanceTypesFromInstanceRequirementsResult, InstanceGeneration, InstanceRequirementsRequest,
    InstanceTypeInfoFromInstanceRequirements, LocalStorage, LocalStorageType, VirtualizationType,
};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
use plan::instance_type::{self, Accelerators, Choice, Range, Requirements};

/// How many types or patterns a list may have.
const MAX_LISTED: usize = 400;

pub(super) fn run(
    _: &Context,
    request: &GetInstanceTypesFromInstanceRequirementsRequest,
    _: &Tables,
) -> Result<GetInstanceTypesFromInstanceRequirementsResult> {
    let mut paging =
        Paging::<String>::parse(request.max_results, request.next_token.as_deref(), 1..=1000, ByIds::Absent)?;
    paging.limit = paging.limit.or(Some(1000));
    let architectures = request.architecture_types.iter().map(ArchitectureType::as_str).collect::<Vec<_>>();
    let virtualization =
        request.virtualization_types.iter().map(VirtualizationType::as_str).collect::<Vec<_>>();
    if architectures.is_empty() {
        return Err(missing_parameter("ArchitectureType"));
    }
    if virtualization.is_empty() {
        return Err(missing_parameter("VirtualizationType"));
    }
    let requirements = Requirements {
        architectures: known("ArchitectureType", architectures, &ARCHITECTURES)?,
        virtualization: known("VirtualizationType", virtualization, &["hvm", "paravirtual"])?,
        ..parse(&request.instance_requirements)?
    };
    let met = instance_type::all().iter().filter(|kind| requirements.met_by(kind));
    let (page, next_token) = page::cut(met, &paging, |kind| kind.name.to_owned());
    let shown = page
        .into_iter()
        .map(|kind| InstanceTypeInfoFromInstanceRequirements { instance_type: Some(kind.name.into()) });
    Ok(GetInstanceTypesFromInstanceRequirementsResult { instance_types: Some(shown.collect()), next_token })
}

const ARCHITECTURES: [&str; 5] = ["i386", "x86_64", "arm64", "x86_64_mac", "arm64_mac"];

/// Reads requirements; architectures and virtualization stand beside them.
fn parse(given: &InstanceRequirementsRequest) -> Result<Requirements> {
    let g = given;
    if g.baseline_performance_factors.is_some() {
        return Err(client(
            "UnsupportedOperation",
            "The parameter BaselinePerformanceFactors is not supported by this cloud.",
        ));
    }
    if g.spot_max_price_percentage_over_lowest_price.is_some()
        && g.max_spot_price_as_percentage_of_optimal_on_demand_price.is_some()
    {
        return Err(invalid_parameter_combination(
            "SpotMaxPricePercentageOverLowestPrice and MaxSpotPriceAsPercentageOfOptimalOnDemandPrice exclude each \
             other.",
        ));
    }
    let allowed = g.allowed_instance_types.clone().unwrap_or_default();
    let excluded = g.excluded_instance_types.clone().unwrap_or_default();
    if !allowed.is_empty() && !excluded.is_empty() {
        return Err(invalid_parameter_combination(
            "AllowedInstanceTypes and ExcludedInstanceTypes exclude each other.",
        ));
    }
    if allowed.len().max(excluded.len()) > MAX_LISTED {
        return Err(invalid_parameter_value(format!(
            "A list of instance types has at most {MAX_LISTED} members."
        )));
    }
    let bare_metal = choice("BareMetal", g.bare_metal.as_ref().map(BareMetal::as_str), Choice::Excluded)?;
    let burstable = g.burstable_performance.as_ref().map(BurstablePerformance::as_str);
    let local_storage = g.local_storage.as_ref().map(LocalStorage::as_str);
    let network = g.network_bandwidth_gbps.as_ref();
    let ratio = g.memory_gib_per_vcpu.as_ref();
    let storage = g.total_local_storage_gb.as_ref();
    Ok(Requirements {
        architectures: Vec::new(),
        virtualization: Vec::new(),
        vcpus: whole("VCpuCount", Some((Some(g.vcpu_count.min), g.vcpu_count.max)))?,
        memory_mib: whole("MemoryMiB", Some((Some(g.memory_mib.min), g.memory_mib.max)))?,
        memory_gib_per_vcpu: range("MemoryGiBPerVCpu", ratio.map(|r| (r.min, r.max)))?,
        cpu_manufacturers: known(
            "CpuManufacturer",
            g.cpu_manufacturers.iter().flatten().map(CpuManufacturer::as_str).collect(),
            &["intel", "amd", "amazon-web-services", "apple"],
        )?,
        allowed,
        excluded,
        generations: known(
            "InstanceGeneration",
            g.instance_generations.iter().flatten().map(InstanceGeneration::as_str).collect(),
            &["current", "previous"],
        )?,
        bare_metal,
        burstable: choice("BurstablePerformance", burstable, Choice::Excluded)?,
        hibernation: g.require_hibernate_support == Some(true),
        encryption_in_transit: g.require_encryption_in_transit == Some(true),
        interfaces: whole(
            "NetworkInterfaceCount",
            g.network_interface_count.as_ref().map(|r| (r.min, r.max)),
        )?,
        local_storage: choice("LocalStorage", local_storage, Choice::Included)?,
        local_storage_types: known(
            "LocalStorageType",
            g.local_storage_types.iter().flatten().map(LocalStorageType::as_str).collect(),
            &["hdd", "ssd"],
        )?,
        local_storage_gb: range("TotalLocalStorageGB", storage.map(|r| (r.min, r.max)))?,
        ebs_mbps: whole(
            "BaselineEbsBandwidthMbps",
            g.baseline_ebs_bandwidth_mbps.as_ref().map(|r| (r.min, r.max)),
        )?,
        network_gbps: range("NetworkBandwidthGbps", network.map(|r| (r.min, r.max)))?,
        accelerators: accelerators(g)?,
    })
}

fn accelerators(g: &InstanceRequirementsRequest) -> Result<Accelerators> {
    Ok(Accelerators {
        types: known(
            "AcceleratorType",
            g.accelerator_types.iter().flatten().map(AcceleratorType::as_str).collect(),
            &["gpu", "fpga", "inference", "media"],
        )?,
        count: whole("AcceleratorCount", g.accelerator_count.as_ref().map(|r| (r.min, r.max)))?,
        manufacturers: known(
            "AcceleratorManufacturer",
            g.accelerator_manufacturers.iter().flatten().map(AcceleratorManufacturer::as_str).collect(),
            &["amazon-web-services", "amd", "nvidia", "xilinx", "habana"],
        )?,
        // A name that no type has matches none.
        names: g.accelerator_names.iter().flatten().map(|n| n.as_str().to_owned()).collect(),
        total_memory_mib: whole(
            "AcceleratorTotalMemoryMiB",
            g.accelerator_total_memory_mib.as_ref().map(|r| (r.min, r.max)),
        )?,
    })
}

/// The values, each of which must be one of `values`.
fn known(what: &str, given: Vec<&str>, values: &[&str]) -> Result<Vec<String>> {
    if let Some(unknown) = given.iter().find(|value| !values.contains(value)) {
        let shown: String = unknown.chars().take(64).collect();
        return Err(invalid_parameter_value(format!("Value ({shown}) for parameter {what} is invalid.")));
    }
    Ok(given.into_iter().map(str::to_owned).collect())
}

fn choice(what: &str, given: Option<&str>, default: Choice) -> Result<Choice> {
    match given {
        None => Ok(default),
        Some("included") => Ok(Choice::Included),
        Some("required") => Ok(Choice::Required),
        Some("excluded") => Ok(Choice::Excluded),
        Some(other) => known(what, vec![other], &[]).map(|_| default),
    }
}

fn range<T: PartialOrd + Default + Copy>(
    what: &str,
    given: Option<(Option<T>, Option<T>)>,
) -> Result<Range<T>> {
    let (min, max) = given.unwrap_or((None, None));
    let range = Range { min, max };
    let negative = |bound: Option<T>| bound.is_some_and(|bound| bound < T::default());
    if range.is_upside_down() || negative(min) || negative(max) {
        return Err(invalid_parameter_value(format!(
            "The bounds of {what} must not be negative, nor the least greater than the most."
        )));
    }
    Ok(range)
}

fn whole(what: &str, given: Option<(Option<i32>, Option<i32>)>) -> Result<Range<u32>> {
    let Range { min, max } = range(what, given)?;
    Ok(Range { min: min.map(i32::unsigned_abs), max: max.map(i32::unsigned_abs) })
}
