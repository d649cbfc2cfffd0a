"""CPU time, throttling, pressure and restarts of containers: what weir says against the kernel's own files, read before
and after."""

import os
import re
import secrets

import pytest
from lab import cgroup1_mount, cgroup2_mount, wait_until
from weir import Trace, Weir

CPU = "container.cpu.time"
PERIODS = "weir.container.cpu.periods"
THROTTLED_PERIODS = "weir.container.cpu.throttled.periods"
THROTTLED_TIME = "weir.container.cpu.throttled.time"
STALL = "weir.container.pressure.stall.time"
RESTARTS = "weir.container.restarts"
MS, US = 1_000_000, 1_000
PYTHON = "/usr/bin/python3"

# Uses CPU in both modes until it is told to end by a signal.
BUSY = """
import os
while True:
    for _ in range(20000): pass
    for _ in range(200): os.stat("/")
"""
# The same for 300 ms of CPU time, then it says so and waits.
BRIEF = """
import os, sys, time
while time.process_time() < 0.3:
    for _ in range(20000): pass
    for _ in range(200): os.stat("/")
print("done", flush=True)
time.sleep(600)
"""


class Quota:
    """A cgroup that may have a fifth of a CPU, by whichever hierarchy has the controller. In v1 it has another path, as
    nobody promises the same one."""

    def __init__(self, lab, period_us=20_000):
        self.cgroup = lab.cgroup("quota")
        self.v1 = []
        mount = cgroup1_mount("cpu")
        if mount:
            self.v1 = ["%s/weir-test-%d-q" % (mount, os.getpid()), "%s/weir-test-%d-q/%s" % (
                mount, os.getpid(), self.cgroup.name)]
            for path in self.v1:
                os.mkdir(path)
            self._write(self.v1[1] + "/cpu.cfs_period_us", period_us)
            self._write(self.v1[1] + "/cpu.cfs_quota_us", period_us // 5)
            self.file = self.v1[1] + "/cpu.stat"
        elif "cpu" in open(cgroup2_mount() + "/cgroup.controllers").read().split():
            for path in (cgroup2_mount(), os.path.dirname(self.cgroup.dir)):
                self._write(path + "/cgroup.subtree_control", "+cpu")
            self._write(self.cgroup.dir + "/cpu.max", "%d %d" % (period_us // 5, period_us))
            self.file = self.cgroup.dir + "/cpu.stat"
        else:
            pytest.skip("no hierarchy with a cpu controller")

    @staticmethod
    def _write(path, text):
        with open(path, "w") as out:
            out.write(str(text))

    def read(self):
        """(periods, throttled periods, throttled ns)"""
        stat = keyed(self.file)
        return (stat["nr_periods"], stat["nr_throttled"],
                stat["throttled_time"] if "throttled_time" in stat else stat["throttled_usec"] * US)

    def close(self):
        for path in reversed(self.v1):
            wait_until(lambda: self._removed(path), "%s removed" % path)

    @staticmethod
    def _removed(path):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def keyed(path):
    with open(path) as lines:
        return {line.split()[0]: int(line.split()[1]) for line in lines}


def cpu_stat(cgroup):
    """{mode: ns} of the cgroup2 tree."""
    stat = keyed(cgroup.dir + "/cpu.stat")
    return {"user": stat["user_usec"] * US, "system": stat["system_usec"] * US}


def pressures(cgroup):
    """{(resource, type): ns}"""
    out = {}
    for resource in ("cpu", "memory", "io"):
        with open("%s/%s.pressure" % (cgroup.dir, resource)) as lines:
            for kind, total in re.findall(r"^(some|full) .*total=(\d+)$", lines.read(), re.M):
                out[resource, kind] = int(total) * US
    return out


def cpu(snap, cgroup):
    return {p.attributes["cpu.mode"]: p.value for p in snap.find(CPU, cgroup)}


def stall(snap, cgroup):
    return {(p.attributes["resource"], p.attributes["stall_type"]): p.value for p in snap.find(STALL, cgroup)}


def value(snap, metric, cgroup):
    return sum(p.value for p in snap.find(metric, cgroup))


def agent_of(lab, *options):
    return lab.own(Weir(lab, "--signals=sched", *options))


def container_path(container_id=None):
    return "docker/" + (container_id or secrets.token_hex(32))


def freeze(process):
    """Ends it and waits, so that its cgroup counts no more."""
    process.close()


def settled(agent, expected, actual, what):
    """The series say what the file says: a file whose values have stopped changing is read once before it is compared
    with, and the next look of the agent must agree to the nanosecond."""
    wait_until(lambda: actual(agent.snapshot()) == expected(),
               lambda: "%s: %r, the files say %r" % (what, actual(agent.snapshot()), expected()))


def test_cpu_time_is_what_the_kernel_counted(lab):
    cgroup = lab.cgroup(path=container_path())
    busy = lab.spawn(PYTHON, "-c", BUSY, cgroup=cgroup)
    wait_until(lambda: cpu_stat(cgroup)["user"] > 50 * MS, "it has used CPU before the agent starts")
    before = cpu_stat(cgroup)
    agent = agent_of(lab)
    started = cpu_stat(cgroup)
    wait_until(lambda: min(cpu_stat(cgroup)[mode] - started[mode] for mode in started) > 50 * MS, "CPU time in both modes")
    freeze(busy)
    after = cpu_stat(cgroup)
    # From the agent's first look, which was between the two readings, to the end.
    def right():
        got = cpu(agent.snapshot(), cgroup)
        return set(got) == {"user", "system"} and all(
            after[mode] - started[mode] <= got[mode] <= after[mode] - before[mode] for mode in got)

    # A busy agent does not read the files for each snapshot.
    wait_until(right, lambda: "%r between %r and %r, and %r" % (cpu(agent.snapshot(), cgroup), before, started, after))
    agent.law()


def test_a_container_made_later_counts_from_its_beginning(lab):
    agent = agent_of(lab)
    cgroup = lab.cgroup(path=container_path())
    brief = lab.spawn(PYTHON, "-c", BRIEF, cgroup=cgroup)
    wait_until(lambda: "done" in brief.output(), "it has used 300 ms")
    settled(agent, lambda: cpu_stat(cgroup), lambda snap: cpu(snap, cgroup), "CPU time")
    with open("/proc/%d/stat" % brief.pid) as stat:
        ticks = [int(n) for n in stat.read().rsplit(")", 1)[1].split()[11:13]]
    # The process itself, to a tick each, and what its child did before it became this program.
    hz = os.sysconf("SC_CLK_TCK")
    total_ns = sum(cpu(agent.snapshot(), cgroup).values())
    assert abs(total_ns - sum(ticks) * 1_000_000_000 // hz) <= 2 * 1_000_000_000 // hz + 20 * MS
    assert total_ns >= 280 * MS
    text = agent.scrape()
    assert re.search(r'^container_cpu_time_seconds_total\{[^}]*cpu_mode="user"[^}]*\} [0-9.]+', text, re.M)


def test_throttling_is_what_the_kernel_counted(lab):
    quota = lab.own(Quota(lab))
    # Where the container is in v1 is what a process in it says.
    lab.spawn("/bin/sleep", "600", cgroup=quota.cgroup, cgroup1=quota.v1[1:])
    agent = agent_of(lab)
    before = quota.read()
    assert value(agent.snapshot(), THROTTLED_PERIODS, quota.cgroup) == 0
    busy = lab.spawn(PYTHON, "-c", BUSY, cgroup=quota.cgroup, cgroup1=quota.v1[1:])

    def counted():
        return tuple(now - then for now, then in zip(quota.read(), before))

    wait_until(lambda: counted()[1] >= 23, "23 throttled periods")
    freeze(busy)
    settled(agent, counted, lambda snap: tuple(
        value(snap, metric, quota.cgroup) for metric in (PERIODS, THROTTLED_PERIODS, THROTTLED_TIME)), "throttling")
    assert counted()[1] >= 23
    agent.law()


def test_without_a_quota_nothing_is_said_of_throttling(lab):
    agent = agent_of(lab)
    cgroup = lab.cgroup(path=container_path())
    brief = lab.spawn(PYTHON, "-c", BRIEF, cgroup=cgroup)
    wait_until(lambda: "done" in brief.output(), "it has used 300 ms")
    wait_until(lambda: cpu(agent.snapshot(), cgroup), "its CPU time")
    snap = agent.snapshot()
    for metric in (PERIODS, THROTTLED_PERIODS, THROTTLED_TIME):
        assert snap.find(metric, cgroup) == []


def test_pressure_is_what_the_kernel_counted(lab):
    agent = agent_of(lab)
    cgroup = lab.cgroup(path=container_path())
    last = max(os.sched_getaffinity(0))
    hogs = [lab.spawn("/usr/bin/taskset", "-c", str(last), PYTHON, "-c", BUSY, cgroup=cgroup) for _ in range(3)]
    wait_until(lambda: pressures(cgroup)["cpu", "some"] > 200 * MS, "three share a CPU")
    for hog in hogs:
        freeze(hog)

    def known():
        """Of the resources that were waited for at all."""
        total = pressures(cgroup)
        return {key: ns for key, ns in total.items() if total[key[0], "some"]}

    settled(agent, known, lambda snap: stall(snap, cgroup), "pressure")


def test_one_cgroup_of_a_container_is_reported_and_not_those_below(lab):
    agent = agent_of(lab)
    cgroup = lab.cgroup(path=container_path())
    inner = lab.cgroup(path=cgroup.path.split("/", 2)[2] + "/init.scope")
    brief = lab.spawn(PYTHON, "-c", BRIEF, cgroup=inner)
    wait_until(lambda: "done" in brief.output(), "it has used 300 ms")
    settled(agent, lambda: cpu_stat(cgroup), lambda snap: cpu(snap, cgroup), "CPU time, once")
    assert [p.cgroup for p in agent.snapshot().find(CPU, cgroup, cpu_mode="user")] == [cgroup.path]
    # Nor the branches above it, which belong to nobody.
    for path in (os.path.dirname(cgroup.path), os.path.dirname(os.path.dirname(cgroup.path)), "/"):
        assert [p for p in agent.snapshot().find(CPU) if p.cgroup == path] == []


def test_a_container_that_lives_between_two_looks_is_missed_and_nothing_else(lab):
    agent = agent_of(lab, "--interval=1h")
    paths = []
    for _ in range(23):
        cgroup = lab.cgroup(path=container_path())
        assert lab.spawn("/bin/true", cgroup=cgroup).wait() == 0
        cgroup.close()
        paths.append(cgroup.path)
    brief_cgroup = lab.cgroup(path=container_path())
    brief = lab.spawn(PYTHON, "-c", BRIEF, cgroup=brief_cgroup)
    wait_until(lambda: "done" in brief.output(), "it has used 300 ms")
    settled(agent, lambda: cpu_stat(brief_cgroup), lambda snap: cpu(snap, brief_cgroup), "CPU time of the one that lives")
    snap = agent.snapshot()
    for path in paths:
        assert snap.find(CPU, path) == [] and snap.find(RESTARTS, path) == []
    agent.law()


def test_what_a_container_did_is_kept_when_it_has_ended(lab):
    agent = agent_of(lab)
    cgroup = lab.cgroup(path=container_path())
    brief = lab.spawn(PYTHON, "-c", BRIEF, cgroup=cgroup)
    wait_until(lambda: "done" in brief.output(), "it has used 300 ms")
    settled(agent, lambda: cpu_stat(cgroup), lambda snap: cpu(snap, cgroup), "CPU time")
    said = cpu(agent.snapshot(), cgroup)
    cgroup.close()
    assert sum(cpu(agent.snapshot(), cgroup).values()) >= sum(said.values())


def test_restarts_are_counted_and_traced(lab):
    path = container_path()
    agent = agent_of(lab)
    trace = lab.own(Trace(lab, "--socket=" + agent.socket, signal="sched"))
    wait_until(lambda: "tracing" in trace.process.output() or trace.ended, "the tracer says that it traces")

    total = 0
    for start in range(4):
        cgroup = lab.cgroup(path=path)
        brief = lab.spawn(PYTHON, "-c", BRIEF, cgroup=cgroup)
        wait_until(lambda: "done" in brief.output(), "it has used 300 ms")
        before = total
        settled(agent, lambda: before + sum(cpu_stat(cgroup).values()),
                lambda snap: sum(cpu(snap, cgroup).values()), "CPU time of all starts")
        freeze(brief)
        settled(agent, lambda: before + sum(cpu_stat(cgroup).values()),
                lambda snap: sum(cpu(snap, cgroup).values()), "CPU time of all starts")
        total = sum(cpu(agent.snapshot(), cgroup).values())
        assert value(agent.snapshot(), RESTARTS, cgroup) == start
        cgroup.close()

    restarts = trace.wait(lambda t: [r for r in t.of(cgroup) if r.get("event")][2:] and
                          [r for r in t.of(cgroup) if r.get("event")], "three restarts")
    assert [r["event"] for r in restarts] == ["restart"] * 3
    assert {r["signal"] for r in restarts} == {"sched"}
    assert "weir_container_restarts_total{" in agent.scrape()
    agent.law()
