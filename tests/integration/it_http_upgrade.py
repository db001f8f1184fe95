#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: upgrades to any protocol but h2c, and CONNECT, become tunnels whose connection
is not reused."""

import base64
import hashlib
import os
import struct
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, main, test, wait_until
from kaptest.http import (HttpUpstream, check_line, client, describe, head, read_request, response,
                          start)

UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
CLOSE = 8


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def frame(opcode, payload, mask=b""):
    """One complete message, RFC 6455 5.2."""
    flag, length = (0x80 if mask else 0), len(payload)
    if length < 126:
        size = struct.pack("!B", flag | length)
    elif length < 65536:
        size = struct.pack("!BH", flag | 126, length)
    else:
        size = struct.pack("!BQ", flag | 127, length)
    key = (mask * (length // 4 + 1))[:length]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")
    return bytes([0x80 | opcode]) + size + mask + masked


def read_frame(channel):
    """(opcode, payload)."""
    first, second = channel.read(2)
    length = second & 0x7F
    if length >= 126:
        length = int.from_bytes(channel.read(2 if length == 126 else 8), "big")
    mask = channel.read(4) if second & 0x80 else b"\0\0\0\0"
    payload, key = channel.read(length), (mask * (length // 4 + 1))[:length]
    plain = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return first & 0x0F, plain.to_bytes(length, "big")


def websocket_upstream(connection):
    """Greets together with its 101, echoes messages, and closes as RFC 6455 7 says."""
    while (message := read_request(connection)) is not None:
        message.connection = connection.number
        if message.get("Upgrade") is None:
            connection.send(describe(connection, message))
            continue
        connection.send(head("HTTP/1.1 101 Switching Protocols", [
            ("Connection", "Upgrade"), ("Upgrade", "websocket"),
            ("Sec-WebSocket-Accept", accept_key(message.get("Sec-WebSocket-Key")))])
            + frame(1, b"welcome"))
        while True:
            opcode, payload = read_frame(connection)
            connection.send(frame(opcode, payload))
            if opcode == CLOSE:
                return


def open_websocket(t, kaproxy):
    peer = client(t, kaproxy)
    key = base64.b64encode(os.urandom(16)).decode()
    got = peer.ask("GET", "/chat", [*UPGRADE, ("Sec-WebSocket-Key", key)])
    t.equal((got.status, got.get("Upgrade"), got.get("Connection")),
            (101, "websocket", "upgrade"), "response")
    t.equal(got.get("Sec-WebSocket-Accept"), accept_key(key), "accepted key")
    t.equal(read_frame(peer.channel), (1, b"welcome"), "greeting")
    return peer.channel


@test("a WebSocket: messages of all sizes both ways, then an orderly end")
def websocket(t):
    upstream = t.own(ScriptedUpstream(websocket_upstream))
    kaproxy = start(t, upstream)
    channel = open_websocket(t, kaproxy)
    for size in 0, 1, 125, 126, 65535, 65536, 1_000_000:
        payload = os.urandom(size)
        channel.send(frame(2, payload, os.urandom(4)))
        t.equal(read_frame(channel), (2, payload), f"echo of {size} bytes")
    channel.send(frame(CLOSE, b"\x03\xe8", os.urandom(4)))
    t.equal(read_frame(channel)[0], CLOSE, "last message")
    t.equal(channel.end(), "eof", "end")
    line = check_line(t, kaproxy, status=101, method="GET", target="/chat", end="complete")
    t.at_least(int(line["bytes_up"]), 1_000_000, "bytes_up")
    t.equal(kaproxy.counters()["idle"], 0, "idle connections")
    t.equal(client(t, kaproxy).ask().body, b"2 GET / ", "the next client's response")


@test("its connection is counted until the end, and other clients have others")
def beside(t):
    kaproxy = start(t, t.own(ScriptedUpstream(websocket_upstream)), pool={"max_per_host": 2})
    channel = open_websocket(t, kaproxy)
    t.equal(client(t, kaproxy).ask().body, b"2 GET / ", "another client's response")
    t.equal(kaproxy.counters()["held"], 1, "held connections")
    channel.reset()
    wait_until(lambda: kaproxy.counters()["held"] == 0, "the connection to be returned")
    check_line(t, kaproxy, 2, status=101, end="client_reset")


@test("an upstream that declines responds as usual, and its connection is reused")
def declined(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    t.equal(peer.ask("GET", "/chat", UPGRADE).body, b"1 GET /chat ", "response")
    t.equal(upstream.requests[0].get("Upgrade"), "websocket", "Upgrade at the upstream")
    t.equal(peer.ask("GET", "/x").body, b"1 GET /x ", "response to the next request")


def switching_upstream(connection):
    """Switches to the first protocol that is requested, and echoes."""
    message = read_request(connection)
    protocol = message.get("Upgrade").split(", ")[0]
    connection.send(head("HTTP/1.1 101 UPGRADED", [("Upgrade", protocol), ("Connection", "x, Upgrade"),
                                                   ("Content-Type", "raw")]) + message.body)
    while data := connection.receive():
        connection.send(data)


@test("any protocol, any method, with content and without: what the upstream gets, and the tunnel")
def protocols(t):
    upstream = t.own(ScriptedUpstream(switching_upstream))
    kaproxy = start(t, upstream, listener={"host": "up"})
    cases = (("POST", "tcp", None, "tcp"),  # docker attach
             ("POST", "tcp", b'{"Detach":false}', "tcp"),  # docker exec
             ("GET", "SPDY/3.1", None, "SPDY/3.1"),  # kubectl exec
             ("FROB", 'h2c, "x", a b, Foo/2 , tcp', None, "Foo/2, tcp"))
    for number, (method, asked, body, passed) in enumerate(cases, 1):
        peer = client(t, kaproxy)
        got = peer.ask(method, "/x", [("Connection", "Upgrade"), ("Upgrade", asked)], body)
        t.equal((got.status, got.get("Upgrade"), got.get("Connection"), got.get("Content-Type")),
                (101, passed.split(", ")[0], "upgrade", "raw"), f"response to {asked}")
        t.equal(peer.channel.read(len(body or b"")), body or b"", "the content")
        peer.channel.send(b"hello")
        t.equal(peer.channel.read(5), b"hello", "echo")
        wanted = (f"{method} /x HTTP/1.1\r\nHost: up\r\n" +
                  (f"Content-Length: {len(body)}\r\n" if body else "") +
                  f"Connection: upgrade\r\nUpgrade: {passed}\r\n\r\n").encode()
        t.equal(bytes(upstream.connections[-1].received), wanted + (body or b"") + b"hello",
                "what the upstream got")
        t.equal(peer.channel.end(), "eof", "end")
        check_line(t, kaproxy, number, status=101, method=method, end="complete")
    t.equal(upstream.accepted, len(cases), "connections")
    t.equal(kaproxy.counters()["idle"], 0, "idle connections")


@test("h2c, and what an HTTP/1.0 client requests, is not passed on")
def others(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream)
    h2c = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "A")]
    for fields, options in (h2c, {}), (UPGRADE, {"version": "1.0"}), (UPGRADE[1:], {}):
        t.equal(client(t, kaproxy).ask("GET", "/", fields, **options).status, 200, "status")
        seen = upstream.requests[-1].names()
        t.equal(seen & {"upgrade", "connection", "http2-settings"}, set(), "fields passed on")


@test("an unrequested 101: 502, which says when an Upgrade was left out")
def unasked(t):
    reply = head("HTTP/1.1 101 x", [("Connection", "upgrade"), ("Upgrade", "h2c")])
    upstream = t.own(HttpUpstream(lambda c, m: reply))
    kaproxy = start(t, upstream)
    for asked, text in ((None, b"101 without an Upgrade"), ("h2c", b"not passed on"),
                        ("tcp", b"was not asked for"), ("tcp, h2c", b"not passed on")):
        fields = [("Connection", "Upgrade"), ("Upgrade", asked)] if asked else []
        got = client(t, kaproxy).ask("GET", "/", fields)
        t.equal(got.status, 502, f"status for {asked}")
        t.check(text in got.body, f"text for {asked}: {got.body!r}")
    t.equal(kaproxy.counters().get("discard_protocol_error"), 4, "discarded")


@test("a 101 before the whole request was sent is not one")
def early(t):
    def script(connection):
        read_request(connection, with_body=lambda _: False)
        connection.send(head("HTTP/1.1 101 x", [("Connection", "upgrade"), ("Upgrade", "tcp")]))
        connection.read_end()

    upstream = t.own(ScriptedUpstream(script))
    peer = client(t, start(t, upstream))
    peer.channel.send(head("POST / HTTP/1.1", [("Host", "h"), ("Connection", "upgrade"),
                                               ("Upgrade", "tcp"), ("Content-Length", 200_000)]))
    peer.channel.send(b"x" * 150_000)
    t.equal(peer.response().status, 502, "status")


def proxy_upstream(connection):
    """Grants CONNECT to one place only, and echoes."""
    while (message := read_request(connection)) is not None:
        if message.target != "good.test:443":
            connection.send(response(b"no", status=403))
            continue
        connection.send(head("HTTP/1.1 200 Connected"))
        while data := connection.receive():
            connection.send(data)
        return


@test("CONNECT: a tunnel after 2xx, whichever side ends it")
def connect(t):
    upstream = t.own(ScriptedUpstream(proxy_upstream))
    kaproxy = start(t, upstream)
    for number in 1, 2:
        peer = client(t, kaproxy)
        got = peer.ask("CONNECT", "good.test:443", host="good.test:443")
        t.equal((got.status, got.names() - {"date"}), (200, set()), "response")
        for data in b"hello", b"x" * 300_000:
            peer.channel.send(data)
            t.equal(peer.channel.read(len(data)), data, "echo")
        if number == 1:
            t.equal(peer.channel.end(), "eof", "end")
        else:
            upstream.connections[1].fin()
            t.equal(peer.channel.read_end(), (b"", "eof"), "end by the upstream")
            peer.channel.close()
        check_line(t, kaproxy, number, status=200, method="CONNECT", target="good.test:443",
                   end="complete")
    t.equal(kaproxy.counters()["idle"], 0, "idle connections")


@test("CONNECT that is refused: a response like any other")
def connect_refused(t):
    upstream = t.own(ScriptedUpstream(proxy_upstream))
    peer = client(t, start(t, upstream))
    for _ in range(2):
        got = peer.ask("CONNECT", "bad.test:443")
        t.equal((got.status, got.body), (403, b"no"), "response")
    t.equal(upstream.accepted, 1, "connections")


@test("a tunnel in which nothing moves ends after idle_timeout")
def idle(t):
    upstream = t.own(ScriptedUpstream(proxy_upstream))
    kaproxy = start(t, upstream, listener={"idle_timeout": "400ms"})
    peer = client(t, kaproxy)
    t.equal(peer.ask("CONNECT", "good.test:443").status, 200, "status")
    t.equal(peer.channel.read_end(), (b"", "reset"), "end")
    check_line(t, kaproxy, status=200, end="idle_timeout")


@test("an upstream that resets a tunnel: the client gets what arrived, and then a reset")
def resets(t):
    data = os.urandom(200_000)
    upstream = t.own(ScriptedUpstream(keep=True))
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy, receive_buffer=4096)
    peer.send("CONNECT", "good.test:443")
    connection = upstream.wait_accepted(1)
    read_request(connection)
    connection.send(head("HTTP/1.1 200 Connected") + data)
    wait_until(lambda: connection.untaken() == 0, "the bytes to be received")
    connection.reset()
    wait_until(lambda: kaproxy.counters()["busy"] == 0, "the connection to be returned")
    t.equal(peer.response().status, 200, "status")
    t.check(peer.channel.read_end() == (data, "reset"), "what the client got")
    check_line(t, kaproxy, status=200, end="upstream_reset")


main()
