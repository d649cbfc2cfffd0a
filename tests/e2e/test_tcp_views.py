"""What a person sees of TCP: lines of trace, histograms, the table of containers; and round-trip times as ss has them."""

import errno
import json
import re
import socket
import subprocess
import time

import pytest
from lab import run, wait_until
from lossy import Bulk, Lossy
from weir import BINARY, Trace, Weir
from wire import C, CLIENT_RST, S, Wire

RTT = "weir.tcp.rtt.duration"
ALWAYS = {"signal", "time", "container", "role", "event"}


@pytest.fixture(scope="module")
def agent(module_lab):
    made = module_lab.own(Weir(module_lab, "--signals=tcp"))
    yield made
    made.law()


@pytest.fixture
def tracer(lab, agent):
    """Starts a tracer and returns it when it traces."""
    def start(through, *options):
        made = lab.own(Trace(lab, "--socket=" + (agent.socket if through == "agent" else "off"), *options, signal="tcp"))
        wait_until(lambda: "tracing" in made.process.output() or made.ended, "the tracer says that it traces")
        return made
    return start


THROUGH = pytest.mark.parametrize("through", ["agent", "own"])


def one(trace, cgroup, event):
    return trace.wait(lambda t: [r for r in t.of(cgroup) if r["event"] == event], "%s of %s" % (event, cgroup.path))[0]


@THROUGH
def test_line_of_a_close(lab, tracer, through):
    trace = tracer(through, "--closed")
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    before_ns = time.monotonic_ns()
    client, server = wire.play(C("c" * 1009), S("s" * 2003), close=False)
    own = "127.0.0.1:%d" % client.getsockname()[1]
    wire.hang_up(client, server)
    took_ns = time.monotonic_ns() - before_ns
    for cgroup, role, peer, sent, received, ends in (
            (wire.client_cgroup, "client", wire.server_cgroup, 1009, 2003, (own, "127.0.0.1:%d" % wire.port)),
            (wire.server_cgroup, "server", wire.client_cgroup, 2003, 1009, ("127.0.0.1:%d" % wire.port, own))):
        line = one(trace, cgroup, "close")
        assert ALWAYS <= set(line)
        assert (line["signal"], line["role"]) == ("tcp", role)
        assert (line["bytes"], line["bytes_received"], line["segments"], line["lost_ns"]) == (sent, received, 0, 0)
        assert (line["local"], line["peer"]) == ends
        assert line["peer_class"] == "container"
        assert line["peer_container"]["cgroup"] == peer.path
        assert 0 < line["duration_ns"] <= took_ns
        assert 0 < line["rtt_min_ns"] and 0 < line["rtt_ns"] <= took_ns
        assert line["state"] in ("fin_wait2", "last_ack", "closing")
        assert "type" not in line
        assert len([r for r in trace.of(cgroup) if r["event"] == "close"]) == 1


@THROUGH
def test_line_of_a_failed_connect(lab, tracer, through):
    trace, client = tracer(through), lab.cgroup("client")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with client.inside():
            sock = lab.own(socket.socket())
        assert sock.connect_ex(taken.getsockname()) == errno.ECONNREFUSED
        line = one(trace, client, "connect_failed")
        assert (line["role"], line["type"], line["state"], line["segments"]) == ("client", "refused", "syn_sent", 0)
        assert line["peer"] == "127.0.0.1:%d" % taken.getsockname()[1]
        assert line["local"].startswith("127.0.0.1:") and line["local"] != "127.0.0.1:0"
        assert line["peer_class"] == "loopback" and "peer_container" not in line
        assert line["duration_ns"] > 0


