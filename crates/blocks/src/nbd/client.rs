//! The client: reads a disk that QEMU, `qemu-nbd` or our own server exports. It blocks.
//!
//! The other side may be a QEMU that its guest has taken over: what it says is bounded and checked. Structured replies are
//! required, which all three have.

use super::proto::*;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

type Result<T> = std::result::Result<T, ClientError>;

/// The server may be slow, not silent.
const PATIENCE: Duration = Duration::from_mins(2);
/// Requests in flight.
const DEPTH: usize = 4;
/// The most that one message may hold beside data: extents of a block status.
const LONGEST: u32 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the server does not keep to the protocol: {0}")]
    Protocol(&'static str),
    #[error("the server refuses the export \"{export}\": {message}")]
    Refused { export: String, message: String },
    #[error("the server has no \"{0}\"")]
    NoContext(String),
    #[error("reading at {offset} failed with error {code}: {message}")]
    Read { offset: u64, code: u32, message: String },
}

/// A connection to one export.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    size: u64,
    /// Numbers of the metadata contexts, by name.
    contexts: BTreeMap<String, u32>,
    next: u64,
}

struct Chunk {
    last: bool,
    kind: u16,
    cookie: u64,
    length: u32,
}

impl Client {
    /// Connects and chooses the export, with those of the metadata contexts that the server has.
    pub fn connect(socket: &Path, export: &str, contexts: &[&str]) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Self { stream, size: 0, contexts: BTreeMap::new(), next: 1 };
        if client.u64()? != NBDMAGIC || client.u64()? != IHAVEOPT {
            return Err(ClientError::Protocol("no newstyle greeting"));
        }
        let flags = client.u16()?;
        if flags & FIXED_NEWSTYLE == 0 {
            return Err(ClientError::Protocol("no fixed newstyle"));
        }
        client.stream.write_all(&u32::from(flags & (FIXED_NEWSTYLE | NO_ZEROES)).to_be_bytes())?;
        client.option(OPT_STRUCTURED_REPLY, &[])?;
        client.replies(OPT_STRUCTURED_REPLY, export, |_, _, _| Ok(()))?;
        if !contexts.is_empty() {
            let mut data = text(export);
            data.extend_from_slice(&(contexts.len() as u32).to_be_bytes());
            for context in contexts {
                data.extend_from_slice(&text(context));
            }
            client.option(OPT_SET_META_CONTEXT, &data)?;
            client.replies(OPT_SET_META_CONTEXT, export, |client, kind, data| {
                if kind == REP_META_CONTEXT {
                    let mut fields = Fields(data);
                    let id = fields.u32().ok_or(ClientError::Protocol("a context without a number"))?;
                    client.contexts.insert(String::from_utf8_lossy(fields.0).into_owned(), id);
                }
                Ok(())
            })?;
        }
        let mut data = text(export);
        data.extend_from_slice(&0_u16.to_be_bytes());
        client.option(OPT_GO, &data)?;
        client.replies(OPT_GO, export, |client, kind, data| {
            let mut fields = Fields(data);
            if kind == REP_INFO && fields.u16() == Some(INFO_EXPORT) {
                client.size = fields.u64().ok_or(ClientError::Protocol("an export without a size"))?;
            }
            Ok(())
        })?;
        Ok(client)
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn has(&self, context: &str) -> bool {
        self.contexts.contains_key(context)
    }

