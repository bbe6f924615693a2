use crate::{done, refused};
use testkit::Kit;

#[tokio::test]
async fn an_account_has_no_elastic_addresses() {
    let kit = Kit::new().await;
    let filter = [("Filter.1.Name", "instance-id"), ("Filter.1.Value.1", "i-0123456789abcdef0")];
    for parameters in [&[][..], &filter[..]] {
        let asked = done(&kit, "DescribeAddresses", parameters).await;
        assert!(asked.all("addressesSet/item/publicIp").is_empty());
    }
    for (name, value, code) in [
        ("PublicIp.1", "198.18.0.9", "InvalidAddress.NotFound"),
        ("PublicIp.1", "nowhere", "InvalidParameterValue"),
        ("AllocationId.1", "eipalloc-0123456789abcdef0", "InvalidAllocationID.NotFound"),
        ("Filter.1.Name", "colour", "InvalidParameterValue"),
    ] {
        assert_eq!(refused(&kit, "DescribeAddresses", &[(name, value)]).await, code);
    }
}
