//! DescribeInstanceAttribute, ModifyInstanceAttribute, ResetInstanceAttribute: one attribute at a time.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceAttribute.html>
//! A type changes only while the instance is stopped, as does user data. Modifying runs exclusively: groups and
//! interfaces belong together.

use super::{errors, kind, render, spec};
use crate::errors as ids;
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{find, hold};
use api_ec2::{
    AttributeBooleanValue, AttributeValue, DescribeInstanceAttributeRequest, EnclaveOptions, GroupIdentifier,
    InstanceAttribute, InstanceAttributeName as Name, ModifyInstanceAttributeRequest,
    ModifyInstanceAttributeResult, ResetInstanceAttributeRequest, ResetInstanceAttributeResult,
};
use control::{Context, Result, Tables, Txn};
use model::record::instance::{Instance, Phase, ShutdownBehavior};
use model::record::network_interface::NetworkInterface;
use model::record::security_group::SecurityGroup;
use model::record::volume::Volume;
use model::{Blob, SecurityGroupId};
use plan::instance::devices::same_device;

fn said(value: impl Into<String>) -> Option<AttributeValue> {
    Some(AttributeValue { value: Some(value.into()) })
}

fn flag(value: bool) -> Option<AttributeBooleanValue> {
    Some(AttributeBooleanValue { value: Some(value) })
}

pub fn describe(
    ctx: &Context,
    request: &DescribeInstanceAttributeRequest,
    tables: &Tables,
) -> Result<InstanceAttribute> {
    let instance = find::<Instance>(ctx, tables, &request.instance_id)?;
    let mut answer = InstanceAttribute {
        instance_id: Some(instance.instance.to_string()),
        ..InstanceAttribute::default()
    };
    match &request.attribute {
        Name::InstanceType => answer.instance_type = said(instance.instance_type.as_str()),
        Name::UserData => {
            let encoded = |data: &Blob| wire::Blob(data.as_slice().to_vec()).to_base64();
            answer.user_data = Some(AttributeValue { value: instance.user_data.as_ref().map(encoded) });
        }
        Name::DisableApiTermination => {
            answer.disable_api_termination = flag(instance.disable_api_termination);
        }
        Name::DisableApiStop => answer.disable_api_stop = flag(instance.disable_api_stop),
        Name::InstanceInitiatedShutdownBehavior => {
            answer.instance_initiated_shutdown_behavior = said(match instance.shutdown_behavior {
                ShutdownBehavior::Stop => "stop",
                ShutdownBehavior::Terminate => "terminate",
            });
        }
        Name::RootDeviceName => answer.root_device_name = said(instance.root_device.as_str()),
        Name::BlockDeviceMapping => answer.block_device_mappings = Some(render::block_devices(instance)),
        Name::ProductCodes => answer.product_codes = Some(Vec::new()),
        Name::SourceDestCheck => {
            let primary = render::interfaces(tables, instance).next();
            answer.source_dest_check = flag(primary.is_none_or(|n| n.source_dest_check));
        }
        Name::GroupSet => {
            answer.groups = Some(
                render::groups(tables, instance)
                    .map(|group| GroupIdentifier {
                        group_id: Some(group.group.to_string()),
                        group_name: Some(group.name.clone()),
                    })
                    .collect(),
            );
        }
        Name::EbsOptimized => answer.ebs_optimized = flag(instance.ebs_optimized),
        Name::EnaSupport => answer.ena_support = flag(true),
        Name::EnclaveOptions => answer.enclave_options = Some(EnclaveOptions { enabled: Some(false) }),
        // It has none of these.
        Name::Kernel | Name::Ramdisk | Name::SriovNetSupport => {}
        Name::Other(other) => return Err(unknown(other)),
    }
    Ok(answer)
}

fn unknown(name: &str) -> wire::ApiError {
    let shown: String = name.chars().take(64).collect();
    invalid_parameter_value(format!("Value ({shown}) for parameter attribute is invalid. Unknown attribute."))
}

