//! What is encrypted with whose key, who may have it, and what becomes of it without its key.

use crate::instance::{Cloud, IMAGE, cloud};
use crate::snapshot::{complete, completed, shown as snapshot_shown, taken, wished as snapshot_wished};
use crate::volume::{ZONE, available, made, shown, wished};
use model::DataKey;
use model::record::volume::Volume;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{ALICE, BOB};

const BOBS: &str = "222222222222";

async fn kms(cloud: &Cloud, action: &str, body: Value) -> Value {
    cloud.kit.json(ALICE, "kms", action, body).await.unwrap_or_else(|error| panic!("{action}: {error}"))
}

/// A key of Alice's: its ARN.
async fn new_key(cloud: &Cloud) -> String {
    kms(cloud, "CreateKey", json!({})).await["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
}

async fn ebs_key(cloud: &Cloud) -> String {
    let described = kms(cloud, "DescribeKey", json!({ "KeyId": "alias/aws/ebs" })).await;
    described["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
}

/// The data key that the host is told of with a volume.
fn data_key(cloud: &Cloud, volume: &str) -> Option<DataKey> {
    wished(cloud, volume).unwrap().data_key.clone()
}

async fn snapshot_key(cloud: &Cloud, snapshot: &str) -> Option<DataKey> {
    snapshot_wished(cloud, snapshot).await.unwrap().data_key.clone()
}

async fn copied(cloud: &Cloud, snapshot: &str, more: &[(&str, &str)]) -> String {
    let mut parameters = vec![("SourceRegion", "us-east-1"), ("SourceSnapshotId", snapshot)];
    parameters.extend(more);
    let id = cloud.ok("CopySnapshot", &parameters).await.one("snapshotId");
    complete(cloud, &id).await;
    id
}

/// Launched of another image than the usual one.
async fn launched_of(cloud: &Cloud, image: &str) -> String {
    let asked = [("ImageId", image), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    cloud.ok("RunInstances", &asked).await.one("instancesSet/item/instanceId")
}

#[tokio::test]
async fn an_encrypted_volume_says_so_and_its_host_alone_has_its_data_key() {
    let cloud = cloud().await;
    let plain = available(&cloud, &[]).await;
    assert_eq!(
        (shown(&cloud, &plain, "encrypted").await.as_str(), data_key(&cloud, &plain)),
        ("false", None)
    );
    let volume = available(&cloud, &[("Encrypted", "true")]).await;
    assert_eq!(shown(&cloud, &volume, "encrypted").await, "true");
    assert_eq!(shown(&cloud, &volume, "kmsKeyId").await, ebs_key(&cloud).await);
    let mine = new_key(&cloud).await;
    kms(&cloud, "CreateAlias", json!({ "AliasName": "alias/mine", "TargetKeyId": mine })).await;
    let other = available(&cloud, &[("Encrypted", "true"), ("KmsKeyId", "alias/mine")]).await;
    assert_eq!(shown(&cloud, &other, "kmsKeyId").await, mine);
    let (one, two) = (data_key(&cloud, &volume).unwrap(), data_key(&cloud, &other).unwrap());
    assert_ne!(one, two, "each has its own");
    // In the records it is sealed alone.
    {
        let tables = cloud.kit.cloud.view.read();
        for (_, record) in tables.everywhere::<Volume>() {
            let text = serde_json::to_string(&**record).unwrap();
            for key in [&one, &two] {
                let clear = serde_json::to_string(key).unwrap();
                assert!(!text.contains(clear.trim_matches('"')), "{text}");
            }
        }
    }
    let listed =
        cloud.ok("DescribeVolumes", &[("Filter.1.Name", "encrypted"), ("Filter.1.Value.1", "true")]).await;
    assert_eq!(listed.all("volumeSet/item/volumeId").len(), 2);
}

#[tokio::test]
async fn what_comes_of_an_encrypted_volume_is_encrypted_alike_until_another_key_is_named() {
    let cloud = cloud().await;
    let (one, two) = (new_key(&cloud).await, new_key(&cloud).await);
    let volume = available(&cloud, &[("Encrypted", "true"), ("KmsKeyId", &one)]).await;
    let own = data_key(&cloud, &volume).unwrap();
    let snapshot = completed(&cloud, &volume, &[]).await;
    assert_eq!(snapshot_shown(&cloud, &snapshot, "encrypted").await, "true");
    assert_eq!(snapshot_shown(&cloud, &snapshot, "kmsKeyId").await, one);
    assert_eq!(snapshot_key(&cloud, &snapshot).await.as_ref(), Some(&own));
    // Of the snapshot, alike: nobody can take the encryption away.
    let again = available(&cloud, &[("SnapshotId", &snapshot), ("Encrypted", "false")]).await;
    assert_eq!(shown(&cloud, &again, "kmsKeyId").await, one);
    assert_eq!(data_key(&cloud, &again).as_ref(), Some(&own));
    let moved =
        available(&cloud, &[("SnapshotId", &snapshot), ("Encrypted", "true"), ("KmsKeyId", &two)]).await;
    assert_eq!(shown(&cloud, &moved, "kmsKeyId").await, two);
    assert_ne!(data_key(&cloud, &moved).unwrap(), own);

    let same = copied(&cloud, &snapshot, &[]).await;
    assert_eq!(snapshot_shown(&cloud, &same, "kmsKeyId").await, one);
    assert_eq!(snapshot_key(&cloud, &same).await.as_ref(), Some(&own));
    let other = copied(&cloud, &snapshot, &[("Encrypted", "true"), ("KmsKeyId", &two)]).await;
    assert_eq!(snapshot_shown(&cloud, &other, "kmsKeyId").await, two);
    assert_ne!(snapshot_key(&cloud, &other).await.unwrap(), own);

    let plain = available(&cloud, &[]).await;
    let plain = completed(&cloud, &plain, &[]).await;
    assert_eq!(snapshot_key(&cloud, &plain).await, None);
    let encrypted = copied(&cloud, &plain, &[("Encrypted", "true")]).await;
    assert_eq!(snapshot_shown(&cloud, &encrypted, "kmsKeyId").await, ebs_key(&cloud).await);
    assert!(snapshot_key(&cloud, &encrypted).await.is_some());
    let filter = [("Filter.1.Name", "encrypted"), ("Filter.1.Value.1", "false"), ("Owner.1", "self")];
    assert_eq!(crate::snapshot::ids(&cloud, &filter).await, [plain]);
}

#[tokio::test]
async fn an_account_that_encrypts_by_default_encrypts_everything_new_with_its_default_key() {
    let cloud = cloud().await;
    let on = async || cloud.ok("GetEbsEncryptionByDefault", &[]).await.one("ebsEncryptionByDefault");
    let key = async || cloud.ok("GetEbsDefaultKmsKeyId", &[]).await.one("kmsKeyId");
    assert_eq!((on().await.as_str(), key().await.as_str()), ("false", "alias/aws/ebs"));
    let old = available(&cloud, &[]).await;
    let plain = completed(&cloud, &old, &[]).await;
    cloud.ok("EnableEbsEncryptionByDefault", &[]).await;
    assert_eq!(on().await, "true");
    let volume = available(&cloud, &[]).await;
    assert_eq!(shown(&cloud, &volume, "kmsKeyId").await, ebs_key(&cloud).await);

    let mine = new_key(&cloud).await;
    let id = mine.rsplit('/').next().unwrap();
    let modified = cloud.ok("ModifyEbsDefaultKmsKeyId", &[("KmsKeyId", id)]).await;
    assert_eq!((modified.one("kmsKeyId"), key().await), (mine.clone(), mine.clone()));
    assert_eq!(
        cloud.code("ModifyEbsDefaultKmsKeyId", &[("KmsKeyId", "alias/no")]).await,
        "InvalidKmsKey.NotFound"
    );
    let of_snapshot = available(&cloud, &[("SnapshotId", &plain)]).await;
    assert_eq!(shown(&cloud, &of_snapshot, "kmsKeyId").await, mine);
    let copy = copied(&cloud, &plain, &[]).await;
    assert_eq!(snapshot_shown(&cloud, &copy, "kmsKeyId").await, mine);
    let instance = cloud.running(&[]).await;
    let root = cloud.shown(&instance, "blockDeviceMapping/item/ebs/volumeId").await;
    assert_eq!(shown(&cloud, &root, "kmsKeyId").await, mine);
    assert!(data_key(&cloud, &root).is_some());

    cloud.ok("ResetEbsDefaultKmsKeyId", &[]).await;
    assert_eq!(key().await, "alias/aws/ebs");
    cloud.ok("DisableEbsEncryptionByDefault", &[]).await;
    let plain = available(&cloud, &[]).await;
    assert_eq!(shown(&cloud, &plain, "encrypted").await, "false");
    // Another account has its own settings.
    let bobs = cloud.kit.call_as(BOB, "ec2", "GetEbsEncryptionByDefault", &[]).await.unwrap();
    assert_eq!(bobs.one("ebsEncryptionByDefault"), "false");
}

#[tokio::test]
async fn an_image_of_encrypted_volumes_launches_and_copies_encrypted() {
    let cloud = cloud().await;
    let (one, two) = (new_key(&cloud).await, new_key(&cloud).await);
    let mapping = [
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.Encrypted", "true"),
        ("BlockDeviceMapping.1.Ebs.KmsKeyId", &one),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.2.Ebs.VolumeSize", "2"),
    ];
    let instance = cloud.running(&mapping).await;
    let volumes = cloud.shown_all(&instance, "blockDeviceMapping/item/ebs/volumeId").await;
    assert_eq!(shown(&cloud, &volumes[0], "kmsKeyId").await, one);
    assert_eq!(shown(&cloud, &volumes[1], "encrypted").await, "false");
    let id = crate::image_make::made(&cloud, &instance, "sealed", &[]).await;
    for snapshot in crate::image_make::snapshots(&cloud, &id).await {
        complete(&cloud, &snapshot).await;
    }
    let devices = async |id: &str| {
        let answer = cloud.ok("DescribeImages", &[("ImageId.1", id)]).await;
        answer.all("imagesSet/item/blockDeviceMapping/item/ebs/encrypted")
    };
    assert_eq!(devices(&id).await, ["true", "false"]);
    let again = launched_of(&cloud, &id).await;
    let roots = cloud.shown_all(&again, "blockDeviceMapping/item/ebs/volumeId").await;
    assert_eq!(shown(&cloud, &roots[0], "kmsKeyId").await, one);
    assert_eq!(data_key(&cloud, &roots[0]), data_key(&cloud, &volumes[0]));

    let asked = [
        ("SourceRegion", "us-east-1"),
        ("SourceImageId", &id),
        ("Name", "sealed anew"),
        ("Encrypted", "true"),
        ("KmsKeyId", &two),
    ];
    let copy = cloud.ok("CopyImage", &asked).await.one("imageId");
    assert_eq!(devices(&copy).await, ["true", "true"]);
    for snapshot in crate::image_make::snapshots(&cloud, &copy).await {
        assert_eq!(snapshot_shown(&cloud, &snapshot, "kmsKeyId").await, two);
        assert_ne!(snapshot_key(&cloud, &snapshot).await, data_key(&cloud, &volumes[0]));
    }
    // Sharing it with everybody would be in vain.
    let public = [("ImageId", id.as_str()), ("LaunchPermission.Add.1.Group", "all")];
    assert_eq!(cloud.code("ModifyImageAttribute", &public).await, "OperationNotPermitted");
    cloud.ok("ModifyImageAttribute", &[("ImageId", &id), ("LaunchPermission.Add.1.UserId", BOBS)]).await;
}

#[tokio::test]
async fn an_encrypted_snapshot_is_shared_with_accounts_whom_its_key_lets_in() {
    let cloud = cloud().await;
    let default = available(&cloud, &[("Encrypted", "true")]).await;
    let default = completed(&cloud, &default, &[]).await;
    let add = [("SnapshotId", default.as_str()), ("CreateVolumePermission.Add.1.UserId", BOBS)];
    assert_eq!(cloud.code("ModifySnapshotAttribute", &add).await, "OperationNotPermitted");
    let mine = new_key(&cloud).await;
    let volume = available(&cloud, &[("Encrypted", "true"), ("KmsKeyId", &mine)]).await;
    let snapshot = completed(&cloud, &volume, &[]).await;
    let public = [("SnapshotId", snapshot.as_str()), ("CreateVolumePermission.Add.1.Group", "all")];
    assert_eq!(cloud.code("ModifySnapshotAttribute", &public).await, "OperationNotPermitted");
    let add = [("SnapshotId", snapshot.as_str()), ("CreateVolumePermission.Add.1.UserId", BOBS)];
    cloud.ok("ModifySnapshotAttribute", &add).await;

    let asked = [("AvailabilityZone", ZONE), ("SnapshotId", snapshot.as_str())];
    let bob = async || cloud.kit.call_as(BOB, "ec2", "CreateVolume", &asked).await;
    assert_eq!(bob().await.unwrap_err().code(), "InvalidKmsKey.NotAccessible");
    let root = "arn:aws:iam::222222222222:root";
    let grant = json!({ "KeyId": mine, "GranteePrincipal": root, "Operations": ["Decrypt"] });
    kms(&cloud, "CreateGrant", grant).await;
    // What he makes of it is encrypted with a key of his own.
    let made = bob().await.unwrap();
    assert_eq!(made.one("encrypted"), "true");
    assert!(made.one("kmsKeyId").starts_with("arn:aws:kms:us-east-1:222222222222:key/"));
    let back = [("SnapshotId", snapshot.as_str()), ("CreateVolumePermission.Remove.1.UserId", BOBS)];
    cloud.ok("ModifySnapshotAttribute", &back).await;
}

#[tokio::test]
async fn a_disabled_key_stops_attaches_starts_and_launches_and_what_runs_goes_on() {
    let cloud = cloud().await;
    let mine = new_key(&cloud).await;
    let root = [
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.Encrypted", "true"),
        ("BlockDeviceMapping.1.Ebs.KmsKeyId", mine.as_str()),
    ];
    let running = cloud.running(&root).await;
    let own = cloud.shown(&running, "blockDeviceMapping/item/ebs/volumeId").await;
    let stopped = cloud.running(&root).await;
    cloud.ok("StopInstances", &[("InstanceId.1", &stopped)]).await;
    let cause = model::host::StopCause::Requested;
    cloud.observe(&stopped, model::host::InstancePhase::Stopped { run: 1, cause }).await;
    assert_eq!(cloud.state(&stopped).await, "stopped");
    let volume = available(&cloud, &[("Encrypted", "true"), ("KmsKeyId", &mine)]).await;
    let snapshot = completed(&cloud, &volume, &[]).await;
    let (before, of_volume) = (data_key(&cloud, &own), data_key(&cloud, &volume));

    kms(&cloud, "DisableKey", json!({ "KeyId": mine })).await;
    let attach = [("VolumeId", volume.as_str()), ("InstanceId", running.as_str()), ("Device", "/dev/sdf")];
    assert_eq!(cloud.code("AttachVolume", &attach).await, "InvalidKmsKey.InvalidState");
    for (action, asked) in [
        ("CreateVolume", vec![("AvailabilityZone", ZONE), ("SnapshotId", snapshot.as_str())]),
        ("CopySnapshot", vec![("SourceRegion", "us-east-1"), ("SourceSnapshotId", &snapshot)]),
        ("ModifyEbsDefaultKmsKeyId", vec![("KmsKeyId", &mine)]),
    ] {
        assert_eq!(cloud.code(action, &asked).await, "InvalidKmsKey.InvalidState", "{action}");
    }
    let code = "Client.InvalidKMSKey.InvalidState";
    let start = cloud.ok("StartInstances", &[("InstanceId.1", &stopped)]).await;
    assert_eq!(start.one("instancesSet/item/currentState/name"), "pending");
    assert_eq!(cloud.state(&stopped).await, "stopped");
    assert_eq!(cloud.shown(&stopped, "stateReason/code").await, code);

    let launched = cloud.launch(&root).await;
    assert_eq!(launched.one("instancesSet/item/instanceState/name"), "pending");
    let id = launched.one("instancesSet/item/instanceId");
    assert_eq!(cloud.state(&id).await, "terminated");
    assert_eq!(cloud.shown(&id, "stateReason/code").await, code);
    assert!(cloud.shown_all(&id, "networkInterfaceSet/item/networkInterfaceId").await.is_empty());
    let interfaces = cloud.ok("DescribeNetworkInterfaces", &[]).await;
    assert_eq!(
        interfaces.all("networkInterfaceSet/item/networkInterfaceId").len(),
        2,
        "nothing is left behind"
    );

    // The host still has what it needs for what runs.
    assert_eq!(cloud.state(&running).await, "running");
    assert_eq!((data_key(&cloud, &own), data_key(&cloud, &volume)), (before.clone(), of_volume.clone()));
    assert_eq!(taken(&cloud, &own, &[]).await.len(), 22);

    kms(&cloud, "EnableKey", json!({ "KeyId": mine })).await;
    cloud.ok("AttachVolume", &attach).await;
    cloud.ok("StartInstances", &[("InstanceId.1", &stopped)]).await;
    assert_eq!(cloud.state(&stopped).await, "pending");

    // Deleted for good, it takes what it encrypted along.
    kms(&cloud, "ScheduleKeyDeletion", json!({ "KeyId": mine, "PendingWindowInDays": 7 })).await;
    let refused = cloud.code("CreateVolume", &[("AvailabilityZone", ZONE), ("SnapshotId", &snapshot)]).await;
    assert_eq!(refused, "InvalidKmsKey.InvalidState");
    cloud.kit.clock.advance(Duration::from_hours(7 * 24));
    ::kms::sweep(&cloud.kit.cloud).await.unwrap();
    let refused = cloud.code("CreateVolume", &[("AvailabilityZone", ZONE), ("SnapshotId", &snapshot)]).await;
    assert_eq!(refused, "InvalidKmsKey.NotFound");
    let tables = cloud.kit.cloud.view.read();
    let region = cloud.kit.region();
    let key = crate::volume::key(&volume);
    match ec2::instance::desired::object(&cloud.kit.cloud.root, &tables, &region, key) {
        Some(model::host::DesiredBody::Volume(wish)) => {
            assert_eq!(wish.data_key, None, "nobody knows it any more");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_are_asked_for_properly() {
    let cloud = cloud().await;
    let mapping = [
        ("ImageId", IMAGE),
        ("InstanceType", "t3.micro"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.KmsKeyId", "alias/aws/ebs"),
    ];
    assert_eq!(cloud.code("RunInstances", &mapping).await, "InvalidParameterDependency");
    // A dry run makes no key.
    let dry = [("AvailabilityZone", ZONE), ("Size", "1"), ("Encrypted", "true"), ("DryRun", "true")];
    assert_eq!(cloud.code("CreateVolume", &dry).await, "DryRunOperation");
    assert_eq!(kms(&cloud, "ListKeys", json!({})).await["Keys"], json!([]));
    let volume = made(&cloud, &[("Encrypted", "true")]).await;
    assert_eq!(kms(&cloud, "ListKeys", json!({})).await["Keys"].as_array().unwrap().len(), 1);
    assert_eq!(shown(&cloud, &volume, "encrypted").await, "true");
    let snapshot = [
        ("AvailabilityZone", ZONE),
        ("Size", "1"),
        ("Encrypted", "true"),
        ("KmsKeyId", "arn:aws:kms:eu-west-1:1:key/x"),
    ];
    assert_eq!(cloud.code("CreateVolume", &snapshot).await, "InvalidKmsKey.NotFound");
}
