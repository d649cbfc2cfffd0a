"""Waits for a CPU against what the kernel itself accounts, who ran meanwhile, and why threads leave the CPU."""

import contextlib
import json
import os
import re
import sys

import pytest
from lab import run, wait_until
from weir import Trace, Weir

WAIT = "weir.sched.run_queue.duration"
LONGEST = "weir.sched.run_queue.longest"
NEIGHBOUR = "weir.sched.neighbour.time"
OFF = "weir.sched.off_cpu.time"
MS, S = 1_000_000, 1_000_000_000
PYTHON = "/usr/bin/python3"

HOG = "while True: pass\n"
# Sleeps briefly, works briefly, as often as it is told; then says so and waits for the next line.
VICTIM = """
import sys, time
print("up", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        time.sleep(0.002)
        end = time.thread_time_ns() + 4_000_000
        while time.thread_time_ns() < end:
            pass
    print("done", flush=True)
"""


def schedstat(pid):
    """Of all threads: (waits for a CPU, their nanoseconds)."""
    count = delay = 0
    for tid in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, tid)) as text:
            _, ns, number = (int(word) for word in text.read().split())
        count, delay = count + number, delay + ns
    return count, delay


def state(pid):
    with open("/proc/%d/stat" % pid) as stat:
        return stat.read().rsplit(")", 1)[1].split()[0]


class Program:
    """A Python program in a cgroup, on one CPU, to which one talks by lines."""

    def __init__(self, lab, text, cgroup, cpu=None, name="program"):
        argv = [PYTHON, "-c", text]
        if cpu is not None:
            argv = ["/usr/bin/taskset", "-c", str(cpu)] + argv
        read, self.input = os.pipe()
        self.process = lab.spawn(*argv, cgroup=cgroup, stdin=read)
        os.close(read)
        lab.own(self)
        self.pid, self.said = self.process.pid, {}

    def tell(self, line):
        os.write(self.input, (line + "\n").encode())

    def wait(self, word):
        """Until it has said @word once more."""
        self.said[word] = self.said.get(word, 0) + 1
        wait_until(lambda: len(re.findall("^%s$" % word, self.process.output(), re.M)) >= self.said[word] or
                   self._ended(), lambda: "%s: %s" % (word, self.process.output()))

    def work(self, rounds):
        """Tells it to, and waits until it is done and sleeps again: no switch of it is under way."""
        self.tell(str(rounds))
        self.wait("done")
        self.settle()

    def _ended(self):
        assert self.process.alive(), self.process.output()

    def settle(self):
        """Until it sleeps: no switch of it is under way."""
        wait_until(lambda: state(self.pid) == "S", "it sleeps")

    def close(self):
        with contextlib.suppress(OSError):
            os.close(self.input)


def waits(snap, cgroup):
    """(waits, their nanoseconds) of one cgroup."""
    points = snap.find(WAIT, cgroup)
    return sum(p.count for p in points), sum(p.sum_ns for p in points)


def check_waits(seen, accounted):
    """Both are (waits, nanoseconds). On a CPU that is never idle they are the same, to the nanosecond: tests/kernels sees
    that. But where a kernel has threads whose switches it shows to nobody, the wait of who came after such a thread is
    missing: never is one too many."""
    print("weir %d waits %d ns, schedstat %d waits %d ns" % (*seen, *accounted))
    assert accounted[0] - max(2, accounted[0] * 0.02) <= seen[0] <= accounted[0]
    assert seen[1] <= accounted[1]
    assert seen[1] >= accounted[1] * 0.98 - 10_000 * accounted[0] - 10 * MS * (accounted[0] - seen[0])


def minus(after, before):
    return after[0] - before[0], after[1] - before[1]


def off(snap, cgroup):
    return {p.attributes["weir.sched.reason"]: p.value for p in snap.find(OFF, cgroup)}


def neighbours(snap, cgroup):
    return {p.attributes["weir.neighbour.name"]: p.value for p in snap.find(NEIGHBOUR, cgroup)}


def agent_of(lab, *options):
    return lab.own(Weir(lab, "--signals=sched", *options))


@pytest.fixture
def crowd(lab):
    """A CPU that two hogs and a victim share, each in its cgroup."""
    cpu = max(os.sched_getaffinity(0))
    hogs = [lab.cgroup("hog") for _ in range(2)]
    victim = lab.cgroup("victim")
    for hog in hogs:
        Program(lab, HOG, hog, cpu)
    program = Program(lab, VICTIM, victim, cpu)
    program.wait("up")
    program.settle()
    return hogs, victim, program


def law(agent):
    """seen = delivered + filtered + lost of this signal, and nothing is lost."""
    agent.law()
    out = wait_until(lambda: agent._law(agent.snapshot()), "the law holds")["sched"]
    assert out["lost"] == {}
    assert out["seen"] > 0 and out["delivered"] > 0
    return out


