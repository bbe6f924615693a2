use crate::{done, refused, vpc};
use testkit::Kit;

#[tokio::test]
async fn a_region_has_stock_options() {
    let kit = Kit::new().await;
    let stock = done(&kit, "DescribeDhcpOptions", &[]).await;
    let path = "dhcpOptionsSet/item/dhcpConfigurationSet/item";
    assert_eq!(stock.all(&format!("{path}/key")), ["domain-name", "domain-name-servers"]);
    let values = stock.all(&format!("{path}/valueSet/item/value"));
    assert_eq!(values, ["ec2.internal", "AmazonProvidedDNS"]);
}

#[tokio::test]
async fn options_are_made_used_and_removed() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let stock = done(&kit, "DescribeVpcs", &[("VpcId.1", &vpc)]).await.one("vpcSet/item/dhcpOptionsId");
    let parameters = [
        ("DhcpConfiguration.1.Key", "domain-name"),
        ("DhcpConfiguration.1.Value.1", "example.org"),
        ("DhcpConfiguration.2.Key", "ntp-servers"),
        ("DhcpConfiguration.2.Value.1", "10.0.0.5"),
        ("DhcpConfiguration.2.Value.2", "10.0.0.6"),
    ];
    let made = done(&kit, "CreateDhcpOptions", &parameters).await.one("dhcpOptions/dhcpOptionsId");
    done(&kit, "AssociateDhcpOptions", &[("VpcId", &vpc), ("DhcpOptionsId", &made)]).await;
    let by_id = [("DhcpOptionsId", made.as_str())];
    assert_eq!(refused(&kit, "DeleteDhcpOptions", &by_id).await, "DependencyViolation");
    done(&kit, "AssociateDhcpOptions", &[("VpcId", &vpc), ("DhcpOptionsId", "default")]).await;
    let now = done(&kit, "DescribeVpcs", &[("VpcId.1", &vpc)]).await.one("vpcSet/item/dhcpOptionsId");
    assert_eq!(now, stock);
    done(&kit, "DeleteDhcpOptions", &by_id).await;
    assert_eq!(refused(&kit, "DeleteDhcpOptions", &by_id).await, "InvalidDhcpOptionID.NotFound");
}

#[tokio::test]
async fn options_that_no_guest_understands_are_refused() {
    let kit = Kit::new().await;
    for (key, value) in
        [("colour", "red"), ("ntp-servers", "time"), ("netbios-node-type", "3"), ("domain-name", "a/b")]
    {
        let parameters = [("DhcpConfiguration.1.Key", key), ("DhcpConfiguration.1.Value.1", value)];
        assert_eq!(refused(&kit, "CreateDhcpOptions", &parameters).await, "InvalidParameterValue", "{key}");
    }
}
