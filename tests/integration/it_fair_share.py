#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a session that moves much does a bounded piece of it at a time, however much
is available, so that all others have their turn in between."""

import selectors
import socket
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, main, test, wait_until
from kaptest.channel import connect
from kaptest.counting import NotTraceable, Turns
from kaptest.http import HttpUpstream, chunk, client, head, response, response_until_close, start
from kaptest.peers import need

FLOWS = 20
ENOUGH = 4 << 20   # bytes of each flow that are watched
PIECE = 512 << 10  # in which no read begins after the first half
LIMIT = (1 + 16) * PIECE  # of one descriptor between two waits: in an event, and of the queue
BLOCK = bytes(1 << 20)
CHUNKED = [("Transfer-Encoding", "chunked")]


def flood(block, first):
    """A handler that sends endless responses, except to /small."""
    def handler(connection, message):
        if message.target == "/small":
            return response(b"small")
        connection.send(first)
        while True:
            connection.send(block)
    return handler


class Flows:
    """Clients that send a header and then blocks endlessly, and read everything that arrives."""

    def __init__(self, kaproxy, request, block=b""):
        self.channels = [connect(kaproxy.address()) for _ in range(FLOWS)]
        self.moved = dict.fromkeys(self.channels, 0)
        self.block = block
        self.done = False
        self.poll = selectors.DefaultSelector()
        for channel in self.channels:
            channel.send(request)
            channel.socket.setblocking(False)
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if block else 0)
            self.poll.register(channel.socket, events, channel)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        buffer = bytearray(1 << 20)
        while not self.done:
            for key, _ in self.poll.select(1):
                try:
                    self.moved[key.data] += (
                        key.fileobj.send(self.block) if self.block else
                        key.fileobj.recv_into(buffer, len(buffer), socket.MSG_TRUNC))
                except BlockingIOError:
                    pass
                except OSError:
                    self.poll.unregister(key.fileobj)

    def watch(self):
        """Until each has moved enough since now."""
        before = dict(self.moved)
        wait_until(lambda: all(self.moved[c] - before[c] >= ENOUGH for c in self.channels),
                   "bytes of every flow")

    def close(self):
        self.done = True
        self.thread.join()
        for channel in self.channels:
            channel.close()


def check(t, kaproxy, flows):
    t.own(flows)
    try:
        with Turns(kaproxy.worker, t.folder / "strace.out", need("strace")) as traced:
            flows.watch()
            small = client(t, kaproxy).ask(target="/small", fields=[("Connection", "close")])
    except NotTraceable as why:
        raise Skip(str(why)) from None
    t.equal(small.body, b"small", "a small response during the flows")
    most = max(max(turn.values(), default=0) for turn in traced.turns)
    t.at_least(most, 1, "bytes of a descriptor between two waits")
    t.at_most(most, LIMIT, "bytes of a descriptor between two waits")


POOL = {"max_per_host": FLOWS + 4}


@test("chunked responses")
def chunked_down(t):
    upstream = t.own(HttpUpstream(flood(chunk(BLOCK), head("HTTP/1.1 200 OK", CHUNKED))))
    kaproxy = start(t, upstream, pool=POOL)
    check(t, kaproxy, Flows(kaproxy, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))


@test("responses that the upstream ends by closing")
def until_close_down(t):
    upstream = t.own(HttpUpstream(flood(BLOCK, response_until_close(b""))))
    kaproxy = start(t, upstream, pool=POOL)
    check(t, kaproxy, Flows(kaproxy, b"GET / HTTP/1.0\r\n\r\n"))


@test("chunked requests")
def chunked_up(t):
    def drain(connection):
        buffer = bytearray(1 << 20)
        while connection.socket.recv_into(buffer):
            pass

    def with_body(connection, message):
        if message.target != "/small":
            drain(connection)
        return message.target == "/small"

    upstream = t.own(HttpUpstream(lambda c, m: response(b"small"), with_body=with_body))
    kaproxy = start(t, upstream, pool=POOL)
    check(t, kaproxy, Flows(kaproxy, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                            chunk(BLOCK)))


if __name__ == "__main__":
    main()