def started_as(lab, pid, cgroup, cpu):
    """A victim with that pid, which is free: others start programs too, so it may take a few."""
    for _ in range(200):
        with open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(pid - 1))
        program = Program(lab, VICTIM, cgroup, cpu)
        if program.pid == pid:
            return program
        program.process.close()
    raise AssertionError("pid %d is not to be had" % pid)


def test_a_pid_that_is_used_again(lab, crowd):
    """The waits of who had it before stay with that container, and none of them goes on."""
    _, victim, program = crowd
    agent, next_group, cpu = agent_of(lab), lab.cgroup("next"), max(os.sched_getaffinity(0))
    program.work(31)
    pid = program.pid
    program.process.close()
    before = waits(agent.snapshot(), victim)
    program = started_as(lab, pid, next_group, cpu)
    program.wait("up")
    program.settle()
    accounted0, seen0 = schedstat(pid), waits(agent.snapshot(), next_group)
    program.work(101)
    accounted = schedstat(pid)
    snap = agent.snapshot()
    check_waits(minus(waits(snap, next_group), seen0), minus(accounted, accounted0))
    assert waits(snap, victim) == before
    law(agent)


def test_waits_are_those_that_the_kernel_accounts(lab, crowd):
    hogs, victim, program = crowd
    agent = agent_of(lab)
    count0, delay0 = schedstat(program.pid)
    seen0, sum0 = waits(agent.snapshot(), victim)
    program.work(211)
    count, delay = schedstat(program.pid)
    snap = agent.snapshot()
    seen, total = waits(snap, victim)
    assert count - count0 >= 211
    check_waits((seen - seen0, total - sum0), (count - count0, delay - delay0))
    assert delay - delay0 > 211 * MS  # or this test shows nothing

    # Whom the long waits stood behind: the hogs, and together for about as long as those waits were.
    behind = neighbours(snap, victim)
    print(behind, total - sum0)
    assert {hog.name for hog in hogs} <= set(behind)
    assert sum(behind.values()) == pytest.approx(total - sum0, rel=0.1)
    # Others of this machine may run there too.
    assert sum(behind[hog.name] for hog in hogs) > sum(behind.values()) / 3
    longest = max(p.value for p in snap.find(LONGEST, victim))
    assert 0 <= longest <= max(p.max_ns for p in snap.find(WAIT, victim))
    # The hogs wait too, and never leave of their own will.
    for hog in hogs:
        assert set(off(snap, hog)) == {"preempted"}
    law(agent)


def test_threads_of_the_kernel_and_idle_cpus_are_nobody(lab, crowd):
    agent = agent_of(lab)
    _, victim, program = crowd
    program.work(23)
    out = law(agent)
    assert out["filtered"] > 0
    snap = agent.snapshot()
    names = {p.attributes["weir.neighbour.name"] for p in snap.find(NEIGHBOUR)}
    assert not [n for n in names if re.match(r"swapper|kworker|ksoftirqd|migration|rcu", n)]
    # Nobody else is in the cgroup of the victim: whatever the kernel ran on its behalf is not counted there.
    assert waits(snap, victim)[0] <= schedstat(program.pid)[0]


def test_cgroups_made_and_processes_moved_while_it_runs_are_told_apart(lab):
    cpu = max(os.sched_getaffinity(0))
    agent = agent_of(lab)
    Program(lab, HOG, lab.cgroup("hog"), cpu)
    first, second = lab.cgroup("first"), lab.cgroup("second")
    program = Program(lab, VICTIM, first, cpu)
    program.wait("up")
    program.settle()
    snap, before = agent.snapshot(), schedstat(program.pid)
    first0, second0 = waits(snap, first), waits(snap, second)
    assert second0 == (0, 0)

    program.work(23)
    snap, between = agent.snapshot(), schedstat(program.pid)
    first1 = waits(snap, first)
    check_waits(minus(first1, first0), minus(between, before))
    assert waits(snap, second) == (0, 0)

    second.enter(program.pid)
    program.work(29)
    snap, after = agent.snapshot(), schedstat(program.pid)
    assert waits(snap, first) == first1
    check_waits(waits(snap, second), minus(after, between))
    assert [p for p in snap.find(WAIT, "") if "otel.metric.overflow" in p.attributes] == []
    law(agent)


def check_lines(records, hogs, least_ns):
    paths = {hog.path for hog in hogs}
    assert all(r["signal"] == "sched" and r["wait_ns"] >= least_ns for r in records)
    behind = [r for r in records if r["culprit"]["container"]["cgroup"] in paths]
    assert len(behind) > len(records) / 3  # others of this machine may run there too
    for record in records:
        assert record["duration_ns"] == record["wait_ns"]
        assert record["comm"] == "python3" and record["tid"] == record["pid"]
        assert 0 < record["culprit"]["ran_ns"] <= record["wait_ns"]
    for record in behind:
        assert record["culprit"]["comm"] == "python3"
        assert record["culprit"]["pid"] in {pid for hog in hogs for pid in hog.pids()}


