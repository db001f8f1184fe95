#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: 100 MB pass in both directions unharmed, through pipes (splice) and by copying,
and cost no memory."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import check_line, start
from kaptest.http_peers import Nginx, checksum, run, url
from kaptest.large import SIZE, check_memory, fill
from kaptest.peers import need


def check_spliced(t, kaproxy, size):
    pipes = kaproxy.pipes()
    t.check(0 <= size - pipes["spliced"] <= size // 20, f"{pipes['spliced']} bytes spliced")
    t.equal(pipes["pipes"], pipes["pipes_idle"], "pipes, and unused ones")


@test("100 MB down, to HTTP/1.1 and to HTTP/1.0")
def down(t):
    nginx = t.own(Nginx(t))
    fill(nginx.root / "large")
    wanted = checksum(nginx.root / "large")
    kaproxy = start(t, nginx)
    before = kaproxy.private_memory()
    for number, option in enumerate(["--http1.1", "--http1.0"], 1):
        run(t, "curl", "-sS", "--fail", option, "-o", t.folder / "got", url(kaproxy, "/large"))
        t.equal(checksum(t.folder / "got"), wanted, "checksum")
        line = check_line(t, kaproxy, number, status=200, end="complete")
        t.at_least(int(line["bytes_down"]), SIZE, "bytes_down")
    check_spliced(t, kaproxy, 2 * SIZE)
    check_memory(t, kaproxy, before)


@test("100 MB up, with a length and chunked")
def up(t):
    nginx = t.own(Nginx(t))
    fill(t.folder / "large")
    wanted = checksum(t.folder / "large")
    kaproxy = start(t, nginx)
    before = kaproxy.private_memory()
    for number, fields in enumerate([[], ["-H", "Transfer-Encoding: chunked"]], 1):
        run(t, "curl", "-sS", "--fail", *fields, "-T", t.folder / "large",
            url(kaproxy, f"/upload/{number}"))
        t.equal(checksum(nginx.root / "upload" / str(number)), wanted, "checksum")
        line = check_line(t, kaproxy, number, status=201, end="complete")
        t.at_least(int(line["bytes_up"]), SIZE, "bytes_up")
    check_spliced(t, kaproxy, SIZE)
    kaproxy.wait_idle(1)
    check_memory(t, kaproxy, before)


@test("100 MB down and up, and no descriptors to spare for pipes")
def copied(t):
    nginx = t.own(Nginx(t))
    fill(nginx.root / "large")
    wanted = checksum(nginx.root / "large")
    kaproxy = start(t, nginx, wrap=[need("prlimit"), "--nofile=100"])
    before = kaproxy.private_memory()
    run(t, "curl", "-sS", "--fail", "-o", t.folder / "got", url(kaproxy, "/large"))
    t.equal(checksum(t.folder / "got"), wanted, "checksum down")
    run(t, "curl", "-sS", "--fail", "-T", nginx.root / "large", url(kaproxy, "/upload/1"))
    t.equal(checksum(nginx.root / "upload" / "1"), wanted, "checksum up")
    t.equal(kaproxy.pipes()["spliced"], 0, "bytes spliced")
    check_memory(t, kaproxy, before)


main()
