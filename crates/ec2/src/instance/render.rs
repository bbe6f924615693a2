//! An instance as the API shows it: every member that AWS returns for an instance of its kind, lists also when empty.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html>
//! Differs: an instance of ours shows its volumes and its public address while it is still pending.

use super::{kind, names};
use crate::image;
use crate::network_interface::render::ip_owner;
use crate::noun::{render_tags, wire_time};
use api_ec2::{
    ArchitectureValues, AttachmentStatus, CapacityReservationPreference,
    CapacityReservationSpecificationResponse, CpuOptions, DeviceType, EbsInstanceBlockDevice, EnclaveOptions,
    GroupIdentifier, HibernationOptions, HostnameType, HttpTokensState, HypervisorType,
    InstanceAutoRecoveryState, InstanceBandwidthWeighting, InstanceBlockDeviceMapping,
    InstanceBootModeValues, InstanceIpv4Prefix, InstanceIpv6Address, InstanceIpv6Prefix,
    InstanceMaintenanceOptions, InstanceMetadataEndpointState, InstanceMetadataOptionsResponse,
    InstanceMetadataOptionsState, InstanceMetadataProtocolState, InstanceMetadataTagsState,
    InstanceNetworkInterface, InstanceNetworkInterfaceAssociation, InstanceNetworkInterfaceAttachment,
    InstanceNetworkPerformanceOptions, InstancePrivateIpAddress, InstanceRebootMigrationState, InstanceState,
    Monitoring, MonitoringState, NetworkInterfaceStatus, OperatorResponse, Placement,
    PrivateDnsNameOptionsResponse, Reservation, StateReason, Tenancy, VirtualizationType,
};
use control::Tables;
use model::host::{Architecture, Firmware};
use model::metadata::MetadataOptions;
use model::record::instance::{AttachmentState, Instance, Phase};
use model::record::network_interface::{NetworkInterface, PrivateAddress};
use model::record::security_group::SecurityGroup;
use model::record::vpc::Vpc;
use model::{AccountId, Region, ReservationId, SecurityGroupId};
use std::sync::Arc;

/// An instance with the records that its rendering looks at: all that it looks at, so that the same records always
/// render the same.
pub struct Shown {
    pub instance: Arc<Instance>,
    /// In the order of their device indexes.
    pub interfaces: Vec<Arc<NetworkInterface>>,
    /// The groups of its interfaces.
    pub groups: Vec<Arc<SecurityGroup>>,
    pub vpc: Option<Arc<Vpc>>,
}

/// A moment of a region, by the kinds of record that a rendering looks at beside the instance: as long as it is the same,
/// each of those records is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    interfaces: u64,
    groups: u64,
    vpcs: u64,
}

impl Stamp {
    pub fn of(tables: &Tables, region: &Region) -> Self {
        Self {
            interfaces: tables.changes::<NetworkInterface>(region),
            groups: tables.changes::<SecurityGroup>(region),
            vpcs: tables.changes::<Vpc>(region),
        }
    }
}

impl Shown {
    pub fn of(tables: &Tables, instance: &Arc<Instance>) -> Self {
        let interfaces = interfaces(tables, instance).cloned().collect::<Vec<_>>();
        let groups = groups(tables, instance).cloned().collect();
        let vpc = tables.get::<Vpc>(&instance.zone.region, &instance.vpc).cloned();
        Self { instance: Arc::clone(instance), interfaces, groups, vpc }
    }

    /// Whether these are the very same records (each change of a record makes a new one) that `instance` has now.
    pub fn is_still(&self, tables: &Tables, instance: &Arc<Instance>) -> bool {
        let Self { instance: shown, interfaces, groups, vpc } = self;
        let region = &instance.zone.region;
        let same_vpc = || match (vpc, tables.get::<Vpc>(region, &instance.vpc)) {
            (Some(shown), Some(now)) => Arc::ptr_eq(shown, now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        Arc::ptr_eq(shown, instance)
            && are(interfaces, self::interfaces(tables, instance))
            && are(groups, self::groups(tables, instance))
            && same_vpc()
    }

    /// Whether public addresses have DNS names in its VPC.
    fn dns_hostnames(&self) -> bool {
        self.vpc.as_ref().is_some_and(|vpc| vpc.dns_hostnames)
    }

    fn region(&self) -> &Region {
        &self.instance.zone.region
    }

    fn identifiers(&self, ids: &[SecurityGroupId]) -> Vec<GroupIdentifier> {
        ids.iter()
            .map(|id| GroupIdentifier {
                group_id: Some(id.to_string()),
                group_name: self.groups.iter().find(|g| g.group == *id).map(|g| g.name.clone()),
            })
            .collect()
    }
}

/// Whether these are the very same records in the same order.
fn are<'a, R: 'a>(shown: &[Arc<R>], now: impl Iterator<Item = &'a Arc<R>>) -> bool {
    let mut shown = shown.iter();
    let mut now = now;
    loop {
        match (shown.next(), now.next()) {
            (None, None) => return true,
            (Some(shown), Some(now)) if Arc::ptr_eq(shown, now) => {}
            (_, _) => return false,
        }
    }
}

/// The interfaces of an instance that are still there.
pub fn interfaces<'a>(
    tables: &'a Tables,
    instance: &'a Instance,
) -> impl Iterator<Item = &'a Arc<NetworkInterface>> + 'a {
    instance.interfaces.iter().filter_map(|id| tables.get::<NetworkInterface>(&instance.zone.region, id))
}

/// The groups of all its interfaces.
pub fn groups<'a>(
    tables: &'a Tables,
    instance: &'a Instance,
) -> impl Iterator<Item = &'a Arc<SecurityGroup>> + 'a {
    interfaces(tables, instance)
        .flat_map(|interface| &interface.groups)
        .filter_map(|id| tables.get::<SecurityGroup>(&instance.zone.region, id))
}

