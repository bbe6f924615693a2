//! `DescribeVolumeAttribute`, `ModifyVolumeAttribute`, `EnableVolumeIO`.
//!
//! I/O of a volume is never held back here over a doubt about its data, so enabling it finds it enabled.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolumeAttribute.html>

use super::errors;
use crate::errors::{invalid_parameter_value, missing_parameter};
use crate::noun::{find, hold};
use api_ec2::{
    AttributeBooleanValue, DescribeVolumeAttributeRequest, DescribeVolumeAttributeResult,
    EnableVolumeIORequest, EnableVolumeIOResult, ModifyVolumeAttributeRequest, ModifyVolumeAttributeResult,
    VolumeAttributeName as Name,
};
use control::{Context, Result, Tables, Txn};
use model::record::volume::{Life, Volume};

pub fn describe(
    ctx: &Context,
    request: &DescribeVolumeAttributeRequest,
    tables: &Tables,
) -> Result<DescribeVolumeAttributeResult> {
    let volume = find::<Volume>(ctx, tables, &request.volume_id)?;
    let answer = DescribeVolumeAttributeResult {
        volume_id: Some(volume.volume.to_string()),
        ..DescribeVolumeAttributeResult::default()
    };
    match &request.attribute {
        Name::AutoEnableIo => Ok(DescribeVolumeAttributeResult {
            auto_enable_io: Some(AttributeBooleanValue { value: Some(volume.auto_enable_io) }),
            ..answer
        }),
        Name::ProductCodes => Ok(DescribeVolumeAttributeResult { product_codes: Some(Vec::new()), ..answer }),
        Name::Other(name) => {
            let shown: String = name.chars().take(64).collect();
            Err(invalid_parameter_value(format!("Value ({shown}) for parameter attribute is invalid.")))
        }
    }
}

pub fn modify(
    ctx: &Context,
    request: &ModifyVolumeAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyVolumeAttributeResult> {
    let volume = hold::<Volume>(ctx, txn, &request.volume_id)?;
    let value = request.auto_enable_io.as_ref().and_then(|auto| auto.value);
    let auto_enable_io = value.ok_or_else(|| missing_parameter("autoEnableIO"))?;
    txn.put(&ctx.region, Volume { auto_enable_io, ..(*volume).clone() });
    Ok(ModifyVolumeAttributeResult {})
}

pub fn enable_io(
    ctx: &Context,
    request: &EnableVolumeIORequest,
    txn: &mut Txn<'_>,
) -> Result<EnableVolumeIOResult> {
    let volume = hold::<Volume>(ctx, txn, &request.volume_id)?;
    match volume.life {
        Life::Ready => Ok(EnableVolumeIOResult {}),
        Life::Creating | Life::Failed { .. } | Life::Deleting => {
            Err(errors::incorrect_state(volume.volume, volume.state_name(), "'available' or 'in-use'"))
        }
    }
}
