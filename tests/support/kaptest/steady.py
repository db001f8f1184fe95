# SPDX-License-Identifier: ISC
"""Steady loads: exchanges made so that kaproxy does the same for each of them, however fast or busy
the machine is. For tests that count what an exchange costs.

One exchange follows the other, and each side acts when kaproxy sleeps: upstreams respond then, and
clients connect then. It is stopped while they connect and send, so that it finds a client together
with its request. An epoll_wait that this interrupts is not kaproxy's; it fails with EINTR. How much
of a bulk body kaproxy finds at once still depends on the machine."""

import contextlib
import dataclasses
import os
import signal
import typing

from . import tls
from .channel import connect
from .tap import Failure, Skip, test

BODY = b"x" * 1024
ANSWER = (b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\n"
          b"Content-Type: text/plain\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\r\n" +
          BODY)
REQUEST = (b"GET /1k HTTP/1.%d\r\nHost: 127.0.0.1:8080\r\nUser-Agent: ApacheBench/2.3\r\n"
           b"Accept: */*\r\n\r\n")
GET = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
VALUE = b"$3\r\nxxx\r\n"
MEMCACHED_GET = b"get key\r\n"
MEMCACHED_VALUE = b"VALUE key 0 3\r\nxxx\r\nEND\r\n"
PIPELINE = 16
MB = 1_000_000


# Upstreams


def answer_reads(connection, kaproxy):
    """Whatever is read at once is a request."""
    while connection.receive():
        _wait_asleep(kaproxy)
        connection.send(ANSWER)


def answer_redis(connection, kaproxy):
    """GET and RESET, which arrive as complete commands."""
    while got := connection.receive():
        _wait_asleep(kaproxy)
        connection.send(b"+RESET\r\n" * got.count(b"RESET") + VALUE * got.count(GET))


def answer_memcached(connection, kaproxy):
    """get and version, which arrive as complete commands."""
    while got := connection.receive():
        _wait_asleep(kaproxy)
        connection.send(b"VERSION 1.6.18\r\n" * got.count(b"version") +
                        MEMCACHED_VALUE * got.count(MEMCACHED_GET))


def answer_bulk(connection, _kaproxy):
    """To PUT, when everything has arrived; to GET /N with N MB."""
    while (line := connection.read_line()) is not None:
        method, target = line.split()[:2]
        fields = dict(field.split(b": ", 1) for field in iter(connection.read_line, b"\r"))
        drain(connection, int(fields.get(b"Content-Length", 0)))
        size = int(target[1:]) * MB if method == b"GET" else 0
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        connection.send(bytes(size))


def drain(channel, size):
    """Reads this many bytes, and keeps none."""
    if size > 0:
        size -= len(channel.receive(size))  # what arrived with the header
    buffer = memoryview(bytearray(MB))
    while size > 0:
        got = channel.socket.recv_into(buffer, min(size, MB))
        if got == 0:
            raise Failure(f"the connection ended {size} bytes early")
        size -= got


# Clients


def _wait_asleep(kaproxy):
    while not kaproxy.is_asleep():
        os.sched_yield()


@contextlib.contextmanager
def _stopped(kaproxy):
    _wait_asleep(kaproxy)
    kaproxy.signal(signal.SIGSTOP)
    try:
        while kaproxy.is_asleep():  # it may still see events for that long
            os.sched_yield()
        yield
    finally:
        kaproxy.signal(signal.SIGCONT)


