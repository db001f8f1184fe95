#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a new connection resumes the session of an earlier one, if the upstream lets
it, and nothing is lost if it does not."""

import select
import ssl
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import WAIT_MAX, main, test
from kaptest.http import one_shot
from kaptest.tls import HttpsUpstream, handshakes, settings, start, upstream_context
from kaptest.tls_ca import authority
from kaptest.tls_peers import Nginx, OpensslUpstream

ONE_USE = {"max_uses": 1}
ROUNDS = 6


def ask(t, kaproxy, listener="main"):
    t.equal(one_shot(t, kaproxy, "GET", "/", listener=listener).status, 200, "status")


@test("nginx, TLS 1.2 and 1.3: every handshake but the first is resumed, as nginx says too")
def resumed(t):
    for version in "TLSv1.2", "TLSv1.3":
        for more in "", "ssl_session_tickets off;":
            nginx = t.own(Nginx(t, f"ssl_protocols {version}; {more}"))
            nginx.put("index.html", b"hello")
            kaproxy = start(t, nginx, pool=ONE_USE)
            for _ in range(ROUNDS):
                ask(t, kaproxy)
            requests = nginx.wait_requests(ROUNDS)
            t.equal(len({r.connection for r in requests}), ROUNDS, "connections")
            t.equal([r.resumed for r in requests], [False] + [True] * (ROUNDS - 1),
                    f"resumed with {version} {more}")
            t.equal(handshakes(kaproxy), (1, ROUNDS - 1, 0), "handshakes")


@test("an upstream that no longer knows its old tickets: full handshakes, no failure")
def forgotten(t):
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        upstream = t.own(HttpsUpstream(context=upstream_context(version=version)))
        kaproxy = start(t, upstream, pool=ONE_USE)
        for _ in range(2):
            ask(t, kaproxy)
        t.equal([h.resumed for h in upstream.handshakes], [False, True], "resumed before")
        renewed = upstream_context(version=version)
        renewed.sni_callback = upstream.context.sni_callback
        upstream.context = renewed
        for _ in range(2):
            ask(t, kaproxy)
        t.equal([h.resumed for h in upstream.handshakes[2:]], [False, True], "resumed after")
        t.equal(handshakes(kaproxy), (2, 2, 0), "handshakes")


@test("a handshake that fails with a ticket: discarded, and the next one is full")
def failing(t):
    fails = []

    class Failing(HttpsUpstream):
        def shake_hands(self, connection):
            if fails:
                fails.pop()
                select.select([connection.socket], [], [], WAIT_MAX)  # the ClientHello
                connection.reset()
            super().shake_hands(connection)

    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        upstream = t.own(Failing(context=upstream_context(version=version)))
        kaproxy = start(t, upstream, pool=ONE_USE)
        ask(t, kaproxy)
        fails.append(True)
        t.equal(one_shot(t, kaproxy).status, 502, "status of what fails")
        for _ in range(2):
            ask(t, kaproxy)
        t.equal([h.resumed for h in upstream.handshakes], [False, False, True], "resumed")
        t.equal(handshakes(kaproxy), (2, 1, 1), "handshakes")


@test("tickets are not shared by listeners with other settings")
def apart(t):
    certificate = authority().leaf("client")
    upstream = t.own(HttpsUpstream())
    more = {"listener other": {
        "listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
        **settings(tls_cert_file=certificate.file, tls_key_file=certificate.key)}}
    kaproxy = start(t, upstream, pool=ONE_USE, more=more)
    for listener in "main", "other", "main", "other":
        ask(t, kaproxy, listener)
    t.equal([h.resumed for h in upstream.handshakes], [False, False, True, True], "resumed")
    t.equal([handshakes(kaproxy, name) for name in ("main", "other")], [(1, 1, 0)] * 2,
            "handshakes")


@test("openssl s_server with tickets off: full handshakes, as many as connections")
def no_tickets(t):
    for options in ["-tls1_2", "-no_ticket", "-no_cache"], ["-tls1_3", "-num_tickets", "0"]:
        upstream = t.own(OpensslUpstream(t, *options))
        kaproxy = start(t, upstream, pool={"max_per_host": 1, **ONE_USE})
        for number in range(3):
            upstream.converse(t, kaproxy.connect(), number)
        t.equal(handshakes(kaproxy), (3, 0, 0), "handshakes")


main()
