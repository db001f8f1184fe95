# SPDX-License-Identifier: ISC
"""Large files and long streams of bytes, and a proxy that keeps none of them in memory."""

import concurrent.futures
import hashlib
import os
import random

from .tap import SLOW

SIZE = (10 if SLOW else 100) * 1_000_000
MEMORY = 4 << 20

_NOISE = os.urandom(1 << 20)


def fill(file, size=SIZE):
    """Bytes that do not repeat at any power of two."""
    block = os.urandom(999_983)
    with open(file, "wb") as opened:
        for _ in range(size // len(block)):
            opened.write(block)
        opened.write(block[:size % len(block)])


def check_memory(t, kaproxy, before):
    if not SLOW:
        t.at_most(kaproxy.private_memory() - before, MEMORY, "bytes of memory more than before")


def pour(channel, seed, size, end=True):
    """Sends this many bytes in pieces of random sizes, and the end: their digest."""
    sizes, digest = random.Random(seed), hashlib.sha256()
    while size > 0:
        start = sizes.randrange(len(_NOISE))
        piece = _NOISE[start:start + min(size, sizes.choice((7, 1000, 65536, 1 << 20)))]
        channel.send(piece)
        digest.update(piece)
        size -= len(piece)
    if end:
        channel.fin()
    return digest.hexdigest()


def drain(channel, size=1 << 60):
    """Receives this many bytes, or all until the end: the digest of what arrived."""
    digest = hashlib.sha256()
    data = channel.receive(min(size, 1 << 18))  # what arrived along with something else
    while data:
        digest.update(data)
        size -= len(data)
        data = channel.socket.recv(min(size, 1 << 18)) if size > 0 else b""
    return digest.hexdigest()


def both_ways(channel, seed, size):
    """Does both at once: the digests of what was sent and of what was received."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        sent = thread.submit(pour, channel, seed, size)
        received = drain(channel)
        return sent.result(), received
