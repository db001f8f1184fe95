#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the log says what an operator has to know, once: the first failure and how
many there were, an upstream that is back, a host at its limit, a certificate that expires."""

import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ReservedPort, answer_lines, main, test
from kaptest.http import HttpUpstream, client
from kaptest.tls import HttpsUpstream, handshakes, start, upstream_context
from kaptest.tls_ca import authority

FAILED = 'no connection: listener=main client={} upstream={} function=connect errno=111 ' \
         'error="Connection refused"'


def fail(t, kaproxy, count):
    for _ in range(count):
        t.equal(kaproxy.connect().read_end(), (b"", "reset"), "what the client saw")


def more(lines):
    """How many further ones these lines report."""
    return sum(int(re.search(r"\((\d+) more like this in \d+ s", line)[1]) for line in lines)


@test("a failure is logged at once, the same ones after it are summed up, and the upstream is back")
def failures(t):
    port = t.own(ReservedPort())
    kaproxy = t.kaproxy(port.endpoint)
    fail(t, kaproxy, 1)
    first = FAILED.format(r"127\.0\.0\.1:\d+", port.endpoint) + "$"
    kaproxy.wait_log("warning: " + first)
    fail(t, kaproxy, 37)
    kaproxy.wait_sessions(38)
    t.upstream(answer_lines, listener=port.socket)
    served = kaproxy.connect()
    t.equal(served.ask(b"a"), b"1 a", "response")
    kaproxy.wait_log(f"notice: reachable again: pool=default upstream={port.endpoint} "
                     r"failed_for_s=\d+\.\d failures=38$")
    sums = kaproxy.wait_log(FAILED.format(r"\*", port.endpoint) + r" \(\d+ more")
    t.equal(more(sums), 37, "failures that were summed up")
    t.equal(len(kaproxy.find_log("no connection: ")), 2, "lines about failures")


@test("what is counted is reported at the end at the latest")
def shutdown(t):
    port = t.own(ReservedPort())
    kaproxy = t.kaproxy(port.endpoint)
    fail(t, kaproxy, 5)
    kaproxy.wait_sessions(5)
    kaproxy.stop()
    lines = kaproxy.log()
    t.equal(more([line for line in lines if " more like this" in line]), 4, "failures summed up")
    t.check(lines[-1].endswith("notice: stopped"), f"last line: {lines[-1]!r}")


@test("log_level = debug: each one in full")
def debug(t):
    port = t.own(ReservedPort())
    kaproxy = t.kaproxy(port.endpoint, main={"log_level": "debug"})
    fail(t, kaproxy, 5)
    t.equal(len(kaproxy.wait_log("warning: no connection: ", 5)), 5, "lines")
    kaproxy.stop()
    t.equal(kaproxy.find_log("more like this"), [], "sums")


@test("local replies to http clients")
def responses(t):
    upstream = t.own(HttpUpstream(lambda _connection, _request: None))
    kaproxy = t.kaproxy(upstream.endpoint, reuse=None)
    for _ in range(6):
        t.equal(client(t, kaproxy).ask("POST", "/", body=b"x").status, 502, "status")
    kaproxy.wait_sessions(6)
    kaproxy.stop()
    lines = kaproxy.find_log("502.*the upstream closed the connection without an answer")
    t.equal(len(lines), 2, "lines")
    t.equal(more(lines[1:]), 5, "responses summed up")


@test("a host at its limit: one warning, one notice")
def limit(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"max_per_host": 1})
    first = kaproxy.connect()
    first.ask(b"a")
    others = []
    for _ in range(3):
        others.append(kaproxy.connect())
        others[-1].send(b"b\n")
    where = f"pool=default upstream={upstream.endpoint} max_per_host=1 "
    t.equal(len(kaproxy.wait_log("warning: clients have to wait: " + where + "waiting=1$")), 1,
            "warnings")
    while kaproxy.counters()["queued"] < 3:
        continue
    for waiting in [first, *others]:
        if waiting is not first:
            waiting.read_line()
        waiting.end()
    kaproxy.wait_log("notice: clients no longer wait: " + where + r"lasted_s=\d+\.\d waited=3 "
                     r"most_waiting=3 longest_wait_ms=\d+\.\d$")
    t.equal(len(kaproxy.find_log("clients have to wait")), 1, "warnings")


ENDS = r'subject="?CN=until {0}"? ends=\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ days_left={0}$'


@test("an upstream's certificate that expires soon: a warning with the first such handshake")
def upstream_certificate(t):
    upstream = t.own(HttpsUpstream(context=upstream_context(authority().until(5), no_tickets=True)))
    kaproxy = start(t, upstream, pool={"max_uses": 1})
    t.equal(kaproxy.find_log("certificate"), [], "warnings before")
    for _ in range(2):
        t.equal(client(t, kaproxy).ask("GET", "/").status, 200, "status")
    t.equal(handshakes(kaproxy), (2, 0, 0), "handshakes")
    pattern = f"warning: certificate expires soon: listener=main upstream={upstream.endpoint} "
    t.equal(len(kaproxy.wait_log(pattern + ENDS.format(5))), 1, "warnings")
    t.equal(len(kaproxy.find_log("certificate")), 1, "all warnings")


@test("one that expires later: none")
def later_certificate(t):
    upstream = t.own(HttpsUpstream(context=upstream_context(authority().until(20))))
    kaproxy = start(t, upstream)
    t.equal(client(t, kaproxy).ask("GET", "/").status, 200, "status")
    kaproxy.stop()
    t.equal(kaproxy.find_log("certificate"), [], "warnings")


@test("our certificate that expires soon, or has expired: a warning at the start, and by -t")
def own_certificate(t):
    for own, text, when in ((authority().until(3), "expires soon", ENDS.format(3)),
                            (authority().expired, "has expired", r".* days_left=-\d+$")):
        upstream = t.own(HttpsUpstream())
        kaproxy = start(t, upstream, listener={"tls_cert_file": own.file, "tls_key_file": own.key})
        kaproxy.wait_log(f"warning: certificate {text}: listener=main tls_cert_file={own.file} "
                         + when)
        t.check(re.search(rf"\.ini:\d+: warning: tls_cert_file: {own.file}: the certificate ",
                          kaproxy.stderr()), "no warning with file and line")


main()
