//! A connection to a machine's monitor: commands with a time limit, events as nudges, and the process behind it.
//!
//! The kernel tells which process listens (its socket credentials), so no pid is ever written down. A machine has one
//! connection; an agent that restarts makes a new one and finds the machine as it is.

use super::home::MONITOR;
use plan::machine::qmp::{self, Command, Incoming};
use serde_json::Value;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};

/// How long a monitor may take to greet and to answer: long, since emulated machines share few cores.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a command has no answer.
#[derive(Debug)]
pub(super) enum MonitorError {
    /// The process has ended, or is ending.
    Gone,
    /// No answer in time: the state is not known.
    Silent,
    /// The process refused.
    Refused(String),
}

impl std::fmt::Display for MonitorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("the machine's process has ended"),
            Self::Silent => f.write_str("the machine's monitor does not answer"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for MonitorError {}

/// What a connection tells of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// The guest's power or run state changed, or it has let go of a device.
    Changed,
    /// A disk had no room; the guest is paused.
    OutOfSpace,
    /// The process has ended.
    Gone,
}

#[derive(Debug)]
pub(super) struct Monitor {
    pub pid: i32,
    requests: mpsc::UnboundedSender<Request>,
    /// QEMU keeps the descriptors of one message until the next that has some, so these go one after the other.
    passing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Request {
    command: Command,
    descriptors: Vec<OwnedFd>,
    answer: oneshot::Sender<Result<Value, MonitorError>>,
}

impl Monitor {
    /// Connects to the machine whose directory this is; none when no process listens there. `notice` is called from the
    /// connection's task.
    pub async fn connect(
        home: &Path,
        notice: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Result<Option<Self>, MonitorError> {
        let stream = match tokio::time::timeout(PATIENCE, dial(home)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Ok(Err(e)) => return Err(MonitorError::Refused(format!("connecting to the monitor: {e}"))),
            Err(_) => return Err(MonitorError::Silent),
        };
        let pid = stream.peer_cred().ok().and_then(|c| c.pid()).unwrap_or(0);
        let (requests, inbox) = mpsc::unbounded_channel();
        let (greeted, greeting) = oneshot::channel();
        tokio::spawn(async move {
            converse(stream, inbox, greeted, &notice).await;
            notice(Notice::Gone);
        });
        match tokio::time::timeout(PATIENCE, greeting).await {
            Err(_) => return Err(MonitorError::Silent),
            Ok(Err(_)) => return Err(MonitorError::Gone),
            Ok(Ok(())) => {}
        }
        let monitor = Self { pid, requests, passing: tokio::sync::Mutex::default() };
        monitor.execute(Command::Capabilities).await?;
        Ok(Some(monitor))
    }

    pub fn open(&self) -> bool {
        !self.requests.is_closed()
    }

    pub async fn execute(&self, command: Command) -> Result<Value, MonitorError> {
        self.ask(command, Vec::new()).await
    }

    /// The same for a command that takes descriptors ([`Command::GetFd`], [`Command::AddFd`]); the process gets its own copies.
    pub async fn execute_with(
        &self,
        command: Command,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Value, MonitorError> {
        let _one = self.passing.lock().await;
        self.ask(command, descriptors).await
    }

    async fn ask(&self, command: Command, descriptors: Vec<OwnedFd>) -> Result<Value, MonitorError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { command, descriptors, answer }).map_err(|_| MonitorError::Gone)?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Err(_) => Err(MonitorError::Silent),
            Ok(Err(_)) => Err(MonitorError::Gone),
            Ok(Ok(answer)) => answer,
        }
    }

    pub async fn status(&self) -> Result<qmp::Status, MonitorError> {
        let answer = self.execute(Command::QueryStatus).await?;
        qmp::status(&answer).ok_or_else(|| MonitorError::Refused(format!("an unknown status: {answer}")))
    }
}

/// By way of the directory's descriptor, as socket addresses hold 108 bytes.
async fn dial(home: &Path) -> io::Result<UnixStream> {
    let directory = std::fs::File::open(home)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{MONITOR}", directory.as_raw_fd())).await
}