/// The one change that a request asks for.
enum Change {
    SourceDestCheck(bool),
    DisableApiTermination(bool),
    DisableApiStop(bool),
    EbsOptimized(bool),
    ShutdownBehavior(ShutdownBehavior),
    Type(String),
    UserData(Option<Blob>),
    Groups(Vec<SecurityGroupId>),
    DeleteOnTermination(Vec<(String, bool)>),
}

fn boolean(text: &str) -> Result<bool> {
    match text {
        "true" | "True" => Ok(true),
        "false" | "False" => Ok(false),
        other => Err(invalid_parameter_value(format!("Invalid value '{other}' for a boolean."))),
    }
}

fn on(value: &AttributeBooleanValue) -> Result<bool> {
    value.value.ok_or_else(|| missing_parameter("Value"))
}

fn in_words(value: &AttributeValue) -> Result<&str> {
    value.value.as_deref().ok_or_else(|| missing_parameter("Value"))
}

fn parse(request: &ModifyInstanceAttributeRequest) -> Result<Change> {
    let r = request;
    let mut changes = Vec::new();
    if let Some(name) = &r.attribute
        // `Attribute=blockDeviceMapping` or `groupSet` announce the members that hold the value.
        && (r.value.is_some() || !matches!(name, Name::BlockDeviceMapping | Name::GroupSet))
    {
        let value = r.value.as_deref().ok_or_else(|| missing_parameter("Value"))?;
        changes.push(match name {
            Name::SourceDestCheck => Change::SourceDestCheck(boolean(value)?),
            Name::DisableApiTermination => Change::DisableApiTermination(boolean(value)?),
            Name::DisableApiStop => Change::DisableApiStop(boolean(value)?),
            Name::EbsOptimized => Change::EbsOptimized(boolean(value)?),
            Name::InstanceInitiatedShutdownBehavior => {
                Change::ShutdownBehavior(spec::shutdown_behavior(value)?)
            }
            Name::InstanceType => Change::Type(value.to_owned()),
            Name::UserData => Change::UserData(spec::user_data(value)?),
            Name::Kernel
            | Name::Ramdisk
            | Name::RootDeviceName
            | Name::BlockDeviceMapping
            | Name::ProductCodes
            | Name::GroupSet
            | Name::SriovNetSupport
            | Name::EnaSupport
            | Name::EnclaveOptions => {
                return Err(invalid_parameter_value(format!(
                    "The attribute '{}' cannot be modified.",
                    name.as_str()
                )));
            }
            Name::Other(other) => return Err(unknown(other)),
        });
    }
    if let Some(value) = &r.source_dest_check {
        changes.push(Change::SourceDestCheck(on(value)?));
    }
    if let Some(value) = &r.disable_api_termination {
        changes.push(Change::DisableApiTermination(on(value)?));
    }
    if let Some(value) = &r.disable_api_stop {
        changes.push(Change::DisableApiStop(on(value)?));
    }
    if let Some(value) = &r.ebs_optimized {
        changes.push(Change::EbsOptimized(on(value)?));
    }
    if let Some(value) = &r.instance_initiated_shutdown_behavior {
        changes.push(Change::ShutdownBehavior(spec::shutdown_behavior(in_words(value)?)?));
    }
    if let Some(value) = &r.instance_type {
        changes.push(Change::Type(in_words(value)?.to_owned()));
    }
    if let Some(value) = &r.user_data {
        let bytes = value.value.as_ref().map(|blob| blob.0.clone()).unwrap_or_default();
        changes.push(Change::UserData(spec::checked_user_data(bytes)?));
    }
    if let Some(groups) = r.groups.as_ref().filter(|groups| !groups.is_empty()) {
        let parse = |id: &String| SecurityGroupId::parse(id).map_err(|_| ids::SECURITY_GROUP.malformed(id));
        changes.push(Change::Groups(groups.iter().map(parse).collect::<Result<_>>()?));
    }
    if let Some(mappings) = r.block_device_mappings.as_ref().filter(|mappings| !mappings.is_empty()) {
        let mut flags = Vec::new();
        for mapping in mappings {
            let device = mapping.device_name.clone().ok_or_else(|| missing_parameter("DeviceName"))?;
            let ebs = mapping.ebs.as_ref().ok_or_else(|| missing_parameter("Ebs"))?;
            if ebs.volume_id.is_some() || mapping.no_device.is_some() || mapping.virtual_name.is_some() {
                return Err(errors::unbuilt("BlockDeviceMapping other than DeleteOnTermination"));
            }
            let value =
                ebs.delete_on_termination.ok_or_else(|| missing_parameter("Ebs.DeleteOnTermination"))?;
            flags.push((device, value));
        }
        changes.push(Change::DeleteOnTermination(flags));
    }
    for (asked, name) in [
        (r.kernel.is_some(), "Kernel"),
        (r.ramdisk.is_some(), "Ramdisk"),
        (r.sriov_net_support.is_some(), "SriovNetSupport"),
        (r.ena_support.as_ref().is_some_and(|e| e.value != Some(true)), "EnaSupport"),
    ] {
        if asked {
            return Err(errors::unbuilt(name));
        }
    }
    if changes.len() > 1 {
        return Err(invalid_parameter_combination("Fields for multiple attribute types specified"));
    }
    changes.pop().ok_or_else(|| invalid_parameter_combination("No attributes specified."))
}

