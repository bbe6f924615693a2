//! GetConsoleOutput: the last 64 KiB that the instance wrote to its serial console.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html>
//! Differs: the text is always the latest, whether `Latest` asks for it or not.

use crate::noun::{find, wire_time};
use api_ec2::{GetConsoleOutputRequest, GetConsoleOutputResult};
use control::{Context, Result, errors};
use model::host::{Reply, Request};
use model::record::instance::Instance;

/// How much of the console's end is answered, in bytes.
const LIMIT: usize = 64 * 1024;

pub async fn run(ctx: Context, request: GetConsoleOutputRequest) -> Result<GetConsoleOutputResult> {
    let instance = {
        let tables = ctx.cloud.view.read();
        find::<Instance>(&ctx, &tables, &request.instance_id)?.instance
    };
    let question = Request::ConsoleOutput { instance, limit: LIMIT };
    let reply =
        ctx.cloud.host.request(question).await.map_err(|away| errors::unavailable(away.to_string()))?;
    let (output, at) = match reply {
        Reply::ConsoleOutput { text, at } => (Some(wire::Blob(text.as_slice().to_vec()).to_base64()), at),
        // It has not written anything, or its host has forgotten it.
        Reply::NotFound => (None, None),
        Reply::Failed { reason } => return Err(errors::unavailable(reason)),
        Reply::Status { .. }
        | Reply::Templates { .. }
        | Reply::Template { .. }
        | Reply::Forked { .. }
        | Reply::Trace { .. }
        | Reply::Blocks(_)
        | Reply::Tunnels { .. }
        | Reply::Done => {
            return Err(errors::internal("the host answered another question"));
        }
    };
    Ok(GetConsoleOutputResult {
        instance_id: Some(instance.to_string()),
        timestamp: Some(wire_time(at.unwrap_or(ctx.now))),
        output,
    })
}
