//! `DescribeRegions`.

use crate::errors::client;
use api_ec2 as api;
use api_ec2::{DescribeRegionsRequest, DescribeRegionsResult};
use control::filter::{FilterField, Filters, one, shown};
use control::tag::Tags;
use control::{Context, Result, Tables, Touched};
use model::{Region, region};

/// Regions that AWS opens on request are open here: whoever runs the cloud asked.
fn opt_in_status(region: &Region) -> &'static str {
    match region::facts(region.as_str()) {
        Some(facts) if facts.opt_in => "opted-in",
        Some(_) | None => "opt-in-not-required",
    }
}

static FILTERS: &[FilterField<Region, ()>] = &[
    FilterField { name: "endpoint", values: |region, ()| shown(endpoint(region)) },
    FilterField { name: "opt-in-status", values: |region, ()| one(opt_in_status(region)) },
    FilterField { name: "region-name", values: |region, ()| one(region.as_str()) },
];

fn endpoint(region: &Region) -> String {
    let domain = if region.as_str().starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("ec2.{region}.{domain}")
}

pub fn touches(_: &Context, _: &DescribeRegionsRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeRegionsRequest,
    _: &Tables,
) -> Result<DescribeRegionsResult> {
    let given = request.filters.as_deref().unwrap_or_default();
    let filters = Filters::parse(given.iter().map(|f| (f.name.as_deref(), f.values.as_deref())), FILTERS)?;
    let names = request.region_names.as_deref().unwrap_or_default();
    let known = || ctx.cloud.settings.regions.iter().map(|settings| &settings.region);
    if let Some(unknown) = names.iter().find(|name| known().all(|region| region.as_str() != name.as_str())) {
        let shown: String = unknown.chars().take(64).collect();
        return Err(client(
            "InvalidParameterValue",
            format!("Invalid region provided. Region: '{shown}' is not one of this cloud"),
        ));
    }
    let regions = known()
        .filter(|region| names.is_empty() || names.iter().any(|name| name == region.as_str()))
        .filter(|region| filters.accept(region, &Tags::default(), &()))
        .map(|region| api::Region {
            opt_in_status: Some(opt_in_status(region).into()),
            region_name: Some(region.to_string()),
            endpoint: Some(endpoint(region)),
            ..Default::default()
        });
    Ok(DescribeRegionsResult { regions: Some(regions.collect()) })
}
