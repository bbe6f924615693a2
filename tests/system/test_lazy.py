"""Volumes of snapshots that are used before they are on the host: served while everything else is dead, filled in the end."""

import os
import signal
import subprocess
import time

import pytest
from conftest import wait_until
from guest import Guest, key_pair, open_group
from test_snapshots import disk_of, there
from test_volumes import PATIENCE, attach

pytestmark = pytest.mark.machines

# What a snapshot holds, in blocks of 512 KiB: each of its own content.
BLOCKS = 48
# How long server and agent are dead, in seconds; with `--full` for ten minutes.
DEAD, LONG_DEAD = 60, 600


def fill(guest, disk):
    """Writes blocks that tell which they are, at places far apart; says what they are."""
    guest.ssh(f"for i in $(seq 0 {BLOCKS - 1}); do yes block-$i | head -c 524288 |"
              f" sudo dd of={disk} bs=512k seek=$((i*40)) conv=notrunc iflag=fullblock 2>/dev/null; done; sudo sync")


def reads_right(guest, disk, blocks):
    """Reads blocks from the disk itself and compares all of each."""
    wanted = " ".join(str(block) for block in blocks)
    guest.ssh(f"for i in {wanted}; do yes block-$i | head -c 524288 > /tmp/wanted;"
              f" sudo dd if={disk} of=/tmp/held bs=512k skip=$((i*40)) count=1 iflag=direct 2>/dev/null || exit 3;"
              f" sudo cmp /tmp/wanted /tmp/held || exit 4; done", timeout=300)


def lacking(cloud):
    """The volumes that are not wholly on the host."""
    folder = os.path.join(cloud.data, "volumes", "lazy")
    return sorted(name for name in os.listdir(folder) if name.startswith("vol-") and "." not in name)


class Setting:
    def __init__(self, cloud, folder):
        self.cloud, self.ec2 = cloud, cloud.client()
        self.zone = self.ec2.describe_subnets()["Subnets"][0]["AvailabilityZone"]
        group = open_group(self.ec2, "lazy", self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
        image = self.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        key = key_pair(self.ec2, "lazy", folder)
        subnet = self.ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": [self.zone]}])["Subnets"][0]
        self.guest = Guest(self.ec2, key, ImageId=image, SecurityGroupIds=[group], SubnetId=subnet["SubnetId"]).running()
        self.snapshots = {}
        for kind in ("plain", "encrypted"):
            volume = self.volume(Size=1, Encrypted=kind == "encrypted")
            attach(self.ec2, volume, self.guest.id, "/dev/sdf")
            self.guest.ssh(there(disk_of(volume)))
            fill(self.guest, disk_of(volume))
            taken = self.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
            self.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[taken], WaiterConfig=PATIENCE)
            self.ec2.detach_volume(VolumeId=volume)
            self.ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
            self.ec2.delete_volume(VolumeId=volume)
            self.snapshots[kind] = taken

    def volume(self, **request):
        made = self.ec2.create_volume(AvailabilityZone=self.zone, **request)["VolumeId"]
        self.ec2.get_waiter("volume_available").wait(VolumeIds=[made], WaiterConfig={"Delay": 1, "MaxAttempts": 240})
        return made

    def lazy(self, kind, device):
        """A volume of a snapshot, in the guest."""
        made = self.volume(SnapshotId=self.snapshots[kind])
        attach(self.ec2, made, self.guest.id, device)
        self.guest.ssh(there(disk_of(made)))
        return made


@pytest.fixture(scope="module")
def setting(make_cloud, tmp_path_factory):
    # An hour: nothing is filled unless a test asks for it by a restart.
    cloud = make_cloud("lazy", ("env", "NUBE_FILL_AFTER=3600")).up()
    return Setting(cloud, tmp_path_factory.mktemp("lazy-keys"))


def test_cold_reads_go_on_while_server_and_agent_are_dead(setting, request):
    cloud, guest = setting.cloud, setting.guest
    dead = LONG_DEAD if request.config.getoption("--full") else DEAD
    volumes = [setting.lazy("plain", "/dev/sdg"), setting.lazy("encrypted", "/dev/sdh")]
    assert lacking(cloud) == sorted(volumes)
    # What starts them first, or they would be back at once.
    supervisor, blockd = cloud.process, cloud.pid("blockd")
    supervisor.kill()
    supervisor.communicate()
    for name in ("server", "agent"):
        os.kill(cloud.pid(name), signal.SIGKILL)
    begun, block = time.monotonic(), 0
    while time.monotonic() - begun < dead or block < BLOCKS:
        reads_right(guest, disk_of(volumes[0]), [block % BLOCKS])
        reads_right(guest, disk_of(volumes[1]), [block % BLOCKS])
        block += 1
        # Spread over all of the time, so that the last ones are cold until its end.
        time.sleep(max(0.5, begun + block * dead / BLOCKS - time.monotonic()))
    assert lacking(cloud) == sorted(volumes)
    os.kill(blockd, 0)
    cloud.up()
    cloud.at_rest()
    assert cloud.pid("blockd") != blockd
    for volume in volumes:
        reads_right(guest, disk_of(volume), range(BLOCKS))


def test_reads_wait_for_a_blockd_that_was_killed(setting):
    cloud, guest = setting.cloud, setting.guest
    volume = setting.lazy("plain", "/dev/sdi")
    for block in range(0, BLOCKS, 16):
        os.kill(cloud.pid("blockd"), signal.SIGKILL)
        reads_right(guest, disk_of(volume), range(block, block + 16))
    processes = cloud.status()["processes"]
    assert processes["blockd"]


