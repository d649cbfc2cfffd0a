"""The command line: mistakes get one clear line and a status; trace, top, hist and doctor say the same with and without
a running agent; a terminal is given back whatever happens."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from lab import DEADLINE_S, cgroup2_mount, port_free, wait_until
from observer import counts
from terminal import Terminal
from weir import BINARY, ROOT, SERVER, Weir, bpf_ids
from wire import C, S, Wire

DEMO = os.path.join(ROOT, "deploy", "demo", "run")
OK5 = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
ERROR = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
POD = "8b1e2c5a-0f3d-4c6b-9a7e-112233445566"
ID = "0c7b1f6d4e5a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b3c"


def weir(*args, env=None, argv=(), deadline_s=DEADLINE_S):
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "WEIR_"))}
    return subprocess.run([*argv, BINARY, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=deadline_s, env={**clean, **(env or {})})


def one_line(done, status, *parts):
    """It ended with @status and exactly one line on stderr, which holds all @parts."""
    assert done.returncode == status, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in lines[0], lines[0]
    assert done.stdout == ""


def get(path="/"):
    return "GET %s HTTP/1.1\r\nHost: t\r\n\r\n" % path


@pytest.fixture
def wire(lab):
    return lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))


@pytest.fixture
def agent(lab):
    made = lab.own(Weir(lab))
    yield made
    if made.process.alive():
        wait_until(lambda: lawful(made), "a moment at which seen = delivered + filtered + lost")


def lawful(agent):
    """The law holds when nothing is on its way; others may have traffic on this machine."""
    try:
        return agent.law()
    except AssertionError:
        return None


def play(wire, count, path="/", response=OK5):
    for _ in range(count):
        wire.play(C(get(path)), S(response))


# ---- mistakes


@pytest.mark.parametrize("args, parts", [
    ([], ["which command?", "weir --help"]),
    (["tpo"], ["there is no command 'tpo'", "weir --help"]),
    (["top", "--contianer=x"], ["--contianer=x", "weir top --help"]),
    (["top", "--sort=size"], ["--sort", "'size' is none of rate|container"]),
    (["top", "--interval=1"], ["'1' is not a time such as"]),
    (["top", "now"], ["'now' is one word too many"]),
    (["trace"], ["SIGNAL is missing"]),
    (["trace", "smtp"], ["there is no signal 'smtp'", "http"]),
    (["trace", "http", "--status=6xy"], ["status", "'6xy' is not like"]),
    (["trace", "http", "--role=proxy"], ["--role", "none of both|server|client"]),
    (["trace", "http", "--min=fast"], ["--min", "'fast'"]),
    (["trace", "http", "--path=" + "a" * 300], ["path", "255 bytes"]),
    (["hist"], ["METRIC is missing"]),
    (["hist", "http.latency"], ["there is no histogram 'http.latency'", SERVER]),
    (["hist", SERVER, "--by=colour"], ["--by", "none of container|pod|namespace|route"]),
    (["hist", SERVER, "--duration=0", "--socket=off"], ["--duration=0", "running agent"]),
    (["agent", "--signals=smtp"], ["there is no signal 'smtp'"]),
    (["agent", "--interval=0s"], ["outside of"]),
    (["agent", "-c"], ["-c needs a value"]),
    (["agent", "--prometheus=nowhere"], ["nowhere"]),
    (["agent", "--route=users"], ["'users' must begin with '/'"]),
    (["version", "--verbose"], ["--verbose"]),
], ids=lambda value: " ".join(value)[:40] if value and isinstance(value, list) else None)
def test_wrong_usage_is_one_line_and_status_2(args, parts):
    done = weir(*args)
    if args[:2] == ["agent", "--prometheus=nowhere"]:
        one_line(done, done.returncode, *parts)
        assert done.returncode in (1, 2)
    else:
        one_line(done, 2, *parts)


@pytest.mark.parametrize("text, parts", [
    ("interval: 10s\nintervall: 5s\n", [":2: there is no option 'intervall'"]),
    ("prometheus: off\n\ninterval: soon\n", [":3: interval: 'soon'"]),
    ("signals: [http\n", ["weir.yaml:"]),
    ("a: b: c\n", [":1: "]),
    ("\xff\xfe\xfa".encode("latin-1"), ["weir.yaml"]),
], ids=["unknown_key", "bad_value", "open_list", "two_colons", "no_utf8"])
def test_broken_configuration_says_where(lab, text, parts):
    path = lab.write("weir.yaml", text)
    one_line(weir("agent", "-c", path), 2, path, *parts)


def test_missing_configuration(lab):
    one_line(weir("agent", "-c", lab.path("none.yaml")), 1, "none.yaml", "No such file")


def test_port_in_use(lab):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        one_line(weir("agent", "--prometheus=" + address, "--socket=" + lab.path("s")), 1, address, "in use",
                 "--prometheus")


def test_socket_path_that_cannot_be_written(lab):
    one_line(weir("agent", "--prometheus=off", "--socket=/proc/weir.sock"), 1, "/proc/weir.sock")
    one_line(weir("agent", "--prometheus=off", "--socket=" + lab.path("a" * 150)), 1, "a" * 80)


def test_second_agent_on_the_same_socket(lab, agent):
    done = weir("agent", "--prometheus=off", "--socket=" + agent.socket)
    one_line(done, 1, agent.socket)
    assert agent.get("/readyz")[0] == 200


@pytest.fixture
def nobody(lab):
    """Runs as a user without any privilege; the directory of the build may be closed to it."""
    copy = shutil.copy(BINARY, lab.path("weir"))
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "env", "-u", "HOME"], copy


@pytest.mark.parametrize("args", [["top", "--once"], ["trace", "http"], ["hist", SERVER, "--duration=1s"],
                                  ["agent", "--prometheus=off"]], ids=lambda args: args[0])
def test_without_privilege(lab, nobody, args):
    argv, binary = nobody
    done = subprocess.run([*argv, binary, *args, "--socket=off"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
    one_line(done, 1, "CAP_BPF")


def test_doctor_without_privilege(lab, nobody):
    argv, binary = nobody
    done = subprocess.run([*argv, binary, "doctor", "--socket=off", "-o", "json"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
    assert done.returncode == 1, done
    report = json.loads(done.stdout)
    assert report["ok"] is False
    http = [s for s in report["signals"] if s["name"] == "http"][0]
    assert not http["runs"] and "CAP_BPF" in http["reason"]


def in_namespace(*commands):
    """Words that run what follows in a mount namespace prepared by @commands."""
    return ["unshare", "--mount", "sh", "-c", " && ".join([*commands, 'exec "$0" "$@"'])]


def test_without_cgroup2(lab):
    argv = in_namespace("umount -l %s" % cgroup2_mount())
    one_line(weir("top", "--once", "--socket=off", argv=argv), 1, "cgroup", "mount")
    one_line(weir("agent", "--prometheus=off", "--socket=" + lab.path("s"), argv=argv), 1, "cgroup", "mount")
    done = weir("doctor", "--socket=off", argv=argv)
    assert done.returncode == 1
    assert "CANNOT" in done.stdout and "cgroup v2  not found" in done.stdout


def test_a_cgroup_root_that_is_none(lab):
    one_line(weir("agent", "--prometheus=off", "--socket=off", "--cgroup-root=/tmp"), 1, "'/tmp' is no cgroup v2")


def test_without_btf():
    argv = in_namespace("mount -t tmpfs none /sys/kernel/btf")
    one_line(weir("top", "--once", "--socket=off", argv=argv), 1, "BTF", "CONFIG_DEBUG_INFO_BTF")
    done = weir("doctor", "--socket=off", "-o", "json", argv=argv)
    assert done.returncode == 1
    assert [f["available"] for f in json.loads(done.stdout)["features"] if "BTF" in f["name"]] == [False]


def test_a_wrong_otel_variable_is_a_warning_and_no_more(lab):
    agent = lab.own(Weir(lab, "--prometheus=off", prometheus=False,
                         env={"OTEL_METRIC_EXPORT_INTERVAL": "10s", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}))
    output = agent.process.output()
    assert "OTEL_METRIC_EXPORT_INTERVAL: '10s'" in output
    assert "'grpc' is none of http/protobuf, ignoring it" in output


# ---- what is said without being asked for work


@pytest.mark.parametrize("verb", ["agent", "trace", "top", "hist", "doctor", "jvm", "version"])
def test_help_of_each_command(verb):
    done = weir(verb, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("usage: weir " + verb)
    assert "Examples:" in done.stdout
    assert ("http" in done.stdout) == (verb not in ("doctor", "jvm", "version"))


def test_help_lists_the_signals_of_the_table():
    with open(os.path.join(ROOT, "bpf", "signals.def")) as table:
        rows = re.findall(r'^SIGNAL\((\w+),.*?"(.*)"\)', table.read(), re.M)
    assert rows
    text = weir("--help").stdout
    for name, sentence in rows:
        assert re.search(r"^  %s +%s$" % (name, re.escape(sentence)), text, re.M)


def test_version():
    assert re.fullmatch(r"weir \d+\.\d+\.\d+\n", weir("version").stdout)
    assert weir("--version").stdout == weir("version").stdout


def test_file_environment_flag(lab):
    path = lab.write("weir.yaml", "interval: 30s\nshutdown-timeout: 1s\nprometheus: off\nsocket: %s\n" % lab.path("f"))

    def interval_ns(*options, env=None):
        agent = lab.own(Weir(lab, "-c", path, *options, interval="200ms", env=env))
        value = agent.status()["interval_ns"]
        agent.close()
        return value

    assert interval_ns() == 200000000  # the flag of the harness
    process = lab.spawn(BINARY, "agent", "-c", path, env={"WEIR_INTERVAL": "20s"})
    wait_until(lambda: "ready" in process.output(), process.output)
    assert "prometheus off, socket %s" % lab.path("f") in process.output()
    done = weir("doctor", "--socket=" + lab.path("f"), "-o", "json")
    assert json.loads(done.stdout)["status"]["interval_ns"] == 20 * 10**9


# ---- trace


def trace_until(lab, wire, args, count, **play_args):
    """Runs trace until it has printed @count lines; makes requests until then. (stdout, stderr)."""
    process = lab.spawn(BINARY, "trace", "http", "--count=%d" % count, "--container=" + wire.server_cgroup.name, *args,
                        stdout=subprocess.PIPE)
    wait_until(lambda: "tracing http by" in process.output(), process.output)
    play(wire, count, **play_args)
    text = process.popen.stdout.read().decode()
    assert process.wait() == 0
    return text, process.output()


def law_in(summary):
    """Checks the conservation counts of trace's summary."""
    found = re.search(r"seen (\d+) = delivered (\d+) \+ filtered (\d+) \+ lost (\d+)(?: \([^)]*\))?(?: \+ (\d+) on)?",
                      summary)
    assert found, summary
    seen, *parts = [int(number or 0) for number in found.groups()]
    assert seen == sum(parts)
    assert not parts[3] or "by the agent" in summary  # a trace that has ended has nothing on its way