@THROUGH
def test_lines_of_a_reset(lab, tracer, through):
    trace = tracer(through)
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client"), "::1"))
    client, server = wire.play(C("x"), close=False)
    port = client.getsockname()[1]
    wire.play(CLIENT_RST, ends=(client, server))
    sent, received = one(trace, wire.client_cgroup, "reset"), one(trace, wire.server_cgroup, "reset")
    assert (sent["type"], received["type"]) == ("sent", "received")
    assert (sent["role"], received["role"]) == ("client", "server")
    assert sent["local"] == received["peer"] == "[::1]:%d" % port
    assert sent["peer"] == received["local"] == "[::1]:%d" % wire.port
    assert sent["peer_container"]["cgroup"] == wire.server_cgroup.path
    assert not [r for r in trace.records if r["event"] == "close"], "only --closed asks for them"


@THROUGH
def test_line_of_a_retransmission(lab, tracer, through):
    trace, link = tracer(through), lab.own(Lossy(lab.netns()))
    sender, receiver = lab.cgroup("sender"), lab.cgroup("receiver")
    bulk = lab.own(Bulk(link, sender, receiver)).connect().send(5)
    link.drop("meta length > 500 numgen inc mod 1000000 < 1")
    bulk.send(887)
    line = one(trace, sender, "retransmit")
    assert line["type"] in ("timeout", "tail_loss_probe")
    assert (line["segments"], line["bytes"], line["state"], line["role"]) == (1, 887, "established", "client")
    assert line["rtt_ns"] > 0 and line["rtt_min_ns"] > 0
    assert line["local"] == "%s:%d" % (link.space.address, bulk.sock.getsockname()[1])
    assert line["peer"] == "%s:%d" % bulk.address
    assert line["peer_container"]["cgroup"] == receiver.path


@THROUGH
def test_line_of_an_overflow(lab, tracer, through):
    trace, space, server = tracer(through), lab.netns(), lab.cgroup("server")
    with server.inside(), space.inside():
        door = lab.own(socket.create_server((space.address, 0), backlog=1))
    for _ in range(6):
        with space.inside():
            sock = lab.own(socket.socket())
        sock.setblocking(False)
        sock.connect_ex(door.getsockname())
    line = one(trace, server, "overflow")
    assert line["drops"] >= 1
    assert (line["queue"], line["limit"], line["state"], line["role"]) == (2, 1, "listen", "server")
    assert line["local"] == "%s:%d" % door.getsockname()
    assert "peer" not in line


def test_pid_of_who_connected(lab, tracer):
    trace, client = tracer("agent", "--closed"), lab.cgroup("client")
    server = lab.own(Wire(lab.cgroup("server"), client))
    process = lab.spawn("/usr/bin/python3", "-c", "import socket; socket.create_connection(('127.0.0.1', %d)).close()" %
                        server.port, cgroup=client)
    assert process.wait() == 0
    server.listener.accept()[0].close()
    assert one(trace, client, "close")["pid"] == process.pid


def test_text_lines_are_aligned(lab, agent):
    process = lab.spawn(BINARY, "trace", "tcp", "--socket=" + agent.socket, "--closed", "--count=2", stdout=subprocess.PIPE)
    wait_until(lambda: "tracing" in process.output(), process.output)
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    wire.play(C("c" * 11), S("s" * 13))
    wire.play(C("c" * 11), S("s" * 13))
    lines = process.popen.stdout.read().decode().splitlines()
    assert lines[0].split() == ["TIME", "CONTAINER", "EVENT", "TYPE", "STATE", "SEGS", "BYTES", "RECV", "RTT", "DURATION",
                                "DROPS", "LOCAL", "PEER", "PEER", "CONTAINER"]
    assert len(lines) == 3
    for line in lines[1:]:
        at = lines[0].index("EVENT")
        assert re.match(r"close  +-  +(fin_wait2|last_ack)  +0 +1[13] +1[13] ", line[at:]), line


# Round-trip times

def ss(sport):
    """(rtt_ns, minrtt_ns) of a connection, as ss has them from the kernel."""
    text = run("ss", "-Htin", "sport = :%d" % sport)
    rtt, = re.findall(r"\brtt:([0-9.]+)/", text)
    least, = re.findall(r"\bminrtt:([0-9.]+)", text)
    return round(float(rtt) * 1e6), round(float(least) * 1e6)


