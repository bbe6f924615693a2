//! Snapshots that others see, that are copied, and that are locked.

use crate::instance::{Cloud, cloud};
use crate::snapshot::{complete, completed, described, ids, key, shown, taken, wished};
use crate::volume::{ZONE, available};
use control::{RegionSettings, Settings};
use model::host::{Observed, ObservedBody, SnapshotPhase, SnapshotSource};
use model::{Region, Zone};
use std::time::Duration;
use testkit::{BOB, Kit};

const BOBS: &str = "222222222222";

async fn bobs(cloud: &Cloud, action: &str, parameters: &[(&str, &str)]) -> Result<testkit::Answer, String> {
    cloud.kit.call_as(BOB, "ec2", action, parameters).await.map_err(|error| error.code().to_owned())
}

async fn bob_sees(cloud: &Cloud, parameters: &[(&str, &str)]) -> Vec<String> {
    bobs(cloud, "DescribeSnapshots", parameters).await.unwrap().all("snapshotSet/item/snapshotId")
}

async fn permissions(cloud: &Cloud, id: &str) -> testkit::Answer {
    let asked = [("SnapshotId", id), ("Attribute", "createVolumePermission")];
    cloud.ok("DescribeSnapshotAttribute", &asked).await
}

#[tokio::test]
async fn a_snapshot_is_shared_with_an_account_or_with_everybody() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    let by_id = [("SnapshotId.1", id.as_str())];
    assert_eq!(bobs(&cloud, "DescribeSnapshots", &by_id).await.unwrap_err(), "InvalidSnapshot.NotFound");
    let add = [("SnapshotId", id.as_str()), ("CreateVolumePermission.Add.1.UserId", BOBS)];
    cloud.ok("ModifySnapshotAttribute", &add).await;
    assert_eq!(permissions(&cloud, &id).await.one("createVolumePermission/item/userId"), BOBS);
    assert_eq!(bob_sees(&cloud, &[]).await, [id.as_str()]);
    assert_eq!(bob_sees(&cloud, &[("RestorableBy.1", "self")]).await, [id.as_str()]);
    assert!(bob_sees(&cloud, &[("RestorableBy.1", "all")]).await.is_empty());
    assert!(bob_sees(&cloud, &[("Owner.1", "self")]).await.is_empty());
    let of_it = [("AvailabilityZone", ZONE), ("SnapshotId", id.as_str())];
    let made = bobs(&cloud, "CreateVolume", &of_it).await.unwrap();
    assert_eq!(made.one("size"), "10");
    // To see is not to own.
    for (action, parameters) in [
        ("DeleteSnapshot", vec![("SnapshotId", id.as_str())]),
        ("ModifySnapshotAttribute", vec![("SnapshotId", &id), ("CreateVolumePermission.Add.1.Group", "all")]),
        ("DescribeSnapshotAttribute", vec![("SnapshotId", &id), ("Attribute", "createVolumePermission")]),
        ("LockSnapshot", vec![("SnapshotId", &id), ("LockMode", "governance"), ("LockDuration", "1")]),
        ("CreateTags", vec![("ResourceId.1", &id), ("Tag.1.Key", "a")]),
    ] {
        assert_eq!(bobs(&cloud, action, &parameters).await.unwrap_err(), "AuthFailure", "{action}");
    }
    let older_form = [
        ("SnapshotId", id.as_str()),
        ("Attribute", "createVolumePermission"),
        ("OperationType", "remove"),
        ("UserId.1", BOBS),
    ];
    cloud.ok("ModifySnapshotAttribute", &older_form).await;
    assert!(bob_sees(&cloud, &[]).await.is_empty());

    let public = [("SnapshotId", id.as_str()), ("CreateVolumePermission.Add.1.Group", "all")];
    cloud.ok("ModifySnapshotAttribute", &public).await;
    assert_eq!(bob_sees(&cloud, &[("RestorableBy.1", "all")]).await, [id.as_str()]);
    assert_eq!(permissions(&cloud, &id).await.one("createVolumePermission/item/group"), "all");
    cloud.ok("EnableSnapshotBlockPublicAccess", &[("State", "block-all-sharing")]).await;
    assert!(bob_sees(&cloud, &[]).await.is_empty(), "withheld");
    assert_eq!(
        permissions(&cloud, &id).await.one("createVolumePermission/item/group"),
        "all",
        "but remembered"
    );
    assert_eq!(cloud.code("ModifySnapshotAttribute", &public).await, "OperationNotPermitted");
    cloud.ok("EnableSnapshotBlockPublicAccess", &[("State", "block-new-sharing")]).await;
    assert_eq!(bob_sees(&cloud, &[]).await, [id.as_str()]);
    assert_eq!(cloud.code("ModifySnapshotAttribute", &public).await, "OperationNotPermitted");
    let state = cloud.ok("GetSnapshotBlockPublicAccessState", &[]).await;
    assert_eq!(state.one("state"), "block-new-sharing");
    cloud.ok("DisableSnapshotBlockPublicAccess", &[]).await;
    cloud.ok("ModifySnapshotAttribute", &public).await;
    let reset = [("SnapshotId", id.as_str()), ("Attribute", "createVolumePermission")];
    cloud.ok("ResetSnapshotAttribute", &reset).await;
    assert!(permissions(&cloud, &id).await.all("createVolumePermission/item").is_empty());
    assert!(bob_sees(&cloud, &[]).await.is_empty());

    for (more, code) in [
        (vec![], "MissingParameter"),
        (vec![("CreateVolumePermission.Add.1.UserId", "bob")], "InvalidUserID.Malformed"),
        (vec![("CreateVolumePermission.Add.1.Group", "some")], "InvalidParameterValue"),
        (vec![("UserId.1", BOBS)], "MissingParameter"),
        (vec![("Attribute", "colour")], "InvalidParameterValue"),
        (vec![("Attribute", "productCodes")], "UnsupportedOperation"),
    ] {
        let parameters: Vec<_> = [("SnapshotId", id.as_str())].into_iter().chain(more).collect();
        assert_eq!(cloud.code("ModifySnapshotAttribute", &parameters).await, code, "{parameters:?}");
    }
}

