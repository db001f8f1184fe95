#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a message that breaks a rule, but is unambiguous, is passed on as one that all
readers understand alike; an ambiguous one is rejected."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, main, test
from kaptest.http import HttpUpstream, client, head, read_request, response, start

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"

# What a client sends, and what the upstream gets.
REQUESTS = {
    "LF at the end of each line": (
        b"POST /x HTTP/1.1\nHost: h\nX: a \nContent-Length: 3\n\na\nb",
        b"POST /x HTTP/1.1\r\nHost: up\r\nX: a\r\nContent-Length: 3\r\n\r\na\nb"),
    "LF in an HTTP/1.0 request": (
        b"GET /x HTTP/1.0\n\n", b"GET /x HTTP/1.1\r\nHost: up\r\n\r\n"),
    "LF in the header of a chunked request, CRLF in its body": (
        b"POST /x HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n3\r\na\nb\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: up\r\nContent-Length: 3\r\n\r\na\nb"),
    "one length in two lines": (
        b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 03\r\nX: a\r\nContent-Length: 03\r\n\r\nabc",
        b"POST /x HTTP/1.1\r\nHost: up\r\nX: a\r\nContent-Length: 3\r\n\r\nabc"),
    "an expectation in HTTP/1.0": (
        b"POST /x HTTP/1.0\r\nExpect: 100-continue, x\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /x HTTP/1.1\r\nHost: up\r\nContent-Length: 3\r\n\r\nabc"),
    "a TRACE with a length of 0": (
        b"TRACE /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        b"TRACE /x HTTP/1.1\r\nHost: up\r\n\r\n"),
    "four empty lines in front": (
        b"\r\n\r\n\r\n\r\n" + GET, b"GET / HTTP/1.1\r\nHost: up\r\n\r\n"),
    "an absolute target without a path": (
        b"GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /?q HTTP/1.1\r\nHost: up\r\n\r\n"),
    "bytes of a target that should be encoded": (
        b"GET /{a}[b]|\\\"<c>%zz%\xc3\xa9?{a}[b]|\\\"<c>%zz%\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /{a}[b]|\\\"<c>%zz%\xc3\xa9?{a}[b]|\\\"<c>%zz%\xff HTTP/1.1\r\nHost: up\r\n\r\n"),
}

BAD_REQUESTS = {
    "LF, then CRLF": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
    "CRLF, then LF": b"GET / HTTP/1.1\r\nHost: h\n\n",
    "LF in the empty line alone": b"GET / HTTP/1.1\r\nHost: h\r\n\n",
    "a request after an LF": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\n\n" + GET,
    "CR alone among LFs": b"GET / HTTP/1.1\nHost: h\rX: a\n\n",
    "a folded line that ends with LF": b"GET / HTTP/1.1\nHost: h\nX: a\n b\n\n",
    "LF after a chunk's size": b"POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n1\na\n0\n\n",
    "LF in a trailer":
        b"POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n0\r\nX: a\n\r\n",
    "five empty lines in front": b"\r\n\r\n\r\n\r\n\r\n" + GET,
    "an empty line of another kind": b"\r\nGET / HTTP/1.1\nHost: h\n\n",
    "two lengths that are written differently":
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 01\r\n\r\na",
    "three lengths": b"POST / HTTP/1.1\r\nHost: h\r\n" + b"Content-Length: 1\r\n" * 3 + b"\r\na",
    "a padded chunk size":
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
    "a Connection option that is none": b"GET / HTTP/1.1\r\nHost: h\r\nConnection: a b\r\n\r\n",
    "CONNECT with a length of 1": b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na",
    "# in a target": b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
    "HTAB in a target": b"GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n",
    "a backslash in an authority": b"GET http://h\\x/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "a bar in CONNECT's": b"CONNECT h|x:1 HTTP/1.1\r\nHost: h\r\n\r\n",
    "a control character in a value": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x01\r\n\r\n",
    "whitespace before a colon": b"GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n",
}

OK = b"HTTP/1.1 200 OK\r\nDate: d\r\n"
LENGTH = b"Content-Length: 2\r\n\r\nab"


def good(fields=b""):
    """What a client should get."""
    return OK + fields + LENGTH


# What an upstream sends, what the client gets, and whether the connection is reused.
RESPONSES = {
    "LF at the end of each line": (
        b"HTTP/1.1 200 OK\nDate: d\nX: a \nContent-Length: 2\n\nab", good(b"X: a\r\n"), True),
    "LF at the end of one line": (
        b"HTTP/1.1 200 OK\r\nDate: d\nContent-Length: 2\r\n\r\nab", good(), False),
    "LF in the empty line": (
        b"HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\nab", good(), False),
    "LF in an interim response": (
        b"HTTP/1.1 103 x\nX: a\n\n" + good(), b"HTTP/1.1 103 x\r\nX: a\r\n\r\n" + good(), True),
    "LF in one line of an interim response": (
        b"HTTP/1.1 103 x\r\nX: a\n\n" + good(), b"HTTP/1.1 103 x\r\nX: a\r\n\r\n" + good(), False),
    "no space after the status": (
        b"HTTP/1.1 200\r\nDate: d\r\n" + LENGTH, b"HTTP/1.1 200 \r\nDate: d\r\n" + LENGTH, True),
    "a status of 999": (
        good().replace(b"200", b"999"), good().replace(b"200", b"999"), True),
    "folded lines": (
        OK + b"X: a\r\n b\r\n\tc\r\nY:\r\n d\r\n" + LENGTH, good(b"X: a   b  \tc\r\nY: d\r\n"), True),
    "a folded line that looks like a length": (
        OK + b"X: a\r\n Content-Length: 9\r\n" + LENGTH,
        good(b"X: a   Content-Length: 9\r\n"), True),
    "padded chunk sizes": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n2 \t\r\nab\r\n0   \r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", True),
    "204 with a length": (
        b"HTTP/1.1 204 x\r\nDate: d\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 204 x\r\nDate: d\r\n\r\n", False),
    "204 that is chunked": (
        b"HTTP/1.1 204 x\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 x\r\nDate: d\r\n\r\n", False),
    "204 with a length of 0": (
        b"HTTP/1.1 204 x\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 x\r\nDate: d\r\n\r\n", True),
    "304 with a length": (
        b"HTTP/1.1 304 x\r\nDate: d\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 304 x\r\nDate: d\r\nContent-Length: 9\r\n\r\n", True),
    "one length in two lines": (OK + b"Content-Length: 2\r\n" + LENGTH, good(), True),
    "Connection options that are none": (
        OK + b"Connection: \"close\", a b, x\r\nX: a\r\n" + LENGTH, good(), False),
    "control characters in a value": (
        OK + b"X: \x01a\x0b\x1b[0m\x7f\x08\r\n" + LENGTH, good(b"X: a  [0m\r\n"), True),
    "whitespace before colons": (
        OK + b"X : a\r\nY \t:\r\n" + LENGTH, good(b"X: a\r\nY: \r\n"), True),
}

BAD_RESPONSES = {
    "CR alone": OK + b"X: a\rY: b\r\n" + LENGTH,
    "CR alone among LFs": b"HTTP/1.1 200 OK\nX: a\rY: b\nContent-Length: 2\n\nab",
    "NUL": OK + b"X: a\0\r\n" + LENGTH,
    "a status of 099": b"HTTP/1.1 099 x\r\n" + LENGTH,
    "a status of four digits": b"HTTP/1.1 2000\r\n" + LENGTH,
    "a folded line after the status line": b"HTTP/1.1 200 OK\r\n X: a\r\n" + LENGTH,
    "a folded line of whitespace": OK + b"X: a\r\n \r\n" + LENGTH,
    "a folded length": OK + b"Content-Length:\r\n 2\r\n\r\nab",
    "a folded coding": OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a folded Connection": OK + b"Connection: close,\r\n x\r\n" + LENGTH,
    "a control character in a length": OK + b"Content-Length: 2\x0b\r\n\r\nab",
    "a digit's control character in a length": OK + b"Content-Length: \x12\r\n\r\nab",
    "a control character in a coding": OK + b"Transfer-Encoding: \x0cchunked\r\n\r\n0\r\n\r\n",
    "a control character in Connection": OK + b"Connection: close\x1f\r\n" + LENGTH,
    "a control character in a name": OK + b"X\x0b: a\r\n" + LENGTH,
    "a control character in the reason": b"HTTP/1.1 200 \x1b[0m\r\n" + LENGTH,
    "whitespace before a length's colon": OK + b"Content-Length : 2\r\n\r\nab",
    "whitespace before a coding's colon": OK + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "whitespace before Connection's colon": OK + b"Connection : close\r\n" + LENGTH,
    "103 with a length": b"HTTP/1.1 103 x\r\nContent-Length: 1\r\n\r\na" + good(),
    "103 that is chunked": b"HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + good(),
    "two lengths that are written differently": OK + b"Content-Length: 02\r\n" + LENGTH,
    "204 with a length and chunked":
        b"HTTP/1.1 204 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a Connection option that names Content-Length": OK + b"Connection: content-length\r\n" + LENGTH,
    "whitespace in a name": OK + b"X Y: a\r\n" + LENGTH,
}


@test("requests: what the upstream gets, to the byte")
def requests(t):
    upstream = t.own(HttpUpstream(lambda c, m: response(b"ok")))
    kaproxy = start(t, upstream, listener={"host": "up"})
    seen = 0
    for what, (sent, wanted) in REQUESTS.items():
        peer = client(t, kaproxy)
        peer.channel.send(sent)
        t.equal(peer.response().body, b"ok", f"response to {what}")
        received = bytes(upstream.connections[0].received)
        t.equal(received[seen:], wanted, what)
        seen = len(received)
    t.equal(upstream.accepted, 1, "connections")


@test("ambiguous requests: 400, and none reaches the upstream")
def bad_requests(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream)
    for what, sent in BAD_REQUESTS.items():
        peer = client(t, kaproxy)
        peer.channel.send(sent)
        got = peer.response()
        t.equal((got.status, got.closes()), (400, True), f"response to {what}")
        t.equal(peer.channel.read_end(), (b"", "eof"), f"end after {what}")
    t.equal(upstream.accepted, 0, "connections")


@test("successive requests with LF arrive as the same number at the upstream")
def pipelined(t):
    upstream = t.own(HttpUpstream())
    peer = client(t, start(t, upstream))
    peer.channel.send(b"GET /1 HTTP/1.1\nHost: h\n\n\n\nGET /2 HTTP/1.1\nHost: h\n\n\r\n" +
                      b"GET /3 HTTP/1.1\r\nHost: h\r\n\r\n")
    for number in 1, 2, 3:
        t.equal(peer.response().body, b"1 GET /%d " % number, "response")
    t.equal([r.target for r in upstream.requests], ["/1", "/2", "/3"], "requests")


@test("CONNECT with a length of 0 opens a tunnel")
def connect(t):
    def script(connection):
        while read_request(connection) is not None:
            connection.send(head("HTTP/1.1 200 Connected"))
            connection.send(connection.receive().upper())

    upstream = t.own(ScriptedUpstream(script))
    peer = client(t, start(t, upstream))
    peer.method = "CONNECT"
    peer.channel.send(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\n\r\n")
    t.equal(peer.response().status, 200, "status")
    peer.channel.send(b"hello")
    t.equal(peer.channel.read(5), b"HELLO", "what the tunnel brings")
    t.equal(bytes(upstream.connections[0].received),
            b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\nhello", "what the upstream got")


@test("responses: what the client gets, to the byte, and whether the connection is reused")
def responses(t):
    replies = {}
    upstream = t.own(HttpUpstream(lambda c, m: replies[m.target]))
    kaproxy = start(t, upstream)
    discarded = 0
    for number, (what, (sent, wanted, reused)) in enumerate(RESPONSES.items()):
        replies[f"/{number}"] = sent
        peer = client(t, kaproxy)
        for _ in range(2):
            peer.send("GET", f"/{number}")
            peer.response()
        t.equal(bytes(peer.channel.received), wanted * 2, what)
        discarded += 0 if reused else 2
        kaproxy.wait_idle(1 if reused else 0)
        t.equal(kaproxy.counters().get("discard_protocol_error"), discarded, f"discarded, {what}")


@test("ambiguous responses: 502")
def bad_responses(t):
    replies = {}
    upstream = t.own(HttpUpstream(lambda c, m: replies[m.target]))
    kaproxy = start(t, upstream)
    for number, (what, sent) in enumerate(BAD_RESPONSES.items(), 1):
        replies[f"/{number}"] = sent
        got = client(t, kaproxy).ask("GET", f"/{number}")
        t.equal((got.status, got.closes()), (502, True), f"response to {what}")
    t.equal(upstream.accepted, len(BAD_RESPONSES), "connections")
    t.equal(kaproxy.counters().get("discard_protocol_error"), len(BAD_RESPONSES), "discarded")


main()
