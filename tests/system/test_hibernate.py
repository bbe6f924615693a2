"""Hibernation: memory is kept while an instance is stopped, and its processes go on."""

import os
import re
import signal
import time

import pytest
from conftest import code, wait_until
from guest import COUNTER, Guest, counted, counts, describe, key_pair, open_group, process_of, wait_for

HIBERNATION = {"HibernationOptions": {"Configured": True}}


def root_of(ec2, image):
    device = ec2.describe_images(ImageIds=[image])["Images"][0]["RootDeviceName"]
    return {"BlockDeviceMappings": [{"DeviceName": device, "Ebs": {"Encrypted": True, "VolumeSize": 2}}]}


def hibernate(ec2, instance):
    ec2.stop_instances(InstanceIds=[instance], Hibernate=True)
    found = wait_for(ec2, instance, "stopped")
    assert found["StateReason"]["Code"] == "Client.UserInitiatedHibernate", found["StateReason"]
    return found


# --- any host -------------------------------------------------------------------------------------------------------------


def test_an_instance_is_configured_hibernates_and_starts_by_cli_and_sdk(cloud, ec2, image, subnet, terminate):
    request = {"ImageId": image, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "SubnetId": subnet}
    assert code(ec2.run_instances, **request, **HIBERNATION) == "UnsupportedHibernationConfiguration"
    root = root_of(ec2, image)
    plain = ec2.run_instances(**request, **root)["Instances"][0]["InstanceId"]
    made = ec2.run_instances(**request, **root, **HIBERNATION)["Instances"][0]
    sleeper = made["InstanceId"]
    for instance in (plain, sleeper):
        terminate(instance)
        wait_for(ec2, instance, "running")
    assert made["HibernationOptions"] == {"Configured": True}
    filters = [{"Name": "hibernation-options.configured", "Values": ["true"]}]
    found = ec2.describe_instances(Filters=filters, InstanceIds=[plain, sleeper])["Reservations"]
    assert [one["Instances"][0]["InstanceId"] for one in found] == [sleeper]
    assert code(ec2.stop_instances, InstanceIds=[plain], Hibernate=True) == "UnsupportedHibernationConfiguration"
    supported = ec2.describe_instance_types(InstanceTypes=["t3.nano"])["InstanceTypes"][0]["HibernationSupported"]
    assert supported
    private = describe(ec2, sleeper)["PrivateIpAddress"]
    cloud.aws("ec2", "stop-instances", "--hibernate", "--instance-ids", sleeper)
    found = wait_for(ec2, sleeper, "stopped")
    assert found["StateReason"]["Code"] == "Client.UserInitiatedHibernate"
    assert found["PrivateIpAddress"] == private and "PublicIpAddress" not in found
    ec2.start_instances(InstanceIds=[sleeper])
    assert wait_for(ec2, sleeper, "running")["PrivateIpAddress"] == private


# --- real machines --------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def place(make_cloud, tmp_path_factory):
    cloud = make_cloud("hibernate").up("--templates", "off")
    ec2 = cloud.client()
    image = next(i["ImageId"] for i in ec2.describe_images(Owners=["amazon"])["Images"] if "nano" in i["Name"])
    key = key_pair(ec2, "hibernate", tmp_path_factory.mktemp("hibernate-keys"))
    group = open_group(ec2, "hibernate", ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    yield cloud, ec2, key, {"ImageId": image, "SecurityGroupIds": [group], "UserData": COUNTER,
                            **root_of(ec2, image), **HIBERNATION}
    cloud.down("--purge")


def restart(cloud):
    before = cloud.pid("agent")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: cloud.pid("agent") != before and cloud.status()["status"]["host_connected"], "the agent is back", timeout=120)


def memory_of(cloud, instance):
    """The directories below the cloud's own that hold what is kept of an instance."""
    found = []
    for folder, names, _ in os.walk(cloud.data):
        found += [os.path.join(folder, name) for name in names if name.startswith("memory") and instance in folder]
    return found


