"""Forks of running instances: memory and disks go on in children that are themselves, and the parent notices next to nothing."""

import json
import os
import signal
import threading
import time

import pytest
from conftest import wait_until
from guest import COUNTER, Guest, counted, counts, describe, key_pair, open_group, process_of, wait_for

# What a process drew before it was forked its children have too.
DRAWN = "head -c 16 /dev/urandom | sha256sum > /root/drawn\n"


# Says which process counts.
COUNTING = "grep -ls '[/]root/count' /proc/[0-9]*/cmdline || true"


def fork(cloud, instance, count=1, check=True):
    done = cloud.run("fork", instance, "--count", str(count), "--json", check=check)
    return json.loads(done.stdout) if check else done


def tags(found):
    return {tag["Key"]: tag["Value"] for tag in found["Tags"]}


# --- any host -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif("config.getoption('--host') != 'sim'", reason="real machines are forked below")
def test_a_simulated_instance_is_forked(make_cloud):
    cloud = make_cloud("fork-sim").up()
    ec2 = cloud.client()
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    named = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}]}]
    parent = ec2.run_instances(
        ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1, TagSpecifications=named)["Instances"][0]["InstanceId"]
    wait_for(ec2, parent, "running")
    children = fork(cloud, parent, 2)["instances"]
    assert len(set(children)) == 2
    seen = [describe(ec2, parent), *(wait_for(ec2, child, "running") for child in children)]
    for key in ("InstanceId", "PrivateIpAddress", "PublicIpAddress"):
        assert len({found[key] for found in seen}) == 3, key
    volumes = {device["Ebs"]["VolumeId"] for found in seen for device in found["BlockDeviceMappings"]}
    assert len(volumes) == 3
    for child in seen[1:]:
        assert tags(child) == {"Name": "web", "nube:forked-from": parent}
        assert child["ImageId"] == image and child["SubnetId"] == seen[0]["SubnetId"]
        assert child["SecurityGroups"] == seen[0]["SecurityGroups"]
    assert len({found["ReservationId"] for found in ec2.describe_instances(InstanceIds=children)["Reservations"]}) == 1
    ec2.stop_instances(InstanceIds=[children[0]])
    wait_for(ec2, children[0], "stopped")
    refused = fork(cloud, children[0], check=False)
    assert refused.returncode != 0 and "stopped" in refused.stderr
    assert "no instance" in fork(cloud, "i-00000000000000001", check=False).stderr
    ec2.terminate_instances(InstanceIds=[parent, *children])
    for instance in (parent, *children):
        wait_for(ec2, instance, "terminated")
    cloud.down("--purge")


# --- real machines --------------------------------------------------------------------------------------------------------


class Child(Guest):
    """An instance that is there already."""

    def __init__(self, parent, instance):
        self.ec2, self.key, self.id = parent.ec2, parent.key, instance


