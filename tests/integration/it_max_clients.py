#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: beyond max_clients, clients wait in the backlog until it is their turn."""

import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test


@test("the limit counts all listeners together, and waiting clients are served in the end")
def max_clients(t):
    upstream = t.upstream(answer_lines)
    more = {"listener other": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                               "reuse": "quiet"}}
    kaproxy = t.kaproxy(upstream.endpoint, main={"max_clients": 2}, more=more)
    inside = [kaproxy.connect("main"), kaproxy.connect("other")]
    for client in inside:
        t.check(client.ask(b"a").endswith(b" a"), "a client within the limit was not served")
    outside = [kaproxy.connect("main"), kaproxy.connect("other")]
    for client in outside:
        client.send(b"b\n")
    cpu = kaproxy.cpu_seconds()
    time.sleep(0.5)
    t.at_most(kaproxy.cpu_seconds() - cpu, 0.2, "processor time at the limit")
    t.check(all(client.is_silent(0.01) for client in outside), "one too many was served")
    t.equal([kaproxy.sessions_ended(name) for name in ("main", "other")], [0, 0],
            "sessions that have ended")

    t.equal(inside[0].end(), "eof", "end of the first")
    t.equal(inside[1].end(), "eof", "end of the second")
    for client in outside:
        t.check(client.read_line().endswith(b" b"), "a client that waited was not served")
        t.equal(client.end(), "eof", "end")
    t.equal({s["listener"] for s in kaproxy.wait_sessions(4)}, {"main", "other"}, "listeners")


@test("fifty clients through one place")
def one_place(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, main={"max_clients": 1})
    clients = [kaproxy.connect() for _ in range(50)]
    for client in clients:
        client.send(b"x\n")
        client.fin()
    for client in clients:
        data, end = client.read_end()
        t.check(data.endswith(b" x\n") and end == "eof", f"a client got {data!r}, {end}")


main()
