#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: with reuse = never redis-benchmark's clients never share a connection."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, main, test
from kaptest.peers import Redis, redis_benchmark

CLIENTS = 2000 if SLOW else 20000
SPARES = 4


@test("redis-benchmark -k 0 with a new, preconnected connection for every client")
def never(t):
    redis = t.own(Redis(t))
    before = redis.connections()
    kaproxy = t.kaproxy(redis.endpoint, reuse="never",
                        pool={"max_per_host": 4, "min_idle": SPARES})
    redis_benchmark(t, kaproxy, CLIENTS)

    kaproxy.wait_sessions(CLIENTS)
    kaproxy.stop()
    served = [s for s in kaproxy.sessions() if s["from_cache"] != "-"]
    made = redis.connections() - before
    t.at_least(made, len(served), "connections redis-server received")
    t.at_most(made, len(served) + 2 * SPARES, "connections redis-server received")
    t.check(all(s["from_cache"] != "deferred" for s in served), "a used connection was handed on")


main()