def one_shot(kaproxy, count, at_once=1):
    """Clients that send one request of HTTP/1.0 and read to the end; this many at a time."""
    for _ in range(count // at_once):
        with _stopped(kaproxy):
            clients = [connect(kaproxy.address()) for _ in range(at_once)]
            for client in clients:
                client.send(REQUEST % 0)
        for client in clients:
            got, end = client.read_end()
            if end != "eof" or not got.endswith(b"\r\n\r\n" + BODY):
                raise Failure(f"a client got {got!r} and {end}")
            client.close()


def eight_at_once(kaproxy, count):
    one_shot(kaproxy, count, 8)


def kept(kaproxy, count):
    """One client that sends one request after the other."""
    with contextlib.closing(connect(kaproxy.address())) as client:
        for _ in range(count):
            client.send(REQUEST % 1)
            answer = b""
            while not answer.endswith(b"\r\n\r\n" + BODY):
                answer += client.receive()


def quiet(kaproxy, count, request=REQUEST % 1, answer=ANSWER):
    """Clients that send some bytes, read the reply and leave, each when the next one connects."""
    with contextlib.ExitStack() as last:
        for _ in range(count):
            with _stopped(kaproxy):
                last.close()
                client = connect(kaproxy.address())
                last.callback(client.close)
                client.send(request)
            client.read(len(answer))


def one_get(kaproxy, count):
    quiet(kaproxy, count, GET, VALUE)


def one_memcached_get(kaproxy, count):
    quiet(kaproxy, count, MEMCACHED_GET, MEMCACHED_VALUE)


def kept_gets(kaproxy, count, at_once=1, command=GET, reply=VALUE):
    """One client that sends this many commands at a time."""
    with contextlib.closing(connect(kaproxy.address())) as client:
        for _ in range(count // at_once):
            client.send(command * at_once)
            client.read(len(reply) * at_once)


def pipelined_gets(kaproxy, count):
    kept_gets(kaproxy, count, PIPELINE)


def kept_memcached_gets(kaproxy, count):
    kept_gets(kaproxy, count, 1, MEMCACHED_GET, MEMCACHED_VALUE)


def pipelined_memcached_gets(kaproxy, count):
    kept_gets(kaproxy, count, PIPELINE, MEMCACHED_GET, MEMCACHED_VALUE)


def _bulk(kaproxy, head, up, down):
    with contextlib.closing(connect(kaproxy.address())) as client:
        client.send(head + b"\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % up)
        client.send(bytes(up))
        while client.read_line() != b"\r":
            pass
        drain(client, down)


def bulk_down(kaproxy, count):
    _bulk(kaproxy, b"GET /%d HTTP/1.1" % count, 0, count * MB)


def bulk_up(kaproxy, count):
    _bulk(kaproxy, b"PUT / HTTP/1.1", count * MB, 0)


# Loads


@dataclasses.dataclass
class Load:
    scheme: str
    drive: typing.Callable  # (kaproxy, how many exchanges; with bulk: MB)
    pool: dict = dataclasses.field(default_factory=dict)
    log: bool = False

    @property
    def bulk(self):
        return self.drive in (bulk_down, bulk_up)

    def start(self, t, **options):
        """A kaproxy with its own upstream."""
        options["pool"] = self.pool
        options["main"] = {} if self.log else {"access_log": "off"}
        answers = {"redis": answer_redis, "memcached": answer_memcached}
        answer = answer_bulk if self.bulk else answers.get(self.scheme, answer_reads)

        def script(connection):
            answer(connection, kaproxy)

        upstream = t.own(tls.TlsUpstream(script)) if self.scheme == "https" else t.upstream(script)
        endpoint = f"{self.scheme}://127.0.0.1:{upstream.port}"
        reuse = "quiet" if self.scheme == "tcp" else None
        if self.scheme == "https":
            kaproxy = tls.start(t, endpoint, **options)
        else:
            kaproxy = t.kaproxy(endpoint, reuse=reuse, **options)
        return kaproxy


# "queued": eight clients at a time, and two connections. "logged": one-shot, with an access log.
# "pipelined": each command separately, of sixteen at a time.
LOADS = {
    "one-shot http": Load("http", one_shot),
    "logged http": Load("http", one_shot, log=True),
    "queued http": Load("http", eight_at_once, {"max_per_host": 2}),
    "one-shot https": Load("https", one_shot),
    "kept http": Load("http", kept),
    "kept https": Load("https", kept),
    "one-shot tcp": Load("tcp", quiet),
    "one-shot redis": Load("redis", one_get),
    "kept redis": Load("redis", kept_gets),
    "pipelined redis": Load("redis", pipelined_gets),
    "one-shot memcached": Load("memcached", one_memcached_get),
    "kept memcached": Load("memcached", kept_memcached_gets),
    "pipelined memcached": Load("memcached", pipelined_memcached_gets),
    **{f"{way.__name__.removeprefix('bulk_')} {scheme}": Load(scheme, way)
       for scheme in ("http", "https", "tcp") for way in (bulk_down, bulk_up)},
}


def tests_of(need, cases):
    """Registers {description: function(t)}, or one test that is skipped when need() says so."""
    try:
        need()
    except Skip as why:
        reason = str(why)

        def skip(_t):
            raise Skip(reason)

        cases = {"what exchanges cost": skip}
    for description, function in cases.items():
        test(description)(function)