    /// Lengths and flags of the extents from `offset` on, in order: one at least, and no more than `length` bytes in sum.
    pub fn status(&mut self, context: &str, offset: u64, length: u32) -> Result<Vec<(u32, u32)>> {
        let id = *self.contexts.get(context).ok_or_else(|| ClientError::NoContext(context.to_owned()))?;
        let cookie = self.request(CMD_BLOCK_STATUS, offset, length)?;
        let mut extents = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.cookie != cookie {
                return Err(ClientError::Protocol("an answer that nobody asked for"));
            }
            let data = self.rest(&chunk, offset)?;
            let mut fields = Fields(&data);
            if chunk.kind == CHUNK_STATUS && fields.u32() == Some(id) {
                let mut left = length;
                while let (Some(extent), Some(flags)) = (fields.u32(), fields.u32()) {
                    // The last may reach further than was asked.
                    let extent = extent.min(left);
                    if extent == 0 {
                        break;
                    }
                    left -= extent;
                    extents.push((extent, flags));
                }
            }
            if chunk.last {
                break;
            }
        }
        if extents.is_empty() {
            return Err(ClientError::Protocol("a status without extents"));
        }
        Ok(extents)
    }

    pub fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<()> {
        let range = (offset, into.len() as u32);
        self.read_each(std::iter::once(Ok(range)), |_, bytes| {
            into.copy_from_slice(&bytes);
            Ok(true)
        })
    }

    /// Reads ranges of at most 32 MiB, several in flight; they come in any order. `each` answers whether to go on.
    pub fn read_each<E: From<ClientError>>(
        &mut self,
        ranges: impl IntoIterator<Item = std::result::Result<(u64, u32), E>>,
        mut each: impl FnMut(u64, Vec<u8>) -> std::result::Result<bool, E>,
    ) -> std::result::Result<(), E> {
        let mut ranges = ranges.into_iter();
        let mut waiting: HashMap<u64, (u64, Vec<u8>, usize)> = HashMap::new();
        let mut more = true;
        loop {
            while more && waiting.len() < DEPTH {
                let Some(range) = ranges.next() else {
                    more = false;
                    break;
                };
                let (offset, length) = range?;
                let cookie = self.request(CMD_READ, offset, length)?;
                waiting.insert(cookie, (offset, vec![0; length as usize], 0));
            }
            if waiting.is_empty() {
                return Ok(());
            }
            let chunk = self.chunk()?;
            let (offset, bytes, filled) = waiting
                .get_mut(&chunk.cookie)
                .ok_or(ClientError::Protocol("an answer that nobody asked for"))?;
            match chunk.kind {
                CHUNK_DATA => {
                    let at = self.u64()?;
                    let length = chunk.length.checked_sub(8).ok_or(ClientError::Protocol("short data"))?;
                    let part = part(bytes, *offset, at, length)?;
                    self.stream.read_exact(part).map_err(ClientError::from)?;
                    *filled += length as usize;
                }
                CHUNK_HOLE => {
                    let (at, length) = (self.u64()?, self.u32()?);
                    part(bytes, *offset, at, length)?.fill(0);
                    *filled += length as usize;
                }
                _ => {
                    self.rest(&chunk, *offset)?;
                }
            }
            if !chunk.last {
                continue;
            }
            let Some((offset, bytes, filled)) = waiting.remove(&chunk.cookie) else { continue };
            // Chunks must not overlap, so the sum tells that all has come.
            if filled != bytes.len() {
                return Err(ClientError::Protocol("an answer with gaps").into());
            }
            if !each(offset, bytes)? {
                more = false;
            }
        }
    }

    fn request(&mut self, command: u16, offset: u64, length: u32) -> Result<u64> {
        let cookie = self.next;
        self.next += 1;
        let mut request = REQUEST.to_be_bytes().to_vec();
        request.extend_from_slice(&0_u16.to_be_bytes());
        request.extend_from_slice(&command.to_be_bytes());
        request.extend_from_slice(&cookie.to_be_bytes());
        request.extend_from_slice(&offset.to_be_bytes());
        request.extend_from_slice(&length.to_be_bytes());
        self.stream.write_all(&request)?;
        Ok(cookie)
    }

    fn chunk(&mut self) -> Result<Chunk> {
        if self.u32()? != STRUCTURED_REPLY {
            return Err(ClientError::Protocol("no structured reply"));
        }
        let (flags, kind) = (self.u16()?, self.u16()?);
        Ok(Chunk { last: flags & CHUNK_DONE != 0, kind, cookie: self.u64()?, length: self.u32()? })
    }

    /// The content of a chunk that is no data; an error if it tells of one.
    fn rest(&mut self, chunk: &Chunk, offset: u64) -> Result<Vec<u8>> {
        let data = self.bytes(chunk.length)?;
        if chunk.kind & CHUNK_IS_ERROR == 0 {
            return Ok(data);
        }
        let mut fields = Fields(&data);
        let code = fields.u32().unwrap_or(EIO);
        let length = fields.u16().unwrap_or_default();
        let message = fields.bytes(usize::from(length)).unwrap_or_default();
        Err(ClientError::Read { offset, code, message: String::from_utf8_lossy(message).into_owned() })
    }

    fn option(&mut self, option: u32, data: &[u8]) -> Result<()> {
        let mut message = IHAVEOPT.to_be_bytes().to_vec();
        message.extend_from_slice(&option.to_be_bytes());
        message.extend_from_slice(&(data.len() as u32).to_be_bytes());
        message.extend_from_slice(data);
        Ok(self.stream.write_all(&message)?)
    }

    /// Replies up to the one that ends them.
    fn replies(
        &mut self,
        option: u32,
        export: &str,
        mut each: impl FnMut(&mut Self, u32, &[u8]) -> Result<()>,
    ) -> Result<()> {
        loop {
            if self.u64()? != OPTION_REPLY || self.u32()? != option {
                return Err(ClientError::Protocol("not the reply to the option"));
            }
            let (kind, length) = (self.u32()?, self.u32()?);
            let data = self.bytes(length)?;
            if kind == REP_ACK {
                return Ok(());
            }
            if kind & REP_ERROR != 0 {
                let message = String::from_utf8_lossy(&data).into_owned();
                return Err(ClientError::Refused { export: export.to_owned(), message });
            }
            each(self, kind, &data)?;
        }
    }

    fn bytes(&mut self, length: u32) -> Result<Vec<u8>> {
        if length > LONGEST {
            return Err(ClientError::Protocol("a message that is too long"));
        }
        let mut bytes = vec![0; length as usize];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u16(&mut self) -> Result<u16> {
        let mut bytes = [0; 2];
        self.stream.read_exact(&mut bytes)?;
        Ok(u16::from_be_bytes(bytes))
    }

    fn u32(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.stream.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.stream.read_exact(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.request(CMD_DISC, 0, 0);
    }
}

/// The part of an answer that a chunk holds.
fn part(bytes: &mut [u8], offset: u64, at: u64, length: u32) -> Result<&mut [u8]> {
    let from = at.checked_sub(offset).and_then(|from| usize::try_from(from).ok());
    let part = from.and_then(|from| bytes.get_mut(from..from.checked_add(length as usize)?));
    part.ok_or(ClientError::Protocol("data that nobody asked for"))
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
