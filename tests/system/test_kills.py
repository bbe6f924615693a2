"""Whoever is killed, and whatever is done with volumes at that moment: what was acknowledged is there, what shows as completed is whole,
and nothing is left over that nobody refers to.

A guest writes numbered records to a volume, one after the other, each to the disk itself before it says so. So what a disk holds is one
moment of that sequence, or it is damaged. Rounds are drawn by a seed, which is printed; `--seed` tells them again.
"""

import json
import os
import random
import signal
import subprocess
import threading
import time

import botocore.exceptions
import pytest
from conftest import wait_until
from guest import Guest, key_pair, open_group, process_of, ssh_line
from test_direct import BLOCK, read
from test_snapshots import answered, available, completed, disk_of, there
from test_survival import processes
from test_volumes import PATIENCE, attach, detach, modified, volume_of

pytestmark = pytest.mark.machines

VICTIMS = ["server", "agent", "blockd", "machine", "all"]
# Records lie a block apart, so that each is in one of its own.
SLOTS, RECORD, LINES = 48, 4096, 8
# Within these seconds of a call the blow falls.
SOON = 1.5

# Of $1, and from $2 on.
WRITER = f"""n=$2
while :; do
  n=$((n+1))
  printf '%0{RECORD // LINES - 1}d\\n' {"$n " * LINES} |
    dd of=$1 bs={RECORD} seek=$((n % {SLOTS} * {BLOCK // RECORD})) conv=notrunc,fsync oflag=direct iflag=fullblock 2>/dev/null || exit
  echo $n || exit
done
"""


def newest(records):
    """The last record of the sequence that is whole in these, which must be one moment of it."""
    held = [[int(line.strip(b"\0") or 0) for line in record.split(b"\n")[:LINES]] for record in records]
    last = max(max(lines) for lines in held)
    for slot, lines in enumerate(held):
        due = last - (last - slot) % SLOTS
        before = max(due - SLOTS, 0)
        # Only the very last may have been on its way.
        allowed = {due, before} if due == last else {max(due, 0)}
        assert set(lines) <= allowed, f"slot {slot} holds {set(lines)}, and the last is {last}"
    return last if set(held[last % SLOTS]) == {last} else last - 1


class Sequence:
    """What a guest writes to a disk, as far as it has told."""

    def __init__(self, guest, disk):
        self.guest, self.disk, self.told = guest, disk, 0
        self.process = self.listener = None
        guest.ssh(there(disk))
        guest.ssh(f"sudo dd if=/dev/zero of={disk} bs={BLOCK} count={SLOTS} conv=fsync 2>/dev/null")

    def start(self):
        self.guest.ssh(there(self.disk))
        self.guest.ssh(f"cat > /tmp/writer <<'END'\n{WRITER}END\n")
        line = ssh_line(self.guest.address, self.guest.key, f"sudo sh /tmp/writer {self.disk} {self.told}")
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                                        text=True)
        begun = self.told
        self.listener = threading.Thread(target=self.listen, args=[self.process.stdout], daemon=True)
        self.listener.start()
        wait_until(lambda: self.told > begun + 3, "the guest writes", timeout=240)

    def listen(self, said):
        for line in said:
            if line.endswith("\n"):
                self.told = int(line)

    def stop(self):
        """Ends the writer, if its machine lives; what it has written last it may not have told."""
        self.process.kill()
        self.process.wait()
        self.listener.join()
        if process_of(self.guest.id):
            # A pattern that is not in this very command.
            self.guest.ssh("sudo pkill -f '[/]tmp/writer'; while pgrep -f '[/]tmp/writer' > /dev/null; do sleep 0.1; done")

    def check(self, disk=None):
        """Reads a disk in the guest; the last record."""
        disk = disk or self.disk
        self.guest.ssh(there(disk))
        said = subprocess.run(
            ssh_line(self.guest.address, self.guest.key,
                     f"for i in $(seq 0 {SLOTS - 1}); do sudo dd if={disk} bs={RECORD} skip=$((i*{BLOCK // RECORD})) count=1"
                     " iflag=direct 2>/dev/null || exit 3; done"),
            capture_output=True, stdin=subprocess.DEVNULL, timeout=300, check=True).stdout
        return newest([said[at:at + RECORD] for at in range(0, SLOTS * RECORD, RECORD)])


