#!/usr/bin/env python3
"""Goal of this test: 100 MB in each direction at once arrive complete and in order, through pipes
(splice) and, where there are none, by copying."""

import hashlib
import os
import random
import sys
import threading

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import SLOW, main, test
from kaptest.peers import need

SIZE = (10 if SLOW else 100) << 20
NOISE = os.urandom(1 << 20)


def pour(channel, digest, seed):
    """Sends SIZE bytes in pieces of random sizes."""
    sizes = random.Random(seed)
    left = SIZE
    while left > 0:
        start = sizes.randrange(len(NOISE))
        piece = NOISE[start:start + min(left, sizes.choice((7, 1000, 65536, 1 << 20)))]
        channel.send(piece)
        digest.update(piece)
        left -= len(piece)
    channel.fin()


def drain(channel, digest):
    while data := channel.socket.recv(1 << 18):
        digest.update(data)


def both_ways(channel, seed):
    """Digests of what was sent and of what was received."""
    sent, received = hashlib.sha256(), hashlib.sha256()
    sender = threading.Thread(target=pour, args=(channel, sent, seed))
    sender.start()
    drain(channel, received)
    sender.join()
    return sent.hexdigest(), received.hexdigest()


def exchange(t, **options):
    """100 MB each way; returns the proxy."""
    results = {}

    def run(connection):
        results["upstream"] = both_ways(connection, 1)

    upstream = t.upstream(run)
    # Not quiet: the client may end while the upstream has paused in the middle of its bytes.
    kaproxy = t.kaproxy(upstream.endpoint, reuse="never", **options)
    results["client"] = both_ways(kaproxy.connect(), 2)
    upstream.join()
    t.equal(results["upstream"][1], results["client"][0], "what the upstream received")
    t.equal(results["client"][1], results["upstream"][0], "what the client received")
    session = kaproxy.wait_sessions(1)[0]
    t.equal((session["bytes_up"], session["bytes_down"]), (str(SIZE), str(SIZE)), "bytes logged")
    return kaproxy


def check_spliced(t, kaproxy):
    pipes = kaproxy.pipes()
    t.at_least(pipes["spliced"], SIZE, "bytes spliced")
    t.equal(pipes["pipes"], pipes["idle"], "pipes, and those that nobody uses")


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
    t.equal((pipes["limit"], pipes["pipes"], pipes["spliced"]), (0, 0, 0), "limit, pipes, bytes")


main()
