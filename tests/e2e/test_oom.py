"""Kills by the out-of-memory handler: each is one count of its container and one line of trace."""

import os
import signal

import pytest
from lab import cgroup1_mount, cgroup2_mount, wait_until
from weir import Trace, Weir

KILLS = 3
LIMIT_BYTES = 24 << 20
# Touches memory until it is killed; the interpreter itself fits under the limit.
EATER = "b = []\nwhile True: b.append(bytearray(1 << 20))\n"


class Limited:
    """A cgroup in both hierarchies, where there are two, whose memory is limited in the one that has the controller."""

    def __init__(self, lab):
        self.cgroup = lab.cgroup("greedy")
        self.v1 = []
        mount = cgroup1_mount("memory")
        if mount:
            path = mount + "/weir-test-%d-%s" % (os.getpid(), self.cgroup.name)
            os.mkdir(path)
            self.v1 = [path]
            self._write(path + "/memory.limit_in_bytes")
        elif "memory" in open(cgroup2_mount() + "/cgroup.controllers").read().split():
            with open(cgroup2_mount() + "/cgroup.subtree_control", "w") as control:
                control.write("+memory")
            with open(os.path.dirname(self.cgroup.dir) + "/cgroup.subtree_control", "w") as control:
                control.write("+memory")
            self._write(self.cgroup.dir + "/memory.max")
        else:
            pytest.skip("no hierarchy with a memory controller")

    @staticmethod
    def _write(path):
        with open(path, "w") as limit:
            limit.write(str(LIMIT_BYTES))

    def close(self):
        for path in self.v1:
            wait_until(lambda: self._removed(path), "the limited cgroup is empty")

    @staticmethod
    def _removed(path):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def test_each_kill_is_counted_and_traced(lab):
    limited = lab.own(Limited(lab))
    agent = lab.own(Weir(lab))
    trace = lab.own(Trace(lab, "--socket=off", signal="oom"))
    wait_until(lambda: "tracing" in trace.process.output() or trace.ended, "the tracer says that it traces")

    pids = []
    for _ in range(KILLS):
        eater = lab.spawn("/usr/bin/python3", "-c", EATER, cgroup=limited.cgroup, cgroup1=limited.v1)
        assert eater.wait() == -signal.SIGKILL
        pids.append(eater.pid)

    trace.wait(lambda t: len([r for r in t.records if r["container"]["cgroup"] == limited.cgroup.path]) >= KILLS)
    seen = [r for r in trace.records if r["container"]["cgroup"] == limited.cgroup.path]
    assert [r["pid"] for r in seen] == pids
    assert {r["signal"] for r in seen} == {"oom"}
    assert {r["command"] for r in seen} <= {"python3", ""}

    snap = agent.snapshot()
    assert [p.value for p in snap.find("weir.oom.kills", limited.cgroup.path)] == [KILLS]
    assert any(s.startswith("weir_oom_kills_total{") for s in agent.scrape().splitlines())
    agent.law()


def test_the_signal_is_named_where_a_person_looks(lab):
    help_text = lab.spawn(os.environ.get("WEIR", "build/weir"), "--help")
    assert help_text.wait() == 0
    assert "oom" in help_text.output()
