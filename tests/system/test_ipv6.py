"""IPv6: blocks, addresses, routes and rules by real clients; on real machines what passes between guests, and from the host."""

import ipaddress
import json
import socket
import subprocess

import pytest
from conftest import code, wait_until
from guest import Guest, key_pair, ssh, ssh_line, wait_for

SERVICE = """#!/bin/sh
printf '#!/bin/sh\\necho {name}\\n' > /root/service
chmod +x /root/service
nc -ll -p 8080 -e /root/service &
"""


def clear(ec2, vpc):
    """Deletes a VPC with all that its test made in it."""
    mine = [{"Name": "vpc-id", "Values": [vpc]}]
    attached = [{"Name": "attachment.vpc-id", "Values": [vpc]}]
    for gateway in ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]:
        ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
        ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
    for gateway in ec2.describe_egress_only_internet_gateways(Filters=attached)["EgressOnlyInternetGateways"]:
        ec2.delete_egress_only_internet_gateway(EgressOnlyInternetGatewayId=gateway["EgressOnlyInternetGatewayId"])
    for interface in ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"]:
        ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
    for subnet in ec2.describe_subnets(Filters=mine)["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    for table in ec2.describe_route_tables(Filters=mine)["RouteTables"]:
        if not any(association["Main"] for association in table["Associations"]):
            ec2.delete_route_table(RouteTableId=table["RouteTableId"])
    for group in ec2.describe_security_groups(Filters=mine)["SecurityGroups"]:
        if group["GroupName"] != "default":
            ec2.delete_security_group(GroupId=group["GroupId"])
    ec2.delete_vpc(VpcId=vpc)


@pytest.fixture
def vpc(ec2):
    made = ec2.create_vpc(CidrBlock="10.66.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    yield made
    clear(ec2, made)


def block(ec2, vpc):
    found = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]
    assert (found["Ipv6CidrBlockState"]["State"], found["Ipv6Pool"]) == ("associated", "Amazon")
    return ipaddress.ip_network(found["Ipv6CidrBlock"])


def test_blocks_subnets_and_addresses_come_and_go(ec2, cloud, vpc):
    nets = list(block(ec2, vpc).subnets(new_prefix=64))
    made = ec2.create_subnet(VpcId=vpc, CidrBlock="10.66.1.0/24", Ipv6CidrBlock=str(nets[1]))["Subnet"]
    subnet = made["SubnetId"]
    assert made["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"] == str(nets[1])
    ec2.modify_subnet_attribute(SubnetId=subnet, AssignIpv6AddressOnCreation={"Value": True})
    eni = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
    first = ipaddress.ip_address(eni["Ipv6Addresses"][0]["Ipv6Address"])
    assert first in nets[1]
    given = cloud.aws("ec2", "assign-ipv6-addresses", "--network-interface-id", eni["NetworkInterfaceId"],
                      "--ipv6-address-count", "2")["AssignedIpv6Addresses"]
    assert len(set(given)) == 2
    cloud.aws("ec2", "unassign-ipv6-addresses", "--network-interface-id", eni["NetworkInterfaceId"],
              "--ipv6-addresses", given[0])
    filters = [{"Name": "ipv6-addresses.ipv6-address", "Values": [given[1]]}]
    shown = ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"][0]
    assert [a["Ipv6Address"] for a in shown["Ipv6Addresses"]] == [str(first), given[1]]
    associated = made["Ipv6CidrBlockAssociationSet"][0]["AssociationId"]
    assert code(ec2.disassociate_subnet_cidr_block, AssociationId=associated) == "DependencyViolation"
    other = ec2.create_subnet(VpcId=vpc, CidrBlock="10.66.2.0/24")["Subnet"]["SubnetId"]
    assert code(ec2.associate_subnet_cidr_block, SubnetId=other, Ipv6CidrBlock=str(nets[1])) == "InvalidSubnet.Conflict"
    late = ec2.associate_subnet_cidr_block(SubnetId=other, Ipv6CidrBlock=str(nets[2]))["Ipv6CidrBlockAssociation"]
    ec2.disassociate_subnet_cidr_block(AssociationId=late["AssociationId"])
    more = ec2.associate_vpc_cidr_block(VpcId=vpc, AmazonProvidedIpv6CidrBlock=True)["Ipv6CidrBlockAssociation"]
    assert len(ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"]) == 2
    ec2.disassociate_vpc_cidr_block(AssociationId=more["AssociationId"])


def test_prefixes_come_and_go(ec2, cloud, vpc):
    net = list(block(ec2, vpc).subnets(new_prefix=64))[1]
    made = ec2.create_subnet(VpcId=vpc, CidrBlock="10.66.1.0/24", Ipv6CidrBlock=str(net))["Subnet"]
    subnet = made["SubnetId"]
    eni = ec2.create_network_interface(SubnetId=subnet, Ipv6PrefixCount=1)["NetworkInterface"]
    eni, given = eni["NetworkInterfaceId"], eni["Ipv6Prefixes"]
    first = ipaddress.ip_network(given[0]["Ipv6Prefix"])
    assert first.prefixlen == 80 and first.subnet_of(net)
    assert code(ec2.create_network_interface, SubnetId=subnet, Ipv6Prefixes=given) == "InvalidIPAddress.InUse"
    inside = [{"Ipv6Address": str(first[7])}]
    assert code(ec2.create_network_interface, SubnetId=subnet, Ipv6Addresses=inside) == "InvalidIPAddress.InUse"
    more = cloud.aws("ec2", "assign-ipv6-addresses", "--network-interface-id", eni,
                     "--ipv6-prefix-count", "2")["AssignedIpv6Prefixes"]
    shown = ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    assert [p["Ipv6Prefix"] for p in shown["Ipv6Prefixes"]] == [str(first), *more]
    gone = ec2.unassign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6Prefixes=[str(first)])
    assert gone["UnassignedIpv6Prefixes"] == [str(first)]
    ec2.create_network_interface(SubnetId=subnet, Ipv6Addresses=inside)
    around = code(ec2.assign_ipv6_addresses, NetworkInterfaceId=eni, Ipv6Prefixes=[str(first)])
    assert around == "InvalidIPAddress.InUse"
    associated = made["Ipv6CidrBlockAssociationSet"][0]["AssociationId"]
    assert code(ec2.disassociate_subnet_cidr_block, AssociationId=associated) == "DependencyViolation"


def test_what_is_reserved_is_only_given_to_who_means_it(ec2, cloud, vpc):
    net = list(block(ec2, vpc).subnets(new_prefix=64))[2]
    made = ec2.create_subnet(VpcId=vpc, CidrBlock="10.66.2.0/24", Ipv6CidrBlock=str(net))["Subnet"]
    subnet = made["SubnetId"]
    # Of four quarters the second is for prefixes, the last half for who names it.
    quarters = list(net.subnets(new_prefix=66))
    half = list(net.subnets(new_prefix=65))[1]
    prefixes = cloud.aws("ec2", "create-subnet-cidr-reservation", "--subnet-id", subnet, "--cidr", str(quarters[1]),
                         "--reservation-type", "prefix")["SubnetCidrReservation"]
    assert prefixes["Cidr"] == str(quarters[1])
    named = ec2.create_subnet_cidr_reservation(SubnetId=subnet, Cidr=str(half), ReservationType="explicit")
    named = named["SubnetCidrReservation"]
    for cidr, kind in ((quarters[3], "explicit"), (block(ec2, vpc), "prefix"), (f"{quarters[0][0]}/81", "prefix")):
        wrong = {"SubnetId": subnet, "Cidr": str(cidr), "ReservationType": kind}
        assert code(ec2.create_subnet_cidr_reservation, **wrong) == "InvalidParameterValue", cidr
    ec2.create_subnet_cidr_reservation(SubnetId=subnet, Cidr="10.66.2.64/28", ReservationType="explicit")
    found = ec2.get_subnet_cidr_reservations(SubnetId=subnet)
    shown = sorted(found["SubnetIpv6CidrReservations"], key=lambda r: r["ReservationType"], reverse=True)
    assert shown == [prefixes, named]
    assert [r["Cidr"] for r in found["SubnetIpv4CidrReservations"]] == ["10.66.2.64/28"]

    eni = ec2.create_network_interface(SubnetId=subnet, Ipv6AddressCount=20)["NetworkInterface"]
    for given in eni["Ipv6Addresses"]:
        assert ipaddress.ip_address(given["Ipv6Address"]) in quarters[0]
    eni = eni["NetworkInterfaceId"]
    asked = ec2.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6Addresses=[str(half[9])])
    assert asked["AssignedIpv6Addresses"] == [str(half[9])]
    given = ec2.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6PrefixCount=3)["AssignedIpv6Prefixes"]
    assert all(ipaddress.ip_network(prefix).subnet_of(quarters[1]) for prefix in given)

    ec2.delete_network_interface(NetworkInterfaceId=eni)
    associated = made["Ipv6CidrBlockAssociationSet"][0]["AssociationId"]
    assert code(ec2.disassociate_subnet_cidr_block, AssociationId=associated) == "DependencyViolation"
    for reservation in (prefixes, named):
        gone = ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=reservation["SubnetCidrReservationId"])
        assert gone["DeletedSubnetCidrReservation"] == reservation
    ec2.disassociate_subnet_cidr_block(AssociationId=associated)


