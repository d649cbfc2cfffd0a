"""Segments sent again: what the signal tcp says of a container equals what the kernel counted in a network namespace that
nobody else uses (/proc/net/snmp and netstat), for each way to lose something."""

import os
import socket
import time

import pytest
from lab import run, wait_until
from lossy import Bulk, Counters, Lossy
from weir import Trace, Weir

SIZES = {0: 1048573, 1: 4194301, 10: 1048573}  # bytes for each percentage of loss; primes
FIRST = "numgen inc mod 1000000 < 1"  # of what matches, the first packet
FIRST_SYN = "tcp flags & (syn | ack) == syn " + FIRST
FIRST_SYN_ACK = "tcp flags & (syn | ack) == (syn | ack) " + FIRST
FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])


@pytest.fixture(scope="module")
def agent(module_lab):
    made = module_lab.own(Weir(module_lab, "--signals=tcp"))
    yield made
    made.law()


@pytest.fixture
def link(lab):
    return lab.own(Lossy(lab.netns()))


def total(snap, metric, cgroup, **attributes):
    return sum(p.value for p in snap.find("weir.tcp." + metric, cgroup, **attributes))


def types(snap, cgroup):
    out = {}
    for p in snap.find("weir.tcp.retransmits", cgroup):
        out[p.attributes["type"]] = out.get(p.attributes["type"], 0) + p.value
    return out


def matches_kernel(snap, cgroup, kernel):
    """All that the namespace sent again is the cgroup's, and of the same kinds."""
    by_type, seen = types(snap, cgroup), kernel.read()
    assert sum(by_type.values()) == kernel["RetransSegs"], (by_type, seen)
    assert by_type.get("fast", 0) == kernel["TCPFastRetrans"], (by_type, seen)
    assert by_type.get("timeout", 0) >= kernel["TCPSlowStartRetrans"], (by_type, seen)
    assert by_type.get("tail_loss_probe", 0) <= kernel["TCPLossProbes"], (by_type, seen)
    assert total(snap, "peer.retransmits", cgroup) == kernel["RetransSegs"]
    assert total(snap, "spurious_retransmits", cgroup) == kernel["TCPDSACKRecvSegs"]
    return by_type


@FAMILIES
@pytest.mark.parametrize("percent", SIZES)
def test_bulk_through_loss_equals_the_kernel(lab, link, agent, family, percent):
    sender, receiver = lab.cgroup("sender"), lab.cgroup("receiver")
    link.lose(percent)
    kernel, size, start = Counters(link.space), SIZES[percent], time.monotonic()
    lab.own(Bulk(link, sender, receiver, family)).connect().send(size).finish()
    run_s = time.monotonic() - start

    # The last ACK may be lost: then the receiver's end, which no process has any more, waits for another one.
    wait_until(lambda: total(agent.snapshot(), "active_connections", receiver) == 0 and
               total(agent.snapshot(), "io", receiver, network_io_direction="receive") >= size, "the receiver's end has ended")
    snap = agent.snapshot()
    by_type = matches_kernel(snap, sender, kernel)
    assert bool(by_type) >= (link.dropped() > 10)  # an acknowledgement that is lost need not be sent again
    data = {kind: n for kind, n in by_type.items() if kind not in ("syn", "syn_ack")}
    again = total(snap, "retransmit.io", sender)
    assert 0 < again <= sum(data.values()) * 1448 if data else again == 0
    assert total(snap, "io", sender, network_io_direction="transmit") == size
    assert total(snap, "io", receiver, network_io_direction="receive") == size
    recoveries = snap.find("weir.tcp.recovery.duration", sender)
    assert snap.count("weir.tcp.recovery.duration", sender) <= sum(by_type.values())
    assert bool(recoveries) >= (by_type.get("fast", 0) > 0)
    assert sum(p.sum_ns for p in recoveries) <= run_s * 1e9
    if not percent:
        assert by_type.get("timeout", 0) == 0


