#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a client that reads slowly holds its upstream connection no longer than the
buffer makes necessary, and the memory for it is bounded."""

import pathlib
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, Skip, WAIT_MAX, main, test, wait_until
from kaptest.http import HttpUpstream, client, one_shot, response, start

SMALL, LARGE = 200_000, 10_000_000


def sized(_connection, message):
    """As many bytes as the target requests."""
    return response(b"x" * int(message.target[1:]))


def slow_client(t, kaproxy, size):
    """Sends a request, and reads nothing for now."""
    peer = client(t, kaproxy, receive_buffer=4096)
    peer.send("GET", f"/{size}")
    return peer


@test("200 KB: the connection is free at once, for the next client")
def small(t):
    upstream = t.own(HttpUpstream(sized))
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "timeout": "10s"})
    slow = slow_client(t, kaproxy, SMALL)
    kaproxy.wait_idle(1)
    t.equal(len(one_shot(t, kaproxy, "GET", "/10").body), 10, "the next client's response")
    t.equal(len(slow.response().body), SMALL, "the slow client's response")
    lines = {line["target"]: line for line in kaproxy.wait_sessions(2)}
    t.equal([lines[target]["from_cache"] for target in (f"/{SMALL}", "/10")],
            ["none", "immediate"], "from_cache")
    t.equal(upstream.accepted, 1, "connections")


@test("a response that the kernel does not take completely: free while we still send the rest")
def buffered(t):
    """On a unix socket the kernel's share is fixed, and known."""
    kernel = int(pathlib.Path("/proc/sys/net/core/wmem_default").read_text())
    if kernel > 300_000:
        raise Skip("the kernel buffers too much")
    size = kernel + 50_000
    upstream = t.own(HttpUpstream(sized))
    more = {"listener unix": {"listen": f"unix:{t.folder}/socket", "upstream": upstream.endpoint}}
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "timeout": "10s"}, more=more)
    slow = client(t, kaproxy, "unix")
    slow.send("GET", f"/{size}")
    kaproxy.wait_idle(1)
    t.equal(one_shot(t, kaproxy, "GET", "/10").status, 200, "the next client's status")
    line = kaproxy.wait_sessions(1)[0]
    t.equal((line["target"], line["from_cache"]), ("/10", "immediate"), "the first line")
    t.equal(slow.response().body, b"x" * size, "the slow client's response")
    t.equal(kaproxy.wait_sessions(2)[1]["target"], f"/{size}", "target in the second line")


@test("the same if more of the response arrives while some of it is held")
def goes_on(t):
    kernel = int(pathlib.Path("/proc/sys/net/core/wmem_default").read_text())
    if kernel > 220_000:
        raise Skip("the kernel buffers too much")
    more_comes = threading.Event()
    t.callback(more_comes.set)

    def in_two_parts(connection, _message):
        connection.send(response(b"x" * (kernel + 50_000))
                        .replace(b"%d" % (kernel + 50_000), b"%d" % (kernel + 100_000), 1))
        more_comes.wait(WAIT_MAX)
        return b"x" * 50_000

    upstream = t.own(HttpUpstream(in_two_parts))
    kaproxy = start(t, upstream, listen=f"unix:{t.folder}/socket")
    slow = client(t, kaproxy)
    slow.send("GET", "/")
    t.equal(len(slow.channel.read(1)), 1, "bytes that were read")
    wait_until(kaproxy.is_asleep, "the first part to be read")
    more_comes.set()
    kaproxy.wait_idle(1)


@test("10 MB: the upstream waits, memory stays bounded, and the connection is free before the end")
def large(t):
    upstream = t.own(HttpUpstream(sized))
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "timeout": "60s"})
    before = kaproxy.private_memory()
    slow = slow_client(t, kaproxy, LARGE)
    upstream.wait_requests(1)
    received = 0
    while kaproxy.counters()["busy"]:
        if not SLOW:
            t.at_most(kaproxy.private_memory() - before, 1 << 20, "bytes of memory more")
        received += len(slow.channel.read(100_000))
    t.at_most(received, LARGE - 100_000, "bytes received when the connection was free")
    t.at_least(received, 1_000_000, "bytes received when the connection was free")
    t.equal(one_shot(t, kaproxy, "GET", "/10").status, 200, "the next client's status")
    rest = slow.channel.read(LARGE - received)
    t.equal(rest.count(b"x"), len(rest), "the rest of the response")


@test("many slow clients at once, each response complete")
def many(t):
    count = 10 if SLOW else 40
    upstream = t.own(HttpUpstream(sized))
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "timeout": "60s"})
    slow = [slow_client(t, kaproxy, SMALL) for _ in range(count)]
    wait_until(lambda: (c := kaproxy.counters())["released"] == count and c["idle"] == 1,
               "all responses to be read from the upstream")
    for peer in slow:
        t.equal(peer.response().body, b"x" * SMALL, "a slow client's response")


main()
