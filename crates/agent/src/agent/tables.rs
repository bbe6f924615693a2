//! What the loop knows, in memory: objects, records, who waits for whom, and what was observed.
//!
//! Plain data behind one lock that is never held over an await.

use crate::desired::Held;
use model::few::FewKeys;
use model::host::{
    Desired, DesiredBody, Downtime, InstanceDesired, ObjectKey, ObjectStatus, Observed, ObservedBody,
    SecurityGroupDesired, SnapshotDesired, SnapshotPhase, SnapshotSource, Tier, VolumeDesired, VpcDesired,
};
use model::{DataKey, InstanceId, SnapshotId, Timestamp, VolumeId};
use plan::host::{AskedAt, InstanceRecord, SnapshotRecord};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::time::Instant;

/// A desired object's latest body, shared.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Vpc(Arc<VpcDesired>),
    SecurityGroup(Arc<SecurityGroupDesired>),
    Volume(Arc<VolumeDesired>),
    Snapshot(Arc<SnapshotDesired>),
    Instance(Arc<InstanceDesired>),
    Gone,
}

impl Body {
    /// `None` when the body is not of the key's kind, or names another object.
    pub fn of(desired: Desired) -> Option<Self> {
        match (desired.key, desired.body) {
            (_, None) => Some(Self::Gone),
            (ObjectKey::Vpc(id), Some(DesiredBody::Vpc(body))) if body.vpc == id => Some(Self::Vpc(body)),
            (ObjectKey::SecurityGroup(id), Some(DesiredBody::SecurityGroup(body))) if body.group == id => {
                Some(Self::SecurityGroup(body))
            }
            (ObjectKey::Volume(id), Some(DesiredBody::Volume(body))) if body.volume == id => {
                Some(Self::Volume(body))
            }
            (ObjectKey::Snapshot(id), Some(DesiredBody::Snapshot(body))) if body.snapshot == id => {
                Some(Self::Snapshot(body))
            }
            (ObjectKey::Instance(id), Some(DesiredBody::Instance(body))) if body.instance == id => {
                Some(Self::Instance(body))
            }
            (_, Some(_)) => None,
        }
    }

    fn data_key(&self) -> Option<&DataKey> {
        match self {
            Self::Volume(volume) => volume.data_key.as_ref(),
            Self::Snapshot(snapshot) => snapshot.data_key.as_ref(),
            Self::Vpc(_) | Self::SecurityGroup(_) | Self::Instance(_) | Self::Gone => None,
        }
    }
}

/// One thing that is worked on by at most one task at a time, and how that goes.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Nudged while running: to be run again.
    pub dirty: bool,
    /// Nudged while running by news that may cure a failure: to be run again at once.
    pub hurried: bool,
    pub next_run: Option<Instant>,
    pub next_run_at: Option<Timestamp>,
    pub failures: u32,
    pub last_error: Option<String>,
    pub last_run: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Object {
    pub generation: u64,
    pub body: Body,
    pub forgotten: bool,
    /// What its data are encrypted with, as it was last heard: something may still be made of what is to go.
    pub data_key: Option<DataKey>,
    /// It has a key that has not been heard of since the agent's start.
    pub lacks_key: bool,
    /// The generation that stands on the host (for a removed object: that is gone from it).
    pub applied: Option<u64>,
    /// The generation that the ports of a running machine were brought to.
    pub ports_at: Option<u64>,
    /// When the guest of an instance was last asked to let go of each device.
    pub asked: AskedAt,
    /// Why the host will never make it in this form.
    pub refused: Option<String>,
    pub lane: Lane,
    pub observed: Option<(u64, Observed)>,
}

