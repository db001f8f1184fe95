#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: with max_waiting clients in the queue one more is reset at once."""

import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test


@test("one served, two waiting, the next refused; the waiting ones are served in order")
def max_waiting(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint,
                        pool={"max_per_host": 1, "max_waiting": 2, "timeout": "60s"})
    busy = kaproxy.connect()
    t.equal(busy.ask(b"a"), b"1 a", "response")
    waiting = [kaproxy.connect(), kaproxy.connect()]
    for client in waiting:
        client.send(b"b\n")
    started = time.monotonic()
    refused = kaproxy.connect()
    t.equal(refused.read_end(), (b"", "reset"), "what one too many saw")
    t.at_most(time.monotonic() - started, 10, "seconds until the reset")
    session = kaproxy.wait_sessions(1)[0]
    t.equal((session["function"], session["errno"], session["error"]),
            ("allocate", "11", "too many waiting (max_waiting = 2)"), "access-log line")
    t.equal(len(kaproxy.wait_log("main.*too many waiting")), 1, "log lines")

    t.equal(busy.end(), "eof", "end of the first")
    t.equal(waiting[0].read_line(), b"1 b", "response of the second")
    t.check(waiting[1].is_silent(0.1), "the third was served together with the second")
    t.equal(waiting[0].end(), "eof", "end of the second")
    t.equal(waiting[1].read_line(), b"1 b", "response of the third")
    t.equal(waiting[1].end(), "eof", "end of the third")
    t.equal([s["from_cache"] for s in kaproxy.wait_sessions(4)[1:]],
            ["none", "deferred", "deferred"], "from_cache")


main()
