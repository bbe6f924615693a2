//! Connections: accept, bound, time out, shut down gracefully.

use crate::http1::{self, Ended};
use crate::tls::{Stream, Tls};
use crate::{Gateway, http2};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

/// How long requests under way may take to end after a shutdown began.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves plain HTTP until `shutdown` resolves, then lets requests under way end.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    serve_with(gateway, listener, None, shutdown).await;
}

/// The same, and TLS beside it on the same port if there is a certificate to show.
pub async fn serve_with(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(gateway.limits.connections));
    let (closing, closed) = watch::channel(());
    // Nothing is ever sent: it ends when the last connection has.
    let (open, mut all_ended) = mpsc::channel::<()>(1);
    tokio::pin!(shutdown);
    loop {
        // A full house waits in the kernel's queue rather than being turned away.
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            () = &mut shutdown => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, mostly: give connections time to end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (gateway, tls, closed, open) = (Arc::clone(&gateway), tls.clone(), closed.clone(), open.clone());
        tokio::spawn(async move {
            connection(gateway, stream, tls, closed).await;
            drop((slot, open));
        });
    }
    drop((closing, open, listener));
    if tokio::time::timeout(DRAIN, all_ended.recv()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

async fn connection(gateway: Arc<Gateway>, stream: TcpStream, tls: Option<Tls>, closed: watch::Receiver<()>) {
    let patience = gateway.limits.header_timeout;
    let mut stream = match tls {
        None => Stream::Plain(stream),
        Some(tls) => tokio::select! {
            stream = tokio::time::timeout(patience, tls.accept(stream)) => match stream {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%error, "a handshake failed"),
                Err(_) => return tracing::debug!("a connection did not shake hands in time"),
            },
            () = closes(closed.clone()) => return,
        },
    };
    // A plain socket by its own type: what is done for each request is done without asking which it is.
    let ended = match &mut stream {
        Stream::Plain(stream) => http1::serve(&gateway, stream, closes(closed.clone())).await,
        Stream::Tls(stream) => http1::serve(&gateway, stream, closes(closed.clone())).await,
    };
    if let Ended::IsHttp2(begun) = ended {
        http2::serve(gateway, stream, begun, closes(closed)).await;
    }
}

/// Resolves when the server shuts down.
async fn closes(mut closed: watch::Receiver<()>) {
    // Nothing is ever sent: the channel closes.
    while closed.changed().await.is_ok() {}
}