/// What is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Job {
    Object(ObjectKey),
    /// Looks for what stands on the host and nobody desires.
    Sweep,
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub objects: HashMap<ObjectKey, Object>,
    pub records: HashMap<InstanceId, Arc<InstanceRecord>>,
    pub paths: HashMap<VolumeId, PathBuf>,
    pub snapshots: HashMap<SnapshotId, Arc<SnapshotRecord>>,
    /// Snapshots that were removed while others were still to be taken together with them: those are taken without them.
    pub removed: HashSet<SnapshotId>,
    /// Snapshots that are being taken: none of them is removed meanwhile.
    pub being_taken: HashSet<SnapshotId>,
    pub sweep: Lane,
    pub pending: BTreeSet<Job>,
    /// What runs now. Kept apart from the objects: a run may outlast its object by a moment.
    pub active: HashSet<Job>,
    /// Which instances hold an object (and so keep it from being removed).
    holders: HashMap<ObjectKey, FewKeys<InstanceId>>,
    /// Whom to nudge when an object changes.
    waiters: HashMap<ObjectKey, HashSet<ObjectKey>>,
    by_revision: BTreeMap<u64, ObjectKey>,
    revision: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    None,
    UntilRetry,
}

/// Whether a volume is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    ToCome,
    There,
    /// It was removed, was never heard of, or will never be made.
    Gone,
}

/// What became of a new desired object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Intake {
    New,
    /// It is not newer than what is held.
    Stale,
}

/// Whether a wish brings a data key; none where there is no place for one.
fn brings_key(desired: &Desired) -> Option<bool> {
    desired.body.as_ref().and_then(DesiredBody::has_data_key)
}

impl Tables {
    /// What brings the key of an object that lacks it is news, in the same generation too.
    pub fn check(&self, desired: &Desired) -> Intake {
        match self.objects.get(&desired.key) {
            Some(object)
                if object.lacks_key
                    && desired.generation == object.generation
                    && brings_key(desired) == Some(true) =>
            {
                Intake::New
            }
            Some(object) if desired.generation <= object.generation && !object.forgotten => Intake::Stale,
            Some(_) | None => Intake::New,
        }
    }

    /// Whether this is the wish for an object that is encrypted, without its key: nothing becomes plain.
    pub fn withholds_key(&self, desired: &Desired) -> bool {
        let is_encrypted = |object: &Object| object.lacks_key || object.data_key.is_some();
        brings_key(desired) == Some(false) && self.objects.get(&desired.key).is_some_and(is_encrypted)
    }

    pub fn put(&mut self, held: &Held, body: Body) {
        let Desired { key, generation, .. } = held.desired;
        let object = self.objects.entry(key).or_insert_with(|| Object {
            generation,
            body: Body::Gone,
            forgotten: false,
            data_key: None,
            lacks_key: false,
            applied: None,
            ports_at: None,
            asked: AskedAt::new(),
            refused: None,
            lane: Lane::default(),
            observed: None,
        });
        object.generation = generation;
        if let Some(key) = body.data_key() {
            object.data_key = Some(key.clone());
        }
        object.lacks_key = held.lacks_key;
        object.body = body;
        object.forgotten = held.forgotten;
        object.applied = None;
        object.ports_at = None;
        object.refused = None;
        object.lane.failures = 0;
    }

    /// What an object that does not stand as desired is to be.
    pub fn due(&self, key: ObjectKey) -> Option<(u64, Body)> {
        let object = self.objects.get(&key).filter(|object| object.applied != Some(object.generation))?;
        Some((object.generation, object.body.clone()))
    }

    /// Forgets an object of which nothing is left.
    pub fn drop_object(&mut self, key: ObjectKey) {
        if let Some(Object { observed: Some((revision, _)), .. }) = self.objects.remove(&key) {
            self.by_revision.remove(&revision);
        }
        self.pending.remove(&Job::Object(key));
        self.waiters.remove(&key);
    }

    pub fn lane(&mut self, job: Job) -> Option<&mut Lane> {
        match job {
            Job::Object(key) => self.objects.get_mut(&key).map(|object| &mut object.lane),
            Job::Sweep => Some(&mut self.sweep),
        }
    }

    /// The jobs to start now; they count as running from here on. Whatever one waited for has come, or is found missing
    /// again; a failure stays until a run ends well.
    pub fn take_pending(&mut self) -> Vec<Job> {
        let jobs: Vec<Job> = std::mem::take(&mut self.pending).into_iter().collect();
        for job in &jobs {
            if let Some(lane) = self.lane(*job).filter(|lane| lane.failures == 0) {
                lane.last_error = None;
            }
        }
        self.active.extend(&jobs);
        jobs
    }

