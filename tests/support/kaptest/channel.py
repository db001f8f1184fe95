# SPDX-License-Identifier: ISC
"""One end of a TCP or unix connection, with time limits; both clients and scripted peers use it."""

import fcntl
import socket
import struct
import termios

from .tap import WAIT_MAX, Failure


class Channel:
    def __init__(self, sock, number=0, was_reset=False):
        self.socket = sock
        self.number = number
        self.received = bytearray()  # everything that was read so far
        self._pending = b""
        self._was_reset = was_reset  # the kernel reports it only once
        self.name = sock.getsockname()
        sock.settimeout(WAIT_MAX)
        if sock.family != socket.AF_UNIX and not was_reset:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except ConnectionResetError:
            self._was_reset = True
            raise

    def send_last(self, data):
        """Sends, and ends this direction with the last byte: over TCP in one packet, so that there
        is no time between them, however late this process gets to the second call. (The kernel
        would wait 200 ms for it.)"""
        self.socket.sendall(data, socket.MSG_MORE)
        self.fin()

    def send_what_fits(self, data):
        """As much as the peer takes without waiting: how many bytes."""
        sent = 0
        self.socket.setblocking(False)
        try:
            with memoryview(data) as view:
                while sent < len(data):
                    sent += self.socket.send(view[sent:sent + 65536])
        except BlockingIOError:
            pass
        finally:
            self.socket.settimeout(WAIT_MAX)
        return sent

    def untaken(self):
        """How many of the bytes sent the other side's kernel does not have yet."""
        return struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)))[0]

    def receive(self, size=65536):
        """The available bytes, at least one; b"" at the end."""
        if self._pending:
            data, self._pending = self._pending[:size], self._pending[size:]
            return data
        if self._was_reset:
            raise ConnectionResetError
        try:
            data = self.socket.recv(size)
        except TimeoutError:
            raise Failure(f"nothing arrived within {WAIT_MAX:g} s") from None
        self.received += data
        return data

    def read(self, size):
        """Exactly this many bytes."""
        parts = []
        while size > 0:
            data = self.receive(min(size, 1 << 20))
            if not data:
                raise Failure(f"the connection ended {size} bytes early")
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def read_line(self):
        """A line without its end; None at the end of the stream."""
        line = b""
        while True:
            data = self.receive()
            if not data:
                if line:
                    raise Failure(f"the connection ended in mid-line: {line!r}")
                return None
            head, newline, rest = data.partition(b"\n")
            line += head
            if newline:
                self._pending = rest + self._pending
                return line

    def ask(self, line):
        """Sends a line and reads one."""
        self.send(line + b"\n")
        return self.read_line()

    def read_end(self):
        """Reads on to the end: (bytes, "eof" or "reset")."""
        data = b""
        while True:
            try:
                more = self.receive()
            except ConnectionResetError:
                return data, "reset"
            if not more:
                return data, "eof"
            data += more

    def end(self):
        """Ends our direction, then waits until the other side ended the other: "eof" or "reset"."""
        self.fin()
        rest, end = self.read_end()
        if rest:
            raise Failure(f"unexpected bytes at the end: {rest!r}")
        return end

    def is_silent(self, seconds):
        """Whether neither a byte nor an end arrives for that long."""
        if self._pending:
            return False
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(WAIT_MAX)

    def fin(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes so that the peer sees a reset. Not while another thread waits for bytes: the
        kernel would delay it until then."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()


def connect(address, receive_buffer=None):
    """A client. The address is a path, or (host, port)."""
    family = socket.AF_UNIX
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(WAIT_MAX)
        sock.connect(address)
    except ConnectionResetError:
        return Channel(sock, was_reset=True)  # accepted, and reset before we could check
    except BaseException:
        sock.close()
        raise
    return Channel(sock)
