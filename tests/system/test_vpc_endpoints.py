"""VPC endpoints: the cloud's API at addresses of a VPC, behind security groups and a policy."""

import json
import os
import socket
import threading

import botocore.exceptions
import pytest
from conftest import code, wait_until
from guest import Guest, key_pair, open_group, wait_for

EC2 = "com.amazonaws.us-east-1.ec2"
KMS = "com.amazonaws.us-east-1.kms"
NAME = "ec2.us-east-1.amazonaws.com"


class Door:
    """Stands for an endpoint's address: what connects here is handed to the server as the host's agent does it."""

    def __init__(self, cloud, **arrival):
        self.server = os.path.join(cloud.data, "run", "endpoints.sock")
        self.told = json.dumps({"region": "us-east-1", **arrival}).encode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            with connection, socket.socket(socket.AF_UNIX) as server:
                server.connect(self.server)
                socket.send_fds(server, [self.told], [connection.fileno()])


def policy(*statements):
    whole = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    return json.dumps({"Statement": [{**whole, **statement} for statement in statements]})


def message(call, **parameters):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        call(**parameters)
    return refused.value.response["Error"]["Message"]


@pytest.fixture(scope="module")
def vpc(ec2):
    return ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]


@pytest.fixture
def endpoint(ec2, vpc):
    """Makes endpoints, and deletes them in the end."""
    made = []

    def make(service, **request):
        request = {"VpcEndpointType": "Interface", "VpcId": vpc, "ServiceName": service, **request}
        made.append(ec2.create_vpc_endpoint(**request)["VpcEndpoint"]["VpcEndpointId"])
        return ec2.describe_vpc_endpoints(VpcEndpointIds=made[-1:])["VpcEndpoints"][0]

    yield make
    if made:
        assert ec2.delete_vpc_endpoints(VpcEndpointIds=made)["Unsuccessful"] == []


def test_an_endpoint_comes_and_goes_with_the_aws_cli(cloud, vpc, subnet):
    services = cloud.aws("ec2", "describe-vpc-endpoint-services")
    assert EC2 in services["ServiceNames"] and len(services["ServiceDetails"]) == len(services["ServiceNames"])
    refused = cloud.aws("ec2", "create-vpc-endpoint", "--vpc-id", vpc, "--service-name",
                        "com.amazonaws.us-east-1.s3", check=False)
    assert "(InvalidServiceName)" in refused.stderr
    made = cloud.aws("ec2", "create-vpc-endpoint", "--vpc-endpoint-type", "Interface", "--vpc-id", vpc,
                     "--service-name", EC2, "--subnet-ids", subnet, "--tag-specifications",
                     "ResourceType=vpc-endpoint,Tags=[{Key=Name,Value=api}]")["VpcEndpoint"]
    found = cloud.aws("ec2", "describe-vpc-endpoints", "--filters", "Name=tag:Name,Values=api")["VpcEndpoints"]
    assert [e["VpcEndpointId"] for e in found] == [made["VpcEndpointId"]]
    assert found[0]["State"] == "available" and found[0]["PrivateDnsEnabled"] is True
    eni = found[0]["NetworkInterfaceIds"][0]
    shown = cloud.aws("ec2", "describe-network-interfaces", "--network-interface-ids", eni)["NetworkInterfaces"][0]
    assert shown["InterfaceType"] == "vpc_endpoint" and shown["RequesterManaged"] is True
    assert shown["Description"] == f"VPC Endpoint Interface {made['VpcEndpointId']}"
    refused = cloud.aws("ec2", "delete-network-interface", "--network-interface-id", eni, check=False)
    assert made["VpcEndpointId"] in refused.stderr
    gone = cloud.aws("ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", made["VpcEndpointId"])
    assert gone["Unsuccessful"] == []


def test_a_policy_judges_what_comes_by_its_endpoint(cloud, ec2, vpc, subnet, endpoint):
    made = endpoint(EC2, SubnetIds=[subnet], PolicyDocument=policy(
        {"Action": ["ec2:Describe*"]}, {"Effect": "Deny", "Action": "ec2:DescribeVolumes"}))
    door = Door(cloud, vpc=vpc, endpoint=made["VpcEndpointId"], source="172.31.0.9")
    inside = cloud.client(endpoint_url=door.url)
    assert inside.describe_vpcs()["Vpcs"]
    assert code(inside.create_volume, AvailabilityZone="us-east-1a", Size=1) == "UnauthorizedOperation"
    assert "because no VPC endpoint policy allows the ec2:CreateVolume action" in \
        message(inside.create_volume, AvailabilityZone="us-east-1a", Size=1, DryRun=True)
    assert "with an explicit deny in a VPC endpoint policy" in message(inside.describe_volumes)
    # The same caller by another way.
    assert ec2.describe_volumes()["ResponseMetadata"]["HTTPStatusCode"] == 200
    # It leads to its own service.
    elsewhere = cloud.client("sts", endpoint_url=door.url)
    assert code(elsewhere.get_caller_identity) == "SignatureDoesNotMatch"
    ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], ResetPolicy=True)
    assert inside.describe_volumes()["ResponseMetadata"]["HTTPStatusCode"] == 200
    stranger = Door(cloud, vpc=vpc, endpoint="vpce-0123456789abcdef0", source="172.31.0.9")
    assert code(cloud.client(endpoint_url=stranger.url).describe_vpcs) == "UnauthorizedOperation"


