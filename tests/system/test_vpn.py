"""Site-to-site VPN: what an office's device is told, and what the cloud makes of it."""

import xml.etree.ElementTree as xml

import pytest
from conftest import code, wait_until

OFFICE = "192.168.7.0/24"


@pytest.fixture
def office(ec2, cloud):
    """A VPC with a virtual private gateway, and a connection to a customer gateway, with one static route."""
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    table = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"][0]["RouteTableId"]
    customer = cloud.aws("ec2", "create-customer-gateway", "--type", "ipsec.1", "--ip-address", "203.0.113.77",
                         "--bgp-asn", "65077")["CustomerGateway"]["CustomerGatewayId"]
    gateway = ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]["VpnGatewayId"]
    ec2.attach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    connection = ec2.create_vpn_connection(
        Type="ipsec.1", CustomerGatewayId=customer, VpnGatewayId=gateway, Options={"StaticRoutesOnly": True},
        TagSpecifications=[{"ResourceType": "vpn-connection", "Tags": [{"Key": "Name", "Value": "office"}]}],
    )["VpnConnection"]["VpnConnectionId"]
    ec2.create_vpn_connection_route(VpnConnectionId=connection, DestinationCidrBlock=OFFICE)
    yield {"vpc": vpc, "table": table, "customer": customer, "gateway": gateway, "connection": connection}
    ec2.delete_vpn_connection(VpnConnectionId=connection)
    ec2.detach_vpn_gateway(VpnGatewayId=gateway, VpcId=vpc)
    ec2.delete_vpn_gateway(VpnGatewayId=gateway)
    ec2.delete_customer_gateway(CustomerGatewayId=customer)
    ec2.delete_vpc(VpcId=vpc)


def shown(ec2, connection):
    return ec2.describe_vpn_connections(VpnConnectionIds=[connection])["VpnConnections"][0]


def test_a_device_is_told_what_it_needs(ec2, office):
    connection = shown(ec2, office["connection"])
    assert connection["State"] == "available" and connection["Options"]["StaticRoutesOnly"]
    assert [route["DestinationCidrBlock"] for route in connection["Routes"]] == [OFFICE]
    told = xml.fromstring(connection["CustomerGatewayConfiguration"])
    assert told.get("id") == office["connection"]
    tunnels = connection["Options"]["TunnelOptions"]
    assert len(tunnels) == 2
    for tunnel, part in zip(tunnels, told.findall("ipsec_tunnel"), strict=True):
        assert part.findtext("customer_gateway/tunnel_outside_address/ip_address") == "203.0.113.77"
        assert part.findtext("vpn_gateway/tunnel_outside_address/ip_address") == tunnel["OutsideIpAddress"]
        assert part.findtext("ike/pre_shared_key") == tunnel["PreSharedKey"]
        assert tunnel["TunnelInsideCidr"].startswith("169.254.")
    found = ec2.describe_vpn_connections(Filters=[{"Name": "tag:Name", "Values": ["office"]}])["VpnConnections"]
    assert [one["VpnConnectionId"] for one in found] == [office["connection"]]
    # Addresses of tunnels are of the cloud's pool, and nobody else's.
    assert code(ec2.allocate_address, Address=tunnels[0]["OutsideIpAddress"]) == "InvalidAddress.NotFound"


def test_routes_lead_to_the_gateway(ec2, office):
    table, gateway = office["table"], office["gateway"]
    ec2.enable_vgw_route_propagation(RouteTableId=table, GatewayId=gateway)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="192.168.0.0/16", GatewayId=gateway)
    told = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]
    routes = {route["DestinationCidrBlock"]: (route["GatewayId"], route["Origin"], route["State"])
              for route in told["Routes"]}
    assert routes == {
        "10.77.0.0/16": ("local", "CreateRouteTable", "active"),
        "192.168.0.0/16": (gateway, "CreateRoute", "active"),
        OFFICE: (gateway, "EnableVgwRoutePropagation", "active"),
    }
    assert told["PropagatingVgws"] == [{"GatewayId": gateway}]
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="192.168.0.0/16")
    ec2.disable_vgw_route_propagation(RouteTableId=table, GatewayId=gateway)
    assert len(ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]) == 1


def test_what_is_in_use_stays(ec2, office):
    assert code(ec2.delete_vpc, VpcId=office["vpc"]) == "DependencyViolation"
    assert code(ec2.delete_vpn_gateway, VpnGatewayId=office["gateway"]) == "IncorrectState"
    assert code(ec2.delete_customer_gateway, CustomerGatewayId=office["customer"]) == "IncorrectState"
    dynamic = {"Type": "ipsec.1", "CustomerGatewayId": office["customer"], "VpnGatewayId": office["gateway"]}
    assert code(ec2.create_vpn_connection, **dynamic) == "UnsupportedOperation"


def test_the_host_tells_how_tunnels_are(ec2, cloud, office):
    # Simulated devices have called as soon as they are told; no real one has this address.
    expected = "UP" if cloud.host == "sim" else "DOWN"

    def telemetry():
        return [tunnel["Status"] for tunnel in shown(ec2, office["connection"])["VgwTelemetry"]]

    wait_until(lambda: telemetry() == [expected, expected], "the host's word", timeout=600, interval=1)


def test_a_connection_is_attached_to_a_transit_gateway(ec2, cloud):
    customer = ec2.create_customer_gateway(Type="ipsec.1", IpAddress="203.0.113.78")["CustomerGateway"]["CustomerGatewayId"]
    transit = ec2.create_transit_gateway()["TransitGateway"]
    gateway, table = transit["TransitGatewayId"], transit["Options"]["AssociationDefaultRouteTableId"]
    connection = cloud.aws("ec2", "create-vpn-connection", "--type", "ipsec.1", "--customer-gateway-id", customer,
                           "--transit-gateway-id", gateway, "--options", "StaticRoutesOnly=true",
                           )["VpnConnection"]["VpnConnectionId"]
    found = shown(ec2, connection)
    assert found["TransitGatewayId"] == gateway and "VpnGatewayId" not in found
    [attachment] = ec2.describe_transit_gateway_attachments(
        Filters=[{"Name": "resource-id", "Values": [connection]}])["TransitGatewayAttachments"]
    assert (attachment["ResourceType"], attachment["State"]) == ("vpn", "available")
    assert attachment["Association"]["TransitGatewayRouteTableId"] == table
    ec2.create_transit_gateway_route(
        TransitGatewayRouteTableId=table, DestinationCidrBlock=OFFICE,
        TransitGatewayAttachmentId=attachment["TransitGatewayAttachmentId"])
    assert code(ec2.create_vpn_connection_route, VpnConnectionId=connection,
                DestinationCidrBlock=OFFICE) == "UnsupportedOperation"
    expected = "UP" if cloud.host == "sim" else "DOWN"
    wait_until(lambda: [tunnel["Status"] for tunnel in shown(ec2, connection)["VgwTelemetry"]] == [expected] * 2,
               "the host's word", timeout=600, interval=1)
    assert code(ec2.delete_transit_gateway, TransitGatewayId=gateway) == "IncorrectState"
    ec2.delete_vpn_connection(VpnConnectionId=connection)
    routes = ec2.search_transit_gateway_routes(
        TransitGatewayRouteTableId=table, Filters=[{"Name": "type", "Values": ["static"]}])["Routes"]
    assert [(route["DestinationCidrBlock"], route["State"]) for route in routes] == [(OFFICE, "blackhole")]
    ec2.delete_transit_gateway(TransitGatewayId=gateway)
    ec2.delete_customer_gateway(CustomerGatewayId=customer)
