"""Where the API and its names are found: TLS with an authority of our own, from inside instances, DNS on the host."""

import json
import os
import socket
import ssl
import stat
import subprocess
import urllib.request

import botocore.exceptions
import dns.message
import dns.query
import dns.rcode
import dns.reversename
import pytest
from conftest import wait_until
from guest import Guest, banner, describe, key_pair, open_group, ssh_line, wait_for

API = "http://api.nube.internal"


def free_address():
    """A port of loopback that neither UDP nor TCP uses now."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return f"127.0.0.1:{tcp.getsockname()[1]}"


@pytest.fixture(scope="module")
def secure(make_cloud):
    """A cloud with TLS that answers DNS."""
    cloud = make_cloud("secure")
    cloud.dns = free_address()
    return cloud.up("--tls", "--dns", cloud.dns)


def ask(cloud, name, kind="A", how=dns.query.udp):
    address, port = cloud.dns.rsplit(":", 1)
    return how(dns.message.make_query(name, kind), address, port=int(port), timeout=60)


def answers(reply):
    return [item.to_text() for records in reply.answer for item in records]


def launch(cloud):
    ec2 = cloud.client()
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    launched = ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1)["Instances"][0]
    return ec2, wait_for(ec2, launched["InstanceId"], "running")


def test_boto3_and_the_aws_cli_verify_the_clouds_own_authority(secure):
    assert secure.environment["AWS_ENDPOINT_URL"] == f"https://{secure.listen}"
    assert secure.client("sts").get_caller_identity()["Account"] == "000000000000"
    assert "us-east-1" in [region["RegionName"] for region in secure.aws("ec2", "describe-regions")["Regions"]]
    assert secure.status()["endpoint"] == f"https://{secure.listen}"
    with pytest.raises(botocore.exceptions.SSLError):
        secure.client(verify=True).describe_regions()


def test_plain_http_goes_on_beside_tls(secure):
    assert secure.client(endpoint_url=f"http://{secure.listen}").describe_regions()["Regions"]
    with urllib.request.urlopen(f"http://{secure.listen}/_nube/health", timeout=60) as answer:
        assert json.load(answer)["status"] == "running"


@pytest.mark.parametrize(
    "name", ["localhost", "127.0.0.1", "169.254.169.252", "api.nube.internal", "ec2.us-east-1.amazonaws.com",
             "sts.us-east-1.amazonaws.com", "sts.amazonaws.com"])
@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_the_certificate_is_good_for_every_name_of_the_api(secure, name, protocol):
    context = ssl.create_default_context(cafile=secure.environment["AWS_CA_BUNDLE"])
    # What Python 3.13 demands of every certificate, also of ours.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols([protocol])
    address, port = secure.listen.split(":")
    with socket.create_connection((address, int(port)), timeout=60) as plain:
        with context.wrap_socket(plain, server_hostname=name) as shaken:
            assert shaken.selected_alpn_protocol() == protocol
            assert shaken.version() == "TLSv1.3"


def test_the_authority_may_certify_no_site_of_others(secure, tmp_path):
    """Somebody who has stolen its key makes a certificate for a bank; nobody believes it."""
    run = lambda *words: subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True, text=True)
    authority, key = secure.environment["AWS_CA_BUNDLE"], os.path.join(secure.data, "ca.key")
    for name, verdict in [("www.example.com", "permitted subtree violation"), ("ec2.us-east-1.amazonaws.com", "OK")]:
        (tmp_path / "names").write_text(f"subjectAltName=DNS:{name}\n")
        made = run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=test", "-keyout", "key", "-out", "request")
        assert made.returncode == 0, made.stderr
        made = run("x509", "-req", "-in", "request", "-CA", authority, "-CAkey", key, "-CAcreateserial",
                   "-CAserial", str(tmp_path / "serial"), "-extfile", "names", "-out", "certificate")
        assert made.returncode == 0, made.stderr
        verified = run("verify", "-CAfile", authority, "certificate")
        assert verdict in verified.stdout + verified.stderr, (name, verified.stdout, verified.stderr)


def test_the_authority_outlives_restarts_and_its_key_is_seen_by_nobody(secure):
    key = os.path.join(secure.data, "ca.key")
    with open(secure.environment["AWS_CA_BUNDLE"]) as file:
        before = file.read()
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    secure.interrupt()
    # Remembered: no flag this time.
    secure.up()
    with open(secure.environment["AWS_CA_BUNDLE"]) as file:
        assert file.read() == before
    assert secure.client("sts").get_caller_identity()
    assert "PRIVATE" in open(key).read() and "PRIVATE" not in before + secure.logs()


def test_public_names_are_answered_while_their_addresses_live(secure):
    ec2, instance = launch(secure)
    name, address = instance["PublicDnsName"], instance["PublicIpAddress"]
    for how in (dns.query.udp, dns.query.tcp):
        assert answers(ask(secure, name, how=how)) == [address]
        assert answers(ask(secure, dns.reversename.from_address(address), "PTR", how)) == [f"{name}."]
    # A name without an IPv6 address is there all the same.
    reply = ask(secure, name, "AAAA")
    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    ec2.get_waiter("instance_terminated").wait(
        InstanceIds=[instance["InstanceId"]], WaiterConfig={"Delay": 1, "MaxAttempts": 240})
    wait_until(lambda: ask(secure, name).rcode() == dns.rcode.NXDOMAIN, "the name is gone with its address", timeout=240)


@pytest.mark.parametrize("name", ["debian.org", "ec2-52-1-2-3.compute-1.amazonaws.com", "s3.us-east-1.amazonaws.com"])
def test_names_of_others_are_refused(secure, name):
    assert ask(secure, name).rcode() == dns.rcode.REFUSED


def test_nube_dns_writes_a_drop_in_only_when_asked_and_takes_it_back(secure, tmp_path):
    folder = tmp_path / "resolved.conf.d"
    said = json.loads(secure.run("dns", "--json", "--drop-ins", str(folder)).stdout)
    assert said["resolver"] == secure.dns and said["domains"] == ["compute-1.amazonaws.com"]
    assert said["installed"] is False and not folder.exists()
    shown = secure.run("dns", "--drop-ins", str(folder)).stdout
    assert "Domains=~compute-1.amazonaws.com" in shown and f"DNS={secure.dns}" in shown
    secure.run("dns", "--install", "--drop-ins", str(folder))
    text = (folder / f"nube-{secure.tag}.conf").read_text()
    assert text.splitlines()[1:] == ["[Resolve]", f"DNS={secure.dns}", "Domains=~compute-1.amazonaws.com"]
    for _ in range(2):
        secure.run("dns", "--remove", "--drop-ins", str(folder))
        assert list(folder.iterdir()) == []


def presigned(cloud, host):
    """DescribeRegions, signed for this name of the API: a URL that anybody may fetch."""
    client = cloud.client(endpoint_url=f"http://{host}")
    return client.generate_presigned_url("describe_regions", HttpMethod="GET", ExpiresIn=3600)


@pytest.fixture(scope="module")
def inside(secure, tmp_path_factory):
    """A guest of the cloud with TLS."""
    ec2 = secure.client()
    key = key_pair(ec2, "inside", tmp_path_factory.mktemp("inside-keys"))
    group = open_group(ec2, "inside", ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    script = "#!/bin/sh\necho \"in user data: $AWS_ENDPOINT_URL $AWS_REGION\" > /tmp/seen\n"
    guest = Guest(ec2, key, ImageId=image, SecurityGroupIds=[group], UserData=script).running()
    yield guest
    secure.client().terminate_instances(InstanceIds=[guest.id])


@pytest.mark.machines
def test_an_instance_calls_the_api_by_its_name(secure, inside):
    unsigned = inside.ssh(f"wget -q -O - '{API}/?Action=DescribeRegions&Version=2016-11-15' 2>&1; true")
    assert "403" in unsigned or "MissingAuthenticationToken" in unsigned, unsigned
    assert "running" in inside.ssh(f"wget -q -O - {API}/_nube/health")
    for host in ("api.nube.internal", "ec2.us-east-1.amazonaws.com"):
        assert "us-east-1" in inside.ssh(f"wget -q -O - '{presigned(secure, host)}'"), host
    # The address alone is enough, and 443 leads there as well.
    assert "running" in inside.ssh("wget -q -O - http://169.254.169.252:443/_nube/health")


@pytest.mark.machines
def test_an_instance_speaks_tls_with_the_api(secure, inside):
    """Nano has no TLS client that verifies, so its bytes are carried out by ssh and the handshake is made here."""
    command = ssh_line(inside.address, inside.key, "true")
    command[-1:] = ["nc 169.254.169.252 443"]
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
    theirs.close()
    ours.settimeout(180)
    context = ssl.create_default_context(cafile=secure.environment["AWS_CA_BUNDLE"])
    with context.wrap_socket(ours, server_hostname="api.nube.internal") as shaken:
        shaken.sendall(b"GET /_nube/health HTTP/1.1\r\nhost: api.nube.internal\r\nconnection: close\r\n\r\n")
        answer = b""
        while piece := shaken.recv(4096):
            answer += piece
    assert b"200 OK" in answer and b'"running"' in answer
    process.wait(timeout=60)


@pytest.mark.machines
def test_clients_in_our_images_need_no_configuration(secure, inside):
    wait_until(lambda: inside.does("test -s /run/nube/endpoint.env"), "presets are there", timeout=240, interval=1)
    shown = inside.ssh("sh -lc 'echo $AWS_ENDPOINT_URL $AWS_REGION $AWS_DEFAULT_REGION $AWS_CA_BUNDLE'")
    assert shown.split() == ["https://api.nube.internal", "us-east-1", "us-east-1", "/run/nube/ca-bundle.pem"]
    with open(secure.environment["AWS_CA_BUNDLE"]) as file:
        assert inside.ssh("cat /run/nube/ca-bundle.pem").strip() == file.read().strip()
    wait_until(lambda: inside.does("test -s /tmp/seen"), "user data ran", timeout=240, interval=1)
    assert inside.ssh("cat /tmp/seen") == "in user data: https://api.nube.internal us-east-1"


@pytest.mark.machines
def test_the_api_is_there_again_after_the_agent_is(secure, inside):
    pid = secure.pid("agent")
    os.kill(pid, 9)
    wait_until(lambda: secure.status()["processes"]["agent"] not in (None, pid), "another agent", timeout=240)
    wait_until(lambda: inside.does(f"wget -q -O - {API}/_nube/health"), "the API inside", timeout=240, interval=1)


@pytest.mark.machines
def test_a_guest_that_hoards_connections_leaves_the_api_to_the_host(secure, inside):
    opened = inside.ssh("for n in $(seq 60); do (sleep 40 | nc 169.254.169.252 80) > /dev/null 2>&1 & done; sleep 3; echo done")
    assert opened.endswith("done")
    assert secure.client().describe_regions()["Regions"]
    inside.ssh("killall sleep nc; true")


@pytest.mark.machines
def test_ssh_by_the_public_name(secure, inside, tmp_path):
    found = describe(inside.ec2, inside.id)
    name = found["PublicDnsName"]
    nube_ssh = [secure.nube, "ssh", "--data", secure.data, "-i", str(inside.key)]
    said = subprocess.run([*nube_ssh, name, "hostname"], capture_output=True, text=True, timeout=180, check=True)
    assert said.stdout.strip() == inside.ssh("hostname")
    gone = subprocess.run([*nube_ssh, "ec2-198-18-255-254.compute-1.amazonaws.com"], capture_output=True, text=True)
    assert gone.returncode == 1 and "no instance is called" in gone.stderr


@pytest.mark.machines
def test_the_systems_own_resolver_finds_public_names_and_plain_ssh_uses_them(make_cloud, tmp_path_factory):
    """The C library asks port 53 alone, so this cloud answers there, at an address of loopback that nobody else has."""
    cloud = make_cloud("named")
    cloud.dns = f"127.66.{os.getpid() >> 8 & 255}.{os.getpid() & 127 | 1}:53"
    cloud.up("--dns", cloud.dns)
    ec2 = cloud.client()
    folder = tmp_path_factory.mktemp("named-keys")
    key = key_pair(ec2, "named", folder)
    group = open_group(ec2, "named", ec2.describe_vpcs()["Vpcs"][0]["VpcId"], 22)
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    guest = Guest(ec2, key, ImageId=image, SecurityGroupIds=[group]).running()
    banner(guest.address)
    resolver = folder / "resolv.conf"
    resolver.write_text(f"nameserver {cloud.dns.split(':')[0]}\noptions timeout:30\n")
    name = describe(ec2, guest.id)["PublicDnsName"]
    words = " ".join(f"'{word}'" for word in ssh_line(name, key, "echo reached"))
    script = f"mount --bind {resolver} \"$(realpath /etc/resolv.conf)\" && exec {words}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "reached", done.stderr
    cloud.down("--purge")
