"""What is read of a JVM without asking it, against what JMX says in that JVM at the same time: each reading of ours is between
two of the beans', which agree with each other.

The reader is a small program (tests/lib/perfdata_dump.c) on the library that weir is made of. Of each JDK that is installed
the newest of its number is used; 17 has to be there.
"""

import glob
import json
import os
import re
import signal
import struct
import subprocess
import threading

import pytest

from lab import run, wait_until

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(os.path.dirname(HERE), os.environ.get("BUILD", "build"))
MB = 1 << 20
HEAP_MB = 256
GCS = {"G1": (8, 99), "Parallel": (8, 99), "Serial": (8, 99), "ConcMarkSweep": (8, 13), "Z": (11, 99),
       "Shenandoah": (17, 99)}
# What JMX calls a collection there is a cycle, and the counters know of pauses only.
CYCLES = {"ZGC", "ZGC Cycles", "ZGC Minor Cycles", "ZGC Major Cycles", "Shenandoah Cycles", "Shenandoah Pauses"}
# How far "used" may be from the beans' when nothing but the beans' own reading goes on: G1 counts by region, ZGC by pages
# that are freed some time after its collection.
USED_ERROR = {"G1": MB, "Z": 16 * MB, "Shenandoah": 4 * MB, "Parallel": MB, "Serial": MB,
              "ConcMarkSweep": MB}
METASPACE_ERROR = 256 << 10
TICK_NS = 10 ** 9 // os.sysconf("SC_CLK_TCK")

pytestmark = pytest.mark.no_weir


def jdks():
    """{number: its home}"""
    found = {}
    for release in sorted(glob.glob("/usr/lib/jvm/*/release")):
        with open(release) as text:
            version = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text.read())
        home = os.path.realpath(os.path.dirname(release))
        if version and int(version[1]) >= 8 and os.access(home + "/bin/java", os.X_OK):
            found[int(version[1])] = home
    return found or {17: "/usr/lib/jvm/java-17-openjdk-amd64"}


JDKS = jdks()
LOGS = [jdk for jdk in sorted(JDKS) if jdk >= 9]  # have -Xlog


@pytest.fixture(scope="module")
def dump(module_lab):
    path = module_lab.path("perfdata_dump")
    run("cc", "-std=gnu11", "-O2", "-D_GNU_SOURCE", "-I", os.path.join(os.path.dirname(HERE), "user"), "-o", path,
        HERE + "/lib/perfdata_dump.c", BUILD + "/obj/libweir.a")
    return path


@pytest.fixture(scope="module")
def classes(module_lab):
    path = module_lab.path("classes")
    run(JDKS[17] + "/bin/javac", "--release", "8", "-Xlint:-options", "-d", path, HERE + "/lib/java/JmxReader.java")
    return path


class Talk:
    """A program that answers a line with a line of JSON."""

    def __init__(self, argv, **kwargs):
        self.popen = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      **kwargs)
        self.first = self.read()

    def read(self):
        guard = threading.Timer(60, self.popen.kill)
        guard.start()
        try:
            while True:
                line = self.popen.stdout.readline()
                if not line or line.startswith("{"):
                    return json.loads(line) if line else None
        finally:
            guard.cancel()

    def ask(self, line=""):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        return self.read()

    def close(self):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()


class Jvm(Talk):
    def __init__(self, classes, *options, jdk=17, prefix=(), **kwargs):
        argv = [*prefix, JDKS[jdk] + "/bin/java", "-Xmx%dm" % HEAP_MB, *options, "-cp", classes, "JmxReader"]
        super().__init__(argv, **kwargs)
        assert self.first == {"ready": True}

    @property
    def pid(self):
        """Of the JVM: the last one of those that start each other."""
        pid = self.popen.pid
        while True:
            with open("/proc/%d/task/%d/children" % (pid, pid)) as children:
                below = children.read().split()
            if not below:
                return pid
            pid = int(below[0])


def value(collector, key):
    return {c["name"]: c[key] for c in collector}


