"""Interfaces that come and go, secondary addresses, and the ways out of a subnet beside its gateway."""

import ipaddress
import socket

import pytest
from conftest import wait_until
from guest import Guest, describe, key_pair, open_group, wait_for

# Says its name to whoever connects, and on another port whether it reaches an address that it is told.
SERVICE = """#!/bin/sh
printf '#!/bin/sh\\necho {name}\\n' > /root/service
printf '#!/bin/sh\\nread it\\nping -c 2 -W 2 $it > /dev/null && echo outside || echo inside\\n' > /root/asks
chmod +x /root/service /root/asks
nc -ll -p 8082 -e /root/asks &
nc -ll -p 8080 -e /root/service &
"""


def subnets(ec2):
    """The default subnet of each zone."""
    found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    return sorted(found, key=lambda subnet: subnet["AvailabilityZone"])


def interface(ec2, eni):
    return ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]


def attachment(ec2, eni):
    return interface(ec2, eni).get("Attachment", {}).get("Status")


def states(ec2, table):
    routes = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
    return {route["DestinationCidrBlock"]: route["State"] for route in routes}


@pytest.fixture
def table(ec2):
    """A route table of the default VPC, which its test may associate."""
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    yield table
    for association in ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Associations"]:
        ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
    ec2.delete_route_table(RouteTableId=table)


def test_an_interface_comes_to_a_running_instance_and_goes_again(ec2, image, terminate):
    subnet = subnets(ec2)[0]["SubnetId"]
    run = ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1, SubnetId=subnet)
    instance = run["Instances"][0]["InstanceId"]
    terminate(instance)
    wait_for(ec2, instance, "running")
    eni = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    attached = ec2.attach_network_interface(NetworkInterfaceId=eni, InstanceId=instance, DeviceIndex=1)
    wait_until(lambda: attachment(ec2, eni) == "attached", "attached", timeout=240)
    assert [i["Attachment"]["DeviceIndex"] for i in describe(ec2, instance)["NetworkInterfaces"]] == [0, 1]
    given = ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=1)
    second = given["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"]
    assert [a["PrivateIpAddress"] for a in interface(ec2, eni)["PrivateIpAddresses"]][1] == second
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=[second])
    ec2.detach_network_interface(AttachmentId=attached["AttachmentId"], Force=True)
    ec2.get_waiter("network_interface_available").wait(
        NetworkInterfaceIds=[eni], WaiterConfig={"Delay": 1, "MaxAttempts": 240})
    ec2.delete_network_interface(NetworkInterfaceId=eni)


def test_peerings_and_nat_gateways_come_and_go(ec2, table):
    vpc = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["VpcId"]
    other = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    asked = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=other)["VpcPeeringConnection"]
    peering = asked["VpcPeeringConnectionId"]
    ec2.get_waiter("vpc_peering_connection_exists").wait(VpcPeeringConnectionIds=[peering])
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.77.0.0/16", VpcPeeringConnectionId=peering)
    assert states(ec2, table)["10.77.0.0/16"] == "active"
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    subnet = subnets(ec2)[0]["SubnetId"]
    gateway = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[gateway])
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway)
    assert states(ec2, table)["0.0.0.0/0"] == "active"
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    ec2.get_waiter("nat_gateway_deleted").wait(NatGatewayIds=[gateway])
    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    assert set(states(ec2, table).values()) == {"active", "blackhole"}
    ec2.release_address(AllocationId=address)
    ec2.delete_vpc(VpcId=other)


def test_prefixes_come_and_go(ec2):
    vpc = ec2.create_vpc(CidrBlock="10.78.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.78.1.0/24")["Subnet"]["SubnetId"]

    def free():
        return ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"]

    reserved = ec2.create_subnet_cidr_reservation(SubnetId=subnet, Cidr="10.78.1.64/28", ReservationType="prefix")
    reserved = reserved["SubnetCidrReservation"]["SubnetCidrReservationId"]
    before = free()
    eni = ec2.create_network_interface(SubnetId=subnet, Ipv4PrefixCount=1)["NetworkInterface"]
    eni, given = eni["NetworkInterfaceId"], eni["Ipv4Prefixes"]
    assert given == [{"Ipv4Prefix": "10.78.1.64/28"}], "out of the reservation"
    more = ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4PrefixCount=2)["AssignedIpv4Prefixes"]
    assert len(more) == 2
    assert interface(ec2, eni)["Ipv4Prefixes"] == given + more
    assert free() == before - 1 - 3 * 16
    taken = str(next(ipaddress.ip_network(more[0]["Ipv4Prefix"]).hosts()))
    with pytest.raises(ec2.exceptions.ClientError) as refused:
        ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress=taken)
    assert refused.value.response["Error"]["Code"] == "InvalidIPAddress.InUse"
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4Prefixes=[more[0]["Ipv4Prefix"]])
    assert free() == before - 1 - 2 * 16
    ec2.delete_network_interface(NetworkInterfaceId=eni)
    assert free() == before
    ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=reserved)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


