"""The table of JVMs on the screen, as text and as JSON. What an agent would tell of JVMs is made up here, so that every
figure is known."""

import http.server
import json
import os
import socketserver
import subprocess
import threading

import pytest

from lab import DEADLINE_S
from terminal import Terminal
from weir import BINARY

MS = 10**6
EACH_NS, SLOT = 9000, 2  # of all histograms here; slot 2 ends at 2^(-134/8) s = 9.07 us, slot 1 at 8.32 us
METRICS = [("weir.jvm.safepoint.duration", "histogram"), ("weir.jvm.safepoint.sync.duration", "histogram"),
           ("jvm.gc.duration", "histogram"), ("jvm.memory.used", "updowncounter"),
           ("jvm.memory.limit", "updowncounter"), ("jvm.thread.count", "updowncounter"),
           ("container.cpu.time", "counter"), ("http.server.request.duration", "histogram")]
NUMBERS = {name: number for number, (name, _) in enumerate(METRICS)}


def point(name, value=None, count=0, **attributes):
    made = {"metric": NUMBERS[name], "cgroup_id": 7, "start_ns": 0, "attributes": attributes}
    if value is None:
        return {**made, "low": SLOT, "slots": [count], "sum_ns": count * EACH_NS, "max_ns": EACH_NS}
    return {**made, "value": value}


def jvm_points(seconds):
    """Each second 5000 pauses, 3000 of them collections; 150 of 512 MiB in use; 23 threads."""
    pool = {"jvm.memory.type": "heap"}
    return [
        point("weir.jvm.safepoint.duration", count=5000 * seconds),
        point("weir.jvm.safepoint.sync.duration", count=5000 * seconds),
        point("jvm.gc.duration", count=3000 * seconds),
        point("jvm.memory.used", 50 << 20, **pool, **{"jvm.memory.pool.name": "G1 Eden Space"}),
        point("jvm.memory.used", 100 << 20, **pool, **{"jvm.memory.pool.name": "G1 Old Gen"}),
        point("jvm.memory.used", 70 << 20, **{"jvm.memory.pool.name": "Metaspace", "jvm.memory.type": "non_heap"}),
        point("jvm.memory.limit", 512 << 20, **pool, **{"jvm.memory.pool.name": "G1 Old Gen"}),
        point("jvm.thread.count", 20, **{"jvm.thread.daemon": "true"}),
        point("jvm.thread.count", 3, **{"jvm.thread.daemon": "false"}),
    ]


def container(name, points):
    return {"container": {"id": "", "name": name, "pod_uid": "", "runtime": "", "cgroup": "/" + name,
                          "service_name": name, "cgroup_id": 7}, "points": points}


class Agent:
    """Answers GET /v1/snapshot as one second later each time. Two containers use the CPU and serve requests; if there is
    a JVM, it is in "shop"."""

    def __init__(self, path, jvm):
        self.path = str(path)
        self.jvm = jvm
        self.seconds = 0
        agent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(agent.snapshot()).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

            def address_string(self):
                return "unix"

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server = Server(self.path, Handler)
        os.chmod(self.path, 0o600)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def snapshot(self):
        self.seconds += 1
        now = self.seconds
        busy = [point("container.cpu.time", 250 * MS * now),
                point("http.server.request.duration", count=now)]
        return {"time_ns": now * 1000 * MS, "time_unix_ns": (1700000000 + now) * 1000 * MS, "start_ns": 0,
                "metrics": [{"name": name, "unit": "", "text": "", "kind": kind, "scale": 0}
                            for name, kind in METRICS],
                "resources": [container("plain", busy), container("shop", busy + (jvm_points(now) if self.jvm else []))]}

    def close(self):
        self.server.shutdown()
        self.thread.join(DEADLINE_S)
        self.server.server_close()


@pytest.fixture
def fake(lab, tmp_path):
    return lambda jvm=True: lab.own(Agent(tmp_path / "weir.sock", jvm))


def top(agent, *args, columns=120):
    done = subprocess.run([BINARY, "top", "--once", "--interval=100ms", "--socket=" + agent.path, *args],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S, check=True,
                          env={**os.environ, "COLUMNS": str(columns)})
    return done.stdout


