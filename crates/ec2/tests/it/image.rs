//! Images: who sees which, and by what they are found.

use model::host::Architecture;
use model::record::image::Image;
use model::{AccountId, Timestamp};
use testkit::{ALICE, BOB, Kit};

const PUBLIC: &str = "ami-00000000000000001";
const OWN: &str = "ami-00000000000000002";
const FOREIGN: &str = "ami-00000000000000003";
const CLOUD: AccountId = AccountId::from_number(0);

fn image(id: &str, owner: AccountId, name: &str) -> Image {
    let mut image = crate::instance::image(id, Architecture::X86_64);
    image.owner = owner;
    image.owner_alias = (owner == CLOUD).then(|| "amazon".into());
    image.public = owner == CLOUD;
    image.name = name.into();
    image.created_at = Timestamp::from_millis(1_767_225_600_000);
    image
}

async fn kit() -> Kit {
    let kit = Kit::new().await;
    let region = kit.region();
    let images =
        [image(PUBLIC, CLOUD, "nube/nano-1"), image(OWN, ALICE, "mine"), image(FOREIGN, BOB, "secret")];
    let put = |txn: &mut control::Txn<'_>| {
        for image in &images {
            txn.put(&region, image.clone());
        }
        Ok(())
    };
    kit.cloud.transact(control::cloud::Mode::Shared, put).await.unwrap();
    kit
}

async fn ids(kit: &Kit, parameters: &[(&str, &str)]) -> Vec<String> {
    kit.call("DescribeImages", parameters).await.unwrap().all("imagesSet/item/imageId")
}

#[tokio::test]
async fn one_sees_public_images_and_ones_own() {
    let kit = kit().await;
    assert_eq!(ids(&kit, &[]).await, [PUBLIC, OWN]);
    assert_eq!(ids(&kit, &[("ImageId.1", OWN), ("ImageId.2", OWN)]).await, [OWN]);
    let refused = kit.call("DescribeImages", &[("ImageId.1", FOREIGN)]).await.unwrap_err();
    assert_eq!(refused.code(), "InvalidAMIID.NotFound");
    let refused = kit.call("DescribeImages", &[("ImageId.1", "ami-x")]).await.unwrap_err();
    assert_eq!(refused.code(), "InvalidAMIID.Malformed");
}

#[tokio::test]
async fn owners_are_self_an_alias_or_an_account() {
    let kit = kit().await;
    assert_eq!(ids(&kit, &[("Owner.1", "self")]).await, [OWN]);
    assert_eq!(ids(&kit, &[("Owner.1", "amazon")]).await, [PUBLIC]);
    assert_eq!(ids(&kit, &[("Owner.1", "111111111111"), ("Owner.2", "amazon")]).await, [PUBLIC, OWN]);
    assert!(ids(&kit, &[("Owner.1", "222222222222")]).await.is_empty());
    let refused = kit.call("DescribeImages", &[("Owner.1", "nobody")]).await.unwrap_err();
    assert_eq!(refused.code(), "InvalidUserID.Malformed");
}

#[tokio::test]
async fn executable_by_all_are_the_public_ones_and_by_self_the_shared_ones() {
    let kit = kit().await;
    assert_eq!(ids(&kit, &[("ExecutableBy.1", "all")]).await, [PUBLIC]);
    assert!(ids(&kit, &[("ExecutableBy.1", "self")]).await.is_empty());
}

#[tokio::test]
async fn filters_choose_images_by_what_they_are() {
    let kit = kit().await;
    for (name, value, expected) in [
        ("name", "nube/*", &[PUBLIC][..]),
        ("is-public", "false", &[OWN]),
        ("owner-alias", "amazon", &[PUBLIC]),
        ("owner-id", "111111111111", &[OWN]),
        ("architecture", "x86_64", &[PUBLIC, OWN]),
        ("architecture", "arm64", &[]),
        ("creation-date", "2026-01-01T*", &[PUBLIC, OWN]),
        ("state", "available", &[PUBLIC, OWN]),
        ("root-device-type", "ebs", &[PUBLIC, OWN]),
        ("virtualization-type", "hvm", &[PUBLIC, OWN]),
        ("manifest-location", "amazon/nube/nano-1", &[PUBLIC]),
        ("platform", "windows", &[]),
    ] {
        let found = ids(&kit, &[("Filter.1.Name", name), ("Filter.1.Value.1", value)]).await;
        assert_eq!(found, expected, "{name}={value}");
    }
    let refused = kit
        .call("DescribeImages", &[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")])
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "InvalidParameterValue");
}

#[tokio::test]
async fn images_come_in_pages() {
    let kit = kit().await;
    let first = kit.call("DescribeImages", &[("MaxResults", "1")]).await.unwrap();
    assert_eq!(first.one("imagesSet/item/imageId"), PUBLIC);
    let token = first.one("nextToken");
    let second = kit.call("DescribeImages", &[("MaxResults", "1"), ("NextToken", &token)]).await.unwrap();
    assert_eq!(second.one("imagesSet/item/imageId"), OWN);
    assert!(second.all("nextToken").is_empty());
}

#[tokio::test]
async fn only_the_owner_reads_an_images_attributes() {
    let kit = kit().await;
    let ask = async |id: &str, attribute: &str| {
        kit.call("DescribeImageAttribute", &[("ImageId", id), ("Attribute", attribute)]).await
    };
    let shown = ask(OWN, "launchPermission").await.unwrap();
    assert!(shown.all("launchPermission/item").is_empty());
    assert_eq!(shown.one("imageId"), OWN);
    let shown = ask(OWN, "blockDeviceMapping").await.unwrap();
    assert!(!shown.all("blockDeviceMapping/item/deviceName").is_empty());
    assert_eq!(ask(PUBLIC, "description").await.unwrap_err().code(), "AuthFailure");
    assert_eq!(ask(FOREIGN, "description").await.unwrap_err().code(), "InvalidAMIID.NotFound");
    assert_eq!(ask(OWN, "colour").await.unwrap_err().code(), "InvalidParameterValue");
}