@pytest.fixture(scope="module")
def street(ec2, image, tmp_path_factory):
    """A guest in each of three subnets that say their names to everybody; the third one may forward."""
    key = key_pair(ec2, "street", tmp_path_factory.mktemp("street"))
    places = subnets(ec2)
    vpc = places[0]["VpcId"]
    group = open_group(ec2, "street", vpc)
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    guests = [
        Guest(ec2, key, ImageId=image, SubnetId=place["SubnetId"], SecurityGroupIds=[group],
              UserData=SERVICE.format(name=name))
        for name, place in zip(("one", "two", "three"), places)
    ]
    for guest in guests:
        guest.running()
        wait_until(lambda: guest.does("nc -w 2 127.0.0.1 8080 < /dev/null"), "the service listens")
    yield guests, places, group
    ec2.terminate_instances(InstanceIds=[guest.id for guest in guests])
    ec2.get_waiter("instance_terminated").wait(
        InstanceIds=[guest.id for guest in guests], WaiterConfig={"Delay": 1, "MaxAttempts": 240})


def says(guest, address):
    return guest.ssh(f"nc -w 2 {address} 8080 < /dev/null", check=False).stdout.strip()


@pytest.mark.machines
def test_a_second_interface_answers_on_its_address_while_it_is_plugged_in(ec2, street):
    (one, two, _), places, group = street
    made = ec2.create_network_interface(SubnetId=places[0]["SubnetId"], Groups=[group])["NetworkInterface"]
    eni, address = made["NetworkInterfaceId"], made["PrivateIpAddress"]
    plug = ec2.attach_network_interface(NetworkInterfaceId=eni, InstanceId=one.id, DeviceIndex=1)["AttachmentId"]
    wait_until(lambda: attachment(ec2, eni) == "attached", "attached", timeout=240)
    wait_until(lambda: says(two, address) == "one", "an answer on the second interface", timeout=240)
    mac = made["MacAddress"]
    macs = "http://169.254.169.254/latest/meta-data/network/interfaces/macs"
    assert one.ssh(f"wget -qO- {macs}/{mac}/device-number") == "1"
    assert one.ssh(f"wget -qO- {macs}/{mac}/local-ipv4s") == address
    assert says(two, one.private) == "one", "the first one answers as ever"
    ec2.detach_network_interface(AttachmentId=plug)
    wait_until(lambda: interface(ec2, eni)["Status"] == "available", "available", timeout=240)
    assert says(two, address) == ""
    assert says(two, one.private) == "one"
    ec2.delete_network_interface(NetworkInterfaceId=eni)


@pytest.mark.machines
def test_a_secondary_address_is_reached_once_its_guest_has_it(ec2, street):
    (one, two, _), places, _ = street
    first = describe(ec2, one.id)["NetworkInterfaces"][0]
    eni, mac = first["NetworkInterfaceId"], first["MacAddress"]
    given = ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=1)
    address = given["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"]
    told = f"wget -qO- http://169.254.169.254/latest/meta-data/network/interfaces/macs/{mac}/local-ipv4s"
    wait_until(lambda: one.ssh(told).split() == [one.private, address], "both addresses in the metadata")
    assert says(two, address) == "", "the guest does not know of it yet"
    link = one.ssh("ip -o route show default").split(" dev ")[1].split()[0]
    one.ssh(f"sudo ip addr add {address}/32 dev {link}")
    wait_until(lambda: says(two, address) == "one", "an answer on the secondary address")
    elastic = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=elastic["AllocationId"], NetworkInterfaceId=eni, PrivateIpAddress=address)
    wait_until(lambda: says(two, elastic["PublicIp"]) == "one", "an answer on its elastic address")
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=[address])
    wait_until(lambda: says(two, address) == "", "silence on what was given back")
    ec2.release_address(AllocationId=elastic["AllocationId"])
    one.ssh(f"sudo ip addr del {address}/32 dev {link}")


