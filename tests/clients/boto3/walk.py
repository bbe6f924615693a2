"""The walk of a boto3 user: from a key pair to a terminated instance. Settings come from the environment alone.

Prints the instance's id.
"""

import base64
import sys
import uuid

import boto3
from botocore.exceptions import ClientError, WaiterError

NAME = f"walk-boto3-{uuid.uuid4().hex[:8]}"
USER_DATA = "#!/bin/sh\necho hello from user data\n"

client = boto3.client("ec2")
ec2 = boto3.resource("ec2")


def refused(code, call, **request):
    """The call fails with this error code."""
    try:
        call(**request)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert error.response["Error"]["Message"]
        assert error.response["ResponseMetadata"]["RequestId"]
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"{call.__name__} succeeded, {code} was expected")


def main():
    account = boto3.client("sts").get_caller_identity()["Account"]
    assert {"supported-platforms", "default-vpc", "max-instances"} <= {
        attribute["AttributeName"] for attribute in client.describe_account_attributes()["AccountAttributes"]}

    # Where to: collections with filters, and what hangs on them.
    image = max(ec2.images.filter(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["nube/*"]}]),
                key=lambda image: image.creation_date)
    assert image.state == "available" and image.root_device_type == "ebs"
    vpc = next(iter(ec2.vpcs.filter(Filters=[{"Name": "is-default", "Values": ["true"]}])))
    assert vpc.describe_attribute(Attribute="enableDnsSupport")["EnableDnsSupport"]["Value"] is True
    subnet = sorted(vpc.subnets.all(), key=lambda subnet: subnet.availability_zone)[0]
    assert subnet.map_public_ip_on_launch
    assert any(route.gateway_id.startswith("igw-") for table in vpc.route_tables.all() for route in table.routes)

    key = ec2.create_key_pair(KeyName=NAME, KeyType="rsa", TagSpecifications=[
        {"ResourceType": "key-pair", "Tags": [{"Key": "Name", "Value": NAME}]}])
    assert "PRIVATE KEY" in key.key_material
    assert refused("InvalidKeyPair.Duplicate", client.create_key_pair, KeyName=NAME) == 400

    group = vpc.create_security_group(GroupName=NAME, Description="the walk")
    rules = group.authorize_ingress(IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "ssh"}]},
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group.id}]}])["SecurityGroupRules"]
    assert len(rules) == 2 and all(not rule["IsEgress"] for rule in rules)
    group.reload()
    assert {permission["IpProtocol"] for permission in group.ip_permissions} == {"tcp", "-1"}

    launch = {
        "ImageId": image.id, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "KeyName": NAME,
        "SubnetId": subnet.id, "SecurityGroupIds": [group.id], "UserData": USER_DATA, "ClientToken": NAME,
        "BlockDeviceMappings": [{"DeviceName": image.root_device_name,
                                 "Ebs": {"VolumeSize": 9, "VolumeType": "gp3", "DeleteOnTermination": True}}],
        "TagSpecifications": [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": NAME}]}
                              for kind in ("instance", "volume", "network-interface")],
    }
    assert refused("DryRunOperation", client.run_instances, **launch, DryRun=True) == 412
    [instance] = ec2.create_instances(**launch)
    assert [again.id for again in ec2.create_instances(**launch)] == [instance.id]
    refused("IdempotentParameterMismatch", client.run_instances, **{**launch, "InstanceType": "t3.micro"})
    instance.wait_until_running()
    instance.reload()
    assert instance.state == {"Code": 16, "Name": "running"} and instance.public_ip_address
    assert instance.tags == [{"Key": "Name", "Value": NAME}]
    assert instance.security_groups == [{"GroupId": group.id, "GroupName": NAME}]

    # What belongs to it, by its own collections.
    [volume] = instance.volumes.all()
    assert (volume.size, volume.volume_type, volume.state) == (9, "gp3", "in-use")
    assert volume.tags == [{"Key": "Name", "Value": NAME}]
    [interface] = instance.network_interfaces
    assert interface.private_ip_address == instance.private_ip_address
    interface.reload()
    assert interface.attachment["InstanceId"] == instance.id and interface.owner_id == account
    assert instance.vpc.id == vpc.id and instance.subnet.id == subnet.id and instance.image.id == image.id
    said = instance.describe_attribute(Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(said).decode() == USER_DATA
    for attribute in ("instanceType", "disableApiTermination", "ebsOptimized", "sourceDestCheck", "groupSet",
                      "rootDeviceName", "blockDeviceMapping", "instanceInitiatedShutdownBehavior"):
        assert instance.describe_attribute(Attribute=attribute)["InstanceId"] == instance.id

    # Filters and pages.
    filters = [{"Name": "tag:Name", "Values": [NAME]}, {"Name": "instance-state-name", "Values": ["running"]}]
    assert [found.id for found in ec2.instances.filter(Filters=filters)] == [instance.id]
    pages = client.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5})
    assert instance.id in pages.search("Reservations[].Instances[].InstanceId")
    types = client.get_paginator("describe_instance_types").paginate(
        Filters=[{"Name": "instance-type", "Values": ["t3.*"]}], PaginationConfig={"PageSize": 5})
    assert len({kind["InstanceType"] for page in types for kind in page["InstanceTypes"]}) == 7
    refused("InvalidParameterValue", client.describe_instances, Filters=[{"Name": "colour", "Values": ["red"]}])
    client.get_waiter("instance_status_ok").wait(InstanceIds=[instance.id])
    [status] = client.describe_instance_status(InstanceIds=[instance.id])["InstanceStatuses"]
    assert status["SystemStatus"]["Status"] == "ok"

    instance.create_tags(Tags=[{"Key": "stage", "Value": "live"}, {"Key": "with space", "Value": "a, b & <ü>"}])
    tags = client.get_paginator("describe_tags").paginate(Filters=[{"Name": "resource-id", "Values": [instance.id]}])
    assert {tag["Key"]: tag["Value"] for page in tags for tag in page["Tags"]} == {
        "Name": NAME, "stage": "live", "with space": "a, b & <ü>"}
    client.delete_tags(Resources=[instance.id], Tags=[{"Key": "stage"}])

    # Stopped, changed, started.
    refused("IncorrectInstanceState", instance.modify_attribute, InstanceType={"Value": "t3.micro"})
    address = instance.private_ip_address
    instance.stop()
    instance.wait_until_stopped()
    instance.modify_attribute(InstanceType={"Value": "t3.micro"})
    instance.modify_attribute(UserData={"Value": b"#!/bin/sh\ntrue\n"})
    instance.start()
    instance.wait_until_running()
    instance.reload()
    assert (instance.instance_type, instance.private_ip_address) == ("t3.micro", address)
    instance.reboot()
    instance.monitor()
    instance.unmonitor()
    assert instance.console_output()["InstanceId"] == instance.id

    instance.modify_attribute(DisableApiTermination={"Value": True})
    refused("OperationNotPermitted", instance.terminate)
    instance.modify_attribute(DisableApiTermination={"Value": False})

    # Mistakes.
    refused("InvalidInstanceID.NotFound", client.describe_instances, InstanceIds=["i-0123456789abcdef0"])
    refused("InvalidInstanceID.Malformed", client.describe_instances, InstanceIds=["i-wrong"])
    refused("InvalidAMIID.NotFound", client.run_instances, **{**launch, "ImageId": "ami-0123456789abcdef0",
                                                              "ClientToken": f"{NAME}-2"})
    refused("InvalidKeyPair.NotFound", client.run_instances, **{**launch, "KeyName": "nobody",
                                                                "ClientToken": f"{NAME}-3"})
    refused("DependencyViolation", group.delete)
    try:
        client.get_waiter("instance_running").wait(InstanceIds=["i-0123456789abcdef0"],
                                                   WaiterConfig={"Delay": 1, "MaxAttempts": 2})
        raise AssertionError("an instance that never was is running")
    except WaiterError as error:
        assert "InvalidInstanceID.NotFound" in str(error.last_response)

    instance.terminate()
    instance.wait_until_terminated()
    instance.reload()
    assert instance.state_reason["Code"] == "Client.UserInitiatedShutdown"
    group.delete()
    key.delete()
    assert client.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [NAME]}])["KeyPairs"] == []
    print(instance.id)


sys.exit(main())
