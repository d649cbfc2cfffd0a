"""Java programs to watch, and what the JVM itself says of its safepoints: the independent witness of each pause.

    Jvm           in a cgroup, namespace or behind a prefix; with jdk="8" one of tests/jdks/list, in the root of its suite
    ContainerJvm  in an OCI container
    jdk_copy      a JDK whose libjvm.so can be deleted;  overlay: several mounts of one layer
"""

import collections
import contextlib
import datetime
import glob
import json
import os
import re
import shutil
import subprocess
import time

from lab import DEADLINE_S, run, wait_until
from oci import Container

JAVA = "/usr/bin/java"
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCES = os.path.join(TESTS, "lib", "java")
FETCH = os.path.join(TESTS, "jdks", "fetch")

# @time_ns: CLOCK_MONOTONIC at the end of the pause, when the JVM writes its line (8 tells whole milliseconds).
# @sync_ns: until all threads stood still. @operation_ns: from then on, until they were let go; what letting go takes is in it up
# to 17, which do not tell it apart, and @leaving_ns after that. What is tidied up before the operation (8 to 21) is in it too.
Safepoint = collections.namedtuple("Safepoint", "time_ns operation sync_ns total_ns operation_ns leaving_ns")

# 17 to 25: [7646098370937ns] Safepoint "FindDeadlocks", Time since last: 270961796 ns, Reaching safepoint: 30011177 ns,
#   Cleanup: 168376 ns (not in 25), At safepoint: 57959 ns, Leaving safepoint: 12964 ns (from 21 on), Total: 30237512 ns
LINE = re.compile(r'\[(\d+)ns\]\S* ?Safepoint "([^"]+)", Time since last: \d+ ns, Reaching safepoint: (\d+) ns,'
                  r'(?: Cleanup: (\d+) ns,)? At safepoint: (\d+) ns,(?: Leaving safepoint: (\d+) ns,)? Total: (\d+) ns')
# 11 has several lines for each:
#   [7645327529587ns] Entering safepoint region: FindDeadlocks
#   [7645327721758ns] Total time for which application threads were stopped: 0.1378955 seconds, Stopping threads took: ...
# 8, to which PrintSafepointStatistics gives the operation (what it measures is in milliseconds):
#   0.521: FindDeadlocks                    [      10          1              3    ]      [    28     0    28     0     0    ]  1
#   2026-11-27T22:33:18.706+0000: Total time for which application threads were stopped: 0.0284663 seconds, ...
STOPPED = re.compile(r"^(?:\[(\d+)ns\]\S* ?|(\d{4}-\S+): )?Total time for which application threads were stopped: ([0-9.]+) "
                     r"seconds, Stopping threads took: ([0-9.]+) seconds")
ENTERED = re.compile(r"Entering safepoint region: (.+)|^[0-9.]+: (\S.*?) +\[ +\d+ +\d+ +\d+ +\] +\[( +\d+){5} +\]")
LOG_8 = ("-XX:+DisplayVMOutputToStderr", "-XX:+PrintGCApplicationStoppedTime", "-XX:+PrintGCDateStamps",
         "-XX:+PrintSafepointStatistics", "-XX:PrintSafepointStatisticsCount=1")


def parse(lines):
    """The safepoints of a log of 8 to 25. The last one of a JVM, in which it ends, has no line."""
    found, operation = [], ""
    ahead_ns = time.time_ns() - time.monotonic_ns()
    for line in lines:
        if not line.endswith("\n"):
            break  # being written
        one, stopped, entered = LINE.match(line), STOPPED.match(line), ENTERED.search(line)
        if one:
            sync_ns, cleanup_ns, at_ns, leaving_ns, total_ns = (int(n or 0) for n in one.groups()[2:])
            found.append(Safepoint(int(one[1]), one[2], sync_ns, total_ns, cleanup_ns + at_ns, leaving_ns))
        elif entered:
            operation = entered[1] or entered[2]
        elif stopped:
            time_ns = int(stopped[1] or 0)
            if stopped[2]:
                moment = datetime.datetime.strptime(stopped[2], "%Y-%m-%dT%H:%M:%S.%f%z")
                time_ns = round(moment.timestamp() * 1000) * 1_000_000 - ahead_ns
            total_ns, sync_ns = (round(float(seconds) * 1e9) for seconds in stopped.groups()[2:])
            found.append(Safepoint(time_ns, operation, sync_ns, total_ns, total_ns - sync_ns, 0))
            operation = ""
    return found


_compiled = {}


def classes(lab):
    """The directory of the compiled programs of tests/lib/java that need no more than the JDK. Compiled once a run."""
    out = lab.path("classes")
    if os.path.isdir(out):
        return out
    if not _compiled:
        run("javac", "-Xlint:-options", "-nowarn", "--release", "8", "-d", out,
            *[os.path.join(SOURCES, name + ".java") for name in ("Load", "HttpLoad", "Locks")])
        for name in os.listdir(out):
            with open(os.path.join(out, name), "rb") as compiled:
                _compiled[name] = compiled.read()
        return out
    os.mkdir(out)
    for name, content in _compiled.items():
        with open(os.path.join(out, name), "wb") as file:
            file.write(content)
    return out


