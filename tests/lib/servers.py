"""Real web servers, each in the cgroup and namespace that a test gives it. All answer

    /        200 and 6 bytes "hello\\n"        /fail     500

and, where they can, /chunked, /big (10 MB by sendfile) and /wait/N (after N ms). Ready when the function returns."""

import os
import shutil
import socket
import subprocess
import urllib.request

from lab import port_free, wait_until

E2E = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e")
BIG_BYTES = 10 * 1024 * 1024
HELLO = b"hello\n"


class Server:
    def __init__(self, name, lab, process, cgroup, netns, port, body_bytes=6):
        self.name, self.process, self.cgroup, self.netns, self.port = name, process, cgroup, netns, port
        self.body_bytes = body_bytes
        self.host = netns.address if netns else "127.0.0.1"

        def answers():
            if not process.alive():
                raise RuntimeError("%s ended: %s" % (name, process.output()))
            try:
                socket.create_connection((self.host, port), 1).close()
                return True
            except OSError:
                return False
        wait_until(answers, lambda: "%s listens on %s:%d: %s" % (name, self.host, port, process.output()), 60)

    def url(self, path="/"):
        return "http://%s:%d%s" % (self.host, self.port, path)


def _root(lab):
    root = lab.path("www")
    if not os.path.isdir(root):
        os.makedirs(root)
        with open(root + "/index.html", "wb") as out:
            out.write(HELLO)
        with open(root + "/big", "wb") as out:
            out.write(os.urandom(1 << 20) * (BIG_BYTES >> 20))
        os.chmod(root, 0o755)
    return root


def nginx(lab, cgroup, netns=None, workers=1, listen="", log=True, http=""):
    """@listen: extra parameters, such as "deferred". The access log has one line "method uri status bytes time" each."""
    port = 80 if netns else port_free()
    name = "nginx%d" % next(lab.numbers)
    config = lab.write(name + ".conf", """
daemon off; worker_processes %d; pid %s; error_log stderr warn; user root;
events { worker_connections 16384; }
http {
  sendfile on; tcp_nopush on; keepalive_requests 100000000; keepalive_timeout 120;
  default_type text/plain;
  client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s;
  log_format short '$request_method $uri $status $body_bytes_sent $request_time';
  access_log %s;
  %s
  server {
    listen %d %s backlog=4096; listen [::]:%d ipv6only=on %s backlog=4096;
    root %s;
    location = / { return 200 "hello\\n"; }
    location = /fail { return 500 ""; }
    location = /status { stub_status; }
    location = /chunked { return 200 "hello\\n"; add_header X-Test 1; chunked_transfer_encoding on; }
    location /p/ { return 200 "hello\\n"; }
  }
}
""" % ((workers, lab.path(name + ".pid")) + tuple(lab.path("%s-%d" % (name, i)) for i in range(5))
       + (lab.path(name + ".access") + " short" if log else "off", http, port, listen, port, listen, _root(lab))))
    process = lab.spawn("/usr/sbin/nginx", "-p", lab.dir, "-e", "stderr", "-c", config, cgroup=cgroup, netns=netns)
    server = Server("nginx", lab, process, cgroup, netns, port)
    server.access_log = lab.path(name + ".access")
    return server


def nginx_requests(server):
    """stub_status: requests that nginx has counted so far, the one that asks included."""
    with urllib.request.urlopen(server.url("/status"), timeout=10) as answer:
        return int(answer.read().decode().split("\n")[2].split()[2])


def apache(lab, cgroup, netns=None):
    """As Debian ships it: AcceptFilter http data, which is TCP_DEFER_ACCEPT."""
    port = 80 if netns else port_free()
    name = "apache%d" % next(lab.numbers)
    config = lab.write(name + ".conf", """
ServerRoot %s
PidFile %s
ServerName localhost
Listen %d
Mutex file:%s default
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
ErrorLog /dev/stderr
StartServers 1
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
DirectoryIndex index.html
DocumentRoot %s
Redirect 500 /fail
""" % (lab.dir, lab.path(name + ".pid"), port, lab.dir, _root(lab)))
    process = lab.spawn("/usr/sbin/apache2", "-DFOREGROUND", "-f", config, cgroup=cgroup, netns=netns)
    return Server("apache2", lab, process, cgroup, netns, port)