def test_a_key_can_be_bound_to_an_endpoint(cloud, vpc, subnet, endpoint):
    made = endpoint(KMS, SubnetIds=[subnet])
    kms = cloud.client("kms")
    account = cloud.client("sts").get_caller_identity()["Account"]
    bound = {"Principal": {"AWS": account}, "Action": ["kms:Encrypt", "kms:Decrypt"],
             "Condition": {"StringEquals": {"aws:SourceVpce": made["VpcEndpointId"]}}}
    manage = {"Principal": {"AWS": account}, "Action": ["kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"]}
    key = kms.create_key(Policy=policy(bound, manage))["KeyMetadata"]["KeyId"]
    assert code(kms.encrypt, KeyId=key, Plaintext=b"hello") == "AccessDeniedException"
    door = Door(cloud, vpc=vpc, endpoint=made["VpcEndpointId"], source="172.31.0.9")
    inside = cloud.client("kms", endpoint_url=door.url)
    sealed = inside.encrypt(KeyId=key, Plaintext=b"hello")["CiphertextBlob"]
    assert inside.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"hello"
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)


def test_the_analyzer_walks_to_an_endpoint(ec2, image, vpc, subnet, endpoint, terminate):
    group = open_group(ec2, "analysed-endpoint", vpc)
    made = endpoint(EC2, SubnetIds=[subnet], SecurityGroupIds=[group])
    launched = ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1, SubnetId=subnet)
    instance = launched["Instances"][0]["InstanceId"]
    terminate(instance)
    wait_for(ec2, instance, "running")
    path = ec2.create_network_insights_path(
        Source=instance, Destination=made["NetworkInterfaceIds"][0], Protocol="tcp", DestinationPort=443,
    )["NetworkInsightsPath"]["NetworkInsightsPathId"]

    def analysis():
        started = ec2.start_network_insights_analysis(NetworkInsightsPathId=path)["NetworkInsightsAnalysis"]
        found = ec2.describe_network_insights_analyses(
            NetworkInsightsAnalysisIds=[started["NetworkInsightsAnalysisId"]])["NetworkInsightsAnalyses"][0]
        ec2.delete_network_insights_analysis(NetworkInsightsAnalysisId=started["NetworkInsightsAnalysisId"])
        return found

    shut = analysis()
    assert shut["NetworkPathFound"] is False
    assert "ENI_SG_RULES_MISMATCH" in [e["ExplanationCode"] for e in shut["Explanations"]]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    assert analysis()["NetworkPathFound"] is True
    ec2.delete_network_insights_path(NetworkInsightsPathId=path)


@pytest.mark.machines
def test_a_guest_reaches_the_api_by_its_vpcs_endpoint(cloud, ec2, image, vpc, endpoint, terminate, tmp_path):
    group = open_group(ec2, "guest-of-endpoint", vpc, 22)
    doors = open_group(ec2, "doors", vpc)
    guest = Guest(ec2, key_pair(ec2, "endpoint", tmp_path), ImageId=image, SecurityGroupIds=[group])
    terminate(guest.id)
    guest.running()
    beside = next(
        s["SubnetId"] for s in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
        if s["SubnetId"] != guest.describe()["SubnetId"])
    made = endpoint(EC2, SubnetIds=[beside], SecurityGroupIds=[doors])
    address = ec2.describe_network_interfaces(
        NetworkInterfaceIds=made["NetworkInterfaceIds"])["NetworkInterfaces"][0]["PrivateIpAddress"]
    own = made["DnsEntries"][0]["DnsName"]

    def fetches(host, action="describe_regions"):
        url = cloud.client(endpoint_url=f"http://{host}").generate_presigned_url(action, HttpMethod="GET", ExpiresIn=3600)
        return guest.ssh(f"timeout 20 wget -q -O - '{url}' 2>&1; true")

    for name in (NAME, own):
        wait_until(lambda: guest.does(f"nslookup {name} | grep -q {address}"), f"{name} is known", timeout=240, interval=1)
    assert "us-east-1" not in fetches(NAME), "no rule lets it in"
    rule = {"GroupId": doors, "IpPermissions": [
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": group}]}]}
    ec2.authorize_security_group_ingress(**rule)
    for name in (NAME, own, address):
        wait_until(lambda: "us-east-1" in fetches(name), f"the API at {name}", timeout=240, interval=1)
    # An endpoint is its service, and nothing else of the host.
    assert "running" not in guest.ssh(f"timeout 20 wget -q -O - http://{address}/_nube/health 2>&1; true")
    assert not guest.does(f"ping -c 1 -W 3 {address}")
    ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], PolicyDocument=policy(
        {"Condition": {"NotIpAddress": {"aws:VpcSourceIp": guest.private}}}))
    wait_until(lambda: "403" in fetches(NAME), "the policy knows who asks", timeout=240, interval=1)
    ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], ResetPolicy=True)
    wait_until(lambda: "us-east-1" in fetches(NAME), "all may ask again", timeout=240, interval=1)
    # It is there again after the agent is.
    pid = cloud.pid("agent")
    os.kill(pid, 9)
    wait_until(lambda: cloud.status()["processes"]["agent"] not in (None, pid), "another agent", timeout=240)
    wait_until(lambda: "us-east-1" in fetches(NAME), "the API at its endpoint", timeout=240, interval=1)
    ec2.revoke_security_group_ingress(**rule)
    wait_until(lambda: "us-east-1" not in fetches(NAME), "the rule is gone", timeout=240, interval=1)
