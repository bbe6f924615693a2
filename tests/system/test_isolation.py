"""Who can reach whom: groups, accounts, forged sources, the host and the outside."""

import json
import re
import socket
import subprocess
import threading

import pytest
from conftest import wait_until
from guest import Guest, key_pair, open_group, ssh_line
from outside import Outside

pytestmark = pytest.mark.machines

# Each says its name to whoever connects, and then repeats what it hears.
SERVICE = """#!/bin/sh
printf '#!/bin/sh\\necho {name}\\nexec cat\\n' > /root/service
chmod +x /root/service
nc -ll -p 8080 -e /root/service &
"""


def rules(group, protocol, port=-1):
    return [{"IpProtocol": protocol, "FromPort": port, "ToPort": port, "UserIdGroupPairs": [{"GroupId": group}]}]


def from_anywhere(protocol="-1"):
    return [{"IpProtocol": protocol, "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]


class Neighbourhood:
    """Two instances of one account in groups of their own, and a stranger with the second one's private address."""


@pytest.fixture(scope="module")
def hood(cloud, ec2, image, subnet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("isolation")
    hood = Neighbourhood()
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    key = key_pair(ec2, "isolation", folder)
    hood.groups = [open_group(ec2, name, vpc, 22) for name in ("left", "right")]
    launched = [
        Guest(ec2, key, ImageId=image, SubnetId=subnet, SecurityGroupIds=[group], UserData=SERVICE.format(name=name))
        for name, group in zip(("left", "right"), hood.groups)
    ]
    right = launched[1].describe()["PrivateIpAddress"]

    account = json.loads(cloud.run("account", "create", "--json").stdout)
    theirs = cloud.client(
        aws_access_key_id=account["access_key_id"], aws_secret_access_key=account["secret_access_key"])
    their_key = key_pair(theirs, "theirs", folder)
    their_vpc = theirs.describe_vpcs()["Vpcs"][0]
    zone = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailabilityZone"]
    their_subnet = theirs.describe_subnets(Filters=[{"Name": "availability-zone", "Values": [zone]}])["Subnets"][0]
    hood.cidrs = [their_vpc["CidrBlock"], ec2.describe_vpcs()["Vpcs"][0]["CidrBlock"]]
    group = open_group(theirs, "everything", their_vpc["VpcId"])
    theirs.authorize_security_group_ingress(GroupId=group, IpPermissions=from_anywhere())
    stranger = Guest(theirs, their_key, ImageId=image, SubnetId=their_subnet["SubnetId"], PrivateIpAddress=right,
                     SecurityGroupIds=[group], UserData=SERVICE.format(name="stranger"))
    hood.left, hood.right, hood.stranger = (guest.running() for guest in (*launched, stranger))
    for guest in (hood.left, hood.right, hood.stranger):
        wait_until(lambda: guest.does("sudo true && nc -w 2 127.0.0.1 8080 < /dev/null"), "the service listens")
    yield hood
    for client, guests in ((ec2, launched), (theirs, [stranger])):
        client.terminate_instances(InstanceIds=[guest.id for guest in guests])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[g.id for g in launched], WaiterConfig={"Delay": 1, "MaxAttempts": 240})


def says(guest, address, port=8080):
    """What a service tells a guest; nothing when it cannot be reached."""
    return guest.ssh(f"nc -w 2 {address} {port} < /dev/null", check=False).stdout.strip()


def pings(guest, address, *options):
    return guest.does(f"sudo ping -c 2 -W 1 {' '.join(options)} {address}")


def heard(guest):
    """How many echo requests have come to a guest."""
    lines = [line.split() for line in guest.ssh("grep ^Icmp: /proc/net/snmp").splitlines()]
    return int(dict(zip(*lines))["InEchos"])


def test_a_rule_by_group_opens_the_way_and_its_end_spares_flows_that_live(ec2, hood):
    left, right = hood.left, hood.right
    quiet = heard(right)
    assert says(left, right.private) == ""
    assert not pings(left, right.private)
    assert heard(right) == quiet
    assert says(left, left.private) == "left", "the service itself works"

    permissions = rules(hood.groups[0], "tcp", 8080) + rules(hood.groups[0], "icmp")
    ec2.authorize_security_group_ingress(GroupId=hood.groups[1], IpPermissions=permissions)
    wait_until(lambda: says(left, right.private) == "right", "a group reference lets TCP in", timeout=90)
    assert pings(left, right.private)
    assert says(right, left.private) == "", "the rule goes one way"

    flow = subprocess.Popen(ssh_line(left.address, left.key, f"nc -w 5 {right.private} 8080"),
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        assert flow.stdout.readline() == "right\n"
        ec2.revoke_security_group_ingress(GroupId=hood.groups[1], IpPermissions=permissions)
        wait_until(lambda: says(left, right.private) == "", "no new flow comes in", timeout=90)
        assert not pings(left, right.private)
        flow.stdin.write("still here\n")
        assert flow.stdout.readline() == "still here\n"
    finally:
        flow.kill()
        flow.communicate()


def test_members_of_one_group_are_strangers_until_a_rule_says_otherwise(ec2, hood, image, subnet):
    # Membership alone gives nothing: the second interface's group list is changed, not its rules.
    right = hood.right.describe()
    interface = right["NetworkInterfaces"][0]["NetworkInterfaceId"]
    ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[hood.groups[0]])
    try:
        assert says(hood.left, hood.right.private) == ""
        permissions = rules(hood.groups[0], "-1")
        ec2.authorize_security_group_ingress(GroupId=hood.groups[0], IpPermissions=permissions)
        wait_until(lambda: says(hood.left, hood.right.private) == "right", "the members reach each other", timeout=90)
        ec2.revoke_security_group_ingress(GroupId=hood.groups[0], IpPermissions=permissions)
        wait_until(lambda: says(hood.left, hood.right.private) == "", "and no longer", timeout=90)
    finally:
        ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[hood.groups[1]])


def test_another_accounts_vpc_of_the_same_addresses_never_hears_them(ec2, hood):
    assert hood.cidrs[0] == hood.cidrs[1] == "172.31.0.0/16"
    assert hood.stranger.private == hood.right.private
    quiet = heard(hood.stranger)
    assert says(hood.left, hood.right.private) == "", "the stranger lets everybody in, and still does not hear"
    assert not pings(hood.left, hood.right.private)
    everybody = from_anywhere()
    for group in hood.groups:
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=everybody)
    try:
        wait_until(lambda: says(hood.left, hood.right.private) == "right", "the address is the own neighbour's")
        assert says(hood.stranger, hood.left.private) == ""
        assert not pings(hood.stranger, hood.left.private)
        assert says(hood.stranger, hood.stranger.private) == "stranger"
        assert heard(hood.stranger) == quiet
        # By the public address they may meet, as anybody in the world.
        assert says(hood.stranger, hood.left.address) == "left"
    finally:
        for group in hood.groups:
            ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=everybody)


