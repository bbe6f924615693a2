//! An image becomes a file.
//!
//! ```text
//! blocks of its root's snapshot ─► a raw disk ─► (convert) ─► a hidden file in the bucket ─► the object
//! ```

use super::{BLOCKS_AT_ONCE, Stop, Transfers, Work, ask, blocking, joined};
use control::bucket::Missing;
use ec2::transfer::progress;
use images::import::{disk, room_at};
use model::host::blocks::{BLOCK, BlockReply, BlockRequest};
use model::record::snapshot::Snapshot;
use model::record::transfer::{DiskFormat, ExportImageTask, Stage};
use model::{ExportImageTaskId, Region};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Blocks that are listed at a time.
const PAGE: usize = 1000;
const STEP: u8 = 5;
/// What is through when the blocks are there, of a disk that is converted then.
const READ: u64 = 60;

impl Transfers {
    pub(super) async fn export(&self, region: &Region, id: ExportImageTaskId) -> Result<(), Stop> {
        let task = self.cloud.view.read().get::<ExportImageTask>(region, &id).cloned();
        let Some(task) = task else { return Ok(()) };
        match task.stage {
            Stage::Completed { .. } => return Ok(()),
            Stage::Failed { .. } | Stage::Cancelled { .. } => {
                self.clear(&task);
                return Ok(());
            }
            Stage::Pending | Stage::Validating | Stage::Converting { .. } => {}
        }
        let _slot = self.slots.acquire().await.map_err(Stop::server)?;
        let stage = match self.write(region, &task).await {
            Ok(()) => Stage::Completed { at: self.cloud.clock.now() },
            Err(Stop::Failed(reason)) => Stage::Failed { at: self.cloud.clock.now(), reason },
            Err(stop) => {
                self.clear(&task);
                return Err(stop);
            }
        };
        self.reached::<ExportImageTask>(region, &id, stage).await
    }

    /// Removes what is left of an attempt.
    fn clear(&self, task: &ExportImageTask) {
        let object = task.object();
        let buckets = self.cloud.settings.buckets.as_ref();
        if let Some(Err(why)) = buckets.map(|buckets| buckets.clear(&object.bucket, &object.key)) {
            tracing::debug!(task = %task.task, ?why, "nothing of an export can be removed");
        }
    }

    async fn write(&self, region: &Region, task: &ExportImageTask) -> Result<(), Stop> {
        let id = task.task;
        self.reached::<ExportImageTask>(region, &id, Stage::Validating).await?;
        let work = Work::new(&self.folder, id)?;
        let raw = work.path().join("raw");
        self.read(region, task, &raw).await?;
        self.active::<ExportImageTask>(region, &id)?;
        let (format, size, path) = (task.format, task.size.bytes(), work.path().to_owned());
        let wanted = self.wanted::<ExportImageTask>(region, &id);
        let made = blocking(move || match format {
            DiskFormat::Raw => Ok(raw),
            other => Ok(disk::convert(&raw, size, other, &path, &wanted)?),
        })
        .await?;
        self.reached::<ExportImageTask>(region, &id, Stage::Converting { percent: 90 }).await?;
        let buckets = self.cloud.settings.buckets.clone();
        let buckets = buckets.ok_or_else(|| Stop::client("The given S3 bucket does not exist"))?;
        let object = task.object();
        let (goes_on, wanted) = (self.goes_on(region, task), self.wanted::<ExportImageTask>(region, &id));
        blocking(move || {
            let (writing, file) = buckets.create(&object.bucket, &object.key).map_err(|why| match why {
                Missing::Bucket => Stop::client("The given S3 bucket does not exist"),
                Missing::Object => Stop::client("The given S3 prefix cannot be written to"),
                Missing::Unusable(error) => Stop::server(error),
            })?;
            disk::copy(&File::open(&made)?, &file, &wanted)?;
            goes_on()?;
            writing.finish(&file)?;
            Ok(())
        })
        .await
    }

    /// Brings the snapshot onto the disk, holes kept.
    async fn read(&self, region: &Region, task: &ExportImageTask, to: &Path) -> Result<(), Stop> {
        let file = File::options().read(true).write(true).create_new(true).open(to)?;
        file.set_len(task.size.bytes())?;
        let file = Arc::new(file);
        let (id, snapshot) = (task.task, task.snapshot);
        let blocks = (task.size.bytes() / BLOCK as u64).max(1);
        let (mut from, mut shown) = (0, 0);
        loop {
            room_at(to)?;
            let goes_on = self.goes_on(region, task);
            let asked = BlockRequest::List { snapshot, from, most: PAGE };
            let BlockReply::Listed(page) = ask(&self.cloud, asked, goes_on).await? else {
                return Err(Stop::server("the host lists no blocks"));
            };
            let Some(last) = page.last().copied() else { return Ok(()) };
            let mut getting = JoinSet::new();
            for index in page {
                if getting.len() >= BLOCKS_AT_ONCE {
                    joined(getting.join_next().await)?;
                }
                let (cloud, file, goes_on) = (self.cloud.clone(), file.clone(), self.goes_on(region, task));
                getting.spawn(async move {
                    match ask(&cloud, BlockRequest::Get { snapshot, index }, goes_on).await? {
                        BlockReply::Block(None) => Ok(()),
                        BlockReply::Block(Some(block)) => {
                            blocking(move || Ok(file.write_all_at(block.as_slice(), index * BLOCK as u64)?))
                                .await
                        }
                        other => Err(Stop::server(format!("the host answered {other:?}"))),
                    }
                });
                let through = if task.format == DiskFormat::Raw { 85 } else { READ } * index / blocks;
                let percent = u8::try_from(through).unwrap_or(99);
                if percent >= shown + STEP {
                    shown = percent;
                    self.reached::<ExportImageTask>(region, &id, Stage::Converting { percent }).await?;
                }
            }
            while let Some(done) = getting.join_next().await {
                joined(Some(done))?;
            }
            from = last + 1;
        }
    }

    /// Whether the task does, and its snapshot is there.
    fn goes_on(
        &self,
        region: &Region,
        task: &ExportImageTask,
    ) -> impl Fn() -> Result<(), Stop> + Send + Sync + 'static {
        let (cloud, region, id, snapshot) = (self.cloud.clone(), region.clone(), task.task, task.snapshot);
        move || {
            progress::active::<ExportImageTask>(&cloud, &region, &id).ok_or(Stop::Over)?;
            let tables = cloud.view.read();
            let held = tables.get::<Snapshot>(&region, &snapshot);
            let there = held.is_some_and(|held| held.is_completed() && held.is_usable(cloud.clock.now()));
            if there { Ok(()) } else { Err(Stop::client("The snapshot of the image is there no more.")) }
        }
    }
}
