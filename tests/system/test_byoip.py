"""Public addresses that an account brings along: as the operator says, and reached by nobody until they are advertised."""

import socket

import pytest
from conftest import code, wait_until
from guest import Guest, banner, key_pair, open_group, wait_for

OURS, NOBODYS = "198.51.100.0/24", "192.0.2.0/24"


@pytest.fixture(scope="module")
def granted(make_cloud):
    """A cloud of its own whose operator lets the root account bring one range."""
    cloud = make_cloud("byoip").up("--byoip", f"{OURS}=000000000000")
    yield cloud
    cloud.at_rest()
    cloud.down()


@pytest.fixture
def pool(granted):
    """The range as a pool; the test gives back what it takes out of it."""
    ec2 = granted.client()
    made = granted.aws("ec2", "provision-byoip-cidr", "--cidr", OURS, "--description", "ours",
                       "--cidr-authorization-context",
                       f"Message=1|aws|000000000000|{OURS}|29991231|SHA256|RSAPSS,Signature=ab-_~",
                       "--pool-tag-specifications", "ResourceType=ipv4pool-ec2,Tags=[{Key=Name,Value=ours}]")
    assert made["ByoipCidr"]["State"] == "pending-provision"
    wait_until(lambda: state(ec2, OURS) == "provisioned", "the range is provisioned")
    yield shown(ec2)["PoolId"]
    ended = ec2.deprovision_byoip_cidr(Cidr=OURS)["ByoipCidr"]
    assert ended["State"] == "pending-deprovision"
    wait_until(lambda: state(ec2, OURS) == "deprovisioned", "the range is deprovisioned")
    assert ec2.describe_public_ipv4_pools()["PublicIpv4Pools"] == []


def ranges(ec2):
    pages = ec2.get_paginator("describe_byoip_cidrs").paginate(PaginationConfig={"PageSize": 1})
    return [one for page in pages for one in page["ByoipCidrs"]]


def state(ec2, cidr):
    """Of the range as it is now; earlier ones that ended are described for a while."""
    states = [one["State"] for one in ranges(ec2) if one["Cidr"] == cidr]
    present = [one for one in states if one != "deprovisioned"]
    return (present or states)[0]


def shown(ec2):
    return ec2.describe_public_ipv4_pools(Filters=[{"Name": "tag:Name", "Values": ["ours"]}])["PublicIpv4Pools"][0]


def test_a_range_is_a_pool_of_elastic_addresses(granted, pool):
    ec2 = granted.client()
    assert shown(ec2)["Description"] == "ours"
    assert shown(ec2)["PoolAddressRanges"] == [{
        "FirstAddress": "198.51.100.0", "LastAddress": "198.51.100.255", "AddressCount": 256, "AvailableAddressCount": 256}]
    assert code(ec2.provision_byoip_cidr, Cidr=OURS) == "InvalidParameterValue"
    any_of_it = granted.aws("ec2", "allocate-address", "--public-ipv4-pool", pool)
    assert any_of_it["PublicIp"].startswith("198.51.100.") and any_of_it["PublicIpv4Pool"] == pool
    wanted = "198.51.100.7" if any_of_it["PublicIp"] != "198.51.100.7" else "198.51.100.8"
    one = ec2.allocate_address(Address=wanted)
    assert (one["PublicIp"], one["PublicIpv4Pool"]) == (wanted, pool)
    assert shown(ec2)["TotalAvailableAddressCount"] == 254
    eni = ec2.create_network_interface(SubnetId=subnet(ec2))["NetworkInterface"]["NetworkInterfaceId"]
    ec2.associate_address(AllocationId=one["AllocationId"], NetworkInterfaceId=eni)
    told = ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]["Association"]
    assert (told["PublicIp"], told["IpOwnerId"]) == (wanted, "000000000000")
    assert ec2.describe_addresses(PublicIps=[wanted])["Addresses"][0]["PublicIpv4Pool"] == pool
    ec2.delete_network_interface(NetworkInterfaceId=eni)
    assert code(ec2.deprovision_byoip_cidr, Cidr=OURS) == "DependencyViolation"
    for address in (any_of_it, one):
        ec2.release_address(AllocationId=address["AllocationId"])

    assert granted.aws("ec2", "advertise-byoip-cidr", "--cidr", OURS)["ByoipCidr"]["State"] == "advertised"
    assert code(ec2.deprovision_byoip_cidr, Cidr=OURS) == "IncorrectState"
    assert granted.aws("ec2", "withdraw-byoip-cidr", "--cidr", OURS)["ByoipCidr"]["State"] == "provisioned"


def test_what_the_operator_does_not_grant_fails(granted):
    ec2 = granted.client()
    ec2.provision_byoip_cidr(Cidr=NOBODYS)
    wait_until(lambda: state(ec2, NOBODYS) == "failed-provision", "the range fails")
    assert code(ec2.advertise_byoip_cidr, Cidr=NOBODYS) == "IncorrectState"
    ec2.deprovision_byoip_cidr(Cidr=NOBODYS)
    assert code(ec2.provision_byoip_cidr, Cidr="198.51.100.0/25") == "InvalidParameterValue"


def test_a_flag_that_nobody_can_mean_is_refused(granted):
    for wrong in ("198.51.100.0/25", "127.0.0.0/24", "198.51.100.0/24=me"):
        refused = granted.run("up", "--host", granted.host, "--byoip", wrong, check=False)
        assert refused.returncode != 0 and wrong in refused.stderr


def subnet(ec2):
    return ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"][0]["SubnetId"]


def greets(address):
    """Whether an ssh server answers there: something on the way may take connections to anywhere."""
    try:
        with socket.create_connection((address, 22), timeout=5) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


@pytest.mark.machines
def test_an_instance_is_reached_by_its_own_range_while_that_is_advertised(granted, pool, tmp_path):
    ec2 = granted.client()
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    place = ec2.describe_subnets(SubnetIds=[subnet(ec2)])["Subnets"][0]
    group = open_group(ec2, "byoip", place["VpcId"], 22)
    guest = Guest(ec2, key_pair(ec2, "byoip", tmp_path), ImageId=image, SubnetId=place["SubnetId"], SecurityGroupIds=[group])
    guest.running()
    banner(guest.address)
    made = ec2.allocate_address(PublicIpv4Pool=pool)
    address = made["PublicIp"]
    ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=guest.id)
    assert guest.describe()["PublicIpAddress"] == address
    wait_until(lambda: not greets(guest.address), "the automatic address is gone", timeout=240)
    granted.at_rest()
    assert not greets(address)

    ec2.advertise_byoip_cidr(Cidr=OURS)
    banner(address)
    guest.address = address
    assert guest.ssh("echo there") == "there"
    # The cloud's processes come and go, the way stays.
    granted.interrupt()
    granted.up()
    banner(address)
    ec2 = granted.client()
    ec2.withdraw_byoip_cidr(Cidr=OURS)
    wait_until(lambda: not greets(address), "nobody answers", timeout=240)
    ec2.terminate_instances(InstanceIds=[guest.id])
    wait_for(ec2, guest.id, "terminated")
    ec2.release_address(AllocationId=made["AllocationId"])
