//! `DescribeFlowLogs`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeFlowLogsRequest, DescribeFlowLogsResult};
use control::{Context, Result, Tables};
use model::record::flow_log::FlowLog;

pub fn describe(
    ctx: &Context,
    request: &DescribeFlowLogsRequest,
    tables: &Tables,
) -> Result<DescribeFlowLogsResult> {
    let query = Query {
        ids: &request.flow_log_ids,
        filters: &request.filter,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<FlowLog>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|log| render::flow_log(log)).collect();
    Ok(DescribeFlowLogsResult { flow_logs: Some(shown), next_token })
}
