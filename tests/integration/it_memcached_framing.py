#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: replies of memcached, in its three protocols, arrive byte for byte at the
right client, and what kaproxy and a server could read differently reaches no upstream."""

import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import connect, main, test
from kaptest.memcached_peers import (
    Answer, MemcachedServer, ScriptedMemcached, packet, read_until, start, store, value_of)

ONE = {"max_per_host": 1}

# Each is a batch whose replies a real server must give as well, and then those of its last command.
BATCHES = {
    "storage": [store(b"a", b"value"), store(b"a", b"x", "add"), store(b"b", b"y", "add", 7),
                store(b"none", b"x", "replace"), store(b"a", b" end", "append"),
                store(b"a", b"start ", "prepend"), b"get a b none a\r\n", b"gets a b\r\n",
                b"cas a 0 0 1 1\r\nx\r\n", b"cas none 0 0 1 1\r\nx\r\n", b"gat 0 a b\r\n",
                b"gats 100 a none\r\n", b"touch a 0\r\n", b"touch none 0\r\n"],
    "numbers": [store(b"n", b"10"), b"incr n 5\r\n", b"decr n 100\r\n", b"incr none 1\r\n",
                store(b"s", b"text"), b"incr s 1\r\n", b"delete n\r\n", b"delete n\r\n",
                b"delete n 0\r\n"],
    "values that look like something else": [
        store(b"v", b"END\r\nVALUE v 0 1\r\nx\r\nEND"), b"get v v\r\n", store(b"v", b""),
        b"get v\r\n", store(b"v", b"\r\n"), b"get v\r\n", store(b"v", bytes(range(256)) * 300),
        b"get v none v\r\n"],
    "meta": [b"ms m 5 T0 F7\r\nvalue\r\n", b"mg m v f t s k O123\r\n", b"mg none v\r\n", b"mg m\r\n",
             b"mn\r\n", b"md m O9\r\n", b"md m\r\n", b"ma n N0 J5 v\r\n", b"ma n v\r\n",
             b"me n\r\n", b"me none\r\n", b"mg n v q\r\n", b"mg none v q\r\n", b"mn\r\n"],
    "noreply": [store(b"q", b"1", more=b" noreply"), b"get q\r\n", b"incr q 1 noreply\r\n",
                b"get q\r\n", b"delete q noreply\r\n", b"get q\r\n",
                store(b"q", b"2", "add", more=b" noreply"), b"touch q 0 noreply\r\n", b"get q\r\n"],
    "about the server": [b"version\r\n", b"verbosity 1\r\n", b"flush_all\r\n", b"flush_all 0\r\n",
                         b"stats sizes\r\n", b"stats reset\r\n", b"stats nonsense\r\n",
                         b"stats detail on\r\n", b"stats detail off\r\n", b"get a\r\n"],
    "errors": [b"nonsense\r\n", b"get a\r\n", b"GET a\r\n", b"get\r\n", b"incr a x\r\n", b"\r\n",
               b"get  a \r\n", b"get a\n", b"delete a b c\r\n", b"touch a\r\n"],
}


def version_of(peer):
    with connect(peer.address).socket as sock:
        peer.asked += 1
        sock.sendall(b"version\r\n")
        return sock.recv(100)


@test("all commands of the text protocol: the same bytes as without kaproxy, however split [M1]")
def text(t):
    for what, batch in BATCHES.items():
        direct, peer = t.own(MemcachedServer(t)), t.own(MemcachedServer(t))
        end = b"END\r\n" + version_of(peer)
        data = b"".join(batch) + b"get nothing\r\nversion\r\n"
        channel = connect(direct.address)
        channel.send(data)
        expected = read_until(channel, end)
        kaproxy = start(t, peer, pool=ONE)
        channel = kaproxy.connect()
        channel.send(data)
        t.equal(channel.read(len(expected)), expected, f"replies, {what}")
        t.equal(channel.end(), "eof", "end")
        for step in 1, 7:
            again = connect(direct.address)
            again.send(b"flush_all\r\n" + data)
            expected = read_until(again, end)
            channel = kaproxy.connect()
            for at in range(0, len(data) + 11, step):
                channel.send((b"flush_all\r\n" + data)[at:at + step])
            t.equal(unnumbered(channel.read(len(expected))), unnumbered(expected),
                    f"replies to pieces of {step}, {what}")
            t.equal(channel.end(), "eof", "end")
        t.at_most(peer.connections(), 1, f"connections, {what}")


def unnumbered(data):
    """Without the numbers that gets and t of meta report."""
    return re.sub(rb"(VALUE \S+ \d+ \d+) \d+", rb"\1", data)


@test("the binary protocol: the same bytes as without kaproxy, quiet commands included [M1, M2]")
def binary(t):
    batch = [packet("set", b"a", b"value", 1), packet("get", b"a", opaque=2),
             packet("getk", b"a", opaque=3), packet("get", b"none", opaque=4),
             packet("getq", b"none", opaque=5), packet("getkq", b"a", opaque=6),
             packet("getkq", b"none", opaque=7), packet("noop", opaque=8),
             packet("add", b"a", b"x", 9), packet("replace", b"none", b"x", 10),
             packet("append", b"a", b" end", 11), packet("prepend", b"a", b"start ", 12),
             packet("incr", b"n", opaque=13), packet("incr", b"n", opaque=14),
             packet("decr", b"a", opaque=15), packet("setq", b"q", b"quiet", 16),
             packet("addq", b"q", b"refused", 17), packet("incrq", b"n", opaque=18),
             packet("deleteq", b"none", opaque=19), packet("get", b"q", opaque=20),
             packet("touch", b"a", opaque=21), packet("gat", b"a", opaque=22),
             packet("version", opaque=23), packet("delete", b"a", opaque=24),
             packet("stat", b"reset", opaque=25), packet("flush", opaque=26),
             packet("get", b"q", opaque=27)]
    data, last = b"".join(batch) + packet("noop", opaque=99), 99
    direct, peer = t.own(MemcachedServer(t)), t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool=ONE)

    def replies(channel):
        found = []
        while not found or found[-1].opaque != last:
            found.append(Answer(channel))
        return [answer.raw[:16] + answer.raw[24:] for answer in found]  # without its cas

    for step in len(data), 1, 24:
        got = []
        for channel in connect(direct.address), kaproxy.connect():
            for at in range(0, len(data), step):
                channel.send(data[at:at + step])
            got.append(replies(channel))
            t.equal(channel.end(), "eof", "end")
        t.equal(got[1], got[0], f"replies to pieces of {step}")
    t.at_most(peer.connections(), 1, "connections")


@test("a quiet multi-get whose NOOP arrives in a later write, as PHP's client sends it [M2]")
def quiet_multi_get(t):
    peer = t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool=ONE)
    for number in range(50):
        one, other = kaproxy.connect(), kaproxy.connect()
        one.send(packet("set", b"k", b"%d" % number, 1))
        t.equal(Answer(one).status, 0, "status of set")
        one.send(packet("getkq", b"none", opaque=2) + packet("getkq", b"k", opaque=3))
        other.send(packet("get", b"k", opaque=4))
        t.equal(Answer(other).value, b"%d" % number, "another client's reply meanwhile")
        one.send(packet("noop", opaque=5))
        first, second = Answer(one), Answer(one)
        t.equal((first.value, first.opaque, second.opaque), (b"%d" % number, 3, 5), "replies")
        t.equal((one.end(), other.end()), ("eof", "eof"), "ends")
    t.at_most(peer.connections(), 1, "connections")


@test("stats ends where it ends; reset, detail and sizes_enable are one line [M1]")
def stats(t):
    peer = t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool=ONE)
    for command in (b"stats", b"stats ", b"stats items", b"stats slabs", b"stats settings",
                    b"stats conns", b"stats sizes"):
        channel = kaproxy.connect()
        channel.send(command + b"\r\nget none\r\n")
        got = read_until(channel, b"END\r\nEND\r\n")
        t.check(got.startswith((b"STAT ", b"END")) and got.count(b"END\r\n") == 2, f"{command}")
        channel.send(b"stats reset\r\nstats sizes_enable\r\nstats detail on\r\nstats detail off\r\n"
                     b"version\r\n")
        read_until(channel, version_of(peer))
        t.equal(channel.end(), "eof", f"the end after {command}")
    t.at_most(peer.connections(), 1, "connections")


# --- M5: headers that are not passed on. What a client gets, and that nothing of it arrives.

KEY = b"k" * 251
REFUSED = {
    "flags of more than 32 bits": b"set k 4294967296 0 4\r\nmn\r\n\r\n",
    "flags that are none": b"set k x 0 4\r\nmn\r\n\r\n",
    "negative flags": b"set k -1 0 4\r\nmn\r\n\r\n",
    "a time that is none": b"set k 0 x 4\r\nmn\r\n\r\n",
    "a length with a sign": b"set k 0 0 +4\r\nmn\r\n\r\n",
    "a long key": b"set " + KEY + b" 0 0 4\r\nmn\r\n\r\n",
    "noreply that is not last": b"set k 0 0 noreply 4\r\nmn\r\n\r\n",
    "something after the length": b"set k 0 0 4 norepl\r\nmn\r\n\r\n",
    "cas without its number": b"cas k 0 0 4 x\r\nmn\r\n\r\n",
    "a long key for get": b"get " + KEY + b"\r\n",
    "a long key among others": b"get a " + KEY + b" b\r\n",
    "a number that is none": b"incr k -1\r\n",
    "a number of more than 64 bits": b"incr k 18446744073709551616\r\n",
    "a meta command with a long key": b"mg " + KEY + b" v\r\n",
    "an unknown command": b"frobnicate k\r\n",
}


@test("headers that a server could read otherwise: an error, and no byte of them arrives [M5, F7]")
def refused(t):
    for what, data in REFUSED.items():
        upstream = t.own(ScriptedMemcached())
        kaproxy = start(t, upstream, pool=ONE)
        channel = kaproxy.connect()
        channel.send(b"get before\r\n" + data + b"get after\r\n")
        channel.fin()
        got, _ = channel.read_end()
        start_of, end = value_of(b"before", b"before at 1"), value_of(b"after", b"after at 1")
        t.check(got.startswith(start_of), f"{what}: {got}")
        rest = got[len(start_of):]
        t.check(rest.startswith((b"ERROR\r\n", b"CLIENT_ERROR ", b"SERVER_ERROR ")), f"{what}: {rest}")
        t.check(rest.count(b"\r\n") == 1 or rest.endswith(end) and rest.count(b"\r\n") == 4,
                f"{what}: {rest}")
        lines = set(upstream.clients_lines())
        t.check(lines <= {b"get before", b"get after"}, f"{what}: {lines} arrived")


@test("`mn` in a rejected value is not a command, and not a barrier of ours [M5, M2]")
def mn_in_a_value(t):
    peer = t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool=ONE)
    for number in range(20):
        one, other = kaproxy.connect(), kaproxy.connect()
        one.send(b"set k 4294967296 0 8\r\nmn\r\nmn\r\n\r\n" + store(b"k", b"%d" % number,
                                                                      more=b" noreply"))
        other.send(b"get none\r\n")
        t.equal(read_until(other, b"\r\n"), b"END\r\n", "another's reply")
        one.send(b"get k\r\n")
        got = read_until(one, b"END\r\n")
        t.check(got.startswith(b"CLIENT_ERROR ")
                and got.partition(b"\r\n")[2] == value_of(b"k", b"%d" % number), f"{got}")
        one.close()
        other.close()


@test("a value whose end is wrong: the error, and what follows is no command of it [M5, F7]")
def wrong_end(t):
    peer = t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool=ONE)
    channel = kaproxy.connect()
    channel.send(b"set k 0 0 2\r\nabcdef\r\nget none\r\n")
    got, other = b"", kaproxy.connect()
    other.send(b"get k\r\n")
    t.equal(read_until(other, b"\r\n"), b"END\r\n", "another's reply: nothing was stored")
    channel.fin()
    got, _ = channel.read_end()
    t.check(got.startswith(b"CLIENT_ERROR bad data chunk\r\n"), f"{got}")


@test("values that are too large: the server's error, and the connection stays [M3]")
def too_large(t):
    peer = t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool=ONE)
    for number in range(5):
        channel = kaproxy.connect()
        channel.send(store(b"large", bytes(1_100_000)) + b"get large\r\n")
        t.equal(read_until(channel, b"END\r\n"),
                b"SERVER_ERROR object too large for cache\r\nEND\r\n", "replies")
        channel.send(store(b"s", b"text") + b"incr s 1\r\n" + store(b"k", b"%d" % number)
                     + b"get k\r\n")
        t.check(read_until(channel, b"END\r\n").endswith(value_of(b"k", b"%d" % number)), "reply")
        t.equal(channel.end(), "eof", "end")
    t.at_most(peer.connections(), 1, "connections")


@test("a large value passes through without being kept, both ways [F1]")
def large(t):
    peer = t.own(MemcachedServer(t, memory=1024, options=["-I", "200m"]))
    kaproxy = start(t, peer)
    channel = kaproxy.connect()
    channel.send(b"get none\r\n")
    t.equal(channel.read_line(), b"END\r", "a first reply")
    before, value = kaproxy.private_memory(), bytes(range(256)) * 200_000
    channel.send(store(b"large", value) + b"get large\r\n")
    t.equal(channel.read_line(), b"STORED\r", "set")
    t.check(channel.read(len(value_of(b"large", value))) == value_of(b"large", value), "the value")
    t.at_most(kaproxy.private_memory() - before, 8 << 20, "bytes of memory more than before")


@test("get lines of many keys are longer than any bound [F7, M1]")
def many_keys(t):
    peer = t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool=ONE)
    channel = kaproxy.connect()
    keys = [b"key-%d-" % number + b"x" * 200 for number in range(2000)]
    for key in keys[::50]:
        channel.send(store(key, b"v", more=b" noreply"))
    channel.send(b"get " + b" ".join(keys) + b"\r\n")
    expected = b"".join(value_of(key, b"v")[:-5] for key in keys[::50]) + b"END\r\n"
    t.equal(channel.read(len(expected)), expected, "the values")
    t.equal(channel.end(), "eof", "end")


@test("surplus or malformed replies: discard, and the next client has a new connection [F2, M3]")
def surplus(t):
    def answer(_, line):
        return {b"get surplus": b"END\r\nEND\r\n", b"get bad": b"NONSENSE\r\n",
                b"delete k": b"DELETED\r\nDELETED\r\n"}.get(line)

    upstream = t.own(ScriptedMemcached(answer))
    kaproxy = start(t, upstream, pool=ONE)
    for number, (line, reply) in enumerate(((b"get surplus", b"END\r"), (b"delete k", b"DELETED\r"),
                                            (b"get bad", None)), 1):
        channel = kaproxy.connect()
        got = channel.ask(line + b"\r")
        if reply is None:  # an error, or truncated
            got = got if got and not got.startswith(b"SERVER_ERROR ") else None
        t.equal(got, reply, f"the reply to {line}")
        other = kaproxy.connect()
        other.send(b"get a\r\n")
        t.equal(read_until(other, b"END\r\n"), value_of(b"a", b"a at %d" % (number + 1)),
                "the next client's")
        other.close()


@test("quit, in text and binary, is answered here [F6]")
def quit_here(t):
    peer = t.own(MemcachedServer(t))
    kaproxy = start(t, peer, pool=ONE)
    for _ in range(5):
        channel = kaproxy.connect()
        channel.send(b"get none\r\nquit\r\nset smuggled 0 0 1\r\nx\r\n")
        t.equal(channel.read_end(), (b"END\r\n", "eof"), "replies")
    t.at_most(peer.connections(), 1, "connections of text")
    for _ in range(5):
        channel = kaproxy.connect()
        channel.send(packet("get", b"none", opaque=1) + packet("quit", opaque=2)
                     + packet("set", b"smuggled", b"x"))
        t.equal((Answer(channel).opaque, Answer(channel).opaque), (1, 2), "replies")
        t.equal(channel.read_end(), (b"", "eof"), "end")
        channel = kaproxy.connect()
        channel.send(packet("get", b"none", opaque=1) + packet("quitq", opaque=2))
        t.equal(Answer(channel).opaque, 1, "reply")
        t.equal(channel.read_end(), (b"", "eof"), "end")
    t.at_most(peer.connections(), 2, "connections of text and binary")
    channel = kaproxy.connect()
    channel.send(b"get smuggled\r\n")
    t.equal(channel.read_line(), b"END\r", "what followed quit")


main()