@pytest.mark.parametrize("alone", [True, False])
def test_a_trace_shows_long_waits_and_whom_they_stood_behind(lab, crowd, alone):
    hogs, victim, program = crowd
    agent = None if alone else agent_of(lab)
    trace = lab.own(Trace(lab, "--socket=off", "--min=3ms", signal="sched") if alone else
                    agent.trace("--min=3ms", signal="sched"))
    wait_until(lambda: "tracing" in trace.process.output() or trace.ended, "the tracer says that it traces")
    program.work(53)
    trace.wait(lambda t: len(t.of(victim)) >= 23, "23 lines of the victim")
    records = trace.of(victim)
    assert {r["pid"] for r in records} == {program.pid}
    check_lines(records, hogs, 3 * MS)
    assert {r["cpu"] for r in records} == {max(os.sched_getaffinity(0))}
    status, said = trace.stop()
    assert status == 0
    found = re.search(r"seen (\d+) = delivered (\d+) \+ filtered (\d+) \+ lost (\d+)", said)
    seen, delivered, filtered, lost = map(int, found.groups())
    assert lost == 0 and (not alone or seen == delivered + filtered)
    if agent:
        assert agent.snapshot().value("weir.sched.untraced") == 0
        law(agent)


OFF_CPU = """
import select, sys, threading, time
lock = threading.Lock()
lock.acquire()
poll = select.poll()
print("up", flush=True)
for line in sys.stdin:
    if line == "sleep\\n":
        time.sleep(0.5)
    elif line == "lock\\n":
        lock.acquire(timeout=0.5)
    elif line == "poll\\n":
        poll.poll(500)
    print("done", flush=True)
"""


def test_time_off_the_cpu_has_its_reason(lab):
    cgroup = lab.cgroup("off")
    program = Program(lab, OFF_CPU, cgroup)
    program.wait("up")
    agent = agent_of(lab)
    for reason in ("sleep", "lock", "poll"):
        before = off(agent.snapshot(), cgroup)
        program.tell(reason)
        program.wait("done")
        program.settle()
        after = off(agent.snapshot(), cgroup)
        took = {name: after[name] - before.get(name, 0) for name in after}
        print(reason, took)
        assert 495 * MS <= took.pop(reason) <= 520 * MS  # a busy machine takes some of it for waiting
        # What it waited for us in read() is "other"; no other reason has any of it.
        assert sum(ns for name, ns in took.items() if name in ("sleep", "lock", "poll")) == 0
    law(agent)


def table_keys(agent):
    """Cgroup ids that have an entry in the kernel's table."""
    for number in agent.links()["map"]:
        if json.loads(run("bpftool", "-j", "map", "show", "id", str(number)))["name"] == "sched_table":
            dump = json.loads(run("bpftool", "-j", "map", "dump", "id", str(number)))
            return {int.from_bytes(bytes(int(byte, 16) for byte in entry["key"]), sys.byteorder) for entry in dump}
    raise AssertionError("the agent has no table")


def test_two_thousand_short_processes_make_one_entry(lab):
    agent = agent_of(lab)
    cgroup = lab.cgroup("short")
    before = len(table_keys(agent))
    shell = lab.spawn("/bin/sh", "-c", "i=0; while [ $i -lt 2003 ]; do /bin/true; i=$((i+1)); done", cgroup=cgroup)
    assert shell.wait() == 0
    count, _ = waits(agent.snapshot(), cgroup)
    assert count >= 2003  # each has waited at least once: new threads are queued
    after = table_keys(agent)
    assert cgroup.id in after
    assert len(after) < before + 100  # its own, and those that others of this machine make
    law(agent)


def test_cgroups_that_are_gone_leave_the_table(lab):
    agent = agent_of(lab)
    gone = [lab.cgroup("gone") for _ in range(23)]
    for cgroup in gone:
        assert lab.spawn("/bin/sleep", "0.01", cgroup=cgroup).wait() == 0  # when it wakes up it waits
    ids = {cgroup.id for cgroup in gone}
    assert ids <= table_keys(agent)
    assert all(waits(agent.snapshot(), cgroup)[0] > 0 for cgroup in gone)
    for cgroup in gone:
        os.rmdir(cgroup.dir)
    # Their names are kept for two minutes.
    wait_until(lambda: not ids & table_keys(agent), lambda: "%d left" % len(ids & table_keys(agent)), 180, pause_s=1)
    law(agent)
