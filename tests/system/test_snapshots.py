"""Snapshots and images by boto3 and by the AWS CLI: taken, shared, copied, made into volumes and images, launched, deleted."""

import os
import signal

import botocore.exceptions
import pytest
from conftest import code, wait_until
from guest import describe, key_pair, open_group, ssh, wait_for
from test_volumes import PATIENCE, attach, launch, make, volume_of, zone  # noqa: F401 (fixtures among them)


@pytest.fixture
def clean(ec2):
    """Deletes the images and snapshots that are left after the test."""
    yield
    for image in ec2.describe_images(Owners=["self"])["Images"]:
        if "SourceInstanceId" in image or "SourceImageId" in image or image["Name"].startswith("test "):
            ec2.deregister_image(ImageId=image["ImageId"])
    for snapshot in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])


def snapshot_of(ec2, snapshot):
    return ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]


def completed(ec2, *snapshots):
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=list(snapshots), WaiterConfig=PATIENCE)


def available(ec2, image):
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=PATIENCE)
    return ec2.describe_images(ImageIds=[image])["Images"][0]


def test_a_snapshot_comes_and_goes(ec2, make, clean):
    volume = make(Size=2)
    made = ec2.create_snapshot(
        VolumeId=volume, Description="of a test",
        TagSpecifications=[{"ResourceType": "snapshot", "Tags": [{"Key": "Name", "Value": "comes"}]}])
    snapshot = made["SnapshotId"]
    assert (made["State"], made["VolumeId"], made["VolumeSize"], made["Encrypted"]) == ("pending", volume, 2, False)
    completed(ec2, snapshot)
    shown = snapshot_of(ec2, snapshot)
    assert (shown["Progress"], shown["Description"], shown["StorageTier"]) == ("100%", "of a test", "standard")
    assert shown["CompletionTime"] >= shown["StartTime"]
    found = ec2.describe_snapshots(Filters=[
        {"Name": "tag:Name", "Values": ["com*"]}, {"Name": "volume-id", "Values": [volume]}])["Snapshots"]
    assert [s["SnapshotId"] for s in found] == [snapshot]
    # It outlives its volume, and makes others.
    ec2.delete_volume(VolumeId=volume)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
    again = make(SnapshotId=snapshot, Size=3)
    shown = volume_of(ec2, again)
    assert (shown["SnapshotId"], shown["Size"]) == (snapshot, 3)
    assert code(ec2.delete_snapshot, SnapshotId=snapshot, DryRun=True) == "DryRunOperation"
    ec2.delete_snapshot(SnapshotId=snapshot)
    assert code(ec2.describe_snapshots, SnapshotIds=[snapshot]) == "InvalidSnapshot.NotFound"
    assert volume_of(ec2, again)["State"] == "available"


