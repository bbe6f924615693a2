"""Each client's own program, unmodified, from a key pair to a terminated instance."""

import base64
import json
import re
import subprocess

import pytest
from conftest import TARGET


def test_the_aws_cli(walk, ended):
    assert ended(walk("aws_cli/walk.sh"))


def test_awslocal_by_its_own_settings(cloud, walk, ended):
    # Without AWS_ENDPOINT_URL: from LOCALSTACK_HOST, whose default is the port that `nube up` listens at.
    assert ended(walk("awslocal/walk.sh", environment={"LOCALSTACK_HOST": cloud.listen}, without=["AWS_ENDPOINT_URL"]))


def test_boto3(walk, ended):
    assert ended(walk("python3", "boto3/walk.py"))


@pytest.mark.parametrize("signature", ["2", "4"])
def test_libcloud(walk, ended, signature):
    assert ended(walk("python3", "libcloud/walk.py", signature))


def test_the_sdk_for_javascript(walk, ended):
    assert ended(walk("node", "walk.mjs", cwd=TARGET / "clients-javascript"))


@pytest.mark.full
def test_the_sdk_for_rust(walk, ended):
    # Minutes of compiling: the EC2 crate alone is larger than all of Nube.
    target = {"CARGO_TARGET_DIR": str(TARGET / "clients-rust")}
    walk("cargo", "build", "--locked", "--quiet", "--manifest-path", "rust/Cargo.toml", environment=target)
    assert ended(walk(TARGET / "clients-rust/debug/walk"))


def test_ansible_describes_and_a_second_run_changes_nothing(cloud, walk, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    ec2 = cloud.client()

    def play(stage):
        printed = walk(
            "ansible-playbook", "ansible/site.yml", "-e", f"public_key={tmp_path}/key.pub", "-e", f"stage={stage}",
            environment={"AWS_URL": cloud.environment["AWS_ENDPOINT_URL"], "ANSIBLE_NOCOLOR": "1",
                         "ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_REMOTE_TEMP": str(tmp_path)})
        return int(re.search(r"changed=(\d+)", printed)[1])

    def instances():
        filters = [{"Name": "tag:Project", "Values": ["walk-ansible"]}]
        pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
        return {one["InstanceId"]: one["State"]["Name"] for one in pages.search("Reservations[].Instances[]")}

    assert play("running") == 3
    made = instances()
    assert list(made.values()) == ["running"] * 2
    data = ec2.describe_instance_attribute(InstanceId=min(made), Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(data).decode() == "#!/bin/sh\necho hello from user data\n"
    assert play("running") == 0
    assert instances() == made
    assert play("stopped") == 1
    assert instances() == dict.fromkeys(made, "stopped")
    assert play("absent") == 3
    assert instances() == dict.fromkeys(made, "terminated")
    assert play("absent") == 0
    assert json.dumps(ec2.describe_key_pairs()["KeyPairs"]).count("walk-ansible") == 0
