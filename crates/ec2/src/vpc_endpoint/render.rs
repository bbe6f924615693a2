//! An endpoint as the API shows it, and its DNS names.

use super::gateway::tables_of;
use super::service;
use crate::noun::{render_tags, wire_time};
use api_ec2 as api;
use control::Tables;
use model::NetworkInterfaceId;
use model::record::security_group::SecurityGroup;
use model::record::vpc_endpoint::{
    Connection, EndpointKind, EndpointService, InterfaceEndpoint, VpcEndpoint,
};

/// The hosted zones that AWS's answers name: of the endpoints' own names, and of the service's.
const OWN_ZONE: &str = "Z7HUB22UULQXV";
const PRIVATE_ZONE: &str = "Z0619VPCE0PRIVATE";

/// What an endpoint without a policy of its own shows.
const FULL_ACCESS: &str = "{\n  \"Statement\": [\n    {\n      \"Action\": \"*\", \n      \"Effect\": \"Allow\", \n      \"Principal\": \
                           \"*\", \n      \"Resource\": \"*\"\n    }\n  ]\n}";

pub fn state(endpoint: &VpcEndpoint) -> &'static str {
    match endpoint.interface().map(|own| own.connection) {
        _ if !endpoint.is_there() => "deleted",
        Some(Connection::PendingAcceptance) => "pendingAcceptance",
        Some(Connection::Rejected) => "rejected",
        Some(Connection::Available) | None => "available",
    }
}

pub const fn kind(endpoint: &VpcEndpoint) -> api::VpcEndpointType {
    match endpoint.kind {
        EndpointKind::Interface(_) => api::VpcEndpointType::Interface,
        EndpointKind::Gateway { .. } => api::VpcEndpointType::Gateway,
    }
}

/// What a gateway endpoint without a policy of its own shows.
const GATEWAY_FULL_ACCESS: &str = "{\"Version\":\"2008-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\
                                   \"Resource\":\"*\"}]}";

/// Its name, then one a zone: `vpce-ID-LABEL.ec2.REGION.vpce.amazonaws.com`, `vpce-ID-LABEL-ZONE.ec2.…`.
pub fn names(
    endpoint: &VpcEndpoint,
    own: &InterfaceEndpoint,
) -> impl Iterator<Item = (String, Option<NetworkInterfaceId>)> {
    let base = service::base_name(&endpoint.region, own.service);
    let front = format!("{}-{}", endpoint.endpoint, own.label);
    let whole = (format!("{front}.{base}"), None);
    let zonal = own.interfaces.iter();
    let zonal = zonal.map(move |own| (format!("{front}-{}.{base}", own.zone), Some(own.interface)));
    std::iter::once(whole).chain(zonal)
}

pub fn endpoint(tables: &Tables, endpoint: &VpcEndpoint) -> api::VpcEndpoint {
    let shown = api::VpcEndpoint {
        vpc_endpoint_id: Some(endpoint.endpoint.to_string()),
        vpc_endpoint_type: Some(kind(endpoint)),
        vpc_id: Some(endpoint.vpc.to_string()),
        service_name: Some(service::name_behind(endpoint)),
        state: Some(state(endpoint).into()),
        requester_managed: Some(false),
        creation_timestamp: Some(wire_time(endpoint.created_at)),
        tags: render_tags(&endpoint.tags),
        owner_id: Some(endpoint.account.to_string()),
        service_region: Some(endpoint.region.to_string()),
        ..Default::default()
    };
    let policy = |usual: &str| Some(endpoint.policy.clone().unwrap_or_else(|| usual.to_owned()));
    match &endpoint.kind {
        EndpointKind::Interface(own) => api::VpcEndpoint {
            policy_document: policy(FULL_ACCESS).filter(|_| own.service.shared().is_none()),
            ..with_interfaces(tables, endpoint, own, shown)
        },
        EndpointKind::Gateway { .. } => {
            let routed = tables_of(tables, &endpoint.region, endpoint.vpc, endpoint.endpoint);
            api::VpcEndpoint {
                policy_document: policy(GATEWAY_FULL_ACCESS),
                route_table_ids: Some(routed.iter().map(ToString::to_string).collect()),
                subnet_ids: Some(Vec::new()),
                groups: Some(Vec::new()),
                private_dns_enabled: Some(false),
                network_interface_ids: Some(Vec::new()),
                dns_entries: Some(Vec::new()),
                ..shown
            }
        }
    }
}

fn entry(name: String, zone: &str) -> api::DnsEntry {
    api::DnsEntry { dns_name: Some(name), hosted_zone_id: Some(zone.to_owned()) }
}

/// The names that lead to an endpoint everywhere; none of one that is deleted.
pub fn own_names(endpoint: &VpcEndpoint) -> Vec<api::DnsEntry> {
    let own = endpoint.interface().filter(|_| endpoint.is_there());
    own.map(|own| names(endpoint, own).map(|(name, _)| entry(name, OWN_ZONE)).collect()).unwrap_or_default()
}

fn with_interfaces(
    tables: &Tables,
    endpoint: &VpcEndpoint,
    own: &InterfaceEndpoint,
    shown: api::VpcEndpoint,
) -> api::VpcEndpoint {
    let mut entries = own_names(endpoint);
    if endpoint.is_there()
        && own.private_dns
        && let EndpointService::Api(service) = own.service
    {
        entries.push(entry(service::private_name(&endpoint.region, service), PRIVATE_ZONE));
    }
    let groups = own.groups.iter().map(|id| api::SecurityGroupIdentifier {
        group_id: Some(id.to_string()),
        group_name: tables.get::<SecurityGroup>(&endpoint.region, id).map(|group| group.name.clone()),
    });
    api::VpcEndpoint {
        route_table_ids: Some(Vec::new()),
        subnet_ids: Some(own.interfaces.iter().map(|i| i.subnet.to_string()).collect()),
        groups: Some(groups.collect()),
        ip_address_type: Some(own.addressing.as_str().into()),
        dns_options: Some(api::DnsOptions {
            dns_record_ip_type: Some(own.named.as_str().into()),
            ..Default::default()
        }),
        private_dns_enabled: Some(own.private_dns),
        network_interface_ids: Some(own.interfaces.iter().map(|i| i.interface.to_string()).collect()),
        dns_entries: Some(entries),
        ..shown
    }
}
