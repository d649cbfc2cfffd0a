"""Runs weir under test: an agent with its own socket and port, tracers, and what they say."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

from lab import DEADLINE_S, port_free, run, wait_until
from prom import Samples
from wire import Wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("WEIR") or os.path.join(os.environ.get("BUILD") or os.path.join(ROOT, "build"), "weir"))

SERVER = "http.server.request.duration"
CLIENT = "http.client.request.duration"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=DEADLINE_S):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Point:
    """One series of a snapshot."""

    def __init__(self, metric, container, point):
        self.metric = metric["name"]
        self.cgroup = (container or {}).get("cgroup", "")
        self.container = container
        self.attributes = point.get("attributes", {})
        self.count = point.get("count", 0)
        self.sum_ns = point.get("sum_ns", 0)
        self.max_ns = point.get("max_ns", 0)
        self.slots = point.get("slots", [])
        self.value = point.get("value")

    def __repr__(self):
        return "<%s %s %r %s>" % (self.metric, self.cgroup, self.attributes, self.value or self.count)


class Snapshot:
    def __init__(self, text):
        data = json.loads(text)
        self.points = [
            Point(data["metrics"][point["metric"]], resource.get("container"), point)
            for resource in data["resources"] for point in resource["points"]]

    def find(self, metric, cgroup=None, **attributes):
        """Attribute names are given with _ for dots."""
        path = getattr(cgroup, "path", cgroup)
        return [p for p in self.points
                if p.metric == metric and (path is None or p.cgroup == path or p.cgroup.startswith(path + "/"))
                and all({name.replace(".", "_"): have for name, have in p.attributes.items()}.get(key) == value
                        for key, value in attributes.items())]

    def count(self, metric, cgroup=None, **attributes):
        return sum(p.count for p in self.find(metric, cgroup, **attributes))

    def value(self, metric, **attributes):
        return sum(p.value or 0 for p in self.find(metric, "", **attributes))

    def statuses(self, metric, cgroup):
        """{status: count}; None: no answer."""
        out = {}
        for p in self.find(metric, cgroup):
            status = p.attributes.get("http.response.status_code")
            out[status] = out.get(status, 0) + p.count
        return out


class Weir:
    """A running agent. Ready when the constructor returns."""

    def __init__(self, lab, *options, cgroup=None, cgroup1=None, interval="200ms", prometheus=True, wait=True,
                 argv=(), env=None):
        self.lab = lab
        self.socket = lab.path("weir%d.sock" % next(lab.numbers))
        self.port = port_free("127.0.0.1") if prometheus else 0
        self.started_ns = time.monotonic_ns()
        self.process = lab.spawn(
            *argv, BINARY, "agent", "--socket=" + self.socket, "--interval=" + interval,
            "--prometheus=" + ("127.0.0.1:%d" % self.port if prometheus else "off"), *options,
            cgroup=cgroup, cgroup1=cgroup1, env=env)
        if wait:
            self.wait_ready()

    @property
    def pid(self):
        return self.process.pid

    def wait_ready(self, deadline_s=DEADLINE_S):
        def ready():
            if not self.process.alive():
                raise RuntimeError("the agent ended: %s" % self.process.output())
            try:
                return self.get("/readyz")[0] == 200
            except OSError:
                return False
        wait_until(ready, lambda: "agent ready: " + self.process.output(), deadline_s)

    def get(self, path, timeout=DEADLINE_S):
        """(status, text) over the unix socket."""
        connection = UnixConnection(self.socket, timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8")
        finally:
            connection.close()

    def scrape(self, accept=None):
        """Text of /metrics over TCP."""
        request = urllib.request.Request("http://127.0.0.1:%d/metrics" % self.port)
        if accept:
            request.add_header("Accept", accept)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.read().decode("utf-8")

    def metrics(self):
        return Samples(self.scrape())

    def snapshot(self):
        """Fresh: everything that the kernel half has counted until now is in it."""
        status, text = self.get("/v1/snapshot")
        assert status == 200, text
        return Snapshot(text)

    def status(self):
        return json.loads(self.get("/v1/status")[1])

    def law(self):
        """Asserts seen = delivered + filtered + lost of each signal, and returns {"seen": .., "lost": {reason: ..}}
        of http. Others use the network of this machine too: what is between two stages at the moment of a snapshot is
        not there in the next one, what is lost without being counted is missing in all."""
        return wait_until(lambda: self._law(self.snapshot()), lambda: "seen = delivered + filtered + lost: %r" % (
            [p for p in self.snapshot().points if p.metric.startswith("weir.signal.")]), 5)["http"]

    def _law(self, snap):
        out = {}
        for name in {p.attributes["signal"] for p in snap.find("weir.signal.seen", "")} | {"http"}:
            seen = snap.value("weir.signal.seen", signal=name)
            delivered = snap.value("weir.signal.delivered", signal=name)
            filtered = snap.value("weir.signal.filtered", signal=name)
            lost = {p.attributes["reason"]: p.value for p in snap.find("weir.signal.lost", "", signal=name)}
            if seen != delivered + filtered + sum(lost.values()):
                return None
            out[name] = {"seen": seen, "delivered": delivered, "filtered": filtered,
                         "lost": {reason: n for reason, n in lost.items() if n}}
        return out

    def trace(self, *options, **kwargs):
        return Trace(self.lab, "--socket=" + self.socket, *options, **kwargs)

    def rss_bytes(self):
        return rss_bytes(self.pid)

    def links(self):
        """Ids of the kernel objects that the agent's file descriptors hold: {"link": {..}, "prog": {..}, "map": {..}}."""
        return bpf_objects(self.pid)

    def stop(self, number=signal.SIGTERM, deadline_s=DEADLINE_S):
        self.process.signal(number)
        return self.process.wait(deadline_s)

    def close(self):
        self.process.close()


