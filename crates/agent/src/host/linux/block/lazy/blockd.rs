//! `nube blockd`: serves what volumes lack of their snapshots to the machines that have them, by NBD.
//!
//! It needs nobody: what is to be served stands in the records, what it serves in the block store. So cold reads go on while server
//! and agent are dead. Only the keys of encrypted snapshots are told to it, and are kept in memory: after a restart of this process
//! those are served once an agent that has the keys has told them again.
//!
//! Killed at any moment it leaves sockets that refuse; machines wait and ask again, for a day. Each export has a socket of its own in
//! the directory of one machine, open to that machine's user alone; so who asks is known by where.
//! What is read is verified; damage is an I/O error to the guest, and a line in the log.
//! Memory: one cache of 64 MiB, and for each export [`LIMITS`].

use super::control::{LONGEST, Look, Looked, SOCKET, place};
use super::{Door, Record, directory, record, records};
use crate::host::linux::block::shelf;
use crate::host::linux::vmm::private_directory;
use crate::host::{HostError, Result};
use blocks::nbd::{Limits, Server, Shelf};
use blocks::{BlockStore, Place};
use model::{DataKey, SnapshotId, VolumeId};
use parking_lot::Mutex;
use plan::machine::devices::lazy_socket_name;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// A machine has one connection for each export, and a second for a moment when it opens a volume's files anew.
const LIMITS: Limits = Limits {
    connections: 4,
    requests: 8,
    handshake: Duration::from_secs(20),
    answer: Duration::from_mins(2),
};
/// How often the records are looked at though nobody said that they have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

pub struct Blockd {
    volumes: PathBuf,
    snapshots: PathBuf,
    store: BlockStore,
    exports: tokio::sync::Mutex<BTreeMap<VolumeId, Served>>,
    keys: Mutex<BTreeMap<VolumeId, DataKey>>,
}

