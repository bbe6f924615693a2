"""Disks from files in the operator's buckets, as snapshots and images, and images as files again: by boto3 and the AWS CLI."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile

import botocore.exceptions
import pytest
from conftest import code, wait_until
from disk import bootable
from guest import Guest, key_pair, open_group
from test_direct import BLOCK, content, read
from test_import import NANO_CACHE

MIB = 1 << 20
#: In seconds, for whatever is only to come some time.
PATIENCE = 600
needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="other formats than RAW need qemu-img")


@pytest.fixture(scope="module")
def own(make_cloud, tmp_path_factory):
    """A cloud with two buckets; the folder that has them."""
    folder = tmp_path_factory.mktemp("buckets")
    for bucket in ("disks", "other-disks"):
        (folder / bucket).mkdir()
    return make_cloud("transfer").up("--buckets", str(folder)), folder


@pytest.fixture
def client(own):
    return own[0].client()


@pytest.fixture
def direct(own):
    return own[0].client("ebs")


@pytest.fixture
def bucket(own):
    return own[1] / "disks"


def disk_of(path, blocks, size):
    """A raw disk with these blocks of 512 KiB, a boot sector, and nothing else; what a snapshot of it must hold."""
    boot = bytearray(BLOCK)
    boot[:4] = b"\xeb\x3c\x90\x90"
    boot[446:462] = bytes.fromhex("80010100830101010008000000080000")
    boot[510:512] = b"\x55\xaa"
    held = {0: bytes(boot), **{index: content(index) for index in blocks}}
    with open(path, "wb") as file:
        for index, data in held.items():
            file.seek(index * BLOCK)
            file.write(data)
        file.truncate(size)
    return held


def place(key, bucket="disks"):
    return {"S3Bucket": bucket, "S3Key": key}


def import_snapshot(client, **container):
    return client.import_snapshot(DiskContainer=container)["ImportTaskId"]


def snapshot_task(client, task):
    return client.describe_import_snapshot_tasks(ImportTaskIds=[task])["ImportSnapshotTasks"][0]["SnapshotTaskDetail"]


def image_task(client, task):
    return client.describe_import_image_tasks(ImportTaskIds=[task])["ImportImageTasks"][0]


def export_task(client, task):
    return client.describe_export_image_tasks(ExportImageTaskIds=[task])["ExportImageTasks"][0]


def ended(look, client, task):
    """The task when it is over."""
    def over():
        shown = look(client, task)
        return shown if shown["Status"] in ("completed", "deleted") else None
    return wait_until(over, f"{task} is over", timeout=PATIENCE, interval=0.3)


def imported(client, **container):
    shown = ended(snapshot_task, client, import_snapshot(client, **container))
    assert shown["Status"] == "completed", shown
    return shown


def own_snapshots(client):
    return {snapshot["SnapshotId"] for snapshot in client.describe_snapshots(OwnerIds=["self"])["Snapshots"]}


def test_a_raw_disk_becomes_a_snapshot_whatever_form_its_address_has(client, direct, bucket):
    (bucket / "folder").mkdir()
    held = disk_of(bucket / "folder/disk one.raw", [1, 7, 2047], 1024 * MIB)
    task = client.import_snapshot(
        Description="of a test",
        DiskContainer={"Format": "raw", "UserBucket": place("folder/disk one.raw"), "Description": "its disk"},
        TagSpecifications=[
            {"ResourceType": "import-snapshot-task", "Tags": [{"Key": "Name", "Value": "task"}]},
            {"ResourceType": "snapshot", "Tags": [{"Key": "Name", "Value": "snapshot"}]}],
        RoleName="vmimport", ClientToken="once")
    assert task["ImportTaskId"].startswith("import-snap-")
    detail = task["SnapshotTaskDetail"]
    assert (detail["Status"], detail["StatusMessage"], detail["Progress"]) == ("active", "pending", "0")
    again = client.import_snapshot(
        Description="of a test",
        DiskContainer={"Format": "raw", "UserBucket": place("folder/disk one.raw"), "Description": "its disk"},
        TagSpecifications=[
            {"ResourceType": "import-snapshot-task", "Tags": [{"Key": "Name", "Value": "task"}]},
            {"ResourceType": "snapshot", "Tags": [{"Key": "Name", "Value": "snapshot"}]}],
        RoleName="vmimport", ClientToken="once")
    assert again["ImportTaskId"] == task["ImportTaskId"]
    shown = ended(snapshot_task, client, task["ImportTaskId"])
    assert (shown["Status"], shown["Format"], shown["DiskImageSize"]) == ("completed", "RAW", 1024.0 * MIB)
    assert shown["UserBucket"] == place("folder/disk one.raw")
    snapshot = client.describe_snapshots(SnapshotIds=[shown["SnapshotId"]])["Snapshots"][0]
    assert (snapshot["State"], snapshot["VolumeSize"], snapshot["Encrypted"]) == ("completed", 1, False)
    assert snapshot["Tags"] == [{"Key": "Name", "Value": "snapshot"}]
    assert read(direct, shown["SnapshotId"]) == held
    found = client.describe_import_snapshot_tasks(Filters=[
        {"Name": "tag:Name", "Values": ["task"]}, {"Name": "task-state", "Values": ["completed"]}])
    assert [one["ImportTaskId"] for one in found["ImportSnapshotTasks"]] == [task["ImportTaskId"]]
    for address in ("s3://disks/folder/disk one.raw",
                    "https://disks.s3.us-east-1.amazonaws.com/folder/disk%20one.raw?X-Amz-Signature=0",
                    "https://s3.amazonaws.com/disks/folder/disk%20one.raw"):
        shown = imported(client, Url=address)
        assert (shown["Url"], shown["Format"]) == (address, "RAW")
        assert read(direct, shown["SnapshotId"]) == held
    # A volume of it is as large as it.
    zone = client.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    volume = client.create_volume(SnapshotId=shown["SnapshotId"], AvailabilityZone=zone)
    assert volume["Size"] == 1
    client.get_waiter("volume_available").wait(VolumeIds=[volume["VolumeId"]])
    client.delete_volume(VolumeId=volume["VolumeId"])


@needs_qemu
@pytest.mark.parametrize("kind, options, name", [
    ("vmdk", "subformat=streamOptimized", "VMDK"), ("vmdk", "subformat=monolithicSparse", "VMDK"),
    ("vpc", "subformat=dynamic,force_size=on", "VHD"), ("vpc", "subformat=fixed,force_size=on", "VHD"),
    ("vhdx", "subformat=dynamic", "VHDX"), ("qcow2", "compat=1.1", "QCOW2")])
def test_disks_of_every_format_hold_what_they_held(client, direct, bucket, tmp_path, kind, options, name):
    raw, file = tmp_path / "disk.raw", bucket / f"{tmp_path.name}.{kind}"
    held = disk_of(raw, [3, 40], 64 * MIB)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, "-o", options, raw, file], check=True)
    shown = imported(client, Format=name, UserBucket=place(file.name))
    assert (shown["Format"], shown["DiskImageSize"]) == (name, file.stat().st_size)
    assert read(direct, shown["SnapshotId"]) == held
    assert imported(client, UserBucket=place(file.name))["Format"] == name, "seen without being told"
    wrong = "RAW" if name != "RAW" else "VMDK"
    shown = ended(snapshot_task, client, import_snapshot(client, Format=wrong, UserBucket=place(file.name)))
    assert shown["Status"] == "deleted" and "ClientError" in shown["StatusMessage"] and name in shown["StatusMessage"]


def test_what_a_bucket_does_not_have_is_refused_at_once(own, client, bucket):
    secret = own[1].parent / "secret.raw"
    disk_of(secret, [], MIB)
    disk_of(own[1] / "other-disks/there.raw", [], MIB)
    os.symlink(secret, bucket / "absolute")
    os.symlink("../../secret.raw", bucket / "relative")
    os.symlink("../other-disks", bucket / "across")
    os.mkfifo(bucket / "pipe")
    before = own_snapshots(client)
    for key in ("absolute", "relative", "across/there.raw", "../other-disks/there.raw", "../../secret.raw", "none",
                "pipe", ".", "/etc/passwd"):
        assert code(client.import_snapshot, DiskContainer={"UserBucket": place(key)}) == "InvalidParameter", key
        assert code(client.import_image, DiskContainers=[{"UserBucket": place(key)}]) == "InvalidParameter", key
    for name in ("..", ".", "no-such-bucket", "disks/..", "other-disks/../disks"):
        assert code(client.import_snapshot, DiskContainer={"UserBucket": place("there.raw", name)}) == "InvalidParameter"
    for address in ("http://127.0.0.1/disk", "https://169.254.169.254/latest", "file:///etc/shadow",
                    "https://s3.amazonaws.com.example.org/disks/there.raw", "http://disks.s3.amazonaws.com/x"):
        assert code(client.import_snapshot, DiskContainer={"Url": address}) == "InvalidParameterValue", address
    there = {"UserBucket": place("there.raw", "other-disks")}
    for wrong in ({}, {"DiskContainer": {}}, {"DiskContainer": {"UserBucket": {"S3Bucket": "disks"}}}):
        assert code(client.import_snapshot, **wrong) == "MissingParameter"
    assert code(client.import_snapshot, DiskContainer={**there, "Format": "floppy"}) == "InvalidParameterValue"
    assert code(client.import_snapshot, DiskContainer={**there, "Format": "OVA"}) == "InvalidParameterValue"
    assert code(client.import_image, DiskContainers=[{**there, "Format": "OVA"}, there]) == "InvalidParameter"
    assert code(client.import_snapshot, DiskContainer=there, KmsKeyId="alias/x") == "InvalidParameterDependency"
    assert code(client.import_snapshot, DiskContainer=there, DryRun=True) == "DryRunOperation"
    assert code(client.import_image, DiskContainers=[there], Platform="Windows") == "UnsupportedOperation"
    assert code(client.import_image, DiskContainers=[]) == "MissingParameter"
    for unknown in ("import-snap-00000000000000000", "import-ami-00000000000000000"):
        assert code(client.cancel_import_task, ImportTaskId=unknown) == "InvalidConversionTaskId"
    assert code(client.cancel_import_task, ImportTaskId="x") == "InvalidConversionTaskId.Malformed"
    assert code(client.describe_import_snapshot_tasks, ImportTaskIds=["import-snap-1"]) == "InvalidConversionTaskId.Malformed"
    assert own_snapshots(client) == before


def test_a_cloud_without_buckets_says_so(client, ec2):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        ec2.import_snapshot(DiskContainer={"UserBucket": place("disk.raw")})
    assert refused.value.response["Error"]["Code"] == "InvalidParameter" and "--buckets" in str(refused.value)


def hostile(folder):
    """Files that are no disks, or disks that want more than they are given; by name, what must be said of each."""
    secret = folder / "hostile-secret"
    secret.write_text("only root may read this")
    qcow2 = bytearray(4096)
    qcow2[:8] = b"QFI\xfb\0\0\0\3"
    qcow2[24:32] = (1 << 30).to_bytes(8, "big")
    qcow2[100:104] = (104).to_bytes(4, "big")
    backed = bytearray(qcow2)
    backed[8:16], backed[16:20] = (512).to_bytes(8, "big"), len(str(secret)).to_bytes(4, "big")
    backed[512:512 + len(str(secret))] = str(secret).encode()
    outside = bytearray(qcow2)
    outside[79] = 4
    huge = bytearray(qcow2)
    huge[24:32] = (1 << 62).to_bytes(8, "big")
    vhd = bytearray(512)
    vhd[:8], vhd[63] = b"conectix", 4
    files = {
        "empty.raw": (b"", "empty"), "text.raw": (b"hello", "partition table"), "backed.qcow2": (backed, "backing file"),
        "outside.qcow2": (outside, "another file"), "huge.qcow2": (huge, "larger than any volume"),
        "extents.vmdk": (f'# Disk DescriptorFile\nversion=1\nRW 1 FLAT "{secret}" 0\n'.encode(), "other files"),
        "child.vhd": (bytes(4096) + vhd, "a parent"), "cut.vhd": (bytes(vhd) + bytes(4096), "cut off"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    return {name: why for name, (_, why) in files.items()}


def test_hostile_files_end_as_deleted_tasks_and_leave_nothing(own, client, bucket):
    cloud, _ = own
    before = own_snapshots(client)
    for name, why in hostile(bucket).items():
        shown = ended(snapshot_task, client, import_snapshot(client, UserBucket=place(name)))
        assert shown["Status"] == "deleted" and "SnapshotId" not in shown, shown
        assert shown["StatusMessage"].startswith("ClientError: ") and why in shown["StatusMessage"], shown
    image = client.import_image(DiskContainers=[{"UserBucket": place("text.raw")}])["ImportTaskId"]
    shown = ended(image_task, client, image)
    assert shown["Status"] == "deleted" and "ImageId" not in shown, shown
    assert own_snapshots(client) == before
    assert os.listdir(os.path.join(cloud.data, "transfers")) == []


@needs_qemu
def test_a_disk_that_is_cut_off_is_no_disk(client, bucket, tmp_path):
    raw = tmp_path / "disk.raw"
    disk_of(raw, range(1, 60), 64 * MIB)
    for kind, options in (("vmdk", "subformat=streamOptimized"), ("vmdk", "subformat=monolithicSparse"),
                          ("qcow2", "compat=1.1"), ("vpc", "subformat=dynamic,force_size=on")):
        file = bucket / f"cut.{kind}"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, "-o", options, raw, file], check=True)
        os.truncate(file, file.stat().st_size // 2 + 77)
        shown = ended(snapshot_task, client, import_snapshot(client, UserBucket=place(file.name)))
        assert shown["Status"] == "deleted" and "Disk validation failed" in shown["StatusMessage"], (kind, options, shown)


def test_an_encrypted_import_is_encrypted_with_its_key(own, client, direct, bucket):
    held = disk_of(bucket / "secret.raw", [5], 16 * MIB)
    key = own[0].client("kms").create_key()["KeyMetadata"]["Arn"]
    task = client.import_snapshot(DiskContainer={"UserBucket": place("secret.raw")}, Encrypted=True, KmsKeyId=key)
    assert (task["SnapshotTaskDetail"]["Encrypted"], task["SnapshotTaskDetail"]["KmsKeyId"]) == (True, key)
    shown = ended(snapshot_task, client, task["ImportTaskId"])
    snapshot = client.describe_snapshots(SnapshotIds=[shown["SnapshotId"]])["Snapshots"][0]
    assert (snapshot["Encrypted"], snapshot["KmsKeyId"]) == (True, key)
    assert read(direct, shown["SnapshotId"]) == held
    missing = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    assert code(client.import_snapshot, DiskContainer={"UserBucket": place("secret.raw")}, Encrypted=True,
                KmsKeyId=missing) == "InvalidKmsKey.NotFound"


def test_an_import_that_is_cancelled_leaves_nothing(client, bucket):
    disk_of(bucket / "long.raw", range(1, 60), 64 * MIB)
    before = own_snapshots(client)
    tasks = [import_snapshot(client, UserBucket=place("long.raw")) for _ in range(4)]
    tasks.append(client.import_image(DiskContainers=[{"UserBucket": place("long.raw")}])["ImportTaskId"])
    # Two move at a time, so the last ones wait.
    for task in tasks:
        try:
            done = client.cancel_import_task(ImportTaskId=task, CancelReason="second thoughts")
            assert (done["ImportTaskId"], done["PreviousState"]) == (task, "active")
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "IncorrectState"
    assert code(client.cancel_import_task, ImportTaskId=tasks[-1]) == "IncorrectState"
    shown = image_task(client, tasks[-1])
    assert (shown["Status"], shown["StatusMessage"]) == ("deleted", "second thoughts")
    kept = {snapshot_task(client, task).get("SnapshotId") for task in tasks[:-1]} - {None}
    wait_until(lambda: own_snapshots(client) == before | kept, "nothing is left of them", timeout=PATIENCE)
    page = client.describe_import_snapshot_tasks(MaxResults=1)
    assert len(page["ImportSnapshotTasks"]) == 1 and page["NextToken"]


def image_of(client, shown):
    assert shown["Status"] == "completed", shown
    return client.describe_images(ImageIds=[shown["ImageId"]])["Images"][0]


@needs_qemu
def test_an_image_that_is_exported_and_imported_again_is_the_same(own, client, direct, bucket):
    cloud, folder = own
    held = disk_of(bucket / "root.raw", [9, 100], 128 * MIB)
    disk_of(bucket / "data.raw", [2], 32 * MIB)
    task = cloud.aws("ec2", "import-image", "--description", "of a test", "--disk-containers", json.dumps(
        [{"Format": "raw", "UserBucket": place("root.raw")}]))
    assert task["ImportTaskId"].startswith("import-ami-") and task["Status"] == "active"
    shown = ended(image_task, client, task["ImportTaskId"])
    image = image_of(client, shown)
    assert (image["Name"], image["State"], image["Architecture"]) == (task["ImportTaskId"], "available", "x86_64")
    assert (image["BootMode"], image["RootDeviceName"]) == ("legacy-bios", "/dev/sda1")
    root = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert root == shown["SnapshotDetails"][0]["SnapshotId"] and read(direct, root) == held
    for kind in ("RAW", "VMDK", "VHD"):
        export = client.export_image(ImageId=image["ImageId"], DiskImageFormat=kind,
                                     S3ExportLocation={"S3Bucket": "other-disks", "S3Prefix": "exports/"})
        done = ended(export_task, client, export["ExportImageTaskId"])
        assert done["Status"] == "completed", done
        key = f"exports/{export['ExportImageTaskId']}.{kind.lower()}"
        assert os.path.exists(folder / "other-disks" / key)
        again = client.import_image(DiskContainers=[{"Format": kind, "UserBucket": place(key, "other-disks")}])
        again = image_of(client, ended(image_task, client, again["ImportTaskId"]))
        assert read(direct, again["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]) == held, kind
    assert not [name for name in os.listdir(folder / "other-disks/exports") if name.startswith(".")]
    # What cannot leave.
    where = {"DiskImageFormat": "RAW", "S3ExportLocation": {"S3Bucket": "other-disks"}}
    amazon = client.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    assert code(client.export_image, ImageId=amazon, **where) == "InvalidAMIID.Unavailable"
    assert code(client.export_image, ImageId="ami-00000000000000000", **where) == "InvalidAMIID.NotFound"
    assert code(client.export_image, ImageId=image["ImageId"], DiskImageFormat="RAW",
                S3ExportLocation={"S3Bucket": "none-such"}) == "InvalidParameter"
    assert code(client.export_image, ImageId=image["ImageId"], DiskImageFormat="QED",
                S3ExportLocation={"S3Bucket": "disks"}) == "InvalidParameterValue"
    two = client.import_image(Encrypted=True, DiskContainers=[
        {"UserBucket": place("root.raw")}, {"UserBucket": place("data.raw"), "DeviceName": "/dev/sdx"}])
    two = image_of(client, ended(image_task, client, two["ImportTaskId"]))
    mappings = two["BlockDeviceMappings"]
    assert [mapping["DeviceName"] for mapping in mappings] == ["/dev/sda1", "/dev/sdx"]
    assert all(mapping["Ebs"]["Encrypted"] for mapping in mappings)
    assert code(client.export_image, ImageId=two["ImageId"], **where) == "NotExportable"
    secret = client.import_image(Encrypted=True, DiskContainers=[{"UserBucket": place("root.raw")}])
    secret = image_of(client, ended(image_task, client, secret["ImportTaskId"]))
    assert code(client.export_image, ImageId=secret["ImageId"], **where) == "NotExportable"
    # Of a snapshot that is there.
    of = client.import_image(DiskContainers=[{"SnapshotId": root}], Architecture="x86_64", BootMode="uefi")
    of = image_of(client, ended(image_task, client, of["ImportTaskId"]))
    assert (of["BootMode"], of["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]) == ("uefi", root)


OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
 <References><File ovf:href="data.vmdk" ovf:id="data"/><File ovf:href="root.vmdk" ovf:id="root"/></References>
 <DiskSection><Info>Disks</Info>
  <Disk ovf:capacity="64" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="vmdisk2" ovf:fileRef="data"/>
  <Disk ovf:capacity="64" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="vmdisk1" ovf:fileRef="root"/>
 </DiskSection>
 <VirtualSystem ovf:id="machine"><Info>A machine</Info><VirtualHardwareSection><Info>Hardware</Info>
  <Item><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:ResourceType>17</rasd:ResourceType></Item>
  <Item><rasd:HostResource>ovf:/disk/vmdisk2</rasd:HostResource><rasd:ResourceType>17</rasd:ResourceType></Item>
 </VirtualHardwareSection></VirtualSystem>
</Envelope>"""


