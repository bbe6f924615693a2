"""EBS encryption by boto3 and by the AWS CLI: volumes, snapshots, images, defaults of the account, keys that are disabled."""

import os
import signal
import subprocess

import pytest
from conftest import code, wait_until
from guest import Guest, describe, key_pair, open_group, wait_for
from test_snapshots import disk_of, there
from test_volumes import PATIENCE, volume_of, zone  # noqa: F401 (a fixture among them)
from test_volumes import make as make_id  # noqa: F401


@pytest.fixture
def kms(cloud):
    return cloud.client("kms")


@pytest.fixture
def key(kms):
    made = kms.create_key()["KeyMetadata"]["Arn"]
    yield made
    kms.schedule_key_deletion(KeyId=made, PendingWindowInDays=7)


@pytest.fixture
def make(ec2, make_id):
    """Makes volumes, which are deleted after the test."""
    return lambda **more: volume_of(ec2, make_id(**more))


@pytest.fixture
def take(ec2):
    """Takes snapshots and copies, and deletes what is left of them after the test."""
    made = []

    def one(call, **parameters):
        snapshot = call(**parameters)["SnapshotId"]
        made.append(snapshot)
        ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=PATIENCE)
        return ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]

    yield one
    for snapshot in made:
        ec2.delete_snapshot(SnapshotId=snapshot)


def test_volumes_and_their_snapshots_are_encrypted_alike(ec2, kms, key, make, take, zone):
    default = make(Encrypted=True)
    managed = kms.describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]
    assert default["Encrypted"] and default["KmsKeyId"] == managed["Arn"] and managed["KeyManager"] == "AWS"
    volume = make(Encrypted=True, KmsKeyId=key)
    assert volume["KmsKeyId"] == key
    snapshot = take(ec2.create_snapshot, VolumeId=volume["VolumeId"])
    assert snapshot["Encrypted"] and snapshot["KmsKeyId"] == key
    again = make(SnapshotId=snapshot["SnapshotId"])
    assert again["Encrypted"] and again["KmsKeyId"] == key
    copy = take(ec2.copy_snapshot, SourceRegion=ec2.meta.region_name, SourceSnapshotId=snapshot["SnapshotId"],
                Encrypted=True, KmsKeyId=managed["Arn"])
    assert copy["KmsKeyId"] == managed["Arn"]
    for value, wanted in (("true", {volume["VolumeId"], again["VolumeId"], default["VolumeId"]}), ("false", set())):
        listed = ec2.describe_volumes(Filters=[{"Name": "encrypted", "Values": [value]}])["Volumes"]
        assert {one["VolumeId"] for one in listed} & {default["VolumeId"], volume["VolumeId"], again["VolumeId"]} == wanted
    assert code(ec2.modify_snapshot_attribute, SnapshotId=snapshot["SnapshotId"], Attribute="createVolumePermission",
                OperationType="add", GroupNames=["all"]) == "OperationNotPermitted"
    assert code(ec2.create_volume, AvailabilityZone=zone, Size=1, KmsKeyId=key) == "InvalidParameterDependency"


def test_an_account_encrypts_by_default(cloud, ec2, key, make):
    assert cloud.aws("ec2", "get-ebs-default-kms-key-id")["KmsKeyId"] == "alias/aws/ebs"
    cloud.aws("ec2", "enable-ebs-encryption-by-default")
    try:
        assert cloud.aws("ec2", "get-ebs-encryption-by-default")["EbsEncryptionByDefault"]
        assert make()["Encrypted"]
        cloud.aws("ec2", "modify-ebs-default-kms-key-id", "--kms-key-id", key)
        assert make()["KmsKeyId"] == key
        assert ec2.reset_ebs_default_kms_key_id()["KmsKeyId"].endswith(":alias/aws/ebs")
    finally:
        ec2.reset_ebs_default_kms_key_id()
        cloud.aws("ec2", "disable-ebs-encryption-by-default")
    assert not make()["Encrypted"]


