"""Managed prefix lists, further blocks of a VPC, reservations, groups across peerings, addresses that change hands."""

import ipaddress
import json

import pytest
from conftest import code, wait_until
from guest import Guest, key_pair, open_group

SERVICE = """#!/bin/sh
printf '#!/bin/sh\\necho {name}\\n' > /root/service
chmod +x /root/service
nc -ll -p 8080 -e /root/service &
"""


@pytest.fixture
def vpc(ec2):
    made = ec2.create_vpc(CidrBlock="10.64.0.0/16")["Vpc"]["VpcId"]
    yield made
    for subnet in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [made]}])["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    mine = [{"Name": "vpc-id", "Values": [made]}]
    for group in ec2.describe_security_groups(Filters=mine)["SecurityGroups"]:
        if group["GroupName"] != "default":
            ec2.delete_security_group(GroupId=group["GroupId"])
    ec2.delete_vpc(VpcId=made)


def test_a_prefix_list_has_versions_and_keeps_its_users(ec2, cloud, vpc):
    made = cloud.aws(
        "ec2", "create-managed-prefix-list", "--prefix-list-name", "offices", "--max-entries", "3",
        "--address-family", "IPv4", "--entries", "Cidr=192.0.2.0/24,Description=one",
        "--tag-specifications", "ResourceType=prefix-list,Tags=[{Key=team,Value=net}]")["PrefixList"]
    offices = made["PrefixListId"]
    assert (made["State"], made["Version"], made["MaxEntries"]) == ("create-in-progress", 1, 3)
    assert offices.startswith("pl-") and made["PrefixListArn"].endswith(f":prefix-list/{offices}")

    def described(**parameters):
        return ec2.describe_managed_prefix_lists(**parameters)["PrefixLists"]

    assert described(PrefixListIds=[offices])[0]["State"] == "create-complete"
    for name, value in (("prefix-list-name", "offices"), ("prefix-list-id", offices), ("tag:team", "net"),
                        ("owner-id", made["OwnerId"])):
        found = [one["PrefixListId"] for one in described(Filters=[{"Name": name, "Values": [value]}])]
        assert found == [offices], name
    assert described(Filters=[{"Name": "prefix-list-name", "Values": ["none"]}]) == []

    changed = ec2.modify_managed_prefix_list(
        PrefixListId=offices, CurrentVersion=1, AddEntries=[{"Cidr": "198.51.100.0/24"}],
        RemoveEntries=[{"Cidr": "192.0.2.0/24"}])["PrefixList"]
    assert changed["Version"] == 2

    def entries(**parameters):
        found = ec2.get_managed_prefix_list_entries(PrefixListId=offices, **parameters)["Entries"]
        return [entry["Cidr"] for entry in found]

    assert entries() == ["198.51.100.0/24"]
    assert entries(TargetVersion=1) == ["192.0.2.0/24"]
    assert code(ec2.get_managed_prefix_list_entries, PrefixListId=offices, TargetVersion=9) == "InvalidParameterValue"
    stale = {"PrefixListId": offices, "CurrentVersion": 1, "AddEntries": [{"Cidr": "10.0.0.0/8"}]}
    assert code(ec2.modify_managed_prefix_list, **stale) == "PrefixListVersionMismatch"
    both = {**stale, "CurrentVersion": 2, "MaxEntries": 9}
    assert code(ec2.modify_managed_prefix_list, **both) == "InvalidParameterCombination"
    many = [{"Cidr": f"10.{n}.0.0/16"} for n in range(3)]
    crowd = {"PrefixListId": offices, "CurrentVersion": 2, "AddEntries": many}
    assert code(ec2.modify_managed_prefix_list, **crowd) == "PrefixListMaxEntriesExceeded"
    wrong = {"PrefixListId": offices, "CurrentVersion": 2, "AddEntries": [{"Cidr": "2001:db8::/32"}]}
    assert code(ec2.modify_managed_prefix_list, **wrong) == "InvalidParameterValue"
    restored = ec2.restore_managed_prefix_list_version(
        PrefixListId=offices, PreviousVersion=1, CurrentVersion=2)["PrefixList"]
    assert (restored["Version"], entries()) == (3, ["192.0.2.0/24"])

    # A group's rule and a route refer to it.
    group = ec2.create_security_group(GroupName="listed", Description="by list", VpcId=vpc)["GroupId"]
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "PrefixListIds": [
        {"PrefixListId": offices, "Description": "offices"}]}
    rule = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])["SecurityGroupRules"][0]
    assert rule["PrefixListId"] == offices and "CidrIpv4" not in rule
    shown = ec2.describe_security_groups(
        Filters=[{"Name": "ip-permission.prefix-list-id", "Values": [offices]}])["SecurityGroups"]
    assert [one["GroupId"] for one in shown] == [group]
    assert shown[0]["IpPermissions"][0]["PrefixListIds"] == permission["PrefixListIds"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationPrefixListId=offices, GatewayId=gateway)
    by_list = [{"Name": "route.destination-prefix-list-id", "Values": [offices]}]
    routes = ec2.describe_route_tables(Filters=by_list)["RouteTables"][0]["Routes"]
    assert [(r.get("DestinationPrefixListId"), r["State"]) for r in routes] == [(None, "active"), (offices, "active")]
    users = ec2.get_managed_prefix_list_associations(PrefixListId=offices)["PrefixListAssociations"]
    assert {user["ResourceId"] for user in users} == {group, table}
    assert code(ec2.delete_managed_prefix_list, PrefixListId=offices) == "DependencyViolation"

    # A reference counts as often as the list may have entries.
    assert code(ec2.modify_managed_prefix_list, PrefixListId=offices, MaxEntries=61) == "RulesPerSecurityGroupLimitExceeded"
    assert code(ec2.modify_managed_prefix_list, PrefixListId=offices, MaxEntries=51) == "RouteLimitExceeded"
    ec2.modify_managed_prefix_list(PrefixListId=offices, MaxEntries=50, PrefixListName="places")
    more = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway}
    assert code(ec2.create_route, **more) == "RouteLimitExceeded"

    ec2.delete_route(RouteTableId=table, DestinationPrefixListId=offices)
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[permission])
    gone = ec2.delete_managed_prefix_list(PrefixListId=offices)["PrefixList"]
    assert (gone["State"], gone["PrefixListName"]) == ("delete-in-progress", "places")
    assert code(ec2.describe_managed_prefix_lists, PrefixListIds=[offices]) == "InvalidPrefixListID.NotFound"
    assert code(ec2.describe_prefix_lists, PrefixListIds=[offices]) == "InvalidPrefixListID.NotFound"
    assert ec2.describe_prefix_lists()["PrefixLists"] == []
    ec2.delete_route_table(RouteTableId=table)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)


