//! `DeleteKeyPair`: instances keep the key they were launched with. What is gone already is a success, too.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteKeyPair.html>

use super::{by_name, name_claim};
use crate::errors::{invalid_parameter_combination, missing_parameter};
use crate::noun::Noun as _;
use api_ec2::{DeleteKeyPairRequest, DeleteKeyPairResult};
use control::{Context, Result, Txn};
use model::KeyPairId;
use model::record::key_pair::KeyPair;

pub(super) fn delete(
    ctx: &Context,
    request: &DeleteKeyPairRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteKeyPairResult> {
    let id: Option<KeyPairId> = match (&request.key_name, &request.key_pair_id) {
        (Some(_), Some(_)) => {
            return Err(invalid_parameter_combination(
                "The parameters keyName and keyPairId cannot be used together.",
            ));
        }
        (None, None) => return Err(missing_parameter("keyName or keyPairId")),
        (Some(name), None) => by_name(ctx, txn.tables(), name).map(|key| key.key_pair),
        (None, Some(id)) => Some(KeyPair::parse_id(id)?),
    };
    let known = id.and_then(|id| txn.get::<KeyPair>(&ctx.region, &id)).filter(|key| key.visible_to(ctx));
    if let Some(key) = &known {
        txn.release(&ctx.region, &name_claim(key.account, &key.name));
        txn.delete::<KeyPair>(&ctx.region, &key.key_pair);
    }
    Ok(DeleteKeyPairResult { r#return: Some(true), key_pair_id: known.map(|key| key.key_pair.to_string()) })
}
