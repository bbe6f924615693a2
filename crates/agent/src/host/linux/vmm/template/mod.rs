//! Memory templates: a machine that booted once, kept as files, from which launches are resumed instead of booted.
//!
//! ```text
//! <templates>/<key>/{memory, state, disk.qcow2, console, manifest.json}   read-only; `used` tells when it last was
//! <templates>/building/<i-…>/                                             the home of a machine that becomes one
//! ```
//! Invariants: a directory with a manifest is a whole template, as it got its name last ([`build`]); what lies under `building` belongs
//! to a machine that this agent is making, and an agent that opens ends those of the one before. A template is used
//! only for a machine whose [`Ingredients`] are equal. Memory and state are the agent's to read alone; a clone gets the memory as a
//! descriptor that cannot be written to ([`super::memory`]), the state as one too, and the disk as the base of its own.
//! A volume keeps its template's disk for as long as it stands on it, whatever becomes of the template.
//!
//! Templates are built in the background, one at a time, when nothing is being launched and the host has the memory to
//! spare; at most so many bytes of them are kept, the last used ones.

mod build;
mod resume;

pub(super) use build::work;
pub(super) use resume::{Resumed, gave_up, pass, resume};

use super::home::private_directory;
use super::start::{Ground, cache_for};
use super::{Inner, image};
use crate::host::linux::block;
use crate::host::{HostError, MachineSpec, Result};
use model::host::{Machine, TemplateState, TemplateStatus};
use model::{InstanceId, Timestamp};
use parking_lot::Mutex;
use plan::machine::Cache;
use plan::machine::template::{Ingredients, Kept, Nic, Owner, Program, anonymous, surplus};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

const MEMORY: &str = "memory";
const STATE: &str = "state";
const DISK: &str = "disk.qcow2";
const CONSOLE: &str = "console";
const MANIFEST: &str = "manifest.json";
const USED: &str = "used";
const BUILDING: &str = "building";

/// How long no machine may have been started before a template is built unasked.
const QUIET: Duration = Duration::from_secs(6);

/// Whether, where and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateConfig {
    /// Below the directory of the volumes, which stand on the templates' disks.
    pub volumes_dir: PathBuf,
    /// What all of them may take of the disk.
    pub most_bytes: u64,
    pub mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Machines are resumed from templates, which are built when one is missing.
    On,
    /// Every machine boots.
    Off,
}

/// What a template's directory says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    ingredients: Ingredients,
    /// Tells this build from any other of the same ingredients.
    build: String,
    /// What its files take of the disk.
    bytes: u64,
    /// Whether the machine has the interface of its clones.
    #[serde(default)]
    nic: Nic,
}

#[derive(Debug, Clone)]
struct Template {
    key: String,
    directory: PathBuf,
    manifest: Manifest,
    used: Timestamp,
}

