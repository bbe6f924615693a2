"""Instance types as clients ask for them, and what the host's capacity decides."""

import subprocess

import botocore.exceptions
import pytest
from guest import describe, wait_for


def paged(ec2, operation, member, **parameters):
    pages = ec2.get_paginator(operation).paginate(**parameters)
    return [item for page in pages for item in page[member]]


def test_the_whole_catalogue_comes_in_pages(ec2):
    types = paged(ec2, "describe_instance_types", "InstanceTypes")
    names = [kind["InstanceType"] for kind in types]
    assert len(names) == len(set(names)) and len(names) > 1300
    families = {name.split(".")[0] for name in names}
    assert {"t3", "m8g", "c8g", "r8g", "x8g", "i7ie", "p5", "p6-b200", "trn2", "g6", "mac2", "u7in-32tb"} <= families
    for kind in types:
        assert kind["VCpuInfo"]["DefaultVCpus"] > 0 and kind["MemoryInfo"]["SizeInMiB"] > 0
        assert kind["NetworkInfo"]["NetworkCards"] and kind["ProcessorInfo"]["SupportedArchitectures"]


def test_types_are_chosen_by_filters_and_by_requirements(ec2):
    filters = [{"Name": "processor-info.supported-architecture", "Values": ["arm64"]},
               {"Name": "memory-info.size-in-mib", "Values": ["4096"]},
               {"Name": "burstable-performance-supported", "Values": ["true"]}]
    found = paged(ec2, "describe_instance_types", "InstanceTypes", Filters=filters)
    assert [kind["InstanceType"] for kind in found] == ["t4g.medium"]
    requirements = {"VCpuCount": {"Min": 8, "Max": 8}, "MemoryMiB": {"Min": 1}, "AcceleratorTypes": ["gpu"],
                    "AcceleratorNames": ["t4"], "AllowedInstanceTypes": ["g4*"]}
    found = paged(ec2, "get_instance_types_from_instance_requirements", "InstanceTypes", ArchitectureTypes=["x86_64"],
                  VirtualizationTypes=["hvm"], InstanceRequirements=requirements)
    assert [kind["InstanceType"] for kind in found] == ["g4dn.2xlarge"]


def test_offerings_are_told_for_every_zone(ec2):
    asked = {"LocationType": "availability-zone", "Filters": [{"Name": "instance-type", "Values": ["m7i.large"]}]}
    offered = paged(ec2, "describe_instance_type_offerings", "InstanceTypeOfferings", **asked)
    zones = {zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]}
    assert {offering["Location"] for offering in offered} == zones


def launch(ec2, image, **parameters):
    return ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, **parameters)["Instances"][0]["InstanceId"]


def test_processors_may_be_fewer_than_the_type_has(ec2, image, terminate):
    options = {"CoreCount": 1, "ThreadsPerCore": 1}
    instance = launch(ec2, image, InstanceType="t3.micro", CpuOptions=options)
    terminate(instance)
    wait_for(ec2, instance, "running")
    assert describe(ec2, instance)["CpuOptions"] == options


def test_a_simulated_host_carries_any_type_but_a_mac(cloud, ec2, image, terminate):
    if cloud.host != "sim":
        pytest.skip("a real host has its limits")
    for kind in ("p5.48xlarge", "u7in-32tb.224xlarge", "m5.metal"):
        instance = launch(ec2, image, InstanceType=kind)
        terminate(instance)
        wait_for(ec2, instance, "running")
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        launch(ec2, image, InstanceType="mac2.metal")
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValue"


@pytest.mark.machines
@pytest.mark.parametrize("kind", ["u7in-32tb.224xlarge", "g4dn.xlarge", "mac2.metal"])
def test_a_real_host_says_what_it_cannot_carry(ec2, image, kind):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        launch(ec2, image, InstanceType=kind)
    answer = refused.value.response
    assert answer["Error"]["Code"] == "InsufficientInstanceCapacity"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert kind in answer["Error"]["Message"]


def test_a_factor_that_is_none_is_refused_at_the_start(cloud, tmp_path):
    command = [cloud.nube, "up", "--host", "sim", "--data", str(tmp_path), "--cpu-overcommit", "lots"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "--cpu-overcommit" in done.stderr