def test_what_cannot_be_is_refused(ec2, make, zone, clean):
    volume = make(Size=2)
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    completed(ec2, snapshot)
    assert code(ec2.create_snapshot, VolumeId="vol-0123456789abcdef0") == "InvalidVolume.NotFound"
    smaller = {"AvailabilityZone": zone, "SnapshotId": snapshot, "Size": 1}
    assert code(ec2.create_volume, **smaller) == "InvalidParameterValue"
    assert code(ec2.delete_snapshot, SnapshotId="snap-0123456789abcdef0") == "InvalidSnapshot.NotFound"
    copied = {"SourceRegion": "mars-1", "SourceSnapshotId": snapshot}
    assert code(ec2.copy_snapshot, **copied) == "InvalidParameterValue"
    image = ec2.register_image(
        Name="test root", RootDeviceName="/dev/xvda", Architecture="x86_64", VirtualizationType="hvm",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}])["ImageId"]
    assert code(ec2.delete_snapshot, SnapshotId=snapshot) == "InvalidSnapshot.InUse"
    again = {"Name": "test root", "RootDeviceName": "/dev/xvda",
             "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}]}
    assert code(ec2.register_image, **again) == "InvalidAMIName.Duplicate"
    done = ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    assert done["DeleteSnapshotResults"] == [{"SnapshotId": snapshot, "ReturnCode": "success"}]
    assert code(ec2.describe_images, ImageIds=[image]) == "InvalidAMIID.NotFound"


def test_snapshots_are_copied_shared_and_locked_by_the_cli(cloud, ec2, make, clean):
    volume = make()
    region = ec2.meta.region_name
    made = cloud.aws("ec2", "create-snapshot", "--volume-id", volume, "--description", "first")
    first = made["SnapshotId"]
    cloud.aws("ec2", "wait", "snapshot-completed", "--snapshot-ids", first)
    copy = cloud.aws("ec2", "copy-snapshot", "--source-region", region, "--source-snapshot-id", first)["SnapshotId"]
    cloud.aws("ec2", "delete-snapshot", "--snapshot-id", first)
    cloud.aws("ec2", "wait", "snapshot-completed", "--snapshot-ids", copy)
    shown = snapshot_of(ec2, copy)
    assert shown["VolumeId"] == "vol-ffffffff"
    assert shown["Description"] == f"[Copied {first} from {region}] first"
    cloud.aws("ec2", "modify-snapshot-attribute", "--snapshot-id", copy, "--attribute", "createVolumePermission",
              "--operation-type", "add", "--user-ids", "123456789012")
    told = cloud.aws("ec2", "describe-snapshot-attribute", "--snapshot-id", copy, "--attribute", "createVolumePermission")
    assert told["CreateVolumePermissions"] == [{"UserId": "123456789012"}]
    cloud.aws("ec2", "reset-snapshot-attribute", "--snapshot-id", copy, "--attribute", "createVolumePermission")
    locked = cloud.aws("ec2", "lock-snapshot", "--snapshot-id", copy, "--lock-mode", "governance", "--lock-duration", "1")
    assert locked["LockState"] == "governance"
    assert code(ec2.delete_snapshot, SnapshotId=copy) == "OperationNotPermitted"
    cloud.aws("ec2", "unlock-snapshot", "--snapshot-id", copy)


def test_an_image_of_an_instance_is_made_copied_and_launched(ec2, image, subnet, terminate, clean):
    data = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}]
    instance = launch(ec2, image, subnet, terminate, BlockDeviceMappings=data)
    snapshots = ec2.create_snapshots(InstanceSpecification={"InstanceId": instance, "ExcludeBootVolume": True})
    assert [s["State"] for s in snapshots["Snapshots"]] == ["pending"]
    made = ec2.create_image(InstanceId=instance, Name="test web", NoReboot=True)["ImageId"]
    shown = available(ec2, made)
    assert [d["DeviceName"] for d in shown["BlockDeviceMappings"]][1:] == ["/dev/sdf"]
    assert all("SnapshotId" in d["Ebs"] for d in shown["BlockDeviceMappings"])
    assert (shown["SourceInstanceId"], shown["SourceImageId"], shown["Public"]) == (instance, image, False)
    copy = ec2.copy_image(SourceRegion=ec2.meta.region_name, SourceImageId=made, Name="test copy")["ImageId"]
    available(ec2, copy)
    ec2.modify_image_attribute(ImageId=copy, Description={"Value": "a copy"})
    ec2.modify_image_attribute(ImageId=copy, LaunchPermission={"Add": [{"UserId": "123456789012"}]})
    told = ec2.describe_image_attribute(ImageId=copy, Attribute="launchPermission")
    assert told["LaunchPermissions"] == [{"UserId": "123456789012"}]
    ec2.disable_image(ImageId=copy)
    request = {"ImageId": copy, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1}
    assert code(ec2.run_instances, **request) == "InvalidAMIID.Unavailable"
    ec2.enable_image(ImageId=copy)
    second = launch(ec2, copy, subnet, terminate)
    assert len(describe(ec2, second)["BlockDeviceMappings"]) == 2
    # In any order: the image and its snapshots go while the instance runs.
    gone = ec2.deregister_image(ImageId=copy, DeleteAssociatedSnapshots=True)["DeleteSnapshotResults"]
    assert [s["ReturnCode"] for s in gone] == ["success", "success"]
    assert describe(ec2, second)["State"]["Name"] == "running"


def killed(cloud):
    """Kills what serves the cloud, and waits for it to be back."""
    if cloud.host == "sim":
        cloud.process.kill()
        cloud.process.communicate()
        cloud.up()
        return
    pids = {name: cloud.pid(name) for name in ("agent", "server")}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)

    def is_back():
        processes = cloud.status()["processes"]
        return all(processes[name] not in (None, pid) for name, pid in pids.items())
    wait_until(is_back, "the processes are started again", timeout=240)


def answered(call, **parameters):
    """The answer of a server that may have just been started."""
    def answer():
        try:
            return call(**parameters)
        except (botocore.exceptions.EndpointConnectionError, botocore.exceptions.ConnectionClosedError,
                botocore.exceptions.ConnectTimeoutError, botocore.exceptions.ReadTimeoutError):
            return None
    return wait_until(answer, "the server answers", timeout=240)


