"""Real OCI containers by runc: own root, pid, mount, ipc, uts and network namespaces, and a cgroup where kubelet or
docker would put it (below the run's own cgroup, so that runs do not meet)."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import uuid

from lab import PREFIX, cgroup2_mount, cgroup_remove, run, wait_until

CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE", "CAP_KILL"]
NAMES = {  # where each runtime puts its containers: "{pod}" with dashes, "{pod_}" with underscores
    "kubepods": "kubepods/{qos}pod{pod}/{id}",
    "kubepods-systemd": "kubepods.slice/{slice}/cri-containerd-{id}.scope",
    "crio": "kubepods.slice/{slice}/crio-{id}.scope",
    "docker": "docker/{id}",
    "docker-systemd": "system.slice/docker-{id}.scope",
    "podman": "machine.slice/libpod-{id}.scope",
}


class Identity:
    """A container's id and pod as a runtime would write them into its cgroup path."""

    def __init__(self, kind, qos="burstable"):
        self.kind = kind
        self.id = secrets.token_hex(32)
        self.pod = str(uuid.uuid4()) if kind in ("kubepods", "kubepods-systemd", "crio") else ""
        under = self.pod.replace("-", "_")
        prefix = "kubepods-" + ("" if qos == "guaranteed" else qos + "-")
        slice_ = ("" if qos == "guaranteed" else "kubepods-%s.slice/" % qos) + "%spod%s.slice" % (prefix, under)
        self.path = NAMES[kind].format(
            id=self.id, pod=self.pod, qos="" if qos == "guaranteed" else qos + "/", slice=slice_)
        self.qos = qos if self.pod else ""


def cgroup_mounts():
    with open("/proc/self/mounts") as mounts:
        return [line.split()[1] for line in mounts if line.split()[2] in ("cgroup", "cgroup2")]


class Container:
    """A running container. @args: its command. @share: directories of the host shown read-only at the same place;
    without it the root holds busybox only. @writable: such that it may write to. @readonly: the root. @scratch: empty directories
    of memory that everybody may write to. @root: a directory that is its root, to which busybox is added. Reached at .host, in the
    namespace of @netns."""

    def __init__(self, lab, args, kind="kubepods", qos="burstable", share=(), files=None, netns=None,
                 uid=0, readonly=False, scratch=(), writable=(), root=None):
        self.lab = lab
        self.identity = Identity(kind, qos)
        self.netns = netns or lab.netns()
        self.host = self.netns.address
        self.name = "%s%d-%d" % (PREFIX, os.getpid(), next(lab.numbers))
        self.path = "/%s%d/%s" % (PREFIX, os.getpid(), self.identity.path)
        self.state = lab.path("runc")
        bundle = lab.path(self.name)
        root = root or bundle + "/rootfs"
        os.makedirs(bundle, exist_ok=True)
        for part in ("bin", "proc", "dev", "sys", "tmp", "www", "run", "var/log", "var/lib"):
            os.makedirs(os.path.join(root, part), exist_ok=True)
        shutil.copy("/usr/bin/busybox", root + "/bin/busybox")
        for applet in ("sh", "httpd", "sleep", "cat"):
            os.symlink("busybox", root + "/bin/" + applet)
        for path, text in (files or {}).items():
            with open(root + path, "wb") as out:
                out.write(text)
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro", "nosuid", "nodev"]},
        ]
        for path in scratch:
            os.makedirs(root + path, exist_ok=True)
            os.chmod(root + path, 0o1777)  # runc gives the mount the mode of what it covers
            mounts.append({"destination": path, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"]})
        for path in share:
            if os.path.islink(path):
                os.symlink(os.readlink(path), root + path)
                continue
            os.makedirs(root + path, exist_ok=True)
            mounts.append({"destination": path, "type": "none", "source": path, "options": ["rbind", "ro"]})
        for path in writable:
            os.makedirs(root + path, exist_ok=True)
            mounts.append({"destination": path, "type": "none", "source": path, "options": ["rbind"]})
        config = {
            "ociVersion": "1.0.2",
            "hostname": "web",
            "root": {"path": root, "readonly": readonly},
            "process": {
                "args": list(args), "cwd": "/", "env": ["PATH=/bin:/usr/sbin:/usr/bin"], "user": {"uid": uid, "gid": uid},
                "capabilities": {k: CAPABILITIES for k in ("bounding", "effective", "permitted")},
                "noNewPrivileges": True,
            },
            "mounts": mounts,
            "linux": {
                "cgroupsPath": self.path,
                "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
                + [{"type": "network", "path": self.netns.path}],
            },
        }
        with open(bundle + "/config.json", "w") as out:
            json.dump(config, out)
        self.log = lab.path(self.name + ".log")
        lab.own(self)
        with open(self.log, "wb") as out:
            done = subprocess.run(["runc", "--root", self.state, "run", "--detach", "--bundle", bundle, self.name],
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        if done.returncode:
            raise RuntimeError("runc: " + open(self.log, errors="replace").read())
        self.cgroup_id = os.stat(cgroup2_mount() + self.path).st_ino

    @property
    def pid(self):
        return json.loads(run("runc", "--root", self.state, "state", self.name))["pid"]

    def wait_port(self, port=80):
        def answers():
            try:
                socket.create_connection((self.host, port), 1).close()
                return True
            except OSError:
                return False
        wait_until(answers, lambda: "%s listens: %s" % (self.name, open(self.log, errors="replace").read()))
        return self

    def delete(self):
        run("runc", "--root", self.state, "delete", "--force", self.name)

    def close(self):
        with contextlib.suppress(RuntimeError):
            self.delete()
        top = self.path.split("/", 2)[2]
        for mount in cgroup_mounts():
            at = "%s/%s%d/%s" % (mount, PREFIX, os.getpid(), top)
            if os.path.isdir(at):
                cgroup_remove(at)
            while at != mount and at.startswith(mount):
                at = os.path.dirname(at)
                if at == mount:
                    break
                with contextlib.suppress(OSError):
                    os.rmdir(at)


def busybox_httpd(lab, **kwargs):
    """busybox httpd: "/" is "hello\\n", anything else 404. Answers HTTP/1.1 and closes."""
    return Container(lab, ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"],
                     files={"/www/index.html": b"hello\n"}, **kwargs).wait_port()


def nginx(lab, **kwargs):
    """The host's nginx and its libraries in a container of their own: "/" and /fail as in servers.py."""
    config = b"""
daemon off; worker_processes 1; pid /run/nginx.pid; error_log stderr; user root;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 100000000;
  client_body_temp_path /tmp/1; proxy_temp_path /tmp/2; fastcgi_temp_path /tmp/3; uwsgi_temp_path /tmp/4; scgi_temp_path /tmp/5;
  server { listen 80; listen [::]:80; location = / { return 200 "hello\\n"; } location = /fail { return 500 ""; } 
    location / { return 200 "hello\\n"; } } }
"""
    files = {"/tmp/nginx.conf": config}
    share = [p for p in ("/usr", "/lib", "/lib64", "/etc") if os.path.exists(p)]
    return Container(lab, ["/usr/sbin/nginx", "-c", "/tmp/nginx.conf", "-e", "stderr"], share=share, files=files,
                     **kwargs).wait_port()


def identity_cgroup(lab, kind, qos="burstable"):
    """A cgroup of the name that a runtime would give, without a container in it: (Identity, Cgroup)."""
    identity = Identity(kind, qos)
    return identity, lab.cgroup(path=identity.path)
