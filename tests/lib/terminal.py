"""A pseudo terminal with a command on it, for tests of what fills a screen."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

from lab import DEADLINE_S


class Terminal:
    """A command on a pseudo terminal of its own."""

    def __init__(self, lab, *argv, rows=30, columns=110, env=None):
        master, slave = pty.openpty()
        self.master = master
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.text = b""
        self.popen = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                      env={**os.environ, "TERM": "xterm-256color", **(env or {})})
        lab.own(self)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, wanted, deadline_s=DEADLINE_S):
        """Reads until @wanted has been drawn since the last call."""
        deadline = time.monotonic() + deadline_s
        text = b""
        while wanted.encode() not in text:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.master], [], [], max(left, 0))
            if not ready:
                raise TimeoutError("terminal: no %r in %r" % (wanted, text[-1500:]))
            try:
                part = os.read(self.master, 65536)
            except OSError:
                part = b""
            if not part:
                raise EOFError("terminal: no %r in %r" % (wanted, text[-1500:]))
            text += part
        self.text += text
        return text.decode("utf-8", "replace")

    def send(self, keys):
        os.write(self.master, keys.encode())

    def rest(self):
        """What is still to be read after the command has ended."""
        text = b""
        while select.select([self.master], [], [], 0)[0]:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                break
            if not part:
                break
            text += part
        self.text += text
        return text

    def wait(self):
        status = self.popen.wait(DEADLINE_S)
        self.rest()
        return status

    def restored(self):
        """The screen before and the settings are back."""
        return b"\x1b[?1049l" in self.text and termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(DEADLINE_S)
        os.close(self.master)
        os.close(self.slave)