@pytest.mark.machines
def test_a_process_goes_on_after_its_instance_has_hibernated(place):
    cloud, ec2, key, request = place
    guest = Guest(ec2, key, **request).running()
    wait_until(lambda: guest.does("test -s /run/counted"), "it counts", timeout=240)
    boot, before, private = guest.boot(), counted(guest), guest.private
    uptime = float(guest.ssh("cut -d' ' -f1 /proc/uptime"))

    found = hibernate(ec2, guest.id)
    asleep = time.monotonic()
    assert process_of(guest.id) is None
    assert "PublicIpAddress" not in found and found["PrivateIpAddress"] == private
    kept = memory_of(cloud, guest.id)
    assert [os.path.basename(path) for path in kept] == ["memory"], kept
    # Neither the agent's end nor time do it any harm; the guest will have to set its clock.
    restart(cloud)
    assert describe(ec2, guest.id)["State"]["Name"] == "stopped"
    wait_until(lambda: time.monotonic() > asleep + 20, "some time has passed", timeout=60)

    ec2.start_instances(InstanceIds=[guest.id])
    guest.running()
    assert guest.private == private and guest.address
    assert guest.boot() == boot, "it has booted"
    now = counted(guest)
    assert now >= before
    counts(guest)
    # Time stood still for it, and its clock tells the time all the same.
    assert float(guest.ssh("cut -d' ' -f1 /proc/uptime")) >= uptime
    wait_until(lambda: abs(int(guest.ssh("date +%s")) - time.time()) < 10, "its clock is right", timeout=120)
    # Its network and its metadata are there.
    wget = "timeout 5 wget -q -O - http://169.254.169.254/latest/meta-data"
    wait_until(lambda: guest.ssh(f"{wget}/instance-id", check=False).stdout.strip() == guest.id, "metadata answers", timeout=120)
    assert guest.ssh(f"{wget}/public-ipv4") == guest.address
    assert memory_of(cloud, guest.id) == [], "it could be gone on from twice"

    # Agent and machine die in the middle: it hibernates or is stopped, and starts either way.
    for round_ in range(3):
        boot, before = guest.boot(), counted(guest)
        ec2.stop_instances(InstanceIds=[guest.id], Hibernate=True)
        time.sleep(0.2 * round_)
        if round_ == 2 and (machine := process_of(guest.id)):
            os.kill(machine, signal.SIGKILL)
        restart(cloud)
        wait_for(ec2, guest.id, "stopped")
        slept = [os.path.basename(path) for path in memory_of(cloud, guest.id)] == ["memory"]
        ec2.start_instances(InstanceIds=[guest.id])
        time.sleep(0.4 * round_)
        restart(cloud)
        guest.running()
        assert memory_of(cloud, guest.id) == []
        if guest.boot() == boot:
            assert slept and counted(guest) >= before
            counts(guest)
        else:
            print(f"round {round_}: it booted; its memory was {'lost' if slept else 'not kept'}")
            guest.ssh("setsid sudo sh /root/count > /dev/null 2>&1 < /dev/null &")
            wait_until(lambda: guest.does("test -s /run/counted"), "it counts again", timeout=120)

    # What hibernates ends without a trace.
    hibernate(ec2, guest.id)
    ec2.terminate_instances(InstanceIds=[guest.id])
    wait_for(ec2, guest.id, "terminated")
    wait_until(lambda: memory_of(cloud, guest.id) == [], "nothing is kept of it", timeout=60)


@pytest.mark.machines
def test_memory_that_is_damaged_is_told_and_its_instance_boots(place):
    cloud, ec2, key, request = place
    guest = Guest(ec2, key, **request).running()
    guest.ssh("echo kept > kept && sync")
    boot = guest.boot()
    hibernate(ec2, guest.id)
    (kept,) = memory_of(cloud, guest.id)
    with open(os.path.join(kept, "state"), "r+b") as state:
        state.seek(os.path.getsize(state.name) // 2)
        byte = state.read(1)
        state.seek(-1, os.SEEK_CUR)
        state.write(bytes([byte[0] ^ 1]))
    ec2.start_instances(InstanceIds=[guest.id])
    guest.running()
    assert guest.boot() != boot
    assert guest.ssh("cat kept") == "kept"
    shown = cloud.run("ps", "--json").stdout
    assert re.search("memory was lost: what was kept is damaged", shown), shown
    ec2.terminate_instances(InstanceIds=[guest.id])
    wait_for(ec2, guest.id, "terminated")
