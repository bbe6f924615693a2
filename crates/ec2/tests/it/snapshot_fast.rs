//! Fast snapshot restore: what is asked of the host, what the API tells of it, and which volumes have the use of it.

use crate::instance::{Cloud, cloud};
use crate::snapshot::{completed, is, taken, wished};
use crate::volume::{ZONE, available};
use model::host::{SnapshotPhase, Tier};
use std::time::Duration;
use testkit::{Answer, BOB};

const BOBS: &str = "222222222222";

async fn enable(cloud: &Cloud, id: &str, zone: &str) -> Answer {
    let asked = [("SourceSnapshotId.1", id), ("AvailabilityZone.1", zone)];
    cloud.ok("EnableFastSnapshotRestores", &asked).await
}

async fn disable(cloud: &Cloud, id: &str, zone: &str) -> Answer {
    let asked = [("SourceSnapshotId.1", id), ("AvailabilityZone.1", zone)];
    cloud.ok("DisableFastSnapshotRestores", &asked).await
}

async fn listed(cloud: &Cloud, filters: &[(&str, &str)], path: &str) -> Vec<String> {
    let answer = cloud.ok("DescribeFastSnapshotRestores", filters).await;
    answer.all(&format!("fastSnapshotRestoreSet/item/{path}"))
}

async fn states(cloud: &Cloud) -> Vec<String> {
    listed(cloud, &[], "state").await
}

/// The host has done what is desired.
async fn placed(cloud: &Cloud, id: &str) -> Tier {
    let tier = wished(cloud, id).await.unwrap().tier;
    is(cloud, id, SnapshotPhase::Completed { full: 1 << 20, tier }).await;
    tier
}

async fn volume_of(cloud: &Cloud, id: &str, zone: &str) -> String {
    let made = cloud.ok("CreateVolume", &[("SnapshotId", id), ("AvailabilityZone", zone)]).await;
    let shown = cloud.ok("DescribeVolumes", &[("VolumeId.1", &made.one("volumeId"))]).await;
    shown.one("volumeSet/item/fastRestored")
}

#[tokio::test]
async fn it_goes_through_its_states_as_its_host_says() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    let asked = enable(&cloud, &id, ZONE).await;
    assert_eq!(asked.one("successful/item/snapshotId"), id);
    assert_eq!(asked.one("successful/item/state"), "enabling");
    assert_eq!(asked.one("successful/item/stateTransitionReason"), "Client.UserInitiated");
    assert_eq!(asked.one("successful/item/availabilityZone"), ZONE);
    assert_eq!(asked.all("successful/item/enablingTime").len(), 1);
    assert!(asked.all("unsuccessful/item/snapshotId").is_empty());
    assert_eq!(wished(&cloud, &id).await.unwrap().tier, Tier::Fast);
    assert_eq!(volume_of(&cloud, &id, ZONE).await, "false", "not yet");
    is(&cloud, &id, SnapshotPhase::Moving { percent: 7 }).await;
    assert_eq!(states(&cloud).await, ["optimizing"]);
    assert_eq!(placed(&cloud, &id).await, Tier::Fast);
    assert_eq!(states(&cloud).await, ["enabled"]);
    assert_eq!(listed(&cloud, &[], "enabledTime").await.len(), 1);
    assert_eq!(volume_of(&cloud, &id, ZONE).await, "true");
    assert_eq!(volume_of(&cloud, &id, "us-east-1b").await, "false", "elsewhere it is not enabled");
    let fast = [("Filter.1.Name", "fast-restored"), ("Filter.1.Value.1", "true")];
    assert_eq!(cloud.ok("DescribeVolumes", &fast).await.all("volumeSet/item/volumeId").len(), 1);
    assert_eq!(
        cloud.code("ModifySnapshotTier", &[("SnapshotId", &id), ("StorageTier", "archive")]).await,
        "IncorrectState"
    );
    let over = disable(&cloud, &id, ZONE).await;
    assert_eq!(over.one("successful/item/state"), "disabling");
    assert_eq!(placed(&cloud, &id).await, Tier::Standard);
    assert_eq!(states(&cloud).await, ["disabled"]);
    assert_eq!(volume_of(&cloud, &id, ZONE).await, "false");
    // It fades, as what has ended does.
    ec2::snapshot::fast::sweep(&cloud.kit.cloud).await.unwrap();
    assert_eq!(states(&cloud).await, ["disabled"]);
    cloud.kit.clock.advance(Duration::from_hours(1));
    ec2::snapshot::fast::sweep(&cloud.kit.cloud).await.unwrap();
    assert!(states(&cloud).await.is_empty());
}

