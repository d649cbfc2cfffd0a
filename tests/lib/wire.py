"""Both ends of a TCP connection in the hands of one test: what is sent, in which pieces, in which order, and how it
ends is exactly what the test says, without threads. Each end lives in a cgroup of its own, so weir sees a server and
a client that are nobody else's.

A script is a list of steps:  C("bytes")  the client sends and the server has read it before the next step,
S("bytes") the other way, and the ends: CLIENT_FIN, CLIENT_RST, SERVER_FIN, SERVER_RST, CLIENT_CLOSE, SERVER_CLOSE.
"""

import contextlib
import select
import socket
import struct
import time

from lab import DEADLINE_S, wait_until

SO_TIMESTAMPNS = 35


class Step:
    def __init__(self, side, action, data=b"", pieces=None):
        self.side, self.action, self.data, self.pieces = side, action, data, pieces

    def __repr__(self):
        return "%s %s %r" % (self.side, self.action, self.data[:40])


def _bytes(data):
    return data.encode("latin-1") if isinstance(data, str) else data


def C(data, every=None):
    """The client sends; @every: so many bytes in each segment, each one taken by the server before the next."""
    return Step("client", "send", _bytes(data), every)


def S(data, every=None):
    return Step("server", "send", _bytes(data), every)


CLIENT_FIN = Step("client", "fin")  # half-close: it still reads
CLIENT_RST = Step("client", "rst")
CLIENT_CLOSE = Step("client", "close")
SERVER_FIN = Step("server", "fin")
SERVER_RST = Step("server", "rst")
SERVER_CLOSE = Step("server", "close")


def no_linger(sock):
    """close() sends RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def recv_exactly(sock, count, deadline_s=DEADLINE_S):
    sock.settimeout(deadline_s)
    data = bytearray()
    while len(data) < count:
        try:
            piece = sock.recv(count - len(data))
        except socket.timeout:
            raise TimeoutError("%d of %d bytes within %g s" % (len(data), count, deadline_s)) from None
        if not piece:
            raise EOFError("end of stream after %d of %d bytes" % (len(data), count))
        data += piece
    return bytes(data)


class Wire:
    """@family/@address as for sockets; "::ffff:127.0.0.1" gives v4-mapped sockets. @server and @client are
    lab.Cgroup; @netns holds both ends when given."""

    def __init__(self, server, client, address="127.0.0.1", client_address=None, netns=None, defer=False):
        self.server_cgroup, self.client_cgroup = server, client
        self.address, self.netns = address, netns
        self.client_address = client_address or address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.client_family = socket.AF_INET6 if ":" in self.client_address else socket.AF_INET
        self.open = []
        with server.inside(), self._namespace():
            self.listener = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if defer:
            self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 10)
        self.listener.bind((address, 0))
        self.listener.listen(1024)
        self.port = self.listener.getsockname()[1]

    def _namespace(self):
        return self.netns.inside() if self.netns else contextlib.nullcontext()

    def client_socket(self):
        with self.client_cgroup.inside(), self._namespace():
            sock = socket.socket(self.client_family, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(DEADLINE_S)
        return sock

    def connect(self):
        """A connection: (client socket, server socket)."""
        client = self.client_socket()
        client.connect((self.client_address, self.port))
        self.listener.settimeout(DEADLINE_S)
        server, _ = self.listener.accept()
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open += [client, server]
        return client, server

    def play(self, *steps, ends=None, close=True):
        """Plays the steps on a new connection, or on @ends; closes it in good order afterwards."""
        client, server = ends or self.connect()
        fins = set()
        for step in steps:
            here, there = (client, server) if step.side == "client" else (server, client)
            if step.action == "send":
                size = step.pieces or len(step.data) or 1
                for start in range(0, len(step.data), size):
                    send_all(here, there, step.data[start:start + size])
            elif step.action == "fin":
                here.shutdown(socket.SHUT_WR)
                wait_end(there)
                fins.add(here)
            elif step.action == "rst":
                no_linger(here)
                here.close()
                wait_end(there)
            elif step.action == "close":
                here.close()
                wait_end(there)
        if close:
            self.hang_up(client, server)
        return client, server

    @staticmethod
    def hang_up(client, server):
        """The client closes, then the server."""
        if client.fileno() >= 0:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            if server.fileno() >= 0:
                wait_end(server)
        server.close()
        client.close()

    def exchange(self, request, response, ends):
        """One exchange on @ends. Returns the times before the first byte was sent and after the last was read."""
        client, server = ends
        before_ns = time.monotonic_ns()
        client.sendall(_bytes(request))
        recv_exactly(server, len(_bytes(request)))
        server.sendall(_bytes(response))
        recv_exactly(client, len(_bytes(response)))
        return before_ns, time.monotonic_ns()

    def close(self):
        for sock in self.open:
            sock.close()
        self.listener.close()


def send_all(here, there, data):
    """Sends and reads on the other side at once, so that no amount of data can block."""
    here.setblocking(False)
    there.setblocking(False)
    sent = got = 0
    deadline = time.monotonic() + DEADLINE_S
    while got < len(data):
        writers = [here] if sent < len(data) else []
        readable, writable, _ = select.select([there], writers, [], max(0, deadline - time.monotonic()))
        if not readable and not writable:
            raise TimeoutError("%d of %d bytes arrived" % (got, len(data)))
        if writable:
            sent += here.send(data[sent:sent + (1 << 20)])
        if readable:
            piece = there.recv(1 << 20)
            if not piece:
                raise EOFError("end of stream after %d of %d bytes" % (got, len(data)))
            got += len(piece)
    here.settimeout(DEADLINE_S)
    there.settimeout(DEADLINE_S)


def wait_end(sock):
    """Waits until the other side's FIN or RST is here."""
    if sock.fileno() < 0:
        return
    sock.settimeout(DEADLINE_S)
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass


