"""A site of one's own: a device beyond the host, told what a customer's is told, and an instance that it reaches by a tunnel."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest
from conftest import code, wait_until
from guest import Guest, key_pair, open_group, ssh_line

pytestmark = pytest.mark.machines

NETWORK, DESK = "192.168.9.0/24", "192.168.9.10"
# Of the range for benchmarks (RFC 2544), which no host routes; ranges for documentation are some hosts' own.
NEAR, ADDRESS = "198.19.255.81", "198.19.255.82"
GREETED = """import socket, sys
with socket.create_connection((sys.argv[1], 22), timeout=15, source_address=(sys.argv[2], 0)) as connection:
    sys.exit(connection.recv(4) != b"SSH-")
"""
VICI = "tcp://127.0.0.1:4502"
SETTINGS = """charon {
  load = random nonce aes sha1 sha2 hmac kdf gcm openssl kernel-libipsec kernel-netlink socket-default vici
  routing_table_prio = 40000
  install_virtual_ip = no
  retransmit_tries = 3
  retransmit_timeout = 2.0
  plugins { kernel-libipsec { load = yes } vici { socket = tcp://127.0.0.1:4502 } }
}
"""
CONNECTION = """{name} {{
  version = 2
  local_addrs = {local}
  remote_addrs = {remote}
  dpd_delay = 5s
  keyingtries = 0
  local {{ auth = psk
    id = {local} }}
  remote {{ auth = psk
    id = {remote} }}
  children {{ {name} {{ local_ts = 0.0.0.0/0
    remote_ts = 0.0.0.0/0
    start_action = start
    dpd_action = restart
    close_action = start }} }}
}}
"""


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert not check or done.returncode == 0, f"ip {words}: {done.stderr}"
    return done.stdout


def inside(namespace):
    """The processes that live in a network namespace."""
    wanted = os.stat(f"/var/run/netns/{namespace}").st_ino
    found = []
    for folder in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{folder}/ns/net").st_ino == wanted:
                found.append(int(folder))
    return found


class Site:
    """A namespace behind the host's routing: a device with strongSwan of its own, and a desk behind it."""

    name, link = f"nube-test-site-{os.getpid()}", f"nbsite{os.getpid() % 10 ** 7}"

    def __init__(self, folder):
        self.folder = folder
        ip("netns", "add", self.name)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("addr", "add", f"{NEAR}/30", "dev", self.link)
        ip("link", "set", self.link, "up")
        for words in (["addr", "add", f"{ADDRESS}/30", "dev", "eth0"], ["addr", "add", f"{DESK}/32", "dev", "lo"],
                      ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"],
                      ["route", "add", "default", "via", NEAR]):
            ip("-n", self.name, *words)

    def run(self, *command, check=True, timeout=120):
        done = subprocess.run(["ip", "netns", "exec", self.name, *command], capture_output=True, text=True,
                              timeout=timeout, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def call(self, configuration, networks):
        """Does what the owner of a device does with its configuration, and leads what is for the VPC into the tunnels."""
        connections, secrets = "", ""
        for at, tunnel in enumerate(xml.fromstring(configuration).findall("ipsec_tunnel")):
            remote = tunnel.findtext("vpn_gateway/tunnel_outside_address/ip_address")
            local = tunnel.findtext("customer_gateway/tunnel_outside_address/ip_address")
            connections += CONNECTION.format(name=f"t{at}", local=local, remote=remote)
            secrets += f'ike-{at} {{ id = {remote}\n secret = "{tunnel.findtext("ike/pre_shared_key")}" }}\n'
        (self.folder / "strongswan.conf").write_text(SETTINGS)
        file = self.folder / "swanctl.conf"
        file.write_text(f"connections {{\n{connections}}}\nsecrets {{\n{secrets}}}\n")
        with open(self.folder / "log", "wb") as log:
            subprocess.Popen(["ip", "netns", "exec", self.name, "charon-systemd"], stdout=log, stderr=log,
                             stdin=subprocess.DEVNULL, start_new_session=True,
                             env={**os.environ, "STRONGSWAN_CONF": str(self.folder / "strongswan.conf")})
        wait_until(lambda: self.run("swanctl", "--stats", "--uri", VICI, check=False).returncode == 0,
                   "the device's daemon answers", timeout=180, interval=1)
        self.run("swanctl", "--load-all", "--file", str(file), "--uri", VICI)
        ip("-n", self.name, "link", "set", "ipsec0", "up")
        for network in networks:
            ip("-n", self.name, "route", "add", network, "dev", "ipsec0", "src", DESK, "mtu", "1400")

    def greeted(self, address):
        """Whether an ssh server answers the desk there."""
        return self.run(sys.executable, "-c", GREETED, address, DESK, check=False).returncode == 0

    def reaches(self, address, what):
        """Waits: devices and hosts negotiate anew after a while of silence."""
        wait_until(lambda: self.greeted(address), what, timeout=600, interval=1)

    def ssh(self, guest, command):
        """As somebody at the desk: to the private address, which nothing else of the host knows."""
        line = ["-b", DESK, *ssh_line(guest.private, guest.key, command)[1:]]
        done = wait_until(lambda: self.tried(line), f"{guest.id} is spoken to by ssh", timeout=600, interval=1)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def tried(self, line):
        done = self.run("ssh", *line, check=False, timeout=300)
        return done if done.returncode != 255 else None

    def end(self):
        for pid in inside(self.name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ip("netns", "del", self.name, check=False)
        ip("link", "del", self.link, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.end()


@pytest.fixture(scope="module")
def own(make_cloud):
    """A cloud of this module, for it is restarted."""
    return make_cloud("site").up()


@pytest.fixture(scope="module")
def vpn(own, site, tmp_path_factory):
    """A VPC without a way to the Internet, an instance in it, and the device, which has called."""
    ec2 = own.client()
    vpc = ec2.create_vpc(CidrBlock="10.79.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.79.1.0/24")["Subnet"]["SubnetId"]
    table = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"][0]["RouteTableId"]
    customer = ec2.create_customer_gateway(Type="ipsec.1", IpAddress=ADDRESS)["CustomerGateway"]["CustomerGatewayId"]
    gateway = ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]["VpnGatewayId"]
    ec2.attach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    connection = ec2.create_vpn_connection(
        Type="ipsec.1", CustomerGatewayId=customer, VpnGatewayId=gateway, Options={"StaticRoutesOnly": True},
    )["VpnConnection"]["VpnConnectionId"]
    ec2.create_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock=NETWORK)
    ec2.enable_vgw_route_propagation(RouteTableId=table, GatewayId=gateway)
    group = open_group(ec2, "site", vpc, 22)
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": NETWORK}]}])
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    key = key_pair(ec2, "site", tmp_path_factory.mktemp("site-keys"))
    guest = Guest(ec2, key, ImageId=image, SubnetId=subnet, SecurityGroupIds=[group]).running()
    assert guest.address is None
    shown = ec2.describe_vpn_connections(VpnConnectionIds=[connection])["VpnConnections"][0]
    site.call(shown["CustomerGatewayConfiguration"], ["10.79.0.0/16"])
    return {"ec2": ec2, "vpc": vpc, "table": table, "gateway": gateway, "connection": connection, "guest": guest,
            "keys": [tunnel["PreSharedKey"] for tunnel in shown["Options"]["TunnelOptions"]]}


def namespace(own, vpn):
    """Where the connection's tunnels end: the one that has its outside addresses."""
    shown = vpn["ec2"].describe_vpn_connections(VpnConnectionIds=[vpn["connection"]])["VpnConnections"][0]
    outside = {tunnel["OutsideIpAddress"] for tunnel in shown["Options"]["TunnelOptions"]}
    for line in ip("netns", "list").splitlines():
        name = line.split()[0]
        if name.startswith(f"nube-{own.tag}-") and all(f" {one}/" in ip("-n", name, "addr", "show", "lo") for one in outside):
            return name
    raise AssertionError("no namespace has the connection's addresses")


def daemon(own, vpn):
    """The connection's IKE daemon, when there is one."""
    found = inside(namespace(own, vpn))
    return found[0] if len(found) == 1 else None


def ended(pid):
    """Whether a process is no more, or nothing but a number that nobody has asked for yet."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_desk_and_an_instance_speak_through_the_tunnel(own, site, vpn):
    guest = vpn["guest"]
    site.reaches(guest.private, "the instance answers the desk")
    assert site.ssh(guest, "echo $SSH_CONNECTION").split()[::2] == [DESK, guest.private]
    assert "1 packets received" in site.ssh(guest, f"sudo ping -c 1 -W 30 {DESK}")
    # More than one packet's worth, both ways.
    assert int(site.ssh(guest, "head -c 300000 /dev/zero | wc -c")) == 300_000
    assert len(site.ssh(guest, "head -c 100000 /dev/zero | tr '\\0' x")) == 100_000
    # By the tunnel and not past it: something else may answer from the host, but not this server.
    past = subprocess.run([sys.executable, "-c", GREETED, guest.private, "0.0.0.0"], capture_output=True, timeout=120)
    assert past.returncode != 0

    def telemetry():
        shown = vpn["ec2"].describe_vpn_connections(VpnConnectionIds=[vpn["connection"]])["VpnConnections"][0]
        return [tunnel["Status"] for tunnel in shown["VgwTelemetry"]]
    wait_until(lambda: telemetry() == ["UP", "UP"], "both tunnels are told to be up", timeout=600, interval=1)


def test_the_daemon_is_confined_and_no_key_lies_about(own, site, vpn):
    pid = wait_until(lambda: daemon(own, vpn), "a daemon runs", timeout=240)
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    assert status["NoNewPrivs"] == "1"
    # The rights over its namespace's network and low ports.
    rights = (1 << 12) | (1 << 10)
    assert int(status["CapBnd"], 16) == rights and int(status["CapEff"], 16) & ~rights == 0
    with open(f"/proc/{pid}/cgroup") as file:
        assert f"/nube-{own.tag}-vpn/{vpn['connection']}" in file.read()
    keys = [key.encode() for key in vpn["keys"]]
    for name in ("cmdline", "environ"):
        with open(f"/proc/{pid}/{name}", "rb") as file:
            text = file.read()
        assert not any(key in text for key in keys), name
    for folder, _, names in os.walk(own.data):
        for name in names:
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(path)
                if stat.S_ISREG(found.st_mode) and found.st_size < 64 << 20:
                    with open(path, "rb") as file:
                        text = file.read()
                    assert not any(key in text for key in keys), path


def test_a_daemon_that_is_killed_comes_back_and_its_tunnels_too(own, site, vpn):
    before = wait_until(lambda: daemon(own, vpn), "a daemon runs", timeout=240)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: daemon(own, vpn) not in (None, before), "another daemon runs", timeout=240)
    site.reaches(vpn["guest"].private, "the instance answers again")
    assert site.ssh(vpn["guest"], "echo here") == "here"


def test_tunnels_outlive_the_agent_and_the_cloud(own, site, vpn):
    before = wait_until(lambda: daemon(own, vpn), "a daemon runs", timeout=240)
    agent = own.pid("agent")
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: own.status()["processes"]["agent"] not in (None, agent), "another agent", timeout=240)
    own.at_rest()
    assert daemon(own, vpn) == before
    site.reaches(vpn["guest"].private, "the instance answers past the old agent")
    own.interrupt()
    own.up()
    vpn["ec2"] = own.client()
    own.at_rest()
    site.reaches(vpn["guest"].private, "the instance answers after a restart")
    assert site.ssh(vpn["guest"], "echo here") == "here"


def test_a_connection_moves_to_a_transit_gateway(own, site, vpn):
    ec2, connection, guest = vpn["ec2"], vpn["connection"], vpn["guest"]
    site.reaches(guest.private, "the instance answers by the virtual private gateway")
    transit = ec2.create_transit_gateway()["TransitGateway"]
    gateway, table = transit["TransitGatewayId"], transit["Options"]["AssociationDefaultRouteTableId"]
    subnet = guest.describe()["SubnetId"]
    attachment = ec2.create_transit_gateway_vpc_attachment(
        TransitGatewayId=gateway, VpcId=vpn["vpc"], SubnetIds=[subnet])["TransitGatewayVpcAttachment"]
    ec2.disable_vgw_route_propagation(RouteTableId=vpn["table"], GatewayId=vpn["gateway"])
    ec2.create_route(RouteTableId=vpn["table"], DestinationCidrBlock=NETWORK, TransitGatewayId=gateway)
    ec2.modify_vpn_connection(VpnConnectionId=connection, TransitGatewayId=gateway)
    shown = ec2.describe_vpn_connections(VpnConnectionIds=[connection])["VpnConnections"][0]
    assert (shown["TransitGatewayId"], shown["Routes"]) == (gateway, [])
    [own_end] = ec2.describe_transit_gateway_attachments(
        Filters=[{"Name": "resource-type", "Values": ["vpn"]}])["TransitGatewayAttachments"]
    assert own_end["ResourceId"] == connection
    # Its routes are static: the gateway's table knows nothing of the site yet.
    wait_until(lambda: not site.greeted(guest.private), "the connection has moved", timeout=240, interval=1)
    by = {"TransitGatewayRouteTableId": table, "DestinationCidrBlock": NETWORK}
    ec2.create_transit_gateway_route(**by, TransitGatewayAttachmentId=own_end["TransitGatewayAttachmentId"])
    site.reaches(guest.private, "the instance answers by the transit gateway")
    assert site.ssh(guest, "echo $SSH_CONNECTION").split()[::2] == [DESK, guest.private]
    assert int(site.ssh(guest, "head -c 300000 /dev/zero | wc -c")) == 300_000
    # The gateway's table decides.
    ec2.delete_transit_gateway_route(**by)
    ec2.create_transit_gateway_route(**by, Blackhole=True)
    wait_until(lambda: not site.greeted(guest.private), "the blackhole is in force", timeout=240, interval=1)
    ec2.replace_transit_gateway_route(**by, TransitGatewayAttachmentId=own_end["TransitGatewayAttachmentId"])
    site.reaches(guest.private, "the instance answers again")
    assert code(ec2.delete_transit_gateway, TransitGatewayId=gateway) == "IncorrectState"
    # And back, where static routes are the connection's own.
    ec2.modify_vpn_connection(VpnConnectionId=connection, VpnGatewayId=vpn["gateway"])
    ec2.create_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock=NETWORK)
    ec2.delete_route(RouteTableId=vpn["table"], DestinationCidrBlock=NETWORK)
    ec2.enable_vgw_route_propagation(RouteTableId=vpn["table"], GatewayId=vpn["gateway"])
    ec2.delete_transit_gateway_vpc_attachment(
        TransitGatewayAttachmentId=attachment["TransitGatewayAttachmentId"])
    ec2.delete_transit_gateway(TransitGatewayId=gateway)
    site.reaches(guest.private, "the instance answers by the virtual private gateway once more")


def test_without_the_connection_nothing_passes_and_nothing_is_left(own, site, vpn):
    place = namespace(own, vpn)
    pid = wait_until(lambda: daemon(own, vpn), "a daemon runs", timeout=240)
    vpn["ec2"].delete_vpn_connection(VpnConnectionId=vpn["connection"])
    wait_until(lambda: place not in ip("netns", "list"), "its namespace is gone", timeout=240)
    wait_until(lambda: ended(pid), "its daemon has ended", timeout=240)
    assert not site.greeted(vpn["guest"].private)
    groups = [os.path.join(folder, vpn["connection"]) for folder, names, _ in os.walk("/sys/fs/cgroup")
              if os.path.basename(folder) == f"nube-{own.tag}-vpn" and vpn["connection"] in names]
    assert groups == []
