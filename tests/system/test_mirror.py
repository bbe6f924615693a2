"""Traffic mirroring by real clients: what is stored and shown, and copies as a guest hears them."""

import subprocess

import pytest
from botocore.exceptions import ClientError
from conftest import wait_until
from guest import banner, key_pair, open_group, wait_for


def code(call, **parameters):
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return refused.value.response["Error"]["Code"]


def everything(ec2, **more):
    """A filter that takes all IPv4 packets both ways."""
    made = ec2.create_traffic_mirror_filter(**more)["TrafficMirrorFilter"]["TrafficMirrorFilterId"]
    for direction in ("ingress", "egress"):
        ec2.create_traffic_mirror_filter_rule(
            TrafficMirrorFilterId=made, TrafficDirection=direction, RuleNumber=100, RuleAction="accept",
            SourceCidrBlock="0.0.0.0/0", DestinationCidrBlock="0.0.0.0/0")
    return made


def test_sessions_come_and_go_with_their_source(ec2, cloud, subnet):
    source, end = [ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
                   for _ in range(2)]
    made = cloud.aws("ec2", "create-traffic-mirror-target", "--network-interface-id", end, "--tag-specifications",
                     "ResourceType=traffic-mirror-target,Tags=[{Key=Name,Value=probe}]")["TrafficMirrorTarget"]
    target = made["TrafficMirrorTargetId"]
    assert (made["Type"], made["NetworkInterfaceId"]) == ("network-interface", end)
    tap = everything(ec2, Description="all of it")
    ec2.modify_traffic_mirror_filter_network_services(TrafficMirrorFilterId=tap, AddNetworkServices=["amazon-dns"])
    [shown] = ec2.describe_traffic_mirror_filters(TrafficMirrorFilterIds=[tap])["TrafficMirrorFilters"]
    assert (shown["Description"], shown["NetworkServices"]) == ("all of it", ["amazon-dns"])
    [rule] = shown["IngressFilterRules"]
    assert (rule["RuleNumber"], rule["RuleAction"], rule["SourceCidrBlock"]) == (100, "accept", "0.0.0.0/0")
    rules = ec2.describe_traffic_mirror_filter_rules(TrafficMirrorFilterId=tap)["TrafficMirrorFilterRules"]
    assert len(rules) == 2
    narrow = ec2.modify_traffic_mirror_filter_rule(
        TrafficMirrorFilterRuleId=rule["TrafficMirrorFilterRuleId"], Protocol=6,
        DestinationPortRange={"FromPort": 80, "ToPort": 81})["TrafficMirrorFilterRule"]
    assert (narrow["Protocol"], narrow["DestinationPortRange"]) == (6, {"FromPort": 80, "ToPort": 81})

    ends = {"NetworkInterfaceId": source, "TrafficMirrorTargetId": target, "TrafficMirrorFilterId": tap}
    session = ec2.create_traffic_mirror_session(SessionNumber=1, PacketLength=200, **ends)["TrafficMirrorSession"]
    assert 0 < session["VirtualNetworkId"] < 1 << 24
    assert code(ec2.create_traffic_mirror_session, SessionNumber=1, **ends) == "InvalidParameterValue"
    assert code(ec2.delete_traffic_mirror_target, TrafficMirrorTargetId=target) == "TrafficMirrorTargetInUse"
    assert code(ec2.delete_traffic_mirror_filter, TrafficMirrorFilterId=tap) == "TrafficMirrorFilterInUse"
    changed = ec2.modify_traffic_mirror_session(
        TrafficMirrorSessionId=session["TrafficMirrorSessionId"], SessionNumber=7, VirtualNetworkId=4711,
        RemoveFields=["packet-length"])["TrafficMirrorSession"]
    assert (changed["SessionNumber"], changed["VirtualNetworkId"]) == (7, 4711) and "PacketLength" not in changed
    by_source = [{"Name": "network-interface-id", "Values": [source]}]
    assert len(ec2.describe_traffic_mirror_sessions(Filters=by_source)["TrafficMirrorSessions"]) == 1
    ec2.delete_network_interface(NetworkInterfaceId=source)
    assert ec2.describe_traffic_mirror_sessions(Filters=by_source)["TrafficMirrorSessions"] == []
    ec2.delete_traffic_mirror_target(TrafficMirrorTargetId=target)
    ec2.delete_traffic_mirror_filter(TrafficMirrorFilterId=tap)
    ec2.delete_network_interface(NetworkInterfaceId=end)
    assert code(ec2.describe_traffic_mirror_targets, TrafficMirrorTargetIds=[target]) == \
        "InvalidTrafficMirrorTargetId.NotFound"


@pytest.mark.machines
def test_what_a_guest_sends_and_receives_comes_to_another(ec2, cloud, image, subnet, terminate, tmp_path):
    vpc = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]
    group = open_group(ec2, "mirrored", vpc, 22)
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "udp", "FromPort": 4789, "ToPort": 4789, "UserIdGroupPairs": [{"GroupId": group}]}])
    key_pair(ec2, "mirrored", tmp_path)
    made = ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=2, MaxCount=2, KeyName="mirrored",
                             SubnetId=subnet, SecurityGroupIds=[group])["Instances"]
    for instance in made:
        terminate(instance["InstanceId"])
    source, probe = [wait_for(ec2, instance["InstanceId"], "running") for instance in made]
    banner(source["PublicIpAddress"])
    eni, end = [found["NetworkInterfaces"][0]["NetworkInterfaceId"] for found in (source, probe)]
    target = ec2.create_traffic_mirror_target(NetworkInterfaceId=end)["TrafficMirrorTarget"]["TrafficMirrorTargetId"]
    tap = everything(ec2)
    session = ec2.create_traffic_mirror_session(
        NetworkInterfaceId=eni, TrafficMirrorTargetId=target, TrafficMirrorFilterId=tap, SessionNumber=1,
        VirtualNetworkId=4711)["TrafficMirrorSession"]["TrafficMirrorSessionId"]

    def copies():
        pcap = tmp_path / "probe.pcap"
        pcap.unlink(missing_ok=True)
        capture = subprocess.Popen([cloud.nube, "capture", end, "--write", str(pcap), "--count", "20", "--seconds",
                                    "20", "--data", cloud.data], stderr=subprocess.PIPE, text=True)
        wait_until(lambda: pcap.exists() and pcap.stat().st_size >= 24, "a capture that listens")
        while capture.poll() is None:
            banner(source["PublicIpAddress"])
        assert capture.returncode == 0, capture.stderr.read()
        return subprocess.run(["tcpdump", "-n", "-r", str(pcap)], capture_output=True, text=True, check=True).stdout

    def both_ways():
        read, inner = copies(), source["PrivateIpAddress"]
        return ("vni 4711" in read and f"IP {inner}.22 >" in read and f"> {inner}.22:" in read
                and f"> {probe['PrivateIpAddress']}.4789: VXLAN" in read)

    wait_until(both_ways, "copies of what the guest sends and receives")
    ec2.delete_traffic_mirror_session(TrafficMirrorSessionId=session)
    wait_until(lambda: "VXLAN" not in copies(), "no more copies")
    ec2.delete_traffic_mirror_target(TrafficMirrorTargetId=target)
    ec2.delete_traffic_mirror_filter(TrafficMirrorFilterId=tap)
