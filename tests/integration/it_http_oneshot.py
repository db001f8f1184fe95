#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: load tools that connect for each request reach nginx on four connections."""

import collections
import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, main, test, wait_until
from kaptest.http import start
from kaptest.http_peers import Nginx, run, url

COUNT = 2000 if SLOW else 20000
LIMIT = 4


def peers(t):
    nginx = t.own(Nginx(t))
    nginx.put("small", b"x" * 600)
    kaproxy = start(t, nginx, pool={"max_per_host": LIMIT}, main={"log_level": "notice"})
    return nginx, kaproxy, nginx.accepted()


def load(t, kaproxy, *command):
    """Runs a load tool: how many requests, and what it printed, portion by portion."""
    for portion in kaproxy.portions(COUNT):
        output, _ = run(t, *command, "-c", 32, "-n", portion, url(kaproxy, "/small"))
        yield portion, output.decode()


def check_pooled(t, nginx, kaproxy, before, exchanges):
    """All were served, on four connections, each of which was new to just one exchange."""
    t.at_most(nginx.accepted() - before, LIMIT, "connections that nginx accepted")
    lines = kaproxy.wait_sessions(exchanges)
    t.equal(len(lines), exchanges, "lines of the access log")
    t.equal({(s["status"], s["end"]) for s in lines}, {("200", "complete")}, "how exchanges ended")
    sources = collections.Counter(s["from_cache"] for s in lines)
    t.at_most(sources["none"], LIMIT, "exchanges on a new connection")
    t.equal(set(sources) - {"none", "immediate", "deferred"}, set(), "other sources")


def check_ab(t, text, count):
    for pattern, wanted in (r"Complete requests: +(\d+)", count), (r"Failed requests: +(\d+)", 0):
        t.equal(int(re.search(pattern, text)[1]), wanted, pattern)
    t.check("Non-2xx" not in text, "responses that are not 2xx")


@test("ab: HTTP/1.0, a connection for each request")
def ab(t):
    nginx, kaproxy, before = peers(t)
    for count, text in load(t, kaproxy, "ab", "-q"):
        check_ab(t, text, count)
    check_pooled(t, nginx, kaproxy, before, COUNT)


@test("ab -k: HTTP/1.0 with keep-alive")
def ab_keep_alive(t):
    nginx, kaproxy, before = peers(t)
    for count, text in load(t, kaproxy, "ab", "-q", "-k"):
        check_ab(t, text, count)
        kept = int(re.search(r"Keep-Alive requests: +(\d+)", text)[1])
        t.equal(kept, count, "requests that ab could keep its connection after")
    check_pooled(t, nginx, kaproxy, before, COUNT)


@test("wrk: HTTP/1.1 with keep-alive, and with Connection: close")
def wrk(t):
    for fields in [], ["-H", "Connection: close"]:
        nginx, kaproxy, before = peers(t)
        output, _ = run(t, "wrk", "-t", 1, "-c", 32, "-d", "1s", *fields, url(kaproxy, "/small"))
        text = output.decode()
        t.check("Non-2xx" not in text and "Socket errors" not in text, text)
        t.at_least(int(re.search(r"(\d+) requests in", text)[1]), 50, "requests")
        wait_until(lambda: kaproxy.counters()["busy"] == 0, "the exchanges to end")
        t.at_most(nginx.accepted() - before, LIMIT + 32, "connections that nginx accepted")
        nginx.close()
        kaproxy.close()


@test("h2load --h1: HTTP/1.1, several requests on each connection")
def h2load(t):
    nginx, kaproxy, before = peers(t)
    for n, text in load(t, kaproxy, "h2load", "--h1"):
        wanted = f"{n} total, {n} started, {n} done, {n} succeeded, 0 failed, 0 errored"
        t.check(wanted in text, text)
    check_pooled(t, nginx, kaproxy, before, COUNT)


main()
