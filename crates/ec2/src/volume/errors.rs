//! EC2's errors about volumes, and how the refusals of `plan::volume` are spelled.

use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value};
use model::VolumeId;
use model::record::volume::VolumeType;
use plan::volume::{Rate, Refusal};
use std::fmt::Display;
use wire::ApiError;

/// The volume's state has no place for what is asked.
pub fn incorrect_state(volume: VolumeId, state: impl Display, wanted: &str) -> ApiError {
    client("IncorrectState", format!("The volume '{volume}' is '{state}', not {wanted}."))
}

/// A type that nobody sells.
pub fn unknown_type(given: &str) -> ApiError {
    let shown: String = given.chars().take(64).collect();
    let known = VolumeType::ALL.map(VolumeType::as_str).join(", ");
    client("UnknownVolumeType", format!("Unknown volume type '{shown}'; the types are {known}."))
}

fn parameter(rate: Rate) -> &'static str {
    match rate {
        Rate::Iops => "iops",
        Rate::Throughput => "throughput",
    }
}

/// Why a volume cannot be as asked.
pub fn refused(refusal: Refusal) -> ApiError {
    let value = |message: String| invalid_parameter_value(message);
    match refusal {
        Refusal::TooSmall { volume_type, size, least } => value(format!(
            "Volume of {size}GiB is too small for volume type {volume_type}; minimum is {least}GiB."
        )),
        Refusal::TooLarge { volume_type, size, most } => value(format!(
            "Volume of {size}GiB is too large for volume type {volume_type}; maximum is {most}GiB."
        )),
        Refusal::NoChoice { what, volume_type } => invalid_parameter_combination(format!(
            "The parameter {} is not supported for {volume_type} volumes.",
            parameter(what)
        )),
        Refusal::NoIops(volume_type) => client(
            "MissingParameter",
            format!("The parameter iops must be specified for {volume_type} volumes."),
        ),
        Refusal::TooLow { what, value: given, least } => {
            value(format!("Volume {} of {given} is too low; minimum is {least}.", parameter(what)))
        }
        Refusal::TooHigh { what, value: given, most } => {
            value(format!("Volume {} of {given} is too high; maximum is {most}.", parameter(what)))
        }
        Refusal::IopsPerGiB { iops, size, most } => value(format!(
            "Iops to volume size ratio of {:.6} is too high; maximum is {most} IOPS per GiB.",
            f64::from(iops) / f64::from(size.0)
        )),
        Refusal::ThroughputPerIops { throughput, iops } => value(format!(
            "Throughput (MiBps) to iops ratio of {:.6} is too high; maximum is 0.250000 MiBps per iops.",
            f64::from(throughput) / f64::from(iops)
        )),
        Refusal::NoMultiAttach(volume_type) => invalid_parameter_combination(format!(
            "Multi-Attach is not supported for {volume_type} volumes, only for io1 and io2."
        )),
        Refusal::Shrinks { from, to } => value(format!(
            "New size cannot be smaller than existing size: {to} GiB are asked for, the volume has {}.",
            from.0
        )),
        Refusal::MultiAttachIsFixed => invalid_parameter_combination(
            "Multi-Attach can be changed only for io2 volumes, and only while they are not attached.",
        ),
    }
}
