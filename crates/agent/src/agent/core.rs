//! What all tasks of the loop share: the tables, the disk and who is to be told.

use super::AgentConfig;
use super::tables::{Body, Intake, Job, Tables};
use crate::desired::{Disk, Durability, Held, Loaded};
use crate::directory::Directory;
use model::host::{Desired, DesiredBody, Hello, ObjectKey, ObservedBody, Power, Reply, Request};
use model::{Clock, InstanceId, SnapshotId, VolumeId};
use parking_lot::Mutex;
use plan::host::{Graces, InstanceRecord, SnapshotRecord};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedMutexGuard, Semaphore, mpsc, oneshot, watch};

pub(super) struct Core {
    pub hello: Hello,
    pub boot_id: Arc<str>,
    pub graces: Graces,
    pub resync: Duration,
    pub clock: Arc<dyn Clock>,
    pub directory: Arc<Directory>,
    pub tables: Mutex<Tables>,
    /// Something is pending.
    pub pending: Notify,
    /// Ticks with each observation, and when the agent ends.
    pub news: watch::Sender<()>,
    /// Ticks whenever a job has ended.
    pub settled: watch::Sender<()>,
    pub questions: mpsc::Sender<Question>,
    pub places: Semaphore,
    /// Who works on the files of a volume, or hands them to a machine, one at a time.
    files: Mutex<HashMap<VolumeId, Arc<tokio::sync::Mutex<()>>>>,
    disk: Mutex<Option<Arc<Disk>>>,
    /// Keeps wishes in the order in which they came.
    intake: tokio::sync::Mutex<()>,
}

pub(super) struct Question {
    pub request: Request,
    pub reply: oneshot::Sender<Reply>,
}

/// How much of the desired state a message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Some,
    All,
}

impl Core {
    pub fn new(
        config: AgentConfig,
        disk: Disk,
        loaded: Loaded,
        directory: Arc<Directory>,
        questions: mpsc::Sender<Question>,
    ) -> Self {
        let core = Self {
            hello: Hello {
                host: config.host,
                boot_id: config.boot_id.clone(),
                epoch: loaded.epoch,
                capacity: config.capacity,
            },
            boot_id: config.boot_id.into(),
            graces: config.graces,
            resync: config.resync,
            clock: config.clock,
            directory,
            tables: Mutex::default(),
            pending: Notify::new(),
            news: watch::channel(()).0,
            settled: watch::channel(()).0,
            questions,
            places: Semaphore::new(config.parallel.max(1)),
            files: Mutex::default(),
            disk: Mutex::new(Some(Arc::new(disk))),
            intake: tokio::sync::Mutex::default(),
        };
        let mut tables = core.tables.lock();
        for (instance, record) in loaded.records {
            tables.set_record(instance, Arc::new(record));
        }
        tables.snapshots = loaded.snapshots.into_iter().map(|(id, record)| (id, Arc::new(record))).collect();
        core.take_over(&mut tables, loaded.objects);
        if loaded.synced {
            tables.nudge(Job::Sweep);
        }
        drop(tables);
        core
    }

    /// Puts stored objects into the tables and has them worked on.
    fn take_over(&self, tables: &mut Tables, objects: Vec<Held>) {
        for mut held in objects {
            let key = held.desired.key;
            let slim = Desired { key, generation: held.desired.generation, body: None };
            let Some(body) = Body::of(std::mem::replace(&mut held.desired, slim)) else {
                tracing::error!(%key, "a desired object is of another kind than its key");
                continue;
            };
            match &body {
                Body::Vpc(vpc) => self.directory.set_vpc(Arc::clone(vpc)),
                Body::Instance(instance) => self.directory.set_instance(Arc::clone(instance)),
                Body::SecurityGroup(_) | Body::Volume(_) | Body::Snapshot(_) | Body::Gone => {}
            }
            tables.put(&held, body);
            tables.nudge(Job::Object(key));
        }
        self.pending.notify_one();
    }

    pub async fn intake(&self, objects: Vec<Desired>, extent: Extent) -> io::Result<()> {
        let _in_order = self.intake.lock().await;
        let named: HashSet<ObjectKey> = objects.iter().map(|object| object.key).collect();
        let (newer, finished) = {
            let tables = self.tables.lock();
            let mut newer: Vec<Held> = objects
                .into_iter()
                .filter(|object| tables.check(object) == Intake::New)
                .map(|object| Held { lacks_key: tables.withholds_key(&object), ..Held::new(object) })
                .collect();
            let mut finished = Vec::new();
            if extent == Extent::All {
                for (key, object) in tables.objects.iter().filter(|(key, _)| !named.contains(key)) {
                    if matches!(object.body, Body::Gone) && object.applied == Some(object.generation) {
                        finished.push(*key);
                    } else {
                        let desired = Desired { key: *key, generation: object.generation, body: None };
                        newer.push(Held { forgotten: true, ..Held::new(desired) });
                    }
                }
            }
            (newer, finished)
        };
        self.begin_traces(&newer);
        let stored = newer.clone();
        let gone = finished.clone();
        self.io(move |disk| {
            disk.write_objects(&stored)?;
            disk.remove_objects(&gone)?;
            if extent == Extent::All { disk.mark_synced() } else { Ok(()) }
        })
        .await?;
        let mut tables = self.tables.lock();
        for key in finished {
            tables.drop_object(key);
        }
        self.take_over(&mut tables, newer);
        if extent == Extent::All {
            tables.nudge(Job::Sweep);
        }
        drop(tables);
        self.pending.notify_one();
        Ok(())
    }

