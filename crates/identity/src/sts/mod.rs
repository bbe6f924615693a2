//! AWS STS: who the caller is, and temporary credentials for it.
//!
//! Temporary credentials are access keys with a session; the gateway asks for their token and refuses them once they have
//! expired. Whoever asks for new ones has the account's expired ones swept away.
//! AWS: <https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html>
//! Differs: nothing is assumed or federated yet, and there are no MFA devices.

mod access_key_info;
mod caller_identity;
mod session_token;

use api_sts::ops;
use control::{Service, Touched};

/// The service with every operation that is built.
pub fn service() -> Service {
    let mut service = Service::new(&api_sts::SERVICE);
    service
        // Always allowed: there is nothing to grant.
        .read(ops::GetCallerIdentity, |_, _, _| Vec::new(), caller_identity::get)
        .read(ops::GetAccessKeyInfo, |_, _, _| Touched::anything(), access_key_info::get)
        .write(ops::GetSessionToken, |_, _, _| Touched::anything(), session_token::get);
    service
}

/// A parameter outside of what the model allows.
fn validation(message: impl Into<String>) -> wire::ApiError {
    wire::ApiError::new("ValidationError", 400, message.into())
}

fn access_denied(message: &'static str) -> wire::ApiError {
    wire::ApiError::new("AccessDenied", 403, message)
}
