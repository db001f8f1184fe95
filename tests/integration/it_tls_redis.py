#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: one-shot clients reach redis-server over TLS on four kept connections."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, main, test
from kaptest.http_peers import run
from kaptest.peers import redis_benchmark, wait_served
from kaptest.tls import handshakes, start
from kaptest.tls_peers import TlsRedis

CLIENTS = 1000 if SLOW else 10000


@test("redis-benchmark -k 0: four connections, and as many handshakes")
def benchmark(t):
    redis = t.own(TlsRedis(t))
    kaproxy = start(t, redis, pool={"max_per_host": 4})
    before = redis.connections()
    redis_benchmark(t, kaproxy, CLIENTS)
    t.equal({s["end"] for s in wait_served(kaproxy, CLIENTS)}, {"complete"}, "ends of sessions")
    t.at_most(redis.connections() - before, 4, "connections redis-server received")
    full, resumed, failed = handshakes(kaproxy)
    t.at_most(full + resumed, 4, "handshakes")
    t.equal(failed, 0, "handshakes that failed")


@test("redis-cli: what one client stores the next one gets, large values as well")
def cli(t):
    redis = t.own(TlsRedis(t))
    kaproxy = start(t, redis)
    before = redis.connections()
    address = ["-h", "127.0.0.1", "-p", kaproxy.address()[1]]
    for size in 1, 20_000, 3_000_000:
        value = b"v" * size
        t.equal(run(t, "redis-cli", *address, "-x", "SET", "key", stdin=value)[0], b"OK\n", "SET")
        t.equal(run(t, "redis-cli", *address, "GET", "key")[0], value + b"\n", "GET")
    t.equal(redis.connections() - before, 1, "connections redis-server received")


main()
