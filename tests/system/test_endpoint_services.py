"""VPC endpoint services: one account offers what answers at an interface of its own, others connect to it."""

import json
import os

import pytest
from conftest import code, wait_until
from guest import Guest, key_pair, open_group

# Says what it is to whoever connects.
SERVICE = """#!/bin/sh
printf "#!/bin/sh\\necho shop\\n" > /root/service
chmod +x /root/service
nc -ll -p 8080 -e /root/service &
"""


def arn(cloud, interface):
    account = cloud.client("sts").get_caller_identity()["Account"]
    return f"arn:aws:ec2:us-east-1:{account}:network-interface/{interface}"


@pytest.fixture(scope="module")
def theirs(cloud):
    """Another account, by its client and its number."""
    account = json.loads(cloud.run("account", "create", "--json").stdout)
    client = cloud.client(
        aws_access_key_id=account["access_key_id"], aws_secret_access_key=account["secret_access_key"])
    client.number = client.describe_vpcs()["Vpcs"][0]["OwnerId"]
    return client


def test_a_service_comes_and_goes_with_the_aws_cli(cloud, ec2, subnet, theirs):
    target = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
    refused = cloud.aws("ec2", "create-vpc-endpoint-service-configuration", "--network-load-balancer-arns",
                        "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/a/0123456789abcdef", check=False)
    assert "(LoadBalancerNotFound)" in refused.stderr
    made = cloud.aws("ec2", "create-vpc-endpoint-service-configuration", "--acceptance-required",
                     "--network-load-balancer-arns", arn(cloud, target["NetworkInterfaceId"]), "--tag-specifications",
                     "ResourceType=vpc-endpoint-service,Tags=[{Key=Name,Value=shop}]")["ServiceConfiguration"]
    service = made["ServiceId"]
    shown = cloud.aws("ec2", "describe-vpc-endpoint-service-configurations", "--filters", "Name=tag:Name,Values=shop")
    assert [s["ServiceId"] for s in shown["ServiceConfigurations"]] == [service]
    cloud.aws("ec2", "modify-vpc-endpoint-service-permissions", "--service-id", service,
              "--add-allowed-principals", f"arn:aws:iam::{theirs.number}:root")
    allowed = cloud.aws("ec2", "describe-vpc-endpoint-service-permissions", "--service-id", service)["AllowedPrincipals"]
    assert [(a["PrincipalType"], a["ServiceId"]) for a in allowed] == [("Account", service)]

    zone = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailabilityZone"]
    offered = theirs.describe_vpc_endpoint_services(Filters=[{"Name": "owner", "Values": [target["OwnerId"]]}])
    assert [s["AvailabilityZones"] for s in offered["ServiceDetails"]] == [[zone]]
    place = theirs.describe_subnets(Filters=[{"Name": "availability-zone", "Values": [zone]}])["Subnets"][0]
    endpoint = theirs.create_vpc_endpoint(
        VpcEndpointType="Interface", VpcId=place["VpcId"], ServiceName=offered["ServiceNames"][0],
        SubnetIds=[place["SubnetId"]])["VpcEndpoint"]
    assert endpoint["State"] == "pendingAcceptance"
    by_id = ["--service-id", service, "--vpc-endpoint-ids", endpoint["VpcEndpointId"]]
    for verb, state in (("accept", "available"), ("reject", "rejected"), ("accept", "available")):
        assert cloud.aws("ec2", f"{verb}-vpc-endpoint-connections", *by_id)["Unsuccessful"] == []
        connection, = cloud.aws("ec2", "describe-vpc-endpoint-connections")["VpcEndpointConnections"]
        assert (connection["VpcEndpointState"], connection["VpcEndpointOwner"]) == (state, theirs.number)
    refused = cloud.aws("ec2", "delete-vpc-endpoint-service-configurations", "--service-ids", service)["Unsuccessful"]
    assert [one["Error"]["Code"] for one in refused] == ["ExistingVpcEndpointConnections"]
    assert theirs.delete_vpc_endpoints(VpcEndpointIds=[endpoint["VpcEndpointId"]])["Unsuccessful"] == []
    gone = cloud.aws("ec2", "delete-vpc-endpoint-service-configurations", "--service-ids", service)
    assert gone["Unsuccessful"] == []
    assert code(ec2.describe_vpc_endpoint_service_configurations, ServiceIds=[service]) == \
        "InvalidVpcEndpointServiceId.NotFound"
    ec2.delete_network_interface(NetworkInterfaceId=target["NetworkInterfaceId"])


