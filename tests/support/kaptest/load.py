# SPDX-License-Identifier: ISC
"""Load from clients of all kinds, none of which may fail."""

import threading

from .channel import connect
from .http import read_response, request
from .resp import Client


class Load:
    """Clients one after the other until it is over; `failures` has what went wrong."""

    def __init__(self, t):
        self.over = threading.Event()
        self.served = {}
        self.failures = []
        self.threads = []
        t.callback(self.stop)

    def add(self, name, visit):
        def run():
            while not self.over.is_set():
                try:
                    visit()
                    self.served[name] = self.served.get(name, 0) + 1
                except Exception as why:
                    self.failures.append(f"{name}: {why!r}")
                    return

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def one_shot(address):
    def visit():
        peer = connect(address)
        try:
            peer.send(request(version="1.0"))
            if read_response(peer).status != 200:
                raise AssertionError(f"{peer.received[-700:]}")
        finally:
            peer.close()
    return visit


def kept(address):
    """Connects again when the test says so."""
    peers = []

    def visit():
        if not peers:
            peers.append(connect(address))
        peer = peers[0]
        peer.send(request())
        answer = read_response(peer)
        if answer.status != 200:
            raise AssertionError(f"{peer.received[-700:]}")
        if answer.closes():
            peers.pop().close()
    return visit


def lines(address):
    def visit():
        peer = connect(address)
        try:
            if not peer.ask(b"x").endswith(b" x") or peer.end() != "eof":
                raise AssertionError("no answer")
        finally:
            peer.close()
    return visit


def redis(address, commands=None):
    """Connects again after this many commands; None: never."""
    peers, asked = [], 0

    def visit():
        nonlocal asked
        if not peers:
            peers.append(Client(connect(address)))
        if not peers[0].ask("GET key").startswith(b"key at "):
            raise AssertionError("no value")
        asked += 1
        if commands is not None and asked % commands == 0:
            peers.pop().channel.close()
    return visit
