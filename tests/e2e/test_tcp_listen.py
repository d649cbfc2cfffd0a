"""Listen queues: drops against the kernel's own count of the namespace, length and limit against ss."""

import socket

import pytest
from lab import run, wait_until
from lossy import Counters
from weir import Trace, Weir

FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])


@pytest.fixture(scope="module")
def agent(module_lab):
    made = module_lab.own(Weir(module_lab, "--signals=tcp"))
    yield made
    made.law()


class Full:
    """A listener in a namespace that nobody accepts from, and clients there that want to be."""

    def __init__(self, lab, space, cgroup, backlog=1, family=socket.AF_INET, port=0, reuse=False):
        self.lab, self.space, self.family = lab, space, family
        self.address = space.address6 if family == socket.AF_INET6 else space.address
        with cgroup.inside(), space.inside():
            self.sock = lab.own(socket.socket(family))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.sock.bind((self.address, port))
        self.sock.listen(backlog)
        self.port = self.sock.getsockname()[1]
        self.clients = []

    def knock(self, count):
        for _ in range(count):
            with self.space.inside():
                sock = self.lab.own(socket.socket(self.family))
            sock.setblocking(False)
            sock.connect_ex((self.address, self.port))
            self.clients.append(sock)

    def ss(self):
        """(length, limit), as ss shows them."""
        rows = run("ip", "netns", "exec", self.space.name, "ss", "-Hltn", "sport = :%d" % self.port).split("\n")
        fields = rows[0].split()
        return int(fields[1]), int(fields[2])

    def leave(self):
        for sock in self.clients:
            sock.close()
        self.clients = []


def listener(snap, cgroup, port):
    """(drops, length, limit) as weir has them."""
    return tuple(sum(p.value for p in snap.find("weir.tcp.listen." + name, cgroup, network_local_port=port))
                 for name in ("drops", "queue.length", "queue.limit"))


def settled(agent, kernel, cgroups):
    """A snapshot in which weir has all that the kernel has. The kernel's count is read before and after."""
    def same():
        before = kernel["ListenDrops"]
        snap = agent.snapshot()
        mine = sum(p.value for c in cgroups for p in snap.find("weir.tcp.listen.drops", c))
        return snap if before == kernel["ListenDrops"] == mine else None
    return wait_until(same, lambda: "drops: weir %r, kernel %d" % (
        [p for c in cgroups for p in agent.snapshot().find("weir.tcp.listen.drops", c)], kernel["ListenDrops"]))


@FAMILIES
def test_overflow_is_counted_at_its_listener(lab, agent, family):
    space, server = lab.netns(), lab.cgroup("server")
    trace = lab.own(Trace(lab, "--socket=" + agent.socket, signal="tcp"))
    wait_until(lambda: "tracing" in trace.process.output() or trace.ended, "the tracer says that it traces")
    kernel, full = Counters(space), Full(lab, space, server, family=family)
    idle = Full(lab, space, server, backlog=17, family=family)
    full.knock(2)
    wait_until(lambda: full.ss()[0] == 2, "the queue is full")
    assert listener(agent.snapshot(), server, full.port) == (0, *full.ss())
    full.knock(11)
    wait_until(lambda: kernel["ListenOverflows"] >= 11, "all were turned away")

    snap = settled(agent, kernel, [server])
    assert kernel["ListenOverflows"] == kernel["ListenDrops"]
    drops, length, limit = listener(snap, server, full.port)
    assert (length, limit) == full.ss() == (2, 1)
    assert drops >= 11
    assert listener(snap, server, idle.port) == (0, 0, 17) == (0, *idle.ss())

    lines = trace.wait(lambda t: sum(r["drops"] for r in t.of(server)) >= drops and t.of(server), "the drops as lines")
    assert {r["event"] for r in lines} == {"overflow"}
    assert {(r["role"], r["state"], r["queue"], r["limit"]) for r in lines} == {("server", "listen", 2, 1)}
    at = "[%s]:%d" if family == socket.AF_INET6 else "%s:%d"
    assert {r["local"] for r in lines} == {at % (full.address, full.port)}

    full.leave()
    snap = settled(agent, kernel, [server])
    final = listener(snap, server, full.port)[0]
    full.sock.close()
    assert kernel["ListenDrops"] == final
    for _ in range(2):
        assert listener(agent.snapshot(), server, full.port)[:2] == (final, 0)


