"""`nube up --host sim` as people use an emulator: any region, any credentials, AWS's images, a reset, a pace."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request

import boto3
import botocore.config
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from conftest import wait_until
from guest import describe, wait_for

pytestmark = pytest.mark.skipif("config.getoption('--host') != 'sim'", reason="an emulator has simulated machines")


@pytest.fixture(scope="module")
def loose(make_cloud):
    """An emulator that asks nobody for a secret."""
    return make_cloud("loose").up("--auth", "off")


def stranger(cloud, key="test", region="us-east-1", service="ec2", **more):
    return boto3.client(
        service, endpoint_url=cloud.environment["AWS_ENDPOINT_URL"], region_name=region, aws_access_key_id=key,
        aws_secret_access_key="whatever", config=botocore.config.Config(retries={"max_attempts": 0}), **more)


def reset(cloud, method="POST", headers=()):
    """The status and the parsed body."""
    request = urllib.request.Request(f"http://{cloud.listen}/_nube/reset", method=method, headers=dict(headers))
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def newest(ec2, owner, **filters):
    """What Terraform's `data "aws_ami"` with `most_recent` does."""
    asked = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
    images = ec2.describe_images(Owners=[owner], Filters=asked)["Images"]
    return max(images, key=lambda image: image["CreationDate"])


def launch(ec2, image=None, kind="t3.micro"):
    image = image or ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    return ec2.run_instances(ImageId=image, InstanceType=kind, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]


def test_every_commercial_region_is_there(cloud, ec2):
    session = boto3.session.Session()
    served = {region["RegionName"]: region for region in ec2.describe_regions(AllRegions=True)["Regions"]}
    assert set(session.get_available_regions("ec2")) == set(served)
    assert served["us-east-1"]["OptInStatus"] == "opt-in-not-required"
    assert served["mx-central-1"] == {
        "RegionName": "mx-central-1", "Endpoint": "ec2.mx-central-1.amazonaws.com", "OptInStatus": "opted-in"}
    for region in served:
        zones = cloud.client(region_name=region).describe_availability_zones()["AvailabilityZones"]
        assert len(zones) in (2, 3, 4, 6) and all(zone["RegionName"] == region for zone in zones)
        assert all(re.fullmatch(r"[a-z]+\d-az\d", zone["ZoneId"]) for zone in zones)


def test_regions_stand_side_by_side(cloud):
    here, there = cloud.client(region_name="us-east-1"), cloud.client(region_name="eu-west-1")
    one, other = launch(here), launch(there)
    wait_for(here, one, "running")
    wait_for(there, other, "running")
    for client, own, foreign in ((here, one, other), (there, other, one)):
        ids = {i["InstanceId"] for r in client.describe_instances()["Reservations"] for i in r["Instances"]}
        assert own in ids and foreign not in ids
        with pytest.raises(ClientError) as refused:
            client.terminate_instances(InstanceIds=[foreign])
        assert refused.value.response["Error"]["Code"] == "InvalidInstanceID.NotFound"
    shown = describe(there, other)
    assert shown["Placement"]["AvailabilityZone"].startswith("eu-west-1")
    assert shown["PrivateDnsName"].endswith(".eu-west-1.compute.internal")
    there.create_key_pair(KeyName="side-by-side", KeyType="ed25519")
    assert "side-by-side" not in [key["KeyName"] for key in here.describe_key_pairs()["KeyPairs"]]
    here.terminate_instances(InstanceIds=[one])
    there.terminate_instances(InstanceIds=[other])
    wait_for(there, other, "terminated")
    assert describe(here, one)["State"]["Name"] in ("shutting-down", "terminated")


def test_a_region_that_is_not_served_is_refused_as_by_aws(cloud):
    with pytest.raises(ClientError) as refused:
        cloud.client(region_name="us-lab-1").describe_instances()
    assert refused.value.response["Error"]["Code"] == "AuthFailure"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 401
    assert "us-lab-1" in refused.value.response["Error"]["Message"]
    with pytest.raises(ClientError) as refused:
        cloud.client("sts", region_name="us-lab-1").get_caller_identity()
    assert refused.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    for region in ("us-east-1", "eu-south-2"):
        assert cloud.client("sts", region_name=region).get_caller_identity()["Account"] == "000000000000"


