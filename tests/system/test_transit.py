"""Transit gateways: VPCs that meet by the gateway's tables and never past them."""

import pytest
from conftest import code, wait_until
from guest import Guest, key_pair, open_group
from test_flow import analyze

SERVICE = """#!/bin/sh
printf '#!/bin/sh\\necho {name}\\n' > /root/service
chmod +x /root/service
nc -ll -p 8080 -e /root/service &
"""


def hub_of(ec2):
    """The default VPC, and its subnet of the first zone."""
    found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    subnet = min(found, key=lambda subnet: subnet["AvailabilityZone"])
    return subnet["VpcId"], subnet["SubnetId"], subnet["AvailabilityZone"]


def main_table(ec2, vpc):
    found = ec2.describe_route_tables(Filters=[
        {"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}])["RouteTables"]
    return found[0]["RouteTableId"]


@pytest.fixture(scope="module")
def net(ec2):
    """A gateway with two tables: spokes know the hub alone, and the hub, which is the default VPC, both spokes."""
    options = {"DefaultRouteTableAssociation": "disable", "DefaultRouteTablePropagation": "disable"}
    gateway = ec2.create_transit_gateway(Description="hub", Options=options)["TransitGateway"]
    assert gateway["State"] == "pending"
    gateway = gateway["TransitGatewayId"]
    hub, subnet, zone = hub_of(ec2)
    vpcs, subnets = [hub], [subnet]
    for n in (71, 72):
        vpcs.append(ec2.create_vpc(CidrBlock=f"10.{n}.0.0/16")["Vpc"]["VpcId"])
        subnets.append(ec2.create_subnet(
            VpcId=vpcs[-1], CidrBlock=f"10.{n}.1.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"])
    attachments = [ec2.create_transit_gateway_vpc_attachment(
        TransitGatewayId=gateway, VpcId=vpc, SubnetIds=[subnet])["TransitGatewayVpcAttachment"]
        ["TransitGatewayAttachmentId"] for vpc, subnet in zip(vpcs, subnets)]
    tables = [ec2.create_transit_gateway_route_table(TransitGatewayId=gateway)["TransitGatewayRouteTable"]
              ["TransitGatewayRouteTableId"] for _ in range(2)]
    of_hub, of_spokes = tables
    for table, attachment in zip((of_hub, of_spokes, of_spokes), attachments):
        ec2.associate_transit_gateway_route_table(
            TransitGatewayRouteTableId=table, TransitGatewayAttachmentId=attachment)
    for table, attachment in zip((of_spokes, of_hub, of_hub), attachments):
        ec2.enable_transit_gateway_route_table_propagation(
            TransitGatewayRouteTableId=table, TransitGatewayAttachmentId=attachment)
    for vpc in vpcs:
        for destination in ("10.0.0.0/8", "172.31.0.0/16"):
            if vpc != hub or destination == "10.0.0.0/8":
                ec2.create_route(RouteTableId=main_table(ec2, vpc), DestinationCidrBlock=destination,
                                 TransitGatewayId=gateway)
    yield {"gateway": gateway, "vpcs": vpcs, "subnets": subnets, "attachments": attachments, "tables": tables}
    for vpc in vpcs:
        ec2.delete_route(RouteTableId=main_table(ec2, vpc), DestinationCidrBlock="10.0.0.0/8")
    for attachment in attachments:
        ec2.delete_transit_gateway_vpc_attachment(TransitGatewayAttachmentId=attachment)
    for subnet, vpc in list(zip(subnets, vpcs))[1:]:
        ec2.delete_subnet(SubnetId=subnet)
        for group in ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]:
            if group["GroupName"] != "default":
                ec2.delete_security_group(GroupId=group["GroupId"])
        ec2.delete_vpc(VpcId=vpc)
    ec2.delete_transit_gateway(TransitGatewayId=gateway)
    shown = ec2.describe_transit_gateways(TransitGatewayIds=[gateway])["TransitGateways"]
    assert [one["State"] for one in shown] == ["deleted"]


def routes(ec2, table, name, *values):
    found = ec2.search_transit_gateway_routes(
        TransitGatewayRouteTableId=table, Filters=[{"Name": name, "Values": list(values)}])["Routes"]
    return {route["DestinationCidrBlock"]: (route["Type"], route["State"]) for route in found}


def test_tables_say_who_meets_whom(ec2, cloud, net):
    of_hub, of_spokes = net["tables"]
    assert routes(ec2, of_hub, "type", "propagated") == {
        "10.71.0.0/16": ("propagated", "active"), "10.72.0.0/16": ("propagated", "active")}
    assert routes(ec2, of_spokes, "state", "active") == {"172.31.0.0/16": ("propagated", "active")}
    shown = cloud.aws("ec2", "describe-transit-gateway-attachments", "--filters",
                      f"Name=transit-gateway-id,Values={net['gateway']}")["TransitGatewayAttachments"]
    assert {one["TransitGatewayAttachmentId"]: one["Association"]["TransitGatewayRouteTableId"] for one in shown} == \
        dict(zip(net["attachments"], (of_hub, of_spokes, of_spokes)))
    assert {one["State"] for one in shown} == {"available"}
    pages = ec2.get_paginator("get_transit_gateway_route_table_associations").paginate(
        TransitGatewayRouteTableId=of_spokes, PaginationConfig={"PageSize": 5})
    assert {one["ResourceId"] for page in pages for one in page["Associations"]} == set(net["vpcs"][1:])
    ec2.create_transit_gateway_route(
        TransitGatewayRouteTableId=of_hub, DestinationCidrBlock="10.71.0.0/16", Blackhole=True)
    assert routes(ec2, of_hub, "route-search.longest-prefix-match", "10.71.1.9") == {
        "10.71.0.0/16": ("static", "blackhole")}
    ec2.delete_transit_gateway_route(TransitGatewayRouteTableId=of_hub, DestinationCidrBlock="10.71.0.0/16")
    assert code(ec2.delete_transit_gateway, TransitGatewayId=net["gateway"]) == "IncorrectState"
    assert code(ec2.create_transit_gateway_connect, TransportTransitGatewayAttachmentId=net["attachments"][0],
                Options={"Protocol": "gre"}) == "UnsupportedOperation"
    table = main_table(ec2, net["vpcs"][1])
    led = ec2.describe_route_tables(Filters=[
        {"Name": "route.transit-gateway-id", "Values": [net["gateway"]]}])["RouteTables"]
    assert table in [one["RouteTableId"] for one in led] and len(led) == 3


def test_the_analyzer_takes_the_way_through_the_gateway(ec2, net):
    enis = []
    try:
        for name, vpc, subnet in zip(("hub", "one", "two"), net["vpcs"], net["subnets"]):
            group = open_group(ec2, f"analyzed-{name}", vpc, 80)
            enis.append(ec2.create_network_interface(
                SubnetId=subnet, Groups=[group])["NetworkInterface"]["NetworkInterfaceId"])
        hub, one, two = enis
        found = analyze(ec2, one, hub, 80)
        assert found["NetworkPathFound"], found["Explanations"]
        hops = [part for part in found["ForwardPathComponents"] if "TransitGatewayRouteTableRoute" in part]
        [hop] = hops
        assert hop["TransitGateway"]["Id"] == net["gateway"]
        assert hop["Component"]["Id"] == net["tables"][1]
        told = hop["TransitGatewayRouteTableRoute"]
        assert (told["DestinationCidr"], told["AttachmentId"]) == ("172.31.0.0/16", net["attachments"][0])
        refused = analyze(ec2, one, two, 80)
        assert not refused["NetworkPathFound"]
        assert [why["ExplanationCode"] for why in refused["Explanations"]] == ["TGW_RTB_NO_ROUTE_TO_TGW_ATTACHMENT"]
    finally:
        for eni in enis:
            ec2.delete_network_interface(NetworkInterfaceId=eni)


@pytest.mark.machines
def test_guests_of_spokes_reach_the_hub_and_not_each_other(ec2, image, net, tmp_path):
    key = key_pair(ec2, "transit", tmp_path)
    guests = []
    for name, vpc, subnet in zip(("hub", "one", "two"), net["vpcs"], net["subnets"]):
        group = open_group(ec2, f"transit-{name}", vpc, 22)
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
            {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "IpRanges": [{"CidrIp": "172.31.0.0/16"}]}])
        guests.append(Guest(ec2, key, ImageId=image, SubnetId=subnet, SecurityGroupIds=[group],
                            UserData=SERVICE.format(name=name)))
    try:
        hub = guests[0]
        hub.running()
        addresses = [guest.describe()["PrivateIpAddress"] for guest in guests]

        def says(address):
            return hub.ssh(f"nc -w 2 {address} 8080 < /dev/null", check=False).stdout.strip()

        for name, address in list(zip(("hub", "one", "two"), addresses))[1:]:
            wait_until(lambda: says(address) == name, f"{name} answers through the gateway", timeout=480)
        # The gateway's table takes one spoke away, and gives it back.
        ec2.create_transit_gateway_route(
            TransitGatewayRouteTableId=net["tables"][0], DestinationCidrBlock=f"{addresses[1]}/32", Blackhole=True)
        wait_until(lambda: says(addresses[1]) == "", "nothing gets to the first spoke", timeout=240)
        assert says(addresses[2]) == "two"
        ec2.delete_transit_gateway_route(
            TransitGatewayRouteTableId=net["tables"][0], DestinationCidrBlock=f"{addresses[1]}/32")
        wait_until(lambda: says(addresses[1]) == "one", "the first spoke answers again", timeout=240)
    finally:
        ec2.terminate_instances(InstanceIds=[guest.id for guest in guests])
        ec2.get_waiter("instance_terminated").wait(
            InstanceIds=[guest.id for guest in guests], WaiterConfig={"Delay": 1, "MaxAttempts": 480})
