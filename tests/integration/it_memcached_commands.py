#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: what the parser accepts as a complete command, a real memcached accepts as
well, so that no value is ever run as commands (FRAMED M5); and the replies are framed as the parser
says."""

import base64
import os
import random
import struct
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.channel import connect
from kaptest.peers import Memcached
from kaptest.tap import LONG, spawn

READER = os.environ.get("builddir", ".") + "/tests/support/read_memcached"
COUNT = 20000 if LONG else 3000
OPENS, QUIT = 2, 4

# A line that the parser rejects has a reply that no other line has.
BARRIER = b"touch ~ x\r\n"
BARRIER_ANSWER = b"CLIENT_ERROR invalid exptime argument\r\n"

KEYS = [b"a", b"b", b"n", b"k" * 250, b"k" * 251, b"\x80\xff", b"x\ty", b"x\0y", b"noreply",
        b"YQ==", b"bg==", b"YQo=", b"0"]
NUMBERS = [b"0", b"1", b"2", b"10", b"-1", b"+1", b"02", b"4294967295", b"4294967296",
           b"2147483647", b"2147483648", b"-2147483648", b"18446744073709551615",
           b"18446744073709551616", b"00000000001", b"x", b"1.5", b"", b"noreply"]
LENGTHS = [b"%d" % length for length in range(24)] + [
    b"-1", b"+2", b"02", b"2147483646", b"4294967298", b"1200000", b"x", b"noreply"]
FLAGS = [b"v", b"k", b"q", b"b", b"s", b"t", b"c", b"f", b"h", b"l", b"u", b"I", b"P", b"L",
         b"O1", b"O" + b"1" * 31, b"O" + b"1" * 32, b"N30", b"R30", b"T30", b"T-1", b"Tx", b"T",
         b"F1", b"F4294967296", b"C1", b"C18446744073709551616", b"D2", b"Dx", b"J5", b"MS", b"MI",
         b"M", b"MSS", b"E5", b"x", b"Z", b"5", b"\xff", b"qq"]
LINES = [b"version", b"stats", b"stats settings", b"stats items", b"stats slabs", b"stats sizes",
         b"stats conns", b"stats detail on", b"stats detail off", b"stats reset",
         b"stats sizes_enable", b"stats sizes_disable", b"stats detail dump", b"stats foo",
         b"slabs reassign 1 2", b"slabs automove 0", b"slabs automove ratio 0.8", b"lru mode flat",
         b"lru mode segmented", b"lru tune 10 25 0.1 2.0", b"lru temp_ttl -1",
         b"lru_crawler crawl all", b"lru_crawler tocrawl 0", b"lru_crawler sleep 100",
         b"cache_memlimit 64", b"verbosity 0", b"verbosity 0 noreply", b"flush_all noreply",
         b"flush_all -1", b"flush_all", b"mn", b"extstore item_size 512", b"refresh_certs"]

# What this version may lack, or an item may not be: not a reply to how the line is formed.
KNOWN_ERRORS = (b"CLIENT_ERROR invalid flag\r\n",
                b"CLIENT_ERROR invalid or duplicate flag\r\n",
                b"CLIENT_ERROR invalid mode for ms M token\r\n",
                b"CLIENT_ERROR invalid mode for ma M token\r\n",
                b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
                b"SERVER_ERROR object too large for cache\r\n")
LACKING = (b"lru", b"extstore", b"stats", b"refresh_certs", b"slabs")


def seed():
    number = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
    print(f"# SEED={number}")
    return number


class Reader:
    """The program's parser."""

    def __init__(self, t):
        self.process = spawn([READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        t.callback(self.close)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, *words):
        self.process.stdin.write(" ".join(words).encode() + b"\n")
        self.process.stdin.flush()
        return list(map(int, self.process.stdout.readline().split()))

    def command(self, kind, data):
        return self.ask("command", kind, data.hex())

    def reply(self, kind, command, data):
        return self.ask("reply", kind, command.hex(), data.hex())


def words(choice):
    """The words of a command's line, some of them wrong."""
    kind = choice.random()
    key = choice.choice(KEYS[:4] * 6 + KEYS)
    length = choice.choice(LENGTHS[:24] * 3 + LENGTHS)

    def number():
        return choice.choice(NUMBERS[:4] * 12 + NUMBERS)
    noreply = [b"noreply"] if choice.random() < 0.3 else []
    count = choice.choice([0, 0, 1, 1, 1, 2, 2, 3, 5, 16, 17, 18, 20])
    flags = [choice.choice(FLAGS) for _ in range(count)]
    if choice.random() < 0.3:
        flags = choice.sample(FLAGS[:14], min(count, 14)) + [b"O", b"N1", b"T1", b"R1"][:count - 14]
    if kind < 0.3:
        name = choice.choice([b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"cas"])
        tail = [number()] if name == b"cas" else []
        return [name, key, number(), number(), length, *tail, *noreply]
    if kind < 0.5:
        return [b"ms", key, length, *flags]
    if kind < 0.65:
        return [choice.choice([b"mg", b"mg", b"md", b"ma", b"me"]), key, *flags]
    if kind < 0.75:
        keys = [choice.choice(KEYS) for _ in range(choice.choice([0, 1, 2, 30]))]
        return choice.choice([[b"get"], [b"gets"], [b"gat", number()], [b"gats", number()]]) + keys
    if kind < 0.9:
        name = choice.choice([b"incr", b"decr", b"touch", b"delete", b"delete"])
        return [name, key, *([number()] if name != b"delete" or choice.random() < 0.3 else []),
                *noreply]
    return choice.choice(LINES).split()


def header(choice):
    """A line, as clients send it, or broken somewhere."""
    line = choice.choice([b" "] * 9 + [b"  "]).join(words(choice))
    for _ in range(choice.choice([0] * 6 + [1, 1, 2])):
        at = choice.randrange(len(line) + 1)
        cut = at + choice.choice([0, 0, 1, 2])
        line = line[:at] + choice.choice([b"", b" ", b"\t", b"\r", b"\0", b"1", b"-", b" x",
                                          b" noreply", b"k"]) + line[cut:]
    return line.replace(b"\n", b"") + choice.choice([b"\r\n"] * 6 + [b"\n", b" \r\n"])


def value(left):
    """What would be commands, if run; as long as it has to be, with its end."""
    return (b"mn\r\n" * (left // 4 + 1))[:left - 2] + b"\r\n" if left else b""


def until_barrier(client):
    answer = b""
    while not answer.endswith(BARRIER_ANSWER):
        answer += client.receive() or b"<end>"
        if answer.endswith(b"<end>"):
            return answer
    return answer[:-len(BARRIER_ANSWER)]


def complaint(reader, line, verdict, answer):
    """What is wrong with the server's reply to a command that was accepted; None: nothing."""
    _, _, left, _, _, quiet = verdict
    if answer.endswith(b"<end>"):
        return "the connection ended"
    if left and b"MN\r\n" in answer:
        return "the value was run"
    if answer in KNOWN_ERRORS or (answer.startswith(b"ERROR") and line.split()[0] in LACKING):
        return None
    if answer.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")):
        return "the header was refused"
    if quiet and not answer:
        return None
    result = reader.reply("text", line, answer)
    if result[:2] != [1, len(answer)]:
        return f"the reply is read as {result}"
    return None


@test("M1, M5: text commands accepted here are accepted by the server, with replies framed alike")
def text(t):
    peer, reader, choice = t.own(Memcached(t)), Reader(t), random.Random(seed())
    client = t.own(connect(peer.address))
    taken, refused, wrong = 0, 0, []
    for _ in range(COUNT):
        line = header(choice)
        verdict = reader.command("text", line)
        if verdict[0] != 1:
            refused += 1
            continue
        if verdict[4] & (OPENS | QUIT) or verdict[2] > 3000000 or line.startswith(b"verbosity"):
            continue
        taken += 1
        client.send(line + value(verdict[2]) + BARRIER)
        answer = until_barrier(client)
        why = complaint(reader, line, verdict, answer)
        if why:
            wrong.append(f"{line!r}: {why}: {answer[:200]!r}")
        if answer.endswith(b"<end>"):
            client = t.own(connect(peer.address))
    t.equal(wrong, [], "commands that are read differently")
    t.at_least(taken, COUNT // 5, "commands that were sent")
    t.at_least(refused, COUNT // 5, "commands that were rejected")


@test("M5: commands that the server rejects, or does not read as a single one, are rejected")
def refusals(t):
    peer, reader = t.own(Memcached(t)), Reader(t)
    lines = [b"cas a 0 0 2 noreply\r\n", b"set a\0b 0 0 2\r\n",
             b"set " + b"k" * 251 + b" 0 0 2\r\n",
             b"set a -1 0 2\r\n", b"set a 0 9223372036854775808 2\r\n", b"set a 0 0 -2\r\n",
             b"set a b 0 0 2\r\n", b"set a 0 0\r\n", b"set a 0 0 2147483646\r\n", b"ms a S2\r\n",
             b"ms a 2 N1 T1 R1 k s t c f l h v u O P L I q\r\n", b"ms " + b"k" * 251 + b" 2\r\n",
             b"SET a 0 0 2\r\n", b"set\ta 0 0 2\r\n"]
    for line in lines:
        client = t.own(connect(peer.address))
        client.send(line + b"mn\r\n" + BARRIER)
        t.check(b"MN\r\n" in until_barrier(client), f"the server runs the value after {line!r}")
        t.equal(reader.command("text", line)[0], 2, f"verdict on {line!r}")


@test("M2: no reply can be made to look like the reply to a barrier")
def forged(t):
    peer, reader = t.own(Memcached(t)), Reader(t)
    key = b"a\r\nMN\r\nEND"
    encoded = base64.b64encode(key)
    client = t.own(connect(peer.address))
    client.send(b"stats detail on\r\n")
    t.equal(client.read_line(), b"OK\r", "details of keys")
    storing = t.own(connect(peer.address))
    for stored in key, key + b":":
        storing.send(packet(0x01, key=stored, extras=bytes(8), body=b"v"))
        storing.read(24)
    for line in b"mg " + encoded + b" b k q\r\n", b"me " + encoded + b" b\r\n":
        client.send(line + BARRIER)
        t.check(b"\r\nMN\r\n" in until_barrier(client), f"the server shows the key for {line!r}")
        t.equal(reader.command("text", line)[0], 2, f"verdict on {line!r}")
    client.send(b"stats detail dump\r\n" + BARRIER)
    t.check(b"\r\nEND " in until_barrier(client), "the server shows the key in its dump")
    for line in b"stats detail dump\r\n", b"stats cachedump 1 0\r\n":
        t.equal(reader.command("text", line)[4], OPENS, f"traits of {line!r}")


def packet(opcode, *, key=b"", extras=b"", body=b"", opaque=7, **odd):
    whole = extras + key + body
    return struct.pack(">BBHBBHIIQ", odd.get("magic", 0x80), opcode,
                       odd.get("key_length", len(key)), len(extras), odd.get("data_type", 0), 0,
                       odd.get("body_length", len(whole)), opaque, 0) + whole


def read_packets(client):
    """Everything up to the NOOP's. None: the connection ended."""
    found = b""
    while True:
        head = b""
        while len(head) < 24:
            more = client.receive(24 - len(head))
            if not more:
                return None
            head += more
        opaque = struct.unpack(">I", head[12:16])[0]
        if opaque == 0x11111111:
            return found
        found += head + client.read(struct.unpack(">I", head[8:12])[0])


def random_packet(choice):
    opcode = choice.choice(list(range(0x26)) + [0x50, 0xff])
    right = {0x01: 8, 0x02: 8, 0x03: 8, 0x11: 8, 0x12: 8, 0x13: 8, 0x05: 20, 0x06: 20, 0x15: 20,
             0x16: 20, 0x08: 4, 0x18: 4, 0x1c: 4, 0x1d: 4, 0x1e: 4, 0x23: 4, 0x24: 4}
    extras = bytes(choice.choice([right.get(opcode, 0)] * 8 + [0, 4, 8]))
    keys = [b"settings", b"items", b"reset", b"sizes", b"sizes_enable", b"sizes_disable", b"foo",
            b"detail on", b"detail off", b""] if opcode == 0x10 else [
                b"a", b"n", b"k" * 250, b"k" * 251, b"a b\r\n"]
    key = choice.choice(keys * 4 + [b"", b"a"]) if opcode not in (
        0x07, 0x17, 0x08, 0x18, 0x0a, 0x0b) else choice.choice([b""] * 5 + [b"a"])
    stores = opcode in (0x01, 0x02, 0x03, 0x11, 0x12, 0x13, 0x0e, 0x0f, 0x19, 0x1a)
    body = packet(0x0a, opaque=9)[:choice.randrange(25)] if stores else choice.choice(
        [b""] * 9 + [b"v"])
    odd = {}
    if choice.random() < 0.05:
        odd = choice.choice([{"data_type": 1}, {"magic": 0x81}, {"key_length": len(key) + 1},
                             {"body_length": max(0, len(key) - 1)}])
    return packet(opcode, key=key, extras=extras, body=body, opaque=choice.choice([0, 7, 1 << 31]),
                  **odd)


@test("M1, M5: binary commands accepted here are accepted by the server, with replies framed alike")
def binary(t):
    peer, reader, choice = t.own(Memcached(t)), Reader(t), random.Random(seed())
    client = t.own(connect(peer.address))
    taken, refused, wrong = 0, 0, []
    for _ in range(COUNT):
        command = random_packet(choice)
        verdict = reader.command("binary", command)
        if verdict[0] != 1:
            refused += 1
            continue
        if verdict[4] & (OPENS | QUIT):
            continue
        taken += 1
        command = command[:verdict[1] + verdict[2]]  # its length may have been reduced
        client.send(command + packet(0x0a, opaque=0x11111111))
        answer = read_packets(client)
        if answer is None:
            wrong.append(f"{command!r}: the connection ended")
            client = t.own(connect(peer.address))
        elif answer or not verdict[5]:
            result = reader.reply("binary", command, answer)
            if result[:2] != [1, len(answer)] or not result[3]:
                wrong.append(f"{command!r}: the reply is read as {result}: {answer[:100]!r}")
    t.equal(wrong, [], "commands that are read differently")
    t.at_least(taken, COUNT // 5, "commands that were sent")
    t.at_least(refused, COUNT // 20, "commands that were rejected")


main()
