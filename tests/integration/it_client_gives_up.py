#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a client that leaves the queue delays no other, and its bytes go nowhere."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Blackhole, answer_lines, main, test


@test("a reset while waiting takes the client out of the queue")
def reset_in_queue(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"max_per_host": 1})
    busy = kaproxy.connect()
    t.equal(busy.ask(b"a"), b"1 a", "response")
    leaver, waiter = kaproxy.connect(), kaproxy.connect()
    leaver.send(b"unwanted\n")
    waiter.send(b"c\n")
    t.check(leaver.is_silent(0.1), "a waiting client got something")
    leaver.reset()
    line = kaproxy.wait_sessions(1)[0]
    t.equal((line["end"], line["from_cache"], line["conn"], line["uses"], line["addr"]),
            ("client_left", "-", "-", "-", "-"), "access-log line")
    t.at_least(float(line["wait_ms"]), 90, "wait_ms")
    busy.end()
    t.equal(waiter.read_line(), b"1 c", "the waiter's response")
    t.equal(waiter.end(), "eof", "end")
    t.equal(bytes(upstream.connections[0].received), b"a\nc\n", "what the upstream got")


@test("a client that leaves during a connect leaves no descriptor behind")
def during_connect(t):
    kaproxy = t.kaproxy(t.own(Blackhole()).endpoint)
    before = kaproxy.descriptors()
    clients = [kaproxy.connect() for _ in range(10)]
    clients[0].send(b"x\n")
    t.check(clients[9].is_silent(0.2), "a client got something")
    for client in clients[:5]:
        client.reset()
    for client in clients[5:]:
        client.close()
    for line in kaproxy.wait_sessions(10):
        t.at_least(float(line["wait_ms"]), 190, "wait_ms")
    t.at_most(kaproxy.descriptors(), before, "descriptors")


main()