def test_routes_rules_and_egress_only_gateways(ec2, cloud, vpc):
    gateway = cloud.aws("ec2", "create-egress-only-internet-gateway", "--vpc-id", vpc,
                        "--tag-specifications", "ResourceType=egress-only-internet-gateway,Tags=[{Key=a,Value=b}]")
    gateway = gateway["EgressOnlyInternetGateway"]["EgressOnlyInternetGatewayId"]
    tagged = [{"Name": "tag:a", "Values": ["b"]}]
    found = ec2.describe_egress_only_internet_gateways(Filters=tagged)["EgressOnlyInternetGateways"][0]
    assert found["Attachments"] == [{"State": "attached", "VpcId": vpc}]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationIpv6CidrBlock="::/0", EgressOnlyInternetGatewayId=gateway)

    def states():
        routes = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
        return {r["DestinationIpv6CidrBlock"]: r["State"] for r in routes if "DestinationIpv6CidrBlock" in r}

    assert states() == {str(block(ec2, vpc)): "active", "::/0": "active"}
    ec2.delete_egress_only_internet_gateway(EgressOnlyInternetGatewayId=gateway)
    assert states()["::/0"] == "blackhole"
    group = ec2.create_security_group(GroupName="six", Description="six", VpcId=vpc)["GroupId"]
    rule = [{"IpProtocol": "icmpv6", "FromPort": -1, "ToPort": -1, "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule)
    shown = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert shown["IpPermissions"][0]["Ipv6Ranges"] == [{"CidrIpv6": "2001:db8::/32"}]
    assert shown["IpPermissionsEgress"][0]["Ipv6Ranges"] == [{"CidrIpv6": "::/0"}]


def test_a_subnet_may_have_ipv6_alone(ec2, cloud, vpc):
    nets = list(block(ec2, vpc).subnets(new_prefix=64))
    native = {"VpcId": vpc, "Ipv6Native": True}
    assert code(ec2.create_subnet, **native) == "MissingParameter"
    both = {**native, "CidrBlock": "10.66.1.0/24", "Ipv6CidrBlock": str(nets[1])}
    assert code(ec2.create_subnet, **both) == "InvalidParameterCombination"
    made = cloud.aws("ec2", "create-subnet", "--vpc-id", vpc, "--ipv6-native", "--ipv6-cidr-block", str(nets[1]))["Subnet"]
    subnet = made["SubnetId"]
    assert "CidrBlock" not in made and made["Ipv6Native"] and made["AssignIpv6AddressOnCreation"]
    assert (made["AvailableIpAddressCount"], made["MapPublicIpOnLaunch"]) == (0, False)
    assert made["PrivateDnsNameOptionsOnLaunch"] == {
        "HostnameType": "resource-name", "EnableResourceNameDnsARecord": False, "EnableResourceNameDnsAAAARecord": True}
    found = ec2.describe_subnets(Filters=[{"Name": "ipv6-native", "Values": ["true"]}])["Subnets"]
    assert [s["SubnetId"] for s in found] == [subnet]
    for attribute, value in (("MapPublicIpOnLaunch", True), ("AssignIpv6AddressOnCreation", False)):
        wrong = {"SubnetId": subnet, attribute: {"Value": value}}
        assert code(ec2.modify_subnet_attribute, **wrong) == "InvalidParameterValue", attribute
    associated = made["Ipv6CidrBlockAssociationSet"][0]["AssociationId"]
    assert code(ec2.disassociate_subnet_cidr_block, AssociationId=associated) == "InvalidCidrBlock.InUse"
    eni = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
    assert eni["Ipv6Native"] and eni["PrivateIpAddresses"] == [] and "PrivateIpAddress" not in eni
    assert ipaddress.ip_address(eni["Ipv6Address"]) in nets[1]
    eni = eni["NetworkInterfaceId"]
    wrong = {"NetworkInterfaceId": eni, "SecondaryPrivateIpAddressCount": 1}
    assert code(ec2.assign_private_ip_addresses, **wrong) == "InvalidParameterValue"
    assert code(ec2.create_network_interface, SubnetId=subnet, PrivateIpAddress="10.66.1.9") == "InvalidParameterValue"
    assert code(ec2.create_nat_gateway, SubnetId=subnet, ConnectivityType="private") == "InvalidParameterValue"


@pytest.fixture(scope="module")
def place(ec2, image, tmp_path_factory):
    """Two guests of a VPC with IPv6: one in a public subnet, one whose way out is egress-only."""
    key = key_pair(ec2, "six", tmp_path_factory.mktemp("six"))
    vpc = ec2.create_vpc(CidrBlock="10.67.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    nets = list(block(ec2, vpc).subnets(new_prefix=64))
    zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    subnets = []
    for number in (1, 2):
        made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.67.{number}.0/24", Ipv6CidrBlock=str(nets[number]),
                                 AvailabilityZone=zone)["Subnet"]["SubnetId"]
        ec2.modify_subnet_attribute(SubnetId=made, AssignIpv6AddressOnCreation={"Value": True})
        subnets.append(made)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    egress = ec2.create_egress_only_internet_gateway(VpcId=vpc)["EgressOnlyInternetGateway"]
    tables = [ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in subnets]
    for table, subnet in zip(tables, subnets):
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    ec2.create_route(RouteTableId=tables[0], DestinationIpv6CidrBlock="::/0", GatewayId=gateway)
    ec2.create_route(RouteTableId=tables[0], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.create_route(RouteTableId=tables[1], DestinationIpv6CidrBlock="::/0",
                     EgressOnlyInternetGatewayId=egress["EgressOnlyInternetGatewayId"])
    group = ec2.create_security_group(GroupName="place", Description="place", VpcId=vpc)["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
         "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    guests = [
        Guest(ec2, key, ImageId=image, UserData=SERVICE.format(name=name), MetadataOptions={"HttpProtocolIpv6": "enabled"},
              NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group],
                                  **({"AssociatePublicIpAddress": True} if name == "public" else {})}])
        for name, subnet in zip(("public", "private"), subnets)
    ]
    for guest in guests:
        guest.running()
        guest.six = guest.describe()["NetworkInterfaces"][0]["Ipv6Addresses"][0]["Ipv6Address"]
    yield guests, group
    instances = [guest.id for guest in guests]
    ec2.terminate_instances(InstanceIds=instances)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=instances, WaiterConfig={"Delay": 1, "MaxAttempts": 240})
    clear(ec2, vpc)


