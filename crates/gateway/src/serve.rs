//! Connections: accept, bound, time out, shut down gracefully.

use crate::Gateway;
use crate::tls::{Stream, Tls};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use wire::ApiError;

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
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(gateway.limits.header_timeout);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256);
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let (closing, closed) = tokio::sync::watch::channel(());
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
        let patience = gateway.limits.header_timeout;
        let gateway = Arc::clone(&gateway);
        let first = Arc::new(Notify::new());
        let came = Arc::clone(&first);
        let service = service_fn(move |request| {
            came.notify_one();
            let gateway = Arc::clone(&gateway);
            async move { Ok::<_, Infallible>(gateway.read(request).await) }
        });
        let (builder, watcher) = (Arc::clone(&builder), graceful.watcher());
        let (tls, mut closed) = (tls.clone(), closed.clone());
        tokio::spawn(async move {
            // Neither hyper's timeouts nor its shutdown know of a connection that still shakes hands.
            let stream = match tls {
                None => Stream::Plain(stream),
                Some(tls) => tokio::select! {
                    stream = tokio::time::timeout(patience, tls.accept(stream)) => match stream {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(error)) => return tracing::debug!(%error, "a handshake failed"),
                        Err(_) => return tracing::debug!("a connection did not shake hands in time"),
                    },
                    _ = closed.changed() => return,
                },
            };
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            let mut connection = pin!(watcher.watch(connection));
            // Before its first bytes tell which HTTP it speaks, none of hyper's timeouts watches over a connection.
            let silent = async {
                if tokio::time::timeout(patience, first.notified()).await.is_ok() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                // A connection that breaks is the client's affair.
                _ = &mut connection => {}
                () = silent => tracing::debug!("a connection brought no request"),
            }
            drop(slot);
        });
    }
    drop(closing);
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

impl Gateway {
    async fn read(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let limits = self.limits;
        let body = Limited::new(body, limits.body).collect();
        let error = match tokio::time::timeout(limits.body_timeout, body).await {
            Ok(Ok(body)) => return self.answer(parts, body.to_bytes()).await,
            Ok(Err(error)) if error.is::<LengthLimitError>() => ApiError::new(
                "RequestEntityTooLarge",
                413,
                format!("The request's body is larger than {} bytes.", limits.body),
            ),
            Ok(Err(_)) => ApiError::new("IncompleteBody", 400, "The request's body ended too early."),
            Err(_) => ApiError::new("RequestTimeout", 408, "The request's body did not arrive in time."),
        };
        self.refuse(&parts, &error)
    }
}
