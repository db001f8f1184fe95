#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: no Redis command reaches an upstream twice unless it is an unanswered read,
and failures are reported in the protocol, to each command, without ending its client."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ReservedPort, main, test, wait_until
from kaptest.redis_peers import client, start
from kaptest.resp import Error, ScriptedRedis

REFUSED = b"ERR kaproxy: connect: Connection refused"


class Fragile(ScriptedRedis):
    """Its first connection serves one client, and ends at a command of which `end` is true, after
    the bytes `before`; what follows the first command waits for that without a reply, unless
    `prompt` is set."""

    def __init__(self, end, before=b"", prompt=False):
        super().__init__(self.fail)
        self.end, self.before, self.prompt = end, before, prompt

    def fail(self, connection, words):
        if connection.number > 1 or words == [b"GET", b"first"]:
            return None
        if self.end(words):
            if self.before:
                connection.send(self.before)
            connection.socket.close()
            raise OSError
        return None if self.prompt else b""


def on_reused(t, upstream, *commands):
    """A client whose connection has served it already sends these: it, and kaproxy."""
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    one = client(kaproxy)
    t.equal(one.ask("GET", "first"), b"first at 1", "on a new connection")
    one.send(*commands)
    return one, kaproxy


@test("a read on a reused connection that died: retried, once, and the client does not notice [F4]")
def read_again(t):
    for commands in (["GET k"], ["GET k", "MGET a b", "HGETALL h", "EXISTS e", "TTL k"]):
        upstream = t.own(Fragile(lambda words, last=commands[-1]: words == last.encode().split()))
        one, _ = on_reused(t, upstream, *commands)
        t.equal(one.reply(), b"k at 2", "the reply")
        for _ in commands[1:]:
            t.equal(one.reply(), b"OK", "a further reply")
        t.equal(upstream.words("GET").count("GET k"), 2, "how often it was sent")
        t.equal(upstream.accepted, 2, "connections")


@test("retried no more than once [F4]")
def once(t):
    upstream = t.own(ScriptedRedis())

    def fail(connection, words):
        if words == [b"GET", b"k"]:
            connection.socket.close()
            raise OSError
        return None

    upstream.answer = fail
    one, _ = on_reused(t, upstream, "GET k")
    t.check(isinstance(one.reply(), Error), "no error")
    t.equal(upstream.words().count("GET k"), 2, "how often it was sent")


@test("whatever writes, blocks or is a script is never retried: an error [F4]")
def never(t):
    for commands in (["SET k v"], ["GET a", "SET k v"], ["SET k v", "GET a"], ["INCR k"],
                     ["GETDEL k"], ["EVAL x 0"], ["EVAL_RO x 0"], ["EVALSHA x 0"], ["FCALL f 0"],
                     ["BLPOP k 0"], ["PUBLISH c m"], ["GETEX k PERSIST"],
                     ["XREADGROUP GROUP g c STREAMS k >"], ["SORT k STORE d"]):
        upstream = t.own(Fragile(lambda words, last=commands[-1]: words == last.encode().split()))
        one, _ = on_reused(t, upstream, *commands)
        for command in commands:
            reply = one.reply()
            answered = command != commands[-1] and isinstance(reply, bytes)
            t.check(answered or isinstance(reply, Error), f"{command}: {reply!r}")
        t.equal(upstream.words().count(commands[-1]), 1, f"how often {commands[-1]} was sent")
        t.equal(one.ask("GET", "after"), b"after at 2", "the same client's next reply")


@test("nothing is retried once a byte of a reply has arrived: an error, or truncated [F4]")
def begun(t):
    for before, cut in (b"", False), (b"$", False), (b"$6\r\nl at", True):
        upstream = t.own(Fragile(lambda words: words == [b"GET", b"l"], before, prompt=True))
        one, _ = on_reused(t, upstream, "GET k", "GET l")
        t.equal(one.reply(), b"k at 1", "the first reply")
        if cut:
            t.equal(one.read_end(), [], "values after it")
        else:
            t.check(isinstance(one.reply(), Error), "no error")
            t.equal(one.ask("GET", "m"), b"m at 2", "the next reply")
        t.equal(upstream.words().count("GET l"), 1, "how often it was sent")


@test("on a connection that was new nothing is retried [F4]")
def new(t):
    upstream = t.own(Fragile(lambda words: words == [b"GET", b"k"]))
    kaproxy = start(t, upstream)
    one = client(kaproxy)
    t.check(isinstance(one.ask("GET", "k"), Error), "an error")
    t.equal(upstream.words("GET"), ["GET k"], "commands that arrived")
    t.equal(one.ask("GET", "k"), b"k at 2", "the next reply")


