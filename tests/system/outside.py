"""Hosts of the outside world: namespaces behind the host's own routing."""

import subprocess

PROGRAM = """
import socket
listener = socket.create_server(('0.0.0.0', 9000))
print('ready', flush=True)
while True:
    connection, peer = listener.accept()
    connection.sendall(f'{peer[0]}\\n'.encode())
    connection.close()
"""


class Outside:
    """A host that tells who connects to its port 9000 by which address it came; there from `with` on to its end.

    The host has `near` on the link to it. Each test takes two addresses of its own, of a /30 that starts on a multiple of
    four, in networks that no host has: 198.19.255.0/24 or 192.168.249.0/24.
    """

    def __init__(self, name, near, address):
        self.name, self.link, self.near, self.address = f"nube-test-{name}", f"nbtest-{name}", near, address
        self.server = None

    def run(self, *command):
        inside = ["ip", "netns", "exec", self.name, *command]
        return subprocess.run(inside, capture_output=True, text=True, check=True).stdout

    def heard(self):
        """How many echo requests have come."""
        lines = [line.split() for line in self.run("grep", "^Icmp:", "/proc/net/snmp").splitlines()]
        return int(dict(zip(*lines))["InEchos"])

    def __enter__(self):
        ip("netns", "del", self.name, check=False)
        ip("link", "del", self.link, check=False)
        try:
            ip("netns", "add", self.name)
            ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            ip("addr", "add", f"{self.near}/30", "dev", self.link)
            ip("link", "set", self.link, "up")
            ip("-n", self.name, "addr", "add", f"{self.address}/30", "dev", "eth0")
            ip("-n", self.name, "link", "set", "eth0", "up")
            ip("-n", self.name, "link", "set", "lo", "up")
            # No route back to anything but its own link: who is not translated gets no answer.
            inside = ["ip", "netns", "exec", self.name, "python3", "-c", PROGRAM]
            self.server = subprocess.Popen(inside, stdout=subprocess.PIPE, text=True)
            assert self.server.stdout.readline() == "ready\n"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.server:
            self.server.kill()
            self.server.communicate()
        ip("netns", "del", self.name, check=False)
        ip("link", "del", self.link, check=False)


def ip(*words, check=True):
    subprocess.run(["ip", *words], capture_output=True, check=check)
