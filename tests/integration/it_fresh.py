#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a reuse = never listener gets no used connection from another listener."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test


@test("quiet and never on one endpoint and in one pool")
def mixed(t):
    upstream = t.upstream(answer_lines)
    more = {"listener never": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                               "reuse": "never"}}
    kaproxy = t.kaproxy(upstream.endpoint, more=more, pool={"max_per_host": 2})

    def use(listener):
        client = kaproxy.connect(listener)
        number = int(client.ask(b"x").split()[0])
        t.equal(client.end(), "eof", "end")
        return number

    t.equal([use("main"), use("main")], [1, 1], "quiet before")
    t.equal([use("never"), use("never")], [2, 3], "never")
    t.equal(use("main"), 1, "quiet after")


@test("a never client waits rather than take what a quiet one releases")
def full(t):
    upstream = t.upstream(answer_lines)
    more = {"listener never": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                               "reuse": "never"}}
    kaproxy = t.kaproxy(upstream.endpoint, more=more, pool={"max_per_host": 1, "timeout": "10s"})
    quiet = kaproxy.connect()
    t.equal(quiet.ask(b"a"), b"1 a", "response of the quiet client")
    never = kaproxy.connect("never")
    never.send(b"b\n")
    t.check(never.is_silent(0.1), "the never client was served beyond the limit")
    t.equal(quiet.end(), "eof", "end of the quiet client")
    t.equal(never.read_line(), b"2 b", "response of the never client")
    never.end()


main()
