"""How TCP is shown: series of living connections, round-trip times as ss has them, trace, top and hist. What is counted:
test_tcp_connections.py, test_tcp_retransmits.py, test_tcp_listen.py, test_tcp_lifecycle.py."""

import json
import os
import re
import socket
import struct
import subprocess

import pytest
from lab import port_free, run, wait_until
from weir import Trace, Weir

CONNECTIONS = "weir.tcp.connections"
IO = "weir.tcp.io"
PYTHON = "/usr/bin/python3"

@pytest.fixture
def agent(lab):
    return lab.own(Weir(lab, "--signals=tcp"))


def total(snap, metric, cgroup, **attributes):
    return sum(p.value for p in snap.find(metric, cgroup, **attributes))


def settled(agent, cgroup, expect, what):
    """Waits until expect(snapshot) is true, and returns that snapshot."""
    def look():
        snap = agent.snapshot()
        return snap if expect(snap) else None
    return wait_until(look, lambda: "%s: %r" % (what() if callable(what) else what, [
        p for p in agent.snapshot().points if p.cgroup == cgroup.path and p.metric.startswith("weir.tcp")]))


def up(process):
    wait_until(lambda: "up" in process.output(), lambda: "the program is up: " + process.output())


TALK = """
import socket, sys, time
address, port, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
for _ in range(count):
    with socket.create_connection((address, port)) as s:
        s.sendall(b"q" * size)
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536):
            pass
"""
ANSWER = """
import socket, sys
address, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
print("up", flush=True)
while True:
    c, _ = s.accept()
    while c.recv(65536):
        pass
    c.sendall(b"a" * size)
    c.close()
"""


def test_living_connections_are_counted_while_they_live(lab, agent):
    cgroup = lab.cgroup("holder")
    with cgroup.inside():
        listener = socket.create_server(("127.0.0.1", 0), backlog=32)
        pairs = []
        for _ in range(11):
            out = socket.create_connection(listener.getsockname())
            pairs.append((out, listener.accept()[0]))
    for out, into in pairs:
        out.sendall(b"z" * 1009)
        assert len(into.recv(2000)) == 1009
    snap = settled(agent, cgroup, lambda s: total(s, CONNECTIONS, cgroup) >= 22, "11 connections, both ends")
    assert total(snap, CONNECTIONS, cgroup, role="client") == total(snap, CONNECTIONS, cgroup, role="server") == 11
    assert total(snap, "weir.tcp.active_connections", cgroup) == 22
    assert total(snap, IO, cgroup, network_io_direction="transmit") == 11 * 1009
    count = sum(p.count for p in snap.find("weir.tcp.rtt.duration", cgroup))
    again = agent.snapshot()  # nothing was sent meanwhile: no new sample, nothing twice
    assert sum(p.count for p in again.find("weir.tcp.rtt.duration", cgroup)) == count
    for out, into in pairs:
        out.close()
        into.close()
    listener.close()
    snap = settled(agent, cgroup, lambda s: total(s, "weir.tcp.active_connections", cgroup) == 0, "all have ended")
    assert total(snap, CONNECTIONS, cgroup) == 22
    assert total(snap, IO, cgroup, network_io_direction="transmit") == 11 * 1009
    agent.law()


def test_round_trip_times_are_those_that_ss_shows(lab):
    agent = lab.own(Weir(lab, "--signals=tcp", interval="1h"))  # looks only when it is asked
    cgroup = lab.cgroup("holder")
    with cgroup.inside():
        listener = socket.create_server(("127.0.0.1", 0))
        out = socket.create_connection(listener.getsockname())
        into = listener.accept()[0]
    for _ in range(50):
        out.sendall(b"ping")
        into.recv(10)
        into.sendall(b"pong")
        out.recv(10)
    port = listener.getsockname()[1]

    def told():
        return run("ss", "-Htin", "state", "established", "( sport = :%d or dport = :%d )" % (port, port))

    wait_until(lambda: "unacked:" not in told(), "the last answer is acknowledged, which may take its time")
    shown = [float(ms) for ms in re.findall(r"\brtt:([\d.]+)/", told())]
    assert len(shown) == 2
    snap = settled(agent, cgroup, lambda s: sum(p.count for p in s.find("weir.tcp.rtt.duration", cgroup)) >= 2, "two samples")
    points = snap.find("weir.tcp.rtt.duration", cgroup)
    assert sum(p.count for p in points) == 2
    assert sum(p.sum_ns for p in points) == pytest.approx(sum(shown) * 1e6, abs=2000)  # ss cuts at a microsecond
    for s in (out, into, listener):
        s.close()


