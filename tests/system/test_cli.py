"""The `nube` program as people and scripts use it."""

import json
import os
import pty
import subprocess

import pytest
from conftest import wait_until
from guest import describe, wait_for

NAMES = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION"]


def test_env_is_shell_text_that_points_clients_at_the_cloud(cloud):
    shown = " ".join(f'"${name}"' for name in NAMES)
    script = f"eval \"$('{cloud.nube}' env --data '{cloud.data}')\" && printf '%s\\n' {shown} \"[$AWS_PROFILE]\""
    done = subprocess.run(["sh", "-euc", script.replace("$AWS_PROFILE", "${AWS_PROFILE-}")], capture_output=True,
                          text=True, check=True, env={**os.environ, "AWS_PROFILE": "another", "AWS_SESSION_TOKEN": "old"})
    assert done.stdout.splitlines() == [*(cloud.environment[name] for name in NAMES), "[]"]
    identity = cloud.client("sts").get_caller_identity()
    assert identity["Account"] == "000000000000"


def test_status_is_json_for_scripts_and_tells_by_its_code_that_all_is_well(cloud, ec2):
    cloud.at_rest()
    done = cloud.run("status", "--json")
    assert len(done.stdout.splitlines()) == 1
    status = json.loads(done.stdout)
    assert status["endpoint"] == f"http://{cloud.listen}"
    assert status["host"] == cloud.host
    assert status["healthy"] is True
    assert status["processes"]["up"] == cloud.pid("up")
    assert status["status"]["host_connected"] is True


def test_status_of_no_cloud_says_how_to_start_one(cloud, tmp_path):
    done = subprocess.run([cloud.nube, "status", "--data", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "nube up" in done.stderr and str(tmp_path) in done.stderr


@pytest.mark.parametrize("arguments", [["status"], ["image", "list"], ["env"], ["--help"]], ids=" ".join)
def test_there_are_no_colours_but_on_a_terminal(cloud, arguments):
    data = ["--data", cloud.data] if arguments[0] in ("status", "env") else []
    done = subprocess.run([cloud.nube, *arguments, *data], capture_output=True, stdin=subprocess.DEVNULL)
    assert done.stdout and b"\x1b" not in done.stdout + done.stderr


def test_colours_on_a_terminal_yield_to_no_color(cloud):
    def on_terminal(**variables):
        main, terminal = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        subprocess.run([cloud.nube, "status", "--data", cloud.data], stdout=terminal, stderr=terminal,
                       env={**environment, "TERM": "xterm", **variables})
        os.close(terminal)
        text = b""
        try:
            while piece := os.read(main, 4096):
                text += piece
        except OSError:
            pass  # The other end of a terminal is closed with an error.
        os.close(main)
        return text
    assert b"\x1b[" in on_terminal()
    assert b"\x1b" not in on_terminal(NO_COLOR="1")


@pytest.mark.machines
def test_the_hosts_images_are_listed_as_json_and_the_cloud_offers_them(cloud, ec2):
    listed = json.loads(subprocess.run([cloud.nube, "image", "list", "--json"], capture_output=True, check=True).stdout)
    assert listed
    offered = {image["Name"] for image in ec2.describe_images(Owners=["amazon"])["Images"]}
    for image in listed:
        assert any(image["name"] in name for name in offered), (image, offered)


def test_a_second_account_is_made_and_owns_nothing_of_the_first(cloud, ec2):
    account = json.loads(cloud.run("account", "create", "--json").stdout)
    keys = {"aws_access_key_id": account["access_key_id"], "aws_secret_access_key": account["secret_access_key"]}
    identity = cloud.client("sts", **keys).get_caller_identity()
    assert identity["Account"] == account["account"] != "000000000000"
    vpcs = cloud.client(**keys).describe_vpcs()["Vpcs"]
    assert [vpc["OwnerId"] for vpc in vpcs] == [account["account"]]
    assert vpcs[0]["VpcId"] not in [vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"]]


def test_a_cloud_that_runs_is_not_started_twice(cloud):
    done = cloud.run("up", "--host", cloud.host, check=False)
    assert done.returncode == 1
    assert f"already running (process {cloud.pid('up')})" in done.stderr


@pytest.mark.machines
def test_ssh_to_what_is_no_instance_says_so(cloud):
    assert "NotFound" in cloud.run("ssh", "i-0123456789abcdef0", check=False).stderr
    done = cloud.run("ssh", "bogus", check=False)
    assert done.returncode == 1 and "bogus" in done.stderr


@pytest.mark.skipif("config.getoption('--host') != 'sim'", reason="real machines outlive their cloud: test_survival")
def test_an_emulator_that_is_started_again_has_its_instances_running_again(make_cloud):
    cloud = make_cloud("emulator").up()
    ec2 = cloud.client()
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    launched = ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1)["Instances"][0]
    before = wait_for(ec2, launched["InstanceId"], "running")
    cloud.interrupt()
    ec2 = cloud.up().client()
    # The console is the new machine's: the one before has gone with its process.
    wait_until(lambda: ec2.get_console_output(InstanceId=launched["InstanceId"]).get("Output"), "the machine boots")
    after = describe(ec2, launched["InstanceId"])
    assert after["State"]["Name"] == "running"
    assert after["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert after["PublicIpAddress"] == before["PublicIpAddress"]
