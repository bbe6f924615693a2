"""Snapshots' blocks in S3: kept, read, collected, examined; the store out of reach for a while; stores that are refused."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading

import boto3
import pytest
from conftest import wait_until
from test_direct import content, read, written
from test_snapshots import completed, snapshot_of
from test_volumes import PATIENCE

pytestmark = pytest.mark.machines

BUCKET = "lab"
KEY = {"aws_access_key_id": "AKIAOFTHESTORE", "aws_secret_access_key": "a-secret-of-the-store"}


class Line:
    """The line to a server, which can be cut, and can change what goes over it."""

    def __init__(self, port):
        self.to, self.open, self.cut_after, self.replace, self.refused = port, set(), None, None, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            if self.cut_after == 0:
                self.refused += 1
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.to))
            with self.lock:
                self.open |= {near, far}
            threading.Thread(target=self.carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, False), daemon=True).start()

    def carry(self, source, target, up):
        try:
            while data := source.recv(65536):
                if up and self.replace:
                    data = data.replace(*self.replace)
                with self.lock:
                    if up and self.cut_after is not None:
                        self.cut_after = max(0, self.cut_after - len(data))
                    if self.cut_after == 0:
                        break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self, after):
        """Nothing passes any more once so many bytes have."""
        with self.lock:
            self.cut_after = after

    def mend(self):
        with self.lock:
            self.cut_after = None


class Store:
    """An S3 server with an empty bucket."""

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        program = shutil.which("moto_server") or os.path.join(os.path.dirname(sys.executable), "moto_server")
        self.process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", **KEY)

        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers, "the S3 server answers", timeout=240)
        self.s3.create_bucket(Bucket=BUCKET)
        self.line = Line(port)

    def names(self, prefix=""):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [held["Key"] for page in pages for held in page.get("Contents", [])]

    def flip(self, name):
        """Changes a bit in the middle of an object; says what it was."""
        good = self.s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        middle = len(good) // 2
        bad = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1:]
        self.s3.put_object(Bucket=BUCKET, Key=name, Body=bad)
        return good


@pytest.fixture(scope="module")
def store():
    store = Store()
    yield store
    store.line.mend()
    store.process.kill()
    store.process.wait()


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    file = tmp_path_factory.mktemp("key") / "credentials"
    file.write_text("[default]\n" + "".join(f"{name} = {value}\n" for name, value in KEY.items()))
    file.chmod(0o600)
    return str(file)


@pytest.fixture(scope="module")
def flags(store, credentials):
    def flags(prefix):
        return ["--blocks", f"s3://{BUCKET}/{prefix}", "--blocks-endpoint", store.line.url,
                "--blocks-credentials", credentials]
    return flags


@pytest.fixture(scope="module")
def stored(make_cloud, store, flags):
    """A cloud whose blocks are in S3, and its end: nothing of it stays there."""
    cloud = make_cloud("stored").up(*flags("one"))
    yield cloud
    store.line.mend()
    cloud.down("--purge")
    assert store.names("one/") == []


@pytest.fixture(scope="module")
def clients(stored):
    return stored.client(), stored.client("ebs")


def fsck(cloud):
    done = cloud.run("fsck", "--full", "--json", check=False)
    return done.returncode, json.loads(done.stdout)


def test_blocks_lie_in_the_bucket_and_become_volumes_and_go(stored, store, clients):
    ec2, ebs = clients
    blocks = {index: content(index) for index in (0, 1, 1000, 2047)}
    snapshot = written(ec2, ebs, blocks)
    assert read(ebs, snapshot) == blocks
    assert f"one/objects/snapshots/{snapshot}" in store.names("one/")
    assert not os.path.exists(os.path.join(stored.data, "snapshots", "objects"))
    status, report = fsck(stored)
    assert (status, report["clean"], report["snapshots"], report["blocks"]) == (0, True, 1, 4)
    # As a disk, read from there.
    zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    volume = ec2.create_volume(SnapshotId=snapshot, AvailabilityZone=zone)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
    disk = os.path.join(stored.data, "volumes", "restored", f"{snapshot}.raw")
    wait_until(lambda: os.path.exists(disk), "the volume has all of its snapshot", timeout=300)
    with open(disk, "rb") as held:
        for index, data in blocks.items():
            held.seek(index << 19)
            assert held.read(len(data)) == data
    # A snapshot of that volume has all blocks of the first, and keeps them.
    taken = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    completed(ec2, taken)
    ec2.delete_snapshot(SnapshotId=snapshot)
    assert read(ebs, taken) == blocks
    ec2.delete_volume(VolumeId=volume)
    ec2.delete_snapshot(SnapshotId=taken)
    wait_until(lambda: not store.names("one/objects/blocks/"), "what nobody needs is collected", timeout=600, interval=1)
    assert fsck(stored)[0] == 0


def test_a_flipped_bit_is_told(stored, store, clients):
    ec2, ebs = clients
    before = set(store.names("one/objects/blocks/"))
    snapshot = written(ec2, ebs, {3: content("to be spoilt")})
    [spoilt] = set(store.names("one/objects/blocks/")) - before
    good = store.flip(spoilt)
    status, report = fsck(stored)
    assert (status, report["clean"], report["damaged"]) == (3, False, 1)
    [problem] = report["problems"]
    assert (problem["snapshot"], problem["block"]) == (snapshot, 3)
    assert spoilt == f"one/objects/{problem['object']}"
    store.s3.put_object(Bucket=BUCKET, Key=spoilt, Body=good)
    assert fsck(stored)[0] == 0
    ec2.delete_snapshot(SnapshotId=snapshot)


def test_a_store_that_is_gone_for_a_while_is_waited_for(stored, store, clients):
    ec2, ebs = clients
    blocks = {index: content(f"long {index}") for index in range(40)}
    first = written(ec2, ebs, blocks)
    # Encrypted anew, all 20 MiB of it go there; the line breaks on the way.
    refused = store.line.refused
    store.line.cut(6 << 20)
    copy = ec2.copy_snapshot(SourceSnapshotId=first, SourceRegion=ec2.meta.region_name, Encrypted=True)["SnapshotId"]
    wait_until(lambda: store.line.refused > refused + 3, "the store is asked for again and again", timeout=600)
    assert snapshot_of(ec2, copy)["State"] == "pending"
    # Nothing of the server is held up by it.
    assert snapshot_of(ec2, first)["State"] == "completed"
    store.line.mend()
    completed(ec2, copy)
    assert read(ebs, copy) == blocks
    assert fsck(stored)[0] == 0
    for snapshot in (copy, first):
        ec2.delete_snapshot(SnapshotId=snapshot)


def test_a_cloud_starts_while_its_store_is_out_of_reach(stored, store, clients):
    ec2, ebs = clients
    blocks = {0: content("kept")}
    snapshot = written(ec2, ebs, blocks)
    stored.interrupt()
    refused = store.line.refused
    store.line.cut(0)
    stored.up()
    wait_until(lambda: store.line.refused > refused, "the store is asked for", timeout=600)
    assert snapshot_of(ec2, snapshot)["State"] == "completed"
    store.line.mend()

    def held():
        try:
            return read(ebs, snapshot)
        except (boto3.exceptions.Boto3Error, ebs.exceptions.ClientError):
            return None

    assert wait_until(held, "it is read again", timeout=600) == blocks
    # The key lies in one file that nobody else reads, and nowhere else.
    own = os.path.join(stored.data, "blocks-credentials")
    assert os.stat(own).st_mode & 0o777 == 0o600
    for name in ("cloud.json", "logs/agent.log", "logs/server.log", "logs/blockd.log"):
        with open(os.path.join(stored.data, name)) as text:
            assert KEY["aws_secret_access_key"] not in text.read(), name
    ec2.delete_snapshot(SnapshotId=snapshot)


def test_stores_that_will_not_do_are_refused(stored, store, flags, credentials, tmp_path):
    def refused(data, why, *more):
        command = [stored.nube, "up", "--host", "linux", "--listen", stored.listen, "--data", str(data), *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
        assert done.returncode == 1 and why in done.stderr, done.stdout + done.stderr
        assert not os.path.exists(os.path.join(data, "cloud.json")) or data == stored.data

    refused(tmp_path, "belongs to the cloud", *flags("one"))
    refused(tmp_path, "NoSuchBucket", "--blocks", "s3://nowhere", *flags("one")[2:])
    # A server that does not know the header is one that the header does not reach.
    store.line.replace = (b"if-none-match", b"xf-none-match")
    refused(tmp_path, "does not heed If-None-Match", *flags("two"))
    store.line.replace = None
    assert store.names("two/") == []
    os.chmod(credentials, 0o644)
    refused(tmp_path, "chmod 600", *flags("two"))
    os.chmod(credentials, 0o600)
    stored.interrupt()
    refused(stored.data, "cannot change", *flags("two"))
    stored.up()
