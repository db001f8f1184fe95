#!/usr/bin/env python3
"""Goal of this test: NTLM and Negotiate tie an upstream connection to one client until it ends."""

import sys

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import main, test, wait_until
from kaptest.http import HttpUpstream, answer, client, one_shot, start


def authenticating(connection, message):
    """Challenges like a server of NTLM; says which connection it was on."""
    body = b"%d" % connection.number
    if message.target == "/login":
        return answer(body, [("WWW-Authenticate", "NTLM TlRMTVNTUAAC")], status=401)
    if message.target == "/basic":
        return answer(body, [("WWW-Authenticate", 'Basic realm="NTLM"')], status=401)
    if message.target == "/bye":
        return None
    return answer(body)


def login(peer, fields=()):
    return peer.ask("GET", "/login", fields).body


@test("from the challenge on the client's exchanges use one connection, and nobody else's do")
def challenge(t):
    upstream = t.own(HttpUpstream(authenticating))
    kaproxy = start(t, upstream)
    tied = client(t, kaproxy)
    t.equal(login(tied), b"1", "the tied client's connection")
    for _ in range(3):
        t.equal(one_shot(t, kaproxy).body, b"2", "another client's connection")
        t.equal(tied.ask().body, b"1", "the tied client's connection")
    t.equal(upstream.accepted, 2, "connections")
    t.equal(kaproxy.counters()["busy"], 1, "busy connections")


@test("credentials in the request tie as well; Basic and Bearer do not")
def credentials(t):
    for scheme, ties in ("NTLM TlRM", True), ("Negotiate YII", True), ("negotiate YII", True), (
            "Basic TlRM", False), ("Bearer NTLM", False):
        kaproxy = start(t, t.own(HttpUpstream(authenticating)))
        peer = client(t, kaproxy)
        peer.ask(fields=[("Authorization", scheme)])
        t.equal(kaproxy.counters()["busy"], 1 if ties else 0, f"busy connections with {scheme}")
    kaproxy = start(t, t.own(HttpUpstream(authenticating)))
    peer = client(t, kaproxy)
    peer.ask("GET", "/basic")
    t.equal(kaproxy.counters()["idle"], 1, "idle connections after a challenge of Basic")


@test("when the client ends, the connection is closed and not used again")
def ends(t):
    for leave in "close", "reset":
        upstream = t.own(HttpUpstream(authenticating))
        kaproxy = start(t, upstream)
        tied = client(t, kaproxy)
        login(tied)
        getattr(tied.channel, leave)()
        wait_until(lambda: kaproxy.counters()["busy"] == 0, "the connection to be given back")
        t.equal(kaproxy.counters()["idle"], 0, "idle connections")
        t.equal(one_shot(t, kaproxy).body, b"2", "the next client's connection")


@test("a one-shot client's connection ends with it")
def one_shot_client(t):
    kaproxy = start(t, t.own(HttpUpstream(authenticating)))
    t.equal(one_shot(t, kaproxy, "GET", "/login").body, b"1", "its connection")
    wait_until(lambda: kaproxy.counters()["busy"] == 0, "the connection to be given back")
    t.equal(one_shot(t, kaproxy).body, b"2", "the next client's connection")


@test("with reuse = never too: the exchanges of one login need one connection")
def never(t):
    kaproxy = start(t, t.own(HttpUpstream(authenticating)), reuse="never")
    tied = client(t, kaproxy)
    t.equal([login(tied), tied.ask().body, tied.ask().body], [b"1"] * 3, "connections")


@test("when the upstream closes the idle connection, the client's ends too")
def upstream_closes(t):
    upstream = t.own(HttpUpstream(authenticating))
    kaproxy = start(t, upstream)
    tied = client(t, kaproxy)
    login(tied)
    upstream.connections[0].fin()
    t.equal(tied.channel.read_end(), (b"", "eof"), "what the client saw")
    t.equal(len(kaproxy.wait_sessions(1)), 1, "lines of the access log")


@test("and what it sends unasked is no answer to the next request")
def upstream_sends(t):
    upstream = t.own(HttpUpstream(authenticating))
    kaproxy = start(t, upstream)
    tied = client(t, kaproxy)
    login(tied)
    upstream.connections[0].send(answer(b"unasked"))
    data, _ = tied.channel.read_end()
    t.equal(data, b"", "what the client saw")


@test("a request on a tied connection is not sent again elsewhere")
def no_retry(t):
    upstream = t.own(HttpUpstream(authenticating))
    kaproxy = start(t, upstream)
    tied = client(t, kaproxy)
    login(tied)
    t.equal(tied.ask("GET", "/bye").status, 502, "status")
    t.equal(upstream.accepted, 1, "connections")


main()
