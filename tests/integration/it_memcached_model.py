#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: whatever 32 clients of memcached do at random, in text, meta and binary, and
whatever happens to their connections, none gets another's reply or a stale one, and nothing is done
twice."""

import random
import re
import sys
import types

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import connect, main, test, wait_until
from kaptest.cutter import Cutter
from kaptest.memcached_model import CLIENTS, MemcachedUser
from kaptest.memcached_peers import MemcachedServer, read_until, start, store
from kaptest.model import SEED, Run, batches

MAX = 4  # connections


def model(t, count, calm, **server):
    peer = t.own(MemcachedServer(t, threads=4, memory=256, **server))
    upstream = peer
    if not calm:
        upstream = t.own(Cutter(peer.address, "memcached"))
    directly = t.own(connect(peer.address))
    for number in range(CLIENTS):
        directly.send(store(b"log:%d" % number, b""))
        t.equal(directly.read_line(), b"STORED\r", "an empty log")
    kaproxy = start(t, upstream, pool={"max_per_host": MAX, "max_waiting": 4096},
                    main={"access_log": "off", "log_level": "notice", "shutdown_timeout": 3})
    before = kaproxy.descriptors()
    # Over TLS memcached 1.6.18 itself forgets commands that share a record with a large value.
    world = types.SimpleNamespace(kaproxy=kaproxy, calm=calm, big=1000 if peer.tls else 200_000)
    run = Run(batches(count))
    users = [MemcachedUser(number, world, run) for number in range(CLIENTS)]
    choice = random.Random(SEED)

    def cut(run):
        run.wait_batches(choice.randrange(20, 100))
        run.count("cut", upstream.cut(choice.choice([0.3, 1.0])))

    run.go(users, [] if calm else [cut])
    check_store(t, directly, users)
    wait_until(lambda: kaproxy.descriptors() - 2 * kaproxy.pipes()["pipes_idle"]
               - kaproxy.counters()["idle"] <= before,
               "all descriptors to be closed, but for idle connections and pipes")
    t.at_most(kaproxy.counters()["idle"], MAX, "idle connections")
    kaproxy.stop()
    return run


def check_store(t, directly, users):
    """Nothing was done twice, and nothing that was acknowledged is missing."""
    directly.send(b"get place\r\n")
    t.equal(directly.read_line(), b"END\r", "what only a rejected value would store")
    for user in users:
        directly.send(b"get log:%d\r\n" % user.number)
        there = re.findall(rb"<[\d.]+>", read_until(directly, b"\r\nEND\r\n"))
        t.equal(len(there), len(set(there)), f"what client {user.number} appended, once each")
        acknowledged = {token for token, done in user.log if done}
        t.equal(acknowledged - set(there), set(), "what was acknowledged and is missing")


@test("32 clients, undisturbed: no error at all [F1, M1, M2, M5]")
def calm_model(t):
    run = model(t, 2500, True)
    t.equal(run.counts["whole"], run.total, "complete batches")


@test("the same, with connections that break anywhere [F2, F4, F5, M1 to M3]")
def stormy_model(t):
    run = model(t, 5000, False)
    t.at_least(run.counts["whole"], run.total // 2, "complete batches")


@test("the same, undisturbed, over TLS [F1, M1, M2]")
def tls_model(t):
    model(t, 1000, True, tls=True)


main()
