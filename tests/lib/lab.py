"""Places and processes for end-to-end tests: cgroups, network namespaces, processes that enter both before exec.

A Lab owns everything made through it and takes it away in close(), last first, whatever state a test left it in.
All names carry the process id of the test run, so runs on one machine do not meet; what a killed run left behind is
swept by the next one.
"""

import contextlib
import ctypes
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

DEADLINE_S = 20.0
PREFIX = "weir-test-"
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def wait_until(condition, what, deadline_s=DEADLINE_S, pause_s=0.01):
    """Returns the first true value of condition(); raises TimeoutError that says @what (text, or a function that
    makes it) was not so in time."""
    deadline = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError("not within %g s: %s" % (deadline_s, what() if callable(what) else what))
        time.sleep(pause_s)


def run(*argv, **kwargs):
    """Runs a command to its end, returns its output; an error carries what it said."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if done.returncode:
        raise RuntimeError("%s: status %d: %s" % (" ".join(argv), done.returncode, done.stdout.strip()))
    return done.stdout


def pid_exists(pid):
    return os.path.exists("/proc/%d" % pid)


def cgroup2_mount():
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, target, kind = line.split()[:3]
            if kind == "cgroup2":
                return target
    raise RuntimeError("no cgroup2 file system is mounted")


def cgroup1_mount(controller):
    """Mount of a v1 controller, or None."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, target, kind, options = line.split()[:4]
            if kind == "cgroup" and controller in options.split(","):
                return target
    return None


class Cgroup:
    """A cgroup of the v2 hierarchy. @path as weir shows it: below the mount, with a leading slash."""

    def __init__(self, path):
        self.path = path
        self.dir = cgroup2_mount() + path
        self.made = []
        at = cgroup2_mount()
        for part in path.strip("/").split("/"):
            at = os.path.join(at, part)
            try:
                os.mkdir(at)
                self.made.append(at)
            except FileExistsError:
                pass
        self.id = os.stat(self.dir).st_ino

    @property
    def name(self):
        return os.path.basename(self.path)

    def enter(self, pid=0):
        with open(self.dir + "/cgroup.procs", "w") as procs:
            procs.write("%d" % pid)

    @contextlib.contextmanager
    def inside(self):
        """The test process itself in this cgroup: sockets made here belong to it for good."""
        home = cgroup_of(os.getpid())
        self.enter()
        try:
            yield self
        finally:
            with open(cgroup2_mount() + home + "/cgroup.procs", "w") as procs:
                procs.write("0")

    def pids(self):
        try:
            with open(self.dir + "/cgroup.procs") as procs:
                return [int(line) for line in procs]
        except OSError:
            return []

    def close(self):
        cgroup_remove(self.dir)
        for path in reversed(self.made[:-1]):
            with contextlib.suppress(OSError):
                os.rmdir(path)


def cgroup_of(pid):
    with open("/proc/%d/cgroup" % pid) as lines:
        for line in lines:
            if line.startswith("0::"):
                return line[3:].rstrip("\n")
    return "/"


def cgroup_remove(path):
    """Kills what is inside and removes the tree."""
    for where, _, _ in list(os.walk(path, topdown=False)):
        def empty():
            try:
                with open(where + "/cgroup.procs") as procs:
                    pids = [int(line) for line in procs]
            except OSError:
                return True
            for pid in pids:
                if pid and pid != os.getpid():
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
            try:
                os.rmdir(where)
                return True
            except FileNotFoundError:
                return True
            except OSError:
                return False

        wait_until(empty, "%s removed" % where)


def setns(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, CLONE_NEWNET):
            err = ctypes.get_errno()
            raise OSError(err, "setns %s: %s" % (path, os.strerror(err)))
    finally:
        os.close(fd)


class Netns:
    """A network namespace with a veth pair to the namespace of the test: @host here, @address inside."""

    def __init__(self, name, host_if, subnet, subnet6):
        self.name, self.host_if = name, host_if
        self.path = "/run/netns/" + name
        self.host, self.address = subnet % 1, subnet % 2
        self.host6, self.address6 = subnet6 + "1", subnet6 + "2"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", host_if, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        for where, device, four, six in (([], host_if, self.host, self.host6),
                                         (["-n", name], "eth0", self.address, self.address6)):
            run("ip", *where, "addr", "add", four + "/30", "dev", device)
            run("ip", *where, "-6", "addr", "add", six + "/64", "dev", device, "nodad")
            run("ip", *where, "link", "set", device, "up")

    @contextlib.contextmanager
    def inside(self):
        """The calling thread in this namespace: sockets and interfaces made here belong to it."""
        home = "/proc/self/task/%d/ns/net" % threading.get_native_id()
        keep = os.open(home, os.O_RDONLY | os.O_CLOEXEC)
        setns(self.path)
        try:
            yield self
        finally:
            if libc.setns(keep, CLONE_NEWNET):
                os._exit(99)
            os.close(keep)

    def close(self):
        with contextlib.suppress(RuntimeError):
            run("ip", "link", "del", self.host_if)
        with contextlib.suppress(RuntimeError):
            run("ip", "netns", "del", self.name)


