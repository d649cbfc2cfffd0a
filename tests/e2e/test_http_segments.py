"""Segments as no test on loopback gets them: twice, in the wrong order, with holes, with options, lost on the way. Traps 4
and 11 of the design, and the end of a connection that nobody answers any more."""

import contextlib
import os
import re
import socket
import time

import pytest

import servers
from lab import DEADLINE_S, run
from observer import Exchange
from tcp_peer import Peer, Tun
from wire import recv_exactly

GET = "GET / HTTP/1.1\r\nHost: t\r\n\r\n"
OK5 = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
get5 = Exchange(got=5)


def b(text):
    return text.encode()


# 4. Retransmitted and reordered segments

@pytest.fixture
def tun(lab):
    space = lab.netns()
    with space.inside():
        device = Tun()
    yield space, lab.own(device)


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def line(request, lab, tun):
    """A peer in user space and the kernel's server socket behind it: (peer, server socket, cgroup of the server)."""
    space, device = tun
    cgroup = lab.cgroup("server")
    six = request.param == socket.AF_INET6
    with space.inside(), cgroup.inside():
        listener = socket.create_server((device.kernel6 if six else device.kernel, 0), family=request.param)
    lab.own(listener)
    listener.settimeout(DEADLINE_S)
    peer = Peer(device, listener.getsockname()[1], request.param)
    peer.listener = listener
    peer.connect()
    server, _ = listener.accept()
    server.settimeout(DEADLINE_S)
    lab.own(server)
    return peer, server, cgroup


def answer(peer, server, request_bytes, response=OK5):
    recv_exactly(server, request_bytes)
    at = peer.in_order()
    server.sendall(b(response))
    peer.read(at + len(response))


def test_trap_04_duplicate_segments(observer, line):
    peer, server, cgroup = line
    for i in range(5):
        at = peer.sent_end
        for _ in range(3):
            peer.segment(at, b(GET))
        answer(peer, server, len(GET))
        peer.segment(at, b(GET))  # and once more when it has been answered
    observer.expect(cgroup, "server", [get5] * 5)


def test_trap_04_duplicate_with_new_data(observer, line):
    """A retransmission that carries the old bytes and new ones behind them."""
    peer, server, cgroup = line
    peer.segment(0, b(GET[:10]))
    peer.segment(4, b(GET[4:]))
    answer(peer, server, len(GET))
    at = peer.sent_end
    peer.segment(at, b(GET))
    peer.segment(at, b(GET + GET))
    answer(peer, server, 2 * len(GET), OK5 * 2)
    observer.expect(cgroup, "server", [get5] * 3)


@pytest.mark.parametrize("order", [[1, 0], [2, 1, 0], [1, 2, 0], [3, 1, 2, 0], [4, 3, 2, 1, 0], [0, 2, 1, 4, 3]],
                         ids=lambda o: "".join(map(str, o)))