def test_who_sends_again_is_named_with_the_other_end(lab, link, agent):
    """Whatever the loss does to the handshake: the bytes belong to the pair."""
    sender, receiver = lab.cgroup("sender"), lab.cgroup("receiver")
    # The ACK of the handshake is lost: the receiver's end comes to be with the first data.
    link.drop("tcp flags & (syn | ack | psh | fin | rst) == ack " + FIRST)
    kernel = Counters(link.space)
    bulk = lab.own(Bulk(link, sender, receiver))
    bulk.sock.connect(bulk.address)
    bulk.sock.sendall(b"first")
    bulk.peer, _ = bulk.listener.accept()
    assert bulk.peer.recv(100) == b"first"
    snap = agent.snapshot()
    assert link.dropped() == 1
    peers = {p.attributes.get("weir.peer.name") for p in snap.find("weir.tcp.io", sender)}
    assert peers == {receiver.name}
    matches_kernel(snap, sender, kernel)


def test_black_hole_costs_time_outs_and_ends(lab, link, agent):
    sender, receiver = lab.cgroup("sender"), lab.cgroup("receiver")
    trace = lab.own(Trace(lab, "--socket=" + agent.socket, "--closed", signal="tcp"))
    wait_until(lambda: "tracing" in trace.process.output() or trace.ended, "the tracer says that it traces")
    bulk = lab.own(Bulk(link, sender, receiver)).connect().send(100003)
    kernel, before = Counters(link.space), types(agent.snapshot(), sender)
    recoveries = agent.snapshot().count("weir.tcp.recovery.duration", sender)
    link.drop("")
    hole = time.monotonic_ns()
    bulk.sock.sendall(b"h" * 997)
    wait_until(lambda: kernel["TCPTimeouts"] >= 3, "three time-outs")
    link.clear()
    wait_until(lambda: bulk.received == 100003 + 997, "the rest arrived", 30)
    hole_ns = time.monotonic_ns() - hole
    snap = agent.snapshot()
    after = types(snap, sender)
    new = {kind: after[kind] - before.get(kind, 0) for kind in after if after[kind] != before.get(kind, 0)}
    assert new["timeout"] == kernel["TCPTimeouts"] and set(new) <= {"timeout", "tail_loss_probe"}
    assert sum(new.values()) == kernel["RetransSegs"]
    assert new.get("tail_loss_probe", 0) <= kernel["TCPLossProbes"]
    assert total(snap, "retransmit.io", sender) >= 997 * sum(new.values())

    bulk.finish()
    closed = trace.wait(lambda t: [r for r in t.of(sender) if r["event"] == "close"])[0]
    assert closed["segments"] == sum(after.values())
    assert closed["bytes"] == 100003 + 997
    assert 0.9e9 <= closed["lost_ns"] <= hole_ns + 0.1e9  # 200 + 400 + 800 ms at least, less what the timers round
    assert agent.snapshot().count("weir.tcp.recovery.duration", sender) == recoveries + 1
    lines = [r for r in trace.of(sender) if r["event"] == "retransmit"]
    assert sum(r["segments"] for r in lines) == sum(after.values())
    assert {r["type"] for r in lines} == set(after)


def test_connection_killed_in_a_black_hole(lab, link, agent):
    """Nobody acknowledges, and the application gives up: what was sent again stays counted, the time is told."""
    sender, receiver = lab.cgroup("sender"), lab.cgroup("receiver")
    bulk = lab.own(Bulk(link, sender, receiver)).connect().send(10007)
    kernel, before = Counters(link.space), sum(types(agent.snapshot(), sender).values())
    bulk.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1200)
    link.drop("")
    bulk.sock.sendall(b"x" * 5003)
    bulk.sock.settimeout(30)
    with pytest.raises(TimeoutError) as error:
        bulk.sock.recv(1)
    assert error.value.errno == 110  # the kernel's ETIMEDOUT and not Python's
    snap = agent.snapshot()
    assert sum(types(snap, sender).values()) - before == kernel["RetransSegs"] > 0
    assert snap.count("weir.tcp.connection.duration", sender) == 1
    recovery, = snap.find("weir.tcp.recovery.duration", sender)
    assert 0.5e9 < recovery.sum_ns < 10e9
    # The receiver's end is still there, and knows nothing.
    live = snap.find("weir.tcp.active_connections", receiver, role="server")
    assert [p.value for p in live] == [1]


