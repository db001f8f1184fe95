"""Large files, and a proxy that keeps none of them in memory."""

import os

from .tap import SLOW

SIZE = (10 if SLOW else 100) * 1_000_000
MEMORY = 4 << 20


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