    /// Whether no job runs, is pending or failed and is to be tried again.
    pub fn is_quiet(&self) -> bool {
        let is_still = |lane: &Lane| lane.failures == 0;
        self.pending.is_empty()
            && self.active.is_empty()
            && is_still(&self.sweep)
            && self.objects.values().all(|o| is_still(&o.lane))
    }

    /// Asks for a run of `job`, now or as soon as its present run is over.
    pub fn nudge(&mut self, job: Job) {
        let is_active = self.active.contains(&job);
        if let Some(lane) = self.lane(job) {
            lane.hurried = is_active;
            self.nudge_patiently(job, Patience::None);
        }
    }

    /// The same for a driver's word that something may have changed. What is failing keeps to its backoff: a start that
    /// fails is itself such a change.
    pub fn nudge_from_driver(&mut self, job: Job) {
        self.nudge_patiently(job, Patience::UntilRetry);
    }

    fn nudge_patiently(&mut self, job: Job, patience: Patience) {
        let is_active = self.active.contains(&job);
        let Some(lane) = self.lane(job) else { return };
        if is_active {
            lane.dirty = true;
        } else if patience == Patience::None || lane.failures == 0 || lane.next_run.is_none() {
            lane.next_run = None;
            lane.next_run_at = None;
            self.pending.insert(job);
        }
    }

    pub fn nudge_waiters(&mut self, key: ObjectKey) {
        for waiter in self.waiters.remove(&key).unwrap_or_default() {
            self.nudge(Job::Object(waiter));
        }
    }

    pub fn is_applied(&self, key: ObjectKey) -> bool {
        self.objects.get(&key).is_some_and(|object| {
            object.applied == Some(object.generation) && !matches!(object.body, Body::Gone)
        })
    }

    /// The first of `parts` that does not stand; `who` is nudged when it does.
    pub fn first_missing(&mut self, parts: &[ObjectKey], who: ObjectKey) -> Option<ObjectKey> {
        let missing = *parts.iter().find(|part| !self.is_applied(**part))?;
        self.waiters.entry(missing).or_default().insert(who);
        Some(missing)
    }

    /// The first of `parts` that is a volume which another instance holds, and which is not for several; `who` is nudged when that
    /// lets go.
    pub fn first_held_elsewhere(
        &mut self,
        parts: &[ObjectKey],
        who: InstanceId,
    ) -> Option<(ObjectKey, InstanceId)> {
        let volumes = parts.iter().filter(|part| matches!(part, ObjectKey::Volume(_)));
        let is_shared = |part: &ObjectKey| {
            let body = self.objects.get(part).map(|object| &object.body);
            matches!(body, Some(Body::Volume(desired)) if desired.shared)
        };
        let (part, holder) = volumes.copied().filter(|part| !is_shared(part)).find_map(|part| {
            let holder = self.holders.get(&part)?.keys().copied().find(|holder| *holder != who)?;
            Some((part, holder))
        })?;
        self.waiters.entry(ObjectKey::Instance(holder)).or_default().insert(ObjectKey::Instance(who));
        Some((part, holder))
    }

    /// The instances that hold an object.
    pub fn holders(&self, key: ObjectKey) -> Vec<InstanceId> {
        self.holders.get(&key).into_iter().flat_map(FewKeys::keys).copied().collect()
    }

    /// A volume's latest desired form, unless it is to go.
    pub fn volume(&self, volume: VolumeId) -> Option<Arc<VolumeDesired>> {
        match &self.objects.get(&ObjectKey::Volume(volume))?.body {
            Body::Volume(desired) => Some(Arc::clone(desired)),
            Body::Vpc(_) | Body::SecurityGroup(_) | Body::Snapshot(_) | Body::Instance(_) | Body::Gone => {
                None
            }
        }
    }

    /// What the data of a volume or a snapshot are encrypted with.
    pub fn data_key(&self, key: ObjectKey) -> Option<DataKey> {
        self.objects.get(&key)?.data_key.clone()
    }