@pytest.mark.parametrize("owner, name, more", [
    ("amazon", "al2023-ami-2023*-x86_64", {}),
    ("amazon", "amzn2-ami-kernel-5.10-hvm-*-x86_64-gp2", {"virtualization_type": "hvm"}),
    ("099720109477", "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*", {"root_device_type": "ebs"}),
    ("099720109477", "ubuntu/images/*ubuntu-jammy-22.04-arm64-server-*", {"architecture": "arm64"}),
    ("136693071363", "debian-13-amd64-*", {}),
    ("309956199498", "RHEL-9*_HVM-*-x86_64-*", {}),
    ("013907871322", "suse-sles-15-sp*-v*-hvm-ssd-x86_64", {}),
    ("801119661308", "Windows_Server-2022-English-Full-Base-*", {"platform": "windows"}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_the_images_that_people_look_for_are_there_and_start(ec2, terminate, owner, name, more):
    image = newest(ec2, owner, name=name, **more)
    assert image["Public"] and image["State"] == "available"
    kind = "t4g.micro" if image["Architecture"] == "arm64" else "t3.micro"
    instance = launch(ec2, image["ImageId"], kind)
    terminate(instance)
    shown = wait_for(ec2, instance, "running")
    assert shown["ImageId"] == image["ImageId"]
    assert shown["PlatformDetails"] == image["PlatformDetails"]
    assert shown.get("Platform") == image.get("Platform") == more.get("platform")
    assert shown["RootDeviceName"] == image["RootDeviceName"]


def test_the_cli_finds_the_latest_image_as_in_awss_guide(cloud):
    latest = cloud.aws(
        "ec2", "describe-images", "--owners", "amazon", "--filters", "Name=name,Values=al2023-ami-2023*-x86_64",
        "--query", "sort_by(Images, &CreationDate)[-1].[Name,ImageId]")
    assert latest[0].startswith("al2023-ami-2023.") and latest[1].startswith("ami-0")
    mine = cloud.aws("ec2", "describe-images", "--owners", "self", "--query", "Images[].Name")
    assert mine == ["nube/nano-simulated"]


def test_any_credentials_do_where_signatures_are_off(loose):
    for key, account in (("test", "000000000000"), ("123456789012", "123456789012"), ("AKIAIOSFODNN7EXAMPLE", "000000000000")):
        assert stranger(loose, key, service="sts").get_caller_identity()["Account"] == account
    vpcs = {key: stranger(loose, key).describe_vpcs()["Vpcs"][0] for key in ("111111111111", "222222222222")}
    assert {vpc["OwnerId"] for vpc in vpcs.values()} == set(vpcs)
    assert len({vpc["VpcId"] for vpc in vpcs.values()}) == 2
    assert stranger(loose, aws_session_token="nonsense").describe_instances()["Reservations"] == []
    # Nobody need sign at all.
    with urllib.request.urlopen(f"http://{loose.listen}/?Action=DescribeVpcs&Version=2016-11-15") as answer:
        assert b"<ownerId>000000000000</ownerId>" in answer.read()
    # The cloud's own credentials are as good as ever.
    assert loose.client("sts").get_caller_identity()["Account"] == "000000000000"


def test_a_web_page_cannot_speak_for_its_visitor(loose):
    for header in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        url = f"http://{loose.listen}/?Action=DescribeVpcs&Version=2016-11-15"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, headers=header))
        assert refused.value.code == 403
        assert reset(loose, headers=header)[0] == 403


def test_signatures_count_unless_they_are_switched_off(cloud):
    with pytest.raises(ClientError) as refused:
        stranger(cloud, "123456789012").describe_vpcs()
    assert refused.value.response["Error"]["Code"] == "AuthFailure"
    status, body = reset(cloud)
    assert status == 403 and "--auth off" in body["message"]


def test_signatures_cannot_be_switched_off_for_everybody_by_mistake(cloud, tmp_path):
    def up(*arguments):
        command = [cloud.nube, "up", "--data", str(tmp_path / "data"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    done = up("--host", "sim", "--auth", "off", "--listen", "0.0.0.0:0")
    assert done.returncode == 1 and "off-anywhere" in done.stderr
    assert not os.path.exists(tmp_path / "data")


def test_a_reset_forgets_all_accounts_and_regions(make_cloud):
    cloud = make_cloud("forgetful").up("--auth", "off")
    places = [("111111111111", "us-east-1"), ("222222222222", "eu-west-1"), ("test", "sa-east-1")]
    clients = [stranger(cloud, key, region) for key, region in places]
    for ec2 in clients:
        wait_for(ec2, launch(ec2), "running")
    before = [ec2.describe_vpcs()["Vpcs"][0]["VpcId"] for ec2 in clients]
    assert reset(cloud, "GET")[0] == 405
    status, body = reset(cloud)
    assert status == 200 and body["status"] == "reset"
    assert body["forgotten"]["instance"] == 3 and body["forgotten"]["vpc"] == 3
    for ec2, vpc in zip(clients, before):
        assert ec2.describe_instances()["Reservations"] == []
        assert ec2.describe_volumes()["Volumes"] == []
        assert [v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"]] != [vpc]
    # It goes on as if it were new, also when it is started again.
    wait_for(clients[0], launch(clients[0]), "running")
    assert cloud.client("sts").get_caller_identity()["Account"] == "000000000000"
    cloud.interrupt()
    cloud.up("--auth", "off")
    assert len(clients[0].describe_instances()["Reservations"]) == 1
    assert clients[1].describe_instances()["Reservations"] == []


def test_with_signatures_the_operator_alone_resets(make_cloud):
    cloud = make_cloud("guarded").up()
    launch(cloud.client())
    other = json.loads(cloud.run("account", "create", "--json").stdout)
    own = (cloud.environment["AWS_ACCESS_KEY_ID"], cloud.environment["AWS_SECRET_ACCESS_KEY"])

    def signed(key, secret):
        request = AWSRequest("POST", f"http://{cloud.listen}/_nube/reset", data=b"")
        SigV4Auth(Credentials(key, secret), "nube", "us-east-1").add_auth(request)
        return reset(cloud, headers=request.headers.items())
    assert signed(other["access_key_id"], other["secret_access_key"])[0] == 403
    assert signed(own[0], "wrong")[0] == 403
    assert len(cloud.client().describe_instances()["Reservations"]) == 1
    status, body = signed(*own)
    assert status == 200 and body["forgotten"]["instance"] == 1
    assert cloud.client().describe_instances()["Reservations"] == []
    with pytest.raises(ClientError):
        keys = {"aws_access_key_id": other["access_key_id"], "aws_secret_access_key": other["secret_access_key"]}
        cloud.client(**keys).describe_vpcs()


def test_states_pass_at_once_or_as_slowly_as_on_aws(cloud, ec2, terminate, make_cloud):
    at_once = launch(ec2)
    terminate(at_once)
    wait_for(ec2, at_once, "running")
    status = ec2.describe_instance_status(InstanceIds=[at_once])["InstanceStatuses"][0]
    assert status["InstanceStatus"]["Status"] == "ok"

    slow = make_cloud("slow").up("--pace", "real").client()
    instance = launch(slow)
    seen = set()

    def state(wanted):
        seen.add(describe(slow, instance)["State"]["Name"])
        return wanted in seen
    wait_until(lambda: state("running"), "it runs", interval=0.05)
    slow.stop_instances(InstanceIds=[instance])
    wait_until(lambda: state("stopped"), "it stops", interval=0.05)
    slow.terminate_instances(InstanceIds=[instance])
    wait_until(lambda: state("terminated"), "it ends", interval=0.05)
    assert {"pending", "running", "stopping", "stopped", "terminated"} <= seen