@FAMILIES
def test_lost_syn_costs_a_second(lab, link, agent, family):
    sender, receiver = lab.cgroup("sender"), lab.cgroup("receiver")
    kernel = Counters(link.space)
    link.drop(FIRST_SYN)
    start_ns = time.monotonic_ns()
    bulk = lab.own(Bulk(link, sender, receiver, family)).connect()
    run_ns = time.monotonic_ns() - start_ns
    bulk.finish()
    snap = agent.snapshot()
    assert types(snap, sender) == {"syn": 1}
    assert kernel["TCPSynRetrans"] == 1 == kernel["RetransSegs"]
    assert total(snap, "retransmit.io", sender) == 0
    recovery, = snap.find("weir.tcp.recovery.duration", sender, role="client")
    assert recovery.count == 1 and 0.98e9 <= recovery.sum_ns <= run_ns
    handshake, = snap.find("weir.tcp.handshake.duration", sender, role="client")
    assert handshake.count == 1 and recovery.sum_ns <= handshake.sum_ns <= run_ns
    # The peer is somewhere on the address's network until it answers.
    assert [p.attributes["weir.peer.class"] for p in snap.find("weir.tcp.retransmits", sender)] == ["private"]


@FAMILIES
def test_lost_syn_ack_is_the_listeners(lab, link, agent, family):
    """The listener is in the namespace, so that what it sends is lost."""
    server, client, space = lab.cgroup("server"), lab.cgroup("client"), link.space
    kernel = Counters(space)
    address = space.address6 if family == socket.AF_INET6 else space.address
    with server.inside(), space.inside():
        listener = lab.own(socket.create_server((address, 0), family=family))
    with client.inside():
        sock = lab.own(socket.socket(family, socket.SOCK_STREAM))
    sock.settimeout(30)
    link.drop(FIRST_SYN_ACK)
    sock.connect(listener.getsockname()[:2])
    peer = lab.own(listener.accept()[0])
    wait_until(lambda: kernel["TCPSynRetrans"] >= 1, "SYN-ACK sent again")
    snap = agent.snapshot()
    by_type = types(snap, server)
    # The SYN sent again by the client is answered as well, by the kernel's rules of the day counted or not.
    assert set(by_type) == {"syn_ack"}
    assert by_type["syn_ack"] == kernel["RetransSegs"] == kernel["TCPSynRetrans"]
    assert types(snap, client).get("syn", 0) <= 1
    assert total(snap, "peer.retransmits", server) == by_type["syn_ack"]
    sock.close()
    peer.close()
    snap = agent.snapshot()
    assert types(snap, server) == by_type, "the child that inherits the count does not tell it again"


def test_fin_sent_again(lab, link, agent):
    sender, receiver = lab.cgroup("sender"), lab.cgroup("receiver")
    bulk = lab.own(Bulk(link, sender, receiver)).connect().send(1009)
    before, kernel = types(agent.snapshot(), sender), Counters(link.space)
    link.drop("tcp flags & fin == fin " + FIRST)
    bulk.finish()
    snap = agent.snapshot()
    after = types(snap, sender)
    assert sum(after.values()) - sum(before.values()) == kernel["RetransSegs"] >= 1
    assert total(snap, "io", sender, network_io_direction="transmit") == 1009


def test_duplicated_acknowledgements_are_spurious(lab, link, agent):
    """Acknowledgements are lost for a while: the data was there all the time, and the receiver says so (DSACK)."""
    sender, receiver = lab.cgroup("sender"), lab.cgroup("receiver")
    bulk = lab.own(Bulk(link, sender, receiver)).connect().send(10007)
    kernel = Counters(link.space)
    before = total(agent.snapshot(), "spurious_retransmits", sender)
    link.drop("", to=True)
    bulk.send(997)
    wait_until(lambda: kernel["TCPTimeouts"] >= 2, "two time-outs")
    link.clear()
    wait_until(lambda: kernel["TCPDSACKRecvSegs"] >= 1, "a DSACK")
    bulk.finish()
    snap = agent.snapshot()
    assert total(snap, "spurious_retransmits", sender) - before == kernel["TCPDSACKRecvSegs"] >= 1
    assert sum(types(snap, sender).values()) >= 2
    assert total(snap, "io", receiver, network_io_direction="receive") == 10007 + 997


