# SPDX-License-Identifier: ISC
"""memcached as an upstream, as it is commonly run, and its protocols: text, meta, binary."""

import re
import socket
import struct

from .channel import connect
from .peers import Peer, need
from .ports import free_port
from .tap import Failure, wait_until
from .tls import NAME
from .tls_ca import authority
from .upstream import ScriptedUpstream


class MemcachedServer(Peer):
    """users: {name: password}: it requires a login, in the text protocol. tls: its endpoint uses
    that. threads, memory (MB), and further options for the command. With more than one thread its
    count of connections may be late."""

    def __init__(self, t, *, users=None, tls=False, threads=1, memory=64, options=()):
        self.users, self.tls, self.threads, self.memory = users, tls, threads, memory
        self.options = options
        self.asked = 0
        super().__init__(t)
        self.endpoint = f"{'memcacheds' if tls else 'memcached'}://127.0.0.1:{self.port}"
        if tls:
            self.address = ("127.0.0.1", self.plain)
        wait_until(self._answers, "memcached to answer")
        self.base = self.statistic("total_connections") - self.asked

    def command(self):
        command = [need("memcached"), "-u", "root", "-p", str(self.port), "-U", "0", "-t", str(self.threads),
                   "-m", str(self.memory), *self.options]
        if self.tls:
            self.plain = free_port()
            certificate = authority().valid
            command += ["-l", f"127.0.0.1:{self.port},notls:127.0.0.1:{self.plain}", "-Z", "-o",
                        f"ssl_chain_cert={certificate.file},ssl_key={certificate.key}"]
        else:
            command += ["-l", f"127.0.0.1:{self.port}"]
        if self.users:
            file = self.t.folder / f"memcached-{self.port}.users"
            file.write_text("".join(f"{n}:{p}\n" for n, p in self.users.items()))
            command += ["-Y", str(file)]
        return command

    def _answers(self):
        with socket.socket() as probe:
            self.asked += probe.connect_ex(self.address) == 0
            return self.asked > 0

    def stop(self):
        self.process.kill()
        self.wait_exit()

    def start(self):
        """Again, empty, at the same port."""
        self.asked = 0
        self._start()
        if self.process.poll() is not None:
            raise Failure(f"memcached did not start again: {self._output()}")
        wait_until(self._answers, "memcached to answer")
        self.base = self.statistic("total_connections") - self.asked

    def restart(self):
        self.stop()
        self.start()

    def statistic(self, name):
        """One number of its stats, queried over its own connection."""
        self.asked += 1
        with connect(self.address).socket as sock:
            if self.users:
                user, password = next(iter(self.users.items()))
                sock.sendall(login(user, password))
            sock.sendall(b"stats\r\nquit\r\n")
            text = b""
            while data := sock.recv(65536):
                text += data
        match = re.search(rb"^STAT %s (\d+)" % name.encode(), text, flags=re.M)
        return int(match[1]) if match else 0

    def connections(self):
        """Connections it accepted since its start, except the test's own."""
        return self.statistic("total_connections") - self.asked - self.base


def login(user, password):
    """The text protocol's login."""
    value = f"{user} {password}".encode()
    return b"set login 0 0 %d\r\n%s\r\n" % (len(value), value)


def start(t, peer, *, listener=None, **options):
    """A kaproxy in front of a memcached, or of a scripted one."""
    endpoint = getattr(peer, "endpoint", peer)
    if endpoint.startswith("memcacheds:"):
        listener = {"tls_ca_file": authority().root.alone, "tls_server_name": NAME,
                    **(listener or {})}
    return t.kaproxy(endpoint, reuse=None, listener=listener, **options)


def store(key, value, verb="set", flags=0, more=b""):
    """A storage command; `more` with its blank before it."""
    return b"%s %s %d 0 %d%s\r\n%s\r\n" % (verb.encode(), key, flags, len(value), more, value)


def value_of(key, value, flags=0):
    """The reply to a get of one key."""
    if value is None:
        return b"END\r\n"
    return b"VALUE %s %d %d\r\n%s\r\nEND\r\n" % (key, flags, len(value), value)


