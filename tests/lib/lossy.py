"""A link with programmable loss, between a network namespace of the lab and the test's own, and the kernel's own counts
of what TCP did there.

    space = lab.netns()
    link = lab.own(Lossy(space))
    link.lose(10)                                # percent of what the namespace sends
    link.drop("tcp flags & (syn|ack) == syn")    # or what nftables matches
    link.drop("", to=True)                       # all that is sent to the namespace
    link.clear()                                 # nothing is lost any more

Packets are dropped where they arrive (ingress of the device), as on a wire: a sender whose own OUTPUT chain drops is told
so and behaves differently. Each packet is one segment, so a loss in percent is one of segments.
"""

import contextlib
import json
import os
import re
import socket
import threading

from lab import DEADLINE_S, pid_exists, run, wait_until
from wire import no_linger

TABLE = "weirtest"  # followed by the process id and the number of the link


def segments_one_by_one(space):
    """No segmentation offload, on both ends of the namespace's link."""
    run("ip", "link", "set", space.host_if, "gso_max_segs", "1")
    run("ip", "-n", space.name, "link", "set", "eth0", "gso_max_segs", "1")
    with contextlib.suppress(OSError, RuntimeError):
        run("ip", "link", "set", space.host_if, "gro_max_size", "1")


def sweep():
    """Tables in the test's own namespace that killed runs left; those in namespaces go with them."""
    tables = json.loads(run("nft", "-j", "list", "tables"))["nftables"]
    for table in (item["table"] for item in tables if "table" in item):
        found = re.fullmatch(TABLE + r"(\d+)n\d+", table["name"])
        if found and not pid_exists(int(found[1])):
            with contextlib.suppress(RuntimeError):
                run("nft", "delete", "table", table["family"], table["name"])


class Lossy:
    numbers = iter(range(1, 1 << 30))

    def __init__(self, space):
        sweep()
        self.space = space
        self.name = "%s%dn%d" % (TABLE, os.getpid(), next(self.numbers))
        segments_one_by_one(space)
        for to, device in ((False, space.host_if), (True, "eth0")):
            self._nft(to, """
table netdev %s {
  chain drops { type filter hook ingress device "%s" priority 0; }
}""" % (self.name, device))

    def _nft(self, to, text):
        enter = ["ip", "netns", "exec", self.space.name] if to else []
        return run(*enter, "nft", "-f", "-", input=text)

    def drop(self, match, to=False):
        """Drops TCP packets from the namespace (or @to it) that nftables' @match matches, beside what is dropped."""
        self._nft(to, "add rule netdev %s drops meta l4proto tcp %s counter drop" % (self.name, match))

    def lose(self, percent, to=False):
        self.clear()
        if percent:
            self.drop("numgen random mod 1000 < %d" % round(percent * 10), to)

    def clear(self):
        for to in (False, True):
            self._nft(to, "flush chain netdev %s drops" % self.name)

    def dropped(self):
        """Packets dropped by the rules there are now, in both directions."""
        total = 0
        for enter in [], ["ip", "netns", "exec", self.space.name]:
            text = run(*enter, "nft", "list", "table", "netdev", self.name)
            total += sum(int(n) for n in re.findall(r"counter packets (\d+)", text))
        return total

    def close(self):
        with contextlib.suppress(RuntimeError):
            run("nft", "delete", "table", "netdev", self.name)
        if os.path.exists(self.space.path):
            with contextlib.suppress(RuntimeError):
                run("ip", "netns", "exec", self.space.name, "nft", "delete", "table", "netdev", self.name)


class Rejecting:
    """What the namespace asks for on TCP port 81 is answered by nftables' @verdict, such as "reject with icmpx type X"."""

    def __init__(self, space, verdict):
        sweep()
        self.name = "%s%dn%d" % (TABLE, os.getpid(), next(Lossy.numbers))
        run("nft", "-f", "-", input="""
table inet %s {
  chain c {
    type filter hook input priority 0;
    iifname "%s" tcp dport 81 %s;
  }
}""" % (self.name, space.host_if, verdict))

    def close(self):
        run("nft", "delete", "table", "inet", self.name)


class Counters:
    """What the kernel counted in a namespace (/proc/net/snmp and netstat) since this was made."""

    def __init__(self, space=None):
        self.space = space
        self.before = self.read()

    def read(self):
        with self.space.inside() if self.space else contextlib.nullcontext():
            text = ""
            for name in "snmp", "netstat":
                with open("/proc/thread-self/net/" + name) as lines:
                    text += lines.read()
        out, lines = {}, text.splitlines()
        for names, values in zip(lines[::2], lines[1::2]):
            group = names.split(":")[0]
            if group in ("Tcp", "TcpExt"):
                out.update(zip(names.split()[1:], (int(v) for v in values.split()[1:])))
        return out

    def __getitem__(self, name):
        """One by name; a kernel without it has counted none."""
        return self.read().get(name, 0) - self.before.get(name, 0)


class Bulk:
    """A connection from @cgroup in the namespace of @link to @to_cgroup in the test's own, and a thread that receives."""

    def __init__(self, link, cgroup, to_cgroup, family=socket.AF_INET, address=None):
        self.link, self.space = link, link.space
        address = address or (self.space.host6 if family == socket.AF_INET6 else self.space.host)
        with to_cgroup.inside():
            self.listener = socket.create_server((address, 0), family=family)
        self.listener.settimeout(DEADLINE_S)
        self.address = self.listener.getsockname()[:2]
        with cgroup.inside(), self.space.inside():
            self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(120)
        self.received = 0
        self.peer = self.thread = None

    def connect(self):
        self.sock.connect(self.address)
        self.peer, _ = self.listener.accept()
        self.peer.settimeout(120)
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()
        return self

    def _receive(self):
        with contextlib.suppress(OSError):
            while True:
                piece = self.peer.recv(1 << 20)
                if not piece:
                    break
                self.received += len(piece)

    def send(self, size):
        """Sends @size bytes and returns when all of them have arrived."""
        want = self.received + size
        self.sock.sendall(b"w" * size)
        wait_until(lambda: self.received >= want, lambda: "%d of %d bytes" % (self.received, want), 120)
        return self

    def finish(self):
        """FIN both ways; returns when neither side has a socket in a state that retransmits."""
        self.sock.shutdown(socket.SHUT_WR)
        self.thread.join(120)
        self.peer.close()
        while self.sock.recv(4096):
            pass
        self.close()

    def close(self):
        """At once, whatever is on its way: a connection whose other end is gone would keep the namespace's devices."""
        for sock in (self.sock, self.peer):
            if sock and sock.fileno() >= 0:
                no_linger(sock)
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RD)  # who receives returns
        if self.thread:
            self.thread.join(DEADLINE_S)
        for sock in (self.sock, self.listener, self.peer):
            if sock:
                sock.close()
