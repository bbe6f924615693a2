"""Volumes by boto3 and by the AWS CLI: made, attached, written to, moved, grown, deleted."""

import json

import pytest
from conftest import code, wait_until
from guest import describe, key_pair, open_group, ssh, wait_for

# Generous: the machine that tests this is busy.
PATIENCE = {"Delay": 1, "MaxAttempts": 240}


@pytest.fixture
def zone(ec2, subnet):
    return ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailabilityZone"]


@pytest.fixture
def make(ec2, zone):
    """Makes volumes and deletes what is left of them after the test."""
    made = []

    def one(**more):
        volume = ec2.create_volume(**{"AvailabilityZone": zone, "Size": 1, "VolumeType": "gp3", **more})["VolumeId"]
        made.append(volume)
        ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
        return volume

    yield one
    for volume in made:
        left = ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": [volume]}])["Volumes"]
        if left and left[0]["State"] == "available":
            ec2.delete_volume(VolumeId=volume)


def volume_of(ec2, volume):
    return ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]


def launch(ec2, image, subnet, terminate, **more):
    request = {"ImageId": image, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet, **more}
    instance = ec2.run_instances(**request)["Instances"][0]["InstanceId"]
    terminate(instance)
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig=PATIENCE)
    return instance


def attach(ec2, volume, instance, device="/dev/sdf"):
    answer = ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device=device)
    assert answer["State"] == "attaching"
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)

    def attached():
        return ("attached", instance) in [(a["State"], a["InstanceId"]) for a in volume_of(ec2, volume)["Attachments"]]
    wait_until(attached, f"{volume} is attached", timeout=240)


def detach(ec2, volume, **more):
    assert ec2.detach_volume(VolumeId=volume, **more)["State"] == "detaching"
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
    assert volume_of(ec2, volume)["Attachments"] == []


def modified(ec2, volume, state="completed"):
    def reached():
        return ec2.describe_volumes_modifications(VolumeIds=[volume])["VolumesModifications"][0][
            "ModificationState"] == state
    wait_until(reached, f"the modification of {volume} is {state}", timeout=240)


def test_a_volume_comes_and_goes(ec2, zone):
    made = ec2.create_volume(
        AvailabilityZone=zone, Size=10, VolumeType="gp3", Iops=4000, Throughput=200,
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "comes-and-goes"}]}])
    volume = made["VolumeId"]
    assert (made["Size"], made["Iops"], made["Throughput"], made["Encrypted"]) == (10, 4000, 200, False)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
    found = ec2.describe_volumes(Filters=[
        {"Name": "tag:Name", "Values": ["comes-and-*"]}, {"Name": "status", "Values": ["available"]}])["Volumes"]
    assert [v["VolumeId"] for v in found] == [volume]
    status = ec2.describe_volume_status(VolumeIds=[volume])["VolumeStatuses"][0]["VolumeStatus"]
    assert status["Status"] == "ok"
    assert code(ec2.delete_volume, VolumeId=volume, DryRun=True) == "DryRunOperation"
    ec2.delete_volume(VolumeId=volume)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
    assert code(ec2.describe_volumes, VolumeIds=[volume]) == "InvalidVolume.NotFound"


def test_what_cannot_be_is_refused(ec2, zone):
    for more, expected in [
        ({"VolumeType": "gp9"}, "UnknownVolumeType"),
        ({"VolumeType": "io1", "Size": 10, "Iops": 501}, "InvalidParameterValue"),
        ({"VolumeType": "gp2", "Iops": 100}, "InvalidParameterCombination"),
        ({"AvailabilityZone": "us-east-1z"}, "InvalidZone.NotFound"),
        ({"SnapshotId": "snap-0123456789abcdef0"}, "InvalidSnapshot.NotFound"),
        ({"KmsKeyId": "alias/aws/ebs"}, "InvalidParameterDependency"),
    ]:
        assert code(ec2.create_volume, **{"AvailabilityZone": zone, "Size": 10, **more}) == expected, more


