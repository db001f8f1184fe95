#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: redis-cli works through kaproxy over TCP and over a unix socket."""

import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, spawn, test, wait_until
from kaptest.peers import Redis, need


def cli(kaproxy, index, *words, **options):
    address = kaproxy.address(index=index)
    where = ["-h", address[0], "-p", str(address[1])] if index == 0 else ["-s", address]
    return subprocess.run([need("redis-cli"), *where, *words], capture_output=True, check=True,
                          **options).stdout


@test("redis-cli as a one-shot client, all on one upstream connection")
def one_shot(t):
    redis = t.own(Redis(t))
    kaproxy = t.kaproxy(redis.endpoint, listen=f"127.0.0.1:{{port}} unix:{t.folder}/kaproxy.sock")
    before = redis.connections()
    for number in range(5):
        value = f"value {number}".encode()
        t.equal(cli(kaproxy, 0, "-x", "SET", "key", input=value), b"OK\n", "SET over TCP")
        t.equal(cli(kaproxy, 1, "GET", "key"), value + b"\n", "GET over the unix socket")
    t.equal(redis.connections() - before, 1, "connections redis-server received")


@test("redis-cli --pipe moves 20000 commands without losing one")
def pipe(t):
    redis = t.own(Redis(t))
    kaproxy = t.kaproxy(redis.endpoint)
    commands = b"".join(b"SET key:%d %s\r\n" % (i, b"x" * (i % 500 + 1)) for i in range(20000))
    cli(kaproxy, 0, "--pipe", input=commands)
    t.equal(cli(kaproxy, 0, "DBSIZE"), b"20000\n", "keys in the store")


@test("a killed redis-cli that still waited for a reply leaves none for the next client")
def killed(t):
    redis = t.own(Redis(t))
    kaproxy = t.kaproxy(redis.endpoint, pool={"max_per_host": 1})
    waiting = spawn([need("redis-cli"), "-p", str(kaproxy.address()[1]), "BLPOP", "l", "0"],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: redis.info("blocked_clients") == 1, "redis-cli to wait")
    waiting.kill()
    t.equal(cli(kaproxy, 0, "PING"), b"PONG\n", "the next client's reply")


main()
