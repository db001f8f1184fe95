# SPDX-License-Identifier: ISC
"""A program in its own terminal, and what it has drawn there."""

import fcntl
import os
import pty
import re
import struct
import termios
import threading

from .tap import Failure, spawn, wait_until

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    def __init__(self, t, command, *, rows=24, columns=80, **options):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self._data = b""
        self.is_ignored = False  # set: what is written is no longer read
        self.process = spawn(command, stdin=self.slave, stdout=self.slave, stderr=self.slave,
                             start_new_session=True, preexec_fn=self._take, **options)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        t.own(self)

    def _take(self):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def _read(self):
        while not self.is_ignored:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self._data += data

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    @property
    def text(self):
        """All that was written."""
        return self._data.decode(errors="replace")

    def frame(self):
        """The lines of the last frame that is complete; colours are left out."""
        frames = re.findall(r"\x1b\[H((?:(?!\x1b\[H).)*?)\x1b\[J", self.text, flags=re.S)
        return [SEQUENCE.sub("", line).strip("\r") for line in frames[-1].split("\n")] if frames else []

    def count(self):
        return self.text.count("\x1b[J")

    def wait_for(self, text):
        """Until the last frame has the text; returns the frame."""
        try:
            wait_until(lambda: any(text in line for line in self.frame()), f"{text!r}")
        except Failure as why:
            raise Failure(f"{why}; the screen: {self.frame()} {self.text[-300:]!r}") from None
        return self.frame()

    def wait_end(self):
        """The process's status."""
        return self.process.wait(20)

    def is_restored(self):
        """Is the terminal as it was?"""
        wait_until(lambda: self.text.rstrip().endswith("\x1b[?1049l"), "the other screen's end")
        return termios.tcgetattr(self.slave) == self.before and "\x1b[?25h" in self.text

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        os.close(self.slave)
        self._reader.join(20)  # the last end on that side
        os.close(self.master)