class World:
    """A cloud with an instance, the volume that it writes to, and another one."""

    def __init__(self, cloud, folder, dice):
        self.cloud, self.dice = cloud, dice
        self.ec2, self.ebs = cloud.client(), cloud.client("ebs")
        image = self.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        group = open_group(self.ec2, "kills", self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
        key = key_pair(self.ec2, "kills", folder)
        self.guest = Guest(self.ec2, key, ImageId=image, SecurityGroupIds=[group]).running()
        self.zone = self.guest.describe()["Placement"]["AvailabilityZone"]
        self.volume, self.spare = self.made(Size=1), self.made(Size=1)
        attach(self.ec2, self.volume, self.guest.id, "/dev/sdf")
        self.sequence = Sequence(self.guest, disk_of(self.volume))
        # What each snapshot of the volume holds, once it was looked at.
        self.held = {}
        self.sequence.start()
        first = self.ec2.create_snapshot(VolumeId=self.volume)["SnapshotId"]
        self.settled([first])

    def made(self, **request):
        volume = self.ec2.create_volume(AvailabilityZone=self.zone, **request)["VolumeId"]
        self.ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=PATIENCE)
        return volume

    def snapshots(self):
        return {s["SnapshotId"]: s for s in self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}

    # What may be going on when somebody is killed. Each does one call, and returns what must be so afterwards if that was answered.

    def snapshot(self):
        taken = self.ec2.create_snapshot(VolumeId=self.volume)["SnapshotId"]
        return lambda: self.snapshots()[taken]

    def image(self):
        made = self.ec2.create_image(InstanceId=self.guest.id, Name=f"kills {self.dice.random()}", NoReboot=True)["ImageId"]
        return lambda: available(self.ec2, made)

    def size(self):
        wanted = volume_of(self.ec2, self.spare)["Size"] + 1
        self.ec2.modify_volume(VolumeId=self.spare, Size=wanted)

        def grown():
            modified(self.ec2, self.spare, "completed")
            assert volume_of(self.ec2, self.spare)["Size"] == wanted
        return grown

    def attachment(self):
        state = volume_of(self.ec2, self.spare)["State"]
        if state == "available":
            self.ec2.attach_volume(VolumeId=self.spare, InstanceId=self.guest.id, Device="/dev/sdg")
            return lambda: self.guest.ssh(there(disk_of(self.spare)))
        self.ec2.detach_volume(VolumeId=self.spare)
        return lambda: self.is_in("available", self.spare)

    def copy(self):
        source = self.dice.choice(sorted(self.held))
        copied = self.ec2.copy_snapshot(SourceRegion=self.ec2.meta.region_name, SourceSnapshotId=source, Encrypted=True)["SnapshotId"]

        def same():
            assert self.held[copied] == self.held[source] and self.snapshots()[copied]["Encrypted"]
        return same

    def collection(self):
        gone = self.dice.choice(sorted(self.held))
        self.ec2.delete_snapshot(SnapshotId=gone)

        def is_gone():
            assert gone not in self.snapshots()
        return is_gone

    def lazy(self):
        source = self.dice.choice(sorted(self.held))
        volume = self.ec2.create_volume(AvailabilityZone=self.zone, SnapshotId=source)["VolumeId"]
        answered(lambda: self.is_in("available", volume))
        self.ec2.attach_volume(VolumeId=volume, InstanceId=self.guest.id, Device="/dev/sdh")

        def reads():
            assert self.sequence.check(disk_of(volume)) == self.held[source]
        return reads

    ACTIONS = (snapshot, image, size, attachment, copy, collection, lazy)

    def is_in(self, state, volume):
        wait_until(lambda: volume_of(self.ec2, volume)["State"] == state, f"{volume} is {state}", timeout=240)
        return True

    # Rounds.

    def pids(self, victim):
        """The processes of this cloud that go by this name."""
        if victim == "machine":
            return [process_of(self.guest.id)]
        if victim == "all":
            # What starts them first, or they would be back at once.
            return [self.cloud.process.pid, *processes(self.cloud), process_of(self.guest.id)]
        return [self.cloud.pid(victim)]

    def round(self, victim, action):
        before, known = self.sequence.told, self.snapshots()
        pids = [pid for pid in self.pids(victim) if pid]
        expected, failed = [], []

        def act():
            try:
                expected.append(action(self))
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
                # Whether it was done is not known.
                expected.append(None)
                failed.append(error)
        acting = threading.Thread(target=act)
        acting.start()
        time.sleep(self.dice.uniform(0, SOON))
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                assert victim == "all"
        if victim == "all":
            self.cloud.process.communicate()
            wait_until(lambda: not processes(self.cloud), "all processes are gone", timeout=90)
            self.cloud.up()
        acting.join(timeout=240)
        assert expected, "the call has an end"
        assert not failed or victim in ("server", "all"), failed
        answered(self.ec2.describe_regions)
        self.revive(victim)
        self.settled(self.snapshots().keys() - known.keys(), before)
        if expected[0]:
            expected[0]()
        self.tidied()

    def revive(self, victim):
        """Waits until all that was killed is back, and the guest writes."""
        if victim in ("machine", "all"):
            self.sequence.stop()
            wait_until(lambda: self.guest.describe()["State"]["Name"] == "stopped", "the instance is stopped", timeout=240)
            told = self.sequence.told
            self.ec2.start_instances(InstanceIds=[self.guest.id])
            self.guest.running()
            assert self.sequence.check() >= told, "what was acknowledged is there"
            self.sequence.told = self.sequence.check()
            self.sequence.start()
        else:
            told = self.sequence.told
            wait_until(lambda: self.sequence.told > told, "the guest goes on writing", timeout=120)

    def settled(self, fresh, before=0):
        """All snapshots are completed, and what they hold is a moment after the call."""
        # Whoever asks for none in particular asks for all, and waits for one.
        if snapshots := self.snapshots():
            completed(self.ec2, *snapshots)
        self.cloud.at_rest()
        for snapshot in sorted(fresh):
            shown = self.snapshots()[snapshot]
            blocks = read(self.ebs, snapshot)
            if shown["VolumeSize"] == 1 and shown["VolumeId"] in (self.volume, "vol-ffffffff"):
                records = [blocks.get(slot, bytes(BLOCK))[:RECORD] for slot in range(SLOTS)]
                self.held[snapshot] = newest(records)
                if shown["VolumeId"] == self.volume:
                    assert before <= self.held[snapshot] <= self.sequence.told + 1

    def tidied(self):
        """What the next rounds do not need goes; the rest is clean."""
        # Those that come with the cloud stay.
        images = self.ec2.describe_images(Owners=["self"])["Images"]
        for made in (image for image in images if "SourceInstanceId" in image):
            available(self.ec2, made["ImageId"])
            self.ec2.deregister_image(ImageId=made["ImageId"], DeleteAssociatedSnapshots=True)
        for volume in self.ec2.describe_volumes(Filters=[{"Name": "snapshot-id", "Values": sorted(self.held)}])["Volumes"]:
            attached = [a["InstanceId"] for a in volume["Attachments"]]
            if attached:
                detach(self.ec2, volume["VolumeId"])
            self.is_in("available", volume["VolumeId"])
            self.ec2.delete_volume(VolumeId=volume["VolumeId"])
        there_are = self.snapshots()
        self.held = {snapshot: held for snapshot, held in self.held.items() if snapshot in there_are}
        # The fewer, the sooner the next ones are looked at; one is always there.
        if not self.held:
            taken = self.ec2.create_snapshot(VolumeId=self.volume)["SnapshotId"]
            self.settled([taken], self.sequence.told)
        # A volume is modified four times a day at most.
        if volume_of(self.ec2, self.spare)["Size"] > 1:
            if volume_of(self.ec2, self.spare)["Attachments"]:
                detach(self.ec2, self.spare)
            self.ec2.delete_volume(VolumeId=self.spare)
            self.spare = self.made(Size=1)
        self.cloud.at_rest()
        assert self.fsck()["clean"]

    def fsck(self):
        return json.loads(self.cloud.run("fsck", "--full", "--json", check=False).stdout)

    def emptied(self):
        """Everything is given back; then nothing of it is on the host."""
        self.sequence.stop()
        assert self.sequence.check() >= self.sequence.told
        for snapshot in self.snapshots():
            self.ec2.delete_snapshot(SnapshotId=snapshot)
        self.ec2.terminate_instances(InstanceIds=[self.guest.id])
        self.ec2.get_waiter("instance_terminated").wait(InstanceIds=[self.guest.id], WaiterConfig=PATIENCE)
        for volume in (self.volume, self.spare):
            self.is_in("available", volume)
            self.ec2.delete_volume(VolumeId=volume)
        wait_until(lambda: not self.ec2.describe_volumes()["Volumes"], "the volumes are gone", timeout=240)
        self.cloud.at_rest()
        # An agent collects soon after it begins.
        os.kill(self.cloud.pid("agent"), signal.SIGKILL)
        found = []

        def collected():
            found[:] = [self.fsck()]
            return not any(found[0][count] for count in ("snapshots", "being_written", "blocks", "tables", "garbage", "unknown"))
        wait_until(collected, f"nothing is kept for nobody: {found}", timeout=240, interval=1)
        wait_until(lambda: leftovers(self.cloud) == [], f"no file is left: {leftovers(self.cloud)}", timeout=240, interval=1)


