//! From the soup of a RunInstances request to a [`LaunchSpec`]: ids parsed, defaults filled in, combinations judged, and
//! parameters that are not built refused by name.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html>
//! Differs: what asks for a feature that is not built is refused by name (`UnsupportedOperation`), unless it asks for the
//! feature's default.

use super::errors::unbuilt;
use crate::encryption;
use crate::errors::{
    self, client, invalid_parameter_combination, invalid_parameter_value, missing_parameter,
};
use crate::network_interface;
use crate::noun::given_tags;
use api_ec2::{
    BlockDeviceMapping, HostnameType, HttpTokensState, InstanceMetadataEndpointState,
    InstanceMetadataProtocolState, InstanceMetadataTagsState, InstanceNetworkInterfaceSpecification,
    RunInstancesRequest, Tenancy,
};
use control::{Context, Result};
use model::metadata::MetadataOptions;
use model::record::instance::{CpuOptions, ShutdownBehavior};
use model::record::vpc::Subnet;
use model::{Blob, ImageId, NetworkInterfaceId, SecurityGroupId, SnapshotId, SubnetId, Zone};
use plan::instance::{
    DeviceChange, DeviceSpec, FurtherInterface, GroupChoice, Ipv4Prefixes, Ipv6Addresses, Ipv6Prefixes,
    LaunchSpec, LaunchTags, NetworkSpec, PublicChoice, SecondaryAddresses, VolumeSpec,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::str::FromStr as _;

/// The largest user data, decoded.
pub const MAX_USER_DATA: usize = 16 * 1024;
/// The most instances of one call: what surely fits one transaction of the store.
pub const MOST_PER_CALL: i32 = 500;

/// Reads a launch.
pub fn parse(ctx: &Context, request: &RunInstancesRequest) -> Result<LaunchSpec> {
    refuse_unbuilt(request)?;
    let image = text(request.image_id.as_deref()).ok_or_else(|| missing_parameter("ImageId"))?;
    let image = ImageId::parse(image).map_err(|_| errors::IMAGE.malformed(image))?;
    let (min, max) = counts(request.min_count, request.max_count)?;
    if let Some(token) = request.client_token.as_deref()
        && token.len() > 64
    {
        return Err(invalid_parameter_value("A client token has at most 64 characters."));
    }
    let mut tags =
        given_tags(request.tag_specifications.as_deref(), &["instance", "volume", "network-interface"])?;
    let (network, further) = network(request)?;
    Ok(LaunchSpec {
        image,
        instance_type: text(request.instance_type.as_ref().map(api_ec2::InstanceType::as_str))
            .map(str::to_owned),
        min,
        max,
        key_name: text(request.key_name.as_deref()).map(str::to_owned),
        user_data: request.user_data.as_deref().map(user_data).transpose()?.flatten(),
        zone: zone(ctx, request)?,
        network,
        further,
        devices: request.block_device_mappings.iter().flatten().map(device).collect::<Result<_>>()?,
        metadata_options: metadata_options(
            MetadataOptions::default(),
            &request.metadata_options.as_ref().map(MetadataChoice::from).unwrap_or_default(),
        )?,
        shutdown_behavior: match request.instance_initiated_shutdown_behavior.as_ref() {
            None => ShutdownBehavior::Stop,
            Some(given) => shutdown_behavior(given.as_str())?,
        },
        disable_api_termination: request.disable_api_termination.unwrap_or(false),
        disable_api_stop: request.disable_api_stop.unwrap_or(false),
        monitoring: request.monitoring.as_ref().and_then(|m| m.enabled).unwrap_or(false),
        ebs_optimized: request.ebs_optimized.unwrap_or(false),
        client_token: text(request.client_token.as_deref()).map(str::to_owned),
        cpus: cpus(request)?,
        hibernation: request.hibernation_options.as_ref().and_then(|h| h.configured).unwrap_or(false),
        tags: LaunchTags {
            instance: tags.remove("instance").unwrap_or_default(),
            volume: tags.remove("volume").unwrap_or_default(),
            network_interface: tags.remove("network-interface").unwrap_or_default(),
        },
    })
}

/// Some clients send empty text for what they leave out.
fn text(given: Option<&str>) -> Option<&str> {
    given.filter(|text| !text.is_empty())
}

fn some<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

fn counts(min: i32, max: i32) -> Result<(u32, u32)> {
    if min < 1 || max < 1 {
        return Err(invalid_parameter_value("MinCount and MaxCount must be at least 1."));
    }
    if min > max {
        return Err(invalid_parameter_combination(format!(
            "MinCount ({min}) must not be greater than MaxCount ({max})."
        )));
    }
    if min > MOST_PER_CALL {
        return Err(client(
            "InstanceLimitExceeded",
            format!("At most {MOST_PER_CALL} instances can be launched in one request."),
        ));
    }
    Ok((min as u32, max.min(MOST_PER_CALL) as u32))
}

/// Refuses whatever asks for something that is not built. What asks for the default of it is let through.
fn refuse_unbuilt(request: &RunInstancesRequest) -> Result<()> {
    let r = request;
    let placement = r.placement.as_ref();
    let cpu = r.cpu_options.as_ref();
    let credit_default = r
        .instance_type
        .as_ref()
        .and_then(|kind| plan::instance_type::get(kind.as_str())?.default_credits())
        .unwrap_or("unlimited");
    for (asked, name) in [
        (r.launch_template.is_some(), "LaunchTemplate"),
        (r.instance_market_options.is_some(), "InstanceMarketOptions"),
        (r.iam_instance_profile.is_some(), "IamInstanceProfile"),
        (r.enable_primary_ipv6 == Some(true), "EnablePrimaryIpv6"),
        (text(r.kernel_id.as_deref()).is_some(), "KernelId"),
        (text(r.ramdisk_id.as_deref()).is_some(), "RamdiskId"),
        (some(r.elastic_gpu_specification.as_ref()), "ElasticGpuSpecification"),
        (some(r.elastic_inference_accelerators.as_ref()), "ElasticInferenceAccelerator"),
        (some(r.license_specifications.as_ref()), "LicenseSpecification"),
        (some(r.secondary_interfaces.as_ref()), "SecondaryInterface"),
        (text(r.additional_info.as_deref()).is_some(), "AdditionalInfo"),
        (r.operator.is_some(), "Operator"),
        (r.enclave_options.as_ref().is_some_and(|e| e.enabled == Some(true)), "EnclaveOptions.Enabled"),
        (
            r.capacity_reservation_specification
                .as_ref()
                .is_some_and(|c| c.capacity_reservation_target.is_some()),
            "CapacityReservationSpecification.CapacityReservationTarget",
        ),
        (
            r.credit_specification.as_ref().is_some_and(|c| c.cpu_credits != credit_default),
            "CreditSpecification.CpuCredits",
        ),
        (
            r.maintenance_options
                .as_ref()
                .is_some_and(|m| m.auto_recovery.as_ref().is_some_and(|a| a.as_str() != "default")),
            "MaintenanceOptions.AutoRecovery",
        ),
        (
            r.network_performance_options
                .as_ref()
                .is_some_and(|n| n.bandwidth_weighting.as_ref().is_some_and(|b| b.as_str() != "default")),
            "NetworkPerformanceOptions.BandwidthWeighting",
        ),
        (cpu.is_some_and(|c| c.amd_sev_snp.is_some()), "CpuOptions.AmdSevSnp"),
        (
            cpu.is_some_and(|c| c.nested_virtualization.as_ref().is_some_and(|n| n.as_str() != "disabled")),
            "CpuOptions.NestedVirtualization",
        ),
        (
            placement.is_some_and(|p| p.tenancy.as_ref().is_some_and(|t| *t != Tenancy::Default)),
            "Placement.Tenancy",
        ),
        (placement.is_some_and(|p| text(p.host_id.as_deref()).is_some()), "Placement.HostId"),
        (
            placement.is_some_and(|p| text(p.affinity.as_deref()).is_some_and(|a| a != "default")),
            "Placement.Affinity",
        ),
        (placement.is_some_and(|p| p.partition_number.is_some_and(|n| n != 0)), "Placement.PartitionNumber"),
        (placement.is_some_and(|p| text(p.spread_domain.as_deref()).is_some()), "Placement.SpreadDomain"),
        (
            placement.is_some_and(|p| text(p.host_resource_group_arn.as_deref()).is_some()),
            "Placement.HostResourceGroupArn",
        ),
    ] {
        if asked {
            return Err(unbuilt(name));
        }
    }
    let group = placement.and_then(|p| text(p.group_name.as_deref()).or_else(|| text(p.group_id.as_deref())));
    match group {
        Some(group) => {
            Err(client("InvalidPlacementGroup.Unknown", format!("The placement group '{group}' is unknown.")))
        }
        None => Ok(()),
    }
}

/// The names of instances are by address, or by instance in a subnet of IPv6 alone: `InvalidParameterValue` for what cannot be
/// there, `UnsupportedOperation` for what is not built.
pub fn names(request: &RunInstancesRequest, subnet: &Subnet) -> Result<()> {
    let Some(dns) = &request.private_dns_name_options else { return Ok(()) };
    let native = subnet.is_ipv6_native();
    let kind = dns.hostname_type.as_ref().map(HostnameType::as_str);
    if native && (kind == Some("ip-name") || dns.enable_resource_name_dns_a_record == Some(true)) {
        return Err(invalid_parameter_value(format!(
            "The subnet {} is an IPv6-only subnet: names are made of instance IDs, without A records.",
            subnet.subnet
        )));
    }
    if kind.is_some_and(|kind| kind != if native { "resource-name" } else { "ip-name" }) {
        return Err(unbuilt("PrivateDnsNameOptions.HostnameType"));
    }
    if dns.enable_resource_name_dns_a_record == Some(true)
        || dns.enable_resource_name_dns_aaaa_record.is_some_and(|on| on != native)
    {
        return Err(unbuilt("PrivateDnsNameOptions.EnableResourceNameDnsARecord"));
    }
    Ok(())
}

/// User data as callers send it: base64, whichever alphabet and padding.
pub fn user_data(given: &str) -> Result<Option<Blob>> {
    let standard: String = given
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    let decoded = wire::Blob::from_base64(&standard)
        .ok_or_else(|| client("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."))?;
    checked_user_data(decoded.0)
}

/// User data that is decoded already.
pub fn checked_user_data(bytes: Vec<u8>) -> Result<Option<Blob>> {
    if bytes.len() > MAX_USER_DATA {
        return Err(invalid_parameter_value(format!("User data is limited to {MAX_USER_DATA} bytes")));
    }
    Ok((!bytes.is_empty()).then(|| bytes.into()))
}

pub fn shutdown_behavior(text: &str) -> Result<ShutdownBehavior> {
    match text {
        "stop" => Ok(ShutdownBehavior::Stop),
        "terminate" => Ok(ShutdownBehavior::Terminate),
        other => Err(invalid_parameter_value(format!(
            "Invalid value '{other}' for InstanceInitiatedShutdownBehavior."
        ))),
    }
}

fn zone(ctx: &Context, request: &RunInstancesRequest) -> Result<Option<Zone>> {
    let Some(placement) = &request.placement else { return Ok(None) };
    let zones = ctx.cloud.settings.region(&ctx.region).map(|r| r.zones.as_slice()).unwrap_or_default();
    let by_name = text(placement.availability_zone.as_deref());
    let by_id = text(placement.availability_zone_id.as_deref());
    let found = match (by_name, by_id) {
        (None, None) => return Ok(None),
        (Some(name), None) => zones.iter().find(|z| z.to_string() == name),
        (None, Some(id)) => zones.iter().find(|z| z.id() == id),
        (Some(_), Some(_)) => {
            return Err(invalid_parameter_combination(
                "Specify either AvailabilityZone or AvailabilityZoneId, not both.",
            ));
        }
    };
    let given = by_name.or(by_id).unwrap_or_default();
    found
        .cloned()
        .map(Some)
        .ok_or_else(|| invalid_parameter_value(format!("Invalid availability zone: [{given}]")))
}

fn cpus(request: &RunInstancesRequest) -> Result<Option<CpuOptions>> {
    let Some(options) = &request.cpu_options else { return Ok(None) };
    match (options.core_count, options.threads_per_core) {
        (None, None) => Ok(None),
        (Some(cores @ 1..), Some(threads @ 1..)) => {
            Ok(Some(CpuOptions { cores: cores as u32, threads_per_core: threads as u32 }))
        }
        _ => Err(invalid_parameter_value(
            "CpuOptions needs both CoreCount and ThreadsPerCore, each at least 1.",
        )),
    }
}

fn address(text: &str) -> Result<Ipv4Addr> {
    Ipv4Addr::from_str(text)
        .map_err(|_| invalid_parameter_value(format!("Invalid value '{text}' for an IPv4 address.")))
}

fn group_ids(given: Option<&Vec<String>>) -> Result<Vec<SecurityGroupId>> {
    let mut ids = Vec::new();
    for text in given.into_iter().flatten() {
        let id = SecurityGroupId::parse(text).map_err(|_| errors::SECURITY_GROUP.malformed(text))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn subnet_id(given: Option<&str>) -> Result<Option<SubnetId>> {
    text(given).map(|id| SubnetId::parse(id).map_err(|_| errors::SUBNET.malformed(id))).transpose()
}

fn network(request: &RunInstancesRequest) -> Result<(NetworkSpec, Vec<FurtherInterface>)> {
    let subnet = subnet_id(request.subnet_id.as_deref())?;
    let groups = GroupChoice {
        ids: group_ids(request.security_group_ids.as_ref())?,
        names: request.security_groups.clone().unwrap_or_default(),
    };
    let private_address = text(request.private_ip_address.as_deref()).map(address).transpose()?;
    let interfaces = request.network_interfaces.as_deref().unwrap_or_default();
    let ipv6 =
        network_interface::ipv6::wanted(request.ipv6_addresses.as_deref(), request.ipv6_address_count)?;
    if interfaces.is_empty() {
        if subnet.is_some() && !groups.names.is_empty() {
            return Err(invalid_parameter_combination(
                "The parameter groupName cannot be used with the parameter subnet",
            ));
        }
        let primary = NetworkSpec::New {
            subnet,
            groups,
            private_address,
            secondary: SecondaryAddresses::NONE,
            prefixes: Ipv4Prefixes::NONE,
            ipv6,
            ipv6_prefixes: Ipv6Prefixes::NONE,
            public: PublicChoice::Subnet,
            description: String::new(),
            delete_on_termination: true,
        };
        return Ok((primary, Vec::new()));
    }
    for (given, what) in [
        (subnet.is_some(), "subnet ID"),
        (!groups.ids.is_empty() || !groups.names.is_empty(), "security groups"),
        (private_address.is_some(), "private address"),
        (ipv6 != Ipv6Addresses::AsSubnet, "IPv6 address"),
    ] {
        if given {
            return Err(invalid_parameter_combination(format!(
                "Network interfaces and an instance-level {what} may not be specified on the same request"
            )));
        }
    }
    let mut specs = BTreeMap::new();
    for (given, number) in interfaces.iter().zip(1..) {
        let missing = || invalid_parameter_value("Each network interface requires a device index.");
        let index = u32::try_from(given.device_index.ok_or_else(missing)?).map_err(|_| {
            invalid_parameter_value("The device index of a network interface must not be negative.")
        })?;
        if interfaces.len() > 1 && given.associate_public_ip_address.is_some() {
            return Err(invalid_parameter_combination(
                "The associatePublicIPAddress parameter cannot be specified when launching with multiple network interfaces.",
            ));
        }
        if specs.insert(index, interface_spec(given, number)?).is_some() {
            return Err(invalid_parameter_value(format!(
                "Each network interface requires a device index of its own; {index} is given twice."
            )));
        }
    }
    let primary = specs.remove(&0).ok_or_else(|| {
        invalid_parameter_value("The first network interface of an instance has the device index 0.")
    })?;
    let further = specs.into_iter().map(|(device_index, network)| FurtherInterface { device_index, network });
    Ok((primary, further.collect()))
}

fn interface_spec(given: &InstanceNetworkInterfaceSpecification, number: usize) -> Result<NetworkSpec> {
    let count = |n: Option<i32>| n.is_some_and(|n| n != 0);
    let g = given;
    for (asked, name) in [
        (g.associate_carrier_ip_address == Some(true), "AssociateCarrierIpAddress"),
        (text(g.interface_type.as_deref()).is_some_and(|t| t != "interface"), "InterfaceType"),
        (count(g.network_card_index), "NetworkCardIndex"),
        (g.primary_ipv6 == Some(true), "PrimaryIpv6"),
        (g.ena_srd_specification.is_some(), "EnaSrdSpecification"),
        (g.connection_tracking_specification.is_some(), "ConnectionTrackingSpecification"),
        (g.ena_queue_count.is_some(), "EnaQueueCount"),
    ] {
        if asked {
            return Err(unbuilt(&format!("NetworkInterface.{number}.{name}")));
        }
    }
    let (private_address, secondary) = network_interface::wanted_addresses(
        text(g.private_ip_address.as_deref()),
        g.private_ip_addresses.as_deref().unwrap_or_default(),
        g.secondary_private_ip_address_count,
    )?;
    let prefixes = network_interface::prefix::wanted_of_new(
        g.ipv4_prefixes.as_deref(),
        g.ipv4_prefix_count,
        &secondary,
    )?;
    let ipv6 = network_interface::ipv6::wanted(g.ipv6_addresses.as_deref(), g.ipv6_address_count)?;
    let ipv6_prefixes = network_interface::ipv6_prefix::wanted_of_new(
        g.ipv6_prefixes.as_deref(),
        g.ipv6_prefix_count,
        &ipv6,
    )?;
    let groups = group_ids(g.groups.as_ref())?;
    let subnet = subnet_id(g.subnet_id.as_deref())?;
    if let Some(id) = text(g.network_interface_id.as_deref()) {
        let interface = NetworkInterfaceId::parse(id).map_err(|_| errors::NETWORK_INTERFACE.malformed(id))?;
        if subnet.is_some()
            || !groups.is_empty()
            || private_address.is_some()
            || secondary != SecondaryAddresses::NONE
            || prefixes != Ipv4Prefixes::NONE
            || ipv6 != Ipv6Addresses::AsSubnet
            || ipv6_prefixes != Ipv6Prefixes::NONE
            || g.associate_public_ip_address.is_some()
            || text(g.description.as_deref()).is_some()
        {
            return Err(invalid_parameter_combination(
                "A network interface ID and the properties of a new interface may not be specified together.",
            ));
        }
        return Ok(NetworkSpec::Existing {
            interface,
            delete_on_termination: g.delete_on_termination.unwrap_or(false),
        });
    }
    Ok(NetworkSpec::New {
        subnet,
        groups: GroupChoice { ids: groups, names: Vec::new() },
        private_address,
        secondary,
        prefixes,
        ipv6,
        ipv6_prefixes,
        public: match g.associate_public_ip_address {
            None => PublicChoice::Subnet,
            Some(true) => PublicChoice::Yes,
            Some(false) => PublicChoice::No,
        },
        description: g.description.clone().unwrap_or_default(),
        delete_on_termination: g.delete_on_termination.unwrap_or(true),
    })
}

/// One block-device mapping, as several operations carry them.
pub fn device(given: &BlockDeviceMapping) -> Result<DeviceSpec> {
    let device = text(given.device_name.as_deref())
        .ok_or_else(|| missing_parameter("BlockDeviceMapping.DeviceName"))?
        .to_owned();
    let change = if given.no_device.is_some() {
        DeviceChange::Omit
    } else if let Some(ebs) = &given.ebs {
        for (asked, name) in [
            (text(ebs.outpost_arn.as_deref()).is_some(), "OutpostArn"),
            (ebs.volume_initialization_rate.is_some(), "VolumeInitializationRate"),
            (ebs.ebs_card_index.is_some_and(|i| i != 0), "EbsCardIndex"),
            (ebs.availability_zone.is_some() || ebs.availability_zone_id.is_some(), "AvailabilityZone"),
        ] {
            if asked {
                return Err(unbuilt(&format!("BlockDeviceMapping.Ebs.{name}")));
            }
        }
        let snapshot = text(ebs.snapshot_id.as_deref())
            .map(|id| SnapshotId::parse(id).map_err(|_| errors::SNAPSHOT.malformed(id)))
            .transpose()?;
        DeviceChange::Volume(VolumeSpec {
            size: ebs.volume_size,
            volume_type: text(ebs.volume_type.as_ref().map(api_ec2::VolumeType::as_str)).map(str::to_owned),
            iops: ebs.iops,
            throughput: ebs.throughput,
            delete_on_termination: ebs.delete_on_termination,
            snapshot,
            snapshot_size: None,
            encryption: encryption::asked(ebs.encrypted, ebs.kms_key_id.as_deref())?,
        })
    } else if let Some(name) = text(given.virtual_name.as_deref()) {
        let number = name.strip_prefix("ephemeral").and_then(|number| number.parse::<u8>().ok());
        let Some(number) = number.filter(|number| *number <= 23) else {
            let shown: String = name.chars().take(64).collect();
            return Err(client(
                "InvalidBlockDeviceMapping",
                format!("The virtual name '{shown}' is none of ephemeral0 to ephemeral23."),
            ));
        };
        DeviceChange::Ephemeral(number)
    } else {
        return Err(client(
            "InvalidBlockDeviceMapping",
            format!("The mapping of {device} says neither Ebs nor VirtualName nor NoDevice."),
        ));
    };
    Ok(DeviceSpec { device, change })
}

/// Metadata options as two operations carry them.
#[derive(Default)]
pub struct MetadataChoice<'a> {
    pub tokens: Option<&'a HttpTokensState>,
    pub hop_limit: Option<i32>,
    pub endpoint: Option<&'a InstanceMetadataEndpointState>,
    pub ipv6: Option<&'a InstanceMetadataProtocolState>,
    pub tags: Option<&'a InstanceMetadataTagsState>,
}

impl<'a> From<&'a api_ec2::InstanceMetadataOptionsRequest> for MetadataChoice<'a> {
    fn from(given: &'a api_ec2::InstanceMetadataOptionsRequest) -> Self {
        Self {
            tokens: given.http_tokens.as_ref(),
            hop_limit: given.http_put_response_hop_limit,
            endpoint: given.http_endpoint.as_ref(),
            ipv6: given.http_protocol_ipv6.as_ref(),
            tags: given.instance_metadata_tags.as_ref(),
        }
    }
}

/// `options` with the caller's choice applied.
pub fn metadata_options(mut options: MetadataOptions, given: &MetadataChoice<'_>) -> Result<MetadataOptions> {
    let invalid = |what: &str, value: &str| {
        invalid_parameter_value(format!("Invalid value '{value}' for {what} in the metadata options."))
    };
    match given.tokens {
        None => {}
        Some(HttpTokensState::Optional) => options.tokens_required = false,
        Some(HttpTokensState::Required) => options.tokens_required = true,
        Some(HttpTokensState::Other(other)) => return Err(invalid("HttpTokens", other)),
    }
    match given.endpoint {
        None => {}
        Some(InstanceMetadataEndpointState::Enabled) => options.endpoint_enabled = true,
        Some(InstanceMetadataEndpointState::Disabled) => options.endpoint_enabled = false,
        Some(InstanceMetadataEndpointState::Other(other)) => return Err(invalid("HttpEndpoint", other)),
    }
    match given.tags {
        None => {}
        Some(InstanceMetadataTagsState::Enabled) => options.instance_tags = true,
        Some(InstanceMetadataTagsState::Disabled) => options.instance_tags = false,
        Some(InstanceMetadataTagsState::Other(other)) => {
            return Err(invalid("InstanceMetadataTags", other));
        }
    }
    match given.ipv6 {
        None => {}
        Some(InstanceMetadataProtocolState::Disabled) => options.ipv6 = false,
        Some(InstanceMetadataProtocolState::Enabled) => options.ipv6 = true,
        Some(InstanceMetadataProtocolState::Other(other)) => return Err(invalid("HttpProtocolIpv6", other)),
    }
    match given.hop_limit {
        None => {}
        Some(limit @ 1..=64) => options.hop_limit = limit as u8,
        Some(other) => return Err(invalid("HttpPutResponseHopLimit", &other.to_string())),
    }
    Ok(options)
}
