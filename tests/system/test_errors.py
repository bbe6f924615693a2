"""What a caller does wrong gets AWS's code and status, and changes nothing."""

import http.client
import re

import pytest
from botocore.exceptions import ClientError

FORM = {"content-type": "application/x-www-form-urlencoded"}


def code(error):
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def raw(cloud, body, method="POST", headers=FORM, path="/"):
    connection = http.client.HTTPConnection(cloud.listen, timeout=30)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    found = re.search(r"<Code>(.*?)</Code>", text)
    return answer.status, found and found.group(1), text


def test_a_wrong_secret_is_an_authentication_failure(cloud):
    with pytest.raises(ClientError) as refused:
        cloud.client(aws_secret_access_key="x" * 40).describe_vpcs()
    assert code(refused) == ("AuthFailure", 401)
    with pytest.raises(ClientError) as refused:
        cloud.client("sts", aws_secret_access_key="x" * 40).get_caller_identity()
    assert code(refused) == ("SignatureDoesNotMatch", 403)


def test_an_unknown_key_is_an_authentication_failure(cloud):
    with pytest.raises(ClientError) as refused:
        cloud.client(aws_access_key_id="AKIAUNKNOWNUNKNOWN00").describe_vpcs()
    assert code(refused) == ("AuthFailure", 401)


def test_a_session_token_that_belongs_to_no_key_is_refused(cloud):
    with pytest.raises(ClientError) as refused:
        cloud.client(aws_session_token="made-up").describe_vpcs()
    assert code(refused)[1] == 401


def test_a_request_without_a_signature_is_refused(cloud):
    status, name, _ = raw(cloud, "Action=DescribeVpcs&Version=2016-11-15")
    assert (status, name) == (403, "MissingAuthenticationToken")


def test_an_action_that_is_not_built_says_so(ec2):
    with pytest.raises(ClientError) as refused:
        ec2.describe_verified_access_groups()
    assert code(refused) == ("UnsupportedOperation", 400)
    assert "DescribeVerifiedAccessGroups" in refused.value.response["Error"]["Message"]


def test_an_action_that_is_none_is_invalid(cloud, ec2):
    def rename(params, **_):
        params["body"]["Action"] = "DescribeUnicorns"
    ec2 = cloud.client()
    ec2.meta.events.register("before-call.ec2.DescribeVpcs", rename)
    with pytest.raises(ClientError) as refused:
        ec2.describe_vpcs()
    assert code(refused) == ("InvalidAction", 400)


def test_an_unknown_parameter_is_named(cloud):
    def add(params, **_):
        params["body"]["Unicorn"] = "1"
    ec2 = cloud.client()
    ec2.meta.events.register("before-call.ec2.DescribeVpcs", add)
    with pytest.raises(ClientError) as refused:
        ec2.describe_vpcs()
    assert code(refused) == ("UnknownParameter", 400)
    assert "Unicorn" in refused.value.response["Error"]["Message"]


@pytest.mark.parametrize("call, arguments, expected", [
    ("run_instances", {"MinCount": 1, "MaxCount": 1, "ImageId": "ami-0123456789abcdef0", "InstanceType": "t3.nano"},
     "InvalidAMIID.NotFound"),
    ("run_instances", {"MinCount": 1, "MaxCount": 1, "ImageId": "bogus", "InstanceType": "t3.nano"},
     "InvalidAMIID.Malformed"),
    ("run_instances", {"ImageId": "ami-0123456789abcdef0", "MaxCount": 1}, "MissingParameter"),
    ("describe_instances", {"InstanceIds": ["i-0123456789abcdef0"]}, "InvalidInstanceID.NotFound"),
    ("describe_instances", {"InstanceIds": ["bogus"]}, "InvalidInstanceID.Malformed"),
    ("describe_instances", {"Filters": [{"Name": "unicorn", "Values": ["1"]}]}, "InvalidParameterValue"),
    ("describe_instances", {"MaxResults": 2}, "InvalidParameterValue"),
    ("terminate_instances", {"InstanceIds": ["i-0123456789abcdef0"]}, "InvalidInstanceID.NotFound"),
    ("describe_vpcs", {"VpcIds": ["vpc-0123456789abcdef0"]}, "InvalidVpcID.NotFound"),
    ("describe_subnets", {"SubnetIds": ["subnet-0123456789abcdef0"]}, "InvalidSubnetID.NotFound"),
    ("describe_security_groups", {"GroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
    ("describe_key_pairs", {"KeyNames": ["nobody"]}, "InvalidKeyPair.NotFound"),
    ("create_key_pair", {"KeyName": ""}, "InvalidParameterValue"),
    ("create_tags", {"Resources": ["i-0123456789abcdef0"], "Tags": [{"Key": "a", "Value": "b"}]},
     "InvalidInstanceID.NotFound"),
])
def test_each_mistake_has_its_code(ec2, call, arguments, expected):
    before = len(ec2.describe_instances()["Reservations"])
    with pytest.raises(ClientError) as refused:
        getattr(ec2, call)(**arguments)
    assert code(refused) == (expected, 400)
    assert len(ec2.describe_instances()["Reservations"]) == before


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"%zz=1", b"Action", b"=", b"&" * 1000, b"Action=" + b"A" * 100_000])
def test_garbage_is_refused_without_harm(cloud, ec2, body):
    status, _, _ = raw(cloud, body)
    assert 400 <= status < 500
    assert ec2.describe_vpcs()["Vpcs"]


def test_a_body_beyond_the_limit_is_refused(cloud):
    status, name, _ = raw(cloud, b"Action=DescribeVpcs&Filler=" + b"x" * (5 << 20))
    assert (status, name) == (413, "RequestEntityTooLarge")


def test_every_answer_has_a_request_id(cloud, ec2):
    answer = ec2.describe_vpcs()["ResponseMetadata"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer["RequestId"])
