//! The errors of the key service.

use api_kms::errors;
use control::keys::KeyError;
use wire::ApiError;

fn shown(text: &str) -> String {
    text.chars().take(256).collect()
}

/// Why a key cannot be used.
pub fn of(error: KeyError) -> ApiError {
    match error {
        KeyError::NotFound(named) if named.contains("alias/") => {
            ApiError::of(&errors::NOT_FOUND_EXCEPTION, format!("Alias {named} is not found."))
        }
        KeyError::NotFound(named) => {
            ApiError::of(&errors::NOT_FOUND_EXCEPTION, format!("Key '{named}' does not exist"))
        }
        KeyError::InvalidArn(named) => {
            ApiError::of(&errors::INVALID_ARN_EXCEPTION, format!("Invalid arn {named}"))
        }
        KeyError::Disabled(arn) => ApiError::of(&errors::DISABLED_EXCEPTION, format!("{arn} is disabled.")),
        KeyError::PendingDeletion(arn) => {
            ApiError::of(&errors::KMS_INVALID_STATE_EXCEPTION, format!("{arn} is pending deletion."))
        }
        KeyError::Denied { action, arn } => ApiError::new(
            "AccessDeniedException",
            400,
            format!("The caller is not authorized to perform: {action} on resource: {arn}"),
        ),
    }
}

/// What is no id and no ARN of a key.
pub fn invalid_key_id(id: &str) -> ApiError {
    ApiError::of(&errors::NOT_FOUND_EXCEPTION, format!("Invalid keyId '{}'", shown(id)))
}

pub fn validation(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", 400, message.into())
}

pub fn unsupported(what: &str) -> ApiError {
    ApiError::of(
        &errors::UNSUPPORTED_OPERATION_EXCEPTION,
        format!(
            "{what} is not supported by this cloud: its keys are symmetric, made by the key service itself."
        ),
    )
}

pub fn invalid_state(message: impl Into<String>) -> ApiError {
    ApiError::of(&errors::KMS_INVALID_STATE_EXCEPTION, message.into())
}

/// The ciphertext was not made with this key and context, or was changed since.
pub fn invalid_ciphertext() -> ApiError {
    ApiError::of(&errors::INVALID_CIPHERTEXT_EXCEPTION, "")
}

pub fn incorrect_key() -> ApiError {
    ApiError::of(
        &errors::INCORRECT_KEY_EXCEPTION,
        "The key ID in the request does not identify the key that made this ciphertext.",
    )
}

pub fn limit_exceeded(message: impl Into<String>) -> ApiError {
    ApiError::of(&errors::LIMIT_EXCEEDED_EXCEPTION, message.into())
}

pub fn malformed_policy(why: &str) -> ApiError {
    ApiError::of(&errors::MALFORMED_POLICY_DOCUMENT_EXCEPTION, format!("The policy is not valid: {why}."))
}