/// Instances of one launch.
pub fn reservation(id: ReservationId, owner: AccountId, mut shown: Vec<Shown>) -> Reservation {
    shown.sort_by_key(|s| s.instance.launch_index);
    Reservation { instances: Some(shown.iter().map(instance).collect()), ..launch(id, owner) }
}

/// A launch, but for its instances.
pub fn launch(id: ReservationId, owner: AccountId) -> Reservation {
    Reservation {
        reservation_id: Some(id.to_string()),
        owner_id: Some(owner.to_string()),
        groups: Some(Vec::new()),
        ..Reservation::default()
    }
}

pub fn state(phase: Phase) -> InstanceState {
    InstanceState { code: Some(phase.code()), name: Some(phase.name().into()) }
}

/// Why it is in its state, as the older of the two members says it.
pub fn transition_reason(instance: &Instance) -> String {
    match &instance.reason {
        Some(reason) if reason.code.starts_with("Client.UserInitiated") => {
            let at = wire_time(reason.at).to_string();
            let at = at.get(..19).unwrap_or(&at).replace('T', " ");
            format!("User initiated ({at} GMT)")
        }
        Some(reason) if reason.code.starts_with("Server.") => reason.code.clone(),
        Some(_) | None => String::new(),
    }
}

fn state_reason(instance: &Instance) -> Option<StateReason> {
    match (&instance.reason, instance.phase) {
        (Some(reason), _) => {
            Some(StateReason { code: Some(reason.code.clone()), message: Some(reason.message.clone()) })
        }
        (None, Phase::Pending) => {
            Some(StateReason { code: Some("pending".into()), message: Some("pending".into()) })
        }
        (None, _) => None,
    }
}

pub fn monitoring(enabled: bool) -> Monitoring {
    Monitoring { state: Some(if enabled { MonitoringState::Enabled } else { MonitoringState::Disabled }) }
}

pub fn metadata_options(options: MetadataOptions) -> InstanceMetadataOptionsResponse {
    InstanceMetadataOptionsResponse {
        state: Some(InstanceMetadataOptionsState::Applied),
        http_tokens: Some(if options.tokens_required {
            HttpTokensState::Required
        } else {
            HttpTokensState::Optional
        }),
        http_put_response_hop_limit: Some(i32::from(options.hop_limit)),
        http_endpoint: Some(if options.endpoint_enabled {
            InstanceMetadataEndpointState::Enabled
        } else {
            InstanceMetadataEndpointState::Disabled
        }),
        http_protocol_ipv6: Some(if options.ipv6 {
            InstanceMetadataProtocolState::Enabled
        } else {
            InstanceMetadataProtocolState::Disabled
        }),
        instance_metadata_tags: Some(if options.instance_tags {
            InstanceMetadataTagsState::Enabled
        } else {
            InstanceMetadataTagsState::Disabled
        }),
    }
}

pub fn architecture(architecture: Architecture) -> ArchitectureValues {
    match architecture {
        Architecture::X86_64 => ArchitectureValues::X8664,
        Architecture::Arm64 => ArchitectureValues::Arm64,
    }
}

pub fn block_devices(instance: &Instance) -> Vec<InstanceBlockDeviceMapping> {
    instance
        .volumes
        .iter()
        .map(|device| InstanceBlockDeviceMapping {
            device_name: Some(device.device.clone()),
            ebs: Some(EbsInstanceBlockDevice {
                attach_time: Some(wire_time(device.attached_at)),
                delete_on_termination: Some(device.delete_on_termination),
                status: Some(device_status(device.state, instance.phase)),
                volume_id: Some(device.volume.to_string()),
                ..EbsInstanceBlockDevice::default()
            }),
        })
        .collect()
}

