//! The front door: HTTP/1.1 and 2 on one port, for every service, with [`Tls`] and without.
//!
//! limits → request id → which service (signature scope, then Host, then API version) → signature → dispatch → answer.
//! Nothing of a request reaches a service before its signature is verified; every answer carries a request id, and
//! every error the envelope of the service that was asked.

mod answer;
mod authenticate;
mod body;
mod emulation;
mod handed;
mod head;
mod http1;
mod http2;
mod observe;
mod route;
mod serve;
mod tls;

use control::{Cloud, Service};
use std::sync::Arc;
use std::time::Duration;

pub use authenticate::SigningKeys;
pub use emulation::{Auth, Emulation, Reset};
pub use handed::Handed;
pub use serve::{serve, serve_with};
pub use tls::{Tls, TlsError};

/// Bounds on what one client may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of a request's body, in bytes.
    pub body: usize,
    pub connections: usize,
    /// For a request's headers to arrive, and for a TLS handshake.
    pub header_timeout: Duration,
    /// For a request's body to arrive.
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            connections: 4096,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
        }
    }
}

/// All services of a cloud behind one port.
pub struct Gateway {
    pub cloud: Arc<Cloud>,
    pub services: Vec<Service>,
    pub limits: Limits,
    pub signing_keys: SigningKeys,
    pub emulation: Emulation,
}

impl Gateway {
    fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.shape().name == name)
    }
}
