#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a connection whose peer acknowledges nothing for unacked_timeout is dead, and
its request is retried if that does no harm; one whose peer merely does not read, or takes long, is
alive."""

import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, WAIT_MAX, answer_lines, main, test, wait_until
from kaptest.http import (HttpUpstream, check_line, client, describe, head, held, one_shot,
                          read_request, start)
from kaptest.silence import deaf_listener, deafen, need_filters, undeafen
from kaptest.tls import HttpsUpstream, TlsUpstream, settings

POOL = {"unacked_timeout": 1}
TEXT = b"the upstream did not acknowledge what it was sent within unacked_timeout=1s"


def discards(kaproxy, pool="default"):
    return kaproxy.counters(pool)["discard_unacked"]


def warm(t, upstream, **options):
    """A kaproxy with one idle connection, which was used once and receives nothing from now on."""
    kaproxy = start(t, upstream, pool=POOL, **options)
    t.equal(one_shot(t, kaproxy, "GET", "/first").status, 200, "status of the first")
    kaproxy.wait_idle(1)
    deafen(upstream.connections[0])
    return kaproxy


class Clock:
    """Opaque sessions of a separate kaproxy, each of which is found to be dead: when one is,
    whatever began before it was checked as well. (It lets unacked_timeout pass, without a
    clock.)"""

    def __init__(self, t):
        self.t = t

    def tick(self):
        upstream = self.t.own(ScriptedUpstream(listener=deaf_listener()))
        kaproxy = self.t.kaproxy(upstream.endpoint, pool=POOL)
        peer = kaproxy.connect()
        peer.send(b"x\n")
        self.t.equal(peer.read_end(), (b"", "reset"), "a dead session")


def check_dead(t, kaproxy, peer):
    """An opaque client's connection is found dead."""
    t.equal(peer.read_end(), (b"", "reset"), "what the client read")
    check_log(t, kaproxy, peer)


def check_log(t, kaproxy, peer):
    t.equal(kaproxy.wait_session(peer)["end"], "upstream_reset", "end")
    kaproxy.wait_log(r"connection broken: listener=main client=127\.0\.0\.1:\d+ upstream=\S+ "
                     rf'function=send errno=110 error="{TEXT.decode()}"$')
    t.equal(discards(kaproxy), 1, "discarded")


# HTTP


@test("http, https: a request on a pooled connection that is dead is retried")
def retried(t):
    for kind, listener in (HttpUpstream, None), (HttpsUpstream, settings()):
        upstream = t.own(kind())
        kaproxy = warm(t, upstream, listener=listener)
        t.equal(one_shot(t, kaproxy, "GET", "/x").body, b"2 GET /x ", "response")
        check_line(t, kaproxy, 2, retried=1, status=200, end="complete", from_cache="none")
        t.equal(discards(kaproxy), 1, "discarded")


@test("three GETs and two dead connections: all get a response")
def three(t):
    together = threading.Barrier(2)

    def handler(connection, message):
        if message.target == "/first":
            together.wait(WAIT_MAX)
        return describe(connection, message)

    upstream = t.own(HttpUpstream(handler))
    kaproxy = start(t, upstream, pool=POOL)
    for target, count in ("/first", 2), ("/x", 3):
        peers = [client(t, kaproxy) for _ in range(count)]
        for peer in peers:
            peer.send("GET", target)
        for peer in peers:
            t.equal(peer.response().status, 200, f"status of {target}")
        if target == "/first":
            kaproxy.wait_idle(2)
            for connection in upstream.connections:
                deafen(connection)
    t.equal(discards(kaproxy), 2, "discarded")


@test("a POST is not retried: 504 with the reason")
def post(t):
    upstream = t.own(HttpUpstream())
    kaproxy = warm(t, upstream)
    got = one_shot(t, kaproxy, "POST", "/x", body=b"x")
    t.equal((got.status, got.body.strip()), (504, b"504 Gateway Timeout\n" + TEXT), "response")
    check_line(t, kaproxy, 2, status=504, end="upstream_reset")
    kaproxy.wait_log(rf'answered: .* status=504 error="{TEXT.decode()}"$')
    t.equal(discards(kaproxy), 1, "discarded")
    t.equal(len(upstream.requests), 1, "requests")


@test("neither is anything on an unused connection")
def fresh(t):
    upstream = t.own(HttpUpstream(listener=deaf_listener()))
    kaproxy = start(t, upstream, pool=POOL)
    t.equal(one_shot(t, kaproxy).status, 504, "status")
    t.equal((upstream.accepted, discards(kaproxy)), (1, 1), "connections, and discarded")


@test("in the middle of a large body, after a 100: 504")
def in_body(t):
    need_filters()
    def script(connection):
        read_request(connection, with_body=lambda _: False)
        connection.send(head("HTTP/1.1 100 Continue"))
        connection.read(100_000)
        deafen(connection)
        go.wait(WAIT_MAX)

    go = threading.Event()
    kaproxy = start(t, t.own(ScriptedUpstream(script)), pool=POOL)
    t.callback(go.set)
    peer = client(t, kaproxy)
    peer.send("PUT", "/x", [("Expect", "100-continue"), ("Content-Length", 1 << 30)])
    t.equal(peer.response(interim=False).status, 100, "first status")
    while peer.channel.is_silent(0.05):
        peer.channel.send_what_fits(bytes(1 << 16))
    t.equal(peer.response().status, 504, "status")
    check_line(t, kaproxy, 1, status=504, end="upstream_reset")
    t.equal(discards(kaproxy), 1, "discarded")


