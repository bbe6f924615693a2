//! The keys of encrypted snapshots that are served, told to blockd again whenever that is another process.

use super::control::{Line, Look, Looked};
use model::{DataKey, VolumeId};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often a process that is not there is looked for.
const AGAIN: Duration = Duration::from_millis(250);

pub struct Keys {
    volumes: PathBuf,
    known: Mutex<BTreeMap<VolumeId, DataKey>>,
    news: Notify,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    pub fn new(volumes: &Path) -> Self {
        Self { volumes: volumes.to_owned(), known: Mutex::default(), news: Notify::new() }
    }

    pub fn put(&self, volume: VolumeId, key: DataKey) {
        self.known.lock().insert(volume, key);
        self.news.notify_one();
    }

    pub fn forget(&self, volume: VolumeId) {
        self.known.lock().remove(&volume);
    }

    /// Tells them for as long as it is polled.
    pub async fn tell(self: Arc<Self>) {
        loop {
            while self.known.lock().is_empty() {
                self.news.notified().await;
            }
            if let Err(error) = self.tell_one_process().await {
                tracing::debug!(%error, "keys are told again soon");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Tells all, and what comes later, until the process ends.
    async fn tell_one_process(&self) -> io::Result<()> {
        let mut line = Line::open(&self.volumes).await?;
        loop {
            let known = self.known.lock().clone();
            for (volume, key) in known {
                if let Looked::Failed(why) = line.tell(&Look { volume, key: Some(key) }).await? {
                    tracing::warn!(%volume, why, "what it lacks cannot be served");
                }
            }
            tokio::select! {
                () = self.news.notified() => {}
                () = line.ended() => return Ok(()),
            }
        }
    }
}
