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


class Dnsmasq(Peer):
    """Knows the names of set() and no others. It reads them anew within the call."""

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
        """What a name stands for from now on; nothing: there is no such name."""
        reads = self._output().count(f"read {self.hosts}")
        replaced = self.hosts.with_suffix(".new")
        replaced.write_text("".join(f"{address} {name}\n" for address in addresses))
        os.replace(replaced, self.hosts)
        self.signal(signal.SIGHUP)
        wait_until(lambda: self._output().count(f"read {self.hosts}") > reads,
                   "dnsmasq to read its names")


class ScriptedDns:
    """Answers with what set() said last; other names do not exist."""

    def __init__(self):
        self.asked = []  # names, once for each query of an A record
        self._names = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.resolver = "127.0.0.1:{}".format(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def set(self, name, *addresses, ttl=1, alias=None, status=0, mute=False):
        """The answer from now on: addresses, through an alias if there is one; or a status; or
        (mute) none at all."""
        self._names[name] = (addresses, ttl, alias, status, mute)

    def count(self, name):
        return self.asked.count(name)

    def close(self):
        self._socket.sendto(b"", self._socket.getsockname())  # the end, for the thread
        self._thread.join()
        self._socket.close()

    def _serve(self):
        while True:
            query, sender = self._socket.recvfrom(4096)
            if not query:
                return
            reply = self._answer(query)
            if reply:
                self._socket.sendto(reply, sender)

    def _answer(self, query):
        labels, position = [], 12
        while query[position]:
            end = position + 1 + query[position]
            labels.append(query[position + 1:end].decode().lower())
            position = end
        kind = struct.unpack_from(">H", query, position + 1)[0]
        name = ".".join(labels)
        if kind == A:
            self.asked.append(name)
        unknown = ((), 1, None, NXDOMAIN, False)
        addresses, ttl, alias, status, mute = self._names.get(name, unknown)
        if mute:
            return None
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
        return head + query[12:position + 5] + b"".join(records)


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
