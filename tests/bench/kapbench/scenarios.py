# SPDX-License-Identifier: ISC
"""What is measured: a load, a scheme, and who takes part."""

import dataclasses
import itertools
import pathlib
import resource
import socket
import sys
import time

from .loads import Beside, Bulk, KeepAlive, OneShot, Redis, RedisBulk, RedisLogins, Scraped
from .proxies import MANY, PIPE, Floor, Haproxy, Kaproxy, Nginx, Setting, Twemproxy
from .rig import Broken, Missing, Process, free_port, need

DIRECT = "direct"
FLOOR_REQUEST = ("GET {} HTTP/1.1\\r\\nHost: 127.0.0.1:{}\\r\\nUser-Agent: ApacheBench/2.3\\r\\n"
                 "Accept: */*\\r\\n\\r\\n")
CLIENTS = 16
IDLE_CLIENTS = 5000
FLOWS = 24  # of bulk, during a small exchange


@dataclasses.dataclass
class Scenario:
    name: str
    title: str
    scheme: str
    load: object
    proxies: tuple
    max_connections: int = MANY
    once: bool = False  # the floor serves clients that send one request
    bulk: bool = False
    upstream: object = None  # starts its own, in a folder
    log: bool = False  # an access log to a file
    unit: str = "exchange"
    direct_share: float = 1.0  # of the load, for clients that connect directly
    thread: str = ""  # only this one's work is counted; "": all threads

    @property
    def small(self):
        """An exchange whose instructions are worth counting; bodies have another cost."""
        return not self.bulk and not self.thread

    @property
    def tools(self):
        tools = {"redis-server"} if self.upstream not in (None, chunks) else set()
        return {self.load.program, *tools}

    @property
    def beside(self):
        return isinstance(self.load, Beside)

    def setting(self, upstream, authority, side=None):
        once = FLOOR_REQUEST.format(self.load.target, upstream) if self.once else None
        return Setting(self.scheme, upstream, authority, once, self.max_connections, self.bulk, side,
                       self.log)


@dataclasses.dataclass
class IdleScenario:
    """Memory for each client that was served and is idle."""

    name: str
    title: str
    scheme: str
    proxies: tuple
    clients: int = IDLE_CLIENTS
    request: bytes = b"GET /1k HTTP/1.1\r\nHost: bench\r\n\r\n"
    answer: bytes = b"x" * 1024  # how it ends
    max_connections: int = MANY
    upstream: object = None  # starts its own, in a folder

    @property
    def tools(self):
        return {"redis-server"} if self.upstream else set()


class Idle:
    """Clients that send one request each, one after the other, and then stay idle."""

    def __init__(self, port, scenario):
        self.port = port
        self.request, self.answer = scenario.request, scenario.answer
        self.sockets = []

    def grow(self, count):
        for _ in range(count):
            peer = socket.create_connection(("127.0.0.1", self.port), timeout=20)
            self.sockets.append(peer)
            peer.sendall(self.request)
            answer = b""
            while not answer.endswith(self.answer):
                more = peer.recv(65536)
                if not more:
                    raise Broken(f"client {len(self.sockets)} got {answer[:100]!r} only")
                answer += more

    def close(self):
        for peer in self.sockets:
            peer.close()


def measure_idle(process, scenario):
    """Bytes of the proxy's memory for each of the scenario's idle clients."""
    clients = Idle(process.port, scenario)
    try:
        clients.grow(20)  # what is allocated once, for the first clients
        time.sleep(0.5)
        before = process.pss()
        clients.grow(scenario.clients)
        time.sleep(1.5)  # buffers that are freed a little later
        return (process.pss() - before) / scenario.clients
    finally:
        clients.close()


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 2 * IDLE_CLIENTS + 1000:
        raise Missing(f"only {hard} descriptors are permitted (ulimit -n); the bench needs "
                      f"{2 * IDLE_CLIENTS + 1000}")