def jdk_root(name):
    """The root directory of a Java of tests/jdks/list, fetched if need be. Java is /java in it."""
    return subprocess.run([FETCH, name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def jdk_cached(name):
    """Whether jdk_root() has no need of the network."""
    cache = os.environ.get("WEIR_JDKS") or os.path.expanduser("~/.cache/weir/jdks")
    return os.path.lexists(os.path.join(cache, name, "java")) and os.path.exists(os.path.join(cache, name, "packages"))


class Jvm:
    """A JVM that runs @main and does what it is told. @jdk: a name of tests/jdks/list, otherwise @java runs.
    @prefix: a command before java, such as setpriv or unshare. @uid: as whom."""

    def __init__(self, lab, *options, jdk=None, main="Load", args=(), cgroup=None, netns=None, java=JAVA, prefix=(), env=None,
                 uid=None):
        command = self.prepare(lab, options, jdk, "/java" if jdk else java, main, args)
        if jdk:
            # The same process from here to java: its pid is the one that is watched. It has a /tmp of its own.
            root = jdk_root(jdk)
            enter = "root=$1 dir=$2; shift 2; mount -t proc proc $root/proc && mount --rbind /dev $root/dev && " \
                "mount -t tmpfs -o mode=1777 tmpfs $root/tmp && mkdir -p $root$dir && mount --rbind $dir $root$dir && " \
                "exec chroot \"$@\""
            who = ["--userspec=%d:%d" % (uid, uid), "--groups="] if uid else []
            prefix = [*prefix, "unshare", "-m", "sh", "-c", enter, "sh", root, lab.dir, *who, root]
        elif uid:
            prefix = [*prefix, "setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"]
        if self.version == 8:
            prefix = ["sh", "-c", "exec \"$@\" 2>%s" % self.log, "sh", *prefix]
        read, self.input = os.pipe()
        self.process = lab.spawn(*prefix, *command, cgroup=cgroup, netns=netns, stdin=read, env=env)
        os.close(read)
        lab.own(self)
        self.wait("up")

    def prepare(self, lab, options, jdk, java, main, args):
        """The command, and where its log is. What 8 logs goes to standard error: a line in pieces, between which the program's own
        words would come, and a file that is named to it has a buffer in between."""
        self.out = lab.path("jvm%d" % next(lab.numbers))
        os.mkdir(self.out)
        os.chmod(self.out, 0o777)
        self.log = self.out + "/safepoints.log"
        self.answers = 0
        self.version = int(jdk or java_version(java))
        log = LOG_8 if self.version == 8 else [
            "-Xlog:safepoint*=info:file=%s:timenanos" % self.log, "--add-opens=java.management/sun.management=ALL-UNNAMED"]
        return [java, "-Xmx128m", "-XX:-UseCountedLoopSafepoints", *log, *options, "-cp", classes(lab), main, *args]

    @property
    def pid(self):
        """Of java itself, however it was started."""
        return self.process.pid

    def alive(self):
        return self.process.alive()

    def output(self):
        """What the program has said, and what the JVM has to complain of."""
        text = self.process.output()
        if self.version == 8:
            with contextlib.suppress(FileNotFoundError), open(self.log, errors="replace") as log:
                text += log.read()
        return text

    def wait(self, word, deadline_s=60):
        def said():
            assert self.alive(), self.output()
            return len(re.findall("^%s$" % word, self.output(), re.M)) > (self.answers if word == "done" else 0)
        wait_until(said, lambda: "'%s': %s" % (word, self.output()[-2000:]), deadline_s)

    def tell(self, *commands):
        for command in commands:
            os.write(self.input, (command + "\n").encode())
            self.wait("done")
            self.answers += 1

    def jmx(self):
        """What the JVM's beans say: collectors (name, count, ms), safepoints, safepoint_sync_ms, safepoint_total_ms (the
        counters of hsperfdata by another way; None if the JVM does not tell), threads, uptime_ms, monotonic_ns."""
        self.tell("jmx")
        return json.loads(re.findall(r"^\{.*\}$", self.output(), re.M)[-1])

    def quit(self):
        os.write(self.input, b"quit\n")
        assert self.process.wait(DEADLINE_S) == 0

    @property
    def port(self):
        """Of HttpLoad."""
        return int(re.search(r"^port (\d+)$", self.output(), re.M)[1])

    def safepoints(self, since_ns=0, complete=False):
        """All that the log has of them so far. @complete: at least all that there were before this call, by the JVM's count."""
        if complete:
            count = self.jmx()["safepoints"]
            wait_until(lambda: len(self.safepoints()) >= count,
                       lambda: "%d of %d safepoints in the log" % (len(self.safepoints()), count))
        with open(self.log, errors="replace") as log:
            return [s for s in parse(log) if s.time_ns >= since_ns]

    def nspid(self):
        """Its pid as it sees itself."""
        with open("/proc/%d/status" % self.pid) as status:
            return int(re.search(r"^NSpid:.*?(\d+)$", status.read(), re.M)[1])

    def hsperfdata(self):
        """Path of its file of counters, from here, or None: it may have none."""
        found = glob.glob("/proc/%d/root/tmp/hsperfdata_*/%d" % (self.pid, self.nspid()))
        return found[0] if found else None

    def jcmd(self, *command):
        """What the JVM answers to the JDK's own client."""
        who = os.stat("/proc/%d" % self.pid)
        as_whom = ["setpriv", "--reuid", str(who.st_uid), "--regid", str(who.st_gid), "--clear-groups"] if who.st_uid else []
        return run(*as_whom, "jcmd", str(self.pid), *command)

    def counters(self):
        """{name: value} of all its counters by jcmd: whole numbers where they are such."""
        found = dict(re.findall(r"^([\w.]+)=(.*)$", self.jcmd("PerfCounter.print"), re.M))
        return {name: int(value) if re.fullmatch(r"-?\d+", value) else value.strip('"') for name, value in found.items()}

    def libjvm(self):
        """Its library as /proc/PID/maps has it: (path, inode, device "8:1" in hexadecimal, deleted)."""
        with open("/proc/%d/maps" % self.pid) as maps:
            for line in maps:
                fields = line.split(None, 5)
                if len(fields) == 6 and "/libjvm.so" in fields[5]:
                    path = fields[5].rstrip("\n")
                    return path.replace(" (deleted)", ""), int(fields[4]), fields[3], path.endswith(" (deleted)")
        return None

    def close(self):
        if self.input >= 0:
            os.close(self.input)
            self.input = -1
        if self.process is not self:
            self.process.close()
            with contextlib.suppress(FileNotFoundError):  # it was asked, and killed
                os.unlink("/tmp/.java_pid%d" % self.process.pid)


class FetchedJvm(Jvm):
    """A JVM of tests/jdks/list."""

    def __init__(self, lab, name, cgroup, *options, **kwargs):
        super().__init__(lab, *options, jdk=name, cgroup=cgroup, **kwargs)


class ContainerJvm(Jvm):
    """The same in an OCI container; as it is here, as somebody who is in no passwd file, with a root that cannot be written: so
    that there is no file of counters either. With scratch=["/tmp"] and @uid 1000 and a @jdk of the list there is one.
    @layer: the directory that an overlay mount of the container's own shows at its place (a JDK of which @java is part); a
    @jdk's root is always such a layer: containers of the same one share its files."""

    def __init__(self, lab, *options, jdk=None, java=JAVA, main="Load", args=(), uid=4242, readonly=True, layer=None, **kwargs):
        fifo = lab.path("in%d" % next(lab.numbers))
        os.mkfifo(fifo)
        os.chmod(fifo, 0o666)
        self.input = os.open(fifo, os.O_RDWR)
        share = [lab.dir]
        if jdk:
            kwargs["root"] = overlay(lab, jdk_root(jdk))
        else:
            share += ["/usr", "/lib", "/lib64", "/etc"]
        if layer:
            mounted = overlay(lab, layer)
            java = mounted + os.path.realpath(java)[len(os.path.realpath(layer)):]
        command = self.prepare(lab, options, jdk, "/java" if jdk else java, main, args)
        errors = " 2>" + self.log if self.version == 8 else ""
        self.container = Container(lab, ["/bin/sh", "-c", "exec %s <%s%s" % (" ".join(command), fifo, errors)], uid=uid,
                                   readonly=readonly, share=share, writable=[self.out], **kwargs)
        self.process = self
        lab.own(self)
        self.wait("up")

    pid = property(lambda self: self.container.pid)

    def alive(self):
        return os.path.exists("/proc/%d" % self.pid)

    def output(self):
        text = ""
        for path in [self.container.log] + ([self.log] if self.version == 8 else []):
            with contextlib.suppress(FileNotFoundError), open(path, errors="replace") as file:
                text += file.read()
        return text

    def quit(self):
        os.write(self.input, b"quit\n")
        wait_until(lambda: not self.alive(), "the container's end")


class Overlay:
    def __init__(self, lab, lower):
        base = lab.path("overlay%d" % next(lab.numbers))
        self.merged = base + "/merged"
        for part in ("upper", "work", "merged"):
            os.makedirs("%s/%s" % (base, part))
        run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=%s,upperdir=%s/upper,workdir=%s/work" % (
            os.path.realpath(lower), base, base), self.merged)

    def close(self):
        run("umount", "-l", self.merged)


def overlay(lab, lower):
    """A mount of its own of the directory @lower, as a container has it of its image. Returns where."""
    return lab.own(Overlay(lab, lower)).merged


def java_version(java):
    """8, 11, ..."""
    path = os.path.realpath(java)
    release = path[:-len("/bin/java")] + "/release"
    with open(release) as text:
        return int(re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text.read())[1])


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
