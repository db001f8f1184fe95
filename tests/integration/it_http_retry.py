#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a reused connection that closes instead of responding, or whose response is
not for the request, costs a client its response only if a retry could do harm."""

import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, main, test
from kaptest.http import (HttpUpstream, check_line, chunked, client, describe, head, one_shot,
                          read_request, response, start)


def closing(*, resets=False, first_connections=1):
    """The first connections serve one request, and close when they have read the second."""
    counts = {}

    def handler(connection, message):
        counts[connection.number] = counts.get(connection.number, 0) + 1
        if connection.number <= first_connections and counts[connection.number] == 2:
            if resets:
                connection.reset()
            return None
        return describe(connection, message)
    return handler


def warm(t, upstream, **options):
    """A kaproxy with one idle connection, which was used once."""
    kaproxy = start(t, upstream, **options)
    t.equal(one_shot(t, kaproxy, "GET", "/first").status, 200, "status of the first")
    kaproxy.wait_idle(1)
    return kaproxy


@test("idempotent methods are retried, on a new connection, whether it was closed or reset")
def idempotent(t):
    for resets in False, True:
        for method, body in (("GET", None), ("OPTIONS", None), ("PUT", b"whole"), ("DELETE", None)):
            upstream = t.own(HttpUpstream(closing(resets=resets)))
            kaproxy = warm(t, upstream)
            got = one_shot(t, kaproxy, method, "/x", body=body)
            t.equal(got.body, f"2 {method} /x ".encode() + (body or b""), f"response to {method}")
            check_line(t, kaproxy, 2, retried=1, status=200, end="complete", from_cache="none")
            t.equal([r.method for r in upstream.requests[1:]], [method] * 2, "what was sent")


@test("HEAD is an idempotent one too, and a chunked PUT that was read ahead")
def head_and_chunked(t):
    kaproxy = warm(t, t.own(HttpUpstream(closing())))
    t.equal(one_shot(t, kaproxy, "HEAD", "/x").status, 200, "status of HEAD")
    kaproxy = warm(t, t.own(HttpUpstream(closing())))
    got = client(t, kaproxy).ask("PUT", "/x", [("Transfer-Encoding", "chunked")],
                                 chunked(b"ab", b"c", trailer=[("X-Sum", "1")]))
    t.equal(got.body, b"2 PUT /x abc", "response to PUT")


@test("POST and unknown methods are not: 502, and the upstream saw the request once")
def others(t):
    for method in "POST", "PATCH", "FROB":
        upstream = t.own(HttpUpstream(closing()))
        kaproxy = warm(t, upstream)
        got = one_shot(t, kaproxy, method, "/x", body=b"x")
        t.equal(got.status, 502, f"status of {method}")
        line = check_line(t, kaproxy, 2, status=502, end="upstream_closed", from_cache="immediate")
        t.check("retried" not in line, "the log says that it was retried")
        t.equal([r.method for r in upstream.requests[1:]], [method], "what was sent")


@test("a body that is larger than what is kept is not retried")
def large(t):
    upstream = t.own(HttpUpstream(closing()))
    kaproxy = warm(t, upstream)
    t.equal(client(t, kaproxy).ask("PUT", "/x", body=b"x" * 300_000).status, 502, "status")
    t.equal(len(upstream.requests), 2, "requests")


@test("once only: the new connection closes as well, and that is a 502")
def once(t):
    upstream = t.own(HttpUpstream(
        lambda c, m: describe(c, m) if m.target == "/first" else None))
    kaproxy = warm(t, upstream)
    t.equal(one_shot(t, kaproxy, "GET", "/x").status, 502, "status")
    t.equal(len(upstream.requests), 3, "requests")
    check_line(t, kaproxy, 2, retried=1, status=502)


@test("not on an unused connection")
def fresh(t):
    upstream = t.own(HttpUpstream(lambda c, m: None))
    kaproxy = start(t, upstream)
    t.equal(one_shot(t, kaproxy).status, 502, "status")
    t.equal(len(upstream.requests), 1, "requests")


@test("not if anything of the response has arrived")
def begun(t):
    def script(connection):
        read_request(connection)
        connection.send(response(b"first"))
        if read_request(connection):
            connection.send(b"H")

    upstream = t.own(ScriptedUpstream(script))
    kaproxy = warm(t, upstream)
    t.equal(one_shot(t, kaproxy, "GET", "/x").status, 502, "status")
    t.equal(upstream.accepted, 1, "connections")


TIMEOUT = response(b"slow", [("Connection", "close")], 408)
STRAY = {
    "a 408 that ends the connection": TIMEOUT,
    "a 408 in HTTP/1.0": head("HTTP/1.0 408 Request Time-out") + b"slow",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "an alert of TLS": b"\x15\x03\x03\0\x02\x02\x28",
    "an empty line": b"\r\n" + response(b"late"),
    "the rest of a body": b"rest\r\n0\r\n\r\n" + response(b"late"),
}


def straying(reply):
    """The first connection responds to its second request with this."""
    def handler(connection, message):
        stray = connection.number == 1 and message.target != "/first"
        return reply if stray else describe(connection, message)
    return handler


@test("what is not a response, and a 408 with its end, may have met the request: it is retried")
def stray(t):
    for number, (what, reply) in enumerate(STRAY.items(), 1):
        upstream = t.own(HttpUpstream(straying(reply)))
        kaproxy = warm(t, upstream)
        got = one_shot(t, kaproxy, "PUT", "/x", body=b"whole")
        t.equal(got.body, b"2 PUT /x whole", f"response after {what}")
        check_line(t, kaproxy, 2, retried=1, status=200, end="complete", from_cache="none")
        t.equal([r.method for r in upstream.requests[1:]], ["PUT"] * 2, "what was sent")
        t.equal(kaproxy.counters()["discard_protocol_error"], 1, "discarded")
        kaproxy.wait_log('sent again: listener=main client=.* error="a used connection brought: ' + (
            r'408 \(Request Timeout\)"' if b"408" in reply else '.*RFC.*"'))


@test("but not where it could do harm, where it says something else, or after a 1xx")
def not_stray(t):
    interim = head("HTTP/1.1 103 x")
    kept = response(b"slow", status=408)
    cases = (("POST", STRAY["no HTTP"], 502), ("POST", TIMEOUT, 408), ("GET", kept, 408),
             ("GET", interim + TIMEOUT, 408), ("GET", interim + STRAY["no HTTP"], 502),
             ("GET", head("HTTP/1.1 408 x", [("Content-Length", "x")]), 502),
             ("GET", head("HTTP/1.1 051 x"), 502), ("GET", head("HTTP/1.1 x"), 502),
             ("GET", response(b"x", [("Connection", "close")], 503), 503))
    for method, reply, status in cases:
        for version in "1.0", "1.1":
            upstream = t.own(HttpUpstream(straying(reply)))
            kaproxy = warm(t, upstream)
            got = one_shot(t, kaproxy, method, "/x", version=version)
            t.equal(got.status, status, f"response to {method} after {reply!r}")
            t.check("retried" not in kaproxy.wait_sessions(2)[1], "the log says that it was retried")
            t.equal(len(upstream.requests), 2, "requests")


@test("nor on an unused connection, nor twice")
def stray_once(t):
    for reply, status in (TIMEOUT, 408), (STRAY["no HTTP"], 502):
        upstream = t.own(HttpUpstream(lambda c, m, r=reply: r))
        t.equal(one_shot(t, start(t, upstream)).status, status, "status")
        t.equal(len(upstream.requests), 1, "requests")

        upstream = t.own(HttpUpstream(
            lambda c, m, r=reply: describe(c, m) if m.target == "/first" else r))
        kaproxy = warm(t, upstream)
        t.equal(one_shot(t, kaproxy, "GET", "/x").status, status, "status of the second time")
        t.equal(len(upstream.requests), 3, "requests")
        check_line(t, kaproxy, 2, retried=1, status=status)


@test("a preconnected connection, which was idle too, counts as used")
def spare(t):
    def script(connection):
        if read_request(connection) is not None:
            connection.send(TIMEOUT if connection.number == 1 else response(b"good"))

    upstream = t.own(ScriptedUpstream(script))
    kaproxy = start(t, upstream, pool={"min_idle": 1})
    kaproxy.wait_idle(1)
    t.equal(one_shot(t, kaproxy).body, b"good", "response")
    check_line(t, kaproxy, retried=1, status=200)


@test("the second attempt gets a new connection, not one of the other idle ones")
def new_connection(t):
    together = threading.Barrier(3)

    def handler(connection, message):
        if message.target == "/first":
            together.wait(20)
            return describe(connection, message)
        return None if connection.number <= 3 else describe(connection, message)

    upstream = t.own(HttpUpstream(handler))
    kaproxy = start(t, upstream)
    peers = [client(t, kaproxy) for _ in range(3)]
    for peer in peers:
        peer.send("GET", "/first")
    for peer in peers:
        t.equal(peer.response().status, 200, "status of the first three")
    kaproxy.wait_idle(3)
    t.equal(one_shot(t, kaproxy, "GET", "/x").body, b"4 GET /x ", "response")
    t.equal(len(upstream.requests), 5, "requests")


@test("a connection that closed while it was idle costs no client anything, POST neither")
def idle(t):
    def script(connection):
        message = read_request(connection)
        message.connection = connection.number
        connection.send(describe(connection, message))

    kaproxy = start(t, t.own(ScriptedUpstream(script)))
    for number in range(1, 11):
        got = one_shot(t, kaproxy, "POST", "/x", body=b"b")
        t.equal(got.body, f"{number} POST /x b".encode(), "response")
        kaproxy.wait_idle(0)


main()
