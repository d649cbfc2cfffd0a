"""TCP by container: connections and bytes against what the test did, round trips and listen queues against ss and the
kernel's own counters. What is sent again: test_tcp_retransmits.py."""

import contextlib
import json
import os
import re
import socket
import struct
import subprocess

import pytest
from lab import port_free, run, wait_until
from lossy import Counters, Lossy
from weir import Trace, Weir, bpf_objects

RETRANSMITS = "weir.tcp.retransmits"
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


# ---- connections

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


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_connections_and_bytes_are_exact_and_ends_know_each_other(lab, agent, address):
    client, server, port = lab.cgroup("client"), lab.cgroup("server"), port_free()
    up(lab.spawn(PYTHON, "-c", ANSWER, address, port, 7001, cgroup=server))
    assert lab.spawn(PYTHON, "-c", TALK, address, port, 23, 4099, cgroup=client).wait() == 0
    snap = settled(agent, client, lambda s: total(s, CONNECTIONS, client) >= 23 and total(s, CONNECTIONS, server) >= 23,
                   "23 connections at both ends")
    for own, other, role in ((client, server, "client"), (server, client, "server")):
        points = snap.find(CONNECTIONS, own)
        assert [(p.value, p.attributes["role"], p.attributes["weir.peer.class"], p.attributes["weir.peer.name"])
                for p in points] == [(23, role, "container", other.name)]
        assert sum(p.count for p in snap.find("weir.tcp.handshake.duration", own, role=role)) == 23
        assert sum(p.count for p in snap.find("weir.tcp.connection.duration", own, role=role)) == 23
        assert total(snap, "weir.tcp.active_connections", own) == 0
        assert sum(p.count for p in snap.find("weir.tcp.rtt.duration", own)) == 23
    for own, sent, got in ((client, 4099, 7001), (server, 7001, 4099)):
        assert total(snap, IO, own, network_io_direction="transmit") == 23 * sent
        assert total(snap, IO, own, network_io_direction="receive") == 23 * got
    agent.law()


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


def failures(snap, cgroup):
    return {p.attributes["error.type"]: p.value for p in snap.find(CONNECTIONS, cgroup) if "error.type" in p.attributes}


def test_connects_that_fail_are_told_apart(lab, agent):
    space, cgroup = lab.netns(), lab.cgroup("client")
    link, kernel = lab.own(Lossy(space)), Counters(space)
    free = port_free()
    before_resets = total(agent.snapshot(), "weir.tcp.resets", cgroup)
    with space.inside():
        with open("/proc/sys/net/ipv4/tcp_syn_retries", "w") as retries:
            retries.write("1")
    silent = free + 1
    link.drop("tcp dport %d" % silent)
    script = """
import socket, sys
host, closed, silent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def attempt(port):
    s = socket.socket()
    try:
        s.connect((host, port))
    except OSError as e:
        print(port, e.errno)
    s.close()
for _ in range(5):
    attempt(closed)
attempt(silent)
for _ in range(3):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((host, silent))
    s.close()
"""
    client = lab.spawn(PYTHON, "-c", script, space.host, free, silent, cgroup=cgroup, netns=space)
    assert client.wait() == 0
    assert client.output().split() == ["%d" % free, "111"] * 5 + ["%d" % silent, "110"]
    snap = settled(agent, cgroup, lambda s: sum(failures(s, cgroup).values()) >= 9, "nine failures")
    assert failures(snap, cgroup) == {"refused": 5, "timed_out": 1, "aborted": 3}
    assert total(snap, CONNECTIONS, cgroup) == 9  # none was established
    assert total(snap, "weir.tcp.resets", cgroup) == before_resets == 0  # a refusal is not told twice
    assert total(snap, RETRANSMITS, cgroup, type="syn") == kernel["TCPSynRetrans"] > 0
    agent.law()


