//! A subnet as the API shows it.

use super::arn;
use crate::network_interface::allocate;
use crate::noun::render_tags;
use api_ec2 as api;
use control::Tables;
use model::record::vpc::Subnet;

/// What the names of instances in it are made of.
pub fn hostname_type(subnet: &Subnet) -> api::HostnameType {
    if subnet.is_ipv6_native() { api::HostnameType::ResourceName } else { api::HostnameType::IpName }
}

pub fn subnet(subnet: &Subnet, tables: &Tables) -> api::Subnet {
    let available = allocate::available(tables, &subnet.zone.region, subnet);
    let associated = api::SubnetCidrBlockStateCode::Associated;
    let ipv6 = subnet.ipv6.as_ref().map(|own| super::ipv6::render(own, associated));
    api::Subnet {
        availability_zone_id: Some(subnet.zone.id()),
        map_customer_owned_ip_on_launch: Some(false),
        owner_id: Some(subnet.account.to_string()),
        assign_ipv6_address_on_creation: Some(subnet.assign_ipv6),
        ipv6_cidr_block_association_set: Some(ipv6.into_iter().collect()),
        tags: render_tags(&subnet.tags),
        subnet_arn: Some(arn(subnet).to_string()),
        enable_dns64: Some(false),
        ipv6_native: Some(subnet.is_ipv6_native()),
        private_dns_name_options_on_launch: Some(api::PrivateDnsNameOptionsOnLaunch {
            hostname_type: Some(hostname_type(subnet)),
            enable_resource_name_dns_a_record: Some(false),
            enable_resource_name_dns_aaaa_record: Some(subnet.is_ipv6_native()),
        }),
        block_public_access_states: Some(api::BlockPublicAccessStates {
            internet_gateway_block_mode: Some(api::BlockPublicAccessMode::Off),
        }),
        subnet_id: Some(subnet.subnet.to_string()),
        state: Some(api::SubnetState::Available),
        vpc_id: Some(subnet.vpc.to_string()),
        cidr_block: subnet.cidr.map(|cidr| cidr.to_string()),
        available_ip_address_count: Some(available as i32),
        availability_zone: Some(subnet.zone.to_string()),
        default_for_az: Some(subnet.default_for_zone),
        map_public_ip_on_launch: Some(subnet.map_public_ip),
        ..Default::default()
    }
}
