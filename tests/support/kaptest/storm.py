# SPDX-License-Identifier: ISC
"""Signals that arrive all the time: a system call that one interrupts does less than it could."""

import itertools
import signal
import threading

INTERVAL = 0.001  # seconds


class Storm:
    """While it is open a kaproxy gets SIGUSR1 and SIGHUP in turn; `count` of them so far."""

    def __init__(self, kaproxy):
        self.kaproxy = kaproxy
        self.count = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _send(self):
        for number in itertools.cycle((signal.SIGUSR1, signal.SIGHUP)):
            if self._over.wait(INTERVAL) or not self.kaproxy.is_running():
                return
            self.kaproxy.signal(number)
            self.count += 1
