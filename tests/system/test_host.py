"""The host: what it must have, what it keeps from its guests, and what it keeps from them of each other."""

import os
import shutil
import subprocess

import pytest
from conftest import wait_until
from guest import Guest, banner, describe, key_pair, open_group, process_of

pytestmark = pytest.mark.machines

NOBODY = "65534"
CONSOLE_LIMIT = 1 << 20


@pytest.fixture
def program(cloud, tmp_path_factory):
    """The program where everybody may run it."""
    folder = tmp_path_factory.mktemp("program")
    for above in (folder, folder.parent, folder.parent.parent):
        os.chmod(above, 0o711)
    copy = shutil.copy(cloud.nube, folder / "nube")
    os.chmod(copy, 0o755)
    return str(copy)


def refused(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 1, done.stdout + done.stderr
    return [line[4:] for line in done.stdout.splitlines() if line.startswith("  - ")], done.stdout


def test_without_root_it_says_that_root_is_missing(program, tmp_path):
    lines, text = refused(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                           program, "up", "--host", "linux", "--data", str(tmp_path / "cloud")])
    assert len(lines) == 1 and "root" in lines[0]
    assert "--host sim" in text
    assert not (tmp_path / "cloud").exists()


def test_without_qemu_it_names_the_programs_and_their_packages(program, tmp_path):
    hidden = " && ".join(
        f"mount -t tmpfs none {folder}" for folder in ("/usr/local/bin", "/usr/local/sbin") if os.path.isdir(folder))
    script = f"{hidden} && mount -t tmpfs none /usr/bin && exec {program} up --host linux --data {tmp_path}/cloud"
    lines, _ = refused(["unshare", "-m", "/bin/sh", "-c", script])
    missing = {line.split("`")[1]: line for line in lines}
    assert "Debian package `qemu-system-x86`" in missing["qemu-system-x86_64"]
    assert "Debian package `qemu-utils`" in missing["qemu-img"]
    assert not (tmp_path / "cloud").exists()


@pytest.fixture(scope="module")
def key(ec2, tmp_path_factory):
    return key_pair(ec2, "host", tmp_path_factory.mktemp("host-keys"))


@pytest.fixture(scope="module")
def pair(ec2, image, key):
    """Two instances of the cloud."""
    group = open_group(ec2, "host", ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    guests = [Guest(ec2, key, ImageId=image, SecurityGroupIds=[group]) for _ in range(2)]
    yield [guest.running() for guest in guests]
    ec2.terminate_instances(InstanceIds=[guest.id for guest in guests])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[g.id for g in guests], WaiterConfig={"Delay": 1, "MaxAttempts": 240})


def status(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def disk(cloud, guest):
    volume = describe(guest.ec2, guest.id)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    found = [os.path.join(folder, file) for folder, folders, files in os.walk(os.path.join(cloud.data, "volumes"))
             for file in files if volume in os.path.join(folder, file) and file.endswith("qcow2")]
    assert found, volume
    return found[0]


def test_a_machines_process_has_a_user_of_its_own_and_no_rights(cloud, pair):
    users = set()
    for guest in pair:
        facts = status(process_of(guest.id))
        ids = set(facts["Uid"].split())
        assert len(ids) == 1 and ids.isdisjoint({"0", NOBODY})
        users |= ids
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(facts[kind], 16) == 0, kind
        assert facts["NoNewPrivs"] == "1"
        assert facts["Seccomp"] == "2"
        assert facts["Groups"].strip() in ("", *ids)
    assert len(users) == 2


def test_a_machines_process_sees_neither_the_host_nor_anothers_files(cloud, pair):
    one, other = (process_of(guest.id) for guest in pair)
    secret = disk(cloud, pair[1])
    for path in ("/etc/passwd", "/root", "/home", "/var", secret, os.path.join(cloud.data, "credentials"), "/proc/1"):
        assert not os.path.exists(f"/proc/{one}/root{path}"), path
    for space in ("mnt", "net", "ipc"):
        spaces = {os.readlink(f"/proc/{pid}/ns/{space}") for pid in (one, other, "self")}
        assert len(spaces) == 3, f"{space}: {spaces}"
    # Were it to escape to the host's files, its user would still not be let in.
    user = status(one)["Uid"].split()[0]
    for path in (secret, os.path.join(cloud.data, "credentials"), os.path.join(cloud.data, "store.redb"),
                 os.path.join(cloud.data, "run", "agent.sock"), os.path.join(cloud.data, "run", "admin.sock")):
        for way in ("-r", "-w"):
            as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "test", way, path]
            assert subprocess.run(as_user).returncode == 1, f"{way} {path}"


def test_a_guest_cannot_fill_the_hosts_disk_by_its_console(cloud, ec2, pair):
    guest = pair[0]
    console = os.path.join(cloud.data, "vms", guest.id, "console")
    size = lambda: sum(entry.stat().st_size for entry in os.scandir(console))
    # Printed through the kernel's line discipline; well over what is kept.
    guest.ssh("sudo sh -c '(yes 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde | head -c 1500000;"
              " echo; echo the last words) > /dev/ttyS0'", timeout=180)

    def output():
        answer = ec2.get_console_output(InstanceId=guest.id, Latest=True)
        return answer["Output"]
    wait_until(lambda: "the last words" in output(), "the end of it is shown", timeout=180)
    assert CONSOLE_LIMIT // 4 < size() <= CONSOLE_LIMIT + (128 << 10)
    assert len(output().encode()) <= 64 << 10


def test_two_clouds_on_one_host_do_not_meet(make_cloud, cloud, ec2, pair, tmp_path):
    other = make_cloud("neighbour").up()
    assert other.tag != cloud.tag
    theirs = other.client()
    key = key_pair(theirs, "neighbour", tmp_path)
    group = open_group(theirs, "neighbour", theirs.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    image = theirs.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    guest = Guest(theirs, key, ImageId=image, SecurityGroupIds=[group]).running()
    assert guest.ssh("hostname") == f"ip-{guest.private.replace('.', '-')}"
    assert guest.address not in [one.address for one in pair]
    for one in pair:
        banner(one.address)
    assert not ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [guest.id]}])["Reservations"]

    other.down("--purge")
    assert process_of(guest.id) is None
    assert not os.path.exists(other.data)
    for one in pair:
        assert one.ssh("id -un") == "ec2-user"
        assert one.describe()["State"]["Name"] == "running"
    cloud.at_rest()
