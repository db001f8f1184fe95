#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: no command of memcached reaches an upstream twice unless it is an unanswered
get; failures are reported in the protocol; quiet commands are done before others are served."""

import concurrent.futures
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, ReservedPort, main, test, wait_until
from kaptest.memcached_peers import (
    Answer, MemcachedServer, ScriptedMemcached, login, packet, read_until, start, store,
    value_of)

ONE = {"max_per_host": 1}
ERROR = b"SERVER_ERROR kaproxy: connect: Connection refused\r\n"
ROUNDS = 1000 if SLOW else 5000


# --- M2

@test("set noreply and quit, then a get by another client: never a stale value [M2, F6]")
def no_stale_reads(t):
    peer = t.own(MemcachedServer(t, threads=4))
    kaproxy = start(t, peer, pool={"max_per_host": 4})

    def work(thread):
        wrong = 0
        for number in range(ROUNDS // 8):
            key, value = b"key%d" % thread, b"%d" % number
            first = kaproxy.connect()
            first.send(store(key, value, more=b" noreply") + b"quit\r\n")
            if first.read_end() != (b"", "eof"):
                wrong += 1
            second = kaproxy.connect()
            second.send(b"get %s\r\n" % key)
            wrong += read_until(second, b"END\r\n") != value_of(key, value)
            first.close()
            second.close()
        return wrong

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        wrong = sum(threads.map(work, range(8)))
    t.equal(wrong, 0, f"stale values in {ROUNDS}")


@test("set noreply, then a get by the same client, in text, meta and binary: its own value [M2]")
def own_writes(t):
    peer = t.own(MemcachedServer(t, threads=4))
    kaproxy = start(t, peer, pool={"max_per_host": 4})

    def work(thread):
        one, wrong = kaproxy.connect(), 0
        key = b"key%d" % thread
        for number in range(ROUNDS // 8):
            value = b"%d" % number
            if thread % 4 == 0:
                one.send(packet("setq", key, value))
                one.send(packet("get", key, opaque=number))
                wrong += Answer(one).value != value
                continue
            one.send(store(key, value, more=b" noreply") if thread % 4 == 1 else
                     b"ms %s %d q\r\n%s\r\n" % (key, len(value), value))
            one.send(b"get %s\r\n" % key)
            wrong += read_until(one, b"END\r\n") != value_of(key, value)
        one.close()
        return wrong

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        wrong = sum(threads.map(work, range(8)))
    t.equal(wrong, 0, f"stale values in {ROUNDS}")


@test("a barrier of ours ends a batch with quiet commands, unless the client's own does [M2]")
def barrier(t):
    upstream = t.own(ScriptedMemcached())
    kaproxy = start(t, upstream, pool=ONE)
    channel = kaproxy.connect()
    channel.send(store(b"a", b"1", more=b" noreply"))
    wait_until(lambda: (1, b"mn") in upstream.lines, "the barrier")
    channel.send(b"mg a q v\r\nmn\r\n")
    read_until(channel, b"MN\r\n")
    t.equal([line for _, line in upstream.lines].count(b"mn"), 2, "barriers, ours and the client's")
    t.equal(channel.end(), "eof", "end")


@test("a server that does not know mn: version is the barrier [M2]")
def old_server(t):
    upstream = t.own(ScriptedMemcached(lambda _, line: {
        b"mn": b"ERROR\r\n", b"version": b"VERSION 1.4.0\r\n"}.get(line)))
    kaproxy = start(t, upstream, pool=ONE)
    for _ in range(3):
        channel = kaproxy.connect()
        channel.send(store(b"a", b"1", more=b" noreply") + b"get a\r\n")
        got = read_until(channel, b"END\r\n")
        t.check(got.startswith(b"VALUE a 0"), f"{got}")
        t.equal(channel.end(), "eof", "end")


# --- F4, F5

class Fragile(ScriptedMemcached):
    """Its first connection ends at a line that starts so."""

    def __init__(self, last):
        super().__init__(self.fail)
        self.last = last

    def fail(self, connection, line):
        if connection.number == 1 and line.startswith(self.last):
            connection.socket.close()
            raise OSError
        return None


def on_reused(t, upstream, data):
    kaproxy = start(t, upstream, pool=ONE)
    channel = kaproxy.connect()
    channel.send(b"get first\r\n")
    t.equal(read_until(channel, b"END\r\n"), value_of(b"first", b"first at 1"), "a first reply")
    channel.send(data)
    return channel


@test("get on a reused connection that died: retried, once [F4]")
def read_again(t):
    upstream = t.own(Fragile(b"get k"))
    channel = on_reused(t, upstream, b"get k l\r\n")
    got = read_until(channel, b"END\r\n")
    t.check(b"k at 2" in got and b"l at 2" in got, f"{got}")
    t.equal(upstream.clients_lines().count(b"get k l"), 2, "how often it was sent")


@test("everything else is sent once: an error, and the client stays [F4]")
def never_again(t):
    for data in (store(b"k", b"v"), b"incr k 1\r\n", b"delete k\r\n", b"touch k 0\r\n", b"gat 0 k\r\n",
                 b"mg k v\r\n", b"get a\r\ndelete k\r\n"):
        last = data.split(b"\r\n")[0] if b"get a" not in data else b"delete k"
        upstream = t.own(Fragile(last))
        channel = on_reused(t, upstream, data)
        if data.startswith(b"get a\r"):
            channel.read(len(value_of(b"a", b"a at 1")))
        line = channel.read_line()
        t.check(line.startswith(b"SERVER_ERROR "), f"{data}: {line}")
        t.equal(upstream.clients_lines().count(last), 1, f"how often {last} was sent")
        channel.send(b"get after\r\n")
        t.check(b"after at 2" in read_until(channel, b"END\r\n"), "the next reply")


@test("no server: an error for each command that has a reply, and the client stays [F5]")
def nobody(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, f"memcached://127.0.0.1:{port.port}")
    channel = kaproxy.connect()
    for _ in range(2):
        channel.send(b"get a b\r\n" + store(b"k", b"v") + b"mg k v\r\n")
        t.equal(channel.read(3 * len(ERROR)), ERROR * 3, "replies")
    channel.send(store(b"k", b"v", more=b" noreply") + b"delete k noreply\r\nget a\r\n")
    t.equal(channel.read(len(ERROR)), ERROR, "the reply after commands without one")
    t.check(channel.is_silent(0.2), "more than that")
    binary = kaproxy.connect()
    binary.send(packet("get", b"k", opaque=7) + packet("set", b"k", b"v", 8))
    for opcode, opaque in (0, 7), (1, 8):
        answer = Answer(binary)
        t.equal((answer.magic, answer.opcode, answer.opaque), (0x81, opcode, opaque), "reply")
        t.check(answer.status not in (0, 1), f"{answer}")
    binary.send(packet("getq", b"k", opaque=9) + packet("noop", opaque=10))
    while (answer := Answer(binary)).opaque != 10:
        t.check(answer.status != 0, f"{answer}")
    listener = t.own(ScriptedMemcached(listener=port.socket))
    channel.send(b"get a\r\n")
    t.equal(read_until(channel, b"END\r\n"), value_of(b"a", b"a at 1"), "once there is a server")
    t.equal(listener.clients_lines(), [b"get a"], "commands that arrived")


@test("memcached that closes idle connections, and restarts: the client continues [F4, F5]")
def restarts(t):
    peer = t.own(MemcachedServer(t, options=["-o", "idle_timeout=1"]))
    kaproxy = start(t, peer)
    channel = kaproxy.connect()
    for number in range(3):
        value = b"%d" % number
        channel.send(store(b"k", value) + b"get k\r\n")
        t.equal(read_until(channel, b"END\r\n"), b"STORED\r\n" + value_of(b"k", value), "replies")
        if number == 0:
            wait_until(lambda: kaproxy.counters()["idle"] == 0, "memcached to close idle ones")
        else:
            peer.stop()
            channel.send(b"get k\r\n")
            t.equal(channel.read(len(ERROR)), ERROR, "while it is down")
            peer.start()


# --- M4

@test("-Y: each session has its own connection; a client without a login reads nothing [M4]")
def authentication(t):
    peer = t.own(MemcachedServer(t, users={"alice": "rabbit"}))
    kaproxy = start(t, peer, pool={"max_per_host": 4})
    for number in range(10):
        one = kaproxy.connect()
        one.send(login("alice", "rabbit") + store(b"secret", b"%d" % number) + b"get secret\r\n")
        t.equal(read_until(one, b"END\r\n"),
                b"STORED\r\nSTORED\r\n" + value_of(b"secret", b"%d" % number), "with a login")
        if number % 2:
            one.close()
        other = kaproxy.connect()
        other.send(b"get secret\r\n")
        t.equal(other.read_line(), b"CLIENT_ERROR unauthenticated\r", "without a login")
        wrong = kaproxy.connect()
        wrong.send(login("alice", "wrong") + b"get secret\r\n")
        t.check(wrong.read_line().startswith(b"CLIENT_ERROR "), "with a wrong password")
        for channel in one, other, wrong:
            channel.close()


@test("-Y that an upstream has from a restart on: still no client reads by another's login [M4]")
def authentication_later(t):
    peer = t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool=ONE)
    one = kaproxy.connect()
    one.send(store(b"k", b"v") + b"get k\r\n")
    t.equal(read_until(one, b"END\r\n"), b"STORED\r\n" + value_of(b"k", b"v"), "before")
    peer.users = {"alice": "rabbit"}
    peer.restart()
    wait_until(lambda: kaproxy.counters()["idle"] == 0, "kaproxy to see the end")
    one.close()
    for _ in range(3):
        other = kaproxy.connect()
        other.send(b"get k\r\n")
        t.equal(other.read_line(), b"CLIENT_ERROR unauthenticated\r", "after it")
        other.close()


@test("watch is a client's own connection to its end [M4, F9]")
def watch(t):
    peer = t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool=ONE)
    one, other = kaproxy.connect(), kaproxy.connect()
    one.send(b"watch fetchers mutations\r\n")
    t.equal(one.read_line(), b"OK\r", "watch")
    t.equal(kaproxy.counters()["held"], 1, "held connections")
    other.send(store(b"seen", b"1") + b"get seen\r\n")
    read_until(other, b"END\r\n")
    t.check(b"key=seen" in one.read_line(), "what is watched")
    one.close()
    wait_until(lambda: kaproxy.counters()["held"] == 0, "its connection to be closed")
    other.send(b"get seen\r\n")
    t.equal(read_until(other, b"END\r\n"), value_of(b"seen", b"1"), "another client")


@test("lru_crawler metadump: all of it, whatever its length, and no other client gets any [M4]")
def dump(t):
    # An item that its maintainer has locked at that moment is missing from the dump.
    peer = t.own(MemcachedServer(t, options=("-o", "no_lru_maintainer")))
    kaproxy = start(t, peer, pool=ONE)
    filling = kaproxy.connect()
    for number in range(2000):
        filling.send(store(b"key%d" % number, b"x", more=b" noreply"))
    filling.send(b"version\r\n")
    read_until(filling, b"\r\n")
    one, other = kaproxy.connect(), kaproxy.connect()
    one.send(b"lru_crawler metadump all\r\n")
    text = read_until(one, b"END\r\n")
    t.equal(text.count(b"key=key"), 2000, "keys in the dump")
    other.send(b"get key1\r\n")
    t.equal(read_until(other, b"END\r\n"), value_of(b"key1", b"x"), "another client")


@test("max_tunnels: beyond it an error, and that client is closed [F9]")
def limit(t):
    peer = t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool={"max_per_host": 2, "max_tunnels": 1})
    one = kaproxy.connect()
    one.send(b"watch\r\n")
    t.equal(one.read_line(), b"OK\r", "watch")
    other = kaproxy.connect()
    other.send(b"watch\r\n" + store(b"k", b"v"))
    got, _ = other.read_end()
    t.check(got.startswith(b"SERVER_ERROR kaproxy: "), f"{got}")
    last = kaproxy.connect()
    last.send(b"get k\r\n")
    t.equal(last.read_line(), b"END\r", "commands after it that ran")


@test("commands=, leases= and the kinds of leases in the access log [F8]")
def access_log(t):
    upstream = t.own(ScriptedMemcached())
    kaproxy = start(t, upstream, pool=ONE)
    channel = kaproxy.connect()
    for data, end in (b"get a\r\n", b"END\r\n"), (b"get a\r\nget b\r\n", b"b at 1\r\nEND\r\n"):
        channel.send(data)
        read_until(channel, end)
    channel.end()
    line = kaproxy.wait_session(channel)
    t.equal([int(line[key]) for key in ("commands", "leases", "none", "immediate", "deferred")],
            [3, 2, 1, 1, 0], "numbers")


main()
