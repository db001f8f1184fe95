#!/usr/bin/env python3
"""Goal of this test: nobody ever gets anything of somebody else's exchange, or takes a part of an
answer for the whole, whatever clients and upstreams do; and nothing of it all stays behind."""

import os
import random
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import SLOW, Failure, main, test, wait_until

PROGRAM = os.path.join(os.environ.get("builddir", "build"), "tests", "crosstalk")
SEED = int(os.environ.get("KAPROXY_SEED") or random.randrange(1 << 32))
CLIENTS = 32


class Crosstalk:
    """Clients and upstream in one process: tests/crosstalk.c."""

    def __init__(self, exchanges, *options):
        self.process = subprocess.Popen(
            [PROGRAM, str(CLIENTS), str(exchanges), str(SEED), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = "http://127.0.0.1:" + self.process.stdout.readline().split()[1]

    def run(self, port):
        """Does the exchanges: what became of them, and further counts."""
        self.process.stdin.write(f"{port}\n")
        self.process.stdin.flush()
        wrong, counts = [], {}
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word not in ("done", "further"):
                wrong.append(rest)
                continue
            counts[word] = {k: int(v) for k, v in (x.split("=") for x in rest.split())}
            if word == "further":
                break
        if wrong or len(counts) < 2 or counts["further"]["complaints"] > 0:
            raise Failure("\n# ".join([f"with seed {SEED}:"] + wrong))
        return counts["done"], counts["further"]

    def close(self):
        self.process.kill()
        self.process.communicate()


def exchange(t, exchanges, pool, options=(), **listener):
    """Runs so many exchanges (a tenth where all is slow): how many they were, and the counts."""
    print(f"# KAPROXY_SEED={SEED}", flush=True)
    exchanges //= 10 if SLOW else 1
    crosstalk = t.own(Crosstalk(exchanges, *options))
    pool = {"keep_alive": "500ms", "max_waiting": 4096, **pool}
    kaproxy = t.kaproxy(crosstalk.endpoint, reuse=None, pool=pool, listener=listener,
                        main={"log_level": "notice"})
    before = kaproxy.descriptors()
    outcomes, further = crosstalk.run(kaproxy.address()[1])
    print("#", outcomes, further, flush=True)
    t.equal(sum(outcomes.values()), exchanges, "exchanges accounted for")
    wait_until(lambda: kaproxy.descriptors() <= before, "all descriptors to be closed")
    kaproxy.stop()
    return exchanges, outcomes, further


def mostly_whole(t, exchanges, outcomes, further):
    """Tricks and whims leave most exchanges alone."""
    t.at_least(outcomes["whole"], exchanges * 6 // 10, "whole answers")
    t.at_most(further["stale"], exchanges // 10, "requests that a stale connection took")


@test("32 clients, one connection")
def one(t):
    mostly_whole(t, *exchange(t, 10000, {"max_per_host": 1}))


@test("32 clients, four connections")
def four(t):
    mostly_whole(t, *exchange(t, 20000, {"max_per_host": 4}))


@test("32 clients, as many connections as they like")
def many(t):
    mostly_whole(t, *exchange(t, 15000, {"max_per_host": 64}))


@test("timeouts strike everywhere")
def timeouts(t):
    _, outcomes, further = exchange(
        t, 5000, {"max_per_host": 8, "timeout": "200ms", "keep_alive": "20ms"}, ["timeouts"],
        idle_timeout="100ms", header_timeout="50ms")
    t.at_least(outcomes["whole"], 100, "whole answers")
    t.at_least(further["timeouts"], 1, "timeouts")


main()
