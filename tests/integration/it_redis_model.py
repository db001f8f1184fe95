#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: whatever 32 clients of Redis do at random, and whatever happens to the server,
none ever gets a reply of another's database, login or transaction, and nothing is done twice."""

import random
import signal
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test, wait_until
from kaptest.cutter import Cutter
from kaptest.model import SEED, Run, batches
from kaptest.redis_model import (
    CLIENTS, DATABASES, DONE, NEVER, PASSWORDS, RULES, Consumer, RedisUser, World)
from kaptest.redis_peers import RedisServer, start

MAX = 4  # connections


class Trouble:
    """What happens to the server, one thing after the other."""

    def __init__(self, world, restarts=True):
        self.world, self.redis = world, world.redis
        self.random = random.Random(SEED)
        self.kinds = [self.kill_one, self.kill_one, self.kill_all, self.change_dave, self.change_dave,
                      self.change_default, *([self.restart] if restarts else [])]

    def __call__(self, run):
        run.wait_batches(self.random.randrange(20, 120))
        if run.over.is_set():
            return
        kind = self.random.choice(self.kinds)
        kind()
        run.count(kind.__name__)

    __name__ = "trouble"

    def kill_one(self):
        clients = self.redis.clients()
        if clients:
            self.redis.admin("CLIENT", "KILL", "ID", self.random.choice(clients)["id"])

    def kill_all(self):
        self.redis.kill_clients()

    def restart(self):
        self.world.up.clear()
        try:
            self.redis.restart(self.random.choice([signal.SIGKILL, signal.SIGTERM]))
        finally:
            self.world.up.set()

    def change_dave(self):
        """Existing connections stay what they are; logins with the old password are refused."""
        password = self.random.choice([PASSWORDS["dave"], "second"])
        self.redis.set_user("dave", "resetpass", f">{password}")

    def change_default(self):
        """The server gets a password for clients that do not log in, or has none any more."""
        self.world.phase += 1
        change = ("resetpass", f">{PASSWORDS['default']}") if self.world.phase % 4 == 1 else (
            "nopass",)
        self.redis.set_user("default", *change)
        self.world.phase += 1


def model(t, count, calm, cutting=False, **server):
    redis = t.own(RedisServer(
        t, users={name: (PASSWORDS[name], rules) for name, rules in RULES.items()}, **server))
    upstream = t.own(Cutter(redis.address, "redis")) if cutting else redis
    kaproxy = start(t, upstream, pool={"max_per_host": MAX, "max_waiting": 4096},
                    main={"access_log": "off", "log_level": "notice", "shutdown_timeout": 3})
    before = kaproxy.descriptors()
    world, run = World(redis, kaproxy, calm), Run(batches(count))
    consumers = [Consumer(CLIENTS + number, world, run) for number in range(MAX)]
    threads = [threading.Thread(target=run._guard, args=(one, one.run), daemon=True)
               for one in consumers]
    for thread in threads:
        thread.start()
    users = [RedisUser(number, world, run) for number in range(CLIENTS)]
    trouble = Trouble(world)
    if calm:
        trouble.kinds = [trouble.change_default]
    if cutting:
        trouble.kinds += 3 * [upstream.cut]
    try:
        run.go(users, [trouble])
    finally:
        redis.admin("SELECT", 0)
        wait_until(lambda: stopped(redis, threads), "those that wait to be done")
    t.equal(run.wrong, [], "wrong replies")
    check_store(t, world, users + consumers)
    wait_until(lambda: kaproxy.descriptors() - 2 * kaproxy.pipes()["pipes_idle"]
               - kaproxy.counters()["idle"] <= before,
               "all descriptors to be closed, but for idle connections and pipes")
    t.at_most(kaproxy.counters()["idle"], MAX, "idle connections")
    kaproxy.stop()
    return run


def stopped(redis, threads):
    """Says so, each time, to a client that it is meant for."""
    alive = [thread for thread in threads if thread.is_alive()]
    if alive:
        redis.admin("RPUSH", "queue:0", "stop")
        alive[0].join(0.1)
    return not alive


def check_store(t, world, users):
    """Nothing was done twice, and nothing that was acknowledged is missing."""
    redis, popped = world.redis, world.popped - {b"stop"}
    for database in range(DATABASES):
        redis.admin("SELECT", database)
        sure, possible = world.increments[database]
        value = int(redis.admin("GET", "shared"))
        t.check(sure <= value <= sure + possible,
                f"{sure} increments, {possible} possible ones, but {value} in database {database}")
        left = set(redis.admin("LRANGE", f"queue:{database}", 0, -1))
        t.equal(left & popped, set(), "items that were popped and are still there")
        for user in users:
            there = redis.admin("LRANGE", f"log:{user.number}:{database}", 0, -1)
            t.equal(len(there), len(set(there)), f"what client {user.number} pushed, once each")
            pushed = {kind: {value for place, value, what in user.log
                             if what == kind and place == database} for kind in (DONE, NEVER)}
            t.equal(pushed[DONE] - set(there), set(), "what was acknowledged and is missing")
            t.equal(pushed[NEVER] & set(there), set(), "what was done despite a refused login")
        t.equal(redis.admin("GET", "place"), b"database %d" % database, "what no client writes")
    t.equal(popped - world.pushed, set(), "items popped that were never pushed")


@test("32 clients and as many BLPOP as max_per_host, undisturbed: no error at all [F1, R1 to R9]")
def calm_model(t):
    run = model(t, 2500, True)
    t.at_least(run.counts.get("refusals", 0), 1, "refusals of those without a login")


@test("the same, with kills, restarts, passwords set and revoked [F3 to F5, R1 to R9]")
def stormy_model(t):
    run = model(t, 5000, False)
    t.at_least(run.counts["whole"], run.total // 2, "complete batches")


@test("the same, with connections that break between it and the server [F2, F4]")
def cut_model(t):
    run = model(t, 2500, False, cutting=True)
    t.at_least(run.counts["whole"], run.total // 2, "complete batches")


@test("the same over TLS [R1]")
def tls_model(t):
    run = model(t, 1000, False, tls=True)
    t.at_least(run.counts["whole"], run.total // 2, "complete batches")


main()
