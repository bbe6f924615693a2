//! `CreateVpcEndpoint`: with an interface in each subnet, or a route in each table, that is named.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVpcEndpoint.html>

use super::interface::{self, Owner, add_subnets, addresses, addressing, enable_private_dns, set_addressing};
use super::service::Offered;
use super::{MAX_ENDPOINTS, gateway, invalid_parameter, policy, render, service};
use crate::errors::{client, missing_parameter};
use crate::network_interface::member_groups;
use crate::noun::{created, given_tags, hold, touched};
use crate::parameter::{refuse, unsupported};
use api_ec2::{CreateVpcEndpointRequest, CreateVpcEndpointResult, VpcEndpointType};
use control::{Context, Result, Tables, Touched, Txn};
use model::VpcEndpointId;
use model::record::security_group::SecurityGroup;
use model::record::vpc::{RouteTable, Subnet, Vpc};
use model::record::vpc_endpoint::{
    Addressing, Connection, EndpointKind, EndpointService, InterfaceEndpoint, VpcEndpoint,
};
use model::record::vpc_endpoint_service::VpcEndpointService;

pub fn touches(ctx: &Context, request: &CreateVpcEndpointRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "vpc-endpoint")];
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all.extend(touched::<RouteTable>(ctx, tables, request.route_table_ids.iter().flatten()));
    all.extend(touched::<Subnet>(ctx, tables, request.subnet_ids.iter().flatten()));
    all.extend(touched::<SecurityGroup>(ctx, tables, request.security_group_ids.iter().flatten()));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateVpcEndpointRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateVpcEndpointResult> {
    refuse(&[
        ("ServiceNetworkArn", request.service_network_arn.is_some()),
        ("ResourceConfigurationArn", request.resource_configuration_arn.is_some()),
    ])?;
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?;
    let name = request.service_name.as_deref().filter(|name| !name.is_empty());
    let offered = service::named(ctx, txn.tables(), name.ok_or_else(|| missing_parameter("ServiceName"))?)?;
    let kind = request.vpc_endpoint_type.clone().unwrap_or(VpcEndpointType::Gateway);
    if kind != offered.endpoint_type() {
        let shown: String = kind.as_str().chars().take(64).collect();
        return Err(invalid_parameter(format!(
            "Endpoint type ({shown}) does not match available service types ([{}]).",
            offered.endpoint_type().as_str()
        )));
    }
    if let Some(region) = request.service_region.as_deref().filter(|region| ctx.region.as_str() != *region) {
        let shown: String = region.chars().take(64).collect();
        return Err(unsupported(&format!("An endpoint to a service of another region ({shown})")));
    }
    let tags = given_tags(request.tag_specifications.as_deref(), &["vpc-endpoint"])?;
    let there = txn.tables().find::<VpcEndpoint>(&ctx.region, "vpc", vpc.vpc).filter(|e| e.is_there());
    if there.count() >= MAX_ENDPOINTS {
        return Err(client(
            "VpcEndpointLimitExceeded",
            format!("The maximum number of VPC endpoints has been reached for VPC {}.", vpc.vpc),
        ));
    }
    let own = Owner { endpoint: VpcEndpointId::from_entropy(ctx.bits()), vpc: vpc.vpc };
    let given = request.policy_document.as_deref().filter(|text| !text.is_empty());
    let (kind, policy, led) = match offered {
        Offered::Interface(service) => {
            let policy = given.map(policy::parse).transpose()?;
            let service = EndpointService::Api(service);
            let made = with_interfaces(ctx, request, txn, (&vpc, own), service)?;
            (EndpointKind::Interface(made), policy, Vec::new())
        }
        Offered::Shared(service) => {
            policy::refuse(given)?;
            // Its zones and its owner's word stay as they are until this is written.
            let service = txn.get::<VpcEndpointService>(&ctx.region, &service.service).unwrap_or(service);
            let shared = EndpointService::Shared(service.service);
            let mut made = with_interfaces(ctx, request, txn, (&vpc, own), shared)?;
            interface::within_zones(&service, &made.interfaces)?;
            if service.acceptance_required {
                made.connection = Connection::PendingAcceptance;
            }
            (EndpointKind::Interface(made), None, Vec::new())
        }
        Offered::Gateway(service) => {
            gateway::refuse_others(&gateway::Others {
                subnets: &[&request.subnet_ids],
                groups: &[&request.security_group_ids],
                configurations: request.subnet_configurations.as_deref(),
                private_dns: request.private_dns_enabled,
                addressing: request.ip_address_type.as_ref(),
                names: request.dns_options.as_ref(),
            })?;
            let policy = given.map(policy::full_access).transpose()?;
            let ids = request.route_table_ids.as_deref().unwrap_or_default();
            let led = gateway::lead(ctx, txn, own, service, ids)?;
            (EndpointKind::Gateway { service }, policy, led)
        }
    };
    let record = VpcEndpoint {
        endpoint: own.endpoint,
        account: ctx.account(),
        region: ctx.region.clone(),
        vpc: vpc.vpc,
        kind,
        policy,
        created_at: ctx.now,
        deleted_at: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    txn.put(&ctx.region, record.clone());
    let mut shown = render::endpoint(txn.tables(), &record);
    // The tables at hand are those before this call.
    shown.route_table_ids = Some(led.iter().map(ToString::to_string).collect());
    if record.interface().is_some_and(|own| own.connection.is_available()) {
        // As EC2 answers while it makes one; a describe says `available`.
        shown.state = Some("pending".into());
    }
    Ok(CreateVpcEndpointResult { vpc_endpoint: Some(shown), client_token: request.client_token.clone() })
}

fn with_interfaces(
    ctx: &Context,
    request: &CreateVpcEndpointRequest,
    txn: &mut Txn<'_>,
    (vpc, own): (&Vpc, Owner),
    service: EndpointService,
) -> Result<InterfaceEndpoint> {
    if request.route_table_ids.as_ref().is_some_and(|ids| !ids.is_empty()) {
        return Err(invalid_parameter("Route table IDs are only supported for Gateway type VPC Endpoint."));
    }
    let asked = addressing(request.ip_address_type.as_ref(), request.dns_options.as_ref())?;
    let ids = request.security_group_ids.as_deref().unwrap_or_default();
    let groups = member_groups(ctx, txn.tables(), vpc.vpc, ids)?;
    let private_dns = match service {
        EndpointService::Api(_) => request.private_dns_enabled != Some(false),
        // None has a private name.
        EndpointService::Shared(_) => request.private_dns_enabled == Some(true),
    };
    if private_dns {
        enable_private_dns(ctx, txn.tables(), vpc, &own, service)?;
    }
    let label = interface::label(ctx.bits());
    let mut made = InterfaceEndpoint {
        service,
        connection: Connection::Available,
        interfaces: Vec::new(),
        groups,
        private_dns,
        label,
        addressing: Addressing::Ipv4,
        named: Addressing::Ipv4,
    };
    set_addressing(&ctx.region, &mut made, asked)?;
    let subnets = request.subnet_ids.as_deref().unwrap_or_default();
    let addresses = addresses(request.subnet_configurations.as_deref().unwrap_or_default(), subnets)?;
    add_subnets(ctx, txn, &own, &mut made, subnets, &addresses)?;
    Ok(made)
}
