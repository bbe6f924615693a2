"""Who reaches whom, what has passed, and what passes now: the analyzer, flow logs and captures by real clients."""

import glob
import gzip
import os
import socket
import subprocess
import time

import pytest
from botocore.exceptions import ClientError
from conftest import wait_until
from guest import banner, key_pair, open_group, wait_for

FIELDS = ("version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action "
          "log-status").split()


def code(call, **parameters):
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return refused.value.response["Error"]["Code"]


def analyze(ec2, source, destination, port, **more):
    path = ec2.create_network_insights_path(
        Source=source, Destination=destination, Protocol="tcp", DestinationPort=port, **more)["NetworkInsightsPath"]
    started = ec2.start_network_insights_analysis(NetworkInsightsPathId=path["NetworkInsightsPathId"])
    analysis = started["NetworkInsightsAnalysis"]
    assert analysis["Status"] == "running"
    found = wait_until(
        lambda: [a for a in ec2.describe_network_insights_analyses(
            NetworkInsightsAnalysisIds=[analysis["NetworkInsightsAnalysisId"]])["NetworkInsightsAnalyses"]
                 if a["Status"] != "running"], "an analysis that is done")[0]
    assert found["Status"] == "succeeded"
    assert code(ec2.delete_network_insights_path, NetworkInsightsPathId=path["NetworkInsightsPathId"]) == \
        "AnalysisExistsForNetworkInsightsPath"
    ec2.delete_network_insights_analysis(NetworkInsightsAnalysisId=analysis["NetworkInsightsAnalysisId"])
    ec2.delete_network_insights_path(NetworkInsightsPathId=path["NetworkInsightsPathId"])
    return found


def test_the_analyzer_names_what_blocks_a_path(ec2, cloud, subnet):
    vpc = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]
    group = open_group(ec2, "analyzed", vpc, 80)
    enis = [ec2.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]["NetworkInterfaceId"]
            for _ in range(2)]
    try:
        found = analyze(ec2, enis[0], enis[1], 80)
        assert found["NetworkPathFound"]
        parts = [part["Component"]["Id"] for part in found["ForwardPathComponents"]]
        assert (parts[0], parts[-1]) == (enis[0], enis[1])
        assert [part["SequenceNumber"] for part in found["ForwardPathComponents"]] == list(range(1, len(parts) + 1))
        assert [part["Component"]["Id"] for part in found["ReturnPathComponents"]][0] == enis[1]
        refused = analyze(ec2, enis[0], enis[1], 81)
        assert not refused["NetworkPathFound"]
        [why] = refused["Explanations"]
        assert (why["ExplanationCode"], why["Direction"], why["SecurityGroup"]["Id"]) == (
            "ENI_SG_RULES_MISMATCH", "ingress", group)
        made = cloud.aws("ec2", "create-network-insights-path", "--source", enis[0], "--destination", enis[1],
                         "--protocol", "tcp", "--tag-specifications",
                         "ResourceType=network-insights-path,Tags=[{Key=Name,Value=web}]")["NetworkInsightsPath"]
        shown = cloud.aws("ec2", "describe-network-insights-paths", "--filters", "Name=tag:Name,Values=web")
        assert [p["NetworkInsightsPathId"] for p in shown["NetworkInsightsPaths"]] == [made["NetworkInsightsPathId"]]
        cloud.aws("ec2", "delete-network-insights-path", "--network-insights-path-id", made["NetworkInsightsPathId"])
    finally:
        for eni in enis:
            ec2.delete_network_interface(NetworkInterfaceId=eni)
        ec2.delete_security_group(GroupId=group)
    assert code(ec2.delete_network_insights_path, NetworkInsightsPathId="nip-0123456789abcdef0") == \
        "InvalidNetworkInsightsPathId.NotFound"


def test_flow_logs_come_and_go(ec2, cloud, subnet):
    made = ec2.create_flow_logs(ResourceType="Subnet", ResourceIds=[subnet], TrafficType="ALL", LogDestinationType="s3",
                                LogDestination="arn:aws:s3:::logs/some/where", MaxAggregationInterval=60)
    [log] = made["FlowLogIds"]
    [shown] = ec2.describe_flow_logs(Filters=[{"Name": "resource-id", "Values": [subnet]}])["FlowLogs"]
    assert (shown["FlowLogId"], shown["FlowLogStatus"]) == (log, "ACTIVE")
    assert shown["LogFormat"].split() == [f"${{{field}}}" for field in FIELDS]
    cloud.aws("ec2", "delete-flow-logs", "--flow-log-ids", log)
    assert code(ec2.describe_flow_logs, FlowLogIds=[log]) == "InvalidFlowLogId.NotFound"
    assert code(ec2.create_flow_logs, ResourceType="Subnet", ResourceIds=[subnet], TrafficType="ALL",
                LogGroupName="group", DeliverLogsPermissionArn="arn:aws:iam::123456789012:role/r") == \
        "UnsupportedOperation"