def test_a_damaged_block_is_an_error_that_fsck_names(setting):
    cloud, guest = setting.cloud, setting.guest
    folder = os.path.join(cloud.data, "snapshots", "objects", "blocks")
    found = subprocess.run(["find", folder, "-type", "f"], capture_output=True, text=True, check=True).stdout.split()
    plain = [path for path in found if "/key-" not in path]
    victim, index = plain[0], None
    with open(victim, "r+b") as file:
        kept = file.read()
        middle = len(kept) // 2
        file.seek(middle)
        file.write(bytes([kept[middle] ^ 1]))
    try:
        report = cloud.run("fsck", "--full", "--json", check=False)
        assert report.returncode == 3
        assert setting.snapshots["plain"] in report.stdout
        # From a process that has no good copy in its cache.
        os.kill(cloud.pid("blockd"), signal.SIGKILL)
        volume = setting.lazy("plain", "/dev/sdj")
        bad = guest.ssh(f"for i in $(seq 0 {BLOCKS - 1}); do yes block-$i | head -c 524288 > /tmp/wanted;"
                        f" if sudo dd if={disk_of(volume)} of=/tmp/held bs=512k skip=$((i*40)) count=1 iflag=direct 2>/dev/null;"
                        f" then sudo cmp -s /tmp/wanted /tmp/held || echo wrong-$i; else echo failed-$i; fi; done", timeout=300)
        assert len(bad.split()) == 1 and bad.startswith("failed-"), bad
        index = int(bad.removeprefix("failed-"))
        with open(os.path.join(cloud.data, "logs", "blockd.log")) as log:
            assert setting.snapshots["plain"] in log.read()
    finally:
        with open(victim, "wb") as file:
            file.write(kept)
    os.kill(cloud.pid("blockd"), signal.SIGKILL)
    reads_right(guest, disk_of(volume), [index])


def fast(ec2, state, snapshots):
    """Waits until fast restore of these snapshots is in this state."""
    def reached():
        shown = ec2.describe_fast_snapshot_restores(Filters=[{"Name": "snapshot-id", "Values": snapshots}])
        return [item["State"] for item in shown["FastSnapshotRestores"]] == [state] * len(snapshots)
    wait_until(reached, f"fast restore is {state}", timeout=240)


def test_a_volume_of_a_fast_snapshot_lacks_nothing(setting):
    cloud, guest, ec2 = setting.cloud, setting.guest, setting.ec2
    before = lacking(cloud)
    asked = {"SourceSnapshotIds": list(setting.snapshots.values()), "AvailabilityZones": [setting.zone]}
    assert not ec2.enable_fast_snapshot_restores(**asked)["Unsuccessful"]
    # Whatever has been done of it by now, it is finished.
    os.kill(cloud.pid("agent"), signal.SIGKILL)
    fast(ec2, "enabled", asked["SourceSnapshotIds"])
    for kind, device in (("plain", "/dev/sdm"), ("encrypted", "/dev/sdn")):
        volume = setting.lazy(kind, device)
        assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["FastRestored"]
        assert lacking(cloud) == before
        reads_right(guest, disk_of(volume), range(BLOCKS))
    kept = os.path.join(cloud.data, "volumes", "fast")
    assert len(os.listdir(kept)) == 2
    ec2.disable_fast_snapshot_restores(**asked)
    os.kill(cloud.pid("agent"), signal.SIGKILL)
    fast(ec2, "disabled", asked["SourceSnapshotIds"])
    assert os.listdir(kept) == []
    reads_right(guest, disk_of(volume), range(BLOCKS))


def test_in_the_end_all_of_it_is_here_and_the_snapshots_may_go(setting):
    cloud, guest, ec2 = setting.cloud, setting.guest, setting.ec2
    setting.lazy("plain", "/dev/sdk")
    setting.lazy("encrypted", "/dev/sdl")
    volumes = lacking(cloud)
    # A snapshot of what lacks something, and the deletion of what it lacks.
    again = ec2.create_snapshot(VolumeId=volumes[0])["SnapshotId"]
    for snapshot in setting.snapshots.values():
        ec2.delete_snapshot(SnapshotId=snapshot)
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[again], WaiterConfig=PATIENCE)
    for volume in volumes:
        reads_right(guest, disk_of(volume), range(0, BLOCKS, 7))
    cloud.interrupt()
    cloud.prefix = ["env", "NUBE_FILL_AFTER=0"]
    cloud.up()
    wait_until(lambda: not lacking(cloud), "all volumes are whole", timeout=240)
    cloud.at_rest()
    os.kill(cloud.pid("blockd"), signal.SIGKILL)
    for volume in volumes:
        reads_right(guest, disk_of(volume), range(BLOCKS))
    objects = os.path.join(cloud.data, "snapshots", "objects", "snapshots")
    wait_until(lambda: os.listdir(objects) == [again], "the deleted snapshots are gone", timeout=240)
    assert cloud.run("fsck", "--full").returncode == 0
    leftovers = os.listdir(os.path.join(cloud.data, "volumes", "lazy"))
    assert leftovers in (["control.sock"], [])
    sockets = os.path.join(cloud.data, "vms", guest.id, "lazy")
    assert os.listdir(sockets) == []
    # Stopped and started, it stands on files alone.
    ec2.stop_instances(InstanceIds=[guest.id])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[guest.id], WaiterConfig=PATIENCE)
    ec2.start_instances(InstanceIds=[guest.id])
    guest.running()
    for volume in volumes:
        guest.ssh(there(disk_of(volume)))
        reads_right(guest, disk_of(volume), range(BLOCKS))
