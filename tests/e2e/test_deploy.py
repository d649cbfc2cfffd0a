"""What deploy/ says is what weir needs and takes: capabilities, manifest, unit, sample configuration, manual page."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from lab import run, wait_until
from weir import BINARY, CLIENT, ROOT, SERVER, Weir
from wire import C, S, Wire

DEPLOY = os.path.join(ROOT, "deploy")
GET = C("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
OK = S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def read(name):
    with open(os.path.join(DEPLOY, name)) as text:
        return text.read()


def unit_values(key):
    return re.findall(r"^%s=(.*)$" % key, read("weir.service"), re.M)


def manifests():
    return {document["kind"]: document for document in yaml.safe_load_all(read("daemonset.yaml"))}


def pod():
    return manifests()["DaemonSet"]["spec"]["template"]["spec"]


def settled(weir, cgroup, metric, count):
    wait_until(lambda: weir.snapshot().count(metric, cgroup) == count, "%d requests" % count)


def test_capabilities_suffice(lab):
    """The unit and the manifest give the same three, and with them alone the main job runs."""
    names = unit_values("CapabilityBoundingSet")[0].split()
    container, = pod()["containers"]
    assert ["CAP_" + name for name in container["securityContext"]["capabilities"]["add"]] == names
    bounds = ",".join(["-all"] + ["+" + name[len("CAP_"):].lower() for name in names])
    weir = Weir(lab, argv=("/usr/bin/setpriv", "--bounding-set=" + bounds, "--inh-caps=-all", "--no-new-privs"))
    with open("/proc/%d/status" % weir.pid) as status:
        permitted = int(re.search(r"CapPrm:\s*(\w+)", status.read())[1], 16)
    assert bin(permitted).count("1") == len(names)
    wire = lab.own(Wire(lab.cgroup("server"), lab.cgroup("client")))
    wire.play(*[GET, OK] * 23)
    settled(weir, wire.server_cgroup, SERVER, 23)
    settled(weir, wire.client_cgroup, CLIENT, 23)
    weir.law()


@pytest.mark.parametrize("without", ["bpf", "perfmon", "net_admin"])
def test_each_capability_is_needed(lab, without):
    """One line that says what to do, and a failure."""
    bounds = ",".join(["-all"] + ["+" + name for name in ("bpf", "perfmon", "net_admin") if name != without])
    agent = subprocess.run(
        ["/usr/bin/setpriv", "--bounding-set=" + bounds, "--inh-caps=-all", "--no-new-privs", BINARY, "agent",
         "--prometheus=off", "--socket=" + lab.path("weir.sock")], capture_output=True, text=True, timeout=60)
    assert agent.returncode == 1, agent.stderr
    assert len(agent.stderr.strip().splitlines()) == 1, agent.stderr
    assert "CAP_" in agent.stderr


@pytest.mark.no_weir
def test_manifest_gives_no_more(lab):
    spec = pod()
    container, = spec["containers"]
    context = container["securityContext"]
    assert context["privileged"] is False and context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"]["drop"] == ["ALL"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False and "hostNetwork" not in spec
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    assert {paths[name] for name in paths if not mounts[name].get("readOnly")} == {"/run/weir"}
    assert mounts.keys() == {volume["name"] for volume in spec["volumes"]}
    selector = manifests()["DaemonSet"]["spec"]["selector"]["matchLabels"]
    labels = manifests()["DaemonSet"]["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()


def test_configuration_of_the_manifest_is_taken(lab):
    """The ConfigMap's file, its places moved into the test's directory."""
    text = manifests()["ConfigMap"]["data"]["weir.yaml"]
    config = yaml.safe_load(text)
    environment = {item["name"]: item.get("value") for item in pod()["containers"][0]["env"]}
    assert config["socket"] == environment["WEIR_SOCKET"]
    assert config["socket"].startswith("/run/weir/")
    path = lab.write("weir.yaml", text)
    weir = Weir(lab, "--config=" + path, env={"NODE_NAME": "n1", "OTEL_RESOURCE_ATTRIBUTES": "k8s.node.name=n1"})
    assert weir.status()["version"]


def test_sample_configuration_is_taken(lab):
    """Also with everything that stands in comments."""
    text = read("weir.yaml")
    loose = re.sub(r"^# ([a-z-]+:|  - )", r"\1", text, flags=re.M)
    assert len(yaml.safe_load(loose)) > len(yaml.safe_load(text)) + 4
    for number, content in enumerate((text, loose)):
        weir = Weir(lab, "--config=" + lab.write("%d.yaml" % number, content))
        assert weir.status()["version"]
        assert weir.stop() == 0


@pytest.mark.no_weir
def test_unit_is_understood(lab):
    start, = unit_values("ExecStart")
    assert start == "/usr/local/bin/weir agent"
    if not shutil.which("systemd-analyze"):
        assert re.search(r"^\[Unit\]\n(.*\n)+\[Service\]\n(.*\n)+\[Install\]\n", read("weir.service"), re.M)
        return
    lines = [line for line in read("weir.service").splitlines() if not line.startswith("Documentation=")]
    unit = lab.write("weir.service", "\n".join(lines).replace("/usr/local/bin/weir", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


@pytest.mark.no_weir
def test_manual_page_is_clean():
    page = os.path.join(DEPLOY, "weir.1")
    complaints = subprocess.run(["mandoc", "-T", "lint", page], capture_output=True, text=True).stdout
    # pages of other packages need not be here
    elsewhere = ("mandoc.db", "SEE ALSO", "referenced manual not found")
    assert [line for line in complaints.splitlines() if not any(text in line for text in elsewhere)] == []
    text = run("mandoc", "-T", "ascii", page)
    assert "EXIT STATUS" in re.sub(".\b", "", text)