impl Template {
    fn read(directory: PathBuf) -> io::Result<Self> {
        let manifest: Manifest = serde_json::from_slice(&fs::read(directory.join(MANIFEST))?)?;
        let key = manifest.ingredients.key();
        if directory.file_name().and_then(|name| name.to_str()) != Some(&key) {
            return Err(io::Error::other("its name is not its own"));
        }
        let meta = fs::metadata(directory.join(USED)).or_else(|_| fs::metadata(directory.join(MANIFEST)))?;
        let used = Timestamp::from_millis(meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000);
        Ok(Self { key, directory, manifest, used })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What its disk is called among the bases of volumes: another build of it has another disk.
    fn base_name(&self) -> String {
        format!("{}-{}", self.key, self.manifest.build)
    }
}

/// A template that is to be built.
#[derive(Debug, Clone)]
struct Order {
    key: String,
    ingredients: Ingredients,
    machine: Machine,
    /// The image's disk and what it stands on.
    below: Vec<PathBuf>,
    /// Asked for by name, so it does not wait for a quiet time.
    urgent: bool,
}

/// The templates of this host, and what is to become one.
#[derive(Debug)]
pub(super) struct Templates {
    config: TemplateConfig,
    directory: PathBuf,
    shelf: Mutex<Shelf>,
    /// Something is wanted, or the driver is gone.
    pub nudge: Notify,
    starting: AtomicUsize,
    last_start: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Shelf {
    kept: BTreeMap<String, Template>,
    wanted: VecDeque<Order>,
    building: Option<Order>,
    /// What could not be built, and why; not tried again unasked.
    failed: BTreeMap<String, (Ingredients, String)>,
}

/// Counts a start for as long as it lasts.
pub(super) struct Starting<'a>(&'a Templates);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        *self.0.last_start.lock() = Some(Instant::now());
        self.0.starting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Templates {
    pub fn new(config: TemplateConfig) -> Self {
        let directory = config.volumes_dir.join(block::TEMPLATES);
        Self {
            config,
            directory,
            shelf: Mutex::default(),
            nudge: Notify::new(),
            starting: AtomicUsize::new(0),
            last_start: Mutex::new(None),
        }
    }

    /// Where machines have their homes that are to become templates.
    pub fn nurseries(&self) -> PathBuf {
        self.directory.join(BUILDING)
    }

    /// The machines that an agent before this one was making templates of.
    pub fn left_over(&self) -> Vec<(InstanceId, PathBuf)> {
        let entries = fs::read_dir(self.nurseries()).into_iter().flatten().flatten();
        let named =
            |entry: fs::DirEntry| Some((InstanceId::parse(entry.file_name().to_str()?).ok()?, entry.path()));
        entries.filter_map(named).collect()
    }

    /// Takes up the templates that lie there, and removes what is none or will not be used again.
    pub fn open(&self, images: &Path) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory).into_iter().flatten() {
            let path = entry?.path();
            match Template::read(path.clone()) {
                Ok(template) if is_current(&template.manifest.ingredients, images) => {
                    self.shelf.lock().kept.insert(template.key.clone(), template);
                }
                _ => fs::remove_dir_all(&path)?,
            }
        }
        self.bound()
    }

    pub fn starting(&self) -> Starting<'_> {
        self.starting.fetch_add(1, Ordering::Relaxed);
        Starting(self)
    }

    fn is_quiet(&self) -> bool {
        self.starting.load(Ordering::Relaxed) == 0
            && self.last_start.lock().is_none_or(|last| last.elapsed() >= QUIET)
    }

    /// The template for a machine of exactly these ingredients.
    fn fitting(&self, ingredients: &Ingredients) -> Option<Template> {
        let mut shelf = self.shelf.lock();
        let template =
            shelf.kept.get_mut(&ingredients.key()).filter(|t| t.manifest.ingredients == *ingredients)?;
        // The time is the file system's, which the next agent reads.
        if fs::write(template.file(USED), b"").is_ok()
            && let Ok(again) = Template::read(template.directory.clone())
        {
            template.used = again.used;
        }
        Some(template.clone())
    }

    /// Has a template built unless there is one, it is being built, or that has failed before.
    fn want(&self, order: Order) {
        let mut shelf = self.shelf.lock();
        let Order { key, urgent, .. } = &order;
        if *urgent {
            shelf.failed.remove(key);
        }
        let known = shelf.kept.contains_key(key)
            || shelf.failed.contains_key(key)
            || shelf.building.as_ref().is_some_and(|building| building.key == *key);
        if !known {
            match shelf.wanted.iter_mut().find(|wanted| wanted.key == *key) {
                Some(wanted) => wanted.urgent |= urgent,
                None => shelf.wanted.push_back(order),
            }
        }
        drop(shelf);
        self.nudge.notify_one();
    }

    /// The next to be built, if the time is right for it.
    fn next(&self) -> Option<Order> {
        let quiet = self.is_quiet();
        let mut shelf = self.shelf.lock();
        let at = shelf.wanted.iter().position(|order| order.urgent || quiet)?;
        let order = shelf.wanted.remove(at)?;
        shelf.building = Some(order.clone());
        Some(order)
    }

    fn has_wishes(&self) -> bool {
        !self.shelf.lock().wanted.is_empty()
    }

    /// Takes a template that was built, and removes those that it replaces or for which there is no room.
    fn keep(&self, template: Template) -> io::Result<()> {
        let mut replaced = Vec::new();
        {
            let mut shelf = self.shelf.lock();
            for old in shelf.kept.values() {
                if template.manifest.ingredients.replaces(&old.manifest.ingredients) {
                    replaced.push(old.key.clone());
                }
            }
            shelf.kept.insert(template.key.clone(), template);
        }
        replaced.iter().try_for_each(|key| self.remove(key))?;
        self.bound()
    }

    fn bound(&self) -> io::Result<()> {
        let of = |template: &Template| Kept {
            key: template.key.clone(),
            bytes: template.manifest.bytes,
            used: template.used.as_millis(),
        };
        let kept: Vec<Kept> = self.shelf.lock().kept.values().map(of).collect();
        surplus(kept, self.config.most_bytes).iter().try_for_each(|key| self.remove(key))
    }

    /// Removes a template. Machines that map its memory, and volumes that stand on its disk, keep both.
    pub fn remove(&self, key: &str) -> io::Result<()> {
        let Some(template) = self.shelf.lock().kept.remove(key) else { return Ok(()) };
        // Without its manifest it is none any more, wherever the rest is interrupted.
        fs::remove_file(template.file(MANIFEST))?;
        fs::remove_dir_all(&template.directory)
    }

    /// Forgets that a template could not be built, or that it is wanted; says whether it was known at all.
    pub fn dismiss(&self, key: &str) -> bool {
        let mut shelf = self.shelf.lock();
        let before = shelf.wanted.len();
        shelf.wanted.retain(|order| order.key != key);
        let dismissed = shelf.failed.remove(key).is_some() || shelf.wanted.len() < before;
        dismissed || shelf.kept.contains_key(key)
    }

    pub fn status(&self) -> Vec<TemplateStatus> {
        let shelf = self.shelf.lock();
        let status = |key: &str, of: &Ingredients, state| TemplateStatus {
            key: key.to_owned(),
            image: of.image.clone(),
            instance_type: of.instance_type.clone(),
            vcpus: of.vcpus,
            memory: of.memory,
            state,
        };
        let ready = shelf.kept.values().map(|t| {
            let state = TemplateState::Ready { bytes: t.manifest.bytes, last_used: t.used };
            status(&t.key, &t.manifest.ingredients, state)
        });
        let building = shelf.building.iter().map(|o| status(&o.key, &o.ingredients, TemplateState::Building));
        let wanted = shelf.wanted.iter().map(|o| status(&o.key, &o.ingredients, TemplateState::Wanted));
        let failed = shelf.failed.iter().map(|(key, (ingredients, reason))| {
            status(key, ingredients, TemplateState::Failed { reason: reason.clone() })
        });
        ready.chain(building).chain(wanted).chain(failed).collect()
    }
}

