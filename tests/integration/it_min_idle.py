#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: min_idle connections are open before a client connects, and after."""

import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test, wait_until


def wait_open(kaproxy, count):
    def open_now():
        counters = kaproxy.counters()
        return sum(counters[state] for state in ("connecting", "busy", "idle"))

    wait_until(lambda: open_now() == count, f"{count} open connections")


@test("opened at start, and each one used is replaced")
def replaced(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, reuse="never",
                        pool={"min_idle": 3, "max_per_host": 8})
    kaproxy.wait_idle(3)
    for _ in range(5):
        client = kaproxy.connect()
        client.ask(b"x")
        client.end()
        t.equal(kaproxy.wait_session(client)["from_cache"], "immediate", "from_cache")
        kaproxy.wait_idle(3)
    upstream.wait_accepted(8)
    t.equal(upstream.accepted, 8, "connections")


@test("while clients hold connections, preconnected ones are kept besides, within max_per_host")
def beside_busy(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"min_idle": 2, "max_per_host": 4})
    wait_open(kaproxy, 2)
    clients = []
    for expected in 3, 4, 4, 4:
        clients.append(kaproxy.connect())
        clients[-1].ask(b"x")
        wait_open(kaproxy, expected)
    t.equal(upstream.accepted, 4, "connections")
    for client in clients:
        t.equal(client.end(), "eof", "end")
    t.equal(upstream.accepted, 4, "connections in the end")


@test("a preconnected connection that the upstream closes is replaced")
def closed_by_upstream(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"min_idle": 1})
    upstream.wait_accepted(1).fin()
    upstream.wait_accepted(2)
    wait_open(kaproxy, 1)


@test("a preconnected connection that grows old is replaced, but not over and over")
def grows_old(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"min_idle": 1, "keep_alive": "300ms"})
    upstream.wait_accepted(3)
    time.sleep(0.6)
    t.at_most(upstream.accepted, 8, "connections")
    wait_open(kaproxy, 1)


main()
