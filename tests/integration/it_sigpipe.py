#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: writing to a peer that went away ends that session, not the program."""

import contextlib
import socket
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.tap import WAIT_MAX

PIECE = b"x" * (1 << 20)


def pour(channel):
    try:
        while True:
            channel.send(PIECE)
    except OSError:
        pass


@test("clients that go away while the upstream sends to them")
def clients_go(t):
    def answer(connection):
        if connection.read_line() == b"pour":
            pour(connection)
        else:
            connection.send(b"pong\n")

    upstream = t.upstream(answer)
    kaproxy = t.kaproxy(upstream.endpoint)
    for number in range(10):
        client = kaproxy.connect()
        client.send(b"pour\n")
        client.read(len(PIECE))
        if number % 2:
            client.reset()
        else:
            client.close()
    upstream.join()
    kaproxy.wait_sessions(10)
    t.equal(kaproxy.connect().ask(b"ping"), b"pong", "response afterwards")


@test("upstreams that go away while clients send to them")
def upstreams_go(t):
    def leave(connection):
        if connection.number <= 10:
            connection.read(len(PIECE))
            if connection.number % 2:
                connection.reset()
            return  # closes
        connection.send(connection.read_line() + b"\n")

    kaproxy = t.kaproxy(t.upstream(leave).endpoint, reuse="never")
    for number in range(1, 11):
        client = kaproxy.connect()
        pouring = threading.Thread(target=pour, args=(client,))
        pouring.start()
        data, _ = client.read_end()  # the upstream's end, in order or not
        t.equal(data, b"", "bytes at the end")
        with contextlib.suppress(OSError):
            client.socket.shutdown(socket.SHUT_RDWR)
        pouring.join()
        client.close()
        kaproxy.wait_sessions(number)
    t.equal(kaproxy.connect().ask(b"ping"), b"ping", "response afterwards")


@test("a client that keeps sending to a closed upstream is reset in the end")
def nobody_listens(t):
    def leave(connection):
        connection.read(len(PIECE))  # and closes

    kaproxy = t.kaproxy(t.upstream(leave).endpoint, reuse="never")
    client = kaproxy.connect()
    pouring = threading.Thread(target=pour, args=(client,), daemon=True)
    pouring.start()
    pouring.join(WAIT_MAX)
    t.equal(pouring.is_alive(), False, "still sending")
    kaproxy.wait_sessions(1)


main()