#[tokio::test]
async fn a_snapshot_is_copied_and_the_copy_is_its_own() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let pending = taken(&cloud, &volume, &[]).await;
    let of = |id: &str| vec![("SourceRegion", "us-east-1".to_owned()), ("SourceSnapshotId", id.to_owned())];
    let borrowed = |parameters: &[(&'static str, String)]| {
        parameters.iter().map(|(n, v)| (*n, v.clone())).collect::<Vec<_>>()
    };
    let code = async |parameters: Vec<(&'static str, String)>| {
        let parameters = borrowed(&parameters);
        let parameters: Vec<_> = parameters.iter().map(|(n, v)| (*n, v.as_str())).collect();
        cloud.code("CopySnapshot", &parameters).await
    };
    assert_eq!(code(of(&pending)).await, "IncorrectState");
    assert_eq!(code(of("snap-0123456789abcdef0")).await, "InvalidSnapshot.NotFound");
    complete(&cloud, &pending).await;
    let elsewhere = vec![("SourceRegion", "mars-1".to_owned()), ("SourceSnapshotId", pending.clone())];
    assert_eq!(code(elsewhere).await, "InvalidParameterValue");
    let mut encrypted = of(&pending);
    encrypted.push(("KmsKeyId", "alias/aws/ebs".into()));
    assert_eq!(code(encrypted).await, "InvalidParameterDependency");
    let copied = [
        ("SourceRegion", "us-east-1"),
        ("SourceSnapshotId", pending.as_str()),
        ("DestinationRegion", "us-east-1"),
        ("TagSpecification.1.ResourceType", "snapshot"),
        ("TagSpecification.1.Tag.1.Key", "copy"),
    ];
    let answer = cloud.ok("CopySnapshot", &copied).await;
    let copy = answer.one("snapshotId");
    assert_eq!(answer.one("tagSet/item/key"), "copy");
    assert_eq!(shown(&cloud, &copy, "volumeId").await, "vol-ffffffff");
    assert_eq!(shown(&cloud, &copy, "description").await, format!("[Copied {pending} from us-east-1]"));
    let wish = wished(&cloud, &copy).await.unwrap();
    assert_eq!(wish.source, SnapshotSource::Copy(model::SnapshotId::parse(&pending).unwrap()));
    // What it is made of may go meanwhile.
    cloud.ok("DeleteSnapshot", &[("SnapshotId", &pending)]).await;
    assert!(wished(&cloud, &pending).await.is_some());
    complete(&cloud, &copy).await;
    assert!(wished(&cloud, &pending).await.is_none());
    assert_eq!(ids(&cloud, &[]).await, [copy.as_str()]);
    let transfer = [("Filter.1.Name", "transfer-type"), ("Filter.1.Value.1", "standard")];
    assert_eq!(ids(&cloud, &transfer).await, [copy.as_str()]);
}

fn two_regions(settings: &mut Settings) {
    let region = Region::parse("eu-west-1").unwrap();
    let zones = vec![Zone { region: region.clone(), letter: 'a' }];
    settings.regions.push(RegionSettings { region, zones });
}

