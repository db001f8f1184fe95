#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the table of Redis' commands agrees with the server's own, and commands are read
as the server reads them (FRAMED R6, F4, F7)."""

import os
import random
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, main, test
from kaptest.channel import connect
from kaptest.peers import Redis

RESP_TOOL = os.environ.get("RESP_TOOL", "tests/support/resp_tool")
LINES = 500 if SLOW else 2000

# F4: a script, whatever its flags say, is not retried.
READING_SCRIPTS = {"eval_ro", "evalsha_ro", "fcall_ro"}

# No flag of COMMAND says so: they may write, or what they do is propagated to replicas.
WRITING = {"eval", "evalsha", "fcall", "exec", "publish", "spublish", "pfcount"}

# R6, as far as no flag says so. Of CLIENT's subcommands these are none:
TUNNELS = {"monitor", "sync", "psync", "replconf", "asking", "readonly", "readwrite", "script|debug",
           "debug", "shutdown"}
CLIENT_PLAIN = {"client|" + name for name in
                "getname list info kill pause unpause unblock help".split()}
CLIENT_STATE = {"client|setname", "client|setinfo"}

OWN = {"auth": "auth", "hello": "hello", "select": "select", "reset": "reset", "quit": "quit",
       "multi": "multi", "exec": "exec", "discard": "discard", "watch": "watch",
       "unwatch": "unwatch", "client|setname": "client_setname",
       "client|setinfo": "client_setinfo", "wait": "wait", "waitaof": "wait"}


def tool(what, data=b""):
    return subprocess.run([RESP_TOOL, what], input=data, stdout=subprocess.PIPE, check=True).stdout


def table():
    """{name: (effect, flags)}"""
    rows = [line.split("\t") for line in tool("commands").decode().splitlines()]
    return {name: (effect, flags) for name, effect, flags in rows}


class Wire:
    """A connection to the server, of RESP2."""

    def __init__(self, redis):
        self.socket = connect(redis.address).socket
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        """A reply; bytes for a string, str for a line, with "-" before an error."""
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b":":
            return int(rest)
        return ("-" if kind == b"-" else "") + rest.decode("latin-1")

    def ask(self, *words):
        self.send(b"*%d\r\n" % len(words) +
                  b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        return self.read()


def server_commands(wire):
    """{name: flags}, of subcommands as well."""
    found = {}

    def add(rows):
        for row in rows:
            found[row[0].decode()] = {flag.lstrip("+") for flag in row[2]}
            add(row[9] if len(row) > 9 else [])
    add(wire.ask(b"COMMAND"))
    return found


def open_wire(t):
    return t.own(Wire(t.own(Redis(t))))


@test("R6: each command of the server, and each subcommand, is in the table")
def known(t):
    wire, names = open_wire(t), table()
    commands = server_commands(wire)
    t.at_least(len(commands), 200, "commands of the server")
    t.equal(sorted(set(commands) - set(names)), [], "commands that are in no row")
    listed = wire.ask(b"COMMAND", b"LIST")
    if isinstance(listed, list):
        t.equal(sorted({name.decode() for name in listed} - set(names)), [],
                "commands of COMMAND LIST that are in no row")


@test("F4: what may be retried is what the server calls readonly, and no more")
def reads(t):
    rows = table()
    for name, flags in server_commands(open_wire(t)).items():
        read = "readonly" in flags and "blocking" not in flags and name not in READING_SCRIPTS
        t.equal("r" in rows[name][1], read, f"a read: {name} {sorted(flags)}")


@test("R9: what may write is what the server calls so, and scripts")
def writes(t):
    rows = table()
    for name, flags in server_commands(open_wire(t)).items():
        t.equal("w" in rows[name][1], "write" in flags or name in WRITING,
                f"a write: {name} {sorted(flags)}")


@test("R8: what blocks is what the server calls so")
def blocks(t):
    rows = table()
    for name, flags in server_commands(open_wire(t)).items():
        t.equal(rows[name][0] == "blocks", "blocking" in flags, f"blocks: {name} {sorted(flags)}")
    t.equal({name: row for name, row in rows.items() if name.endswith("=")},
            {"xread=": ("plain", "r"), "xreadgroup=": ("plain", "w")}, "rows without BLOCK")


def expected_effect(name, flags):
    if name in OWN:
        return OWN[name]
    if "blocking" in flags:
        return "blocks"
    subscribes = "pubsub" in flags and "publish" not in name and not name.startswith("pubsub|")
    client = name.startswith("client|") and name not in CLIENT_PLAIN
    return "tunnel" if subscribes or client or name in TUNNELS else "plain"


@test("R2 to R8: the effect of each command")
def effects(t):
    rows = table()
    for name, flags in server_commands(open_wire(t)).items():
        t.equal(rows[name][0], expected_effect(name, flags), f"effect of {name} {sorted(flags)}")
        t.equal("c" in rows[name][1], name == "client" or name.startswith("client|"),
                f"{name} is CLIENT's")
    t.equal((rows["post"][0], rows["host:"][0]), ("close", "close"), "a browser's request")


# Letters that mean something to the splitter, in proportion to what they lead to.
LETTERS = [b"a", b"b", b"\\", b"\\", b"\\x", b"\\x4", b"\\x41", b"\\n", b"\\'", b'\\"', b'"', b"'", b' "',
           b'" ', b" '", b"' ", b" ", b" ", b"\t", b"\v", b"\f", b"\r", b"\x01", b"\x7f", b"\x80", b"\xff",
           b"0", b"f", b"$", b"*", b"\xc3\xa4"]


def random_line(chance):
    return b"RPUSH l " + b"".join(chance.choice(LETTERS) for _ in range(chance.randrange(12)))


def split(lines):
    """What resp_inline_compose makes of each: the words, or the error."""
    output, found = tool("split", b"".join(lines)), []
    for _ in lines:
        length, _, output = output.partition(b"\n")
        if length == b"-1":
            error, _, output = output.partition(b"\n")
            found.append(error.decode())
            continue
        data, output = output[:int(length)], output[int(length) + 1:]
        count, _, data = data.partition(b"\r\n")
        words = []
        while data:
            size, _, data = data.partition(b"\r\n")
            words.append(data[:int(size[1:])])
            data = data[int(size[1:]) + 2:]
        if count != b"*%d" % len(words):
            raise ValueError(f"{count!r} announces {len(words)} words")
        found.append(words)
    return found


def server_split(redis, line):
    """The words as the server has them, or its error."""
    wire = Wire(redis)
    try:
        wire.send(line)
        reply = wire.read()
        if isinstance(reply, str) and "wrong number of arguments" in reply:
            return [b"RPUSH", b"l"]
        if isinstance(reply, str):
            return reply.removeprefix("-ERR ")
        words = wire.ask(b"LRANGE", b"l", b"0", b"-1")
        wire.ask(b"DEL", b"l")
        return [b"RPUSH", b"l"] + words
    finally:
        wire.close()


@test("F7: inline commands are split as the server splits them")
def inline(t):
    redis = t.own(Redis(t))
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    lines = [random_line(chance) + chance.choice([b"\n", b"\r\n"]) for _ in range(LINES)]
    words, errors = 0, 0
    for line, found in zip(lines, split(lines)):
        t.equal(found, server_split(redis, line), f"seed {seed}: words of {line!r}")
        words, errors = words + isinstance(found, list), errors + isinstance(found, str)
    t.at_least(min(words, errors), LINES // 10, f"seed {seed}: lines of each kind")


# The server waits for the line's end, and we do not.
MALFORMED = [b"*a\r\n", b"*01\r\n", b"*+1\r\n", b"* 1\r\n", b"*-\r\n", b"*-0\r\n", b"*1 \r\n", b"*\r\n",
             b"*99999999999\r\n", b"*1\r\n$a\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$01\r\n", b"*1\r\n$\r\n",
             b"*1\r\n$ 1\r\n", b"*1\r\n$536870913\r\n", b"*1\r\nPING\r\n", b"*1\r\n*1\r\n", b"*1\r\n\r\n",
             b"*1\r\n\n\r\n", b"*1\r\n\xff1\r\n"]


@test("F7: a malformed command gets the server's own error")
def malformed(t):
    redis = t.own(Redis(t))
    for data in MALFORMED:
        wire = Wire(redis)
        wire.send(data)
        verdict, error = tool("parse", data).decode("latin-1").split("\n")[:2]
        t.equal((verdict, "-ERR " + error), ("bad", wire.read()), f"the error for {data!r}")
        wire.close()


@test("F7: commands without a reply are those that the server does not reply to")
def dropped(t):
    redis = t.own(Redis(t))
    for data in b"*0\r\n", b"*-1\r\n", b"*-10\r\n", b"\r\n", b"\n", b" \t\r\n":
        wire = Wire(redis)
        wire.send(data)
        t.equal(wire.ask(b"ECHO", b"next"), b"next", f"the first reply after {data!r}")
        if data.startswith(b"*"):
            t.equal(tool("parse", data), b"done\n\n", f"the verdict on {data!r}")
        else:
            t.equal(tool("split", data), b"0\n\n", f"the result for {data!r}")
        wire.close()


main()
