#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: 20000 one-shot clients of redis-benchmark need four upstream connections."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, main, test
from kaptest.peers import Redis, redis_benchmark, wait_served

CLIENTS = 2000 if SLOW else 20000


@test("redis-benchmark -k 0 through four kept connections")
def quiet(t):
    redis = t.own(Redis(t))
    kaproxy = t.kaproxy(redis.endpoint, pool={"max_per_host": 4})
    before = redis.connections()
    redis_benchmark(t, kaproxy, CLIENTS)

    served = wait_served(kaproxy, CLIENTS)
    t.at_most(redis.connections() - before, 4, "connections redis-server received")
    t.equal({s["end"] for s in served}, {"complete"}, "ends of sessions")
    sessions = kaproxy.sessions()
    t.check({s["end"] for s in sessions} <= {"complete", "client_left"}, "other ends")
    kinds = {s["from_cache"] for s in sessions}
    t.check(kinds >= {"immediate", "deferred"}, f"from_cache has only {kinds}")


main()