def read_until(channel, end):
    """Everything up to and including these bytes."""
    data = b""
    while not data.endswith(end):
        more = channel.receive(1 << 20)
        if not more:
            raise Failure(f"ended after {data[-500:]!r}")
        data += more
    return data


# --- the binary protocol

OPCODES = {"get": 0x00, "set": 0x01, "add": 0x02, "replace": 0x03, "delete": 0x04, "incr": 0x05,
           "decr": 0x06, "quit": 0x07, "flush": 0x08, "getq": 0x09, "noop": 0x0a, "version": 0x0b,
           "getk": 0x0c, "getkq": 0x0d, "append": 0x0e, "prepend": 0x0f, "stat": 0x10,
           "setq": 0x11, "addq": 0x12, "deleteq": 0x14, "incrq": 0x15, "quitq": 0x17,
           "touch": 0x1c, "gat": 0x1d, "sasl": 0x20}
_STORES = ("set", "add", "replace", "setq", "addq")


def packet(name, key=b"", value=b"", opaque=0, extras=None):
    """A request."""
    if extras is None:
        extras = b""
        if name in _STORES:
            extras = struct.pack(">II", 0, 0)
        elif name in ("incr", "decr", "incrq"):
            extras = struct.pack(">QQI", 1, 10, 0)
        elif name in ("touch", "gat"):
            extras = struct.pack(">I", 0)
    return struct.pack(">BBHBBHIIQ", 0x80, OPCODES[name], len(key), len(extras), 0, 0,
                       len(extras) + len(key) + len(value), opaque, 0) + extras + key + value


class Answer:
    """A reply of the binary protocol."""

    def __init__(self, channel):
        head = channel.read(24)
        (self.magic, self.opcode, key, extras, _, self.status, length, self.opaque,
         self.cas) = struct.unpack(">BBHBBHIIQ", head)
        body = channel.read(length) if length else b""
        self.raw = head + body
        self.key = body[extras:extras + key]
        self.value = body[extras + key:]

    def __repr__(self):
        return f"<{self.opcode:#x} status {self.status} opaque {self.opaque} {self.value[:50]!r}>"


# --- a scripted upstream of the text protocol

STORAGE = (b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"ms")


class ScriptedMemcached(ScriptedUpstream):
    """Lines in, replies out. answer(connection, line) gives the bytes of a reply, b"" for none, or
    None for the default: values that name key and connection. `lines` has all that arrived:
    (connection's number, line); with `version` what kaproxy asks first."""

    def __init__(self, answer=None, **options):
        self.answer = answer or (lambda *_: None)
        self.lines = []
        super().__init__(self._serve, **options)
        self.endpoint = f"memcached://127.0.0.1:{self.port}"

    def _serve(self, connection):
        while (line := connection.read_line()) is not None:
            line = line.rstrip(b"\r")
            self.lines.append((connection.number, line))
            words = line.split()
            if words and words[0] in STORAGE:
                connection.read(int(words[2 if words[0] == b"ms" else 4]) + 2)
            reply = self.answer(connection, line)
            if reply is None:
                reply = usual(connection, words)
            if reply:
                connection.send(reply)

    def clients_lines(self):
        """Without what kaproxy asks on its own, if no client of the test sends such."""
        return [line for _, line in list(self.lines) if line not in (b"version", b"mn")]


def usual(connection, words):
    name = words[0] if words else b""
    if name in (b"get", b"gets"):
        return b"".join(value_of(key, b"%s at %d" % (key, connection.number))[:-5]
                        for key in words[1:]) + b"END\r\n"
    if b"noreply" in words:
        return b""
    return {b"version": b"VERSION 1.6.18\r\n", b"mn": b"MN\r\n", b"delete": b"DELETED\r\n",
            b"touch": b"TOUCHED\r\n", b"incr": b"1\r\n", b"mg": b"EN\r\n", b"ms": b"HD\r\n",
            }.get(name, b"STORED\r\n" if name in STORAGE else b"ERROR\r\n")
