#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: while Redis keeps something for a client on its connection, that is the client's
own; it ends with the server's replies, or with the client."""

import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import WAIT_MAX, main, test, wait_until
from kaptest.redis_peers import RedisServer, client, start
from kaptest.resp import OK, Ended, Error, Push, ScriptedRedis

ONE = {"max_per_host": 1}


def both(t, **options):
    redis = t.own(RedisServer(t, **options))
    return redis, start(t, redis, pool=ONE)


def check_held(t, kaproxy, count, what):
    t.equal(kaproxy.counters()["held"], count, f"held connections {what}")


@test("from MULTI's OK to EXEC's or DISCARD's reply, by replies and not by commands [R5, F9]")
def transactions(t):
    redis, kaproxy = both(t)
    redis.admin("SET", "string", "x")
    ends = {
        "EXEC": ["SET a 1", "EXEC"], "a DISCARD": ["SET a 1", "DISCARD"],
        "EXECABORT": ["GET", "EXEC"], "an error in it": ["INCR string", "EXEC"],
    }
    for what, commands in ends.items():
        one, other = client(kaproxy), client(kaproxy)
        t.equal(one.ask("MULTI"), b"OK", "MULTI")
        check_held(t, kaproxy, 1, "after MULTI")
        t.equal(one.ask(commands[0]) is not None, True, "in between")
        t.equal(other.ask("GET", "string"), b"x", f"another client meanwhile ({what})")
        one.ask(commands[1])
        check_held(t, kaproxy, 0, f"after {what}")
        t.equal(one.ask("GET", "string"), b"x", "the same client afterwards")


@test("MULTI that is rejected begins nothing; EXEC WITHOUT MULTI leaves the WATCH [R5]")
def by_replies(t):
    _, kaproxy = both(t)
    one = client(kaproxy)
    t.check(isinstance(one.ask("MULTI", "argument"), Error), "no error")
    check_held(t, kaproxy, 0, "after a refused MULTI")
    t.equal(one.ask("WATCH", "k"), b"OK", "WATCH")
    check_held(t, kaproxy, 1, "after WATCH")
    t.check(isinstance(one.ask("EXEC"), Error), "no error")
    check_held(t, kaproxy, 1, "after EXEC without MULTI")
    t.equal(client(kaproxy).ask("SET", "k", 1), b"OK", "another client's write")
    t.equal(one.pipeline("MULTI", "SET k 2", "EXEC")[2], None, "EXEC of what was watched")
    check_held(t, kaproxy, 0, "after EXEC's null")
    t.equal(one.pipeline("WATCH k", "UNWATCH"), [b"OK", b"OK"], "WATCH and UNWATCH")
    check_held(t, kaproxy, 0, "after UNWATCH")


@test("WATCH or MULTI, its connection lost by a refused HELLO: the client is closed [R2, R5, F5]")
def refused_hello(t):
    redis, kaproxy = both(t)
    one = client(kaproxy)
    t.equal(one.ask("WATCH k"), b"OK", "WATCH")
    t.check(isinstance(one.ask("HELLO 9"), Error), "no error")
    redis.admin("SET", "k", "theirs")
    try:
        one.send("MULTI", "SET k lost", "EXEC")
    except OSError:
        pass
    t.equal(one.read_end(), [], "replies after it")
    t.equal(redis.admin("GET", "k"), b"theirs", "what was watched")


@test("many transactions at once, over two connections and databases: each its own values [R4, R5]")
def interleaved(t):
    redis = t.own(RedisServer(t))
    kaproxy = start(t, redis, pool={"max_per_host": 2})
    people = [client(kaproxy) for _ in range(8)]
    for number, one in enumerate(people):
        t.equal(one.pipeline(("SELECT", number % 3), "MULTI", ("SET", "who", number)),
                [b"OK", b"OK", b"QUEUED"], "the beginning")
    for number, one in enumerate(people):
        t.equal(one.pipeline("GET who", "EXEC"), [b"QUEUED", [b"OK", b"%d" % number]], "the end")


@test("a client that leaves in MULTI: nothing is executed, its connection is closed [R5]")
def leaves(t):
    redis, kaproxy = both(t)
    one = client(kaproxy)
    t.equal(one.pipeline("MULTI", "SET k 1"), [b"OK", b"QUEUED"], "the beginning")
    one.channel.reset()
    wait_until(lambda: not redis.clients(), "the connection to be closed")
    t.equal(client(kaproxy).pipeline("EXISTS k", "EXEC")[0], 0, "keys that were set")