def archive(path, files, digests=None):
    """An OVA of these files, by name; its list of digests, of them as they are or as told."""
    digests = digests or {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    listed = "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items()).encode()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as ova:
        for name, data in [*list(files.items())[:1], ("machine.mf", listed), *list(files.items())[1:]]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            ova.addfile(member, io.BytesIO(data))


@needs_qemu
def test_an_ova_becomes_an_image_with_its_disks_in_their_order(client, direct, bucket, tmp_path):
    files, held = {"machine.ovf": OVF.encode()}, {}
    for name, blocks in (("root", [9, 100]), ("data", [4])):
        raw, disk = tmp_path / f"{name}.raw", tmp_path / f"{name}.vmdk"
        held[name] = disk_of(raw, blocks, 64 * MIB)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, disk],
                       check=True)
        files[disk.name] = disk.read_bytes()
    archive(bucket / "machine.ova", files)
    for form in ({"Format": "OVA"}, {}):
        task = client.import_image(DiskContainers=[{**form, "UserBucket": place("machine.ova")}])["ImportTaskId"]
        shown = ended(image_task, client, task)
        image = image_of(client, shown)
        assert [detail["Format"] for detail in shown["SnapshotDetails"]] == ["VMDK", "VMDK"]
        assert [detail["DiskImageSize"] for detail in shown["SnapshotDetails"]] == \
            [len(files["root.vmdk"]), len(files["data.vmdk"])]
        devices = {mapping["DeviceName"]: mapping["Ebs"]["SnapshotId"] for mapping in image["BlockDeviceMappings"]}
        assert list(devices) == ["/dev/sda1", "/dev/sdb"]
        assert read(direct, devices["/dev/sda1"]) == held["root"] and read(direct, devices["/dev/sdb"]) == held["data"]
    before = own_snapshots(client)
    wrong = {name: hashlib.sha256(data + b"!").hexdigest() for name, data in files.items()}
    archive(bucket / "wrong.ova", files, wrong)
    archive(bucket / "disk.ova", files, {"data.vmdk": wrong["data.vmdk"]})
    archive(bucket / "lost.ova", {name: data for name, data in files.items() if name != "data.vmdk"})
    archive(bucket / "no.ova", {"readme.txt": b"hello"})
    with open(bucket / "cut.ova", "wb") as cut:
        cut.write((bucket / "machine.ova").read_bytes()[:20000])
    for name, why in (("wrong.ova", "digest"), ("disk.ova", "digest"), ("lost.ova", "not in the archive"),
                      ("no.ova", "description"), ("cut.ova", "Disk validation failed")):
        task = client.import_image(DiskContainers=[{"Format": "OVA", "UserBucket": place(name)}])["ImportTaskId"]
        shown = ended(image_task, client, task)
        assert shown["Status"] == "deleted" and why in shown["StatusMessage"], (name, shown)
    wait_until(lambda: own_snapshots(client) == before, "nothing is left of them", timeout=PATIENCE)


