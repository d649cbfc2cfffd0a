"""The equipment of the JVM tests: that the log which weir is compared with says what the JVM's own counters say, and that the
containers, roots and libraries are what they are called. For the installed Java, and those of JDKS=NAME,... or all, and whichever
of tests/jdks/list is fetched already."""

import http.client
import os
import subprocess
import time

import pytest
from jvm import FETCH, ContainerJvm, Jvm, jdk_cached, jdk_copy, jdk_root, libjvm, parse
from lab import run

MS = 1_000_000
LISTED = os.path.join(os.path.dirname(FETCH), "list")
with open(LISTED) as rows:
    HAS = {row.split()[0]: row.split()[3] for row in rows if row.strip() and not row.startswith("#")}
NAMES = list(HAS)
ASKED = os.environ.get("JDKS", "")
# None: the installed one.
JDKS = [None] + (NAMES if ASKED == "all" else [name for name in NAMES if name in ASKED.split(",") or jdk_cached(name)])
# What System.gc() is called: of the collector that each has by itself on a machine that is not too small.
COLLECTOR = {8: ("-XX:+UseParallelGC", "ParallelGCSystemGC")}
COLLECTOR_LATER = ("-XX:+UseG1GC", "G1CollectFull")

pytestmark = pytest.mark.no_weir


def counted(safepoints, operation):
    return sum(s.operation == operation for s in safepoints)


def collector(jdk):
    return COLLECTOR.get(int(jdk or 17), COLLECTOR_LATER)


@pytest.fixture(params=JDKS, ids=lambda name: "jdk%s" % (name or "-installed"))
def jdk(request):
    return request.param


def settled(jvm):
    """The log and the counters as they were at one moment: no safepoint came between the readings."""
    while True:
        counters = jvm.counters()
        log = jvm.safepoints(complete=True)
        if len(log) == counters["sun.rt.safepoints"]:
            return log, counters


def differences_ns(log, counters, version):
    """Log less counters: of all the time, of that until the threads stood still."""
    total_ns, sync_ns = counters["sun.rt.safepointTime"], counters["sun.rt.safepointSyncTime"]
    if version > 11:  # the former is what comes after the latter
        total_ns += sync_ns
    return sum(s.total_ns for s in log) - total_ns, sum(s.sync_ns for s in log) - sync_ns


def test_the_log_adds_up_to_the_counters(lab, jdk):
    jvm = Jvm(lab, collector(jdk)[0], jdk=jdk)
    first, counters = settled(jvm)
    log, last, rounds = first, differences_ns(first, counters, jvm.version), []
    for gcs, dumps in ((7, 6), (6, 7), (7, 7)):
        count = len(log)
        jvm.tell("gc %d" % gcs, "dump %d" % dumps)
        log, counters = settled(jvm)
        now = differences_ns(log, counters, jvm.version)
        rounds.append([(after - before) / (len(log) - count) for after, before in zip(now, last)])
        last = now
    assert len(log) - len(first) >= 40
    assert counted(log[len(first):], collector(jdk)[1]) == 20
    assert counted(log[len(first):], "ThreadDump") == 20
    print("%d: %d safepoints, %.3f ms, sync %.3f ms; log less counters of each in ns, by rounds: %s" % (
        jvm.version, len(log), sum(s.total_ns for s in log) / 1e6, sum(s.sync_ns for s in log) / 1e6,
        ", ".join("%+.0f (sync %+.0f)" % tuple(each) for each in rounds)))
    if jvm.version > 11:
        assert last == (0, 0)
    # Up to 11 the clock is read once for each, and a thread may lose its CPU between the readings: not in each round.
    for totals in zip(*rounds):
        assert abs(sorted(totals)[1]) <= 20_000
    beans = jvm.jmx()  # in whole milliseconds
    assert beans["safepoints"] >= len(log) and beans["safepoint_total_ms"] >= counters["sun.rt.safepointTime"] // MS


