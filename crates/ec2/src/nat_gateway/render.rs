//! A NAT gateway as the API shows it.

use crate::noun::{render_tags, wire_time};
use api_ec2 as api;
use model::record::nat_gateway::{Connectivity, NatGateway};
use model::record::network_interface::{NetworkInterface, PublicAddress};

pub fn state(gateway: &NatGateway) -> api::NatGatewayState {
    match gateway.deleted_at {
        None => api::NatGatewayState::Available,
        Some(_) => api::NatGatewayState::Deleted,
    }
}

pub const fn connectivity(connectivity: Connectivity) -> &'static str {
    match connectivity {
        Connectivity::Public => "public",
        Connectivity::Private => "private",
    }
}

pub fn nat_gateway(interface: Option<&NetworkInterface>, gateway: &NatGateway) -> api::NatGateway {
    let public = interface.and_then(|interface| interface.primary()?.public.as_ref());
    let (allocation, association) = public.and_then(PublicAddress::elastic).unzip();
    let address = api::NatGatewayAddress {
        allocation_id: allocation.map(|id| id.to_string()),
        association_id: association.map(|id| id.to_string()),
        network_interface_id: Some(gateway.interface.to_string()),
        private_ip: Some(gateway.private.to_string()),
        public_ip: public.map(|public| public.address().to_string()),
        is_primary: Some(true),
        status: Some(if gateway.deleted_at.is_none() { "succeeded" } else { "unassigning" }.into()),
        ..Default::default()
    };
    api::NatGateway {
        create_time: Some(wire_time(gateway.created_at)),
        delete_time: gateway.deleted_at.map(wire_time),
        nat_gateway_addresses: Some(vec![address]),
        nat_gateway_id: Some(gateway.gateway.to_string()),
        state: Some(state(gateway)),
        subnet_id: Some(gateway.subnet.to_string()),
        vpc_id: Some(gateway.vpc.to_string()),
        tags: render_tags(&gateway.tags),
        connectivity_type: Some(connectivity(gateway.connectivity).into()),
        ..Default::default()
    }
}
