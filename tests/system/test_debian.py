"""Debian 12 as a guest: what its own cloud-init makes of the metadata. Needs `nube image build debian-12`."""

import json
import subprocess
import time

import pytest
from conftest import wait_until
from guest import Guest, key_pair, open_group, wait_for

pytestmark = [pytest.mark.machines, pytest.mark.full]

USER = "admin"
TYPE = "t3.small"
# An emulated processor on a loaded host boots a distribution in minutes.
PATIENCE = 1500

SCRIPT = """#!/bin/bash
echo "script as $(id -un)" >> /root/script
"""

CONFIG = """#cloud-config
write_files:
  - path: /etc/from-cloud-config
    content: written
    permissions: "0640"
runcmd:
  - [sh, -c, "echo run >> /root/runcmd"]
users:
  - default
  - name: deploy
    shell: /bin/bash
"""

BOOTHOOK = """#cloud-boothook
#!/bin/sh
echo boot >> /root/boothook
"""

PER_BOOT = """#!/bin/sh
mkdir -p /var/lib/cloud/scripts/per-boot
printf '#!/bin/sh\\necho boot >> /root/per-boot\\n' > /var/lib/cloud/scripts/per-boot/count
chmod +x /var/lib/cloud/scripts/per-boot/count
echo once >> /root/mime-script
"""


def multipart(*parts):
    """User data of several parts, as `cloud-init devel make-mime` makes it."""
    text = 'Content-Type: multipart/mixed; boundary="//"\nMIME-Version: 1.0\n\n'
    for kind, body in parts:
        text += f"--//\nContent-Type: text/{kind}; charset=\"us-ascii\"\nMIME-Version: 1.0\n\n{body}\n"
    return text + "--//--\n"


class Debian(Guest):
    def ssh(self, command, **settings):
        return super().ssh(command, **{"user": USER, "timeout": PATIENCE, **settings})

    def answers(self):
        """Waits until it takes a login: sshd greets before the key of the launch is in its place."""
        started = time.monotonic()
        wait_until(lambda: self.logs_in(), f"{self.id} takes a login: {self.console()}", PATIENCE, interval=2)
        return time.monotonic() - started

    def logs_in(self):
        try:
            return self.ssh("true", check=False).returncode == 0
        except AssertionError:
            return False

    def console(self):
        return self.ec2.get_console_output(InstanceId=self.id).get("Output", "")[-2000:]

    def host_keys(self):
        """As a stranger sees them."""
        said = subprocess.run(["ssh-keyscan", "-T", "60", self.address], capture_output=True, text=True, timeout=600)
        return {tuple(line.split()[1:]) for line in said.stdout.splitlines() if not line.startswith("#")}

    def is_well(self):
        """cloud-init is through, without an error and without a warning."""
        said = self.ssh("cloud-init status --wait --long", check=False)
        log = self.ssh("sudo grep -hE 'WARNING|ERROR|CRITICAL|Traceback' /var/log/cloud-init.log", check=False).stdout
        assert said.returncode == 0 and "status: done" in said.stdout, f"{said.stdout}{said.stderr}{log}"
        assert log == "", log
        for file in ("status.json", "result.json"):
            stages = json.loads(self.ssh(f"cat /run/cloud-init/{file}"))["v1"]
            assert stages.pop("datasource").startswith("DataSourceEc2")
            errors = stages.get("errors", []) if file == "result.json" else [
                error for stage in stages.values() if isinstance(stage, dict) for error in stage["errors"]]
            assert errors == []
        failed = self.ssh("systemctl --failed --plain --no-legend")
        assert failed == "", failed


@pytest.fixture(scope="module")
def debian(ec2):
    images = ec2.describe_images(
        Owners=["136693071363"], Filters=[{"Name": "name", "Values": ["debian-12-amd64-*"]}])["Images"]
    assert images, "the Debian image is built: nube image build debian-12"
    return max(images, key=lambda image: image["CreationDate"])


@pytest.fixture(scope="module")
def template(cloud, debian):
    """The key of a template of the image: what is launched from now on is resumed."""
    key = cloud.run("template", "build", debian["ImageId"], TYPE).stdout.strip()

    def state():
        known = {one["key"]: one for one in json.loads(cloud.run("template", "list", "--json").stdout)["templates"]}
        assert known[key]["state"] != "failed", known[key]
        return known[key]["state"] == "ready"
    wait_until(state, f"the template {key} is there", PATIENCE, interval=1)
    return key


