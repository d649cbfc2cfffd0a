"""Real servers and clients: exact count, statuses, attribution, and latency against the client's own clock."""

import json
import re
from collections import Counter

import pytest

import oci
import servers
from lab import wait_until
from observer import Exchange, counts
from weir import CLIENT, SERVER
from wire import C, S, Wire

# 23 requests, 3 of them errors, in an order that no accident gives
PATHS = ["/", "/fail", "/", "/", "/", "/fail"] + ["/"] * 16 + ["/fail"]
CURL_FORMAT = r'{"status":%{http_code},"end":%{time_total},"bytes":%{size_download}}\n'


def curl(lab, cgroup, urls, *options, netns=None):
    """One curl for all @urls, with keep-alive. What it measured, one dict for each."""
    out = lab.path("curl%d" % next(lab.numbers))
    argv = []
    for url in urls:
        argv += ["--next"] if argv else []
        argv += ["-sS", "-o", "/dev/null", "-w", "%{stderr}" + CURL_FORMAT, *options, url]
    process = lab.spawn("/usr/bin/curl", *argv, cgroup=cgroup, netns=netns, stdout=open(out, "wb"))
    process.wait(60)
    lines = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
    assert len(lines) == len(urls), process.output()
    return lines


def check_latency(records, measured, spare_ms=2):
    """Each exchange of the client's cgroup against curl's clock, which starts before it looks for a connection and
    stops after it has read: weir's time can only be shorter, by what curl and the scheduler take. (curl's other marks
    are of no use: it says "just about to send" when it has sent.)"""
    for record, own in zip(records, measured):
        assert record["duration_ns"] <= own["end"] * 1e9 + 2_000  # curl rounds to microseconds
    spare = sorted(own["end"] * 1e9 - r["duration_ns"] for r, own in zip(records, measured))
    assert spare[len(spare) // 2] < spare_ms * 1_000_000


@pytest.mark.parametrize("name", sorted(servers.ALL))
def test_server_23_requests_3_errors(lab, observer, name):
    server = servers.ALL[name][0](lab, lab.cgroup(name), lab.netns())
    fail = getattr(server, "fail_status", 500)
    client = lab.cgroup("curl")
    measured = curl(lab, client, [server.url(path) for path in PATHS])
    assert Counter(m["status"] for m in measured) == {200: 20, fail: 3}

    want = [Exchange(path=path, status=m["status"], got=m["bytes"]) for path, m in zip(PATHS, measured)]
    asked = observer.expect(client, "client", want)
    served = observer.expect(server.cgroup, "server", want)
    check_latency(asked, measured)
    for inner, outer in zip(served, asked):
        # the server's part lies inside the client's: it starts later on the same wire and ends earlier
        assert inner["duration_ns"] <= outer["duration_ns"]
        assert inner["ttfb_ns"] <= outer["ttfb_ns"]
        assert inner["local"] == outer["peer"] == "%s:%d" % (server.host, server.port)
        assert inner["peer"] == outer["local"]
        assert inner["container"]["cgroup"] == server.cgroup.path
        assert outer["container"]["cgroup"] == client.path


@pytest.mark.parametrize("name", sorted(servers.ALL))
def test_server_a_thousand_requests(lab, observer, name):
    start, parallel = servers.ALL[name]
    server = start(lab, lab.cgroup(name), lab.netns())
    client = lab.cgroup("ab")
    keep = ["-k"] if name != "java" else []  # ab speaks HTTP/1.0; the JDK's server closes then
    process = lab.spawn("/usr/bin/ab", "-q", "-n", 1009, "-c", min(parallel, 7), *keep, server.url(),
                        cgroup=client)
    assert process.wait(60) == 0, process.output()
    assert "Complete requests:      1009\nFailed requests:        0\n" in process.output()
    observer.expect_counts(client, "client", {(200, None): 1009})
    observer.expect_counts(server.cgroup, "server", {(200, None): 1009})


@pytest.mark.parametrize("name", ["nginx", "node", "java"])
def test_wrk(lab, observer, name):
    """wrk drops its connections at the end, with requests in flight: weir must show each of those as well."""
    server = servers.ALL[name][0](lab, lab.cgroup(name), lab.netns())
    client = lab.cgroup("wrk")
    process = lab.spawn("/usr/bin/wrk", "-t1", "-c3", "-d1s", server.url(), cgroup=client)
    assert process.wait() == 0
    done = int(re.search(r"(\d+) requests in", process.output())[1])
    assert done > 0

    def settled():
        got = counts(observer.agent.snapshot(), SERVER, server.cgroup)
        mine = counts(observer.agent.snapshot(), CLIENT, client)
        return sum(got.values()) == sum(mine.values()) >= done and (got, mine)

    served, asked = wait_until(settled, lambda: "%r = %r >= %d" % (
        counts(observer.agent.snapshot(), SERVER, server.cgroup),
        counts(observer.agent.snapshot(), CLIENT, client), done))
    assert done <= asked[200, None] <= done + 3
    assert sum(asked.values()) <= done + 3
    if name == "nginx":
        wait_until(lambda: open(server.access_log).read().count("\n") == sum(served.values()),
                   lambda: "%d lines of nginx's log, weir %r" % (open(server.access_log).read().count("\n"), served))


@pytest.mark.parametrize("start", [servers.nginx, servers.aiohttp, servers.node, servers.java], ids=lambda s: s.__name__)
def test_chunked_answers(lab, observer, start):
    server = start(lab, lab.cgroup(start.__name__), lab.netns())
    client = lab.cgroup("curl")
    measured = curl(lab, client, [server.url("/chunked")] * 7)
    want = [Exchange(path="/chunked", got=6)] * 7
    assert [m["bytes"] for m in measured] == [6] * 7
    observer.expect(client, "client", want)
    observer.expect(server.cgroup, "server", want)


@pytest.mark.parametrize("start", [servers.nginx, lambda lab, cgroup, netns: servers.sendfile(lab, cgroup, netns, big=True)],
                         ids=["nginx", "sendfile"])
def test_download_of_ten_megabytes_by_sendfile(lab, observer, start):
    server = start(lab, lab.cgroup("big"), lab.netns())
    client = lab.cgroup("curl")
    measured = curl(lab, client, [server.url("/big")] * 5)
    assert [m["bytes"] for m in measured] == [servers.BIG_BYTES] * 5
    want = [Exchange(path="/big", got=servers.BIG_BYTES)] * 5
    asked = observer.expect(client, "client", want)
    served = observer.expect(server.cgroup, "server", want)
    check_latency(asked, measured, spare_ms=20)  # curl may still have megabytes to read
    for inner, outer in zip(served, asked):
        assert inner["ttfb_ns"] < inner["duration_ns"] <= outer["duration_ns"]


def test_upload_of_ten_megabytes(lab, observer):
    server = servers.aiohttp(lab, lab.cgroup("up"), lab.netns())
    body = lab.write("body", b"x" * servers.BIG_BYTES)
    client = lab.cgroup("curl")
    measured = curl(lab, client, [server.url("/up")] * 3, "-T", body)
    assert [m["status"] for m in measured] == [200] * 3
    want = [Exchange("PUT", "/up", sent=servers.BIG_BYTES, got=6)] * 3
    observer.expect(client, "client", want)
    observer.expect(server.cgroup, "server", want)


def test_upload_in_chunks(lab, observer):
    server = servers.node(lab, lab.cgroup("up"), lab.netns())
    body = lab.write("body", b"x" * 1000003)
    client = lab.cgroup("curl")
    curl(lab, client, [server.url("/up")] * 3, "-T", body, "-H", "Transfer-Encoding: chunked")
    want = [Exchange("PUT", "/up", sent=1000003, got=6)] * 3
    observer.expect(client, "client", want)
    observer.expect(server.cgroup, "server", want)


@pytest.mark.parametrize("start,kind,runtime", [(oci.busybox_httpd, "kubepods", ""), (oci.nginx, "docker-systemd", "docker"),
                                                (oci.nginx, "kubepods-systemd", "containerd")],
                         ids=["busybox-kubepods", "nginx-docker", "nginx-containerd"])
def test_container(lab, observer, start, kind, runtime):
    """A real OCI container: its id and pod stand in the trace and on each series."""
    container = start(lab, kind=kind)
    identity = container.identity
    client = lab.cgroup("curl")
    trace = lab.own(observer.agent.trace("--container=" + identity.id, "--role=server"))

    def reached():
        """The tracer is attached when it shows a request of a warm-up that nobody counts."""
        curl(lab, lab.cgroup("warm"), ["http://%s/warm" % container.host])
        return any(r["path"] == "/warm" for r in trace.records)
    wait_until(reached, "tracer of %s" % identity.id)

    def settled():
        return observer.agent.snapshot().count(SERVER, container.path)
    warm = wait_until(settled, "warm-up counted")

    measured = curl(lab, client, ["http://%s%s" % (container.host, path) for path in PATHS])
    by_status = Counter(m["status"] for m in measured)
    assert sum(by_status.values()) == 23
    trace.wait(lambda t: sum(r["path"] != "/warm" for r in t.of(container.path)) >= 23, "23 records")
    records = [r for r in trace.of(container.path) if r["path"] != "/warm"]
    assert Counter(r["status"] for r in records) == by_status
    for record in records:
        assert record["container"]["id"] == identity.id
        assert record["container"]["pod_uid"] == identity.pod
        assert record["container"]["runtime"] == runtime or not runtime
        assert record["local"] == container.host + ":80"

    wait_until(lambda: settled() >= warm + 23, "counted")
    assert settled() == warm + 23
    labels = {"container_id": identity.id}
    if identity.pod:
        labels["k8s_pod_uid"] = identity.pod
    wait_until(lambda: observer.agent.metrics().get(
        "http_server_request_duration_seconds_count", **labels) == warm + 23, "on /metrics")
    for have, _ in observer.agent.metrics().find("http_server_request_duration_seconds_count", **labels):
        assert have["service_name"]
        assert identity.pod or "k8s_pod_uid" not in have


@pytest.mark.parametrize("kind,qos", [("kubepods", "guaranteed"), ("kubepods", "besteffort"), ("kubepods-systemd", "guaranteed"),
                                      ("kubepods-systemd", "besteffort"), ("crio", "burstable"), ("docker", ""),
                                      ("docker-systemd", ""), ("podman", "")])
def test_identity_of_each_runtime(lab, observer, kind, qos):
    identity, cgroup = oci.identity_cgroup(lab, kind, qos or "burstable")
    wire = lab.own(Wire(cgroup, lab.cgroup("client")))
    wire.play(*[step for _ in range(23) for step in (
        C("GET / HTTP/1.1\r\n\r\n"), S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))])
    observer.expect_counts(cgroup, "server", {(200, None): 23})
    point, = observer.agent.snapshot().find(SERVER, cgroup)
    assert point.container["id"] == identity.id
    assert point.container["pod_uid"] == identity.pod
    runtime = {"kubepods-systemd": "containerd", "crio": "cri-o", "docker": "docker", "docker-systemd": "docker",
               "podman": "podman"}.get(kind)
    assert runtime is None or point.container["runtime"] == runtime
    labels = {"container_id": identity.id, "k8s_pod_uid": identity.pod or None}
    wait_until(lambda: observer.agent.metrics().get(
        "http_server_request_duration_seconds_count", **labels) == 23, "on /metrics")


