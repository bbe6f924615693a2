//! `AttachNetworkInterface`: to an instance that runs, by hot-plug, or to a stopped one, for its next start.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AttachNetworkInterface.html>

use crate::errors::{
    client, invalid_parameter_combination, invalid_parameter_value, operation_not_permitted,
};
use crate::instance::{attachable, kind};
use crate::noun::{hold, touched};
use crate::parameter::refuse;
use api_ec2::{AttachNetworkInterfaceRequest, AttachNetworkInterfaceResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::NetworkInterfaceAttachmentId;
use model::record::instance::Instance;
use model::record::network_interface::{Attachment, Manager, NetworkInterface};
use wire::ApiError;

pub fn touches(ctx: &Context, request: &AttachNetworkInterfaceRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<NetworkInterface>(ctx, tables, [&request.network_interface_id]);
    all.extend(touched::<Instance>(ctx, tables, [&request.instance_id]));
    all
}

pub fn attach(
    ctx: &Context,
    request: &AttachNetworkInterfaceRequest,
    txn: &mut Txn<'_>,
) -> Result<AttachNetworkInterfaceResult> {
    refuse(&[
        ("NetworkCardIndex", request.network_card_index.is_some_and(|index| index != 0)),
        ("EnaSrdSpecification", request.ena_srd_specification.is_some()),
        ("EnaQueueCount", request.ena_queue_count.is_some()),
    ])?;
    let index = u32::try_from(request.device_index).map_err(|_| {
        invalid_parameter_value(format!(
            "Value ({}) for parameter deviceIndex is invalid.",
            request.device_index
        ))
    })?;
    let interface = hold::<NetworkInterface>(ctx, txn, &request.network_interface_id)?;
    let instance = hold::<Instance>(ctx, txn, &request.instance_id)?;
    if interface.is_in_use() {
        return Err(in_use(&interface));
    }
    let state = attachable(&instance)?;
    if interface.zone != instance.zone {
        return Err(invalid_parameter_combination(
            "You may not attach a network interface to an instance if they are not in the same availability zone",
        ));
    }
    let present: Vec<u32> = instance
        .interfaces
        .iter()
        .filter_map(|id| {
            txn.get::<NetworkInterface>(&ctx.region, id)?.attachment.as_ref().map(|a| a.device_index)
        })
        .collect();
    if present.contains(&index) {
        return Err(invalid_parameter_value(format!(
            "Instance '{}' already has an interface attached at device index '{index}'.",
            instance.instance
        )));
    }
    let (volumes, store) = (instance.volumes.len(), instance.store.len());
    limits(&instance.instance_type, present.len() + 1, volumes, store)?;
    too_many(&instance.instance_type, interface.ipv4_places())?;
    super::ipv6::too_many(&instance.instance_type, interface.ipv6_places())?;

    let attachment = NetworkInterfaceAttachmentId::from_entropy(ctx.bits());
    let mut changed = (*instance).clone();
    let place = present.iter().filter(|other| **other < index).count();
    changed.interfaces.insert(place, interface.interface);
    txn.put(&ctx.region, changed);
    let attached = Attachment {
        attachment,
        instance: instance.instance,
        device_index: index,
        delete_on_termination: false,
        at: ctx.now,
        state,
    };
    txn.put(&ctx.region, NetworkInterface { attachment: Some(attached), ..(*interface).clone() });
    Ok(AttachNetworkInterfaceResult {
        attachment_id: Some(attachment.to_string()),
        network_card_index: Some(0),
    })
}

/// An interface that belongs to a service is the service's to change; `OperationNotPermitted`.
pub fn own(interface: &NetworkInterface) -> Result<()> {
    let owner = match interface.manager() {
        None => return Ok(()),
        Some(Manager::NatGateway(gateway)) => format!("the NAT gateway {gateway}"),
        Some(Manager::VpcEndpoint(endpoint)) => format!("the VPC endpoint {endpoint}"),
        Some(Manager::EndpointService(service)) => format!("the VPC endpoint service {service}"),
    };
    Err(operation_not_permitted(format!(
        "The network interface '{}' is managed by {owner}.",
        interface.interface
    )))
}

pub fn in_use(interface: &NetworkInterface) -> ApiError {
    client("InvalidNetworkInterface.InUse", format!("Interface: [{}] in use.", interface.interface))
}

/// How many interfaces an instance of a type may have beside so many volumes and disks of its store; `AttachmentLimitExceeded`.
pub fn limits(instance_type: &str, interfaces: usize, volumes: usize, store: usize) -> Result<()> {
    let most = kind::most_interfaces(instance_type);
    if interfaces > most {
        return Err(client(
            "AttachmentLimitExceeded",
            format!("Interface count {interfaces} exceeds the limit for {instance_type}"),
        ));
    }
    if volumes > kind::most_volumes(instance_type, interfaces, store) {
        return Err(client(
            "AttachmentLimitExceeded",
            format!(
                "An instance of the type {instance_type} with {volumes} volumes has no room for {interfaces} interfaces."
            ),
        ));
    }
    Ok(())
}

/// How many private addresses an interface of such an instance may have; `PrivateIpAddressLimitExceeded`.
pub fn too_many(instance_type: &str, addresses: usize) -> Result<()> {
    let most = kind::most_addresses(instance_type);
    if addresses > most {
        return Err(client(
            "PrivateIpAddressLimitExceeded",
            format!(
                "Number of private addresses will exceed limit. An interface of an instance of the type \
                 {instance_type} has at most {most}."
            ),
        ));
    }
    Ok(())
}
