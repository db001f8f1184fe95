#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: no client or upstream ever gets anything of another exchange, or accepts a
part of a response as complete, whatever clients and upstreams do; and nothing is left behind."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.crosstalk import exchange, mostly_whole
from kaptest.peers import need


@test("32 clients, one connection")
def one(t):
    mostly_whole(t, *exchange(t, 10000, {"max_per_host": 1}))


@test("32 clients, four connections")
def four(t):
    mostly_whole(t, *exchange(t, 20000, {"max_per_host": 4}))


@test("32 clients, as many connections as they like")
def many(t):
    mostly_whole(t, *exchange(t, 15000, {"max_per_host": 64}))


@test("large bodies, which go through pipes")
def large(t):
    counts = exchange(t, 2500, {"max_per_host": 8}, ["large"])
    mostly_whole(t, *counts)
    t.at_least(counts[2]["spliced"], 10 << 20, "bytes spliced")


@test("large bodies, and no descriptors to spare for pipes")
def copied(t):
    counts = exchange(t, 2500, {"max_per_host": 8}, ["large"],
                      wrap=[need("prlimit"), "--nofile=512"])
    mostly_whole(t, *counts)
    t.equal(counts[2]["spliced"], 0, "bytes spliced")


@test("timeouts expire everywhere")
def timeouts(t):
    _, outcomes, further = exchange(
        t, 5000, {"max_per_host": 8, "timeout": "200ms", "keep_alive": "20ms"}, ["timeouts"],
        idle_timeout="100ms", header_timeout="50ms")
    t.at_least(outcomes["whole"], 100, "complete responses")
    t.at_least(further["timeouts"], 1, "timeouts")


main()
