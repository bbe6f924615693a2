//! DescribeInstanceCreditSpecifications, GetDefaultCreditSpecification: what burstable instances do beyond their credits.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-credits-baseline-concepts.html>
//! Differs: it is the default of the type, always; credits are not counted, so no instance slows down.

use crate::errors::{invalid_parameter_combination, invalid_parameter_value};
use crate::noun::find_all;
use api_ec2::{
    DescribeInstanceCreditSpecificationsRequest, DescribeInstanceCreditSpecificationsResult,
    GetDefaultCreditSpecificationRequest, GetDefaultCreditSpecificationResult, InstanceCreditSpecification,
    InstanceFamilyCreditSpecification,
};
use control::filter::{FilterField, Filters, shown};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
use model::InstanceId;
use model::record::instance::Instance;
use std::sync::Arc;

static FIELDS: &[FilterField<Instance, Tables>] =
    &[FilterField { name: "instance-id", values: |i, _| shown(i.instance) }];

fn credits(instance: &Instance) -> Option<&'static str> {
    plan::instance_type::get(&instance.instance_type)?.default_credits()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeInstanceCreditSpecificationsRequest,
    tables: &Tables,
) -> Result<DescribeInstanceCreditSpecificationsResult> {
    let paging = Paging::<InstanceId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        5..=1000,
        ByIds::from(&request.instance_ids),
    )?;
    let given = request.filters.as_deref().unwrap_or_default();
    let given = given.iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    let filters = Filters::<Instance, Tables>::parse(given, FIELDS)?;
    let ids = request.instance_ids.as_deref().unwrap_or_default();
    let mut instances: Vec<&Arc<Instance>> = if ids.is_empty() {
        tables.find::<Instance>(&ctx.region, "account", ctx.account()).collect()
    } else {
        find_all::<Instance>(ctx, tables, ids)?
    };
    if let Some(other) = instances.iter().find(|i| !ids.is_empty() && credits(i).is_none()) {
        return Err(invalid_parameter_combination(format!(
            "The instance {} is of the type {}, which is not burstable.",
            other.instance, other.instance_type
        )));
    }
    instances.sort_by_key(|i| i.instance);
    let burstable = instances
        .into_iter()
        .filter(|i| !i.phase.is_terminated() && filters.accept(i, &i.tags, tables))
        .filter_map(|i| Some((i, credits(i)?)));
    let (page, next_token) = page::cut(burstable, &paging, |(i, _)| i.instance);
    let shown = page.into_iter().map(|(i, credits)| InstanceCreditSpecification {
        instance_id: Some(i.instance.to_string()),
        cpu_credits: Some(credits.into()),
    });
    Ok(DescribeInstanceCreditSpecificationsResult {
        instance_credit_specifications: Some(shown.collect()),
        next_token,
    })
}

pub fn default(
    _: &Context,
    request: &GetDefaultCreditSpecificationRequest,
    _: &Tables,
) -> Result<GetDefaultCreditSpecificationResult> {
    let family = request.instance_family.as_str();
    let credits = plan::instance_type::all()
        .iter()
        .filter(|kind| kind.family() == family)
        .find_map(plan::instance_type::InstanceType::default_credits)
        .ok_or_else(|| {
            let shown: String = family.chars().take(64).collect();
            invalid_parameter_value(format!("Value ({shown}) for parameter instanceFamily is invalid."))
        })?;
    Ok(GetDefaultCreditSpecificationResult {
        instance_family_credit_specification: Some(InstanceFamilyCreditSpecification {
            instance_family: Some(request.instance_family.clone()),
            cpu_credits: Some(credits.into()),
        }),
    })
}