class Process:
    """A child in its cgroup and namespace. Its output goes to a file that a failing test can show."""

    def __init__(self, argv, cgroup, netns, log, cgroup1=None, env=None, cwd=None, stdout=None, stdin=None):
        self.argv, self.log = argv, log
        enter = [cgroup.dir + "/cgroup.procs"] if cgroup else []
        enter += [path + "/cgroup.procs" for path in cgroup1 or []]
        parent = os.getpid()

        def prepare():
            for path in enter:
                fd = os.open(path, os.O_WRONLY)
                os.write(fd, b"0")
                os.close(fd)
            if netns:
                setns(netns.path)
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                argv, stdin=stdin or subprocess.DEVNULL, stdout=stdout or out, stderr=out, cwd=cwd,
                env={**os.environ, **(env or {})}, preexec_fn=prepare, start_new_session=True)
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def output(self):
        with open(self.log, errors="replace") as out:
            return out.read()

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, deadline_s=DEADLINE_S):
        """Exit status; negative: the signal that ended it."""
        try:
            return self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError("%s still runs after %g s: %s" % (self.argv[0], deadline_s, self.output())) from None

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait(DEADLINE_S)
        if self.popen.stdout:
            self.popen.stdout.close()


def port_free(address="0.0.0.0"):
    """A TCP port below the ephemeral range, so that no outgoing connection takes it between now and the bind."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(100):
        port = random.SystemRandom().randrange(10000, 32000)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port on %s" % address)


def sweep():
    """Takes away what killed runs left: their process is gone and their names say which it was."""
    with open("/proc/self/mounts") as lines:
        mounts = [line.split()[1] for line in lines if line.split()[2] in ("cgroup", "cgroup2")]
    for mount in mounts + [tempfile.gettempdir()]:
        for name in os.listdir(mount):
            found = re.fullmatch(re.escape(PREFIX) + r"(\d+)(-\w+)?", name)
            if not found or pid_exists(int(found[1])):
                continue
            with contextlib.suppress(OSError, TimeoutError):
                if found[2]:
                    shutil.rmtree(os.path.join(mount, name), ignore_errors=True)
                else:
                    cgroup_remove(os.path.join(mount, name))
    if os.path.isdir("/run/netns"):
        for name in os.listdir("/run/netns"):
            found = re.fullmatch(r"wt(\d+)n\d+", name)
            if found and not pid_exists(int(found[1])):
                with contextlib.suppress(RuntimeError):
                    run("ip", "netns", "del", name)


class Lab:
    numbers = iter(range(1, 1 << 30))  # of the whole run: names of two labs never meet

    def __init__(self):
        self.pid = os.getpid()
        self.dir = tempfile.mkdtemp(prefix="%s%d-" % (PREFIX, self.pid))
        os.chmod(self.dir, 0o755)
        self.things = []

    def own(self, thing):
        """@thing.close() is called by close()."""
        self.things.append(thing)
        return thing

    def cgroup(self, name="c", path=None):
        """A new cgroup. Its last part is unlike any other's, unless the whole @path below the run's own is given."""
        path = path or "%s-%d-%d" % (name, self.pid, next(self.numbers))
        return self.own(Cgroup("/%s%d/%s" % (PREFIX, self.pid, path.lstrip("/"))))

    def netns(self):
        number = next(self.numbers)
        taken = run("ip", "-4", "-o", "addr", "show")
        for attempt in range(4096):
            low = (self.pid * 31 + number * 7 + attempt * 4099) % (1 << 20)
            base = (10 << 24) + (128 << 16) + low * 4 % (1 << 23)
            subnet = socket.inet_ntoa(struct.pack("!I", base)).rsplit(".", 1)
            if not re.search(r"inet %s\.%d/30" % (re.escape(subnet[0]), int(subnet[1]) + 1), taken):
                break
        last = int(subnet[1])
        octets = {1: last + 1, 2: last + 2}

        class Subnet(str):
            def __mod__(self, which):
                return "%s.%d" % (subnet[0], octets[which])

        six = "fd77:%x:%x:%x::" % (self.pid >> 16, self.pid & 0xFFFF, number & 0xFFFF)
        return self.own(Netns("wt%dn%d" % (self.pid, number), "wt%xh%x" % (self.pid, number), Subnet(), six))

    def spawn(self, *argv, cgroup=None, netns=None, **kwargs):
        log = self.path("%s.%d.log" % (os.path.basename(argv[0]), next(self.numbers)))
        return self.own(Process([str(a) for a in argv], cgroup, netns, log, **kwargs))

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        path = self.path(name)
        with open(path, "wb" if isinstance(text, bytes) else "w") as out:
            out.write(text)
        return path

    def close(self):
        errors = []
        for thing in reversed(self.things):
            try:
                thing.close()
            except Exception as error:  # the rest must still go
                errors.append(error)
        self.things = []
        shutil.rmtree(self.dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir("%s/%s%d" % (cgroup2_mount(), PREFIX, self.pid))
        if errors:
            raise errors[0]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
