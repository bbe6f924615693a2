"""The main job: launch, look, end. By boto3 as in the user's program, and by the AWS CLI as in AWS's guide."""

import base64
import json
import os

import pytest
from conftest import wait_until
from guest import banner, describe, is_silent, key_pair, open_group, ssh, wait_for


def test_the_users_program_runs_verbatim(cloud, ec2, image, subnet, tmp_path):
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = open_group(ec2, "users-program", vpc, 22)
    key_pair(ec2, "my-ssh-keypair", tmp_path)

    resp = ec2.run_instances(
        ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=subnet,
        SecurityGroupIds=[group], KeyName="my-ssh-keypair",
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "example"}]}])
    instance_id = resp["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": 240})
    desc = ec2.describe_instances(InstanceIds=[instance_id])

    instance = desc["Reservations"][0]["Instances"][0]
    assert instance["State"] == {"Code": 16, "Name": "running"}
    assert instance["Tags"] == [{"Key": "Name", "Value": "example"}]
    assert instance["KeyName"] == "my-ssh-keypair"
    assert instance["SecurityGroups"] == [{"GroupId": group, "GroupName": "users-program"}]
    assert instance["SubnetId"] == subnet
    assert instance["PrivateDnsName"] == f"ip-{instance['PrivateIpAddress'].replace('.', '-')}.ec2.internal"
    assert instance["PublicIpAddress"].startswith("198.1")

    ec2.terminate_instances(InstanceIds=[instance_id])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": 240})
    wait_until(lambda: not ec2.describe_volumes(Filters=[
        {"Name": "attachment.instance-id", "Values": [instance_id]}])["Volumes"], "the root volume goes too")
    ec2.delete_security_group(GroupId=group)
    ec2.delete_key_pair(KeyName="my-ssh-keypair")


def test_a_dry_run_changes_nothing(ec2, image):
    before = ec2.describe_instances()["Reservations"]
    with pytest.raises(ec2.exceptions.ClientError) as refused:
        ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1, DryRun=True)
    assert refused.value.response["Error"]["Code"] == "DryRunOperation"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert ec2.describe_instances()["Reservations"] == before


def test_the_same_client_token_launches_once(ec2, image, terminate):
    request = {"ImageId": image, "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1, "ClientToken": "once"}
    first = ec2.run_instances(**request)
    again = ec2.run_instances(**request)
    terminate(first["Instances"][0]["InstanceId"])
    assert [i["InstanceId"] for i in again["Instances"]] == [i["InstanceId"] for i in first["Instances"]]
    with pytest.raises(ec2.exceptions.ClientError) as refused:
        ec2.run_instances(**{**request, "InstanceType": "t3.micro"})
    assert refused.value.response["Error"]["Code"] == "IdempotentParameterMismatch"


def test_the_identity_behind_the_keys_is_told(cloud):
    identity = cloud.client("sts").get_caller_identity()
    assert identity["Account"] == "000000000000"
    assert identity["Arn"] == "arn:aws:iam::000000000000:root"


@pytest.mark.machines
@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_the_walk_by_aws_cli(cloud, ec2, image, tmp_path, kind):
    aws, name = cloud.aws, f"walk-{kind}"
    key = tmp_path / "key.pem"
    made = aws("ec2", "create-key-pair", "--key-name", name, "--key-type", kind)
    key.write_text(made["KeyMaterial"])
    key.chmod(0o600)
    group = aws("ec2", "create-security-group", "--group-name", name, "--description", "ssh")["GroupId"]
    aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "22",
        "--cidr", "0.0.0.0/0")
    script = tmp_path / "user-data"
    script.write_text("#!/bin/sh\necho \"user data as $(id -un)\" | tee -a /root/first-boot\n")
    launched = aws("ec2", "run-instances", "--image-id", image, "--instance-type", "t3.micro", "--key-name", name,
                   "--security-group-ids", group, "--user-data", f"file://{script}")
    instance = launched["Instances"][0]["InstanceId"]
    aws("ec2", "wait", "instance-running", "--instance-ids", instance)
    running = describe(ec2, instance)
    address, private = running["PublicIpAddress"], running["PrivateIpAddress"]

    # ssh, identity and user data.
    assert ssh(address, key, "id -un") == "ec2-user"
    assert ssh(address, key, "hostname") == f"ip-{private.replace('.', '-')}"
    wait_until(lambda: "user data as root" in ssh(address, key, "sudo cat /root/first-boot", check=False).stdout,
               "the user data has run as root")
    assert int(ssh(address, key, "awk '/MemTotal/ {print $2}' /proc/meminfo")) > 900_000

    # The console tells of the boot.
    def console():
        answer = aws("ec2", "get-console-output", "--instance-id", instance)
        return base64.b64decode(answer["Output"]) if "\n" not in answer.get("Output", "") else answer["Output"].encode()
    wait_until(lambda: b"user data as root" in console(), "the console shows what the user data printed")

    # Stop and start: another public address, the same private one, the disk kept.
    ssh(address, key, "echo kept > kept && sync")
    aws("ec2", "stop-instances", "--instance-ids", instance)
    aws("ec2", "wait", "instance-stopped", "--instance-ids", instance)
    stopped = describe(ec2, instance)
    assert "PublicIpAddress" not in stopped
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    aws("ec2", "start-instances", "--instance-ids", instance)
    aws("ec2", "wait", "instance-running", "--instance-ids", instance)
    started = describe(ec2, instance)
    assert started["PrivateIpAddress"] == private
    assert started["PublicIpAddress"] != address
    address = started["PublicIpAddress"]
    assert ssh(address, key, "cat kept") == "kept"
    assert ssh(address, key, "sudo cat /root/first-boot | wc -l") == "1", "user data runs at the first boot only"

    # Reboot: the same machine and addresses, a new boot.
    boot = ssh(address, key, "cat /proc/sys/kernel/random/boot_id")
    aws("ec2", "reboot-instances", "--instance-ids", instance)
    wait_until(lambda: ssh(address, key, "cat /proc/sys/kernel/random/boot_id", check=False).stdout.strip()
               not in ("", boot), "the machine has booted again", timeout=240)
    assert describe(ec2, instance)["State"]["Name"] == "running"

    aws("ec2", "terminate-instances", "--instance-ids", instance)
    aws("ec2", "wait", "instance-terminated", "--instance-ids", instance)
    aws("ec2", "delete-security-group", "--group-id", group)
    aws("ec2", "delete-key-pair", "--key-name", name)


