//! Disks that come from files in buckets, as snapshots and images, and images that go there: tasks and how far they are.
//!
//! Operations check and write down the task; crate `nube` reads and writes the files and tells through [`progress`] how far it has
//! come. A snapshot that an import makes is written as the EBS direct APIs write one, block by block, by the cloud
//! itself. Buckets are folders that the operator gives (`control::bucket`), which all accounts share.
//! AWS: <https://docs.aws.amazon.com/vm-import/latest/userguide/what-is-vmimport.html>
//! Differs: the disk is taken as it is, no driver or boot loader is put into the guest; Linux alone; QCOW2 besides. A
//! role is not needed and has no effect. Nothing is fetched from the network, whatever address is given.

mod cancel;
mod describe;
mod export_image;
mod import_image;
mod import_snapshot;
mod place;
pub mod progress;
mod render;

use crate::errors::{self, IdErrors, client};
use crate::noun::{Noun, touched};
use api_ec2::ops;
use control::filter::{FilterField, one};
use control::{Cloud, Context, Result, Service, Tables, Touched};
use model::record::transfer::{ACTIVE, ExportImageTask, ImportImageTask, ImportSnapshotTask, Stage};
use std::sync::Arc;
use std::time::Duration;

/// How long a task that has ended is described.
const SHOWN: Duration = Duration::from_hours(24 * 30);
/// Of one image.
pub const MOST_DISKS: usize = 20;
/// Of one kind that an account may have in progress in a region.
const MOST_ACTIVE: usize = 20;

macro_rules! nouns {
    ($($name:ident = $kind:literal, $errors:expr;)*) => {$(
        impl Noun for $name {
            const RESOURCE_TYPE: &'static str = $kind;
            const ERRORS: IdErrors = $errors;
            const PAGE: std::ops::RangeInclusive<i32> = 1..=1000;

            fn filters() -> &'static [FilterField<Self, Tables>] {
                &[FilterField { name: "task-state", values: |task, _| one(task.stage.status()) }]
            }
        }
    )*};
}

nouns! {
    ImportSnapshotTask = "import-snapshot-task", errors::IMPORT_TASK;
    ImportImageTask = "import-image-task", errors::IMPORT_TASK;
    ExportImageTask = "export-image-task", errors::EXPORT_TASK;
}

/// Refuses one more than an account may have in progress.
fn may_begin<T: Noun>(ctx: &Context, tables: &Tables) -> Result<()> {
    if tables.find::<T>(&ctx.region, ACTIVE, ctx.account()).count() < MOST_ACTIVE {
        return Ok(());
    }
    Err(client(
        "ResourceCountExceeded",
        format!("The account has {MOST_ACTIVE} tasks of this kind in progress, which is the most at a time."),
    ))
}

/// A description of a task: at most 255 characters.
fn description(given: Option<&str>) -> Result<Option<String>> {
    let text = crate::snapshot::description(given)?;
    Ok((!text.is_empty()).then_some(text))
}

/// Removes the tasks that ended long enough ago.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    fn over(stage: &Stage, now: model::Timestamp) -> bool {
        stage.ended_at().is_some_and(|at| now.since(at) >= SHOWN)
    }
    crate::sweep::remove::<ImportSnapshotTask>(cloud, |task, now| over(&task.stage, now)).await?;
    crate::sweep::remove::<ImportImageTask>(cloud, |task, now| over(&task.stage, now)).await?;
    crate::sweep::remove::<ExportImageTask>(cloud, |task, now| over(&task.stage, now)).await
}

pub fn register(service: &mut Service) {
    service
        .exclusive_seeing(
            ops::ImportSnapshot,
            import_snapshot::touches,
            import_snapshot::look,
            import_snapshot::import,
        )
        .exclusive_seeing(ops::ImportImage, import_image::touches, import_image::look, import_image::import)
        .exclusive_seeing(ops::ExportImage, export_image::touches, export_image::look, export_image::export)
        .exclusive(ops::CancelImportTask, cancel::touches_import, cancel::import)
        .exclusive(
            ops::CancelExportTask,
            |ctx, request, tables| touched::<ExportImageTask>(ctx, tables, [&request.export_task_id]),
            cancel::export,
        )
        .read(
            ops::DescribeImportSnapshotTasks,
            |_, _, _| Touched::anything(),
            describe::import_snapshot_tasks,
        )
        .read(ops::DescribeImportImageTasks, |_, _, _| Touched::anything(), describe::import_image_tasks)
        .read(ops::DescribeExportImageTasks, |_, _, _| Touched::anything(), describe::export_image_tasks);
}