@pytest.fixture(scope="module")
def place(make_cloud, tmp_path_factory):
    cloud = make_cloud("forks").up("--templates", "off")
    ec2 = cloud.client()
    image = next(i["ImageId"] for i in ec2.describe_images(Owners=["amazon"])["Images"] if "nano" in i["Name"])
    key = key_pair(ec2, "forks", tmp_path_factory.mktemp("fork-keys"))
    group = open_group(ec2, "forks", ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    yield cloud, ec2, key, {"ImageId": image, "SecurityGroupIds": [group], "UserData": COUNTER + DRAWN}
    cloud.down("--purge")


def begin(place):
    _, ec2, key, launches = place
    parent = Guest(ec2, key, **launches).running()
    wait_until(lambda: parent.does("test -s /run/counted"), "it counts", timeout=240)
    # From here on its guest listens.
    wait_until(lambda: "finished. Instance" in (ec2.get_console_output(InstanceId=parent.id, Latest=True).get("Output") or ""),
               "it has begun", timeout=240)
    return parent


def end(ec2, guests):
    ids = [guest.id for guest in guests]
    ec2.terminate_instances(InstanceIds=ids)
    for instance in ids:
        wait_for(ec2, instance, "terminated")


OWN = (
    "cat /etc/machine-id", "cat /proc/sys/kernel/random/boot_id", "hostname", "sudo cat /sys/class/dmi/id/product_uuid",
    "cat /sys/class/dmi/id/board_asset_tag", "sudo sha256sum /etc/dropbear/dropbear_ed25519_host_key",
    "head -c 32 /dev/urandom | sha256sum", "sudo sha256sum /var/lib/nube/random-seed", "ls /dev/disk/by-id",
    "cat /sys/class/net/eth0/address", "cat /var/lib/nube/instance-id",
)


@pytest.mark.machines
@pytest.mark.full
def test_a_process_goes_on_in_children_that_are_themselves(place):
    cloud, ec2, _, _ = place
    parent = begin(place)
    parent.ssh("echo before | sudo tee /root/kept; sync")
    own = {fact: {parent.ssh(fact)} for fact in OWN}
    pid = parent.ssh(COUNTING)
    boot, at = parent.boot(), counted(parent)
    made = fork(cloud, parent.id, 2)
    print(f"the parent stood still for {made['pause_us'] / 1000:.1f} ms")
    # The disks part at the instant.
    parent.ssh("echo after | sudo tee /root/kept; sync")
    children = [Child(parent, instance).running() for instance in made["instances"]]
    for child in children:
        for fact in OWN:
            own[fact].add(child.ssh(fact))
        assert child.ssh("hostname") == f"ip-{child.private.replace('.', '-')}"
        assert child.ssh("cat /var/lib/nube/instance-id") == child.id
        assert child.ssh("cat /sys/class/dmi/id/board_asset_tag") == child.id
        # The very process, with what it had in its memory; its user data ran once.
        assert child.ssh(COUNTING) == pid
        assert counted(child) >= at
        counts(child)
        assert child.ssh("sudo cat /root/drawn") == parent.ssh("sudo cat /root/drawn")
        assert child.ssh("sudo cat /root/kept") == "before"
        child.ssh("echo child | sudo tee /root/kept; sync")
        assert abs(int(child.ssh("date +%s")) - time.time()) < 60
        addresses = child.ssh("ip -4 addr show dev eth0")
        assert child.private in addresses and parent.private not in addresses
        assert tags(describe(ec2, child.id))["nube:forked-from"] == parent.id
    for fact, values in own.items():
        assert len(values) == 3, f"{fact}: {values}"
    # The parent is what it was.
    assert parent.boot() == boot and parent.ssh("sudo cat /root/kept") == "after"
    counts(parent)
    # A child is an instance as any: it boots from its own disk, and may be forked itself.
    grandchild = Child(parent, fork(cloud, children[0].id)["instances"][0]).running()
    counts(grandchild)
    assert grandchild.ssh("sudo cat /root/kept") == "child"
    assert grandchild.ssh("cat /etc/machine-id") not in own["cat /etc/machine-id"]
    ec2.stop_instances(InstanceIds=[children[1].id])
    wait_for(ec2, children[1].id, "stopped")
    ec2.start_instances(InstanceIds=[children[1].id])
    assert children[1].running().ssh("sudo cat /root/kept") == "child"
    end(ec2, [parent, grandchild, *children])


def restart(cloud):
    before = cloud.pid("agent")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: cloud.pid("agent") != before and cloud.status()["status"]["host_connected"], "the agent is back", timeout=120)


@pytest.mark.machines
@pytest.mark.full
def test_kills_in_the_middle_of_a_fork_leave_the_parent_running_and_no_half_child(place):
    cloud, ec2, _, _ = place
    parent = begin(place)
    boot = parent.boot()
    guests = [parent]
    for round_ in range(4):
        asked = {}
        thread = threading.Thread(target=lambda asked=asked: asked.update(done=fork(cloud, parent.id, check=False)))
        thread.start()
        time.sleep(0.15 * (round_ + 1))
        restart(cloud)
        thread.join()
        counts(parent)
        assert parent.boot() == boot
        if asked["done"].returncode == 0:
            child = Child(parent, json.loads(asked["done"].stdout)["instances"][0])
            # Its machine dies before it is anybody, or soon after.
            killed = process_of(child.id) if round_ % 2 else None
            if killed:
                os.kill(killed, signal.SIGKILL)

            def begun(child=child, killed=killed):
                # One that was killed is shown as running until that is noticed.
                state, machine = describe(ec2, child.id)["State"]["Name"], process_of(child.id)
                return state if state == "stopped" or (state == "running" and machine not in (None, killed)) else None

            state = wait_until(begun, "it has begun", timeout=300)
            if state == "running":
                child.running()
                assert child.ssh("cat /var/lib/nube/instance-id; echo; hostname").split() == [
                    child.id, f"ip-{child.private.replace('.', '-')}"]
                assert child.ssh("cat /etc/machine-id") != parent.ssh("cat /etc/machine-id")
            guests.append(child)
    end(ec2, guests)
    forks = os.path.join(cloud.data, "volumes", "forks")
    assert not os.path.isdir(forks) or all("manifest.json" in os.listdir(os.path.join(forks, f)) for f in os.listdir(forks))