def test_round_trips_are_those_of_the_kernel(lab):
    """An agent that looks only when asked, so that each sample is known."""
    agent = lab.own(Weir(lab, "--signals=tcp", interval="60s"))
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    ends = wire.connect()
    sides = ((wire.client_cgroup, ends[0]), (wire.server_cgroup, ends[1]))
    want = {cgroup.path: 0 for cgroup, _ in sides}
    agent.snapshot()
    counts = {cgroup.path: agent.snapshot().count(RTT, cgroup) for cgroup, _ in sides}
    sums = {cgroup.path: sum(p.sum_ns for p in agent.snapshot().find(RTT, cgroup)) for cgroup, _ in sides}
    for turn in range(1, 6):
        for _ in range(17 * turn):
            wire.exchange("q" * 100, "a" * 5000, ends)
        kernel = {cgroup.path: ss(sock.getsockname()[1]) for cgroup, sock in sides}
        agent.snapshot()
        snap = agent.snapshot()  # nothing has passed since: no second sample
        for cgroup, sock in sides:
            rtt_ns, least_ns = kernel[cgroup.path]
            want[cgroup.path] += rtt_ns
            point, = snap.find(RTT, cgroup)
            assert point.count - counts[cgroup.path] == turn
            assert abs(point.sum_ns - sums[cgroup.path] - want[cgroup.path]) <= turn * 1000  # ss rounds to microseconds
            assert [p.value for p in snap.find("weir.tcp.rtt.min", cgroup)] == [least_ns]
    wire.hang_up(*ends)


def test_histogram_of_round_trips(lab, agent):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    wire.play(C("x" * 100), S("y" * 100))
    count = agent.snapshot().count(RTT, wire.client_cgroup)
    assert count > 0
    done = subprocess.run([BINARY, "hist", RTT, "--by=container", "-o", "json", "--duration=0", "--socket=" + agent.socket],
                          capture_output=True, text=True, check=True)
    groups = {g["container"]["cgroup"]: g for g in map(json.loads, done.stdout.splitlines()) if g.get("container")}
    mine = groups[wire.client_cgroup.path]
    point = agent.snapshot().find(RTT, wire.client_cgroup)
    assert mine["count"] == count == sum(p.count for p in point)
    assert mine["metric"] == RTT
    assert 0 < mine["p50_ns"] <= mine["p99_ns"]


@THROUGH
def test_table_of_containers(lab, agent, through):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    process = lab.spawn(BINARY, "top", "--once", "-o", "json", "--interval=3s", "--signals=tcp",
                        "--socket=" + (agent.socket if through == "agent" else "off"), stdout=subprocess.PIPE)
    wait_until(lambda: "observing by" in process.output(), process.output)
    for _ in range(13):
        wire.play(C("x" * 10), S("y" * 10))
    for _ in range(5):
        wire.play(C("x"), CLIENT_RST)
    open_ends = [wire.connect() for _ in range(7)]
    for ends in open_ends:
        wire.exchange("hello", "world", ends)
    with wire.client_cgroup.inside(), socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for _ in range(3):
            with socket.socket() as sock:
                assert sock.connect_ex(taken.getsockname()) == errno.ECONNREFUSED
    table = json.loads(process.popen.stdout.read())
    assert process.wait() == 0
    seconds = table["interval_ns"] / 1e9
    rows = {row["container"]["cgroup"]: row["tcp"] for row in table["containers"]}
    client, server = rows[wire.client_cgroup.path], rows[wire.server_cgroup.path]
    assert round(client["connections_per_s"] * seconds) == round(server["connections_per_s"] * seconds) == 25
    assert client["connections"] == server["connections"] == 7
    assert round(client["connects_failed_per_s"] * seconds) == 3 and server["connects_failed_per_s"] == 0
    assert round(client["resets_per_s"] * seconds) == round(server["resets_per_s"] * seconds) == 5
    assert client["retransmits_per_s"] == client["listen_drops_per_s"] == 0
    assert 0 < client["rtt_p50_ns"] <= client["rtt_p99_ns"]
