//! Amazon EC2: a folder per noun, an operation per verb.
//!
//! A noun's folder holds its operations (`create.rs`, `describe.rs`, …), its rendering into the API's shapes, its filters
//! and its `register`. What nouns share is here: [`noun`] (finding, listing, tagging any of them), [`errors`], [`defaults`].
//! Records are in `model::record`, decisions that need no I/O in `plan`.

pub mod account_settings;
pub mod address;
pub mod availability_zone;
pub mod byoip;
pub mod customer_gateway;
pub mod defaults;
pub mod dhcp_options;
pub mod egress_only_internet_gateway;
pub mod encryption;
mod errors;
pub mod flow_log;
pub mod image;
pub mod instance;
pub mod instance_type;
pub mod internet_gateway;
pub mod key_pair;
pub mod nat_gateway;
pub mod network_acl;
pub mod network_insights;
pub mod network_interface;
pub mod noun;
pub mod parameter;
pub mod permission;
pub mod prefix_list;
pub mod region;
pub mod route_table;
pub mod security_group;
pub mod snapshot;
pub mod subnet;
pub mod sweep;
pub mod tag;
pub mod traffic_mirror;
pub mod transfer;
pub mod transit_gateway;
pub mod transit_gateway_attachment;
pub mod transit_gateway_peering;
pub mod transit_gateway_route_table;
pub mod volume;
pub mod vpc;
pub mod vpc_endpoint;
pub mod vpc_endpoint_service;
pub mod vpc_peering_connection;
pub mod vpn_connection;
pub mod vpn_gateway;

use control::{Schema, Service};

/// The records that EC2 keeps.
pub fn schema(schema: &mut Schema) {
    use model::record::{
        account::Settings,
        address::Address,
        byoip::ByoipCidr,
        flow_log::FlowLog,
        image::Image,
        instance::Instance,
        key_pair::KeyPair,
        nat_gateway::NatGateway,
        network_insights::{NetworkInsightsAnalysis, NetworkInsightsPath},
        network_interface::NetworkInterface,
        prefix_list::PrefixList,
        security_group::SecurityGroup,
        snapshot::Snapshot,
        store_disk::StoreDisk,
        traffic_mirror::{
            TrafficMirrorFilter, TrafficMirrorFilterRule, TrafficMirrorSession, TrafficMirrorTarget,
        },
        transfer::{ExportImageTask, ImportImageTask, ImportSnapshotTask},
        transit_gateway::{TransitGateway, TransitGatewayAttachment, TransitGatewayRouteTable},
        volume::Volume,
        vpc::{
            DhcpOptions, EgressOnlyInternetGateway, InternetGateway, NetworkAcl, RouteTable, Subnet,
            SubnetCidrReservation, Vpc,
        },
        vpc_endpoint::VpcEndpoint,
        vpc_endpoint_service::VpcEndpointService,
        vpc_peering_connection::VpcPeeringConnection,
        vpn::{CustomerGateway, VpnConnection, VpnGateway},
    };
    schema
        .add::<Address>()
        .add::<ByoipCidr>()
        .add::<ExportImageTask>()
        .add::<FlowLog>()
        .add::<Image>()
        .add::<ImportImageTask>()
        .add::<ImportSnapshotTask>()
        .add::<Instance>()
        .add::<KeyPair>()
        .add::<NatGateway>()
        .add::<NetworkInsightsAnalysis>()
        .add::<NetworkInsightsPath>()
        .add::<NetworkInterface>()
        .add::<PrefixList>()
        .add::<SecurityGroup>()
        .add::<Settings>()
        .add::<Snapshot>()
        .add::<StoreDisk>()
        .add::<TrafficMirrorFilter>()
        .add::<TrafficMirrorFilterRule>()
        .add::<TrafficMirrorSession>()
        .add::<TrafficMirrorTarget>()
        .add::<TransitGateway>()
        .add::<TransitGatewayAttachment>()
        .add::<TransitGatewayRouteTable>()
        .add::<Volume>()
        .add::<DhcpOptions>()
        .add::<EgressOnlyInternetGateway>()
        .add::<InternetGateway>()
        .add::<NetworkAcl>()
        .add::<RouteTable>()
        .add::<Subnet>()
        .add::<SubnetCidrReservation>()
        .add::<Vpc>()
        .add::<VpcEndpoint>()
        .add::<VpcEndpointService>()
        .add::<VpcPeeringConnection>()
        .add::<CustomerGateway>()
        .add::<VpnConnection>()
        .add::<VpnGateway>();
}

/// The service with every operation that is built.
pub fn service() -> Service {
    let mut service = Service::new(&api_ec2::SERVICE);
    service.prelude(defaults::PRELUDE);
    account_settings::register(&mut service);
    address::register(&mut service);
    availability_zone::register(&mut service);
    byoip::register(&mut service);
    customer_gateway::register(&mut service);
    dhcp_options::register(&mut service);
    egress_only_internet_gateway::register(&mut service);
    flow_log::register(&mut service);
    instance::register(&mut service);
    internet_gateway::register(&mut service);
    nat_gateway::register(&mut service);
    network_acl::register(&mut service);
    network_insights::register(&mut service);
    network_interface::register(&mut service);
    prefix_list::register(&mut service);
    region::register(&mut service);
    route_table::register(&mut service);
    security_group::register(&mut service);
    snapshot::register(&mut service);
    subnet::register(&mut service);
    tag::register(&mut service);
    traffic_mirror::register(&mut service);
    transfer::register(&mut service);
    transit_gateway::register(&mut service);
    transit_gateway_attachment::register(&mut service);
    transit_gateway_peering::register(&mut service);
    transit_gateway_route_table::register(&mut service);
    volume::register(&mut service);
    vpc::register(&mut service);
    vpc_endpoint::register(&mut service);
    vpc_endpoint_service::register(&mut service);
    vpc_peering_connection::register(&mut service);
    vpn_connection::register(&mut service);
    vpn_gateway::register(&mut service);
    image::register(&mut service);
    instance_type::register(&mut service);
    key_pair::register(&mut service);
    service
}
