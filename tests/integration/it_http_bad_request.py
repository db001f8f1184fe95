#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a request that breaks the rules is rejected, its connection is closed, and the
upstream never sees a byte of it."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import HttpUpstream, client, proxy_status, read_response, start

HOST = b"Host: h\r\n"
POST = b"POST /x HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

BAD = {
    400: {
        "no version": b"GET /\r\n\r\n",
        "two spaces": b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        "a control character in the target": b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n",
        "TLS on a plain port": bytes.fromhex("1603010200010001fc0303") + b"\0" * 40,
        "LF alone in one line": b"GET / HTTP/1.1\n" + b"Host: h\r\n\r\n",
        "CR alone": b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
        "NUL": b"GET / HTTP/1.1\r\nHost: h\r\nX: \0\r\n\r\n",
        "no Host": b"GET / HTTP/1.1\r\n\r\n",
        "two Hosts": b"GET / HTTP/1.1\r\n" + HOST + b"Host: i\r\n\r\n",
        "whitespace before a colon": b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "obs-fold": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
        "a line without a colon": b"GET / HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n",
        "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "a list of lengths": POST + b"Content-Length: 1, 1\r\n\r\na",
        "a signed length": POST + b"Content-Length: +1\r\n\r\na",
        "length and chunked": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                              b"0\r\n\r\n",
        "chunked, then something": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        "chunked with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
        "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "no chunk size": CHUNKED + b"\r\nabc",
        "a signed chunk size": CHUNKED + b"+3\r\nabc\r\n",
        "0x in a chunk size": CHUNKED + b"0x3\r\nabc\r\n",
        "a chunk size beyond 63 bits": CHUNKED + b"8000000000000000\r\n",
        "a chunk that does not end": CHUNKED + b"3\r\nabcd\r\n",
        "LF alone after a chunk size": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
        "obs-fold in a trailer": CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n",
        "Connection names Host": b"GET / HTTP/1.1\r\n" + HOST + b"Connection: host\r\n\r\n",
        "TRACE with a body": b"TRACE / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na",
    },
    413: {"a length beyond 63 bits": POST + b"Content-Length: 99999999999999999999\r\n\r\n"},
    414: {
        "a target of 9 KB": b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        "a request line without an end": b"GET /" + b"x" * 100_000,
    },
    417: {"an unknown expectation": POST + b"Expect: x\r\nContent-Length: 1\r\n\r\na"},
    431: {
        "a header of 40 KB": b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 40_000 + b"\r\n\r\n",
        "101 fields": b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 100 + b"\r\n",
        "a header without an end": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000,
        "a trailer of 10 KB": CHUNKED + b"0\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
    },
    501: {
        "an unknown coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "OPTIONS that goes no further": b"OPTIONS * HTTP/1.1\r\n" + HOST +
                                        b"Max-Forwards: 0\r\n\r\n",
    },
    505: {
        "HTTP/2.0": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
        "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/0.9 with a version": b"GET / HTTP/0.9\r\n\r\n",
    },
}
CASES = [(status, what, data) for status, cases in BAD.items() for what, data in cases.items()]


def check_refused(t, kaproxy, number, case, pieces):
    status, what, data = case
    peer = client(t, kaproxy)
    for piece in pieces(data):
        peer.channel.send(piece)
    got = read_response(peer.channel)
    t.equal((got.status, got.closes()), (status, True), f"response to {what}")
    t.check(got.body.startswith(b"%d " % status) and b"RFC" in got.body,
            f"the text does not name the rule: {got.body!r}")
    told = proxy_status(got)
    t.equal((told["error"], told["status-code"]), ("http_request_error", str(status)),
            f"Proxy-Status after {what}")
    t.equal(peer.channel.end(), "eof", f"end after {what}")
    line = kaproxy.wait_sessions(number)[number - 1]
    t.equal((line["status"], line["end"], line["from_cache"], line["bytes_up"]),
            (str(status), "bad_request", "-", "0"), f"access-log line of {what}")


def check_all(t, cases, pieces):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream)
    for number, case in enumerate(cases, 1):
        check_refused(t, kaproxy, number, case, pieces)
    t.equal(upstream.accepted, 0, "connections")
    t.equal(client(t, kaproxy).ask().status, 200, "status of a good request")


@test("each in one piece")
def whole(t):
    check_all(t, CASES, lambda data: [data])


@test("each split into three")
def cut(t):
    small = [case for case in CASES if len(case[2]) < 9100]
    check_all(t, small, lambda data: [data[:len(data) // 3], data[len(data) // 3:-1], data[-1:]])


@test("a request that breaks off is not a request: it is neither passed on nor answered")
def broken_off(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream)
    for data in (b"GET / HTTP/1.1\r\nHost: h\r\n", POST + b"Content-Length: 5\r\n\r\nabcd",
                 CHUNKED + b"3\r\nabc\r\n", CHUNKED + b"3\r\nabc\r\n0\r\n"):
        peer = client(t, kaproxy)
        peer.channel.send(data)
        t.equal(peer.channel.end(), "eof", "end")
    kaproxy.wait_sessions(4)
    t.equal(upstream.accepted, 0, "connections")


@test("a large body that breaks the rules late: what was sent is discarded")
def late(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    peer.channel.send(CHUNKED + b"%x\r\n" % 500_000 + b"x" * 500_000 + b"broken")
    t.equal(peer.response().status, 400, "status")
    line = kaproxy.wait_sessions(1)[0]
    t.equal((line["status"], line["end"]), ("400", "bad_request"), "access-log line")
    t.equal(upstream.requests, [], "requests that the upstream read to the end")
    t.equal(kaproxy.counters()["idle"], 0, "idle connections")


main()