#[tokio::test]
async fn minds_that_change_before_the_host_hears_of_it_end_in_the_last_state() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    enable(&cloud, &id, ZONE).await;
    disable(&cloud, &id, ZONE).await;
    assert_eq!(placed(&cloud, &id).await, Tier::Standard);
    assert_eq!(states(&cloud).await, ["disabled"]);
    enable(&cloud, &id, ZONE).await;
    placed(&cloud, &id).await;
    disable(&cloud, &id, ZONE).await;
    enable(&cloud, &id, ZONE).await;
    assert_eq!(placed(&cloud, &id).await, Tier::Fast);
    assert_eq!(states(&cloud).await, ["enabled"]);
    // A second zone has it at once, for the host has it.
    enable(&cloud, &id, "us-east-1b").await;
    placed(&cloud, &id).await;
    assert_eq!(states(&cloud).await, ["enabled", "enabled"]);
    disable(&cloud, &id, ZONE).await;
    assert_eq!(placed(&cloud, &id).await, Tier::Fast, "the other zone wants it");
    assert_eq!(states(&cloud).await, ["disabled", "enabled"]);
}

#[tokio::test]
async fn what_cannot_be_done_is_told_beside_what_was_done() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    let pending = taken(&cloud, &volume, &[]).await;
    let missing = "snap-0123456789abcdef0";
    let asked = [
        ("SourceSnapshotId.1", id.as_str()),
        ("SourceSnapshotId.2", missing),
        ("SourceSnapshotId.3", &pending),
        ("AvailabilityZone.1", ZONE),
        ("AvailabilityZone.2", "us-east-1b"),
    ];
    let answer = cloud.ok("EnableFastSnapshotRestores", &asked).await;
    assert_eq!(answer.all("successful/item/availabilityZone"), [ZONE, "us-east-1b"]);
    let mut failed = answer.all("unsuccessful/item/snapshotId");
    failed.sort();
    let mut expected = [missing.to_owned(), pending.clone()];
    expected.sort();
    assert_eq!(failed, expected);
    let errors = "unsuccessful/item/fastSnapshotRestoreStateErrorSet/item";
    assert_eq!(answer.all(&format!("{errors}/availabilityZone")).len(), 4);
    let codes = answer.all(&format!("{errors}/error/code"));
    assert!(codes.contains(&"InvalidSnapshot.NotFound".to_owned()), "{codes:?}");
    assert!(codes.contains(&"IncorrectState".to_owned()), "{codes:?}");
    let none = disable(&cloud, &id, "us-east-1c").await;
    assert_eq!(none.one(&format!("{errors}/error/code")), "IncorrectState");
    for (given, code) in [
        (vec![("SourceSnapshotId.1", id.as_str())], "MissingParameter"),
        (vec![("AvailabilityZone.1", ZONE)], "MissingParameter"),
        (vec![("SourceSnapshotId.1", &id), ("AvailabilityZone.1", "us-east-1q")], "InvalidParameterValue"),
        (vec![("SourceSnapshotId.1", "vol-1"), ("AvailabilityZone.1", ZONE)], "InvalidSnapshotID.Malformed"),
        (
            vec![
                ("SourceSnapshotId.1", &id),
                ("AvailabilityZone.1", ZONE),
                ("AvailabilityZoneId.1", "use1-az1"),
            ],
            "InvalidParameterCombination",
        ),
        (
            vec![("SourceSnapshotId.1", &id), ("AvailabilityZone.1", "us-east-1c"), ("DryRun", "true")],
            "DryRunOperation",
        ),
    ] {
        assert_eq!(cloud.code("EnableFastSnapshotRestores", &given).await, code, "{given:?}");
    }
    assert_eq!(states(&cloud).await, ["enabling", "enabling"], "a dry run changes nothing");
}

