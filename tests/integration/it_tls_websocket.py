#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a WebSocket works over an https upstream, and its connection is not reused."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import client, describe, head, read_request
from kaptest.tls import TlsUpstream, start

UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
SWITCHING = head("HTTP/1.1 101 Switching Protocols", [
    ("Connection", "Upgrade"), ("Upgrade", "websocket"),
    ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")])
WELCOME = b"\x81\x07welcome"


def script(connection):
    """Greets together with its 101, then echoes."""
    while (message := read_request(connection)) is not None:
        message.connection = connection.number
        if message.get("Upgrade") is None:
            connection.send(describe(connection, message))
            continue
        connection.send(SWITCHING + WELCOME)
        while data := connection.receive():
            connection.send(data)
        return


@test("bytes both ways after the 101, and an orderly end")
def websocket(t):
    upstream = t.own(TlsUpstream(script))
    kaproxy = start(t, f"https://127.0.0.1:{upstream.port}")
    t.equal(client(t, kaproxy).ask("GET", "/x").body, b"1 GET /x ", "an ordinary response")
    kaproxy.wait_idle(1)
    with kaproxy.paused():  # so that it finds the request together with the client
        peer = client(t, kaproxy)
        peer.send("GET", "/chat", UPGRADE)
    got = peer.response()
    t.equal((got.status, got.get("Upgrade")), (101, "websocket"), "response")
    t.equal(peer.channel.read(len(WELCOME)), WELCOME, "greeting")
    for size in 1, 100, 70_000, 1_000_000:
        peer.channel.send(b"e" * size)
        t.equal(peer.channel.read(size).count(b"e"), size, "echo")
    t.check(peer.channel.is_silent(1.2), "something arrived")
    peer.channel.send(b"still here")
    t.equal(peer.channel.read(10), b"still here", "echo after a rest")
    t.equal(peer.channel.end(), "eof", "end")
    kaproxy.wait_idle(0)
    t.equal(client(t, kaproxy).ask("GET", "/y").body, b"2 GET /y ", "the next response")
    t.equal([s["from_cache"] for s in kaproxy.wait_sessions(3)], ["none", "immediate", "none"],
            "from_cache")


main()
