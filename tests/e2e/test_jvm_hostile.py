"""Processes that look like JVMs and are none, or do not show what others show: a reason for each, and nothing is harmed."""

import json
import os
import shutil
import time

from jvm import JAVA, Jvm, libjvm
from lab import wait_until
from weir import Weir

# Maps each of its arguments, to execute where that is allowed, and says so.
MAPPER = """
import mmap, os, sys, time
maps = []
for path in sys.argv[1:]:
    fd = os.open(path, os.O_RDWR)
    size = os.fstat(fd).st_size
    maps.append(mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ))
    maps.append(mmap.mmap(fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC))
print("up", flush=True)
sys.stdin.read()
"""


def watched(agent):
    """[(name, how, reason, count)] of what the agent says that it watches."""
    status = json.loads(agent.get("/v1/status")[1])
    signal = [s for s in status["signals"] if s["name"] == "jvm"][0]
    return [(w["name"], w["how"], w["reason"], w["count"]) for w in signal["watched"]]


def mapper(lab, *paths, cgroup=None):
    read, write = os.pipe()
    process = lab.spawn("/usr/bin/python3", "-c", MAPPER, *paths, cgroup=cgroup, stdin=read)
    os.close(read)
    wait_until(lambda: process.output() == "up\n", process.output)
    return process, write


def lies(lab):
    """Files by the name of the library: {what: bytes}."""
    with open(libjvm(JAVA), "rb") as file:
        real = file.read()
    sections = int.from_bytes(real[40:48], "little")
    return {
        "empty_page": b"\0" * 4096,
        "no_elf": os.urandom(65536),
        "header_only": real[:64] + b"\0" * 4032,
        "cut": real[:len(real) // 2],
        "sections_beyond": real[:40] + (1 << 62).to_bytes(8, "little") + real[48:],
        "sections_of_noise": real[:sections] + os.urandom(len(real) - sections),
        "many_sections": real[:60] + b"\xff\xff" + real[62:],
    }


def test_files_that_lie_about_themselves(lab):
    agent = lab.own(Weir(lab, "--signals=jvm", "--interval=100ms"))
    files, made = lies(lab), []
    for what, data in files.items():
        os.mkdir(lab.path(what))
        made.append(lab.write(what + "/libjvm.so", data))
    pipes = [mapper(lab, path)[1] for path in made]
    def told(path):
        return [(how, reason) for name, how, reason, _ in watched(agent) if path in name or path in reason]

    wait_until(lambda: all(told(path) for path in made), lambda: watched(agent), 40)
    assert {how for path in made for how, _ in told(path)} == {"none"}
    # The real one is watched all the same.
    cgroup = lab.cgroup("java")
    jvm = Jvm(lab, cgroup=cgroup)
    wait_until(lambda: ("usdt", 1) in [(how, count) for name, how, _, count in watched(agent) if libjvm(JAVA) in name],
               lambda: watched(agent))
    since_ns = time.monotonic_ns()
    jvm.tell("gc 5")
    wait_until(lambda: agent.snapshot().count("weir.jvm.safepoint.duration", cgroup) >= len(jvm.safepoints(since_ns)) > 4, "5")
    for pipe in pipes:
        os.close(pipe)
    wait_until(lambda: not any(told(path) for path in made), lambda: watched(agent))
    agent.law()


def test_counters_that_are_cut_while_they_are_read(lab):
    agent = lab.own(Weir(lab, "--signals=jvm", "--jvm-source=counters", "--interval=100ms"))
    os.mkdir(lab.path("hsperfdata_root"))
    cgroup = lab.cgroup("java")
    jvm = Jvm(lab, cgroup=cgroup)
    with open("/tmp/hsperfdata_root/%d" % jvm.pid, "rb") as file:
        image = file.read()
    path = lab.write("hsperfdata_root/1", image)
    library = lab.write("libjvm.so", b"\x7fELF" + b"\0" * 8188)
    process, pipe = mapper(lab, library, path, cgroup=lab.cgroup("fake"))
    wait_until(lambda: any(library in name or library in reason for name, _, reason, _ in watched(agent)),
               lambda: watched(agent), 40)
    for size in (len(image) // 2, 32, 1, 0):
        os.truncate(path, size)
        agent.snapshot()
    with open(path, "r+b") as file:
        file.write(os.urandom(len(image)))
    agent.snapshot()
    assert process.alive() and agent.process.alive()
    jvm.tell("gc 5")
    wait_until(lambda: sum(p.value for p in agent.snapshot().find("weir.jvm.safepoints", cgroup)) == len(jvm.safepoints()),
               "those of the real one")
    os.close(pipe)
    agent.law()


def test_a_jvm_without_counters_is_still_seen(lab):
    """-XX:-UsePerfData takes the counters away, not the probes."""
    cgroup = lab.cgroup("java")
    jvm = Jvm(lab, "-XX:-UsePerfData", cgroup=cgroup)
    agent = lab.own(Weir(lab, "--signals=jvm"))
    since_ns = time.monotonic_ns()
    jvm.tell("gc 5", "dump 3")
    wait_until(lambda: agent.snapshot().count("weir.jvm.safepoint.duration", cgroup) == len(jvm.safepoints(since_ns)), "all")
    assert agent.snapshot().find("jvm.memory.used", cgroup) == []
    agent.law()
    other = lab.own(Weir(lab, "--signals=jvm", "--jvm-source=counters"))
    reasons = [reason for name, how, reason, _ in watched(other) if how == "none"]
    assert any("UsePerfData" in reason for reason in reasons), watched(other)


def test_five_hundred_jvms(lab):
    """As far as the agent can see: they have the library mapped. What it costs to know of them is bounded."""
    agent = lab.own(Weir(lab, "--signals=jvm", "--interval=1s"))
    path = lab.path("many")
    os.mkdir(path)
    library = path + "/libjvm.so"
    shutil.copyfile(libjvm(JAVA), library)
    crowd = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
m = mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
for _ in range(500):
    if not os.fork():
        sys.stdin.read()
        os._exit(0)
print("up", flush=True)
sys.stdin.read()
"""
    read, write = os.pipe()
    process = lab.spawn("/usr/bin/python3", "-c", crowd, library, stdin=read)
    os.close(read)
    wait_until(lambda: process.output() == "up\n", process.output)
    wait_until(lambda: sum(count for name, _, _, count in watched(agent) if library in name) == 501, lambda: watched(agent), 60)

    def cpu_s():
        with open("/proc/%d/stat" % agent.pid) as stat:
            words = stat.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    began, used = time.monotonic(), cpu_s()
    wait_until(lambda: time.monotonic() - began > 5, "five intervals", 10)
    assert cpu_s() - used < 0.25 * (time.monotonic() - began)
    os.close(write)
    wait_until(lambda: not any(library in name for name, *_ in watched(agent)), lambda: watched(agent), 60)
    agent.law()
