#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: preconnecting is tried seldom while the upstream is down, and succeeds when it is up."""

import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ReservedPort, answer_lines, main, test


@test("few attempts while the upstream refuses, connections soon after it is up")
def backoff(t):
    port = t.own(ReservedPort())
    kaproxy = t.kaproxy(port.endpoint, pool={"min_idle": 2})
    time.sleep(2.5)
    dials = kaproxy.counters()["dials"]
    t.at_least(dials, 2, "attempts in 2.5 s")
    t.at_most(dials, 8, "attempts in 2.5 s")
    upstream = t.upstream(answer_lines, listener=port.socket)
    upstream.wait_accepted(2)


@test("an upstream that ends connections unused: few attempts, and the log reports it")
def ends(t):
    upstream = t.upstream(lambda connection: connection.fin())
    kaproxy = t.kaproxy(upstream.endpoint, pool={"min_idle": 1})
    kaproxy.wait_log("no spare connection: .* function=read errno=0 error=\"upstream_closed\"")
    t.at_most(upstream.accepted, 3, "connections")


@test("a client's own attempt is not delayed by the back-off")
def client_meanwhile(t):
    port = t.own(ReservedPort())
    kaproxy = t.kaproxy(port.endpoint, pool={"min_idle": 1})
    t.equal(kaproxy.connect().read_end(), (b"", "reset"), "the client while it is down")
    upstream = t.upstream(answer_lines, listener=port.socket)
    client = kaproxy.connect()
    t.check(client.ask(b"a").endswith(b" a"), "the client was not served")
    client.end()
    t.at_least(upstream.accepted, 1, "connections")


main()