@pytest.mark.machines
def test_guests_talk_by_ipv6_and_the_host_reaches_the_public_one(ec2, place):
    (public, private), group = place
    # The guest has it by advertisement and DHCPv6.
    wait_until(lambda: public.six in public.ssh("ip -6 addr show dev eth0"), "the address", timeout=240)
    assert "fe80::1" in public.ssh("ip -6 route show default")
    told = "http://[fd00:ec2::254]/latest/meta-data/ipv6"
    assert public.ssh(f"wget -qO- {told} || curl -s {told}") == public.six

    def by_ipv6(command):
        done = subprocess.run(ssh_line(public.six, public.key, command), capture_output=True, text=True,
                              timeout=180, stdin=subprocess.DEVNULL, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    wait_until(lambda: by_ipv6("hostname") is not None, "ssh by IPv6", timeout=240)
    ask = f"nc -w 5 {private.six} 8080 < /dev/null"
    assert not public.does(f"{ask} | grep -q private")
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "UserIdGroupPairs": [{"GroupId": group}]}])
    wait_until(lambda: public.does(f"{ask} | grep -q private"), "an answer", timeout=240)
    # The way out of the private one is no way in.
    quick = ["ssh", "-o", "ConnectTimeout=5", "-o", "BatchMode=yes", f"ec2-user@{private.six}", "true"]
    done = subprocess.run(quick, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    assert "timed out" in done.stderr


@pytest.mark.machines
def test_every_address_of_a_prefix_is_reached(ec2, place):
    (public, private), group = place
    rule = [{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule)
    first = public.describe()["NetworkInterfaces"][0]
    eni, mac = first["NetworkInterfaceId"], first["MacAddress"]
    prefix = ec2.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6PrefixCount=1)["AssignedIpv6Prefixes"][0]
    assert public.describe()["NetworkInterfaces"][0]["Ipv6Prefixes"] == [{"Ipv6Prefix": prefix}]
    told = f"wget -qO- http://169.254.169.254/latest/meta-data/network/interfaces/macs/{mac}/ipv6-prefix || true"
    wait_until(lambda: public.ssh(told) == prefix, "the prefix in the metadata")
    net = ipaddress.ip_network(prefix)

    def reached(address):
        """By the host, which is outside of the VPC."""
        try:
            with socket.create_connection((str(address), 8080), timeout=5) as connection:
                return connection.recv(64).decode().strip() == "public"
        except OSError:
            return False

    for address in (net[0], net[-1]):
        public.ssh(f"sudo ip -6 addr add {address}/128 dev eth0")
        wait_until(lambda: reached(address), "an answer on an address of the prefix", timeout=240)
    ec2.unassign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6Prefixes=[prefix])
    for address in (net[0], net[-1]):
        wait_until(lambda: not reached(address), "silence on what was given back", timeout=240)
        public.ssh(f"sudo ip -6 addr del {address}/128 dev eth0")


