"""How much of a request the JVM behind it stood still. The test writes the clocks of "JVMs" itself, so that it knows each
pause to the nanosecond; the JVM is the test's own process, which plays both ends, or one that sends for it."""

import os
import re
import socket
import subprocess
import time

import pytest

import servers
from clocks import PAUSES, Clocks, Jvm, Sender
from lab import wait_until
from weir import BINARY, Weir
from wire import Wire, no_linger, recv_exactly, wait_end

SERVER_STOPPED = "weir.http.server.stopped.duration"
CLIENT_STOPPED = "weir.http.client.stopped.duration"
GET = b"GET /x HTTP/1.1\r\nHost: t\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
MANY = 23  # more than a clock keeps


class Stage:
    def __init__(self, lab, lacks=""):
        self.lab = lab
        self.agent = Weir(lab, "--signals=http", env={"WEIR_LACKS": lacks})
        self.trace = self.agent.trace()
        self.trace.fence()
        self.clocks = Clocks(self.agent)
        self.jvms = []

    def wire(self):
        return self.lab.own(Wire(self.lab.cgroup("server"), self.lab.cgroup("client")))

    def jvm(self, pid, write=True, **kwargs):
        made = Jvm(self.clocks, pid, **kwargs)
        self.jvms.append(made)
        if write:
            made.write()
        return made

    def forget(self):
        while self.jvms:
            self.jvms.pop().close()

    def stopped(self, cgroup, role, count):
        """stopped_ns of the records of @cgroup, in the order in which they ended."""
        return [record["stopped_ns"] for record in self.records(cgroup, role, count)]

    def records(self, cgroup, role, count):
        self.trace.wait(lambda t: len(t.of(cgroup, role)) >= count,
                        lambda: "%d records of %s" % (count, cgroup.path))
        self.trace.fence()
        records = self.trace.of(cgroup, role)
        assert len(records) == count
        for record in records:
            assert record["stopped_ns"] <= record["duration_ns"]
        return records

    def expect_histogram(self, metric, cgroup, lengths):
        lengths = [length for length in lengths if length]
        snap = self.agent.snapshot()
        points = snap.find(metric, cgroup)
        assert sum(p.count for p in points) == len(lengths)
        assert sum(p.sum_ns for p in points) == sum(lengths)
        if lengths:
            assert len(points) == 1 and not points[0].attributes
            assert points[0].max_ns in (0, max(lengths)) or points[0].max_ns == pytest.approx(max(lengths), rel=0.1)


@pytest.fixture(scope="module", params=["", "socket storage in tracepoints"], ids=["all", "cookie"])
def shared_stage(module_lab, request):
    """Also as on 5.10, where the end of a connection without a packet comes from a copy of its oldest exchange."""
    made = Stage(module_lab, request.param)
    yield made
    made.trace.close()
    made.clocks.close()
    made.agent.close()


@pytest.fixture
def stage(shared_stage):
    """No JVM is left over from the test before."""
    shared_stage.clocks.look(1)
    yield shared_stage
    shared_stage.forget()
    shared_stage.agent.law()


def ask(ends):
    client, server = ends
    client.sendall(GET)
    recv_exactly(server, len(GET))


def answer(ends, sender=None):
    client, server = ends
    if sender:
        sender.send(server, OK)
    else:
        server.sendall(OK)
    recv_exactly(client, len(OK))


def test_each_request_has_the_pauses_that_fell_into_it(stage):
    """Kept alive: 0, 1, 2, ... pauses in each request, pauses between requests in none. From the second request on the
    process is known at the start, so that more pauses than a clock keeps are all counted."""
    wire = stage.wire()
    jvm = stage.jvm(os.getpid(), stopped_ns=7000000000, count=1000)
    ends = wire.connect()
    want = []
    for count in (0, 1, 2, PAUSES, MANY, 0, 3, MANY):
        ask(ends)
        want.append(sum(jvm.pauses(count)))
        answer(ends)
        jvm.pauses(5)
    assert stage.stopped(wire.server_cgroup, "server", 8) == want
    assert stage.stopped(wire.client_cgroup, "client", 8) == want
    stage.expect_histogram(SERVER_STOPPED, wire.server_cgroup, want)
    stage.expect_histogram(CLIENT_STOPPED, wire.client_cgroup, want)


