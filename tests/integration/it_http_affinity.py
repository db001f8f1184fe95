#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a login with NTLM or Negotiate ties an upstream connection to its client, as
long as both exist and the client is not idle; nothing else does."""

import pathlib
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, main, test, wait_until
from kaptest.http import (HttpUpstream, check_line, client, one_shot, request, response, start,
                          wait_line)

OFFER = [("WWW-Authenticate", "Negotiate"), ("WWW-Authenticate", "NTLM")]
CHALLENGE = [("WWW-Authenticate", "NTLM TlRMTVNTUAAC")]
LARGE = b"x" * 200_000
SHORT = {"affinity_timeout": "1500ms"}


class Origin(HttpUpstream):
    """Logs connections in, as IIS does. Says which connection it was on, and who is logged in."""

    def __init__(self, final=("WWW-Authenticate", "Negotiate oRQwEqAD")):
        self.final = final  # the field that ends a login with Negotiate
        self.steps = {}     # by connection
        super().__init__(self.authenticate)

    def authenticate(self, connection, message):
        scheme, _, token = message.get("Authorization", "").partition(" ")
        fields, status = [], 200
        if message.target == "/bye":
            return None
        if scheme.lower() == "negotiate":
            self.steps[connection.number] = "logged in"
            fields = [self.final]
        elif scheme == "NTLM" and token == "type1":
            self.steps[connection.number] = "challenged"
            fields, status = CHALLENGE, 401
        elif scheme == "NTLM" and token == "type3" and connection.number in self.steps:
            self.steps[connection.number] = "logged in"
        elif message.target == "/private" and self.steps.get(connection.number) != "logged in":
            fields, status = OFFER, 401
        if message.target == "/last":
            fields = [*fields, ("Connection", "close")]
        body = b"%d %s" % (connection.number, self.steps.get(connection.number, "-").encode())
        return response(LARGE if message.target == "/large" else body, fields, status)


def credentials(scheme="NTLM", token="type1"):
    return [("Authorization", f"{scheme} {token}")]


def challenge(t, peer):
    got = peer.ask(fields=credentials())
    t.equal((got.status, got.get("WWW-Authenticate")), (401, CHALLENGE[0][1]), "challenge")
    return got


def tied(t, kaproxy, **options):
    """A client whose connection has affinity."""
    peer = client(t, kaproxy, **options)
    challenge(t, peer)
    t.equal(kaproxy.counters()["held"], 1, "held connections")
    return peer


@test("NTLM in three steps: from the challenge on one connection is the client's alone")
def ntlm(t):
    upstream = t.own(Origin())
    kaproxy = start(t, upstream)
    peer = client(t, kaproxy)
    t.equal(peer.ask("GET", "/private").all("WWW-Authenticate"), ["Negotiate", "NTLM"], "offer")
    t.equal(challenge(t, peer).body, b"1 challenged", "challenge")
    t.equal(one_shot(t, kaproxy).body, b"2 -", "another client's connection in between")
    t.equal(peer.ask("GET", "/private", credentials(token="type3")).body, b"1 logged in", "login")
    for _ in range(3):
        t.equal(one_shot(t, kaproxy).body, b"2 -", "another client's connection")
        t.equal(peer.ask("GET", "/private").body, b"1 logged in", "the client's own")
    t.equal(upstream.accepted, 2, "connections")
    t.equal(kaproxy.counters()["held"], 1, "held connections")
    lines = [(line["from_cache"], line["conn"], line["uses"], line["addr"].split(":")[0])
             for line in kaproxy.wait_sessions(10) if line["target"] == "/private"]
    t.equal(lines[:2] + lines[-1:], [("none", "1", "1", "127.0.0.1"),
                                     ("-", "1", "2", "127.0.0.1"), ("-", "1", "2", "127.0.0.1")],
            "the client's own connection in the access log")


@test("Negotiate in one step, whichever field has the last token")
def negotiate(t):
    for name in ("WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info",
                 "Proxy-Authentication-Info"):
        upstream = t.own(Origin(final=(name, "Negotiate oRQwEqAD")))
        kaproxy = start(t, upstream)
        peer = client(t, kaproxy)
        got = peer.ask("GET", "/private", credentials("negotiate", "YII"))
        t.equal((got.body, got.get(name)), (b"1 logged in", "Negotiate oRQwEqAD"), "response")
        t.equal(one_shot(t, kaproxy, "GET", "/private").status, 401, "status for another client")
        t.equal(peer.ask("GET", "/private").body, b"1 logged in", f"response after {name}")


@test("an offer to a client that sent no credentials changes nothing")
def offer(t):
    upstream = t.own(Origin())
    kaproxy = start(t, upstream)
    peers = [client(t, kaproxy) for _ in range(3)]
    for peer in peers:
        t.equal(peer.ask("GET", "/private").status, 401, "status")
        t.equal(kaproxy.counters()["idle"], 1, "idle connections")
    t.equal(upstream.accepted, 1, "connections")


@test("credentials without a reply: the connection is not reused, by any client")
def unanswered(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, pool={"max_per_host": 4, "timeout": "10s"})
    peers = [client(t, kaproxy) for _ in range(4)]
    for number, peer in enumerate(peers, 1):
        for field in "Authorization", "Proxy-Authorization":
            t.equal(peer.ask(fields=[(field, "NTLM x")]).status, 200, "status")
        counters = kaproxy.counters()
        t.equal([counters[key] for key in ("busy", "held", "idle", "discard_not_reusable")],
                [0, 0, 0, 2 * number], "busy, held, idle, discarded")
    t.equal(one_shot(t, kaproxy).body, b"9 GET / ", "another client's response")
    for peer in peers:
        t.equal(peer.ask().body, b"9 GET / ", "a further response on the same connection")


@test("Basic and Bearer tie nothing, whatever the response names")
def others(t):
    for scheme in "Basic", "Bearer":
        upstream = t.own(HttpUpstream(lambda c, m: response(b"", OFFER, status=401)))
        kaproxy = start(t, upstream)
        client(t, kaproxy).ask(fields=credentials(scheme, "NTLM"))
        t.equal(kaproxy.counters()["idle"], 1, f"idle connections after {scheme}")
    basic = [("WWW-Authenticate", 'Basic realm="NTLM"')]
    kaproxy = start(t, t.own(HttpUpstream(lambda c, m: response(b"", basic, status=401))))
    client(t, kaproxy).ask(fields=credentials())
    counters = kaproxy.counters()
    t.equal((counters["busy"], counters["held"]), (0, 0), "busy, held after a challenge of Basic")


@test("when the client ends, the connection is closed and not used again")
def ends(t):
    for leave in "close", "reset":
        kaproxy = start(t, t.own(Origin()))
        peer = tied(t, kaproxy)
        getattr(peer.channel, leave)()
        wait_until(lambda k=kaproxy: k.counters()["held"] == 0, "the connection to be returned")
        t.equal(kaproxy.counters()["idle"], 0, "idle connections")
        t.equal(one_shot(t, kaproxy).body, b"2 -", "the next client's connection")


@test("a client that does not stay has no connection of its own, not even while it reads")
def one_shot_client(t):
    kernel = int(pathlib.Path("/proc/sys/net/core/wmem_default").read_text())
    if kernel > 300_000:
        raise Skip("the kernel buffers too much")
    body = b"x" * (kernel + 50_000)  # more than a unix socket takes
    final = [("WWW-Authenticate", "Negotiate oRQwEqAD")]
    upstream = t.own(HttpUpstream(lambda c, m: response(body, final)))
    kaproxy = start(t, upstream, listen=f"unix:{t.folder}/socket")
    peer = client(t, kaproxy)
    peer.send("GET", "/", credentials("Negotiate", "YII"), version="1.0")
    wait_until(lambda: kaproxy.counters().get("discard_not_reusable") == 1, "the discard")
    t.equal(kaproxy.sessions_ended(), 0, "exchanges that have ended")
    t.check(peer.response().body == body, "the response is wrong")


@test("with reuse = never too: the exchanges of one login need one connection")
def never(t):
    kaproxy = start(t, t.own(Origin()), reuse="never")
    peer = tied(t, kaproxy)
    login = peer.ask(fields=credentials(token="type3")).body
    t.equal([login, peer.ask().body], [b"1 logged in"] * 2, "connections")


@test("idle for affinity_timeout: both connections end, in order, and nothing is logged")
def timeout(t):
    kaproxy = start(t, t.own(Origin()), listener=SHORT)
    peer = tied(t, kaproxy)
    for _ in range(4):  # each exchange starts it again
        t.check(peer.channel.is_silent(0.5), "the client's connection ended early")
        t.equal(peer.ask().body, b"1 challenged", "response")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")
    counters = kaproxy.counters()
    t.equal((counters["held"], counters["discard_idle_timeout"]), (0, 1), "held, discarded")
    t.equal(one_shot(t, kaproxy).body, b"2 -", "the next client's connection")
    kaproxy.stop()
    t.equal(len(kaproxy.sessions()), 6, "lines of the access log")


@test("and a client without one stays for client_keep_alive, which does not apply to the others")
def others_stay(t):
    kaproxy = start(t, t.own(Origin()), listener={**SHORT, "client_keep_alive": "60s"})
    other = client(t, kaproxy)
    t.equal(other.ask().body, b"1 -", "response")
    t.equal(tied(t, kaproxy).channel.read_end(), (b"", "eof"), "end of the one that has one")
    t.equal(other.ask().body, b"2 -", "next response")
    kaproxy = start(t, t.own(Origin()),
                    listener={"affinity_timeout": "60s", "client_keep_alive": "1500ms"})
    peer, other = tied(t, kaproxy), client(t, kaproxy)
    t.equal(other.ask().body, b"2 -", "response")
    t.equal(other.channel.read_end(), (b"", "eof"), "end of the one that has none")
    t.equal(peer.ask().body, b"1 challenged", "response to the one that has one")


@test("a response may take longer")
def slow_response(t):
    def slow(connection, _message):
        connection.is_silent(2)
        return response(b"late", CHALLENGE, status=401)

    peer = client(t, start(t, t.own(HttpUpstream(slow)), listener=SHORT))
    for _ in range(2):
        t.equal(peer.ask(fields=credentials()).body, b"late", "response")


@test("a request that is incomplete by then does not extend it: 408")
def half_a_request(t):
    for data in b"GET / HTTP/1.1\r\nHost: h\r\n", request("POST", "/", body=b"hello")[:-1]:
        kaproxy = start(t, t.own(Origin()), listener={**SHORT, "header_timeout": "0"})
        peer = tied(t, kaproxy)
        peer.channel.send(data)
        got = peer.response()
        t.equal((got.status, got.closes()), (408, True), "response")
        t.check(b"the request was not complete within affinity_timeout=1500ms" in got.body, "reason")
        check_line(t, kaproxy, 2, status=408, end="idle_timeout")
        t.equal(kaproxy.counters()["held"], 0, "held connections")


@test("the shorter of it and the client's own limit applies; 0 means no limit")
def no_timeout(t):
    for value in "0", "60":
        kaproxy = start(t, t.own(Origin()),
                        listener={"affinity_timeout": value, "idle_timeout": "1500ms"})
        peer = tied(t, kaproxy)
        t.equal(peer.channel.read_end(), (b"", "eof"), "end")
        t.equal(kaproxy.counters()["discard_idle_timeout"], 1, "discarded")


@test("when the upstream closes the idle connection, the client's ends too")
def upstream_closes(t):
    upstream = t.own(Origin())
    kaproxy = start(t, upstream)
    peer = tied(t, kaproxy)
    upstream.connections[0].fin()
    t.equal(peer.channel.read_end(), (b"", "eof"), "what the client saw")
    t.equal(len(kaproxy.wait_sessions(1)), 1, "lines of the access log")
    t.equal(kaproxy.counters()["discard_upstream_closed"], 1, "discarded")


@test("and nothing that the client has not read is lost, though it sends more requests meanwhile")
def upstream_closes_early(t):
    upstream = t.own(Origin())
    kaproxy = start(t, upstream, main={"log_level": "debug"})
    peer = tied(t, kaproxy, receive_buffer=4096)
    peer.send("GET", "/large")
    wait_line(kaproxy, 2)
    upstream.connections[0].fin()
    kaproxy.wait_log("client_fd=.* -> (lingering|closed)")
    peer.channel.send(request())
    t.check(peer.response().body == LARGE, "the response is wrong")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("the same with a response that announces the close: the client is notified, too")
def upstream_says_close(t):
    kaproxy = start(t, t.own(Origin()))
    peer = tied(t, kaproxy)
    got = peer.ask("GET", "/last")
    t.equal((got.body, got.closes()), (b"1 challenged", True), "response")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")


@test("and with one after which more arrived, which was not requested")
def excess(t):
    def handler(_connection, message):
        reply = response(b"", CHALLENGE, status=401)
        return reply + response(b"poison") if message.target == "/two" else reply

    kaproxy = start(t, t.own(HttpUpstream(handler)))
    peer = tied(t, kaproxy)
    peer.send("GET", "/two")
    peer.channel.send(request())
    t.equal(peer.response().status, 401, "status")
    t.equal(peer.channel.read_end(), (b"", "eof"), "end")
    t.equal(kaproxy.counters()["discard_unread_data"], 1, "discarded")


@test("and unsolicited bytes are not a response to the next request")
def upstream_sends(t):
    upstream = t.own(Origin())
    kaproxy = start(t, upstream)
    peer = tied(t, kaproxy)
    upstream.connections[0].send(response(b"unasked"))
    t.equal(peer.channel.read_end(), (b"", "eof"), "what the client saw")
    t.equal(kaproxy.counters()["discard_unread_data"], 1, "discarded")


@test("a request on a tied connection is not retried elsewhere")
def no_retry(t):
    upstream = t.own(Origin())
    kaproxy = start(t, upstream)
    peer = tied(t, kaproxy)
    t.equal(peer.ask("GET", "/bye").status, 502, "status")
    t.equal(upstream.accepted, 1, "connections")


main()
