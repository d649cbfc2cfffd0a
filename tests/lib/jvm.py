"""Java programs to watch, and what the JVM itself logs of its safepoints: the independent witness of each pause."""

import collections
import contextlib
import os
import re
import shutil
import subprocess

from lab import DEADLINE_S, wait_until
from oci import Container

JAVA = "/usr/bin/java"
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "java")
# -Xlog:safepoint of 17 to 25. Times of the log are CLOCK_MONOTONIC (timenanos), at the end of the pause.
LINE = re.compile(r'\[(\d+)ns\]\S* ?Safepoint "([^"]+)", Time since last: \d+ ns, Reaching safepoint: (\d+) ns,'
                  r'.* Total: (\d+) ns')

Safepoint = collections.namedtuple("Safepoint", "time_ns operation sync_ns total_ns")


def classes(lab):
    """The directory of the compiled programs of tests/lib/java that need no more than the JDK."""
    out = lab.path("classes")
    if not os.path.isdir(out):
        subprocess.run(["javac", "-Xlint:-options", "-nowarn", "-source", "8", "-target", "8", "-d", out,
                        *[os.path.join(SOURCES, name + ".java") for name in ("Load", "HttpLoad", "Locks")]], check=True,
                       stderr=subprocess.PIPE)
    return out


class Jvm:
    """A JVM that runs @main and does what it is told. @prefix: a command before java, such as setpriv or unshare."""

    def __init__(self, lab, *options, main="Load", args=(), cgroup=None, netns=None, java=JAVA, prefix=(), env=None):
        self.log = lab.path("safepoints%d.log" % next(lab.numbers))
        read, self.input = os.pipe()
        self.process = lab.spawn(
            *prefix, java, "-Xmx128m", "-Xlog:safepoint*=info:file=%s:timenanos" % self.log, *options,
            "-cp", classes(lab), main, *args, cgroup=cgroup, netns=netns, stdin=read, env=env)
        os.close(read)
        self.answers = 0
        lab.own(self)
        self.wait("up")

    @property
    def pid(self):
        """Of java itself, however it was started."""
        return self.process.pid

    def wait(self, word, deadline_s=60):
        def said():
            assert self.process.alive(), self.process.output()
            return len(re.findall("^%s$" % word, self.process.output(), re.M)) > (self.answers if word == "done" else 0)
        wait_until(said, lambda: "'%s': %s" % (word, self.process.output()[-2000:]), deadline_s)

    def tell(self, *commands):
        for command in commands:
            os.write(self.input, (command + "\n").encode())
            self.wait("done")
            self.answers += 1

    def quit(self):
        os.write(self.input, b"quit\n")
        assert self.process.wait(DEADLINE_S) == 0

    @property
    def port(self):
        """Of HttpLoad."""
        return int(re.search(r"^port (\d+)$", self.process.output(), re.M)[1])

    def safepoints(self, since_ns=0):
        """All that the log has of them so far."""
        with open(self.log) as log:
            found = [LINE.match(line) for line in log]
        out = [Safepoint(int(m[1]), m[2], int(m[3]), int(m[4])) for m in found if m]
        return [s for s in out if s.time_ns >= since_ns]

    def close(self):
        if self.input >= 0:
            os.close(self.input)
            self.input = -1
        if self.process is not self:
            self.process.close()
            with contextlib.suppress(FileNotFoundError):  # it was asked, and killed
                os.unlink("/tmp/.java_pid%d" % self.process.pid)


class ContainerJvm(Jvm):
    """The same in an OCI container, as somebody who is in no passwd file, with a root that cannot be written: so that there is
    no file of counters either. Its log is its output."""

    def __init__(self, lab, *options, java=JAVA, readonly=True, **kwargs):
        fifo, out = lab.path("in%d" % next(lab.numbers)), classes(lab)
        os.mkfifo(fifo)
        os.chmod(fifo, 0o666)
        self.input = os.open(fifo, os.O_RDWR)
        self.answers = 0
        command = [java, "-Xmx128m", "-Xlog:safepoint*=info:stdout:timenanos", *options, "-cp", out, "Load"]
        self.container = Container(lab, ["/bin/sh", "-c", "exec %s <%s" % (" ".join(command), fifo)], uid=4242,
                                   readonly=readonly, share=["/usr", "/lib", "/lib64", "/etc", lab.dir], **kwargs)
        self.process, self.log = self, self.container.log
        lab.own(self)
        self.wait("up")

    pid = property(lambda self: self.container.pid)

    def alive(self):
        return os.path.exists("/proc/%d" % self.pid)

    def output(self):
        with open(self.log, errors="replace") as out:
            return out.read()


def jdk_copy(lab):
    """A JDK whose libjvm.so is a file of its own: nobody else has it mapped. The rest are links. Returns its java."""
    home = os.path.realpath(JAVA)[:-len("/bin/java")]
    copy = lab.path("jdk%d" % next(lab.numbers))
    for folder, _, files in os.walk(home):
        into = copy + folder[len(home):]
        os.makedirs(into, exist_ok=True)
        for name in files:
            real = name in ("java", "libjvm.so", "libjli.so")
            (shutil.copyfile if real else os.symlink)(os.path.join(folder, name), os.path.join(into, name))
    os.chmod(copy + "/bin/java", 0o755)
    return copy + "/bin/java"


def libjvm(java):
    return os.path.realpath(java)[:-len("/bin/java")] + "/lib/server/libjvm.so"


FETCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "jdks", "fetch")
# Java 8: -XX:+PrintGCApplicationStoppedTime. 11: -Xlog:safepoint, where the operation has a line of its own before.
STOPPED = re.compile(r"Total time for which application threads were stopped: ([0-9.]+) seconds, "
                     r"Stopping threads took: ([0-9.]+) seconds")
ENTERED = re.compile(r"Entering safepoint region: (\S+)")


class FetchedJvm(Jvm):
    """A JVM of tests/jdks/list, in the root of its suite. Up to 11 its log has no moments that others share."""

    def __init__(self, lab, name, cgroup, *options):
        root = subprocess.run([FETCH, name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        self.files = root + "/tmp/" + os.path.basename(lab.dir)
        shutil.copytree(classes(lab), self.files, dirs_exist_ok=True)
        inside = self.files[len(root):]
        self.log = self.files + "/safepoints.log"
        # The file that 8 would write it to has a buffer in between.
        log = ["-XX:+PrintGCApplicationStoppedTime"] if name == "8" else \
            ["-Xlog:safepoint*=info:file=%s/safepoints.log:timenanos" % inside]
        read, self.input = os.pipe()
        # The same process from here to java: its pid is the one that is watched.
        enter = "mount -t proc proc %s/proc && mount --rbind /dev %s/dev && exec chroot %s \"$@\"" % (root, root, root)
        self.process = lab.spawn("unshare", "-m", "sh", "-c", enter, "sh", "/java", "-Xmx128m", *log, *options,
                                 "-cp", inside, "Load", cgroup=cgroup, stdin=read)
        os.close(read)
        if name == "8":
            self.log = self.process.log
        self.answers = 0
        lab.own(self)
        self.wait("up")

    def safepoints(self, since_ns=0):
        found, operation = super().safepoints(since_ns), ""
        if found:
            return found
        with open(self.log) as log:
            for line in log:
                entered, stopped = ENTERED.search(line), STOPPED.search(line)
                operation = entered[1] if entered else operation
                if stopped:
                    found.append(Safepoint(0, operation, round(float(stopped[2]) * 1e9), round(float(stopped[1]) * 1e9)))
        return found

    def close(self):
        super().close()
        shutil.rmtree(self.files, ignore_errors=True)