@pytest.mark.machines
def test_an_imported_key_opens_the_instance_and_nube_ssh_finds_the_way(cloud, ec2, image, tmp_path, terminate):
    import subprocess
    key = tmp_path / "imported"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    ec2.import_key_pair(KeyName="imported", PublicKeyMaterial=(tmp_path / "imported.pub").read_bytes())
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = open_group(ec2, "imported", vpc, 22)
    instance = ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1, KeyName="imported",
                                 SecurityGroupIds=[group])["Instances"][0]["InstanceId"]
    terminate(instance)
    banner(wait_for(ec2, instance, "running")["PublicIpAddress"])
    done = subprocess.run(
        [cloud.nube, "ssh", "--data", cloud.data, "-i", str(key), instance, "id", "-un"],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.stdout.strip() == "ec2-user", done.stderr


@pytest.mark.machines
def test_an_elastic_address_leads_to_the_instance_it_is_associated_with(cloud, ec2, image, tmp_path, terminate):
    key = key_pair(ec2, "elastic", tmp_path)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = open_group(ec2, "elastic", vpc, 22)
    instance = ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1, KeyName="elastic",
                                 SecurityGroupIds=[group])["Instances"][0]["InstanceId"]
    terminate(instance)
    automatic = wait_for(ec2, instance, "running")["PublicIpAddress"]
    elastic = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=elastic["AllocationId"], InstanceId=instance)
    assert describe(ec2, instance)["PublicIpAddress"] == elastic["PublicIp"] != automatic
    assert ssh(elastic["PublicIp"], key, "id -un") == "ec2-user"
    wait_until(lambda: is_silent(automatic), "the automatic address leads nowhere")
    association = ec2.describe_addresses(AllocationIds=[elastic["AllocationId"]])["Addresses"][0]["AssociationId"]
    ec2.disassociate_address(AssociationId=association)
    ec2.release_address(AllocationId=elastic["AllocationId"])
    assert ssh(describe(ec2, instance)["PublicIpAddress"], key, "id -un") == "ec2-user"
    wait_until(lambda: is_silent(elastic["PublicIp"]), "the released address leads nowhere")


@pytest.mark.machines
def test_the_metadata_service_tells_an_instance_about_itself(cloud, ec2, image, tmp_path, terminate):
    key = key_pair(ec2, "metadata", tmp_path)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = open_group(ec2, "metadata", vpc, 22)
    instance = ec2.run_instances(
        ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1, KeyName="metadata", SecurityGroupIds=[group],
        UserData="#!/bin/sh\ntrue\n", MetadataOptions={"HttpTokens": "required"})["Instances"][0]["InstanceId"]
    terminate(instance)
    running = wait_for(ec2, instance, "running")
    address = running["PublicIpAddress"]
    base = "http://169.254.169.254/latest"
    assert ssh(address, key, f"wget -q -O - {base}/meta-data/instance-id; echo $?").endswith("1"), "no token, no answer"
    # busybox hangs up as soon as it has nothing more to send, which takes the question back.
    put = ("{ printf 'PUT /latest/api/token HTTP/1.0\\r\\nX-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n'; sleep 1; }"
           " | nc 169.254.169.254 80 | tail -n 1")

    def get(path):
        return ssh(address, key, f"wget -q -O - --header \"X-aws-ec2-metadata-token: $({put})\" {base}/{path}")
    assert get("meta-data/instance-id") == instance
    assert get("meta-data/local-ipv4") == running["PrivateIpAddress"]
    assert get("meta-data/public-ipv4") == address
    assert get("meta-data/placement/availability-zone") == running["Placement"]["AvailabilityZone"]
    mac = running["NetworkInterfaces"][0]["MacAddress"]
    assert get(f"meta-data/network/interfaces/macs/{mac}/subnet-id") == running["SubnetId"]
    assert "ssh-ed25519" in get("meta-data/public-keys/0/openssh-key")
    assert get("user-data").startswith("#!/bin/sh")
    document = json.loads(get("dynamic/instance-identity/document"))
    assert (document["instanceId"], document["privateIp"]) == (instance, running["PrivateIpAddress"])
    assert os.path.exists(os.path.join(cloud.data, "identity-certificate.pem"))
