#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the descriptor limit is raised; if that is not enough, fewer clients are
accepted, so that there are descriptors left to reach the upstream."""

import pathlib
import re
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Kaproxy, WAIT_MAX, answer_lines, main, test, wait_until
from kaptest.http import HttpUpstream, client, describe, start
from kaptest.peers import need

CONNECTIONS = 20


def limits(kaproxy):
    text = pathlib.Path(f"/proc/{kaproxy.pid}/limits").read_text()
    return re.search(r"^Max open files\s+(\d+)\s+(\d+)", text, flags=re.M).groups()


def limited(number):
    return [need("prlimit"), f"--nofile={number}"]


@test("max_clients does not fit: it is lowered with a warning that has the numbers")
def too_low(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, pool={"max_open": 77,
                                                                 "max_per_host": 90},
                        main={"max_clients": 1234}, wrap=limited("64:250"))
    t.equal(limits(kaproxy), ("250", "250"), "limits")
    warnings = kaproxy.find_log("descriptor")
    t.equal(len(warnings), 1, "warnings")
    for number in "250", "1234", "77":
        t.check(number in warnings[0], f"{number} is not in {warnings[0]!r}")
    t.check("from 1234 to 140 " in warnings[0], f"not the clients that fit: {warnings[0]!r}")
    t.equal(kaproxy.connect().ask(b"a"), b"1 a", "response")


@test("too many idle clients for the limit: each connection to the upstream can be opened")
def kept_for_dials(t):
    together = threading.Barrier(CONNECTIONS)

    def handler(connection, message):
        together.wait(WAIT_MAX)
        return describe(connection, message)

    upstream = t.own(HttpUpstream(handler))
    kaproxy = start(t, upstream, pool={"max_per_host": CONNECTIONS}, wrap=limited("100"))
    clients = [client(t, kaproxy) for _ in range(150)]
    wait_until(lambda: kaproxy.counters() and kaproxy.find_log("max_clients_reached=[1-9]"),
               "as many clients as possible")
    for asking in clients[:CONNECTIONS], clients[-CONNECTIONS:]:
        for peer in asking:
            peer.send()
        for peer in asking:
            t.equal(peer.response().status, 200, "status")
        for peer in clients[:-CONNECTIONS]:
            peer.channel.close()  # the others have waited in the backlog
    t.equal(upstream.accepted, CONNECTIONS, "connections")
    t.equal(kaproxy.find_log("Too many open files"), [], "complaints")


@test("no client fits: it does not start, and says why")
def none_fits(t):
    kaproxy = Kaproxy(t, "tcp://127.0.0.1:1", pool={"max_per_host": 40}, wrap=limited("70"))
    status, text = kaproxy.start_failing()
    t.equal(status, 1, "exit status")
    t.check("the limit of 70 descriptors leaves none for clients" in text, f"it wrote {text!r}")


@test("they fit: the limit is raised and there is no warning")
def fits(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, pool={"max_open": 10},
                        main={"max_clients": 20, "log_level": "notice"},
                        wrap=limited("64:250"))
    t.equal(limits(kaproxy), ("250", "250"), "limits")
    t.equal(kaproxy.find_log("descriptor"), [], "warnings")


main()
