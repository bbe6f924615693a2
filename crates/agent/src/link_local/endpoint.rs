//! VPC endpoints: what connects to one is handed to the server, the socket itself, with a word on how it came.
//!
//! The agent accepts in the endpoint's own namespace and reads nothing; from then on server and guest speak without it, so
//! a restart of the agent breaks no connection. How many a sender may hold is the server's to say.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/>

use model::host::Arrival;
use model::{Region, VpcEndpointId, VpcId};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Duration, timeout};

/// How long the server may take to hear of one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections of one listener that are being handed over; more wait in the kernel's queue.
const AT_ONCE: usize = 64;

/// An endpoint that somebody listens at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPlace {
    pub region: Region,
    pub vpc: VpcId,
    pub endpoint: VpcEndpointId,
}

/// The way from the endpoints of a host to the server.
#[derive(Debug)]
pub struct EndpointDoor {
    server: PathBuf,
}

impl EndpointDoor {
    /// The server takes connections at this Unix socket.
    pub const fn new(server: PathBuf) -> Self {
        Self { server }
    }

    /// Serves one address of an endpoint until dropped, or until the network has shut the listener down.
    pub async fn serve(self: Arc<Self>, place: EndpointPlace, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(turn) = Arc::clone(&room).acquire_owned().await else { return };
            let (guest, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                // What `accept` says of a socket that listens no more: the endpoint has left this host.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
                Err(error) => {
                    tracing::warn!(endpoint = %place.endpoint, "its listener: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let source = peer.ip().to_canonical();
            let EndpointPlace { region, vpc, endpoint } = place.clone();
            let (door, arrival) = (Arc::clone(&self), Arrival { region, vpc, endpoint, source });
            tokio::spawn(async move {
                match timeout(PATIENCE, door.hand(&guest, &arrival)).await {
                    Ok(Ok(())) => {}
                    // A server that is away is told by the end of the connection.
                    Ok(Err(error)) => tracing::debug!(%error, "the server takes no connection"),
                    Err(_) => tracing::debug!("the server was too slow to take a connection"),
                }
                drop(turn);
            });
        }
    }

    async fn hand(&self, guest: &TcpStream, arrival: &Arrival) -> io::Result<()> {
        let server = UnixStream::connect(&self.server).await?;
        let text = serde_json::to_vec(arrival)?;
        let sent = server.async_io(Interest::WRITABLE, || {
            let sockets = [guest.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
            Ok(sendmsg(&server, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL)?)
        });
        // What is so short leaves whole, or not at all.
        if sent.await? == text.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}
