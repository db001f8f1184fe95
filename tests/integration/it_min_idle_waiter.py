#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a preconnected connection never takes the place of a waiting client."""

import concurrent.futures
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, answer_lines, main, test


def start(t, **pool):
    upstreams = {"spare": t.upstream(answer_lines), "busy": t.upstream(answer_lines)}
    more = {f"listener {name}": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                                 "reuse": "never"} for name, upstream in upstreams.items()}
    return t.kaproxy(more=more, pool=pool), upstreams


@test("a preconnected connection of one endpoint gives way to a client of another")
def gives_way(t):
    kaproxy, upstreams = start(t, min_idle=1, max_open=1, timeout="10s")
    upstreams["spare"].wait_accepted(1)
    for number in range(5):
        client = kaproxy.connect("busy")
        t.check(client.ask(b"a").endswith(b" a"), f"client {number} was not served")
        t.equal(client.end(), "eof", "end")


@test("freed places go to the queue before connections are opened ahead")
def queue_first(t):
    kaproxy, _ = start(t, min_idle=2, max_open=2, timeout="15s")
    count = 200 if SLOW else 1000

    def one_shot(_):
        client = kaproxy.connect("busy")
        answer = client.ask(b"x")
        end = client.end()
        client.close()
        return answer.endswith(b" x") and end == "eof"

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        t.equal(list(threads.map(one_shot, range(count))).count(True), count, "clients served")


main()
