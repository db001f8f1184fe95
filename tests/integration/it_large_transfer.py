#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: 100 MB in each direction at once arrive complete and in order, through pipes
(splice) and, if there are none, by copying."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, main, test
from kaptest.large import both_ways
from kaptest.peers import need

SIZE = (10 if SLOW else 100) << 20


def exchange(t, **options):
    """100 MB each way; returns the proxy."""
    results = {}

    def run(connection):
        results["upstream"] = both_ways(connection, 1, SIZE)

    upstream = t.upstream(run)
    # Not quiet: the client may end while the upstream has paused in the middle of its bytes.
    kaproxy = t.kaproxy(upstream.endpoint, reuse="never", **options)
    results["client"] = both_ways(kaproxy.connect(), 2, SIZE)
    upstream.join()
    t.equal(results["upstream"][1], results["client"][0], "what the upstream received")
    t.equal(results["client"][1], results["upstream"][0], "what the client received")
    session = kaproxy.wait_sessions(1)[0]
    t.equal((session["bytes_up"], session["bytes_down"]), (str(SIZE), str(SIZE)), "bytes logged")
    return kaproxy


def check_spliced(t, kaproxy):
    pipes = kaproxy.pipes()
    t.at_least(pipes["spliced"], SIZE, "bytes spliced")
    t.equal(pipes["pipes"], pipes["pipes_idle"], "pipes, and unused ones")


@test("100 MB in each direction")
def large(t):
    check_spliced(t, exchange(t))


@test("100 MB in each direction, the client on a unix socket")
def large_unix(t):
    check_spliced(t, exchange(t, listen=f"unix:{t.folder}/socket"))


@test("100 MB in each direction, and no descriptors to spare for pipes")
def large_copied(t):
    kaproxy = exchange(t, wrap=[need("prlimit"), "--nofile=100"])
    pipes = kaproxy.pipes()
    t.equal([pipes[key] for key in ("pipes_limit", "pipes", "spliced")], [0, 0, 0],
            "limit, pipes, bytes")


main()
