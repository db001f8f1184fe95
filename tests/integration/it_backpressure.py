#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a reader that stops slows the sender down and costs kaproxy little memory."""

import sys
import threading
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, Channel, main, test

SESSIONS = 4
SIZE = 96 << 20  # of each session; far more than the kernel buffers with the small windows below
PIECE = bytes(range(256)) * 256
ALLOWED = 256 << 10  # of each session


class Sender:
    """Sends SIZE bytes in the background and counts them."""

    def __init__(self, channel: Channel):
        self.channel = channel
        self.sent = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        self.channel.socket.settimeout(None)
        while self.sent < SIZE:
            self.channel.send(PIECE)
            self.sent += len(PIECE)
        self.channel.fin()


def wait_stalled(senders):
    """Until no sender has sent another byte for half a second."""
    before = None
    while (now := [s.sent for s in senders]) != before:
        before = now
        time.sleep(0.5)


def read_all(channel):
    """How many bytes arrived, if all were right."""
    total = 0
    while data := channel.socket.recv(len(PIECE)):
        start = total % 256
        expected = (PIECE + PIECE[:256])[start:start + len(data)]
        if data != expected:
            return -1
        total += len(data)
    return total


def stall(t, kaproxy, pairs):
    """pairs: (sending end, reading end)"""
    memory = kaproxy.private_memory()
    senders = [Sender(sending) for sending, _ in pairs]
    wait_stalled(senders)
    cpu = kaproxy.cpu_seconds()
    time.sleep(0.5)
    if not SLOW:
        t.at_most(kaproxy.private_memory() - memory, ALLOWED * SESSIONS, "memory for the stall")
    t.at_most(kaproxy.cpu_seconds() - cpu, 0.2, "processor time while nothing can move")
    t.check(all(s.sent < SIZE for s in senders), "a sender was not held back")
    for _, reading in pairs:
        t.equal(read_all(reading), SIZE, "bytes read in the end")
    for pair in pairs:
        for channel in pair:
            channel.close()


def start(t):
    """kaproxy after a first transfer, and pairs of client and upstream connection."""
    upstream = t.upstream(receive_buffer=65536, keep=True)
    kaproxy = t.kaproxy(upstream.endpoint, reuse="never")
    pairs = []
    for number in range(SESSIONS):
        client = kaproxy.connect(receive_buffer=65536)
        connection = upstream.wait_accepted(number + 1)
        for one, other in (client, connection), (connection, client):
            one.send(PIECE)
            t.equal(other.read(len(PIECE)), PIECE, "a first piece")
        pairs.append((client, connection))
    return kaproxy, pairs


@test("clients that do not read")
def slow_clients(t):
    kaproxy, pairs = start(t)
    stall(t, kaproxy, [(connection, client) for client, connection in pairs])


@test("an upstream that does not read")
def slow_upstream(t):
    kaproxy, pairs = start(t)
    stall(t, kaproxy, pairs)


main()