def still(jmx):
    """What does not change by reading the beans."""
    return (value(jmx["collectors"], "count"), jmx["threads"], jmx["daemons"], jmx["loaded"], jmx["unloaded"],
            [(p["name"], p["committed"], p["max"], "Eden" in p["name"] or p["used"]) for p in jmx["pools"] if p["heap"]])


def compare(jvm, reader, good):
    """(JMX, ours, JMX): of a moment at which nothing went on, and ours are @good(jmx, ours). After a collection each time,
    because some counters are written then only. Those that the JVM writes a moment after the beans have them, get it."""
    last = []

    def agreed():
        before, ours, after = jvm.ask("gc"), reader.ask(), jvm.ask("read")
        last[:] = [before, ours, after]
        return tuple(last) if still(before) == still(after) and good(after, ours) else None

    return wait_until(agreed, lambda: "the same in JMX and in the counters: %s" % json.dumps(last, indent=1))


def pools_agree(jmx, ours, gc):
    beans = {p["name"]: p for p in jmx["pools"]}
    for pool in ours["pools"]:
        bean = beans[pool["name"]]
        if pool["heap"] != bean["heap"] or (pool["limit"] if pool["limit"] is not None else -1) != bean["max"]:
            return False
        error = USED_ERROR[gc] if pool["heap"] else METASPACE_ERROR
        if pool["used"] is not None and abs(pool["used"] - bean["used"]) > error:
            return False
        error = 0 if pool["heap"] and gc != "Z" else error
        if pool["committed"] is not None and abs(pool["committed"] - bean["committed"]) > error:
            return False
    return True


def counts_agree(jmx, ours):
    beans = value(jmx["collectors"], "count")
    return (ours["threads_live"], ours["threads_daemon"], ours["classes_loaded"], ours["classes_unloaded"]) == (
        jmx["threads"], jmx["daemons"], jmx["loaded"], jmx["unloaded"]) and all(
        c["count"] == beans[c["name"]] for c in ours["collectors"] if c["name"] in beans)


def memory_at(pid, address):
    with open("/proc/%d/mem" % pid, "rb") as memory:
        memory.seek(address)
        return struct.unpack("<q", memory.read(8))[0]


@pytest.fixture
def jvm_of(lab, classes):
    return lambda *options, **kwargs: lab.own(Jvm(classes, *options, **kwargs))


@pytest.fixture
def reader_of(lab, dump):
    return lambda pid, *more: lab.own(Talk([dump, pid, *more]))


# --- against JMX --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["file", "memory"])
@pytest.mark.parametrize("jdk,gc", [(jdk, gc) for jdk in sorted(JDKS) for gc, (first, last) in GCS.items()
                                    if first <= jdk <= last])