def test_whoever_is_killed_what_was_asked_for_is_completed(make_cloud):
    own = make_cloud("killed-in-snapshots").up()
    ec2 = own.client()
    zone = ec2.describe_subnets()["Subnets"][0]["AvailabilityZone"]

    def ready(volume):
        ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
        return volume
    volume = ready(ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"])
    kept = []
    for _ in range(3):
        taken = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        copied = kept and ec2.copy_snapshot(SourceRegion=ec2.meta.region_name, SourceSnapshotId=kept[-1])["SnapshotId"]
        killed(own)
        assert len(answered(ec2.describe_snapshots, SnapshotIds=[taken])["Snapshots"]) == 1
        completed(ec2, taken, *([copied] if copied else []))
        if copied:
            ec2.delete_snapshot(SnapshotId=kept[-1])
            kept[-1] = copied
        kept.append(taken)
    restored = [ec2.create_volume(AvailabilityZone=zone, SnapshotId=snapshot)["VolumeId"] for snapshot in kept]
    killed(own)
    answered(ec2.describe_volumes)
    for made in restored:
        ready(made)
    for snapshot in kept:
        ec2.delete_snapshot(SnapshotId=snapshot)
    assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    own.at_rest()
    own.down("--purge")


def disk_of(volume):
    return f"/dev/disk/by-id/virtio-{volume.replace('-', '')}"


def there(disk):
    return f"for i in $(seq 120); do test -e {disk} && exit 0; sleep 1; done; exit 1"


@pytest.fixture
def opened(ec2, tmp_path):
    """What lets ssh into the instances of a test: a key's file, and the parameters of a launch."""
    group = open_group(ec2, "snapshots", ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    key = key_pair(ec2, "snapshots", tmp_path)
    yield key, {"SecurityGroupIds": [group], "KeyName": "snapshots"}
    ec2.delete_key_pair(KeyName="snapshots")

    def free():
        return not ec2.describe_network_interfaces(Filters=[{"Name": "group-id", "Values": [group]}])["NetworkInterfaces"]
    for waiting in ec2.describe_instances(Filters=[{"Name": "instance.group-id", "Values": [group]}])["Reservations"]:
        ec2.terminate_instances(InstanceIds=[i["InstanceId"] for i in waiting["Instances"]])
    wait_until(free, f"nothing is in {group}", timeout=240)
    ec2.delete_security_group(GroupId=group)


@pytest.mark.machines
def test_a_snapshot_of_a_running_volume_holds_what_was_there(ec2, image, subnet, make, terminate, opened, clean):
    key, more = opened
    instance = launch(ec2, image, subnet, terminate, **more)
    address = describe(ec2, instance)["PublicIpAddress"]
    volume = make()
    attach(ec2, volume, instance)
    disk = disk_of(volume)
    ssh(address, key, there(disk))

    def write(text, at):
        ssh(address, key, f"echo '{text}' | sudo dd of={disk} bs=512 seek={at} conv=sync,notrunc,fsync")

    def read(disk, at):
        return ssh(address, key, f"sudo dd if={disk} bs=512 skip={at} count=1 | head -n 1 | tr -d '\\000'")

    write("first", 0)
    write("stays", 2_000_000)
    first = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    # The instant is soon after the call, not before it: what is written waits for it.
    wait_until(lambda: snapshot_of(ec2, first)["State"] != "pending", f"{first} is taken", timeout=240)
    write("second", 0)
    second = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    completed(ec2, first, second)
    write("third", 0)
    # The first goes; what was read since then stands alone.
    restored = [make(SnapshotId=first, Size=2)]
    ec2.delete_snapshot(SnapshotId=first)
    restored.append(make(SnapshotId=second))
    for made, device, expected in [(restored[0], "/dev/sdg", "first"), (restored[1], "/dev/sdh", "second")]:
        attach(ec2, made, instance, device)
        ssh(address, key, there(disk_of(made)))
        assert read(disk_of(made), 0) == expected
        assert read(disk_of(made), 2_000_000) == "stays"
    assert read(disk, 0) == "third"


@pytest.mark.machines
def test_an_image_of_a_running_instance_boots_with_its_files(ec2, image, subnet, terminate, opened, clean):
    key, more = opened
    data = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}]
    instance = launch(ec2, image, subnet, terminate, BlockDeviceMappings=data, **more)
    address = describe(ec2, instance)["PublicIpAddress"]
    volume = describe(ec2, instance)["BlockDeviceMappings"][1]["Ebs"]["VolumeId"]
    ssh(address, key, there(disk_of(volume)))
    # Not flushed: the reboot does that.
    ssh(address, key, "echo 'on the root' > /home/ec2-user/kept")
    ssh(address, key, f"echo 'on the data' | sudo dd of={disk_of(volume)} bs=512 conv=sync")
    boot = ssh(address, key, "cat /proc/sys/kernel/random/boot_id")
    made = ec2.create_image(InstanceId=instance, Name="test files")["ImageId"]
    available(ec2, made)
    wait_for(ec2, instance, "running")
    wait_until(lambda: ssh(address, key, "cat /proc/sys/kernel/random/boot_id") != boot, "it has rebooted", timeout=240)
    ssh(address, key, "echo changed > /home/ec2-user/kept")
    ec2.terminate_instances(InstanceIds=[instance])

    copy = launch(ec2, made, subnet, terminate, **more)
    address = describe(ec2, copy)["PublicIpAddress"]
    assert ssh(address, key, "cat /home/ec2-user/kept") == "on the root"
    volume = describe(ec2, copy)["BlockDeviceMappings"][1]["Ebs"]["VolumeId"]
    ssh(address, key, there(disk_of(volume)))
    assert ssh(address, key, f"sudo head -c 11 {disk_of(volume)}") == "on the data"
    gone = ec2.deregister_image(ImageId=made, DeleteAssociatedSnapshots=True)["DeleteSnapshotResults"]
    assert [s["ReturnCode"] for s in gone] == ["success", "success"]
    ssh(address, key, "sync; echo 3 | sudo tee /proc/sys/vm/drop_caches; cat /home/ec2-user/kept")
