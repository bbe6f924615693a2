"""Images that others built: what is refused, and disks that boot after they came in. And machines of the other architecture."""

import gzip
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading

import pytest
from conftest import wait_until
from disk import bootable
from guest import Guest, key_pair, open_group, wait_for

NANO_CACHE = os.environ.get("NUBE_IMAGES", "/var/cache/nube/images")


def nube_image(nube, cache, *arguments):
    """`nube image` on a cache of the test's own."""
    command = [os.path.abspath(nube), "image", "--cache", str(cache), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600)


@pytest.fixture
def nube(request):
    return request.config.getoption("--nube")


@pytest.fixture
def web(tmp_path):
    """A web server on loopback, and the folder that it serves."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_is_no_image_is_refused_by_its_own_bytes_and_leaves_nothing(nube, tmp_path, web):
    folder, address = web
    cache = tmp_path / "cache"
    secret = tmp_path / "secret"
    secret.write_text("only root may read this")
    (folder / "page.qcow2").write_text("<!DOCTYPE html><title>Not found</title>")
    (folder / "text.raw").write_text("hello")
    qcow2 = bytearray(4096)
    qcow2[:8] = b"QFI\xfb\0\0\0\3"
    qcow2[24:32] = (1 << 30).to_bytes(8, "big")
    qcow2[100:104] = (104).to_bytes(4, "big")
    backed = bytearray(qcow2)
    backed[8:16], backed[16:20] = (512).to_bytes(8, "big"), len(str(secret)).to_bytes(4, "big")
    backed[512:512 + len(str(secret))] = str(secret).encode()
    (folder / "backed.img").write_bytes(backed)
    outside = bytearray(qcow2)
    outside[79] = 4
    (folder / "outside.img").write_bytes(outside)
    (folder / "extents.vmdk").write_text(f'# Disk DescriptorFile\nversion=1\nRW 1 FLAT "{secret}" 0\n')
    for name, why in [
        ("page.qcow2", "web page"), ("text.raw", "partition table"), ("backed.img", "backing file"),
        ("outside.img", "another file"), ("extents.vmdk", "other files"), ("missing.img", "404"),
    ]:
        done = nube_image(nube, cache, "import", f"{address}/{name}", "--name", "x")
        assert done.returncode == 1 and why in done.stderr, f"{name}: {done.stdout}{done.stderr}"
        # A file is judged as an address is.
        if name != "missing.img":
            done = nube_image(nube, cache, "import", folder / name, "--name", "x")
            assert done.returncode == 1 and why in done.stderr, f"{name}: {done.stdout}{done.stderr}"
    wrong = nube_image(nube, cache, "import", f"{address}/text.raw", "--sha256", "0" * 64)
    assert wrong.returncode == 1 and "SHA-256" in wrong.stderr, wrong.stderr
    taken = nube_image(nube, cache, "import", f"{address}/text.raw", "--name", "nano")
    assert taken.returncode == 1 and "--name" in taken.stderr, taken.stderr
    assert list(cache.iterdir()) == []


@pytest.fixture
def other_cloud(make_cloud, tmp_path, monkeypatch):
    """A cloud with an image cache of its own, so that what is imported disturbs no other test."""
    cache = tmp_path / "images"
    cache.mkdir()
    monkeypatch.setenv("NUBE_IMAGES", str(cache))
    # The accelerator was tried with the host's cache.
    known = os.path.join(NANO_CACHE, ".accelerator")
    if os.path.exists(known):
        shutil.copy(known, cache)
    cloud = make_cloud(f"images-{tmp_path.name}")
    yield cloud, cache
    if cloud.process:
        cloud.down("--purge")


def registered(ec2, manifest):
    """The AMI of an image that a running cloud finds in the cache."""
    name = f"nube/{manifest['name']}-*"
    images = wait_until(
        lambda: ec2.describe_images(Filters=[{"Name": "name", "Values": [name]}])["Images"], f"{name} is listed")
    assert len(images) == 1
    return images[0]


def launch(cloud, ec2, image, tmp_path, kind):
    key = key_pair(ec2, f"key-{kind}", tmp_path)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = open_group(ec2, f"group-{kind}", vpc, 22)
    return Guest(ec2, key, ImageId=image, InstanceType=kind, SecurityGroupIds=[group]).running()


@pytest.mark.machines
def test_a_disk_that_boots_by_bios_comes_over_http_and_runs(nube, tmp_path, web, other_cloud):
    folder, address = web
    cloud, cache = other_cloud
    cloud.up()
    raw = bootable(NANO_CACHE, tmp_path / "disk", "bios")
    subprocess.run(["qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, folder / "some-linux.vmdk"],
                   check=True)
    digest = hashlib.sha256((folder / "some-linux.vmdk").read_bytes()).hexdigest()
    done = nube_image(nube, cache, "import", f"{address}/some-linux.vmdk", "--sha256", digest, "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert (manifest["name"], manifest["architecture"]) == ("some-linux", "x86_64")
    assert manifest["boot"] == {"mode": "firmware", "firmware": "legacy-bios"}

    ec2 = cloud.client()
    image = registered(ec2, manifest)
    assert (image["Architecture"], image["BootMode"]) == ("x86_64", "legacy-bios")
    assert (image["RootDeviceName"], image["RootDeviceType"]) == ("/dev/xvda", "ebs")
    guest = launch(cloud, ec2, image["ImageId"], tmp_path, "t3.nano")
    assert guest.ssh("cat /sys/class/dmi/id/sys_vendor; ls /sys/firmware/efi 2>/dev/null | wc -l").split("\n") == [
        "Amazon EC2", "0"]
    assert "root=/dev/vda2" in guest.ssh("cat /proc/cmdline")

    # The same file again is not even fetched: the server has it no more.
    (folder / "some-linux.vmdk").unlink()
    again = nube_image(nube, cache, "import", f"{address}/some-linux.vmdk", "--sha256", digest, "--json")
    assert again.returncode == 0 and json.loads(again.stdout) == manifest, again.stderr


@pytest.mark.machines
def test_a_disk_that_boots_by_uefi_only_runs_with_uefi_firmware(nube, tmp_path, other_cloud):
    cloud, cache = other_cloud
    raw = bootable(NANO_CACHE, tmp_path / "disk", "uefi")
    packed = tmp_path / "efi-linux.img.gz"
    with open(raw, "rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target)
    done = nube_image(nube, cache, "import", packed, "--user", "somebody", "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert (manifest["name"], manifest["architecture"]) == ("efi-linux", "x86_64")
    assert (manifest["boot"]["firmware"], manifest["default_user"]) == ("uefi", "somebody")
    assert nube_image(nube, cache, "import", packed, "--name", "arm", "--arch", "arm64").returncode == 1

    ec2 = cloud.up().client()
    image = registered(ec2, manifest)
    assert (image["Architecture"], image["BootMode"]) == ("x86_64", "uefi")
    guest = launch(cloud, ec2, image["ImageId"], tmp_path, "t3.nano")
    assert guest.describe()["CurrentInstanceBootMode"] == "uefi"
    assert guest.ssh("cat /sys/class/dmi/id/sys_vendor; test -d /sys/firmware/efi && echo efi").split("\n") == [
        "Amazon EC2", "efi"]


@pytest.mark.machines
@pytest.mark.full
def test_an_arm_image_runs_on_arm_types_and_on_no_others(nube, tmp_path, other_cloud):
    cloud, cache = other_cloud
    done = nube_image(nube, cache, "build", "nano-arm64", "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    ec2 = cloud.up().client()
    image = registered(ec2, manifest)
    assert (image["Architecture"], image["BootMode"]) == ("arm64", "uefi")
    with pytest.raises(ec2.exceptions.ClientError) as refused:
        ec2.run_instances(ImageId=image["ImageId"], InstanceType="t3.nano", MinCount=1, MaxCount=1)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert "'x86_64'" in str(refused.value) and "'arm64'" in str(refused.value)

    guest = launch(cloud, ec2, image["ImageId"], tmp_path, "t4g.nano")
    described = guest.describe()
    assert (described["Architecture"], described["CurrentInstanceBootMode"]) == ("arm64", "uefi")
    assert guest.ssh("uname -m; cat /sys/class/dmi/id/sys_vendor; sudo cat /sys/class/dmi/id/product_uuid | head -c 3").split(
        "\n") == ["aarch64", "Amazon EC2", "ec2"]
    # Its name is from the metadata service.
    assert guest.ssh("hostname").startswith("ip-")
    # The power button reaches it, and the disk is the same afterwards.
    guest.ssh("sudo sh -c 'echo kept > /root/kept; sync'")
    ec2.stop_instances(InstanceIds=[guest.id])
    wait_for(ec2, guest.id, "stopped")
    ec2.start_instances(InstanceIds=[guest.id])
    guest.running()
    assert guest.ssh("sudo cat /root/kept") == "kept"
