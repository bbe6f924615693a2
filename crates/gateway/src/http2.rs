//! HTTP/2 on one connection, by hyper: clients seldom speak it with an API like this.

use crate::Gateway;
use crate::answer::Answer;
use crate::body::Parts;
use crate::head::Head;
use bytes::{Buf as _, BytesMut};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::host::Arrival;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use wire::ApiError;

/// Requests under way at once on one connection.
const STREAMS: u32 = 256;

/// Serves a connection of which `begun` was read already.
pub(crate) async fn serve<S>(
    gateway: Arc<Gateway>,
    stream: S,
    arrival: Option<Arrival>,
    begun: BytesMut,
    closing: impl Future<Output = ()>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let patience = gateway.limits.header_timeout;
    let first = Arc::new(Notify::new());
    let came = Arc::clone(&first);
    let arrival = arrival.map(Arc::new);
    let service = service_fn(move |request| {
        came.notify_one();
        let (gateway, arrival) = (Arc::clone(&gateway), arrival.clone());
        async move { Ok::<_, Infallible>(read(&gateway, request, arrival.as_deref()).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    let stream = TokioIo::new(Begun { begun, stream });
    let mut connection = pin!(builder.serve_connection(stream, service));
    // None of hyper's timeouts watches over a connection that brings no request.
    let silent = async {
        if tokio::time::timeout(patience, first.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let (mut silent, mut closing) = (pin!(silent), pin!(closing));
    tokio::select! {
        _ = &mut connection => return,
        () = &mut silent => return tracing::debug!("a connection brought no request"),
        () = &mut closing => connection.as_mut().graceful_shutdown(),
    }
    // A connection that breaks is the client's affair.
    let _ = connection.await;
}

async fn read(gateway: &Gateway, request: Request<Incoming>, arrival: Option<&Arrival>) -> Response<Parts> {
    let (parts, body) = request.into_parts();
    let (limits, head) = (gateway.limits, Head::of_parts(&parts));
    let body = Limited::new(body, limits.body).collect();
    let error = match tokio::time::timeout(limits.body_timeout, body).await {
        Ok(Ok(body)) => return respond(gateway.answer(&head, &body.to_bytes(), arrival).await),
        Ok(Err(error)) if error.is::<LengthLimitError>() => ApiError::new(
            "RequestEntityTooLarge",
            413,
            format!("The request's body is larger than {} bytes.", limits.body),
        ),
        Ok(Err(_)) => ApiError::new("IncompleteBody", 400, "The request's body ended too early."),
        Err(_) => ApiError::new("RequestTimeout", 408, "The request's body did not arrive in time."),
    };
    respond(gateway.refuse(&head, &error))
}

fn respond(answer: Answer) -> Response<Parts> {
    let mut response = Response::new(answer.body.into());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    for (name, value) in &answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    if let Some(id) = answer.request_id.and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.insert("x-amzn-requestid", id.clone());
        headers.insert("x-amz-request-id", id);
    }
    response
}

/// A stream whose first bytes were read already.
struct Begun<S> {
    begun: BytesMut,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.begun.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let now = this.begun.len().min(buffer.remaining());
        buffer.put_slice(&this.begun[..now]);
        this.begun.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