def test_a_vpc_gets_further_blocks_and_gives_them_back(ec2, vpc):
    for wrong in ("10.64.128.0/17", "10.64.0.0/15", "172.16.0.0/16", "198.19.0.0/20", "10.65.0.0/29"):
        assert code(ec2.associate_vpc_cidr_block, VpcId=vpc, CidrBlock=wrong) == "InvalidVpc.Range", wrong
    given = ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock="10.65.0.0/24")["CidrBlockAssociation"]
    assert given["CidrBlockState"]["State"] == "associating"
    association = given["AssociationId"]

    def blocks():
        shown = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]
        assert shown["CidrBlock"] == "10.64.0.0/16"
        return [block["CidrBlock"] for block in shown["CidrBlockAssociationSet"]]

    assert blocks() == ["10.64.0.0/16", "10.65.0.0/24"]
    for name, value in (("cidr-block-association.cidr-block", "10.65.0.0/24"),
                        ("cidr-block-association.association-id", association)):
        found = ec2.describe_vpcs(Filters=[{"Name": name, "Values": [value]}])["Vpcs"]
        assert [one["VpcId"] for one in found] == [vpc]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.65.0.0/28")["Subnet"]["SubnetId"]
    assert code(ec2.create_subnet, VpcId=vpc, CidrBlock="10.66.0.0/28") == "InvalidSubnet.Range"
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    local = [route["DestinationCidrBlock"] for route in tables[0]["Routes"] if route["GatewayId"] == "local"]
    assert local == ["10.64.0.0/16", "10.65.0.0/24"]
    eni = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
    assert ipaddress.ip_address(eni["PrivateIpAddress"]) in ipaddress.ip_network("10.65.0.0/28")
    ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
    assert code(ec2.disassociate_vpc_cidr_block, AssociationId=association) == "DependencyViolation"
    ec2.delete_subnet(SubnetId=subnet)
    primary = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlockAssociationSet"][0]["AssociationId"]
    assert code(ec2.disassociate_vpc_cidr_block, AssociationId=primary) == "OperationNotPermitted"
    more = [ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock=f"10.{n}.0.0/24")["CidrBlockAssociation"]
            for n in (70, 71, 72)]
    assert code(ec2.associate_vpc_cidr_block, VpcId=vpc, CidrBlock="10.73.0.0/24") == "CidrLimitExceeded"
    for one in [given, *more]:
        gone = ec2.disassociate_vpc_cidr_block(AssociationId=one["AssociationId"])["CidrBlockAssociation"]
        assert gone["CidrBlockState"]["State"] == "disassociating"
    assert blocks() == ["10.64.0.0/16"]
    unknown = code(ec2.disassociate_vpc_cidr_block, AssociationId=association)
    assert unknown == "InvalidVpcCidrBlockAssociationID.NotFound"


