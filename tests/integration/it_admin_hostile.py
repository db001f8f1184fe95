#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: whatever is done to the admin pages, clients are served all the while, the
pages soon respond to others again, and nothing is left behind."""

import contextlib
import os
import re
import resource
import selectors
import socket
import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import WAIT_MAX, answer_lines, main, test, wait_until
from kaptest.admin import Admin, read_all

CONNECTIONS = 64
HEAD = b"GET /livez HTTP/1.1\r\n"


class World:
    def __init__(self, t):
        self.t = t
        path = t.folder / "admin.sock"
        self.kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint,
                                 more={"admin": {"listen": f"unix:{path} 127.0.0.1:{{port}}"}})
        port = re.search(r"admin.sock 127\.0\.0\.1:(\d+)", self.kaproxy.file.read_text())
        self.unix, self.tcp = Admin(path), Admin(("127.0.0.1", int(port[1])))
        self.client = self.kaproxy.connect()
        self.serves("before")
        for admin in self.unix, self.tcp:
            t.equal(admin.get("/status").status, 200, "pages before")
        wait_until(lambda: self.kaproxy.descriptors(), "descriptors")
        self.before = self.settled()

    def settled(self):
        """The descriptors, when none is about to be closed."""
        counts = []
        wait_until(lambda: counts.append(self.kaproxy.descriptors()) or counts[-3:] ==
                   [counts[-1]] * 3, "descriptors to stay")
        return counts[-1]

    def serves(self, when):
        """A client is served, on its connection and on a new one."""
        self.t.check(self.client.ask(b"a").endswith(b" a"), f"a client's response {when}")
        other = self.kaproxy.connect()
        self.t.check(other.ask(b"b").endswith(b" b"), f"a new client's response {when}")
        self.t.equal(other.end(), "eof", "end")

    def is_as_before(self):
        self.serves("at the end")
        for admin in self.unix, self.tcp:
            self.t.equal(admin.get("/livez").status, 200, "pages at the end")
        wait_until(lambda: self.kaproxy.descriptors() <= self.before, "descriptors to be as before")


def connect_many(t, admin, count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 500)), hard))
    peers = []
    for _ in range(count):
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        t.callback(peer.close)
        try:
            peer.connect(str(admin.address))
        except BlockingIOError:  # the backlog is full
            peer.close()
            break
        peers.append(peer)
    return peers


def has_ended(peer):
    """Whether the end has arrived; what arrives before it is discarded."""
    with contextlib.suppress(BlockingIOError):
        try:
            while peer.recv(65536):
                pass
            return True
        except (ConnectionResetError, BrokenPipeError):
            return True
    return False


def send(peer, data):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
        peer.send(data)


@test("a client that dribbles, sends nothing, or keeps a connection is closed, though not at once")
def dribble(t):
    world = World(t)
    starts = {"head": HEAD + b"X: ", "body": b"POST /pause HTTP/1.1\r\nContent-Length: 4000\r\n\r\n",
              "chunk": b"POST /pause HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
              "line": b"GE", "nothing": b"", "kept": HEAD + b"\r\n"}
    peers = {}
    for name, start in starts.items():
        for admin in world.unix, world.tcp:
            peer = peers[name, admin] = admin.connect()
            t.callback(peer.close)
            peer.setblocking(False)
            send(peer, start)
    began = time.monotonic()
    ended = {}
    while len(ended) < len(peers) and time.monotonic() - began < WAIT_MAX:
        for key, peer in peers.items():
            if key not in ended and has_ended(peer):
                ended[key] = time.monotonic() - began
            elif key not in ended and key[0] not in ("nothing", "kept"):
                send(peer, b"0")
        world.serves("during the dribbling")
        t.equal(world.unix.get("/readyz").status, 200, "pages during the dribbling")
        time.sleep(0.2)  # the pace of the dribbling
    t.equal(len(ended), len(peers), "connections that were ended")
    world.is_as_before()


@test("a thousand connections: some are accepted, the others wait, and leave without a trace")
def thousand(t):
    world = World(t)
    peers = connect_many(t, world.unix, 1000)
    t.check(len(peers) > CONNECTIONS, f"only {len(peers)} were connected")
    wait_until(lambda: world.kaproxy.descriptors() >= world.before + CONNECTIONS,
               "as many as are allowed")
    world.serves("with a thousand others")
    t.check(world.settled() <= world.before + CONNECTIONS, "more were accepted than are allowed")
    for peer in peers:
        peer.close()
    world.is_as_before()


@test("all places taken by silent clients: any other one is soon served, over either socket")
def crowded(t):
    world = World(t)
    peers = connect_many(t, world.unix, CONNECTIONS + 20)
    began = time.monotonic()
    for admin in world.unix, world.tcp:
        t.equal(admin.get("/livez").status, 200, "pages in a crowd")
    t.check(any(has_ended(peer) for peer in peers), "no client was closed")
    t.check(time.monotonic() - began < WAIT_MAX / 2, "it took as long as for the others to end")
    world.serves("in a crowd")
    for peer in peers:
        peer.close()
    world.is_as_before()


@test("headers of 1 MB, and bodies, are rejected; little of them is read")
def large(t):
    world = World(t)
    memory = world.kaproxy.private_memory()
    megabyte = b"x" * (1 << 20)
    for admin in world.unix, world.tcp:
        for request in (b"GET /" + megabyte, HEAD + b"X: " + megabyte, b"GET " + megabyte,
                        HEAD + b"X: y\r\n" * (1 << 18), megabyte, b"\0" * (1 << 20), b"\n" * 9999,
                        b"POST /pause HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n" + megabyte,
                        b"POST /pause HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                        b"POST /pause HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" +
                        megabyte):
            got = admin.raw(request)
            t.check(b" 200 " not in got, f"response to {request[:40]!r}: {got[:80]!r}")
            world.serves("during large headers")
    t.at_most(world.kaproxy.private_memory() - memory, 8 << 20, "memory")
    world.is_as_before()


@test("a client that sends and never reads is not read from endlessly")
def no_reader(t):
    world = World(t)
    with world.unix.connect() as peer:
        peer.setblocking(False)
        data = b"GET /metrics HTTP/1.1\r\n\r\n" * 4000
        sent, writable = 0, selectors.DefaultSelector()
        writable.register(peer, selectors.EVENT_WRITE)
        while sent < 64 << 20 and writable.select(0.3):
            sent += peer.send(data)
        t.at_most(sent, 4 << 20, "bytes read from a client that does not read")
        world.serves("with one that does not read")
        t.equal(world.tcp.get("/livez").status, 200, "pages meanwhile")
    world.is_as_before()


@test("a client that leaves before its response: of a page, of a command; it leaves nothing behind")
def leaves(t):
    world = World(t)
    requests = (b"GET /status HTTP/1.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n" * 30,
                b"POST /resume HTTP/1.1\r\nHost: localhost\r\nKaproxy-Control: yes\r\n\r\n",
                b"POST /resume HTTP/1.1\r\nHost: localhost\r\nKaproxy-Control: yes\r\n"
                b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
                b"GET /status HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde")
    for _ in range(3):
        with world.kaproxy.paused():
            for request in requests:
                for admin in world.unix, world.tcp:
                    for _ in range(4):
                        with admin.connect() as peer:
                            send(peer, request)
        for request in requests:
            for _ in range(4):
                with world.unix.connect() as peer:
                    send(peer, request)
        world.serves("when they have left")
    world.is_as_before()


@test("out of descriptors accepting pauses, does not spin, and resumes")
def starved(t):
    world = World(t)
    kaproxy = world.kaproxy
    numbers = {int(name) for name in os.listdir(f"/proc/{kaproxy.pid}/fd")}
    lowest_free = min(set(range(len(numbers) + 1)) - numbers)
    limits = resource.prlimit(kaproxy.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(kaproxy.pid, resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    peers = [world.unix.connect() for _ in range(3)]
    for peer in peers:
        t.callback(peer.close)
        peer.sendall(HEAD + b"Connection: close\r\n\r\n")
    message = r"error: \[admin\]: accepting pauses: Too many open files"
    kaproxy.wait_log(message)
    cpu = kaproxy.cpu_seconds()
    t.check(world.client.ask(b"a").endswith(b" a"), "a client's response meanwhile")
    time.sleep(0.5)  # what it does in that time is measured
    t.at_most(kaproxy.cpu_seconds() - cpu, 0.2, "processor time while accepting pauses")
    resource.prlimit(kaproxy.pid, resource.RLIMIT_NOFILE, limits)
    for peer in peers:
        t.check(b" 200 " in read_all(peer), "a waiting client got no response")
    t.equal(len(kaproxy.find_log(message)), 1, "messages")
    kaproxy.wait_log(r"notice: \[admin\]: accepting resumes")
    world.is_as_before()


main()
