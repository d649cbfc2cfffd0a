"""Connections: how many were made, failed, were reset, how long they lasted and what they carried, against what the test
itself did."""

import contextlib
import ctypes
import errno
import os
import socket
import struct
import time

import pytest
from lab import DEADLINE_S, run, wait_until
from lossy import Counters, Lossy, Rejecting
from weir import Weir
from wire import C, CLIENT_FIN, CLIENT_RST, S, SERVER_FIN, SERVER_RST, Wire, recv_exactly

ADDRESSES = pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"], ids=["ipv4", "ipv6", "mapped"])
FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])


@pytest.fixture(scope="module")
def agent(module_lab):
    made = module_lab.own(Weir(module_lab, "--signals=tcp"))
    yield made
    made.law()


def total(snap, metric, cgroup, **attributes):
    return sum(p.value for p in snap.find("weir.tcp." + metric, cgroup, **attributes))


def connections(snap, cgroup):
    """{(role, error.type): count}"""
    out = {}
    for p in snap.find("weir.tcp.connections", cgroup):
        key = p.attributes["role"], p.attributes.get("error.type")
        out[key] = out.get(key, 0) + p.value
    return out


def now_open(snap, cgroup, role):
    return total(snap, "active_connections", cgroup, role=role)


def io(snap, cgroup):
    """(sent, received)"""
    return tuple(total(snap, "io", cgroup, network_io_direction=d) for d in ("transmit", "receive"))


def resets(snap, cgroup):
    """(sent, received)"""
    return tuple(total(snap, "resets", cgroup, network_io_direction=d) for d in ("transmit", "receive"))


# Made, held, ended

@ADDRESSES
def test_each_connection_is_counted_once_on_both_sides(lab, agent, address):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client"), address))
    count = 37
    opened_ns = time.monotonic_ns()
    ends = [wire.connect() for _ in range(count)]
    all_open_ns = time.monotonic_ns()
    for client, server in ends:
        client.sendall(b"x")
        assert recv_exactly(server, 1) == b"x"

    wait_until(lambda: now_open(agent.snapshot(), wire.client_cgroup, "client") == count, "all are open")
    for _ in range(3):
        snap = agent.snapshot()
        assert now_open(snap, wire.client_cgroup, "client") == now_open(snap, wire.server_cgroup, "server") == count
        assert connections(snap, wire.client_cgroup) == {("client", None): count}
        assert connections(snap, wire.server_cgroup) == {("server", None): count}
        assert io(snap, wire.client_cgroup) == (count, 0) and io(snap, wire.server_cgroup) == (0, count)
    held_until_ns = all_open_ns + 500_000_000
    wait_until(lambda: time.monotonic_ns() >= held_until_ns, "half a second")
    for pair in ends:
        wire.hang_up(*pair)
    closed_ns = time.monotonic_ns()

    snap = agent.snapshot()
    for cgroup, role in ((wire.client_cgroup, "client"), (wire.server_cgroup, "server")):
        assert now_open(snap, cgroup, role) == 0
        assert connections(snap, cgroup) == {(role, None): count}
        handshake, = snap.find("weir.tcp.handshake.duration", cgroup)
        assert (handshake.count, handshake.attributes["role"]) == (count, role)
        assert 0 < handshake.sum_ns < count * (all_open_ns - opened_ns)
        duration, = snap.find("weir.tcp.connection.duration", cgroup)
        assert (duration.count, duration.attributes["role"]) == (count, role)
        assert count * 0.5e9 <= duration.sum_ns <= count * (closed_ns - opened_ns)
    assert resets(snap, wire.client_cgroup) == resets(snap, wire.server_cgroup) == (0, 0)


def test_idle_connection_is_open_all_the_same(lab, agent):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    ends = wire.connect()
    for cgroup, role in ((wire.client_cgroup, "client"), (wire.server_cgroup, "server")):
        wait_until(lambda: now_open(agent.snapshot(), cgroup, role) == 1, "open")
    wire.hang_up(*ends)
    snap = agent.snapshot()
    assert connections(snap, wire.client_cgroup) == {("client", None): 1}
    assert now_open(snap, wire.client_cgroup, "client") == 0


