//! `ImportSnapshot`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportSnapshot.html>

use super::{description, may_begin, place, render};
use crate::encryption;
use crate::errors::missing_parameter;
use crate::noun::{created, given_tags, render_tags};
use api_ec2::{ImportSnapshotRequest, ImportSnapshotResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::ImportSnapshotTaskId;
use model::record::transfer::{ImportSnapshotTask, Stage};

pub fn touches(ctx: &Context, _: &ImportSnapshotRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "import-snapshot-task"), created(ctx, "snapshot")]
}

pub fn import(
    ctx: &Context,
    request: &ImportSnapshotRequest,
    txn: &mut Txn<'_>,
) -> Result<ImportSnapshotResult> {
    let container = request.disk_container.as_ref().ok_or_else(|| missing_parameter("DiskContainer"))?;
    let asked = encryption::asked(request.encrypted, request.kms_key_id.as_deref())?;
    let kinds = ["import-snapshot-task", "snapshot"];
    let mut tags = given_tags(request.tag_specifications.as_deref(), &kinds)?;
    let description = description(request.description.as_deref())?;
    may_begin::<ImportSnapshotTask>(ctx, txn.tables())?;
    let given = place::Given {
        url: container.url.as_deref(),
        bucket: container.user_bucket.as_ref(),
        format: container.format.as_deref(),
        description: container.description.as_deref(),
        device: None,
    };
    let disk = place::disk(ctx, &given, None)?;
    let choice =
        encryption::choose_of(ctx, txn, asked.as_ref(), None).map_err(encryption::refused)?.encryption(ctx);
    let task = ImportSnapshotTask {
        task: ImportSnapshotTaskId::from_entropy(ctx.bits()),
        account: ctx.account(),
        created_at: ctx.now,
        description,
        disk: model::record::transfer::Disk { encryption: choice, ..disk },
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