def test_a_forged_source_reaches_nobody(ec2, hood, outside):
    ec2.authorize_security_group_ingress(GroupId=hood.groups[1], IpPermissions=from_anywhere("icmp"))
    try:
        wait_until(lambda: pings(hood.left, hood.right.private), "an honest source is heard", timeout=90)
        forged = hood.left.private.rsplit(".", 1)[0] + ".251"
        hood.left.ssh(f"sudo ip addr add {forged}/32 dev eth0")
        before, before_outside = heard(hood.right), outside.heard()
        for target in (hood.right.private, hood.right.address, outside.address):
            assert not pings(hood.left, target, "-I", forged)
        assert heard(hood.right) == before
        assert outside.heard() == before_outside
        hood.left.ssh(f"sudo ip addr del {forged}/32 dev eth0")
        assert pings(hood.left, hood.right.private)
    finally:
        ec2.revoke_security_group_ingress(GroupId=hood.groups[1], IpPermissions=from_anywhere("icmp"))


def host_addresses():
    links = json.loads(subprocess.run(["ip", "-4", "-j", "addr"], capture_output=True, check=True).stdout)
    addresses = [info["local"] for link in links for info in link["addr_info"] if link["ifname"] != "lo"]
    assert addresses
    return addresses


def test_guests_do_not_reach_the_hosts_own_services(cloud, hood):
    with socket.create_server(("0.0.0.0", 0), backlog=64) as listener:
        port = listener.getsockname()[1]
        peers = []

        def accept():
            while True:
                try:
                    connection, peer = listener.accept()
                except OSError:
                    return
                peers.append(peer)
                connection.sendall(b"host\n")
                connection.close()
        threading.Thread(target=accept, daemon=True).start()
        addresses = host_addresses()
        with socket.create_connection((addresses[0], port), timeout=5) as check:
            assert check.recv(5) == b"host\n"
        del peers[:]
        attempts = "; ".join(f"nc -w 2 {address} {port} < /dev/null" for address in [*addresses, "169.254.0.1"])
        assert "host" not in hood.left.ssh(f"{attempts}; true")
        assert peers == []
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def outside():
    with Outside("outside", "198.19.255.1", "198.19.255.2") as there:
        yield there


def test_guests_reach_the_outside_under_the_hosts_address(hood, outside):
    assert says(hood.left, outside.address, 9000) == outside.near
    assert pings(hood.left, outside.address)


def test_names_of_the_outside_are_answered_or_refused_at_once(hood):
    seconds = hood.left.ssh("time -p nslookup nobody.invalid 2>&1 | tail -n 5; true")
    real = re.search(r"real\s+(?:(\d+)m\s*)?([\d.]+)", seconds)
    assert real and float(real[2]) < 5, seconds
