//! `DeleteFlowLogs`. What was written stays.

use crate::errors::missing_parameter;
use crate::noun::{find_all, hold};
use api_ec2::{DeleteFlowLogsRequest, DeleteFlowLogsResult};
use control::{Context, Result, Txn};
use model::record::flow_log::FlowLog;
use model::record::vpc::Vpc;

pub fn delete(
    ctx: &Context,
    request: &DeleteFlowLogsRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteFlowLogsResult> {
    if request.flow_log_ids.is_empty() {
        return Err(missing_parameter("FlowLogId"));
    }
    find_all::<FlowLog>(ctx, txn.tables(), &request.flow_log_ids)?;
    for id in &request.flow_log_ids {
        // The same id twice is the same log.
        let Ok(log) = hold::<FlowLog>(ctx, txn, id) else { continue };
        txn.delete::<FlowLog>(&ctx.region, &log.log);
        // A record that is gone names no VPC: its host hears of it by the VPC's own.
        if let Some(vpc) = txn.get::<Vpc>(&ctx.region, &log.vpc) {
            txn.put(&ctx.region, Vpc::clone(&vpc));
        }
    }
    Ok(DeleteFlowLogsResult { unsuccessful: Some(Vec::new()) })
}
