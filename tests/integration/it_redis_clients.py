#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: common Redis clients work through kaproxy as they do without it: with logins,
databases, transactions, subscriptions, TLS and RESP3."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, main, test, wait_until
from kaptest.redis_clients import CLIENTS, conversation
from kaptest.redis_peers import RedisServer, benchmark, cli, start

USERS = {"alice": ("rabbit", "~* &* +@all")}
WAYS = {
    "without a password": ({}, (), 0),
    "with a password, database 3": ({"password": "open"}, ("default", "open"), 3),
    "as an ACL user, database 5": ({"users": USERS}, ("alice", "rabbit"), 5),
    "over TLS, as an ACL user, database 1": (
        {"tls": True, "password": "open", "users": USERS}, ("alice", "rabbit"), 1),
}
REQUESTS = 300 if SLOW else 1000


def same_as_directly(t, name, way):
    options, login, database = WAYS[way]
    plain = t.own(RedisServer(t, **{**options, "tls": False}))
    expected = conversation(t, name, plain.address, login, database)
    redis = t.own(RedisServer(t, **options))
    address = start(t, redis, pool={"max_per_host": 4}).address()
    for number in range(2):
        redis.admin("FLUSHALL")
        got = conversation(t, name, address, login, database)
        t.equal([pair for pair in zip(got, expected) if pair[0] != pair[1]], [],
                f"what client {number + 1} got, with what it gets without kaproxy")
        t.equal(len(got), len(expected), "its amount")


for client_name in CLIENTS:
    for client_way in WAYS:
        test(f"{client_name} {client_way} [R1, R4, R5, R6, R8]")(
            lambda t, n=client_name, w=client_way: same_as_directly(t, n, w))


def measured(t, options, login):
    redis = t.own(RedisServer(t, **options))
    kaproxy = start(t, redis, pool={"max_per_host": 4})
    for keep, depth in (0, 1), (0, 16), (1, 1), (1, 16):
        count = REQUESTS if keep else REQUESTS // 3
        rates = benchmark(t, kaproxy.address(), *login, "-c", "16", "-n", count, "-k", keep, "-P",
                          depth, "-t", "set,get,incr,lpush,lrange_100,mset", "-d", "100", "-r", 50,
                          "--dbnum", 2)
        t.at_least(len(rates), 6, "tests that redis-benchmark did")
    t.at_most(redis.connections(), 4, "connections redis-server received")
    return redis


@test("redis-benchmark, one-shot and kept, with and without pipelines [F1, F3]")
def plain_benchmark(t):
    measured(t, {}, ())


@test("redis-benchmark with a password and a database, over TLS upstream [R1]")
def tls_benchmark(t):
    redis = measured(t, {"tls": True, "password": "open"}, ("-a", "open"))
    redis.admin("SELECT", 0)
    t.equal(redis.admin("DBSIZE"), 0, "keys in another database than theirs")


@test("redis-cli --pipe moves 20000 commands without losing one [F1]")
def pipe(t):
    redis = t.own(RedisServer(t, password="open"))
    address = start(t, redis).address()
    commands = b"".join(b"SET key:%d %s\r\n" % (i, b"x" * (i % 500 + 1)) for i in range(20000))
    said = cli(t, address, "-a", "open", "--no-auth-warning", "--pipe", stdin=commands)
    t.check(b"errors: 0, replies: 20000" in said, f"redis-cli said {said!r}")
    t.equal(redis.admin("DBSIZE"), 20000, "keys in the store")


@test("redis-cli --bigkeys, --scan and -x, values of megabytes [F1]")
def command_line(t):
    redis = t.own(RedisServer(t))
    address = start(t, redis).address()
    for size in 1, 70_000, 5_000_000:
        value = bytes(range(256)) * (size // 256) + b"end"
        t.equal(cli(t, address, "-x", "SET", f"key{size}", stdin=value), b"OK\n", "SET")
        t.equal(cli(t, address, "GET", f"key{size}"), value + b"\n", "GET")
    t.equal(sorted(cli(t, address, "--scan").split()), [b"key1", b"key5000000", b"key70000"],
            "--scan")
    t.check(b"Biggest string found" in cli(t, address, "--bigkeys"), "--bigkeys")
    t.at_most(redis.connections(), 1, "connections redis-server received")


@test("redis-cli --rdb: replication to the client's end, on a connection of its own [R6]")
def replication(t):
    redis = t.own(RedisServer(t, repl_diskless_sync="yes", repl_diskless_sync_delay=0))
    for number in range(100):
        redis.admin("SET", f"key{number}", "x" * 1000)
    kaproxy = start(t, redis, pool={"max_per_host": 1})
    cli(t, kaproxy.address(), "--rdb", "dump.rdb")
    t.check((t.folder / "dump.rdb").read_bytes().startswith(b"REDIS0"), "no dump")
    t.equal(cli(t, kaproxy.address(), "GET", "key7"), b"x" * 1000 + b"\n", "the next client's value")
    wait_until(lambda: redis.info("connected_slaves") == 0, "the replication to end")


main()
