#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: one-shot clients of memcached share kept connections and get the right
replies."""

import concurrent.futures
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.peers import Memcached


def statistic(client, name):
    client.send(b"stats\r\n")
    found = None
    while (line := client.read_line().rstrip(b"\r")) != b"END":
        if line.startswith(b"STAT " + name + b" "):
            found = int(line.split()[2])
    return found


@test("200 clients, eight at a time, on four connections")
def memcached(t):
    peer = t.own(Memcached(t))
    kaproxy = t.kaproxy(peer.endpoint, pool={"max_per_host": 4})
    with_peer = kaproxy.connect()
    before = statistic(with_peer, b"total_connections")
    with_peer.end()

    def one_shot(number):
        value = b"%d " % number * (number * 40)
        client = kaproxy.connect()
        client.send(b"set k%d 0 0 %d\r\n%s\r\n" % (number, len(value), value))
        stored = client.read_line()
        end = client.end()
        client = kaproxy.connect()
        client.send(b"get k%d\r\n" % number)
        head = client.read_line()
        body = client.read(len(value) + len(b"\r\nEND\r\n")) if head.startswith(b"VALUE") else b""
        return (stored == b"STORED\r" and body == value + b"\r\nEND\r\n"
                and end == "eof" and client.end() == "eof")

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        right = list(threads.map(one_shot, range(100)))
    t.equal(right.count(True), 100, "clients with the right replies")
    asking = kaproxy.connect()
    t.at_most(statistic(asking, b"total_connections") - before, 3, "further connections")
    t.equal(asking.end(), "eof", "end of the last client")


main()