/// Whether the image and the program are still those that a template was made of.
fn is_current(ingredients: &Ingredients, images: &Path) -> bool {
    let folders = fs::read_dir(images).into_iter().flatten().flatten();
    let mut held = folders.filter_map(|entry| image::manifest(&entry.path()).ok());
    held.any(|image| image.digest == ingredients.digest)
        && program(&ingredients.program.path, &ingredients.program.path)
            .is_ok_and(|program| program == ingredients.program)
}

/// The program at `path`, by what the file says that holds it.
pub(super) fn program(file: &str, path: &str) -> io::Result<Program> {
    let meta = fs::metadata(file)?;
    let changed = meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000;
    Ok(Program { path: path.to_owned(), bytes: meta.size(), changed })
}

/// What a template of this machine would be made of, and whether the image's guest takes part; none for a machine that
/// stands on no image.
fn ingredients(machine: &Machine, ground: &Ground, cache: Cache) -> Result<Option<(Ingredients, Guest)>> {
    let Some(base) = ground.below.last().and_then(|disk| disk.parent()) else { return Ok(None) };
    let Ok(image) = image::manifest(base) else { return Ok(None) };
    let failed = |e: io::Error| HostError::transient(format!("looking at {}", ground.program)).caused_by(e);
    let arguments = anonymous(machine, ground.accelerator, ground.boot(), cache)
        .map_err(|e| HostError::permanent("a machine that cannot be built").caused_by(e))?;
    let guest = if image.resumable { Guest::Resumable } else { Guest::Unknown };
    let ingredients = Ingredients {
        image: image.name,
        digest: image.digest,
        // The host's cache holds what the operator gives to all.
        owner: Owner::Everyone,
        instance_type: machine.instance_type.clone(),
        architecture: machine.architecture,
        vcpus: machine.vcpus,
        memory: machine.memory,
        program: program(&ground.program, &ground.program).map_err(failed)?,
        arguments,
    };
    Ok(Some((ingredients, guest)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guest {
    Resumable,
    /// Nobody has said that it is.
    Unknown,
}

/// Has a template made of an image of the cache, whatever is known of its guest.
pub(super) async fn order(inner: &Arc<Inner>, name: &str, machine: &Machine) -> Result<String> {
    let templates = &inner.templates;
    let failed = |e: io::Error| HostError::transient("making the templates' directory").caused_by(e);
    private_directory(&templates.nurseries()).map_err(failed)?;
    let below = vec![block::base(&templates.config.volumes_dir, &inner.config.images_dir, name)?];
    let cache = cache_for(&below[0])?;
    let ground = super::start::ground(inner, machine, below.clone()).await?;
    let (ingredients, _) = ingredients(machine, &ground, cache)?
        .ok_or_else(|| HostError::permanent(format!("the image {name} has no manifest")))?;
    let key = ingredients.key();
    templates.want(Order { key: key.clone(), ingredients, machine: machine.clone(), below, urgent: true });
    Ok(key)
}

/// The one disk of a machine that a template could be used for.
fn only_disk(spec: &MachineSpec) -> Option<&crate::host::DiskSpec> {
    match spec.disks.as_slice() {
        [disk] => Some(disk),
        _ => None,
    }
}