fn device_status(state: AttachmentState, phase: Phase) -> AttachmentStatus {
    match state {
        AttachmentState::Attaching => AttachmentStatus::Attaching,
        AttachmentState::Attached => attachment_status(phase),
        AttachmentState::Detaching { .. } | AttachmentState::Busy { .. } => AttachmentStatus::Detaching,
    }
}

fn attachment_status(phase: Phase) -> AttachmentStatus {
    match phase {
        Phase::Pending => AttachmentStatus::Attaching,
        Phase::Running { .. } | Phase::Stopping { .. } | Phase::Stopped | Phase::ShuttingDown { .. } => {
            AttachmentStatus::Attached
        }
        Phase::Terminated { .. } => AttachmentStatus::Detached,
    }
}

fn association(
    shown: &Shown,
    interface: &NetworkInterface,
    address: &PrivateAddress,
) -> Option<InstanceNetworkInterfaceAssociation> {
    let public = address.public.as_ref()?;
    Some(InstanceNetworkInterfaceAssociation {
        ip_owner_id: Some(ip_owner(interface, public)),
        public_dns_name: Some(public_name(shown, address)),
        public_ip: Some(public.address().to_string()),
        ..InstanceNetworkInterfaceAssociation::default()
    })
}

fn public_name(shown: &Shown, address: &PrivateAddress) -> String {
    let public = address.public.as_ref().filter(|_| shown.dns_hostnames());
    public.map(|p| names::public(shown.region(), p.address())).unwrap_or_default()
}

fn interface(shown: &Shown, interface: &NetworkInterface) -> InstanceNetworkInterface {
    let region = shown.region();
    let private_name = |address: &PrivateAddress| names::private(region, address.address);
    let primary = interface.primary();
    let addresses = interface.addresses.iter().enumerate().map(|(at, address)| InstancePrivateIpAddress {
        association: association(shown, interface, address),
        primary: Some(at == 0),
        private_dns_name: Some(private_name(address)),
        private_ip_address: Some(address.address.to_string()),
    });
    let ipv6 = interface.ipv6.iter().map(|address| InstanceIpv6Address {
        ipv6_address: Some(address.to_string()),
        is_primary_ipv6: Some(false),
    });
    InstanceNetworkInterface {
        association: primary.and_then(|address| association(shown, interface, address)),
        attachment: interface.attachment.as_ref().map(|attachment| InstanceNetworkInterfaceAttachment {
            attach_time: Some(wire_time(attachment.at)),
            attachment_id: Some(attachment.attachment.to_string()),
            delete_on_termination: Some(attachment.delete_on_termination),
            device_index: Some(attachment.device_index as i32),
            status: Some(device_status(attachment.state, shown.instance.phase)),
            network_card_index: Some(0),
            ..InstanceNetworkInterfaceAttachment::default()
        }),
        description: Some(interface.description.clone()),
        groups: Some(shown.identifiers(&interface.groups)),
        ipv4_prefixes: (!interface.ipv4_prefixes.is_empty()).then(|| {
            let prefixes = interface.ipv4_prefixes.iter();
            prefixes.map(|p| InstanceIpv4Prefix { ipv4_prefix: Some(p.to_string()) }).collect()
        }),
        ipv6_addresses: Some(ipv6.collect()),
        ipv6_prefixes: (!interface.ipv6_prefixes.is_empty()).then(|| {
            let prefixes = interface.ipv6_prefixes.iter();
            prefixes.map(|p| InstanceIpv6Prefix { ipv6_prefix: Some(p.to_string()) }).collect()
        }),
        mac_address: Some(interface.mac.to_string()),
        network_interface_id: Some(interface.interface.to_string()),
        owner_id: Some(interface.account.to_string()),
        private_dns_name: names::private_of(interface),
        private_ip_address: primary.map(|primary| primary.address.to_string()),
        private_ip_addresses: Some(addresses.collect()),
        source_dest_check: Some(interface.source_dest_check),
        status: Some(NetworkInterfaceStatus::InUse),
        subnet_id: Some(interface.subnet.to_string()),
        vpc_id: Some(interface.vpc.to_string()),
        interface_type: Some("interface".into()),
        operator: Some(not_managed()),
        ..InstanceNetworkInterface::default()
    }
}

pub fn not_managed() -> OperatorResponse {
    OperatorResponse { managed: Some(false), ..OperatorResponse::default() }
}