pub fn modify(
    ctx: &Context,
    request: &ModifyInstanceAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyInstanceAttributeResult> {
    let change = parse(request)?;
    let held = hold::<Instance>(ctx, txn, &request.instance_id)?;
    if held.phase.is_terminated() {
        return Err(errors::incorrect_state(held.instance, "modified"));
    }
    let mut instance = (*held).clone();
    match change {
        Change::SourceDestCheck(value) => {
            return source_dest_check(ctx, txn, &instance, value)
                .map(|()| ModifyInstanceAttributeResult::default());
        }
        Change::Groups(groups) => {
            set_groups(ctx, txn, &instance, &groups)?;
            return Ok(ModifyInstanceAttributeResult::default());
        }
        Change::DisableApiTermination(value) => instance.disable_api_termination = value,
        Change::DisableApiStop(value) => instance.disable_api_stop = value,
        Change::EbsOptimized(value) => {
            stopped(&instance, "ebsOptimized")?;
            instance.ebs_optimized = value;
        }
        Change::ShutdownBehavior(value) => instance.shutdown_behavior = value,
        Change::Type(name) => {
            stopped(&instance, "instanceType")?;
            let machine = kind::facts(&name).ok_or_else(|| {
                let shown: String = name.chars().take(64).collect();
                invalid_parameter_value(format!("Invalid value '{shown}' for InstanceType."))
            })?;
            if !machine.architectures.contains(&instance.architecture) {
                return Err(invalid_parameter_value(format!(
                    "The instance's architecture, {}, is none of the type {name}.",
                    instance.architecture.as_str()
                )));
            }
            fits(&instance, &name)?;
            instance.instance_type = name;
            // They were of the old type.
            instance.cpus = None;
        }
        Change::UserData(value) => {
            stopped(&instance, "userData")?;
            instance.user_data = value;
        }
        Change::DeleteOnTermination(flags) => {
            for (device, value) in flags {
                let mapping =
                    instance.volumes.iter_mut().find(|v| same_device(&v.device, &device)).ok_or_else(
                        || {
                            client(
                                "InvalidInstanceAttributeValue",
                                format!("No device is currently mapped at {device}"),
                            )
                        },
                    )?;
                mapping.delete_on_termination = value;
                if let Some(volume) = txn.get::<Volume>(&ctx.region, &mapping.volume) {
                    let mut volume = (*volume).clone();
                    let own = instance.instance;
                    let all = volume.attachment.iter_mut().chain(&mut volume.further);
                    for attachment in all.filter(|attachment| attachment.instance == own) {
                        attachment.delete_on_termination = value;
                    }
                    txn.put(&ctx.region, volume);
                }
            }
        }
    }
    txn.put(&ctx.region, instance);
    Ok(ModifyInstanceAttributeResult::default())
}

/// What the instance has must not be more than its new type takes. Whether the host has room is seen at the start.
fn fits(instance: &Instance, name: &str) -> Result<()> {
    let Some(kind) = plan::instance_type::get(name) else { return Ok(()) };
    for (has, most, what) in [
        (instance.interfaces.len(), kind.max_interfaces, "network interfaces"),
        (instance.volumes.len(), kind.volumes_beside(instance.interfaces.len() as u32), "volumes"),
    ] {
        if has > most as usize {
            return Err(invalid_parameter_value(format!(
                "The instance has {has} {what}; the type {name} takes {most}."
            )));
        }
    }
    Ok(())
}

fn stopped(instance: &Instance, attribute: &str) -> Result<()> {
    match instance.phase {
        Phase::Stopped => Ok(()),
        Phase::Pending
        | Phase::Running { .. }
        | Phase::Stopping { .. }
        | Phase::ShuttingDown { .. }
        | Phase::Terminated { .. } => Err(client(
            "IncorrectInstanceState",
            format!(
                "The instance '{}' must be stopped before its {attribute} is modified.",
                instance.instance
            ),
        )),
    }
}

/// The instance's only interface: of several, the one that is meant is to be named.
fn primary(ctx: &Context, txn: &mut Txn<'_>, instance: &Instance) -> Result<NetworkInterface> {
    if instance.interfaces.len() > 1 {
        return Err(client(
            "InvalidInstanceID",
            format!(
                "There are multiple interfaces attached to instance '{}'. Please specify an interface ID for the operation instead.",
                instance.instance
            ),
        ));
    }
    let interface = instance.interfaces.first();
    interface
        .and_then(|id| txn.get::<NetworkInterface>(&ctx.region, id))
        .map(|interface| (*interface).clone())
        .ok_or_else(|| errors::incorrect_state(instance.instance, "modified"))
}

fn source_dest_check(ctx: &Context, txn: &mut Txn<'_>, instance: &Instance, value: bool) -> Result<()> {
    let mut interface = primary(ctx, txn, instance)?;
    interface.source_dest_check = value;
    txn.put(&ctx.region, interface);
    Ok(())
}

fn set_groups(
    ctx: &Context,
    txn: &mut Txn<'_>,
    instance: &Instance,
    groups: &[SecurityGroupId],
) -> Result<()> {
    let mut interface = primary(ctx, txn, instance)?;
    let mut chosen = Vec::new();
    for id in groups {
        let group = txn
            .get::<SecurityGroup>(&ctx.region, id)
            .filter(|group| group.account == ctx.account())
            .ok_or_else(|| ids::SECURITY_GROUP.not_found(id))?;
        if group.vpc != instance.vpc {
            return Err(client(
                "InvalidParameter",
                format!(
                    "Security group {id} and instance {} belong to different networks.",
                    instance.instance
                ),
            ));
        }
        if !chosen.contains(id) {
            chosen.push(*id);
        }
    }
    interface.groups = chosen;
    txn.put(&ctx.region, interface);
    Ok(())
}

pub fn reset(
    ctx: &Context,
    request: &ResetInstanceAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ResetInstanceAttributeResult> {
    let instance = hold::<Instance>(ctx, txn, &request.instance_id)?;
    match &request.attribute {
        Name::SourceDestCheck => source_dest_check(ctx, txn, &instance, true)?,
        Name::Kernel | Name::Ramdisk => return Err(errors::unbuilt(request.attribute.as_str())),
        other => {
            return Err(invalid_parameter_value(format!(
                "The attribute '{}' cannot be reset.",
                other.as_str()
            )));
        }
    }
    Ok(ResetInstanceAttributeResult::default())
}
