"""What instances live through: the end of our processes, of their own, of the cloud and of the host."""

import contextlib
import errno
import os
import re
import signal
import subprocess

import pytest
from conftest import wait_until
from guest import Guest, key_pair, open_group, process_of, wait_for

pytestmark = pytest.mark.machines


class Setting:
    """A cloud, and what a launch in it takes."""

    def __init__(self, cloud, folder):
        self.cloud, self.ec2 = cloud, cloud.client()
        self.key = key_pair(self.ec2, "survival", folder)
        self.group = open_group(self.ec2, "survival", self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
        self.image = self.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]

    def launch(self, **request):
        return Guest(self.ec2, self.key, ImageId=self.image, SecurityGroupIds=[self.group], **request)


@pytest.fixture(scope="module")
def own(make_cloud, tmp_path_factory):
    """A cloud of this module, for it is ended in every way."""
    return Setting(make_cloud("survival").up(), tmp_path_factory.mktemp("survival-keys"))


@pytest.fixture(scope="module")
def steady(own):
    """An instance that runs through all of it."""
    guest = own.launch().running()
    guest.ssh("echo kept > kept && sync")
    guest.first_boot = guest.boot()
    return guest


@pytest.fixture(scope="module")
def mortal(own):
    return own.launch().running()


def knows_itself(guest):
    """Whether metadata service and name server answer a guest."""
    # Not by its own option: a static busybox, as Debian builds it, crashes on it.
    wget = "timeout 3 wget -q -O - http://169.254.169.254/latest/meta-data"
    answer = guest.ssh(f"{wget}/instance-id; echo; {wget}/public-ipv4; echo;"
                       " nslookup $(hostname).ec2.internal 169.254.169.253", check=False).stdout
    return [guest.id, guest.address] == answer.split()[:2] and answer.count(guest.private) >= 1


def lives_on(own, guest):
    """The same boot, reachable, and told about truly."""
    assert guest.boot() == guest.first_boot
    wait_until(lambda: knows_itself(guest), "metadata and names are served", timeout=120)
    found = guest.describe()
    assert found["State"]["Name"] == "running"
    assert (found["PublicIpAddress"], found["PrivateIpAddress"]) == (guest.address, guest.private)
    own.cloud.at_rest()


def answering(own):
    def answers():
        try:
            return own.ec2.describe_regions()
        except Exception:
            return None
    return wait_until(answers, "the API answers", timeout=120)


@pytest.mark.parametrize("victims", [["server"], ["agent"], ["agent", "server"]], ids="-and-".join)
def test_instances_outlive_killed_processes(own, steady, victims):
    killed = {name: own.cloud.pid(name) for name in victims}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)
    assert steady.boot() == steady.first_boot, "nobody needs to come back for ssh"
    wait_until(lambda: all(own.cloud.status()["processes"][name] not in (None, pid) for name, pid in killed.items()),
               "the processes are started again", timeout=120)
    answering(own)
    lives_on(own, steady)


def test_a_machine_killed_from_outside_is_stopped_by_a_server_error_and_starts_again(own, mortal):
    mortal.ssh("echo kept > kept && sync")
    os.kill(wait_until(lambda: process_of(mortal.id), "QEMU runs"), signal.SIGKILL)
    stopped = wait_for(own.ec2, mortal.id, "stopped", timeout=120)
    assert stopped["StateReason"]["Code"] == "Server.InternalError"
    assert "PublicIpAddress" not in stopped
    own.ec2.start_instances(InstanceIds=[mortal.id])
    private = mortal.private
    assert mortal.running().private == private
    assert mortal.ssh("cat kept") == "kept"


def is_off(cloud, guest):
    """Whether the guest's kernel has said its last word, as only its console knows while the agent is away."""
    with open(os.path.join(cloud.data, "vms", guest.id, "console", "console"), "rb") as console:
        return b"reboot: Power down" in console.read()


