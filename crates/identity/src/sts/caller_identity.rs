//! `GetCallerIdentity`.

use api_sts::{GetCallerIdentityRequest, GetCallerIdentityResponse};
use control::{Context, Result, Tables};

pub(super) fn get(
    ctx: &Context,
    _: &GetCallerIdentityRequest,
    _: &Tables,
) -> Result<GetCallerIdentityResponse> {
    Ok(GetCallerIdentityResponse {
        account: Some(ctx.account().to_string()),
        arn: Some(ctx.caller.arn.clone()),
        user_id: Some(ctx.caller.user_id.clone()),
    })
}
