//! `DescribeImportSnapshotTasks`, `DescribeImportImageTasks`, `DescribeExportImageTasks`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{
    DescribeExportImageTasksRequest, DescribeExportImageTasksResult, DescribeImportImageTasksRequest,
    DescribeImportImageTasksResult, DescribeImportSnapshotTasksRequest, DescribeImportSnapshotTasksResult,
};
use control::{Context, Result, Tables};
use model::record::transfer::{ExportImageTask, ImportImageTask, ImportSnapshotTask};

pub fn import_snapshot_tasks(
    ctx: &Context,
    request: &DescribeImportSnapshotTasksRequest,
    tables: &Tables,
) -> Result<DescribeImportSnapshotTasksResult> {
    let query = Query {
        ids: &request.import_task_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<ImportSnapshotTask>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|task| render::import_snapshot_task(task)).collect();
    Ok(DescribeImportSnapshotTasksResult { import_snapshot_tasks: Some(shown), next_token })
}

pub fn import_image_tasks(
    ctx: &Context,
    request: &DescribeImportImageTasksRequest,
    tables: &Tables,
) -> Result<DescribeImportImageTasksResult> {
    let query = Query {
        ids: &request.import_task_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<ImportImageTask>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|task| render::import_image_task(task)).collect();
    Ok(DescribeImportImageTasksResult { import_image_tasks: Some(shown), next_token })
}

pub fn export_image_tasks(
    ctx: &Context,
    request: &DescribeExportImageTasksRequest,
    tables: &Tables,
) -> Result<DescribeExportImageTasksResult> {
    let query = Query {
        ids: &request.export_image_task_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<ExportImageTask>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|task| render::export_image_task(task)).collect();
    Ok(DescribeExportImageTasksResult { export_image_tasks: Some(shown), next_token })
}