def test_parts_are_the_whole(lab, jdk):
    jvm = Jvm(lab, jdk=jdk)
    jvm.tell("gc 3", "dump 3", "alloc 200")
    for one in jvm.safepoints(complete=True):
        assert one.sync_ns >= 0 and one.operation_ns > 0 and one.leaving_ns >= 0
        assert abs(one.sync_ns + one.operation_ns + one.leaving_ns - one.total_ns) <= 1, one
        assert one.operation


def test_times_are_the_monotonic_clocks(lab, jdk):
    jvm = Jvm(lab, jdk=jdk)
    slack_ns = 2 * MS if jvm.version == 8 else 0  # which tells whole milliseconds
    for _ in range(7):
        before = len(jvm.safepoints(complete=True))
        begin_ns = time.monotonic_ns()
        jvm.tell("dump 1")
        end_ns = time.monotonic_ns()
        dumps = [s for s in jvm.safepoints(complete=True)[before:] if s.operation == "ThreadDump"]
        assert len(dumps) == 1
        assert begin_ns - slack_ns <= dumps[0].time_ns - dumps[0].total_ns <= dumps[0].time_ns <= end_ns + slack_ns


def test_a_loop_makes_a_safepoint_wait(lab, jdk):
    jvm = Jvm(lab, jdk=jdk)
    jvm.tell("long 1")  # has it compiled
    before = len(jvm.safepoints(complete=True))
    for ms in (100, 200):
        jvm.tell(*["long %d" % ms] * 5)
    waits = [s.sync_ns / MS for s in jvm.safepoints(complete=True)[before:] if s.operation == "FindDeadlocks"]
    print("%d: %r ms, five times 100, then 200" % (jvm.version, waits))
    assert len(waits) == 10
    # Threads lose their CPU on a busy machine; not most of the time.
    assert 0.7 * 100 <= sorted(waits[:5])[2] <= 1.5 * 100
    assert 0.7 * 200 <= sorted(waits[5:])[2] <= 1.5 * 200


def test_collections_are_what_the_beans_say(lab, jdk):
    jvm = Jvm(lab, collector(jdk)[0], jdk=jdk)
    before = sum(c["count"] for c in jvm.jmx()["collectors"] if "Old" in c["name"] or "MarkSweep" in c["name"])
    jvm.tell("gc 13")
    after = jvm.jmx()
    assert sum(c["count"] for c in after["collectors"] if "Old" in c["name"] or "MarkSweep" in c["name"]) == before + 13
    assert after["threads"] >= 3


def test_loading_a_class_undoes_compiled_code(lab, jdk):
    """A safepoint each up to 11; the threads are stopped one by one since."""
    jvm = Jvm(lab, jdk=jdk)
    jvm.tell("deopt 5")
    count = counted(jvm.safepoints(complete=True), "Deoptimize")
    assert count >= 5 if jvm.version <= 11 else count == 0


def test_a_container_with_a_tmp_has_counters(lab, jdk):
    jvm = ContainerJvm(lab, jdk=jdk, uid=1000, scratch=["/tmp"])
    jvm.tell("gc 5", "dump 7")
    log = jvm.safepoints(complete=True)
    assert counted(log, "ThreadDump") == 7
    assert jvm.nspid() == 1 and os.stat("/proc/%d" % jvm.pid).st_uid == 1000
    if jdk:  # whose root has a name for 1000; of this machine nobody knows
        assert jvm.hsperfdata()
    jvm.quit()


def test_somebody_else_has_counters_where_he_has_a_name(lab, jdk):
    jvm = Jvm(lab, jdk=jdk, uid=1000)
    jvm.tell("dump 3")
    assert counted(jvm.safepoints(complete=True), "ThreadDump") == 3
    assert os.stat("/proc/%d" % jvm.pid).st_uid == 1000
    if jdk:
        assert jvm.hsperfdata().endswith("/hsperfdata_java/%d" % jvm.pid)
        assert jvm.counters()["sun.rt.safepoints"] >= 3
    jvm.quit()


