# SPDX-License-Identifier: ISC
"""Bulk transfers while something else is measured: flows.py PORT FLOWS SECONDS TARGET [BODY]

Each flow is a client that requests one large body after another, or sends bodies of BODY bytes.
Received bytes are dropped in the kernel, so that the flows cost this side little. A line is printed
when all flows are running, and one at the end: bytes, failures."""

import selectors
import socket
import sys
import time

AT_ONCE = 1 << 20


class Flow:
    room = bytearray(AT_ONCE)  # which stays empty

    def __init__(self, port, target, body):
        self.body = memoryview(bytes(body))
        method, length = ("POST", f"Content-Length: {body}\r\n") if body else ("GET", "")
        self.request = f"{method} {target} HTTP/1.1\r\nHost: bench\r\n{length}\r\n".encode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.settimeout(0)
        self.bytes = 0
        self.ask()

    def fileno(self):
        return self.socket.fileno()

    @property
    def events(self):
        return selectors.EVENT_WRITE if self.unsent else selectors.EVENT_READ

    def ask(self):
        self.socket.sendall(self.request)
        self.unsent, self.head, self.left = self.body, b"", None

    def send(self):
        n = self.socket.send(self.unsent[:AT_ONCE])
        self.unsent = self.unsent[n:]
        self.bytes += n

    def receive(self):
        if self.left is None:
            self.read_head()
            return
        n = self.socket.recv_into(self.room, min(self.left, AT_ONCE) if self.left >= 0 else AT_ONCE,
                                  socket.MSG_TRUNC)
        if n == 0:
            raise OSError("the connection was closed in a body")
        self.take(n)

    def read_head(self):
        more = self.socket.recv(4096)
        if not more:
            raise OSError("the connection was closed")
        self.head += more
        head, end, body = self.head.partition(b"\r\n\r\n")
        if not end:
            return
        fields = head.lower().split(b"\r\n")
        if not fields[0].startswith(b"http/1.1 200"):
            raise OSError(fields[0].decode())
        lengths = [int(f.partition(b":")[2]) for f in fields if f.startswith(b"content-length:")]
        self.left = lengths[0] if lengths else -1  # endless
        self.take(len(body))

    def take(self, n):
        if not self.body:
            self.bytes += n
        if self.left >= 0:
            self.left -= n
            if self.left == 0:
                self.ask()


def step(flow):
    try:
        if flow.unsent:
            flow.send()
        else:
            flow.receive()
    except BlockingIOError:
        pass


def main():
    port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    body = int(sys.argv[5]) if len(sys.argv) > 5 else 0
    flows = [Flow(port, sys.argv[4], body) for _ in range(count)]
    poll, failures = selectors.DefaultSelector(), 0
    for flow in flows:
        poll.register(flow, flow.events)
    print("going", flush=True)
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        for key, _ in poll.select(1):
            flow = key.fileobj
            try:
                step(flow)
            except OSError as error:
                print(error, file=sys.stderr)
                failures += 1
                poll.unregister(flow)
                continue
            if flow.events != key.events:
                poll.modify(flow, flow.events)
    print(sum(flow.bytes for flow in flows), time.monotonic() - begin, failures)


if __name__ == "__main__":
    main()