def test_figures_are_those_of_jmx(jvm_of, reader_of, jdk, gc, shared):
    options = ["-XX:+UnlockExperimentalVMOptions", "-XX:+Use%sGC" % gc] + (["-XX:+PerfDisableSharedMem"] if shared == "memory" else [])
    jvm = jvm_of(*options, jdk=jdk)
    reader = reader_of(jvm.pid)
    assert reader.first["way"] == {"file": "hsperfdata file", "memory": "memory"}[shared]
    jvm.ask("threads 7")
    jvm.ask("keep 13")
    jmx = jvm.ask("allocate 300")
    before, ours, after = compare(jvm, reader, lambda jmx, ours: pools_agree(jmx, ours, gc) and counts_agree(jmx, ours))

    # Pools: all of the heap, of the rest the two that there are counters of.
    names = [p["name"] for p in ours["pools"]]
    assert sorted(p["name"] for p in ours["pools"] if p["heap"]) == sorted(p["name"] for p in jmx["pools"] if p["heap"])
    others = {"Metaspace", "Compressed Class Space"} & {p["name"] for p in jmx["pools"]}
    assert {p["name"] for p in ours["pools"] if not p["heap"]} == others >= {"Metaspace"}
    assert all(p["used"] is not None for p in ours["pools"] if not p["heap"])
    unknown = [p["name"] for p in ours["pools"] if p["used"] is None]
    sampled = jdk < 25 or gc not in ("Serial", "Parallel")
    assert unknown == ([] if sampled else [n for n in names if "Eden" in n])
    assert ours["heap_limit"] == HEAP_MB * MB

    # Collectors: names and actions as the beans notify of them.
    collectors, beans = {c["name"]: c for c in ours["collectors"]}, value(after["collectors"], "ms")
    assert set(beans) - set(collectors) <= CYCLES
    assert set(collectors) - set(beans) <= ({"G1 Concurrent GC"} if jdk < 20 else set())
    expected = {(c["name"], c["action"]) for c in collectors.values() if c["count"]}
    wait_until(lambda: {tuple(pair) for pair in jvm.ask("read")["notifications"]} >= expected,
               "notifications like %s" % expected)
    for name, collector in collectors.items():
        if name in beans:  # of which each collection is cut to whole ms
            assert beans[name] - 1 <= collector["stopped_ns"] / 1e6
        assert (collector["stopped_ns"] > 0) == (collector["count"] > 0)
    assert ours["cause"] == "System.gc()" or gc in ("Z", "Shenandoah")

    # The process and the JVM.
    assert before["cpu_ns"] - 2 * TICK_NS <= ours["cpu_ns"] <= after["cpu_ns"] + 2 * TICK_NS
    assert ours["major"] == jdk
    assert ours["command"] == "JmxReader"
    for name in ("version", "vm_name", "vm_vendor", "vm_version"):
        assert ours[name] == jmx[name]
    assert (ours["gc_cpu_ns"] is not None) == (jdk >= 25)
    # The place of a counter, which is what a watchpoint takes.
    place = ours["addresses"]["sun.rt.safepoints"]
    wait_until(lambda: memory_at(jvm.pid, place) == reader.ask()["safepoints"], "the same at the place of the counter")
    assert ours["safepoints"] > 0


@pytest.mark.parametrize("jdk", LOGS)
def test_stopped_time_is_that_of_the_log(lab, jvm_of, reader_of, jdk):
    """The JVM's own log of each safepoint, in ns."""
    log = lab.path("safepoints")
    jvm = jvm_of("-XX:+UseSerialGC", "-Xlog:safepoint:file=%s" % log, jdk=jdk)
    reader = reader_of(jvm.pid)
    for command in ("keep 30", "allocate 300", "gc", "gc"):
        jvm.ask(command)

    def equal():
        ours = reader.ask()
        with open(log) as lines:
            text = lines.read()
        times = [(int(found[1]), int(found[2])) for found in re.finditer(
            r"Reaching safepoint:\s*(\d+) ns.*Total:\s*(\d+) ns", text)]
        times += [(float(found[2]) * 1e9, float(found[1]) * 1e9) for found in re.finditer(  # up to JDK 12
            r"were stopped: ([\d.]+) seconds, Stopping threads took: ([\d.]+) seconds", text)]
        return (ours, times) if len(times) == ours["safepoints"] else None

    ours, times = wait_until(equal, "as many safepoints in the log as counted")
    assert len(times) >= 3
    total, sync = sum(t for _, t in times), sum(s for s, _ in times)
    # The counters are read from the clock a moment before or after the log's figures are.
    assert abs(ours["safepoint_stopped_ns"] - total) <= 0.02 * total + 100000 * len(times)
    assert abs(ours["safepoint_sync_ns"] - sync) <= 0.02 * sync + 100000 * len(times)
    assert total > 2 * sync  # so that leaving it out, or adding it twice, would be seen


def test_flags_are_seen(jvm_of, reader_of):
    jvm = jvm_of("-Xrs", "-XX:MaxMetaspaceSize=64m", "-XX:+DisableAttachMechanism")
    ours, jmx = reader_of(jvm.pid).first, jvm.ask("read")
    assert not ours["attach_allowed"] and ours["signals_reduced"]
    limit = {p["name"]: p["limit"] for p in ours["pools"]}["Metaspace"]
    assert limit == 64 * MB == {p["name"]: p["max"] for p in jmx["pools"]}["Metaspace"]
    ours = reader_of(jvm_of().pid).first
    assert ours["attach_allowed"] and not ours["signals_reduced"]