def test_resets_have_a_direction(lab, agent):
    one, two = lab.cgroup("resets"), lab.cgroup("reset")
    with two.inside():
        listener = socket.create_server(("127.0.0.1", 0))
    for _ in range(13):
        with one.inside():
            out = socket.create_connection(listener.getsockname())
        into = listener.accept()[0]
        out.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        out.close()
        with contextlib.suppress(ConnectionResetError):
            into.recv(1)
        into.close()
    listener.close()
    snap = settled(agent, two, lambda s: total(s, "weir.tcp.resets", two) >= 13, "13 resets")
    assert total(snap, "weir.tcp.resets", one, network_io_direction="transmit") == 13
    assert total(snap, "weir.tcp.resets", two, network_io_direction="receive") == 13
    assert total(snap, "weir.tcp.resets", one) == total(snap, "weir.tcp.resets", two) == 13


# ---- listen queues

def test_drops_of_a_listener_are_the_kernels_overflows(lab, agent):
    space, cgroup = lab.netns(), lab.cgroup("busy")
    kernel = Counters(space)
    with space.inside(), cgroup.inside():
        listener = socket.socket()
        listener.bind((space.address, 0))
        listener.listen(1)
    port = listener.getsockname()[1]
    outs = []
    for _ in range(9):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((space.address, port))
        outs.append(s)
    wait_until(lambda: kernel["ListenOverflows"] >= 7, "the kernel's overflows")
    shown = run("ip", "netns", "exec", space.name, "ss", "-Htln", "sport = :%d" % port).split()

    def same(snap):
        drops = total(snap, "weir.tcp.listen.drops", cgroup, network_local_port=port)
        return drops and drops == kernel["ListenOverflows"]

    snap = settled(agent, cgroup, same, lambda: "%d" % kernel["ListenOverflows"])
    assert total(snap, "weir.tcp.listen.queue.length", cgroup) == int(shown[1]) == 2
    assert total(snap, "weir.tcp.listen.queue.limit", cgroup) == int(shown[2]) == 1
    for s in outs:
        s.close()
    listener.close()
    done = kernel["ListenDrops"]
    snap = settled(agent, cgroup, lambda s: total(s, "weir.tcp.listen.queue.limit", cgroup) == 0, "it has closed")
    assert total(snap, "weir.tcp.listen.drops", cgroup) == done


# ---- what was there before, and what goes

def test_sockets_older_than_the_agent_count_from_its_start_on(lab):
    cgroup = lab.cgroup("older")
    with cgroup.inside():
        listener = socket.create_server(("127.0.0.1", 0))
        out = socket.create_connection(listener.getsockname())
        into = listener.accept()[0]
    out.sendall(b"before" * 100)
    into.recv(10000)
    agent = lab.own(Weir(lab, "--signals=tcp"))
    out.sendall(b"after" * 7)
    assert into.recv(10000) == b"after" * 7
    snap = settled(agent, cgroup, lambda s: total(s, IO, cgroup, network_io_direction="receive") >= 35, "35 bytes")
    assert total(snap, IO, cgroup, network_io_direction="receive") == 35
    assert total(snap, IO, cgroup, network_io_direction="transmit") == 35
    assert total(snap, CONNECTIONS, cgroup) == 0  # made before
    assert total(snap, "weir.tcp.active_connections", cgroup) == 2
    assert [p.attributes["network.local.port"] for p in snap.find("weir.tcp.listen.queue.limit", cgroup)] == [
        listener.getsockname()[1]]
    for s in (out, into, listener):
        s.close()
    settled(agent, cgroup, lambda s: total(s, "weir.tcp.active_connections", cgroup) == 0, "they have ended")