def test_a_disabled_key_stops_attaches_and_launches_while_what_runs_goes_on(
    ec2, kms, key, make, image, subnet, terminate
):
    device = ec2.describe_images(ImageIds=[image])["Images"][0]["RootDeviceName"]
    request = {
        "ImageId": image, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet,
        "BlockDeviceMappings": [{"DeviceName": device, "Ebs": {"Encrypted": True, "KmsKeyId": key}}],
    }
    running = ec2.run_instances(**request)["Instances"][0]["InstanceId"]
    terminate(running)
    ec2.get_waiter("instance_running").wait(InstanceIds=[running], WaiterConfig=PATIENCE)
    root = describe(ec2, running)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert volume_of(ec2, root)["KmsKeyId"] == key
    volume = make(Encrypted=True, KmsKeyId=key)["VolumeId"]
    kms.disable_key(KeyId=key)
    attach = {"VolumeId": volume, "InstanceId": running, "Device": "/dev/sdf"}
    assert code(ec2.attach_volume, **attach) == "InvalidKmsKey.InvalidState"
    failed = ec2.run_instances(**request)["Instances"][0]
    assert failed["State"]["Name"] == "pending"
    ended = describe(ec2, failed["InstanceId"])
    assert (ended["State"]["Name"], ended["StateReason"]["Code"]) == ("terminated", "Client.InvalidKMSKey.InvalidState")
    assert describe(ec2, running)["State"]["Name"] == "running"
    kms.enable_key(KeyId=key)
    ec2.attach_volume(**attach)

    def attached():
        shown = volume_of(ec2, volume)["Attachments"]
        return [one["State"] for one in shown] == ["attached"]
    wait_until(attached, f"{volume} is attached", timeout=240)
    ec2.detach_volume(VolumeId=volume)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)


def files_with(folder, text):
    """The files under a folder that hold this text as it is."""
    found = subprocess.run(["grep", "-rlaF", "--", text, folder], capture_output=True, text=True)
    # A file that goes while it is looked for holds nothing.
    troubles = [line for line in found.stderr.splitlines() if "No such file" not in line]
    assert not troubles, found.stderr
    return found.stdout.splitlines()


@pytest.mark.machines
def test_what_a_guest_writes_is_nowhere_on_the_host_as_it_is(make_cloud, tmp_path):
    own = make_cloud("encrypted").up()
    ec2 = own.client()
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    image = next(i for i in ec2.describe_images(Owners=["amazon"])["Images"] if i["Name"].startswith("nube/nano"))
    login = key_pair(ec2, "encrypted", tmp_path)
    group = open_group(ec2, "encrypted", vpc, 22)

    def launch(**ebs):
        mapping = {"DeviceName": image["RootDeviceName"], "Ebs": {"DeleteOnTermination": True, **ebs}}
        return Guest(ec2, login, ImageId=image["ImageId"], SecurityGroupIds=[group], BlockDeviceMappings=[mapping])

    text = f"unmistakable-{os.urandom(12).hex()}"
    write = f"for i in $(seq 4000); do echo {text}; done > said && sync"
    plain = launch().running()
    plain.ssh(write)
    assert files_with(own.data, text), "the search finds what is not encrypted"
    ec2.terminate_instances(InstanceIds=[plain.id])
    wait_for(ec2, plain.id, "terminated")
    wait_until(lambda: not files_with(own.data, text), "it goes with its volume", timeout=240)

    guest = launch(Encrypted=True).running()
    guest.ssh(write)
    root = guest.describe()["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    taken = ec2.create_snapshot(VolumeId=root)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[taken], WaiterConfig=PATIENCE)
    zone = guest.describe()["Placement"]["AvailabilityZone"]
    restored = ec2.create_volume(AvailabilityZone=zone, SnapshotId=taken)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[restored], WaiterConfig=PATIENCE)
    # Whoever is started anew hears of the keys again.
    before = own.pid("agent")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: own.status()["processes"]["agent"] not in (None, before), "the agent is back", timeout=240)
    ec2.attach_volume(VolumeId=restored, InstanceId=guest.id, Device="/dev/sdf")
    disk = disk_of(restored)
    guest.ssh(there(disk))
    guest.ssh(f"sudo mkdir /mnt/restored && sudo mount -o ro,noload {disk} /mnt/restored")
    assert int(guest.ssh(f"sudo grep -c {text} /mnt/restored/home/ec2-user/said")) == 4000
    guest.ssh("sudo umount /mnt/restored")
    assert files_with(own.data, text) == []
    # Its next run opens the same disk.
    ec2.detach_volume(VolumeId=restored)
    ec2.get_waiter("volume_available").wait(VolumeIds=[restored], WaiterConfig=PATIENCE)
    ec2.stop_instances(InstanceIds=[guest.id])
    wait_for(ec2, guest.id, "stopped")
    ec2.start_instances(InstanceIds=[guest.id])
    guest.running()
    assert int(guest.ssh(f"grep -c {text} said")) == 4000
    own.at_rest()
    own.down("--purge")