class Clock:
    """When payload passed the loopback interface, by the kernel's own packet time stamps (AF_PACKET): a clock that has
    nothing to do with weir and does not wait for a process to be scheduled.
    @port: of the server. Must be open before the packets pass."""

    def __init__(self, port):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.bind(("lo", 3))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.port = port
        self.seen = set()
        wait_until(self._stamps, "packets stamped when they pass")

    def _stamps(self):
        """The kernel begins to stamp a while after it was asked to; until then a packet gets the time at which it is
        read. A packet of our own shows which it is."""
        text = b"stamp %d" % id(self)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.sendto(text, ("127.0.0.1", 9))
        passed_ns = time.time_ns()
        self.sock.settimeout(DEADLINE_S)
        while True:
            packet, extra, _, _ = self.sock.recvmsg(2048, 256)
            if text in packet:
                return self._stamp_ns(extra) <= passed_ns

    @staticmethod
    def _stamp_ns(extra):
        seconds, rest = next(struct.unpack("qq", data[:16]) for level, kind, data in extra
                             if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS)
        return seconds * 1000000000 + rest

    def exchanges(self):
        """All that passed so far: a list of (start_ns, first_ns, end_ns) for each request, in order, of a client that
        sends one at a time on one connection: from the first byte of the request to the last byte of the response."""
        out, start, first, end = [], None, None, None
        self.sock.setblocking(False)
        while True:
            try:
                packet, extra, _, _ = self.sock.recvmsg(2048, 256)
            except BlockingIOError:
                break
            if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
                continue
            head = (packet[0] & 15) * 4
            length = struct.unpack("!H", packet[2:4])[0]
            source, target, seq = struct.unpack("!HHI", packet[head:head + 8])
            if self.port not in (source, target):
                continue
            if length - head - (packet[head + 12] >> 4) * 4 <= 0 or (source, target, seq) in self.seen:
                continue  # no payload, or loopback's second sight of the same packet
            self.seen.add((source, target, seq))
            time_ns = self._stamp_ns(extra)
            if target == self.port:
                if end is not None:
                    out.append((start, first, end))
                    start = first = end = None
                start = start or time_ns
            elif start:
                first = first or time_ns
                end = time_ns
        if end is not None:
            out.append((start, first, end))
        return out

    def close(self):
        self.sock.close()
