# SPDX-License-Identifier: ISC
"""DNS servers: dnsmasq, and a scripted one for what dnsmasq does not do."""

import os
import signal
import socket
import struct
import threading

from .peers import Peer, need
from .ports import free_port
from .tap import Failure, wait_until
from .upstream import ScriptedUpstream, answer_lines

A, CNAME, AAAA = 1, 5, 28
SERVFAIL, NXDOMAIN = 2, 3
MUTE, HOLD = "mute", "hold"

NAME = "up.test"  # the upstream's name in tests


class Dnsmasq(Peer):
    """Knows the names of set() and no others. It reads them again within the call."""

    def __init__(self, t, ttl=1):
        self.ttl = ttl
        self.hosts = t.folder / "hosts"
        self.hosts.touch()
        t.folder.chmod(0o755)
        super().__init__(t)
        self.resolver = f"127.0.0.1:{self.port}"

    def command(self):
        return [need("dnsmasq"), "--no-daemon", "--conf-file=/dev/null", "--no-resolv",
                "--no-hosts", "--log-facility=-", f"--addn-hosts={self.hosts}", "--local=/test/",
                f"--local-ttl={self.ttl}", "--listen-address=127.0.0.1", "--bind-interfaces",
                f"--port={self.port}"]

    def set(self, name, *addresses):
        """What a name resolves to from now on; nothing: there is no such name."""
        reads = self._output().count(f"read {self.hosts}")
        replaced = self.hosts.with_suffix(".new")
        replaced.write_text("".join(f"{address} {name}\n" for address in addresses))
        os.replace(replaced, self.hosts)
        self.signal(signal.SIGHUP)
        wait_until(lambda: self._output().count(f"read {self.hosts}") > reads,
                   "dnsmasq to read its names")


class ScriptedDns:
    """Answers with what set() said last; other names do not exist. Families can be treated
    separately."""

    def __init__(self):
        self.queries = []  # (A or AAAA, name), in order of arrival
        self._names = {}
        self._families = {}  # (A or AAAA, name): status, MUTE or HOLD
        self._held = []
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.resolver = "127.0.0.1:{}".format(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def set(self, name, *addresses, ttl=1, alias=None, status=0, mute=False, some=None):
        """The answer from now on: addresses, through an alias if there is one, and if `some` is
        given that many of them in turn; or a status; or (mute) none at all."""
        self._names[name] = (addresses, ttl, alias, status, mute, some)

    def set_family(self, name, kind, what=None):
        """What queries for A or AAAA get whatever set() says: a status, MUTE, or HOLD, which is the
        answer, but not before release(). None: as set() says."""
        self._families[kind, name] = what

    def release(self):
        """Sends what is held back, and holds nothing back any more."""
        with self._lock:
            self._families = {k: None if v == HOLD else v for k, v in self._families.items()}
            for reply, sender in self._held:
                self._socket.sendto(reply, sender)
            self._held.clear()

    def count(self, name, kind=A):
        return self.queries.count((kind, name))

    def close(self):
        self._socket.sendto(b"", self._socket.getsockname())  # the end, for the thread
        self._thread.join()
        self._socket.close()

    def _serve(self):
        while True:
            query, sender = self._socket.recvfrom(4096)
            if not query:
                return
            kind, name, end = _read_question(query)
            with self._lock:
                self.queries.append((kind, name))
                what = self._families.get((kind, name))
                reply = self._answer(query[:end], kind, name, what)
                if what == HOLD:
                    self._held.append((reply, sender))
                elif reply:
                    self._socket.sendto(reply, sender)

    def _answer(self, query, kind, name, what):
        unknown = ((), 1, None, NXDOMAIN, False, None)
        addresses, ttl, alias, status, mute, some = self._names.get(name, unknown)
        if mute or what == MUTE:
            return None
        if what not in (None, HOLD):
            addresses, status = (), what
        if some:
            first = self.queries.count((kind, name)) * some % len(addresses)
            addresses = (addresses * 2)[first:first + some]
        records, owner = [], b"\xc0\x0c"  # points to the question's name
        if alias:
            target = b"".join(struct.pack("B", len(x)) + x.encode() for x in alias.split("."))
            records.append(_record(owner, CNAME, ttl, target + b"\0"))
            owner = target + b"\0"
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            if kind == (AAAA if family == socket.AF_INET6 else A):
                records.append(_record(owner, kind, ttl, socket.inet_pton(family, address)))
        head = query[:2] + struct.pack(">HHHHH", 0x8180 | status, 1, len(records), 0, 0)
        return head + query[12:] + b"".join(records)


def _read_question(query):
    """(type, name, where it ends)"""
    labels, position = [], 12
    while query[position]:
        end = position + 1 + query[position]
        labels.append(query[position + 1:end].decode().lower())
        position = end
    return struct.unpack_from(">H", query, position + 1)[0], ".".join(labels), position + 5


def _record(owner, kind, ttl, data):
    return owner + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def listeners(*addresses):
    """A bound socket for each address, all with the same port."""
    for _ in range(50):
        sockets, port = [], free_port()
        try:
            for address in addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                sockets.append(socket.socket(family))
                sockets[-1].bind((address, port))
            return sockets
        except OSError:
            for sock in sockets:
                sock.close()
    raise Failure("no port that is free on all of " + ", ".join(addresses))


def upstreams(t, *addresses, kind=ScriptedUpstream, script=answer_lines):
    """Scripted upstreams on several addresses and one port."""
    return [t.own(kind(script, listener=sock)) for sock in listeners(*addresses)]


def start_named(t, dns, port, *, scheme="tcp", main=None, name=NAME, **options):
    """kaproxy with an upstream that has a name."""
    if scheme == "http":
        options.setdefault("reuse", None)
    return t.kaproxy(f"{scheme}://{name}:{port}", main={"resolver": dns.resolver, **(main or {})},
                     **options)


def use(kaproxy, listener="main"):
    """One client, from accept to close."""
    client = kaproxy.connect(listener)
    client.ask(b"x")
    client.end()


def count_gone(kaproxy):
    """Connections that were closed because their name no longer had their address."""
    return kaproxy.counters()["discard_address_gone"]


def wait_closed(connection):
    wait_until(lambda: connection.socket.fileno() == -1, "the end of a connection")
