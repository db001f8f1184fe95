#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: clients that keep their connection and send no request hold no upstream
connection."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, main, test
from kaptest.http import HttpUpstream, client, request, start

COUNT = 200 if SLOW else 1000


@test("many idle keep-alive clients, max_per_host = 1: each is served, and again")
def many(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "timeout": "10s"})
    clients = [client(t, kaproxy) for _ in range(COUNT)]
    for round_number in range(2):
        for number, peer in enumerate(clients):
            got = peer.ask("GET", f"/{number}")
            t.equal(got.body, f"1 GET /{number} ".encode(), f"response in round {round_number}")
    t.equal(upstream.accepted, 1, "connections")
    lines = kaproxy.wait_sessions(2 * COUNT)
    t.equal(len({line["client"] for line in lines}), COUNT, "clients in the log")
    t.equal([line["from_cache"] for line in lines].count("none"), 1, "new connections")


@test("a client that has sent half of a header, or of a small body, holds none either")
def halves(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "timeout": "10s"})
    peers = [client(t, kaproxy) for _ in range(2)]
    peers[0].channel.send(b"GET /a HTTP/1.1\r\nHos")
    peers[1].channel.send(request("POST", "/b", body=b"abcd")[:-2])
    t.equal(client(t, kaproxy).ask().status, 200, "status of a third client")
    t.equal(kaproxy.counters()["busy"], 0, "busy connections")
    peers[0].channel.send(b"t: h\r\n\r\n")
    t.equal(peers[0].response().body, b"1 GET /a ", "the first one's response")
    peers[1].channel.send(b"cd")
    t.equal(peers[1].response().body, b"1 POST /b abcd", "the second one's response")


main()