/// An export that is shown.
struct Served {
    snapshot: SnapshotId,
    door: Door,
    serving: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Blockd {
    /// Opens the block store of these snapshots, for the volumes in a directory.
    pub fn open(volumes: &Path, snapshots: &Path, place: &Place) -> Result<Arc<Self>> {
        let failed = |what: &Path, e: io::Error| {
            HostError::transient(format!("opening {}", what.display())).caused_by(e)
        };
        private_directory(&directory(volumes)).map_err(|e| failed(volumes, e))?;
        private_directory(snapshots).map_err(|e| failed(snapshots, e))?;
        let objects = place.open(snapshots).map_err(|e| failed(snapshots, e.into()))?;
        Ok(Arc::new(Self {
            volumes: volumes.to_owned(),
            snapshots: snapshots.to_owned(),
            store: BlockStore::new(objects),
            exports: tokio::sync::Mutex::default(),
            keys: Mutex::default(),
        }))
    }

    /// Serves until it is dropped.
    pub async fn serve(self: Arc<Self>) -> io::Result<()> {
        let listener = listen(&directory(&self.volumes), SOCKET)?;
        let mut again = tokio::time::interval(LOOK_AGAIN);
        let mut conversations = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        conversations.spawn(Arc::clone(&self).converse(stream));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the agent cannot be heard");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = conversations.join_next(), if !conversations.is_empty() => {}
                _ = again.tick() => self.look_at_all().await,
            }
        }
    }

    async fn converse(self: Arc<Self>, mut stream: UnixStream) {
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = String::new();
            match (&mut reader).take(LONGEST).read_line(&mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let Ok(Look { volume, key }) = serde_json::from_str(&line) else { return };
            if let Some(key) = key {
                self.keys.lock().insert(volume, key);
            }
            let looked = match self.look_at(volume).await {
                Ok(()) => Looked::Done,
                Err(error) => Looked::Failed(error.to_string()),
            };
            let Ok(mut answer) = serde_json::to_vec(&looked) else { return };
            answer.push(b'\n');
            if writer.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    /// Brings every export to what its record says.
    async fn look_at_all(&self) {
        let wanted = match records(&self.volumes) {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, "the records of volumes cannot be read");
                return;
            }
        };
        let served: Vec<VolumeId> = self.exports.lock().await.keys().copied().collect();
        let gone = served.into_iter().filter(|volume| !wanted.iter().any(|(known, _)| known == volume));
        let gone: Vec<VolumeId> = gone.collect();
        let due = wanted.iter().filter(|(volume, record)| {
            record.door.is_some() && (record.sealed.is_none() || self.keys.lock().contains_key(volume))
        });
        for volume in due.map(|(volume, _)| *volume).chain(gone) {
            if let Err(error) = self.look_at(volume).await {
                tracing::warn!(%volume, %error, "what it lacks cannot be served");
            }
        }
    }

    /// Brings one export to what its record says.
    async fn look_at(&self, volume: VolumeId) -> Result<()> {
        let mut exports = self.exports.lock().await;
        let reading = |e: io::Error| HostError::transient(format!("the record of {volume}")).caused_by(e);
        let wanted = record(&self.volumes, volume).map_err(reading)?;
        if wanted.is_none() {
            self.keys.lock().remove(&volume);
        }
        // A machine whose directory is gone asks for nothing.
        let door =
            wanted.as_ref().and_then(|record| record.door.clone()).filter(|door| door.directory.exists());
        let Some((record, door)) = wanted.zip(door) else {
            if let Some(served) = exports.remove(&volume) {
                close(volume, &served.door);
                tracing::info!(%volume, "nobody needs its export any more");
            }
            return Ok(());
        };
        let is_served = |served: &Served| {
            let socket = served.door.directory.join(lazy_socket_name(volume));
            served.snapshot == record.snapshot && served.door == door && socket.exists()
        };
        if exports.get(&volume).is_some_and(is_served) {
            return Ok(());
        }
        if let Some(served) = exports.remove(&volume) {
            close(volume, &served.door);
        }
        let served = self.show(volume, &record, door).await?;
        exports.insert(volume, served);
        tracing::info!(%volume, snapshot = %record.snapshot, "its snapshot is shown to its machine");
        Ok(())
    }

    async fn show(&self, volume: VolumeId, record: &Record, door: Door) -> Result<Served> {
        let key = match record.sealed {
            Some(_) => {
                let key = self.keys.lock().get(&volume).cloned();
                Some(key.ok_or_else(|| HostError::transient(format!("waits for the key of {volume}")))?)
            }
            None => None,
        };
        let (store, path, snapshot) = (self.store.clone(), self.snapshots.clone(), record.snapshot);
        let opening = move || shelf::open_snapshot(&store, &path, snapshot, key.as_ref());
        let opened = tokio::task::spawn_blocking(opening).await;
        let opened = opened.map_err(|e| HostError::transient("this is a bug").caused_by(e))??;
        let failed = |e: io::Error| {
            HostError::transient(format!("a socket in {}", door.directory.display())).caused_by(e)
        };
        let name = lazy_socket_name(volume);
        let listener = listen(&door.directory, &name).map_err(failed)?;
        std::os::unix::fs::chown(door.directory.join(name), Some(door.uid), Some(door.uid))
            .map_err(failed)?;
        let exports = Shelf::default();
        exports.put(volume.to_string(), Arc::new(opened));
        let server = Arc::new(Server::new(Arc::new(exports), LIMITS));
        Ok(Served { snapshot, door, serving: tokio::spawn(server.serve(listener)) })
    }
}

/// Removes the socket of an export that has ended.
fn close(volume: VolumeId, door: &Door) {
    let _ = fs::remove_file(door.directory.join(lazy_socket_name(volume)));
}

/// Listens at a place that an earlier process may have left, and that only the owner may use.
fn listen(directory: &Path, name: &str) -> io::Result<UnixListener> {
    match fs::remove_file(directory.join(name)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let (_held, path) = place(directory, name)?;
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
