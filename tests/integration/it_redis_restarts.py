#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a redis-server that closes idle connections, kills them, restarts or has no
place left does not end its clients' connections to kaproxy, and never costs them a write
unnoticed."""

import signal
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import connect, main, test, wait_until
from kaptest.redis_peers import RedisServer, client, start
from kaptest.resp import Client, Error

CONNECT_ERROR = b"ERR kaproxy: connect: Connection refused"


def logged_in(kaproxy, user="alice", password="rabbit", database=2):
    one = client(kaproxy)
    replies = one.pipeline(("AUTH", user, password))
    replies += one.pipeline(("SELECT", database), "CLIENT SETNAME hers")
    if replies != [b"OK"] * 3:
        raise AssertionError(replies)
    return one


def server(t, **options):
    return t.own(RedisServer(t, users={"alice": ("rabbit", "~* &* +@all")}, **options))


def is_hers(t, one, what):
    t.equal(one.ask("ACL", "WHOAMI"), b"alice", f"user {what}")
    t.equal(one.ask("GET", "place"), b"database 2", f"database {what}")
    t.equal(one.ask("CLIENT", "GETNAME"), b"hers", f"name {what}")


def with_places(redis):
    for database in 0, 2:
        redis.admin("SELECT", database)
        redis.admin("SET", "place", f"database {database}")


@test("`timeout 1` at the server: a client that is idle for longer keeps its login [F2, R1, R4]")
def idle_timeout(t):
    redis = server(t, timeout=1)
    with_places(redis)
    kaproxy = start(t, redis)
    one = logged_in(kaproxy)
    for number in range(2):
        is_hers(t, one, f"after {number} closed connections")
        wait_until(lambda: not redis.clients(), "redis-server to close idle connections")
    t.equal(one.ask("SET", "k", "v"), b"OK", "a write after that")
    t.check(one.is_silent(), "more than the replies")


@test("CLIENT KILL between commands: the client continues, login and database with it [R1, R4]")
def killed(t):
    redis = server(t)
    with_places(redis)
    kaproxy = start(t, redis)
    one, other = logged_in(kaproxy), client(kaproxy)
    for number in range(20):
        is_hers(t, one, f"after {number} kills")
        t.equal(other.ask("GET", "place"), b"database 0", "the other's database")
        t.equal(one.ask("INCR", "counter"), number + 1, "counter")
        redis.kill_clients()
        wait_until(lambda: kaproxy.counters()["idle"] == 0, "kaproxy to see the ends")


@test("restarts between commands, in order and by SIGKILL [F5, R1]")
def restarted(t):
    redis = server(t)
    with_places(redis)
    kaproxy = start(t, redis)
    one = logged_in(kaproxy)
    for how in signal.SIGKILL, signal.SIGTERM:
        is_hers(t, one, "before")
        redis.stop(how)
        for _ in range(2):
            t.equal(one.ask("GET", "place"), CONNECT_ERROR, "while it is down")
        t.equal(one.pipeline("SET a 1", "GET a"), [CONNECT_ERROR] * 2, "each of a batch")
        redis.start()
        is_hers(t, one, "after a restart")


@test("a login and MULTI while it is down: the error, and the end of that client [F5]")
def down(t):
    redis = server(t)
    kaproxy = start(t, redis)
    redis.stop()
    for command in ("AUTH alice rabbit", "HELLO 3 AUTH alice rabbit", "SELECT 2", "MULTI",
                    "WATCH key"):
        one = client(kaproxy)
        t.equal(one.ask("GET", "place"), CONNECT_ERROR, "before")
        one.send(command, "SET key lost")
        values = one.read_end()
        t.equal(values[:1], [CONNECT_ERROR], f"the reply to {command}")
        t.check(all(isinstance(value, Error) for value in values), f"{values} is all errors")
    redis.start()
    t.equal(redis.admin("EXISTS", "key"), 0, "keys that were set")


def client_of(t, redis):
    one = t.own(Client(connect(redis.address)))
    t.equal(one.ask("PING"), b"PONG", "a client that connects directly")
    return one


@test("maxclients reached: an error for each command, the client stays, and is served later [F5]")
def no_place(t):
    redis = server(t, maxclients=4)
    kaproxy = start(t, redis, pool={"max_per_host": 4})
    others = [client_of(t, redis) for _ in range(3)]  # and the test's own connection
    one = client(kaproxy)
    for reply in one.pipeline("GET a", "SET a 1", "GET a"):
        t.check(isinstance(reply, Error) and reply.startswith(b"ERR ")
                and b"max number of clients reached" in reply, f"{reply!r} says why")
    t.at_least(redis.info("rejected_connections"), 1, "connections that were refused")
    others.pop().close()
    wait_until(lambda: len(redis.clients()) == 2, "a place")
    t.equal(one.pipeline("GET a", "SET a 1", "GET a"), [None, b"OK", b"1"], "replies then")


@test("a kill while a write is in flight: an error, and no second write [F4]")
def in_mid_write(t):
    redis = server(t)
    kaproxy = start(t, redis)
    one = client(kaproxy)
    t.equal(one.ask("SET", "counter", 0), b"OK", "before")
    redis.admin("CLIENT", "PAUSE", 100_000, "WRITE")
    one.send("INCR counter")
    wait_until(lambda: redis.info("blocked_clients") == 1, "the write to be held back")
    redis.kill_clients()
    reply = one.reply()
    t.check(isinstance(reply, Error), f"{reply!r} is an error")
    redis.admin("CLIENT", "UNPAUSE")
    t.check(redis.admin("GET", "counter") in (b"0", b"1"), "the counter")
    t.equal(one.ask("GET", "other"), None, "what the client gets afterwards")


main()
