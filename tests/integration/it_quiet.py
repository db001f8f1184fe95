#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: with reuse = quiet a connection is kept in exactly the cases that are safe."""

import contextlib
import queue
import sys
import threading
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test, wait_until


def next_connection(kaproxy):
    """The number of the connection that a further client gets, and how it got it."""
    client = kaproxy.connect()
    number = int(client.ask(b"next").split()[0])
    client.end()
    return number, kaproxy.wait_session(client)["from_cache"]


@test("every byte answered: kept")
def answered(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint)
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "first response")
    t.equal(client.ask(b"b"), b"1 b", "second response")
    t.equal(client.end(), "eof", "the client's end")
    t.equal(next_connection(kaproxy), (1, "immediate"), "next connection")
    session = kaproxy.wait_session(client)
    t.equal((session["from_cache"], session["bytes_up"], session["bytes_down"], session["end"]),
            ("none", "4", "8", "complete"), "the first session's log line")
    t.equal(session["listener"], "main", "its listener")


@test("unanswered bytes at the client's end: relayed to the end, not kept")
def unanswered(t):
    ended = threading.Event()

    def slow(connection):
        line = connection.read_line()
        if line == b"slow":
            if connection.read_line() is None:
                ended.set()
            connection.send(b"late\n")
            return
        connection.send(b"%d %s\n" % (connection.number, line))
        answer_lines(connection)

    kaproxy = t.kaproxy(t.upstream(slow).endpoint)
    client = kaproxy.connect()
    client.send(b"slow\n")
    client.fin()
    t.equal(client.read_end(), (b"late\n", "eof"), "what the client read")
    t.check(ended.is_set(), "the upstream did not see the client's end")
    t.equal(next_connection(kaproxy), (2, "none"), "next connection")


@test("an answer after the client's end does not make the connection fit again")
def answered_too_late(t):
    go, ended = threading.Event(), threading.Event()

    def stubborn(connection):
        line = connection.read_line()
        if line == b"slow":
            go.wait(20)
        connection.send(b"%d %s\n" % (connection.number, line))
        answer_lines(connection)
        ended.set()

    upstream = t.upstream(stubborn)
    kaproxy = t.kaproxy(upstream.endpoint)
    client = kaproxy.connect()
    client.send(b"slow\n")
    client.fin()
    t.check(client.is_silent(0.1), "the client got something")
    go.set()
    t.equal(client.read_end(), (b"1 slow\n", "eof"), "what the client read")
    t.check(ended.wait(20), "the upstream did not see the client's end")
    t.equal(next_connection(kaproxy), (2, "none"), "next connection")


@test("answered bytes, then unanswered ones: not kept")
def answered_then_unanswered(t):
    def first_line_only(connection):
        connection.send(b"%d %s\n" % (connection.number, connection.read_line()))
        connection.read_end()

    kaproxy = t.kaproxy(t.upstream(first_line_only).endpoint)
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "first response")
    client.send(b"b\n")
    client.fin()
    t.equal(client.read_end(), (b"", "eof"), "the client's end")
    t.equal(next_connection(kaproxy)[0], 2, "next connection")


@test("a client's reset: not kept")
def client_reset(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint)
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response")
    client.reset()
    t.equal(kaproxy.wait_session(client)["end"], "client_reset", "end in the log")
    t.equal(next_connection(kaproxy), (2, "none"), "next connection")


@test("neither side said anything: returned unused")
def unused(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint)
    for _ in range(3):
        client = kaproxy.connect()
        upstream.wait_accepted(1)
        wait_until(kaproxy.is_asleep, "kaproxy to know of the connection")
        t.equal(client.end(), "eof", "the client's end")
    t.equal(next_connection(kaproxy), (1, "immediate"), "next connection")
    t.equal(upstream.accepted, 1, "connections")


@test("the upstream sent and the client did not: not kept")
def greeting_only(t):
    def greet(connection):
        connection.send(b"hello %d\n" % connection.number)
        connection.read_end()

    kaproxy = t.kaproxy(t.upstream(greet).endpoint)
    for number in 1, 2:
        client = kaproxy.connect()
        t.equal(client.read_line(), b"hello %d" % number, "greeting")
        t.equal(client.end(), "eof", "the client's end")


@test("an answer that the client has not read yet: delivered in full, not kept")
def answer_under_way(t):
    piece, pieces = b"x" * 65536, 1500
    sent = []

    def long_answer(connection):
        while (line := connection.read_line()) is not None:
            connection.send(b"%d %s\n" % (connection.number, line))
            for _ in range(pieces if line == b"long" else 0):
                connection.send(piece)
                sent.append(piece)

    def is_stalled():
        before = len(sent)
        time.sleep(0.2)
        return 0 < before == len(sent)

    kaproxy = t.kaproxy(t.upstream(long_answer).endpoint)
    client = kaproxy.connect(receive_buffer=65536)
    t.equal(client.ask(b"long"), b"1 long", "start of the response")
    wait_until(is_stalled, "the upstream to be held back")
    client.fin()
    t.equal(len(client.read(len(piece) * pieces)), len(piece) * pieces, "rest of the response")
    t.equal(client.read_end(), (b"", "eof"), "end")
    t.equal(next_connection(kaproxy)[0], 2, "next connection")


@test("answers of all sizes to a client that ends before it has read them: never truncated")
def sizes(t):
    sent = queue.Queue()

    def sized_answer(connection):
        while (line := connection.read_line()) is not None:
            connection.send(b"x" * int(line))
            sent.put(int(line))

    kaproxy = t.kaproxy(t.upstream(sized_answer).endpoint)
    # Some sizes barely exceed the kernel's buffers, and kaproxy has to keep a rest.
    for size in range(32 << 10, 5 << 20, 48 << 10):
        client = kaproxy.connect(receive_buffer=16384)
        client.send(b"%d\n" % size)
        with contextlib.suppress(queue.Empty):  # of those that do not fit it is not sent yet
            while sent.get(timeout=1) != size:
                continue
        client.fin()
        data, end = client.read_end()
        t.equal((len(data), end), (size, "eof"), "response")


main()