STORM_C = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connects and closes argv[2] times, to itself by way of a child that accepts and closes. */
int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0), count = atoi(argv[1]), made = 0;
	char byte;

	(void)argc;
	if (bind(l, (void *)&a, len) || listen(l, 1024) || getsockname(l, (void *)&a, &len))
		return 1;
	if (!fork()) {
		for (int i = 0; i < count; i++) {
			int c = accept(l, NULL, NULL);

			if (c < 0)
				return 1;
			while (read(c, &byte, 1) > 0)
				;
			close(c);
		}
		return 0;
	}
	for (int i = 0; i < count; i++) {
		struct linger off = { .l_onoff = 1 };
		int c = socket(AF_INET, SOCK_STREAM, 0);

		if (!connect(c, (void *)&a, len))
			made++;
		else
			perror("connect");
		/* Every other one is reset, so that the ports suffice. */
		shutdown(c, SHUT_WR);
		read(c, &byte, 1);
		setsockopt(c, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
		close(c);
	}
	printf("%d\n", made);
	return made != count;
}
"""


def entries(agent, cgroup):
    """{name: entries of @cgroup} of the agent's hash maps of TCP; others of this machine have entries too."""
    out = {}
    for number in bpf_objects(agent.pid)["map"]:
        shown = json.loads(run("bpftool", "-j", "map", "show", "id", str(number)))
        if not shown.get("name", "").startswith("tcp_") or shown["type"] != "hash":
            continue
        dumped = json.loads(run("bpftool", "-j", "map", "dump", "id", str(number)))
        out[shown["name"]] = sum(item["formatted"]["key"].get("cgroup_id") == cgroup.id for item in dumped
                                 if isinstance(item["formatted"]["key"], dict))
    return out


def test_100000_short_connections_leave_nothing(lab, agent):
    cgroup = lab.cgroup("storm")
    source, binary = lab.write("storm.c", STORM_C), lab.path("storm")
    run("cc", "-O2", "-o", binary, source)
    assert lab.spawn(binary, 10, cgroup=cgroup).wait() == 0
    settled(agent, cgroup, lambda s: total(s, CONNECTIONS, cgroup) == 20, "the first ones")
    before = entries(agent, cgroup)
    # In parts: each connection keeps its port for a minute, and there are 28,000 of them a destination.
    for _ in range(5):
        storm = lab.spawn(binary, 20_000, cgroup=cgroup)
        assert storm.wait(120) == 0, storm.output()
        assert storm.output().split()[-1] == "20000"
    # Runs that the kernel left out are told as lost(busy); what they were of cannot be known.
    snap = settled(agent, cgroup, lambda s: total(s, CONNECTIONS, cgroup) >= 200_020 - 20, "200,020 ends")
    lost = snap.value("weir.signal.lost", signal="tcp")
    assert 200_020 - lost <= total(snap, CONNECTIONS, cgroup) <= 200_020
    assert total(snap, "weir.tcp.active_connections", cgroup) == 0
    # One more where the other end was not found any more: that is a class of its own, and not an entry a connection.
    after = entries(agent, cgroup)
    assert before["tcp_table"] == 1 and all(after[name] <= before[name] + 1 for name in after), (before, after)
    agent.law()


def test_a_removed_cgroup_and_a_deleted_namespace_disturb_nothing(lab, agent):
    cgroup, other = lab.cgroup("gone"), lab.cgroup("stays")
    with cgroup.inside():
        listener = socket.create_server(("127.0.0.1", 0))
        out = socket.create_connection(listener.getsockname())
    into = listener.accept()[0]
    cgroup.close()
    out.sendall(b"x" * 31)
    into.recv(100)
    netns = lab.netns()
    with netns.inside():
        orphan = socket.create_server((netns.address, 0))
        inside = socket.create_connection(orphan.getsockname())
    netns.close()
    inside.close()
    orphan.close()
    for s in (out, into, listener):
        s.close()
    with other.inside():
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
    settled(agent, other, lambda s: total(s, CONNECTIONS, other) == 2, "counts go on")
    client.close()
    server.close()
    assert agent.process.alive()
    agent.law()


# ---- views

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
