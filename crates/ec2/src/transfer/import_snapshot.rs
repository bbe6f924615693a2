//! `ImportSnapshot`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportSnapshot.html>

use super::place::{self, Given, Seen};
use super::{description, may_begin, render};
use crate::encryption;
use crate::errors::missing_parameter;
use crate::noun::{created, given_tags, render_tags};
use api_ec2::{ImportSnapshotRequest, ImportSnapshotResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::ImportSnapshotTaskId;
use model::record::transfer::{Disk, DiskFormat, ImportSnapshotTask, Stage};

pub fn touches(ctx: &Context, _: &ImportSnapshotRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "import-snapshot-task"), created(ctx, "snapshot")]
}

fn given(request: &ImportSnapshotRequest) -> Option<Given<'_>> {
    let container = request.disk_container.as_ref()?;
    Some(Given {
        url: container.url.as_deref(),
        bucket: container.user_bucket.as_ref(),
        format: container.format.as_deref(),
        description: container.description.as_deref(),
        device: None,
    })
}

pub fn look(ctx: &Context, request: &ImportSnapshotRequest) -> Seen {
    Seen::of(ctx, given(request).into_iter())
}

pub fn import(
    ctx: &Context,
    request: &ImportSnapshotRequest,
    seen: &Seen,
    txn: &mut Txn<'_>,
) -> Result<ImportSnapshotResult> {
    let given = given(request).ok_or_else(|| missing_parameter("DiskContainer"))?;
    let asked = encryption::asked(request.encrypted, request.kms_key_id.as_deref())?;
    let kinds = ["import-snapshot-task", "snapshot"];
    let mut tags = given_tags(request.tag_specifications.as_deref(), &kinds)?;
    let description = description(request.description.as_deref())?;
    may_begin::<ImportSnapshotTask>(ctx, txn.tables())?;
    let disk = place::disk(ctx, &given, seen, &DiskFormat::DISKS, None)?;
    let choice =
        encryption::choose_of(ctx, txn, asked.as_ref(), None).map_err(encryption::refused)?.encryption(ctx);
    let task = ImportSnapshotTask {
        task: ImportSnapshotTaskId::from_entropy(ctx.bits()),
        account: ctx.account(),
        created_at: ctx.now,
        description,
        disk: Disk { encryption: choice, ..disk },
        stage: Stage::Pending,
        snapshot_tags: tags.remove("snapshot").unwrap_or_default(),
        tags: tags.remove("import-snapshot-task").unwrap_or_default(),
    };
    let task = txn.put(&ctx.region, task);
    Ok(ImportSnapshotResult {
        description: task.description.clone(),
        import_task_id: Some(task.task.to_string()),
        snapshot_task_detail: Some(render::snapshot_task_detail(&task)),
        tags: render_tags(&task.tags),
    })
}