@pytest.mark.parametrize("steps, sent, received", [
    ([], 0, 0),
    ([C("a")], 1, 0),
    ([S("b" * 3)], 0, 3),
    ([C("c" * 10007), S("d" * 20011)], 10007, 20011),
    ([C("e" * 101), CLIENT_FIN, S("f" * 70001)], 101, 70001),  # half-closed, and answered after the FIN
    ([S("g" * 103), SERVER_FIN, C("h" * 70003)], 70003, 103),
    ([C("i" * 20000003), S("j" * 10000019)], 20000003, 10000019),
    ([C("k" * 499, every=1), S("l" * 499, every=3)], 499, 499),
    ([C("m" * 997), S("n" * 991), CLIENT_RST], 997, 991),
    ([C("o" * 97), SERVER_RST], 97, 0),
], ids=["none", "one", "back", "both", "half", "half_back", "big", "pieces", "client_rst", "server_rst"])
@pytest.mark.parametrize("looks", [False, True], ids=["at_the_end", "while_open"])
def test_bytes_both_ways_are_exact(lab, agent, steps, sent, received, looks):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    if looks:
        ends = wire.connect()
        for step in steps:
            wire.play(step, ends=ends, close=False)
            agent.snapshot()
        wire.hang_up(*ends)
    else:
        wire.play(*steps)
    for _ in range(2):
        snap = agent.snapshot()
        assert io(snap, wire.client_cgroup) == (sent, received)
        assert io(snap, wire.server_cgroup) == (received, sent)


def limited_ns(sock):
    """For how long the receiver's window kept it from sending, as the kernel says: tcpi_rwnd_limited, microseconds."""
    return struct.unpack_from("Q", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 184), 176)[0] * 1000


def test_time_of_a_full_window(lab, agent):
    """It counts while it goes on, and stays counted when the connection is reset without ever sending again."""
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    client, server = wire.connect()
    client.setblocking(False)

    def stuck():
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(bytes(65536))
        return limited_ns(client) >= 300_000_000
    wait_until(stuck, "the window is full")
    before = limited_ns(client)
    now = total(agent.snapshot(), "receive_window_limited.time", wire.client_cgroup)
    after = limited_ns(client)
    assert before <= now <= after
    server.close()  # with unread data: a reset
    wait_until(lambda: now_open(agent.snapshot(), wire.client_cgroup, "client") == 0, "reset")
    assert after <= total(agent.snapshot(), "receive_window_limited.time", wire.client_cgroup) < 10 * after


def test_data_with_the_handshake_is_counted(lab, agent):
    """Fast open: data in the SYN, and an answer before the handshake is over."""
    space = lab.netns()
    with space.inside():
        with open("/proc/sys/net/ipv4/tcp_fastopen", "w") as knob:
            knob.write("1543")  # client, server, data in SYN without a cookie, both sides
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client"), "127.0.0.1", netns=space))
    wire.listener.setsockopt(socket.IPPROTO_TCP, 23, 16)  # TCP_FASTOPEN
    wire.listener.settimeout(DEADLINE_S)
    for _ in range(5):
        client = wire.client_socket()
        assert client.sendto(b"q" * 211, socket.MSG_FASTOPEN, ("127.0.0.1", wire.port)) == 211
        server, _ = wire.listener.accept()
        server.sendall(recv_exactly(server, 211) + b"a" * 10)
        recv_exactly(client, 221)
        wire.hang_up(client, server)
    snap = agent.snapshot()
    assert connections(snap, wire.client_cgroup) == {("client", None): 5}
    assert connections(snap, wire.server_cgroup) == {("server", None): 5}
    assert io(snap, wire.client_cgroup) == (5 * 211, 5 * 221)
    assert io(snap, wire.server_cgroup) == (5 * 221, 5 * 211)


def test_deferred_listener(lab, agent):
    """The server's end comes to be with the first data: the client's waits to say who that is."""
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client"), defer=True))
    client = wire.client_socket()
    client.connect((wire.client_address, wire.port))
    agent.snapshot()
    client.sendall(b"hello")
    server, _ = wire.listener.accept()
    recv_exactly(server, 5)
    for _ in range(2):
        snap = agent.snapshot()
        assert {p.attributes.get("weir.peer.name") for p in snap.find("weir.tcp.io", wire.client_cgroup)} == {
            wire.server_cgroup.name}
    wire.hang_up(client, server)
    assert connections(agent.snapshot(), wire.client_cgroup) == {("client", None): 1}