def test_probe_that_found_nothing_lost_is_no_recovery(lab, link, agent):
    """A tail loss probe is answered by a DSACK: nothing was lost. Much later a time-out is measured from its own segment,
    not from that probe."""
    sender, receiver = lab.cgroup("sender"), lab.cgroup("receiver")
    bulk = lab.own(Bulk(link, sender, receiver)).connect().send(100003)
    kernel = Counters(link.space)
    before = agent.snapshot().count("weir.tcp.recovery.duration", sender)
    spent = sum(p.sum_ns for p in agent.snapshot().find("weir.tcp.recovery.duration", sender))

    def probed():
        """An acknowledgement is lost and the probe, sent before the time-out, is answered."""
        probes, timeouts = kernel["TCPLossProbes"], kernel["TCPTimeouts"]
        link.drop("tcp flags & (ack | psh | fin | syn | rst) == ack " + FIRST, to=True)
        bulk.send(503)
        wait_until(lambda: kernel["TCPLossProbes"] > probes or kernel["TCPTimeouts"] > timeouts, "a probe")
        wait_until(lambda: not unacked(bulk.sock), "acknowledged")
        link.clear()
        return kernel["TCPTimeouts"] == timeouts
    wait_until(probed, "a probe without a time-out")
    quiet = time.monotonic_ns()
    wait_until(lambda: time.monotonic_ns() - quiet > 2e9, "two seconds without traffic")
    timeouts = kernel["TCPTimeouts"]
    link.drop("")
    bulk.sock.sendall(b"z" * 499)
    wait_until(lambda: kernel["TCPTimeouts"] > timeouts, "a time-out")
    hole_ns = time.monotonic_ns()
    link.clear()
    wait_until(lambda: not unacked(bulk.sock), "acknowledged")
    took_ns = time.monotonic_ns() - hole_ns
    snap = agent.snapshot()
    assert snap.count("weir.tcp.recovery.duration", sender) >= before + 1
    assert sum(p.sum_ns for p in snap.find("weir.tcp.recovery.duration", sender)) - spent < took_ns + 1.5e9


def unacked(sock):
    return int.from_bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)[24:28], "little")


def test_heavy_peers_are_named_and_all_add_up(lab, link, agent):
    """60 addresses; those that need little come first."""
    sender, receiver, space = lab.cgroup("sender"), lab.cgroup("receiver"), link.space
    net = "198.%d.%d." % (18 + (os.getpid() >> 8 & 1), os.getpid() & 255)
    addresses = [net + str(i) for i in range(1, 61)]
    for address in addresses:
        run("ip", "addr", "add", address + "/32", "dev", space.host_if)
    run("ip", "-n", space.name, "route", "add", net + "0/24", "via", space.host)
    heavy, kernel = addresses[-5:], Counters(space)
    link.drop("tcp flags & syn != syn tcp dport != 0 meta length > 500 numgen random mod 100 < 12")
    for address in addresses:
        bulk = lab.own(Bulk(link, sender, receiver, address=address)).connect()
        bulk.send(600011 if address in heavy else 15013)
        if address in heavy:
            agent.snapshot()
        bulk.finish()
    snap = agent.snapshot()
    named = {p.attributes["network.peer.address"]: p.value for p in snap.find("weir.tcp.peer.retransmits", sender)}
    assert sum(named.values()) == kernel["RetransSegs"] == sum(types(snap, sender).values())
    assert len(named) <= 51
    assert set(heavy) <= set(named)
    assert min(named[a] for a in heavy) > 20


@FAMILIES
def test_sender_that_drops_its_own_packets(lab, link, agent, family):
    """A packet filter on the way out tells the sender that it could not send (EPERM): it tries the same bytes again, as a
    first transmission or as a second. Each byte counts once."""
    sender, receiver, space = lab.cgroup("sender"), lab.cgroup("receiver"), link.space
    run("ip", "netns", "exec", space.name, "nft", "-f", "-", input="""
table inet own {
  chain out {
    type filter hook output priority 0;
    meta l4proto tcp meta length > 500 numgen random mod 100 < 5 drop;
  }
}""")
    kernel = Counters(space)
    lab.own(Bulk(link, sender, receiver, family)).connect().send(1048573).finish()
    snap = agent.snapshot()
    # One that could not be sent counts in RetransSegs, and in none of the kernel's counters of a kind.
    assert sum(types(snap, sender).values()) == kernel["RetransSegs"]
    assert total(snap, "io", receiver, network_io_direction="receive") == 1048573
    assert total(snap, "io", sender, network_io_direction="transmit") == 1048573
