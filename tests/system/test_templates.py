"""Launches that are resumed from a memory template: whole instances, each itself, whatever is killed on the way."""

import json
import os
import signal
import time

import pytest
from conftest import wait_until
from guest import Guest, describe, key_pair, open_group, process_of, wait_for

pytestmark = pytest.mark.machines

CLONES = 6
BUILT = 600


@pytest.fixture(scope="module")
def place(make_cloud, tmp_path_factory):
    """A cloud that has a template of the nano image, and what launches in it need."""
    cloud = make_cloud("templates").up()
    ec2 = cloud.client()
    image = next(i["ImageId"] for i in ec2.describe_images(Owners=["amazon"])["Images"] if "nano" in i["Name"])
    key = key_pair(ec2, "clones", tmp_path_factory.mktemp("clones-keys"))
    group = open_group(ec2, "clones", ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    launches = {"ImageId": image, "SecurityGroupIds": [group]}
    yield cloud, ec2, key, launches
    cloud.down("--purge")


def templates(cloud):
    return json.loads(cloud.run("template", "list", "--json").stdout)["templates"]


def build(cloud, image):
    """Asks for a template and waits until it is there."""
    key = cloud.run("template", "build", image, "t3.nano").stdout.strip()

    def state():
        known = {template["key"]: template for template in templates(cloud)}
        assert known[key]["state"] != "failed", known[key]
        return known[key]["state"] == "ready"
    wait_until(state, f"the template {key} is there", timeout=BUILT)
    return key


def origin(cloud, instance):
    lines = json.loads(cloud.run("ps", "--json").stdout)["instances"]
    return next(line["origin"] for line in lines if line["id"] == instance) or ""


def end(ec2, guests):
    ids = [guest.id for guest in guests]
    ec2.terminate_instances(InstanceIds=ids)
    for instance in ids:
        wait_for(ec2, instance, "terminated")


SECRETS = (
    "cat /etc/machine-id", "cat /proc/sys/kernel/random/boot_id", "sudo cat /sys/class/dmi/id/product_uuid",
    "sudo cat /sys/class/dmi/id/product_serial", "cat /sys/class/dmi/id/board_asset_tag",
    "head -c 32 /dev/urandom | sha256sum", "sudo sha256sum /etc/dropbear/dropbear_ed25519_host_key",
    "sudo sha256sum /var/lib/nube/random-seed", "ls /dev/disk/by-id",
)


def test_clones_are_whole_instances_that_share_no_secret(place):
    cloud, ec2, key, launches = place
    template = build(cloud, launches["ImageId"])
    script = "#!/bin/sh\necho once >> /root/ran\ncat /proc/sys/kernel/random/uuid > /root/drawn\n"
    guests = [Guest(ec2, key, UserData=script, **launches) for _ in range(CLONES)]
    seen = {secret: set() for secret in (*SECRETS, "drawn")}
    for guest in guests:
        guest.running()
        assert origin(cloud, guest.id) == f"clone {template}"
        assert guest.ssh("hostname") == f"ip-{guest.private.replace('.', '-')}"
        for secret in SECRETS:
            seen[secret].add(guest.ssh(secret))
        assert guest.ssh("cat /var/lib/nube/instance-id") == guest.id
        assert guest.ssh("cat /sys/class/dmi/id/board_asset_tag") == guest.id
        volume = describe(ec2, guest.id)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        assert guest.ssh("ls /dev/disk/by-id") == f"virtio-{volume.replace('-', '')}"
        wait_until(lambda g=guest: g.does("sudo test -s /root/drawn"), "user data has run", timeout=120)
        assert guest.ssh("sudo cat /root/ran") == "once"
        seen["drawn"].add(guest.ssh("sudo cat /root/drawn"))
        # The disk is the volume's, not the template's.
        assert int(guest.ssh("df -k / | tail -1").split()[1]) > 900 * 1024
        assert abs(int(guest.ssh("date +%s")) - time.time()) < 60
        console = wait_until(lambda g=guest: ec2.get_console_output(InstanceId=g.id, Latest=True).get("Output"), "a console")
        assert "nube.template" not in console
    for secret, values in seen.items():
        assert len(values) == CLONES, f"{secret}: {values}"
    end(ec2, guests)


def test_a_clone_reboots_and_stops_and_starts_as_any_instance(place):
    cloud, ec2, key, launches = place
    build(cloud, launches["ImageId"])
    guest = Guest(ec2, key, **launches).running()
    assert origin(cloud, guest.id).startswith("clone")
    uuid, asset = "sudo cat /sys/class/dmi/id/product_uuid", "cat /sys/class/dmi/id/board_asset_tag"
    was = [guest.ssh(fact) for fact in ("cat /etc/machine-id", uuid, asset)]
    guest.ssh("echo kept | sudo tee /root/kept; sync")
    first = guest.boot()
    guest.ssh("sudo reboot", check=False)
    wait_until(lambda: guest.ssh("cat /proc/sys/kernel/random/boot_id", check=False).stdout.strip() not in ("", first),
               "it has rebooted", timeout=240, interval=1)
    # The firmware tells the same now that it has really run.
    assert [guest.ssh(fact) for fact in ("cat /etc/machine-id", uuid, asset)] == was
    assert guest.ssh("sudo cat /root/kept") == "kept"
    ec2.stop_instances(InstanceIds=[guest.id])
    wait_for(ec2, guest.id, "stopped")
    ec2.start_instances(InstanceIds=[guest.id])
    guest.running()
    assert guest.ssh("cat /etc/machine-id") == was[0]
    assert guest.ssh("sudo cat /root/kept") == "kept"
    assert origin(cloud, guest.id) == "cold: it has run before"
    # A volume keeps what it stands on, whatever becomes of the template.
    for template in templates(cloud):
        cloud.run("template", "rm", template["key"])
    assert templates(cloud) == []
    ec2.stop_instances(InstanceIds=[guest.id])
    wait_for(ec2, guest.id, "stopped")
    ec2.start_instances(InstanceIds=[guest.id])
    assert guest.running().ssh("sudo cat /root/kept") == "kept"
    end(ec2, [guest])


def leftovers(cloud):
    folder = os.path.join(cloud.data, "volumes", "templates", "building")
    return os.listdir(folder) if os.path.isdir(folder) else []


def restart(cloud):
    """Kills the agent as a fault would; `nube up` starts it again."""
    before = cloud.pid("agent")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: cloud.pid("agent") != before and cloud.status()["status"]["host_connected"], "the agent is back", timeout=120)


