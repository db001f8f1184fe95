# SPDX-License-Identifier: ISC
"""A hostile scraper of kaproxy's admin pages: scraper.py SOCKET

It has 100 connections to the unix socket at once, each for one request as soon as there is room for
it, for the metrics and the page in turn; one that reads slowly; and an open page, which refreshes
each second. A line is printed when it is running, and, when standard input ends, the number of
responses that it received."""

import selectors
import socket
import sys
import time

CONNECTIONS = 100
RETRY = 0.01  # seconds until it retries when the backlog is full


class Scraper:
    """One request after another. `pause` is between two of them; a slow one reads little at a time,
    and pauses in between."""

    def __init__(self, path, targets, pause=0.0, size=1 << 16):
        self.path, self.targets, self.pause, self.size = path, targets, pause, size
        self.slow = size < 1 << 16
        self.answers = 0
        self.due = 0.0  # when to continue; 0: when there is something to read
        self.socket = None
        self.count = 0

    def ask(self):
        """False: there is no room now."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(self.path)
            target = self.targets[self.count % len(self.targets)]
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n"
                         "Connection: close\r\n\r\n".encode())
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            sock.close()
            return False
        self.count += 1
        self.socket = sock
        return True

    def read(self):
        """False: that was the end."""
        try:
            data = self.socket.recv(self.size)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            data = b""
        if data:
            return True
        self.socket.close()
        self.socket = None
        self.answers += 1
        return False


def scrapers(path):
    return [*(Scraper(path, ["/metrics", "/"][i % 2:] + ["/metrics", "/"][:i % 2])
              for i in range(CONNECTIONS)),
            Scraper(path, ["/metrics"], pause=0.05, size=100), Scraper(path, ["/"], pause=1.0)]


class Loop:
    def __init__(self, path):
        self.all = scrapers(path)
        self.selector = selectors.DefaultSelector()
        self.selector.register(sys.stdin, selectors.EVENT_READ)

    def run(self):
        """Until standard input ends: how many responses there were."""
        for each in self.all:
            self._go_on(each, time.monotonic())
        print("going", flush=True)
        while True:
            wait = min((each.due for each in self.all if each.due), default=time.monotonic() + 1)
            events = self.selector.select(max(0.0, wait - time.monotonic()))
            now = time.monotonic()
            for key, _ in events:
                if key.data is None:
                    return sum(each.answers for each in self.all)
                self._read(key.data, now)
            for each in self.all:
                if each.due and each.due <= now:
                    self._go_on(each, now)

    def _go_on(self, each, now):
        each.due = 0.0
        if each.socket is None and not each.ask():
            each.due = now + RETRY
        elif each.socket is not None:
            self.selector.register(each.socket, selectors.EVENT_READ, each)

    def _read(self, each, now):
        sock = each.socket
        more = each.read()
        if more and not each.slow:
            return
        self.selector.unregister(sock)
        each.due = now + each.pause
        if not more and each.pause == 0:
            self._go_on(each, now)


if __name__ == "__main__":
    print(Loop(sys.argv[1]).run(), flush=True)
