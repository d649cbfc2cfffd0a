"""A TCP peer in user space on /dev/net/tun, for what no kernel would send on its own: any order of segments,
duplicates, holes, data that is never acknowledged, RST and FIN at any place.

The other end is an ordinary socket of the kernel, reached through a point-to-point interface:

    with Tun() as tun:                              # 10.66.0.1 is the kernel, 10.66.0.2 is the peer
        listener = socket.create_server((tun.kernel, 0))
        peer = Peer(tun, port=listener.getsockname()[1])
        peer.connect()
        peer.segment(4, b" / HTTP/1.1\\r\\n\\r\\n")    # offset 4 of the stream: a hole before it
        peer.segment(0, b"GET ")
        peer.read(17)                               # waits for data of the kernel and acknowledges it

Offsets count payload bytes from the first one of the direction, so tests never see sequence numbers. Nothing is
retransmitted by itself, nothing is acknowledged but by connect(), read(until acknowledged) and ack().
Works in any network namespace: the interface belongs to the namespace in which Tun() is called.
"""

import fcntl
import os
import random
import select
import socket
import struct
import subprocess
import time

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

DEADLINE_S = 10.0


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Tun:
    """A tun interface with one IPv4 and one IPv6 address of the kernel's and one of the peer's on its other side."""

    def __init__(self, subnet=None):
        number = subnet if subnet is not None else os.getpid() % 200 + 20
        self.kernel, self.peer = "10.66.%d.1" % number, "10.66.%d.2" % number
        self.kernel6, self.peer6 = "fd66:%x::1" % number, "fd66:%x::2" % number
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        answer = fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", b"weirtun%d", IFF_TUN | IFF_NO_PI))
        self.name = answer[:16].rstrip(b"\0").decode()
        for command in (
            ["ip", "link", "set", self.name, "up"],
            ["ip", "addr", "add", self.kernel, "peer", self.peer, "dev", self.name],
            ["ip", "-6", "addr", "add", self.kernel6, "peer", self.peer6, "dev", self.name, "nodad"],
        ):
            subprocess.run(command, check=True)

    def write(self, packet):
        os.write(self.fd, packet)

    def read(self, deadline):
        """The next packet, or None at the deadline (time.monotonic())."""
        left = deadline - time.monotonic()
        if left < 0 or not select.select([self.fd], [], [], left)[0]:
            return None
        return os.read(self.fd, 65600)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Segment:
    """A segment from the kernel: offset of its payload in the stream, payload, flags."""

    def __init__(self, offset, data, flags, ack, time_ns):
        self.offset, self.data, self.flags, self.ack, self.time_ns = offset, data, flags, ack, time_ns

    def __repr__(self):
        names = "".join(n for bit, n in ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, ".")) if self.flags & bit)
        return "<%s %d:%d>" % (names, self.offset, self.offset + len(self.data))


