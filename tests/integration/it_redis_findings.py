#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: PHP's one-shot clients of a redis-server share a few connections, and none of
them ever reads with the login, or in the database, of another."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.redis_peers import RedisServer, cli, start
from kaptest.scripts import Script

# A client that reads a key: with a password if there is one.
READ = """\
$redis = new Redis();
$redis->connect('127.0.0.1', (int)$argv[1]);
try {
    if ($argc > 2)
        $redis->auth($argv[2]);
    echo json_encode(['value' => $redis->get('secret')]);
} catch (RedisException $e) {
    echo json_encode(['error' => $e->getMessage()]);
}
"""

# A client that works in a database as a user: PORT NUMBER DATABASE USER PASSWORD
WORK = """\
[, $port, $number, $database, $user, $password] = $argv;
$redis = new Redis();
$redis->connect('127.0.0.1', (int)$port);
$redis->auth($user === 'default' ? $password : [$user, $password]);
if ($database !== '0')
    $redis->select((int)$database);
$redis->set("key:$number", "$number of $user in $database");
echo json_encode([$redis->get("key:$number"), $redis->get('place'), $redis->incr('clients') > 0,
                  $redis->rawCommand('ACL', 'WHOAMI')]);
"""

USERS = {"default": "open", "alice": "rabbit", "bob": "builder"}


@test("10 clients that never log in get the server's own error, after one that did [R1]")
def nobody_reads(t):
    redis = t.own(RedisServer(t, password="open"))
    redis.admin("SET", "secret", "the secret")
    port = start(t, redis, pool={"max_per_host": 4}).address()[1]
    script = Script(t, "php", "redis", READ)
    for _ in range(10):
        t.equal(script.run(port, "open"), {"value": "the secret"}, "with a login")
        t.equal(script.run(port), {"error": "NOAUTH Authentication required."}, "without a login")
    t.at_most(redis.connections(), 4, "connections redis-server received")


@test("60 clients, three users, three databases: on four connections, each value right [R1, R4]")
def many(t):
    rules = "~* &* +@all"
    redis = t.own(RedisServer(t, password=USERS["default"], users={
        name: (USERS[name], rules) for name in ("alice", "bob")}))
    for database in range(3):
        redis.admin("SELECT", database)
        redis.admin("SET", "place", f"database {database}")
    port = start(t, redis, pool={"max_per_host": 4}).address()[1]
    script = Script(t, "php", "redis", WORK)
    people = [(number, number % 3, list(USERS)[number // 3 % 3]) for number in range(60)]
    said = script.run_all([(port, number, database, user, USERS[user])
                           for number, database, user in people])
    right = [[f"{number} of {user} in {database}", f"database {database}", True, user]
             for number, database, user in people]
    wrong = [(got, expected) for got, expected in zip(said, right) if got != expected]
    t.equal(wrong, [], "clients with wrong replies, and what was right")
    t.at_most(redis.connections(), 4, "connections redis-server received")


@test("redis-cli without a password, right after one with it: refused [R1, R3]")
def command_line(t):
    redis = t.own(RedisServer(t, password="open"))
    address = start(t, redis, pool={"max_per_host": 1}).address()
    for _ in range(3):
        t.equal(cli(t, address, "--no-auth-warning", "-a", "open", "SET", "secret", "1"), b"OK\n",
                "with the password")
        t.equal(cli(t, address, "GET", "secret").strip(), b"NOAUTH Authentication required.",
                "without")
        t.equal(cli(t, address, "--no-auth-warning", "-a", "wrong", "GET", "secret").strip(),
                b"NOAUTH Authentication required.", "with a wrong one")
    t.at_most(redis.connections(), 3, "connections redis-server received")


main()