def lighttpd(lab, cgroup, netns=None):
    port = 80 if netns else port_free()
    name = "lighttpd%d" % next(lab.numbers)
    config = lab.write(name + ".conf", """
server.modules = ("mod_access")
server.document-root = "%s"
server.port = %d
server.bind = "0.0.0.0"
index-file.names = ("index.html")
url.access-deny = ("fail")
server.max-keep-alive-requests = 0
""" % (_root(lab), port))
    process = lab.spawn("/usr/sbin/lighttpd", "-D", "-f", config, cgroup=cgroup, netns=netns)
    server = Server("lighttpd", lab, process, cgroup, netns, port)
    server.fail_status = 403
    return server


def node(lab, cgroup, netns=None):
    port = 80 if netns else port_free()
    process = lab.spawn("/usr/bin/node", os.path.join(E2E, "server.js"), port, cgroup=cgroup, netns=netns)
    return Server("node", lab, process, cgroup, netns, port)


def aiohttp(lab, cgroup, netns=None):
    port = 80 if netns else port_free()
    process = lab.spawn("/usr/bin/python3", os.path.join(E2E, "aiohttp_server.py"), port, cgroup=cgroup, netns=netns)
    return Server("aiohttp", lab, process, cgroup, netns, port)


def java(lab, cgroup, netns=None):
    port = 80 if netns else port_free()
    process = lab.spawn("/usr/bin/java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dsun.net.httpserver.nodelay=true",
                        os.path.join(E2E, "Server.java"), port, cgroup=cgroup, netns=netns)
    return Server("java", lab, process, cgroup, netns, port)


_built = {}


def _odd_binary(lab):
    if "odd" not in _built:
        target = os.path.join(os.environ.get("TMPDIR", "/tmp"), "weir-test-%d-io_uring_server" % os.getpid())
        done = subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", target, os.path.join(
            E2E, "io_uring_server.c"), "-luring"], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError("io_uring_server.c: " + done.stderr)
        with open(target, "rb") as binary:
            _built["odd"] = binary.read()
        os.unlink(target)
    path = lab.path("odd")
    if not os.path.exists(path):
        with open(path, "wb") as out:
            out.write(_built["odd"])
        os.chmod(path, 0o755)
    return path


def uring(lab, cgroup, netns=None):
    port = 80 if netns else port_free()
    return Server("io_uring", lab, lab.spawn(_odd_binary(lab), "uring", port, cgroup=cgroup, netns=netns), cgroup, netns, port)


def splice(lab, cgroup, netns=None):
    port = 80 if netns else port_free()
    process = lab.spawn(_odd_binary(lab), "splice", port, _root(lab) + "/index.html", cgroup=cgroup, netns=netns)
    return Server("splice", lab, process, cgroup, netns, port)


def sendfile(lab, cgroup, netns=None, big=False):
    port = 80 if netns else port_free()
    process = lab.spawn(_odd_binary(lab), "sendfile", port, _root(lab) + ("/big" if big else "/index.html"),
                        cgroup=cgroup, netns=netns)
    return Server("sendfile", lab, process, cgroup, netns, port, BIG_BYTES if big else 6)


# name -> (function, concurrent connections that it serves)
ALL = {
    "nginx": (nginx, 16), "apache2": (apache, 16), "lighttpd": (lighttpd, 16), "node": (node, 16),
    "aiohttp": (aiohttp, 16), "java": (java, 4), "io_uring": (uring, 1), "splice": (splice, 1), "sendfile": (sendfile, 1),
}


def missing_tool():
    """The first program that these tests need and this machine has not, or None."""
    for tool in ("nginx", "apache2", "lighttpd", "node", "java", "curl", "wrk", "runc", "ip", "bpftool", "cc"):
        if not shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            return tool
    return None