def test_what_is_reserved_is_only_given_to_who_names_it(ec2, vpc):
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.64.1.0/28")["Subnet"]["SubnetId"]
    made = ec2.create_subnet_cidr_reservation(
        SubnetId=subnet, Cidr="10.64.1.8/29", ReservationType="explicit", Description="for servers")
    reservation = made["SubnetCidrReservation"]
    assert reservation["Cidr"] == "10.64.1.8/29"
    for cidr in ("10.64.1.8/30", "10.64.2.0/28", "nonsense"):
        wrong = {"SubnetId": subnet, "Cidr": cidr, "ReservationType": "explicit"}
        assert code(ec2.create_subnet_cidr_reservation, **wrong) == "InvalidParameterValue", cidr
    found = ec2.get_subnet_cidr_reservations(
        SubnetId=subnet, Filters=[{"Name": "reservationType", "Values": ["explicit"]}])
    assert found["SubnetIpv4CidrReservations"] == [reservation]
    # Of 4 to 7 each gets one, then nobody more.
    interfaces = []
    for _ in range(4):
        interfaces.append(ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"])
    assert sorted(i["PrivateIpAddress"] for i in interfaces) == [f"10.64.1.{n}" for n in (4, 5, 6, 7)]
    assert code(ec2.create_network_interface, SubnetId=subnet) == "InsufficientFreeAddressesInSubnet"
    named = ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress="10.64.1.9")["NetworkInterface"]
    gone = ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=reservation["SubnetCidrReservationId"])
    assert gone["DeletedSubnetCidrReservation"] == reservation
    interfaces += [named, ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]]
    for interface in interfaces:
        ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])


