#!/usr/bin/env python3
"""Goal of this test: with reuse = never redis-benchmark's clients never share a connection."""

import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import SLOW, main, test
from kaptest.peers import Redis, need

CLIENTS = 2000 if SLOW else 20000
SPARES = 4


@test("redis-benchmark -k 0 with a new connection, opened ahead, for every client")
def never(t):
    redis = t.own(Redis(t))
    before = redis.connections()
    kaproxy = t.kaproxy(redis.endpoint, reuse="never",
                        pool={"max_per_host": 4, "min_idle": SPARES})
    done = subprocess.run(
        [need("redis-benchmark"), "-h", "127.0.0.1", "-p", str(kaproxy.address()[1]), "-k", "0",
         "-c", "16", "-n", str(CLIENTS), "-t", "set", "--csv"],
        capture_output=True, text=True, check=False)
    t.equal(done.returncode, 0, "exit status of redis-benchmark " + done.stdout + done.stderr)
    t.check("rror" not in done.stdout + done.stderr, "an error: " + done.stdout + done.stderr)

    kaproxy.wait_sessions(CLIENTS)
    kaproxy.stop()
    served = [s for s in kaproxy.sessions() if s["from_cache"] != "-"]
    made = redis.connections() - before
    t.at_least(made, len(served), "connections redis-server received")
    t.at_most(made, len(served) + 2 * SPARES, "connections redis-server received")
    t.check(all(s["from_cache"] != "deferred" for s in served), "a used connection was handed on")


main()
