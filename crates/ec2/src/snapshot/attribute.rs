//! `DescribeSnapshotAttribute`, `ModifySnapshotAttribute`, `ResetSnapshotAttribute`: who may make volumes of a snapshot.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySnapshotAttribute.html>

use super::{errors, own};
use crate::account_settings;
use crate::encryption::may_be_shared;
use crate::errors::{invalid_parameter_value, missing_parameter};
use crate::noun::find;
use crate::permission::{Change, Whom, account, group};
use api_ec2::{
    CreateVolumePermission, DescribeSnapshotAttributeRequest, DescribeSnapshotAttributeResult,
    ModifySnapshotAttributeRequest, ModifySnapshotAttributeResult, OperationType, PermissionGroup,
    ResetSnapshotAttributeRequest, ResetSnapshotAttributeResult, SnapshotAttributeName as Name,
};
use control::{Context, Result, Tables, Txn};
use model::record::account::PublicSnapshots;
use model::record::snapshot::{Shared, Snapshot};
use wire::ApiError;

fn unknown(name: &str) -> ApiError {
    let shown: String = name.chars().take(64).collect();
    invalid_parameter_value(format!("Value ({shown}) for parameter attribute is invalid."))
}

pub fn describe(
    ctx: &Context,
    request: &DescribeSnapshotAttributeRequest,
    tables: &Tables,
) -> Result<DescribeSnapshotAttributeResult> {
    let snapshot = find::<Snapshot>(ctx, tables, &request.snapshot_id)?;
    if snapshot.account != ctx.account() {
        return Err(errors::not_yours(snapshot.snapshot));
    }
    let answer = DescribeSnapshotAttributeResult {
        snapshot_id: Some(snapshot.snapshot.to_string()),
        ..DescribeSnapshotAttributeResult::default()
    };
    match &request.attribute {
        Name::ProductCodes => {
            Ok(DescribeSnapshotAttributeResult { product_codes: Some(Vec::new()), ..answer })
        }
        Name::CreateVolumePermission => {
            let everybody = CreateVolumePermission { group: Some(PermissionGroup::All), user_id: None };
            let accounts = snapshot.shared.accounts.iter();
            let accounts = accounts
                .map(|account| CreateVolumePermission { user_id: Some(account.to_string()), group: None });
            let all = snapshot.shared.everybody.then_some(everybody).into_iter().chain(accounts);
            Ok(DescribeSnapshotAttributeResult { create_volume_permissions: Some(all.collect()), ..answer })
        }
        Name::Other(name) => Err(unknown(name)),
    }
}

fn named(given: Option<&[CreateVolumePermission]>) -> Result<Vec<Whom>> {
    let each =
        given.unwrap_or_default().iter().map(|permission| match (&permission.user_id, &permission.group) {
            (Some(user), None) => account(user).map(Whom::Account),
            (None, Some(name)) => group(name.as_str()),
            (Some(_), Some(_)) | (None, None) => {
                Err(invalid_parameter_value("A permission is for either a UserId or a Group."))
            }
        });
    each.collect()
}

pub fn modify(
    ctx: &Context,
    request: &ModifySnapshotAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifySnapshotAttributeResult> {
    match &request.attribute {
        None | Some(Name::CreateVolumePermission) => {}
        Some(Name::ProductCodes) => {
            return Err(crate::parameter::unsupported("Changing the product codes of a snapshot"));
        }
        Some(Name::Other(name)) => return Err(unknown(name)),
    }
    let given = request.create_volume_permission.as_ref();
    let change = Change::parse(
        named(given.and_then(|given| given.add.as_deref()))?,
        named(given.and_then(|given| given.remove.as_deref()))?,
        request.operation_type.as_ref().map(OperationType::as_str),
        request.user_ids.as_deref(),
        request.group_names.as_deref(),
    )?;
    if change.is_empty() {
        return Err(missing_parameter("createVolumePermission"));
    }
    let snapshot = own(ctx, txn, &request.snapshot_id)?;
    let settings = account_settings::of(ctx, txn);
    if change.makes_public() && settings.public_snapshots != PublicSnapshots::Allowed {
        return Err(errors::public_access_is_blocked("snapshot"));
    }
    if change.adds() {
        may_be_shared(ctx, txn.tables(), &snapshot.encryption, change.makes_public())?;
    }
    let mut snapshot = Snapshot::clone(&snapshot);
    change.apply(&mut snapshot.shared.everybody, &mut snapshot.shared.accounts);
    plan::snapshot::fast::end_unshared(&mut snapshot, ctx.now);
    txn.put(&ctx.region, snapshot);
    Ok(ModifySnapshotAttributeResult {})
}

pub fn reset(
    ctx: &Context,
    request: &ResetSnapshotAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ResetSnapshotAttributeResult> {
    match &request.attribute {
        Name::CreateVolumePermission => {}
        Name::ProductCodes => return Err(unknown("productCodes")),
        Name::Other(name) => return Err(unknown(name)),
    }
    let snapshot = own(ctx, txn, &request.snapshot_id)?;
    let shared = Shared { withheld: snapshot.shared.withheld, ..Shared::default() };
    let mut snapshot = Snapshot { shared, ..(*snapshot).clone() };
    plan::snapshot::fast::end_unshared(&mut snapshot, ctx.now);
    txn.put(&ctx.region, snapshot);
    Ok(ResetSnapshotAttributeResult {})
}
