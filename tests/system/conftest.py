"""A cloud for a session of tests, and the clients that talk to it.

Run by `cargo xtask test`; by hand: pytest tests/system --host sim|linux --nube target/debug/nube
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import boto3
import botocore.config
import botocore.exceptions
import pytest

sys.path.insert(0, os.path.dirname(__file__))


def pytest_addoption(parser):
    parser.addoption("--host", choices=["sim", "linux"], default="sim")
    parser.addoption("--nube", default="target/debug/nube")
    parser.addoption("--full", action="store_true", help="also what takes long: whole distributions as guests")
    parser.addoption("--seed", type=int, help="of what is drawn by lot: the same rounds once more")


def pytest_configure(config):
    config.addinivalue_line("markers", "machines: needs real machines, so it runs only with --host linux")
    config.addinivalue_line("markers", "full: takes long, so it runs only with --full")


def pytest_collection_modifyitems(config, items):
    left_out = set()
    if config.getoption("--host") != "linux":
        left_out.add("machines")
    if not config.getoption("--full"):
        left_out.add("full")
    deselected = [item for item in items if any(item.get_closest_marker(marker) for marker in left_out)]
    items[:] = [item for item in items if item not in deselected]
    config.hook.pytest_deselected(items=deselected)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What the machines of a test that fails have said last goes with its report."""
    report = (yield).get_result()
    ec2 = getattr(item, "funcargs", {}).get("ec2")
    if report.when == "call" and report.failed and ec2 and item.config.getoption("--host") == "linux":
        report.sections.append(("Consoles of the machines that run", consoles(ec2)))


def consoles(ec2):
    try:
        running = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        found = [i for r in ec2.describe_instances(Filters=running)["Reservations"] for i in r["Instances"]]
        said = {i["InstanceId"]: ec2.get_console_output(InstanceId=i["InstanceId"], Latest=True) for i in found}
        return "\n".join(f"--- {name}\n{console.get('Output', '')[-2000:]}" for name, console in said.items())
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as e:
        return f"not to be had: {e}"


def wait_until(condition, what, timeout=60, interval=0.1):
    """Polls until the condition gives something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(interval)


def code(call, **parameters):
    """Calls what must be refused; says with which error code it is."""
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        call(**parameters)
    return refused.value.response["Error"]["Code"]


class Cloud:
    """One `nube up` on a directory of its own; `prefix` is a command that runs the command after it somewhere else."""

    def __init__(self, nube, host, data, prefix=()):
        self.nube, self.host, self.data, self.prefix = os.path.abspath(nube), host, str(data), list(prefix)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.listen = f"127.0.0.1:{probe.getsockname()[1]}"
        self.process = None

    def run(self, *arguments, check=True):
        command = [*self.prefix, self.nube, *arguments, "--data", self.data]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def up(self, *arguments):
        command = [*self.prefix, self.nube, "up", "--host", self.host, "--listen", self.listen, "--data", self.data, "--json",
                   *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, stdin=subprocess.DEVNULL
        )
        line = self.process.stdout.readline()
        assert line, f"nube up said nothing; logs: {self.logs()}"
        assert json.loads(line)["endpoint"].endswith(f"://{self.listen}")
        self.environment = json.loads(self.run("env", "--json").stdout)
        self.tag = self.status()["tag"]
        return self

    def status(self):
        return json.loads(self.run("status", "--json", check=False).stdout)

    def at_rest(self):
        """Waits until nothing is left to be done: any change may be on its way for a moment."""
        seen = []
        try:
            wait_until(lambda: seen.append(self.status()) or seen[-1]["healthy"], "all is at rest", timeout=240)
        except AssertionError:
            raise AssertionError(f"not at rest: {seen[-1]}; {self.logs()}") from None
        return seen[-1]

    def down(self, *arguments):
        """Ends the cloud, its machines too."""
        self.run("down", *arguments)
        if self.process:
            self.process.communicate(timeout=180)
            self.process = None

    def interrupt(self):
        """Ends `nube up` as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=180)
        self.process = None

    def logs(self):
        text = ""
        for name in ("server.log", "agent.log"):
            path = os.path.join(self.data, "logs", name)
            if os.path.exists(path):
                with open(path) as log:
                    text += f"\n--- {name}\n" + log.read()[-4000:]
        return text

    def pid(self, name):
        """The process that holds the lock of this name. One that is just taking it has not written its number yet."""
        def holder():
            with open(os.path.join(self.data, "run", f"{name}.lock")) as lock:
                return lock.read()
        return int(wait_until(holder, f"somebody holds the lock {name}", timeout=60))

    def client(self, service="ec2", **overrides):
        settings = {
            "endpoint_url": self.environment["AWS_ENDPOINT_URL"],
            "aws_access_key_id": self.environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self.environment["AWS_SECRET_ACCESS_KEY"],
            "region_name": self.environment["AWS_DEFAULT_REGION"],
            "config": botocore.config.Config(retries={"max_attempts": 0}, parameter_validation=False),
            "verify": self.environment.get("AWS_CA_BUNDLE"),
            **overrides,
        }
        return boto3.client(service, **settings)

    def aws(self, *arguments, check=True):
        """The AWS CLI, pointed at the cloud as a person would do it; JSON output is parsed."""
        environment = {**os.environ, **self.environment, "AWS_PAGER": ""}
        command = ["aws", *arguments, "--output", "json"]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=300, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        if not check:
            return done
        return json.loads(done.stdout) if done.stdout.strip() else None


@pytest.fixture(scope="session")
def make_cloud(request, tmp_path_factory):
    """Makes clouds that are not up yet, and removes them in the end."""
    clouds = []

    def make(name, prefix=()):
        data = tmp_path_factory.mktemp(name)
        # Machines run as users of their own and must reach their disks below this directory.
        for folder in (data, *data.parents):
            if str(folder).startswith(str(tmp_path_factory.getbasetemp().parent)):
                os.chmod(folder, 0o711)
        clouds.append(Cloud(request.config.getoption("--nube"), request.config.getoption("--host"), data, prefix))
        return clouds[-1]

    yield make
    for cloud in clouds:
        if request.session.testsfailed:
            print(cloud.logs())
        if os.path.exists(os.path.join(cloud.data, "cloud.json")):
            cloud.down("--purge")


@pytest.fixture(scope="session")
def cloud(make_cloud):
    return make_cloud("cloud").up()


@pytest.fixture(scope="session")
def ec2(cloud):
    return cloud.client()


@pytest.fixture(scope="session")
def image(ec2):
    images = ec2.describe_images(Owners=["amazon"])["Images"]
    assert images, "the cloud comes with an image"
    return images[0]["ImageId"]


@pytest.fixture(scope="session")
def subnet(ec2):
    return ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"][0]["SubnetId"]


@pytest.fixture
def terminate(ec2):
    """Collects instances and ends them after the test."""
    instances = []
    yield instances.append
    if instances:
        ec2.terminate_instances(InstanceIds=instances)
        ec2.get_waiter("instance_terminated").wait(InstanceIds=instances, WaiterConfig={"Delay": 1, "MaxAttempts": 240})