@pytest.mark.machines
def test_an_instance_without_ipv4_is_reached_and_served_by_ipv6(ec2, cloud, image, place):
    (public, _), group = place
    there = public.describe()
    net = list(block(ec2, there["VpcId"]).subnets(new_prefix=64))[3]
    subnet = ec2.create_subnet(VpcId=there["VpcId"], Ipv6Native=True, Ipv6CidrBlock=str(net))["Subnet"]["SubnetId"]
    of_public = [{"Name": "association.subnet-id", "Values": [there["SubnetId"]]}]
    table = ec2.describe_route_tables(Filters=of_public)["RouteTables"][0]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    request = {"ImageId": image, "SubnetId": subnet, "SecurityGroupIds": [group], "UserData": SERVICE.format(name="alone")}
    alone = Guest(ec2, public.key, **request, MetadataOptions={"HttpProtocolIpv6": "enabled"}).running()
    shown = alone.describe()
    name = f"{alone.id}.ec2.internal"
    assert shown["PrivateDnsName"] == name and ipaddress.ip_address(alone.address) in net
    assert "PublicIpAddress" not in shown and "PrivateIpAddress" not in shown

    def served():
        assert alone.ssh("hostname") == alone.id
        assert alone.ssh("ip -4 addr show dev eth0 | grep inet || true") == ""
        assert "fe80::1" in alone.ssh("ip -6 route show default")
        assert "nameserver fd00:ec2::253" in alone.ssh("cat /etc/resolv.conf")
        told = "wget -qO- http://[fd00:ec2::254]/latest/meta-data"
        assert alone.ssh(f"{told}/ipv6") == alone.address
        mac = shown["NetworkInterfaces"][0]["MacAddress"]
        listed = alone.ssh(f"{told}/ ; {told}/network/interfaces/macs/{mac}/")
        assert "local-ipv4" not in listed and "subnet-ipv4-cidr-block" not in listed

    served()
    # By its name, which the resolver of the VPC knows, and out to others by IPv6.
    wait_until(lambda: public.does(f"nc -w 5 {name} 22 < /dev/null | grep -q SSH"), "ssh by its name", timeout=240)
    assert alone.does(f"nc -w 5 {public.six} 22 < /dev/null | grep -q SSH")
    assert alone.address in cloud.run("ps", "--json").stdout
    nube_ssh = [cloud.nube, "ssh", "--data", cloud.data, "-i", str(alone.key), alone.id, "hostname"]
    assert subprocess.run(nube_ssh, capture_output=True, text=True, timeout=180, check=True).stdout.strip() == alone.id
    # The cloud's API, at an address of this subnet, by a name that leads there.
    doors = ec2.create_security_group(GroupName="six-doors", Description="doors", VpcId=there["VpcId"])["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=doors, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "Ipv6Ranges": [{"CidrIpv6": f"{alone.address}/128"}]}])
    door = ec2.create_vpc_endpoint(
        VpcEndpointType="Interface", VpcId=there["VpcId"], ServiceName="com.amazonaws.us-east-1.ec2", SubnetIds=[subnet],
        IpAddressType="ipv6", SecurityGroupIds=[doors], PrivateDnsEnabled=False)["VpcEndpoint"]
    own = door["DnsEntries"][0]["DnsName"]
    asked = cloud.client(endpoint_url=f"http://{own}").generate_presigned_url(
        "describe_regions", HttpMethod="GET", ExpiresIn=3600)
    wait_until(lambda: "us-east-1" in alone.ssh(f"timeout 20 wget -q -O - '{asked}' 2>&1; true"),
               "the API by IPv6", timeout=240, interval=1)
    at = ec2.describe_network_interfaces(NetworkInterfaceIds=door["NetworkInterfaceIds"])["NetworkInterfaces"][0]
    assert not alone.does(f"ping -6 -c 1 -W 3 {at['Ipv6Address']}")
    assert not public.does(f"nc -w 5 {at['Ipv6Address']} 80 < /dev/null"), "its group lets another in"
    assert ec2.delete_vpc_endpoints(VpcEndpointIds=[door["VpcEndpointId"]])["Unsuccessful"] == []
    # One that goes on from this instant is somebody else, by IPv6 as well.
    child = json.loads(cloud.run("fork", alone.id, "--json").stdout)["instances"][0]
    address = wait_for(ec2, child, "running")["Ipv6Address"]
    assert address != alone.address and ssh(address, alone.key, "hostname") == child
    ec2.terminate_instances(InstanceIds=[child])
    # What it is told at its next boot is the same.
    before = alone.boot()
    ec2.reboot_instances(InstanceIds=[alone.id])
    wait_until(lambda: alone.ssh("cat /proc/sys/kernel/random/boot_id", check=False).stdout.strip() not in ("", before),
               "another boot", timeout=240)
    served()
    ec2.terminate_instances(InstanceIds=[alone.id])
    ended = {"InstanceIds": [alone.id, child], "WaiterConfig": {"Delay": 1, "MaxAttempts": 240}}
    ec2.get_waiter("instance_terminated").wait(**ended)
