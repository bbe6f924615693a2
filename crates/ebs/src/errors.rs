//! The errors of the direct APIs: a code, and for most a reason.

use api_ebs::errors;
use control::keys::KeyError;
use std::fmt::Display;
use wire::ApiError;

const REASON: &str = "Reason";

pub fn validation(reason: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::of(&errors::VALIDATION_EXCEPTION, message.into()).with_detail(REASON, reason)
}

pub fn invalid_value(message: impl Into<String>) -> ApiError {
    validation("INVALID_PARAMETER_VALUE", message)
}

pub fn invalid_snapshot(message: impl Into<String>) -> ApiError {
    validation("INVALID_SNAPSHOT_ID", message)
}

pub fn invalid_block(message: impl Into<String>) -> ApiError {
    validation("INVALID_BLOCK", message)
}

pub fn invalid_block_token() -> ApiError {
    validation(
        "INVALID_BLOCK_TOKEN",
        "The block token is expired, or was not given for this block of this snapshot.",
    )
}

pub fn invalid_page_token() -> ApiError {
    validation("INVALID_PAGE_TOKEN", "The page token is expired, or was not given for this request.")
}

pub fn not_found(id: impl Display) -> ApiError {
    let message = format!("The snapshot '{id}' does not exist.");
    ApiError::of(&errors::RESOURCE_NOT_FOUND_EXCEPTION, message).with_detail(REASON, "SNAPSHOT_NOT_FOUND")
}

pub fn not_yours(id: impl Display) -> ApiError {
    let message = format!("The snapshot '{id}' is another account's.");
    ApiError::of(&errors::ACCESS_DENIED_EXCEPTION, message).with_detail(REASON, "UNAUTHORIZED_ACCOUNT")
}

pub fn too_many_open(most: usize) -> ApiError {
    let message =
        format!("The account has {most} snapshots that are being written, which is the most at a time.");
    ApiError::of(&errors::CONCURRENT_LIMIT_EXCEEDED_EXCEPTION, message)
}

/// A key that cannot be used.
pub fn of_key(error: KeyError) -> ApiError {
    match error {
        KeyError::NotFound(named) | KeyError::InvalidArn(named) => {
            let message = format!("The KMS key '{named}' does not exist.");
            ApiError::of(&errors::RESOURCE_NOT_FOUND_EXCEPTION, message)
                .with_detail(REASON, "DEPENDENCY_RESOURCE_NOT_FOUND")
        }
        KeyError::Disabled(arn) => {
            validation("INVALID_DEPENDENCY_REQUEST", format!("The KMS key {arn} is disabled."))
        }
        KeyError::PendingDeletion(arn) => {
            validation("INVALID_DEPENDENCY_REQUEST", format!("The KMS key {arn} is pending deletion."))
        }
        KeyError::Denied { action, arn } => {
            let message = format!("The KMS key {arn} cannot be used: its policy does not allow {action}.");
            ApiError::of(&errors::ACCESS_DENIED_EXCEPTION, message)
                .with_detail(REASON, "DEPENDENCY_ACCESS_DENIED")
        }
    }
}

/// Tags are judged as everywhere, and refused as here.
pub fn of_tags(error: &ApiError) -> ApiError {
    validation("INVALID_TAG", error.message().to_owned())
}

/// Our own fault: the log has the cause.
pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    ApiError::of(&errors::INTERNAL_SERVER_EXCEPTION, "An internal error has occurred.").with_source(cause)
}
