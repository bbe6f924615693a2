"""The recycle bin by boto3 and by the AWS CLI: rules, and what they keep of what is deleted."""

import pytest
from conftest import code
from test_snapshots import clean, completed, snapshot_of  # noqa: F401 (fixtures among them)
from test_volumes import make, zone  # noqa: F401 (fixtures among them)

DAYS = {"RetentionPeriodValue": 3, "RetentionPeriodUnit": "DAYS"}
MARK = [{"ResourceTagKey": "recycled"}]


@pytest.fixture
def rbin(cloud):
    client = cloud.client("rbin")
    yield client
    for kind in ("EBS_SNAPSHOT", "EC2_IMAGE"):
        for rule in client.list_rules(ResourceType=kind)["Rules"]:
            client.delete_rule(Identifier=rule["Identifier"])


def test_deleted_snapshots_and_images_come_back(ec2, rbin, make, clean):
    for kind in ("EBS_SNAPSHOT", "EC2_IMAGE"):
        made = rbin.create_rule(ResourceType=kind, RetentionPeriod=DAYS, ResourceTags=MARK, Description="of a test")
        assert (made["Status"], made["ResourceTags"]) == ("available", MARK)
        assert rbin.get_rule(Identifier=made["Identifier"])["RetentionPeriod"] == DAYS
    tags = [{"Key": "recycled", "Value": "yes"}]
    snapshot = ec2.create_snapshot(
        VolumeId=make(), TagSpecifications=[{"ResourceType": "snapshot", "Tags": tags}])["SnapshotId"]
    completed(ec2, snapshot)
    image = ec2.register_image(
        Name="test bin", RootDeviceName="/dev/xvda", Architecture="x86_64", VirtualizationType="hvm",
        TagSpecifications=[{"ResourceType": "image", "Tags": tags}],
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}])["ImageId"]
    ec2.deregister_image(ImageId=image)
    assert code(ec2.describe_images, ImageIds=[image]) == "InvalidAMIID.NotFound"
    held = ec2.list_images_in_recycle_bin(ImageIds=[image])["Images"][0]
    assert (held["RecycleBinExitTime"] - held["RecycleBinEnterTime"]).days == 3
    ec2.restore_image_from_recycle_bin(ImageId=image)
    assert ec2.describe_images(ImageIds=[image])["Images"][0]["Name"] == "test bin"
    ec2.delete_tags(Resources=[image], Tags=tags)
    ec2.deregister_image(ImageId=image)
    assert ec2.list_images_in_recycle_bin()["Images"] == []
    ec2.delete_snapshot(SnapshotId=snapshot)
    assert code(ec2.describe_snapshots, SnapshotIds=[snapshot]) == "InvalidSnapshot.NotFound"
    assert [s["SnapshotId"] for s in ec2.list_snapshots_in_recycle_bin()["Snapshots"]] == [snapshot]
    assert ec2.restore_snapshot_from_recycle_bin(SnapshotId=snapshot)["State"] == "completed"
    assert snapshot_of(ec2, snapshot)["Tags"] == tags
    ec2.delete_tags(Resources=[snapshot], Tags=tags)


def test_rules_are_kept_by_the_cli(cloud, rbin):
    made = cloud.aws("rbin", "create-rule", "--resource-type", "EBS_SNAPSHOT", "--retention-period",
                     "RetentionPeriodValue=1,RetentionPeriodUnit=DAYS", "--resource-tags", "ResourceTagKey=never",
                     "--tags", "Key=a,Value=b")
    cloud.aws("rbin", "update-rule", "--identifier", made["Identifier"], "--description", "of the CLI")
    told = cloud.aws("rbin", "get-rule", "--identifier", made["Identifier"])
    assert (told["Description"], told["RuleArn"]) == ("of the CLI", made["RuleArn"])
    cloud.aws("rbin", "tag-resource", "--resource-arn", made["RuleArn"], "--tags", "Key=c,Value=d")
    cloud.aws("rbin", "untag-resource", "--resource-arn", made["RuleArn"], "--tag-keys", "a")
    tags = cloud.aws("rbin", "list-tags-for-resource", "--resource-arn", made["RuleArn"])["Tags"]
    assert tags == [{"Key": "c", "Value": "d"}]
    refused = cloud.aws("rbin", "get-rule", "--identifier", "aaaaaaaaaaa", check=False)
    assert refused.returncode != 0 and "ResourceNotFoundException" in refused.stderr
    cloud.aws("rbin", "delete-rule", "--identifier", made["Identifier"])
    assert cloud.aws("rbin", "list-rules", "--resource-type", "EBS_SNAPSHOT")["Rules"] == []
