//! An interface's attributes: `DescribeNetworkInterfaceAttribute`, `ModifyNetworkInterfaceAttribute` and
//! `ResetNetworkInterfaceAttribute`. A call changes one attribute.

use super::create::{check_description, member_groups};
use super::render;
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{find, hold, touched};
use crate::parameter::refuse;
use api_ec2::{
    AttributeBooleanValue, AttributeValue, DescribeNetworkInterfaceAttributeRequest,
    DescribeNetworkInterfaceAttributeResult, ModifyNetworkInterfaceAttributeRequest,
    ModifyNetworkInterfaceAttributeResult, NetworkInterfaceAttribute, ResetNetworkInterfaceAttributeRequest,
    ResetNetworkInterfaceAttributeResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::security_group::SecurityGroup;

pub fn describe_touches(
    ctx: &Context,
    request: &DescribeNetworkInterfaceAttributeRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<NetworkInterface>(ctx, tables, [&request.network_interface_id])
}

pub fn describe(
    ctx: &Context,
    request: &DescribeNetworkInterfaceAttributeRequest,
    tables: &Tables,
) -> Result<DescribeNetworkInterfaceAttributeResult> {
    let interface = find::<NetworkInterface>(ctx, tables, &request.network_interface_id)?;
    let mut result = DescribeNetworkInterfaceAttributeResult {
        network_interface_id: Some(interface.interface.to_string()),
        ..Default::default()
    };
    match request.attribute.as_ref().ok_or_else(|| missing_parameter("attribute"))? {
        NetworkInterfaceAttribute::Description => {
            result.description = Some(AttributeValue { value: Some(interface.description.clone()) });
        }
        NetworkInterfaceAttribute::GroupSet => result.groups = Some(render::groups(tables, interface)),
        NetworkInterfaceAttribute::SourceDestCheck => {
            result.source_dest_check =
                Some(AttributeBooleanValue { value: Some(interface.source_dest_check) });
        }
        NetworkInterfaceAttribute::Attachment => {
            result.attachment = interface.attachment.as_ref().map(|a| render::attachment(interface, a));
        }
        NetworkInterfaceAttribute::AssociatePublicIpAddress => {
            let has = interface.addresses.first().is_some_and(|address| address.public.is_some());
            result.associate_public_ip_address = Some(has);
        }
        NetworkInterfaceAttribute::Other(name) => {
            let shown: String = name.chars().take(64).collect();
            return Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter attribute is invalid."
            )));
        }
    }
    Ok(result)
}

pub fn modify_touches(
    ctx: &Context,
    request: &ModifyNetworkInterfaceAttributeRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = touched::<NetworkInterface>(ctx, tables, [&request.network_interface_id]);
    all.extend(touched::<SecurityGroup>(ctx, tables, request.groups.iter().flatten()));
    all
}

pub fn modify(
    ctx: &Context,
    request: &ModifyNetworkInterfaceAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyNetworkInterfaceAttributeResult> {
    refuse(&[
        ("EnaSrdSpecification", request.ena_srd_specification.is_some()),
        ("EnablePrimaryIpv6", request.enable_primary_ipv6.is_some()),
        ("ConnectionTrackingSpecification", request.connection_tracking_specification.is_some()),
        ("AssociatePublicIpAddress", request.associate_public_ip_address.is_some()),
        ("AssociatedSubnetIds", request.associated_subnet_ids.is_some()),
    ])?;
    let held = hold::<NetworkInterface>(ctx, txn, &request.network_interface_id)?;
    super::own(&held)?;
    let mut interface = NetworkInterface::clone(&held);
    let description = request.description.as_ref().and_then(|d| d.value.as_deref());
    let check = request.source_dest_check.as_ref().and_then(|c| c.value);
    let groups = request.groups.as_deref().filter(|groups| !groups.is_empty());
    match (description, check, groups, &request.attachment) {
        (Some(text), None, None, None) => {
            check_description(text)?;
            text.clone_into(&mut interface.description);
        }
        (None, Some(check), None, None) => interface.source_dest_check = check,
        (None, None, Some(groups), None) => {
            interface.groups = member_groups(ctx, txn.tables(), interface.vpc, groups)?;
        }
        (None, None, None, Some(changes)) => {
            let id = changes.attachment_id.as_deref().ok_or_else(|| missing_parameter("attachmentId"))?;
            refuse(&[
                ("Attachment.DefaultEnaQueueCount", changes.default_ena_queue_count.is_some()),
                ("Attachment.EnaQueueCount", changes.ena_queue_count.is_some()),
            ])?;
            let attachment = interface.attachment.as_mut().filter(|a| a.attachment.to_string() == id);
            let attachment = attachment.ok_or_else(|| {
                client("InvalidAttachmentID.NotFound", format!("The attachment ID '{id}' does not exist"))
            })?;
            attachment.delete_on_termination =
                changes.delete_on_termination.ok_or_else(|| missing_parameter("deleteOnTermination"))?;
        }
        (None, None, None, None) => return Err(invalid_parameter_combination("No attributes specified.")),
        _ => return Err(invalid_parameter_combination("Fields for multiple attribute types specified")),
    }
    txn.put(&ctx.region, interface);
    Ok(ModifyNetworkInterfaceAttributeResult {})
}

pub fn reset_touches(
    ctx: &Context,
    request: &ResetNetworkInterfaceAttributeRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<NetworkInterface>(ctx, tables, [&request.network_interface_id])
}

/// Only the source/destination check can be reset, whatever value comes with it.
pub fn reset(
    ctx: &Context,
    request: &ResetNetworkInterfaceAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ResetNetworkInterfaceAttributeResult> {
    let held = hold::<NetworkInterface>(ctx, txn, &request.network_interface_id)?;
    if request.source_dest_check.is_none() {
        return Err(missing_parameter("sourceDestCheck"));
    }
    let mut interface = NetworkInterface::clone(&held);
    interface.source_dest_check = true;
    txn.put(&ctx.region, interface);
    Ok(ResetNetworkInterfaceAttributeResult {})
}
