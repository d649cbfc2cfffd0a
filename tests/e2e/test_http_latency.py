"""Latency against clocks that have nothing to do with weir: the client's own, and the kernel's packet time stamps."""

import socket
import time

import pytest

import servers
from weir import SERVER, CLIENT
from wire import Clock, recv_exactly


def median(values):
    return sorted(values)[len(values) // 2]


@pytest.mark.parametrize("name", ["aiohttp", "node", "java"])
@pytest.mark.parametrize("wait_ms,count", [(1, 101), (10, 41), (100, 11)])
def test_latency_of_a_server_that_waits(lab, observer, name, wait_ms, count):
    """p50 within 2 % + 0.2 ms of the client's clock, by the exact values of trace; each single value within 0.2 ms of
    the packets' own time stamps."""
    server = servers.ALL[name][0](lab, lab.cgroup(name))
    client = lab.cgroup("client")
    clock = lab.own(Clock(server.port))
    with client.inside():
        sock = lab.own(socket.create_connection(("127.0.0.1", server.port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(20)
    request = b"GET /wait/%d HTTP/1.1\r\nHost: t\r\n\r\n" % wait_ms
    sock.sendall(request)  # warms the server up; not compared
    first = sock.recv(4096)
    while not first.endswith(b"hello\n"):
        first += sock.recv(4096)
    warm = 1
    for attempt in range(5):
        own = []
        for _ in range(count):
            before_ns = time.monotonic_ns()
            sock.sendall(request)
            recv_exactly(sock, len(first))
            own.append(time.monotonic_ns() - before_ns)
        wire = [end - start for start, _, end in clock.exchanges()][-count:]
        served = observer.records(server.cgroup, "server", warm + count)[warm:]
        asked = observer.records(client, "client", warm + count)[warm:]
        warm += count
        assert len(served) == len(asked) == len(wire) == count
        for records in (served, asked):
            p50 = median([r["duration_ns"] for r in records])
            assert abs(p50 - median(wire)) <= 0.02 * median(wire) + 200_000
            off = sorted(abs(r["duration_ns"] - w) for r, w in zip(records, wire))
            # a stamp is taken a few instructions from the hook; an interrupt between the two may come, rarely
            assert off[count * 9 // 10] < 200_000
        # The client's clock also has the time until the client gets a CPU: on a busy machine not every round is fair.
        if all(abs(median([r["duration_ns"] for r in records]) - median(own)) <= 0.02 * median(own) + 200_000
               for records in (served, asked)):
            break
    else:
        pytest.fail("client's p50 %d ns, weir's %d and %d" % (
            median(own), *(median([r["duration_ns"] for r in records]) for records in (served, asked))))

    snap = observer.agent.snapshot()
    for metric, cgroup, role in ((SERVER, server.cgroup, "server"), (CLIENT, client, "client")):
        point, = snap.find(metric, cgroup)
        records = observer.records(cgroup, role)
        assert point.count == len(records)
        assert sum(r["duration_ns"] for r in records) == pytest.approx(point.sum_ns, rel=0.01, abs=1_000_000)
        assert max(r["duration_ns"] for r in records) == pytest.approx(point.max_ns, rel=0.01, abs=1_000_000)
