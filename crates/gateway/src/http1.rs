//! HTTP/1.1 (and 1.0) on one connection: read a request, answer it, wait for the next.
//!
//! Our own, because the requests of an API are small and many: a head is looked at where it was read, an answer leaves in
//! one write, and between two requests nothing is armed, woken or allocated that the next one needs anew.
//! Invariants: a head and a body are bounded in size and in time; a request is read to its very end or the connection
//! closes, so that no part of one is taken for another (a length given twice, or beside chunks, is refused); a request
//! that was read is run to its end whether or not its client still listens.
//! RFC: <https://www.rfc-editor.org/rfc/rfc9112>

mod framing;
mod request;

use crate::answer::Answer;
use crate::{Gateway, Limits};
use bytes::{Buf as _, Bytes, BytesMut};
use framing::{Chunks, End};
use http::StatusCode;
use model::host::Arrival;
use request::{Length, Malformed, Request};
use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::time::{Duration, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep};
use wire::ApiError;

/// How a connection of HTTP/2 begins.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most bytes of a head.
const HEAD: usize = 128 << 10;
/// What is read at once, and kept for the next request.
const BUFFER: usize = 8 << 10;
/// A buffer that a large body has grown beyond this is not kept.
const KEPT: usize = 64 << 10;
/// Pieces of an answer that leave in one write.
const PIECES: usize = 64;
/// For how long a client that is refused in the middle of its body may go on sending, so that it sees the refusal.
const LINGER: Duration = Duration::from_secs(2);

/// What became of a connection.
pub(crate) enum Ended {
    Closed,
    /// It speaks HTTP/2: these bytes were read of it.
    IsHttp2(BytesMut),
}

/// Serves requests until the client or the server has had enough. `closing` resolves when the server shuts down: what is
/// under way then is answered still.
pub(crate) async fn serve<S>(
    gateway: &Gateway,
    stream: &mut S,
    arrival: Option<&Arrival>,
    closing: impl Future<Output = ()>,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut closing = std::pin::pin!(closing);
    let mut sleep = std::pin::pin!(tokio::time::sleep(gateway.limits.header_timeout));
    let mut connection = Connection {
        limits: gateway.limits,
        stream,
        arrival,
        input: BytesMut::with_capacity(BUFFER),
        searched: 0,
        closing: closing.as_mut(),
        is_closing: false,
        sleep: sleep.as_mut(),
        head: String::new(),
        date: (i64::MIN, String::new()),
    };
    // A connection that breaks is the client's affair.
    connection.run(gateway).await.unwrap_or(Ended::Closed)
}

struct Connection<'c, S, C> {
    limits: Limits,
    stream: &'c mut S,
    arrival: Option<&'c Arrival>,
    input: BytesMut,
    /// So much of the input was searched for the end of a head.
    searched: usize,
    closing: Pin<&'c mut C>,
    is_closing: bool,
    /// Armed for some deadline of the past or the present: looked at when it fires, so that it is seldom set.
    sleep: Pin<&'c mut Sleep>,
    /// Of the answer, reused.
    head: String,
    /// The second and the text of the last `date`.
    date: (i64, String),
}

/// What waiting for input came to.
enum Came {
    Bytes,
    Nothing,
    Late,
    Closing,
}

/// What comes after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Next,
    Close,
    /// The rest of the request was not read.
    Linger,
}

impl<S, C> Connection<'_, S, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Future<Output = ()>,
{
    async fn run(&mut self, gateway: &Gateway) -> io::Result<Ended> {
        let mut is_first = true;
        loop {
            let Some(end) = self.head(is_first).await? else { return Ok(Ended::Closed) };
            let End::Head(end) = end else { return Ok(Ended::IsHttp2(std::mem::take(&mut self.input))) };
            is_first = false;
            let then = self.request(gateway, end).await?;
            match then {
                Then::Next if !self.is_closing => {}
                Then::Next | Then::Close => {
                    let _ = self.stream.shutdown().await;
                    return Ok(Ended::Closed);
                }
                Then::Linger => {
                    self.linger().await?;
                    return Ok(Ended::Closed);
                }
            }
            if self.input.is_empty() && self.input.capacity() > KEPT {
                self.input = BytesMut::with_capacity(BUFFER);
            }
        }
    }

