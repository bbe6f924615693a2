//! The agent's own disk: what is desired of the host, and what was done about it.
//!
//! ```text
//! agent/lock            one agent at a time
//! agent/epoch           counts the starts of the agent here
//! agent/synced          exists once the full desired state has been received
//! agent/secret          32 random bytes, for the metadata service's tokens
//! agent/desired/ID.json one desired object each
//! agent/records/ID.json one instance's record each
//! agent/snapshots/ID.json how far each snapshot has come
//! agent/set-aside/      files that could not be read
//! ```
//! A file is written beside its place, flushed, then renamed, so a crash leaves the old one or the new one. What cannot
//! be read is set aside and reported; since an object may then be unknown, nothing that stands is taken for unwanted
//! until the next full desired state.
//!
//! Of a host that ends with its agent ([`Durability::Volatile`]) there are `epoch`, `secret` and `snapshots` alone.
//!
//! A data key is never written: what is read back only knows that there is one. The server's next wishes bring it again.

use model::host::{Desired, DesiredBody, ObjectKey};
use model::{InstanceId, SnapshotId, Timestamp};
use plan::host::{InstanceRecord, SnapshotRecord};
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Whether a write reaches the disk before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives a power failure of the host.
    Flushed,
    /// It survives the agent, not the host: enough for a simulated host that outlives the agent.
    Cached,
    /// What is desired, and what was done for instances, ends with the agent, as the simulated host does that it speaks of: the
    /// server's next wishes are all there is to know, and everything that is meant to run starts again, as after a reboot. What became of
    /// snapshots is remembered as with `Cached`.
    Volatile,
}

/// A desired object as the agent holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub desired: Desired,
    /// The server no longer lists it: once it is removed, nothing needs to remember it.
    pub forgotten: bool,
    /// It has a data key, which is not known here (any more), or is withheld.
    #[serde(default)]
    pub lacks_key: bool,
}

impl Held {
    pub fn new(desired: Desired) -> Self {
        Self { desired, forgotten: false, lacks_key: false }
    }

    /// As it is written to the disk.
    fn without_key(&self) -> Cow<'_, Self> {
        if self.desired.body.as_ref().and_then(DesiredBody::has_data_key) != Some(true) {
            return Cow::Borrowed(self);
        }
        let mut held = Self { lacks_key: true, ..self.clone() };
        held.desired.body.iter_mut().for_each(DesiredBody::drop_data_key);
        Cow::Owned(held)
    }
}

/// What the last life of the agent left.
#[derive(Debug, Default)]
pub struct Loaded {
    pub objects: Vec<Held>,
    pub records: HashMap<InstanceId, InstanceRecord>,
    pub snapshots: HashMap<SnapshotId, SnapshotRecord>,
    /// Files that could not be read, with the reason.
    pub set_aside: Vec<String>,
    /// Whether `objects` is all that is desired of the host.
    pub synced: bool,
    pub epoch: u64,
}

/// The state directory, held by one agent.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    durability: Durability,
    _lock: File,
}