@pytest.mark.machines
def test_what_a_guest_sends_and_receives_is_analyzed_logged_and_captured(ec2, cloud, image, subnet, terminate, tmp_path):
    vpc = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]
    gateway = ec2.describe_internet_gateways(
        Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])["InternetGateways"][0]["InternetGatewayId"]
    group = open_group(ec2, "logged", vpc, 22)
    key_pair(ec2, "logged", tmp_path)
    log = ec2.create_flow_logs(ResourceType="VPC", ResourceIds=[vpc], TrafficType="ALL", LogDestinationType="s3",
                               LogDestination="arn:aws:s3:::logs/guests", MaxAggregationInterval=60)["FlowLogIds"][0]
    instance = ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1, KeyName="logged",
                                 SubnetId=subnet, SecurityGroupIds=[group])["Instances"][0]["InstanceId"]
    terminate(instance)
    found = wait_for(ec2, instance, "running")
    # A log begins when the host hears of it.
    book = os.path.join(cloud.data, "net", "flow-logs.json")
    wait_until(lambda: os.path.exists(book) and log in open(book).read(), "the log begins")
    address, private = found["PublicIpAddress"], found["PrivateIpAddress"]
    eni = found["NetworkInterfaces"][0]["NetworkInterfaceId"]
    assert analyze(ec2, gateway, instance, 22)["NetworkPathFound"]
    assert not analyze(ec2, gateway, instance, 23)["NetworkPathFound"]
    banner(address)

    pcap = tmp_path / "guest.pcap"
    capture = subprocess.Popen([cloud.nube, "capture", eni, "--write", str(pcap), "--count", "60", "--seconds", "300",
                                "--data", cloud.data], stderr=subprocess.PIPE, text=True)
    # Until it listens nothing is captured: its header comes first.
    wait_until(lambda: pcap.exists() and pcap.stat().st_size >= 24, "a capture that listens")
    # The guest has things of its own to say meanwhile.
    while capture.poll() is None:
        banner(address)
    assert capture.returncode == 0, capture.stderr.read()
    read = subprocess.run(["tcpdump", "-n", "-r", str(pcap)], capture_output=True, text=True, check=True).stdout
    assert len(read.splitlines()) == 60 and f"{private}.22" in read, read
    none = cloud.run("capture", "eni-0123456789abcdef0", "--write", str(pcap), check=False)
    assert none.returncode != 0 and "has no port" in none.stderr

    # A port that its group does not open.
    with socket.socket() as refused:
        refused.settimeout(1)
        with pytest.raises(OSError):
            refused.connect((address, 23))

    pattern = os.path.join(cloud.data, "flow-logs", "logs", "guests", "AWSLogs", "*", "vpcflowlogs", "us-east-1",
                           "*", "*", "*", f"*_{log}_*.log.gz")

    def records():
        lines = []
        for path in glob.glob(pattern):
            with gzip.open(path, "rt") as text:
                header, *rest = text.read().splitlines()
            assert header.split() == FIELDS
            lines += [dict(zip(FIELDS, line.split())) for line in rest]
        return [record for record in lines if record["interface-id"] == eni]

    def both():
        logged = records()
        accepted = [r for r in logged if r["action"] == "ACCEPT" and (r["dstaddr"], r["dstport"]) == (private, "22")]
        rejected = [r for r in logged if r["action"] == "REJECT" and (r["dstaddr"], r["dstport"]) == (private, "23")]
        return (accepted, rejected) if accepted and rejected else None

    try:
        accepted, rejected = wait_until(both, "records of what passed and of what did not", timeout=300, interval=1)
    except AssertionError:
        raise AssertionError(f"records: {records()}; files: {glob.glob(pattern)}; {cloud.logs()}") from None
    now = time.time()
    for record in accepted + rejected:
        assert record["protocol"] == "6" and record["log-status"] == "OK" and record["version"] == "2"
        assert int(record["packets"]) > 0 and int(record["bytes"]) >= 40 * int(record["packets"])
        assert int(record["start"]) <= int(record["end"]) <= now
    answered = [r for r in records() if (r["srcaddr"], r["srcport"]) == (private, "22")]
    assert answered and all(r["action"] == "ACCEPT" for r in answered)
    ec2.delete_flow_logs(FlowLogIds=[log])
