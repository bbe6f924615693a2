//! Answering requests. Several are in flight; their answers come as they are ready.

use super::handshake::ALLOCATION_ID;
use super::{Agreed, Limits};
use crate::nbd::proto::*;
use crate::snapshot::Piece;
use bytes::Bytes;
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

/// Extents that one answer tells.
const EXTENTS: usize = 1024;
/// The longest extent that fits its field, in whole blocks.
const LONGEST: u64 = (u32::MAX as u64 + 1) - (1 << 20);

struct Connection {
    agreed: Agreed,
    limits: Limits,
    /// Whoever answers holds it for a whole message.
    writer: Mutex<OwnedWriteHalf>,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    flags: u16,
    command: u16,
    cookie: u64,
    offset: u64,
    length: u32,
}

impl Request {
    fn parse(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        let mut fields = Fields(bytes);
        (fields.u32()? == REQUEST).then_some(())?;
        Some(Self {
            flags: fields.u16()?,
            command: fields.u16()?,
            cookie: fields.u64()?,
            offset: fields.u64()?,
            length: fields.u32()?,
        })
    }
}

pub async fn run(stream: UnixStream, agreed: Agreed, limits: Limits) -> Result<()> {
    let (mut reader, writer) = stream.into_split();
    let connection = Arc::new(Connection { agreed, limits, writer: Mutex::new(writer) });
    let places = Arc::new(Semaphore::new(limits.requests));
    let mut answers = JoinSet::new();
    let mut bytes = [0; REQUEST_BYTES];
    loop {
        tokio::select! {
            biased;
            // An answer that could not be given ends the connection.
            Some(answered) = answers.join_next() => {
                answered.unwrap_or_else(|e| Err(Error::other(e)))?;
                continue;
            }
            read = reader.read_exact(&mut bytes[..1]) => match read {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(e) => return Err(e),
            },
        }
        timeout(limits.answer, reader.read_exact(&mut bytes[1..])).await??;
        let request = Request::parse(&bytes).ok_or(ErrorKind::InvalidData)?;
        match request.command {
            CMD_DISC => break,
            CMD_WRITE => {
                // What it carries has to be taken off the wire, and is thrown away.
                if request.length > MAX_PAYLOAD {
                    return Err(ErrorKind::InvalidData.into());
                }
                let mut rest = (&mut reader).take(u64::from(request.length));
                let mut nowhere = tokio::io::sink();
                let taken = tokio::io::copy(&mut rest, &mut nowhere);
                if timeout(limits.answer, taken).await?? < u64::from(request.length) {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            _ => {}
        }
        let place = Arc::clone(&places).acquire_owned().await.map_err(Error::other)?;
        let connection = Arc::clone(&connection);
        answers.spawn(async move {
            let answered = connection.answer(request).await;
            drop(place);
            answered
        });
    }
    // Requests from before the farewell are answered.
    while let Some(answered) = answers.join_next().await {
        answered.unwrap_or_else(|e| Err(Error::other(e)))?;
    }
    Ok(())
}

impl Connection {
    async fn answer(&self, request: Request) -> Result<()> {
        let size = self.agreed.export.size();
        let within = request.offset.checked_add(u64::from(request.length)).is_some_and(|end| end <= size);
        match request.command {
            CMD_FLUSH => self.done(request).await,
            CMD_WRITE | CMD_TRIM | CMD_WRITE_ZEROES => self.fail(request, EPERM, "it is read-only").await,
            CMD_READ | CMD_CACHE | CMD_BLOCK_STATUS if !within || request.length == 0 => {
                self.fail(request, EINVAL, "not within the disk").await
            }
            CMD_READ if request.flags != 0 || request.length > MAX_PAYLOAD => {
                self.fail(request, EINVAL, "no such read").await
            }
            CMD_READ if self.agreed.structured => self.read(request).await,
            CMD_READ => self.read_simple(request).await,
            CMD_CACHE => self.cache(request).await,
            CMD_BLOCK_STATUS if self.agreed.status => self.status(request).await,
            _ => self.fail(request, EINVAL, "no such command").await,
        }
    }

    /// The next bytes, or the complaint.
    async fn piece(&self, offset: u64, most: u64) -> std::result::Result<Piece, String> {
        let export = Arc::clone(&self.agreed.export);
        match spawn_blocking(move || export.piece(offset, most)).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => {
                tracing::error!(export = self.agreed.name, offset, %error, "a read fails");
                Err(error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn read(&self, request: Request) -> Result<()> {
        let (mut at, end) = (request.offset, request.offset + u64::from(request.length));
        while at < end {
            let piece = match self.piece(at, end - at).await {
                Ok(piece) => piece,
                Err(complaint) => return self.fail(request, EIO, &complaint).await,
            };
            let mut told = at.to_be_bytes().to_vec();
            match piece {
                Piece::Data(bytes) => {
                    at += bytes.len() as u64;
                    self.chunk(request, CHUNK_DATA, at == end, &told, bytes).await?;
                }
                Piece::Zero(length) => {
                    at += length;
                    told.extend_from_slice(&(length as u32).to_be_bytes());
                    self.chunk(request, CHUNK_HOLE, at == end, &told, Bytes::new()).await?;
                }
            }
        }
        Ok(())
    }

    /// For clients without structured replies. Such an answer cannot tell of damage once it has begun, so then the connection
    /// ends.
    async fn read_simple(&self, request: Request) -> Result<()> {
        const ZEROS: &[u8] = &[0; 64 << 10];
        let (mut at, end) = (request.offset, request.offset + u64::from(request.length));
        let mut piece = match self.piece(at, end - at).await {
            Ok(piece) => piece,
            Err(complaint) => return self.fail(request, EIO, &complaint).await,
        };
        let mut writer = self.writer.lock().await;
        let mut head = simple(request, 0);
        loop {
            let send = async {
                writer.write_all(&head).await?;
                match &piece {
                    Piece::Data(bytes) => writer.write_all(bytes).await.map(|()| bytes.len() as u64),
                    Piece::Zero(length) => {
                        let mut left = *length;
                        while left > 0 {
                            let now = left.min(ZEROS.len() as u64);
                            writer.write_all(&ZEROS[..now as usize]).await?;
                            left -= now;
                        }
                        Ok(*length)
                    }
                }
            };
            at += timeout(self.limits.answer, send).await??;
            if at >= end {
                return Ok(());
            }
            head = Vec::new();
            piece = self.piece(at, end - at).await.map_err(Error::other)?;
        }
    }

    /// Reads what will be asked for soon.
    async fn cache(&self, request: Request) -> Result<()> {
        let (mut at, end) = (request.offset, request.offset + u64::from(request.length.min(MAX_PAYLOAD)));
        while at < end {
            match self.piece(at, end - at).await {
                Ok(Piece::Data(bytes)) => at += bytes.len() as u64,
                Ok(Piece::Zero(length)) => at += length,
                Err(complaint) => return self.fail(request, EIO, &complaint).await,
            }
        }
        self.done(request).await
    }

    async fn status(&self, request: Request) -> Result<()> {
        let export = Arc::clone(&self.agreed.export);
        let range = request.offset..request.offset + u64::from(request.length);
        let most = if request.flags & REQ_ONE == 0 { EXTENTS } else { 1 };
        let extents = match spawn_blocking(move || export.extents(range, most)).await {
            Ok(Ok(extents)) => extents,
            Ok(Err(error)) => return self.fail(request, EIO, &error.to_string()).await,
            Err(error) => return self.fail(request, EIO, &error.to_string()).await,
        };
        let mut told = ALLOCATION_ID.to_be_bytes().to_vec();
        for extent in extents {
            let flags = if extent.data { 0 } else { HOLE | ZERO };
            told.extend_from_slice(&(extent.length.min(LONGEST) as u32).to_be_bytes());
            told.extend_from_slice(&flags.to_be_bytes());
            if extent.length > LONGEST {
                break;
            }
        }
        self.chunk(request, CHUNK_STATUS, true, &told, Bytes::new()).await
    }

    async fn done(&self, request: Request) -> Result<()> {
        if self.agreed.structured {
            return self.chunk(request, CHUNK_NONE, true, &[], Bytes::new()).await;
        }
        self.send(&simple(request, 0), Bytes::new()).await
    }

    async fn fail(&self, request: Request, error: u32, complaint: &str) -> Result<()> {
        if !self.agreed.structured {
            return self.send(&simple(request, error), Bytes::new()).await;
        }
        let complaint = &complaint.as_bytes()[..complaint.len().min(MAX_NAME)];
        let mut told = error.to_be_bytes().to_vec();
        told.extend_from_slice(&(complaint.len() as u16).to_be_bytes());
        told.extend_from_slice(complaint);
        self.chunk(request, CHUNK_ERROR, true, &told, Bytes::new()).await
    }

    async fn chunk(&self, request: Request, kind: u16, last: bool, told: &[u8], data: Bytes) -> Result<()> {
        let mut head = Vec::with_capacity(20 + told.len());
        head.extend_from_slice(&STRUCTURED_REPLY.to_be_bytes());
        head.extend_from_slice(&if last { CHUNK_DONE } else { 0 }.to_be_bytes());
        head.extend_from_slice(&kind.to_be_bytes());
        head.extend_from_slice(&request.cookie.to_be_bytes());
        head.extend_from_slice(&((told.len() + data.len()) as u32).to_be_bytes());
        head.extend_from_slice(told);
        self.send(&head, data).await
    }

    async fn send(&self, head: &[u8], data: Bytes) -> Result<()> {
        let mut writer = self.writer.lock().await;
        let written = async {
            writer.write_all(head).await?;
            writer.write_all(&data).await
        };
        timeout(self.limits.answer, written).await?
    }
}

fn simple(request: Request, error: u32) -> Vec<u8> {
    let mut head = SIMPLE_REPLY.to_be_bytes().to_vec();
    head.extend_from_slice(&error.to_be_bytes());
    head.extend_from_slice(&request.cookie.to_be_bytes());
    head
}