    /// The first of `keys` that has a data key which is not known; `who` is nudged when it comes.
    pub fn first_lacking_key(
        &mut self,
        keys: impl IntoIterator<Item = ObjectKey>,
        who: ObjectKey,
    ) -> Option<ObjectKey> {
        let lacks = |key: &ObjectKey| self.objects.get(key).is_some_and(|object| object.lacks_key);
        let lacking = keys.into_iter().find(lacks)?;
        self.wait(who, lacking);
        Some(lacking)
    }

    /// Whether a volume still has to be made, stands, or is no more.
    pub fn standing(&self, volume: VolumeId) -> Standing {
        match self.objects.get(&ObjectKey::Volume(volume)) {
            None => Standing::Gone,
            Some(object) if matches!(object.body, Body::Gone) => {
                if object.applied == Some(object.generation) { Standing::Gone } else { Standing::There }
            }
            Some(_) if self.paths.contains_key(&volume) => Standing::There,
            Some(object) if object.refused.is_some() => Standing::Gone,
            Some(_) => Standing::ToCome,
        }
    }

    /// The desired snapshots whose instant is still to come.
    fn uncaptured(&self) -> impl Iterator<Item = &Arc<SnapshotDesired>> {
        self.objects.values().filter_map(|object| match &object.body {
            Body::Snapshot(desired) if object.refused.is_none() => {
                Some(desired).filter(|desired| !self.snapshots.contains_key(&desired.snapshot))
            }
            Body::Snapshot(_)
            | Body::Vpc(_)
            | Body::SecurityGroup(_)
            | Body::Volume(_)
            | Body::Instance(_)
            | Body::Gone => None,
        })
    }

    /// The snapshots that are to be taken while this instance's guest is down for a reboot, up to that one.
    pub fn due_before_reset(&self, of: InstanceId, of_run: u64, to: u64) -> Vec<Arc<SnapshotDesired>> {
        let is_due = |desired: &&Arc<SnapshotDesired>| match desired.source {
            SnapshotSource::Volume { during: Some(Downtime { instance, run, reboot }), .. } => {
                instance == of && run == of_run && reboot <= to
            }
            SnapshotSource::Volume { during: None, .. }
            | SnapshotSource::Copy(_)
            | SnapshotSource::Direct { .. } => false,
        };
        self.uncaptured().filter(is_due).cloned().collect()
    }

    /// A snapshot that is still to be taken of this volume; `who` is nudged when it is.
    pub fn untaken_of(&mut self, of: VolumeId, who: ObjectKey) -> Option<SnapshotId> {
        let is_of = |desired: &&Arc<SnapshotDesired>| match desired.source {
            SnapshotSource::Volume { volume, .. } => volume == of,
            SnapshotSource::Copy(_) | SnapshotSource::Direct { .. } => false,
        };
        let found = self.uncaptured().find(is_of)?.snapshot;
        self.wait(who, ObjectKey::Snapshot(found));
        Some(found)
    }

    /// A volume or a snapshot that is being made of this snapshot; `who` is nudged when it is made.
    pub fn made_of(&mut self, of: SnapshotId, who: ObjectKey) -> Option<ObjectKey> {
        let (key, _) = self.objects.iter().find(|(_, object)| {
            object.applied != Some(object.generation)
                && object.refused.is_none()
                && match &object.body {
                    Body::Volume(desired) => {
                        desired.snapshot == Some(of) && !self.paths.contains_key(&desired.volume)
                    }
                    Body::Snapshot(desired) => match desired.source {
                        SnapshotSource::Copy(source) => source == of,
                        SnapshotSource::Direct { parent, .. } => parent == Some(of),
                        SnapshotSource::Volume { .. } => false,
                    },
                    Body::Vpc(_) | Body::SecurityGroup(_) | Body::Instance(_) | Body::Gone => false,
                }
        })?;
        let key = *key;
        self.wait(who, key);
        Some(key)
    }

    /// Has `who` nudged when `what` changes.
    pub fn wait(&mut self, who: ObjectKey, what: ObjectKey) {
        self.waiters.entry(what).or_default().insert(who);
    }

