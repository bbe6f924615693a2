//! What is deleted goes to the recycle bin where a rule says so, and leaves it by the clock or by being restored.

use crate::instance::{Cloud, cloud};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{ALICE, BOB};
use wire::rest_json::Request;

async fn rbin(cloud: &Cloud, method: &str, path: &str, body: Value) -> Result<(u16, Value), wire::ApiError> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request { method, path, query: "", headers: &[], body: body.as_bytes() };
    let answer = cloud.kit.rest(ALICE, "rbin", request).await?;
    let status = answer.status;
    let bytes = answer.body.into_bytes();
    Ok((status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() }))
}

/// A rule's identifier.
async fn rule(cloud: &Cloud, kind: &str, days: u32, more: Value) -> String {
    let mut body = json!({ "ResourceType": kind,
        "RetentionPeriod": { "RetentionPeriodValue": days, "RetentionPeriodUnit": "DAYS" } });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, made) = rbin(cloud, "POST", "/rules", body).await.unwrap();
    assert_eq!((status, &made["Status"]), (201, &"available".into()));
    made["Identifier"].as_str().unwrap().to_owned()
}

/// A completed snapshot.
async fn snapshot(cloud: &Cloud) -> String {
    let request =
        Request { method: "POST", path: "/snapshots", query: "", headers: &[], body: br#"{"VolumeSize":1}"# };
    let answer = cloud.kit.rest(ALICE, "ebs", request).await.unwrap().body.into_bytes();
    let id = serde_json::from_slice::<Value>(&answer).unwrap()["SnapshotId"].as_str().unwrap().to_owned();
    let held = {
        let tables = cloud.kit.cloud.view.read();
        let held = tables
            .get::<model::record::snapshot::Snapshot>(&cloud.kit.region(), &id.parse().unwrap())
            .unwrap();
        (**held).clone()
    };
    let life = model::record::snapshot::Life::Completed { at: testkit::START, full: 0 };
    let region = cloud.kit.region();
    let done = cloud.kit.cloud.transact(control::cloud::Mode::Shared, |txn| {
        txn.put(&region, model::record::snapshot::Snapshot { life: life.clone(), ..held.clone() });
        Ok(())
    });
    done.await.unwrap();
    id
}

async fn code(cloud: &Cloud, action: &str, parameters: &[(&str, &str)]) -> String {
    cloud.kit.call(action, parameters).await.unwrap_err().code().to_owned()
}

#[tokio::test]
async fn a_deleted_snapshot_is_in_the_bin_until_it_is_restored_or_its_time_is_over() {
    let cloud = cloud().await;
    rule(&cloud, "EBS_SNAPSHOT", 2, json!({})).await;
    rule(&cloud, "EBS_SNAPSHOT", 5, json!({ "ResourceTags": [{ "ResourceTagKey": "keep" }] })).await;
    let (one, two) = (snapshot(&cloud).await, snapshot(&cloud).await);
    cloud
        .kit
        .call("CreateTags", &[("ResourceId.1", &two), ("Tag.1.Key", "keep"), ("Tag.1.Value", "")])
        .await
        .unwrap();
    for id in [&one, &two] {
        cloud.kit.call("DeleteSnapshot", &[("SnapshotId", id)]).await.unwrap();
        assert_eq!(
            code(&cloud, "DescribeSnapshots", &[("SnapshotId.1", id)]).await,
            "InvalidSnapshot.NotFound"
        );
        assert_eq!(code(&cloud, "DeleteSnapshot", &[("SnapshotId", id)]).await, "InvalidSnapshot.NotFound");
    }
    let listed = cloud.kit.call("ListSnapshotsInRecycleBin", &[]).await.unwrap();
    assert_eq!(listed.all("snapshotSet/item/snapshotId").len(), 2);
    let exit = cloud.kit.call("ListSnapshotsInRecycleBin", &[("SnapshotId.1", &two)]).await.unwrap();
    assert_eq!(exit.one("snapshotSet/item/recycleBinExitTime"), "2026-01-06T00:00:00.000Z");
    let restored = cloud.kit.call("RestoreSnapshotFromRecycleBin", &[("SnapshotId", &one)]).await.unwrap();
    assert_eq!(restored.one("status"), "completed");
    cloud.kit.call("DescribeSnapshots", &[("SnapshotId.1", &one)]).await.unwrap();
    assert_eq!(
        code(&cloud, "RestoreSnapshotFromRecycleBin", &[("SnapshotId", &one)]).await,
        "InvalidSnapshot.NotFound"
    );
    let bob = cloud.kit.call_as(BOB, "ec2", "RestoreSnapshotFromRecycleBin", &[("SnapshotId", &two)]).await;
    assert_eq!(bob.unwrap_err().code(), "InvalidSnapshot.NotFound");
    cloud.kit.clock.advance(Duration::from_hours(5 * 24));
    ebs::sweep(&cloud.kit.cloud).await.unwrap();
    assert_eq!(
        cloud.kit.call("ListSnapshotsInRecycleBin", &[]).await.unwrap().all("snapshotSet/item").len(),
        0
    );
    assert_eq!(
        code(&cloud, "RestoreSnapshotFromRecycleBin", &[("SnapshotId", &two)]).await,
        "InvalidSnapshot.NotFound"
    );
}

#[tokio::test]
async fn a_deregistered_image_comes_back_with_its_name() {
    let cloud = cloud().await;
    rule(&cloud, "EC2_IMAGE", 1, json!({})).await;
    let snapshot = snapshot(&cloud).await;
    let asked = [
        ("Name", "kept"),
        ("RootDeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", &*snapshot),
    ];
    let image = cloud.kit.call("RegisterImage", &asked).await.unwrap().one("imageId");
    cloud.kit.call("DeregisterImage", &[("ImageId", &image)]).await.unwrap();
    assert_eq!(code(&cloud, "DescribeImages", &[("ImageId.1", &image)]).await, "InvalidAMIID.NotFound");
    let listed = cloud.kit.call("ListImagesInRecycleBin", &[]).await.unwrap();
    assert_eq!(
        (listed.one("imageSet/item/imageId"), listed.one("imageSet/item/name")),
        (image.clone(), "kept".to_owned())
    );
    let own = cloud.kit.call("DescribeImages", &[("Owner.1", "self")]).await.unwrap();
    assert_eq!(own.all("imagesSet/item/imageId").len(), 0);
    cloud.kit.call("RestoreImageFromRecycleBin", &[("ImageId", &image)]).await.unwrap();
    cloud.kit.call("DescribeImages", &[("ImageId.1", &image)]).await.unwrap();
    cloud.kit.call("DeregisterImage", &[("ImageId", &image)]).await.unwrap();
    cloud.kit.clock.advance(Duration::from_hours(24));
    ebs::sweep(&cloud.kit.cloud).await.unwrap();
    assert_eq!(
        code(&cloud, "RestoreImageFromRecycleBin", &[("ImageId", &image)]).await,
        "InvalidAMIID.NotFound"
    );
    cloud.kit.call("RegisterImage", &asked).await.unwrap();
}

#[tokio::test]
async fn rules_are_changed_listed_tagged_and_locked() {
    let cloud = cloud().await;
    let id = rule(
        &cloud,
        "EBS_SNAPSHOT",
        3,
        json!({ "Description": "three", "Tags": [{ "Key": "a", "Value": "b" }] }),
    )
    .await;
    let path = format!("/rules/{id}");
    let (_, got) = rbin(&cloud, "GET", &path, Value::Null).await.unwrap();
    assert_eq!(
        (&got["Description"], &got["RetentionPeriod"]["RetentionPeriodValue"]),
        (&"three".into(), &3.into())
    );
    let (_, listed) =
        rbin(&cloud, "POST", "/list-rules", json!({ "ResourceType": "EBS_SNAPSHOT" })).await.unwrap();
    assert_eq!(listed["Rules"][0]["Identifier"], id);
    let (_, none) =
        rbin(&cloud, "POST", "/list-rules", json!({ "ResourceType": "EC2_IMAGE" })).await.unwrap();
    assert_eq!(none["Rules"].as_array().unwrap().len(), 0);
    let arn = got["RuleArn"].as_str().unwrap().replace(':', "%3A").replace('/', "%2F");
    rbin(&cloud, "POST", &format!("/tags/{arn}"), json!({ "Tags": [{ "Key": "c", "Value": "d" }] }))
        .await
        .unwrap();
    let (_, tags) = rbin(&cloud, "GET", &format!("/tags/{arn}"), Value::Null).await.unwrap();
    assert_eq!(tags["Tags"].as_array().unwrap().len(), 2);
    let delay = json!({ "LockConfiguration": { "UnlockDelay": { "UnlockDelayValue": 7, "UnlockDelayUnit": "DAYS" } } });
    let (_, locked) = rbin(&cloud, "PATCH", &format!("{path}/lock"), delay).await.unwrap();
    assert_eq!(locked["LockState"], "locked");
    let refused = |error: wire::ApiError| (error.code().to_owned(), error.status());
    let conflict = ("ConflictException".to_owned(), 409);
    let longer = json!({ "Description": "longer" });
    assert_eq!(refused(rbin(&cloud, "PATCH", &path, longer.clone()).await.unwrap_err()), conflict);
    assert_eq!(refused(rbin(&cloud, "DELETE", &path, Value::Null).await.unwrap_err()), conflict);
    let (_, undone) = rbin(&cloud, "PATCH", &format!("{path}/unlock"), Value::Null).await.unwrap();
    assert_eq!(undone["LockState"], "pending_unlock");
    cloud.kit.clock.advance(Duration::from_hours(7 * 24));
    rbin(&cloud, "PATCH", &path, longer).await.unwrap();
    let (status, _) = rbin(&cloud, "DELETE", &path, Value::Null).await.unwrap();
    assert_eq!(status, 204);
    let gone = refused(rbin(&cloud, "GET", &path, Value::Null).await.unwrap_err());
    assert_eq!(gone, ("ResourceNotFoundException".to_owned(), 404));
    for wrong in [
        json!({ "ResourceType": "EBS_SNAPSHOT" }),
        json!({ "ResourceType": "EBS_VOLUME", "RetentionPeriod": { "RetentionPeriodValue": 1, "RetentionPeriodUnit": "DAYS" } }),
        json!({ "ResourceType": "EBS_SNAPSHOT", "RetentionPeriod": { "RetentionPeriodValue": 0, "RetentionPeriodUnit": "DAYS" } }),
        json!({ "ResourceType": "EBS_SNAPSHOT", "RetentionPeriod": { "RetentionPeriodValue": 1, "RetentionPeriodUnit": "DAYS" },
            "ResourceTags": [{ "ResourceTagKey": "a" }], "ExcludeResourceTags": [{ "ResourceTagKey": "b" }] }),
    ] {
        let error = rbin(&cloud, "POST", "/rules", wrong).await.unwrap_err();
        assert_eq!(refused(error), ("ValidationException".to_owned(), 400));
    }
}
