#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: with TLS only close_notify is an end; a truncated response is visibly so to
the client, whatever the framing, and our own ends are in order."""

import socket
import ssl
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import (Cut, LAST_CHUNK, check_line, chunk, client, head, one_shot, read_request,
                          response, response_until_close)
from kaptest.tls import TlsUpstream, start, upstream_context
from kaptest.tls_peers import OpensslUpstream

BODY = b"z" * 100_000


def https_upstream(t, data, end):
    """Sends data after the request was read; then end(connection)."""
    def script(connection):
        if read_request(connection) is not None:
            connection.send(data)
            end(connection)
    upstream = t.own(TlsUpstream(script))
    upstream.endpoint = upstream.endpoint.replace("tls:", "https:")
    return upstream


def send_raw(connection, data):
    """Past TLS."""
    socket.socket.sendall(connection.socket, data)


def passed_on(end):
    """Ends once the first part is in flight, so that it was passed on before."""
    def function(connection):
        connection.is_silent(0.05)
        end(connection)
    return function


def check_cut(t, data, end, ends=("upstream_reset",), **options):
    """The client must see that the response is incomplete, in both versions."""
    kaproxy = start(t, https_upstream(t, data, passed_on(end)), **options)
    for number, version in enumerate(("1.1", "1.0"), 1):
        peer = client(t, kaproxy)
        peer.send(version=version)
        try:
            peer.response()
        except Cut:
            pass
        else:
            t.check(False, f"HTTP/{version} accepted a truncated response as complete")
        line = check_line(t, kaproxy, number)
        t.check(line["end"] in ends, f"end in the log: {line['end']}")
    t.equal(kaproxy.counters()["idle"], 0, "idle connections")


@test("a body until close_notify: complete")
def whole(t):
    for end in lambda c: c.fin(), lambda c: (c.send_close_notify(), c.cut()):
        kaproxy = start(t, https_upstream(t, response_until_close(BODY), end))
        for version in "1.0", "1.1":
            t.equal(one_shot(t, kaproxy, version=version).body, BODY, f"body for HTTP/{version}")
        check_line(t, kaproxy, 2, status=200, end="complete")


@test("a body until an end without close_notify: truncated")
def truncated(t):
    check_cut(t, response_until_close(BODY), lambda c: c.cut())
    check_cut(t, response_until_close(BODY), lambda c: c.drop())


OPTIONAL = {"tls_close_notify": "optional"}


@test("the same with tls_close_notify = optional: complete, whether or not it arrives")
def optional(t):
    for end in lambda c: c.cut(), lambda c: c.drop(), lambda c: c.fin():
        upstream = https_upstream(t, response_until_close(BODY), passed_on(end))
        kaproxy = start(t, upstream, listener=OPTIONAL)
        for version in "1.0", "1.1":
            t.equal(one_shot(t, kaproxy, version=version).body, BODY, f"body for HTTP/{version}")
        check_line(t, kaproxy, 2, status=200, end="complete")
        t.equal(kaproxy.counters()["discard_upstream_closed"], 2, "discarded")


@test("but not if the framing shows a truncation, nor within a record, nor after a reset")
def optional_cut(t):
    half = b"\x17\x03\x03\x00\x50half of a record"
    cases = (
        (head("HTTP/1.1 200 OK", [("Content-Length", len(BODY) + 1)]) + BODY, lambda c: c.cut()),
        (head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + chunk(BODY),
         lambda c: c.cut()),
        (response_until_close(BODY), lambda c: (send_raw(c, half), c.cut())),
        (response_until_close(BODY), lambda c: (send_raw(c, half[:3]), c.cut())),
        (response_until_close(BODY), lambda c: c.reset()),
    )
    for data, end in cases:
        check_cut(t, data, end, ("upstream_closed", "upstream_reset"), listener=OPTIONAL)


@test("a body until a reset: truncated")
def reset(t):
    check_cut(t, response_until_close(BODY), lambda c: c.reset())


@test("EOF without close_notify in a body with a length, between chunks, in the trailer: truncated")
def framed(t):
    check_cut(t, head("HTTP/1.1 200 OK", [("Content-Length", len(BODY) + 1)]) + BODY,
              lambda c: c.cut())
    beginning = head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + chunk(BODY)
    for more in b"", b"0\r\nX-Sum: 1\r\n":
        check_cut(t, beginning + more, lambda c: c.cut())


@test("a response that breaks in the middle: the log says how")
def broken(t):
    ends = {"decryption failed or bad record mac":
                lambda c: send_raw(c, b"\x17\x03\x03\x00\x20" + b"x" * 32),
            "the upstream closed the connection": lambda c: c.cut(),
            "Connection reset by peer": lambda c: c.reset()}
    beginning = head("HTTP/1.1 200 OK", [("Content-Length", len(BODY) + 1)]) + BODY
    for text, end in ends.items():
        kaproxy = start(t, https_upstream(t, beginning, passed_on(end)))
        peer = client(t, kaproxy)
        peer.send()
        peer.channel.read_end()
        kaproxy.wait_log(f'cut short: .* status=200 error="tls: in the middle of the answer: {text}"$')


@test("a framed response is complete, with or without close_notify after it")
def framed_and_whole(t):
    chunks = head("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")]) + chunk(BODY) + LAST_CHUNK
    for data in response(BODY), chunks:
        for end in lambda c: c.fin(), lambda c: c.cut(), lambda c: c.reset():
            kaproxy = start(t, https_upstream(t, data, passed_on(end)))
            t.equal(one_shot(t, kaproxy).body, BODY, "body")
            check_line(t, kaproxy, status=200, end="complete")
            kaproxy.wait_idle(0)


@test("openssl s_server, killed in the middle of a response")
def killed(t):
    upstream = t.own(OpensslUpstream(t))
    kaproxy = start(t, upstream.endpoint.replace("tls:", "https:"))
    peer = client(t, kaproxy)
    peer.send("GET", "/question")
    upstream.wait_output("GET /question")
    upstream.type("HTTP/1.1 200 OK\r\n\r\nabout to be more\n")
    t.equal(peer.channel.read_line(), b"HTTP/1.1 200 OK\r", "status line")
    upstream.close()
    t.check(not peer.channel.read_end()[0].endswith(LAST_CHUNK), "it ended as if complete")
    check_line(t, kaproxy, end="upstream_reset")


@test("opaque: close_notify is the end of the upstream's direction alone")
def half_close(t):
    def script(connection):
        connection.send(b"goodbye\n")
        connection.send_close_notify()

    upstream = t.own(TlsUpstream(script, keep=True))
    kaproxy = start(t, upstream)
    peer = kaproxy.connect()
    t.equal(peer.read_end(), (b"goodbye\n", "eof"), "what the client read")
    peer.close()
    t.equal(kaproxy.wait_session(peer)["end"], "complete", "end")


@test("opaque: an end without close_notify is a reset for the client")
def opaque_truncated(t):
    for end in lambda c: c.cut(), lambda c: c.drop(), lambda c: c.reset():
        def script(connection):
            connection.send(b"%d %s\n" % (1, connection.read_line()))
            connection.read_line()
            end(connection)

        kaproxy = start(t, t.own(TlsUpstream(script)))
        peer = kaproxy.connect()
        t.equal(peer.ask(b"x"), b"1 x", "response")
        peer.send(b"now\n")
        t.equal(peer.read_end(), (b"", "reset"), "what the client read")
        t.equal(kaproxy.wait_session(peer)["end"], "upstream_reset", "end")


@test("opaque, with tls_close_notify = optional: an end in order")
def opaque_optional(t):
    for end in lambda c: c.cut(), lambda c: c.drop():
        def script(connection):
            connection.send(b"%s\n" % connection.read_line())
            end(connection)

        kaproxy = start(t, t.own(TlsUpstream(script, keep=True)), listener=OPTIONAL)
        peer = kaproxy.connect()
        t.equal(peer.ask(b"x"), b"x", "response")
        t.equal(peer.read_end(), (b"", "eof"), "what the client read")
        peer.close()
        t.equal(kaproxy.wait_session(peer)["end"], "complete", "end")


@test("opaque: the client's half-close is a close_notify, and the response still arrives")
def client_half_close(t):
    seen = []

    def script(connection):
        data, end = connection.read_end()
        seen.append((data, end))
        connection.send(data.upper())

    kaproxy = start(t, t.own(TlsUpstream(script)))
    peer = kaproxy.connect()
    peer.send(b"all of it")
    peer.fin()
    t.equal(peer.read_end(), (b"ALL OF IT", "eof"), "what the client read")
    t.equal(seen, [(b"all of it", "eof")], "what the upstream read")


def wait_fin(connection):
    """What TCP has after the close_notify that was read: b"" is its end."""
    return socket.socket.recv(connection.socket, 1)


VERSIONS = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@test("opaque: TCP's end follows the close_notify of a client's half-close")
def client_fin(t):
    seen = []

    def script(connection):
        data, end = connection.read_end()
        seen.append((data, end, wait_fin(connection)))
        connection.send(data.upper())

    for version in VERSIONS:
        upstream = t.own(TlsUpstream(script, context=upstream_context(version=version)))
        kaproxy = start(t, upstream)
        peer = kaproxy.connect()
        peer.send(b"all of it")
        peer.fin()
        t.equal(peer.read_end(), (b"ALL OF IT", "eof"), "what the client read")
        t.equal(kaproxy.wait_session(peer)["end"], "complete", "end")
    t.equal(seen, [(b"all of it", "eof", b"")] * 2, "what the upstream read")


@test("a tunnel: TCP's end follows the close_notify of a client's half-close")
def tunnel_fin(t):
    seen = []

    def script(connection):
        read_request(connection)
        connection.send(head("HTTP/1.1 200 OK"))
        data, end = connection.read_end()
        seen.append((data, end, wait_fin(connection)))
        connection.send(data.upper())

    for version in VERSIONS:
        upstream = t.own(TlsUpstream(script, context=upstream_context(version=version)))
        kaproxy = start(t, f"https://127.0.0.1:{upstream.port}")
        peer = client(t, kaproxy)
        t.equal(peer.ask("CONNECT", "h.test:1", host="h.test:1").status, 200, "status")
        peer.channel.send(b"all of it")
        peer.channel.fin()
        t.equal(peer.channel.read_end(), (b"ALL OF IT", "eof"), "what the client read")
        check_line(t, kaproxy, end="complete")
    t.equal(seen, [(b"all of it", "eof", b"")] * 2, "what the upstream read")


def answer_one(connection, ends):
    """Responds to a line, and records how it ends."""
    connection.send(connection.read_line() + b"\n")
    ends.append(connection.read_end()[1])


@test("we end with close_notify: a connection too old, one use too many, at shutdown")
def ours(t):
    ends = []
    for pool in {"keep_alive": "100ms"}, {"max_uses": 1}, {}:
        upstream = t.own(TlsUpstream(lambda c: answer_one(c, ends)))
        kaproxy = start(t, upstream, pool=pool)
        peer = kaproxy.connect()
        t.equal(peer.ask(b"x"), b"x", "response")
        t.equal(peer.end(), "eof", "end")
        if pool:
            kaproxy.wait_idle(0)
        kaproxy.stop()
        upstream.join()
    t.equal(ends, ["eof"] * 3, "ends that the upstream saw")


@test("a client's reset reaches the upstream without a close_notify, but as an end")
def client_reset(t):
    ends = []
    upstream = t.own(TlsUpstream(lambda c: answer_one(c, ends)))
    kaproxy = start(t, upstream)
    peer = kaproxy.connect()
    t.equal(peer.ask(b"x"), b"x", "response")
    peer.reset()
    upstream.join()
    t.check(ends in (["reset"], ["cut"]), f"what the upstream saw: {ends}")
    t.equal(kaproxy.wait_session(peer)["end"], "client_reset", "end")


EARLY = response(b"too much", status=413)


@test("a response before the whole request, and then the end: the client gets it")
def early(t):
    for then in (lambda c: c.read_end(), lambda c: c.is_silent(0.3), lambda c: c.close(),
                 lambda c: c.drop()):
        def script(connection):
            read_request(connection, with_body=lambda _: False)
            connection.send(EARLY)
            then(connection)

        upstream = t.own(TlsUpstream(script))
        kaproxy = start(t, f"https://127.0.0.1:{upstream.port}")
        peer = client(t, kaproxy)
        peer.channel.send(head("POST /x HTTP/1.1", [("Host", "h"), ("Content-Length", 5_000_000)]))
        for _ in range(50):
            peer.channel.send(b"x" * 100_000)
        got = peer.response()
        t.equal((got.status, got.body), (413, b"too much"), "response")
        check_line(t, kaproxy, status=413, end="complete")


main()
