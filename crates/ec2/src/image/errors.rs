//! EC2's errors about images.

use crate::errors::{client, operation_not_permitted};
use model::record::image::Image;
use model::{ImageId, SnapshotId};
use std::fmt::Display;
use wire::ApiError;

/// It cannot be launched or copied now.
pub fn unavailable(image: &Image) -> ApiError {
    client(
        "InvalidAMIID.Unavailable",
        format!("The image ID '{}' is not available: it is '{}'.", image.image, image.state_name()),
    )
}

pub fn not_yours(id: ImageId) -> ApiError {
    client("AuthFailure", format!("Not authorized for image:{id}"))
}

/// The image's state has no place for what is asked.
pub fn incorrect_state(image: &Image, wanted: &str) -> ApiError {
    client(
        "IncorrectState",
        format!("The image '{}' is '{}', not {wanted}.", image.image, image.state_name()),
    )
}

pub fn is_archived(image: &Image, snapshot: SnapshotId) -> ApiError {
    let id = image.image;
    let message = format!(
        "The image '{id}' cannot be enabled: its snapshot '{snapshot}' is in the archive tier. It must be restored permanently before."
    );
    client("IncorrectState", message)
}

pub fn malformed_name() -> ApiError {
    client(
        "InvalidAMIName.Malformed",
        "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, spaces, and ( ) [ ] . / - \
         ' @ _",
    )
}

pub fn name_taken(name: &str, by: impl Display) -> ApiError {
    client("InvalidAMIName.Duplicate", format!("AMI name {name} is already in use by AMI {by}"))
}

pub fn protected(id: ImageId) -> ApiError {
    operation_not_permitted(format!(
        "The image '{id}' is protected against being deregistered. Disable its deregistration protection and try again."
    ))
}

pub fn stock(id: ImageId) -> ApiError {
    operation_not_permitted(format!("The image '{id}' comes with the cloud and cannot be deregistered."))
}
