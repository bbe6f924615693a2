//! What whoever moves the bytes tells of a task: the only writer of stages beside a cancellation.
//!
//! Nothing is written of a task that has ended; each call says whether it still goes on. A snapshot is begun anew by each
//! attempt, so it holds what one reading of the file held.

use crate::noun::Noun;
use control::cloud::Mode;
use control::{Cloud, Result, Txn};
use model::host::Architecture;
use model::host::blocks::Seal;
use model::record::image::{BootMode, Image, ImageDevice, Registration, State, Traits};
use model::record::snapshot::{Direct, Life, Shared, Snapshot, Source};
use model::record::transfer::{
    Disk, DiskFormat, ExportImageTask, ImportImageTask, ImportSnapshotTask, Stage,
};
use model::{GiB, ImageId, Region, SnapshotId, Timestamp};
use std::sync::Arc;

/// As AWS names the root device of what it imports.
const ROOT_DEVICE: &str = "/dev/sda1";

/// A task, whatever it moves.
pub trait Transfer: Noun {
    fn stage(&self) -> &Stage;
    fn set_stage(&mut self, stage: Stage);
}

/// A task that makes snapshots.
pub trait Importing: Transfer {
    fn disks(&self) -> &[Disk];
    fn disks_mut(&mut self) -> &mut [Disk];
    fn snapshot_tags(&self) -> &control::tag::Tags;

    /// Whether it must be known what its first disk boots by; if so, on which architecture its owner says.
    fn to_boot(&self) -> Option<Option<Architecture>> {
        None
    }

    fn set_boots(&mut self, _: (Architecture, BootMode)) {}

    /// Whether its file may be an archive with several disks.
    fn may_be_archive(&self) -> bool {
        false
    }

    fn set_disks(&mut self, _: Vec<Disk>) {}

    /// All of its snapshots are completed.
    fn finish(&mut self, txn: &mut Txn<'_>, region: &Region, now: Timestamp, bits: u128);
}

impl Transfer for ImportSnapshotTask {
    fn stage(&self) -> &Stage {
        &self.stage
    }

    fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
    }
}

impl Importing for ImportSnapshotTask {
    fn disks(&self) -> &[Disk] {
        std::slice::from_ref(&self.disk)
    }

    fn disks_mut(&mut self) -> &mut [Disk] {
        std::slice::from_mut(&mut self.disk)
    }

    fn snapshot_tags(&self) -> &control::tag::Tags {
        &self.snapshot_tags
    }

    fn finish(&mut self, _: &mut Txn<'_>, _: &Region, now: Timestamp, _: u128) {
        self.stage = Stage::Completed { at: now };
    }
}

impl Transfer for ImportImageTask {
    fn stage(&self) -> &Stage {
        &self.stage
    }

    fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
    }
}

impl Importing for ImportImageTask {
    fn disks(&self) -> &[Disk] {
        &self.disks
    }

    fn disks_mut(&mut self) -> &mut [Disk] {
        &mut self.disks
    }

    fn snapshot_tags(&self) -> &control::tag::Tags {
        &self.snapshot_tags
    }

    fn to_boot(&self) -> Option<Option<Architecture>> {
        Some(self.architecture)
    }

    fn may_be_archive(&self) -> bool {
        matches!(
            &self.disks[..],
            [Disk { object: Some(_), member: None, stated: None | Some(DiskFormat::Ova), .. }]
        )
    }

    fn set_disks(&mut self, disks: Vec<Disk>) {
        self.disks = disks;
    }

    fn set_boots(&mut self, (architecture, found): (Architecture, BootMode)) {
        self.boots = Some((architecture, self.boot_mode.unwrap_or(found)));
    }

    fn finish(&mut self, txn: &mut Txn<'_>, region: &Region, now: Timestamp, bits: u128) {
        let image = image_of(self, txn, region, now, ImageId::from_entropy(bits));
        let claim = Image::name_claim(self.account, &image.name);
        // The name is the task's id: nobody has another image of it but who chose it for that.
        if txn.claim(region, &claim, &image.image.to_string()).is_err() {
            let reason = format!("ClientError: The image name '{}' is in use.", image.name);
            forsake(txn, region, now, self);
            self.stage = Stage::Failed { at: now, reason };
            return;
        }
        self.image = Some(image.image);
        self.stage = Stage::Completed { at: now };
        txn.put(region, image);
    }
}

