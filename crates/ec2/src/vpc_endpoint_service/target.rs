//! What a service leads to: interfaces by their ARNs, one a zone, each behind a node of the service.

use super::{VpcEndpointService, connected, is_attached};
use crate::errors::{client, invalid_parameter_value};
use crate::network_interface::{self, managed, own};
use crate::noun::hold;
use control::{Arn, Context, Result, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::vpc::Subnet;
use model::record::vpc_endpoint_service::ServiceTarget;
use model::{NetworkInterfaceId, VpcEndpointServiceId};
use std::sync::Arc;

/// The ARN by which a target is named.
pub fn arn(service: &VpcEndpointService, interface: NetworkInterfaceId) -> String {
    let arn = Arn::new("ec2", &service.region, service.account, "network-interface", interface);
    arn.as_str().to_owned()
}

/// The interface behind an ARN, in use by nobody but a machine, with an IPv4 address. `LoadBalancerNotFound` for a load balancer,
/// of which there are none.
fn interface(ctx: &Context, txn: &mut Txn<'_>, arn: &str) -> Result<Arc<NetworkInterface>> {
    let shown: String = arn.chars().take(256).collect();
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, service, region, account, resource] = parts[..] else {
        return Err(invalid_parameter_value(format!("'{shown}' is not a valid ARN.")));
    };
    if service == "elasticloadbalancing" {
        return Err(client("LoadBalancerNotFound", format!("Load balancer '{shown}' not found")));
    }
    let id = resource.strip_prefix("network-interface/").filter(|_| service == "ec2");
    let here = region == ctx.region.as_str() && account == ctx.account().to_string();
    let Some(id) = id.filter(|_| here) else {
        return Err(invalid_parameter_value(format!(
            "'{shown}' is not the ARN of a network interface of this account and region."
        )));
    };
    let interface = hold::<NetworkInterface>(ctx, txn, id)?;
    own(&interface)?;
    if interface.addresses.is_empty() {
        return Err(invalid_parameter_value(format!("The network interface '{id}' has no IPv4 address.")));
    }
    Ok(interface)
}

/// The interfaces behind these ARNs.
pub fn interfaces(ctx: &Context, txn: &mut Txn<'_>, arns: &[String]) -> Result<Vec<Arc<NetworkInterface>>> {
    arns.iter().map(|arn| interface(ctx, txn, arn)).collect()
}

/// Makes these the targets of a service beside those that it has. One in whose zone an earlier one has just been `left` takes
/// over its node.
pub fn add(
    ctx: &Context,
    txn: &mut Txn<'_>,
    service: &mut VpcEndpointService,
    interfaces: &[Arc<NetworkInterface>],
    left: &mut Vec<ServiceTarget>,
) -> Result<()> {
    for interface in interfaces {
        if service.targets.iter().any(|target| target.interface == interface.interface) {
            continue;
        }
        if interface.vpc != service.vpc {
            return Err(invalid_parameter_value(format!(
                "The network interface '{}' is not in the VPC {} of the service.",
                interface.interface, service.vpc
            )));
        }
        if let Some(other) = service.in_zone(&interface.zone) {
            return Err(invalid_parameter_value(format!(
                "The service has the network interface '{}' in the Availability Zone {}.",
                other.interface, interface.zone
            )));
        }
        let address = interface.addresses.first().map(|address| address.address);
        let place = left.iter().position(|target| target.zone == interface.zone);
        let (node, subnet) = if let Some(place) = place {
            let before = left.remove(place);
            (before.node, before.subnet)
        } else {
            let subnet = hold::<Subnet>(ctx, txn, &interface.subnet.to_string())?;
            let node = NetworkInterface {
                description: format!("VPC Endpoint Service {}", service.service),
                endpoint_service: Some(service.service),
                ..managed(ctx, txn, &subnet, (Some(None), None))?
            };
            let id = node.interface;
            txn.put(&ctx.region, node);
            (id, subnet.subnet)
        };
        let (zone, interface) = (interface.zone.clone(), interface.interface);
        service.targets.push(ServiceTarget { zone, interface, address, node, subnet });
    }
    service.targets.sort_by(|a, b| a.zone.cmp(&b.zone));
    Ok(())
}

/// Takes targets from a service; their nodes stay for who comes after them.
pub fn leave(service: &mut VpcEndpointService, arns: &[String]) -> Result<Vec<ServiceTarget>> {
    let mut left = Vec::new();
    for named in arns {
        let Some(place) = service.targets.iter().position(|t| arn(service, t.interface) == *named) else {
            let shown: String = named.chars().take(256).collect();
            return Err(invalid_parameter_value(format!(
                "'{shown}' is not associated with the service {}.",
                service.service
            )));
        };
        left.push(service.targets.remove(place));
    }
    Ok(left)
}

/// Removes nodes that nobody has taken over; `ExistingVpcEndpointConnections` where endpoints lead to one.
pub fn clear(
    ctx: &Context,
    txn: &mut Txn<'_>,
    service: VpcEndpointServiceId,
    left: &[ServiceTarget],
) -> Result<()> {
    for target in left {
        if is_attached(txn.tables(), &ctx.region, service, Some(&target.zone)) {
            return Err(connected(service));
        }
        if let Some(node) = txn.get::<NetworkInterface>(&ctx.region, &target.node) {
            network_interface::remove(ctx, txn, &node);
        }
    }
    Ok(())
}
