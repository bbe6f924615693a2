//! `DescribeAvailabilityZones`.

use crate::errors::invalid_parameter_value;
use api_ec2::{
    AvailabilityZone, AvailabilityZoneOptInStatus, AvailabilityZoneState, DescribeAvailabilityZonesRequest,
    DescribeAvailabilityZonesResult,
};
use control::filter::{FilterField, Filters, one, shown};
use control::tag::Tags;
use control::{Context, Result, Tables, Touched};
use model::{Region, Zone, region};

static FILTERS: &[FilterField<Zone, ()>] = &[
    FilterField { name: "group-long-name", values: |zone, ()| one(group_long_name(&zone.region)) },
    FilterField { name: "group-name", values: |zone, ()| one(group_name(&zone.region)) },
    FilterField { name: "message", values: |_, ()| Vec::new() },
    FilterField { name: "opt-in-status", values: |_, ()| one("opt-in-not-required") },
    FilterField { name: "parent-zone-id", values: |_, ()| Vec::new() },
    FilterField { name: "parent-zone-name", values: |_, ()| Vec::new() },
    FilterField { name: "region-name", values: |zone, ()| one(zone.region.as_str()) },
    FilterField { name: "state", values: |_, ()| one("available") },
    FilterField { name: "zone-id", values: |zone, ()| one(zone.id()) },
    FilterField { name: "zone-name", values: |zone, ()| shown(zone) },
    FilterField { name: "zone-type", values: |_, ()| one("availability-zone") },
];

fn group_name(region: &Region) -> String {
    format!("{region}-zg-1")
}

fn group_long_name(region: &Region) -> String {
    let name = region::facts(region.as_str()).map_or(region.as_str(), |facts| facts.long_name);
    format!("{name} 1")
}

pub fn touches(_: &Context, _: &DescribeAvailabilityZonesRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeAvailabilityZonesRequest,
    _: &Tables,
) -> Result<DescribeAvailabilityZonesResult> {
    let given = request.filters.as_deref().unwrap_or_default();
    let filters = Filters::parse(given.iter().map(|f| (f.name.as_deref(), f.values.as_deref())), FILTERS)?;
    let zones = ctx.cloud.settings.region(&ctx.region).map(|r| r.zones.as_slice()).unwrap_or_default();
    let names = request.zone_names.as_deref().unwrap_or_default();
    let ids = request.zone_ids.as_deref().unwrap_or_default();
    let is_named = |zone: &Zone, name: &String| zone.to_string() == *name;
    let unknown_name = names.iter().find(|name| !zones.iter().any(|zone| is_named(zone, name)));
    let unknown_id = ids.iter().find(|id| !zones.iter().any(|zone| zone.id() == **id));
    if let Some(unknown) = unknown_name.or(unknown_id) {
        let shown: String = unknown.chars().take(64).collect();
        return Err(invalid_parameter_value(format!("Invalid availability zone: [{shown}]")));
    }
    let shown = zones
        .iter()
        .filter(|zone| names.is_empty() || names.iter().any(|name| is_named(zone, name)))
        .filter(|zone| ids.is_empty() || ids.iter().any(|id| zone.id() == *id))
        .filter(|zone| filters.accept(zone, &Tags::default(), &()))
        .map(|zone| AvailabilityZone {
            opt_in_status: Some(AvailabilityZoneOptInStatus::OptInNotRequired),
            messages: Some(Vec::new()),
            region_name: Some(zone.region.to_string()),
            zone_name: Some(zone.to_string()),
            zone_id: Some(zone.id()),
            group_name: Some(group_name(&zone.region)),
            group_long_name: Some(group_long_name(&zone.region)),
            network_border_group: Some(zone.region.to_string()),
            zone_type: Some("availability-zone".into()),
            state: Some(AvailabilityZoneState::Available),
            ..Default::default()
        });
    Ok(DescribeAvailabilityZonesResult { availability_zones: Some(shown.collect()) })
}
