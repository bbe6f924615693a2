//! The instance metadata service: HTTP on a listener inside each VPC.
//!
//! Who asks follows from the connection's source address, which the anti-spoof map has tied to one interface before the
//! packet came up; no header is believed. The content is [`plan::imds`]'s.
//!
//! Invariants: an instance holds a bounded number of connections, each with a bounded life and buffer, and no body of a
//! request is ever read, so a hostile guest shuts out only itself.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>

mod answer;
mod der;
mod sign;
mod token;

pub use sign::{Signer, SignerError};

use crate::directory::Directory;
use crate::link_local::places::Places;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{Clock, InstanceId, VpcId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A guest that is slower than this with its request is hung up on.
const SLOWEST_REQUEST: Duration = Duration::from_secs(10);
/// The longest life of a connection, whatever it does.
const LONGEST_CONNECTION: Duration = Duration::from_mins(5);
/// The most that is buffered of a request's head.
const LARGEST_HEAD: usize = 16 << 10;
/// Connections of an instance, and of all instances.
const PER_INSTANCE: u32 = 32;
const TOGETHER: u32 = 8192;
/// Signed documents that are remembered.
const REMEMBERED: usize = 1024;

/// The service of one host, for all its VPCs.
pub struct Imds {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    /// Keys the session tokens.
    secret: [u8; 32],
    signer: Arc<Signer>,
    places: Arc<Places>,
    /// What instances are told of the cloud's own API.
    api: Option<plan::imds::Api>,
    /// Signing costs a millisecond of CPU, which a guest could ask for without end.
    signed: Mutex<HashMap<InstanceId, Arc<SignedDocument>>>,
}

struct SignedDocument {
    document: String,
    signature: String,
    pkcs7: String,
}

impl Imds {
    pub fn new(
        directory: Arc<Directory>,
        clock: Arc<dyn Clock>,
        secret: [u8; 32],
        signer: Arc<Signer>,
    ) -> Self {
        let places = Places::new(PER_INSTANCE, TOGETHER);
        Self { directory, clock, secret, signer, places, api: None, signed: Mutex::default() }
    }

    /// Tells instances of the cloud's own API.
    #[must_use]
    pub fn with_api(mut self, api: plan::imds::Api) -> Self {
        self.api = Some(api);
        self
    }

    /// Serves the instances of one VPC until dropped, or until the network has shut the listener down.
    pub async fn serve(self: Arc<Self>, vpc: VpcId, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(&mut connections, vpc, stream, peer),
                    // What `accept` says of a socket that listens no more: the VPC has left this host.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
                    Err(error) => {
                        tracing::warn!(%vpc, "the metadata service's listener: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }

    fn admit(
        self: &Arc<Self>,
        connections: &mut JoinSet<()>,
        vpc: VpcId,
        stream: TcpStream,
        peer: SocketAddr,
    ) {
        let source: IpAddr = peer.ip().to_canonical();
        let Some(occupant) = self.directory.at(vpc, source) else {
            tracing::debug!(%vpc, %source, "a metadata request of nobody known");
            return;
        };
        // Over the limit: the connection is closed unanswered.
        let Some(place) = self.places.take(occupant.instance.instance) else { return };
        let Ok(descriptor) = stream.as_fd().try_clone_to_owned() else { return };
        let descriptor = Arc::new(descriptor);
        let imds = Arc::clone(self);
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let (imds, descriptor) = (Arc::clone(&imds), Arc::clone(&descriptor));
                async move { Ok::<_, Infallible>(imds.respond(vpc, source, &request, &descriptor).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(SLOWEST_REQUEST)
                .max_buf_size(LARGEST_HEAD)
                // Small clients close their side as soon as they have asked.
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service);
            // How a guest's connection ends is its own affair.
            let _ended = tokio::time::timeout(LONGEST_CONNECTION, connection).await;
        });
    }
}
