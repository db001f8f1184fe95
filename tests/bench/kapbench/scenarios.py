"""What is measured: a load, a scheme, and who takes part."""

import dataclasses
import itertools
import pathlib
import resource
import socket
import sys
import time

from .loads import Beside, Bulk, KeepAlive, OneShot, Redis
from .proxies import MANY, PIPE, Floor, Haproxy, Kaproxy, Nginx, Setting
from .rig import Broken, Missing, Process, free_port, need

DIRECT = "direct"
FLOOR_REQUEST = ("GET {} HTTP/1.1\\r\\nHost: 127.0.0.1:{}\\r\\nUser-Agent: ApacheBench/2.3\\r\\n"
                 "Accept: */*\\r\\n\\r\\n")
CLIENTS = 16
IDLE_CLIENTS = 5000
FLOWS = 24  # of bulk, beside a small exchange


@dataclasses.dataclass
class Scenario:
    name: str
    title: str
    scheme: str
    load: object
    proxies: tuple
    max_connections: int = MANY
    once: bool = False  # the floor answers clients that send one request
    bulk: bool = False
    upstream: object = None  # starts one of its own, in a folder
    log: bool = False  # an access log to a file
    unit: str = "exchange"
    direct_share: float = 1.0  # of the load, for clients that go directly

    @property
    def small(self):
        """An exchange that is worth counting its instructions; bodies cost something else."""
        return not self.bulk

    @property
    def tools(self):
        return {self.load.program, "redis-server"} if self.upstream is redis else {
            self.load.program}

    @property
    def beside(self):
        return isinstance(self.load, Beside)

    def setting(self, upstream, authority, side=None):
        once = FLOOR_REQUEST.format(self.load.target, upstream) if self.once else None
        return Setting(self.scheme, upstream, authority, once, self.max_connections, self.bulk, side,
                       self.log)


@dataclasses.dataclass
class IdleScenario:
    """Memory for each client that has had an answer and rests."""

    name: str
    title: str
    scheme: str
    proxies: tuple
    tools = frozenset()


class Idle:
    """Clients that ask once, one after the other, and then rest."""

    REQUEST = b"GET /1k HTTP/1.1\r\nHost: bench\r\n\r\n"

    def __init__(self, port):
        self.port = port
        self.sockets = []

    def grow(self, count):
        for _ in range(count):
            peer = socket.create_connection(("127.0.0.1", self.port), timeout=20)
            self.sockets.append(peer)
            peer.sendall(self.REQUEST)
            answer = b""
            while len(answer) < 1024 or len(answer.partition(b"\r\n\r\n")[2]) < 1024:
                more = peer.recv(65536)
                if not more:
                    raise Broken(f"client {len(self.sockets)} got {answer[:100]!r} only")
                answer += more

    def close(self):
        for peer in self.sockets:
            peer.close()


def measure_idle(process, count):
    """Bytes of the proxy's memory for each of so many resting clients."""
    clients = Idle(process.port)
    try:
        clients.grow(20)  # what is made once, for the first clients
        time.sleep(0.5)
        before = process.pss()
        clients.grow(count)
        time.sleep(1.5)  # buffers that are freed a little later
        return (process.pss() - before) / count
    finally:
        clients.close()


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 2 * IDLE_CLIENTS + 1000:
        raise Missing(f"only {hard} descriptors are permitted (ulimit -n); the bench needs "
                      f"{2 * IDLE_CLIENTS + 1000}")


def redis(folder):
    port = free_port()
    return Process([need("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "",
                    "--appendonly", "no", "--daemonize", "no", "--tcp-backlog", "4096", "--dir",
                    folder], port, folder)


def chunks(folder):
    port = free_port()
    return Process([sys.executable, pathlib.Path(__file__).parent / "chunks.py", port], port, folder)


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
            f"beside-{name}", f"1 KB beside {FLOWS} flows, {name.replace('-', ', ')}", scheme,
            Beside(4, FLOWS, target, body), https if scheme == "https" else spliced, bulk=True,
            unit="GB", upstream=chunks if target == "/chunked" else None))
    made += [
        Scenario("redis-tcp", "redis-benchmark -k 0, tcp, reuse = quiet", "tcp",
                 Redis(15000, CLIENTS), http, upstream=redis),
        Scenario("queue-http", "64 one-shot clients, 4 connections, http", "http",
                 OneShot(20000, 64), (Floor(), Haproxy(), Kaproxy()), max_connections=4, once=True),
        IdleScenario("idle-http", f"{IDLE_CLIENTS} idle keep-alive clients, http", "http",
                     (Haproxy(), Nginx(), Kaproxy())),
        IdleScenario("idle-tcp", f"{IDLE_CLIENTS} idle clients, tcp, with their connections", "tcp",
                     (Haproxy(), Nginx(), Kaproxy())),
    ]
    return made