class Peer:
    """One connection. @port is the kernel's port (active peer) or the peer's own (passive peer)."""

    def __init__(self, tun, port, family=socket.AF_INET, own_port=None, window=65535, mss=1400, seed=None):
        self.tun, self.family, self.window, self.mss = tun, family, window, mss
        six = family == socket.AF_INET6
        self.own_address = tun.peer6 if six else tun.peer
        self.kernel_address = tun.kernel6 if six else tun.kernel
        self.own_port = own_port or random.Random(seed).randrange(20000, 60000)
        self.kernel_port = port
        self.isn = random.Random(seed).randrange(1 << 32)
        self.kernel_isn = None
        self.sent_end = 0  # greatest offset sent, plus one
        self.acked = 0  # what we have told the kernel that we have
        self.stream = {}  # offset -> payload as it came
        self.segments = []
        self.kernel_acked = 0
        self.reset = False
        self.fin = False
        self.fin_sent = 0  # a FIN takes a sequence number

    # -- from peer to kernel

    def _packet(self, seq, ack, flags, data=b"", options=b""):
        options += b"\x01" * (-len(options) % 4)
        tcp = struct.pack(
            "!HHIIBBHHH", self.own_port, self.kernel_port, seq % (1 << 32), ack % (1 << 32),
            (5 + len(options) // 4) << 4, flags, self.window, 0, 0,
        ) + options + data
        source = socket.inet_pton(self.family, self.own_address)
        target = socket.inet_pton(self.family, self.kernel_address)
        if self.family == socket.AF_INET6:
            pseudo = source + target + struct.pack("!II", len(tcp), socket.IPPROTO_TCP)
            header = struct.pack("!IHBB", 6 << 28, len(tcp), socket.IPPROTO_TCP, 64) + source + target
        else:
            pseudo = source + target + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp))
            header = struct.pack(
                "!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, socket.IPPROTO_TCP, 0) + source + target
            header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
        return header + tcp

    def _send(self, seq, flags, data=b"", options=b""):
        ack = 0 if self.kernel_isn is None else self.kernel_isn + 1 + self.acked + (1 if self.fin else 0)
        self.tun.write(self._packet(seq, ack, flags, data, options))

    def segment(self, offset, data, flags=ACK | PSH, options=b""):
        """Sends @data as the bytes at @offset of our stream. May overlap, repeat or leave holes. Returns the time."""
        self.sent_end = max(self.sent_end, offset + len(data))
        before_ns = time.monotonic_ns()
        self._send(self.isn + 1 + offset, flags, data, options)
        return before_ns

    def send(self, data, flags=ACK | PSH):
        """Sends @data as the next bytes in order, cut to the maximum segment size."""
        before_ns = time.monotonic_ns()
        for start in range(0, len(data), self.mss):
            self.segment(self.sent_end, data[start:start + self.mss], flags)
        return before_ns

    def ack(self, offset=None):
        """Acknowledges the kernel's stream up to @offset (all that came in order, when not given)."""
        self.acked = self.in_order() if offset is None else offset
        self._send(self.isn + 1 + self.sent_end + self.fin_sent, ACK)

    def send_fin(self, offset=None):
        offset = self.sent_end if offset is None else offset
        self._send(self.isn + 1 + offset, FIN | ACK)
        self.fin_sent = 1

    def send_rst(self, offset=None):
        self._send(self.isn + 1 + (self.sent_end + self.fin_sent if offset is None else offset), RST | ACK)

    # -- handshake

    def connect(self, data=b"", syn_only=False):
        """Opens towards a listener of the kernel. @data rides on the segment that completes the handshake."""
        deadline = time.monotonic() + DEADLINE_S
        while self.kernel_isn is None:  # a new interface may not take packets at once
            if time.monotonic() > deadline:
                raise TimeoutError("no SYN-ACK from the kernel within %g s" % DEADLINE_S)
            self._send(self.isn, SYN, options=struct.pack("!BBH", 2, 4, self.mss))
            self.poll(min(deadline, time.monotonic() + 0.5))
        if syn_only:
            return time.monotonic_ns()
        if data:
            return self.segment(0, data)
        before_ns = time.monotonic_ns()
        self._send(self.isn + 1, ACK)
        return before_ns

    def accept(self):
        """Answers the kernel's SYN to @own_port (a passive peer): connect() of the kernel's socket then returns.
        Connect that socket without blocking first."""
        self._wait(lambda: self.kernel_isn is not None, "SYN")
        self._send(self.isn, SYN | ACK, options=struct.pack("!BBH", 2, 4, self.mss))

    # -- from kernel to peer

    def poll(self, deadline):
        """Takes one packet of this connection in. False at the deadline."""
        while True:
            packet = self.tun.read(deadline)
            if packet is None:
                return False
            if self._take(packet):
                return True

    def _take(self, packet):
        if packet[0] >> 4 == 4:
            if self.family != socket.AF_INET or packet[9] != socket.IPPROTO_TCP:
                return False
            end = struct.unpack("!H", packet[2:4])[0]
            tcp = packet[(packet[0] & 15) * 4:end]
        else:
            if self.family != socket.AF_INET6 or packet[6] != socket.IPPROTO_TCP:
                return False
            tcp = packet[40:40 + struct.unpack("!H", packet[4:6])[0]]
        source, target, seq, ack, offset, flags = struct.unpack("!HHIIBB", tcp[:14])
        if target != self.own_port:
            return False
        if self.kernel_port and source != self.kernel_port:
            return False
        self.kernel_port = source
        if flags & SYN:
            self.kernel_isn = seq
        if flags & RST:
            self.reset = True
        data = tcp[(offset >> 4) * 4:]
        at = 0 if self.kernel_isn is None else (seq - self.kernel_isn - 1) % (1 << 32)
        if flags & FIN:
            self.fin = True
        if flags & ACK:
            self.kernel_acked = (ack - self.isn - 1) % (1 << 32)
        self.segments.append(Segment(at, data, flags, self.kernel_acked, time.monotonic_ns()))
        if data:
            self.stream[at] = max(self.stream.get(at, b""), data, key=len)
        return True

    def in_order(self):
        """Payload bytes of the kernel that came without a hole."""
        end = 0
        for at in sorted(self.stream):
            if at > end:
                break
            end = max(end, at + len(self.stream[at]))
        return end

    def data(self):
        """The bytes that came without a hole."""
        out = b""
        for at in sorted(self.stream):
            if at > len(out):
                break
            out += self.stream[at][len(out) - at:] if at + len(self.stream[at]) > len(out) else b""
        return out

    def _wait(self, condition, what, deadline_s=DEADLINE_S):
        deadline = time.monotonic() + deadline_s
        while not condition():
            if not self.poll(deadline):
                raise TimeoutError("no %s from the kernel within %g s, got %r" % (what, deadline_s, self.segments))

    def read(self, end, acknowledge=True, deadline_s=DEADLINE_S):
        """Waits until the kernel's stream is whole up to @end, and acknowledges it. Returns the time of the last."""
        self._wait(lambda: self.in_order() >= end, "byte %d" % end, deadline_s)
        if acknowledge:
            self.ack()
        return self.segments[-1].time_ns

    def wait_acked(self, offset, deadline_s=DEADLINE_S):
        self._wait(lambda: self.kernel_acked >= offset, "acknowledgement of %d" % offset, deadline_s)

    def wait_reset(self, deadline_s=DEADLINE_S):
        self._wait(lambda: self.reset, "RST", deadline_s)

    def wait_fin(self, deadline_s=DEADLINE_S):
        self._wait(lambda: self.fin, "FIN", deadline_s)
        self.ack()

    def wait_repeat(self, offset, deadline_s=DEADLINE_S):
        """Waits until the kernel has sent the payload at @offset at least twice (we did not acknowledge it)."""
        self._wait(
            lambda: sum(1 for s in self.segments if s.data and s.offset <= offset < s.offset + len(s.data)) > 1,
            "retransmission of byte %d" % offset, deadline_s)