def redis(folder, *options):
    port = free_port()
    return Process([need("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "",
                    "--appendonly", "no", "--daemonize", "no", "--tcp-backlog", "4096", "--dir",
                    folder, *options], port, folder)


def redis_with(name, size):
    """One that has a large value."""
    def start(folder):
        process = redis(folder)
        with socket.create_connection(("127.0.0.1", process.port), timeout=20) as peer:
            peer.sendall(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n" % (len(name), name, size)
                         + bytes(size) + b"\r\n")
            if peer.recv(5) != b"+OK\r\n":
                raise Broken("redis-server did not take a value")
        return process
    return start


def redis_for(logins):
    """One with a password, which the load knows."""
    def start(folder):
        process = redis(folder, "--requirepass", RedisLogins.PASSWORD)
        logins.upstream = process.port
        return process
    return start


def chunks(folder):
    port = free_port()
    return Process([sys.executable, pathlib.Path(__file__).parent / "chunks.py", port], port, folder)


def redis_scenarios():
    """Of redis://, next to those that can do the same."""
    logins, size = RedisLogins(10000, CLIENTS), 100_000_000
    twemproxy = Twemproxy.where_there()
    return [
        Scenario("redis-oneshot", "redis-benchmark -k 0 -t get, redis", "redis",
                 Redis(15000, CLIENTS, "get"),
                 (Haproxy(), *twemproxy, Kaproxy(opaque=True), Kaproxy()), upstream=redis),
        Scenario("redis-pipeline", "redis-benchmark -k 1 -P 16 -t get, redis", "redis",
                 Redis(400000, CLIENTS, "get", kept=True, pipeline=16),
                 (Haproxy(), *twemproxy, Kaproxy(opaque=True), Kaproxy()), upstream=redis),
        # HAProxy has a connection for each client, and twemproxy does not know SELECT.
        Scenario("redis-logins", "one-shot AUTH, SELECT and GET, two databases, redis", "redis",
                 logins, (Haproxy(), Kaproxy()), max_connections=4, upstream=redis_for(logins)),
        Scenario("100m-down-redis", "100 MB down, redis", "redis", RedisBulk(5, size),
                 (Haproxy(), Haproxy(splice=True), *twemproxy, Kaproxy()), bulk=True, unit="GB",
                 upstream=redis_with(b"large", size)),
        IdleScenario("idle-redis", "1000 idle clients that logged in, 4 connections, redis", "redis",
                     (Kaproxy(),), 1000, b"AUTH open\r\nSELECT 1\r\nGET none\r\n", b"$-1\r\n", 4,
                     redis_for(logins)),
    ]


def scenarios(folder):
    """All of them; big bodies are files of the folder."""
    http = (Floor(), Haproxy(), Nginx(), Kaproxy())
    https = (Haproxy(), Nginx(), Kaproxy())
    spliced = (Haproxy(), Haproxy(splice=True), Haproxy(splice=True, pipe=PIPE), Nginx(), Kaproxy())
    made = [
        Scenario("oneshot-http", "one-shot clients, 1 KB, http", "http",
                 OneShot(20000, CLIENTS), http, once=True),
        Scenario("oneshot-http-log", "one-shot clients, 1 KB, http, with access logs", "http",
                 OneShot(20000, CLIENTS), (Haproxy(), Nginx(), Kaproxy(), Kaproxy(silent=True)),
                 log=True),
        Scenario("oneshot-https", "one-shot clients, 1 KB, https upstream", "https",
                 OneShot(12000, CLIENTS), https, direct_share=0.1),
        Scenario("keepalive-http", "keep-alive clients, 1 KB, http", "http",
                 KeepAlive(2, CLIENTS), http),
        Scenario("keepalive-https", "keep-alive clients, 1 KB, https upstream", "https",
                 KeepAlive(2, CLIENTS), https),
    ]
    for scheme, way in itertools.product(("http", "https", "tcp"), ("down", "up")):
        up = way == "up"
        proxies = https if scheme == "https" else spliced
        made += [
            Scenario(f"100k-{way}-{scheme}", f"100 KB {way}, keep-alive clients, {scheme}", scheme,
                     KeepAlive(1, CLIENTS, "/up" if up else "/100k", 100000 if up else 0), proxies,
                     bulk=True),
            Scenario(f"100m-{way}-{scheme}", f"100 MB {way}, {scheme}", scheme,
                     Bulk(5, folder / "files" / "100m", up), proxies, bulk=True, unit="GB"),
        ]
    for name, scheme, target, body in (
            ("down-tcp", "tcp", "/100m", 0), ("down-http", "http", "/100m", 0),
            ("up-http", "http", "/up", 4000000), ("chunked-http", "http", "/chunked", 0),
            ("down-https", "https", "/100m", 0), ("up-https", "https", "/up", 4000000)):
        made.append(Scenario(
            f"beside-{name}", f"1 KB during {FLOWS} flows, {name.replace('-', ', ')}", scheme,
            Beside(4, FLOWS, target, body), https if scheme == "https" else spliced, bulk=True,
            unit="GB", upstream=chunks if target == "/chunked" else None))
    made += [
        Scenario("scraped-http", "keep-alive clients, 1 KB, http, with a hostile scraper", "http",
                 Scraped(KeepAlive(5, CLIENTS)),
                 (Kaproxy(silent=True), Kaproxy(scraped="other"), Kaproxy(scraped="own")),
                 thread="kaproxy-worker"),
        Scenario("redis-tcp", "redis-benchmark -k 0, tcp, reuse = quiet", "tcp",
                 Redis(15000, CLIENTS), http, upstream=redis),
        *redis_scenarios(),
        Scenario("queue-http", "64 one-shot clients, 4 connections, http", "http",
                 OneShot(20000, 64), (Floor(), Haproxy(), Kaproxy()), max_connections=4, once=True),
        IdleScenario("idle-http", f"{IDLE_CLIENTS} idle keep-alive clients, http", "http",
                     (Haproxy(), Nginx(), Kaproxy())),
        IdleScenario("idle-tcp", f"{IDLE_CLIENTS} idle clients, tcp, with their connections", "tcp",
                     (Haproxy(), Nginx(), Kaproxy())),
    ]
    return made
