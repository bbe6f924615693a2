//! `GetAccessKeyInfo`: the account that an access key belongs to.

use super::validation;
use api_sts::{GetAccessKeyInfoRequest, GetAccessKeyInfoResponse};
use control::{Context, Result, Tables};
use model::record::access_key::AccessKey;
use model::{AccessKeyId, Region};

pub(super) fn get(
    _: &Context,
    request: &GetAccessKeyInfoRequest,
    tables: &Tables,
) -> Result<GetAccessKeyInfoResponse> {
    let id = AccessKeyId::parse(&request.access_key_id).ok_or_else(|| {
        validation(
            "1 validation error detected: Value at 'accessKeyId' failed to satisfy constraint: Member must have \
             16 to 128 word characters",
        )
    })?;
    let key = tables
        .get::<AccessKey>(&Region::global(), &id)
        .ok_or_else(|| validation(format!("The access key {id} does not exist.")))?;
    Ok(GetAccessKeyInfoResponse { account: Some(key.account.to_string()) })
}