@test("affinity_timeout: an idle transaction is ended on both sides [R5]")
def rests(t):
    redis = t.own(RedisServer(t))
    kaproxy = start(t, redis, pool=ONE, listener={"affinity_timeout": "300ms"})
    for command in "MULTI", "WATCH k":
        one = client(kaproxy)
        t.equal(one.ask(command), b"OK", command)
        one.read_end()
        wait_until(lambda: not redis.clients(), "the connection to be closed")


# --- R6

@test("SUBSCRIBE: a client's own connection to its end, others continue [R6, F9]")
def subscribe(t):
    redis, kaproxy = both(t)
    one, other = client(kaproxy), client(kaproxy)
    one.send("SUBSCRIBE a b", "PSUBSCRIBE c*", "UNSUBSCRIBE", "PUNSUBSCRIBE x y", "PING")
    got = [one.reply() for _ in range(8)]
    t.equal([reply[0] for reply in got],
            [b"subscribe"] * 2 + [b"psubscribe"] + [b"unsubscribe"] * 2 + [b"punsubscribe"] * 2
            + [b"pong"], "kinds of replies")
    check_held(t, kaproxy, 1, "after SUBSCRIBE")
    for number in range(3):
        t.equal(other.ask("PUBLISH", "channel", number), 1, "receivers")
        t.equal(one.reply(), [b"pmessage", b"c*", b"channel", b"%d" % number], "message")
    one.end()
    wait_until(lambda: redis.info("pubsub_patterns") == 0, "the subscription to end")
    t.equal(other.ask("PING"), b"PONG", "another client")
    t.equal(redis.connections(), 2, "connections: the subscriber's was not used again")


@test("UNSUBSCRIBE without a subscription has a reply for each channel [R6]")
def unsubscribe(t):
    _, kaproxy = both(t)
    one = client(kaproxy)
    one.send("UNSUBSCRIBE", "PUNSUBSCRIBE a b c", "PING")
    t.equal([one.reply() for _ in range(4)],
            [[b"unsubscribe", None, 0]] + [[b"punsubscribe", x, 0] for x in (b"a", b"b", b"c")],
            "replies")
    t.equal(one.reply(), b"PONG", "the last reply")