/// What an import of an image makes.
fn image_of(
    task: &ImportImageTask,
    txn: &mut Txn<'_>,
    region: &Region,
    now: Timestamp,
    id: ImageId,
) -> Image {
    let free = (b'b'..=b'z').map(|letter| format!("/dev/sd{}", char::from(letter)));
    let mut free = free.filter(|name| task.disks.iter().all(|disk| disk.device.as_ref() != Some(name)));
    let mut kernel = None;
    let mut devices = Vec::with_capacity(task.disks.len());
    for (index, disk) in task.disks.iter().enumerate() {
        let snapshot = disk.snapshot.and_then(|id| txn.get::<Snapshot>(region, &id));
        if index == 0 {
            kernel = snapshot.as_ref().and_then(|snapshot| snapshot.kernel.clone());
        }
        let named = disk.device.clone().filter(|_| index > 0);
        let device = if index == 0 { Some(ROOT_DEVICE.to_owned()) } else { named.or_else(|| free.next()) };
        let device = ImageDevice {
            device: device.unwrap_or_default(),
            size: disk.size.unwrap_or(GiB(1)),
            snapshot: disk.snapshot,
            delete_on_termination: true,
            volume_type: "gp2".to_owned(),
            iops: None,
            throughput: None,
            encryption: None,
        };
        devices.push(device.encrypted_like(snapshot.as_deref()));
    }
    let text = task.description.as_deref().unwrap_or_default();
    let description: String = format!("AWS-VMImport service: Linux - {text}").chars().take(255).collect();
    Image {
        image: id,
        owner: task.account,
        owner_alias: None,
        name: task.task.to_string(),
        description: Some(description.trim_end_matches([' ', '-']).to_owned()),
        architecture: task
            .boots
            .map(|(known, _)| known)
            .or(task.architecture)
            .unwrap_or(Architecture::X86_64),
        root_device: ROOT_DEVICE.to_owned(),
        devices,
        host_image: None,
        digest: None,
        direct_kernel: kernel.is_some(),
        public: false,
        min_memory_mib: 0,
        default_user: None,
        created_at: now,
        traits: Traits {
            boot_mode: task.boots.map(|(_, mode)| mode).or(task.boot_mode),
            ..Traits::default()
        },
        registration: Registration { state: State::Available, kernel, ..Registration::default() },
        tags: task.image_tags.clone(),
    }
}

impl Transfer for ExportImageTask {
    fn stage(&self) -> &Stage {
        &self.stage
    }

    fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
    }
}

/// A task that goes on.
pub fn active<T: Transfer>(cloud: &Cloud, region: &Region, id: &T::Id) -> Option<Arc<T>> {
    let tables = cloud.view.read();
    tables.get::<T>(region, id).filter(|task| task.stage().is_active()).cloned()
}

/// Changes a task that goes on; `None`: it does not.
async fn change<T: Transfer, U>(
    cloud: &Cloud,
    region: &Region,
    id: &T::Id,
    mode: Mode,
    mut decide: impl FnMut(&mut T, &mut Txn<'_>) -> U,
) -> Result<Option<U>> {
    cloud
        .transact(mode, |txn| {
            let held = txn.get::<T>(region, id).filter(|task| task.stage().is_active());
            let Some(held) = held else { return Ok(None) };
            let mut task = T::clone(&held);
            let decided = decide(&mut task, txn);
            txn.put(region, task);
            Ok(Some(decided))
        })
        .await
}

/// How far it has come. Says whether it goes on.
pub async fn reached<T: Transfer>(cloud: &Cloud, region: &Region, id: &T::Id, stage: Stage) -> Result<bool> {
    let changed = change::<T, ()>(cloud, region, id, Mode::Shared, |task, _| task.set_stage(stage.clone()));
    Ok(changed.await?.is_some())
}

/// Its file is an archive: it brings these disks, by their files' names and sizes. Says whether it goes on.
pub async fn unpacked<T: Importing>(
    cloud: &Cloud,
    region: &Region,
    id: &T::Id,
    members: Vec<(String, u64)>,
) -> Result<bool> {
    let changed = change::<T, ()>(cloud, region, id, Mode::Shared, |task, _| {
        let Some(archive) = task.disks().first().cloned() else { return };
        let disk = |(index, (name, bytes)): (usize, &(String, u64))| Disk {
            member: Some(name.clone()),
            bytes: Some(*bytes),
            stated: None,
            device: archive.device.clone().filter(|_| index == 0),
            ..archive.clone()
        };
        task.set_disks(members.iter().enumerate().map(disk).collect());
    });
    Ok(changed.await?.is_some())
}

/// What was found of a disk's file.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub format: DiskFormat,
    /// Of the disk.
    pub bytes: u64,
    /// Of the root of an image.
    pub boots: Option<(Architecture, BootMode)>,
}

