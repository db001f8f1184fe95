# SPDX-License-Identifier: ISC
"""Upstreams of memcached listeners that follow a script: text as the test says, and binary."""

import struct

from .memcached_peers import OPCODES, ScriptedMemcached, read_until, start, value_of
from .tap import Failure, wait_until
from .upstream import ScriptedUpstream

ONE = {"max_per_host": 1}
VERSION, MN = b"VERSION 1.6.18\r\n", b"MN\r\n"


class Silent(ScriptedMemcached):
    """Does not reply: the test does, when it likes."""

    def __init__(self, **options):
        super().__init__(lambda *_: b"", **options)

    def wait_line(self, line, number=1, count=1):
        """Waits for a line that arrived on that connection."""
        wait_until(lambda: self.of(number).count(line) >= count,
                   f"{line} on connection {number}, which got {self.of(number)}")
        return self.connections[number - 1]

    def of(self, number):
        """What arrived on a connection so far."""
        return [line for at, line in list(self.lines) if at == number]


class ScriptedBinary(ScriptedUpstream):
    """Requests in, replies out: answer(connection, opcode, opaque, key, value) gives the bytes of a
    reply, or None for the default. `requests`: (connection's number, opcode, opaque)."""

    def __init__(self, answer=None, **options):
        self.answer = answer or (lambda *_: None)
        self.requests = []
        super().__init__(self._serve, **options)
        self.endpoint = f"memcached://127.0.0.1:{self.port}"

    def _serve(self, connection):
        while head := connection.receive(24):
            head += connection.read(24 - len(head)) if len(head) < 24 else b""
            _, opcode, key, extras, _, _, length, opaque, _ = struct.unpack(">BBHBBHIIQ", head)
            body = connection.read(length) if length else b""
            self.requests.append((connection.number, opcode, opaque))
            reply = self.answer(connection, opcode, opaque, body[extras:extras + key],
                                body[extras + key:])
            if reply is None:
                quiet = opcode in (OPCODES["setq"], OPCODES["getkq"], OPCODES["getq"])
                reply = b"" if quiet else reply_to(opcode, opaque)
            if reply:
                connection.send(reply)

    def opcodes(self, number=1):
        return [opcode for at, opcode, _ in list(self.requests) if at == number]


def reply_to(opcode, opaque, value=b"", status=0):
    return struct.pack(">BBHBBHIIQ", 0x81, opcode, 0, 0, 0, status, len(value), opaque, 0) + value


def begin(t, upstream, **options):
    """A client of a kaproxy."""
    kaproxy = start(t, upstream, **options)
    return kaproxy.connect(), kaproxy


def begin_on_reused(t, upstream, **options):
    """A client that was served already, on connection 1, which is idle."""
    one, kaproxy = begin(t, upstream, pool=ONE, **options)
    one.send(b"get first\r\n")
    if read_until(one, b"END\r\n") != value_of(b"first", b"first at 1"):
        raise Failure("a first reply")
    return one, kaproxy