@pytest.fixture(scope="module")
def launch(ec2, debian, tmp_path_factory):
    """Launches one Debian at a time."""
    key = key_pair(ec2, "debian", tmp_path_factory.mktemp("debian"))
    group = open_group(ec2, "debian", ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    guests = []

    def one(**request):
        end()
        guests.append(Debian(ec2, key, ImageId=debian["ImageId"], InstanceType=TYPE, SecurityGroupIds=[group],
                             **request))
        return guests[-1].running()

    def end():
        if guests:
            guest = guests.pop()
            ec2.terminate_instances(InstanceIds=[guest.id])
            wait_for(ec2, guest.id, "terminated")

    yield one
    end()


def test_the_image_is_described_like_debians_own(debian):
    assert debian["RootDeviceName"] == "/dev/xvda"
    assert debian["Architecture"] == "x86_64"
    assert debian["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 8


def test_a_debian_with_a_shell_script_and_larger_disks(ec2, launch):
    guest = launch(UserData=SCRIPT, BlockDeviceMappings=[
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 12}},
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}},
    ])
    login = guest.answers()
    started = time.monotonic()
    guest.is_well()
    print(f"login after {login:.0f} s, done and looked at after {login + time.monotonic() - started:.0f} s")
    print(guest.ssh("uptime; systemd-analyze; systemd-analyze blame | head -15; cloud-init analyze show | tail -40"))

    # Who it is.
    assert guest.ssh("id -un") == USER
    assert guest.ssh("sudo id -un") == "root"
    assert guest.ssh("hostname") == f"ip-{guest.private.replace('.', '-')}"
    assert guest.ssh("cloud-init query v1.instance_id") == guest.id
    assert guest.ssh("cloud-init query v1.cloud_name") == "aws"
    assert "ssh_host_ed25519_key" in guest.ssh("ls /etc/ssh")
    assert guest.ssh("locale | grep ^LANG=") == "LANG=C.UTF-8"
    assert guest.ssh("grep -c . /etc/machine-id") == "1"

    # The larger root volume is the root filesystem's, the other volume has its name.
    assert int(guest.ssh("df --output=size -BM / | tail -1").strip(" M")) > 11_500
    assert guest.ssh("readlink -f /dev/xvda") == "/dev/vda"
    wait_until(lambda: guest.does("test -b /dev/sdf -a -b /dev/xvdf"), "the second volume has its device name")
    assert guest.ssh("readlink -f /dev/sdf") == "/dev/vdb"

    # The network is as the metadata tells.
    assert guest.ssh("cloud-init query ds.meta_data.network.interfaces.macs | grep -c subnet-id") == "1"
    assert guest.private in guest.ssh("ip -4 -br addr show eth0")
    assert guest.ssh("networkctl --no-legend | awk '$2 == \"eth0\" {print $5}'") == "configured"

    # The script has run once and stays at that.
    assert guest.ssh("sudo cat /root/script") == "script as root"
    guest.ssh("echo kept > kept && sync")
    keys = guest.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub")
    ec2.stop_instances(InstanceIds=[guest.id])
    wait_for(ec2, guest.id, "stopped", timeout=PATIENCE)
    ec2.start_instances(InstanceIds=[guest.id])
    guest.running()
    guest.answers()
    guest.is_well()
    assert guest.ssh("cat kept") == "kept"
    assert guest.ssh("sudo cat /root/script") == "script as root"
    assert guest.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub") == keys


def test_a_debian_with_user_data_of_several_parts(ec2, launch):
    parts = multipart(("cloud-config", CONFIG), ("x-shellscript", PER_BOOT), ("cloud-boothook", BOOTHOOK))
    guest = launch(UserData=parts, MetadataOptions={"HttpTokens": "required"})
    guest.answers()
    guest.is_well()
    assert guest.ssh("sudo cat /etc/from-cloud-config") == "written"
    assert guest.ssh("stat -c %a /etc/from-cloud-config") == "640"
    assert guest.ssh("sudo cat /root/runcmd") == "run"
    assert guest.ssh("getent passwd deploy | cut -d: -f7") == "/bin/bash"
    assert guest.ssh("sudo cat /root/mime-script") == "once"
    assert guest.ssh("sudo cat /root/boothook") == "boot"

    # At another boot only what is meant for every boot runs again.
    boot = guest.boot()
    ec2.reboot_instances(InstanceIds=[guest.id])
    wait_until(lambda: guest.logs_in() and guest.boot() != boot, "it has booted again", PATIENCE, interval=2)
    guest.is_well()
    assert guest.ssh("sudo cat /root/per-boot") == "boot"
    assert guest.ssh("sudo cat /root/boothook") == "boot\nboot"
    assert guest.ssh("sudo cat /root/runcmd") == "run"
    assert guest.ssh("sudo cat /root/mime-script") == "once"