impl Disk {
    /// Takes the directory and counts this start. Fails with `WouldBlock` when another agent has it.
    pub fn open(state_dir: &Path, durability: Durability, now: Timestamp) -> io::Result<(Self, Loaded)> {
        let root = state_dir.join("agent");
        for directory in ["desired", "records", "snapshots", "set-aside"] {
            fs::create_dir_all(root.join(directory))?;
        }
        let lock = File::options().create(true).truncate(false).write(true).open(root.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let disk = Self { root, durability, _lock: lock };
        let loaded = disk.load(now)?;
        disk.write("epoch", loaded.epoch.to_string().as_bytes())?;
        disk.flush_dir(".")?;
        Ok((disk, loaded))
    }

    fn load(&self, now: Timestamp) -> io::Result<Loaded> {
        let mut loaded = Loaded { epoch: self.next_epoch(now)?, ..Loaded::default() };
        for (name, record) in self.read_all::<SnapshotRecord>("snapshots", &mut loaded.set_aside)? {
            match name.strip_suffix(".json").map(SnapshotId::parse) {
                Some(Ok(id)) => {
                    loaded.snapshots.insert(id, record);
                }
                _ => self.set_aside("snapshots", &name, "it names no snapshot", &mut loaded.set_aside)?,
            }
        }
        if self.durability == Durability::Volatile {
            return Ok(loaded);
        }
        loaded.synced = self.root.join("synced").exists();
        let aside = loaded.set_aside.len();
        for (name, held) in self.read_all::<Held>("desired", &mut loaded.set_aside)? {
            if name == file_of(held.desired.key) {
                loaded.objects.push(held);
            } else {
                self.set_aside("desired", &name, "it names another object", &mut loaded.set_aside)?;
            }
        }
        if loaded.set_aside.len() > aside && loaded.synced {
            fs::remove_file(self.root.join("synced"))?;
            loaded.synced = false;
        }
        for (name, record) in self.read_all::<InstanceRecord>("records", &mut loaded.set_aside)? {
            match name.strip_suffix(".json").map(InstanceId::parse) {
                Some(Ok(instance)) => {
                    loaded.records.insert(instance, record);
                }
                Some(Err(_)) | None => {
                    self.set_aside("records", &name, "its name is no instance's", &mut loaded.set_aside)?;
                }
            }
        }
        Ok(loaded)
    }

    fn next_epoch(&self, now: Timestamp) -> io::Result<u64> {
        match fs::read_to_string(self.root.join("epoch")) {
            Ok(text) => Ok(match text.trim().parse::<u64>() {
                Ok(last) => last + 1,
                // It must still grow: seconds since 1970 are more than any count of starts.
                Err(_) => now.as_secs().unsigned_abs(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
            Err(error) => Err(error),
        }
    }

    fn read_all<T: DeserializeOwned>(
        &self,
        directory: &str,
        set_aside: &mut Vec<String>,
    ) -> io::Result<Vec<(String, T)>> {
        let mut read = Vec::new();
        for entry in fs::read_dir(self.root.join(directory))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                fs::remove_file(entry.path())?;
                continue;
            }
            match serde_json::from_slice(&fs::read(entry.path())?) {
                Ok(value) => read.push((name, value)),
                Err(error) => self.set_aside(directory, &name, &error.to_string(), set_aside)?,
            }
        }
        Ok(read)
    }

    fn set_aside(&self, directory: &str, name: &str, why: &str, report: &mut Vec<String>) -> io::Result<()> {
        fs::rename(self.root.join(directory).join(name), self.root.join("set-aside").join(name))?;
        report.push(format!("{directory}/{name} was set aside: {why}"));
        Ok(())
    }

    /// Stores desired objects; all of them are safe when this returns.
    pub fn write_objects(&self, objects: &[Held]) -> io::Result<()> {
        if self.durability == Durability::Volatile {
            return Ok(());
        }
        for held in objects {
            self.write(
                &format!("desired/{}", file_of(held.desired.key)),
                &serde_json::to_vec(&*held.without_key())?,
            )?;
        }
        self.flush_dir("desired")
    }

    pub fn remove_objects(&self, keys: &[ObjectKey]) -> io::Result<()> {
        if self.durability == Durability::Volatile {
            return Ok(());
        }
        for key in keys {
            remove_if_there(&self.root.join("desired").join(file_of(*key)))?;
        }
        self.flush_dir("desired")
    }

    pub fn write_record(&self, instance: InstanceId, record: &InstanceRecord) -> io::Result<()> {
        if self.durability == Durability::Volatile {
            return Ok(());
        }
        self.write(&format!("records/{instance}.json"), &serde_json::to_vec(record)?)?;
        self.flush_dir("records")
    }

    pub fn remove_record(&self, instance: InstanceId) -> io::Result<()> {
        if self.durability == Durability::Volatile {
            return Ok(());
        }
        remove_if_there(&self.root.join("records").join(format!("{instance}.json")))?;
        self.flush_dir("records")
    }

    pub fn write_snapshot(&self, snapshot: SnapshotId, record: &SnapshotRecord) -> io::Result<()> {
        self.write(&format!("snapshots/{snapshot}.json"), &serde_json::to_vec(record)?)?;
        self.flush_dir("snapshots")
    }

    pub fn remove_snapshot(&self, snapshot: SnapshotId) -> io::Result<()> {
        remove_if_there(&self.root.join("snapshots").join(format!("{snapshot}.json")))?;
        self.flush_dir("snapshots")
    }

    /// Notes that the desired objects on disk are all there are.
    pub fn mark_synced(&self) -> io::Result<()> {
        if self.durability == Durability::Volatile {
            return Ok(());
        }
        self.write("synced", b"")?;
        self.flush_dir(".")
    }

    /// The secret of this state directory, made on first use out of `fresh`.
    pub fn secret(&self, fresh: [u8; 32]) -> io::Result<[u8; 32]> {
        match fs::read(self.root.join("secret")).map(<[u8; 32]>::try_from) {
            Ok(Ok(secret)) => Ok(secret),
            Ok(Err(_)) => self.make_secret(fresh),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_secret(fresh),
            Err(error) => Err(error),
        }
    }

    fn make_secret(&self, fresh: [u8; 32]) -> io::Result<[u8; 32]> {
        self.write("secret", &fresh)?;
        self.flush_dir(".")?;
        Ok(fresh)
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.root.join(name);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = path.with_file_name(format!(".{file_name}.new"));
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        if self.durability == Durability::Flushed {
            file.sync_data()?;
        }
        fs::rename(&beside, &path)
    }

    fn flush_dir(&self, name: &str) -> io::Result<()> {
        match self.durability {
            Durability::Flushed => File::open(self.root.join(name))?.sync_all(),
            Durability::Cached | Durability::Volatile => Ok(()),
        }
    }

    pub fn durability(&self) -> Durability {
        self.durability
    }
}

fn file_of(key: ObjectKey) -> String {
    format!("{key}.json")
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
