#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: clients that wait in Redis (BLPOP and its kin) take no connection from those
that would wake them, and return theirs when they leave."""

import select
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import WAIT_MAX, main, test, wait_until
from kaptest.redis_peers import RedisServer, client, start
from kaptest.resp import Ended, Error, ScriptedRedis, encode


@test("as many BLPOP as max_per_host, and twice: the producer is served, and all of them [R8, F9]")
def producer(t):
    redis = t.own(RedisServer(t))
    kaproxy = start(t, redis, pool={"max_per_host": 4})
    for count in 4, 8:
        waiting = [client(kaproxy) for _ in range(count)]
        for one in waiting:
            one.send("BLPOP queue 0")
        redis.wait_blocked(count)
        producing = client(kaproxy)
        for number in range(count):
            t.check(isinstance(producing.ask("RPUSH", "queue", number), int), "no length")
        got = sorted(one.reply()[1] for one in waiting)
        t.equal(got, [b"%d" % number for number in range(count)], "items")
        wait_until(lambda: kaproxy.counters()["held"] == 0, "the held ones to be returned")
        for one in waiting:
            t.equal(one.ask("PING"), b"PONG", "the same client afterwards")


WAITERS = ("BLPOP l 0", "BRPOP l 0", "BLMOVE l m LEFT LEFT 0", "BRPOPLPUSH l m 0",
           "BLMPOP 0 1 l LEFT", "BZPOPMIN z 0", "BZPOPMAX z 0", "BZMPOP 0 1 z MIN",
           "XREAD BLOCK 0 STREAMS s $", "xread count 1 block 0 streams s $",
           "XREADGROUP GROUP g c BLOCK 0 STREAMS s >")


@test("each command that waits, and a client that leaves it: the connection is free [R8]")
def leaves(t):
    redis = t.own(RedisServer(t))
    redis.admin("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    kaproxy = start(t, redis, pool={"max_per_host": 1, "max_tunnels": 1})
    for command in WAITERS:
        for how in "fin", "reset":
            one = client(kaproxy)
            one.send(command)
            redis.wait_blocked(1)
            getattr(one.channel, how)()
            redis.wait_blocked(0)
    wait_until(lambda: not redis.clients(), "all of their connections to be closed")
    t.equal(client(kaproxy).ask("PING"), b"PONG", "the next client")


@test("in a pipeline its reply has its place, and what follows it comes after [R8, F3]")
def in_order(t):
    redis = t.own(RedisServer(t))
    kaproxy = start(t, redis, pool={"max_per_host": 1})
    one, other = client(kaproxy), client(kaproxy)
    one.send("SET a 1", "BLPOP queue 0", "GET a")
    redis.wait_blocked(1)
    t.equal(one.reply(), b"OK", "the reply before it")
    t.equal(other.pipeline("SET a 2", "RPUSH queue x"), [b"OK", 1], "the producer")
    t.equal(one.reply(), [b"queue", b"x"], "its reply")
    t.equal(one.reply(), b"2", "the reply after it")


@test("with a time, and inside MULTI, it does not wait [R8]")
def not_waiting(t):
    redis = t.own(RedisServer(t))
    kaproxy = start(t, redis, pool={"max_per_host": 1})
    one = client(kaproxy)
    t.equal(one.ask("BLPOP queue 0.01"), None, "after its time")
    t.equal(one.pipeline("MULTI", "BLPOP queue 0", "EXEC")[2], [None], "in MULTI")
    t.equal(kaproxy.counters()["held"], 0, "held connections")
    t.equal(redis.connections(), 1, "connections")


@test("max_tunnels: beyond it an error, and that client is closed, whatever it waits for [F9, R6, R8]")
def limit(t):
    redis = t.own(RedisServer(t))
    kaproxy = start(t, redis, pool={"max_per_host": 2, "max_tunnels": 1})
    one = client(kaproxy)
    one.send("BLPOP queue 0")
    redis.wait_blocked(1)
    for command in "BLPOP queue 0", "SUBSCRIBE a", "MULTI", "WATCH k", "MONITOR", "CLIENT ID":
        refused = client(kaproxy)
        refused.send(command, "SET k 1")
        got = refused.read_end()
        t.check(got and all(isinstance(reply, Error) for reply in got)
                and got[0].startswith(b"ERR kaproxy: "), f"{command}: {got}")
    other = client(kaproxy)
    t.equal(other.ask("EXISTS", "k"), 0, "commands after a refused one that ran")
    t.equal(other.ask("RPUSH", "queue", "x"), 1, "the producer")
    t.equal(one.reply(), [b"queue", b"x"], "the waiting client")
    wait_until(lambda: kaproxy.counters()["held"] == 0, "the held one to be returned")
    t.equal(client(kaproxy).ask("MULTI"), b"OK", "the next one that needs it")


@test("a killed connection while a client waits: an error or the end, and no second try [R8, F4]")
def killed(t):
    redis = t.own(RedisServer(t))
    kaproxy = start(t, redis, pool={"max_per_host": 1})
    one = client(kaproxy)
    one.send("BLPOP queue 0")
    redis.wait_blocked(1)
    redis.kill_clients()
    try:
        t.check(isinstance(one.reply(), Error), "a reply")
    except Ended:
        pass
    redis.wait_blocked(0)
    t.equal(redis.connections(), 1, "connections")


@test("WAIT is served after a write in its batch, or in an affinity; else it says why not [R9]")
def wait(t):
    upstream = t.own(ScriptedRedis(lambda _, w: b":7\r\n" if w[0].startswith(b"WAIT") else None))
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    one = client(kaproxy)
    for command in "WAIT 0 0", "WAITAOF 0 0 0":
        t.equal(one.pipeline("SET k v", command), [b"OK", 7], "after a write")
        for commands in [command], ["GET k", command]:
            reply = one.pipeline(*commands)[-1]
            t.check(isinstance(reply, Error) and reply.startswith(b"ERR kaproxy: "), f"{reply!r}")
        t.equal([one.ask("WATCH k"), one.ask(command), one.ask("UNWATCH")], [b"OK", 7, b"OK"],
                "in an affinity")
    t.equal([text for text in upstream.words() if text.startswith("WAIT")],
            ["WAIT 0 0", "WAIT 0 0", "WAITAOF 0 0 0", "WAITAOF 0 0 0"], "those that arrived")
    t.equal(one.ask("GET", "k"), b"k at 1", "the same client afterwards")


@test("endless WAITs do not make an endless batch: others have their turn [F1, R9]")
def bounded(t):
    go = threading.Event()
    t.callback(go.set)

    def answer(_, words):
        if words[0] == b"SET":
            go.wait(WAIT_MAX)
        return b":7\r\n" if words[0] == b"WAIT" else None

    upstream = t.own(ScriptedRedis(answer))
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    endless, other = client(kaproxy), client(kaproxy)
    endless.send("SET k v")
    wait_until(lambda: upstream.words() == ["SET k v"], "what the WAITs belong to")
    waits = encode("WAIT 0 0") * 5000
    while select.select([], [endless.channel.socket], [], 1)[1]:
        endless.channel.send_what_fits(waits)
    t.at_most(kaproxy.commands(), 5000, "commands that joined")
    other.send("GET k")
    wait_until(lambda: kaproxy.counters()["waiting"] == 1, "another client to wait")
    go.set()
    t.equal(other.reply(), b"k at 1", "another client's reply")


@test("what a blocking command finds is its client's, though that has sent its end with it [F2, R8]")
def half_closed(t):
    redis = t.own(RedisServer(t))
    redis.admin("RPUSH", "list", "item")
    kaproxy = start(t, redis)
    one = client(kaproxy)
    one.send("PING", "BLPOP list 0")
    one.channel.fin()
    t.equal(one.read_end(), [b"PONG", [b"list", b"item"]], "the replies")
    t.equal(redis.admin("LLEN", "list"), 0, "what is left")


main()