def test_a_crash_in_the_middle_of_an_import_costs_no_more_than_time(make_cloud, tmp_path):
    cloud = make_cloud("transfer-crash")
    bucket = tmp_path / "buckets" / "disks"
    bucket.mkdir(parents=True)
    cloud.up("--buckets", str(bucket.parent))
    held = disk_of(bucket / "disk.raw", range(1, 200), 128 * MIB)
    client = cloud.client()
    tasks = [import_snapshot(client, UserBucket=place("disk.raw")) for _ in range(2)]

    def moving(task):
        shown = snapshot_task(client, task)
        return shown["Status"] == "completed" or (shown["StatusMessage"] == "converting" and int(shown["Progress"]) >= 20)

    for _ in range(3):
        wait_until(lambda: moving(tasks[0]), "it moves", timeout=PATIENCE, interval=0.02)
        if cloud.host == "linux":
            for name in ("server", "agent"):
                os.kill(cloud.pid(name), signal.SIGKILL)

            def answers():
                try:
                    return client.describe_regions()
                except botocore.exceptions.BotoCoreError:
                    return None
            wait_until(answers, "the server is back", timeout=PATIENCE)
        else:
            cloud.process.kill()
            cloud.process.communicate()
            # The folder of the buckets is remembered.
            client = cloud.up().client()
    snapshots = [ended(snapshot_task, client, task) for task in tasks]
    assert [shown["Status"] for shown in snapshots] == ["completed"] * 2, snapshots
    # A simulated host that was killed remembers no block of what was completed before.
    for shown in snapshots if cloud.host == "linux" else []:
        assert read(cloud.client("ebs"), shown["SnapshotId"]) == held
    kept = {shown["SnapshotId"] for shown in snapshots}
    wait_until(lambda: own_snapshots(client) == kept, "no half snapshot stays", timeout=PATIENCE)
    wait_until(lambda: os.listdir(os.path.join(cloud.data, "transfers")) == [], "nothing is left", timeout=PATIENCE)
    cloud.at_rest()


@pytest.mark.machines
def test_an_imported_image_boots(own, client, bucket, tmp_path):
    raw = bootable(NANO_CACHE, tmp_path / "disk", "bios")
    subprocess.run(["qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, bucket / "linux.vmdk"],
                   check=True)
    task = client.import_image(DiskContainers=[{"Format": "VMDK", "UserBucket": place("linux.vmdk")}])
    image = image_of(client, ended(image_task, client, task["ImportTaskId"]))
    assert image["BootMode"] == "legacy-bios"
    key = key_pair(client, "key-transfer", tmp_path)
    group = open_group(client, "group-transfer", client.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    guest = Guest(client, key, ImageId=image["ImageId"], InstanceType="t3.nano", SecurityGroupIds=[group]).running()
    assert "root=/dev/vda2" in guest.ssh("cat /proc/cmdline")
