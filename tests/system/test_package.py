"""The Debian package that `cargo xtask test` has packed: what is in it, and that it runs from where it lies."""

import gzip
import glob
import os
import shutil
import subprocess

import pytest
from conftest import Cloud

PACKAGES = glob.glob(os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "debian", "nube_*.deb"))
pytestmark = [
    pytest.mark.machines,
    pytest.mark.skipif(not PACKAGES, reason="no package was packed: cargo xtask deb"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    subprocess.run(["dpkg-deb", "--extract", PACKAGES[0], folder], check=True)
    return folder


def test_the_package_depends_on_what_machines_need():
    said = subprocess.run(["dpkg-deb", "--field", PACKAGES[0], "Depends"], capture_output=True, text=True, check=True).stdout
    assert {"qemu-system-x86", "qemu-utils", "nftables"} <= {name.split(" ")[0] for name in said.strip().split(", ")}


def test_everything_lies_where_debian_wants_it(tree):
    for path in ("usr/bin/nube", "usr/lib/nube/nube-guest", "usr/lib/systemd/system/nube.service", "etc/default/nube",
                 "usr/share/man/man1/nube.1.gz", "usr/share/man/man1/nube-up.1.gz",
                 "usr/share/bash-completion/completions/nube", "usr/share/zsh/vendor-completions/_nube",
                 "usr/share/fish/vendor_completions.d/nube.fish", "usr/share/doc/nube/copyright",
                 "usr/share/doc/nube/changelog.gz", "usr/share/doc/nube/docs/operation.md"):
        assert os.path.getsize(tree / path) > 0, path
    assert b".TH" in gzip.open(tree / "usr/share/man/man1/nube.1.gz").read()


def test_the_service_outlives_nothing_that_it_should_not(tree):
    unit = (tree / "usr/lib/systemd/system/nube.service").read_text()
    assert {"KillMode=process", "Delegate=yes", "Type=notify"} <= set(unit.splitlines())
    # A mount namespace of the service's own would hide the networks from its next start.
    for setting in ("ProtectSystem=", "PrivateTmp=", "ProtectHome=", "PrivateMounts=", "ProtectControlGroups="):
        assert not any(line.startswith(setting) for line in unit.splitlines())
    if shutil.which("systemd-analyze"):
        text = unit.replace("/usr/bin/nube", str(tree / "usr/bin/nube"))
        path = tree / "nube.service"
        path.write_text(text)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)
        assert "nube.service" not in done.stderr, done.stderr


def test_the_packaged_program_runs_and_finds_its_guest_agent(tree, tmp_path):
    cloud = Cloud(tree / "usr/bin/nube", "sim", tmp_path / "data")
    cloud.up()
    try:
        assert cloud.client().describe_vpcs()["Vpcs"]
    finally:
        cloud.down("--purge")
    cache = tmp_path / "images"
    done = subprocess.run([cloud.nube, "image", "--cache", cache, "build", "no-such-recipe"], capture_output=True, text=True)
    assert done.returncode == 1 and "guest agent" not in done.stderr