def test_trace_tells_each_kind_of_event(lab):
    cgroup = lab.cgroup("traced")
    agent = lab.own(Weir(lab, "--signals=tcp"))
    traces = [lab.own(Trace(lab, "--socket=off", "--container=" + cgroup.name, signal="tcp")),
              lab.own(Trace(lab, "--socket=" + agent.socket, "--container=" + cgroup.name, "--closed", signal="tcp"))]
    for trace in traces:
        wait_until(lambda t=trace: "tracing" in t.process.output() or t.ended, "it traces")
    closed = port_free()
    with cgroup.inside():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", closed))
        full = socket.socket()
        full.bind(("127.0.0.1", 0))
        full.listen(1)
        out = socket.create_connection(full.getsockname())
        into = full.accept()[0]
    out.sendall(b"x" * 10)
    into.recv(10)
    into.sendall(b"y" * 20)
    out.recv(20)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    out.close()
    into.close()
    waiting = []
    for _ in range(5):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(full.getsockname())
        waiting.append(s)
    kinds = {"connect_failed", "reset", "overflow"}
    for trace, want in zip(traces, (kinds, kinds | {"close"})):
        trace.wait(lambda t, w=want: w <= {r["event"] for r in t.of(cgroup)}, lambda t=trace: repr([
            r["event"] for r in t.of(cgroup)]))
    assert "close" not in {r["event"] for r in traces[0].of(cgroup)}
    records = traces[1].of(cgroup)
    failed = next(r for r in records if r["event"] == "connect_failed")
    assert failed["type"] == "refused" and failed["peer"] == "127.0.0.1:%d" % closed and failed["pid"] == os.getpid()
    ends = [r for r in records if r["event"] == "close" and r.get("bytes", 0) + r.get("bytes_received", 0) == 30]
    assert sorted((r["role"], r["bytes"], r["bytes_received"]) for r in ends) == [("client", 10, 20), ("server", 20, 10)]
    assert all(r["peer_container"]["cgroup"] == cgroup.path and r["duration_ns"] > 0 and r["rtt_ns"] > 0 for r in ends)
    overflow = next(r for r in records if r["event"] == "overflow")
    assert overflow["limit"] == 1 and overflow["queue"] == 2 and overflow["drops"] > 0
    assert {r["type"] for r in records if r["event"] == "reset"} == {"sent", "received"}
    for s in waiting + [full]:
        s.close()


def test_top_and_hist_show_tcp(lab, agent):
    client, server, port = lab.cgroup("client"), lab.cgroup("server"), port_free()
    up(lab.spawn(PYTHON, "-c", ANSWER, "127.0.0.1", port, 10, cgroup=server))
    assert lab.spawn(PYTHON, "-c", TALK, "127.0.0.1", port, 17, 10, cgroup=client).wait() == 0
    settled(agent, client, lambda s: total(s, CONNECTIONS, client) == 17, "17 connections")
    binary = os.environ.get("WEIR", "build/weir")
    out = subprocess.run([binary, "hist", "weir.tcp.rtt.duration", "--duration=0", "--socket=" + agent.socket, "-o", "json"],
                         capture_output=True, text=True, check=True).stdout
    assert {g["name"]: g["count"] for g in map(json.loads, out.splitlines()) if g["name"] == client.name} == {client.name: 17}
    out = subprocess.run([binary, "top", "--once", "--socket=" + agent.socket, "-o", "json"],
                         capture_output=True, text=True, check=True).stdout
    assert "containers" in json.loads(out)