# Who is at the other end

@pytest.mark.parametrize("where", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "veth4", "veth6"])
def test_containers_name_each_other(lab, agent, where):
    server, client = lab.cgroup("server"), lab.cgroup("client")
    if where.startswith("veth"):
        space = lab.netns()
        address = space.address if where == "veth4" else space.address6
        with server.inside(), space.inside():
            listener = lab.own(socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET))
        with client.inside():
            one = lab.own(socket.create_connection(listener.getsockname()[:2]))
        other = lab.own(listener.accept()[0])
    else:
        wire = lab.own(Wire(server, client, where))
        one, other = wire.connect()
    one.sendall(b"to")
    recv_exactly(other, 2)
    other.sendall(b"fro")
    recv_exactly(one, 3)
    for _ in range(2):
        snap = agent.snapshot()
        for metric in ("weir.tcp.connections", "weir.tcp.io", "weir.tcp.rtt.duration", "weir.tcp.rtt.min"):
            for cgroup, peer in ((client, server), (server, client)):
                points = snap.find(metric, cgroup)
                assert points, (metric, cgroup.path)
                assert {p.attributes["weir.peer.class"] for p in points} == {"container"}
                assert {p.attributes["weir.peer.name"] for p in points} == {peer.name}
    one.close()
    other.close()


def test_an_outside_address_has_a_class(lab, agent):
    """Nobody answers there, and the application gives up: the address is all that is known of the other end."""
    space, client = lab.netns(), lab.cgroup("client")
    for address, want in (("10.255.255.7", "private"), ("100.64.0.9", "private"), ("192.0.2.77", "public"),
                          ("169.254.7.7", "link_local"), ("fd00::7", "private"), ("2001:db8::7", "public")):
        run("ip", "-n", space.name, *(["-6"] if ":" in address else []), "route", "replace", address, "via",
            space.host6 if ":" in address else space.host)
        with client.inside(), space.inside():
            sock = lab.own(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET))
        sock.setblocking(False)
        assert sock.connect_ex((address, 81)) == errno.EINPROGRESS
        sock.close()
        classes = {p.attributes["weir.peer.class"]: p.value for p in agent.snapshot().find("weir.tcp.connections", client)}
        assert classes.pop(want) >= 1, (address, classes)


# Failures

def only_failure(agent, cgroup, name, count):
    snap = agent.snapshot()
    assert connections(snap, cgroup) == {("client", name): count}
    assert now_open(snap, cgroup, "client") == 0
    assert snap.find("weir.tcp.handshake.duration", cgroup) == []
    assert snap.find("weir.tcp.connection.duration", cgroup) == []
    assert resets(snap, cgroup) == (0, 0)


@ADDRESSES
def test_closed_port_refuses(lab, agent, address):
    client = lab.cgroup("client")
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as taken:
        taken.bind((address, 0))  # bound and not listening: closed for sure
        for _ in range(7):
            with client.inside():
                sock = socket.socket(taken.family)
            assert sock.connect_ex(taken.getsockname()[:2]) == errno.ECONNREFUSED
            sock.close()
    only_failure(agent, client, "refused", 7)


@FAMILIES
@pytest.mark.parametrize("how", ["user_timeout", "syn_retries"])
def test_filtered_port_times_out(lab, agent, family, how):
    space, client = lab.netns(), lab.cgroup("client")
    lab.own(Lossy(space)).drop("tcp dport 81")
    kernel = Counters(space)
    with client.inside(), space.inside():
        if how == "syn_retries":
            with open("/proc/sys/net/ipv4/tcp_syn_retries", "w") as knob:
                knob.write("1")
            with open("/proc/sys/net/ipv4/tcp_syn_linear_timeouts", "w") as knob:
                knob.write("0")
        sock = lab.own(socket.socket(family))
    if how == "user_timeout":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
    assert sock.connect_ex((space.host if family == socket.AF_INET else space.host6, 81)) == errno.ETIMEDOUT
    only_failure(agent, client, "timed_out", 1)
    snap = agent.snapshot()
    assert total(snap, "retransmits", client, type="syn") == kernel["TCPSynRetrans"] == kernel["RetransSegs"]


@FAMILIES
@pytest.mark.parametrize("code, want", [("host-unreachable", "host_unreachable"), ("admin-prohibited", "host_unreachable"),
                                        ("port-unreachable", "refused")])