# --- where there is no file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("jdk", sorted(JDKS))
def test_user_without_a_name(jvm_of, reader_of, jdk):
    jvm = jvm_of(jdk=jdk, prefix=["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups"])
    reader = reader_of(jvm.pid)
    assert reader.first["way"] == "memory"
    compare(jvm, reader, counts_agree)


def test_read_only_tmp(lab, dump, classes):
    script = "mount --bind %s /mnt && mount -t tmpfs -o ro none /tmp && exec \"$@\"" % classes
    jvm = lab.own(Jvm("/mnt", prefix=["unshare", "-m", "sh", "-c", script, "sh"]))
    reader = lab.own(Talk([dump, jvm.pid]))
    assert reader.first["way"] == "memory"
    compare(jvm, reader, counts_agree)


def test_no_counters_is_a_reason(jvm_of, reader_of):
    said = reader_of(jvm_of("-XX:-UsePerfData").pid).first
    assert os.strerror(said["error"]) == "No data available" and "-XX:-UsePerfData" in said["reason"]


def test_file_of_another_root_and_namespace(lab, dump, classes):
    script = "mount --bind %s /mnt && mount -t tmpfs none /tmp && exec \"$@\"" % classes
    jvm = lab.own(Jvm("/mnt", prefix=["unshare", "-m", "-p", "-f", "--kill-child", "sh", "-c", script, "sh"]))
    assert jvm.pid != jvm.popen.pid
    reader = lab.own(Talk([dump, jvm.pid]))
    assert reader.first["way"] == "hsperfdata file"
    compare(jvm, reader, counts_agree)


def test_file_that_was_removed(jvm_of, reader_of):
    jvm = jvm_of()
    os.unlink("/tmp/hsperfdata_root/%d" % jvm.pid)
    reader = reader_of(jvm.pid)
    assert reader.first["way"] == "hsperfdata file"
    compare(jvm, reader, counts_agree)


@pytest.mark.parametrize("shared", ["file", "memory"])
def test_end_of_the_process(jvm_of, reader_of, shared):
    jvm = jvm_of(*(["-XX:+PerfDisableSharedMem"] if shared == "memory" else []))
    pid, reader = jvm.pid, reader_of(jvm.pid)
    with open("/proc/%d/stat" % pid) as stat:
        start = int(stat.read().rsplit(")", 1)[1].split()[19])
    assert "error" not in reader_of(pid, start).first
    other = reader_of(pid, start - 1).first
    assert os.strerror(other["error"]) == "No such process" and "another one" in other["reason"]
    os.kill(pid, signal.SIGKILL)
    jvm.popen.wait()
    assert os.strerror(reader.ask()["error"]) == "No such process"


# --- what is no HotSpot JVM, or only looks like one ----------------------------------------------------------------


def compiled(lab, name, source, *flags):
    path = lab.path(name)
    run("cc", "-O1", "-o", path, lab.write(name + ".c", source), *flags)
    return path


WAIT = '#include <stdio.h>\nint main(void) { puts("{}"); fflush(stdout); getchar(); return 0; }\n'


def test_other_programs(lab, dump):
    plain = lab.own(Talk([compiled(lab, "plain", WAIT)]))
    said = lab.own(Talk([dump, plain.popen.pid])).first
    assert os.strerror(said["error"]) == "No such file or directory" and "no HotSpot JVM" in said["reason"]
    image = lab.own(Talk([compiled(
        lab, "image", WAIT + '__attribute__((section(".svm_heap"), used)) int heap = 1;\n')]))
    assert "native image" in lab.own(Talk([dump, image.popen.pid])).first["reason"]
    os.mkdir(lab.path("j9"))
    for name in ("j9/libjvm.so", "j9/libj9vm29.so"):
        compiled(lab, name, "int f(void) { return 1; }\n", "-shared", "-fPIC")
    j9 = lab.own(Talk([compiled(lab, "openj9", WAIT, "-Wl,--no-as-needed", "-L" + lab.path("j9"), "-ljvm", "-lj9vm29",
                                "-Wl,-rpath," + lab.path("j9"))]))
    assert "OpenJ9" in lab.own(Talk([dump, j9.popen.pid])).first["reason"]