def test_a_container_without_a_tmp_has_none(lab, jdk):
    jvm = ContainerJvm(lab, jdk=jdk, uid=1000)
    jvm.tell("gc 5", "dump 7")
    assert counted(jvm.safepoints(complete=True), "ThreadDump") == 7
    assert not jvm.hsperfdata()


def test_two_containers_share_the_library_of_a_layer(lab, jdk):
    layer = None if jdk else os.path.dirname(os.path.dirname(os.path.realpath("/usr/bin/java")))
    both = [ContainerJvm(lab, jdk=jdk, layer=layer) for _ in range(2)]
    for jvm, count in zip(both, (5, 7)):
        jvm.tell("dump %d" % count)
    assert [counted(jvm.safepoints(complete=True), "ThreadDump") for jvm in both] == [5, 7]
    (_, inode, device, _), (_, other_inode, other_device, _) = (jvm.libjvm() for jvm in both)
    assert inode == other_inode and device != other_device


def test_the_library_of_a_running_jvm_can_go(lab):
    java = jdk_copy(lab)
    jvm = Jvm(lab, collector(None)[0], java=java)
    os.unlink(libjvm(java))
    path, _, _, deleted = jvm.libjvm()
    assert path == libjvm(java) and deleted
    jvm.tell("gc 3")
    assert counted(jvm.safepoints(complete=True), collector(None)[1]) == 3


def test_it_serves_quickly_while_it_is_told_things(lab, jdk):
    """And keeps connections. The median: a request that meets a pause waits for its end."""
    jvm = Jvm(lab, collector(jdk)[0], jdk=jdk, main="HttpLoad")
    client = http.client.HTTPConnection("127.0.0.1", jvm.port, timeout=10)
    took_ms, sockets = [], set()
    for number in range(41):
        begin = time.monotonic()
        client.request("GET", "/hello")
        assert client.getresponse().read() == b"hello\n"
        took_ms.append((time.monotonic() - begin) * 1e3)
        sockets.add(client.sock.getsockname())
        if number % 10 == 5:
            jvm.tell("gc 1")
    client.close()
    assert len(sockets) == 1 and sorted(took_ms)[20] < 20, sorted(took_ms)
    assert counted(jvm.safepoints(complete=True), collector(jdk)[1]) == 4


def test_a_container_serves(lab):
    jvm = ContainerJvm(lab, "-Dlisten=0.0.0.0", main="HttpLoad")
    client = http.client.HTTPConnection(jvm.container.host, jvm.port, timeout=10)
    client.request("GET", "/hello")
    assert client.getresponse().read() == b"hello\n"
    client.close()


@pytest.mark.parametrize("text", ["", "\n", "[1ns] Safepoint \"X\", Time since", "[ns] Total time for which", "x" * 1000])
def test_what_is_no_line_is_none(text):
    assert parse([text]) == [] and parse([text + "\n"]) == []


def test_a_line_that_is_being_written_waits():
    line = '[9000ns] Safepoint "Halt", Time since last: 1 ns, Reaching safepoint: 2 ns, At safepoint: 3 ns, Total: 5 ns'
    assert parse([line]) == []
    assert [tuple(s) for s in parse([line + "\n"])] == [(9000, "Halt", 2, 5, 3, 0)]


def test_an_unlisted_name_is_refused():
    done = subprocess.run([FETCH, "7"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stdout == "" and "no Java '7'" in done.stderr


@pytest.mark.parametrize("name", [name for name in JDKS if name])
def test_a_fetched_library_has_what_the_list_says(name):
    root = jdk_root(name)
    with open(root + "/packages") as packages:
        assert any("openjdk-%s-jre-headless" % name in line for line in packages)
    found = [path for path, _, files in os.walk(root + "/usr/lib/jvm") if "libjvm.so" in files]
    assert len(found) == 1
    notes, sections = (run("readelf", "-W", option, found[0] + "/libjvm.so") for option in ("-n", "-S"))
    assert {"usdt": (True, True), "symbols": (False, True), "neither": (False, False)}[HAS[name]] == (
        "hs_private" in notes, ".symtab" in sections)