def test_text(fake):
    tables = top(fake()).split("\n\n")
    assert len(tables) == 3
    titles, row = (line.split() for line in tables[2].splitlines())  # "plain" has no JVM
    assert titles == ["CONTAINER", "STOP%", "SAFE/S", "PAUSE99", "PAUSEMAX", "SYNCMAX", "GC%", "HEAP", "HEAPMAX",
                      "THREADS"]
    cells = dict(zip(titles, row, strict=True))
    assert (cells["CONTAINER"], cells["STOP%"], cells["SAFE/S"], cells["GC%"]) == ("shop", "4.5", "5000", "2.7")
    assert (cells["PAUSEMAX"], cells["SYNCMAX"]) == ("9.00us", "9.00us")
    assert (cells["HEAP"], cells["HEAPMAX"], cells["THREADS"]) == ("150M", "512M", "23")


def test_text_without_a_jvm(fake):
    text = top(fake(jvm=False))
    assert text.count("CONTAINER") == 2 and "STOP%" not in text


def test_json(fake):
    table = json.loads(top(fake(), "-o", "json", "--sort=heap"))
    rows = {row["container"]["name"]: row for row in table["containers"]}
    assert rows["plain"]["jvm"] is None
    jvm = rows["shop"]["jvm"]
    assert list(jvm) == ["stopped_percent", "safepoints_per_s", "pause_p50_ns", "pause_p99_ns", "pause_max_ns",
                         "sync_p99_ns", "sync_max_ns", "gc_percent", "heap_used_bytes", "heap_limit_bytes", "threads"]
    assert jvm["stopped_percent"] == pytest.approx(4.5) and jvm["safepoints_per_s"] == 5000
    assert jvm["gc_percent"] == pytest.approx(2.7)
    assert jvm["heap_used_bytes"] == 150 << 20 and jvm["heap_limit_bytes"] == 512 << 20 and jvm["threads"] == 23
    assert 8300 < jvm["pause_p50_ns"] <= jvm["pause_p99_ns"] <= jvm["pause_max_ns"] == EACH_NS
    assert 8300 < jvm["sync_p99_ns"] <= jvm["sync_max_ns"] == EACH_NS


def screen_of(lab, agent, *args):
    screen = Terminal(lab, BINARY, "top", "--interval=200ms", "--socket=" + agent.path, *args)
    screen.read("CONTAINER")
    return screen


def press(screen, keys, wanted):
    screen.send(keys + "\x0c")  # the whole picture, not only what changes
    return screen.read(wanted)


def test_keys_go_through_three_tables(lab, fake):
    screen = screen_of(lab, fake())
    press(screen, "p", "sorted by P99")
    press(screen, "v", "sorted by CPU%")
    press(screen, "v", "1 containers with JVMs  sorted by STOP%")
    for key, title in (("p", "PAUSEMAX"), ("c", "GC%"), ("s", "STOP%"), ("n", "CONTAINER"), ("m", "HEAP")):
        press(screen, key, "sorted by " + title)
    press(screen, "?", "time in collections")
    press(screen, "q", "HEAPMAX")
    text = press(screen, "\r", "times to safepoint in")
    assert " pauses in " in text and "STOP%" in text
    press(screen, "q", "sorted by HEAP")
    press(screen, "v", "sorted by P99")  # each table keeps its order
    press(screen, "vv", "sorted by HEAP")
    press(screen, "/nobody\r", "nothing to show")
    screen.send("\x1b")
    screen.read("shop")
    screen.send("q")
    assert screen.wait() == 0
    assert screen.restored()


def test_keys_leave_out_the_table_of_jvms_where_there_is_none(lab, fake):
    screen = screen_of(lab, fake(jvm=False), "--sort=pause")  # unless asked for
    press(screen, "", "0 containers with JVMs  sorted by PAUSEMAX")
    press(screen, "v", "sorted by REQ/S")
    press(screen, "v", "sorted by CPU%")
    press(screen, "v", "sorted by REQ/S")
    screen.send("q")
    assert screen.wait() == 0
