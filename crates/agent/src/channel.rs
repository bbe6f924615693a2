//! The agent's end of the channel to the control plane: a Unix socket that only its owner may open.
//!
//! One connection counts at a time, and the newest wins: a server that has restarted need not wait for its predecessor's
//! connection to die. On each connection the agent says who it is, then what it has observed of every object, then news.

use crate::agent::AgentHandle;
use model::host::frame::{self, FrameError};
use model::host::{FromAgent, ToAgent};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Replies under way; a server that reads none of them is not served further.
const REPLIES: usize = 64;
/// Wishes that are stored in one go.
const BATCH: usize = 256;

/// A bound socket. It is listening once this exists.
pub struct Channel {
    listener: UnixListener,
    handle: AgentHandle,
}

/// Binds the socket at `path`, in place of one that an earlier agent left.
pub fn listen(path: &Path, handle: AgentHandle) -> io::Result<Channel> {
    // Bound beside its place and moved there with its permissions set: nobody sees it open to others.
    let beside = path.with_extension("new");
    for old in [&beside, path] {
        match std::fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let listener = UnixListener::bind(&beside)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&beside, path)?;
    Ok(Channel { listener, handle })
}

impl Channel {
    /// Serves until dropped.
    pub async fn serve(self) {
        let mut newest = JoinSet::new();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    newest.shutdown().await;
                    let handle = self.handle.clone();
                    newest.spawn(async move {
                        if let Err(error) = converse(stream, handle).await {
                            tracing::warn!("the connection to the server ended: {error}");
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: let others close some.
                    tracing::error!("the channel's socket: {error}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

async fn converse(stream: UnixStream, handle: AgentHandle) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    send(&mut writer, &FromAgent::Hello(handle.hello())).await?;
    let (replies, mut replied) = mpsc::channel(REPLIES);
    let hearing = hear(reader, handle.clone(), replies);
    let telling = async {
        let mut observations = handle.subscribe();
        loop {
            let message = tokio::select! {
                observed = observations.next() => match observed {
                    Some(observed) => FromAgent::Observed(observed),
                    None => return Ok(()),
                },
                Some(reply) = replied.recv() => reply,
            };
            send(&mut writer, &message).await?;
        }
    };
    tokio::select! {
        ended = hearing => ended,
        ended = telling => ended,
    }
}

async fn hear(
    mut reader: OwnedReadHalf,
    handle: AgentHandle,
    replies: mpsc::Sender<FromAgent>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut answering = JoinSet::new();
    loop {
        let mut wishes = Vec::new();
        while let Some(message) = frame::decode(&mut buffer).map_err(invalid)? {
            match message {
                ToAgent::Set { object } => {
                    wishes.push(*object);
                    if wishes.len() >= BATCH {
                        handle.set(std::mem::take(&mut wishes)).await?;
                    }
                }
                ToAgent::Sync { objects } => {
                    handle.set(std::mem::take(&mut wishes)).await?;
                    handle.sync(objects).await?;
                }
                ToAgent::Request { id, request } => {
                    while answering.len() >= REPLIES {
                        answering.join_next().await;
                    }
                    let (handle, replies) = (handle.clone(), replies.clone());
                    answering.spawn(async move {
                        let reply = handle.request(request).await;
                        // The connection may have ended meanwhile.
                        let _gone = replies.send(FromAgent::Reply { id, reply }).await;
                    });
                }
            }
        }
        if !wishes.is_empty() {
            handle.set(wishes).await?;
        }
        while answering.try_join_next().is_some() {}
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), message: &FromAgent) -> io::Result<()> {
    let mut buffer = Vec::new();
    frame::encode(message, &mut buffer).map_err(invalid)?;
    writer.write_all(&buffer).await
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
