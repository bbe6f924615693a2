"""Operating a cloud: what it shows, what it logs, what it counts, what it traces, and what the doctor says."""

import base64
import http.server
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
from conftest import wait_until
from guest import wait_for

sim_only = pytest.mark.skipif("config.getoption('--host') != 'sim'", reason="starts clouds of its own; one kind is enough")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(cloud, log, *flags, **variables):
    """`nube up` with flags and environment of the test's, its standard error in a file."""
    command = [cloud.nube, "up", "--host", cloud.host, "--listen", cloud.listen, "--data", cloud.data, "--json", *flags]
    with open(log, "w") as err:
        cloud.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True,
                                         stdin=subprocess.DEVNULL, env={**os.environ, **variables})
    assert cloud.process.stdout.readline(), open(log).read()
    cloud.environment = json.loads(cloud.run("env", "--json").stdout)
    return cloud


def launch(ec2, name="shown"):
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    tags = [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]} for kind in ("instance", "volume")]
    run = ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1, TagSpecifications=tags)
    return wait_for(ec2, run["Instances"][0]["InstanceId"], "running")


@pytest.fixture(scope="module")
def shown(cloud, ec2):
    """An instance that runs while tables are looked at."""
    instance = launch(ec2)
    yield instance
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    wait_for(ec2, instance["InstanceId"], "terminated")


def on_terminal(command, columns, rows, seconds=None, until=None):
    """What a program draws on a terminal of this size; it is interrupted when `until` has been drawn."""
    main, terminal = pty.openpty()
    import fcntl
    import struct
    import termios
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env={**environment, "TERM": "xterm"},
                               start_new_session=True)
    os.close(terminal)
    text, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        ready, _, _ = select.select([main], [], [], 1)
        if ready:
            try:
                piece = os.read(main, 65536)
            except OSError:
                break  # The other end is closed.
            if not piece:
                break
            text += piece
        if until and until in text:
            process.send_signal(signal.SIGINT)
            until = None
    code = process.wait(timeout=60)
    os.close(main)
    return code, text.decode()


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_ps_lists_instances_volumes_and_addresses(cloud, shown):
    line = next(line for line in cloud.run("ps").stdout.splitlines() if shown["InstanceId"] in line)
    for part in ("shown", "running", "ok", "t3.nano", shown["PublicIpAddress"], shown["PrivateIpAddress"]):
        assert part in line
    volume = shown["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    line = next(line for line in cloud.run("ps", "volumes").stdout.splitlines() if volume in line)
    assert "in-use" in line and shown["InstanceId"] in line and "GiB" in line
    addresses = json.loads(cloud.run("ps", "addresses", "--json").stdout)["addresses"]
    mine = next(address for address in addresses if address["instance"] == shown["InstanceId"])
    assert mine["public_address"] == shown["PublicIpAddress"] and mine["health"] == {"status": "ok"}


def test_ps_shows_what_has_ended_only_when_asked(cloud, ec2):
    ended = launch(ec2, "ended")["InstanceId"]
    ec2.terminate_instances(InstanceIds=[ended])
    wait_for(ec2, ended, "terminated")
    assert ended not in cloud.run("ps").stdout
    assert ended in cloud.run("ps", "--all").stdout
    selected = json.loads(cloud.run("ps", "--all", "--json", "--account", "999999999999").stdout)
    assert selected == {"instances": []}


def test_a_trace_tells_how_an_instance_was_started(cloud, shown):
    def told(part):
        trace = json.loads(cloud.run("trace", shown["InstanceId"], "--json").stdout)
        return [step[part] for step in trace["steps"]]

    if cloud.host == "linux":
        wait_until(lambda: "PUT /latest/api/token" in told("step"), "the guest asks for its metadata", 300)
    times, steps = told("at_ms"), told("step")
    assert steps[0] == "heard of" and times == sorted(times) and times[0] >= 0
    assert steps.index("to start") < steps.index("ports") < steps.index("noted")
    if cloud.host == "linux":
        # What the guest asked for: before or after the host's last note, and before or after its lease, which a clone is told.
        assert steps.index("ports") < steps.index("PUT /latest/api/token")
    page = cloud.run("trace", shown["InstanceId"]).stdout
    assert all(step in page for step in steps)
    refused = cloud.run("trace", "i-00000000000000000", check=False)
    assert refused.returncode == 1 and "there is no instance i-00000000000000000" in refused.stderr


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_tables_fit_the_terminal(cloud, shown, columns):
    for command in (["ps"], ["ps", "volumes"], ["ps", "addresses"]):
        code, drawn = on_terminal([cloud.nube, *command, "--data", cloud.data], columns, 40)
        assert code == 0
        assert "\x1b[" in drawn
        for line in plain(drawn).splitlines():
            assert len(line) <= columns, line


def test_status_shows_the_cloud_on_one_page(cloud, shown):
    page = cloud.run("status").stdout
    for part in (cloud.tag, f"http://{cloud.listen}", "connected", shown["InstanceId"], shown["PublicIpAddress"]):
        assert part in page


def test_a_watched_table_is_drawn_in_place_and_leaves_the_terminal_as_it_was(cloud, shown):
    code, drawn = on_terminal([cloud.nube, "ps", "--watch", "0.2", "--data", cloud.data], 100, 24,
                              until=shown["InstanceId"].encode())
    assert code == 0
    assert drawn.startswith("\x1b[?1049h") and drawn.endswith("\x1b[?25h\x1b[?1049l")


def test_a_watch_for_scripts_is_a_line_each_time(cloud, shown):
    command = [cloud.nube, "ps", "--json", "--watch", "0.2", "--data", cloud.data]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert all(any(i["id"] == shown["InstanceId"] for i in line["instances"]) for line in lines)


def doctor(cloud, *arguments):
    done = cloud.run("doctor", "--json", *arguments, check=False)
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["ready"] else 1)
    return report


