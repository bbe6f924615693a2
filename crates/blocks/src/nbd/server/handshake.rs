//! From the greeting to the choice of an export.

use super::{ALLOCATION, Agreed, Export, Exports};
use crate::BLOCK_SIZE;
use crate::nbd::proto::*;
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// The longest option: a name and some queries.
const LONGEST: usize = 16 << 10;
/// The number under which block status is told.
pub const ALLOCATION_ID: u32 = 1;
/// Exports that a client is told of.
const LISTED: usize = 10_000;

const FLAGS: u16 = HAS_FLAGS | READ_ONLY | SEND_FLUSH | SEND_CACHE | CAN_MULTI_CONN;

/// `None`: the client has ended it.
pub async fn run(stream: &mut UnixStream, exports: &Arc<dyn Exports>) -> Result<Option<Agreed>> {
    let mut greeting = Vec::with_capacity(18);
    greeting.extend_from_slice(&NBDMAGIC.to_be_bytes());
    greeting.extend_from_slice(&IHAVEOPT.to_be_bytes());
    greeting.extend_from_slice(&(FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes());
    stream.write_all(&greeting).await?;
    let flags = stream.read_u32().await?;
    if flags & !u32::from(FIXED_NEWSTYLE | NO_ZEROES) != 0 {
        return Err(wrong("unknown flags of the client"));
    }
    let mut structured = false;
    // The export whose status was asked for.
    let mut status_of: Option<String> = None;
    loop {
        if stream.read_u64().await? != IHAVEOPT {
            return Err(wrong("no option where one was due"));
        }
        let (option, length) = (stream.read_u32().await?, stream.read_u32().await? as usize);
        if length > LONGEST {
            if option == OPT_EXPORT_NAME {
                return Err(wrong("a name that is too long"));
            }
            skip(stream, length).await?;
            reply(stream, option, REP_ERR_TOO_BIG, b"too long").await?;
            continue;
        }
        let mut data = vec![0; length];
        stream.read_exact(&mut data).await?;
        match option {
            OPT_EXPORT_NAME => {
                let name = std::str::from_utf8(&data).map_err(|_| wrong("a name that is no text"))?;
                // The protocol knows no other answer to a name that is unknown.
                let export = open(exports, name).await.ok_or_else(|| wrong("an unknown export"))?;
                let mut answer = export.size().to_be_bytes().to_vec();
                answer.extend_from_slice(&FLAGS.to_be_bytes());
                if flags & u32::from(NO_ZEROES) == 0 {
                    answer.extend_from_slice(&[0; 124]);
                }
                stream.write_all(&answer).await?;
                return Ok(Some(agreed(name, export, structured, status_of.as_deref())));
            }
            OPT_ABORT => {
                // The client need not wait for the answer.
                let _ = reply(stream, option, REP_ACK, b"").await;
                return Ok(None);
            }
            OPT_LIST if data.is_empty() => list(stream, exports).await?,
            OPT_INFO | OPT_GO => {
                let Some((name, block_size)) = parse_go(&data) else {
                    reply(stream, option, REP_ERR_INVALID, b"malformed").await?;
                    continue;
                };
                let Some(export) = open(exports, name).await else {
                    reply(stream, option, REP_ERR_UNKNOWN, b"there is no such export").await?;
                    continue;
                };
                let mut info = INFO_EXPORT.to_be_bytes().to_vec();
                info.extend_from_slice(&export.size().to_be_bytes());
                info.extend_from_slice(&FLAGS.to_be_bytes());
                reply(stream, option, REP_INFO, &info).await?;
                if block_size {
                    let mut info = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
                    for size in [1, BLOCK_SIZE as u32, MAX_PAYLOAD] {
                        info.extend_from_slice(&size.to_be_bytes());
                    }
                    reply(stream, option, REP_INFO, &info).await?;
                }
                reply(stream, option, REP_ACK, b"").await?;
                if option == OPT_GO {
                    return Ok(Some(agreed(name, export, structured, status_of.as_deref())));
                }
            }
            OPT_STRUCTURED_REPLY if data.is_empty() => {
                structured = true;
                reply(stream, option, REP_ACK, b"").await?;
            }
            OPT_LIST_META_CONTEXT | OPT_SET_META_CONTEXT => {
                let Some((name, queries)) = parse_contexts(&data).filter(|_| structured) else {
                    reply(stream, option, REP_ERR_INVALID, b"malformed, or no structured replies").await?;
                    continue;
                };
                if open(exports, name).await.is_none() {
                    reply(stream, option, REP_ERR_UNKNOWN, b"there is no such export").await?;
                    continue;
                }
                let listing = option == OPT_LIST_META_CONTEXT;
                let all = listing && (queries.is_empty() || queries.contains(&"base:"));
                let chosen = all || queries.contains(&ALLOCATION);
                if !listing {
                    status_of = chosen.then(|| name.to_owned());
                }
                if chosen {
                    let id = if listing { 0 } else { ALLOCATION_ID };
                    let mut context = id.to_be_bytes().to_vec();
                    context.extend_from_slice(ALLOCATION.as_bytes());
                    reply(stream, option, REP_META_CONTEXT, &context).await?;
                }
                reply(stream, option, REP_ACK, b"").await?;
            }
            OPT_LIST | OPT_STRUCTURED_REPLY => {
                reply(stream, option, REP_ERR_INVALID, b"takes no data").await?;
            }
            _ => reply(stream, option, REP_ERR_UNSUP, b"").await?,
        }
    }
}

fn agreed(name: &str, export: Arc<dyn Export>, structured: bool, status_of: Option<&str>) -> Agreed {
    Agreed { name: name.to_owned(), export, structured, status: status_of == Some(name) }
}

fn wrong(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

async fn open(exports: &Arc<dyn Exports>, name: &str) -> Option<Arc<dyn Export>> {
    let (exports, name) = (Arc::clone(exports), name.to_owned());
    tokio::task::spawn_blocking(move || exports.open(&name)).await.ok().flatten()
}

async fn list(stream: &mut UnixStream, exports: &Arc<dyn Exports>) -> Result<()> {
    let exports = Arc::clone(exports);
    let names = tokio::task::spawn_blocking(move || exports.names()).await.unwrap_or_default();
    for name in names.into_iter().take(LISTED) {
        let mut data = (name.len() as u32).to_be_bytes().to_vec();
        data.extend_from_slice(name.as_bytes());
        reply(stream, OPT_LIST, REP_SERVER, &data).await?;
    }
    reply(stream, OPT_LIST, REP_ACK, b"").await
}

async fn reply(stream: &mut UnixStream, option: u32, kind: u32, data: &[u8]) -> Result<()> {
    let mut message = Vec::with_capacity(20 + data.len());
    message.extend_from_slice(&OPTION_REPLY.to_be_bytes());
    for number in [option, kind, data.len() as u32] {
        message.extend_from_slice(&number.to_be_bytes());
    }
    message.extend_from_slice(data);
    stream.write_all(&message).await
}

async fn skip(stream: &mut UnixStream, length: usize) -> Result<()> {
    let mut rest = stream.take(length as u64);
    if tokio::io::copy(&mut rest, &mut tokio::io::sink()).await? < length as u64 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// The export's name, and whether its block size is asked for.
fn parse_go(data: &[u8]) -> Option<(&str, bool)> {
    let mut fields = Fields(data);
    let name = fields.text()?;
    let count = fields.u16()?;
    let mut block_size = false;
    for _ in 0..count {
        block_size |= fields.u16()? == INFO_BLOCK_SIZE;
    }
    fields.0.is_empty().then_some((name, block_size))
}

fn parse_contexts(data: &[u8]) -> Option<(&str, Vec<&str>)> {
    let mut fields = Fields(data);
    let name = fields.text()?;
    let count = fields.u32()?;
    let mut queries = Vec::new();
    for _ in 0..count {
        queries.push(fields.text()?);
    }
    fields.0.is_empty().then_some((name, queries))
}
