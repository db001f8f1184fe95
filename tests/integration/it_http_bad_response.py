#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: an upstream that breaks the rules costs its client a 502 that names the rule,
or, if something was passed on already, a response that is visibly truncated."""

import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import Cut, HttpUpstream, check_line, client, head, start

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

BAD_HEADS = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 x\r\n\r\n",
    "CR alone": b"HTTP/1.1 200 OK\rContent-Length: 0\r\r",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "an unknown coding": OK + b"Transfer-Encoding: gzip\r\n\r\n",
    "a folded length": OK + b"Content-Length: 0\r\n 1\r\n\r\n",
    "whitespace before a length's colon": OK + b"Content-Length : 0\r\n\r\n",
    "NUL": OK + b"X: \0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "103 with a body": b"HTTP/1.1 103 x\r\nContent-Length: 3\r\n\r\nabc",
    "a header of 40 KB": OK + b"X: " + b"x" * 40_000 + b"\r\n\r\n",
    "a broken header after 100": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 xyz\r\n\r\n",
    "a bad chunk size right after the header": CHUNKED + b"xyz\r\n",
}
BAD_BODIES = {
    "a chunk size that is none": CHUNKED + b"3\r\nabc\r\nxyz\r\n",
    "a chunk that does not end": CHUNKED + b"3\r\nabcd\r\n",
    "a trailer that is none": CHUNKED + b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
    "a chunk size beyond 63 bits": CHUNKED + b"3\r\nabc\r\nffffffffffffffff\r\n",
}


@test("before the header was passed on: 502, and the text names the rule")
def heads(t):
    data = {}
    upstream = t.own(HttpUpstream(lambda c, m: data[m.target]))
    kaproxy = start(t, upstream, main={"log_level": "debug"})  # each is logged, and none summed up
    for number, (what, reply) in enumerate(BAD_HEADS.items(), 1):
        data[f"/{number}"] = reply
        got = client(t, kaproxy).ask("GET", f"/{number}")
        t.equal((got.status, got.closes()), (502, True), f"response to {what}")
        t.check(b"RFC" in got.body, f"the text does not name the rule: {got.body!r}")
        check_line(t, kaproxy, number, status=502, end="bad_response")
        text = re.escape(got.body.decode().splitlines()[-1])
        kaproxy.wait_log(f'answered: listener=.* status=502 error="{text}"$')
    t.equal(upstream.accepted, len(BAD_HEADS), "connections")
    t.equal(kaproxy.counters().get("discard_protocol_error"), len(BAD_HEADS), "discarded")


@test("afterwards: the response ends where the rule was broken; without framing that is a reset")
def bodies(t):
    data = {}

    def in_two(connection, message):
        """Up to the first payload, and then the rest."""
        first, second = data[message.target]
        connection.send(first)
        connection.is_silent(0.05)
        return second

    upstream = t.own(HttpUpstream(in_two))
    kaproxy = start(t, upstream)
    number = 0
    for what, reply in BAD_BODIES.items():
        data["/x"] = reply[:len(CHUNKED) + 5], reply[len(CHUNKED) + 5:]
        for version in "1.1", "1.0":
            number += 1
            peer = client(t, kaproxy)
            peer.send("GET", "/x", version=version)
            try:
                peer.response()
                t.check(False, f"HTTP/{version} accepted {what} as complete")
            except Cut as cut:
                t.equal(cut.end, "eof" if version == "1.1" else "reset", "end")
            check_line(t, kaproxy, number, status=200, end="bad_response")
    t.equal(kaproxy.counters().get("discard_protocol_error"), number, "discarded")


@test("a response's header is passed on with its values, and no more of it than was understood")
def strict(t):
    reply = head("HTTP/1.1 200 A reason", [("X-A", "  b  "), ("Content-Length", "1 ")]) + b"x"
    got = client(t, start(t, t.own(HttpUpstream(lambda c, m: reply)))).ask()
    t.equal((got.first_line, got.get("X-A"), got.get("Content-Length")),
            ("HTTP/1.1 200 A reason", "b", "1"), "header")


main()