FIELDS = ["time", "signal", "role", "container", "pid", "method", "path", "route", "version", "status", "ttfb_ns",
          "duration_ns", "stopped_ns", "request_bytes", "response_bytes", "local", "peer", "rtt_ns"]


@pytest.mark.parametrize("through", ["agent", "own"])
def test_trace_json(lab, wire, agent, through):
    socket_option = "--socket=" + (agent.socket if through == "agent" else "off")
    text, log = trace_until(lab, wire, ["-o", "json", socket_option], 7, path="/users/1234?q=secret")
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 7
    for line in lines:
        assert [name for name in line if name != "error"] == [name for name in FIELDS if name in line]
        assert set(FIELDS) - set(line) <= {"pid", "rtt_ns"}  # what may not be known
        assert {"id", "name", "pod_uid", "runtime", "cgroup"} <= set(line["container"])
        assert line["container"]["cgroup"] == wire.server_cgroup.path
        assert (line["role"], line["method"], line["status"]) == ("server", "GET", 200)
        assert (line["path"], line["route"]) == ("/users/1234", "/users/{id}")
        assert 0 < line["ttfb_ns"] <= line["duration_ns"]
        assert line["response_bytes"] == 5
        assert re.fullmatch(r"127\.0\.0\.1:\d+", line["peer"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", line["time"])
    law_in(log)
    assert ("agent at" if through == "agent" else "programs of its own") in log


@pytest.mark.parametrize("through", ["agent", "own"])
def test_trace_text(lab, wire, agent, through):
    socket_option = "--socket=" + (agent.socket if through == "agent" else "off")
    text, log = trace_until(lab, wire, [socket_option], 3, path="/a")
    lines = text.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:4] == ["TIME", "CONTAINER", "ROLE", "METHOD"]
    column = lines[0].index("PATH")
    for line in lines[1:]:
        assert line[column:].split()[0] == "/a"
    assert "weir trace: 3 lines" in log
    law_in(log)


@pytest.mark.parametrize("through", ["agent", "own"])
@pytest.mark.parametrize("option, paths", [
    ("--status=5xx", ["/bad"] * 3),
    ("--status=503", ["/bad"] * 3),
    ("--status=200-299", ["/ok"] * 3),
    ("--path=/b*", ["/bad"] * 3),
    ("--min=1h", []),
    ("--role=client", []),  # of the server's cgroup
    ("--pod=*", []),
])
def test_trace_filters(lab, wire, agent, through, option, paths):
    process = lab.spawn(BINARY, "trace", "http", option, "-o", "json", "--container=" + wire.server_cgroup.name,
                        "--socket=" + (agent.socket if through == "agent" else "off"), stdout=subprocess.PIPE)
    wait_until(lambda: "tracing http by" in process.output(), process.output)
    ends = None
    for _ in range(3):
        ends = wire.play(C(get("/ok")), S(OK5), C(get("/bad")), S(ERROR), ends=ends, close=False)
    wire.hang_up(*ends)
    # All of them have been counted when the agent says so: then nothing more can come.
    wait_until(lambda: sum(counts(agent.snapshot(), SERVER, wire.server_cgroup).values()) == 6, "6 requests")
    if paths:
        wait_lines = [process.popen.stdout.readline() for _ in paths]
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    rest = process.popen.stdout.read()
    assert rest == b""
    assert not paths or [json.loads(line)["path"] for line in wait_lines] == paths
    law_in(process.output())


def test_trace_ends_when_nobody_reads(lab, wire, agent):
    for source in (agent.socket, "off"):
        process = lab.spawn(BINARY, "trace", "http", "--socket=" + source, stdout=subprocess.PIPE)
        wait_until(lambda: "tracing http by" in process.output(), process.output)
        process.popen.stdout.close()
        process.popen.stdout = None
        assert process.wait() == 0, process.output()


def test_trace_duration(lab, agent):
    begin = time.monotonic()
    done = weir("trace", "http", "--duration=300ms", "--socket=" + agent.socket, "--path=/none-such")
    assert done.returncode == 0
    assert 0.3 <= time.monotonic() - begin < 10
    assert "0 lines" in done.stderr
    law_in(done.stderr)


def test_trace_when_the_agent_ends(lab, agent):
    process = lab.spawn(BINARY, "trace", "http", "--socket=" + agent.socket, "--path=/none-such")
    wait_until(lambda: "tracing http by" in process.output(), process.output)
    assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
    assert process.wait() == 1
    assert "weir trace: " in process.output().splitlines()[-1]


def test_trace_refused_by_the_agent(lab):
    """An agent that says no is told of; nothing is loaded beside it."""
    agent = lab.own(Weir(lab))
    before = bpf_ids("prog")
    with socket.socket(socket.AF_UNIX) as door:
        path = lab.path("no.sock")
        door.bind(path)
        door.listen()
        process = lab.spawn(BINARY, "trace", "http", "--socket=" + path)
        for _ in range(2):  # one to look whether somebody is there, one that asks
            peer, _ = door.accept()
            request = peer.recv(4096)
            if request:
                peer.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo busy\n")
            peer.close()
        assert process.wait() == 1
    assert process.output().strip().endswith("answers 503: too busy")
    assert bpf_ids("prog") <= before
    agent.close()


# ---- top


def top_rows(text, cgroup):
    table = json.loads(text)
    return table, {row["role"]: row for row in table["rows"] if row["container"]["cgroup"] == cgroup.path}


@pytest.mark.parametrize("through", ["agent", "own"])
def test_top_once_counts_the_interval(lab, wire, agent, through):
    """Requests made between the two looks are in the table, all of them, and those made before are not."""
    play(wire, 5)
    process = lab.spawn(BINARY, "top", "--once", "-o", "json", "--interval=3s",
                        "--socket=" + (agent.socket if through == "agent" else "off"), stdout=subprocess.PIPE)
    wait_until(lambda: "observing by" in process.output(), process.output)  # the first look is over
    play(wire, 23, path="/orders/77")
    play(wire, 4, path="/bad", response=ERROR)
    text = process.popen.stdout.read().decode()
    assert process.wait() == 0
    table, rows = top_rows(text, wire.server_cgroup)
    assert rows["server"]["requests"] == 27
    assert rows["server"]["errors"] == 4
    assert abs(rows["server"]["requests_per_s"] - 27 / (table["interval_ns"] / 1e9)) < 0.01
    assert {r["route"]: r["requests"] for r in rows["server"]["routes"]} == {"/orders/{id}": 23, "/bad": 4}
    assert 0 < rows["server"]["p50_ns"] <= rows["server"]["p99_ns"] <= rows["server"]["max_ns"]
    assert rows["server"]["bytes_per_s"] > 0
    assert rows["server"]["in_flight"] == 0
    _, clients = top_rows(text, wire.client_cgroup)
    assert clients["client"]["requests"] == 27
    for row in table["containers"]:
        assert list(row) == ["container", "tcp", "sched", "jvm"]


def test_top_text_is_aligned(lab, wire, agent):
    play(wire, 3)
    for width in (60, 80, 100, 200):
        done = weir("top", "--once", "--interval=100ms", "--socket=" + agent.socket, env={"COLUMNS": str(width)})
        assert done.returncode == 0
        assert done.stdout.startswith("CONTAINER")
        for line in filter(None, done.stdout.splitlines()):  # an empty one between the tables
            assert len(line) == width


def top_terminal(lab, agent, *options):
    screen = Terminal(lab, BINARY, "top", "--interval=200ms", "--socket=" + agent.socket, *options)
    screen.read("CONTAINER")
    return screen


def test_top_on_a_terminal(lab, wire, agent):
    ends = wire.play(C(get("/orders/77")), S(OK5), close=False)
    name = wire.server_cgroup.name
    screen = top_terminal(lab, agent, "--container=" + name)

    def more(wanted, redraw="\x0c"):
        """Requests go on until @wanted is on the screen: rows of quiet containers vanish. Only what changes is sent to a
        terminal, so the whole picture is asked for."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            wire.play(C(get("/orders/77")), S(OK5), ends=ends, close=False)
            screen.send(redraw)
            try:
                return screen.read(wanted, 0.3)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise

    more(name[:20])
    screen.send("?")
    more("Sort by")
    screen.send("q")
    more(name[:20])
    screen.send("\r")
    more("/orders/{id}")
    screen.send("q")
    more("sorted by")
    screen.send("p")
    more("P99")
    screen.send("v")
    more("RETR/S")
    screen.send("n")
    more("sorted by CONTAINER")
    screen.send("?")
    more("NEIGHBOUR: ")
    screen.send("qv")
    more("sorted by P99")  # each table keeps its order
    screen.send("/nobody")
    screen.read("_")
    more("nothing to show")
    screen.send("\x1b")
    more(name[:20])
    screen.resize(12, 60)
    more(name[:10])
    wire.hang_up(*ends)
    screen.send("q")
    assert screen.wait() == 0
    assert screen.restored()


@pytest.mark.parametrize("column, title", [("runq", "RUNQ99"), ("heap", "HEAP")])
def test_top_begins_with_the_table_of_the_sort_column(lab, agent, column, title):
    screen = top_terminal(lab, agent, "--sort=" + column, "--container=nobody")  # nor a JVM: two tables
    screen.send("\x0c")
    screen.read("sorted by " + title)
    screen.send("v\x0c")
    screen.read("sorted by REQ/S")
    screen.send("q")
    assert screen.wait() == 0
    assert screen.restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSEGV, signal.SIGABRT],
                         ids=lambda number: number.name)
def test_top_gives_the_terminal_back(lab, agent, number):
    screen = top_terminal(lab, agent)
    screen.popen.send_signal(number)
    status = screen.wait()
    assert status == (-number if number in (signal.SIGSEGV, signal.SIGABRT) else 0)
    assert screen.restored()


def test_top_when_the_agent_ends(lab, agent):
    screen = top_terminal(lab, agent)
    agent.process.signal(signal.SIGKILL)
    assert screen.wait() == 1
    assert screen.restored()
    assert b"weir top: " in screen.text.split(b"\x1b[?1049l")[-1]


def test_top_with_an_unknown_terminal(lab):
    screen = Terminal(lab, BINARY, "top", "--socket=off", env={"TERM": "no-such-terminal"})
    assert screen.wait() == 1
    assert b"TERM" in screen.text and b"--once" in screen.text


# ---- hist


def hist(agent, *options):
    done = weir("hist", SERVER, "--socket=" + agent.socket, "--duration=0", *options)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout


def test_hist_counts_everything_once(lab, wire, agent):
    play(wire, 11, "/a/1")
    play(wire, 3, "/b", ERROR)
    name = "--container=" + wire.server_cgroup.name
    lines = [json.loads(line) for line in hist(agent, name, "-o", "json").splitlines()]
    assert [(line["name"], line["count"], line["by"]) for line in lines] == [(wire.server_cgroup.name, 14, "container")]
    assert lines[0]["container"]["cgroup"] == wire.server_cgroup.path
    assert sum(bucket["count"] for bucket in lines[0]["buckets"]) == 14
    point = sum(p.sum_ns for p in agent.snapshot().find(SERVER, wire.server_cgroup))
    assert lines[0]["sum_ns"] == point
    lines = [json.loads(line) for line in hist(agent, name, "--by=route", "-o", "json").splitlines()]
    assert [(line["name"], line["count"]) for line in lines] == [("/a/{id}", 11), ("/b", 3)]
    text = hist(agent, name)
    assert text.startswith(SERVER + "\n")
    assert "count 14 " in text and "p99" in text
    assert sum(int(n) for n in re.findall(r" \.\. +\S+ +(\d+)", text)) == 14


def test_hist_by_pod(lab, agent):
    where = "kubepods/burstable/pod%s/%s" % (POD, ID)
    wire = lab.own(Wire(lab.cgroup(path=where), lab.cgroup("client")))
    play(wire, 7)
    lines = [json.loads(line) for line in hist(agent, "--by=pod", "--pod=" + POD, "-o", "json").splitlines()]
    assert [(line["pod"]["uid"], line["count"]) for line in lines] == [(POD, 7)]
    lines = [json.loads(line) for line in hist(agent, "--container=" + ID[:12], "-o", "json").splitlines()]
    assert [(line["container"]["id"], line["count"]) for line in lines] == [(ID, 7)]


def test_hist_of_an_interval_without_an_agent(lab, wire):
    play(wire, 5)
    process = lab.spawn(BINARY, "hist", SERVER, "--socket=off", "--duration=1h", "-o", "json",
                        "--container=" + wire.server_cgroup.name, stdout=subprocess.PIPE)
    wait_until(lambda: "observing by programs of its own" in process.output(), process.output)
    play(wire, 13)
    process.signal(signal.SIGINT)  # ends the hour: what there is by now is shown
    line = json.loads(process.popen.stdout.read())
    assert process.wait() == 0
    assert line["count"] == 13


# ---- doctor


def test_doctor_without_an_agent():
    links = bpf_ids("link")
    done = weir("doctor", "--socket=off")
    assert done.returncode == 0, done
    assert "HTTP requests can be observed here." in done.stdout
    assert cgroup2_mount() in done.stdout
    report = json.loads(weir("doctor", "--socket=off", "-o", "json").stdout)
    assert report["ok"] and report["source"] == "own programs"
    assert {"name", "used", "max", "bytes"} <= set(report["status"]["signals"][0]["tables"][0])
    assert bpf_ids("link") <= links | other_links()  # nothing of its own stays


def other_links():
    """Links that somebody on this machine holds now."""
    held = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir("/proc/%s/fdinfo" % pid):
                with open("/proc/%s/fdinfo/%s" % (pid, fd)) as info:
                    held |= {int(number) for number in re.findall(r"link_id:\s+(\d+)", info.read())}
        except OSError:
            continue
    return held


def test_doctor_with_an_agent(agent):
    report = json.loads(weir("doctor", "--socket=" + agent.socket, "-o", "json").stdout)
    assert report["ok"] and report["source"] == "agent" and report["agent"]["running"]
    assert report["status"]["pid"] == agent.pid
    assert "agent      answers at " + agent.socket in weir("doctor", "--socket=" + agent.socket).stdout


# ---- the demonstration


def demo_left():
    return [name for name in os.listdir(cgroup2_mount()) if name.startswith("weir-demo.")]


def test_demonstration_without_a_terminal():
    done = subprocess.run([DEMO, BINARY], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60, env={**os.environ, "WEIR_SOCKET": "off"})
    assert done.returncode == 0, done.stderr
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    for row in (["shop", "server"], ["shop", "client"], ["payments", "server"], ["visitors", "client"]):
        assert row in rows
    traced = [line.split()[2] for line in done.stdout.splitlines() if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)]
    assert traced == ["server", "client"]


def test_demonstration_is_gone_afterwards(lab):
    fake = lab.write("fake", "#!/bin/sh\necho running\n[ \"$1\" = trace ] || exec sleep 1000\n")
    os.chmod(fake, 0o755)
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = lab.spawn(DEMO, fake)
        wait_until(lambda: "running" in process.output(), process.output)
        folder = os.path.join(cgroup2_mount(), "weir-demo.%d" % process.pid)
        parts = [int(pid) for name in ("shop", "payments", "visitors")
                 for pid in open(os.path.join(folder, name, "cgroup.procs")).read().split()]
        assert len(parts) == 3
        process.signal(number)
        process.wait()
        wait_until(lambda: not any(os.path.exists("/proc/%d" % pid) and not zombie(pid) for pid in parts), "parts gone")
    process = lab.spawn(DEMO, fake)  # takes away what the killed one could not
    wait_until(lambda: "running" in process.output(), process.output)
    assert "weir-demo.%d" % process.pid in demo_left()
    assert not os.path.exists(folder)
    process.signal(signal.SIGTERM)
    process.wait()


def zombie(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_without_the_demonstration():
    done = subprocess.run([DEMO, BINARY], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60, env={**os.environ, "WEIR_SOCKET": "off", "DEMO": "0"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("CONTAINER")
    assert "visitors" not in done.stdout or any("weir-demo" in name for name in demo_left())