TABLE = """
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
struct record { const char *type, *field, *string; int32_t is_static; uint64_t offset; void *address; };
static uint64_t start = START, capacity = CAPACITY;
struct record records[RECORDS] = { { "PerfMemory", "_start", "char*", 1, 0, &start },
	{ "PerfMemory", "_capacity", "size_t", 1, 0, &capacity } };
struct record *gHotSpotVMStructs = TABLE;
uint64_t gHotSpotVMStructEntryTypeNameOffset = NAME, gHotSpotVMStructEntryFieldNameOffset = 8,
	gHotSpotVMStructEntryIsStaticOffset = 24, gHotSpotVMStructEntryAddressOffset = 40,
	gHotSpotVMStructEntryArrayStride = STRIDE;
__attribute__((constructor)) static void fill(void)
{
	static const unsigned char prologue[32] = { 0xca, 0xfe, 0xc0, 0xc0, 1, 2, 0, 1, 0, 1, 0, 0, [24] = 32, [28] = 9 };
	char *block = calloc(1, 4096);

	memcpy(block, prologue, sizeof(prologue));
	if (start == 1)
		start = (uint64_t)block;
	FILL
}
"""
DEFAULT = {"START": "1", "CAPACITY": "4096", "RECORDS": "3", "TABLE": "records", "NAME": "0", "STRIDE": "48", "FILL": ""}
ENDLESS = "for (unsigned i = 0; i < RECORDS; i++) records[i] = (struct record){ %s, %s, 0, 1, 0, (void *)8 };"


@pytest.mark.parametrize("lie,error", [
    ({}, None),
    ({"START": "0"}, "No data available"),
    ({"START": "4096"}, "Bad message"),
    ({"START": "~0ull"}, "Bad message"),
    ({"CAPACITY": "~0ull"}, None),  # no more than is there
    ({"CAPACITY": "0"}, "No data available"),
    ({"TABLE": "0"}, "Bad message"),
    ({"TABLE": "(struct record *)~15ull"}, "Bad message"),
    ({"NAME": "41"}, "Bad message"),
    ({"NAME": "~0ull"}, "Bad message"),
    ({"STRIDE": "0"}, "Bad message"),
    ({"STRIDE": "1ull << 40"}, "Bad message"),
    ({"RECORDS": "1", "FILL": "memset(records, 0, sizeof(records));"}, "Resource temporarily unavailable"),
    ({"RECORDS": "200000", "FILL": ENDLESS % ('"PerfMemory"', '"_start"')}, "Resource temporarily unavailable"),
    ({"RECORDS": "200000", "FILL": ENDLESS % ("(char *)1", "(char *)~0ull")}, "Bad message"),
    ({"FILL": "memset(block + 8, 0xff, 24);"}, "Bad message"),
], ids=lambda v: "-".join(v) if isinstance(v, dict) else "")
def test_library_that_lies(lab, dump, lie, error):
    """A program that has something called libjvm.so, with a table of its own making."""
    os.mkdir(lab.path("lib"))
    defines = {**DEFAULT, **lie}
    source = TABLE
    for name, text in defines.items():
        source = re.sub(r"\b%s\b" % name, lambda _: text, source)
    source = re.sub(r"\bRECORDS\b", defines["RECORDS"], source)
    compiled(lab, "lib/libjvm.so", source, "-shared", "-fPIC", "-w")
    liar = lab.own(Talk([compiled(lab, "liar", WAIT, "-Wl,--no-as-needed", "-L" + lab.path("lib"), "-ljvm",
                                  "-Wl,-rpath," + lab.path("lib"))]))
    said = lab.own(Talk([dump, liar.popen.pid])).first
    if error:
        assert os.strerror(said["error"]) == error, said
        assert said["reason"]
    else:
        assert said["way"] == "memory" and said["entries"] == 0