    /// Reads until a whole head is there. `None`: there is none to come.
    async fn head(&mut self, is_first: bool) -> io::Result<Option<End>> {
        let mut deadline = Instant::now() + self.limits.header_timeout;
        let mut is_begun = false;
        self.searched = 0;
        loop {
            if is_first && PREFACE.starts_with(&self.input[..self.input.len().min(PREFACE.len())]) {
                if self.input.len() >= PREFACE.len() {
                    return Ok(Some(End::Preface));
                }
            } else {
                // Empty lines before a request are no part of it.
                while let [b'\r' | b'\n', ..] = &*self.input {
                    self.input.advance(1);
                }
                if let Some(end) = framing::end_of_head(&self.input, &mut self.searched) {
                    return Ok(Some(End::Head(end)));
                }
                if self.input.len() > HEAD {
                    self.answer_plainly(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).await?;
                    self.linger().await?;
                    return Ok(None);
                }
            }
            if !is_begun && !self.input.is_empty() {
                // A connection that was at rest for long has its time as well.
                is_begun = true;
                deadline = Instant::now() + self.limits.header_timeout;
            }
            match self.read(deadline).await? {
                Came::Bytes => {}
                // A request whose head began to come before the shutdown is still taken.
                Came::Closing if !self.input.is_empty() => {}
                Came::Nothing | Came::Late | Came::Closing => return Ok(None),
            }
        }
    }

    /// Reads the rest of the request whose head ends there, and answers it.
    async fn request(&mut self, gateway: &Gateway, end: usize) -> io::Result<Then> {
        // Mostly everything is there, and is looked at where it is.
        let answered = match request::parse(&self.input[..end]) {
            Err(Malformed(status)) => {
                self.answer_plainly(status).await?;
                return Ok(Then::Linger);
            }
            Ok(Request { length: Length::Bytes(length), head, keep_alive, .. })
                if length <= self.limits.body && self.input.len() - end >= length =>
            {
                let answer = gateway.answer(&head, &self.input[end..end + length], self.arrival).await;
                Some((answer, head.method == "HEAD", keep_alive, end + length))
            }
            Ok(_) => None,
        };
        if let Some((answer, only_head, keep_alive, used)) = answered {
            self.input.advance(used);
            let then = if keep_alive { Then::Next } else { Then::Close };
            return self.answer(gateway, answer, only_head, then).await;
        }
        let head = self.input.split_to(end).freeze();
        let Ok(Request { head, length, keep_alive, awaits_continue }) = request::parse(&head) else {
            return Ok(Then::Close);
        };
        let only_head = head.method == "HEAD";
        let (answer, then) = match self.body(length, awaits_continue).await? {
            Ok(body) => {
                let then = if keep_alive { Then::Next } else { Then::Close };
                (gateway.answer(&head, &body, self.arrival).await, then)
            }
            Err(error) => (gateway.refuse(&head, &error), Then::Linger),
        };
        self.answer(gateway, answer, only_head, then).await
    }

