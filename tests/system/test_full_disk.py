"""The host's disk is full: guests wait, calls are refused, nothing is lost; and once there is room all goes on."""

import os
import subprocess
import time

import botocore.exceptions
import pytest
from conftest import Cloud, wait_until
from guest import Guest, banner, is_silent, key_pair, open_group, process_of
from test_snapshots import completed, disk_of, there
from test_volumes import PATIENCE, attach

pytestmark = pytest.mark.machines

MIB = 1 << 20
# Of the file system that the cloud has for itself.
SIZE = 3 << 30
# What the guest writes while there is no room, in MiB.
WRITTEN = 128
# How long the disk stays full after the guest has been stopped by it, in seconds: many tries of the guest.
FULL = 60


class Room:
    """A small file system, and a file that takes what is left of it."""

    def __init__(self, folder):
        self.place = folder / "data"
        self.place.mkdir()
        image = folder / "disk.ext4"
        with open(image, "wb") as file:
            file.truncate(SIZE)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, self.place], check=True)
        self.place.chmod(0o711)
        self.filler = self.place / "filler"

    def left(self):
        found = os.statvfs(self.place)
        return found.f_bavail * found.f_frsize

    def fill(self, but):
        """Leaves so many bytes."""
        with open(self.filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.left() - but)

    def fill_to_the_brim(self):
        """Whatever the guest's last tries gave back is taken too."""
        with open(self.filler, "ab") as file:
            while (left := self.left()) >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), left)
                except OSError:
                    return

    def empty(self):
        self.filler.unlink(missing_ok=True)

    def unmount(self):
        wait_until(lambda: subprocess.run(["umount", self.place], stderr=subprocess.DEVNULL).returncode == 0,
                   "nobody uses the file system", timeout=60)


@pytest.fixture
def room(tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o711)
    made = Room(tmp_path)
    yield made
    made.unmount()


@pytest.fixture
def small(request, room):
    # Templates would take room of their own, when they like.
    cloud = Cloud(request.config.getoption("--nube"), "linux", room.place / "cloud").up("--templates", "off")
    yield cloud
    room.empty()
    cloud.down("--purge")


def waits(cloud):
    """How often the agent has said that a guest waits for room, as far as there was room to say so."""
    with open(os.path.join(cloud.data, "logs", "agent.log")) as log:
        return log.read().count("the guest waits")


def memory(cloud):
    """Of the agent, in KiB."""
    with open(f"/proc/{cloud.pid('agent')}/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith("VmRSS:")))


def refused(call, **request):
    """Whether a call fails as a call does: by an error that says so, within its time."""
    try:
        call(**request)
    except botocore.exceptions.ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (500, 503), error
        return True
    return False


def test_guests_wait_for_room_and_calls_are_refused_until_there_is_some(small, room, tmp_path):
    ec2 = small.client()
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    group = open_group(ec2, "full", ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    key = key_pair(ec2, "full", tmp_path)
    guest = Guest(ec2, key, ImageId=image, SecurityGroupIds=[group]).running()
    zone = guest.describe()["Placement"]["AvailabilityZone"]
    volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
    attach(ec2, volume, guest.id)
    disk = disk_of(volume)
    guest.ssh(there(disk))
    boot = guest.boot()
    # A volume that two machines have, which a process of its own writes for them.
    partner = Guest(ec2, key, ImageId=image, SecurityGroupIds=[group]).running()
    shared = ec2.create_volume(AvailabilityZone=zone, Size=4, VolumeType="io2", Iops=2000, MultiAttachEnabled=True)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[shared], WaiterConfig=PATIENCE)
    for machine in (guest, partner):
        attach(ec2, shared, machine.id, "/dev/sdm")
        machine.ssh(there(disk_of(shared)))
    partner_boot = partner.boot()
    guest.ssh(f"yes before | head -c {8 * MIB} | sudo dd of={disk} bs=1M iflag=fullblock conv=fsync 2>/dev/null")
    taken = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    completed(ec2, taken)
    small.at_rest()

    room.fill(but=64 * MIB)
    # In the guest's background: its session waits with it.
    for machine, to, word in ((guest, disk, "after"), (partner, disk_of(shared), "shared")):
        machine.ssh(f"(yes {word} | head -c {WRITTEN * MIB} | sudo dd of={to} bs=1M seek=8 iflag=fullblock oflag=direct"
                    " conv=fsync 2>/tmp/said; echo $? > /tmp/ended) > /dev/null 2>&1 < /dev/null &")
    for machine in (guest, partner):
        wait_until(lambda: room.left() < MIB and all(is_silent(machine.address) for _ in range(2)),
                   "the guest waits for room", timeout=240)
    agent = memory(small)
    assert guest.describe()["State"]["Name"] == "running"
    # More than its own: also what the cloud itself would write.
    room.fill_to_the_brim()
    begun, made = time.monotonic(), []
    refusals = 0
    while time.monotonic() - begun < FULL:
        refusals += refused(lambda: made.append(ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]))
        assert ec2.describe_instances(InstanceIds=[guest.id])["Reservations"], "reads are answered"
        room.fill_to_the_brim()
        time.sleep(1)
    print(f"{refusals} calls were refused, {len(made)} taken; the agent has {memory(small) - agent} KiB more")
    for machine in (guest, partner):
        assert process_of(machine.id), "the machine is kept"
        wait_until(lambda: is_silent(machine.address), "the guest waits still")
    # One task waits for a guest, however often that tries.
    assert waits(small) < 20 and memory(small) - agent < 64 << 10
    assert guest.describe()["State"]["Name"] == "running"

    room.empty()
    ended = "for i in $(seq 240); do test -s /tmp/ended && exit 0; sleep 1; done; exit 1"
    for machine, booted in ((guest, boot), (partner, partner_boot)):
        banner(machine.address)
        machine.ssh(ended, timeout=300)
        assert machine.ssh("cat /tmp/ended; cat /tmp/said").splitlines()[0] == "0"
        assert machine.boot() == booted
    # All of it is there, of the disk itself; what the partner wrote, the guest reads.
    for of, skip, count, word in ((disk, 0, 8, "before"), (disk, 8, WRITTEN, "after"), (disk_of(shared), 8, WRITTEN, "shared")):
        wanted = guest.ssh(f"yes {word} | head -c {count * MIB} | sha256sum", timeout=300)
        assert guest.ssh(f"sudo dd if={of} bs=1M skip={skip} count={count} iflag=direct 2>/dev/null | sha256sum",
                         timeout=300) == wanted
    # What was acknowledged is there, what was refused is not, and calls are taken again.
    small.at_rest()
    made.append(ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"])
    ec2.get_waiter("volume_available").wait(VolumeIds=made, WaiterConfig=PATIENCE)
    roots = {machine.describe()["BlockDeviceMappings"][0]["Ebs"]["VolumeId"] for machine in (guest, partner)}
    assert {v["VolumeId"] for v in ec2.describe_volumes()["Volumes"]} == {*roots, volume, shared, *made}
    completed(ec2, *(ec2.create_snapshot(VolumeId=of)["SnapshotId"] for of in (volume, shared)), taken)
    assert small.run("fsck", "--full", check=False).returncode == 0
    small.at_rest()
