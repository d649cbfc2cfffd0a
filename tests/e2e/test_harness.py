"""The harness itself, without weir: a test that cannot fail because its tools do not work is worth nothing."""

import os
import socket
import time

import pytest

import oci
import servers
from lab import Lab, cgroup2_mount, cgroup_of, run, wait_until
from prom import Samples
from tcp_peer import Peer, Tun
from wire import C, CLIENT_RST, S, SERVER_CLOSE, Clock, Wire

pytestmark = pytest.mark.no_weir


@pytest.fixture(autouse=True)
def root():
    if os.geteuid():
        pytest.skip("needs root")


def test_lab_leaves_nothing_behind():
    made = Lab()
    group, space = made.cgroup("a"), made.netns()
    process = made.spawn("/bin/sleep", "100", cgroup=group, netns=space)
    wait_until(lambda: cgroup_of(process.pid) == group.path, "process in its cgroup")
    made.close()
    assert not os.path.exists(group.dir)
    assert not os.path.exists(cgroup2_mount() + "/weir-test-%d" % os.getpid()) or os.listdir(
        cgroup2_mount() + "/weir-test-%d" % os.getpid())
    assert not os.path.exists(space.path)
    assert not os.path.exists("/sys/class/net/" + space.host_if)
    assert not os.path.exists("/proc/%d" % process.pid)
    assert not os.path.exists(made.dir)


def test_wire_sends_what_the_script_says(lab):
    wire = lab.own(Wire(lab.cgroup("s"), lab.cgroup("c")))
    wire.play(C("abc", every=1), S(b"x" * 1000000), SERVER_CLOSE)
    wire.play(C("abc"), CLIENT_RST)


def test_clock_agrees_with_the_wire(lab):
    wire = lab.own(Wire(lab.cgroup("s"), lab.cgroup("c")))
    clock = lab.own(Clock(wire.port))
    ends = wire.connect()
    for wait_ms in (0, 5, 20):
        before_ns = time.monotonic_ns()
        wire.play(C("GET"), ends=ends, close=False)
        asked_ns = time.monotonic_ns()
        while time.monotonic_ns() < asked_ns + wait_ms * 1000000:
            pass
        wire.play(S("OK"), ends=ends, close=False)
        start, first, end = clock.exchanges()[0]
        assert wait_ms * 1000000 <= end - start <= time.monotonic_ns() - before_ns
        assert first == end


def test_peer_speaks_tcp_to_the_kernel(lab):
    space = lab.netns()
    with space.inside(), Tun() as tun:
        for family, address in ((socket.AF_INET, tun.kernel), (socket.AF_INET6, tun.kernel6)):
            with socket.create_server((address, 0), family=family) as listener:
                peer = Peer(tun, listener.getsockname()[1], family)
                peer.connect()
                server, _ = listener.accept()
                server.settimeout(5)
                peer.segment(4, b"efgh")
                peer.segment(0, b"abcd")
                peer.segment(0, b"abcd")
                peer.wait_acked(8)
                assert server.recv(100) == b"abcdefgh"
                server.send(b"hello")
                peer.wait_repeat(0)
                peer.read(5)
                assert peer.data() == b"hello"
                peer.send_rst()
                with pytest.raises(ConnectionResetError):
                    server.recv(1)
                server.close()


def test_prometheus_reader_refuses_nonsense():
    good = Samples('# TYPE a counter\na{b="x\\"\\\\y"} 3\na{b="z"} 4\n')
    assert good.get("a") == 7 and good.find("a", b='x"\\y')
    for text in ('a{b="x} 1', 'a{b="x",b="y"} 1', "a 1\na 2", "1a 2", "a one"):
        with pytest.raises((ValueError, IndexError)):
            Samples(text)


@pytest.mark.parametrize("name", sorted(servers.ALL))
def test_server_answers(lab, name):
    start, _ = servers.ALL[name]
    server = start(lab, lab.cgroup(name), lab.netns())
    assert cgroup_of(server.process.pid) == server.cgroup.path
    got = run("curl", "-sS", "-w", " %{http_code} %{size_download}", server.url("/"))
    assert got == "hello\n 200 6"
    got = run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", server.url("/fail"))
    assert int(got) == getattr(server, "fail_status", 500)


@pytest.mark.parametrize("start,kind", [(oci.busybox_httpd, "kubepods"), (oci.nginx, "kubepods-systemd")],
                         ids=["busybox", "nginx"])
def test_container_answers(lab, start, kind):
    container = start(lab, kind=kind)
    assert cgroup_of(container.pid) == container.path
    assert run("curl", "-sS", "http://%s/" % container.host) == "hello\n"
    assert os.readlink("/proc/%d/ns/net" % container.pid) != os.readlink("/proc/self/ns/net")
    container.close()
    assert not os.path.exists(cgroup2_mount() + container.path)
