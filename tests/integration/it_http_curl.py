#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: curl's ways to speak HTTP all work through kaproxy."""

import os
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import HttpUpstream, check_line, start
from kaptest.http_peers import Nginx, run, url


def curl(t, *arguments):
    return run(t, "curl", "-sS", "--max-time", 60, *arguments)[0]


def with_nginx(t):
    nginx = t.own(Nginx(t))
    nginx.put("page", bytes(range(256)) * 16)
    return nginx, start(t, nginx)


def with_script(t):
    upstream = t.own(HttpUpstream())
    return upstream, start(t, upstream)


@test("GET as HTTP/1.0 and HTTP/1.1, on one connection of nginx's")
def versions(t):
    nginx, kaproxy = with_nginx(t)
    before = nginx.accepted()
    for option in "--http1.0", "--http1.1", "--http1.0":
        body = curl(t, option, "--fail", url(kaproxy, "/page"))
        t.equal(body, bytes(range(256)) * 16, "body")
    t.equal(nginx.accepted() - before, 1, "connections")
    check_line(t, kaproxy, 3, from_cache="immediate", status=200, method="GET", target="/page")


@test("HEAD: the length without the body, and the connection is reused")
def head(t):
    nginx, kaproxy = with_nginx(t)
    before = nginx.accepted()
    for option in "--http1.0", "--http1.1":
        text = curl(t, option, "--head", "--fail", url(kaproxy, "/page")).decode()
        t.check("content-length: 4096" in text.lower(), text)
    t.equal(nginx.accepted() - before, 1, "connections")


@test("ranges: one, an end, and several in multipart/byteranges")
def ranges(t):
    _, kaproxy = with_nginx(t)
    t.equal(curl(t, "-r", "10-19", url(kaproxy, "/page")), bytes(range(10, 20)), "one range")
    t.equal(curl(t, "-r", "-4", url(kaproxy, "/page")), bytes(range(252, 256)), "the end")
    body = curl(t, "-r", "0-3,100-103", url(kaproxy, "/page"))
    t.check(bytes(range(4)) in body, "first of two ranges")
    t.check(bytes(range(100, 104)) in body, "second of two ranges")
    check_line(t, kaproxy, 3, status=206)


@test("several URLs on one client connection, each an exchange of its own")
def several(t):
    _, kaproxy = with_nginx(t)
    body = curl(t, "-w", "%{num_connects}", *[url(kaproxy, "/page")] * 5)
    page = bytes(range(256)) * 16
    t.equal(body, page + b"1" + (page + b"0") * 4, "bodies and new connections of curl's")
    t.equal(len({s["client"] for s in kaproxy.wait_sessions(5)}), 1, "client connections")


@test("-T: with Expect and without, small and large")
def upload(t):
    for size in 100, 300_000:
        data = os.urandom(size)
        (t.folder / "file").write_bytes(data)
        for expect in "Expect: 100-continue", "Expect:":
            nginx, kaproxy = with_nginx(t)
            curl(t, "--fail", "-H", expect, "-T", t.folder / "file", url(kaproxy, "/upload/file"))
            t.equal((nginx.root / "upload" / "file").read_bytes(), data, f"{size} bytes, {expect}")
            check_line(t, kaproxy, status=201, method="PUT")
            kaproxy.wait_idle(1)
            kaproxy.close()
            nginx.close()
            (nginx.root / "upload" / "file").unlink()


@test("--data-binary chunked: a small one arrives with a length, a large one chunked")
def chunked(t):
    upstream, kaproxy = with_script(t)
    for size, framing in (1000, "content-length"), (300_000, "transfer-encoding"):
        data = b"abcdefghij" * (size // 10)
        (t.folder / "file").write_bytes(data)
        body = curl(t, "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "--data-binary",
                    f"@{t.folder}/file", url(kaproxy, "/x"))
        t.equal(body, b"1 POST /x " + data, "response")
        message = upstream.requests[-1]
        t.equal(message.body, data, "body at the upstream")
        framings = message.names() & {"content-length", "transfer-encoding"}
        t.equal(framings, {framing}, f"framing of {size} bytes")


@test("--data-binary chunked from standard input")
def pipe(t):
    _, kaproxy = with_script(t)
    data = b"0123456789" * 50_000
    body, _ = run(t, "curl", "-sS", "-H", "Transfer-Encoding: chunked", "--data-binary", "@-",
                  url(kaproxy, "/x"), stdin=data)
    t.equal(body, b"1 POST /x " + data, "response")


main()