def test_systemd_unit(lab, observer):
    name = "shop-%d-%d" % (lab.pid, next(lab.numbers))
    cgroup = lab.cgroup(path="system.slice/%s.service" % name)
    inner = lab.cgroup(path="system.slice/%s.service/worker" % name)
    for where in (cgroup, inner):  # a cgroup below the unit's belongs to the unit
        wire = lab.own(Wire(where, lab.cgroup("client")))
        wire.play(C("GET / HTTP/1.1\r\n\r\n"), S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    observer.expect_counts(cgroup, "server", {(200, None): 2})
    points = observer.agent.snapshot().find(SERVER, cgroup)
    assert {p.container["runtime"] for p in points} == {"systemd"}
    assert {p.container["cgroup"] for p in points} == {cgroup.path}
    wait_until(lambda: [v for labels, v in observer.agent.metrics().find("http_server_request_duration_seconds_count")
                        if labels["service_name"].startswith(name)] == [2], "one series")


def test_both_roles_of_one_container(lab, observer):
    """A service in the middle: it serves and asks, each exchange once in its own role."""
    front, middle, back = lab.cgroup("front"), lab.cgroup("middle"), lab.cgroup("back")
    outer, inner = lab.own(Wire(middle, front)), lab.own(Wire(back, middle))
    one, two = outer.connect(), inner.connect()
    for i in range(7):
        outer.play(C("GET /outer HTTP/1.1\r\n\r\n"), ends=one, close=False)
        inner.play(C("GET /inner HTTP/1.1\r\n\r\n"), S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ninner"), ends=two, close=False)
        outer.play(S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ends=one, close=False)
    records = observer.records(middle, count=14)
    assert [(r["role"], r["path"]) for r in records] == [("client", "/inner"), ("server", "/outer")] * 7
    for inside, outside in zip(records[::2], records[1::2]):
        assert inside["duration_ns"] < outside["duration_ns"]
    observer.expect_counts(middle, "server", {(200, None): 7})
    observer.expect_counts(middle, "client", {(200, None): 7})


