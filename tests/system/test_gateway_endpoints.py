"""Gateway endpoints: a service beside the cloud, reached from subnets whose route tables lead to it and from no others."""

import botocore.exceptions
import pytest
from conftest import code, wait_until
from guest import Guest, key_pair, open_group
from outside import Outside

# Not of the range that a simulated cloud has for public addresses.
NEAR, S3 = "192.168.249.5", "192.168.249.6"
NAME = "com.amazonaws.us-east-1.s3"

# Asks whom it is told by which address it comes there.
ASKS = """#!/bin/sh
printf '#!/bin/sh\\nread it\\nnc -w 5 $it 9000 < /dev/null || echo nobody\\n' > /root/asks
chmod +x /root/asks
nc -ll -p 8082 -e /root/asks &
"""


@pytest.fixture(scope="module")
def beside(make_cloud):
    """A cloud whose operator says where S3 is."""
    cloud = make_cloud("beside").up("--gateway-service", f"s3={S3}/32")
    yield cloud
    cloud.at_rest()
    cloud.down()


@pytest.fixture(scope="module")
def ec2(beside):
    return beside.client()


@pytest.fixture(scope="module")
def vpc(ec2):
    return ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]


@pytest.fixture
def table(ec2, vpc):
    """A route table without a way out, which its test may associate."""
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    yield table
    for association in ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Associations"]:
        ec2.disassociate_route_table(AssociationId=association["RouteTableAssociationId"])
    ec2.delete_route_table(RouteTableId=table)


def routes(ec2, table):
    """Of the table, those for lists, and where they lead."""
    found = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
    return {route["DestinationPrefixListId"]: route["GatewayId"] for route in found if "DestinationPrefixListId" in route}


def list_of_s3(ec2):
    found = ec2.describe_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": [NAME]}])["PrefixLists"]
    return found[0]["PrefixListId"] if found else None


def test_an_endpoint_is_a_route_that_comes_and_goes_with_it(beside, ec2, vpc, table):
    shown = beside.aws("ec2", "describe-vpc-endpoint-services", "--service-names", NAME)["ServiceDetails"][0]
    assert shown["ServiceType"] == [{"ServiceType": "Gateway"}]
    lists = beside.aws("ec2", "describe-prefix-lists", "--filters", f"Name=prefix-list-name,Values={NAME}")["PrefixLists"]
    assert [one["Cidrs"] for one in lists] == [[f"{S3}/32"]]
    pl = lists[0]["PrefixListId"]
    managed = beside.aws("ec2", "describe-managed-prefix-lists", "--prefix-list-ids", pl)["PrefixLists"][0]
    assert managed["OwnerId"] == "AWS" and managed["PrefixListArn"].endswith(f":aws:prefix-list/{pl}")
    made = beside.aws("ec2", "create-vpc-endpoint", "--vpc-id", vpc, "--service-name", NAME, "--route-table-ids", table,
                      "--tag-specifications", "ResourceType=vpc-endpoint,Tags=[{Key=Name,Value=objects}]")["VpcEndpoint"]
    endpoint = made["VpcEndpointId"]
    assert made["VpcEndpointType"] == "Gateway" and made["RouteTableIds"] == [table]
    assert routes(ec2, table) == {pl: endpoint}
    found = beside.aws("ec2", "describe-vpc-endpoints", "--filters", "Name=tag:Name,Values=objects")["VpcEndpoints"]
    assert [(one["VpcEndpointId"], one["State"]) for one in found] == [(endpoint, "available")]
    with pytest.raises(botocore.exceptions.ClientError):
        ec2.delete_route(RouteTableId=table, DestinationPrefixListId=pl)
    assert code(ec2.delete_managed_prefix_list, PrefixListId=pl) == "OperationNotPermitted"
    forbids = '{"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}'
    assert code(ec2.modify_vpc_endpoint, VpcEndpointId=endpoint, PolicyDocument=forbids) == "UnsupportedOperation"
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, RemoveRouteTableIds=[table])
    assert routes(ec2, table) == {}
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, AddRouteTableIds=[table])
    assert routes(ec2, table) == {pl: endpoint}
    assert ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])["Unsuccessful"] == []
    assert routes(ec2, table) == {}


def test_what_the_operator_takes_back_is_offered_no_more(make_cloud):
    cloud = make_cloud("taken-back").up("--gateway-service", f"s3={S3}/32", "--gateway-service", "dynamodb=192.168.248.0/24")
    assert list_of_s3(cloud.client())
    cloud.down()
    cloud.up()
    assert list_of_s3(cloud.client()), "it is remembered"
    cloud.down()
    cloud.up("--gateway-service", "off")
    ec2 = cloud.client()
    assert ec2.describe_prefix_lists()["PrefixLists"] == []
    services = ec2.describe_vpc_endpoint_services(Filters=[{"Name": "service-type", "Values": ["Gateway"]}])
    assert services["ServiceNames"] == []
    cloud.at_rest()
    cloud.down()


@pytest.mark.machines
def test_a_private_subnet_reaches_the_service_by_its_endpoint(ec2, vpc, table, tmp_path):
    key = key_pair(ec2, "beside", tmp_path)
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    public, private = sorted(subnet["SubnetId"] for subnet in found)[:2]
    ec2.associate_route_table(RouteTableId=table, SubnetId=private)
    group = open_group(ec2, "beside", vpc, 22, 8082)
    narrow = open_group(ec2, "narrow", vpc, 8082)
    everything = ec2.describe_security_groups(GroupIds=[narrow])["SecurityGroups"][0]["IpPermissionsEgress"]
    ec2.revoke_security_group_egress(GroupId=narrow, IpPermissions=everything)
    to_s3 = [{"IpProtocol": "tcp", "FromPort": 9000, "ToPort": 9000, "PrefixListIds": [{"PrefixListId": list_of_s3(ec2)}]}]
    ec2.authorize_security_group_egress(GroupId=narrow, IpPermissions=to_s3)
    guests = [Guest(ec2, key, ImageId=image, SubnetId=subnet, SecurityGroupIds=[own], UserData=ASKS)
              for subnet, own in ((public, group), (private, narrow))]
    try:
        with Outside("s3", NEAR, S3):
            front, inner = [guest.running() for guest in guests]

            def comes_as():
                return front.ssh(f"echo {S3} | nc -w 20 {inner.private} 8082", check=False).stdout.strip()

            wait_until(lambda: comes_as() == "nobody", "it listens, and has no way out", timeout=480)
            made = ec2.create_vpc_endpoint(VpcId=vpc, ServiceName=NAME, RouteTableIds=[table])["VpcEndpoint"]
            wait_until(lambda: comes_as() == NEAR, "the service under the host's address", timeout=240)
            ec2.revoke_security_group_egress(GroupId=narrow, IpPermissions=to_s3)
            wait_until(lambda: comes_as() == "nobody", "its group lets nothing out", timeout=240)
            ec2.authorize_security_group_egress(GroupId=narrow, IpPermissions=to_s3)
            wait_until(lambda: comes_as() == NEAR, "its group lets it out again", timeout=240)
            ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])
            wait_until(lambda: comes_as() == "nobody", "no way out again", timeout=240)
    finally:
        ec2.terminate_instances(InstanceIds=[guest.id for guest in guests])
        ec2.get_waiter("instance_terminated").wait(
            InstanceIds=[guest.id for guest in guests], WaiterConfig={"Delay": 1, "MaxAttempts": 480})