# Opaque bytes


@test("tcp, tls: the client sees a reset")
def opaque(t):
    for kind, listener in (ScriptedUpstream, None), (TlsUpstream, settings()):
        upstream = t.own(kind(answer_lines))
        kaproxy = t.kaproxy(upstream.endpoint, pool=POOL, listener=listener)
        peer = kaproxy.connect()
        t.equal(peer.ask(b"a"), b"1 a", "response")
        deafen(upstream.connections[0])
        peer.send(b"b\n")
        check_dead(t, kaproxy, peer)


@test("a tunnel: the client sees a reset")
def tunnel(t):
    def script(connection):
        read_request(connection)
        connection.send(head("HTTP/1.1 200 OK"))
        answer_lines(connection)

    upstream = t.own(ScriptedUpstream(script))
    kaproxy = start(t, upstream, pool=POOL)
    peer = client(t, kaproxy)
    t.equal(peer.ask("CONNECT", "h.test:1", host="h.test:1").status, 200, "status")
    t.equal(peer.channel.ask(b"a"), b"1 a", "response")
    deafen(upstream.connections[0])
    peer.channel.send(b"b\n")
    check_dead(t, kaproxy, peer.channel)


@test("one that was checked before, and was alive then")
def later(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool=POOL)
    peer = kaproxy.connect()
    t.equal(peer.ask(b"a"), b"1 a", "response")
    Clock(t).tick()
    deafen(upstream.connections[0])
    peer.send(b"b\n")
    check_dead(t, kaproxy, peer)


@test("a client that sends again and again postpones nothing")
def busy(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool=POOL)
    peer = kaproxy.connect()
    t.equal(peer.ask(b"a"), b"1 a", "response")
    deafen(upstream.connections[0])

    def is_cut():
        try:
            peer.is_silent(0.05)
            peer.send(b"x")
        except ConnectionResetError:
            return True
        return False

    wait_until(is_cut, "a reset")
    check_log(t, kaproxy, peer)


@test("a half-close that is not acknowledged")
def half_close(t):
    upstream = t.upstream(lambda connection: connection.read_end())
    kaproxy = t.kaproxy(upstream.endpoint, pool=POOL)
    peer = kaproxy.connect()
    peer.send(b"a")
    connection = upstream.wait_accepted(1)
    wait_until(lambda: connection.received == b"a", "a byte at the upstream")
    Clock(t).tick()
    deafen(connection)
    peer.fin()
    check_dead(t, kaproxy, peer)


# Live connections


@test("an upstream that takes long, and acknowledges")
def thinking(t):
    upstream, go = held(t)
    kaproxy = start(t, upstream, pool=POOL)
    peer = client(t, kaproxy)
    peer.send("GET", "/x")
    upstream.wait_requests(1)
    for _ in range(2):
        Clock(t).tick()
    go.set()
    t.equal(peer.response().body, b"1 GET /x ", "response")
    t.equal(discards(kaproxy), 0, "discarded")


def full(t, **options):
    """An opaque client whose upstream reads nothing until the test says so, and has closed its
    window; what was sent, and the upstream's end."""
    need_filters()
    go = threading.Event()

    def script(connection):
        go.wait(WAIT_MAX)
        connection.read_end()

    upstream = t.upstream(script, receive_buffer=4096)
    t.callback(go.set)
    kaproxy = t.kaproxy(upstream.endpoint, **options)
    peer = kaproxy.connect()
    sent = kaproxy.fill(peer, bytes(32 << 20))
    return kaproxy, peer, sent, upstream, go


@test("an upstream that keeps its window closed, and answers when it is probed")
def closed_window(t):
    kaproxy, peer, sent, upstream, go = full(t, pool=POOL)
    for _ in range(4):
        Clock(t).tick()
    t.check(peer.is_silent(0.01), "the session has ended")
    go.set()
    peer.fin()
    t.equal(peer.read_end(), (b"", "eof"), "what the client read")
    upstream.join()
    t.equal(len(upstream.connections[0].received), sent, "bytes at the upstream")
    t.equal(discards(kaproxy), 0, "discarded")


@test("but not one that keeps its window closed and no longer answers")
def dead_behind_closed_window(t):
    kaproxy, peer, _, upstream, _ = full(t, pool=POOL)
    deafen(upstream.connections[0])
    check_dead(t, kaproxy, peer)


@test("unacked_timeout = 0: nothing is checked, and what gets through late gets a response")
def off(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"unacked_timeout": 0})
    peer = kaproxy.connect()
    t.equal(peer.ask(b"a"), b"1 a", "response")
    deafen(upstream.connections[0])
    peer.send(b"b\n")
    for _ in range(2):
        Clock(t).tick()
    undeafen(upstream.connections[0])
    t.equal(peer.read_line(), b"1 b", "the late response")


main()
