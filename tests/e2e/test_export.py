"""What weir exports, judged by those who take it: promtool, a strict parser, a real Prometheus, a real Collector."""

import gzip
import http.client
import http.server
import json
import os
import ssl
import subprocess
import threading
import urllib.request

import pytest

import backends
import oci
import servers
from lab import DEADLINE_S, run, wait_until
from prom import Samples
from weir import BINARY, CLIENT, ROOT, SERVER, Weir

BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
FAMILY = "http_server_request_duration_seconds"
# Spread over several buckets, some of them twice; a prime number in all.
WAITS_MS = [0, 0, 0, 3, 7, 7, 12, 15, 30, 30, 40, 60, 60, 85, 120, 120, 160, 200, 230, 270, 300, 400, 550]
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture
def pod(lab):
    """A server in a cgroup as kubelet names it: (Identity, Server)."""
    identity, cgroup = oci.identity_cgroup(lab, "kubepods")
    return identity, servers.aiohttp(lab, cgroup)


def ask(server, paths):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    for path in paths:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == (500 if path == "/fail" else 200)
    connection.close()


def traffic(server):
    ask(server, ["/wait/%d" % ms for ms in WAITS_MS] + ["/fail"] * 5)


def test_promtool_finds_nothing_to_say(lab, pod):
    _, server = pod
    agent = lab.own(Weir(lab))
    traffic(server)
    agent.snapshot()
    text = agent.scrape()
    done = subprocess.run([backends.promtool(), "check", "metrics"], input=text, text=True, capture_output=True)
    # Their names are those of OpenTelemetry's conventions, which a Java agent exports too; promtool would have another ending.
    named = ("jvm_class_count ", "jvm_thread_count ")
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith(named)]
    assert said == [] and done.returncode in (0, 3)


def test_a_strict_parser_reads_openmetrics(lab, pod):
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    identity, server = pod
    agent = lab.own(Weir(lab))
    traffic(server)
    families = {f.name: f for f in parser.text_string_to_metric_families(agent.scrape(OPENMETRICS))}
    assert families[FAMILY].type == "histogram" and families[FAMILY].unit == "seconds"
    assert families["target"].type == "info"
    assert families["weir_signal_seen"].type == "counter"
    counts = [s for s in families[FAMILY].samples if s.name.endswith("_count") and s.labels.get("container_id") == identity.id]
    assert sum(s.value for s in counts) == len(WAITS_MS) + 5
    # Both formats say the same.
    old = agent.metrics()
    assert old.get(FAMILY + "_count", container_id=identity.id) == len(WAITS_MS) + 5


