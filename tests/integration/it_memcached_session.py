#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: what an upstream of memcached listeners receives, command by command, and what
happens to connections and clients when it does what real servers seldom do."""

import socket
import struct
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test, wait_until
from kaptest.memcached_peers import (
    OPCODES, Answer, ScriptedMemcached, packet, read_until, start, store, value_of)
from kaptest.memcached_scripts import (
    ONE, VERSION, ScriptedBinary, Silent, begin, begin_on_reused, reply_to)


# --- a new connection

@test("a new connection is asked for its version first, and the batch waits [F3, M4]")
def asked_first(t):
    upstream = t.own(Silent())
    one, _ = begin(t, upstream)
    one.send(b"get a\r\n")
    connection = upstream.wait_line(b"version")
    one.send(b"get b\r\n")
    t.check(one.is_silent(0.2), "a reply")
    t.equal(upstream.lines, [(1, b"version")], "what the upstream has")
    connection.send(VERSION[:5])
    t.check(one.is_silent(0.1), "a reply to half of one")
    t.equal(upstream.lines, [(1, b"version")], "what the upstream has then")
    connection.send(VERSION[5:])
    upstream.wait_line(b"get b")
    connection.send(b"END\r\n" * 2)
    t.equal(one.read(10), b"END\r\n" * 2, "the replies")


@test("it is asked once, not for each batch [F3, M4]")
def asked_once(t):
    upstream = t.own(ScriptedMemcached())
    one, kaproxy = begin_on_reused(t, upstream)
    for _ in range(3):
        one.send(b"get a\r\n")
        read_until(one, b"END\r\n")
    t.equal(upstream.lines.count((1, b"version")), 1, "how often")
    one.end()
    t.equal(kaproxy.wait_session(one)["prepared"], "1", "prepared=")


@test("a reply to that which is not a version: the client gets an error, and nothing is sent [F5]")
def unwelcome(t):
    for said in (b"ERROR Too many open connections\r\n", b"SERVER_ERROR busy\r\n", b"ERROR\r\n"):
        upstream = t.own(ScriptedMemcached(
            lambda _, line, said=said: said if line == b"version" else None))
        one, _ = begin(t, upstream)
        for _ in range(2):
            one.send(b"get a\r\n" + store(b"k", b"v", more=b" noreply"))
            t.equal(one.read_line(), b"SERVER_ERROR kaproxy: connect: the upstream says: " +
                    said.rstrip(b"\n"), "the reply")
        t.equal(upstream.clients_lines(), [], "commands of the client's that arrived")


@test("an upstream that sends something unsolicited, or too much, is not used [F2, F7]")
def greeting(t):
    def script(connection):
        if connection.number == 1:
            connection.send(b"ERROR Too many open connections\r\n")
            connection.receive()
        elif connection.number == 2:
            connection.read_line()
            connection.send(VERSION + b"END\r\n")
            connection.receive()
        else:
            connection.read_line()
            connection.send(VERSION)
            connection.read_line()
            connection.send(b"END\r\n")

    upstream = t.upstream(script)
    one, kaproxy = begin(t, f"memcached://127.0.0.1:{upstream.port}", pool=ONE)
    for _ in range(2):
        one.send(b"get a\r\n")
        t.check(one.read_line().startswith(b"SERVER_ERROR kaproxy: "), "no error")
    one.send(b"get a\r\n")
    t.equal(one.read_line(), b"END\r", "from a third connection")
    t.equal(kaproxy.counters()["discard_protocol_error"], 1, "malformed ones among them")


@test("all of a retried batch waits for the new connection's reply [F3, F4]")
def retry_waits(t):
    upstream = t.own(Silent())
    one, _ = begin(t, upstream, pool=ONE)
    one.send(b"get first\r\n")
    upstream.wait_line(b"version").send(VERSION)
    connection = upstream.wait_line(b"get first")
    connection.send(b"END\r\n")
    t.equal(one.read_line(), b"END\r", "a first reply")
    one.send(b"get a\r\n")
    upstream.wait_line(b"get a")
    one.send(b"get b\r\n")  # joins
    upstream.wait_line(b"get b")
    connection.socket.shutdown(socket.SHUT_RDWR)
    connection = upstream.wait_line(b"version", 2)
    t.check(one.is_silent(0.2), "a reply")
    t.equal(upstream.of(2), [b"version"], "what the second connection has")
    connection.send(VERSION)
    upstream.wait_line(b"get b", 2)
    t.equal(upstream.of(2), [b"version", b"get a", b"get b"], "then")
    connection.send(value_of(b"a", b"1") + value_of(b"b", b"2"))
    t.equal(read_until(one, b"2\r\nEND\r\n"), value_of(b"a", b"1") + value_of(b"b", b"2"),
            "the replies")


# --- text and binary

@test("a connection of the other protocol gives way to a new one [M1]")
def kinds_apart(t):
    def script(connection):
        first = connection.receive()
        kinds.append("binary" if first[0] == 0x80 else "text")
        while first:
            if kinds[connection.number - 1] == "text":
                connection.send(VERSION * first.count(b"version") +
                                b"END\r\n" * first.count(b"get"))
            else:
                for at in range(0, len(first), 24):
                    connection.send(reply_to(first[at + 1], *struct.unpack(
                        ">I", first[at + 12:at + 16])))
            first = connection.receive()

    kinds = []
    upstream = t.upstream(script)
    text, kaproxy = begin(t, f"memcached://127.0.0.1:{upstream.port}", pool={"max_per_host": 2})
    binary = kaproxy.connect()
    for count in range(1, 4):
        text.send(b"get a\r\n")
        t.equal(text.read_line(), b"END\r", "text")
        binary.send(packet("version", opaque=count))
        t.equal(Answer(binary).opaque, count, "binary")
    t.equal(kinds, ["text", "binary"], "connections, with room for both")
    kaproxy.stop()

    kinds.clear()
    upstream = t.upstream(script)
    text, kaproxy = begin(t, f"memcached://127.0.0.1:{upstream.port}", pool=ONE)
    binary = kaproxy.connect()
    for count in range(1, 3):
        text.send(b"get a\r\n")
        t.equal(text.read_line(), b"END\r", "text")
        binary.send(packet("version", opaque=count))
        t.equal(Answer(binary).opaque, count, "binary")
    t.equal(kinds, ["text", "binary"] * 2, "connections, with room for one")
    wait_until(lambda: kaproxy.counters()["idle"] == 1, "the last one to be returned")
    t.equal(kaproxy.counters()["discard_evicted"], 3, "connections that gave way")
    t.equal(kaproxy.counters()["released"], 4, "connections returned: once for each batch")


@test("a new binary connection is asked by NOOP; a text-only server is an error [M4, F5]")
def binary_first(t):
    upstream = t.own(ScriptedBinary())
    one, _ = begin(t, upstream, pool=ONE)
    one.send(packet("get", b"k", opaque=5))
    t.equal(Answer(one).opaque, 5, "the reply")
    t.equal(upstream.opcodes(), [OPCODES["noop"], OPCODES["get"]], "what the upstream got")
    upstream = t.own(ScriptedMemcached())  # it finds a line in the question
    one, _ = begin(t, upstream, pool=ONE)
    one.send(packet("get", b"k", opaque=5) + packet("setq", b"k", b"v", 6))
    answer = Answer(one)
    t.equal((answer.opcode, answer.status, answer.opaque, answer.value),
            (0, 0x86, 5, b"kaproxy: connect: the upstream says: ERROR"), "the reply")
    t.check(one.is_silent(0.1), "a reply to a quiet command")


# --- F2, F4, F5, M3

@test("an end, or an invalid reply, in mid-batch: an error each, or a truncated reply [F4, F5, F2]")
def ends(t):
    lost = b"SERVER_ERROR kaproxy: read: the upstream closed the connection without a reply\r\n"
    bad = b"SERVER_ERROR kaproxy: read: the upstream sent something that is not a reply\r\n"
    for said, expected, end in (
            (b"", lost * 2, None), (b"STO", lost * 2, None),
            (b"STORED\r\n", b"STORED\r\n" + lost, None),
            (b"STORED\r\nVAL", b"STORED\r\n" + lost, None), (b"what\n", bad * 2, None),
            (b"END\r\n", bad * 2, None), (b"STORED\r\nSTORED\r\n", b"STORED\r\n" + bad, None),
            (b"STORED\r\nVALUE a 0 5\r\nab", b"STORED\r\nVALUE a 0 5\r\nab", "eof"),
            (b"STORED\r\nVALUE a 0 1\r\nab\r\n", b"STORED\r\n" + bad, None)):
        def script(connection, said=said):
            connection.read_line()
            connection.send(VERSION)
            while connection.read_line() != b"get a\r":
                pass
            connection.send(said)

        upstream = t.upstream(script)
        one, _ = begin(t, f"memcached://127.0.0.1:{upstream.port}", pool=ONE)
        one.send(store(b"k", b"v") + b"get a\r\n")
        if end:
            got, ended = one.read_end()
            t.check(got.startswith(expected) and ended == end, f"{said}: {got}, {ended}")
            continue
        t.equal(one.read(len(expected)), expected, f"after {said}")
        one.send(b"get a\r\n")  # it stays
        one.read_line()


@test("an error line to a command with a value: that connection is not reused [M3]")
def doubt(t):
    for error, kept in ((b"CLIENT_ERROR bad data chunk", False), (b"ERROR", False),
                        (b"SERVER_ERROR out of memory", False),
                        (b"SERVER_ERROR object too large for cache", True),
                        (b"SERVER_ERROR out of memory storing object", True)):
        upstream = t.own(ScriptedMemcached(
            lambda _, line, error=error: error + b"\r\n" if line.startswith(b"set") else None))
        one, kaproxy = begin_on_reused(t, upstream)
        one.send(store(b"k", b"v") + b"get a\r\n")
        t.equal(one.read_line(), error + b"\r", "the error")
        t.equal(read_until(one, b"END\r\n"), value_of(b"a", b"a at 1"), "what follows it")
        one.send(b"get a\r\n")
        number = 1 if kept else 2
        t.equal(read_until(one, b"END\r\n"), value_of(b"a", b"a at %d" % number), "the next batch")
        t.equal(kaproxy.counters()["discard_unknown_state"], number - 1, "discards")


# --- M4

def asks_for_login(connection, line):
    """Of a server with a login: what its connections send before, and after."""
    if line.startswith(b"set login"):
        connection.logged_in = True
        return b"STORED\r\n"
    return None if getattr(connection, "logged_in", False) else b"CLIENT_ERROR unauthenticated\r\n"


@test("a login arrives once, on a connection that is unused, even by us [M4]")
def login_as_it_came(t):
    upstream = t.own(ScriptedMemcached(asks_for_login))
    one, kaproxy = begin(t, upstream, pool=ONE)
    said = store(b"login", b"user secret")
    one.send(said + b"get a\r\n")
    t.equal(read_until(one, b"END\r\n"), b"STORED\r\n" + value_of(b"a", b"a at 2"), "replies")
    t.equal(upstream.lines, [(1, b"version"), (2, b"set login 0 0 11"), (2, b"get a")], "commands")
    other = kaproxy.connect()  # it is known now
    other.send(b"get a\r\nmn\r\n")
    t.equal(other.read(60), b"CLIENT_ERROR unauthenticated\r\n" * 2, "replies without a login")
    t.equal(upstream.lines[3:], [(3, b"get a"), (3, b"mn")], "what arrived then")
    t.equal(kaproxy.counters()["held"], 2, "connections of their own")
    one.close()
    other.close()
    wait_until(lambda: kaproxy.counters()["held"] == 0, "they end with their clients")
    t.equal(kaproxy.counters()["idle"], 0, "idle connections")


@test("once a login is known to be required, no client gets an earlier connection [M4]")
def login_from_now_on(t):
    upstream = t.own(Silent())
    one, kaproxy = begin(t, upstream, pool={"max_per_host": 3})
    one.send(b"get a\r\n")
    first = upstream.wait_line(b"version")
    first.send(VERSION)
    upstream.wait_line(b"get a")
    other = kaproxy.connect()
    other.send(b"get b\r\n")
    upstream.wait_line(b"version", 2).send(b"CLIENT_ERROR unauthenticated\r\n")
    upstream.wait_line(b"get b", 3)
    first.send(b"END\r\n")
    t.equal(one.read_line(), b"END\r", "the reply of an earlier client")
    wait_until(lambda: kaproxy.counters()["idle"] == 1, "its connection to be idle")
    last = kaproxy.connect()
    last.send(store(b"login", b"user secret"))
    upstream.wait_line(b"set login 0 0 11", 4)


@test("a login, and a command that had a local reply already: an error, and an end [M4, F5]")
def login_too_late(t):
    upstream = t.own(ScriptedMemcached(asks_for_login))
    one, _ = begin(t, upstream, pool=ONE)
    one.send(store(b"login", b"user secret") + b"unknown\r\n")
    t.equal(one.read_end(), (b"CLIENT_ERROR unauthenticated\r\nERROR\r\n", "eof"), "replies")
    t.equal(upstream.lines, [(1, b"version")], "what arrived")


@test("SASL: NOOP is rejected, and each client has its own connection from its first byte on [M4]")
def sasl(t):
    def answer(connection, opcode, opaque, _key, _value):
        if opcode == OPCODES["sasl"]:
            return reply_to(opcode, opaque, b"PLAIN")
        return reply_to(opcode, opaque, b"Auth failure.", 0x20)

    upstream = t.own(ScriptedBinary(answer))
    one, kaproxy = begin(t, upstream, pool=ONE)
    one.send(packet("sasl", opaque=1))
    t.equal(Answer(one).value, b"PLAIN", "the reply")
    other = kaproxy.connect()
    other.send(packet("get", b"k", opaque=2))
    t.equal(Answer(other).status, 0x20, "the reply without a login")
    t.equal([upstream.opcodes(number) for number in (1, 2, 3)],
            [[OPCODES["noop"]], [OPCODES["sasl"]], [OPCODES["get"]]], "what arrived")


@test("SASL where no login is required: the connection is its client's all the same [M4]")
def sasl_unasked(t):
    upstream = t.own(ScriptedBinary())
    one, kaproxy = begin(t, upstream, pool=ONE)
    one.send(packet("get", b"k", opaque=1) + packet("sasl", opaque=2) +
             packet("get", b"k", opaque=3))
    t.equal([Answer(one).opaque for _ in range(3)], [1, 2, 3], "replies")
    t.equal(kaproxy.counters()["held"], 1, "connections of its own")
    one.close()
    wait_until(lambda: kaproxy.counters()["held"] == 0, "its end")
    t.equal(kaproxy.counters()["idle"], 0, "idle connections")


# --- M5, F1, F6

@test("a rejected command's value is swallowed, however long it is and however it arrives [M5]")
def swallowed(t):
    upstream = t.own(ScriptedMemcached())
    one, _ = begin_on_reused(t, upstream)
    key = b"k" * 251
    for value in (b"mn\r\nget x\r\n", b"get x\r\n" * 100_000):
        data = store(key, value) + b"get a\r\n"
        one.send(data[:300])
        t.equal(one.read_line(), b"CLIENT_ERROR bad command line format\r", "the error, at once")
        one.send(data[300:])
        t.equal(read_until(one, b"END\r\n"), value_of(b"a", b"a at 1"), "what follows the value")
        one.send(store(key, value, more=b" noreply") + b"get a\r\n")
        t.equal(read_until(one, b"END\r\n"), value_of(b"a", b"a at 1"), "without an error")
    t.equal(set(upstream.clients_lines()), {b"get first", b"get a"}, "what arrived")


@test("get with more keys than are held is passed on as they arrive [M5, F1]")
def many_keys(t):
    keys = [b"key%06d" % number for number in range(20_000)]
    got = []

    def script(connection):
        connection.read_line()
        connection.send(VERSION)
        while b"".join(got).count(b"\n") < 2:
            got.append(connection.receive())
        connection.send(b"END\r\n" * 2)
        connection.read_line()

    upstream = t.upstream(script)
    one, kaproxy = begin(t, f"memcached://127.0.0.1:{upstream.port}", pool=ONE)
    line = b"get " + b" ".join(keys) + b"\r\n"
    one.send(line[:100_000])
    wait_until(lambda: sum(map(len, got)) > 64_000, "keys before the line's end")
    one.send(line[100_000:] + b"get a\r\n")
    t.equal(one.read(10), b"END\r\n" * 2, "replies")
    t.equal(b"".join(got)[:len(line)], line, "what arrived")
    broken = line[:100_000] + b" " + b"k" * 251
    one.send(broken)
    t.equal(one.read_end(), (b"CLIENT_ERROR bad command line format\r\n", "eof"), "a key too long")
    t.equal(kaproxy.counters()["discard_client_abort"], 1, "the connection")


@test("a client that stalls within a command is closed, and so is its connection [F1]")
def stalls(t):
    upstream = t.own(ScriptedMemcached())
    one, kaproxy = begin(t, upstream, pool=ONE, listener={"idle_timeout": "300ms"})
    one.send(store(b"k", b"x" * 200_000)[:150_000])
    t.check(one.read_end()[1] in ("eof", "reset"), "its end")
    wait_until(lambda: kaproxy.counters()["discard_idle_timeout"] == 1, "the discard")
    two = kaproxy.connect()
    two.send(b"set k 0 0 5\r\nab")
    t.equal(two.read_end()[0], b"", "a client of which nothing was sent")


@test("quit comes last, whatever precedes it, and is not passed on, in both protocols [F6]")
def quits(t):
    upstream = t.own(ScriptedMemcached())
    one, kaproxy = begin_on_reused(t, upstream)
    one.send(b"get a\r\nmg b q\r\n" + store(b"k", b"v", more=b" noreply") + b"quit\r\nget c\r\n")
    t.equal(one.read_end(), (value_of(b"a", b"a at 1") + b"EN\r\n", "eof"), "replies")
    t.equal(upstream.clients_lines()[1:], [b"get a", b"mg b q", b"set k 0 0 1 noreply"], "lines")
    wait_until(lambda: kaproxy.counters()["idle"] == 1, "the connection to be returned")
    upstream = t.own(ScriptedBinary())
    kaproxy = start(t, upstream, pool=ONE)
    for name, replies in (("quit", 2), ("quitq", 1)):
        one = kaproxy.connect()
        one.send(packet("get", b"k", opaque=1) + packet("getkq", b"k", opaque=2) +
                 packet(name, opaque=3) + packet("get", b"k", opaque=4))
        got = [Answer(one) for _ in range(replies)]
        t.equal([(a.opaque, a.status) for a in got], [(1, 0), (3, 0)][:replies], "replies")
        t.equal(one.end(), "eof", "end")
    t.equal(OPCODES["quit"] in upstream.opcodes(), False, "QUIT arrived")
    t.equal(upstream.accepted, 1, "connections")


main()
