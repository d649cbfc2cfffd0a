"""What is read of living sockets, by both ways to find them: the kernel's listing of socket storage, and the open files of
all processes. Some kernels allow only the second."""

import json
import os
import subprocess

import pytest
from lab import wait_until
from weir import BINARY, Weir
from wire import C, S, Wire

LISTING = "listing of socket storage"
FEATURES = json.loads(subprocess.run([BINARY, "doctor", "-o", "json"], stdout=subprocess.PIPE).stdout)["features"]
ALLOWED = [f["available"] for f in FEATURES if f["name"] == LISTING] == [True]
WAYS = pytest.mark.parametrize("way", ["storage", "files"] if ALLOWED else ["files"])


def agent_by(lab, way, signals):
    env = {"WEIR_LACKS": LISTING} if way == "files" else None
    return lab.own(Weir(lab, "--signals=" + signals, env=env))


def total(snap, metric, cgroup, **attributes):
    return sum(p.value for p in snap.find(metric, cgroup, **attributes))


class Held:
    """Another process that has the same sockets open, and each of them twice in this one."""

    def __init__(self, *sockets):
        self.again = [os.dup(s.fileno()) for s in sockets]
        self.process = subprocess.Popen(["sleep", "600"], pass_fds=[s.fileno() for s in sockets] + self.again)

    def close(self):
        for fd in self.again:
            os.close(fd)
        self.process.kill()
        self.process.wait()


@WAYS
def test_living_connections_and_listeners_are_counted_once(lab, way):
    agent = agent_by(lab, way, "tcp")
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    ends = [wire.play(C("q" * 100), S("a" * 31), close=False) for _ in range(3)]
    lab.own(Held(wire.listener, *[sock for pair in ends for sock in pair]))
    for _ in range(3):
        snap = agent.snapshot()
        for cgroup, sent, received in ((wire.client_cgroup, 300, 93), (wire.server_cgroup, 93, 300)):
            assert total(snap, "weir.tcp.active_connections", cgroup) == 3
            assert total(snap, "weir.tcp.connections", cgroup) == 3
            assert total(snap, "weir.tcp.io", cgroup, network_io_direction="transmit") == sent
            assert total(snap, "weir.tcp.io", cgroup, network_io_direction="receive") == received
        assert total(snap, "weir.tcp.listen.queue.limit", wire.server_cgroup) == 1024
        assert total(snap, "weir.tcp.listen.queue.length", wire.server_cgroup) == 0
    waiting = [lab.own(wire.client_socket()) for _ in range(5)]
    for sock in waiting:
        sock.connect((wire.address, wire.port))
    snap = agent.snapshot()
    assert total(snap, "weir.tcp.listen.queue.length", wire.server_cgroup) == 5
    assert total(snap, "weir.tcp.active_connections", wire.client_cgroup) == 8
    # What waits to be accepted is no file yet.
    assert total(snap, "weir.tcp.active_connections", wire.server_cgroup) == (8 if way == "storage" else 3)
    for sock in waiting:
        lab.own(wire.listener.accept()[0])
    assert total(agent.snapshot(), "weir.tcp.active_connections", wire.server_cgroup) == 8
    agent.law()


@WAYS
def test_a_connection_that_its_process_closed_still_counts(lab, way):
    """It has sent all, and the other end has not: no process has it open, and it ends when the other closes."""
    agent = agent_by(lab, way, "tcp")
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    client, server = wire.play(C("q" * 100), close=False)
    assert total(agent.snapshot(), "weir.tcp.connections", wire.client_cgroup) == 1
    client.close()
    for _ in range(3):
        snap = agent.snapshot()
        assert total(snap, "weir.tcp.connections", wire.client_cgroup) == 1
        assert total(snap, "weir.tcp.io", wire.client_cgroup, network_io_direction="transmit") == 100
    server.close()
    wait_until(lambda: total(agent.snapshot(), "weir.tcp.active_connections", wire.server_cgroup) == 0, "both have ended")
    snap = agent.snapshot()
    for cgroup, sent, received in ((wire.client_cgroup, 100, 0), (wire.server_cgroup, 0, 100)):
        assert total(snap, "weir.tcp.connections", cgroup) == 1
        assert snap.count("weir.tcp.connection.duration", cgroup) == 1
        assert total(snap, "weir.tcp.io", cgroup, network_io_direction="transmit") == sent
        assert total(snap, "weir.tcp.io", cgroup, network_io_direction="receive") == received
    agent.law()


@WAYS
def test_requests_in_flight_are_counted_once(lab, way):
    agent = agent_by(lab, way, "http")
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    ends = [wire.play(C("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"), close=False) for _ in range(4)]
    lab.own(Held(*[sock for pair in ends for sock in pair]))

    def in_flight():
        snap = agent.snapshot()
        return (total(snap, "http.server.active_requests", wire.server_cgroup),
                total(snap, "http.client.active_requests", wire.client_cgroup))
    for _ in range(3):
        assert in_flight() == (4, 4)
    wire.play(S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ends=ends[0], close=False)
    assert in_flight() == (3, 3)
    for pair in ends[1:]:
        wire.play(S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ends=pair, close=False)
    assert in_flight() == (0, 0)
    agent.law()
