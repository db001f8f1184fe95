#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: with request_buffering = off a connection is requested as soon as a header is
complete, the body is passed on as it arrives, and so is the response meanwhile; what was sent is
still retried where that does no harm."""

import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, ScriptedUpstream, WAIT_MAX, main, test, wait_until
from kaptest.http import (LAST_CHUNK, HttpUpstream, check_line, chunk, client, describe, head,
                          one_shot, read_request, request, response, start)

OFF = {"request_buffering": "off"}
CHUNKED = ("Transfer-Encoding", "chunked")
CONTINUE = head("HTTP/1.1 100 Continue")
LARGE = (4 if SLOW else 40) << 20


def streaming(t, upstream, **options):
    return start(t, upstream, listener=OFF, **options)


def only_head(connection):
    """A request whose body is left to the caller."""
    return read_request(connection, with_body=lambda _: False)


def read_chunk(channel):
    size = int(channel.read_line(), 16)
    data = channel.read(size + 2)
    return data[:-2]


def framed(data, is_chunked):
    return chunk(data) if is_chunked else data


def framing(is_chunked, length):
    return [CHUNKED if is_chunked else ("Content-Length", length)]


WORDS = b"one", b"two2", b"three", b"four" * 10_000
TOTAL = sum(map(len, WORDS))


def echo(connection):
    """Echoes each part of a body as it arrives, framed like the request."""
    while (message := only_head(connection)) is not None:
        is_chunked = message.get("Transfer-Encoding") is not None
        connection.send(head("HTTP/1.1 200 OK", framing(is_chunked, TOTAL)))
        for word in WORDS:
            got = b""
            while len(got) < len(word):
                left = len(word) - len(got)
                got += read_chunk(connection) if is_chunked else connection.receive(left)
            connection.send(framed(got, is_chunked))
        if is_chunked:
            connection.send(LAST_CHUNK if read_chunk(connection) == b"" else b"")


@test("both directions at the same time, in step, with a length and chunked; both are reused")
def two_way(t):
    upstream = t.own(ScriptedUpstream(echo))
    kaproxy = streaming(t, upstream)
    peer = client(t, kaproxy)
    for is_chunked in False, True, True, False:
        peer.channel.send(head("POST /x HTTP/1.1", [("Host", "h"), *framing(is_chunked, TOTAL)]))
        line = peer.channel.read_line()
        t.equal(line, b"HTTP/1.1 200 OK\r", "status line, before any of the body was sent")
        fields = []
        while (line := peer.channel.read_line()) != b"\r":
            fields.append(line.lower())
        t.equal(b"connection: close\r" in fields, False, "Connection: close")
        for word in WORDS:
            peer.channel.send(framed(word, is_chunked))
            got = b""
            while len(got) < len(word):
                left = len(word) - len(got)
                got += read_chunk(peer.channel) if is_chunked else peer.channel.receive(left)
            t.equal(got, word, "the echo")
        if is_chunked:
            peer.channel.send(LAST_CHUNK)
            t.equal(read_chunk(peer.channel), b"", "the last chunk")
    t.equal([line["end"] for line in kaproxy.wait_sessions(4)], ["complete"] * 4, "ends")
    t.equal((upstream.accepted, kaproxy.counters()["idle"]), (1, 1), "connections, idle ones")


def mirror(connection):
    """Echoes a large body as fast as both sides take it."""
    message = only_head(connection)
    is_chunked = message.get("Transfer-Encoding") is not None
    connection.send(head("HTTP/1.1 200 OK", framing(is_chunked, LARGE)))
    left = LARGE
    while left > 0:
        data = read_chunk(connection) if is_chunked else connection.receive(min(left, 1 << 17))
        connection.send(framed(data, is_chunked))
        left -= len(data)
    if is_chunked and read_chunk(connection) == b"":
        connection.send(LAST_CHUNK)


@test("much in both directions at the same time: neither delays the other, all arrives in order")
def much(t):
    body = b"".join(b"%07x." % at for at in range(0, LARGE, 8))
    for is_chunked in False, True:
        kaproxy = streaming(t, t.own(ScriptedUpstream(mirror)))
        peer = client(t, kaproxy)
        peer.channel.send(head("PUT /x HTTP/1.1", [("Host", "h"), *framing(is_chunked, LARGE)]))

        def send(peer=peer, is_chunked=is_chunked):
            for at in range(0, LARGE, 1 << 16):
                peer.channel.send(framed(body[at:at + (1 << 16)], is_chunked))
            if is_chunked:
                peer.channel.send(LAST_CHUNK)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            t.check(peer.response().body == body, "the echo differs from what was sent")
        finally:
            sender.join()
        check_line(t, kaproxy, status=200, end="complete")


@test("a body continues while an endless response arrives")
def endless(t):
    """The upstream sends until it has the whole request; then its response ends. Its chunks are so
    small that kaproxy is slower than both sides, and always has more to do."""
    def script(connection):
        only_head(connection)
        connection.send(head("HTTP/1.1 200 OK", [CHUNKED]))
        whole = threading.Event()
        chunks = chunk(b"y") * 50_000

        def send():
            while not whole.is_set():
                connection.send(chunks)
            connection.send(LAST_CHUNK)

        sender = threading.Thread(target=send)
        sender.start()
        connection.read(LARGE)
        whole.set()
        sender.join()

    kaproxy = streaming(t, t.own(ScriptedUpstream(script)))
    peer = client(t, kaproxy)
    peer.channel.send(head("PUT /x HTTP/1.1", [("Host", "h"), ("Content-Length", LARGE)]))
    sender = threading.Thread(target=peer.channel.send, args=(b"x" * LARGE,))
    sender.start()
    body = peer.response().body
    t.equal(set(body), {ord("y")}, "bytes of the response")
    t.at_most(len(body), 10 * LARGE, "bytes of the response until the end of the request")
    sender.join()
    check_line(t, kaproxy, status=200, end="complete")


@test("with request_buffering = on no connection is requested before a small body is complete")
def buffered(t):
    upstream = t.own(HttpUpstream())
    for listener in None, {"request_buffering": "on"}:
        kaproxy = start(t, upstream, listener=listener)
        peer = client(t, kaproxy)
        peer.channel.send(request("POST", "/x", body=b"small")[:-1])
        t.check(peer.channel.is_silent(0.1), "something arrived")
        t.equal(upstream.accepted, 0, "connections")


@test("an early rejection arrives before the body is sent, and the upload is discarded")
def refused(t):
    def script(connection):
        only_head(connection)
        connection.send(response(b"too much", status=413))
        connection.read_end()

    for fields in [("Content-Length", 10_000_000)], [CHUNKED]:
        kaproxy = streaming(t, t.own(ScriptedUpstream(script)))
        peer = client(t, kaproxy)
        peer.channel.send(head("POST /x HTTP/1.1", [("Host", "h"), *fields]))
        got = peer.response()
        t.equal((got.status, got.body, got.closes()), (413, b"too much", True), "response")
        for _ in range(100):
            peer.channel.send(chunk(b"x" * 100_000))
        t.equal(peer.channel.end(), "eof", "end")
        check_line(t, kaproxy, status=413, end="complete")
        t.equal(kaproxy.counters()["discard_early_response"], 1, "discarded")


@test("a response that is complete before its request: both connections end, and no reset is seen")
def complete_early(t):
    def script(connection):
        only_head(connection)
        connection.send(response(b"enough"))
        connection.read_end()

    kaproxy = streaming(t, t.own(ScriptedUpstream(script)))
    peer = client(t, kaproxy)
    peer.channel.send(head("POST /x HTTP/1.1", [("Host", "h"), ("Content-Length", 1000)]))
    t.equal(peer.response().body, b"enough", "response")
    peer.channel.send(b"x" * 1000 + request("GET", "/y"))
    t.equal(peer.channel.end(), "eof", "end")
    t.equal(kaproxy.counters()["discard_early_response"], 1, "discarded")
    t.equal(len(kaproxy.wait_sessions(1)), 1, "lines of the access log")


def stale(rest=b"", reply=None):
    """The first connection serves one request, reads the header and this much of the body of the
    second, and closes; others echo."""
    def script(connection):
        while (message := read_request(connection, lambda m: m.target == "/first" or
                                       connection.number > 1)) is not None:
            message.connection = connection.number
            if message.target != "/first" and connection.number == 1:
                connection.read(len(rest))
                seen.set()
                if reply:
                    connection.send(reply)
                return
            connection.send(describe(connection, message))

    seen = threading.Event()
    return script, seen


def warm(t, script):
    upstream = t.own(ScriptedUpstream(script))
    kaproxy = streaming(t, upstream)
    t.equal(one_shot(t, kaproxy, "GET", "/first").status, 200, "status of the first")
    kaproxy.wait_idle(1)
    return upstream, kaproxy


@test("a used connection that closes in mid-body: what is held is retried, and the rest")
def again(t):
    timeout = response(b"slow", [("Connection", "close")], 408)
    for first, is_chunked, reply in ((b"", False, None), (b"part", False, None),
                                     (b"p" * 60_000, False, None), (b"part", True, None),
                                     (b"part", False, timeout)):
        script, seen = stale(framed(first, is_chunked) if first else b"", reply)
        upstream, kaproxy = warm(t, script)
        peer = client(t, kaproxy)
        peer.channel.send(head("PUT /x HTTP/1.1",
                               [("Host", "h"), *framing(is_chunked, len(first) + 4)]))
        if first:  # separately, so that it is not read together with the header
            kaproxy.counters()
            peer.channel.send(framed(first, is_chunked))
        t.check(seen.wait(WAIT_MAX), "the upstream did not get the first part")
        upstream.wait_accepted(2)
        peer.channel.send(framed(b"rest", is_chunked) + (LAST_CHUNK if is_chunked else b""))
        t.equal(peer.response().body, b"2 PUT /x " + first + b"rest", "response")
        check_line(t, kaproxy, 2, retried=1, status=200, end="complete", from_cache="none")


@test("but not a POST, nor if more was sent than is held")
def not_again(t):
    for method, size in ("POST", 10), ("PUT", 300_000):
        script, seen = stale(b"x" * size)
        upstream, kaproxy = warm(t, script)
        peer = client(t, kaproxy)
        peer.channel.send(head(f"{method} /x HTTP/1.1",
                               [("Host", "h"), ("Content-Length", size + 1)]) + b"x" * size)
        t.check(seen.wait(WAIT_MAX), "the upstream did not get the first part")
        t.equal(peer.response().status, 502, f"status of {method}")
        t.equal(upstream.accepted, 1, "connections")
        line = check_line(t, kaproxy, 2, status=502, end="upstream_closed")
        t.check("retried" not in line, "the log says that it was retried")


@test("Expect is passed on while nothing of the body has arrived, and so is the upstream's 100")
def expect(t):
    def with_body(connection, message):
        if message.get("Expect"):
            connection.send(CONTINUE)
        return True

    for fields, body in ([("Content-Length", 5)], b"hello"), ([CHUNKED], chunk(b"hello") + LAST_CHUNK):
        upstream = t.own(HttpUpstream(with_body=with_body))
        kaproxy = streaming(t, upstream)
        peer = client(t, kaproxy)
        peer.send("PUT", "/x", [("Expect", "100-continue"), *fields])
        t.equal(peer.response(interim=False).status, 100, "first status")
        peer.channel.send(body)
        t.equal(peer.response().body, b"1 PUT /x hello", "response")
        peer.send("PUT", "/y", [("Expect", "100-continue"), *fields], body)
        got = peer.response()
        t.equal((got.interim, got.body), ([], b"1 PUT /y hello"), "interim, final")
        t.equal([r.get("Expect") for r in upstream.requests], ["100-continue", None], "Expect")


@test("what arrives complete with its header is sent as with on")
def at_once(t):
    upstream = t.own(HttpUpstream())
    kaproxy = streaming(t, upstream)
    peer = client(t, kaproxy)
    peer.channel.send(request("PUT", "/x", [CHUNKED], chunk(b"a") + chunk(b"b") + LAST_CHUNK))
    t.equal(peer.response().body, b"1 PUT /x ab", "response")
    t.equal(upstream.requests[0].get("Content-Length"), "2", "Content-Length at the upstream")


@test("trailers, and a request of HTTP/1.0")
def others(t):
    upstream = t.own(HttpUpstream())
    kaproxy = streaming(t, upstream)
    peer = client(t, kaproxy)
    peer.send("PUT", "/x", [CHUNKED])
    upstream.wait_accepted(1)
    for part in chunk(b"a"), b"0\r\n", b"X-Sum: 1\r\n", b"\r\n":
        peer.channel.send(part)
        kaproxy.counters()  # it has had a turn since
    t.equal(peer.response().body, b"1 PUT /x a", "response")
    t.equal(upstream.requests[0].trailer, [("X-Sum", "1")], "trailer")
    peer = client(t, kaproxy)
    peer.send("PUT", "/y", [("Content-Length", 3)], version="1.0")
    for byte in b"abc":
        peer.channel.send(bytes([byte]))
        kaproxy.counters()
    t.equal(peer.response().body, b"1 PUT /y abc", "response")


@test("a client that leaves in the middle of its body: the upstream never accepts it as complete")
def leaves(t):
    for leave in "fin", "reset":
        upstream = t.own(HttpUpstream())
        kaproxy = streaming(t, upstream)
        peer = client(t, kaproxy)
        peer.channel.send(request("PUT", "/x", body=b"hello")[:-1])
        connection = upstream.wait_accepted(1)
        wait_until(lambda c=connection: c.received.endswith(b"hell"), "the first part of the body")
        getattr(peer.channel, leave)()
        check_line(t, kaproxy, status="-", method="PUT", end="client_reset")
        t.equal(upstream.requests, [], "requests that the upstream accepted as complete")
        t.equal(kaproxy.counters()["discard_client_abort"], 1, "discarded")


main()