    /// Does blocking work on the disk.
    pub async fn io<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let disk = self.disk.lock().clone().ok_or_else(|| io::Error::other("the agent has ended"))?;
        match disk.durability() {
            Durability::Cached | Durability::Volatile => work(&disk),
            Durability::Flushed => tokio::task::spawn_blocking(move || work(&disk)).await?,
        }
    }

    /// Sets an instance's record, in memory and on disk.
    pub async fn write_record(&self, instance: InstanceId, record: InstanceRecord) -> io::Result<()> {
        let record = Arc::new(record);
        self.tables.lock().set_record(instance, Arc::clone(&record));
        self.io(move |disk| disk.write_record(instance, &record)).await
    }

    /// A start begins when a run is heard of that nothing has been done for yet.
    fn begin_traces(&self, newer: &[Held]) {
        let tables = self.tables.lock();
        for held in newer {
            let Some(DesiredBody::Instance(instance)) = &held.desired.body else { continue };
            let record = tables.records.get(&instance.instance);
            let is_begun = record.and_then(|record| record.state.run()) >= Some(instance.run);
            if instance.power == Power::On && !is_begun {
                self.directory.traces.begin(instance.instance, instance.run, self.clock.now());
            }
        }
    }

    /// Tells a launch's trace that this is done.
    pub fn mark(&self, instance: InstanceId, step: &str) {
        self.directory.traces.mark(instance, step, self.clock.now());
    }

    /// Sets a snapshot's record, on disk and then in memory.
    pub async fn write_snapshot(&self, snapshot: SnapshotId, record: SnapshotRecord) -> io::Result<()> {
        let record = Arc::new(record);
        let stored = Arc::clone(&record);
        self.io(move |disk| disk.write_snapshot(snapshot, &stored)).await?;
        self.tables.lock().snapshots.insert(snapshot, record);
        Ok(())
    }

    pub fn report(&self, key: ObjectKey, generation: u64, body: ObservedBody) {
        if self.tables.lock().observe(key, generation, body, self.clock.now()) {
            self.news.send_replace(());
        }
    }

    /// Notes that `generation` of `key` stands (or is gone, for a removal), and tells those who wait for it.
    pub async fn applied(&self, key: ObjectKey, generation: u64, body: ObservedBody) -> io::Result<()> {
        self.report(key, generation, body.clone());
        let finished = {
            let mut tables = self.tables.lock();
            let Some(object) = tables.objects.get_mut(&key) else { return Ok(()) };
            if object.generation == generation {
                object.applied = Some(generation);
                object.refused = None;
            }
            let finished =
                body == ObservedBody::Removed && object.forgotten && object.generation == generation;
            tables.nudge_waiters(key);
            finished
        };
        self.pending.notify_one();
        if finished {
            let _in_order = self.intake.lock().await;
            let still = |tables: &Tables| {
                tables
                    .objects
                    .get(&key)
                    .is_some_and(|object| object.forgotten && object.generation == generation)
            };
            if still(&self.tables.lock()) {
                self.io(move |disk| disk.remove_objects(&[key])).await?;
                self.tables.lock().drop_object(key);
            }
        }
        Ok(())
    }

    /// Keeps others from the files of these volumes.
    pub async fn files(&self, volumes: impl IntoIterator<Item = VolumeId>) -> Vec<OwnedMutexGuard<()>> {
        // In one order for all.
        let volumes: BTreeSet<VolumeId> = volumes.into_iter().collect();
        let mut held = Vec::with_capacity(volumes.len());
        for volume in volumes {
            let gate = Arc::clone(self.files.lock().entry(volume).or_default());
            held.push(gate.lock_owned().await);
        }
        held
    }

    /// Forgets the gate of a volume that is gone, unless somebody is in it.
    pub fn forget_files(&self, volume: VolumeId) {
        let mut files = self.files.lock();
        if files.get(&volume).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            files.remove(&volume);
        }
    }

    pub fn close(&self) {
        *self.disk.lock() = None;
        self.news.send_replace(());
        self.settled.send_replace(());
    }

    pub fn is_closed(&self) -> bool {
        self.disk.lock().is_none()
    }

    pub async fn quiet(&self) {
        let mut settled = self.settled.subscribe();
        loop {
            if self.is_closed() || self.tables.lock().is_quiet() {
                return;
            }
            if settled.changed().await.is_err() {
                return;
            }
        }
    }
}