@pytest.mark.parametrize("known", [True, False], ids=["one_jvm_in_the_cgroup", "not_said"])
def test_first_request_of_a_connection(stage, known):
    """The server's process shows only when it answers. Until then the one JVM of its cgroup is a guess that proves right;
    without it, the pauses that the clock keeps are what is known. The client has sent the request itself."""
    wire = stage.wire()
    jvm = stage.jvm(os.getpid(), count=5)
    if known:
        stage.clocks.cgroup(wire.server_cgroup, 1, os.getpid())
    served, made = [], []
    for count in (3, MANY):
        ends = wire.connect()
        ask(ends)
        lengths = jvm.pauses(count)
        answer(ends)
        served.append(sum(lengths if known else lengths[-PAUSES:]))
        made.append(sum(lengths))
    assert stage.stopped(wire.server_cgroup, "server", 2) == served
    assert stage.stopped(wire.client_cgroup, "client", 2) == made


def test_other_process_of_the_same_cgroup(stage, lab):
    """Two processes serve in one cgroup, one of them is a JVM: its requests have its pauses, the other's none, also those
    for which the JVM of the cgroup was guessed at the start."""
    wire = stage.wire()
    one, other = lab.own(Sender(lab)), lab.own(Sender(lab))
    jvm = stage.jvm(one.pid)
    stage.clocks.cgroup(wire.server_cgroup, 1, one.pid)
    ends = {one: wire.connect(), other: wire.connect()}
    want = []
    for sender in (one, other, other, one, other, one):
        ask(ends[sender])
        lengths = jvm.pauses(MANY)
        answer(ends[sender], sender)
        want.append(sum(lengths) if sender is one else 0)
    assert stage.stopped(wire.server_cgroup, "server", 6) == want
    assert stage.stopped(wire.client_cgroup, "client", 6) == [0] * 6  # the test itself: no JVM
    stage.expect_histogram(SERVER_STOPPED, wire.server_cgroup, want)
    stage.expect_histogram(CLIENT_STOPPED, wire.client_cgroup, [])


def test_two_jvms_in_a_cgroup_are_not_guessed(stage, lab):
    wire = stage.wire()
    one, other = lab.own(Sender(lab)), lab.own(Sender(lab))
    first, second = stage.jvm(one.pid), stage.jvm(other.pid)
    stage.clocks.cgroup(wire.server_cgroup, 2, other.pid)
    want = []
    for sender, jvm in ((one, first), (other, second)):
        ends = wire.connect()
        ask(ends)
        lengths = jvm.pauses(3)
        first.pauses(2) if jvm is second else second.pauses(2)
        answer(ends, sender)
        want.append(sum(lengths))
    assert stage.stopped(wire.server_cgroup, "server", 2) == want


def test_pause_that_goes_on(stage):
    """Begun before the request and not over: all of it. Begun in the request: from then on. Begun before and ended in
    it: until then."""
    wire = stage.wire()
    jvm = stage.jvm(os.getpid())
    ends = wire.connect()
    ask(ends)
    answer(ends)
    jvm.begin()
    ask(ends)
    answer(ends)
    jvm.end()
    ask(ends)
    jvm.begin()
    begun = jvm.open_ns
    before_end = time.monotonic_ns()
    answer(ends)
    after_end = time.monotonic_ns()
    jvm.end()
    jvm.begin()
    before_start = time.monotonic_ns()
    ask(ends)
    after_start = time.monotonic_ns()
    jvm.end()
    over = jvm.last[(jvm.count - 1) % PAUSES][1]
    answer(ends)
    for cgroup, role in ((wire.server_cgroup, "server"), (wire.client_cgroup, "client")):
        none, whole, tail, head = stage.records(cgroup, role, 4)
        assert none["stopped_ns"] == 0
        assert whole["stopped_ns"] == whole["duration_ns"] > 0
        assert before_end - begun <= tail["stopped_ns"] <= after_end - begun
        assert over - after_start <= head["stopped_ns"] <= over - before_start