def rss_bytes(pid):
    with open("/proc/%d/status" % pid) as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024


def cpu_s(pid):
    """CPU time used by all threads of a process."""
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bpf_objects(pid):
    out = {"link": set(), "prog": set(), "map": set()}
    for fd in os.listdir("/proc/%d/fdinfo" % pid):
        try:
            with open("/proc/%d/fdinfo/%s" % (pid, fd)) as info:
                for kind, number in re.findall(r"^(link|prog|map)_id:\s+(\d+)", info.read(), re.M):
                    out[kind].add(int(number))
        except OSError:
            continue
    return out


def bpf_ids(kind):
    """Ids of all links, programs or maps that the kernel has now."""
    return {item["id"] for item in json.loads(run("bpftool", "-j", kind, "show") or "[]")}


class Trace:
    """`weir trace http -o json`: its lines as they come. records is append-only."""

    def __init__(self, lab, *options, signal="http", cgroup=None, env=None):
        self.lab, self.records, self.other = lab, [], []
        self.cond = threading.Condition()
        self.process = lab.spawn(BINARY, "trace", signal, "-o", "json", *options, cgroup=cgroup, env=env,
                                 stdout=subprocess.PIPE)
        self.ended = False
        self.bad = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.fence_wire = None

    def _read(self):
        for line in self.process.popen.stdout:
            try:
                record = json.loads(line.decode("utf-8"))
            except ValueError:
                self.bad.append(line)
                continue
            with self.cond:
                (self.records if "signal" in record else self.other).append(record)
                self.cond.notify_all()
        with self.cond:
            self.ended = True
            self.cond.notify_all()

    def of(self, cgroup, role=None):
        """Records of a cgroup (and those below it) so far, in the order in which they came."""
        path = getattr(cgroup, "path", cgroup)
        with self.cond:
            return [r for r in self.records
                    if (r["container"]["cgroup"] == path or r["container"]["cgroup"].startswith(path + "/"))
                    and (role is None or r["role"] == role)]

    def wait(self, condition, what="a record", deadline_s=DEADLINE_S):
        """Waits until condition(self) is true; every new line is a reason to look again."""
        deadline = time.monotonic() + deadline_s
        with self.cond:
            while True:
                value = condition(self)
                if value:
                    return value
                left = deadline - time.monotonic()
                if left <= 0 or self.ended and not self.cond.wait(0.05):
                    raise TimeoutError("trace: no %s within %g s; %d records, bad %r; %s" % (
                        what() if callable(what) else what, deadline_s, len(self.records), self.bad[:3], self.process.output()[-2000:]))
                self.cond.wait(min(left, 0.5))

    def fence(self):
        """Returns when everything that had ended before the call has been printed: an exchange of its own is made
        and waited for. The first fence also waits until the tracer is attached."""
        if not self.fence_wire:
            self.fence_wire = self.lab.own(Wire(self.lab.cgroup("fence-server"), self.lab.cgroup("fence-client")))
            self.fence_ends = self.fence_wire.connect()
            self.fence_number = 0
        deadline = time.monotonic() + DEADLINE_S
        server = self.fence_wire.server_cgroup.path
        client = self.fence_wire.client_cgroup.path
        while True:
            self.fence_number += 1
            path = "/fence-%d" % self.fence_number
            self.fence_wire.exchange("GET %s HTTP/1.1\r\nHost: f\r\n\r\n" % path,
                                     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", self.fence_ends)
            try:
                return self.wait(
                    lambda t: any(r["path"] == path and r["container"]["cgroup"] in (server, client)
                                  for r in t.records[-1000:]),
                    "fence", 1.0)
            except TimeoutError:
                if time.monotonic() > deadline or not self.process.alive():
                    raise

    def stop(self, number=signal.SIGINT):
        """Ctrl-C; returns (status, what stood on stderr)."""
        self.process.signal(number)
        status = self.process.wait()
        self.thread.join(DEADLINE_S)
        return status, self.process.output()

    def close(self):
        self.process.close()
        self.thread.join(1)


def digest(record):
    """What is exact in a record, as a tuple to compare: method, path, status, error, request and response bytes.
    An error that only repeats the status is left out (see expected_error)."""
    status = record.get("status") or None
    error = record.get("error") or None
    return (record["method"], record["path"], status, None if error == str(status) else error,
            record["request_bytes"], record["response_bytes"])


def expected_error(role, status):
    """error.type of a whole response, by the semantic conventions: a server is at fault from 500, a client's request
    has failed from 400."""
    return str(status) if status and status >= (500 if role == "server" else 400) else None
