#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a local reply says in Proxy-Status that it is kaproxy's, and why; an
upstream's response that has such a field is passed on unchanged."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Blackhole, ReservedPort, ScriptedUpstream, main, test, wait_until
from kaptest.dns import NAME, Dnsmasq, ScriptedDns, start_named
from kaptest.http import (HttpUpstream, client, head, held, one_shot, proxy_status, request,
                          response, start)
from kaptest.tls import HttpsUpstream, upstream_context
from kaptest.tls import start as start_tls
from kaptest.tls_ca import authority


def check(t, got, status, error, details=None, **more):
    """`details` is what the text begins with."""
    t.equal(got.status, status, "status")
    parameters = proxy_status(got)
    told = parameters.pop("details")
    t.equal(parameters, {"error": error, **more}, "Proxy-Status")
    if got.body:
        t.equal(got.body.decode().splitlines()[1], told, "the text and the details")
    t.check(told.startswith(details or ""), f"details: {told}")


@test("no connection: refused, or no response")
def no_connection(t):
    check(t, one_shot(t, start(t, t.own(ReservedPort()))), 502, "connection_refused",
          "connect: Connection refused")
    check(t, one_shot(t, start(t, t.own(Blackhole()), pool={"connect_timeout": "200ms"})), 504,
          "connection_timeout", "connect: no connection within connect_timeout = 200 ms")


@test("no place: the queue takes too long, or is full")
def no_place(t):
    for pool, waiting, status, details in (
            ({"timeout": "300ms"}, 0, 504, "queue: no connection became free within 300 ms"),
            ({"max_waiting": 1}, 1, 503, "allocate: too many waiting (max_waiting = 1)")):
        upstream, go = held(t)
        kaproxy = start(t, upstream, pool={"max_per_host": 1, **pool})
        peers = [client(t, kaproxy) for _ in range(2 + waiting)]
        peers[0].send()
        upstream.wait_requests(1)
        for peer in peers[1:-1]:
            peer.send()
            wait_until(lambda: kaproxy.counters()["waiting"] == 1, "a client that waits")
        peers[-1].send()
        check(t, peers[-1].response(), status, "connection_limit_reached", details)
        go.set()


@test("no connection: names that do not exist, or that no server answers for")
def names(t):
    check(t, one_shot(t, start_named(t, t.own(Dnsmasq(t)), 9, scheme="http")), 502, "dns_error",
          "resolve: ")
    dns = t.own(ScriptedDns())
    dns.set(NAME, mute=True)
    check(t, one_shot(t, start_named(t, dns, 9, scheme="http", pool={"connect_timeout": "200ms"})),
          504, "dns_timeout", "resolve: no answer from the name servers")


@test("no connection: TLS")
def tls(t):
    expired = t.own(HttpsUpstream(context=upstream_context(authority().expired)))
    check(t, one_shot(t, start_tls(t, expired)), 502, "tls_certificate_error",
          "tls: certificate verify failed: ")
    cases = ((b"+OK ready here\r\n", "tls_protocol_error", "tls: the upstream does not speak TLS"),
             (b"\x15\x03\x03\x00\x02\x02\x28", "tls_alert_received", "tls: alert from the upstream"),
             (b"", "connection_terminated", "tls: the upstream closed the connection"))
    for reply, error, details in cases:
        def script(connection, reply=reply):
            connection.receive()
            connection.send(reply)

        upstream = t.upstream(script)
        check(t, one_shot(t, start_tls(t, f"https://127.0.0.1:{upstream.port}")), 502, error, details)


@test("a client certificate that the upstream rejects when the handshake is over (TLS 1.3)")
def refused_certificate(t):
    upstream = t.own(HttpsUpstream(context=upstream_context(clients=authority().root)))
    check(t, one_shot(t, start_tls(t, upstream)), 502, "tls_alert_received",
          "tls: alert from the upstream")


RESPONSES = {
    b"SSH-2.0-OpenSSH_9.2\r\n": "http_protocol_error",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": "http_protocol_error",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n\r\n": "http_response_header_section_size",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n": "http_response_transfer_coding",
    b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n": "http_upgrade_failed",
    b"": "connection_terminated",
    b"HTTP/1.1 200 OK\r\nContent-Le": "http_response_incomplete",
}


@test("what the upstream did instead of responding")
def responses(t):
    for reply, error in RESPONSES.items():
        def script(connection, reply=reply):
            connection.receive()
            connection.send(reply)

        got = one_shot(t, start(t, t.upstream(script)))
        check(t, got, 502, error)


@test("it is silent")
def silence(t):
    upstream = t.own(ScriptedUpstream(lambda connection: connection.read_end()))
    check(t, one_shot(t, start(t, upstream, listener={"idle_timeout": "200ms"})), 504,
          "http_response_timeout")


@test("what the client did: the status and its phrase are given as well; HEAD has no body")
def requests(t):
    kaproxy = start(t, t.own(HttpUpstream()), listener={"header_timeout": "200ms"})
    cases = ((b"GET / HTTP/1.1\r\n\r\n", 400, "Bad Request"),
             (b'GET /"\x01" HTTP/1.1\r\n', 400, "Bad Request"),
             (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000, 431, "Request Header Fields Too Large"),
             (b"GET / HTTP/1.1\r\n", 408, "Request Timeout"),
             (b"GET / HTTP/2.0\r\n\r\n", 505, "HTTP Version Not Supported"))
    for data, status, phrase in cases:
        peer = client(t, kaproxy)
        peer.channel.send(data)
        check(t, peer.response(), status, "http_request_error",
              **{"status-code": str(status), "status-phrase": phrase})
    check(t, one_shot(t, start(t, t.own(ReservedPort())), "HEAD"), 502, "connection_refused")


@test("the upstream's own Proxy-Status is passed on, and a response without one gets none")
def passed_on(t):
    value = 'SomeCache; error=http_response_timeout; details="x \\" y"'
    fields = {"/with": [("Proxy-Status", value)], "/without": []}
    upstream = t.own(HttpUpstream(lambda c, m: response(b"", fields[m.target], 504)))
    kaproxy = start(t, upstream)
    t.equal(one_shot(t, kaproxy, "GET", "/with").get("Proxy-Status"), value, "Proxy-Status")
    t.equal(one_shot(t, kaproxy, "GET", "/without").get("Proxy-Status"), None, "Proxy-Status")


@test("an interim response of its own makes no difference")
def after_interim(t):
    early = head("HTTP/1.1 103 Early Hints")
    upstream = t.upstream(lambda connection: connection.receive() and connection.send(early))
    peer = client(t, start(t, upstream))
    peer.channel.send(request(version="1.0"))
    check(t, peer.response(), 502, "http_response_incomplete")


main()
