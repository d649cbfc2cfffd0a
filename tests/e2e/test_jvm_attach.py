"""Asking a JVM: what it answers, that nothing is sent where that would do harm, and that nothing takes longer than allowed.

The asking is done by a small program (tests/lib/ask.c) on the library that weir is made of. Whether a signal was sent is not
asked of it, but of the kernel: its trace event signal_generate."""

import contextlib
import glob
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from jvm import JAVA, ContainerJvm, Jvm
from lab import cgroup1_mount, run, wait_until

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(os.path.dirname(HERE), os.environ.get("BUILD", "build"))
TRACING = "/sys/kernel/tracing"
MS = 1_000_000
ANSWER_MAX = 64 << 20
# 17 is what the tests need; others that are installed.
JAVAS = [JAVA] + sorted(path for path in glob.glob("/usr/lib/jvm/*-2[0-9]-*/bin/java")
                        if os.path.realpath(path) != os.path.realpath(JAVA))
OTHER = ["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups"]

pytestmark = pytest.mark.no_weir


@pytest.fixture(scope="module")
def program(module_lab):
    path = module_lab.path("ask")
    run("cc", "-std=gnu11", "-O2", "-D_GNU_SOURCE", "-I", os.path.join(os.path.dirname(HERE), "user"), "-o", path,
        HERE + "/lib/ask.c", BUILD + "/obj/libweir.a", "-lelf")
    return path


class Answer:
    def __init__(self, popen, begin):
        out, err = popen.communicate(timeout=60)
        self.took_s = time.monotonic() - begin
        self.text, self.status, said = out.decode(errors="replace"), popen.returncode, err.decode()
        self.error, self.reason = said.strip().split(": ", 1) if said else (None, "")
        assert (self.status == 0) == (self.error is None), (self.status, said)

    @property
    def threads(self):
        return sorted(re.findall(r'^"([^"]+)"', self.text, re.M))


