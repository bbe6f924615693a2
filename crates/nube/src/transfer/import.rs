//! A file becomes a snapshot.
//!
//! ```text
//! open in its bucket ─► see what it is ─► (convert) ─► begin a snapshot ─► put its blocks ─► seal ─► wait for the host
//! ```
//! From the seal on a restart only waits; before, it begins anew. An archive (OVA) is looked into first: each disk in it is a
//! disk of the task then.

use super::{BLOCKS_AT_ONCE, LOOK_AGAIN, Stop, Transfers, Work, ask, blocking, joined};
use control::bucket::{Buckets, Missing};
use ec2::transfer::MOST_DISKS;
use ec2::transfer::progress::{self, Found, Importing};
use images::import::disk::{self, Plain};
use images::import::ova;
use model::Blob;
use model::host::blocks::{BLOCK, BlockReply, BlockRequest, Seal};
use model::record::snapshot::{Life, Snapshot, Source};
use model::record::transfer::{Disk, DiskFormat, Object, Stage};
use model::{Region, SnapshotId};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Between two that are written down, in percent.
const STEP: u8 = 5;
/// What is through once a disk is plain, and once its blocks are with the host.
const OPENED: u64 = 10;
const PUT: u64 = 95;

/// How a snapshot of an import stands.
#[derive(PartialEq, Eq)]
enum Standing {
    /// It has to be written, from the beginning.
    Unwritten,
    Sealed,
    Completed,
}

impl Transfers {
    pub(super) async fn import<T: Importing>(&self, region: &Region, id: T::Id) -> Result<(), Stop> {
        self.active::<T>(region, &id)?;
        let _slot = self.slots.acquire().await.map_err(Stop::server)?;
        let done = self.bring::<T>(region, &id).await;
        if let Err(Stop::Failed(reason)) = done {
            progress::fail::<T>(&self.cloud, region, &id, reason).await?;
            return Ok(());
        }
        done
    }

