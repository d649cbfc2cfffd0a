"""A real Prometheus and a real OpenTelemetry Collector, built once from Go modules (tests/lib/{prometheus,collector})
and run for one test. Where Go is missing the test is skipped with that reason."""

import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest

from lab import DEADLINE_S, port_free, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD_S = 1800  # a first build takes minutes, on a busy machine many


def built(name):
    """Directory of the programs."""
    done = subprocess.run([os.path.join(HERE, name)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=BUILD_S)
    if done.returncode == 3:
        pytest.skip("%s cannot be built: %s" % (name, done.stderr.strip()))
    assert done.returncode == 0, "building %s: %s" % (name, done.stderr[-2000:])
    return done.stdout.strip()


def promtool():
    return os.path.join(built("prometheus"), "promtool")


class Prometheus:
    """Scrapes @targets ("host:port") every second; takes OTLP at .otlp (a base endpoint)."""

    def __init__(self, lab, targets=(), scrape_native=False):
        directory = built("prometheus")
        self.port = port_free("127.0.0.1")
        self.url = "http://127.0.0.1:%d" % self.port
        self.otlp = self.url + "/api/v1/otlp"
        config = lab.write("prometheus.yml", json.dumps({  # JSON is YAML
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "weir", "static_configs": [{"targets": list(targets)}]}],
            "otlp": {"promote_resource_attributes": ["service.name", "container.id", "k8s.pod.uid", "weir.cgroup"]},
        }))
        self.process = lab.spawn(
            os.path.join(directory, "prometheus"), "--config.file=" + config,
            "--storage.tsdb.path=" + lab.path("tsdb"), "--web.listen-address=127.0.0.1:%d" % self.port,
            "--web.enable-otlp-receiver", "--log.level=warn", env={"GOMAXPROCS": "1"})
        wait_until(self.ready, lambda: "Prometheus is ready: " + self.process.output(), 60)

    def ready(self):
        assert self.process.alive(), self.process.output()
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=DEADLINE_S) as answer:
                return answer.status == 200
        except OSError:
            return False

    def query(self, promql):
        """[(labels, value)] of an instant query."""
        url = self.url + "/api/v1/query?" + urllib.parse.urlencode({"query": promql})
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                data = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError("%s: %s" % (promql, error.read().decode())) from None
        return [(row["metric"], float(row["value"][1]) if "value" in row else row["histogram"][1]) for row in data]

    def targets(self):
        """[(health, last error)]"""
        with urllib.request.urlopen(self.url + "/api/v1/targets", timeout=DEADLINE_S) as answer:
            return [(t["health"], t["lastError"]) for t in json.load(answer)["data"]["activeTargets"]]


class Collector:
    """Takes OTLP over HTTP at .endpoint and writes each request that it received as one line of JSON."""

    def __init__(self, lab):
        directory = built("collector")
        self.port = port_free("127.0.0.1")
        self.endpoint = "http://127.0.0.1:%d" % self.port
        self.path = lab.path("collector.json")
        config = lab.write("collector.yml", json.dumps({
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:%d" % self.port}}}},
            "exporters": {"file": {"path": self.path, "flush_interval": "100ms"}},
            "service": {
                "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["file"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        }))
        self.process = lab.spawn(os.path.join(directory, "otelcol"), "--config=" + config, env={"GOMAXPROCS": "1"})
        wait_until(self.ready, lambda: "the Collector is ready: " + self.process.output(), 60)

    def ready(self):
        assert self.process.alive(), self.process.output()
        try:
            urllib.request.urlopen(self.endpoint, timeout=DEADLINE_S)
        except urllib.error.HTTPError:
            return True  # it answers, that it wants something else
        except OSError:
            return False

    def requests(self):
        try:
            with open(self.path) as lines:
                return [json.loads(line) for line in lines.read().split("\n")[:-1]]
        except FileNotFoundError:
            return []

    def points(self):
        """Latest value of every series: {(metric name, frozenset of resource attributes, frozenset of attributes): point}.
        Attributes are (key, text)."""
        latest = {}
        for request in self.requests():
            for resource in request["resourceMetrics"]:
                who = attributes(resource["resource"])
                for scope in resource["scopeMetrics"]:
                    for metric in scope["metrics"]:
                        for kind in ("gauge", "sum", "histogram", "exponentialHistogram"):
                            for point in metric.get(kind, {}).get("dataPoints", []):
                                point["kind"], point["data"] = kind, metric[kind]
                                latest[metric["name"], who, attributes(point)] = point
        return latest


def attributes(thing):
    """Values as text: int64 is text in OTLP's JSON anyway."""
    return frozenset((pair["key"], str(next(iter(pair["value"].values())))) for pair in thing.get("attributes", []))
