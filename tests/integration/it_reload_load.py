#!/usr/bin/env python3
"""Goal of this test: reloads under load cost no client anything, and leave nothing behind."""

import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import LONG, SLOW, answer_lines, connect, main, test
from kaptest.http import HttpUpstream, request, read_response
from kaptest.reload import reload
from kaptest.resp import Client, ScriptedRedis
from kaptest.tls import HttpsUpstream, settings, upstream_context
from kaptest.tls_ca import authority

RELOADS = 200 if LONG else 20
MEMORY = 16 << 20  # bytes, between a tenth of the reloads and the end


class Load:
    """Clients that come one after the other until it is over; `failures` has what went wrong."""

    def __init__(self, t):
        self.over = threading.Event()
        self.served = {}
        self.failures = []
        self.threads = []
        t.callback(self.stop)

    def add(self, name, visit):
        def run():
            while not self.over.is_set():
                try:
                    visit()
                    self.served[name] = self.served.get(name, 0) + 1
                except Exception as why:
                    self.failures.append(f"{name}: {why!r}")
                    return

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def one_shot(address):
    def visit():
        peer = connect(address)
        try:
            peer.send(request(version="1.0"))
            if read_response(peer).status != 200:
                raise AssertionError(f"{peer.received[-700:]}")
        finally:
            peer.close()
    return visit


def kept(address):
    """Connects again when it is told to."""
    peers = []

    def visit():
        if not peers:
            peers.append(connect(address))
        peer = peers[0]
        peer.send(request())
        answer = read_response(peer)
        if answer.status != 200:
            raise AssertionError(f"{peer.received[-700:]}")
        if answer.closes():
            peers.pop().close()
    return visit


def lines(address):
    def visit():
        peer = connect(address)
        try:
            if not peer.ask(b"x").endswith(b" x") or peer.end() != "eof":
                raise AssertionError("no answer")
        finally:
            peer.close()
    return visit


def redis(address):
    peer = Client(connect(address))

    def visit():
        if not peer.ask("GET key").startswith(b"key at "):
            raise AssertionError("no value")
    return visit


def pair(certificate):
    return {"tls_cert_file": certificate.file, "tls_key_file": certificate.key}


def changes(number, endpoint, certificates):
    """What differs from one reload to the next."""
    return {"pool": {"max_per_host": 2 + number % 3, "keep_alive": 1 + number % 2},
            f"pool p{number % 2}": {}, f"pool p{1 - number % 2}": None,
            "listener http": {"pool": f"p{number % 2}", "idle_timeout": 100 + number},
            "listener tls": pair(certificates[number % 2]),
            f"listener extra{number % 2}": {"listen": "127.0.0.1:{port}", "upstream": endpoint},
            f"listener extra{1 - number % 2}": None}


@test("http kept and one-shot, https, tcp and redis, while limits, listeners, pools, certificates change")
def under_load(t):
    plain, far = t.own(HttpUpstream()), t.upstream(answer_lines)
    secure = t.own(HttpsUpstream(context=upstream_context(clients=authority().root)))
    database = t.own(ScriptedRedis())
    certificates = authority().leaf("client one"), authority().leaf("client two")
    here = {"listen": "127.0.0.1:{port}"}
    kaproxy = t.kaproxy(far.endpoint, more={
        "pool p1": {}, "listener http": {**here, "upstream": plain.endpoint, "pool": "p1"},
        "listener extra1": {**here, "upstream": plain.endpoint},
        "listener tls": {**here, "upstream": secure.endpoint, **settings(),
                         **pair(certificates[1])},
        "listener redis": {**here, "upstream": database.endpoint}})
    load = Load(t)
    for _ in range(2):
        load.add("one-shot", one_shot(kaproxy.address("http")))
        load.add("kept", kept(kaproxy.address("http")))
        load.add("tls", one_shot(kaproxy.address("tls")))
        load.add("tcp", lines(kaproxy.address()))
        load.add("redis", redis(kaproxy.address("redis")))
    descriptors = memory = 0
    for number in range(RELOADS):
        reload(kaproxy, changes(number, plain.endpoint, certificates))
        if number < RELOADS // 10:
            descriptors, memory = max(descriptors, kaproxy.descriptors()), kaproxy.private_memory()
    t.check(not load.failures, f"clients that failed: {load.failures}")
    t.equal(len(load.served), 5, "kinds of clients served")
    load.stop()
    t.at_most(kaproxy.descriptors(), descriptors + 8, "descriptors at the end")
    if not SLOW:
        t.at_most(kaproxy.private_memory() - memory, MEMORY, "memory at the end")


main()
