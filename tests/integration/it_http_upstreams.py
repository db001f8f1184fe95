#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: nginx, Apache httpd, Node and python3 -m http.server serve old clients."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import check_line, client, one_shot, start
from kaptest.http_peers import Apache, Nginx, Node, PythonServer

PAGE = b"0123456789" * 5000


def check_files(t, peer, reused):
    """Pages, a missing one and HEAD, to HTTP/1.0 and 1.1; is the connection reused?"""
    peer.put("page", PAGE)
    kaproxy = start(t, peer)
    for version in "1.0", "1.1":
        t.equal(one_shot(t, kaproxy, "GET", "/page", version=version).body, PAGE, "page")
        t.equal(one_shot(t, kaproxy, "GET", "/none", version=version).status, 404, "missing page")
        head = one_shot(t, kaproxy, "HEAD", "/page", version=version)
        t.equal((head.status, head.get("Content-Length")), (200, str(len(PAGE))), "HEAD")
    kept = client(t, kaproxy)
    for _ in range(3):
        t.equal(kept.ask("GET", "/page").body, PAGE, "page on a kept connection")
    lines = kaproxy.wait_sessions(9)
    sources = [line["from_cache"] for line in lines]
    t.equal(sources, ["none"] + (["immediate"] * 8 if reused else ["none"] * 8), "from_cache")
    t.equal({line["end"] for line in lines}, {"complete"}, "how the exchanges ended")


@test("nginx")
def nginx(t):
    check_files(t, t.own(Nginx(t)), True)


@test("Apache httpd")
def apache(t):
    check_files(t, t.own(Apache(t)), True)


@test("python3 -m http.server: HTTP/1.0, closes after each response")
def python(t):
    check_files(t, t.own(PythonServer(t)), False)


@test("Node: GET and POST, responses with a length and chunked, on one connection")
def node(t):
    kaproxy = start(t, t.own(Node(t)))
    for version in "1.0", "1.1":
        for target in "/", "/chunked":
            got = one_shot(t, kaproxy, "POST", target, body=b"hello", version=version)
            t.equal(got.body, b"1 POST hello", "response to POST")
            t.equal(one_shot(t, kaproxy, "GET", target, version=version).body, b"1 GET ", "GET")
            if version == "1.0":
                t.equal(got.get("Transfer-Encoding"), None, "coding for HTTP/1.0")
    check_line(t, kaproxy, 8, from_cache="immediate", status=200)


main()
