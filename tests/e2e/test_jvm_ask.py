"""weir jvm: what it tells of JVMs, against what the JDK's own jcmd says of the same ones, and what their program is known to do."""

import collections
import glob
import json
import os
import re
import subprocess

import pytest
from jvm import JAVA, ContainerJvm, Jvm
from lab import wait_until
from test_jvm_attach import Listener, endless, fake  # noqa: F401
from weir import BINARY

# 17 is what the tests need; others that are installed.
JAVAS = [JAVA] + sorted(path for path in glob.glob("/usr/lib/jvm/*-2[0-9]-*/bin/java")
                        if os.path.realpath(path) != os.path.realpath(JAVA))


def weir(*words):
    """(status, standard output, standard error)"""
    done = subprocess.run([BINARY, "jvm", *[str(w) for w in words]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def told(*words):
    status, out, err = weir(*words)
    assert status == 0, err
    return out


def asked(*words):
    """The one JSON object."""
    out = told(*words, "-o", "json")
    assert out.count("\n") == 1
    return json.loads(out)


def jcmd(jvm, *words):
    """An independent client. Without its first line, the pid."""
    client = os.path.join(os.path.dirname(os.path.realpath(JAVA)), "jcmd")
    return subprocess.run([client, str(jvm.pid), *words], check=True, stdout=subprocess.PIPE, text=True,
                          timeout=60).stdout.split("\n", 1)[1]


def started(lab, java=JAVA, *options, cgroup=None):
    return Jvm(lab, *options, main="Locks", java=java, cgroup=cgroup)


def names(text):
    """Of the threads in a dump; those of a deadlock's section end in a colon."""
    return sorted(re.findall(r'^"(.*)" ', text, re.M))


@pytest.mark.parametrize("java", JAVAS)
def test_threads(lab, java):
    jvm = started(lab, java)
    jcmd(jvm, "VM.version")  # the thread that answers is there from now on
    dump, got = jcmd(jvm, "Thread.print"), asked("threads", jvm.pid)

    states = collections.Counter(re.findall(r"^   java\.lang\.Thread\.State: (\w+)", dump, re.M))
    # What runs only now and then may be elsewhere: RUNNABLE or waiting. Those of the test stay where they are.
    assert states["BLOCKED"] == got["states"]["BLOCKED"] == 7
    assert sum(states.values()) == sum(got["states"][s] for s in got["states"] if s not in ("VM", "CARRIER", "VIRTUAL"))
    assert sorted(t["name"] for t in got["threads"]) == names(dump)
    numbers = dict(re.findall(r'^"(.*)" #(\d+) ', dump, re.M))
    nids = {name: int(nid, 0) for name, nid in re.findall(r'^"(.*)" .*\bnid=(\w+) ', dump, re.M)}
    assert {t["name"]: t["nid"] for t in got["threads"]} == nids
    assert {t["name"]: str(t["number"]) for t in got["threads"] if t["number"]} == numbers
    # In the namespace of the test, so the kernel knows them.
    assert all(os.path.isdir("/proc/%d/task/%d" % (jvm.pid, t["nid"])) for t in got["threads"] if "twin" in t["name"])

    twins = [s for s in got["stacks"] if "twin-1" in s["threads"]]
    assert sorted(twins[0]["threads"]) == sorted("twin-%d" % i for i in range(1, 21))
    assert twins[0] is got["stacks"][0]
    assert any(f.startswith("Locks.forever(Locks.java:") for f in twins[0]["frames"])

    gate = [lock for lock in got["locks"] if lock["class"] == "Locks$Gate"]
    assert len(gate) == 1
    assert gate[0]["holder"] == "keeper"
    assert sorted(gate[0]["waiters"]) == ["waiter-%d" % i for i in range(1, 6)]
    assert gate[0]["wait"] == "lock"

    cycles = [{(t["thread"], t["holder"]) for t in deadlock} for deadlock in got["deadlocks"]]
    assert {("left", "right"), ("right", "left")} in cycles and {("up", "down"), ("down", "up")} in cycles
    assert len(cycles) == 2

    text = told("threads", jvm.pid)
    assert "'left' waits for" in text and "held by 'down'" in text
    assert re.search(r"^ +5  to enter +0x\w+ +Locks\$Gate +keeper ", text, re.M)
    assert re.search(r"^  20 threads, WAITING: twin-1, twin-2, ", text, re.M)


def test_locks_of_java_util_concurrent(lab):
    """Who holds them the JVM tells when it is asked for that too, or of a deadlock."""
    jvm = started(lab)
    for lock in asked("threads", jvm.pid, "--locks")["locks"]:
        if lock["class"].startswith("java.util.concurrent.locks.ReentrantLock"):
            assert {"up": "down", "down": "up"}[lock["waiters"][0]] == lock["holder"]


def still(text):
    """A dump without what is another at each: times, and what the stack of the answering thread is."""
    text = re.sub(r"^20\d\d-.*$", "", text, flags=re.M)
    text = re.sub(r"(cpu|elapsed|allocated|defined_classes)=\S+", r"\1=", text)
    return re.sub(r"0x[0-9a-f]+", "0x", text)


@pytest.mark.parametrize("java", JAVAS)
def test_raw_is_what_the_jvm_wrote(lab, java):
    jvm = started(lab, java)
    jcmd(jvm, "VM.version")
    # Blocked and parked threads: their blocks are the same in each dump.
    blocks = [[b for b in still(dump).split("\n\n") if re.match(r'"(twin|waiter|keeper|left|right|up|down)', b)]
              for dump in (jcmd(jvm, "Thread.print"), told("threads", jvm.pid, "--raw"))]
    assert len(blocks[0]) >= 30
    assert blocks[0] == blocks[1]
    assert names(told("threads", jvm.pid, "--raw")) == names(jcmd(jvm, "Thread.print"))
    assert weir("threads", jvm.pid, "--raw", "-o", "json")[0] == 2


def rows(text):
    """Of a histogram: instances and bytes by class, summed, as class loaders may share a name."""
    out = collections.Counter(), collections.Counter()
    for instances, size, name in re.findall(r"^ *\d+: +(\d+) +(\d+)  (\S+)", text, re.M):
        out[0][name] += int(instances)
        out[1][name] += int(size)
    return out


@pytest.mark.parametrize("java", JAVAS)
def test_histogram(lab, java):
    jvm = started(lab, java)
    jvm.tell("make 1237")
    instances, size = rows(jcmd(jvm, "GC.class_histogram", "-all"))
    got = asked("histogram", jvm.pid)
    ours = {c["class"]: c for c in got["classes"] if c["class"].startswith("Locks")}
    assert ours["Locks$Thing"]["instances"] == 1237
    assert {n: c["instances"] for n, c in ours.items()} == {n: i for n, i in instances.items() if n.startswith("Locks")}
    assert {n: c["bytes"] for n, c in ours.items()} == {n: b for n, b in size.items() if n.startswith("Locks")}
    assert [c["bytes"] for c in got["classes"]] == sorted((c["bytes"] for c in got["classes"]), reverse=True)
    assert got["instances"] == sum(c["instances"] for c in got["classes"])
    assert not got["live"]
    text = told("histogram", jvm.pid, "--rows=1000")
    assert "all objects, garbage too" in text
    assert re.search(r"^ *%d +\d+\.\d +1237  Locks\$Thing$" % ours["Locks$Thing"]["bytes"], text, re.M)


def test_histogram_without_live_collects_nothing(lab):
    jvm = started(lab)
    before = len(jvm.safepoints())
    told("histogram", jvm.pid)
    wait_until(lambda: len(jvm.safepoints()) > before, "the histogram's own safepoint is in the log")
    assert jcmd(jvm, "PerfCounter.print").count("sun.gc.collector.1.invocations=0") == 1
    status, _, err = weir("histogram", jvm.pid, "--live")
    assert status == 0 and "stands still" in err
    assert jcmd(jvm, "PerfCounter.print").count("sun.gc.collector.1.invocations=1") == 1


@pytest.mark.parametrize("live", [[], ["--live"]])
def test_histogram_of_what_grew(lab, live):
    jvm = started(lab)
    jvm.tell("make 100")
    process = subprocess.Popen([BINARY, "jvm", "histogram", str(jvm.pid), "--diff=3s", "-o", "json", *live],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "the first is taken" not in process.stderr.readline():
        assert process.poll() is None
    jvm.tell("make 2003", "make 1000")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    got = json.loads(out)
    grew = {c["class"]: c for c in got["grew"]}
    assert grew["Locks$Thing"]["instances_more"] == 3003
    assert grew["Locks$Thing"]["instances"] == 3103
    assert grew["Locks$Thing"]["bytes_more"] == rows(jcmd(jvm, "GC.class_histogram", "-all"))[1]["Locks$Thing"] * 3003 // 3103
    assert grew["[LLocks$Thing;"]["instances_more"] == 2
    assert [c["bytes_more"] for c in got["grew"]] == sorted((c["bytes_more"] for c in got["grew"]), reverse=True)
    assert got["interval_ns"] == 3_000_000_000


@pytest.mark.parametrize("java", JAVAS)
def test_info(lab, java):
    jvm = started(lab, java)
    got = asked("info", jvm.pid)
    assert got["vm"] == jcmd(jvm, "VM.version").splitlines()
    assert got["flags"] == jcmd(jvm, "VM.flags").splitlines()
    assert "java_command: Locks" in got["command_line"]
    assert re.fullmatch(r"\d+\.\d+ s", got["uptime"][0])
    assert got["heap"]
    assert not [s for s in jvm.safepoints() if "Print" in s.operation or "Heap" in s.operation]
    text = told("info", jvm.pid)
    assert "-Xmx128m" in text


def test_list(lab):
    """It asks none of them: nobody is signalled."""
    cgroup = lab.cgroup("java")
    jvm = Jvm(lab, "-XX:+UseSerialGC", main="Locks", args=["password=hunter2"], cgroup=cgroup)
    forbidden = started(lab, JAVA, "-XX:+DisableAttachMechanism")
    container = ContainerJvm(lab, kind="docker", readonly=False, scratch=["/tmp"])
    closed = ContainerJvm(lab)
    out = told("list", "-o", "json")
    assert "hunter2" not in out and "hunter2" not in told("list")
    found = {j["pid"]: j for j in json.loads(out)["jvms"]}
    version = re.search(r"^JDK (\S+)", jcmd(jvm, "VM.version"), re.M)[1]
    assert found[jvm.pid]["version"] == version
    assert found[jvm.pid]["collector"] == "Serial"
    assert found[jvm.pid]["main"] == "Locks"
    assert found[jvm.pid]["kind"] == "hotspot"
    assert found[jvm.pid]["container"]["cgroup"] == cgroup.path
    assert found[jvm.pid]["askable"] and found[jvm.pid]["uid"] == 0
    assert not found[forbidden.pid]["askable"] and "DisableAttachMechanism" in found[forbidden.pid]["reason"]
    assert found[container.pid]["container"]["id"] == container.container.identity.id
    assert found[container.pid]["askable"], found[container.pid]["reason"]
    assert found[container.pid]["uid"] == 4242
    assert not found[closed.pid]["askable"] and "/tmp" in found[closed.pid]["reason"]
    assert found[closed.pid]["version"] == version
    assert os.getpid() not in found
    line = [line for line in told("list").splitlines() if line.split()[0] == str(forbidden.pid)][0]
    assert "DisableAttachMechanism" in line
    # In its own namespaces, as another user: it is asked nevertheless.
    assert "busy-0" in {t["name"] for t in asked("threads", container.pid)["threads"]}
    status, out, err = weir("threads", closed.pid)
    assert (status, out, err.count("\n")) == (1, "", 1) and "/tmp" in err
    for log in (jvm, forbidden, container, closed):
        assert "Full thread dump" not in log.process.output()


def test_list_of_what_keeps_no_counters(lab):
    """By its command line and the release file of its JDK, also in a container."""
    jvms = started(lab, JAVA, "-XX:-UsePerfData", "-Dsecret=hunter2"), ContainerJvm(lab, "-XX:-UsePerfData", readonly=False)
    version = re.search(r"^JDK (\S+)", jcmd(jvms[0], "VM.version"), re.M)[1]
    out = told("list", "-o", "json")
    found = {j["pid"]: j for j in json.loads(out)["jvms"]}
    assert [(found[jvm.pid]["version"], found[jvm.pid]["main"]) for jvm in jvms] == [(version, "Locks"), (version, "Load")]
    assert all(found[jvm.pid]["about_reason"] for jvm in jvms) and "hunter2" not in out


def test_an_answer_without_end(fake):  # noqa: F811
    with Listener(fake, endless):
        for what in ("threads", "histogram", "info"):
            status, out, err = weir(what, fake.pid, "-o", "json")
            assert (status, out, err.count("\n")) == (1, "", 1) and "was cut after" in err


def test_failures_are_one_line(lab):
    forbidden = started(lab, JAVA, "-XX:+DisableAttachMechanism")
    for words, status in ((("threads", os.getpid()), 1), (("histogram", forbidden.pid), 1), (("info", forbidden.pid), 1),
                          (("threads", 0x7ffffff0), 1), (("threads",), 2), (("threads", "x"), 2), (("threads", 0), 2),
                          (("list", 1), 2), (("dance",), 2), ((), 2), (("threads", 1, "--live"), 2),
                          (("histogram", 1, "--raw"), 2), (("list", "--diff=1s"), 2), (("histogram", 1, "--diff=10"), 2)):
        got, out, err = weir(*words)
        assert (got, out, err.count("\n")) == (status, "", 1), (words, err)
        assert err.startswith("weir jvm: ")
    assert "Full thread dump" not in forbidden.process.output()
