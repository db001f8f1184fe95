#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: Keep-Alive: timeout=N ends a connection's stay in the pool after N - 1 s."""

import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import LONG, SLOW, main, test, wait_until
from kaptest.http import HttpUpstream, client, one_shot, response, start
from kaptest.http_peers import Node


def hinting(hint):
    return lambda connection, _: response(b"%d" % connection.number, [("Keep-Alive", hint)])


@test("timeout=2: closed after one second, counted as keep_alive")
def two(t):
    upstream = t.own(HttpUpstream(hinting("timeout=2, max=100")))
    kaproxy = start(t, upstream)
    for _ in range(2):
        t.equal(one_shot(t, kaproxy).body, b"1", "connection")
    started = time.monotonic()
    wait_until(lambda: kaproxy.counters().get("discard_keep_alive") == 1, "the end of its stay")
    stayed = time.monotonic() - started
    t.at_least(stayed, 0.7, "seconds that it stayed")
    t.at_most(stayed, 7, "seconds that it stayed")
    t.equal(one_shot(t, kaproxy).body, b"2", "connection")


@test("timeout=1 and 0: there is no time left to reuse it")
def one(t):
    for hint in "timeout=1", "timeout=0":
        kaproxy = start(t, t.own(HttpUpstream(hinting(hint))))
        t.equal([one_shot(t, kaproxy).body for _ in range(2)], [b"1", b"2"], "connections")
        t.equal(kaproxy.counters().get("discard_not_reusable"), 2, "discarded")


@test("longer than keep_alive, or nonsense: keep_alive applies")
def others(t):
    for hint in "timeout=1000", "timeout=", "timeout=1x", "max=3", "timeout=-1":
        kaproxy = start(t, t.own(HttpUpstream(hinting(hint))))
        t.equal([one_shot(t, kaproxy).body for _ in range(2)], [b"1", b"1"], f"after {hint}")


@test("the hint is not passed on: it is the upstream's word to us")
def not_passed(t):
    kaproxy = start(t, t.own(HttpUpstream(hinting("timeout=5"))))
    t.equal(client(t, kaproxy).ask().get("Keep-Alive"), None, "Keep-Alive")


@test("Node closes after a time that it announces: GET and POST right then never fail")
def node(t):
    """Every interval has its own client, whose upstream connection waits alone. In a long run it is
    Node's own default, and requests around that for two minutes."""
    life = 5.0 if LONG else 2.0
    seconds = 120 if LONG else (8 if SLOW else 5)
    peer = t.own(Node(t, int(life * 1000)))
    names = "before", "at", "after"
    more = {f"pool {name}": {} for name in names} | {
        f"listener {name}": {"listen": "127.0.0.1:{port}", "upstream": peer.endpoint, "pool": name}
        for name in names}
    kaproxy = t.kaproxy(more=more)
    due = dict.fromkeys(names, time.monotonic())
    step = dict(zip(names, (life - 0.1, life, life + 0.1)))
    end, asked = time.monotonic() + seconds, 0
    while (name := min(due, key=due.get)) and due[name] < end:
        time.sleep(max(0, due[name] - time.monotonic()))
        for method in "GET", "POST":
            got = one_shot(t, kaproxy, method, "/", body=b"x" if method == "POST" else None,
                           listener=name)
            t.equal((got.status, got.body.split(b" ", 1)[1]),
                    (200, b"POST x" if method == "POST" else b"GET "), f"{name} {method}")
            asked += 1
        due[name] += step[name]
    t.equal({line["status"] for line in kaproxy.wait_sessions(asked)}, {"200"}, "statuses")


main()