# What a host has that has never had a disk: formats, counters, a socket.
NOBODYS = ("snapshots/format", "snapshots/objects/epochs/", "snapshots/domains/", "vms/next-uid", "volumes/bases/",
           "volumes/lazy/control.sock")


def leftovers(cloud):
    """The files of disks, snapshots and machines on the host."""
    found = []
    for top in ("volumes", "vms", "snapshots"):
        for folder, _, files in os.walk(os.path.join(cloud.data, top)):
            found += [os.path.relpath(os.path.join(folder, name), cloud.data) for name in files]
    return sorted(name for name in found if not name.startswith(NOBODYS))


def test_whoever_is_killed_nothing_is_lost_or_half_or_left_over(make_cloud, tmp_path, request):
    seed = request.config.getoption("--seed")
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    rounds = 40 if request.config.getoption("--full") else 3
    print(f"--seed {seed}, {rounds} rounds")
    dice = random.Random(seed)
    world = World(make_cloud("kills").up("--templates", "off"), tmp_path, dice)
    plan = []
    while len(plan) < rounds:
        actions = dice.sample(World.ACTIONS, len(VICTIMS))
        plan += zip(dice.sample(VICTIMS, len(VICTIMS)), actions)
    for number, (victim, action) in enumerate(plan[:rounds]):
        print(f"{number}: {action.__name__}, and {victim} is killed; the guest has told {world.sequence.told}", flush=True)
        world.round(victim, action)
    world.emptied()
