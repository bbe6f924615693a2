//! Connections: accept, bound, time out, shut down gracefully.

use crate::handed::{Handed, Places};
use crate::http1::{self, Ended};
use crate::tls::{Stream, Tls};
use crate::{Gateway, http2};
use model::host::Arrival;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

/// How long requests under way may take to end after a shutdown began.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves plain HTTP until `shutdown` resolves, then lets requests under way end.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    serve_with(gateway, listener, None, None, shutdown).await;
}

/// The same, and TLS beside it on the same port if there is a certificate to show, and what others have accepted.
pub async fn serve_with(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    tls: Option<Tls>,
    mut handed: Option<mpsc::Receiver<Handed>>,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(gateway.limits.connections));
    let places = Places::of(gateway.limits.connections);
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
            accepted = listener.accept() => accepted.map(|(stream, _)| (stream, None)),
            handed = next(&mut handed) => Ok((handed.stream, Some(handed.arrival))),
            () = &mut shutdown => break,
        };
        let (stream, arrival) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: give connections time to end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let place = arrival.as_ref().map(|arrival| places.take(arrival));
        if matches!(place, Some(None)) {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let (gateway, tls, closed, open) = (Arc::clone(&gateway), tls.clone(), closed.clone(), open.clone());
        tokio::spawn(async move {
            connection(gateway, stream, arrival, tls, closed).await;
            drop((slot, place, open));
        });
    }
    drop((closing, open, listener));
    if tokio::time::timeout(DRAIN, all_ended.recv()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

/// Never, when nobody hands anything over.
async fn next(handed: &mut Option<mpsc::Receiver<Handed>>) -> Handed {
    if let Some(receiver) = handed
        && let Some(connection) = receiver.recv().await
    {
        return connection;
    }
    *handed = None;
    std::future::pending().await
}

async fn connection(
    gateway: Arc<Gateway>,
    stream: TcpStream,
    arrival: Option<Arrival>,
    tls: Option<Tls>,
    closed: watch::Receiver<()>,
) {
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
        Stream::Plain(stream) => {
            http1::serve(&gateway, stream, arrival.as_ref(), closes(closed.clone())).await
        }
        Stream::Tls(stream) => http1::serve(&gateway, stream, arrival.as_ref(), closes(closed.clone())).await,
    };
    if let Ended::IsHttp2(begun) = ended {
        http2::serve(gateway, stream, arrival, begun, closes(closed)).await;
    }
}

/// Resolves when the server shuts down.
async fn closes(mut closed: watch::Receiver<()>) {
    // Nothing is ever sent: the channel closes.
    while closed.changed().await.is_ok() {}
}
