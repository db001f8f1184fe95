# SPDX-License-Identifier: ISC
"""Ports that are free, reserved without a listener, or listening without ever answering."""

import random
import socket


def free_port(family=socket.AF_INET, address="127.0.0.1"):
    """A port that is free now. Below the range that the kernel gives to outgoing connections, so
    that a test that runs at the same time is unlikely to take it before it is bound."""
    for _ in range(200):
        port = random.randrange(10240, 32000)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue
    raise OSError("no free port found")


class ReservedPort:
    """A port that refuses connections until listen() is called. No other process can take it."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.endpoint = f"tcp://127.0.0.1:{self.port}"

    def close(self):
        self.socket.close()


class Blackhole:
    """An address where a connection attempt gets no answer at all: the backlog is full and
    connections are not accepted, so the kernel drops what arrives."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(0)
        self.port = self.socket.getsockname()[1]
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self.fillers.append(filler)

    def close(self):
        for filler in self.fillers:
            filler.close()
        self.socket.close()