/// The connection's task, until either side closes.
async fn converse(
    stream: UnixStream,
    mut inbox: mpsc::UnboundedReceiver<Request>,
    greeted: oneshot::Sender<()>,
    notice: &(impl Fn(Notice) + Send + Sync),
) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    match lines.next_line().await.ok().flatten().and_then(|l| qmp::parse(&l)) {
        Some(Incoming::Greeting) => {}
        _ => return,
    }
    let _ = greeted.send(());
    let mut waiting: VecDeque<(u64, oneshot::Sender<Result<Value, MonitorError>>)> = VecDeque::new();
    let mut next_id = 0;
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { return };
                match qmp::parse(&line) {
                    Some(Incoming::Return { id, value }) => answer(&mut waiting, id, Ok(value)),
                    Some(Incoming::Error { id, description }) => {
                        let id = id.or(waiting.front().map(|w| w.0));
                        if let Some(id) = id {
                            answer(&mut waiting, id, Err(MonitorError::Refused(description)));
                        }
                    }
                    Some(Incoming::Event { name, data }) => match name.as_str() {
                        "BLOCK_IO_ERROR" => {
                            let full = data.get("nospace").and_then(Value::as_bool) == Some(true);
                            if full { notice(Notice::OutOfSpace) }
                        }
                        "SHUTDOWN" | "RESET" | "STOP" | "RESUME" | "GUEST_PANICKED" | "DEVICE_DELETED" => {
                            notice(Notice::Changed);
                        }
                        _ => {}
                    },
                    Some(Incoming::Greeting) => {}
                    None => tracing::warn!(line, "the monitor said something unintelligible"),
                }
            }
            request = inbox.recv() => {
                let Some(Request { command, descriptors, answer }) = request else { return };
                next_id += 1;
                if write_with(&mut write, command.render(next_id).as_bytes(), &descriptors).await.is_err() {
                    return;
                }
                waiting.push_back((next_id, answer));
            }
        }
    }
}

/// Writes a message; its descriptors travel with its first byte.
async fn write_with(write: &mut OwnedWriteHalf, message: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    if descriptors.is_empty() {
        return write.write_all(message).await;
    }
    let sent =
        write.as_ref().async_io(Interest::WRITABLE, || pass(write.as_ref(), message, descriptors)).await?;
    write.write_all(&message[sent..]).await
}

fn pass(socket: &UnixStream, message: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let rights = SendAncillaryMessage::ScmRights(&descriptors);
    let mut space = vec![std::mem::MaybeUninit::uninit(); rights.size()];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(rights) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    Ok(sendmsg(socket, &[io::IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

fn answer(
    waiting: &mut VecDeque<(u64, oneshot::Sender<Result<Value, MonitorError>>)>,
    id: u64,
    result: Result<Value, MonitorError>,
) {
    if let Some(at) = waiting.iter().position(|w| w.0 == id)
        && let Some((_, sender)) = waiting.remove(at)
    {
        // Whoever asked may have stopped waiting.
        let _ = sender.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use std::io::Read;

    #[tokio::test]
    async fn a_descriptor_arrives_with_the_command_that_it_belongs_to() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let (_read, mut write) = ours.into_split();
        write_with(&mut write, b"first\n", &[]).await.unwrap();
        write_with(&mut write, b"second\n", &[writer.into()]).await.unwrap();

        let theirs = theirs.into_std().unwrap();
        theirs.set_nonblocking(false).unwrap();
        let (mut text, mut got) = (Vec::new(), Vec::new());
        while text != b"first\nsecond\n" {
            let mut bytes = [0; 64];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received =
                recvmsg(&theirs, &mut [io::IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::empty());
            text.extend_from_slice(&bytes[..received.unwrap().bytes]);
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    got.extend(descriptors);
                }
            }
        }
        let mut passed = std::fs::File::from(got.pop().unwrap());
        std::io::Write::write_all(&mut passed, b"here").unwrap();
        drop(passed);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "here");
    }
}
