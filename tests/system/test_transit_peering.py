"""Peered transit gateways: a VPC at each, which meet as the tables of both say."""

import pytest
from conftest import code, wait_until
from guest import Guest, key_pair, open_group
from test_flow import analyze
from test_transit import SERVICE, hub_of, main_table, routes

FAR = "10.74.0.0/16"
HOME = "172.31.0.0/16"


def default_table(ec2, gateway):
    shown = ec2.describe_transit_gateways(TransitGatewayIds=[gateway])["TransitGateways"]
    return shown[0]["Options"]["AssociationDefaultRouteTableId"]


def peerings(ec2, **filters):
    shown = ec2.describe_transit_gateway_peering_attachments(
        Filters=[{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()])
    return {one["TransitGatewayAttachmentId"]: one["State"] for one in shown["TransitGatewayPeeringAttachments"]}


@pytest.fixture(scope="module")
def net(ec2):
    """The default VPC at one gateway, another VPC at a second one, and a peering that both tables lead over."""
    account = ec2.describe_security_groups()["SecurityGroups"][0]["OwnerId"]
    gateways = [ec2.create_transit_gateway(Description=name)["TransitGateway"]["TransitGatewayId"]
                for name in ("near", "far")]
    near, far = gateways
    vpc, subnet, zone = hub_of(ec2)
    other = ec2.create_vpc(CidrBlock=FAR)["Vpc"]["VpcId"]
    beyond = ec2.create_subnet(VpcId=other, CidrBlock="10.74.1.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
    attachments = [ec2.create_transit_gateway_vpc_attachment(
        TransitGatewayId=gateway, VpcId=vpc, SubnetIds=[subnet])["TransitGatewayVpcAttachment"]
        ["TransitGatewayAttachmentId"] for gateway, vpc, subnet in ((near, vpc, subnet), (far, other, beyond))]
    asked = {"TransitGatewayId": near, "PeerTransitGatewayId": far, "PeerAccountId": account}
    assert code(ec2.create_transit_gateway_peering_attachment, **asked, PeerRegion="eu-west-1") == \
        "UnsupportedOperation"
    made = ec2.create_transit_gateway_peering_attachment(
        **asked, PeerRegion="us-east-1")["TransitGatewayPeeringAttachment"]
    assert made["State"] == "initiatingRequest"
    ends = [made["TransitGatewayAttachmentId"], made["AccepterTransitGatewayAttachmentId"]]
    assert peerings(ec2, state="pendingAcceptance") == dict.fromkeys(ends, "pendingAcceptance")
    assert code(ec2.accept_transit_gateway_peering_attachment, TransitGatewayAttachmentId=ends[0]) == \
        "InvalidParameterValue"
    ec2.accept_transit_gateway_peering_attachment(TransitGatewayAttachmentId=ends[1])
    tables = [default_table(ec2, gateway) for gateway in gateways]
    for table, destination, end in zip(tables, (FAR, HOME), ends):
        ec2.create_transit_gateway_route(
            TransitGatewayRouteTableId=table, DestinationCidrBlock=destination, TransitGatewayAttachmentId=end)
    led = [(vpc, FAR, near), (other, HOME, far)]
    for of, destination, gateway in led:
        ec2.create_route(RouteTableId=main_table(ec2, of), DestinationCidrBlock=destination, TransitGatewayId=gateway)
    yield {"gateways": gateways, "tables": tables, "ends": ends, "attachments": attachments,
           "vpcs": (vpc, other), "subnets": (subnet, beyond)}
    for of, destination, _ in led:
        ec2.delete_route(RouteTableId=main_table(ec2, of), DestinationCidrBlock=destination)
    if peerings(ec2, state="available"):
        assert code(ec2.delete_transit_gateway, TransitGatewayId=far) == "IncorrectState"
        ec2.delete_transit_gateway_peering_attachment(TransitGatewayAttachmentId=ends[1])
    for attachment in attachments:
        ec2.delete_transit_gateway_vpc_attachment(TransitGatewayAttachmentId=attachment)
    assert set(peerings(ec2).values()) == {"deleted"}
    ec2.delete_subnet(SubnetId=beyond)
    for group in ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [other]}])["SecurityGroups"]:
        if group["GroupName"] != "default":
            ec2.delete_security_group(GroupId=group["GroupId"])
    ec2.delete_vpc(VpcId=other)
    for gateway in gateways:
        ec2.delete_transit_gateway(TransitGatewayId=gateway)


def test_each_gateway_has_its_end_and_its_table_leads_over_it(ec2, cloud, net):
    shown = cloud.aws("ec2", "describe-transit-gateway-attachments", "--filters",
                      "Name=resource-type,Values=peering")["TransitGatewayAttachments"]
    seen = {one["TransitGatewayAttachmentId"]: (
        one["TransitGatewayId"], one["ResourceId"], one["Association"]["TransitGatewayRouteTableId"], one["State"])
        for one in shown}
    (near, far), tables = net["gateways"], net["tables"]
    assert seen == dict(zip(net["ends"], ((near, far, tables[0], "available"), (far, near, tables[1], "available"))))
    assert routes(ec2, tables[0], "attachment.resource-type", "peering") == {FAR: ("static", "active")}
    assert routes(ec2, tables[1], "type", "propagated") == {FAR: ("propagated", "active")}
    assert code(ec2.enable_transit_gateway_route_table_propagation, TransitGatewayRouteTableId=tables[0],
                TransitGatewayAttachmentId=net["ends"][0]) == "UnsupportedOperation"


