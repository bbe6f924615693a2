//! EC2's errors about instances, and how the refusals of `plan::instance` are spelled.

use crate::errors::{
    client, invalid_parameter_combination, invalid_parameter_value, operation_not_permitted,
};
use model::record::instance::{CpuOptions, Event, IllegalTransition};
use model::{InstanceId, SubnetId, Zone};
use plan::instance::{Refusal, devices, hibernation};
use wire::ApiError;

/// A parameter of AWS's that is not built here: refused by name, never passed over.
pub fn unbuilt(parameter: &str) -> ApiError {
    client("UnsupportedOperation", format!("The parameter {parameter} is not supported by this cloud."))
}

pub fn incorrect_state(instance: InstanceId, what: &str) -> ApiError {
    client(
        "IncorrectInstanceState",
        format!("The instance '{instance}' is not in a state from which it can be {what}."),
    )
}

/// A transition that the caller asked for in vain.
pub fn illegal(instance: InstanceId, refused: IllegalTransition) -> ApiError {
    incorrect_state(
        instance,
        match refused.event {
            Event::Start => "started",
            Event::Stop(_) => "stopped",
            Event::Terminate(_) => "terminated",
            Event::MachineRunning | Event::MachineStopped | Event::Unstartable | Event::MachineRemoved => {
                "changed"
            }
        },
    )
}

pub fn protected(instance: InstanceId, what: &str, attribute: &str) -> ApiError {
    operation_not_permitted(format!(
        "The instance '{instance}' may not be {what}. Modify its '{attribute}' instance attribute and try again."
    ))
}

pub fn too_many_volumes(kind: &str, most: usize) -> ApiError {
    client(
        "AttachmentLimitExceeded",
        format!(
            "An instance of the type {kind} with its network interfaces can have at most {most} volumes."
        ),
    )
}

/// Only Nitro machines do without IPv4.
pub fn not_nitro(kind: &str, subnet: SubnetId) -> ApiError {
    invalid_parameter_combination(format!(
        "The instance type '{kind}' is not built on the Nitro System, which the IPv6-only subnet '{subnet}' requires."
    ))
}

/// A launch that asks for hibernation in vain.
pub fn cannot_hibernate(unfit: &hibernation::Unfit) -> ApiError {
    client(UNSUPPORTED_HIBERNATION, format!("The instance cannot be configured for hibernation: {unfit}."))
}

/// An instance that is to be hibernated, and was not configured for that when it was launched.
pub fn not_configured_for_hibernation(instance: InstanceId) -> ApiError {
    client(
        UNSUPPORTED_HIBERNATION,
        format!("The instance '{instance}' was not configured for hibernation when it was launched."),
    )
}

const UNSUPPORTED_HIBERNATION: &str = "UnsupportedHibernationConfiguration";

/// The host has no room for more instances of a type.
pub fn insufficient_capacity(kind: &str, zone: &Zone) -> ApiError {
    // AWS answers 500 here and clients retry it as such.
    ApiError::new(
        "InsufficientInstanceCapacity",
        500,
        format!(
            "There is not enough {kind} capacity in the Availability Zone {zone} for this request. Ask for fewer \
             instances, for another type, or later."
        ),
    )
}

/// How a refused launch is told.
pub fn refused(refusal: Refusal, kind: &str, zone: &Zone) -> ApiError {
    match refusal {
        Refusal::ImageUnavailable => {
            client("InvalidAMIID.Unavailable", "The image has no disk that an instance could start from.")
        }
        Refusal::Architecture { machine, image } => {
            let machine: Vec<&str> = machine.iter().map(|a| a.as_str()).collect();
            invalid_parameter_value(format!(
                "The architecture '{}' of the specified instance type does not match the architecture '{}' of the \
                 specified AMI.",
                machine.join(","),
                image.as_str()
            ))
        }
        Refusal::MemoryTooSmall { least } => invalid_parameter_value(format!(
            "The specified instance type has less than the {} MiB of memory that the specified AMI needs.",
            least.0
        )),
        Refusal::CpuOptions(CpuOptions { cores, threads_per_core }) => invalid_parameter_value(format!(
            "CpuOptions of {cores} cores with {threads_per_core} threads each are not valid for the instance type \
             {kind}."
        )),
        Refusal::Capacity { .. } => insufficient_capacity(kind, zone),
        Refusal::SeveralWithOneAddress => invalid_parameter_combination(
            "A private IP address may be specified only when one instance is launched.",
        ),
        Refusal::SeveralWithOneInterface => invalid_parameter_combination(
            "A network interface ID may be specified only when one instance is launched.",
        ),
        Refusal::Device(refusal) => device_refused(refusal),
    }
}

/// How refused block-device mappings are told.
pub fn device_refused(refusal: devices::Refusal) -> ApiError {
    use devices::Refusal;
    let mapping = |message: String| client("InvalidBlockDeviceMapping", message);
    match refusal {
        Refusal::DeviceName(name) => {
            let shown: String = name.chars().take(64).collect();
            mapping(format!("'{shown}' is not a device name such as /dev/sdf or /dev/xvdf."))
        }
        Refusal::DeviceTwice(device) => {
            mapping(format!("The device '{device}' is used in more than one block-device mapping"))
        }
        Refusal::NoRoot => mapping("The root device must be a volume.".into()),
        Refusal::RootSnapshot => mapping("snapshotId cannot be modified on root device".into()),
        Refusal::Snapshot(id) => {
            client("InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
        }
        Refusal::SmallerThanImage { device, size, least } => mapping(format!(
            "The volume {device} of {size} GB is smaller than the image it starts from; expect size >= {}GB",
            least.0
        )),
        Refusal::SmallerThanSnapshot { snapshot, size, least } => mapping(format!(
            "Volume of size {size}GB is smaller than snapshot '{snapshot}', expect size >= {}GB",
            least.0
        )),
        Refusal::NoSize(device) => client(
            "MissingParameter",
            format!("The mapping of {device} must contain the parameter size or snapshotId"),
        ),
        Refusal::TooManyDevices => client(
            "AttachmentLimitExceeded",
            format!("An instance can have at most {} volumes.", plan::instance::devices::MOST_DEVICES),
        ),
        Refusal::VolumeType(given) => {
            let shown: String = given.chars().take(64).collect();
            invalid_parameter_value(format!("Invalid value '{shown}' for VolumeType."))
        }
        Refusal::NotBootable(kind) => {
            invalid_parameter_value(format!("A volume of the type {kind} cannot be the root device."))
        }
        Refusal::Volume(refusal) => crate::volume::refused(refusal),
    }
}
