//! The server: read-only exports on Unix sockets.
//!
//! A client may be hostile (a QEMU that its guest has taken over): every length is bounded before anything is allocated, a
//! handshake has a minute, a client that does not take its answers is dropped, and both connections and the requests of one
//! connection are limited. A connection holds a block or two for each request that it has in flight, so memory is bounded by
//! `connections * requests * 512 KiB`, plus the shared cache.
//!
//! Damage is answered by an I/O error for the request, with a message; the connection goes on.

mod handshake;
mod transmit;

use super::ALLOCATION;
use crate::error::Result;
use crate::snapshot::{Extent, Piece, Snapshot};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A disk that is shown. Its methods block.
pub trait Export: Send + Sync + 'static {
    fn size(&self) -> u64;

    /// Bytes from `offset`, which lies within the disk, up to the end of a block or of a hole; `most` at most, one at least.
    fn piece(&self, offset: u64, most: u64) -> Result<Piece>;

    /// What of a range, which lies within the disk, is stored; `most` extents at most, one at least.
    fn extents(&self, range: Range<u64>, most: usize) -> Result<Vec<Extent>>;
}

impl Export for Snapshot {
    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn piece(&self, offset: u64, most: u64) -> Result<Piece> {
        Self::piece(self, offset, most)
    }

    fn extents(&self, range: Range<u64>, most: usize) -> Result<Vec<Extent>> {
        Self::extents(self, range, most)
    }
}

/// Exports by name. Its methods block.
pub trait Exports: Send + Sync + 'static {
    fn open(&self, name: &str) -> Option<Arc<dyn Export>>;

    fn names(&self) -> Vec<String>;
}

/// Exports that were put there.
#[derive(Default)]
pub struct Shelf(RwLock<BTreeMap<String, Arc<dyn Export>>>);

impl Shelf {
    pub fn put(&self, name: impl Into<String>, export: Arc<dyn Export>) {
        self.0.write().insert(name.into(), export);
    }

    /// Whoever reads it already may go on.
    pub fn remove(&self, name: &str) {
        self.0.write().remove(name);
    }
}

impl Exports for Shelf {
    fn open(&self, name: &str) -> Option<Arc<dyn Export>> {
        self.0.read().get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.0.read().keys().cloned().collect()
    }
}

/// What clients may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; more wait.
    pub connections: usize,
    /// Requests in flight of one connection; more wait.
    pub requests: usize,
    pub handshake: Duration,
    /// How long a client may leave an answer untaken.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self { connections: 512, requests: 8, handshake: minute, answer: 2 * minute }
    }
}

pub struct Server {
    exports: Arc<dyn Exports>,
    limits: Limits,
}

impl Server {
    pub fn new(exports: Arc<dyn Exports>, limits: Limits) -> Self {
        Self { exports, limits }
    }

    /// Serves until it is dropped, and all connections with it.
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        let mut connections = JoinSet::new();
        let places = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    let server = Arc::clone(&self);
                    connections.spawn(async move {
                        server.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // No descriptors, most likely.
                    tracing::warn!(%error, "a block device client cannot be accepted");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(&self, mut stream: UnixStream) {
        let negotiated = timeout(self.limits.handshake, handshake::run(&mut stream, &self.exports)).await;
        let ended = match negotiated {
            Ok(Ok(Some(agreed))) => transmit::run(stream, agreed, self.limits).await,
            Ok(Ok(None)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a block device client is gone");
        }
    }
}

/// What a handshake came to.
struct Agreed {
    name: String,
    export: Arc<dyn Export>,
    structured: bool,
    /// Block status of [`ALLOCATION`] was asked for.
    status: bool,
}