def test_awkward_names_survive_both_formats(lab):
    """The unit test's snapshot has quotes, backslashes, newlines and braces in its names."""
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    build = os.environ.get("BUILD") or os.path.join(ROOT, "build")
    binary = os.path.join(build, "tests/unit/prometheus_test")
    run("make", "-s", "BUILD=" + build, binary, cwd=ROOT)
    run(binary, env={**os.environ, "WEIR_TEST_OUTPUT": lab.dir})
    with open(lab.path("metrics.openmetrics")) as file:
        families = {f.name: f for f in parser.text_string_to_metric_families(file.read())}
    odd = '"od\\d"\n\xe9{}'
    assert {s.labels["weir_cgroup"] for s in families[FAMILY].samples if s.labels["service_name"] == odd} == {
        "/a/" + odd, "/b/" + odd}
    with open(lab.path("metrics.txt")) as file:
        text = file.read()
    done = subprocess.run([backends.promtool(), "check", "metrics"], input=text, text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(Samples(text).find(FAMILY + "_count", service_name=odd)) == 2


def own_names(samples):
    """Families of the agent's own counters, but for those that a scrape itself adds to: it is traffic, too."""
    return {name for name in samples.types
            if name.startswith(("weir_", "process_")) and not name.startswith(("weir_export_", "weir_http_"))}


def test_gzip_is_the_same_text(lab):
    agent = lab.own(Weir(lab, "--interval=1h", "--signals=http"))
    request = urllib.request.Request("http://127.0.0.1:%d/metrics" % agent.port, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        text = gzip.decompress(answer.read()).decode()
    assert own_names(Samples(text)) == own_names(agent.metrics())


def quantile(q, buckets):
    """What histogram_quantile is defined as: linear inside the bucket, the last bound for what is above it."""
    total = buckets[-1][1]
    rank, below, low = q * total, 0, 0.0
    for bound, cumulative in buckets:
        if cumulative >= rank:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (rank - below) / (cumulative - below)
        below, low = cumulative, bound


def bucket_of(seconds):
    return next((i for i, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))


def test_prometheus_scrapes_it_and_quantiles_agree(lab, pod):
    identity, server = pod
    agent = lab.own(Weir(lab))
    prometheus = backends.Prometheus(lab, ["127.0.0.1:%d" % agent.port])
    traffic(server)
    want = len(WAITS_MS) + 5
    by = 'container_id="%s",k8s_pod_uid="%s",service_name="%s"' % (identity.id, identity.pod, identity.id[:12])
    wait_until(lambda: [want] == [v for _, v in prometheus.query("sum(%s_count{%s})" % (FAMILY, by))],
               lambda: "%d requests in Prometheus: %r; %r" % (
                   want, prometheus.query('%s_count' % FAMILY), prometheus.targets()))
    assert prometheus.targets() == [("up", "")]
    errors = prometheus.query('sum(%s_count{%s,error_type="500",http_response_status_code="500"})' % (FAMILY, by))
    assert [v for _, v in errors] == [5]
    # Once a resource, and it joins.
    info = prometheus.query('target_info{container_id="%s"}' % identity.id)
    assert len(info) == 1 and info[0][0]["container_runtime_name"]
    # The buckets themselves, cumulative.
    rows = prometheus.query("sum by (le) (%s_bucket{%s})" % (FAMILY, by))
    buckets = sorted((float(labels["le"]), count) for labels, count in rows)
    assert [bound for bound, _ in buckets] == BOUNDS + [float("inf")]
    assert buckets[-1][1] == want
    # 5 ms and 10 ms and so on are no waits of ours; a server answers later than it waits, never earlier.
    for bound, count in buckets[:-1]:
        assert count <= sum(ms <= bound * 1000 for ms in WAITS_MS) + 5
    process = lab.spawn(BINARY, "hist", SERVER, "--by=container", "-o", "json", "--duration=0s",
                        "--socket=" + agent.socket, "--container=" + identity.id[:12], stdout=subprocess.PIPE)
    text = process.popen.communicate(timeout=60)[0]
    groups = [json.loads(line) for line in text.splitlines()]
    assert [g["count"] for g in groups] == [want]
    for q, own in ((0.5, groups[0]["p50_ns"]), (0.9, groups[0]["p90_ns"]), (0.99, groups[0]["p99_ns"])):
        rows = prometheus.query("histogram_quantile(%g, sum by (le) (%s_bucket{%s}))" % (q, FAMILY, by))
        theirs = rows[0][1]
        assert theirs == pytest.approx(quantile(q, buckets), rel=1e-9)
        # Both are estimates of one value: Prometheus knows the bucket of 14 it is in, weir one of 4.4 % around it.
        near = {bucket_of(own / 1e9 * factor) for factor in (0.956, 1, 1.044)}
        assert bucket_of(theirs) in near, "q %g: Prometheus %g s, weir %g s" % (q, theirs, own / 1e9)


def collected(collector, identity, name=SERVER):
    """{attributes: point} of one container."""
    return {attrs: point for (metric, who, attrs), point in collector.points().items()
            if metric == name and ("container.id", identity.id) in who}


def test_collector_gets_what_prometheus_shows(lab, pod):
    identity, server = pod
    collector = backends.Collector(lab)
    agent = lab.own(Weir(lab, "--otlp-endpoint=" + collector.endpoint, env={
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=te%20st,service.namespace=obs"}))
    traffic(server)
    want = len(WAITS_MS) + 5
    wait_until(lambda: sum(int(p["count"]) for p in collected(collector, identity).values()) == want,
               lambda: "%d requests in the Collector: %r; %s" % (
                   want, collected(collector, identity), agent.process.output()))
    samples = agent.metrics()
    points = collected(collector, identity)
    shown = samples.find(FAMILY + "_count", container_id=identity.id)
    assert len(shown) == len(points) >= 2, shown
    for attrs, point in points.items():
        labels = {key.replace(".", "_"): value for key, value in attrs}
        labels["container_id"] = identity.id
        assert samples.get(FAMILY + "_count", **labels) == int(point["count"])
        assert samples.get(FAMILY + "_sum", **labels) == point["sum"]
        assert point["explicitBounds"] == BOUNDS
        assert point["data"]["aggregationTemporality"] == 2
        total = 0
        for bound, count in zip([str(float(b)) for b in BOUNDS] + ["+Inf"], point["bucketCounts"]):
            total += int(count)
            assert samples.get(FAMILY + "_bucket", le=bound, **labels) == total
        assert int(point["startTimeUnixNano"]) < int(point["timeUnixNano"])
    who = {who for (metric, who, _) in collector.points() if ("container.id", identity.id) in who}
    assert len(who) == 1
    who = dict(*who)
    assert who["k8s.pod.uid"] == identity.pod
    assert who["service.name"] == identity.id[:12]
    assert who["service.instance.id"] == identity.id
    assert who["deployment.environment.name"] == "te st"
    assert "service.namespace" not in who
    own = dict(next(who for (metric, who, _) in collector.points() if metric == "weir.signal.seen"))
    assert own["service.name"] == "weir" and own["service.namespace"] == "obs"
    # A start never moves: a moving one is read as a reset.
    starts = {}
    for request in collector.requests():
        for resource in request["resourceMetrics"]:
            for metric in resource["scopeMetrics"][0]["metrics"]:
                for kind in ("sum", "histogram"):
                    for point in metric.get(kind, {}).get("dataPoints", []):
                        key = metric["name"], backends.attributes(resource["resource"]), backends.attributes(point)
                        starts.setdefault(key, set()).add(point["startTimeUnixNano"])
    assert all(len(found) == 1 for found in starts.values())
    # One time for all points of a request.
    for request in collector.requests():
        assert len({point["timeUnixNano"] for resource in request["resourceMetrics"]
                    for metric in resource["scopeMetrics"][0]["metrics"]
                    for kind in ("sum", "gauge", "histogram")
                    for point in metric.get(kind, {}).get("dataPoints", [])}) == 1


# Semantic conventions 1.45, docs/http/http-metrics: {attribute: required always}
CONVENTION = {
    SERVER: {"http.request.method": True, "url.scheme": True, "http.response.status_code": False, "http.route": False,
             "error.type": False, "network.protocol.name": False, "network.protocol.version": False,
             "server.address": False, "server.port": False, "user_agent.synthetic.type": False},
    CLIENT: {"http.request.method": True, "server.address": True, "server.port": True, "error.type": False,
             "http.response.status_code": False, "network.protocol.name": False, "network.protocol.version": False,
             "url.scheme": False, "url.template": False},
}


def test_metrics_are_those_of_the_semantic_conventions(lab):
    server = servers.aiohttp(lab, lab.cgroup("conventions"))
    client = lab.cgroup("asking")
    collector = backends.Collector(lab)
    lab.own(Weir(lab, "--otlp-endpoint=" + collector.endpoint))
    lab.spawn("/usr/bin/curl", "-s", server.url("/a"), server.url("/fail"), cgroup=client).wait()

    def exported():
        found = {}
        for (metric, who, attrs), point in collector.points().items():
            if dict(who).get("weir.cgroup") in (server.cgroup.path, client.path) and metric in CONVENTION:
                found.setdefault(metric, []).append((dict(attrs), point))
        return found if sum(len(points) for points in found.values()) == 4 else None

    for metric, points in wait_until(exported, lambda: "two series of each role: %r" % collector.points().keys()).items():
        for attrs, point in points:
            assert set(attrs) <= set(CONVENTION[metric])
            assert {key for key, required in CONVENTION[metric].items() if required} <= set(attrs)
            assert attrs["http.request.method"] == "GET"
            assert attrs["network.protocol.version"] == "1.1"
            assert attrs.get("error.type") == ("500" if attrs["http.response.status_code"] == "500" else None)
            assert point["kind"] == "histogram" and point["explicitBounds"] == BOUNDS
        assert sorted(attrs["http.response.status_code"] for attrs, _ in points) == ["200", "500"]


def test_all_metrics_of_the_agent_are_in_both(lab):
    """Names, kinds and units of its own counters: every family of the text is a metric in the Collector and back."""
    collector = backends.Collector(lab)
    agent = lab.own(Weir(lab, "--signals=http", "--otlp-endpoint=" + collector.endpoint))
    wait_until(lambda: len(collector.requests()) >= 2, "two exports")
    text = own_names(agent.metrics())
    units = {"s": "seconds", "By": "bytes", "1": "ratio"}
    seen = set()
    for request in collector.requests():
        for resource in request["resourceMetrics"]:
            for metric in resource["scopeMetrics"][0]["metrics"]:
                if not metric["name"].startswith(("weir.", "process.")):
                    continue
                words = metric["name"].replace(".", "_").split("_")
                unit = units.get(metric["unit"])
                words += [unit] if unit and unit not in words else []
                seen.add("_".join(words + (["total"] if metric.get("sum", {}).get("isMonotonic") else [])))
    assert {n for n in seen if not n.startswith(("weir_export_", "weir_http_"))} == text


def test_prometheus_takes_otlp_as_native_histograms(lab, pod):
    identity, server = pod
    prometheus = backends.Prometheus(lab)
    agent = lab.own(Weir(lab, "--otlp-endpoint=" + prometheus.otlp, env={
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"}))
    traffic(server)
    want = len(WAITS_MS) + 5
    by = '%s{container_id="%s"}' % (FAMILY, identity.id)
    wait_until(lambda: [want] == [v for _, v in prometheus.query("sum(histogram_count(%s))" % by)],
               lambda: "%d requests by OTLP: %r; %s" % (want, prometheus.query(by), agent.process.output()))
    # Waits are exact to what a server adds: the quantile lies in the bucket of one of them or a little above.
    median = prometheus.query("histogram_quantile(0.5, sum(%s))" % by)[0][1]
    ordered = sorted([0] * 5 + WAITS_MS)
    assert ordered[want // 2 - 1] / 1000 * 0.956 <= median <= ordered[want // 2 + 1] / 1000 * 1.1 + 0.02
    total = prometheus.query("sum(histogram_sum(%s))" % by)[0][1]
    assert sum(WAITS_MS) / 1000 <= total <= sum(WAITS_MS) / 1000 + 2
    assert agent.metrics().get("weir_export_failed_total", output="otlp") == 0


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with server.status; keeps bodies."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        self.server.headers.append(dict(self.headers))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def receiver():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.bodies, server.headers, server.status = [], [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_receiver_that_is_down_costs_nothing_but_time(lab, receiver):
    """Exports fail, are retried, given up and counted; when the receiver is back they go on; the agent never minds."""
    receiver.status = 503
    agent = lab.own(Weir(lab, "--otlp-endpoint=http://127.0.0.1:%d" % receiver.server_port, "--otlp-timeout=300ms"))
    wait_until(lambda: agent.metrics().get("weir_export_dropped_total", output="otlp", reason="timeout") > 0,
               "a batch given up")
    assert agent.get("/readyz")[0] == 200
    failed = agent.metrics().get("weir_export_failed_total", output="otlp")
    assert failed > 0
    receiver.status = 200
    wait_until(lambda: agent.metrics().get("weir_export_points_total", output="otlp") > 0, "points delivered")
    assert "127.0.0.1:%d" % receiver.server_port in agent.process.output()


def test_a_refusal_is_not_retried(lab, receiver):
    receiver.status = 400
    agent = lab.own(Weir(lab, "--otlp-endpoint=http://127.0.0.1:%d" % receiver.server_port))
    wait_until(lambda: agent.metrics().get("weir_export_dropped_total", output="otlp", reason="refused") > 0, "a refusal")
    wait_until(lambda: len(receiver.bodies) > 2, "later exports")
    assert len(set(receiver.bodies)) == len(receiver.bodies)


def test_https_with_the_given_authority_only(lab, receiver):
    key, cert = lab.path("key.pem"), lab.path("cert.pem")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    endpoint = "--otlp-endpoint=https://localhost:%d" % receiver.server_port
    stranger = lab.own(Weir(lab, endpoint))
    wait_until(lambda: stranger.metrics().get("weir_export_failed_total", output="otlp") > 0, "a failed handshake")
    assert not receiver.bodies
    stranger.stop()
    lab.own(Weir(lab, endpoint, "--otlp-certificate=" + cert, env={
        "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20x"}))
    wait_until(lambda: receiver.bodies, "an export by TLS")
    assert receiver.headers[0]["Authorization"] == "Bearer x"


def test_nothing_of_curl_is_loaded_without_an_endpoint(lab, receiver):
    """It and its libraries are more than half of what the agent would hold in memory."""
    without = lab.own(Weir(lab))
    with open("/proc/%d/maps" % without.pid) as maps:
        assert "libcurl" not in maps.read()
    with_it = lab.own(Weir(lab, "--otlp-endpoint=http://127.0.0.1:%d" % receiver.server_port))
    with open("/proc/%d/maps" % with_it.pid) as maps:
        assert "libcurl" in maps.read()


def test_options_that_cannot_work_end_it_with_one_line(lab, receiver):
    for option, says in (("--otlp-endpoint=localhost:4318", "http://localhost:4318"),
                         ("--prometheus=127.0.0.1:%d" % receiver.server_port, "already in use"),
                         ("--prometheus=nonsense", "HOST:PORT"),
                         ("--socket=/nonexistent/weir.sock", "/nonexistent/weir.sock"),
                         ("--socket=" + lab.write("file", ""), "no socket"),
                         ("--otlp-headers=x", "headers")):
        options = [option, "--otlp-endpoint=http://127.0.0.1:9"] if "headers" in option else [option]
        options += [] if "--prometheus" in option else ["--prometheus=off"]
        options += [] if "--socket" in option else ["--socket=off"]
        done = subprocess.run([BINARY, "agent", *options], capture_output=True, text=True, timeout=60)
        assert done.returncode not in (0, -11, -6), option
        assert says in done.stderr and done.stderr.count("\n") == 1, (option, done.stderr)
