#!/usr/bin/env python3
"""Goal of this test: either side may end its direction and still get everything from the other."""

import sys

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import main, test

SIZE = 3 << 20


@test("the client ends first: the upstream reads the end, then answers in full")
def client_first(t):
    def count(connection):
        data, end = connection.read_end()
        connection.send(b"%d %s\n" % (len(data), end.encode()) + b"y" * SIZE)

    for reuse in "quiet", "never":
        kaproxy = t.kaproxy(t.upstream(count).endpoint, reuse=reuse)
        client = kaproxy.connect()
        client.send(b"x" * SIZE)
        client.fin()
        t.equal(client.read_line(), b"%d eof" % SIZE, "what the upstream read")
        t.equal(client.read_end(), (b"y" * SIZE, "eof"), "answer")


@test("the upstream ends first: the client reads the end, then sends on")
def upstream_first(t):
    def speak_first(connection):
        connection.send(b"bye\n")
        connection.fin()
        connection.read_end()

    for reuse in "quiet", "never":
        upstream = t.upstream(speak_first)
        client = t.kaproxy(upstream.endpoint, reuse=reuse).connect()
        t.equal(client.read_end(), (b"bye\n", "eof"), "what the client read")
        client.send(b"z" * SIZE)
        client.fin()
        connection = upstream.wait_accepted(1)
        upstream.join()
        t.equal(bytes(connection.received), b"z" * SIZE, "what the upstream read")


@test("bytes and end of a client that is still waiting for a connection are not lost")
def while_waiting(t):
    def count(connection):
        data, _ = connection.read_end()
        connection.send(b"%d\n" % len(data))

    upstream = t.upstream(count)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"max_per_host": 1})
    first, second = kaproxy.connect(), kaproxy.connect()
    second.send(b"12345")
    second.fin()
    t.check(second.is_silent(0.2), "the second client got something without a connection")
    first.send(b"1")
    first.fin()
    t.equal(first.read_end(), (b"1\n", "eof"), "first answer")
    t.equal(second.read_end(), (b"5\n", "eof"), "second answer")


main()
