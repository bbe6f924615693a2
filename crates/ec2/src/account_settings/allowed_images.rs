//! Allowed images: whose an account can see and launch.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-allowed-amis.html>

use crate::errors::{client, invalid_parameter_value};
use api_ec2::{
    AllowedImagesSettingsDisabledState as Off, AllowedImagesSettingsEnabledState as On,
    CreationDateCondition, DeprecationTimeCondition, DisableAllowedImagesSettingsResult,
    EnableAllowedImagesSettingsRequest, EnableAllowedImagesSettingsResult, GetAllowedImagesSettingsResult,
    ImageCriterion, ImageCriterionRequest, ManagedBy, ReplaceImageCriteriaInAllowedImagesSettingsRequest,
    ReplaceImageCriteriaInAllowedImagesSettingsResult,
};
use control::filter::Pattern;
use control::{Context, Result, Tables, Txn};
use model::AccountId;
use model::record::account::{AllowedImages, Criterion, Enforcement, Settings};
use model::record::image::Image;
use plan::image::allowed::{MOST_CRITERIA, MOST_VALUES, is_allowed};

/// What the caller's settings make of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They make nothing of any.
    Unasked,
    Allowed,
    /// Not allowed, and shown as that.
    Marked,
    /// Not allowed, so not there.
    Hidden,
}

pub fn verdict(ctx: &Context, settings: &AllowedImages, image: &Image) -> Verdict {
    let matches = |pattern: &str, name: &str| Pattern::new(pattern).matches(name);
    let allowed = || image.owner == ctx.account() || is_allowed(image, &settings.criteria, ctx.now, matches);
    match settings.state {
        Enforcement::Disabled => Verdict::Unasked,
        Enforcement::Audit | Enforcement::Enabled if allowed() => Verdict::Allowed,
        Enforcement::Audit => Verdict::Marked,
        Enforcement::Enabled => Verdict::Hidden,
    }
}

fn write(ctx: &Context, txn: &mut Txn<'_>, change: impl FnOnce(&mut AllowedImages)) {
    let mut settings: Settings = super::of(ctx, txn);
    change(&mut settings.allowed_images);
    txn.put(&ctx.region, settings);
}

pub fn get(ctx: &Context, tables: &Tables) -> GetAllowedImagesSettingsResult {
    let settings = super::now(ctx, tables).allowed_images;
    let days = |days: Option<u32>| days.and_then(|days| i32::try_from(days).ok());
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let criteria = settings.criteria.into_iter().map(|criterion| ImageCriterion {
        image_providers: some(criterion.providers),
        marketplace_product_codes: some(criterion.product_codes),
        image_names: some(criterion.names),
        deprecation_time_condition: criterion
            .days_since_deprecated
            .map(|given| DeprecationTimeCondition { maximum_days_since_deprecated: days(Some(given)) }),
        creation_date_condition: criterion
            .days_since_created
            .map(|given| CreationDateCondition { maximum_days_since_created: days(Some(given)) }),
    });
    GetAllowedImagesSettingsResult {
        state: Some(settings.state.as_str().to_owned()),
        image_criteria: Some(criteria.collect()),
        managed_by: Some(ManagedBy::Account),
    }
}

pub fn enable(
    ctx: &Context,
    request: &EnableAllowedImagesSettingsRequest,
    txn: &mut Txn<'_>,
) -> Result<EnableAllowedImagesSettingsResult> {
    let state = match &request.allowed_images_settings_state {
        On::Enabled => Enforcement::Enabled,
        On::AuditMode => Enforcement::Audit,
        On::Other(other) => {
            let shown: String = other.chars().take(64).collect();
            return Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter allowedImagesSettingsState is invalid."
            )));
        }
    };
    write(ctx, txn, |settings| settings.state = state);
    Ok(EnableAllowedImagesSettingsResult {
        allowed_images_settings_state: Some(request.allowed_images_settings_state.clone()),
    })
}

pub fn disable(ctx: &Context, txn: &mut Txn<'_>) -> DisableAllowedImagesSettingsResult {
    write(ctx, txn, |settings| settings.state = Enforcement::Disabled);
    DisableAllowedImagesSettingsResult { allowed_images_settings_state: Some(Off::Disabled) }
}

fn provider(text: &str) -> Result<String> {
    let known = matches!(text, "amazon" | "aws-marketplace" | "aws-backup-vault" | "none");
    if known || AccountId::parse(text).is_some() {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(64).collect();
    Err(invalid_parameter_value(format!("Invalid image provider: '{shown}'")))
}

fn days(given: Option<i32>) -> Result<Option<u32>> {
    let negative = |_| invalid_parameter_value("A number of days is not negative.");
    given.map(|days| u32::try_from(days).map_err(negative)).transpose()
}

fn criterion(given: &ImageCriterionRequest) -> Result<Criterion> {
    let providers = given.image_providers.iter().flatten().map(|text| provider(text));
    let parsed = Criterion {
        providers: providers.collect::<Result<_>>()?,
        product_codes: given.marketplace_product_codes.clone().unwrap_or_default(),
        names: given.image_names.clone().unwrap_or_default(),
        days_since_deprecated: days(
            given.deprecation_time_condition.as_ref().and_then(|c| c.maximum_days_since_deprecated),
        )?,
        days_since_created: days(
            given.creation_date_condition.as_ref().and_then(|c| c.maximum_days_since_created),
        )?,
    };
    let lists = [&parsed.providers, &parsed.product_codes, &parsed.names];
    if lists.iter().any(|list| list.len() > MOST_VALUES) {
        return Err(client(
            "InvalidParameterValue",
            format!("A criterion names at most {MOST_VALUES} providers, product codes or names."),
        ));
    }
    if parsed == Criterion::default() {
        return Err(crate::errors::missing_parameter("imageCriterion"));
    }
    Ok(parsed)
}

pub fn replace(
    ctx: &Context,
    request: &ReplaceImageCriteriaInAllowedImagesSettingsRequest,
    txn: &mut Txn<'_>,
) -> Result<ReplaceImageCriteriaInAllowedImagesSettingsResult> {
    let given = request.image_criteria.as_deref().unwrap_or_default();
    if given.len() > MOST_CRITERIA {
        return Err(invalid_parameter_value(format!("There are at most {MOST_CRITERIA} criteria.")));
    }
    let criteria = given.iter().map(criterion).collect::<Result<_>>()?;
    write(ctx, txn, |settings| settings.criteria = criteria);
    Ok(ReplaceImageCriteriaInAllowedImagesSettingsResult { return_value: Some(true) })
}
