# SPDX-License-Identifier: ISC
"""Clients and upstreams that know what each other should say, with a kaproxy between them."""

import contextlib
import os
import random
import subprocess

from .tap import LONG, SLOW, Failure, spawn, wait_until
from .tls import handshakes, settings

PROGRAM = os.path.join(os.environ.get("builddir", "build"), "tests/support/crosstalk/crosstalk")
SEED = int(os.environ.get("KAPROXY_SEED") or random.randrange(1 << 32))
CLIENTS = 32


class Crosstalk:
    """Clients and upstream in one process: tests/support/crosstalk/crosstalk.c."""

    def __init__(self, exchanges, *options, certificate=None):
        tls = ["--tls", certificate.file, certificate.key] if certificate else []
        self.process = spawn(
            [PROGRAM, *tls, str(CLIENTS), str(exchanges), str(SEED), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = self.process.stdout.readline().split()[1]
        self.endpoint = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"

    def run(self, port):
        """Does the exchanges: their outcomes, and further counts."""
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


def exchange(t, exchanges, pool, options=(), certificate=None, wrap=(),
             during=contextlib.nullcontext, **listener):
    """Runs this many exchanges (a tenth if everything is slow, twenty times as many in a long run):
    how many they were, and the counts, with the bytes that were spliced. With the upstream's
    certificate, over https; `during` makes a context for them from the kaproxy."""
    print(f"# KAPROXY_SEED={SEED}", flush=True)
    exchanges = exchanges * (20 if LONG else 1) // (10 if SLOW else 1)
    crosstalk = t.own(Crosstalk(exchanges, *options, certificate=certificate))
    pool = {"keep_alive": "500ms", "max_waiting": 4096, **pool}
    if certificate:
        listener = settings(**listener)
    kaproxy = t.kaproxy(crosstalk.endpoint, reuse=None, pool=pool, listener=listener,
                        main={"log_level": "notice"}, wrap=wrap)
    before = kaproxy.descriptors()
    with during(kaproxy):
        outcomes, further = crosstalk.run(kaproxy.address()[1])
    print("#", outcomes, further, flush=True)
    t.equal(sum(outcomes.values()), exchanges, "exchanges accounted for")
    wait_until(lambda: kaproxy.descriptors() - 2 * kaproxy.pipes()["pipes_idle"] <= before,
               "all descriptors to be closed, but for idle pipes")
    further["spliced"] = kaproxy.pipes()["spliced"]
    if certificate:
        full, resumed, failed = handshakes(kaproxy)
        print(f"# handshakes: {full} full, {resumed} resumed, {failed} failed", flush=True)
        t.at_least(resumed, 1, "resumed sessions")
    kaproxy.stop()
    return exchanges, outcomes, further


def mostly_whole(t, exchanges, outcomes, further):
    """Tricks and whims leave most exchanges alone."""
    t.at_least(outcomes["whole"], exchanges * 6 // 10, "complete responses")
    t.at_most(further["stale"], exchanges // 10, "requests that a stale connection took")
