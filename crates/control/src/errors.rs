//! Errors that belong to no noun.

use crate::Caller;
use store::{CommitError, Outcome};
use wire::{ApiError, Protocol};

pub fn dry_run() -> ApiError {
    ApiError::new("DryRunOperation", 412, "Request would have succeeded, but DryRun flag is set.")
}

pub fn unauthorized(action: &str) -> ApiError {
    ApiError::new(
        "UnauthorizedOperation",
        403,
        format!(
            "You are not authorized to perform this operation: no policy allows {action} on what it touches."
        ),
    )
}

/// As the services other than EC2 say it.
pub fn access_denied(caller: &Caller, action: &str) -> ApiError {
    ApiError::new("AccessDenied", 403, format!("{} is not authorized to perform {action}", caller.arn))
}

/// As the services say it that speak JSON, with the status of their protocol.
pub fn access_denied_exception(caller: &Caller, action: &str, status: u16) -> ApiError {
    ApiError::new(
        "AccessDeniedException",
        status,
        format!("User: {} is not authorized to perform: {action}", caller.arn),
    )
}

/// Somebody's policy forbids it: the sentence that says whose, with each service's code for that.
pub fn not_permitted(protocol: Protocol, why: &str) -> ApiError {
    match protocol {
        Protocol::Ec2 => ApiError::new(
            "UnauthorizedOperation",
            403,
            format!("You are not authorized to perform this operation. {why}"),
        ),
        Protocol::Json10 | Protocol::Json11 => ApiError::new("AccessDeniedException", 400, why.to_owned()),
        Protocol::RestJson => ApiError::new("AccessDeniedException", 403, why.to_owned()),
        _ => ApiError::new("AccessDenied", 403, why.to_owned()),
    }
}

/// [`dry_run`], as the services say it that speak JSON.
pub fn dry_run_exception() -> ApiError {
    ApiError::new(
        "DryRunOperationException",
        400,
        "The request would have succeeded, but the DryRun option is set.",
    )
}

/// Our own fault: the caller learns no more than that; the log has the cause.
pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    ApiError::new("InternalError", 500, "An internal error has occurred.").with_source(cause)
}

pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    ApiError::new("Unavailable", 503, "The service is unavailable just now. Try again.").with_source(cause)
}

pub fn invalid_parameter_value(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValue", 400, message.into())
}

pub fn invalid_parameter_combination(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterCombination", 400, message.into())
}

pub fn missing_parameter(name: &str) -> ApiError {
    ApiError::new("MissingParameter", 400, format!("The request must contain the parameter {name}"))
}

pub fn idempotent_parameter_mismatch(token: &str) -> ApiError {
    ApiError::new(
        "IdempotentParameterMismatch",
        400,
        format!("The client token {token} was used before with other parameters."),
    )
}

/// [`idempotent_parameter_mismatch`], as the services of the rest protocols say it.
pub fn conflicting_token(token: &str) -> ApiError {
    ApiError::new(
        "ConflictException",
        409,
        format!("The client token {token} was used before with other parameters."),
    )
}

/// What a failed commit tells the caller. A conflict never gets here: it is retried.
pub fn commit(error: CommitError) -> ApiError {
    match error {
        CommitError::TooLarge(_) => {
            ApiError::new("RequestLimitExceeded", 503, "The request changes too much at once. Split it.")
                .with_source(error)
        }
        CommitError::Full => unavailable(error),
        CommitError::Unavailable { outcome: Outcome::NotApplied, .. } | CommitError::Conflict { .. } => {
            unavailable(error)
        }
        CommitError::Unavailable { outcome: Outcome::Unknown, .. } | CommitError::Invalid(_) => {
            internal(error)
        }
    }
}