    /// Reads a body that was not all there with its head.
    async fn body(&mut self, length: Length, awaits_continue: bool) -> io::Result<Result<Bytes, ApiError>> {
        let most = self.limits.body;
        let too_large = || {
            let message = format!("The request's body is larger than {most} bytes.");
            Ok(Err(ApiError::new("RequestEntityTooLarge", 413, message)))
        };
        let deadline = Instant::now() + self.limits.body_timeout;
        if matches!(length, Length::Bytes(length) if length > most) {
            return too_large();
        }
        if awaits_continue && self.input.is_empty() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            self.stream.flush().await?;
        }
        let mut chunks = Chunks::new(most);
        loop {
            match length {
                Length::Bytes(length) if self.input.len() >= length => {
                    return Ok(Ok(self.input.split_to(length).freeze()));
                }
                Length::Bytes(_) => {}
                Length::Chunks => match chunks.take(&mut self.input) {
                    Ok(Some(body)) => return Ok(Ok(body)),
                    Ok(None) => {}
                    Err(framing::BadChunk::TooLarge) => return too_large(),
                    Err(framing::BadChunk::Malformed) => {
                        let message = "The request's body is not in well-formed chunks.";
                        return Ok(Err(ApiError::new("IncompleteBody", 400, message)));
                    }
                },
            }
            match self.read(deadline).await? {
                Came::Bytes | Came::Closing => {}
                Came::Nothing => {
                    let message = "The request's body ended too early.";
                    return Ok(Err(ApiError::new("IncompleteBody", 400, message)));
                }
                Came::Late => {
                    let message = "The request's body did not arrive in time.";
                    return Ok(Err(ApiError::new("RequestTimeout", 408, message)));
                }
            }
        }
    }

    /// Waits for more of the input.
    async fn read(&mut self, deadline: Instant) -> io::Result<Came> {
        self.input.reserve(BUFFER / 2);
        if self.sleep.deadline() > deadline {
            self.sleep.as_mut().reset(deadline);
        }
        loop {
            tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.input) => {
                    return Ok(if read? == 0 { Came::Nothing } else { Came::Bytes });
                }
                () = &mut self.closing, if !self.is_closing => {
                    self.is_closing = true;
                    return Ok(Came::Closing);
                }
                () = &mut self.sleep => {
                    if Instant::now() >= deadline {
                        return Ok(Came::Late);
                    }
                    self.sleep.as_mut().reset(deadline);
                }
            }
        }
    }

    async fn answer(
        &mut self,
        gateway: &Gateway,
        answer: Answer,
        only_head: bool,
        then: Then,
    ) -> io::Result<Then> {
        self.write_date(gateway.cloud.clock.now().as_secs());
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let head = &mut self.head;
        head.clear();
        head.push_str("HTTP/1.1 ");
        head.extend([status.as_str(), " ", status.canonical_reason().unwrap_or_default()]);
        head.extend(["\r\ncontent-type: ", answer.content_type]);
        if let Some(id) = &answer.request_id {
            head.extend(["\r\nx-amzn-requestid: ", id, "\r\nx-amz-request-id: ", id]);
        }
        for (name, value) in &answer.headers {
            head.extend(["\r\n", name, ": ", value]);
        }
        // Writing to a string cannot fail.
        if status != StatusCode::NO_CONTENT {
            let _ = write!(head, "\r\ncontent-length: {}", answer.body.len());
        }
        head.extend(["\r\ndate: ", &self.date.1]);
        let closes = then != Then::Next || self.is_closing;
        head.push_str(if closes { "\r\nconnection: close\r\n\r\n" } else { "\r\n\r\n" });
        let parts = if only_head { Vec::new() } else { answer.body.into_parts() };
        let mut pieces = Vec::with_capacity(parts.len().min(PIECES - 1) + 1);
        pieces.push(IoSlice::new(self.head.as_bytes()));
        for part in &parts {
            if pieces.len() == PIECES {
                write_all(self.stream, &mut pieces).await?;
                pieces.clear();
            }
            pieces.push(IoSlice::new(part));
        }
        write_all(self.stream, &mut pieces).await?;
        self.stream.flush().await?;
        Ok(then)
    }

    /// An answer to what is no request at all.
    async fn answer_plainly(&mut self, status: StatusCode) -> io::Result<()> {
        let reason = status.canonical_reason().unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            status.as_str()
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.flush().await
    }

    fn write_date(&mut self, now: i64) {
        if self.date.0 != now {
            let since = Duration::from_secs(u64::try_from(now).unwrap_or_default());
            self.date = (now, httpdate::fmt_http_date(UNIX_EPOCH + since));
        }
    }

    /// A socket that closes while something of it is unread resets the connection, and the client may never see what it
    /// was answered.
    async fn linger(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let deadline = Instant::now() + LINGER;
        loop {
            self.input.clear();
            match self.read(deadline).await? {
                Came::Bytes | Came::Closing => {}
                Came::Nothing | Came::Late => return Ok(()),
            }
        }
    }
}

async fn write_all<S: AsyncWrite + Unpin>(stream: &mut S, pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    let mut rest = pieces;
    while !rest.is_empty() {
        let written = stream.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}