#[tokio::test]
async fn a_snapshot_is_copied_to_another_region() {
    let kit = Kit::with(two_regions).await;
    let cloud = crate::instance::cloud_of(kit, crate::instance::ROOMY).await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    let of_it = [("SourceRegion", "us-east-1"), ("SourceSnapshotId", id.as_str()), ("Description", "far")];
    let copy = cloud.kit.call_in("eu-west-1", "CopySnapshot", &of_it).await.unwrap().one("snapshotId");
    assert_eq!(ids(&cloud, &[]).await, [id.as_str()], "it is not here");
    let there = async || cloud.kit.call_in("eu-west-1", "DescribeSnapshots", &[]).await.unwrap();
    assert_eq!(there().await.all("snapshotSet/item/snapshotId"), [copy.as_str()]);
    cloud.ok("DeleteSnapshot", &[("SnapshotId", &id)]).await;
    assert!(wished(&cloud, &id).await.is_some());
    let told = async {
        loop {
            if let Some(told) = cloud.host.object(key(&copy)) {
                return told.generation;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let generation = tokio::time::timeout(Duration::from_mins(1), told).await.unwrap();
    let body =
        ObservedBody::Snapshot(SnapshotPhase::Completed { full: 5, tier: model::host::Tier::Standard });
    let observed = Observed { key: key(&copy), generation, at: testkit::START, body };
    ec2::instance::absorb(&cloud.kit.cloud, observed).await;
    assert_eq!(there().await.one("snapshotSet/item/status"), "completed");
    assert!(wished(&cloud, &id).await.is_none(), "nothing needs it any more");
}

#[tokio::test]
async fn a_locked_snapshot_stays() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    let snapshot = ("SnapshotId", id.as_str());
    assert_eq!(cloud.code("UnlockSnapshot", &[snapshot]).await, "SnapshotNotLocked");
    for (more, code) in [
        (vec![("LockMode", "governance")], "MissingParameter"),
        (vec![("LockMode", "iron"), ("LockDuration", "1")], "InvalidParameterValue"),
        (vec![("LockMode", "governance"), ("LockDuration", "0")], "InvalidParameterValue"),
        (
            vec![("LockMode", "governance"), ("LockDuration", "1"), ("CoolOffPeriod", "1")],
            "InvalidParameterCombination",
        ),
        (
            vec![
                ("LockMode", "compliance"),
                ("LockDuration", "1"),
                ("ExpirationDate", "2027-01-01T00:00:00Z"),
            ],
            "InvalidParameterCombination",
        ),
        (
            vec![("LockMode", "governance"), ("ExpirationDate", "2026-01-01T01:00:00Z")],
            "InvalidParameterValue",
        ),
    ] {
        let parameters: Vec<_> = [snapshot].into_iter().chain(more).collect();
        assert_eq!(cloud.code("LockSnapshot", &parameters).await, code, "{parameters:?}");
    }
    let locked = [snapshot, ("LockMode", "compliance"), ("LockDuration", "2"), ("CoolOffPeriod", "1")];
    let answer = cloud.ok("LockSnapshot", &locked).await;
    assert_eq!(answer.one("lockState"), "compliance-cooloff");
    assert_eq!(answer.one("lockExpiresOn"), "2026-01-03T00:00:00.000Z");
    assert_eq!(cloud.code("DeleteSnapshot", &[snapshot]).await, "OperationNotPermitted");
    cloud.ok("UnlockSnapshot", &[snapshot]).await;
    cloud.ok("LockSnapshot", &locked).await;
    cloud.kit.clock.advance(Duration::from_hours(2));
    assert_eq!(cloud.code("UnlockSnapshot", &[snapshot]).await, "OperationNotPermitted");
    let locks = cloud.ok("DescribeLockedSnapshots", &[]).await;
    assert_eq!(locks.one("snapshotSet/item/lockState"), "compliance");
    let open = [("Filter.1.Name", "lock-state"), ("Filter.1.Value.1", "governance")];
    assert!(cloud.ok("DescribeLockedSnapshots", &open).await.all("snapshotSet/item").is_empty());
    cloud.kit.clock.advance(Duration::from_hours(48));
    let locks = cloud.ok("DescribeLockedSnapshots", &[("SnapshotId.1", &id)]).await;
    assert_eq!(locks.one("snapshotSet/item/lockState"), "expired");
    cloud.ok("DeleteSnapshot", &[snapshot]).await;
    assert_eq!(described_code(&cloud, &id).await, "InvalidSnapshot.NotFound");
}

async fn described_code(cloud: &Cloud, id: &str) -> String {
    cloud.code("DescribeSnapshots", &[("SnapshotId.1", id)]).await
}

#[tokio::test]
async fn what_others_tag_is_not_shown() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    cloud.ok("CreateTags", &[("ResourceId.1", &id), ("Tag.1.Key", "secret")]).await;
    cloud
        .ok("ModifySnapshotAttribute", &[("SnapshotId", &id), ("CreateVolumePermission.Add.1.UserId", BOBS)])
        .await;
    let seen = bobs(&cloud, "DescribeSnapshots", &[("SnapshotId.1", &id)]).await.unwrap();
    assert!(seen.all("snapshotSet/item/tagSet/item").is_empty());
    assert_eq!(described(&cloud, &id).await.one("snapshotSet/item/tagSet/item/key"), "secret");
}
