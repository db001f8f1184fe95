#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: SIGUSR1 writes the counters, and they agree with what happened."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test


@test("counters after three clients and one that is still there")
def counters(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint)
    for _ in range(3):
        client = kaproxy.connect()
        client.ask(b"x")
        client.end()
    held = kaproxy.connect()
    held.ask(b"x")
    values = kaproxy.counters()
    wanted = {"none": 1, "immediate": 3, "deferred": 0, "dials": 1, "released": 3, "busy": 1,
              "idle": 0, "connecting": 0, "waiting": 0, "failures": 0}
    t.equal({key: values.get(key) for key in wanted}, wanted, "counters")
    held.reset()
    kaproxy.wait_sessions(4)
    values = kaproxy.counters()
    t.equal((values["busy"], values["discard_client_abort"]), (0, 1), "counters after a reset")


main()
