//! Connections to VPC endpoints, as the host's agent hands them over: the socket itself, by a Unix socket that nobody else
//! may open, and how it came. So the server speaks to the guest's own connection, and knows where it comes from by the
//! agent's word alone.

use anyhow::{Context as _, Result};
use gateway::Handed;
use model::host::Arrival;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs::Permissions;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;

/// How long the agent may take to tell of one.
const PATIENCE: Duration = Duration::from_secs(15);
/// What it tells is no longer, in bytes.
const LARGEST: u64 = 4096;
/// Connections that wait for a place.
const WAITING: usize = 64;

/// Takes what is handed over at this path, for as long as somebody receives it. Must be called within a runtime.
pub fn listen(path: &Path) -> Result<mpsc::Receiver<Handed>> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
        .with_context(|| format!("cannot close {} to others", path.display()))?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        while !sender.is_closed() {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let sender = sender.clone();
            tokio::spawn(async move {
                match tokio::time::timeout(PATIENCE, take(stream)).await {
                    Ok(Ok(handed)) => drop(sender.send(handed).await),
                    Ok(Err(error)) => tracing::warn!(%error, "what was handed over is no connection"),
                    Err(_) => tracing::warn!("a connection was not handed over in time"),
                }
            });
        }
    });
    Ok(receiver)
}

async fn take(mut stream: UnixStream) -> io::Result<Handed> {
    let (socket, mut text) = stream.async_io(Interest::READABLE, || receive(&stream)).await?;
    (&mut stream).take(LARGEST).read_to_end(&mut text).await?;
    let arrival: Arrival = serde_json::from_slice(&text)?;
    let socket = std::net::TcpStream::from(socket);
    socket.set_nonblocking(true)?;
    Ok(Handed { stream: TcpStream::from_std(socket)?, arrival })
}

/// The socket, and the first of what is told of it.
fn receive(stream: &UnixStream) -> io::Result<(OwnedFd, Vec<u8>)> {
    let mut text = vec![0; LARGEST as usize];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut text)];
    let received = recvmsg(stream, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let sockets = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let socket = sockets.flatten().next();
    text.truncate(received.bytes);
    let socket = socket.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no socket came along"))?;
    Ok((socket, text))
}