def test_a_volume_is_modified(ec2, make):
    volume = make(Size=2)
    started = ec2.modify_volume(VolumeId=volume, Size=8, Iops=3500)["VolumeModification"]
    assert (started["OriginalSize"], started["TargetSize"], started["TargetIops"]) == (2, 8, 3500)
    assert code(ec2.modify_volume, VolumeId=volume, Size=9) == "IncorrectModificationState"
    modified(ec2, volume)
    assert (volume_of(ec2, volume)["Size"], volume_of(ec2, volume)["Iops"]) == (8, 3500)
    assert code(ec2.modify_volume, VolumeId=volume, Size=2) == "InvalidParameterValue"


def test_volumes_move_between_instances_by_the_cli(cloud, ec2, image, subnet, make, terminate):
    first = launch(ec2, image, subnet, terminate)
    second = launch(ec2, image, subnet, terminate)
    volume = make()
    attach(ec2, volume, first)
    assert code(ec2.attach_volume, VolumeId=volume, InstanceId=second, Device="/dev/sdf") == "VolumeInUse"
    assert code(ec2.delete_volume, VolumeId=volume) == "VolumeInUse"
    mappings = describe(ec2, first)["BlockDeviceMappings"]
    assert [m["DeviceName"] for m in mappings][1:] == ["/dev/sdf"]
    root = mappings[0]["Ebs"]["VolumeId"]
    assert code(ec2.detach_volume, VolumeId=root) == "OperationNotPermitted"
    assert cloud.aws("ec2", "detach-volume", "--volume-id", volume)["State"] == "detaching"
    cloud.aws("ec2", "wait", "volume-available", "--volume-ids", volume)
    cloud.aws("ec2", "attach-volume", "--volume-id", volume, "--instance-id", second, "--device", "/dev/sdg")
    cloud.aws("ec2", "wait", "volume-in-use", "--volume-ids", volume)
    mapping = [{"DeviceName": "/dev/sdg", "Ebs": {"DeleteOnTermination": True}}]
    cloud.aws("ec2", "modify-instance-attribute", "--instance-id", second, "--block-device-mappings",
              json.dumps(mapping))
    ec2.terminate_instances(InstanceIds=[second])
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)


@pytest.mark.machines
def test_data_written_to_a_volume_moves_with_it(ec2, image, subnet, make, terminate, tmp_path):
    group = open_group(ec2, "volumes", ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    key = key_pair(ec2, "volumes", tmp_path)
    more = {"SecurityGroupIds": [group], "KeyName": "volumes"}
    first = launch(ec2, image, subnet, terminate, **more)
    second = launch(ec2, image, subnet, terminate, **more)
    volume = make()
    disk = f"/dev/disk/by-id/virtio-{volume.replace('-', '')}"
    address = describe(ec2, first)["PublicIpAddress"]

    attach(ec2, volume, first)
    ssh(address, key, f"for i in $(seq 120); do test -e {disk} && exit 0; sleep 1; done; exit 1")
    ssh(address, key, f"echo 'carried over' | sudo dd of={disk} bs=512 conv=sync,fsync")
    sectors = f"cat /sys/class/block/$(basename $(readlink -f {disk}))/size"
    assert int(ssh(address, key, sectors)) == 1 << 21
    ec2.modify_volume(VolumeId=volume, Size=2)
    modified(ec2, volume)
    grown = f"for i in $(seq 120); do test $({sectors}) = {2 << 21} && exit 0; sleep 1; done; exit 1"
    ssh(address, key, grown)
    detach(ec2, volume)
    ssh(address, key, f"for i in $(seq 120); do test -e {disk} || exit 0; sleep 1; done; exit 1")

    attach(ec2, volume, second)
    address = describe(ec2, second)["PublicIpAddress"]
    ssh(address, key, f"for i in $(seq 120); do test -e {disk} && exit 0; sleep 1; done; exit 1")
    assert "carried over" in ssh(address, key, f"sudo head -c 12 {disk}")
    ec2.stop_instances(InstanceIds=[second])
    wait_for(ec2, second, "stopped")
    assert [a["State"] for a in volume_of(ec2, volume)["Attachments"]] == ["attached"]
    detach(ec2, volume)
    ec2.delete_volume(VolumeId=volume)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
