"""The walk of a libcloud user: from a key pair to a destroyed node, by libcloud's names and its EC2 driver.

    walk.py [SIGNATURE-VERSION]

libcloud reads no AWS settings itself, so the program does. Prints the node's id.
"""

import os
import sys
import time
import urllib.parse
import uuid

from libcloud.common.exceptions import BaseHTTPError
from libcloud.compute.providers import get_driver
from libcloud.compute.types import NodeState, Provider

NAME = f"walk-libcloud-{uuid.uuid4().hex[:8]}"


def connect(signature_version):
    endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    return get_driver(Provider.EC2)(
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ["AWS_DEFAULT_REGION"], host=endpoint.hostname, port=endpoint.port,
        secure=endpoint.scheme == "https", signature_version=signature_version)


def refused(code, call, *arguments, **request):
    try:
        call(*arguments, **request)
    except BaseHTTPError as error:
        assert error.message.startswith(f"{code}:"), error
        return
    raise AssertionError(f"{call.__name__} succeeded, {code} was expected")


def main():
    driver = connect(sys.argv[1] if len(sys.argv) > 1 else None)

    image = driver.list_images(ex_owner="amazon", ex_filters={"name": "nube/*"})[0]
    assert driver.get_image(image.id).extra["root_device_type"] == "ebs"
    size = next(size for size in driver.list_sizes() if size.id == "t3.nano")
    zones = driver.list_locations()
    assert all(zone.availability_zone.zone_state == "available" for zone in zones)
    assert [zone.name for zone in driver.ex_list_availability_zones()] == [z.name for z in zones]
    network = next(net for net in driver.ex_list_networks() if net.extra["is_default"] == "true")
    subnet = next(subnet for subnet in driver.ex_list_subnets(filters={"vpc-id": network.id})
                  if subnet.extra["zone"] == zones[0].name)
    assert driver.ex_list_internet_gateways(filters={"attachment.vpc-id": network.id})
    tables = driver.ex_list_route_tables(filters={"vpc-id": network.id})
    assert any(route.cidr == "0.0.0.0/0" for table in tables for route in table.routes)
    assert driver.ex_get_limits()["resource"]["max-instances"] > 0

    key = driver.create_key_pair(NAME)
    assert key.private_key and driver.get_key_pair(NAME).fingerprint == key.fingerprint
    refused("InvalidKeyPair.Duplicate", driver.create_key_pair, NAME)
    group = driver.ex_create_security_group(NAME, "the walk", vpc_id=network.id)["group_id"]
    driver.ex_authorize_security_group_ingress(group, 22, 22, cidr_ips=["0.0.0.0/0"])
    driver.ex_authorize_security_group_ingress(group, 0, 65535, group_pairs=[{"group_id": group}])
    [found] = driver.ex_get_security_groups(group_ids=[group])
    assert len(found.ingress_rules) == 2 and found.ingress_rules[0]["cidr_ips"] == ["0.0.0.0/0"]

    node = driver.create_node(
        name=NAME, image=image, size=size, location=zones[0], ex_keyname=NAME, ex_security_group_ids=[group],
        ex_subnet=subnet, ex_userdata="#!/bin/sh\necho hello\n", ex_clienttoken=NAME, ex_metadata={"stage": "test"},
        ex_blockdevicemappings=[{"DeviceName": image.extra["block_device_mapping"][0]["device_name"],
                                 "Ebs": {"VolumeSize": 9, "VolumeType": "gp3"}}])
    [(node, addresses)] = driver.wait_until_running([node], wait_period=0.2, timeout=120)
    assert node.name == NAME and node.state == NodeState.RUNNING and addresses == node.public_ips
    assert node.extra["tags"] == {"Name": NAME, "stage": "test"}
    assert [found.id for found in driver.list_nodes(ex_filters={"tag:Name": NAME})] == [node.id]
    assert [found.id for found in driver.list_nodes(ex_node_ids=[node.id])] == [node.id]
    [volume] = driver.list_volumes(node=node)
    assert volume.size == 9 and volume.extra["instance_id"] == node.id
    assert any(interface.extra["attachment"]["instance_id"] == node.id
               for interface in driver.ex_list_network_interfaces() if interface.extra["attachment"])
    assert driver.ex_describe_tags(node)["stage"] == "test"
    driver.ex_create_tags(node, {"stage": "live", "with space": "a, b & ü"})
    assert driver.ex_describe_tags(node)["with space"] == "a, b & ü"
    driver.ex_delete_tags(node, {"stage": "live"})
    assert driver.ex_get_console_output(node)["instance_id"] == node.id
    assert driver.reboot_node(node)

    refused("IncorrectInstanceState", driver.ex_modify_instance_attribute, node, {"InstanceType.Value": "t3.micro"})
    assert driver.stop_node(node)
    until(driver, node, NodeState.STOPPED)
    micro = next(size for size in driver.list_sizes() if size.id == "t3.micro")
    assert driver.ex_change_node_size(node, micro)
    assert driver.start_node(node)
    until(driver, node, NodeState.RUNNING)
    assert driver.list_nodes(ex_node_ids=[node.id])[0].extra["instance_type"] == "t3.micro"

    refused("InvalidInstanceID.NotFound", driver.list_nodes, ex_node_ids=["i-0123456789abcdef0"])
    refused("DependencyViolation", driver.ex_delete_security_group_by_id, group)
    imported = driver.import_key_pair_from_string(f"{NAME}-imported", PUBLIC_KEY)
    assert imported.name in [pair.name for pair in driver.list_key_pairs()]

    assert driver.destroy_node(node)
    until(driver, node, NodeState.TERMINATED)
    assert driver.ex_delete_security_group_by_id(group)
    assert driver.delete_key_pair(key)
    assert driver.delete_key_pair(imported)
    print(node.id)


PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEr4lAcSS/RBY0N+iPAqFnsMtaFkOG6lSc7OMJWhpZe7 walk@libcloud"


def until(driver, node, state):
    deadline = time.monotonic() + 240
    while driver.list_nodes(ex_node_ids=[node.id])[0].state != state:
        assert time.monotonic() < deadline, f"{node.id} is not {state}"
        time.sleep(0.1)


sys.exit(main())