    async fn bring<T: Importing>(&self, region: &Region, id: &T::Id) -> Result<(), Stop> {
        self.unpack::<T>(region, id).await?;
        let disks = self.active::<T>(region, id)?.disks().len();
        for index in 0..disks {
            let task = self.active::<T>(region, id)?;
            let Some(disk) = task.disks().get(index) else { break };
            if self.standing(region, disk)? == Standing::Unwritten {
                self.disk::<T>(region, id, index).await?;
            }
        }
        loop {
            let task = self.active::<T>(region, id)?;
            let mut waits = false;
            for disk in task.disks() {
                match self.standing(region, disk)? {
                    Standing::Completed => {}
                    Standing::Sealed => waits = true,
                    Standing::Unwritten => {
                        return Err(Stop::Later("a snapshot is to be written anew".into()));
                    }
                }
            }
            if !waits {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        progress::finish::<T>(&self.cloud, region, id).await?;
        Ok(())
    }

    /// Looks into a file that may be an archive.
    async fn unpack<T: Importing>(&self, region: &Region, id: &T::Id) -> Result<(), Stop> {
        let task = self.active::<T>(region, id)?;
        let disk = task.disks().first().filter(|_| task.may_be_archive());
        let Some(Disk { object: Some(object), stated, .. }) = disk else { return Ok(()) };
        let (object, stated) = (object.clone(), *stated);
        let buckets = self.cloud.settings.buckets.clone();
        let members = blocking(move || {
            let file = open(buckets.as_ref(), &object)?;
            if stated != Some(DiskFormat::Ova) && !ova::is_archive(&file) {
                return Ok(None);
            }
            Ok(Some(ova::disks(&file)?))
        });
        let Some(members) = members.await? else { return Ok(()) };
        if members.len() > MOST_DISKS {
            return Err(Stop::client(format!(
                "Disk validation failed [it has more than {MOST_DISKS} disks]"
            )));
        }
        let members = members.into_iter().map(|member| (member.name, member.bytes)).collect();
        let goes_on = progress::unpacked::<T>(&self.cloud, region, id, members).await?;
        if goes_on { Ok(()) } else { Err(Stop::Over) }
    }

    fn standing(&self, region: &Region, disk: &Disk) -> Result<Standing, Stop> {
        let Some(id) = disk.snapshot else { return Ok(Standing::Unwritten) };
        let tables = self.cloud.view.read();
        let snapshot = tables.get::<Snapshot>(region, &id);
        let gone = || Stop::client("The snapshot was deleted before it was completed.");
        let snapshot = snapshot.filter(|held| held.binned.is_none()).ok_or_else(gone)?;
        match (&snapshot.life, &snapshot.source) {
            (Life::Completed { .. }, _) => Ok(Standing::Completed),
            (Life::Pending { .. }, Source::Direct(direct)) if direct.seal.is_some() => Ok(Standing::Sealed),
            (Life::Pending { .. }, _) => Ok(Standing::Unwritten),
            (Life::Failed { reason }, _) => Err(Stop::server(reason)),
            (Life::Deleting, _) => Err(gone()),
        }
    }

    async fn disk<T: Importing>(&self, region: &Region, id: &T::Id, index: usize) -> Result<(), Stop> {
        let task = self.active::<T>(region, id)?;
        let Some(Disk { object: Some(object), stated, member, .. }) = task.disks().get(index).cloned() else {
            return Err(Stop::client("The snapshot was deleted."));
        };
        if task.stage() == &Stage::Pending {
            self.reached::<T>(region, id, Stage::Validating).await?;
        }
        let work = Work::new(&self.folder, id)?;
        let buckets = self.cloud.settings.buckets.clone();
        let to_boot = task.to_boot().filter(|_| index == 0);
        let (path, wanted) = (work.path().to_owned(), self.wanted::<T>(region, id));
        let (plain, boots) = blocking(move || {
            let file = open(buckets.as_ref(), &object)?;
            let plain = match member {
                Some(name) => ova::open(&file, &name, &path, &wanted)?,
                None => disk::open(file, stated, &path, &wanted)?,
            };
            let boots = to_boot.map(|wanted| disk::boots(&plain, wanted)).transpose()?;
            Ok((plain, boots))
        })
        .await?;
        let found = Found { format: plain.format, bytes: plain.size, boots };
        let begun = progress::begin::<T>(&self.cloud, region, id, index, found).await?;
        let snapshot = begun.ok_or(Stop::Over)?;
        let seal = self.put::<T>(region, id, snapshot, index, plain).await?;
        progress::seal(&self.cloud, region, snapshot, seal).await?;
        Ok(())
    }

    /// Puts all of a disk's blocks into its snapshot, and says what that must hold then.
    async fn put<T: Importing>(
        &self,
        region: &Region,
        id: &T::Id,
        snapshot: SnapshotId,
        index: usize,
        plain: Plain,
    ) -> Result<Seal, Stop> {
        let blocks = plain.size.div_ceil(BLOCK as u64).max(1);
        let disks = self.active::<T>(region, id)?.disks().len().max(1) as u64;
        let (sender, mut read) = mpsc::channel::<(u64, Vec<u8>)>(BLOCKS_AT_ONCE);
        let reading = tokio::task::spawn_blocking(move || {
            disk::blocks(&plain, BLOCK, |index, block| sender.blocking_send((index, block)).is_ok())
        });
        let (mut changed, mut sums) = (0, Sha256::new());
        let mut putting = JoinSet::new();
        let mut shown = 0;
        while let Some((block, data)) = read.recv().await {
            changed += 1;
            sums.update(Sha256::digest(&data));
            if putting.len() >= BLOCKS_AT_ONCE {
                joined(putting.join_next().await)?;
            }
            putting.spawn(self.put_one::<T>(region, id, snapshot, block, data.into()));
            let through = (index as u64 * 100 + OPENED + (PUT - OPENED) * block / blocks) / disks;
            let percent = u8::try_from(through.min(99)).unwrap_or(99);
            if percent >= shown + STEP {
                shown = percent;
                self.reached::<T>(region, id, Stage::Converting { percent }).await?;
            }
        }
        while let Some(done) = putting.join_next().await {
            joined(Some(done))?;
        }
        match reading.await {
            Ok(read) => read.map_err(|error| {
                tracing::warn!(%error, "a disk cannot be read");
                Stop::client("Disk validation failed [the given S3 object cannot be read]")
            })?,
            Err(error) => return Err(Stop::server(error)),
        }
        let percent = u8::try_from((index as u64 * 100 + PUT) / disks).unwrap_or(99);
        self.reached::<T>(region, id, Stage::Converting { percent }).await?;
        Ok(Seal { changed, checksum: Some(Blob::from(sums.finalize().to_vec())) })
    }

    fn put_one<T: Importing>(
        &self,
        region: &Region,
        id: &T::Id,
        snapshot: SnapshotId,
        index: u64,
        data: Blob,
    ) -> impl Future<Output = Result<(), Stop>> + Send + 'static {
        let (cloud, region, id) = (self.cloud.clone(), region.clone(), id.clone());
        async move {
            let goes_on = || {
                progress::active::<T>(&cloud, &region, &id).ok_or(Stop::Over)?;
                let tables = cloud.view.read();
                let held = tables.get::<Snapshot>(&region, &snapshot);
                match held.map(|held| &held.life) {
                    Some(Life::Pending { .. }) => Ok(()),
                    Some(Life::Failed { reason }) => Err(Stop::server(reason)),
                    _ => Err(Stop::client("The snapshot was deleted before it was completed.")),
                }
            };
            match ask(&cloud, BlockRequest::Put { snapshot, index, data }, goes_on).await? {
                BlockReply::Stored => Ok(()),
                other => Err(Stop::server(format!("the host answered {other:?}"))),
            }
        }
    }
}

fn open(buckets: Option<&Buckets>, object: &Object) -> Result<File, Stop> {
    let failed = |why: &str| Stop::client(format!("Disk validation failed [{why}]"));
    let buckets = buckets.ok_or_else(|| failed("The given S3 bucket does not exist"))?;
    buckets.open(&object.bucket, &object.key).map_err(|why| match why {
        Missing::Bucket => failed("The given S3 bucket does not exist"),
        Missing::Object => failed("The given S3 object does not exist"),
        Missing::Unusable(error) => {
            tracing::warn!(bucket = object.bucket, key = object.key, %error, "an object cannot be read");
            failed("The given S3 object cannot be accessed")
        }
    })
}