@pytest.mark.machines
def test_every_address_of_a_prefix_is_reached(ec2, street):
    (_, two, three), _, _ = street
    first = describe(ec2, two.id)["NetworkInterfaces"][0]
    eni, mac = first["NetworkInterfaceId"], first["MacAddress"]
    given = ec2.assign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4PrefixCount=1)
    prefix = given["AssignedIpv4Prefixes"][0]["Ipv4Prefix"]
    assert describe(ec2, two.id)["NetworkInterfaces"][0]["Ipv4Prefixes"] == [{"Ipv4Prefix": prefix}]
    told = f"wget -qO- http://169.254.169.254/latest/meta-data/network/interfaces/macs/{mac}/ipv4-prefix || true"
    wait_until(lambda: two.ssh(told) == prefix, "the prefix in the metadata")
    link = two.ssh("ip -o route show default").split(" dev ")[1].split()[0]
    block = ipaddress.ip_network(prefix)
    ends = [str(block[0]), str(block[-1])]
    for address in ends:
        two.ssh(f"sudo ip addr add {address}/32 dev {link}")
        wait_until(lambda: says(three, address) == "two", "an answer on an address of the prefix")
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=eni, Ipv4Prefixes=[prefix])
    for address in ends:
        wait_until(lambda: says(three, address) == "", "silence on what was given back")
        two.ssh(f"sudo ip addr del {address}/32 dev {link}")


def answers(address):
    """What the service on a public address says to the host."""
    try:
        with socket.create_connection((address, 8080), timeout=5) as connection:
            return connection.recv(64).decode().strip()
    except OSError:
        return ""


@pytest.mark.machines
def test_what_comes_by_the_gateway_passes_the_machine_before_the_subnet(ec2, street, table):
    (_, two, three), places, _ = street
    out = ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    wait_until(lambda: answers(two.address) == "two", "the way in")
    ec2.associate_route_table(RouteTableId=table, GatewayId=out)
    assert answers(two.address) == "two", "a table without routes leads nothing elsewhere"
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=places[1]["CidrBlock"], InstanceId=three.id)
    wait_until(lambda: answers(two.address) == "", "the way leads to a machine that takes nothing for others")
    ec2.modify_instance_attribute(InstanceId=three.id, SourceDestCheck={"Value": False})
    three.ssh("sudo sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'")
    wait_until(lambda: answers(two.address) == "two", "the machine passes packets on")
    assert answers(three.address) == "three", "and is reached itself"
    three.ssh("sudo sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'")
    wait_until(lambda: answers(two.address) == "", "and nobody else does")
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock=places[1]["CidrBlock"])
    wait_until(lambda: answers(two.address) == "two", "the local route again")
    ec2.modify_instance_attribute(InstanceId=three.id, SourceDestCheck={"Value": True})


@pytest.mark.machines
def test_a_machine_that_forwards_carries_one_subnet_to_another(ec2, street, table):
    (one, two, three), places, _ = street
    ec2.associate_route_table(RouteTableId=table, SubnetId=places[0]["SubnetId"])
    out = ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=out)
    assert says(one, two.private) == "two", "by the local route"
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=places[1]["CidrBlock"], InstanceId=three.id)
    wait_until(lambda: says(one, two.private) == "", "the way leads to a machine that takes nothing for others")
    ec2.modify_instance_attribute(InstanceId=three.id, SourceDestCheck={"Value": False})
    three.ssh("sudo sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'")
    wait_until(lambda: says(one, two.private) == "two", "the machine passes packets on")
    three.ssh("sudo sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'")
    assert says(one, two.private) == "", "and nobody else does"
    ec2.stop_instances(InstanceIds=[three.id])
    wait_for(ec2, three.id, "stopped")
    assert states(ec2, table)[places[1]["CidrBlock"]] == "blackhole"
    assert says(one, two.private) == ""
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock=places[1]["CidrBlock"])
    wait_until(lambda: says(one, two.private) == "two", "the local route again")


@pytest.mark.machines
def test_a_nat_gateway_lets_a_private_subnet_out(ec2, street, table):
    (one, two, _), places, _ = street
    # The host's own address in the pool of public ones: outside of every VPC.
    host = ipaddress.ip_network(f"{two.address}/22", strict=False)[1]
    asks = lambda: one.ssh(f"echo {host} | nc -w 8 {two.private} 8082", check=False).stdout.strip()
    wait_until(lambda: asks() == "outside", "the way out by its own public address")
    # Its subnet loses the way to the internet gateway, and with it its public address.
    ec2.associate_route_table(RouteTableId=table, SubnetId=places[1]["SubnetId"])
    wait_until(lambda: asks() == "inside", "no way out")
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=places[0]["SubnetId"], AllocationId=address)["NatGateway"]
    gateway = gateway["NatGatewayId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway)
    wait_until(lambda: asks() == "outside", "the way out by the gateway")
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    wait_until(lambda: asks() == "inside", "no way out")
    ec2.release_address(AllocationId=address)
