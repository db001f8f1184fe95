#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: HTTP clients reach nginx through tcp:// on connections that are reused."""

import hashlib
import http.client
import os
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test, wait_until
from kaptest.peers import Nginx


def start(t):
    nginx = t.own(Nginx(t))
    (t.folder / "www" / "small").write_bytes(b"hello")
    (t.folder / "www" / "large").write_bytes(os.urandom(8 << 20))
    return nginx, t.kaproxy(nginx.endpoint)


def http_client(t, kaproxy):
    client = http.client.HTTPConnection(*kaproxy.address(), timeout=20)
    t.callback(client.close)
    return client


def get(client, path):
    client.request("GET", path)
    response = client.getresponse()
    return response.status, response.read()


@test("clients that keep their connection alive, one after the other, on one of nginx's")
def keep_alive(t):
    nginx, kaproxy = start(t)
    large = hashlib.sha256((t.folder / "www" / "large").read_bytes()).digest()
    for _ in range(3):
        client = http_client(t, kaproxy)
        t.equal(get(client, "/small"), (200, b"hello"), "small response")
        t.equal(get(client, "/none")[0], 404, "status of a missing page")
        status, body = get(client, "/large")
        t.equal((status, hashlib.sha256(body).digest()), (200, large), "large response")
        client.close()
    kaproxy.wait_sessions(3)
    requests = wait_until(lambda: len(r := nginx.requests()) == 9 and r, "nginx's log")
    t.equal([row[1] for row in requests], list(range(1, 10)), "request numbers on the connection")
    t.equal({row[0] for row in requests}, {requests[0][0]}, "nginx's connections")


@test("a connection that nginx closes is not reused")
def closed_by_nginx(t):
    nginx, kaproxy = start(t)
    for _ in range(2):
        client = kaproxy.connect()
        client.send(b"GET /small HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        answer, end = client.read_end()
        t.check(answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"hello"), "no response")
        t.equal(end, "eof", "end")
        client.close()
    requests = wait_until(lambda: len(r := nginx.requests()) == 2 and r, "nginx's log")
    t.check(requests[0][0] != requests[1][0], "the second client got the closed connection")


main()