def test_trap_04_reordered_segments(observer, line, order):
    peer, server, cgroup = line
    text = "POST /r HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nfour five"
    cut = [len(text) * i // len(order) for i in range(len(order) + 1)]
    for i in order:
        peer.segment(cut[i], b(text[cut[i]:cut[i + 1]]))
    answer(peer, server, len(text))
    base = peer.sent_end
    for i in order:  # whole requests in the wrong order
        peer.segment(base + i * len(GET), b(GET))
    answer(peer, server, len(order) * len(GET), OK5 * len(order))
    observer.expect(cgroup, "server", [Exchange("POST", "/r", sent=9, got=5)] + [get5] * len(order))


def test_trap_04_more_out_of_order_than_is_kept(observer, line):
    """Twelve segments behind a hole are more than are kept: what is lost is counted, and the next message is found."""
    peer, server, cgroup = line
    before = observer.agent.law()
    texts = ["GET /%02d HTTP/1.1\r\n\r\n" % i for i in range(13)]
    size = len(texts[0])
    for i in range(1, 13):
        peer.segment(i * size, b(texts[i]))
    peer.segment(0, b(texts[0]))
    answer(peer, server, 13 * size, OK5 * 13)
    for _ in range(7):
        peer.send(b(GET))
        answer(peer, server, len(GET))
    records = observer.records(cgroup, "server", 7)
    paths = [r["path"] for r in records]
    assert paths[-6:] == ["/"] * 6  # one may be needed to find the place again
    assert len(set(paths) - {"/"}) == len([p for p in paths if p != "/"]), "an exchange twice: %r" % paths
    if len(records) < 20:
        after = observer.agent.law()
        assert after["lost"].get("reorder", 0) + after["lost"].get("unmatched", 0) > \
            before["lost"].get("reorder", 0) + before["lost"].get("unmatched", 0)


def test_trap_04_unacknowledged_response_is_sent_again(observer, line):
    peer, server, cgroup = line
    peer.send(b(GET))
    recv_exactly(server, len(GET))
    sent_ns = time.monotonic_ns()
    server.sendall(b(OK5))
    peer.wait_repeat(0)
    peer.wait_repeat(len(OK5) - 1)
    again_ns = time.monotonic_ns()
    peer.read(len(OK5))
    peer.send(b(GET))
    answer(peer, server, len(GET))
    records = observer.expect(cgroup, "server", [get5] * 2)
    assert records[0]["duration_ns"] < again_ns - sent_ns, "the repetition is not the last byte"


def test_trap_04_hole_in_a_body(observer, line):
    """A large body with each third segment missing at first."""
    peer, server, cgroup = line
    head, body = b("PUT /hole HTTP/1.1\r\nContent-Length: 30000\r\n\r\n"), os.urandom(30000)
    text = head + body
    late = []
    for n, at in enumerate(range(0, len(text), 1000)):
        if n % 3 == 1:
            late.append(at)
            continue
        peer.segment(at, text[at:at + 1000])
        if n % 3 == 2:
            peer.segment(late[-1], text[late[-1]:late[-1] + 1000])
    answer(peer, server, len(text))
    peer.send(b(GET))
    answer(peer, server, len(GET))
    observer.expect(cgroup, "server", [Exchange("PUT", "/hole", sent=30000, got=5), get5])


def passive(lab, tun):
    """The kernel is the client, the peer is the server: (peer, client socket, cgroup of the client)."""
    space, device = tun
    cgroup = lab.cgroup("client")
    with space.inside(), cgroup.inside():
        client = lab.own(socket.socket())
    peer = Peer(device, 0, own_port=8080)
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        client.connect((device.peer, 8080))
    peer.accept()
    client.settimeout(DEADLINE_S)
    return peer, client, cgroup


@pytest.mark.parametrize("orders", [[[0, 1, 2], [2, 1, 0], [1, 1, 0, 2, 0], [2, 0, 1]], [[2, 1, 0]], [[1, 2, 0]], [[1, 0, 2]]],
                         ids=["later", "first_reversed", "first_last", "first_swapped"])
def test_trap_04_reordered_response_to_a_client(lab, observer, tun, orders):
    """The client's role: the response arrives in the wrong order and twice; also the first one of the connection."""
    peer, client, cgroup = passive(lab, tun)
    done = 0
    for order in orders:
        client.sendall(b(GET))
        done += len(GET)
        peer.read(done)
        at = peer.sent_end
        cut = [0, 10, 40, len(OK5)]
        for i in order:
            peer.segment(at + cut[i], b(OK5[cut[i]:cut[i + 1]]))
        assert recv_exactly(client, len(OK5)) == b(OK5)
    observer.expect(cgroup, "client", [get5] * len(orders))


@pytest.mark.parametrize("behind", [1, 3, 4, 5, 20])
def test_trap_04_head_of_a_response_comes_last(lab, observer, tun, behind):
    """The first segment of a large response is lost and comes again behind the rest of it. Four segments are kept; of
    more, inside a body of known length, their number of bytes is enough."""
    peer, client, cgroup = passive(lab, tun)
    response = b("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1000 * behind)) + b"x" * 1000 * behind
    head = len(response) - 1000 * behind
    done = 0
    for i in range(3):
        client.sendall(b(GET))
        done += len(GET)
        peer.read(done)
        at = peer.sent_end
        for start in range(head, len(response), 1000):
            peer.segment(at + start, response[start:start + 1000])
        peer.segment(at, response[:head])
        assert recv_exactly(client, len(response)) == response
    observer.expect(cgroup, "client", [Exchange(got=1000 * behind)] * 3)


def test_trap_04_backlog(lab, observer):
    """A reader that owns the socket while segments come in: they wait in the backlog, whose order is not rcv_nxt's."""
    server = servers.sendfile(lab, lab.cgroup("big"), big=True)
    client = lab.cgroup("curl")
    config = lab.write("urls", "".join('url = "%s"\noutput = /dev/null\n' % server.url("/big") for _ in range(20)))
    process = lab.spawn("/usr/bin/curl", "-sS", "-K", config, cgroup=client)
    assert process.wait(60) == 0, process.output()
    want = [Exchange(path="/big", got=servers.BIG_BYTES)] * 20
    observer.expect(client, "client", want)
    observer.expect(server.cgroup, "server", want)


# 11. Sequences against a real socket

def test_trap_11_split_at_every_byte_over_the_wire(observer, line):
    peer, server, cgroup = line
    for byte in GET:
        peer.send(b(byte))
    answer(peer, server, len(GET))
    observer.expect(cgroup, "server", [get5])


def test_trap_11_options_in_each_segment(observer, line):
    """TCP options move the payload."""
    peer, server, cgroup = line
    for size in (4, 8, 20, 40):
        peer.segment(peer.sent_end, b(GET), options=b"\x01" * size)
        answer(peer, server, len(GET))
    observer.expect(cgroup, "server", [get5] * 4)


def test_trap_11_reset_by_the_peer(observer, line):
    peer, server, cgroup = line
    peer.send(b(GET))
    recv_exactly(server, len(GET))
    peer.send_rst()
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    observer.expect(cgroup, "server", [Exchange(status=None, error="connection_reset")])


def test_trap_11_reset_outside_the_window_is_not_believed(observer, line):
    """A RST that the kernel drops must not end the exchange."""
    peer, server, cgroup = line
    peer.send(b(GET))
    recv_exactly(server, len(GET))
    peer.send_rst(offset=1 << 24)
    server.sendall(b(OK5))
    peer.read(len(OK5))
    observer.expect(cgroup, "server", [get5])


def test_trap_11_data_with_the_fin(observer, line):
    peer, server, cgroup = line
    peer.segment(0, b(GET), flags=0x10 | 0x08 | 0x01)
    recv_exactly(server, len(GET))
    assert server.recv(1) == b""
    server.sendall(b(OK5))
    peer.read(len(OK5))
    server.close()
    observer.expect(cgroup, "server", [get5])


def test_trap_11_first_request_on_the_handshake(lab, observer, line):
    peer, _, cgroup = line
    deferred_peer = Peer(peer.tun, peer.kernel_port, peer.family)
    deferred_peer.connect(b(GET))
    server, _ = peer.listener.accept()
    lab.own(server)
    answer(deferred_peer, server, len(GET))
    observer.expect(cgroup, "server", [get5])


def test_trap_06_silent_time_out(lab, observer, tun):
    """The peer never answers again and the kernel gives up: no packet ends this connection."""
    peer, client, cgroup = passive(lab, tun)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
    client.sendall(b(GET))
    with pytest.raises(OSError):
        client.recv(1)
    client.close()
    assert not peer.reset
    observer.expect(cgroup, "client", [Exchange(status=None, error="connection_timeout")])


# Loss on the way, between kernels' own TCP: holes of any length

def drop_one_in(space, count):
    """Each @count-th packet that arrives in the namespace is dropped, before any socket sees it; segments are small, so
    that hundreds can be behind a hole."""
    run("ip", "-n", space.name, "link", "set", "eth0", "gso_max_segs", "1")
    run("ip", "link", "set", space.host_if, "gso_max_segs", "1")
    run("nsenter", "--net=" + space.path, "nft", "add table inet loss; "
        "add chain inet loss in { type filter hook prerouting priority 0; }; "
        "add rule inet loss in tcp flags & syn == 0 numgen random mod %d == 0 counter drop" % count)


def dropped(space):
    return int(re.search(r"packets (\d+)", run("nsenter", "--net=" + space.path, "nft", "list", "chain", "inet", "loss", "in"))[1])


@pytest.mark.parametrize("one_in", [200, 20])
def test_loss_of_uploads(lab, observer, one_in):
    """The server's side of bulk transfers with holes: bodies of known length, each exchange exact."""
    space, client = lab.netns(), lab.cgroup("curl")
    server = servers.aiohttp(lab, lab.cgroup("web"), space)
    drop_one_in(space, one_in)
    size, count = 3_000_000 if one_in > 100 else 300_000, 7
    body = lab.write("body", b"x" * size)
    argv = []
    for _ in range(count):
        argv += (["--next"] if argv else []) + ["-sS", "-o", "/dev/null", "-T", body, server.url("/up")]
    process = lab.spawn("/usr/bin/curl", *argv, cgroup=client)
    assert process.wait(60) == 0, process.output()
    assert dropped(space) > 10
    want = [Exchange("PUT", "/up", sent=size, got=6)] * count
    observer.expect(client, "client", want)
    observer.expect(server.cgroup, "server", want)


@pytest.mark.parametrize("one_in", [200, 20])
def test_loss_of_downloads(lab, observer, one_in):
    """The client's side: the client lives in the namespace that loses packets."""
    space, client = lab.netns(), lab.cgroup("curl")
    size, count = 3_000_000 if one_in > 100 else 300_000, 7
    wire_path = "/www-%d" % size
    server = servers.nginx(lab, lab.cgroup("web"))
    with open(os.path.join(lab.path("www"), wire_path[1:]), "wb") as out:
        out.write(os.urandom(size))
    drop_one_in(space, one_in)
    url = "http://%s:%d%s" % (space.host, server.port, wire_path)
    argv = []
    for _ in range(count):
        argv += (["--next"] if argv else []) + ["-sS", "-o", "/dev/null", url]
    process = lab.spawn("/usr/bin/curl", *argv, cgroup=client, netns=space)
    assert process.wait(60) == 0, process.output()
    assert dropped(space) > 10
    want = [Exchange(path=wire_path, got=size)] * count
    observer.expect(client, "client", want)
    observer.expect(server.cgroup, "server", want)


def test_loss_of_small_requests(lab, observer):
    space, client = lab.netns(), lab.cgroup("ab")
    server = servers.nginx(lab, lab.cgroup("web"), space)
    drop_one_in(space, 100)
    process = lab.spawn("/usr/bin/ab", "-q", "-k", "-n", 2003, "-c", 16, server.url(), cgroup=client)
    assert process.wait(60) == 0
    assert dropped(space) > 3
    observer.expect_counts(client, "client", {(200, None): 2003})
    observer.expect_counts(server.cgroup, "server", {(200, None): 2003})


def test_loss_inside_chunks(lab, observer):
    """Chunk sizes stand inside the bytes behind the holes, and the kernel shows those to a socket's programs only once,
    early: what cannot be followed is counted under a reason, and nothing is invented."""
    space, client = lab.netns(), lab.cgroup("curl")
    server = servers.node(lab, lab.cgroup("web"), space)
    drop_one_in(space, 20)
    body = lab.write("body", b"x" * 500_000)
    before = observer.agent.law()["lost"]
    argv, count = [], 11
    for _ in range(count):
        argv += (["--next"] if argv else []) + ["-sS", "-o", "/dev/null", "-T", body, "-H", "Transfer-Encoding: chunked",
                                                server.url("/up")]
    process = lab.spawn("/usr/bin/curl", *argv, cgroup=client)
    assert process.wait(60) == 0, process.output()
    assert dropped(space) > 10
    observer.expect(client, "client", [Exchange("PUT", "/up", sent=500_000, got=6)] * count)
    records = observer.records(server.cgroup, "server")
    assert len(records) <= count
    for record in records:
        assert (record["method"], record["path"]) == ("PUT", "/up")
        assert record.get("error") or record["status"] == 200
        assert record["request_bytes"] <= 500_000
    after = observer.agent.law()["lost"]
    assert sum(after.values()) - sum(before.values()) >= count - len(records)