@pytest.mark.parametrize("victim", ["agent", "machine"])
def test_a_kill_while_a_template_is_built_leaves_none_and_harms_no_launch(place, victim):
    cloud, ec2, key, launches = place
    for template in templates(cloud):
        cloud.run("template", "rm", template["key"])
    built = cloud.run("template", "build", launches["ImageId"], "t3.nano").stdout.strip()
    pid = wait_until(lambda: next((process_of(name) for name in leftovers(cloud)), None), "its machine is there", timeout=120)
    if victim == "agent":
        restart(cloud)
    else:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not leftovers(cloud) and not os.path.exists(f"/proc/{pid}"), "nothing is left of it", timeout=120)
    assert all(template["state"] == "failed" for template in templates(cloud)), templates(cloud)
    guest = Guest(ec2, key, **launches).running()
    assert guest.ssh("cat /var/lib/nube/instance-id") == guest.id
    assert origin(cloud, guest.id).startswith("cold")
    assert build(cloud, launches["ImageId"]) == built
    end(ec2, [guest])


def test_kills_while_clones_start_never_show_half_an_instance(place):
    cloud, ec2, key, launches = place
    build(cloud, launches["ImageId"])
    for round_ in range(4):
        guest = Guest(ec2, key, **launches)
        time.sleep(0.03 * round_)
        restart(cloud)
        guest.running()
        # Whoever answers knows who it is.
        assert guest.ssh("cat /var/lib/nube/instance-id; echo; hostname").split() == [
            guest.id, f"ip-{guest.private.replace('.', '-')}"]
        end(ec2, [guest])


def test_a_template_that_cannot_be_used_is_dropped_and_the_launch_boots(place):
    cloud, ec2, key, launches = place
    template = build(cloud, launches["ImageId"])
    state = os.path.join(cloud.data, "volumes", "templates", template, "state")
    with open(state, "r+b") as file:
        file.truncate(1000)
    guest = Guest(ec2, key, **launches).running()
    assert guest.ssh("cat /var/lib/nube/instance-id") == guest.id
    assert origin(cloud, guest.id).startswith("cold: resuming failed")
    # Another of the same key may have been made since.
    assert not os.path.exists(state) or os.path.getsize(state) > 1000
    end(ec2, [guest])
