#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a connection to Redis serves a client only with its own login, in its own
database and under its own name, and is prepared in one round trip if it is not."""

import pathlib
import re
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import WAIT_MAX, Skip, main, test, wait_until
from kaptest.kaproxy import need_plain_build
from kaptest.redis_peers import RedisServer, client, start
from kaptest.resp import OK, Error, Map, ScriptedRedis, usual

ALICE = {"alice": ("rabbit", "~* &* +@all"), "bob": ("builder", "~* &* +@all -select")}
ONE = {"max_per_host": 1}


def ours(upstream):
    """All commands so far, in order, as text."""
    return upstream.words()


@test("clients of one identity and database: no command but their own [R1]")
def counted(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream, pool=ONE)
    own = ["AUTH alice rabbit", "SELECT 2", "GET k"]
    for _ in range(20):
        one = client(kaproxy)
        t.equal(one.pipeline(*own), [b"OK", b"OK", b"k at 1"], "in one write")
        one.end()
    wait_until(lambda: len(kaproxy.sessions()) == 20, "the access log")
    t.equal({line["leases"] for line in kaproxy.sessions()}, {"1"}, "leases of each")
    for _ in range(20):
        one = client(kaproxy)
        t.equal([one.ask(command) for command in own], [b"OK", b"OK", b"k at 1"], "one by one")
        one.end()
    t.equal(ours(upstream), own * 40, "all that the upstream got")


@test("two databases in turn: SELECT is the client's own [R1, R4]")
def two_databases(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream, pool=ONE)
    own = []
    for number in range(20):
        own += ["AUTH alice rabbit", f"SELECT {number % 2 + 1}", "GET k"]
        one = client(kaproxy)
        t.equal(one.pipeline(*own[-3:]), [b"OK", b"OK", b"k at 1"], "replies")
        one.end()
    t.equal(ours(upstream), own, "all that the upstream got")


@test("another identity's connection: RESET and login in one write, awaited before all else [R1, F3]")
def other_identity(t):
    silent = []

    def answer(connection, words):
        if words[:1] == [b"AUTH"] or words[:1] == [b"SELECT"]:
            silent.append((b" ".join(words), connection.is_silent(0.2)
                           and not connection.reader.buffer))
        return usual(connection, words)

    upstream = t.own(ScriptedRedis(answer))
    kaproxy = start(t, upstream, pool=ONE)
    alice, bob = client(kaproxy), client(kaproxy)
    for one, name in (alice, "alice"), (bob, "bob"):
        t.equal(one.ask("AUTH", name, "pass"), b"OK", "login")
        t.equal(one.ask("SELECT", 3), b"OK", "SELECT")
    del upstream.commands[:], silent[:]
    t.equal(alice.pipeline("GET a", "GET b"), [b"a at 1", b"b at 1"], "alice's replies")
    said = ours(upstream)
    t.equal((said[0], said[-2:]), ("RESET", ["GET a", "GET b"]), "what was first, and last")
    t.equal(sorted(said[1:-2]), ["AUTH alice pass", "SELECT 3"], "between them")
    t.check(silent[-1][1], "something arrived before the last reply")
    t.equal(upstream.accepted, 1, "connections")


@test("a refused SELECT of ours is the reply to the batch, of which nothing is sent [F3, R4]")
def refused_select(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream, pool=ONE)
    one, other = client(kaproxy), client(kaproxy)
    t.equal(one.pipeline("AUTH alice pass")[0], b"OK", "login")
    t.equal(one.ask("SELECT", 3), b"OK", "SELECT")
    t.equal(other.ask("AUTH", "alice", "pass"), b"OK", "the other's login")
    t.equal(other.ask("SELECT", 4), b"OK", "SELECT")
    upstream.answer = lambda _, words: b"-ERR no such place\r\n" if words[0] == b"SELECT" else None
    t.equal(one.pipeline("SET a 1", "GET a"), [b"ERR no such place"] * 2, "replies")
    t.equal(upstream.words("SET", "GET"), [], "commands that arrived")


@test("a refused login of ours: each command gets that error, none is sent, idle ones close [R3]")
def refused_login(t):
    go = threading.Event()
    t.callback(go.set)

    def answer(connection, words):
        if words == [b"GET", b"slow"]:
            go.wait(WAIT_MAX)
        if words[0] == b"AUTH" and connection.number == 2:
            go.wait(WAIT_MAX)
            wait_until(lambda: kaproxy.counters()["idle"] == 1, "the first to be idle")
            return b"-WRONGPASS gone\r\n"
        return usual(connection, words)

    class Watched(ScriptedRedis):
        def _serve(self, connection):
            super()._serve(connection)
            ended.append(connection.number)

    ended = []
    upstream = t.own(Watched(answer))
    kaproxy = start(t, upstream, pool={"max_per_host": 2, "keep_alive": 300})
    slow, one = client(kaproxy), client(kaproxy)
    for each in slow, one:
        t.equal(each.ask("AUTH", "alice", "pass"), b"OK", "login")
    slow.send("GET slow")
    wait_until(lambda: "GET slow" in upstream.words(), "the first connection to be busy")
    one.send("GET a", "SET b 1")
    wait_until(lambda: upstream.words("AUTH").count("AUTH alice pass") == 3, "our login")
    go.set()
    t.equal(one.reply(), b"WRONGPASS gone", "the first reply")
    t.equal(one.reply(), b"WRONGPASS gone", "the second")
    t.equal(upstream.words("SET"), [], "writes that arrived")
    t.equal(slow.reply(), b"slow at 1", "the other's")
    wait_until(lambda: kaproxy.counters()["discard_login_refused"] == 1,
               "the idle connection of alice's to go")
    wait_until(lambda: ended == [1], "the idle connection with alice's login to be closed")
    t.equal(kaproxy.counters()["discard_login_refused"], 1, "connections discarded for that")


@test("a password that is revoked while connections are idle: WRONGPASS, and never data [R3]")
def revoked(t):
    redis = t.own(RedisServer(t, users=ALICE))
    redis.admin("SET", "secret", "data")
    kaproxy = start(t, redis, pool=ONE)
    one = client(kaproxy)
    t.equal(one.pipeline("AUTH alice rabbit", "GET secret"), [b"OK", b"data"], "before")
    redis.set_user("alice", "resetpass", ">other")
    redis.kill_clients()
    wait_until(lambda: kaproxy.counters()["idle"] == 0, "kaproxy to see the end")
    for reply in one.pipeline("GET secret", "GET secret"):
        t.check(isinstance(reply, Error) and reply.startswith(b"WRONGPASS"), f"{reply!r}")


@test("a password that is set later: new clients read nothing without it [R1]")
def set_later(t):
    for ways in (("CONFIG", "SET", "requirepass", "open"),
                 ("ACL", "SETUSER", "default", "resetpass", ">open"), ("ACL", "SETUSER", "default",
                                                                     "off")):
        redis = t.own(RedisServer(t))
        redis.admin("SET", "secret", "data")
        kaproxy = start(t, redis, pool={"max_per_host": 2})
        before = client(kaproxy)
        t.equal(before.ask("GET", "secret"), b"data", "before there is one")
        t.equal(redis.admin(*ways), b"OK", f"{ways}")
        for _ in range(3):
            reply = client(kaproxy).ask("GET", "secret")
            t.check(isinstance(reply, Error) and reply.startswith(b"NOAUTH"), f"{reply!r}")


@test("what follows AUTH or HELLO waits for the verdict; a refusal changes nothing [R2]")
def verdict(t):
    redis = t.own(RedisServer(t, users=ALICE))
    kaproxy = start(t, redis, pool={"max_per_host": 2})
    one = client(kaproxy)
    whoami = "ACL WHOAMI"
    replies = one.pipeline("AUTH bob wrong", whoami, "AUTH alice rabbit", whoami, "AUTH bob wrong",
                           whoami, "HELLO 3 AUTH bob wrong SETNAME bobs", whoami, "CLIENT GETNAME",
                           "AUTH bob builder", whoami)
    t.equal([r for r in replies if not isinstance(r, Error)],
            [b"default", b"OK", b"alice", b"alice", b"alice", None, b"OK", b"bob"], "replies")
    t.equal(sum(r.startswith(b"WRONGPASS") for r in replies if isinstance(r, Error)), 3, "refusals")


@test("nothing is sent after AUTH before its reply [R2]")
def awaited(t):
    upstream = t.own(ScriptedRedis(lambda c, words: (
        OK if c.is_silent(0.2) and not c.reader.buffer else b"-ERR too early\r\n")
        if words[0] in (b"AUTH", b"HELLO") else None))
    kaproxy = start(t, upstream)
    for command in "AUTH open", "AUTH alice pass":
        t.equal(client(kaproxy).pipeline(command, "GET k")[0], b"OK", command)


@test("a refused HELLO: that connection is discarded [R2]")
def refused_hello(t):
    redis = t.own(RedisServer(t, users=ALICE))
    kaproxy = start(t, redis, pool=ONE)
    one = client(kaproxy)
    t.equal(one.ask("HELLO", 9).startswith(b"NOPROTO"), True, "HELLO 9")
    t.equal(one.ask("GET", "a"), None, "the same client's next reply")
    t.equal(one.ask("HELLO 3 AUTH alice rabbit SETNAME x BADOPTION")[:3], b"ERR", "a bad option")
    wait_until(lambda: not redis.clients(), "the connection to be closed")
    t.equal(one.pipeline("ACL WHOAMI", "CLIENT GETNAME"), [b"default", None], "its user")


@test("RESP3 is an identity: clients of both versions get their own [R1, R2]")
def versions(t):
    redis = t.own(RedisServer(t, users=ALICE))
    redis.admin("HSET", "h", "a", "1")
    kaproxy = start(t, redis, pool={"max_per_host": 2})
    three, two = client(kaproxy), client(kaproxy)
    t.check(isinstance(three.ask("HELLO 3 AUTH alice rabbit"), Map), "no map")
    for _ in range(5):
        t.check(isinstance(three.ask("HGETALL h"), Map), "RESP2 for a client of RESP3")
        t.check(not isinstance(two.ask("HGETALL h"), Map), "RESP3 for a client of RESP2")
        redis.kill_clients()
    t.check(not isinstance(three.ask("HELLO 2"), Map), "the way back")
    t.equal(three.pipeline("HGETALL h", "ACL WHOAMI"), [[b"a", b"1"], b"alice"], "still alice")


@test("database and name are the session's, on whatever connection [R4]")
def soft_state(t):
    redis = t.own(RedisServer(t, users=ALICE))
    for database in range(4):
        redis.admin("SELECT", database)
        redis.admin("SET", "place", f"database {database}")
    kaproxy = start(t, redis, pool=ONE)
    people = [client(kaproxy) for _ in range(4)]
    for database, one in enumerate(people):
        if database:
            t.equal(one.pipeline(("SELECT", database), ("CLIENT", "SETNAME", f"name-{database}")),
                    [b"OK", b"OK"], "SELECT and SETNAME")
    for _ in range(3):
        for database, one in enumerate(people):
            got = one.pipeline("GET place", "CLIENT GETNAME")
            name = b"name-%d" % database if database else None
            t.equal(got, [b"database %d" % database, name], "database and name")
        redis.kill_clients()
    t.check(isinstance(people[1].ask("SELECT", 99), Error), "a refused SELECT")
    t.equal(people[1].ask("GET", "place"), b"database 1", "the database after that")


@test("SELECT forbidden for a user: its error, and only its own database [R4]")
def forbidden(t):
    redis = t.own(RedisServer(t, users=ALICE))
    redis.admin("SET", "place", "database 0")
    kaproxy = start(t, redis, pool=ONE)
    alice, bob = client(kaproxy), client(kaproxy)
    for _ in range(3):
        t.equal(alice.pipeline("AUTH alice rabbit", "SELECT 1", "SET place wrong")[2], b"OK", "SET")
        replies = bob.pipeline("AUTH bob builder", "SELECT 1", "GET place")
        t.check(replies[1].startswith(b"NOPERM") and replies[2] == b"database 0", f"{replies}")


@test("a refused SETINFO of ours is ignored [R4]")
def set_info(t):
    def answer(connection, words):
        known = connection.number == 1 or words[:2] != [b"CLIENT", b"SETINFO"]
        return usual(connection, words) if known else b"-ERR unknown subcommand\r\n"

    upstream = t.own(ScriptedRedis(answer))
    kaproxy = start(t, upstream)
    one = client(kaproxy)
    t.equal(one.pipeline("CLIENT SETINFO LIB-NAME x", "GET k"), [b"OK", b"k at 1"], "replies")
    upstream.connections[0].socket.shutdown(2)
    wait_until(lambda: kaproxy.counters()["idle"] == 0, "kaproxy to see the end")
    t.equal(one.ask("GET", "k"), b"k at 2", "on the next connection")


@test("RESET: no login again, database 0, no name, no transaction, RESP2 [R7]")
def reset(t):
    redis = t.own(RedisServer(t, users=ALICE))
    redis.admin("HSET", "h", "a", "1")
    kaproxy = start(t, redis, pool=ONE)
    one = client(kaproxy)
    t.equal(one.pipeline("AUTH alice rabbit", "HELLO 3 SETNAME hers", "SELECT 2", "SET here 2",
                         "MULTI", "SET lost 1")[-2:], [b"OK", b"QUEUED"], "a transaction")
    t.equal(one.pipeline("RESET", "ACL WHOAMI", "CLIENT GETNAME", "GET here", "GET lost", "HGETALL h"),
            [b"RESET", b"default", None, None, None, [b"a", b"1"]], "replies")
    t.equal(kaproxy.counters()["held"], 0, "held connections")


@test("a server that does not know RESET: a new connection instead [R1]")
def without_reset(t):
    upstream = t.own(ScriptedRedis(
        lambda _, words: b"-ERR unknown command 'RESET'\r\n" if words[0] == b"RESET" else None))
    kaproxy = start(t, upstream, pool=ONE)
    for number in range(4):
        one = client(kaproxy)
        name = "alice" if number % 2 else "bob"
        got = one.pipeline(("AUTH", name, "pass"), "GET k")
        t.check(got[0] == b"OK" and got[1].startswith(b"k at "), f"{got}")
        connection = int(got[1].split()[-1])
        logins = {b" ".join(w) for n, w in upstream.commands if n == connection and w[0] == b"AUTH"}
        t.equal(logins, {b"AUTH %s pass" % name.encode()}, "logins on that connection")
        one.end()


@test("commands=, leases=, prepared= and the kinds of leases in the access log [F8]")
def access_log(t):
    upstream = t.own(ScriptedRedis())
    kaproxy = start(t, upstream, pool=ONE)
    first = client(kaproxy)
    for command in "AUTH alice pass", "SELECT 1", "GET a":
        first.ask(command)
    t.equal(first.pipeline("GET a", "GET b")[1], b"b at 1", "a reply")
    first.end()
    line = kaproxy.wait_session(first)
    t.equal([int(line[key]) for key in ("commands", "leases", "none", "immediate", "deferred",
                                        "prepared")], [5, 4, 1, 3, 0, 0], "the first client's")
    second = client(kaproxy)
    second.ask("AUTH", "bob", "pass")
    second.ask("GET", "a")
    second.end()
    line = kaproxy.wait_session(second)
    t.equal([int(line[key]) for key in ("commands", "leases", "none")], [2, 2, 0], "the second's")
    t.at_least(int(line["prepared"]), 1, "leases that were prepared")


@test("a name that is refused on another connection is forgotten: commands are served [R4]")
def refused_name(t):
    def answer(connection, words):
        if words[:2] == [b"CLIENT", b"SETNAME"] and connection.number > 1:
            return b"-NOPERM no\r\n"
        return None

    upstream = t.own(ScriptedRedis(answer))
    kaproxy = start(t, upstream, pool=ONE)
    one = client(kaproxy)
    t.equal(one.ask("CLIENT SETNAME hers"), b"OK", "a name")
    upstream.connections[0].socket.shutdown(2)
    wait_until(lambda: kaproxy.counters()["idle"] == 0, "the connection to be gone")
    for _ in range(2):
        t.equal(one.ask("GET", "k"), b"k at 2", "the reply")
    t.equal(upstream.words("CLIENT"), ["CLIENT SETNAME hers"] * 2, "how often it was asked for")


@test("HELLO of more words than are checked: its connection is its client's alone [R2, R6]")
def long_hello(t):
    redis = t.own(RedisServer(t, users=ALICE))
    kaproxy = start(t, redis, pool=ONE)
    one, other = client(kaproxy), client(kaproxy)
    other.ask("HELLO 3")
    redis.kill_clients()
    wait_until(lambda: kaproxy.counters()["idle"] == 0, "a new connection to be needed")
    words = ["HELLO", 3, "AUTH", "alice", "rabbit"] + ["SETNAME", "x"] * 6
    t.check(not isinstance(one.ask(*words), Error), "it is refused")
    t.equal(one.ask("ACL WHOAMI"), b"alice", "that client's user")
    t.equal(other.ask("ACL WHOAMI"), b"default", "another one's user")


@test("RESET inside WATCH: the server is asked again what its client may do [R1, R7]")
def reset_inside(t):
    redis = t.own(RedisServer(t))
    redis.admin("SET", "secret", "data")
    kaproxy = start(t, redis)
    early, late = client(kaproxy), client(kaproxy)
    t.equal(early.ask("WATCH k"), b"OK", "a connection")
    t.equal(late.pipeline("WATCH k", "RESET"), [b"OK", b"RESET"], "another one")
    t.equal(early.ask("UNWATCH"), b"OK", "the first one is idle")
    redis.admin("ACL", "SETUSER", "default", "resetpass", ">rabbit")
    t.check(isinstance(late.ask("GET secret"), Error), "what it brought")


@test("a login together with what makes a tunnel: the database is restored all the same [F3, R6]")
def tunnel_with_login(t):
    redis = t.own(RedisServer(t, users=ALICE))
    kaproxy = start(t, redis)
    one = client(kaproxy)
    t.equal(one.pipeline("AUTH alice rabbit", "SELECT 1", "SET here 1"), [b"OK"] * 3, "before")
    one.ask("HELLO", 3, "AUTH", "alice", "rabbit", "SETNAME", "n" * 1100)
    t.equal(one.ask("GET here"), b"1", "the value in its database")


@test("the server obeys what it should have refused: its connection and its client are closed [R4]")
def obeyed(t):
    for command in "SELECT 01", "SELECT +1", "AUTH a b c", "CLIENT SETNAME", "HELLO 03":
        upstream = t.own(ScriptedRedis(lambda _, words: b"*0\r\n" if words[0] == b"HELLO" else None))
        kaproxy = start(t, upstream, pool=ONE)
        one = client(kaproxy)
        one.send(command)
        t.equal(len(one.read_end()), 1, f"replies to {command}")
        t.equal(client(kaproxy).ask("GET", "k"), b"k at 2", "the next client's")


def stack_pointers(pid):
    """Those of its threads, all of which sleep."""
    calls = [(task / "syscall").read_text().split()
             for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    return None if ["running"] in calls else [int(call[-2], 16) for call in calls]


def memory_of(pid):
    """Its writable memory, except stacks, where the dynamic linker saves registers."""
    stacks = wait_until(lambda: stack_pointers(pid), "its threads to sleep")
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for first, last in re.findall(r"^(\w+)-(\w+) rw", maps.read(), flags=re.M):
            first, last = int(first, 16), int(last, 16)
            if not any(first <= stack < last for stack in stacks):
                memory.seek(first)
                yield memory.read(last - first)


@test("passwords are with the sessions that sent them, and nowhere else in memory [R1]")
def wiped(t):
    need_plain_build()
    secret = "Xq7secretZ9xW"
    redis = t.own(RedisServer(t, users={"alice": (secret, "~* &* +@all")}))
    kaproxy = start(t, redis, pool=ONE)
    for login in f"AUTH alice {secret}", f"HELLO 3 AUTH alice {secret}":
        one, other = client(kaproxy), client(kaproxy)
        t.check(not isinstance(one.ask(login), Error), "the login is refused")
        other.ask("GET k")
        one.ask("GET k")  # a login of ours
        for each in one, other:
            each.end()
    wait_until(lambda: len(kaproxy.sessions()) == 4, "the sessions to end")
    client(kaproxy).ask("PING")
    try:
        found = sum(part.count(secret.encode()) for part in memory_of(kaproxy.pid))
    except OSError as why:
        raise Skip(f"its memory cannot be read: {why}") from None
    t.equal(found, 0, "places that have it")


@test("a user that may no longer SELECT: sessions in database 0 get a new connection [R1, R4]")
def select_forbidden(t):
    redis = t.own(RedisServer(t, users=ALICE))
    kaproxy = start(t, redis, pool=ONE)
    one, other = client(kaproxy), client(kaproxy)
    t.equal(one.pipeline("AUTH alice rabbit", "SELECT 5"), [b"OK", b"OK"], "a connection in 5")
    redis.admin("ACL", "SETUSER", "alice", "-select")
    t.equal(other.pipeline("AUTH alice rabbit", "SET k v", "GET k"), [b"OK", b"OK", b"v"], "replies")
    t.check(isinstance(one.ask("GET k"), Error), "no error in the forbidden database")
    kaproxy.wait_log("function=prepare errno=13")
    redis.admin("SELECT", 0)
    t.equal(redis.admin("GET", "k"), b"v", "where it is")


main()
