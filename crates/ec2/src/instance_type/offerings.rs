//! `DescribeInstanceTypeOfferings`: which types there are where.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypeOfferings.html>

use crate::errors::invalid_parameter_value;
use api_ec2::{
    DescribeInstanceTypeOfferingsRequest, DescribeInstanceTypeOfferingsResult, InstanceTypeOffering,
    LocationType,
};
use control::filter::{FilterField, Filters, one};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Context, Result, Tables};
use plan::instance_type::{self, InstanceType};

struct Offering {
    kind: &'static InstanceType,
    location: String,
}

const FILTERS: &[FilterField<Offering, Tables>] = &[
    FilterField { name: "instance-type", values: |o, _| one(o.kind.name) },
    FilterField { name: "location", values: |o, _| one(o.location.as_str()) },
];

pub(super) fn describe(
    ctx: &Context,
    request: &DescribeInstanceTypeOfferingsRequest,
    tables: &Tables,
) -> Result<DescribeInstanceTypeOfferingsResult> {
    let mut paging =
        Paging::<String>::parse(request.max_results, request.next_token.as_deref(), 5..=1000, ByIds::Absent)?;
    paging.limit = paging.limit.or(Some(1000));
    let given = request.filters.as_deref().unwrap_or_default();
    let given = given.iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    let filters = Filters::<Offering, Tables>::parse(given, FILTERS)?;
    let location_type = request.location_type.clone().unwrap_or(LocationType::Region);
    let places = locations(ctx, &location_type)?;
    let offered = instance_type::all()
        .iter()
        .flat_map(|kind| places.iter().map(move |place| Offering { kind, location: place.clone() }))
        .filter(|offering| filters.accept(offering, &Tags::new(), tables));
    // Neither part holds a slash, so the keys sort as the parts do.
    let (page, next_token) = page::cut(offered, &paging, |o| format!("{}/{}", o.kind.name, o.location));
    let shown = page.into_iter().map(|offering| InstanceTypeOffering {
        instance_type: Some(offering.kind.name.into()),
        location_type: Some(location_type.clone()),
        location: Some(offering.location),
    });
    Ok(DescribeInstanceTypeOfferingsResult { instance_type_offerings: Some(shown.collect()), next_token })
}

fn locations(ctx: &Context, location_type: &LocationType) -> Result<Vec<String>> {
    let zones = ctx.cloud.settings.region(&ctx.region).map(|r| r.zones.as_slice()).unwrap_or_default();
    Ok(match location_type {
        LocationType::Region => vec![ctx.region.to_string()],
        LocationType::AvailabilityZone => zones.iter().map(ToString::to_string).collect(),
        LocationType::AvailabilityZoneId => zones.iter().map(model::Zone::id).collect(),
        LocationType::Outpost => Vec::new(),
        LocationType::Other(other) => {
            return Err(invalid_parameter_value(format!(
                "Value ({other}) for parameter locationType is invalid."
            )));
        }
    })
}
