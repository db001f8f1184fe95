#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: batches of Redis commands are leases, replies arrive in order and byte for
byte, and what kaproxy and a server could read differently reaches no upstream."""

import select
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import connect, main, test, wait_until
from kaptest.redis_peers import RedisServer, client, start
from kaptest.resp import Error, ScriptedRedis, bulk, encode


def raw(t, kaproxy, data):
    """What a client gets for these bytes, which are all it sends: (bytes, how it ended)."""
    one = kaproxy.connect()
    one.send(data)
    one.fin()
    return one.read_end()


# --- F7: input that is not a command. Each is the protocol's own error, and the end.

MALFORMED = {
    "a count that is no number": b"*x\r\n",
    "a count with a sign": b"*+1\r\n$4\r\nPING\r\n",
    "a count with a zero before it": b"*01\r\n$4\r\nPING\r\n",
    "a count with a blank": b"* 1\r\n$4\r\nPING\r\n",
    "an argument that is no bulk string": b"*1\r\n:4\r\n",
    "a length that is no number": b"*1\r\n$x\r\nPING\r\n",
    "a length with a sign": b"*1\r\n$+4\r\nPING\r\n",
    "a length with a zero before it": b"*1\r\n$04\r\nPING\r\n",
    "a negative length": b"*2\r\n$3\r\nGET\r\n$-1\r\n",
    "more than 512 MB": b"*2\r\n$3\r\nGET\r\n$536870913\r\n",
    "quotes without an end": b'GET "a\r\n',
    "a quote in a word": b'GET "a"b\r\n',
}


@test("malformed input: the error that redis-server has for it, no byte is passed on [F7]")
def malformed(t):
    redis = t.own(RedisServer(t))
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream)
    for what, data in MALFORMED.items():
        direct = connect(redis.address)
        direct.send(data + encode("SET smuggled 1"))
        expected = direct.read_end()[0]
        t.check(expected.startswith(b"-ERR Protocol error"), f"{what}: the server said {expected}")
        t.equal(raw(t, kaproxy, data + encode("SET smuggled 1")), (expected, "eof"), what)
    t.equal(upstream.commands, [], "what the upstream saw")


@test("POST and Host: close, a NUL in an inline line is rejected [F7]")
def not_redis(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream)
    for data in (b"POST / HTTP/1.1\r\n\r\nSET smuggled 1\r\n", b"Host: here\r\nSET smuggled 1\r\n",
                 b"post / HTTP/1.1\r\n\r\n"):
        t.equal(raw(t, kaproxy, data)[0], b"", f"what is written for {data}")
    got = raw(t, kaproxy, b"GET a\0b\r\nSET smuggled 1\r\n")[0]
    t.check(got.startswith(b"-ERR") and got.count(b"\r\n") == 1, f"a NUL gets {got}")
    t.equal(upstream.commands, [], "what the upstream saw")


@test("more than 1,048,576 arguments, or a line of more than 64 KiB: rejected [F7]")
def bounds(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream)
    for data in b"*1048577\r\n", b"GET " + b"k" * 70_000, b"*1\r\n$" + b"1" * 70_000, b"*" + b"1" * 70_000:
        one = kaproxy.connect()
        one.send(data)
        got = one.read_end()[0]
        t.check(got.startswith(b"-ERR Protocol error: "), f"{got}")
    t.equal(upstream.commands, [], "what the upstream saw")


@test("a bulk string whose end is wrong: nothing of its command arrives, or the connection ends [F7]")
def wrong_end(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream)
    got, _ = raw(t, kaproxy, b"*2\r\n$3\r\nGET\r\n$1\r\nabc" + encode("SET smuggled 1"))
    t.check(got.startswith(b"-ERR Protocol error"), f"{got}")
    t.equal(upstream.commands, [], "what the upstream saw")
    large = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$300000\r\n" + b"v" * 300_000 + b"xx"
    got, _ = raw(t, kaproxy, large + encode("SET smuggled 1"))
    t.check(got.startswith(b"-ERR") or not got, f"{got}")
    t.equal(upstream.words(), [], "commands that were complete")
    if upstream.accepted:
        wait_until(lambda: kaproxy.counters()["busy"] == kaproxy.counters()["idle"] == 0,
                   "the connection with a part of a command to be closed")


@test("what precedes malformed input gets its replies, and in order [F3, F7]")
def before(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream)
    got, _ = raw(t, kaproxy, encode("GET a", "GET b") + b"*x\r\n" + encode("SET smuggled 1"))
    t.equal(got, bulk(b"a at 1") + bulk(b"b at 1")
            + b"-ERR Protocol error: invalid multibulk length\r\n", "replies")
    t.equal(upstream.words(), ["GET a", "GET b"], "commands that arrived")


@test("*0, *-1 and empty lines have no reply and are not passed on [F7]")
def dropped(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream)
    got, end = raw(t, kaproxy, b"\r\n*0\r\n*-1\r\n\n" + b"GET a\r\n" + b"*-5\r\n\r\n")
    t.equal((got, end), (bulk(b"a at 1"), "eof"), "reply")
    t.equal(upstream.words(), ["GET a"], "commands that arrived")


# --- F1, F2, F3

@test("however its bytes arrive, a pipeline has its replies in order and unchanged [F1, F3]")
def pieces(t):
    replies = {b"A": b"+fine\r\n", b"B": b"-ERR no\r\n", b"C": b":-12\r\n", b"D": b"$-1\r\n",
               b"E": b"*-1\r\n", b"F": b"*3\r\n:1\r\n*2\r\n$1\r\nx\r\n+y\r\n$0\r\n\r\n",
               b"G": bulk(bytes(range(256)) * 300), b"H": b"*0\r\n"}
    upstream = t.own(ScriptedRedis(lambda _, words: replies.get(words[-1])))
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    data = b"".join(encode(("GET", name)) + b"GET  " + name + b"\r\n" for name in replies)
    expected = b"".join(2 * reply for reply in replies.values())
    for step in 1, 2, 7, len(data):
        one = kaproxy.connect()
        for at in range(0, len(data), step):
            one.send(data[at:at + step])
        t.equal(one.read(len(expected)), expected, f"replies to pieces of {step}")
        t.equal(one.end(), "eof", "end")
    t.equal(upstream.accepted, 1, "connections")


@test("a client that sends command after command keeps its lease, but not from others [F1]")
def endless(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    over = threading.Event()
    t.callback(over.set)

    def send_on():
        busy = client(kaproxy)
        for _ in range(64):
            busy.send("GET k")
        while not over.is_set():
            busy.reply()
            busy.send("GET k")  # there are always 63 in flight

    thread = threading.Thread(target=send_on, daemon=True)
    thread.start()
    wait_until(lambda: len(upstream.commands) > 1000, "many of its commands")
    for _ in range(20):
        other = client(kaproxy)
        t.equal(other.ask("GET", "a"), b"a at 1", "another client's reply")
        other.close()
    over.set()
    thread.join(20)
    counters = kaproxy.counters()
    leases = counters["immediate"] + counters["deferred"] + counters["none"]
    t.at_most(leases * 2, len(upstream.commands), "twice the leases, and commands")
    t.equal(upstream.accepted, 1, "connections")


@test("a client that stalls within a command delays no other, and is closed [F1]")
def stalled(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream, pool={"max_per_host": 1}, listener={"idle_timeout": "1s"})
    streamed = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$200000\r\n" + b"v" * 99_999
    for part in b"*2\r\n$3\r\nGET\r\n$1\r\n", streamed:
        slow = kaproxy.connect()
        slow.send(part)
        fast = client(kaproxy)
        t.check(fast.ask("GET", "b").startswith(b"b at "), "the reply to another client")
        t.check(not slow.read_end()[0].startswith((b"+", b"$")), "the stalled one is closed")
    t.check("SET" not in [text.split()[0] for text in upstream.words()], "half a command arrived")


@test("a client that does not read its replies is closed, and its connection is free [F1]")
def not_taking(t):
    upstream = t.own(ScriptedRedis(
        lambda _, words: bulk(bytes(1 << 20)) if words[-1] == b"large" else None))
    kaproxy = start(t, upstream, pool={"max_per_host": 1}, listener={"idle_timeout": "1s"})
    slow = kaproxy.connect(receive_buffer=4096)
    slow.send(encode("GET large") * 50)
    t.check(client(kaproxy).ask("GET", "b").startswith(b"b at "), "the reply to another client")


@test("more than a command's reply, or an invalid one: discard, and a new one for the next [F2]")
def surplus(t):
    answers = {b"surplus": b"+OK\r\n+surplus\r\n", b"part": b"$5\r\nab", b"none": b"?what\r\n"}
    upstream = t.own(ScriptedRedis(lambda _, words: answers.get(words[-1])))
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    one = client(kaproxy)
    t.equal(one.ask("GET", "surplus"), b"OK", "the reply with something after it")
    t.equal(client(kaproxy).ask("GET", "a"), b"a at 2", "the next client's")
    t.check(isinstance(client(kaproxy).ask("GET", "none"), Error), "an invalid reply is an error")
    t.equal(client(kaproxy).ask("GET", "a"), b"a at 3", "the next client's")


@test("a client that leaves in mid-batch costs its connection; a half-close does not [F2]")
def leaves(t):
    upstream = t.own(ScriptedRedis(lambda _, words: b"" if words[-1] == b"never" else None))
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    one = client(kaproxy)
    one.send("GET a", "GET b")
    one.channel.fin()
    t.equal(one.read_end(), [b"a at 1", b"b at 1"], "replies after a half-close")
    gone = client(kaproxy)
    gone.send("GET never")
    wait_until(lambda: upstream.words()[-1:] == ["GET never"], "the command to arrive")
    gone.channel.reset()
    t.equal(client(kaproxy).ask("GET", "a"), b"a at 2", "the next client's reply")


@test("QUIT is answered here, in any spelling, and what follows it is dropped [F6]")
def quit_here(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    for data in encode("QUIT"), b"quit\r\n", encode("quit now"), b"*1\r\n$4\r\nQuit\r\n":
        got, end = raw(t, kaproxy, encode("GET a") + data + encode("SET smuggled 1"))
        t.equal((got, end), (bulk(b"a at 1") + b"+OK\r\n", "eof"), "replies")
    t.equal(set(upstream.words()) - {"RESET"}, {"GET a"}, "commands that arrived")
    t.equal(upstream.accepted, 1, "connections")


@test("a large value passes through without being kept, both ways [F1]")
def large(t):
    redis = t.own(RedisServer(t))
    kaproxy = start(t, redis)
    value = bytes(range(256)) * 400_000
    one = client(kaproxy)
    t.equal(one.ask("PING"), b"PONG", "a first reply")
    before_that = kaproxy.private_memory()
    t.equal(one.ask("SET", "large", value), b"OK", "SET")
    t.check(one.ask("GET", "large") == value, "GET gave another value")
    t.at_most(kaproxy.private_memory() - before_that, 8 << 20, "bytes of memory more than before")


@test("a command with a local reply that is too large: rejected, and nothing of it runs [F7, R9]")
def large_wait(t):
    upstream = t.own(ScriptedRedis())
    one = client(start(t, upstream))
    inside = b"x" * 70000 + b"\r\n" + encode("SET k v")
    one.channel.send(b"*2\r\n$4\r\nWAIT\r\n$%d\r\n" % len(inside) + inside + b"\r\n")
    values = one.read_end()
    t.check(len(values) == 1 and isinstance(values[0], Error), f"{values}")
    t.equal(upstream.words(), [], "what the upstream got")


@test("many local errors after a missing reply: no more is read [F1]")
def bounded(t):
    upstream = t.own(ScriptedRedis(lambda _, words: b"" if words[0] == b"GET" else None))
    kaproxy = start(t, upstream, main={"shutdown_timeout": 0})
    one = client(kaproxy)
    one.send("GET a")
    wait_until(lambda: upstream.words() == ["GET a"], "the first command")
    before = kaproxy.private_memory()
    flood, sent = b"WAIT 0 0\r\n" * 20000, 0
    while select.select([], [one.channel.socket], [], 1)[1]:
        sent += one.channel.send_what_fits(flood)
        t.at_most(sent, 24_000_000, "bytes that were accepted")
    t.at_most(kaproxy.private_memory() - before, 8 << 20, "bytes of memory for them")


main()
