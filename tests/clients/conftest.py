"""The clouds of the system tests, and what runs a client's program against one."""

import importlib.util
import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target"))

# The same options, markers and clouds: one conftest for both folders would have to lie above them.
specification = importlib.util.spec_from_file_location("clouds", HERE.parent / "system" / "conftest.py")
clouds = importlib.util.module_from_spec(specification)
specification.loader.exec_module(clouds)
pytest_addoption = clouds.pytest_addoption
pytest_configure = clouds.pytest_configure
pytest_collection_modifyitems = clouds.pytest_collection_modifyitems
make_cloud = clouds.make_cloud
cloud = clouds.cloud


@pytest.fixture(scope="session")
def walk(cloud):
    """Runs a client's program to its end as its user would, with what `nube env` says; returns what it printed."""

    def run(*command, environment=(), without=(), cwd=HERE):
        settings = {name: value for name, value in {**os.environ, **cloud.environment}.items() if name not in without}
        settings.update(environment)
        command = [str(word) for word in command]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL, cwd=cwd, env=settings)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def ended(cloud):
    """Whether the instance that a walk has printed is one of this cloud, and terminated."""

    def check(printed):
        instance = printed.strip().splitlines()[-1]
        found = cloud.client().describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        return found["State"]["Name"] == "terminated"

    return check
