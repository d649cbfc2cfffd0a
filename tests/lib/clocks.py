"""Stopped-time clocks of JVMs in the hands of a test: it writes the maps of a running agent itself (bpf/jvm.h) and so
knows to the nanosecond for how long a "JVM" stood still, which may be any process."""

import contextlib
import ctypes
import json
import mmap
import os
import platform
import socket
import struct
import sys
import time

from lab import libc, run

SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
MAP_UPDATE, MAP_DELETE, MAP_FD_BY_ID = 2, 3, 14
PAUSES = 8
CONTROL_JVMS = 16  # offset in struct control


def bpf(command, attr):
    buf = ctypes.create_string_buffer(attr.ljust(128, b"\0"), 128)
    got = libc.syscall(SYS_BPF, command, buf, 128)
    if got < 0:
        err = ctypes.get_errno()
        raise OSError(err, "bpf(%d): %s" % (command, os.strerror(err)))
    return got


class Map:
    def __init__(self, number):
        self.fd = bpf(MAP_FD_BY_ID, struct.pack("I", number))

    def update(self, key, value):
        keep = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
        bpf(MAP_UPDATE, struct.pack("IxxxxQQQ", self.fd, ctypes.addressof(keep[0]), ctypes.addressof(keep[1]), 0))

    def delete(self, key):
        keep = ctypes.create_string_buffer(key, len(key))
        with contextlib.suppress(FileNotFoundError):
            bpf(MAP_DELETE, struct.pack("IxxxxQ", self.fd, ctypes.addressof(keep)))

    def close(self):
        os.close(self.fd)


class Clocks:
    """The maps of @agent, which must not run the signal that writes them."""

    def __init__(self, agent):
        held = agent.links()["map"]
        ids = {item.get("name"): item["id"] for item in json.loads(run("bpftool", "-j", "map", "show"))
               if item["id"] in held}
        self.clocks, self.cgroups, control = Map(ids["jvm_clocks"]), Map(ids["jvm_cgroups"]), Map(ids[".data.control"])
        self.page = mmap.mmap(control.fd, mmap.PAGESIZE)
        control.close()
        self.look(1)

    def look(self, jvms):
        """Tells the kernel half that there are so many JVMs."""
        self.page[CONTROL_JVMS:CONTROL_JVMS + 4] = struct.pack("I", jvms)

    def cgroup(self, cgroup, jvms, pid):
        self.cgroups.update(struct.pack("Q", cgroup.id), struct.pack("II", jvms, pid))

    def close(self):
        self.page.close()
        self.clocks.close()
        self.cgroups.close()


class Jvm:
    """One clock. What the methods do is written at once, but for pause(..., write=False)."""

    def __init__(self, clocks, pid, count=0, stopped_ns=0):
        self.clocks, self.pid = clocks, pid
        self.seq, self.count, self.stopped_ns, self.open_ns = 0, count, stopped_ns, 0
        self.last = [(0, 0)] * PAUSES

    def write(self):
        self.clocks.clocks.update(struct.pack("I", self.pid), struct.pack(
            "IIQQ16Q", self.seq, self.count % (1 << 32), self.stopped_ns, self.open_ns,
            *(value for pause in self.last for value in pause)))

    def begin(self):
        self.open_ns = time.monotonic_ns()
        self.write()

    def end(self, write=True):
        now = time.monotonic_ns()
        length = now - self.open_ns
        self.last[self.count % PAUSES] = self.open_ns, now
        self.count += 1
        self.stopped_ns += length
        self.open_ns = 0
        if write:
            self.write()
        return length

    def pauses(self, count, each_ns=1000):
        """That many pauses, now, each of at least @each_ns. Returns their lengths."""
        lengths = []
        for _ in range(count):
            self.open_ns = time.monotonic_ns()
            while time.monotonic_ns() < self.open_ns + each_ns:
                pass
            lengths.append(self.end(write=False))
        self.write()
        return lengths

    def close(self):
        self.clocks.clocks.delete(struct.pack("I", self.pid))


class Sender:
    """Another process, which sends on sockets of the test."""

    def __init__(self, lab):
        self.control, theirs = socket.socketpair()
        self.process = lab.spawn(sys.executable, os.path.abspath(__file__), stdin=theirs)
        theirs.close()
        self.pid = self.process.pid

    def send(self, sock, data):
        socket.send_fds(self.control, [data], [sock.fileno()])
        self.control.settimeout(20)
        if self.control.recv(1) != b".":
            raise RuntimeError("the sender ended: " + self.process.output())

    def close(self):
        self.control.close()


def main():
    control = socket.socket(fileno=0)
    while True:
        data, fds, _, _ = socket.recv_fds(control, 1 << 16, 1)
        if not data:
            return
        with socket.socket(fileno=fds[0]) as sock:
            sock.sendall(data)
        control.sendall(b".")


if __name__ == "__main__":
    main()