def test_a_debian_with_cloud_config_that_is_packed(launch):
    import gzip
    guest = launch(UserData=gzip.compress(CONFIG.encode()))
    guest.answers()
    guest.is_well()
    assert guest.ssh("sudo cat /root/runcmd") == "run"


# What two instances of one template may never have in common.
SECRETS = (
    "cat /etc/machine-id", "cat /proc/sys/kernel/random/boot_id", "sudo cat /sys/class/dmi/id/product_uuid",
    "sudo cat /sys/class/dmi/id/product_serial", "cat /sys/class/dmi/id/board_asset_tag", "ls /var/log/journal",
    "sudo sha256sum /etc/ssh/ssh_host_ed25519_key", "sudo sha256sum /etc/ssh/ssh_host_ecdsa_key",
    "python3 -c 'import random; print(random.random())'", "sudo cat /root/drawn", "ls /dev/disk/by-id",
)
DRAWS = "#!/bin/sh\necho run >> /root/ran\ncat /proc/sys/kernel/random/uuid > /root/drawn\n"


def origin(cloud, guest):
    instances = json.loads(cloud.run("ps", "--json").stdout)["instances"]
    return next(instance["origin"] for instance in instances if instance["id"] == guest.id)


def test_debians_of_one_template_are_instances_of_their_own(cloud, ec2, template, launch):
    seen = {secret: set() for secret in SECRETS}
    early = {"UserData": DRAWS, "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 12}}]}
    # Its user data has a say in who logs in, so ssh waits for cloud-init.
    late = {"UserData": multipart(("cloud-config", CONFIG), ("x-shellscript", DRAWS), ("cloud-boothook", BOOTHOOK))}
    for request in (early, late):
        guest = launch(**request)
        login = guest.answers()
        assert origin(cloud, guest) == f"clone {template}"
        assert guest.ssh("sudo id -un") == "root"
        keys = guest.host_keys()
        assert {kind for kind, _ in keys} == {"ssh-ed25519", "ecdsa-sha2-nistp256"}
        guest.is_well()
        print(f"login after {login:.1f} s")
        assert guest.host_keys() == keys
        assert guest.ssh("hostname") == f"ip-{guest.private.replace('.', '-')}"
        assert guest.ssh("cloud-init query v1.instance_id") == guest.id
        assert guest.ssh("cat /sys/class/dmi/id/board_asset_tag") == guest.id
        assert guest.ssh("sudo ls /etc/sudoers.d") == "90-cloud-init-users\nREADME"
        assert guest.ssh("sudo cat /root/ran") == "run"
        assert guest.ssh("networkctl --no-legend | awk '$2 == \"eth0\" {print $5}'") == "configured"
        assert guest.ssh("ip -4 -o addr show eth0 | grep -c inet") == "1"
        assert guest.private in guest.ssh("ip -4 -br addr show eth0")
        # A name that only the VPC's resolver knows.
        wait_until(lambda g=guest: g.does("getent hosts api.nube.internal"), "the resolver answers", PATIENCE)
        assert abs(int(guest.ssh("date +%s")) - time.time()) < 60
        stages = guest.ssh("sudo grep -oE \"running '[a-z:-]+'\" /var/log/cloud-init.log | awk '!seen[$0]++'")
        assert stages.split("running ")[1:] == [
            "'init-local'\n", "'init'\n", "'modules:config'\n", "'modules:final'"]
        for secret in SECRETS:
            seen[secret].add(guest.ssh(secret))
        if request is early:
            assert int(guest.ssh("df --output=size -BM / | tail -1").strip(" M")) > 11_500
            # At its next boot it is an instance like any other.
            boot = guest.boot()
            ec2.reboot_instances(InstanceIds=[guest.id])
            wait_until(lambda g=guest: g.logs_in() and g.boot() != boot, "it has booted again", PATIENCE, interval=2)
            guest.is_well()
            assert guest.host_keys() == keys
            assert guest.ssh("sudo cat /root/ran") == "run"
        else:
            assert guest.ssh("sudo cat /root/boothook") == "boot"
            assert guest.ssh("sudo cat /root/runcmd") == "run"
            assert guest.ssh("getent passwd deploy | cut -d: -f7") == "/bin/bash"
    for secret, values in seen.items():
        assert len(values) == 2, f"{secret}: {values}"