@test("a message right after SUBSCRIBE's reply, and after another client's [R6]")
def in_one_write(t):
    def answer(_, words):
        if words[0] == b"SUBSCRIBE":
            return (b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
                    b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n")
        return None

    upstream = t.own(ScriptedRedis(answer))
    kaproxy = start(t, upstream, pool=ONE)
    t.equal(client(kaproxy).ask("GET", "k"), b"k at 1", "another's reply")
    one = client(kaproxy)
    one.send("SUBSCRIBE a")
    t.equal([one.reply()[0], one.reply()[0]], [b"subscribe", b"message"], "replies")
    one.end()
    t.equal(client(kaproxy).ask("GET", "k"), b"k at 2", "the next client's connection")


@test("MONITOR shows the client everything to its end [R6]")
def monitor(t):
    redis, kaproxy = both(t)
    one, other = client(kaproxy), client(kaproxy)
    t.equal(one.ask("MONITOR"), b"OK", "MONITOR")
    for number in range(3):
        t.equal(other.ask("SET", "k", number), b"OK", "SET")
        while b'"SET" "k" "%d"' % number not in (line := one.reply()):
            t.check(b'"' in line, f"{line!r} is not a line of MONITOR")
    one.channel.reset()
    wait_until(lambda: len(redis.clients()) == 1, "its connection to be closed")


STICKY = ("READONLY", "READWRITE", "ASKING", "CLIENT ID", "CLIENT NO-EVICT on", "CLIENT REPLY ON",
          "CLIENT TRACKINGINFO", "NOSUCHCOMMAND with arguments", "DEBUG SLEEP 0", "SCRIPT DEBUG NO",
          "REPLCONF listening-port 1", "CLIENT UNKNOWN")


@test("commands with invisible traces: the connection is that client's to its end [R6]")
def sticky(t):
    for command in STICKY:
        upstream = t.own(ScriptedRedis())
        kaproxy = start(t, upstream, pool=ONE)
        one = client(kaproxy)
        t.equal(one.pipeline(command, "GET k"), [b"OK", b"k at 1"], command)
        check_held(t, kaproxy, 1, f"after {command}")
        t.equal(client(kaproxy).ask("GET", "k"), b"k at 2", "another client's connection")
        t.equal(one.ask("GET", "k"), b"k at 1", "the same client's")
        one.end()
        t.equal(client(kaproxy).ask("GET", "k"), b"k at 2", "the next client's connection")


HARMLESS = ("CLIENT GETNAME", "CLIENT LIST", "CLIENT INFO", "CLIENT KILL ID 1", "CLIENT HELP",
            "CLIENT UNBLOCK 1", "CLIENT UNPAUSE", "CLIENT PAUSE 0", "client list", "PING", "INFO",
            "COMMAND DOCS", "CONFIG GET save", "ACL WHOAMI", "SCRIPT LOAD x", "OBJECT FREQ k")


@test("those that leave nothing behind do not keep the connection [R6, R10]")
def harmless(t):
    upstream = t.own(ScriptedRedis(lambda _, words: OK))
    kaproxy = start(t, upstream, pool=ONE)
    one = client(kaproxy)
    for command in HARMLESS:
        t.equal(one.ask(command), b"OK", command)
        check_held(t, kaproxy, 0, f"after {command}")


@test("SELECT, AUTH, HELLO and CLIENT in MULTI: to the client's end [R6]")
def inside_multi(t):
    for command in "SELECT 3", "AUTH open", "CLIENT SETNAME x", "HELLO 2":
        redis, kaproxy = both(t, password="open")
        redis.admin("SET", "place", "database 0")
        one = client(kaproxy)
        got = one.pipeline("AUTH open", "MULTI", command, "SET hidden 1", "EXEC")
        t.check(got[1] == b"OK" and isinstance(got[-1], (list, Error)), f"{command}: {got}")
        check_held(t, kaproxy, 1, f"after {command} in MULTI")
        other = client(kaproxy)
        t.equal(other.pipeline("AUTH open", "GET place", "CLIENT GETNAME")[1:],
                [b"database 0", None], f"what another client has after {command}")


@test("an unsolicited push goes to the connection's last client, and is its end [R6]")
def push(t):
    _, kaproxy = both(t)
    one, other = client(kaproxy), client(kaproxy)
    one.ask("HELLO 3")
    t.equal(one.pipeline("CLIENT TRACKING ON", "GET k"), [b"OK", None], "tracking")
    t.equal(other.ask("SET", "k", 1), b"OK", "another's write")
    got = one.reply()
    t.check(isinstance(got, Push) and got[0] == b"invalidate", f"{got!r}")
    t.equal(one.ask("GET", "k"), b"1", "the next reply")


@test("ACL DELUSER ends idle connections, and that user's next command is refused [R10, R3]")
def deluser(t):
    redis, kaproxy = both(t, users={"alice": ("rabbit", "~* &* +@all")})
    one = client(kaproxy)
    t.equal(one.pipeline("AUTH alice rabbit", "GET k"), [b"OK", None], "before")
    other = client(kaproxy)
    t.equal(other.ask("ACL", "DELUSER", "alice"), 1, "users that are gone")
    try:
        reply = one.ask("GET", "k")
        t.check(isinstance(reply, Error) and reply.startswith(b"WRONGPASS"), f"{reply!r}")
    except Ended:
        t.fail("the client was closed instead of getting the server's error")


@test("CLIENT KILL of the client's own connection, CLIENT LIST and INFO pass [R10]")
def about_connections(t):
    redis, kaproxy = both(t)
    one = client(kaproxy)
    t.check(one.ask("CLIENT", "LIST").count(b"\n") >= 1, "no list")
    t.check(b"redis_version" in one.ask("INFO"), "no INFO")
    for peer in redis.clients():
        reply = one.ask("CLIENT", "KILL", "ID", peer["id"])
        t.check(isinstance(reply, (int, Error)), f"{reply!r}")
    t.equal(one.ask("GET", "k"), None, "the next reply")


@test("a push while no tunnel is free: its connection goes to no other client [R6, F9]")
def push_without_place(t):
    go = threading.Event()
    t.callback(go.set)

    def answer(connection, words):
        if words == [b"GET", b"a"]:
            connection.send(b">2\r\n+some\r\n+push\r\n")
            go.wait(WAIT_MAX)
            return b"$9\r\na's value\r\n"
        return None

    upstream = t.own(ScriptedRedis(answer))
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "max_tunnels": 0})
    one, other = client(kaproxy), client(kaproxy)
    one.send("GET a")
    t.check(all(isinstance(value, Error) for value in one.read_end()), "a reply")
    other.send("GET b")
    wait_until(lambda: "GET b" in upstream.words() or kaproxy.counters()["busy"] == 1,
               "a connection for another client")
    go.set()
    t.equal(other.reply(), b"b at 2", "another client's reply")


main()