def test_process_that_becomes_a_jvm_in_a_request(stage):
    """No clock at the start of the request, then all pauses of its life fall into it."""
    wire = stage.wire()
    ends = wire.connect()
    ask(ends)
    answer(ends)
    ask(ends)
    jvm = stage.jvm(os.getpid(), write=False)
    want = sum(jvm.pauses(MANY))
    answer(ends)
    assert stage.stopped(wire.server_cgroup, "server", 2) == [0, want]
    assert stage.stopped(wire.client_cgroup, "client", 2) == [0, want]


def test_jvms_that_are_known_only_at_the_end(stage):
    """Nothing was looked at when the request began: what the clock keeps."""
    wire = stage.wire()
    stage.clocks.look(0)
    jvm = stage.jvm(os.getpid())
    ends = wire.connect()
    ask(ends)
    jvm.pauses(2)
    answer(ends)
    ask(ends)
    lengths = jvm.pauses(MANY)
    stage.clocks.look(1)
    answer(ends)
    assert stage.stopped(wire.server_cgroup, "server", 2) == [0, sum(lengths[-PAUSES:])]
    # The client's end has sent nothing since anybody looks.
    assert stage.stopped(wire.client_cgroup, "client", 2) == [0, 0]


def test_clock_that_is_being_written(stage):
    wire = stage.wire()
    jvm = stage.jvm(os.getpid())
    ends = wire.connect()
    ask(ends)
    answer(ends)
    ask(ends)
    want = sum(jvm.pauses(2))
    jvm.seq = 1
    jvm.write()
    answer(ends)
    ask(ends)  # and when it was so at the start
    jvm.seq = 2
    want = sum(jvm.pauses(3))
    answer(ends)
    assert stage.stopped(wire.server_cgroup, "server", 3) == [0, 0, want]


def test_requests_that_are_aborted(lab):
    """The server resets an answered connection, and one on which it has never sent, so that nobody knows whose it is."""
    stage = Stage(lab)
    wire = stage.wire()
    jvm = stage.jvm(os.getpid())
    ends = wire.connect()
    ask(ends)
    answer(ends)
    ask(ends)
    want = sum(jvm.pauses(MANY))
    no_linger(ends[1])
    ends[1].close()
    wait_end(ends[0])
    records = stage.records(wire.server_cgroup, "server", 2)
    assert records[1]["error"] == "connection_reset"
    assert [r["stopped_ns"] for r in records] == [0, want]
    silent = wire.connect()
    ask(silent)
    jvm.pauses(3)
    no_linger(silent[1])
    silent[1].close()
    wait_end(silent[0])
    assert stage.stopped(wire.server_cgroup, "server", 3)[2] == 0


def test_pipelined_requests(stage):
    """Each has the pauses from its own beginning on."""
    wire = stage.wire()
    jvm = stage.jvm(os.getpid())
    ends = wire.connect()
    ask(ends)
    answer(ends)
    between = []
    for count in (1, 2, 3):
        ask(ends)
        between.append(sum(jvm.pauses(count)))
    for _ in range(3):
        answer(ends)
    want = [0, sum(between), sum(between[1:]), between[2]]
    assert stage.stopped(wire.server_cgroup, "server", 4) == want


