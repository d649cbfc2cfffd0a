"""Other Java versions than the installed one, of which each has something else to see its safepoints by: those of
JDKS=NAME,... (tests/jdks/list; all of them: make jdks)."""

import os

import pytest
from jvm import FetchedJvm
from lab import wait_until
from test_jvm import LOAD, MS, traced
from weir import Weir

NAMES = [name for name in os.environ.get("JDKS", "").split(",") if name]
SOURCES = ["usdt", "symbols", "watchpoints", "counters"]
LISTED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "jdks", "list")
with open(LISTED) as rows:
    HAS = {row.split()[0]: row.split()[3] for row in rows if row.strip() and not row.startswith("#")}


def best(name, wanted):
    """What there is of @wanted or below in that library."""
    first = {"usdt": 0, "symbols": 1, "neither": 2}[HAS[name]]
    return SOURCES[max(first, SOURCES.index(wanted))]


@pytest.mark.parametrize("wanted", SOURCES[:3])
@pytest.mark.parametrize("name", NAMES)
def test_each_safepoint_is_the_one_in_the_log(lab, name, wanted):
    cgroup = lab.cgroup("java")
    jvm = FetchedJvm(lab, name, cgroup)
    trace = traced(lab, "--jvm-source=" + wanted)
    first = len(jvm.safepoints())
    jvm.tell(*LOAD)
    wait_until(lambda: len(trace.of(cgroup)) == len(jvm.safepoints()) - first,
               lambda: "%d records, %d lines" % (len(trace.of(cgroup)), len(jvm.safepoints()) - first))
    lines, records = jvm.safepoints()[first:], trace.of(cgroup)
    assert len(lines) >= 80
    assert {(r["pid"], r["source"]) for r in records} == {(jvm.pid, best(name, wanted))}
    errors = sorted(abs(line.total_ns - r["duration_ns"]) for line, r in zip(lines, records))
    syncs = sorted(abs(line.sync_ns - r["sync_ns"]) for line, r in zip(lines, records))
    print("%s %s: %d safepoints, total off by %.1f us (95 %% within %.1f, all %.1f), sync by %.1f" % (
        name, best(name, wanted), len(lines), sum(errors) / len(errors) / 1e3, errors[len(lines) * 19 // 20] / 1e3,
        errors[-1] / 1e3, sum(syncs) / len(syncs) / 1e3))
    most = errors[:-max(1, len(lines) // 20)]
    assert sum(most) / len(most) <= 0.2 * MS and most[-1] <= 1 * MS
    most = syncs[:-max(1, len(lines) // 20)]
    assert sum(most) / len(most) <= 0.2 * MS and most[-1] <= 1 * MS
    if best(name, wanted) == "usdt":
        assert [r["operation"] for r in records] == [line.operation for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_counters_alone_give_the_sums(lab, name):
    cgroup = lab.cgroup("java")
    agent = lab.own(Weir(lab, "--signals=jvm", "--jvm-source=counters"))
    jvm = FetchedJvm(lab, name, cgroup)
    jvm.tell(*LOAD)

    def sums():
        snap = agent.snapshot()
        return [sum(p.value for p in snap.find(metric, cgroup, weir_jvm_source="counters")) for metric in (
            "weir.jvm.safepoints", "weir.jvm.safepoint.time", "weir.jvm.safepoint.sync.time")]
    wait_until(lambda: sums()[0] == len(jvm.safepoints()), lambda: "%r, log %d" % (sums(), len(jvm.safepoints())))
    lines = jvm.safepoints()
    _, total_ns, sync_ns = sums()
    assert len(lines) >= 80
    # What 8 prints contains the printing of the line before, its counter does not.
    each_ns = 50_000 if name == "8" else 2000
    assert abs(total_ns - sum(line.total_ns for line in lines)) <= 1 * MS + each_ns * len(lines)
    assert abs(sync_ns - sum(line.sync_ns for line in lines)) <= 1 * MS + each_ns * len(lines)
    agent.law()