/// Begins the snapshot of a disk, in place of one that an earlier attempt began.
pub async fn begin<T: Importing>(
    cloud: &Cloud,
    region: &Region,
    id: &T::Id,
    index: usize,
    found: Found,
) -> Result<Option<SnapshotId>> {
    let now = cloud.clock.now();
    let begun = change::<T, _>(cloud, region, id, Mode::Exclusive, |task, txn| {
        if let Some(boots) = found.boots {
            task.set_boots(boots);
        }
        let (account, tags, name) = (task.account(), task.snapshot_tags().clone(), task.id().to_string());
        let disk = task.disks_mut().get_mut(index)?;
        give_up(txn, region, now, disk);
        let size = GiB(u32::try_from(found.bytes.div_ceil(1 << 30)).unwrap_or(u32::MAX).max(1));
        let snapshot = SnapshotId::from_entropy(cloud.entropy.bits());
        (disk.snapshot, disk.format, disk.size) = (Some(snapshot), Some(found.format), Some(size));
        let source =
            Source::Direct(Direct { parent: None, timeout: 0, touched_at: now, seal: None, imported: true });
        let begun = Snapshot {
            description: format!("Created by AWS-VMImport service for {name}"),
            encryption: disk.encryption.clone(),
            tags,
            ..Snapshot::begun(snapshot, account, source, size, now)
        };
        txn.put(region, begun);
        Some(snapshot)
    });
    Ok(begun.await?.flatten())
}

/// Nothing more is put into a snapshot: it must be this.
pub async fn seal(cloud: &Cloud, region: &Region, id: SnapshotId, seal: Seal) -> Result<()> {
    let sealed = |txn: &mut Txn<'_>| {
        let Some(held) = txn.get::<Snapshot>(region, &id) else { return Ok(()) };
        if let (Source::Direct(direct), Life::Pending { .. }) = (&held.source, &held.life)
            && direct.seal.is_none()
        {
            let direct = Direct { seal: Some(seal.clone()), ..direct.clone() };
            txn.put(region, Snapshot { source: Source::Direct(direct), ..Snapshot::clone(&held) });
        }
        Ok(())
    };
    cloud.transact(Mode::Shared, sealed).await
}

/// All snapshots of an import are completed.
pub async fn finish<T: Importing>(cloud: &Cloud, region: &Region, id: &T::Id) -> Result<()> {
    let now = cloud.clock.now();
    let finished = change::<T, ()>(cloud, region, id, Mode::Exclusive, |task, txn| {
        task.finish(txn, region, now, cloud.entropy.bits());
    });
    finished.await.map(drop)
}

/// It can never succeed.
pub async fn fail<T: Importing>(cloud: &Cloud, region: &Region, id: &T::Id, reason: String) -> Result<()> {
    let now = cloud.clock.now();
    let failed = change::<T, ()>(cloud, region, id, Mode::Exclusive, |task, txn| {
        forsake(txn, region, now, task);
        task.set_stage(Stage::Failed { at: now, reason: reason.clone() });
    });
    failed.await.map(drop)
}

/// Deletes what an import has made. Exclusively: that no image uses it is read off an index.
pub fn forsake<T: Importing>(txn: &mut Txn<'_>, region: &Region, now: Timestamp, task: &mut T) {
    for disk in task.disks_mut() {
        give_up(txn, region, now, disk);
    }
}

/// One that its owner has locked or made an image of stays.
fn give_up(txn: &mut Txn<'_>, region: &Region, now: Timestamp, disk: &mut Disk) {
    if disk.object.is_none() {
        return;
    }
    let Some(id) = disk.snapshot.take() else { return };
    let Some(held) = txn.get::<Snapshot>(region, &id) else { return };
    let is_used = txn.tables().find::<Image>(region, "snapshot", id).next().is_some();
    if held.is_deleting() || is_used || plan::snapshot::lock::holds(&held, now) {
        return;
    }
    let gone = Snapshot {
        life: Life::Deleting,
        shared: Shared::default(),
        lock: None,
        binned: None,
        fast_restores: Vec::new(),
        ..Snapshot::clone(&held)
    };
    txn.put(region, gone);
}
