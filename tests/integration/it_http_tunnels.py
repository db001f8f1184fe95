#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: connections that clients may hold for as long as they like count under
max_tunnels, leave max_per_host to others, and are refused before anything is sent."""

import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import WAIT_MAX, main, test, wait_until
from kaptest.http import HttpUpstream, check_line, client, describe, head, one_shot, response, start

UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
SWITCHED = head("HTTP/1.1 101 Switching Protocols", UPGRADE)
CREDENTIALS = [("Authorization", "NTLM TlRMTVNTUAAB")]
CHALLENGE = [("WWW-Authenticate", "NTLM TlRMTVNTUAAC")]

# How a connection becomes a client's own: the request, and the status that grants it.
WAYS = {
    "Upgrade": (("GET", "/chat", UPGRADE), 101),
    "CONNECT": (("CONNECT", "far.test:443"), 200),
    "NTLM": (("GET", "/", CREDENTIALS), 401),
}


class Origin(HttpUpstream):
    """Grants all of them, and echoes in its tunnels."""

    def __init__(self, **options):
        super().__init__(self.grant, **options)

    def grant(self, connection, message):
        if message.get("Authorization") is not None:
            return response(b"", CHALLENGE, 401)
        if message.get("Upgrade") is None and message.method != "CONNECT":
            return describe(connection, message)
        connection.send(SWITCHED if message.method == "GET" else head("HTTP/1.1 200 Connected"))
        while data := connection.receive():
            connection.send(data)
        return None


def hold(t, kaproxy, way="Upgrade"):
    arguments, status = WAYS[way]
    peer = client(t, kaproxy)
    t.equal(peer.ask(*arguments).status, status, f"status of {way}")
    return peer


def echo(t, peer):
    peer.channel.send(b"hello")
    t.equal(peer.channel.read(5), b"hello", "echo")


def refused(t, kaproxy, way="Upgrade", limit=1):
    got = client(t, kaproxy).ask(*WAYS[way][0])
    t.equal((got.status, got.get("Retry-After")), (503, "1"), f"status and Retry-After of {way}")
    t.check(f"(max_tunnels = {limit})".encode() in got.body, f"no reason: {got.body!r}")


def counts(kaproxy):
    counters = kaproxy.counters()
    return counters["held"], counters["busy"], counters["idle"]


@test("as many WebSockets as max_per_host, and the upstream is available to all others")
def others_are_served(t):
    upstream = t.own(Origin())
    kaproxy = start(t, upstream, pool={"max_per_host": 4})
    peers = [hold(t, kaproxy) for _ in range(4)]
    t.equal(one_shot(t, kaproxy).body, b"5 GET / ", "another client's response")
    t.equal(counts(kaproxy), (4, 0, 1), "held, busy, idle")
    for peer in peers:
        echo(t, peer)


@test("a request that waits for max_per_host is served as soon as its connection is a tunnel")
def waiters_are_served(t):
    go = threading.Event()
    t.callback(go.set)

    def handler(connection, message):
        if message.get("Upgrade"):
            go.wait(WAIT_MAX)
        return upstream.grant(connection, message)

    upstream = t.own(Origin())
    upstream.handler = handler
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    first, waiting = client(t, kaproxy), client(t, kaproxy)
    first.send("GET", "/", UPGRADE)
    upstream.wait_requests(1)
    t.equal(counts(kaproxy), (0, 1, 0), "held, busy, idle before the response")
    waiting.send()
    wait_until(lambda: kaproxy.counters()["waiting"] == 1, "a client in the queue")
    go.set()
    t.equal(first.response().status, 101, "status of the first")
    t.equal(waiting.response().body, b"2 GET / ", "response to the waiting client")


@test("beyond max_tunnels: 503 before anything is sent, until one ends")
def limit(t):
    for way in WAYS:
        upstream = t.own(Origin())
        kaproxy = start(t, upstream, pool={"max_tunnels": 1})
        peer = hold(t, kaproxy, way)
        for number, other in enumerate(WAYS, 2):
            refused(t, kaproxy, other)
            check_line(t, kaproxy, number - (way != "NTLM"), status=503, end="alloc_failed",
                       function="allocate", errno=11)
        t.equal(len(upstream.requests), 1, "requests at the upstream")
        t.equal(counts(kaproxy), (1, 0, 0), "held, busy, idle: none was opened for a refusal")
        t.equal(one_shot(t, kaproxy).body, b"2 GET / ", "an ordinary request's response")
        peer.channel.close()
        wait_until(lambda k=kaproxy: k.counters()["held"] == 0, "the connection to be closed")
        hold(t, kaproxy, way)


@test("max_tunnels = 0: none, and all else is served")
def none(t):
    upstream = t.own(Origin())
    kaproxy = start(t, upstream, pool={"max_tunnels": 0})
    for way in WAYS:
        refused(t, kaproxy, way, 0)
    t.equal(one_shot(t, kaproxy).body, b"1 GET / ", "response")
    t.equal(len(upstream.requests), 1, "requests at the upstream")


@test("which is reported at once if no connection is free, and if none can be opened")
def at_once(t):
    go = threading.Event()
    t.callback(go.set)
    upstream = t.own(HttpUpstream(lambda *_: go.wait(WAIT_MAX) and response(b"")))
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "max_tunnels": 0})
    busy = client(t, kaproxy)
    busy.send()
    upstream.wait_requests(1)
    for way in WAYS:
        refused(t, kaproxy, way, 0)
    peer = client(t, kaproxy)
    peer.send("POST", "/", [*UPGRADE, ("Content-Length", "4")], b"body")
    t.equal(peer.response().status, 503, "status with a body")
    check_line(t, kaproxy, len(WAYS) + 1, from_cache="-", wait_ms=0.0, conn="-", end="alloc_failed")
    go.set()
    t.equal(busy.response().status, 200, "status of the one in progress")
    upstream.close()
    refused(t, kaproxy, limit=0)


def in_vain(t, discarded, **options):
    """Two wait for a connection while a place is free; the first to get one takes the place."""
    go = threading.Event()
    t.callback(go.set)

    def handler(connection, message):
        if message.target == "/busy":
            go.wait(WAIT_MAX)
        return upstream.grant(connection, message)

    upstream = t.own(Origin())
    upstream.handler = handler
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "max_tunnels": 1}, **options)
    busy, first, second = [client(t, kaproxy) for _ in range(3)]
    busy.send("GET", "/busy")
    upstream.wait_requests(1)
    for number, peer in enumerate((first, second), 1):
        peer.send("GET", "/chat", UPGRADE)
        wait_until(lambda n=number: kaproxy.counters()["waiting"] == n, "a client in the queue")
    go.set()
    t.equal(first.response().status, 101, "status of the first")
    t.equal(second.response().status, 503, "status of the second")
    t.equal([message.target for message in upstream.requests], ["/busy", "/chat"], "requests")
    t.equal(counts(kaproxy), (1, 0, 1 - discarded), "held, busy, idle")


@test("a request that waited for a connection while the last place was taken is refused, too")
def taken_meanwhile(t):
    in_vain(t, 0)


@test("reuse = never: the connection obtained in vain is closed")
def never(t):
    in_vain(t, 1, reuse="never")


@test("an Upgrade that is declined takes no place from its response's header on")
def declined(t):
    go = threading.Event()
    t.callback(go.set)

    def handler(connection, message):
        if message.target != "/declined":
            return upstream.grant(connection, message)
        connection.send(head("HTTP/1.1 200 OK", [("Content-Length", "4")]))
        go.wait(WAIT_MAX)
        return b"body"

    upstream = t.own(Origin())
    upstream.handler = handler
    kaproxy = start(t, upstream, pool={"max_tunnels": 1})
    peer = client(t, kaproxy)
    peer.send("GET", "/declined", UPGRADE)
    lines = iter(peer.channel.read_line, b"\r")
    t.equal(next(lines), b"HTTP/1.1 200 OK\r", "status line")
    t.check(b"Content-Length: 4\r" in list(lines), "no Content-Length")
    echo(t, hold(t, kaproxy))
    go.set()
    t.equal(peer.channel.read(4), b"body", "body")
    t.equal(counts(kaproxy), (1, 0, 1), "held, busy, idle")


@test("an Upgrade that is retried on a new connection takes one place")
def retried(t):
    def handler(connection, message):
        if message.get("Upgrade") and connection.number == 1:
            return None
        return upstream.grant(connection, message)

    upstream = t.own(Origin())
    upstream.handler = handler
    kaproxy = start(t, upstream, pool={"max_tunnels": 1})
    t.equal(one_shot(t, kaproxy).body, b"1 GET / ", "response")
    peer = hold(t, kaproxy)
    echo(t, peer)
    t.equal(counts(kaproxy), (1, 0, 0), "held, busy, idle")
    peer.channel.end()
    check_line(t, kaproxy, 2, status=101, retried=1)


@test("a tunnel of a client with affinity takes no second place")
def both(t):
    upstream = t.own(Origin())
    kaproxy = start(t, upstream, pool={"max_tunnels": 1})
    peer = hold(t, kaproxy, "NTLM")
    t.equal(peer.ask(*WAYS["Upgrade"][0]).status, 101, "status")
    echo(t, peer)
    t.equal(counts(kaproxy), (1, 0, 0), "held, busy, idle")


main()
