#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a redis-server stopped or killed under load leaves no client hanging."""

import collections
import signal
import sys
import threading
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Failure, WAIT_MAX, connect, main, test, wait_until
from kaptest.peers import Redis

TIMEOUT = 1.0
POOL = {"timeout": "1s", "connect_timeout": "1s", "max_per_host": 4}


class Load:
    """Twelve one-shot clients at a time, over and over; counts how they end."""

    def __init__(self, kaproxy):
        self.kaproxy = kaproxy
        self.ends = collections.Counter()
        self.slowest = 0.0
        self.wrong = []
        self.stopping = False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(12)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self.stopping:
            started = time.monotonic()
            client = None
            try:
                client = connect(self.kaproxy.address())
                client.send(b"PING\r\n")
                data = client.receive()
                kind = "eof" if not data else "answer"
                if data not in (b"", b"+PONG\r\n"):
                    self.wrong.append(data)
            except (ConnectionResetError, BrokenPipeError):
                kind = "reset"
            except Failure:
                kind = "nothing"
            if client:
                client.close()
            with self.lock:
                self.ends[kind] += 1
                self.slowest = max(self.slowest, time.monotonic() - started)

    def wait_more(self, kind, count):
        enough = self.ends[kind] + count
        wait_until(lambda: self.ends[kind] >= enough, f"{count} more clients that end with {kind}")

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(WAIT_MAX)


def start(t):
    redis = t.own(Redis(t))
    kaproxy = t.kaproxy(redis.endpoint, pool=POOL, listener={"idle_timeout": "1s"},
                        main={"log_level": "notice"})
    before = kaproxy.descriptors()
    load = Load(kaproxy)
    t.callback(load.stop)
    load.wait_more("answer", 100)
    return redis, kaproxy, load, before


def check_end(t, kaproxy, load, before):
    load.stop()
    t.equal(load.wrong, [], "wrong replies")
    t.equal(load.ends["nothing"], 0, "clients that got neither a reply nor an end")
    t.at_most(load.slowest, TIMEOUT + 2 * TIMEOUT + 5, "seconds of the slowest client")
    wait_until(lambda: kaproxy.descriptors() <= before + POOL["max_per_host"],
               "the descriptors to be returned")


@test("kill -STOP, then -CONT")
def stopped(t):
    redis, kaproxy, load, before = start(t)
    redis.signal(signal.SIGSTOP)
    try:
        load.wait_more("reset", 24)
    finally:
        redis.signal(signal.SIGCONT)
    load.wait_more("answer", 200)
    check_end(t, kaproxy, load, before)


@test("kill -9, then a new redis-server on the same port")
def killed(t):
    redis, kaproxy, load, before = start(t)
    redis.signal(signal.SIGKILL)
    redis.wait_exit()
    load.wait_more("reset", 50)
    t.own(Redis(t, redis.port))
    load.wait_more("answer", 200)
    check_end(t, kaproxy, load, before)


main()
