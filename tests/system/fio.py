"""fio in a guest. It is no part of nano: a disk made on the host brings it, with its loader and its libraries."""

import json
import re
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

from disk import run
from test_direct import BLOCK, put
from test_snapshots import there

MIB = 1 << 20


def fio_disk(folder):
    """A file system of whole MiB that holds fio and all it loads; nothing is mounted and root is not needed."""
    tree = folder / "fio-tree"
    (tree / "lib").mkdir(parents=True)
    program = shutil.which("fio")
    assert program, "fio is installed"
    shutil.copy(program, tree / "fio")
    for line in run("ldd", program).splitlines():
        if found := re.search(r"(/\S+) \(0x", line):
            name = "ld.so" if "=>" not in line else f"lib/{line.split()[0]}"
            shutil.copy(found[1], tree / name)
    content = sum(file.stat().st_size for file in tree.rglob("*") if file.is_file())
    disk = folder / "fio.ext4"
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", 0, "-d", tree, disk, f"{content * 5 // 4 // MIB + 8}M")
    shutil.rmtree(tree)
    return disk


def fio_snapshot(cloud, folder):
    """That disk as a snapshot, brought in by the EBS direct APIs."""
    ec2, disk = cloud.client(), fio_disk(folder)
    snapshot = cloud.client("ebs").start_snapshot(VolumeSize=1, Description="fio")["SnapshotId"]
    own = threading.local()

    def bring(index):
        own.ebs = getattr(own, "ebs", None) or cloud.client("ebs")
        with open(disk, "rb") as file:
            file.seek(index * BLOCK)
            data = file.read(BLOCK)
        if any(data):
            put(own.ebs, snapshot, index, data)
        return bool(any(data))
    with ThreadPoolExecutor(4) as threads:
        count = sum(threads.map(bring, range(disk.stat().st_size // BLOCK)))
    cloud.client("ebs").complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=count)
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig={"Delay": 1, "MaxAttempts": 240})
    disk.unlink()
    return snapshot


class Fio:
    """fio in a guest that has the disk."""

    def __init__(self, guest, disk):
        self.guest = guest
        guest.ssh(there(disk))
        guest.ssh(f"sudo mkdir -p /fio && sudo mount -t ext4 -o ro {disk} /fio")
        guest.ssh("sudo /fio/ld.so --library-path /fio/lib /fio/fio --version")

    def run(self, disk, pattern, size="4k", depth=16, seconds=8):
        """One measurement of a whole disk; fio's own report of it."""
        said = self.guest.ssh(
            f"sudo /fio/ld.so --library-path /fio/lib /fio/fio --name=it --filename=$(readlink -f {disk}) --rw={pattern}"
            f" --bs={size} --iodepth={depth} --ioengine=libaio --direct=1 --time_based --runtime={seconds} --thread"
            " --randrepeat=1 --group_reporting --output-format=json", timeout=seconds + 300)
        return json.loads(said[said.index("{"):])["jobs"][0]

    def rate(self, *what, **more):
        """Operations a second by the guest's clock."""
        report = self.run(*what, **more)
        done = sum(report[way]["total_ios"] for way in ("read", "write"))
        return done * 1000 / report["job_runtime"]
