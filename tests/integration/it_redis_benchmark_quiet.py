#!/usr/bin/env python3
"""Goal of this test: 20000 one-shot clients of redis-benchmark need four upstream connections."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, main, test
from kaptest.peers import Redis, redis_benchmark

CLIENTS = 2000 if SLOW else 20000


@test("redis-benchmark -k 0 through four kept connections")
def quiet(t):
    redis = t.own(Redis(t))
    kaproxy = t.kaproxy(redis.endpoint, pool={"max_per_host": 4})
    before = redis.connections()
    redis_benchmark(t, kaproxy, CLIENTS)

    sessions = kaproxy.wait_sessions(CLIENTS)
    t.at_most(redis.connections() - before, 4, "connections redis-server received")
    # In the end redis-benchmark leaves clients behind that it has no request for.
    served = [s for s in sessions if s["bytes_up"] != "0"]
    t.at_least(len(served), CLIENTS, "sessions with a request")
    t.equal({s["end"] for s in served}, {"complete"}, "ends of sessions")
    t.check({s["end"] for s in sessions} <= {"complete", "client_left"}, "other ends")
    kinds = {s["from_cache"] for s in sessions}
    t.check(kinds >= {"immediate", "deferred"}, f"from_cache has only {kinds}")


main()
