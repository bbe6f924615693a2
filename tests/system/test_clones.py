"""Clones in numbers: that none shares a secret with another, and that no kill on the way lets half an instance answer."""

import os
import random
import signal
import subprocess
import threading
import time

import pytest
from conftest import wait_until
from guest import Guest, banner, describe, process_of, ssh_line
from test_templates import build, end, leftovers, origin, place, templates  # noqa: F401 (place is a fixture)

pytestmark = pytest.mark.machines

CLONES = 50
AT_ONCE = 5
# busybox hangs up as soon as it has nothing more to send, which takes the question back.
TOKEN = ("{ printf 'PUT /latest/api/token HTTP/1.0\\r\\nX-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n'; sleep 1; }"
         " | nc 169.254.169.254 80 | tail -n 1")
SECRETS = {
    "drawn by the kernel": "head -c 32 /dev/urandom | sha256sum",
    "drawn by user data": "sudo cat /root/drawn",
    "host key": "sudo sha256sum /etc/dropbear/dropbear_ed25519_host_key",
    "boot id": "cat /proc/sys/kernel/random/boot_id",
    "machine id": "cat /etc/machine-id",
    "product uuid": "sudo cat /sys/class/dmi/id/product_uuid",
    "product serial": "sudo cat /sys/class/dmi/id/product_serial",
    "seed of the next boot": "sudo sha256sum /var/lib/nube/random-seed",
    "token": TOKEN,
    "disks": "ls /dev/disk/by-id",
    "hardware address": "cat /sys/class/net/eth0/address",
    "link-local address": "grep eth0 /proc/net/if_inet6 | cut -d ' ' -f 1",
}
END = "--end--"
SCRIPT = "#!/bin/sh\nhead -c 32 /dev/urandom | sha256sum > /root/drawn\n"


@pytest.mark.full
def test_fifty_clones_share_no_secret(place):  # noqa: F811
    cloud, ec2, key, launches = place
    template = build(cloud, launches["ImageId"])
    seen = {name: {} for name in SECRETS}
    for _ in range(CLONES // AT_ONCE):
        guests = [Guest(ec2, key, UserData=SCRIPT, **launches) for _ in range(AT_ONCE)]
        for guest in guests:
            guest.running()
            wait_until(lambda g=guest: g.does("sudo test -s /root/drawn"), "user data has run", timeout=240)
            assert origin(cloud, guest.id) == f"clone {template}"
            told = guest.ssh(f"; echo {END}; ".join(SECRETS.values())).split(END)
            values = dict(zip(SECRETS, map(str.strip, told), strict=True))
            assert values["hardware address"] == guest.describe()["NetworkInterfaces"][0]["MacAddress"]
            for name, value in values.items():
                assert value, f"{guest.id} has no {name}"
                assert value not in seen[name], f"{guest.id} and {seen[name][value]} have the same {name}: {value}"
                seen[name][value] = guest.id
        end(ec2, guests)
    assert {name: len(values) for name, values in seen.items()} == dict.fromkeys(SECRETS, CLONES)


class Watch:
    """Notes every host key that an address shows to whoever asks, for as long as it lasts."""

    def __init__(self, address):
        self.address, self.keys, self.over = address, set(), threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.over.wait(0.2):
            scan = ["ssh-keyscan", "-T", "5", "-t", "ed25519", self.address]
            shown = subprocess.run(scan, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60).stdout
            self.keys.update(line.split()[2] for line in shown.splitlines() if line and not line.startswith("#"))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def kill(cloud, victim, instance):
    """Kills one of them, and says whether there was one."""
    if victim == "machine":
        pid = process_of_any([instance, *leftovers(cloud)])
    else:
        pid = cloud.pid(victim)
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, TypeError):
        return False
    return True


def process_of_any(names):
    """The first QEMU of these instances."""
    return next((pid for pid in map(process_of, names) if pid), None)


def back(cloud):
    """Waits until both processes answer again."""
    def answers():
        try:
            status = cloud.status()
        except ValueError:
            return False
        return status["status"] and status["status"]["host_connected"]
    wait_until(answers, "agent and server are back", timeout=240)


def settled(cloud, ec2, key, guest):
    """What a machine came to: its own answer to who it is, or None if it ended instead."""
    def ended_or_answers():
        try:
            found = describe(ec2, guest.id)
        except Exception:
            return None
        if found["State"]["Name"] in ("stopped", "terminated"):
            return "ended"
        address = found.get("PublicIpAddress")
        if found["State"]["Name"] != "running" or not address:
            return None
        try:
            banner(address, timeout=5)
        except AssertionError:
            return None
        line = ssh_line(address, key, "cat /var/lib/nube/instance-id; echo; hostname")
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        return done.stdout.split() if done.returncode == 0 else None
    try:
        found = wait_until(ended_or_answers, f"{guest.id} has ended or answers", timeout=300, interval=0.3)
    except AssertionError as error:
        console = ec2.get_console_output(InstanceId=guest.id, Latest=True).get("Output", "")
        raise AssertionError(f"{error}; it is {describe(ec2, guest.id)['State']['Name']}, its console ends with "
                             f"{console[-2000:]!r}; {cloud.logs()}") from None
    return None if found == "ended" else found


@pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=pytest.mark.full)])
def test_no_kill_lets_half_an_instance_answer(place, rounds):  # noqa: F811
    cloud, ec2, key, launches = place
    seed = int(os.environ.get("NUBE_SEED", time.time_ns() % 1_000_000))
    print(f"NUBE_SEED={seed}")
    chance = random.Random(seed)
    owners = {}
    build(cloud, launches["ImageId"])
    for round_ in range(rounds):
        # In turn, so that a few rounds have each; templates are begun anew only where there is time for it.
        victim = ("agent", "server", "machine")[round_ % 3]
        templating = rounds > 3 and chance.random() < 0.3
        instant = chance.uniform(0, 8 if templating else 1.5)
        what = f"seed {seed}, round {round_}: {victim} after {instant:.3f} s of {'templating' if templating else 'cloning'}"
        print(what)
        if templating:
            for template in templates(cloud):
                cloud.run("template", "rm", template["key"])
            cloud.run("template", "build", launches["ImageId"], "t3.nano")
            time.sleep(instant)
            kill(cloud, victim, "no instance")
            back(cloud)
        guest = Guest(ec2, key, **launches)
        found = wait_until(lambda g=guest: g.describe().get("PublicIpAddress"), "an address", timeout=120)
        with Watch(found) as watch:
            if not templating:
                time.sleep(instant)
                kill(cloud, victim, guest.id)
                back(cloud)
            told = settled(cloud, ec2, key, guest)
        if told:
            private = guest.describe()["PrivateIpAddress"]
            assert told == [guest.id, f"ip-{private.replace('.', '-')}"], what
        # A machine has one key, from its first answer on, and it is no other machine's.
        assert len(watch.keys) <= 1, (what, watch.keys)
        for shown in watch.keys:
            assert owners.setdefault(shown, guest.id) == guest.id, what
        end(ec2, [guest])
        if templating:
            wait_until(lambda: not leftovers(cloud), f"{what}: nothing is left of it", timeout=600)
            build(cloud, launches["ImageId"])
    # The rounds showed something.
    assert owners
