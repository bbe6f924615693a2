"""Talking to a guest as a person does: ssh, and the metadata service from inside."""

import os
import socket
import subprocess
import time

from conftest import wait_until

USER = "ec2-user"


def banner(address, timeout=240):
    """Waits for an ssh server's greeting and returns how long that took."""
    start = time.monotonic()
    while time.monotonic() - start < timeout:
        try:
            with socket.create_connection((address, 22), timeout=2) as connection:
                connection.settimeout(30)
                if connection.recv(4) == b"SSH-":
                    return time.monotonic() - start
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"no ssh at {address} within {timeout} s")


def is_silent(address):
    """Whether nobody takes a connection for ssh there."""
    try:
        socket.create_connection((address, 22), timeout=3).close()
    except OSError:
        return True
    return False


def ssh_line(address, key, command, user=USER):
    return ["ssh", "-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20",
            f"{user}@{address}", command]


def ssh(address, key, command, user=USER, check=True, timeout=180):
    banner(address)
    done = subprocess.run(
        ssh_line(address, key, command, user), capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    assert not check or done.returncode == 0, f"{command}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout.strip() if check else done


def describe(ec2, instance):
    return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]


def wait_for(ec2, instance, state, timeout=240):
    deadline = time.monotonic() + timeout
    while True:
        found = describe(ec2, instance)
        if found["State"]["Name"] == state:
            return found
        if time.monotonic() > deadline:
            said = ec2.get_console_output(InstanceId=instance).get("Output", "")[-4000:]
            raise AssertionError(f"{instance} is {found['State']['Name']}, not {state}; its console: {said}")
        time.sleep(0.1)


def key_pair(ec2, name, folder, kind="ed25519"):
    """Makes a key pair and the file of its private half."""
    material = ec2.create_key_pair(KeyName=name, KeyType=kind)["KeyMaterial"]
    path = folder / f"{name}.pem"
    path.write_text(material)
    path.chmod(0o600)
    return path


def open_group(ec2, name, vpc, *ports):
    """A security group that lets TCP ports in from everywhere."""
    group = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
    if ports:
        ec2.authorize_security_group_ingress(
            GroupId=group,
            IpPermissions=[
                {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
                for port in ports
            ],
        )
    return group


class Guest:
    """An instance that runs, and the key that opens it."""

    def __init__(self, ec2, key, **request):
        self.ec2, self.key = ec2, key
        request = {"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.nano", "KeyName": key.stem, **request}
        self.id = ec2.run_instances(**request)["Instances"][0]["InstanceId"]

    def running(self):
        """Waits until it runs, and notes the addresses that it has then."""
        found = wait_for(self.ec2, self.id, "running")
        self.address, self.private = found.get("PublicIpAddress"), found.get("PrivateIpAddress")
        if self.private is None:
            self.address = found["Ipv6Address"]
        return self

    def describe(self):
        return describe(self.ec2, self.id)

    def ssh(self, command, **settings):
        return ssh(self.address, self.key, command, **settings)

    def does(self, command):
        """Whether a command succeeds inside."""
        done = self.ssh(command, check=False)
        assert done.returncode != 255, f"{command}: ssh itself failed: {done.stderr}"
        return done.returncode == 0

    def boot(self):
        return self.ssh("cat /proc/sys/kernel/random/boot_id")


# User data: a process that counts in its memory, and tells how far it is.
COUNTER = """#!/bin/sh
cat > /root/count <<'END'
n=0
while :; do
  n=$((n+1))
  echo "$n" > /run/counting
  mv /run/counting /run/counted
  sleep 0.05
done
END
setsid sh /root/count > /dev/null 2>&1 < /dev/null &
"""


def counted(guest):
    return int(guest.ssh("cat /run/counted"))


def counts(guest):
    """Waits until the process of COUNTER goes on."""
    before = counted(guest)
    wait_until(lambda: counted(guest) > before, f"{guest.id} counts on", timeout=120)


def process_of(instance):
    """The process id of an instance's QEMU, as somebody outside of the cloud finds it."""
    for folder in os.listdir("/proc"):
        try:
            with open(f"/proc/{folder}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if b"qemu-system" in words[0] and any(instance.encode() in word for word in words):
            return int(folder)
    return None
