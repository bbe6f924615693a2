//! Images of others: permissions, what an account allows; and what an owner decides: attributes, deprecation, disabling,
//! protection.

use crate::image_make::{available_image, shown, snapshots};
use crate::instance::{Cloud, IMAGE, cloud};
use std::time::Duration;
use testkit::{Answer, BOB};

const BOBS: &str = "222222222222";

async fn bobs(cloud: &Cloud, action: &str, parameters: &[(&str, &str)]) -> Result<Answer, String> {
    cloud.kit.call_as(BOB, "ec2", action, parameters).await.map_err(|error| error.code().to_owned())
}

async fn bob_sees(cloud: &Cloud, parameters: &[(&str, &str)]) -> Vec<String> {
    bobs(cloud, "DescribeImages", parameters).await.unwrap().all("imagesSet/item/imageId")
}

async fn bob_launches(cloud: &Cloud, image: &str) -> Result<Answer, String> {
    let parameters = [("ImageId", image), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    bobs(cloud, "RunInstances", &parameters).await
}

async fn attribute(cloud: &Cloud, id: &str, name: &str) -> Answer {
    cloud.ok("DescribeImageAttribute", &[("ImageId", id), ("Attribute", name)]).await
}

#[tokio::test]
async fn whom_an_image_is_shared_with_sees_and_launches_it() {
    let cloud = cloud().await;
    let id = available_image(&cloud, "shared").await;
    assert_eq!(bob_sees(&cloud, &[]).await, [IMAGE]);
    assert_eq!(bob_launches(&cloud, &id).await.unwrap_err(), "InvalidAMIID.NotFound");
    let share = [("ImageId", id.as_str()), ("LaunchPermission.Add.1.UserId", BOBS)];
    cloud.ok("ModifyImageAttribute", &share).await;
    assert_eq!(attribute(&cloud, &id, "launchPermission").await.one("launchPermission/item/userId"), BOBS);
    assert_eq!(bob_sees(&cloud, &[("ExecutableBy.1", "self")]).await, [id.as_str()]);
    assert!(bob_sees(&cloud, &[("Owner.1", "self")]).await.is_empty());
    // Whoever may launch it needs no permission for its snapshots.
    bob_launches(&cloud, &id).await.unwrap();
    let copy = [("SourceRegion", "us-east-1"), ("SourceImageId", id.as_str()), ("Name", "taken")];
    assert_eq!(bobs(&cloud, "CopyImage", &copy).await.unwrap_err(), "InvalidRequest");
    for action in ["DeregisterImage", "DisableImage", "DisableImageDeprecation"] {
        assert_eq!(bobs(&cloud, action, &[("ImageId", &id)]).await.unwrap_err(), "AuthFailure", "{action}");
    }
    bobs(&cloud, "CancelImageLaunchPermission", &[("ImageId", &id)]).await.unwrap();
    assert_eq!(bob_sees(&cloud, &[]).await, [IMAGE]);

    let public = [
        ("ImageId", id.as_str()),
        ("Attribute", "launchPermission"),
        ("OperationType", "add"),
        ("UserGroup.1", "all"),
    ];
    cloud.ok("ModifyImageAttribute", &public).await;
    assert_eq!(shown(&cloud, &id, "isPublic").await, "true");
    assert_eq!(bob_sees(&cloud, &[]).await.len(), 2);
    cloud.ok("ResetImageAttribute", &[("ImageId", &id), ("Attribute", "launchPermission")]).await;
    assert_eq!(shown(&cloud, &id, "isPublic").await, "false");
    let block = [("ImageBlockPublicAccessState", "block-new-sharing")];
    cloud.ok("EnableImageBlockPublicAccess", &block).await;
    assert_eq!(cloud.code("ModifyImageAttribute", &public).await, "OperationNotPermitted");
    cloud.ok("ModifyImageAttribute", &share).await;
    let state = cloud.ok("GetImageBlockPublicAccessState", &[]).await;
    assert_eq!(state.one("imageBlockPublicAccessState"), "block-new-sharing");
    cloud.ok("DisableImageBlockPublicAccess", &[]).await;
    cloud.ok("ModifyImageAttribute", &public).await;
}

#[tokio::test]
async fn an_owner_changes_what_an_image_says() {
    let cloud = cloud().await;
    let id = available_image(&cloud, "described").await;
    let image = ("ImageId", id.as_str());
    cloud.ok("ModifyImageAttribute", &[image, ("Description.Value", "one")]).await;
    assert_eq!(shown(&cloud, &id, "description").await, "one");
    cloud.ok("ModifyImageAttribute", &[image, ("Attribute", "description"), ("Value", "two")]).await;
    assert_eq!(attribute(&cloud, &id, "description").await.one("description/value"), "two");
    cloud.ok("ModifyImageAttribute", &[image, ("ImdsSupport.Value", "v2.0")]).await;
    assert_eq!(shown(&cloud, &id, "imdsSupport").await, "v2.0");
    for (more, code) in [
        (vec![], "MissingParameter"),
        (vec![("ImdsSupport.Value", "v1.0")], "InvalidParameterValue"),
        (vec![("Attribute", "colour"), ("Value", "red")], "InvalidParameterValue"),
        (vec![("LaunchPermission.Add.1.UserId", "bob")], "InvalidUserID.Malformed"),
        (
            vec![("LaunchPermission.Add.1.OrganizationArn", "arn:aws:organizations::1:o/x")],
            "UnsupportedOperation",
        ),
        (
            vec![("Description.Value", "a"), ("LaunchPermission.Add.1.UserId", BOBS)],
            "InvalidParameterCombination",
        ),
    ] {
        let parameters: Vec<_> = [image].into_iter().chain(more).collect();
        assert_eq!(cloud.code("ModifyImageAttribute", &parameters).await, code, "{parameters:?}");
    }
    let stock = [("ImageId", IMAGE), ("Description.Value", "mine")];
    assert_eq!(cloud.code("ModifyImageAttribute", &stock).await, "AuthFailure");
}

#[tokio::test]
async fn a_disabled_image_is_neither_shared_nor_launched() {
    let cloud = cloud().await;
    let id = available_image(&cloud, "off").await;
    cloud.ok("ModifyImageAttribute", &[("ImageId", &id), ("LaunchPermission.Add.1.UserId", BOBS)]).await;
    cloud.ok("DisableImage", &[("ImageId", &id)]).await;
    assert_eq!(shown(&cloud, &id, "imageState").await, "disabled");
    assert_eq!(bob_sees(&cloud, &[]).await, [IMAGE]);
    let own = async |more: &[(&str, &str)]| {
        let mut parameters = vec![("Owner.1", "self")];
        parameters.extend(more);
        cloud.ok("DescribeImages", &parameters).await.all("imagesSet/item/imageId")
    };
    assert!(own(&[]).await.is_empty());
    assert_eq!(own(&[("IncludeDisabled", "true")]).await, [id.as_str()]);
    let launched =
        [("ImageId", id.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    assert_eq!(cloud.code("RunInstances", &launched).await, "InvalidAMIID.Unavailable");
    let share = [("ImageId", id.as_str()), ("LaunchPermission.Add.1.UserId", BOBS)];
    assert_eq!(cloud.code("ModifyImageAttribute", &share).await, "IncorrectState");
    cloud.ok("EnableImage", &[("ImageId", &id)]).await;
    assert_eq!(own(&[]).await, [id.as_str()]);
    cloud.ok("RunInstances", &launched).await;
}

#[tokio::test]
async fn a_deprecated_image_is_found_by_its_owner_and_by_its_id() {
    let cloud = cloud().await;
    let id = available_image(&cloud, "old").await;
    cloud.ok("ModifyImageAttribute", &[("ImageId", &id), ("LaunchPermission.Add.1.UserId", BOBS)]).await;
    for past in ["2025-12-31T00:00:00Z", "2037-01-01T00:00:00Z"] {
        let parameters = [("ImageId", id.as_str()), ("DeprecateAt", past)];
        assert_eq!(
            cloud.code("EnableImageDeprecation", &parameters).await,
            "InvalidParameterValue",
            "{past}"
        );
    }
    cloud.ok("EnableImageDeprecation", &[("ImageId", &id), ("DeprecateAt", "2026-01-02T00:00:10Z")]).await;
    assert_eq!(shown(&cloud, &id, "deprecationTime").await, "2026-01-02T00:00:00.000Z");
    assert_eq!(bob_sees(&cloud, &[]).await.len(), 2);
    cloud.kit.clock.advance(Duration::from_hours(25));
    assert_eq!(bob_sees(&cloud, &[]).await, [IMAGE]);
    assert_eq!(bob_sees(&cloud, &[("ImageId.1", &id)]).await, [id.as_str()]);
    assert_eq!(bob_sees(&cloud, &[("IncludeDeprecated", "true")]).await.len(), 2);
    cloud.ok("DisableImageDeprecation", &[("ImageId", &id)]).await;
    assert_eq!(bob_sees(&cloud, &[]).await.len(), 2);
}

#[tokio::test]
async fn a_protected_image_stays_registered() {
    let cloud = cloud().await;
    let id = available_image(&cloud, "safe").await;
    let image = [("ImageId", id.as_str())];
    let with = [("ImageId", id.as_str()), ("WithCooldown", "true")];
    let answer = cloud.ok("EnableImageDeregistrationProtection", &with).await;
    assert_eq!(answer.one("return"), "enabled-with-cooldown");
    assert_eq!(shown(&cloud, &id, "deregistrationProtection").await, "enabled-with-cooldown");
    assert_eq!(cloud.code("DeregisterImage", &image).await, "OperationNotPermitted");
    cloud.ok("DisableImageDeregistrationProtection", &image).await;
    assert_eq!(cloud.code("DeregisterImage", &image).await, "OperationNotPermitted", "it cools down");
    cloud.kit.clock.advance(Duration::from_hours(24));
    let answer = cloud.ok("DeregisterImage", &image).await;
    assert!(answer.all("deleteSnapshotResultSet/item").is_empty(), "nobody asked for that");
    assert_eq!(cloud.code("DeregisterImage", &[("ImageId", IMAGE)]).await, "AuthFailure");
}

#[tokio::test]
async fn snapshots_that_another_image_uses_are_skipped() {
    let cloud = cloud().await;
    let first = available_image(&cloud, "first").await;
    let [snapshot] = snapshots(&cloud, &first).await.try_into().unwrap();
    let second = [
        ("Name", "second"),
        ("RootDeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot.as_str()),
    ];
    let second = cloud.ok("RegisterImage", &second).await.one("imageId");
    for (image, code) in [(&first, "skipped"), (&second, "success")] {
        let parameters = [("ImageId", image.as_str()), ("DeleteAssociatedSnapshots", "true")];
        let answer = cloud.ok("DeregisterImage", &parameters).await;
        assert_eq!(answer.one("deleteSnapshotResultSet/item/returnCode"), code);
    }
}

#[tokio::test]
async fn an_account_allows_images_of_those_that_it_trusts() {
    let cloud = cloud().await;
    let id = available_image(&cloud, "mine").await;
    cloud.ok("ModifyImageAttribute", &[("ImageId", &id), ("LaunchPermission.Add.1.UserId", BOBS)]).await;
    let settings = bobs(&cloud, "GetAllowedImagesSettings", &[]).await.unwrap();
    assert_eq!(settings.one("state"), "disabled");
    let trusted = [("ImageCriterion.1.ImageProvider.1", "amazon")];
    bobs(&cloud, "ReplaceImageCriteriaInAllowedImagesSettings", &trusted).await.unwrap();
    bobs(&cloud, "EnableAllowedImagesSettings", &[("AllowedImagesSettingsState", "audit-mode")])
        .await
        .unwrap();
    let settings = bobs(&cloud, "GetAllowedImagesSettings", &[]).await.unwrap();
    assert_eq!(settings.one("state"), "audit-mode");
    assert_eq!(settings.one("imageCriterionSet/item/imageProviderSet/item"), "amazon");
    let seen = bobs(&cloud, "DescribeImages", &[("ImageId.1", &id)]).await.unwrap();
    assert_eq!(seen.one("imagesSet/item/imageAllowed"), "false");
    let refused = [("Filter.1.Name", "image-allowed"), ("Filter.1.Value.1", "false")];
    assert_eq!(bob_sees(&cloud, &refused).await, [id.as_str()]);
    bob_launches(&cloud, &id).await.unwrap();
    bobs(&cloud, "EnableAllowedImagesSettings", &[("AllowedImagesSettingsState", "enabled")]).await.unwrap();
    assert_eq!(bob_sees(&cloud, &[]).await, [IMAGE]);
    assert_eq!(
        bobs(&cloud, "DescribeImages", &[("ImageId.1", &id)]).await.unwrap_err(),
        "InvalidAMIID.NotFound"
    );
    assert_eq!(bob_launches(&cloud, &id).await.unwrap_err(), "InvalidAMIID.NotFound");
    bob_launches(&cloud, IMAGE).await.unwrap();
    let both = [("ImageCriterion.1.ImageProvider.1", "111111111111")];
    bobs(&cloud, "ReplaceImageCriteriaInAllowedImagesSettings", &both).await.unwrap();
    assert_eq!(bob_sees(&cloud, &[]).await, [id.as_str()]);
    let wrong = [("ImageCriterion.1.ImageProvider.1", "friends")];
    let wrong = bobs(&cloud, "ReplaceImageCriteriaInAllowedImagesSettings", &wrong).await;
    assert_eq!(wrong.unwrap_err(), "InvalidParameterValue");
    bobs(&cloud, "DisableAllowedImagesSettings", &[]).await.unwrap();
    assert_eq!(bob_sees(&cloud, &[]).await.len(), 2);
}