def test_listeners_of_two_containers_and_one_after_another(lab, agent):
    """Each has its own; who listens at the same place later goes on counting where the one before it ended."""
    space, one, two = lab.netns(), lab.cgroup("one"), lab.cgroup("two")
    kernel = Counters(space)
    first, second = Full(lab, space, one), Full(lab, space, two)
    first.knock(2 + 5)
    second.knock(2 + 3)
    wait_until(lambda: kernel["ListenOverflows"] >= 8, "turned away")
    first.leave()
    second.leave()
    settled(agent, kernel, [one, two])
    before = listener(agent.snapshot(), one, first.port)[0]
    apart = listener(agent.snapshot(), two, second.port)[0]
    assert before >= 5 and apart >= 3
    first.sock.close()
    again = Full(lab, space, one, backlog=2, port=first.port)
    again.knock(3 + 7)
    wait_until(lambda: kernel["ListenOverflows"] >= before + apart + 7, "turned away again")
    assert listener(settled(agent, kernel, [one, two]), one, first.port)[1:] == again.ss() == (3, 2)
    again.leave()
    snap = settled(agent, kernel, [one, two])
    assert listener(snap, one, first.port)[0] >= before + 7
    assert listener(snap, two, second.port)[0] == apart


def test_sockets_that_share_a_port_are_one_listener(lab, agent):
    space, server = lab.netns(), lab.cgroup("server")
    one = Full(lab, space, server, backlog=100, reuse=True)
    other = Full(lab, space, server, backlog=50, port=one.port, reuse=True)
    one.knock(20)
    snap = wait_until(lambda: (lambda s: s if listener(s, server, one.port)[1] == 20 else None)(agent.snapshot()), "20 wait")
    assert listener(snap, server, one.port) == (0, 20, 150)
    other.sock.close()
    assert listener(agent.snapshot(), server, one.port)[2] == 100


def test_stray_segments_of_strangers(lab, agent):
    """Connections that are made and closed in good order or cut off, and resets for what the listener never knew: no drop
    that the kernel counts as one. (A FIN or RST that no connection is for does raise the socket's count, so there is
    nothing to compare with then: none is sent here.)"""
    space, server = lab.netns(), lab.cgroup("server")
    kernel, door = Counters(space), Full(lab, space, server, backlog=64)
    door.knock(23)
    wait_until(lambda: door.ss()[0] == 23, "connected")
    for _ in range(23):
        door.sock.accept()[0].close()
    door.leave()
    assert kernel["ListenDrops"] == 0
    assert listener(agent.snapshot(), server, door.port) == (0, 0, 64)


def test_limit_is_that_of_the_system(lab, agent):
    space, server = lab.netns(), lab.cgroup("server")
    with space.inside():
        with open("/proc/sys/net/core/somaxconn", "w") as knob:
            knob.write("19")
    door = Full(lab, space, server, backlog=4096)
    assert listener(agent.snapshot(), server, door.port) == (0, 0, 19) == (0, *door.ss())
    door.sock.listen(7)
    assert listener(agent.snapshot(), server, door.port) == (0, 0, 7) == (0, *door.ss())


def test_unused_listeners_leave_nothing(lab, agent):
    """Ever new ports, none of which dropped anything."""
    space, server = lab.netns(), lab.cgroup("server")
    for _ in range(300):
        Full(lab, space, server).sock.close()
    kept = Full(lab, space, server)
    agent.snapshot()
    snap = agent.snapshot()
    assert listener(snap, server, kept.port)[2] == 1
    assert [p for p in snap.find("weir.tcp.listen.drops", server) if p.value] == []