def test_the_doctor_finds_a_cloud_that_runs_in_good_health(cloud):
    report = doctor(cloud)
    assert report["ready"] is True, report
    port = next(finding for finding in report["findings"] if finding["subject"] == "port")
    assert port["level"] == "good" and cloud.listen in port["says"]


def test_the_doctor_says_which_port_is_taken_and_what_to_do(cloud):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        report = doctor(cloud, "--host", "sim", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert report["problems"] == 1
    problem = next(finding for finding in report["findings"] if finding["level"] == "problem")
    assert problem["subject"] == "port" and "--listen" in problem["remedy"]
    said = cloud.run("doctor", "--host", "sim", check=False).stdout
    assert "port" in said and "\x1b" not in said


def test_the_doctor_looks_at_everything_that_real_machines_need(cloud):
    subjects = {finding["subject"] for finding in doctor(cloud, "--host", "linux")["findings"]}
    assert {"requirements", "qemu", "kvm", "kernel", "cgroups", "memory", "clock", "images", "addresses",
            "disk", "image cache", "port"} <= subjects


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_what_the_shell_understands(cloud, shell):
    script = subprocess.run([cloud.nube, "completions", shell], capture_output=True, text=True, check=True).stdout
    assert "doctor" in script and "log-format" in script
    if shell == "bash":
        done = subprocess.run(["bash", "-ec", script + "\ncomplete -p nube"], capture_output=True, text=True, check=True)
        assert "nube" in done.stdout


def test_the_manual_has_a_page_for_each_command(cloud, tmp_path):
    subprocess.run([cloud.nube, "man", "--to", tmp_path], check=True)
    assert {"nube.1", "nube-up.1", "nube-ps.1", "nube-doctor.1"} <= set(os.listdir(tmp_path))
    assert ".TH nube" in subprocess.run([cloud.nube, "man"], capture_output=True, text=True, check=True).stdout


def samples(text):
    """The samples of an exposition, by name and labels; a line that is none fails."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP \w+ .+|TYPE \w+ (counter|gauge|histogram))", line), line
            continue
        matched = re.fullmatch(r'(\w+(?:\{(?:\w+="(?:[^"\\]|\\.)*",?)+\})?) ([0-9.e+-]+)', line)
        assert matched, line
        assert matched[1] not in found, line
        found[matched[1]] = float(matched[2])
    return found


def test_requests_are_counted_by_operation_and_code(cloud, ec2, shown):
    def count(code):
        name = f'nube_requests_total{{service="ec2",operation="DescribeVpcs",code="{code}"}}'
        return samples(cloud.run("metrics").stdout).get(name, 0)

    def asked():
        return samples(cloud.run("metrics").stdout).get(f"nube_request_duration_seconds_count{{{labels}}}", 0)
    labels = 'service="ec2",operation="DescribeVpcs"'
    good, bad, all_before = count("ok"), count("InvalidVpcID.NotFound"), asked()
    for _ in range(3):
        ec2.describe_vpcs()
    with pytest.raises(ec2.exceptions.ClientError):
        ec2.describe_vpcs(VpcIds=["vpc-0123456789abcdef0"])
    assert (count("ok"), count("InvalidVpcID.NotFound")) == (good + 3, bad + 1)
    found = samples(cloud.run("metrics").stdout)
    assert found[f"nube_request_duration_seconds_count{{{labels}}}"] == all_before + 4
    assert found[f'nube_request_duration_seconds_bucket{{{labels},le="+Inf"}}'] == all_before + 4
    assert found['nube_instances{region="us-east-1",state="running"}'] >= 1
    assert found["nube_host_connected"] == 1
    assert found["nube_store_commit_duration_seconds_count"] > 0
    assert found['nube_reconcile_lag_seconds_count{reconciler="host-objects"}'] > 0
    assert found["process_resident_memory_bytes"] > 1 << 20


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


@sim_only
def test_metrics_have_a_port_of_their_own_which_is_remembered_and_never_the_apis(make_cloud, tmp_path):
    port = free_port()
    cloud = start(make_cloud("metrics"), tmp_path / "log", "--metrics", f"127.0.0.1:{port}")
    cloud.client().describe_vpcs()
    assert 'operation="DescribeVpcs",code="ok"} 1' in get(f"http://127.0.0.1:{port}/metrics")
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"http://{cloud.listen}/_nube/metrics")
    assert refused.value.code >= 400 and b"nube_requests" not in refused.value.read()
    with pytest.raises(urllib.error.HTTPError):
        get(f"http://127.0.0.1:{port}/")
    cloud.interrupt()
    start(cloud, tmp_path / "log")
    assert "nube_build_info" in get(f"http://127.0.0.1:{port}/metrics")
    cloud.interrupt()
    refused = subprocess.run([cloud.nube, "up", "--data", cloud.data, "--metrics", "0.0.0.0:9464"], capture_output=True, text=True)
    assert refused.returncode == 1 and "loopback" in refused.stderr
    start(cloud, tmp_path / "log", "--metrics", "off")
    with pytest.raises(OSError):
        get(f"http://127.0.0.1:{port}/metrics")


@sim_only
def test_each_request_is_a_json_line_and_no_secret_is_in_any(make_cloud, tmp_path):
    log = tmp_path / "log"
    cloud = start(make_cloud("logged"), log, "--log-format", "json", NUBE_LOG="trace")
    ec2 = cloud.client()
    secret_data = "#!/bin/sh\nPASSWORD=correct-horse-battery-staple\n"
    launched = ec2.run_instances(ImageId=ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"],
                                 InstanceType="t3.nano", MinCount=1, MaxCount=1, UserData=secret_data)
    ec2.describe_instance_attribute(InstanceId=launched["Instances"][0]["InstanceId"], Attribute="userData")
    private = ec2.create_key_pair(KeyName="logged", KeyType="ed25519")["KeyMaterial"]
    account = json.loads(cloud.run("account", "create", "--json").stdout)
    cloud.client(aws_access_key_id=account["access_key_id"], aws_secret_access_key=account["secret_access_key"]).describe_vpcs()
    session = cloud.client("sts").get_session_token()["Credentials"] if built(cloud, "get_session_token") else None
    with pytest.raises(ec2.exceptions.ClientError) as refused:
        cloud.client(aws_secret_access_key="wrong-but-secret-all-the-same-0123456789").describe_vpcs()
    request = refused.value.response["ResponseMetadata"]["RequestId"]
    cloud.interrupt()

    text = log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    run = next(line for line in lines if line.get("action") == "RunInstances")
    assert run["level"] == "DEBUG" and run["message"] == "answered"
    assert (run["service"], run["region"], run["account"], run["status"]) == ("ec2", "us-east-1", "000000000000", 200)
    assert re.fullmatch(r"[0-9a-f-]{36}", run["request_id"]) and run["elapsed_us"] > 0
    refused = next(line for line in lines if line.get("request_id") == request)
    assert (refused["level"], refused["code"], refused["status"]) == ("INFO", "AuthFailure", 401)

    secrets = [cloud.environment["AWS_SECRET_ACCESS_KEY"], account["secret_access_key"], "correct-horse",
               base64.b64encode(secret_data.encode()).decode()[:24], "wrong-but-secret", "PRIVATE KEY"]
    secrets += [line for line in private.splitlines() if len(line) > 20]
    secrets += [session["SecretAccessKey"], session["SessionToken"]] if session else []
    for secret in secrets:
        assert secret not in text, f"{secret[:12]}… was logged"


def built(cloud, operation):
    client = cloud.client("sts")
    try:
        getattr(client, operation)()
    except client.exceptions.ClientError:
        return False
    return True


@sim_only
def test_requests_and_reconcilers_reach_an_opentelemetry_collector(make_cloud, tmp_path):
    received = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, self.headers["content-type"], json.loads(body)))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    def spans():
        return [span for _, _, body in received for resource in body["resourceSpans"]
                for scope in resource["scopeSpans"] for span in scope["spans"]]

    def attributes(span):
        return {pair["key"]: pair["value"]["stringValue"] for pair in span["attributes"]}

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cloud = start(make_cloud("traced"), tmp_path / "log", "--otel", f"http://127.0.0.1:{server.server_port}")
    ec2 = cloud.client()
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    ec2.meta.events.register("before-sign.ec2.DescribeVpcs", lambda request, **_: request.headers.add_header(
        "traceparent", f"00-{trace}-{parent}-01"))
    ec2.describe_vpcs()
    with pytest.raises(ec2.exceptions.ClientError):
        ec2.describe_subnets(SubnetIds=["subnet-0123456789abcdef0"])
    launch(ec2)
    wait_until(lambda: any(span["name"].startswith("reconcile ") for span in spans())
               and any(span["name"] == "ec2/DescribeSubnets" for span in spans()), "spans arrive", timeout=120)
    path, kind, body = received[0]
    assert (path, kind) == ("/v1/traces", "application/json")
    resource = {pair["key"]: pair["value"]["stringValue"] for pair in body["resourceSpans"][0]["resource"]["attributes"]}
    assert resource["service.name"] == "nube"
    caller = next(span for span in spans() if span["name"] == "ec2/DescribeVpcs")
    assert (caller["traceId"], caller["parentSpanId"], caller["kind"]) == (trace, parent, 2)
    assert int(caller["endTimeUnixNano"]) >= int(caller["startTimeUnixNano"]) > 0
    assert attributes(caller)["cloud.account.id"] == "000000000000"
    refused = next(span for span in spans() if span["name"] == "ec2/DescribeSubnets")
    assert attributes(refused)["error.type"] == "InvalidSubnetID.NotFound"
    # What was not sent yet goes when the cloud ends.
    ec2.describe_key_pairs()
    cloud.interrupt()
    assert any(span["name"] == "ec2/DescribeKeyPairs" for span in spans())
    server.shutdown()


@sim_only
def test_a_collector_that_is_away_harms_nothing(make_cloud, tmp_path):
    cloud = start(make_cloud("untraced"), tmp_path / "log", "--otel", f"http://127.0.0.1:{free_port()}")
    cloud.client().describe_vpcs()
    wait_until(lambda: "traces are lost" in (tmp_path / "log").read_text(), "the log says so", timeout=120)
    cloud.client().describe_vpcs()


@pytest.mark.machines
def test_a_full_log_is_turned_over_by_the_process_that_writes_it(cloud, ec2):
    """Grown by a hole: what is beyond the limit is the next line's affair."""
    log = os.path.join(cloud.data, "logs", "server.log")
    server = cloud.pid("server")
    os.truncate(log, 17 << 20)
    with pytest.raises(ec2.exceptions.ClientError):
        ec2.describe_vpcs(VpcIds=["vpc-0123456789abcdef0"])
    wait_until(lambda: os.path.exists(log + ".1") and os.path.getsize(log) < 1 << 20, "the log is turned over")
    with pytest.raises(ec2.exceptions.ClientError) as refused:
        ec2.describe_vpcs(VpcIds=["vpc-0123456789abcdef0"])
    request = refused.value.response["ResponseMetadata"]["RequestId"]
    wait_until(lambda: request in open(log).read(), "lines go to the new log")
    assert cloud.pid("server") == server
    assert os.stat(log).st_mode & 0o777 == 0o600


def test_an_elastic_address_that_stands_for_nothing_is_listed_too(cloud, ec2):
    allocated = ec2.allocate_address(Domain="vpc")
    try:
        addresses = json.loads(cloud.run("ps", "addresses", "--json").stdout)["addresses"]
        mine = next(address for address in addresses if address["public_address"] == allocated["PublicIp"])
        assert mine["allocation"] == allocated["AllocationId"] and mine["instance"] is None
        assert allocated["PublicIp"] in cloud.run("ps", "addresses").stdout
    finally:
        ec2.release_address(AllocationId=allocated["AllocationId"])
