//! How the agent tells `nube blockd` that a record has changed: one JSON line there, one back, as often as it likes.
//!
//! The records say what is to be served; only what no disk may hold comes this way, the keys of encrypted snapshots. A connection
//! that stays open tells by its end that the process is another one, which has to be told anew.

use super::directory;
use crate::host::{HostError, Result};
use model::{DataKey, VolumeId};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

pub const SOCKET: &str = "control.sock";
/// The longest line.
pub const LONGEST: u64 = 4096;
/// How long an export may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);

/// A record is to be looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Look {
    pub volume: VolumeId,
    /// The key of its snapshot; none: it has none, or nothing new is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<DataKey>,
}

/// What became of it: the export is there if its record wants one, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Looked {
    Done,
    Failed(String),
}

/// A socket's address by way of its directory, since addresses hold 108 bytes. The directory stays open for as long as it is used.
pub fn place(directory: &Path, name: &str) -> io::Result<(std::fs::File, PathBuf)> {
    let open = std::fs::File::open(directory)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", open.as_raw_fd()));
    Ok((open, path))
}

/// A connection to the process that serves.
pub struct Line(BufReader<UnixStream>);

impl Line {
    pub async fn open(volumes: &Path) -> io::Result<Self> {
        let (_held, path) = place(&directory(volumes), SOCKET)?;
        Ok(Self(BufReader::new(UnixStream::connect(path).await?)))
    }

    pub async fn tell(&mut self, look: &Look) -> io::Result<Looked> {
        let mut line = serde_json::to_vec(look)?;
        line.push(b'\n');
        let exchange = async {
            self.0.get_mut().write_all(&line).await?;
            let mut answer = String::new();
            if self.0.read_line(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            serde_json::from_str(&answer).map_err(io::Error::other)
        };
        timeout(PATIENCE, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Resolves when the process is gone.
    pub async fn ended(&mut self) {
        let mut nothing = String::new();
        let _ = self.0.read_line(&mut nothing).await;
    }
}

pub async fn look(volumes: &Path, look: &Look) -> Result<()> {
    let failed = |e: io::Error| {
        HostError::transient(format!("blockd, which serves what {} lacks, does not answer", look.volume))
            .caused_by(e)
    };
    match Line::open(volumes).await.map_err(failed)?.tell(look).await.map_err(failed)? {
        Looked::Done => Ok(()),
        Looked::Failed(why) => {
            Err(HostError::transient(format!("what {} lacks cannot be served: {why}", look.volume)))
        }
    }
}