def test_nobody_looks_where_there_is_no_jvm(stage):
    wire = stage.wire()
    stage.clocks.look(0)
    jvm = stage.jvm(os.getpid())
    ends = wire.connect()
    for _ in range(3):
        ask(ends)
        jvm.pauses(3)
        answer(ends)
    assert stage.stopped(wire.server_cgroup, "server", 3) == [0] * 3
    stage.expect_histogram(SERVER_STOPPED, wire.server_cgroup, [])


def test_kernel_that_does_not_tell_who_sends(lab):
    """Then nobody has stood still, rather than the wrong one."""
    stage = Stage(lab, "sender of a packet")
    wire = stage.wire()
    jvm = stage.jvm(os.getpid())
    stage.clocks.cgroup(wire.server_cgroup, 1, os.getpid())
    ends = wire.connect()
    for _ in range(2):
        ask(ends)
        jvm.pauses(3)
        answer(ends)
    assert stage.stopped(wire.server_cgroup, "server", 2) == stage.stopped(wire.client_cgroup, "client", 2) == [0, 0]


@pytest.mark.parametrize("name", ["nginx", "java", "io_uring", "splice", "sendfile"])
def test_process_of_a_server_is_always_known(stage, lab, name):
    """However it sends. Its clock has stood still since long ago: each request of it has stood still all the time."""
    server = servers.ALL[name][0](lab, lab.cgroup(name))
    for pid in server.cgroup.pids():
        jvm = stage.jvm(pid, write=False)
        jvm.open_ns = 1
        jvm.write()
    client = lab.cgroup("client")
    request = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"
    for _ in range(23):
        with client.inside():
            sock = socket.create_connection(("127.0.0.1", server.port), 20)
        with sock:
            for _ in range(2):
                sock.sendall(request)
                answer = b""
                while not answer.endswith(b"hello\n"):
                    answer += sock.recv(4096)
    records = stage.records(server.cgroup, "server", 46)
    assert [r["stopped_ns"] for r in records] == [r["duration_ns"] for r in records]


def test_counted_without_a_tracer(lab):
    """The kernel counts known paths by itself, without a record each; these have their pauses too."""
    agent = lab.own(Weir(lab, "--signals=http"))
    clocks = lab.own(Clocks(agent))
    jvm = lab.own(Jvm(clocks, os.getpid()))
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    ends = wire.connect()
    want = []
    for number in range(101):
        ask(ends)
        want.append(sum(jvm.pauses(1 + number % 3)))
        answer(ends)

    def counted():
        snap = agent.snapshot()
        return [[(p.count, p.sum_ns) for p in snap.find(metric, cgroup)]
                for metric, cgroup in ((SERVER_STOPPED, wire.server_cgroup), (CLIENT_STOPPED, wire.client_cgroup))]
    wait_until(lambda: counted() == [[(101, sum(want))]] * 2, lambda: "%r, have %r" % (sum(want), counted()))
    clocks.look(0)
    agent.law()


def test_line_of_text(stage, lab):
    """stopped=... at the end of a line, where it is not zero."""
    wire = stage.wire()
    jvm = stage.jvm(os.getpid())
    lines = lab.spawn(BINARY, "trace", "http", "--socket=" + stage.agent.socket, "--role=server", "--count=2",
                      "--container=" + wire.server_cgroup.name, stdout=subprocess.PIPE)
    wait_until(lambda: "tracing http" in lines.output(), lines.output)
    ends = wire.connect()
    ask(ends)
    answer(ends)
    ask(ends)
    stopped_ns, = jvm.pauses(1, each_ns=3000000)
    answer(ends)
    head, without, with_it = lines.popen.stdout.read().decode().splitlines()
    assert head.split()[-1] == "ERROR"
    assert without.endswith(" /x")
    text, unit = re.fullmatch(r"stopped=([0-9.]+)(ms|s)", with_it.split()[-1]).groups()
    assert float(text) * {"ms": 1e6, "s": 1e9}[unit] == pytest.approx(stopped_ns, rel=0.01)
    assert lines.wait() == 0
