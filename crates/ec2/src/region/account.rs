//! `DescribeAccountAttributes`.

use crate::errors::invalid_parameter_value;
use crate::{network_interface, vpc};
use api_ec2::{
    AccountAttribute, AccountAttributeValue, DescribeAccountAttributesRequest,
    DescribeAccountAttributesResult,
};
use control::{Context, Result, Tables, Touched};

pub fn touches(_: &Context, _: &DescribeAccountAttributesRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeAccountAttributesRequest,
    tables: &Tables,
) -> Result<DescribeAccountAttributesResult> {
    let default_vpc =
        vpc::default_of(ctx, tables).map_or_else(|| "none".to_owned(), |vpc| vpc.vpc.to_string());
    let all = [
        ("supported-platforms", "VPC".to_owned()),
        ("default-vpc", default_vpc),
        ("vpc-max-security-groups-per-interface", network_interface::MAX_GROUPS.to_string()),
        ("max-instances", "20".to_owned()),
        ("max-elastic-ips", "5".to_owned()),
        ("vpc-max-elastic-ips", "5".to_owned()),
    ];
    let asked = request.attribute_names.as_deref().unwrap_or_default();
    if let Some(unknown) = asked.iter().find(|asked| all.iter().all(|(name, _)| *asked.as_str() != **name)) {
        let shown: String = unknown.as_str().chars().take(64).collect();
        return Err(invalid_parameter_value(format!(
            "Value ({shown}) for parameter attributeName is invalid."
        )));
    }
    let shown = all
        .into_iter()
        .filter(|(name, _)| asked.is_empty() || asked.iter().any(|asked| asked.as_str() == *name));
    let attributes = shown.map(|(name, value)| AccountAttribute {
        attribute_name: Some(name.to_owned()),
        attribute_values: Some(vec![AccountAttributeValue { attribute_value: Some(value) }]),
    });
    Ok(DescribeAccountAttributesResult { account_attributes: Some(attributes.collect()) })
}