def test_the_analyzer_asks_the_tables_of_both_gateways(ec2, net):
    enis = []
    try:
        for name, vpc, subnet in zip(("near", "far"), net["vpcs"], net["subnets"]):
            group = open_group(ec2, f"peered-{name}", vpc, 80)
            enis.append(ec2.create_network_interface(
                SubnetId=subnet, Groups=[group])["NetworkInterface"]["NetworkInterfaceId"])
        found = analyze(ec2, *enis, 80)
        assert found["NetworkPathFound"], found["Explanations"]
        hops = [part for part in found["ForwardPathComponents"] if "TransitGatewayRouteTableRoute" in part]
        assert [hop["TransitGateway"]["Id"] for hop in hops] == net["gateways"]
        assert [hop["Component"]["Id"] for hop in hops] == net["tables"]
        assert [hop["AttachedTo"]["Id"] for hop in hops] == [net["attachments"][0], net["ends"][1]]
        told = [hop["TransitGatewayRouteTableRoute"] for hop in hops]
        assert [(one["AttachmentId"], one["ResourceType"], one["RouteOrigin"]) for one in told] == [
            (net["ends"][0], "peering", "static"), (net["attachments"][1], "vpc", "propagated")]
        # What stops a packet is said of the gateway where it ends.
        far = {"TransitGatewayRouteTableId": net["tables"][1]}
        ec2.create_transit_gateway_route(**far, DestinationCidrBlock=FAR, Blackhole=True)
        [why] = analyze(ec2, *enis, 80)["Explanations"]
        assert why["ExplanationCode"] == "TGW_RTB_BAD_STATE_ROUTE"
        assert why["TransitGatewayRouteTable"]["Id"] == net["tables"][1]
        ec2.delete_transit_gateway_route(**far, DestinationCidrBlock=FAR)
        ec2.disassociate_transit_gateway_route_table(**far, TransitGatewayAttachmentId=net["ends"][1])
        [why] = analyze(ec2, *enis, 80)["Explanations"]
        assert why["ExplanationCode"] == "TGW_ATTACH_MISSING_TGW_RTB_ASSOCIATION"
        assert why["TransitGatewayAttachment"]["Id"] == net["ends"][1]
        ec2.associate_transit_gateway_route_table(**far, TransitGatewayAttachmentId=net["ends"][1])
        assert analyze(ec2, *enis, 80)["NetworkPathFound"]
    finally:
        for eni in enis:
            ec2.delete_network_interface(NetworkInterfaceId=eni)


@pytest.mark.machines
def test_guests_at_peered_gateways_talk_until_the_peering_ends(ec2, image, net, tmp_path):
    key = key_pair(ec2, "peered", tmp_path)
    guests = []
    for name, vpc, subnet in zip(("near", "far"), net["vpcs"], net["subnets"]):
        group = open_group(ec2, f"joined-{name}", vpc, 22)
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "IpRanges": [{"CidrIp": HOME}]}])
        guests.append(Guest(ec2, key, ImageId=image, SubnetId=subnet, SecurityGroupIds=[group],
                            UserData=SERVICE.format(name=name)))
    try:
        near, far = guests
        near.running()
        address = far.describe()["PrivateIpAddress"]

        def says():
            return near.ssh(f"nc -w 2 {address} 8080 < /dev/null", check=False).stdout.strip()

        wait_until(lambda: says() == "far", "the far guest answers through both gateways", timeout=480)
        # Its own gateway's table takes the way back away, and gives it back.
        ec2.delete_transit_gateway_route(TransitGatewayRouteTableId=net["tables"][1], DestinationCidrBlock=HOME)
        wait_until(lambda: says() == "", "nothing comes back", timeout=240)
        ec2.create_transit_gateway_route(TransitGatewayRouteTableId=net["tables"][1], DestinationCidrBlock=HOME,
                                         TransitGatewayAttachmentId=net["ends"][1])
        wait_until(lambda: says() == "far", "the far guest answers again", timeout=240)
        ec2.delete_transit_gateway_peering_attachment(TransitGatewayAttachmentId=net["ends"][0])
        wait_until(lambda: says() == "", "nothing passes a peering that has ended", timeout=240)
        assert routes(ec2, net["tables"][0], "type", "static") == {FAR: ("static", "blackhole")}
    finally:
        ec2.terminate_instances(InstanceIds=[guest.id for guest in guests])
        ec2.get_waiter("instance_terminated").wait(
            InstanceIds=[guest.id for guest in guests], WaiterConfig={"Delay": 1, "MaxAttempts": 480})
