"""The EBS direct APIs by boto3 and by the AWS CLI: snapshots written block by block, read, compared; volumes made of them."""

import base64
import hashlib

import pytest
from conftest import code, wait_until
from guest import describe, ssh
from test_snapshots import clean, completed, opened, snapshot_of  # noqa: F401 (fixtures among them)
from test_volumes import attach, launch, make, volume_of, zone  # noqa: F401 (fixtures among them)

BLOCK = 512 << 10


def content(number):
    """A block that is like no other."""
    return hashlib.shake_256(f"block {number}".encode()).digest(BLOCK)


def checksum(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@pytest.fixture
def ebs(cloud):
    return cloud.client("ebs")


def put(ebs, snapshot, index, data):
    return ebs.put_snapshot_block(SnapshotId=snapshot, BlockIndex=index, BlockData=data, DataLength=len(data),
                                  Checksum=checksum(data), ChecksumAlgorithm="SHA256")


def written(ec2, ebs, blocks, **more):
    """A completed snapshot with these blocks, held against their checksum."""
    snapshot = ebs.start_snapshot(**{"VolumeSize": 1, **more})["SnapshotId"]
    for index, data in blocks.items():
        assert put(ebs, snapshot, index, data)["Checksum"] == checksum(data)
    whole = b"".join(hashlib.sha256(blocks[index]).digest() for index in sorted(blocks))
    ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=len(blocks), Checksum=checksum(whole),
                          ChecksumAlgorithm="SHA256", ChecksumAggregationMethod="LINEAR")
    completed(ec2, snapshot)
    return snapshot


def read(ebs, snapshot):
    """What a snapshot holds, by index."""
    held, token = {}, {}
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=100, **token)
        for block in page["Blocks"]:
            index = block["BlockIndex"]
            got = ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=index, BlockToken=block["BlockToken"])
            data = got["BlockData"].read()
            assert (got["DataLength"], got["Checksum"]) == (BLOCK, checksum(data))
            held[index] = data
        if "NextToken" not in page:
            return held
        token = {"NextToken": page["NextToken"]}


def test_a_snapshot_is_written_and_read_by_blocks(ec2, ebs, make, clean):
    blocks = {index: content(index) for index in (0, 1, 1000, 2047)}
    first = written(ec2, ebs, blocks, Description="by blocks", Tags=[{"Key": "a", "Value": "b"}])
    shown = snapshot_of(ec2, first)
    assert (shown["State"], shown["VolumeSize"], shown["Description"]) == ("completed", 1, "by blocks")
    assert (shown["VolumeId"], shown["Tags"]) == ("vol-ffffffff", [{"Key": "a", "Value": "b"}])
    assert read(ebs, first) == blocks
    second = written(ec2, ebs, {1: content("other"), 5: content(5), 2047: bytes(BLOCK)}, ParentSnapshotId=first)
    expected = {0: content(0), 1: content("other"), 5: content(5), 1000: content(1000)}
    assert read(ebs, second) == expected
    changed = ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)["ChangedBlocks"]
    told = [(block["BlockIndex"], "FirstBlockToken" in block, "SecondBlockToken" in block) for block in changed]
    assert told == [(1, True, True), (5, False, True), (2047, True, False)]
    # In any order: the child needs its parent no more.
    ec2.delete_snapshot(SnapshotId=first)
    assert read(ebs, second) == expected
    assert volume_of(ec2, make(SnapshotId=second))["SnapshotId"] == second


def test_what_cannot_be_is_refused(ec2, ebs, clean):
    assert code(ebs.list_snapshot_blocks, SnapshotId="snap-0123456789abcdef0") == "ResourceNotFoundException"
    snapshot = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    data = content(1)
    wrong = {"SnapshotId": snapshot, "BlockIndex": 0, "DataLength": BLOCK, "ChecksumAlgorithm": "SHA256"}
    with pytest.raises(ebs.exceptions.ValidationException) as refused:
        ebs.put_snapshot_block(**wrong, BlockData=data, Checksum=checksum(b"another"))
    assert refused.value.response["Reason"] == "INVALID_BLOCK"
    with pytest.raises(ebs.exceptions.ValidationException) as refused:
        ebs.list_snapshot_blocks(SnapshotId=snapshot)
    assert refused.value.response["Reason"] == "INVALID_SNAPSHOT_ID"
    put(ebs, snapshot, 0, data)
    ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=2)
    wait_until(lambda: snapshot_of(ec2, snapshot)["State"] == "error", "the wrong count is noticed", timeout=240)
    assert "1 blocks were written" in snapshot_of(ec2, snapshot)["StateMessage"]
    assert code(ebs.start_snapshot, VolumeSize=70000) == "ValidationException"


def test_encrypted_snapshots_are_written_and_read_in_the_clear(ec2, ebs, clean):
    blocks = {3: content(3)}
    snapshot = written(ec2, ebs, blocks, Encrypted=True)
    assert snapshot_of(ec2, snapshot)["Encrypted"]
    assert read(ebs, snapshot) == blocks


def test_the_cli_speaks_with_it(cloud, ec2, clean, tmp_path):
    data, out = tmp_path / "block", tmp_path / "out"
    data.write_bytes(content("cli"))
    sum_ = checksum(content("cli"))
    snapshot = cloud.aws("ebs", "start-snapshot", "--volume-size", "1", "--description", "cli")["SnapshotId"]
    stored = cloud.aws("ebs", "put-snapshot-block", "--snapshot-id", snapshot, "--block-index", "9", "--data-length", str(BLOCK),
                       "--block-data", str(data), "--checksum", sum_, "--checksum-algorithm", "SHA256")
    assert stored["Checksum"] == sum_
    done = cloud.aws("ebs", "complete-snapshot", "--snapshot-id", snapshot, "--changed-blocks-count", "1")
    assert done["Status"] == "pending"
    completed(ec2, snapshot)
    block = cloud.aws("ebs", "list-snapshot-blocks", "--snapshot-id", snapshot)["Blocks"][0]
    got = cloud.aws("ebs", "get-snapshot-block", "--snapshot-id", snapshot, "--block-index", "9",
                    "--block-token", block["BlockToken"], str(out))
    assert (got["Checksum"], out.read_bytes()) == (sum_, content("cli"))


@pytest.mark.machines
def test_guests_read_what_was_put_and_what_they_wrote_is_got(ec2, ebs, image, subnet, make, terminate, opened, clean):
    key, more = opened
    snapshot = written(ec2, ebs, {0: content(0), 7: content(7)})
    instance = launch(ec2, image, subnet, terminate, **more)
    address = describe(ec2, instance)["PublicIpAddress"]
    volume = make(SnapshotId=snapshot)
    attach(ec2, volume, instance)
    disk = f"/dev/disk/by-id/virtio-{volume.replace('-', '')}"
    ssh(address, key, f"for i in $(seq 120); do test -e {disk} && exit 0; sleep 1; done; exit 1")
    for index, data in ((0, content(0)), (7, content(7)), (8, bytes(BLOCK))):
        told = ssh(address, key, f"sudo dd if={disk} bs={BLOCK} skip={index} count=1 2>/dev/null | sha256sum")
        assert told.split()[0] == hashlib.sha256(data).hexdigest()
    ssh(address, key, f"yes guest | head -c {BLOCK} | sudo dd of={disk} bs={BLOCK} seek=20 conv=fsync 2>/dev/null")
    taken = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    completed(ec2, taken)
    own = (b"guest\n" * BLOCK)[:BLOCK]
    assert read(ebs, taken) == {0: content(0), 7: content(7), 20: own}
