#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: quiet commands of memcached, which may have no reply, are done before their
connection serves any other client: an invisible barrier of kaproxy's shows it (FRAMED M2)."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test, wait_until
from kaptest.memcached_peers import (
    OPCODES, Answer, ScriptedMemcached, packet, read_until, store, value_of)
from kaptest.memcached_scripts import (
    MN, ONE, VERSION, ScriptedBinary, Silent, begin, begin_on_reused, reply_to)


@test("large quiet commands, which are streamed, are followed by a barrier as well [M2, F1]")
def streamed(t):
    value = b"x" * 300_000
    upstream = t.own(ScriptedMemcached())
    one, kaproxy = begin(t, upstream, pool=ONE)
    one.send(store(b"k", value, more=b" noreply"))
    wait_until(lambda: (1, b"mn") in upstream.lines, "the barrier")
    one.send(b"get a\r\n")
    t.equal(read_until(one, b"END\r\n"), value_of(b"a", b"a at 1"), "the next reply")
    wait_until(lambda: kaproxy.counters()["idle"] == 1, "the connection to be returned")
    upstream = t.own(ScriptedBinary())
    one, kaproxy = begin(t, upstream, pool=ONE)
    one.send(packet("setq", b"k", value, 3))
    wait_until(lambda: kaproxy.counters()["idle"] == 1, "the connection to be returned")
    t.equal(upstream.opcodes(), [OPCODES["noop"], OPCODES["setq"], OPCODES["noop"]], "requests")


@test("the lease lasts until the barrier's reply, and commands that join need another [M2, F1]")
def until_the_barrier(t):
    upstream = t.own(Silent())
    one, kaproxy = begin(t, upstream, pool=ONE)
    one.send(store(b"k", b"1", more=b" noreply"))
    connection = upstream.wait_line(b"version")
    connection.send(VERSION)
    upstream.wait_line(b"mn")
    one.send(store(b"k", b"2", more=b" noreply"))
    upstream.wait_line(b"mn", count=2)
    other = kaproxy.connect()
    other.send(b"get k\r\n")
    connection.send(MN)
    t.check(one.is_silent(0.1) and other.is_silent(0.1), "a reply")
    t.check(b"get k" not in upstream.of(1), "the other client was served in between")
    connection.send(MN)
    upstream.wait_line(b"get k")
    connection.send(b"END\r\n")
    t.equal(other.read_line(), b"END\r", "the other client's reply")
    t.check(one.is_silent(0.1), "the barrier's reply was passed on")


@test("no barrier if the client's own mn or NOOP is the last, or nothing is quiet [M2]")
def no_barrier(t):
    upstream = t.own(ScriptedMemcached())
    one, _ = begin_on_reused(t, upstream)
    one.send(store(b"k", b"v", more=b" noreply") + b"mn\r\n")
    t.equal(one.read(4), MN, "its reply")
    one.send(store(b"k", b"v") + b"get a\r\n")
    read_until(one, b"END\r\n")
    one.send(b"md k q\r\nmn\r\nget b\r\n")
    read_until(one, b"END\r\n")
    t.equal([line for _, line in upstream.lines].count(b"mn"), 2, "mn, the client's")
    upstream = t.own(ScriptedBinary())
    one, _ = begin(t, upstream, pool=ONE)
    one.send(packet("getkq", b"a", opaque=1) + packet("noop", opaque=2))
    t.equal(Answer(one).opaque, 2, "the reply")
    t.equal(upstream.opcodes().count(OPCODES["noop"]), 2, "NOOP: the first one, and the client's")


@test("our NOOPs have an opaque that no command of the batch has [M2]")
def opaques(t):
    upstream = t.own(ScriptedBinary())
    one, kaproxy = begin(t, upstream, pool=ONE)
    one.send(packet("setq", b"k", b"v", opaque=1))
    wait_until(lambda: kaproxy.counters()["idle"] == 1, "the connection to be returned")
    ours = upstream.requests[-1][2]
    one.send(packet("get", b"k", opaque=ours) + packet("setq", b"k", b"v", opaque=ours + 1))
    t.equal(Answer(one).opaque, ours, "the reply")
    wait_until(lambda: len(upstream.requests) == 6, "the barrier")
    t.equal(upstream.opcodes()[-1], OPCODES["noop"], "the last request")
    t.check(upstream.requests[-1][2] not in (ours, ours + 1), "the barrier's opaque")


@test("a server that replies to mn with an error gets version, and no more mn [M2]")
def old(t):
    upstream = t.own(ScriptedMemcached(lambda _, line: b"ERROR\r\n" if line == b"mn" else None))
    one, kaproxy = begin(t, upstream, pool=ONE)
    for count in range(1, 4):
        one.send(store(b"k", b"v", more=b" noreply"))
        wait_until(lambda c=count: [line for _, line in upstream.lines].count(b"version") == 1 + c,
                   "version as the barrier")
        one.send(b"get a\r\n")
        t.equal(read_until(one, b"END\r\n"), value_of(b"a", b"a at 1"), "the next reply")
    t.equal([line for _, line in upstream.lines].count(b"mn"), 1, "mn")
    one.send(store(b"k", b"v", more=b" noreply") + b"mn\r\n")
    t.equal(one.read_line(), b"ERROR\r", "the client's own mn")
    wait_until(lambda: [line for _, line in upstream.lines].count(b"version") == 5,
               "a barrier, as that was not one")
    t.equal(kaproxy.counters()["dials"], 1, "connections")


