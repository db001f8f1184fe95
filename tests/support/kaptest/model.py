# SPDX-License-Identifier: ISC
"""Threads of clients that act at random, each of which knows what the replies must be."""

import os
import random
import threading
import time
import traceback

from .tap import LONG, SLOW, Failure

SEED = int(os.environ.get("KAPROXY_SEED") or random.randrange(1 << 32))


def batches(count):
    """As many as a test of this kind does here: ten times as many in a long run."""
    return count * 10 if LONG else count // 4 if SLOW else count


class Wrong(Exception):
    """A reply that the model does not know."""


class Lost(Exception):
    """The connection ended, or an error of kaproxy's own arrived: what has no reply may have
    happened, or not. The session continues if `stays` is set."""

    def __init__(self, stays=False):
        super().__init__()
        self.stays = stays


class Run:
    """This many batches, shared by all clients; the first wrong reply ends it. `counts` has how
    many of a kind there were."""

    def __init__(self, total):
        print(f"# KAPROXY_SEED={SEED}", flush=True)
        self.total = total
        self.done = 0
        self.counts = {}
        self.wrong = []
        self.over = threading.Event()
        self.lock = threading.Lock()

    def count(self, kind, number=1):
        with self.lock:
            self.counts[kind] = self.counts.get(kind, 0) + number

    def take(self):
        """Whether there is one more to do."""
        with self.lock:
            if self.over.is_set() or self.done >= self.total:
                return False
            self.done += 1
            return True

    def fail(self, who, error):
        with self.lock:
            self.wrong.append(f"{who}: {error}")
            self.over.set()

    def go(self, clients, disturb=(), limit=1500 if LONG else 300 if SLOW else 90):
        """Runs client.run() of all, and meanwhile each disturb(run), in their own threads."""
        threads = [threading.Thread(target=self._guard, args=(client, client.run), daemon=True)
                   for client in clients]
        others = [threading.Thread(target=self._guard, args=(function.__name__, self._repeat,
                                                             function), daemon=True)
                  for function in disturb]
        for thread in [*threads, *others]:
            thread.start()
        deadline = time.monotonic() + limit
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        stuck = [str(client) for client, thread in zip(clients, threads) if thread.is_alive()]
        self.over.set()
        for thread in others:
            thread.join(30)
        print(f"# {self.done} batches,", self.counts, flush=True)
        if stuck and not self.wrong:
            self.wrong.append(f"after {limit} s not at their end: {'; '.join(stuck)}")
        if self.wrong:
            raise Failure("\n# ".join([f"with seed {SEED}:", *self.wrong[:5]]))

    def _repeat(self, function):
        while not self.over.is_set():
            function(self)

    def _guard(self, who, function, *arguments):
        try:
            function(*arguments)
        except Wrong as error:
            self.fail(who, error)
        except Exception:  # noqa: BLE001
            self.fail(who, traceback.format_exc().replace("\n", "\n# "))

    def wait_batches(self, count):
        """Until this many more were begun, or all is over."""
        goal = self.done + count
        while self.done < goal and not self.over.wait(0.005):
            pass
