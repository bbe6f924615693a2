"""Disks that are more than a volume of one instance: instance stores, Multi-Attach, and snapshots in the archive or kept as disks."""

import subprocess

import pytest
from conftest import code, wait_until
from guest import describe, key_pair, open_group, ssh, wait_for
from test_volumes import PATIENCE, attach, launch, make, volume_of, zone  # noqa: F401

HERE = "for i in $(seq 120); do test -e {0} && exit 0; sleep 1; done; exit 1"


def start(ec2, instance):
    ec2.start_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig=PATIENCE)
    return describe(ec2, instance)["PublicIpAddress"]


def reachable(ec2, name, tmp_path):
    group = open_group(ec2, name, ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    key = key_pair(ec2, name, tmp_path)
    return key, {"SecurityGroupIds": [group], "KeyName": name}


def on_disk(cloud, text):
    """The files of disks on the host that hold a text in the clear."""
    found = subprocess.run(["grep", "-rlaF", "--include=vol-*", text, str(cloud.data)], capture_output=True, text=True)
    return found.stdout.split()


@pytest.mark.machines
@pytest.mark.parametrize("kind, size, encrypted", [("m1.small", 160 * 10**9, False), ("c5d.large", 50 * 10**9, True)])
def test_an_instance_store_lives_as_long_as_a_run(cloud, ec2, image, subnet, terminate, tmp_path, kind, size, encrypted):
    key, more = reachable(ec2, f"store-{kind}", tmp_path)
    mapping = [{"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}]
    instance = launch(ec2, image, subnet, terminate, InstanceType=kind, BlockDeviceMappings=mapping, **more)
    assert [m["DeviceName"] for m in describe(ec2, instance)["BlockDeviceMappings"]] == [
        describe(ec2, instance)["RootDeviceName"]]
    address = describe(ec2, instance)["PublicIpAddress"]
    ssh(address, key, HERE.format("/dev/disk/by-id/virtio-AWS*"))
    disk = ssh(address, key, "readlink -f /dev/disk/by-id/virtio-AWS*")
    assert int(ssh(address, key, f"cat /sys/class/block/{disk.rsplit('/', 1)[1]}/size")) * 512 >= size
    text = f"for a while on {kind}"
    ssh(address, key, f"echo '{text}' | sudo dd of={disk} bs=512 conv=sync,fsync")
    assert bool(on_disk(cloud, text)) != encrypted
    read = f"sudo head -c {len(text)} $(readlink -f /dev/disk/by-id/virtio-AWS*) | tr -d '\\0'"

    boot = ssh(address, key, "cat /proc/sys/kernel/random/boot_id")
    ec2.reboot_instances(InstanceIds=[instance])

    def rebooted():
        done = ssh(address, key, "cat /proc/sys/kernel/random/boot_id", check=False)
        return done.returncode == 0 and done.stdout.strip() not in ("", boot)
    wait_until(rebooted, f"{instance} has rebooted", timeout=480)
    assert ssh(address, key, read) == text

    ec2.stop_instances(InstanceIds=[instance])
    wait_for(ec2, instance, "stopped")
    address = start(ec2, instance)
    ssh(address, key, HERE.format("/dev/disk/by-id/virtio-AWS*"))
    assert ssh(address, key, read) == ""


def test_a_store_is_no_volume(ec2, image, subnet, terminate):
    before = {v["VolumeId"] for v in ec2.describe_volumes()["Volumes"]}
    mapping = [{"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}]
    instance = launch(ec2, image, subnet, terminate, InstanceType="m1.small", BlockDeviceMappings=mapping)
    root = describe(ec2, instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert {v["VolumeId"] for v in ec2.describe_volumes()["Volumes"]} - before == {root}
    bad = [{"DeviceName": "/dev/sdb", "VirtualName": "ephemeral24"}]
    assert code(ec2.run_instances, ImageId=image, MinCount=1, MaxCount=1, BlockDeviceMappings=bad) == (
        "InvalidBlockDeviceMapping")


def shared(make, **more):  # noqa: F811
    return make(Size=4, VolumeType="io2", Iops=200, MultiAttachEnabled=True, **more)


def attached_to(ec2, volume):
    return sorted(a["InstanceId"] for a in volume_of(ec2, volume)["Attachments"] if a["State"] == "attached")


def test_a_volume_is_attached_to_several_instances(ec2, image, subnet, make, terminate):  # noqa: F811
    first = launch(ec2, image, subnet, terminate)
    second = launch(ec2, image, subnet, terminate)
    volume = shared(make)
    for instance in (first, second):
        ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    wait_until(lambda: attached_to(ec2, volume) == sorted([first, second]), "both have it", timeout=240)
    assert code(ec2.attach_volume, VolumeId=volume, InstanceId=first, Device="/dev/sdg") == "VolumeInUse"
    assert code(ec2.detach_volume, VolumeId=volume) == "MissingParameter"
    assert code(ec2.modify_volume, VolumeId=volume, MultiAttachEnabled=False) == "InvalidParameterCombination"
    taken = ec2.create_snapshots(InstanceSpecification={"InstanceId": second, "ExcludeBootVolume": True})["Snapshots"]
    assert [s["VolumeId"] for s in taken] == [volume]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[taken[0]["SnapshotId"]], WaiterConfig=PATIENCE)
    assert not volume_of(ec2, make(SnapshotId=taken[0]["SnapshotId"], Size=4))["MultiAttachEnabled"]
    ec2.delete_snapshot(SnapshotId=taken[0]["SnapshotId"])
    ec2.modify_instance_attribute(InstanceId=second, BlockDeviceMappings=[
        {"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}])
    ec2.terminate_instances(InstanceIds=[second])
    wait_until(lambda: attached_to(ec2, volume) == [first], "the other one keeps it", timeout=240)
    ec2.detach_volume(VolumeId=volume, InstanceId=first, Force=True)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)


@pytest.mark.machines
def test_what_one_guest_writes_another_reads(ec2, image, subnet, make, terminate, tmp_path):  # noqa: F811
    key, more = reachable(ec2, "shared", tmp_path)
    first = launch(ec2, image, subnet, terminate, **more)
    second = launch(ec2, image, subnet, terminate, **more)
    volume = shared(make)
    disk = f"/dev/disk/by-id/virtio-{volume.replace('-', '')}"
    attach(ec2, volume, first)
    ec2.attach_volume(VolumeId=volume, InstanceId=second, Device="/dev/sdf")
    wait_until(lambda: attached_to(ec2, volume) == sorted([first, second]), "both have it", timeout=240)
    writer, reader = (describe(ec2, i)["PublicIpAddress"] for i in (first, second))
    for address in (writer, reader):
        ssh(address, key, HERE.format(disk))
    for number in range(3):
        word = f"word {number}"
        ssh(writer, key, f"echo '{word}' | sudo dd of={disk} bs=4096 count=1 conv=sync oflag=direct")
        assert word in ssh(reader, key, f"sudo dd if={disk} bs=4096 count=1 iflag=direct | tr -d '\\0'")
        writer, reader = reader, writer
    ec2.modify_volume(VolumeId=volume, Size=5)
    sectors = f"cat /sys/class/block/$(basename $(readlink -f {disk}))/size"
    grown = f"for i in $(seq 120); do test $({sectors}) = {5 << 21} && exit 0; sleep 1; done; exit 1"
    for address in (writer, reader):
        ssh(address, key, grown)
    # A restart of one of them leaves the other its disk.
    ec2.stop_instances(InstanceIds=[second])
    wait_for(ec2, second, "stopped")
    writer = describe(ec2, first)["PublicIpAddress"]
    ssh(writer, key, f"echo 'meanwhile' | sudo dd of={disk} bs=4096 count=1 conv=sync oflag=direct")
    reader = start(ec2, second)
    ssh(reader, key, HERE.format(disk))
    assert "meanwhile" in ssh(reader, key, f"sudo dd if={disk} bs=4096 count=1 iflag=direct | tr -d '\\0'")
    for instance in (first, second):
        ec2.detach_volume(VolumeId=volume, InstanceId=instance)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)


# Writes numbers, one after the other, each on the disk before it is said to be.
COUNTS = ("sudo sh -c 'n=0; while :; do n=$((n+1)); printf \"%-512s\" \"$n {word}\" > /run/number; "
          "dd if=/run/number of={disk} bs=512 count=1 seek={at} oflag=direct conv=notrunc 2>/dev/null || exit 1; "
          "echo $n > /run/counting; mv /run/counting /run/counted; done' > /dev/null 2>&1 < /dev/null &")


@pytest.mark.machines
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_snapshot_has_one_instant_for_all_guests(cloud, ec2, image, subnet, make, terminate, tmp_path,  # noqa: F811
                                                   encrypted):
    key, more = reachable(ec2, f"instant-{encrypted}", tmp_path)
    instances = [launch(ec2, image, subnet, terminate, **more) for _ in range(2)]
    volume = shared(make, Encrypted=encrypted)
    disk = f"/dev/disk/by-id/virtio-{volume.replace('-', '')}"
    for instance in instances:
        ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    wait_until(lambda: attached_to(ec2, volume) == sorted(instances), "both have it", timeout=240)
    addresses = [describe(ec2, i)["PublicIpAddress"] for i in instances]
    word = f"words-of-{volume}"

    def counted(address):
        said = ssh(address, key, "cat /run/counted", check=False).stdout.strip()
        return int(said or 0)

    for at, address in enumerate(addresses):
        ssh(address, key, HERE.format(disk))
        ssh(address, key, COUNTS.format(disk=disk, at=8 * at, word=word))
    for address in addresses:
        wait_until(lambda: counted(address) > 5, "it counts", timeout=480)
    assert bool(on_disk(cloud, word)) != encrypted

    acknowledged = [counted(address) for address in addresses]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=PATIENCE)
    later = [counted(address) for address in addresses]
    for address, number in zip(addresses, later):
        wait_until(lambda: counted(address) > number, "it goes on", timeout=240)
    made = make(SnapshotId=snapshot, Size=4)
    assert volume_of(ec2, made)["Encrypted"] == encrypted
    attach(ec2, made, instances[0], "/dev/sdg")
    other = f"/dev/disk/by-id/virtio-{made.replace('-', '')}"
    ssh(addresses[0], key, HERE.format(other))
    for at, (least, most) in enumerate(zip(acknowledged, later)):
        text = ssh(addresses[0], key, f"sudo dd if={other} bs=512 count=1 skip={8 * at} iflag=direct 2>/dev/null")
        number, said = text.split()
        assert said == word and least <= int(number) <= most + 1
    ec2.delete_snapshot(SnapshotId=snapshot)


def tier(ec2, snapshot):
    return ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["StorageTier"]


def operation(ec2, snapshot):
    found = ec2.describe_snapshot_tier_status(Filters=[{"Name": "snapshot-id", "Values": [snapshot]}])
    return found["SnapshotTierStatuses"][0]["LastTieringOperationStatus"]


def test_a_snapshot_goes_to_the_archive_and_back(ec2, zone, make):  # noqa: F811
    volume = make()
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=PATIENCE)
    assert tier(ec2, snapshot) == "standard"
    ec2.modify_snapshot_tier(SnapshotId=snapshot, StorageTier="archive")
    wait_until(lambda: operation(ec2, snapshot) == "archival-completed", "it is archived", timeout=240)
    assert tier(ec2, snapshot) == "archive"
    asked = {"SnapshotId": snapshot, "AvailabilityZone": zone}
    assert code(ec2.create_volume, **asked) == "IncorrectState"
    assert ec2.restore_snapshot_tier(SnapshotId=snapshot, TemporaryRestoreDays=1)["RestoreDuration"] == 1
    wait_until(lambda: operation(ec2, snapshot) == "temporary-restore-completed", "it is restored", timeout=240)
    assert tier(ec2, snapshot) == "archive"
    made = ec2.create_volume(**asked)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[made], WaiterConfig=PATIENCE)
    ec2.delete_volume(VolumeId=made)
    ec2.restore_snapshot_tier(SnapshotId=snapshot, PermanentRestore=True)
    wait_until(lambda: operation(ec2, snapshot) == "permanent-restore-completed", "it is back", timeout=240)
    assert tier(ec2, snapshot) == "standard"
    ec2.delete_snapshot(SnapshotId=snapshot)


def test_a_snapshot_is_fast_where_that_was_asked_for(cloud, ec2, zone, make):  # noqa: F811
    volume = make()
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    asked = {"SourceSnapshotIds": [snapshot], "AvailabilityZones": [zone]}
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=PATIENCE)
    assert code(ec2.enable_fast_snapshot_restores, **asked, DryRun=True) == "DryRunOperation"
    refused = ec2.disable_fast_snapshot_restores(**asked)["Unsuccessful"][0]
    assert refused["FastSnapshotRestoreStateErrors"][0]["Error"]["Code"] == "IncorrectState"
    done = cloud.aws("ec2", "enable-fast-snapshot-restores", "--availability-zones", zone,
                     "--source-snapshot-ids", snapshot)["Successful"][0]
    assert (done["SnapshotId"], done["AvailabilityZone"], done["State"]) == (snapshot, zone, "enabling")

    def state():
        shown = ec2.describe_fast_snapshot_restores(Filters=[{"Name": "snapshot-id", "Values": [snapshot]}])
        return [item["State"] for item in shown["FastSnapshotRestores"]]

    wait_until(lambda: state() == ["enabled"], "it is enabled", timeout=240)
    made = make(SnapshotId=snapshot)
    assert volume_of(ec2, made)["FastRestored"] and not volume_of(ec2, volume)["FastRestored"]
    assert code(ec2.modify_snapshot_tier, SnapshotId=snapshot, StorageTier="archive") == "IncorrectState"
    ec2.disable_fast_snapshot_restores(**asked)
    wait_until(lambda: state() == ["disabled"], "it is disabled", timeout=240)
    ec2.enable_fast_snapshot_restores(**asked)
    ec2.delete_snapshot(SnapshotId=snapshot)
    assert state() == []
