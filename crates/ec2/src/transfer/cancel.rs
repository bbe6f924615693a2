//! `CancelImportTask`, `CancelExportTask`: of tasks that have not ended. What they have made goes.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CancelImportTask.html>
//! Differs: a task is cancelled at once, so none is ever `deleting`.

use super::progress::{Importing, forsake};
use crate::errors::{IMPORT_TASK, client, missing_parameter};
use crate::noun::{hold, touched};
use api_ec2::{
    CancelExportTaskRequest, CancelExportTaskResult, CancelImportTaskRequest, CancelImportTaskResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::transfer::{ExportImageTask, ImportImageTask, ImportSnapshotTask, Stage};
use model::{ImportImageTaskId, ImportSnapshotTaskId};

pub fn touches_import(ctx: &Context, request: &CancelImportTaskRequest, tables: &Tables) -> Vec<Touched> {
    let ids = || request.import_task_id.iter();
    let mut all = touched::<ImportSnapshotTask>(ctx, tables, ids());
    all.extend(touched::<ImportImageTask>(ctx, tables, ids()));
    all
}

fn is_over(id: &str, stage: &Stage) -> wire::ApiError {
    client("IncorrectState", format!("The task '{id}' is '{}', not 'active'.", stage.status()))
}

fn cancel<T: Importing>(ctx: &Context, txn: &mut Txn<'_>, id: &str, reason: Option<String>) -> Result<()> {
    let held = hold::<T>(ctx, txn, id)?;
    if !held.stage().is_active() {
        return Err(is_over(id, held.stage()));
    }
    let mut task = T::clone(&held);
    forsake(txn, &ctx.region, ctx.now, &mut task);
    task.set_stage(Stage::Cancelled { at: ctx.now, reason });
    txn.put(&ctx.region, task);
    Ok(())
}

pub fn import(
    ctx: &Context,
    request: &CancelImportTaskRequest,
    txn: &mut Txn<'_>,
) -> Result<CancelImportTaskResult> {
    let id = request.import_task_id.as_deref().filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| missing_parameter("ImportTaskId"))?;
    let reason = super::description(request.cancel_reason.as_deref())?;
    if ImportSnapshotTaskId::parse(id).is_ok() {
        cancel::<ImportSnapshotTask>(ctx, txn, id, reason)?;
    } else if ImportImageTaskId::parse(id).is_ok() {
        cancel::<ImportImageTask>(ctx, txn, id, reason)?;
    } else {
        return Err(IMPORT_TASK.malformed(id));
    }
    Ok(CancelImportTaskResult {
        import_task_id: Some(id.to_owned()),
        previous_state: Some("active".to_owned()),
        state: Some("deleted".to_owned()),
    })
}

pub fn export(
    ctx: &Context,
    request: &CancelExportTaskRequest,
    txn: &mut Txn<'_>,
) -> Result<CancelExportTaskResult> {
    let held = hold::<ExportImageTask>(ctx, txn, &request.export_task_id)?;
    if !held.stage.is_active() {
        return Err(is_over(&request.export_task_id, &held.stage));
    }
    let stage = Stage::Cancelled { at: ctx.now, reason: None };
    txn.put(&ctx.region, ExportImageTask { stage, ..ExportImageTask::clone(&held) });
    Ok(CancelExportTaskResult {})
}
