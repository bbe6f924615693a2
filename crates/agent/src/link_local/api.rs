//! The cloud's own API inside a VPC: each connection is carried to the server's listener on this host.
//!
//! Bytes are carried and never read: whether HTTP or TLS is the server's business, and so is who may do what, since every
//! request is signed. Invariants: an instance holds a bounded number of connections, and all instances together fewer than
//! the server takes, so a hostile guest shuts out only itself; a connection that rests, or has lasted long, ends.
//!
//! On AWS an interface endpoint does this (<https://docs.aws.amazon.com/vpc/latest/privatelink/>).
//! Differs: it is there in every VPC without being asked for, and no endpoint policy judges.

use super::places::{Place, Places};
use crate::directory::Directory;
use model::VpcId;
use parking_lot::Mutex;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until, timeout};

/// Bounds on what guests may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections of one instance.
    pub per_instance: u32,
    /// Of all instances of the host.
    pub together: u32,
    /// A connection without a byte for so long ends.
    pub rest: Duration,
    /// The longest life of a connection.
    pub life: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            per_instance: 32,
            // A quarter of what the server takes: the host's own clients keep the rest.
            together: 1024,
            rest: Duration::from_mins(1),
            life: Duration::from_mins(15),
        }
    }
}

/// How long the server may take to accept.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is carried at a time.
const PIECE: usize = 8 << 10;

/// The way from the VPCs of a host to the server.
pub struct ApiDoor {
    directory: Arc<Directory>,
    server: SocketAddr,
    places: Arc<Places>,
    bounds: Bounds,
}

impl ApiDoor {
    pub fn new(directory: Arc<Directory>, server: SocketAddr, bounds: Bounds) -> Self {
        let places = Places::new(bounds.per_instance, bounds.together);
        Self { directory, server, places, bounds }
    }

    /// Serves the instances of one VPC until dropped, or until the network has shut the listener down.
    pub async fn serve(self: Arc<Self>, vpc: VpcId, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((guest, peer)) => {
                        if let Some(place) = self.admit(vpc, peer) {
                            connections.spawn(Arc::clone(&self).carry(guest, place));
                        }
                    }
                    // What `accept` says of a socket that listens no more: the VPC has left this host.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
                    Err(error) => {
                        tracing::warn!(%vpc, "the API's listener: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }

    /// A place for whoever is behind this address, which the anti-spoof map has tied to one interface.
    fn admit(&self, vpc: VpcId, peer: SocketAddr) -> Option<Place> {
        let IpAddr::V4(source) = peer.ip().to_canonical() else { return None };
        let occupant = self.directory.at(vpc, source)?;
        self.places.take(occupant.instance.instance)
    }

    async fn carry(self: Arc<Self>, guest: TcpStream, _place: Place) {
        // A server that is away is told by the end of the connection.
        let server = match timeout(PATIENCE, TcpStream::connect(self.server)).await {
            Ok(Ok(server)) => server,
            Ok(Err(error)) => return tracing::debug!(%error, "the server takes no connection"),
            Err(_) => return,
        };
        let _ = (guest.set_nodelay(true), server.set_nodelay(true));
        // How a guest's connection ends is its own affair.
        let _ended = timeout(self.bounds.life, relay(guest, server, self.bounds.rest)).await;
    }
}

/// Carries both ways until both have ended, or neither has moved a byte for `rest`.
async fn relay(mut guest: TcpStream, mut server: TcpStream, rest: Duration) {
    let moved = Mutex::new(Instant::now());
    let (mut from_guest, mut to_guest) = guest.split();
    let (mut from_server, mut to_server) = server.split();
    let idle = async {
        loop {
            let since = *moved.lock();
            sleep_until(since + rest).await;
            if *moved.lock() == since {
                return;
            }
        }
    };
    let carried = async {
        tokio::join!(
            pump(&mut from_guest, &mut to_server, &moved),
            pump(&mut from_server, &mut to_guest, &moved)
        )
    };
    tokio::select! {
        _ = carried => {}
        () = idle => {}
    }
}

/// One way. Its end is passed on, so that half-closed connections work; a failure ends the other half too, by its own.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &Mutex<Instant>,
) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        *moved.lock() = Instant::now();
        if to.write_all(&piece[..length]).await.is_err() {
            break;
        }
        *moved.lock() = Instant::now();
    }
    let _ = to.shutdown().await;
}