def test_groups_across_a_peering_are_told_and_become_stale(ec2, vpc):
    other = ec2.create_vpc(CidrBlock="10.80.0.0/16")["Vpc"]["VpcId"]
    clash = ec2.create_vpc(CidrBlock="10.81.0.0/16")["Vpc"]["VpcId"]
    peering = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=other)
    peering = peering["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    assert code(ec2.associate_vpc_cidr_block, VpcId=vpc, CidrBlock="10.80.8.0/24") == "InvalidVpc.Range"
    ec2.associate_vpc_cidr_block(VpcId=other, CidrBlock="10.82.0.0/24")
    shown = ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[peering])["VpcPeeringConnections"][0]
    told = [block["CidrBlock"] for block in shown["AccepterVpcInfo"]["CidrBlockSet"]]
    assert told == ["10.80.0.0/16", "10.82.0.0/24"]

    # A request of before that overlaps by now comes to nothing.
    late = ec2.create_vpc_peering_connection(VpcId=clash, PeerVpcId=other)["VpcPeeringConnection"]
    ec2.associate_vpc_cidr_block(VpcId=clash, CidrBlock="10.82.0.0/25")
    accepted = ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=late["VpcPeeringConnectionId"])
    assert accepted["VpcPeeringConnection"]["Status"]["Code"] == "failed"

    named = ec2.create_security_group(GroupName="named", Description="named", VpcId=other)["GroupId"]
    group = ec2.create_security_group(GroupName="naming", Description="naming", VpcId=vpc)["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 7, "ToPort": 7, "UserIdGroupPairs": [{"GroupId": named}]}])
    references = ec2.describe_security_group_references(GroupId=[named])["SecurityGroupReferenceSet"]
    assert references == [
        {"GroupId": named, "ReferencingVpcId": vpc, "VpcPeeringConnectionId": peering}]
    assert ec2.describe_stale_security_groups(VpcId=vpc)["StaleSecurityGroupSet"] == []

    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    stale = ec2.describe_stale_security_groups(VpcId=vpc)["StaleSecurityGroupSet"]
    assert [one["GroupId"] for one in stale] == [group]
    pair = stale[0]["StaleIpPermissions"][0]["UserIdGroupPairs"][0]
    assert (pair["GroupId"], pair["VpcId"], pair["PeeringStatus"]) == (named, other, "deleted")
    ec2.delete_security_group(GroupId=named)
    assert [one["GroupId"] for one in ec2.describe_stale_security_groups(VpcId=vpc)["StaleSecurityGroupSet"]] == [group]

    groups = ec2.get_security_groups_for_vpc(
        VpcId=vpc, Filters=[{"Name": "group-name", "Values": ["naming"]}])["SecurityGroupForVpcs"]
    assert [(one["GroupId"], one["PrimaryVpcId"]) for one in groups] == [(group, vpc)]
    assert len(ec2.get_security_groups_for_vpc(VpcId=vpc)["SecurityGroupForVpcs"]) == 2
    for one in (other, clash):
        ec2.delete_vpc(VpcId=one)


def test_an_elastic_address_goes_to_another_account(ec2, cloud):
    account = json.loads(cloud.run("account", "create", "--json").stdout)
    theirs = cloud.client(
        aws_access_key_id=account["access_key_id"], aws_secret_access_key=account["secret_access_key"])
    number = theirs.describe_vpcs()["Vpcs"][0]["OwnerId"]
    mine = ec2.allocate_address(Domain="vpc")
    offered = ec2.enable_address_transfer(AllocationId=mine["AllocationId"], TransferAccountId=number)
    assert offered["AddressTransfer"]["AddressTransferStatus"] == "pending"
    shown = ec2.describe_address_transfers(AllocationIds=[mine["AllocationId"]])["AddressTransfers"]
    assert [(one["PublicIp"], one["TransferAccountId"]) for one in shown] == [(mine["PublicIp"], number)]
    taken_back = ec2.disable_address_transfer(AllocationId=mine["AllocationId"])["AddressTransfer"]
    assert taken_back["AddressTransferStatus"] == "disabled"
    assert ec2.describe_address_transfers()["AddressTransfers"] == []
    assert code(theirs.accept_address_transfer, Address=mine["PublicIp"]) == "InvalidTransfer.AddressNotFound"
    ec2.enable_address_transfer(AllocationId=mine["AllocationId"], TransferAccountId=number)
    accepted = theirs.accept_address_transfer(Address=mine["PublicIp"])["AddressTransfer"]
    assert accepted["AddressTransferStatus"] == "accepted"
    assert code(ec2.release_address, AllocationId=mine["AllocationId"]) == "InvalidAllocationID.NotFound"
    assert [a["PublicIp"] for a in theirs.describe_addresses()["Addresses"]] == [mine["PublicIp"]]
    theirs.release_address(AllocationId=accepted["AllocationId"])


@pytest.mark.machines
def test_packets_follow_a_list_and_reach_a_further_block(ec2, image, tmp_path):
    key = key_pair(ec2, "lists", tmp_path)
    zone = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"][0]
    home = zone["VpcId"]
    block = ec2.associate_vpc_cidr_block(VpcId=home, CidrBlock="100.64.7.0/24")["CidrBlockAssociation"]
    far = ec2.create_subnet(VpcId=home, CidrBlock="100.64.7.0/28")["Subnet"]["SubnetId"]
    friends = ec2.create_managed_prefix_list(
        PrefixListName="friends", MaxEntries=2, AddressFamily="IPv4")["PrefixList"]["PrefixListId"]
    group = ec2.create_security_group(GroupName="by-list", Description="by list", VpcId=home)["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "PrefixListIds": [{"PrefixListId": friends}]}])
    one = Guest(ec2, key, ImageId=image, SubnetId=zone["SubnetId"], SecurityGroupIds=[open_group(ec2, "lists", home, 22)])
    two = Guest(ec2, key, ImageId=image, SubnetId=far, SecurityGroupIds=[group], UserData=SERVICE.format(name="two"))
    one.running()
    own, there = (guest.describe()["PrivateIpAddress"] for guest in (one, two))
    assert there.startswith("100.64.7.")

    def says():
        return one.ssh(f"nc -w 2 {there} 8080 < /dev/null", check=False).stdout.strip()

    ec2.modify_managed_prefix_list(PrefixListId=friends, CurrentVersion=1, AddEntries=[{"Cidr": f"{own}/32"}])
    wait_until(lambda: says() == "two", "the list lets it in", timeout=240)
    ec2.modify_managed_prefix_list(PrefixListId=friends, CurrentVersion=2, RemoveEntries=[{"Cidr": f"{own}/32"}])
    wait_until(lambda: says() == "", "the list lets it in no more", timeout=240)
    ec2.restore_managed_prefix_list_version(PrefixListId=friends, PreviousVersion=2, CurrentVersion=3)
    wait_until(lambda: says() == "two", "the list lets it in again", timeout=240)

    ec2.terminate_instances(InstanceIds=[one.id, two.id])
    ec2.get_waiter("instance_terminated").wait(
        InstanceIds=[one.id, two.id], WaiterConfig={"Delay": 1, "MaxAttempts": 240})
    ec2.delete_security_group(GroupId=group)
    ec2.delete_managed_prefix_list(PrefixListId=friends)
    ec2.delete_subnet(SubnetId=far)
    ec2.disassociate_vpc_cidr_block(AssociationId=block["AssociationId"])


def test_a_gateways_own_table_leads_subnets_to_interfaces_and_holds_the_gateway(ec2, vpc):
    out = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=out, VpcId=vpc)
    guarded = ec2.create_subnet(VpcId=vpc, CidrBlock="10.64.1.0/24")["Subnet"]["SubnetId"]
    front = ec2.create_subnet(VpcId=vpc, CidrBlock="10.64.2.0/24")["Subnet"]["SubnetId"]
    firewall = ec2.create_network_interface(SubnetId=front)["NetworkInterface"]["NetworkInterfaceId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    by_gateway = [{"Name": "association.gateway-id", "Values": [out]}]
    assert ec2.describe_route_tables(Filters=by_gateway)["RouteTables"] == []
    made = ec2.associate_route_table(RouteTableId=table, GatewayId=out)
    assert made["AssociationState"]["State"] == "associated"
    wrong = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}
    assert code(ec2.create_route, **wrong, GatewayId=out) == "InvalidParameterValue"
    assert code(ec2.create_route, **wrong, NetworkInterfaceId=firewall) == "InvalidParameterValue"
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.64.1.0/24", NetworkInterfaceId=firewall)
    ec2.replace_route(RouteTableId=table, DestinationCidrBlock="10.64.0.0/16", NetworkInterfaceId=firewall)
    [shown] = ec2.describe_route_tables(Filters=by_gateway)["RouteTables"]
    [association] = shown["Associations"]
    assert (association["GatewayId"], association["Main"]) == (out, False) and "SubnetId" not in association
    led = {route["DestinationCidrBlock"]: route.get("NetworkInterfaceId") for route in shown["Routes"]}
    assert led == {"10.64.0.0/16": firewall, "10.64.1.0/24": firewall}
    ec2.replace_route(RouteTableId=table, DestinationCidrBlock="10.64.0.0/16", LocalTarget=True)
    [shown] = ec2.describe_route_tables(Filters=by_gateway)["RouteTables"]
    assert shown["Routes"][0]["GatewayId"] == "local"
    assert code(ec2.detach_internet_gateway, InternetGatewayId=out, VpcId=vpc) == "DependencyViolation"
    assert code(ec2.delete_route_table, RouteTableId=table) == "DependencyViolation"
    ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_network_interface(NetworkInterfaceId=firewall)
    for subnet in (guarded, front):
        ec2.delete_subnet(SubnetId=subnet)
    ec2.detach_internet_gateway(InternetGatewayId=out, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=out)