    /// Whether an object is desired and not as desired yet; `who` is nudged when it is. A completed snapshot is not waited for while
    /// it goes to the archive, for that waits for what is made of it.
    pub fn is_awaited(&mut self, key: ObjectKey, who: ObjectKey) -> bool {
        if let ObjectKey::Snapshot(id) = key
            && let Some(SnapshotRecord::Ended(SnapshotPhase::Completed { tier, .. })) =
                self.snapshots.get(&id).map(|record| &**record)
            && *tier != Tier::Archive
        {
            return false;
        }
        let awaited = self.objects.get(&key).is_some_and(|object| {
            !matches!(object.body, Body::Gone) && object.applied != Some(object.generation)
        });
        if awaited {
            self.wait(who, key);
        }
        awaited
    }

    /// Why one of `parts` will never stand, if so.
    pub fn refusal(&self, parts: &[ObjectKey]) -> Option<String> {
        parts.iter().find_map(|part| self.objects.get(part)?.refused.clone())
    }

    /// Whether some snapshot that is not taken yet was to be taken together with this one.
    pub fn is_to_be_taken_with(&self, snapshot: SnapshotId) -> bool {
        self.objects.values().any(|object| {
            let Body::Snapshot(desired) = &object.body else { return false };
            let SnapshotSource::Volume { together, .. } = &desired.source else { return false };
            !self.snapshots.contains_key(&desired.snapshot)
                && together.iter().any(|(other, _)| *other == snapshot)
        })
    }

    /// An instance that keeps `key` from being removed; `key` is nudged when some instance lets go.
    pub fn holder(&mut self, key: ObjectKey) -> Option<InstanceId> {
        // The last: instances are worked on in the order of their ids, so `key` is not nudged once for each of them.
        let holder = *self.holders.get(&key)?.keys().next_back()?;
        self.waiters.entry(ObjectKey::Instance(holder)).or_default().insert(key);
        Some(holder)
    }

    pub fn set_record(&mut self, instance: InstanceId, record: Arc<InstanceRecord>) {
        self.let_go(instance);
        for key in &record.holds {
            self.holders.entry(*key).or_default().insert(instance, ());
        }
        self.records.insert(instance, record);
    }

    pub fn remove_record(&mut self, instance: InstanceId) {
        self.let_go(instance);
        self.records.remove(&instance);
    }

    fn let_go(&mut self, instance: InstanceId) {
        let Some(old) = self.records.get(&instance) else { return };
        for key in &old.holds {
            if let Some(holders) = self.holders.get_mut(key) {
                holders.remove(&instance);
                if holders.is_empty() {
                    self.holders.remove(key);
                }
            }
        }
    }

    /// Notes what was seen; says whether it is news.
    pub fn observe(&mut self, key: ObjectKey, generation: u64, body: ObservedBody, at: Timestamp) -> bool {
        let Some(object) = self.objects.get_mut(&key) else { return false };
        if let Some((revision, last)) = &object.observed {
            if last.generation == generation && last.body == body {
                return false;
            }
            self.by_revision.remove(revision);
        }
        self.revision += 1;
        object.observed = Some((self.revision, Observed { key, generation, at, body }));
        self.by_revision.insert(self.revision, key);
        true
    }

    /// The first observation after `revision`, with its own revision.
    pub fn observed_after(&self, revision: u64) -> Option<(u64, Observed)> {
        let (revision, key) = self.by_revision.range(revision + 1..).next()?;
        let (_, observed) = self.objects.get(key)?.observed.as_ref()?;
        Some((*revision, observed.clone()))
    }

    /// Every object that is not as desired.
    pub fn status(&self) -> Vec<ObjectStatus> {
        let line = |key: String, lane: &Lane| ObjectStatus {
            key,
            last_error: lane.last_error.clone(),
            failures: lane.failures,
            last_run: lane.last_run,
            next_run: lane.next_run_at,
        };
        let is_busy = |job: Job| self.active.contains(&job) || self.pending.contains(&job);
        let mut status: Vec<_> = self
            .objects
            .iter()
            .filter(|(key, object)| object.lane.last_error.is_some() || is_busy(Job::Object(**key)))
            .map(|(key, object)| line(key.to_string(), &object.lane))
            .collect();
        if self.sweep.last_error.is_some() || is_busy(Job::Sweep) {
            status.push(line("sweep".into(), &self.sweep));
        }
        status.sort_by(|a, b| a.key.cmp(&b.key));
        status
    }
}
