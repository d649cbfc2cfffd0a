"""Saturation and overload: every request in counts and histograms, whatever happens to the agent."""

import contextlib
import os
import re
import signal
from collections import Counter

import pytest

import servers
from lab import PREFIX, cgroup1_mount, cgroup2_mount, wait_until
from observer import counts
from weir import CLIENT, SERVER, Weir

# 17,576 paths; routes do not generalise short words
PATHS = """
local n = 0
local function letter(i) return string.char(97 + math.floor(n / i) % 26) end
request = function()
  n = n + 1
  return wrk.format(nil, "/p/" .. letter(1) .. letter(26) .. letter(676))
end
"""


def wrk(lab, client, server, seconds, path="/", connections=16, script=None):
    argv = ["/usr/bin/wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds]
    if script:
        argv += ["-s", script]
    return lab.spawn(*argv, server.url(path), cgroup=client)


def wrk_done(process):
    assert process.wait(120) == 0, process.output()
    assert "Socket errors" not in process.output()
    return int(re.search(r"(\d+) requests in", process.output())[1])


def settled(agent, server, client, done, connections, rounds=1):
    """Waits until weir's count equals nginx's own; checks both roles, the law and the histograms. The snapshot."""
    asked = [0]

    def same():
        total = servers.nginx_requests(server)  # counts itself; asked from outside of both cgroups
        asked[0] += 1
        snap = agent.snapshot()
        served, made = snap.count(SERVER, server.cgroup), snap.count(CLIENT, client)
        same.text = "nginx %d, served %d, made %d + %d" % (total, served, made, asked[0])
        return served == total == made + asked[0] and snap
    snap = wait_until(same, lambda: same.text, 30)
    made = counts(snap, CLIENT, client)
    assert done <= made[200, None] <= done + connections * rounds
    assert set(made) <= {(200, None), (200, "connection_reset"), (200, "connection_closed"), (None, "connection_reset"),
                         (None, "connection_closed")}
    for metric, cgroup in ((SERVER, server.cgroup), (CLIENT, client)):
        for point in snap.find(metric, cgroup):
            assert sum(point.slots) == point.count
    return snap


def test_a_million_requests(lab):
    """wrk at saturation: weir's count equals nginx's, and the agent's memory does not move."""
    agent = lab.own(Weir(lab, "--signals=http"))
    server = servers.nginx(lab, lab.cgroup("nginx"), lab.netns(), log=False)
    client = lab.cgroup("wrk")
    done = wrk_done(wrk(lab, client, server, 1))
    before = agent.rss_bytes()
    rounds = 1
    while done < 1_000_000:
        done += wrk_done(wrk(lab, client, server, 5))
        rounds += 1
    settled(agent, server, client, done, 16, rounds)
    law = agent.law()
    assert not set(law["lost"]) & {"ring", "table", "busy", "memory"}, law  # others may have cut connections
    assert agent.rss_bytes() - before < 1 << 20


@contextlib.contextmanager
def fifth_of_a_cpu(lab):
    """Directories of cgroups that hold whoever is in them to 0.2 CPU: v1's controller, or v2's where it is there."""
    name = "%s%d-cpu" % (PREFIX, lab.pid)
    mount = cgroup1_mount("cpu")
    if mount:
        where = os.path.join(mount, name)
        os.mkdir(where)
        try:
            for knob, value in (("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "20000")):
                with open(os.path.join(where, knob), "w") as out:
                    out.write(value)
            yield [where], lambda: int(re.search(r"nr_throttled (\d+)", open(where + "/cpu.stat").read())[1])
        finally:
            for pid in open(where + "/cgroup.procs").read().split():
                os.kill(int(pid), signal.SIGKILL)
            wait_until(lambda: not open(where + "/cgroup.procs").read(), "empty cpu cgroup")
            os.rmdir(where)
        return
    if "cpu" not in open(cgroup2_mount() + "/cgroup.subtree_control").read().split():
        pytest.skip("no cpu controller to hold the agent to 0.2 CPU")
    group = lab.own(lab.cgroup("cpu"))
    with open(os.path.dirname(group.dir) + "/cgroup.subtree_control", "w") as out:
        out.write("+cpu")
    with open(group.dir + "/cpu.max", "w") as out:
        out.write("20000 100000")
    yield [group.dir], lambda: int(re.search(r"nr_throttled (\d+)", open(group.dir + "/cpu.stat").read())[1])


@pytest.mark.parametrize("traced", [False, True], ids=["counting", "traced"])
def test_agent_held_to_a_fifth_of_a_cpu(lab, traced):
    """17,576 paths at saturation, twice: with a tracer every request wants a record, so the ring is full all the time."""
    with fifth_of_a_cpu(lab) as (groups, throttled):
        agent = lab.own(Weir(lab, "--signals=http", cgroup1=groups))
        server = servers.nginx(lab, lab.cgroup("nginx"), lab.netns(), log=False)
        client = lab.cgroup("wrk")
        script = lab.write("paths.lua", PATHS)
        trace = lab.own(agent.trace("--path=/fence-*")) if traced else None
        if traced:
            trace.fence()  # it is attached
        done = wrk_done(wrk(lab, client, server, 5, script=script))
        snap = settled(agent, server, client, done, 16)
        law = agent.law()
        assert not law["lost"].get("ring"), law
        assert throttled() > 0, "the limit was never felt"
        assert agent.process.alive() and (not trace or trace.process.alive())
        agent.close()


def test_reader_stopped_for_ten_seconds(lab):
    agent = lab.own(Weir(lab, "--signals=http"))
    server = servers.nginx(lab, lab.cgroup("nginx"), lab.netns(), log=False)
    client = lab.cgroup("wrk")
    script = lab.write("paths.lua", PATHS)
    agent.process.signal(signal.SIGSTOP)
    done = wrk_done(wrk(lab, client, server, 10, script=script))
    agent.process.signal(signal.SIGCONT)
    snap = settled(agent, server, client, done, 16)
    law = agent.law()
    assert not law["lost"].get("ring"), law
    without = sum(p.count for p in snap.find(SERVER, server.cgroup) if "http.route" not in p.attributes)
    assert without > 0, "the ring cannot have held %d records" % done
    told = [p for p in snap.points if p.metric.startswith("weir.") and "route" in "%s %r" % (p.metric, p.attributes)
            and (p.value or 0) > 0]
    assert told, "how many lost their route must be told"


def test_two_statuses_and_roles_under_overload(lab):
    """Errors keep their share: /fail and / in turn, with the reader stopped."""
    agent = lab.own(Weir(lab, "--signals=http"))
    server = servers.nginx(lab, lab.cgroup("nginx"), lab.netns())
    client = lab.cgroup("wrk")
    script = lab.write("mix.lua", """
local n = 0
request = function()
  n = n + 1
  if n % 8 == 0 then return wrk.format(nil, "/fail") end
  return wrk.format(nil, "/p/" .. string.rep("z", n % 60))
end
""")
    agent.process.signal(signal.SIGSTOP)
    process = wrk(lab, client, server, 2, script=script)
    assert process.wait(60) == 0
    agent.process.signal(signal.SIGCONT)

    def same():
        with open(server.access_log) as log:
            lines = Counter(int(line.split()[2]) for line in log)
        got = counts(agent.snapshot(), SERVER, server.cgroup)
        same.text = "nginx's log %r, weir %r" % (lines, got)
        return sum(lines.values()) == sum(got.values()) and (lines, got)
    lines, got = wait_until(same, lambda: same.text, 30)
    for status in (200, 500):
        # a request in flight when wrk hung up: nginx logs what it would have sent, weir that nobody got it
        assert lines[status] - 16 <= got[status, None] <= lines[status]
    agent.law()
