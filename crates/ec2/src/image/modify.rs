//! `ModifyImageAttribute`, `ResetImageAttribute`, `CancelImageLaunchPermission`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyImageAttribute.html>

use super::{errors, own};
use crate::account_settings;
use crate::encryption::may_be_shared;
use crate::errors::{invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::hold;
use crate::parameter::{refuse, unsupported};
use crate::permission::{Change, Whom, account, group};
use crate::snapshot::errors::public_access_is_blocked;
use api_ec2::{
    CancelImageLaunchPermissionRequest, CancelImageLaunchPermissionResult, LaunchPermission,
    ModifyImageAttributeRequest, ModifyImageAttributeResult, OperationType, ResetImageAttributeName as Reset,
    ResetImageAttributeRequest, ResetImageAttributeResult,
};
use control::{Context, Result, Txn};
use model::record::image::{Image, Registration, State};
use model::record::snapshot::Snapshot;
use wire::ApiError;

fn unknown(name: &str) -> ApiError {
    let shown: String = name.chars().take(64).collect();
    invalid_parameter_value(format!("Value ({shown}) for parameter attribute is invalid."))
}

fn named(given: Option<&[LaunchPermission]>) -> Result<Vec<Whom>> {
    let each = given.unwrap_or_default().iter().map(|permission| {
        if permission.organization_arn.is_some() || permission.organizational_unit_arn.is_some() {
            return Err(unsupported("Sharing an image with an organization"));
        }
        match (&permission.user_id, &permission.group) {
            (Some(user), None) => account(user).map(Whom::Account),
            (None, Some(name)) => group(name.as_str()),
            (Some(_), Some(_)) | (None, None) => {
                Err(invalid_parameter_value("A permission is for either a UserId or a Group."))
            }
        }
    });
    each.collect()
}

/// One of these changes.
enum Modification {
    Description(String),
    Permission(Change),
    Imds(String),
}

fn modification(request: &ModifyImageAttributeRequest) -> Result<Modification> {
    let given = request.launch_permission.as_ref();
    let change = Change::parse(
        named(given.and_then(|given| given.add.as_deref()))?,
        named(given.and_then(|given| given.remove.as_deref()))?,
        request.operation_type.as_ref().map(OperationType::as_str),
        request.user_ids.as_deref(),
        request.user_groups.as_deref(),
    )?;
    let attribute = request.attribute.as_deref().filter(|name| !name.is_empty());
    let value = |named: Option<&api_ec2::AttributeValue>| {
        named.and_then(|named| named.value.clone()).or_else(|| request.value.clone())
    };
    let mut asked = Vec::new();
    if !change.is_empty() {
        asked.push(Modification::Permission(change));
    }
    if request.description.is_some() || attribute == Some("description") {
        let text = value(request.description.as_ref()).ok_or_else(|| missing_parameter("value"))?;
        asked.push(Modification::Description(text));
    }
    if request.imds_support.is_some() || attribute == Some("imdsSupport") {
        let text = value(request.imds_support.as_ref()).ok_or_else(|| missing_parameter("value"))?;
        asked.push(Modification::Imds(text));
    }
    match attribute {
        None | Some("description" | "imdsSupport" | "launchPermission") => {}
        Some("productCodes") => return Err(unsupported("Changing the product codes of an image")),
        Some(other) => return Err(unknown(other)),
    }
    match (asked.pop(), asked.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(invalid_parameter_combination("One call changes one attribute of an image.")),
        (None, _) => Err(missing_parameter("attribute")),
    }
}

pub fn modify(
    ctx: &Context,
    request: &ModifyImageAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyImageAttributeResult> {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    refuse(&[
        ("OrganizationArn", some(&request.organization_arns)),
        ("OrganizationalUnitArn", some(&request.organizational_unit_arns)),
        ("ProductCode", some(&request.product_codes)),
    ])?;
    let modification = modification(request)?;
    let mut image = Image::clone(&*own(ctx, txn, &request.image_id)?);
    match modification {
        Modification::Description(text) => image.description = super::names::description(Some(&text))?,
        Modification::Imds(text) if text == "v2.0" => image.traits.imds_v2 = true,
        Modification::Imds(text) => {
            let shown: String = text.chars().take(64).collect();
            return Err(invalid_parameter_value(format!("Invalid value '{shown}' for imdsSupport.")));
        }
        Modification::Permission(change) => {
            if image.registration.state == State::Disabled {
                return Err(errors::incorrect_state(&image, "'available'"));
            }
            if change.makes_public() && account_settings::of(ctx, txn).images_stay_private {
                return Err(public_access_is_blocked("image"));
            }
            if change.adds() {
                let tables = txn.tables();
                let snapshots = image.snapshots().filter_map(|id| tables.get::<Snapshot>(&ctx.region, &id));
                let encryptions = snapshots.filter_map(|snapshot| snapshot.encryption.as_ref());
                may_be_shared(ctx, tables, encryptions, change.makes_public())?;
            }
            change.apply(&mut image.public, &mut image.registration.shared);
        }
    }
    txn.put(&ctx.region, image);
    Ok(ModifyImageAttributeResult {})
}

pub fn reset(
    ctx: &Context,
    request: &ResetImageAttributeRequest,
    txn: &mut Txn<'_>,
) -> Result<ResetImageAttributeResult> {
    match &request.attribute {
        Reset::LaunchPermission => {}
        Reset::Other(name) => return Err(unknown(name)),
    }
    let image = own(ctx, txn, &request.image_id)?;
    let registration =
        Registration { shared: std::collections::BTreeSet::new(), ..image.registration.clone() };
    txn.put(&ctx.region, Image { public: false, registration, ..(*image).clone() });
    Ok(ResetImageAttributeResult {})
}

/// The caller gives back the permission that its account has.
pub fn cancel(
    ctx: &Context,
    request: &CancelImageLaunchPermissionRequest,
    txn: &mut Txn<'_>,
) -> Result<CancelImageLaunchPermissionResult> {
    let image = hold::<Image>(ctx, txn, &request.image_id)?;
    let mut image = Image::clone(&image);
    if !image.registration.shared.remove(&ctx.account()) {
        return Err(crate::errors::client(
            "InvalidAMIAttributeItemValue",
            format!("The image '{}' is not shared with the account {}.", image.image, ctx.account()),
        ));
    }
    txn.put(&ctx.region, image);
    Ok(CancelImageLaunchPermissionResult { r#return: Some(true) })
}