/// What an instance's name is made of, by its primary interface.
pub fn hostname_type(primary: Option<&NetworkInterface>) -> HostnameType {
    match primary {
        Some(interface) if interface.primary().is_none() => HostnameType::ResourceName,
        Some(_) | None => HostnameType::IpName,
    }
}

/// One instance.
pub fn instance(shown: &Shown) -> api_ec2::Instance {
    let i = &*shown.instance;
    let here = !i.phase.is_terminated();
    let primary = shown.interfaces.first();
    let address = primary.and_then(|interface| interface.primary());
    let public = address.and_then(|a| a.public.as_ref()).map(|p| p.address().to_string());
    api_ec2::Instance {
        architecture: Some(architecture(i.architecture)),
        block_device_mappings: Some(block_devices(i)),
        client_token: Some(i.client_token.clone().unwrap_or_default()),
        ebs_optimized: Some(i.ebs_optimized),
        ena_support: Some(true),
        hypervisor: Some(HypervisorType::Xen),
        network_interfaces: Some(shown.interfaces.iter().map(|n| interface(shown, n)).collect()),
        root_device_name: Some(i.root_device.clone()),
        root_device_type: Some(DeviceType::Ebs),
        security_groups: Some(primary.map_or_else(Vec::new, |n| shown.identifiers(&n.groups))),
        source_dest_check: primary.map(|n| n.source_dest_check),
        state_reason: state_reason(i),
        tags: render_tags(&i.tags),
        virtualization_type: Some(VirtualizationType::Hvm),
        cpu_options: kind::cpus(i).map(|cpus| CpuOptions {
            core_count: Some(cpus.cores as i32),
            threads_per_core: Some(cpus.threads_per_core as i32),
            ..CpuOptions::default()
        }),
        capacity_reservation_specification: Some(CapacityReservationSpecificationResponse {
            capacity_reservation_preference: Some(CapacityReservationPreference::Open),
            ..CapacityReservationSpecificationResponse::default()
        }),
        hibernation_options: Some(HibernationOptions { configured: Some(!i.hibernation.is_off()) }),
        metadata_options: Some(metadata_options(i.metadata_options)),
        enclave_options: Some(EnclaveOptions { enabled: Some(false) }),
        platform: image::platform(i.platform),
        platform_details: Some(i.platform.details().into()),
        usage_operation: Some(i.platform.usage_operation().into()),
        usage_operation_update_time: Some(wire_time(i.launched_at)),
        private_dns_name_options: Some(PrivateDnsNameOptionsResponse {
            hostname_type: Some(hostname_type(primary.map(|n| &**n))),
            enable_resource_name_dns_a_record: Some(false),
            enable_resource_name_dns_aaaa_record: Some(primary.is_some_and(|n| n.primary().is_none())),
        }),
        ipv6_address: primary.and_then(|n| n.ipv6.first()).map(ToString::to_string),
        maintenance_options: Some(InstanceMaintenanceOptions {
            auto_recovery: Some(InstanceAutoRecoveryState::Default),
            reboot_migration: Some(InstanceRebootMigrationState::Default),
        }),
        current_instance_boot_mode: Some(match i.firmware {
            Firmware::LegacyBios => InstanceBootModeValues::LegacyBios,
            Firmware::Uefi => InstanceBootModeValues::Uefi,
        }),
        network_performance_options: Some(InstanceNetworkPerformanceOptions {
            bandwidth_weighting: Some(InstanceBandwidthWeighting::Default),
        }),
        operator: Some(not_managed()),
        instance_id: Some(i.instance.to_string()),
        image_id: Some(i.image.to_string()),
        state: Some(state(i.phase)),
        private_dns_name: Some(primary.and_then(|n| names::private_of(n)).unwrap_or_default()),
        public_dns_name: Some(address.map(|a| public_name(shown, a)).unwrap_or_default()),
        state_transition_reason: Some(transition_reason(i)),
        key_name: i.key.as_ref().map(|key| key.name.clone()),
        ami_launch_index: Some(i.launch_index as i32),
        product_codes: Some(Vec::new()),
        instance_type: Some(i.instance_type.as_str().into()),
        launch_time: Some(wire_time(i.launched_at)),
        placement: Some(Placement {
            availability_zone: Some(i.zone.to_string()),
            availability_zone_id: Some(i.zone.id()),
            group_name: Some(String::new()),
            tenancy: Some(Tenancy::Default),
            ..Placement::default()
        }),
        monitoring: Some(monitoring(i.monitoring)),
        subnet_id: here.then(|| i.subnet.to_string()),
        vpc_id: here.then(|| i.vpc.to_string()),
        private_ip_address: address.map(|a| a.address.to_string()),
        public_ip_address: public,
        ..api_ec2::Instance::default()
    }
}
