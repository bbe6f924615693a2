//! A network interface as the API shows it.

use crate::instance::names;
use crate::noun::{render_tags, wire_time};
use api_ec2 as api;
use control::Tables;
use model::record::instance::AttachmentState;
use model::record::network_interface::{
    Attachment, Manager, NetworkInterface, PrivateAddress, PublicAddress,
};
use model::record::security_group::SecurityGroup;
use model::record::vpc::Vpc;

pub fn network_interface(tables: &Tables, interface: &NetworkInterface) -> api::NetworkInterface {
    let named = has_names(tables, interface);
    let primary = interface.addresses.first();
    let addresses = interface.addresses.iter().enumerate();
    let addresses = addresses.map(|(place, a)| address(interface, a, place == 0, named)).collect();
    let status = if interface.is_in_use() {
        api::NetworkInterfaceStatus::InUse
    } else {
        api::NetworkInterfaceStatus::Available
    };
    api::NetworkInterface {
        association: primary
            .and_then(|a| a.public.as_ref())
            .map(|public| association(interface, public, named)),
        attachment: interface.attachment.as_ref().map(|a| attachment(interface, a)),
        availability_zone: Some(interface.zone.to_string()),
        availability_zone_id: Some(interface.zone.id()),
        description: Some(interface.description.clone()),
        groups: Some(groups(tables, interface)),
        interface_type: Some(kind(interface)),
        ipv4_prefixes: (!interface.ipv4_prefixes.is_empty()).then(|| {
            let prefixes = interface.ipv4_prefixes.iter();
            prefixes
                .map(|prefix| api::Ipv4PrefixSpecification { ipv4_prefix: Some(prefix.to_string()) })
                .collect()
        }),
        ipv6_native: primary.is_none().then_some(true),
        ipv6_address: interface.ipv6.first().map(ToString::to_string),
        ipv6_addresses: Some(
            interface
                .ipv6
                .iter()
                .map(|address| api::NetworkInterfaceIpv6Address {
                    ipv6_address: Some(address.to_string()),
                    is_primary_ipv6: Some(false),
                    ..Default::default()
                })
                .collect(),
        ),
        ipv6_prefixes: (!interface.ipv6_prefixes.is_empty()).then(|| {
            let prefixes = interface.ipv6_prefixes.iter();
            prefixes
                .map(|prefix| api::Ipv6PrefixSpecification { ipv6_prefix: Some(prefix.to_string()) })
                .collect()
        }),
        mac_address: Some(interface.mac.to_string()),
        network_interface_id: Some(interface.interface.to_string()),
        owner_id: Some(interface.account.to_string()),
        private_dns_name: named.then(|| names::private_of(interface)).flatten(),
        private_ip_address: primary.map(|a| a.address.to_string()),
        private_ip_addresses: Some(addresses),
        requester_managed: Some(interface.is_managed()),
        source_dest_check: Some(interface.source_dest_check),
        status: Some(status),
        subnet_id: Some(interface.subnet.to_string()),
        tag_set: render_tags(&interface.tags),
        vpc_id: Some(interface.vpc.to_string()),
        operator: Some(api::OperatorResponse { managed: Some(false), ..Default::default() }),
        ..Default::default()
    }
}

pub const fn kind(interface: &NetworkInterface) -> api::NetworkInterfaceType {
    match interface.manager() {
        Some(Manager::NatGateway(_)) => api::NetworkInterfaceType::NatGateway,
        Some(Manager::VpcEndpoint(_)) => api::NetworkInterfaceType::VpcEndpoint,
        Some(Manager::EndpointService(_)) => api::NetworkInterfaceType::NetworkLoadBalancer,
        None => api::NetworkInterfaceType::Interface,
    }
}

fn address(
    interface: &NetworkInterface,
    address: &PrivateAddress,
    primary: bool,
    named: bool,
) -> api::NetworkInterfacePrivateIpAddress {
    api::NetworkInterfacePrivateIpAddress {
        association: address.public.as_ref().map(|public| association(interface, public, named)),
        primary: Some(primary),
        private_dns_name: named.then(|| names::private(&interface.zone.region, address.address)),
        private_ip_address: Some(address.address.to_string()),
    }
}

/// Whose the public address is: an elastic one is the account's.
pub fn ip_owner(interface: &NetworkInterface, public: &PublicAddress) -> String {
    match public {
        PublicAddress::Automatic(_) => "amazon".into(),
        PublicAddress::Elastic { .. } => interface.account.to_string(),
    }
}

fn association(
    interface: &NetworkInterface,
    public: &PublicAddress,
    named: bool,
) -> api::NetworkInterfaceAssociation {
    let region = &interface.zone.region;
    let address = public.address();
    let (allocation, association) = public.elastic().unzip();
    api::NetworkInterfaceAssociation {
        allocation_id: allocation.map(|id| id.to_string()),
        association_id: association.map(|id| id.to_string()),
        ip_owner_id: Some(ip_owner(interface, public)),
        public_dns_name: named.then(|| names::public(region, address)),
        public_ip: Some(address.to_string()),
        ..Default::default()
    }
}

pub fn attachment(interface: &NetworkInterface, attachment: &Attachment) -> api::NetworkInterfaceAttachment {
    api::NetworkInterfaceAttachment {
        attach_time: Some(wire_time(attachment.at)),
        attachment_id: Some(attachment.attachment.to_string()),
        delete_on_termination: Some(attachment.delete_on_termination),
        device_index: Some(attachment.device_index as i32),
        network_card_index: Some(0),
        instance_id: Some(attachment.instance.to_string()),
        instance_owner_id: Some(interface.account.to_string()),
        status: Some(attachment_status(attachment.state)),
        ..Default::default()
    }
}

/// How far an attachment has come.
pub fn attachment_status(state: AttachmentState) -> api::AttachmentStatus {
    match state {
        AttachmentState::Attaching => api::AttachmentStatus::Attaching,
        AttachmentState::Attached => api::AttachmentStatus::Attached,
        AttachmentState::Detaching { .. } | AttachmentState::Busy { .. } => api::AttachmentStatus::Detaching,
    }
}

/// The groups of an interface, by id and name.
pub fn groups(tables: &Tables, interface: &NetworkInterface) -> Vec<api::GroupIdentifier> {
    let groups = interface.groups.iter();
    let shown = groups.map(|id| api::GroupIdentifier {
        group_id: Some(id.to_string()),
        group_name: tables.get::<SecurityGroup>(&interface.zone.region, id).map(|group| group.name.clone()),
    });
    shown.collect()
}

/// Whether the VPC gives its interfaces DNS names.
pub fn has_names(tables: &Tables, interface: &NetworkInterface) -> bool {
    tables.get::<Vpc>(&interface.zone.region, &interface.vpc).is_some_and(|vpc| vpc.dns_hostnames)
}