def test_a_power_off_while_the_agent_is_away_is_not_missed(own, mortal):
    supervisor = own.cloud.process.pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(own.cloud.pid("agent"), signal.SIGKILL)
        mortal.ssh("sudo sh -c 'sync; poweroff'", check=False)
        wait_until(lambda: is_off(own.cloud, mortal), "the guest has gone down", timeout=180)
        assert mortal.describe()["State"]["Name"] == "running", "nobody can know yet"
    finally:
        os.kill(supervisor, signal.SIGCONT)
    stopped = wait_for(own.ec2, mortal.id, "stopped", timeout=180)
    assert stopped["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert process_of(mortal.id) is None


def test_a_power_off_from_inside_terminates_where_that_was_asked_for(own):
    guest = own.launch(InstanceInitiatedShutdownBehavior="terminate", UserData="#!/bin/sh\npoweroff\n")
    ended = wait_for(own.ec2, guest.id, "terminated", timeout=240)
    assert ended["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_the_end_of_nube_up_leaves_instances_running_and_the_next_one_takes_them_over(own, steady):
    machine = process_of(steady.id)
    own.cloud.interrupt()
    assert own.cloud.status()["processes"] == {"up": None, "server": None, "agent": None, "blockd": None}
    assert steady.boot() == steady.first_boot
    own.cloud.up()
    assert process_of(steady.id) == machine
    lives_on(own, steady)


def output(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout


def processes(cloud):
    """The command lines of a cloud's processes, by process id."""
    commands = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().decode(errors="replace")
        except OSError:
            continue
        # Another's directory may begin like this one's.
        if re.search(re.escape(cloud.data) + r"(?![\w-])", command) and pid != os.getpid():
            commands[pid] = command.replace("\0", " ")
    return commands


def traces(cloud):
    """What of a cloud can be seen on the host, by kind."""
    tag = cloud.tag
    groups = [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if tag in folder]
    mine = lambda text: [line for line in text.splitlines() if tag in line]
    return {
        "namespaces": mine(output("ip", "netns", "list")),
        "links": mine(output("ip", "-o", "link")),
        "addresses and routes": mine(output("ip", "route", "show", "table", "all")),
        "rules": mine(output("ip", "rule")) + mine(output("iptables-save")) + mine(output("nft", "list", "ruleset")),
        "control groups": groups,
        "processes": list(processes(cloud).values()),
        "mounts": mine(output("cat", "/proc/self/mounts")),
    }


def volumes(cloud):
    return sorted(os.listdir(os.path.join(cloud.data, "volumes")))


def test_down_removes_every_trace_and_keeps_volumes_and_records(own, steady, mortal):
    own.ec2.stop_instances(InstanceIds=[mortal.id], Force=True)
    wait_for(own.ec2, mortal.id, "stopped")
    before, kept = traces(own.cloud), volumes(own.cloud)
    for kind in ("namespaces", "links", "rules", "control groups", "processes"):
        assert before[kind], f"the test sees no {kind} of a running cloud"
    assert kept
    own.cloud.down()
    assert {kind: found for kind, found in traces(own.cloud).items() if found} == {}
    assert volumes(own.cloud) == kept


def test_up_after_down_starts_what_was_meant_to_run(own, steady, mortal):
    if own.cloud.process is None:
        own.cloud.up()
    private = steady.private, steady.address
    own.cloud.at_rest()
    steady.running()
    assert (steady.private, steady.address) == private
    assert steady.ssh("cat kept") == "kept"
    assert steady.boot() != steady.first_boot
    assert mortal.describe()["State"]["Name"] == "stopped"
    assert knows_itself(steady)


@pytest.fixture
def other_host(make_cloud, tmp_path_factory):
    """A cloud in a mount namespace in which the kernel's boot id is ours to choose."""
    folder = tmp_path_factory.mktemp("other-host")
    boot = folder / "boot_id"
    boot.write_text("11111111-1111-4111-8111-111111111111\n")
    place = subprocess.Popen(
        ["unshare", "-m", "sh", "-c",
         f"mount --bind {boot} /proc/sys/kernel/random/boot_id && echo ready && exec sleep infinity"],
        stdout=subprocess.PIPE, text=True)
    assert place.stdout.readline() == "ready\n"
    cloud = make_cloud("other-host", ["nsenter", "-m", "-t", str(place.pid)])
    cloud.boot = boot
    setting = Setting(cloud.up(), folder)
    yield setting
    cloud.down("--purge")
    place.kill()
    place.communicate()


def end_like_a_power_cut(cloud, *instances):
    """Nothing of the cloud is left but its directory."""
    # What serves volumes is not their child, and would outlive them for a while.
    pids = [cloud.process.pid, *processes(cloud), *map(process_of, instances)]
    for folder in traces(cloud)["control groups"]:
        # Also what becomes a template, which no instance is.
        with open(os.path.join(folder, "cgroup.procs")) as file:
            pids += map(int, file.read().split())
    for pid in set(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    cloud.process.communicate()
    cloud.process = None
    wait_until(lambda: not traces(cloud)["processes"], "all processes are gone", timeout=90)
    inside = lambda *command: subprocess.run([*cloud.prefix, *command], capture_output=True, text=True)
    for line in inside("ip", "netns", "list").stdout.splitlines():
        if cloud.tag in line:
            assert inside("ip", "netns", "del", line.split()[0]).returncode == 0
    inside("ip", "link", "del", f"nb-{cloud.tag}")
    for line in inside("nft", "list", "tables").stdout.splitlines():
        if cloud.tag in line:
            assert inside("nft", "delete", *line.split()).returncode == 0
    for folder in traces(cloud)["control groups"][::-1]:
        wait_until(lambda: is_removed(folder), "an empty control group goes")


def is_removed(folder):
    """The kernel keeps a control group for a moment after the end of its last process."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def test_after_the_hosts_reboot_what_was_meant_to_run_starts_again(other_host):
    guest, resting = other_host.launch(), other_host.launch()
    for one in (guest, resting):
        one.running()
    guest.ssh("echo kept > kept && sync")
    first, addresses = guest.boot(), (guest.address, guest.private)
    other_host.ec2.stop_instances(InstanceIds=[resting.id], Force=True)
    wait_for(other_host.ec2, resting.id, "stopped")

    end_like_a_power_cut(other_host.cloud, guest.id)
    other_host.cloud.boot.write_text("22222222-2222-4222-8222-222222222222\n")
    other_host.cloud.up()
    wait_until(lambda: process_of(guest.id), "the machine is started again", timeout=180)
    guest.running()
    assert (guest.address, guest.private) == addresses
    assert guest.ssh("cat kept") == "kept"
    assert guest.boot() != first
    assert resting.describe()["State"]["Name"] == "stopped"
    assert process_of(resting.id) is None
    other_host.cloud.at_rest()