def test_icmp_says_why(lab, agent, family, code, want):
    space, client = lab.netns(), lab.cgroup("client")
    lab.own(Rejecting(space, "reject with icmpx type " + code))
    with client.inside(), space.inside():
        with open("/proc/sys/net/ipv4/tcp_syn_retries", "w") as knob:
            knob.write("1")
        sock = lab.own(socket.socket(family))
    error = sock.connect_ex((space.host if family == socket.AF_INET else space.host6, 81))
    names = {errno.EHOSTUNREACH: "host_unreachable", errno.ECONNREFUSED: "refused", errno.EACCES: "_OTHER"}
    assert error in names, os.strerror(error)
    if family == socket.AF_INET or code != "admin-prohibited":
        assert names[error] == want
    only_failure(agent, client, names[error], 1)


def disconnect(sock):
    """connect(2) to no address: what has begun is given up."""
    assert ctypes.CDLL(None).connect(sock.fileno(), bytes(16), 16) == 0


@FAMILIES
@pytest.mark.parametrize("give_up", [socket.socket.close, lambda sock: sock.shutdown(socket.SHUT_RDWR), disconnect],
                         ids=["close", "shutdown", "disconnect"])
def test_application_gives_up(lab, agent, give_up, family):
    space, client = lab.netns(), lab.cgroup("client")
    lab.own(Lossy(space)).drop("tcp dport 81")
    for _ in range(5):
        with client.inside(), space.inside():
            sock = lab.own(socket.socket(family))
        sock.setblocking(False)
        assert sock.connect_ex((space.host if family == socket.AF_INET else space.host6, 81)) == errno.EINPROGRESS
        with contextlib.suppress(OSError):  # shutdown() says that it is not connected, and has given it up
            give_up(sock)
    only_failure(agent, client, "aborted", 5)


def test_no_free_local_port(lab, agent):
    space, client = lab.netns(), lab.cgroup("client")
    with space.inside():
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as knob:
            knob.write("40000 40001")
    wire = lab.own(Wire(lab.cgroup("server"), client, netns=space))
    made, failed = 0, 0
    for _ in range(9):
        sock = lab.own(wire.client_socket())
        error = sock.connect_ex((wire.address, wire.port))
        assert error in (0, errno.EADDRNOTAVAIL)
        made, failed = made + (not error), failed + bool(error)
    assert made and failed
    snap = agent.snapshot()
    assert connections(snap, client) == {("client", None): made, ("client", "address_not_available"): failed}


# Resets

@ADDRESSES
@pytest.mark.parametrize("step, client_side", [(CLIENT_RST, (7, 0)), (SERVER_RST, (0, 7))], ids=["client", "server"])
def test_resets_are_exact(lab, agent, address, step, client_side):
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client"), address))
    for _ in range(7):
        wire.play(C("x"), step)
    snap = agent.snapshot()
    assert resets(snap, wire.client_cgroup) == client_side
    assert resets(snap, wire.server_cgroup) == client_side[::-1]
    assert connections(snap, wire.client_cgroup) == {("client", None): 7}


def test_killed_with_unread_data_resets(lab, agent):
    server, client, space = lab.cgroup("server"), lab.cgroup("client"), lab.netns()
    process = lab.spawn("/usr/bin/python3", "-c", """
import socket, time
s = socket.create_server(("%s", 7000))
kept = [s.accept() for _ in range(5)]
time.sleep(1000)
""" % space.address, cgroup=server, netns=space)
    kernel = Counters(space)

    def connect():
        with client.inside():
            try:
                return lab.own(socket.create_connection((space.address, 7000)))
            except ConnectionRefusedError:
                return None
    first = wait_until(connect, "listens")
    socks = [first] + [connect() for _ in range(4)]
    for sock in socks:
        sock.sendall(b"unread")
    process.signal(9)
    process.wait()
    for sock in socks:
        sock.settimeout(DEADLINE_S)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    snap = agent.snapshot()
    assert resets(snap, server) == (5, 0) and kernel["OutRsts"] >= 5
    assert resets(snap, client) == (0, 5)
    assert connections(snap, server) == {("server", None): 5}
    assert io(snap, server) == (0, 30) and io(snap, client) == (30, 0)