@pytest.mark.machines
def test_a_guest_reaches_another_accounts_service_and_nothing_beside_it(cloud, ec2, image, subnet, theirs, tmp_path):
    home = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]
    groups = open_group(ec2, "behind-a-service", home["VpcId"], 22)
    shop = Guest(ec2, key_pair(ec2, "shop", tmp_path), ImageId=image, SubnetId=subnet, SecurityGroupIds=[groups],
                 UserData=SERVICE)
    target = shop.describe()["NetworkInterfaces"][0]
    place = theirs.describe_subnets(
        Filters=[{"Name": "availability-zone", "Values": [home["AvailabilityZone"]]}])["Subnets"][0]
    own = open_group(theirs, "customers", place["VpcId"], 22)
    doors = open_group(theirs, "doors-to-the-shop", place["VpcId"], 8080)
    # Of the same ranges, and with the very address that the shop has.
    assert place["CidrBlock"] == home["CidrBlock"]
    customer = Guest(theirs, key_pair(theirs, "customer", tmp_path), ImageId=image, SubnetId=place["SubnetId"],
                     PrivateIpAddress=target["PrivateIpAddress"], SecurityGroupIds=[own])
    service = ec2.create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[arn(cloud, target["NetworkInterfaceId"])],
        AcceptanceRequired=True)["ServiceConfiguration"]
    assert code(theirs.create_vpc_endpoint, VpcEndpointType="Interface", VpcId=place["VpcId"],
                ServiceName=service["ServiceName"], SubnetIds=[place["SubnetId"]]) == "InvalidServiceName"
    ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=service["ServiceId"], AddAllowedPrincipals=[f"arn:aws:iam::{theirs.number}:root"])
    made = theirs.create_vpc_endpoint(
        VpcEndpointType="Interface", VpcId=place["VpcId"], ServiceName=service["ServiceName"],
        SubnetIds=[place["SubnetId"]], SecurityGroupIds=[doors])["VpcEndpoint"]
    by_id = {"ServiceId": service["ServiceId"], "VpcEndpointIds": [made["VpcEndpointId"]]}
    name = made["DnsEntries"][0]["DnsName"]
    door = theirs.describe_network_interfaces(NetworkInterfaceIds=made["NetworkInterfaceIds"])["NetworkInterfaces"][0]
    node, = ec2.describe_network_interfaces(
        Filters=[{"Name": "interface-type", "Values": ["network_load_balancer"]}])["NetworkInterfaces"]
    shop.running()
    customer.running()

    def hears(port=8080, host=name):
        return customer.ssh(f"echo | timeout 10 nc {host} {port} 2>&1; true")

    wait_until(lambda: shop.does("netstat -ltn | grep -q :8080"), "the shop is open", timeout=240, interval=1)
    assert "shop" not in hears(), "nobody has accepted it"
    assert ec2.accept_vpc_endpoint_connections(**by_id)["Unsuccessful"] == []
    assert "shop" not in hears(), "the shop's group lets nobody in"
    rule = {"GroupId": groups, "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080,
                                                  "IpRanges": [{"CidrIp": f"{node['PrivateIpAddress']}/32"}]}]}
    ec2.authorize_security_group_ingress(**rule)
    for host in (name, door["PrivateIpAddress"]):
        wait_until(lambda: "shop" in hears(host=host), f"the shop at {host}", timeout=240, interval=1)
    # Its other ports are the group's to open; the endpoint's group stands before them as well.
    assert "SSH" not in hears(22)
    assert not customer.does(f"ping -c 1 -W 3 {door['PrivateIpAddress']}")
    # The shop begins nothing with its customers, by the node or otherwise.
    assert not shop.does(f"echo | timeout 5 nc {node['PrivateIpAddress']} 22")
    assert not shop.does(f"echo | timeout 5 nc {door['PrivateIpAddress']} 8080")

    pid = cloud.pid("agent")
    os.kill(pid, 9)
    wait_until(lambda: cloud.status()["processes"]["agent"] not in (None, pid), "another agent", timeout=240)
    wait_until(lambda: "shop" in hears(), "the shop after the agent's end", timeout=240, interval=1)
    assert ec2.reject_vpc_endpoint_connections(**by_id)["Unsuccessful"] == []
    wait_until(lambda: "shop" not in hears(), "it is rejected", timeout=240, interval=1)
    assert ec2.accept_vpc_endpoint_connections(**by_id)["Unsuccessful"] == []
    wait_until(lambda: "shop" in hears(), "it is accepted again", timeout=240, interval=1)

    for who, guest in ((ec2, shop), (theirs, customer)):
        who.terminate_instances(InstanceIds=[guest.id])
    assert theirs.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])["Unsuccessful"] == []
    assert ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[service["ServiceId"]])["Unsuccessful"] == []