@test("a server of an old version gets no mn at all, and quiet meta commands end all the same [M2]")
def very_old(t):
    upstream = t.own(ScriptedMemcached(
        lambda _, line: {b"version": b"VERSION 1.4.33\r\n", b"mn": b"ERROR\r\n",
                         b"mg a q": b"ERROR\r\n"}.get(line)))
    one, kaproxy = begin(t, upstream, pool=ONE)
    one.send(store(b"k", b"v", more=b" noreply") + b"get a\r\n")
    read_until(one, b"END\r\n")
    wait_until(lambda: kaproxy.counters()["idle"] == 1, "the connection to be returned")
    one.send(b"mg a q\r\nmn\r\n")
    t.equal(one.read(14), b"ERROR\r\n" * 2, "replies to what it does not know")
    wait_until(lambda: kaproxy.counters()["released"] + kaproxy.counters()["discard_unknown_state"]
               == 2, "the lease to end")
    t.equal([line for _, line in upstream.lines].count(b"mn"), 1, "mn, the client's")


@test("replies to quiet commands are found by opcode and opaque, whichever are missing [M1, M2]")
def quiet_replies(t):
    def answer(_, opcode, opaque, key, _value):
        if opcode == OPCODES["getkq"] and key != b"miss":
            return reply_to(opcode, opaque, key)
        if opcode == OPCODES["setq"] and key == b"full":
            return reply_to(opcode, opaque, b"Out of memory", 0x82)
        return None

    upstream = t.own(ScriptedBinary(answer))
    one, kaproxy = begin(t, upstream, pool=ONE)
    for opaques_of in (lambda n: n, lambda _: 0):  # some clients give all the same
        one.send(b"".join((packet("getkq", b"miss", opaque=opaques_of(1)),
                           packet("setq", b"full", b"v", opaque=opaques_of(2)),
                           packet("getkq", b"hit", opaque=opaques_of(3)),
                           packet("setq", b"k", b"v", opaque=opaques_of(4)),
                           packet("getkq", b"more", opaque=opaques_of(5)),
                           packet("get", b"k", opaque=opaques_of(6)))))
        got = [Answer(one) for _ in range(4)]
        t.equal([(a.opcode, a.opaque, a.value) for a in got],
                [(OPCODES["setq"], opaques_of(2), b"Out of memory"),
                 (OPCODES["getkq"], opaques_of(3), b"hit"),
                 (OPCODES["getkq"], opaques_of(5), b"more"),
                 (OPCODES["get"], opaques_of(6), b"")], "replies")
    one.send(packet("setq", b"full", b"v", opaque=8))
    t.equal(Answer(one).status, 0x82, "an error before our barrier's reply")
    t.check(one.is_silent(0.1), "our barrier's reply was passed on")
    t.equal(kaproxy.counters()["dials"], 1, "connections")


@test("local replies follow those that cannot be counted [M2, M5]")
def answered_here(t):
    upstream = t.own(ScriptedMemcached(
        lambda _, line: b"" if line == b"mg miss q" else None))
    one, _ = begin(t, upstream, pool=ONE)
    one.send(b"mg a q\r\nmg miss q\r\nunknown\r\nget b\r\n")
    t.equal(read_until(one, b"END\r\n"), b"EN\r\nERROR\r\n" + value_of(b"b", b"b at 1"), "replies")


@test("clients that send quiet commands and are gone: all of it arrives, whoever waits [F2, M2]")
def gone(t):
    upstream = t.own(Silent())
    one, kaproxy = begin(t, upstream, pool=ONE)
    one.send(b"get busy\r\n")
    upstream.wait_line(b"version").send(VERSION)
    connection = upstream.wait_line(b"get busy")
    for number in range(3):
        other = kaproxy.connect()
        other.send(store(b"k%d" % number, b"v", more=b" noreply") +
                   (b"quit\r\n" if number == 1 else b""))
        if number == 2:
            other.fin()
        else:
            other.close()
    wait_until(lambda: kaproxy.counters()["waiting"] == 3, "all to wait for the connection")
    connection.send(b"END\r\n")
    for number in range(3):
        upstream.wait_line(b"mn", count=number + 1)
        connection.send(MN)
    t.equal([line for line in upstream.of(1) if line.startswith(b"set")],
            [b"set k%d 0 0 1 noreply" % number for number in range(3)], "what arrived")
    t.equal(one.read_line(), b"END\r", "the first client's reply")
    wait_until(lambda: kaproxy.counters()["idle"] == 1, "the connection to be returned")


@test("two of the client's own mn after a quiet command, which the server does not know [M2]")
def two_of_its_own(t):
    upstream = t.own(ScriptedMemcached(
        lambda _, line: {b"version": b"VERSION 1.4.39\r\n", b"mn": b"ERROR\r\n",
                         b"mg a v q": b"ERROR\r\n"}.get(line)))
    one, kaproxy = begin(t, upstream, pool=ONE)
    one.send(b"mg a v q\r\nmn\r\nmn\r\n")
    t.equal(read_until(one, b"ERROR\r\n" * 3), b"ERROR\r\n" * 3, "a reply to each")
    one.send(b"get a\r\n")
    t.check(read_until(one, b"END\r\n").startswith(b"VALUE a "), "the next reply")


main()