@pytest.fixture
def start(program, lab):
    asked = set()

    def make(pid, command="Thread.print", *options, prefix=()):
        asked.add(pid)
        return subprocess.Popen([*prefix, program, str(pid), command, *[str(o) for o in options]],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    yield make
    lab.close()
    for pid in asked:  # those that were killed leave it behind
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink("/tmp/.java_pid%d" % pid)


@pytest.fixture
def ask(start):
    def make(*args, **kwargs):
        begin = time.monotonic()
        return Answer(start(*args, **kwargs), begin)
    return make


def write(path, text):
    with open(path, "w") as out:
        out.write(text)


def said(path, text):
    with open(path) as lines:
        return text in lines.read()


class Signals:
    """SIGQUITs that were sent to @pid, by the kernel's word."""

    def __init__(self, lab, pid):
        # Mounted where nobody else sees it, and only for as long as that process lives.
        holder = lab.spawn("unshare", "-m", "sh", "-c", "mount -t tracefs none %s && echo up && exec cat" % TRACING,
                           stdin=subprocess.PIPE)
        wait_until(lambda: "up" in holder.output(), holder.output)
        self.dir = "/proc/%d/root%s/instances/weir-test-%d-%d" % (holder.pid, TRACING, os.getpid(), next(lab.numbers))
        os.mkdir(self.dir)
        lab.own(self)
        write(self.dir + "/events/signal/signal_generate/filter", "sig == 3 && pid == %d" % pid)
        write(self.dir + "/events/signal/signal_generate/enable", "1")

    def count(self):
        with open(self.dir + "/trace") as lines:
            return sum("signal_generate" in line for line in lines if not line.startswith("#"))

    def close(self):
        os.rmdir(self.dir)


def inner_pid(pid):
    with open("/proc/%d/status" % pid) as lines:
        return int(re.search(r"^NSpid:.*\s(\d+)$", lines.read(), re.M)[1])


def left(pid):
    """What asking has left behind."""
    name = ".attach_pid%d" % inner_pid(pid)
    return [at for at in ("root/tmp", "cwd") if os.path.lexists("/proc/%d/%s/%s" % (pid, at, name))]


def socket_of(pid):
    return "/proc/%d/root/tmp/.java_pid%d" % (pid, inner_pid(pid))


def untouched(jvm, signals):
    assert signals.count() == 0
    assert left(jvm.pid) == []
    assert jvm.process.alive()
    assert "Full thread dump" not in jvm.process.output()


# --- it answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("java", JAVAS)
def test_the_answer_is_that_of_jcmd(lab, ask, java):
    jvm = Jvm(lab, "-XX:+UseSerialGC", "-XX:-UseDynamicNumberOfCompilerThreads", java=java)
    signals = Signals(lab, jvm.pid)
    assert ask(jvm.pid, "", "--check").error is None
    untouched(jvm, signals)
    assert not os.path.exists(socket_of(jvm.pid))
    first = ask(jvm.pid)
    assert first.error is None and signals.count() == 1
    # Again: it listens by now.
    again = ask(jvm.pid)
    assert again.error is None and signals.count() == 1
    jcmd = os.path.join(os.path.dirname(os.path.realpath(java)), "jcmd")
    theirs = run(jcmd, str(jvm.pid), "Thread.print")
    names = sorted(re.findall(r'^"([^"]+)"', theirs, re.M))
    assert again.threads == names
    assert {"main", "busy-0", "busy-1"} <= set(names)
    flags = "".join(run(jcmd, str(jvm.pid), "VM.flags").splitlines(True)[1:])  # after the line with the process id
    assert ask(jvm.pid, "VM.flags").text == flags and "-XX:+UseSerialGC" in flags
    assert "java.lang.Thread" in ask(jvm.pid, "GC.class_histogram -all").text
    assert left(jvm.pid) == [] and "Full thread dump" not in jvm.process.output()


@pytest.mark.parametrize("java", JAVAS)
def test_another_user(lab, ask, java):
    os.chmod(lab.dir, 0o1777)  # for its log
    jvm = Jvm(lab, java=java, prefix=OTHER)
    signals = Signals(lab, jvm.pid)
    assert {"main", "busy-0"} <= set(ask(jvm.pid).threads)
    assert {"main", "busy-0"} <= set(ask(jvm.pid).threads)
    assert signals.count() == 1
    assert os.stat(socket_of(jvm.pid)).st_uid == 4242
    assert left(jvm.pid) == [] and "Full thread dump" not in jvm.process.output()


@pytest.mark.parametrize("java", JAVAS)
def test_in_a_container(lab, ask, java):
    """Another user, without a name, in namespaces of its own; a root that cannot be written, but /tmp can."""
    jvm = ContainerJvm(lab, java=java, scratch=["/tmp"])
    signals = Signals(lab, jvm.pid)
    assert inner_pid(jvm.pid) != jvm.pid
    assert ask(jvm.pid, "", "--check").error is None and signals.count() == 0
    assert {"main", "busy-0", "busy-1"} <= set(ask(jvm.pid).threads)
    assert "-Xmx128m" in ask(jvm.pid, "VM.command_line").text
    assert signals.count() == 1
    assert left(jvm.pid) == [] and "Full thread dump" not in jvm.process.output()


def test_a_socket_that_was_left_behind(lab, ask):
    jvm = Jvm(lab)
    signals = Signals(lab, jvm.pid)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(socket_of(jvm.pid))
    assert "main" in ask(jvm.pid).threads
    assert signals.count() == 1 and left(jvm.pid) == []


@pytest.mark.parametrize("java", JAVAS)
def test_a_socket_that_lost_its_name(lab, ask, java):
    """Who cleans /tmp does that."""
    jvm = Jvm(lab, java=java)
    signals = Signals(lab, jvm.pid)
    assert "main" in ask(jvm.pid).threads
    os.unlink(socket_of(jvm.pid))
    assert "main" in ask(jvm.pid).threads
    assert signals.count() == 2 and left(jvm.pid) == [] and "Full thread dump" not in jvm.process.output()


@pytest.mark.parametrize("java", JAVAS)
def test_a_dead_socket_in_the_place_of_its_own(lab, ask, java):
    """It listens, so that it would print its stacks when told to."""
    jvm = Jvm(lab, java=java)
    assert "main" in ask(jvm.pid).threads
    signals = Signals(lab, jvm.pid)
    os.unlink(socket_of(jvm.pid))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(socket_of(jvm.pid))
    answer = ask(jvm.pid)
    assert answer.error == "EBADMSG" and "take it away" in answer.reason
    untouched(jvm, signals)
    os.unlink(socket_of(jvm.pid))
    assert "main" in ask(jvm.pid).threads
    assert signals.count() == 1 and "Full thread dump" not in jvm.process.output()


class FirstJvm(Jvm):
    """Process 1 of a pid namespace of its own; /tmp is everybody's."""

    def __init__(self, lab, *options):
        super().__init__(lab, *options, prefix=["unshare", "--pid", "--fork", "--kill-child"])

    @property
    def pid(self):
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as children:
            return int(children.read())


def test_two_that_share_tmp(lab, ask):
    """As containers of one pod can: their sockets have one name."""
    one, two = (FirstJvm(lab, "-Dwho=" + who) for who in ("one", "two"))
    path, signals = "/tmp/.java_pid1", [Signals(lab, jvm.pid) for jvm in (one, two)]
    try:
        assert "-Dwho=one" in ask(one.pid, "VM.command_line").text
        answer = ask(two.pid, "VM.command_line")
        assert answer.error == "EBADMSG" and answer.text == "" and "process %d listens" % one.pid in answer.reason
        os.unlink(path)
        assert "-Dwho=two" in ask(two.pid, "VM.command_line").text
        answer = ask(one.pid, "VM.command_line")
        assert answer.error == "EBADMSG" and "process %d listens" % two.pid in answer.reason
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    assert [s.count() for s in signals] == [1, 1]
    assert "Full thread dump" not in one.process.output() + two.process.output()


def test_what_it_refuses(lab, ask):
    jvm = Jvm(lab)
    answer = ask(jvm.pid, "No.such")
    assert answer.error == "EIO" and "Unknown diagnostic command" in answer.reason and answer.text == ""
    assert ask(jvm.pid, "").error == "EINVAL"
    assert ask(jvm.pid, "x" * 1025).error == "EINVAL"


def test_an_answer_that_is_too_long(lab, ask):
    jvm = Jvm(lab)
    whole = ask(jvm.pid, "VM.flags").text
    cut = ask(jvm.pid, "VM.flags", "--room", 100)
    assert cut.error == "EFBIG" and cut.text == whole[:100]
    exact = ask(jvm.pid, "VM.flags", "--room", len(whole))
    assert exact.error is None and exact.text == whole


# --- a slow reader ----------------------------------------------------------------------------------------------------


SLOW = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static int slow;
long send(int fd, const void *data, unsigned long bytes, int flags)
{
	int log = open(getenv("REQUESTS"), O_WRONLY | O_CREAT | O_APPEND, 0600);
	write(log, data, bytes);
	write(log, "\n", 1);
	close(log);
	slow = memmem(data, bytes, "jcmd", 4) != 0;
	return syscall(SYS_sendto, fd, data, bytes, flags, 0, 0);
}
long recv(int fd, void *data, unsigned long bytes, int flags)
{
	if (slow)
		sleep(slow--);
	return syscall(SYS_recvfrom, fd, data, bytes, flags, 0, 0);
}
"""


@pytest.fixture
def slow(lab, ask):
    """Asks, but does not read from the JVM for a second: (the answer, what was sent)."""
    library, requests = lab.path("slow.so"), lab.path("requests")
    run("cc", "-shared", "-fPIC", "-w", "-D_GNU_SOURCE", "-o", library, lab.write("slow.c", SLOW))

    def make(*args):
        answer = ask(*args, prefix=["env", "LD_PRELOAD=" + library, "REQUESTS=" + requests])
        with open(requests, "rb") as sent:
            return answer, sent.read().split(b"\n")[:-1]
    return make


def slowly(path, request):
    with socket.socket(socket.AF_UNIX) as jvm:
        jvm.connect(path)
        jvm.sendall(request)
        threading.Event().wait(1)  # this is what is measured, no wait for anything
        return b"".join(iter(lambda: jvm.recv(65536), b""))


@pytest.mark.parametrize("java", JAVAS)
@pytest.mark.parametrize("counters", ["-XX:+UsePerfData", "-XX:-UsePerfData"])  # without them its version is not known
def test_a_slow_reader_does_not_hold_it(lab, ask, slow, java, counters):
    jvm = Jvm(lab, counters, java=java)
    jvm.tell("park 500")
    assert ask(jvm.pid, "VM.version").error is None
    major = int(re.search(r"^JDK (\d+)", ask(jvm.pid, "VM.version").text, re.M)[1])
    plain = b"1\0jcmd\0Thread.print\0\0\0"

    def longest_ns(since_ns):
        found = [s.total_ns for s in jvm.safepoints(since_ns) if s.operation == "PrintThreads"]
        return max(found) if found else None

    # What happens to whoever asks as older JVMs want it.
    since_ns = time.monotonic_ns()
    assert len(slowly(socket_of(jvm.pid), plain)) > 400_000
    careless_ns = wait_until(lambda: longest_ns(since_ns), "the pause is in the log")
    assert careless_ns > 900 * MS if major >= 25 else careless_ns < 500 * MS
    since_ns = time.monotonic_ns()
    answer, requests = slow(jvm.pid)
    assert answer.took_s > 1 and len([name for name in answer.threads if name.startswith("parked-")]) == 500
    ours_ns = wait_until(lambda: longest_ns(since_ns), "the pause is in the log")
    print("JDK %d: a reader that stops for 1 s: pause %.1f ms, careless %.1f ms" % (major, ours_ns / MS, careless_ns / MS))
    assert ours_ns < 500 * MS
    question = b"1\0getversion\0options\0\0\0"
    assert requests == ([question, b"2\00030\0jcmd streaming=0\0Thread.print\0"] if major >= 25 else
                        [plain] if counters == "-XX:+UsePerfData" else [question, plain])


# --- it must not be signalled -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("java", JAVAS)
@pytest.mark.parametrize("options,env", [
    (["-XX:+DisableAttachMechanism"], {}),
    (["-XX:+DisableAttachMechanism", "-XX:+PerfDisableSharedMem"], {}),
    (["-XX:+DisableAttachMechanism", "-XX:-UsePerfData"], {}),
    (["-XX:-UsePerfData"], {"JAVA_TOOL_OPTIONS": "-Da=b -XX:+DisableAttachMechanism"}),
    (["-XX:-UsePerfData"], {"JDK_JAVA_OPTIONS": "-XX:+DisableAttachMechanism"}),
    (["-XX:-UsePerfData"], {"_JAVA_OPTIONS": "'-XX:+DisableAttachMechanism'"}),
], ids=["file", "memory", "cmdline", "tool-options", "java-options", "underscore"])
def test_forbidden_by_its_owner(lab, ask, java, options, env):
    jvm = Jvm(lab, *options, java=java, env=env)
    signals = Signals(lab, jvm.pid)
    for answer in (ask(jvm.pid), ask(jvm.pid, "", "--check")):
        assert answer.error == "EOPNOTSUPP" and "-XX:+DisableAttachMechanism" in answer.reason
    untouched(jvm, signals)


def test_options_that_are_not_known(lab, ask):
    flags = lab.write("flags", "-Dsome=thing\n")
    jvm = Jvm(lab, "-XX:-UsePerfData", "@" + flags)
    signals = Signals(lab, jvm.pid)
    answer = ask(jvm.pid)
    assert answer.error == "EOPNOTSUPP" and "from a file" in answer.reason
    untouched(jvm, signals)


@pytest.mark.parametrize("option", ["-Xrs", "-XX:+ReduceSignalUsage"])
@pytest.mark.parametrize("counters", ["-XX:+UsePerfData", "-XX:-UsePerfData"])
def test_one_that_takes_no_signals(lab, ask, option, counters):
    """It listens from the beginning, and SIGQUIT would end it."""
    jvm = Jvm(lab, option, counters)
    signals = Signals(lab, jvm.pid)
    assert "main" in ask(jvm.pid).threads
    os.unlink(socket_of(jvm.pid))
    for answer in (ask(jvm.pid), ask(jvm.pid, "", "--check")):
        assert answer.error == "EOPNOTSUPP" and "-Xrs" in answer.reason
    untouched(jvm, signals)


@pytest.mark.parametrize("java", JAVAS)
def test_read_only_tmp(lab, ask, java):
    jvm = ContainerJvm(lab, java=java)
    signals = Signals(lab, jvm.pid)
    for answer in (ask(jvm.pid), ask(jvm.pid, "", "--check")):
        assert answer.error == "EROFS" and "read-only" in answer.reason
    untouched(jvm, signals)


def test_tmp_that_its_user_may_not_write(lab, ask):
    """A root that can be written, but not by everybody."""
    jvm = ContainerJvm(lab, readonly=False)
    signals = Signals(lab, jvm.pid)
    answer = ask(jvm.pid)
    assert answer.error == "EROFS" and "Permission denied" in answer.reason
    untouched(jvm, signals)


@pytest.mark.parametrize("name", ["setuid", "setgid", "kill", "sys_ptrace"])
def test_a_capability_that_is_missing(lab, ask, name):
    os.chmod(lab.dir, 0o1777)
    jvm = Jvm(lab, prefix=OTHER)
    signals = Signals(lab, jvm.pid)
    without = ["setpriv", "--bounding-set", "-" + name, "--inh-caps", "-" + name]
    answer = ask(jvm.pid, prefix=without)
    assert answer.error in ("EPERM", "EACCES") and "CAP_" + name.upper() in answer.reason
    untouched(jvm, signals)
    assert ask(jvm.pid).error is None


def test_a_group_that_alone_may_write_to_tmp(lab, ask):
    """As Kubernetes does with fsGroup: one of the further groups of the user."""
    script = ("mount -t tmpfs -o mode=2770,gid=4243 none /var/tmp && mkdir -p /var/tmp%s && mount --bind %s /var/tmp%s && "
              "mount --move /var/tmp /tmp; exec setpriv --reuid 4242 --regid 4242 --groups 4243 \"$@\"") % ((lab.dir,) * 3)
    script = script.replace("/var/tmp/tmp", "/var/tmp")
    os.chmod(lab.dir, 0o1777)
    jvm = Jvm(lab, prefix=["unshare", "-m", "sh", "-c", script, "sh"])
    signals = Signals(lab, jvm.pid)
    assert os.stat("/proc/%d/root/tmp" % jvm.pid).st_mode & 0o7777 == 0o2770
    assert "main" in ask(jvm.pid).threads
    assert "main" in ask(jvm.pid).threads
    assert signals.count() == 1 and left(jvm.pid) == []


def test_who_is_no_jvm(lab, ask):
    plain = lab.spawn("sleep", "1000")
    signals = Signals(lab, plain.pid)
    answer = ask(plain.pid)
    assert answer.error == "ENOENT" and "no Java virtual machine" in answer.reason
    plain.signal(signal.SIGKILL)
    plain.wait()
    assert ask(plain.pid).error == "ESRCH"
    assert signals.count() == 0


def test_who_is_another_by_now(lab, ask):
    jvm = Jvm(lab)
    signals = Signals(lab, jvm.pid)
    with open("/proc/%d/stat" % jvm.pid) as stat:
        start = int(stat.read().rsplit(")", 1)[1].split()[19])
    for answer in (ask(jvm.pid, "VM.flags", "--start", start - 1), ask(jvm.pid, "VM.flags", "--start", start - 1, "--check")):
        assert answer.error == "ESRCH" and "another one" in answer.reason
    untouched(jvm, signals)
    assert ask(jvm.pid, "VM.flags", "--start", start).error is None


FREEZER = cgroup1_mount("freezer")


@contextlib.contextmanager
def still(lab, jvm, how):
    """@how: stopped, or frozen by its cgroup of either version."""
    if how == "stopped":
        def set_to(value):
            os.kill(jvm.pid, signal.SIGSTOP if value else signal.SIGCONT)
            wait_until(lambda: said("/proc/%d/status" % jvm.pid, "State:\tT") == value, "stopped or not")
    elif how == "frozen":
        cgroup = lab.cgroup("java")
        cgroup.enter(jvm.pid)

        def set_to(value):
            write(cgroup.dir + "/cgroup.freeze", "%d" % value)
            wait_until(lambda: said(cgroup.dir + "/cgroup.events", "frozen %d" % value), "frozen or not")
    else:
        path = "%s/weir-test-%d" % (FREEZER, os.getpid())
        os.mkdir(path)
        write(path + "/cgroup.procs", "%d" % jvm.pid)

        def set_to(value):
            state = "FROZEN" if value else "THAWED"
            write(path + "/freezer.state", state)
            wait_until(lambda: said(path + "/freezer.state", state), state)
            if not value:
                write(FREEZER + "/cgroup.procs", "%d" % jvm.pid)
                os.rmdir(path)
    set_to(True)
    try:
        yield
    finally:
        set_to(False)


@pytest.mark.parametrize("how", ["stopped", "frozen"] + (["frozen by version 1"] if FREEZER else []))
@pytest.mark.parametrize("listens", [False, True])
def test_one_that_stands_still(lab, ask, how, listens):
    """What it was sent it would find when it goes on, and nobody is there any more."""
    jvm = Jvm(lab)
    if listens:
        assert ask(jvm.pid, "VM.flags").error is None
    signals = Signals(lab, jvm.pid)
    with still(lab, jvm, how):
        answer = ask(jvm.pid, "Thread.print", "--deadline", 300)
        assert answer.error == "ETIMEDOUT" and how.split()[0] in answer.reason
        assert 0.3 <= answer.took_s < 2
    untouched(jvm, signals)
    assert "main" in ask(jvm.pid).threads
    assert signals.count() == (0 if listens else 1) and "Full thread dump" not in jvm.process.output()


def test_one_at_a_time(lab, ask, start):
    jvm = Jvm(lab)
    with still(lab, jvm, "stopped"):
        first = start(jvm.pid)
        wait_until(lambda: said("/proc/locks", " %d " % first.pid), "the first holds the lock")
        second = ask(jvm.pid)
        assert second.error == "EBUSY" and second.took_s < 2
    assert "main" in Answer(first, time.monotonic()).threads
    assert ask(jvm.pid).error is None


# --- what only looks like a JVM ---------------------------------------------------------------------------------------


FAKE = r"""
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static void quit(int signal) { write(1, "QUIT\n", 5); }
/* Listens where it is told to, so that it is who listens there, and leaves the rest to the test. */
static void listen_at(const char *order)
{
	union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int))]; } control;
	struct iovec iov = { "x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct sockaddr_un address = { AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(address.sun_path, order + 1);
	bind(fd, (struct sockaddr *)&address, sizeof(address));
	listen(fd, order[0]);
	control.header = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	sendmsg(0, &msg, 0);
	close(fd);
}
int main(void)
{
	char order[110] = "";
	signal(SIGQUIT, quit);
	write(1, "up\n", 3);
	while (recv(0, order, sizeof(order) - 1, 0) > 0)
		listen_at(order);
	for (;;)
		pause();
}
"""


@pytest.fixture
def fake(lab):
    """A program that has something called libjvm.so."""
    os.mkdir(lab.path("lib"))
    run("cc", "-shared", "-fPIC", "-o", lab.path("lib/libjvm.so"), lab.write("lib.c", "int f(void) { return 1; }\n"))
    run("cc", "-w", "-o", lab.path("fake"), lab.write("fake.c", FAKE), "-Wl,--no-as-needed", "-L" + lab.path("lib"), "-ljvm",
        "-Wl,-rpath," + lab.path("lib"))
    orders, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = lab.spawn(lab.path("fake"), stdin=its_end)
    its_end.close()
    wait_until(lambda: "up" in process.output(), "it runs")
    process.path = "/tmp/.java_pid%d" % process.pid

    def listen(backlog=4):
        orders.send(bytes([backlog]) + process.path.encode())
        return socket.socket(fileno=socket.recv_fds(orders, 1, 1)[1][0])
    process.listen = listen
    yield process
    orders.close()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(process.path)


class Listener:
    """Takes what comes to @fake, and sends what @answer makes."""

    def __init__(self, fake, answer):
        self.socket = fake.listen()
        self.answer, self.kept = answer, []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.socket.accept()[0]
                self.kept.append(client)
                question = b"getversion" in client.recv(4096)
                with contextlib.suppress(OSError):
                    for part in [b"-1\nOperation getversion not recognized!"] if question else self.answer():
                        if part is None:
                            break
                        client.sendall(part)
                    else:
                        client.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.shutdown(socket.SHUT_RDWR)
        for client in self.kept:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()
        self.thread.join()
        self.socket.close()


def plain_file(path):
    open(path, "w").close()


def link(path):
    os.symlink("/run/nowhere", path)


def link_to_socket(path):
    os.symlink("/run/dbus/system_bus_socket", path)


def socket_of_another(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)
    os.chown(path, 4242, 4242)


def fifo(path):
    os.mkfifo(path)


@pytest.mark.parametrize("make", [plain_file, link, link_to_socket, socket_of_another, fifo, os.mkdir])
def test_what_is_not_its_socket(lab, ask, fake, make):
    make(fake.path)
    signals = Signals(lab, fake.pid)
    for answer in (ask(fake.pid), ask(fake.pid, "", "--check")):
        assert answer.error == "EBADMSG"
    assert signals.count() == 0 and left(fake.pid) == []
    if make is os.mkdir:
        os.rmdir(fake.path)


def test_one_that_never_listens(lab, ask, fake):
    signals = Signals(lab, fake.pid)
    answer = ask(fake.pid, "VM.flags", "--deadline", 300)
    assert answer.error == "ETIMEDOUT" and 0.3 <= answer.took_s < 2
    wait_until(lambda: "QUIT" in fake.output(), "it was told")
    assert signals.count() == 1 and left(fake.pid) == []


def test_one_that_ends_when_it_is_told(lab, ask, fake, start):
    begin = time.monotonic()
    asking = start(fake.pid)
    wait_until(lambda: "QUIT" in fake.output(), "it was told")
    fake.signal(signal.SIGKILL)
    fake.wait()
    answer = Answer(asking, begin)
    assert answer.error == "ESRCH" and answer.took_s < 5


def test_a_request_that_is_broken_off(lab, fake, start):
    """What asking makes is taken away also when the one that asks is killed."""
    asking = start(fake.pid)
    wait_until(lambda: "QUIT" in fake.output() and left(fake.pid), "it was told")
    asking.kill()
    asking.communicate()
    wait_until(lambda: left(fake.pid) == [], "the file has gone")


def endless():
    block = b"0\n" + bytes(65536)
    while True:
        yield block


@pytest.mark.parametrize("answer,error,text", [
    (lambda: [b"0\nhello\n"], None, "hello\n"),
    (lambda: [b"0", b"\n", b"he", b"llo"], None, "hello"),
    (lambda: [b"0\n"], None, ""),
    (lambda: [b"7\nno \x1b[31mway\n"], "EIO", ""),
    (lambda: [b"-1\n" + b"x" * 100000], "EIO", ""),
    (lambda: [b"garbage\n"], "EPROTO", ""),
    (lambda: [b"9" * 100], "EPROTO", ""),
    (lambda: [bytes(100)], "EPROTO", ""),
    (lambda: [b"0"], "EPROTO", ""),
    (lambda: [], "EPROTO", ""),
    (lambda: [None], "ETIMEDOUT", ""),
    (lambda: [b"0\nsome", None], "ETIMEDOUT", "some"),
    (lambda: [b"5\nsome", None], "EIO", ""),
], ids=["whole", "pieces", "empty", "escape", "long-error", "garbage", "digits", "zeros", "half", "nothing", "silent", "stops",
        "error-stops"])
def test_answers(lab, ask, fake, answer, error, text):
    signals = Signals(lab, fake.pid)
    with Listener(fake, answer):
        got = ask(fake.pid, "VM.flags", "--deadline", 400)
    assert (got.error, got.text) == (error, text)
    assert got.took_s < 2 and "\x1b" not in got.reason
    assert signals.count() == 0 and left(fake.pid) == []


def test_an_answer_without_end(ask, fake):
    with Listener(fake, endless):
        got = ask(fake.pid)
    assert got.error == "EFBIG" and len(got.text) == ANSWER_MAX


def test_who_does_not_accept(ask, fake):
    """Its queue is full."""
    with fake.listen(0), contextlib.ExitStack() as stack:
        waiting = []
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(fake.path):
                break
            waiting.append(client)
        got = ask(fake.pid, "VM.flags", "--deadline", 300)
        assert got.error == "ETIMEDOUT" and got.took_s < 2