#[tokio::test]
async fn it_is_listed_by_filters_and_pages() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let (one, two) = (completed(&cloud, &volume, &[]).await, completed(&cloud, &volume, &[]).await);
    for id in [&one, &two] {
        enable(&cloud, id, ZONE).await;
        enable(&cloud, id, "us-east-1b").await;
    }
    placed(&cloud, &one).await;
    for (name, value, expected) in [
        ("snapshot-id", one.as_str(), 2),
        ("availability-zone", "us-east-1b", 2),
        ("state", "enabled", 2),
        ("state", "en*", 4),
        ("owner-id", BOBS, 0),
    ] {
        let filters = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        assert_eq!(listed(&cloud, &filters, "snapshotId").await.len(), expected, "{name}={value}");
    }
    let unknown = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")];
    assert_eq!(cloud.code("DescribeFastSnapshotRestores", &unknown).await, "InvalidParameterValue");
    assert_eq!(
        cloud.code("DescribeFastSnapshotRestores", &[("MaxResults", "201")]).await,
        "InvalidParameterValue"
    );
    let first = cloud.ok("DescribeFastSnapshotRestores", &[("MaxResults", "3")]).await;
    let token = first.one("nextToken");
    let rest = [("MaxResults", "3"), ("NextToken", token.as_str())];
    let rest = cloud.ok("DescribeFastSnapshotRestores", &rest).await;
    let path = "fastSnapshotRestoreSet/item/snapshotId";
    assert_eq!((first.all(path).len(), rest.all(path).len()), (3, 1));
    assert!(rest.all("nextToken").is_empty());
}

#[tokio::test]
async fn it_ends_with_the_snapshot_and_with_the_permission_to_use_it() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    let asked = [("SourceSnapshotId.1", id.as_str()), ("AvailabilityZone.1", ZONE)];
    let bobs = async |action: &str, given: &[(&str, &str)]| {
        cloud.kit.call_as(BOB, "ec2", action, given).await.unwrap()
    };
    let unseen = bobs("EnableFastSnapshotRestores", &asked).await;
    assert_eq!(unseen.one("unsuccessful/item/snapshotId"), id, "he cannot see it");
    let share = [("SnapshotId", id.as_str()), ("CreateVolumePermission.Add.1.UserId", BOBS)];
    cloud.ok("ModifySnapshotAttribute", &share).await;
    let his = bobs("EnableFastSnapshotRestores", &asked).await;
    assert_eq!(his.one("successful/item/ownerId"), BOBS);
    placed(&cloud, &id).await;
    let path = "fastSnapshotRestoreSet/item/state";
    assert_eq!(bobs("DescribeFastSnapshotRestores", &[]).await.one(path), "enabled");
    assert!(states(&cloud).await.is_empty(), "to each account its own");
    assert_eq!(volume_of(&cloud, &id, ZONE).await, "false");
    cloud.ok("ResetSnapshotAttribute", &[("SnapshotId", &id), ("Attribute", "createVolumePermission")]).await;
    assert_eq!(bobs("DescribeFastSnapshotRestores", &[]).await.one(path), "disabling");
    assert_eq!(placed(&cloud, &id).await, Tier::Standard);
    assert_eq!(bobs("DescribeFastSnapshotRestores", &[]).await.one(path), "disabled");

    enable(&cloud, &id, ZONE).await;
    placed(&cloud, &id).await;
    cloud.ok("DeleteSnapshot", &[("SnapshotId", &id)]).await;
    assert!(states(&cloud).await.is_empty());
    // A volume is being made of it still.
    assert_eq!(wished(&cloud, &id).await.unwrap().tier, Tier::Standard);
}

#[tokio::test]
async fn one_that_is_damaged_is_disabled_and_says_why() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    enable(&cloud, &id, ZONE).await;
    wished(&cloud, &id).await;
    is(&cloud, &id, SnapshotPhase::Unmovable { reason: "damaged".into() }).await;
    assert_eq!(states(&cloud).await, ["disabled"]);
    assert_eq!(listed(&cloud, &[], "stateTransitionReason").await, ["Server.InternalError: damaged"]);
    assert_eq!(wished(&cloud, &id).await.unwrap().tier, Tier::Standard);
}
