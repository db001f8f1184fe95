#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: large bodies pass unharmed over https in both directions and cost no memory,
also if one side is slow."""

import os
import sys
import threading
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import check_line, client, one_shot, response
from kaptest.http_peers import checksum, run, url
from kaptest.large import check_memory, fill
from kaptest.tls import HttpsUpstream, TlsUpstream, start
from kaptest.tls_peers import Nginx


@test("100 MB down and up, with a length and chunked")
def both(t):
    for version in "TLSv1.2", "TLSv1.3":
        nginx = t.own(Nginx(t, f"ssl_protocols {version};"))
        fill(nginx.root / "large")
        wanted = checksum(nginx.root / "large")
        kaproxy = start(t, nginx)
        before = kaproxy.private_memory()
        run(t, "curl", "-sS", "--fail", "-o", t.folder / "got", url(kaproxy, "/large"))
        t.equal(checksum(t.folder / "got"), wanted, "checksum of the download")
        fields = ["-H", "Transfer-Encoding: chunked"] if version == "TLSv1.2" else []
        run(t, "curl", "-sS", "--fail", *fields, "-T", t.folder / "got",
            url(kaproxy, "/upload/large"))
        t.equal(checksum(nginx.root / "upload" / "large"), wanted, "checksum of what went up")
        (nginx.root / "upload" / "large").unlink()
        check_line(t, kaproxy, 2, status=201, end="complete", from_cache="immediate")
        check_memory(t, kaproxy, before)


@test("a client that reads slowly: the upstream waits, and memory stays bounded")
def slow_reader(t):
    size = 20_000_000
    upstream = t.own(HttpsUpstream(lambda _, message: response(b"x" * int(message.target[1:]))))
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    before = kaproxy.private_memory()
    with kaproxy.paused():  # so that it finds the request together with the client
        peer = client(t, kaproxy, receive_buffer=4096)
        peer.send("GET", f"/{size}")
    upstream.wait_requests(1)
    received = len(peer.channel.read(1_000_000))
    time.sleep(1.2)  # a remainder of the client's, which is its own affair
    while kaproxy.counters()["busy"]:
        check_memory(t, kaproxy, before)
        received += len(peer.channel.read(1_000_000))
    rest = peer.channel.read(size - received)
    t.equal(rest.count(b"x"), len(rest), "the rest of the response")
    t.equal(one_shot(t, kaproxy, "GET", "/10").body, b"x" * 10, "the next response")
    t.equal(upstream.accepted, 1, "connections")


@test("an upstream that reads slowly: the client waits, and memory stays bounded")
def slow_upstream(t):
    size, go = 20_000_000, threading.Event()
    got = []

    def script(connection):
        go.wait(20)
        got.append(connection.read_end())
        connection.send(b"thanks")

    kaproxy = start(t, t.own(TlsUpstream(script)))
    before = kaproxy.private_memory()
    peer = kaproxy.connect()
    block = os.urandom(size)
    sender = threading.Thread(target=lambda: (peer.send(block), peer.fin()), daemon=True)
    sender.start()
    sender.join(0.3)
    t.check(sender.is_alive(), "the client was not held back")
    check_memory(t, kaproxy, before)
    go.set()
    t.equal(peer.read_end(), (b"thanks", "eof"), "response")
    t.check(got[0] == (block, "eof"), "the received bytes differ")


@test("both directions at the same time through an opaque listener")
def duplex(t):
    size = 5_000_000

    def echo(connection):
        while data := connection.receive():
            connection.send(data)

    kaproxy = start(t, t.own(TlsUpstream(echo)))
    peer = kaproxy.connect()
    block = os.urandom(size)
    sender = threading.Thread(target=peer.send, args=(block,), daemon=True)
    sender.start()
    t.check(peer.read(size) == block, "the echo differs")
    sender.join()
    t.equal(peer.end(), "eof", "end")
    kaproxy.wait_idle(1)


main()