@test("a reply that is truncated ends its client [F4]")
def cut(t):
    upstream = t.own(Fragile(lambda words: words == [b"GET", b"k"], b"$100\r\nhalf"))
    kaproxy = start(t, upstream)
    channel = kaproxy.connect()
    channel.send(b"GET k\r\n")
    got, _ = channel.read_end()
    t.check(b"\r\n-" not in got and got in (b"", b"$100\r\nhalf"), f"{got}")


@test("no server: an error for each command, and the client stays [F5]")
def nobody(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, f"redis://127.0.0.1:{port.port}")
    one = client(kaproxy)
    for _ in range(3):
        t.equal(one.pipeline("GET a", "SET a 1", "LPUSH l 1"), [REFUSED] * 3, "replies")
    t.equal(one.ask("PING"), REFUSED, "PING")
    listener = t.own(ScriptedRedis(listener=port.socket))
    t.equal(one.ask("GET", "a"), b"a at 1", "once there is a server")
    t.equal(listener.words("GET"), ["GET a"], "commands that arrived")


@test("after a local error to what a later command depends on, the client is closed [F5]")
def dependent(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, f"redis://127.0.0.1:{port.port}")
    for command in ("MULTI", "WATCH k", "SELECT 1", "AUTH open", "AUTH alice rabbit", "HELLO 3",
                    "HELLO 3 AUTH alice rabbit"):
        one = client(kaproxy)
        one.send(command)
        t.equal(one.read_end(), [REFUSED], f"replies to {command}")


@test("an unsolicited refusal by the server: for each command an error that says why [F5]")
def unasked(t):
    def refuse(connection):
        connection.send(b"-ERR max number of clients reached\r\n")

    upstream = t.upstream(refuse)
    kaproxy = start(t, f"redis://127.0.0.1:{upstream.port}")
    one = client(kaproxy)
    for _ in range(2):
        for reply in one.pipeline("GET a", "SET a 1"):
            t.check(isinstance(reply, Error) and b"max number of clients" in reply, f"{reply!r}")


@test("the queue's limit and time: an error in the protocol [F5]")
def no_connection(t):
    upstream = t.own(ScriptedRedis(lambda _, words: b"" if words[-1] == b"never" else None))
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "max_waiting": 1, "timeout": "300ms"})
    busy = client(kaproxy)
    busy.send("GET never")
    wait_until(lambda: "GET never" in upstream.words(), "the connection to be busy")
    first, second = client(kaproxy), client(kaproxy)
    first.send("GET a")
    wait_until(lambda: kaproxy.counters()["waiting"] == 1, "a client in the queue")
    reply = second.ask("GET", "a")
    t.check(isinstance(reply, Error) and reply.startswith(b"ERR kaproxy: "), f"{reply!r}")
    reply = first.reply()
    t.check(isinstance(reply, Error) and reply.startswith(b"ERR kaproxy: "), f"{reply!r}")
    busy.channel.reset()


@test("a connection lost inside a transaction: the client is closed, nothing runs outside it [F5, R5]")
def lost_inside(t):
    for command in "MULTI", "WATCH k":
        upstream = t.own(ScriptedRedis())
        kaproxy = start(t, upstream)
        one = client(kaproxy)
        t.equal(one.ask(command), b"OK", command)
        upstream.connections[0].socket.shutdown(2)
        try:
            one.send("SET k v", "EXEC")
        except OSError:
            pass
        t.check(all(isinstance(value, Error) for value in one.read_end()), "a reply")
        t.equal(upstream.words("SET"), [], "commands that ran outside")


@test("a streamed value that got an error: its rest is dropped, whatever its end is [F5, F7]")
def wrong_end(t):
    port = t.own(ReservedPort())
    for scheme, head in (("redis", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n"),
                         ("memcached", b"set k 0 0 100000\r\n")):
        kaproxy = start(t, f"{scheme}://127.0.0.1:{port.port}")
        for end in b"\r\n", b"xx":
            one = kaproxy.connect()
            one.send(head + b"z" * 80000)
            t.check(b"kaproxy: connect: " in one.receive(), "no error")
            one.send(b"z" * 20000 + end)
            if end == b"xx":
                t.equal(one.read_end()[0], b"", "what follows a wrong end")
                t.check(kaproxy.is_running(), "it continues")
            else:
                one.send(b"PING\r\n" if scheme == "redis" else b"get a\r\n")
                t.check(b"kaproxy: connect: " in one.receive(), "no error for the next command")


main()
