"""Who is behind a cgroup: containers that live shortly, cgroups inside of containers, restarts, processes."""

import http.client
import itertools

import oci
import servers
from lab import wait_until
from weir import CLIENT, SERVER, Weir
from wire import C, S, Wire

GET = C("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
OK = S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def points(snapshot, path):
    return [p for p in snapshot.points if p.metric in (SERVER, CLIENT) and p.cgroup == path]


def test_container_that_lives_shortly_keeps_its_name(lab):
    """An agent that shows nothing for an hour: the cgroup is made, used by a process and removed before anybody asks."""
    weir = Weir(lab, interval="1h")
    server = servers.nginx(lab, lab.cgroup("nginx"))
    gone = []
    for _ in range(23):
        identity, cgroup = oci.identity_cgroup(lab, "docker")
        curl = lab.spawn("/usr/bin/curl", "-sS", "-o", "/dev/null", server.url("/"), cgroup=cgroup)
        assert curl.wait() == 0, curl.output()
        wait_until(lambda: not cgroup.pids(), "curl has left")
        cgroup.close()
        gone.append((identity, cgroup))
    snapshot = weir.snapshot()
    for identity, cgroup in gone:
        point, = points(snapshot, cgroup.path)
        assert (point.metric, point.count) == (CLIENT, 1)
        assert point.container["id"] == identity.id
        assert point.container["name"] == identity.id[:12]
        assert point.container["cgroup_id"] == cgroup.id
    assert snapshot.value("weir.identity.missed") == 0
    weir.law()


def test_cgroups_of_a_container_are_one(lab):
    """Three cgroups at different depths, one container: one series with the sum."""
    weir = Weir(lab)
    identity = oci.Identity("crio")
    own = lab.cgroup(path=identity.path)
    parts = [own, lab.cgroup(path=identity.path + "/container"), lab.cgroup(path=identity.path + "/system.slice/a.service")]
    for count, part in zip((5, 7, 11), parts):
        lab.own(Wire(part, lab.cgroup("client"))).play(*[GET, OK] * count)
    wait_until(lambda: weir.snapshot().count(SERVER, own) == 23, "23 requests")
    point, = points(weir.snapshot(), own.path)
    assert point.count == 23
    assert point.container["id"] == identity.id
    assert point.container["pod_uid"] == identity.pod
    assert point.container["cgroup_id"] == own.id
    series = weir.metrics().find("http_server_request_duration_seconds_count", container_id=identity.id)
    assert [value for _, value in series] == [23]


def test_restarts_at_one_path_are_one(lab):
    """A unit that is stopped and started has a new cgroup of the same name: its counters go on."""
    weir = Weir(lab)
    path = "system.slice/shop-%d.service" % next(lab.numbers)
    ids = set()
    for count in (5, 7, 11):
        cgroup = lab.cgroup(path=path)
        ids.add(cgroup.id)
        wire = Wire(cgroup, lab.cgroup("client"))
        wire.play(*[GET, OK] * count)
        wire.close()
        cgroup.close()
    assert len(ids) == 3
    wait_until(lambda: weir.snapshot().count(SERVER, cgroup) == 23, "23 requests")
    point, = points(weir.snapshot(), cgroup.path)
    assert point.container["runtime"] == "systemd"
    assert point.container["service_name"] == cgroup.name


def test_pid_is_of_the_worker_that_holds_the_connection(lab):
    """nginx says which worker it was. A master and two workers share the listening socket. How many sockets are looked
    for in a second is limited, so a pid may be left out; it may not be wrong."""
    server = servers.nginx(lab, lab.cgroup("nginx"), workers=2, http="add_header X-Pid $pid always;")
    weir = Weir(lab)
    trace = lab.own(weir.trace("--role=server"))
    trace.fence()
    numbers = itertools.count()

    def both_workers_known():
        number, said = next(numbers), {}
        connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
        for request in range(2):  # the second is asked of the same worker
            path = "/p/%d-%d" % (number, request)
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            said[path] = int(answer.getheader("X-Pid"))
        trace.fence()  # the connection is open until its records have been read
        connection.close()
        records = {r["path"]: r for r in trace.of(server.cgroup)}
        assert said.keys() <= records.keys()
        for path, pid in said.items():
            assert records[path].get("pid", pid) == pid
        return len({r["pid"] for r in records.values() if "pid" in r}) == 2 and number >= 11

    wait_until(both_workers_known, "both workers", 60)
    assert server.process.pid not in {r.get("pid") for r in trace.of(server.cgroup)}
