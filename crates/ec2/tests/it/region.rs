use crate::{default_vpc, done, refused};
use testkit::Kit;

#[tokio::test]
async fn regions_and_zones_are_those_of_the_cloud() {
    let kit = Kit::new().await;
    let regions = done(&kit, "DescribeRegions", &[]).await;
    assert_eq!(regions.one("regionInfo/item/regionName"), "us-east-1");
    assert_eq!(regions.one("regionInfo/item/optInStatus"), "opt-in-not-required");
    assert_eq!(
        refused(&kit, "DescribeRegions", &[("RegionName.1", "mars-1")]).await,
        "InvalidParameterValue"
    );
    let zones = done(&kit, "DescribeAvailabilityZones", &[]).await;
    assert_eq!(zones.all("availabilityZoneInfo/item/zoneName"), ["us-east-1a", "us-east-1b", "us-east-1c"]);
    let filter = [("Filter.1.Name", "zone-id"), ("Filter.1.Value.1", "use1-az3")];
    let third = done(&kit, "DescribeAvailabilityZones", &filter).await;
    assert_eq!(third.one("availabilityZoneInfo/item/zoneName"), "us-east-1c");
    let unknown = [("ZoneName.1", "us-east-1q")];
    assert_eq!(refused(&kit, "DescribeAvailabilityZones", &unknown).await, "InvalidParameterValue");
}

#[tokio::test]
async fn an_account_is_told_its_default_vpc() {
    let kit = Kit::new().await;
    let vpc = default_vpc(&kit).await;
    let asked = done(&kit, "DescribeAccountAttributes", &[("AttributeName.1", "default-vpc")]).await;
    let path = "accountAttributeSet/item/attributeValueSet/item/attributeValue";
    assert_eq!(asked.one(path), vpc);
    let all = done(&kit, "DescribeAccountAttributes", &[]).await;
    assert!(all.all("accountAttributeSet/item/attributeName").contains(&"supported-platforms".to_owned()));
}
