# SPDX-License-Identifier: ISC
"""Clients of memcached that act at random, in its three protocols, and know each reply."""

import random
import re

from .channel import connect
from .memcached_peers import Answer, packet
from .model import SEED, Lost, Wrong
from .tap import Failure

CLIENTS = 32
KEYS = 6
KINDS = "text", "text", "meta", "binary"


class Ended(Exception):
    """The connection ended."""


class MemcachedUser:
    """One client of the model. Its own keys are of this session alone; it also reads those of
    others, and appends to a value of its own, in which nothing may be twice at the end."""

    def __init__(self, number, world, run):
        self.number, self.world, self.run_ = number, world, run
        self.random = random.Random(f"{SEED} {number}")
        self.generation = self.serial = 0
        self.channel = None
        self.log = []  # [token, whether it was acknowledged]
        self.last = "nothing"

    def __str__(self):
        return f"client {self.number}, last: {self.last}"

    def begin(self):
        self.end()
        self.channel = connect(self.world.kaproxy.address())
        self.kind = self.random.choice(KINDS)
        self.generation += 1
        self.values = {}
        self.buffer = b""

    def end(self):
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    # Bytes

    def receive(self):
        more = self.channel.receive(1 << 18)
        if not more:
            raise Ended
        self.buffer += more

    def read(self, size):
        while len(self.buffer) < size:
            self.receive()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def line(self):
        while b"\r\n" not in self.buffer:
            self.receive()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def send(self, data):
        if self.random.random() < 0.8:
            self.channel.send(data)
            return
        at = 0
        while at < len(data):
            step = self.random.choice([1, 5, 100, 20_000]) if at < 20 else len(data)
            self.channel.send(data[at:at + step])
            at += step

    # A batch: (bytes, function that reads the reply, and complains)

    def exchange(self, batch):
        self.last = repr(b" ".join(data[:60] for data, _ in batch)[:600])
        got = 0
        try:
            self.send(b"".join(data for data, _ in batch))
            for _, check in batch:
                check()
                got += 1
        except (OSError, Ended) as error:
            self.lost(f"{error!r} after {got} of {len(batch)} replies")

    def expect(self, what, got, right):
        if got != right and (not callable(right) or not right(got)):
            raise Wrong(f"{self.kind}, batch {self.last}: {what[:100]} gave {str(got)[:200]}"
                        + ("" if callable(right) else f", expected {str(right)[:200]}"))

    def lost(self, why):
        if self.world.calm:
            raise Wrong(f"{self.kind}, batch {self.last}: {why}, and nothing was disturbed")
        self.run_.count("lost")
        raise Lost

    def check_error(self, line):
        if line.startswith(b"SERVER_ERROR kaproxy"):
            self.lost(line)

    def text_line(self, what, right):
        def check():
            line = self.line()
            self.check_error(line)
            self.expect(what, line, right)
        return check

    # What a client does, in each protocol

    def key(self):
        return b"c%d:%d:%d" % (self.number, self.generation, self.random.randrange(KEYS))

    def value(self):
        self.serial += 1
        size = self.world.big if self.random.random() < 0.01 else self.random.randrange(60)
        filling = self.random.choice([b"x", b"\r\nmn\r\n", b"\r\nEND\r\n"])
        return b"%d/%d/" % (self.number, self.serial) + (filling * size)[:size]

    def set_(self, quiet=None):
        key, value = self.key(), self.value()
        quiet = self.random.random() < 0.3 if quiet is None else quiet
        if quiet and not self.world.calm:
            key = b"quiet:" + key  # it may be lost, without a report
        else:
            self.values[key] = value
        if self.kind == "binary":
            return self.binary("setq" if quiet else "set", key, value, quiet=quiet)
        if self.kind == "meta":
            return (b"ms %s %d%s\r\n%s\r\n" % (key, len(value), b" q" if quiet else b"", value),
                    (lambda: None) if quiet else self.text_line(b"ms", b"HD"))
        return (b"set %s 0 0 %d%s\r\n%s\r\n" % (key, len(value), b" noreply" if quiet else b"", value),
                (lambda: None) if quiet else self.text_line(b"set", b"STORED"))

    def get(self, key=None, right=None):
        if key is None:
            key = self.key()
            value = self.values.get(key)
            right = lambda got: got == value  # noqa: E731
        if self.kind == "binary":
            return self.binary("get", key, right=right)

        def check():
            line = self.line()
            self.check_error(line)
            if self.kind == "meta":
                value = None if line == b"EN" else self.read_block(line, rb"VA (\d+)$")
            else:
                value = None if line == b"END" else self.read_block(
                    line, rb"VALUE %s 0 (\d+)$" % re.escape(key))
                if value is not None:
                    self.expect(b"the end of get", self.line(), b"END")
            if not right(value):
                raise Wrong(f"{self.kind}, batch {self.last}: {key} is {str(value)[:200]}")
        return (b"mg %s v\r\n" if self.kind == "meta" else b"get %s\r\n") % key, check

    def read_block(self, line, pattern):
        match = re.match(pattern, line)
        if not match:
            raise Wrong(f"{self.kind}, batch {self.last}: {line[:200]} is no value")
        return self.read(int(match[1]) + 2)[:-2]

    def binary(self, name, key, value=b"", right=None, quiet=False, status=None):
        self.serial += 1
        opaque = self.serial

        def check():
            answer = Answer(self)
            if answer.status >= 0x80:
                self.lost(f"status {answer.status:#x}")
            self.expect(b"the opaque of " + key, answer.opaque, opaque)
            if right is not None:
                self.expect(key, answer.value if answer.status == 0 else None, right)
            elif status is not None:
                self.expect(key, answer.status, status)
            else:
                self.expect(key, answer.status, 0)
        return packet(name, key, value, opaque), (lambda: None) if quiet else check

    def of_another(self):
        """A value of another's is another's, if it is there."""
        other = self.random.randrange(CLIENTS)
        key = b"c%d:%d:%d" % (other, self.random.randrange(1, self.generation + 1),
                              self.random.randrange(KEYS))
        return self.get(key, lambda got: got is None or got.startswith(b"%d/" % other))

    def delete(self):
        key = self.key()
        was = self.values.pop(key, None) is not None
        if self.kind == "binary":
            return self.binary("delete", key, status=0 if was else 1)
        if self.kind == "meta":
            return b"md %s\r\n" % key, self.text_line(b"md", b"HD" if was else b"NF")
        return b"delete %s\r\n" % key, self.text_line(b"delete", b"DELETED" if was else b"NOT_FOUND")

    def increment(self):
        key = b"n%d:%d" % (self.number, self.generation)
        value = int(self.values.get(key, -1)) + 1
        self.values[key] = b"%d" % value
        if self.kind == "binary":
            right = lambda got: int.from_bytes(got, "big") == value + 10  # noqa: E731
            return self.binary("incr", key, right=right)  # begins with 10
        if value == 0:
            return b"add %s 0 0 1\r\n0\r\n" % key, self.text_line(b"add", b"STORED")
        return b"incr %s 1\r\n" % key, self.text_line(b"incr", b"%d" % value)

    def append(self):
        """To what is read at the end."""
        self.serial += 1
        entry = [b"<%d.%d>" % (self.number, self.serial), False]
        self.log.append(entry)
        key, token = b"log:%d" % self.number, entry[0]
        if self.kind == "binary":
            data, check = self.binary("append", key, token)
        else:
            data = b"append %s 0 0 %d\r\n%s\r\n" % (key, len(token), token)
            check = self.text_line(b"append", b"STORED")

        def acknowledged():
            check()
            entry[1] = True
        return data, acknowledged

    def simple(self, count):
        kinds = [self.set_, self.set_, self.get, self.get, self.get, self.of_another, self.delete,
                 self.increment, self.append]
        return [self.random.choice(kinds)() for _ in range(count)]

    # Batches

    def pipeline(self):
        self.exchange(self.simple(self.random.choice([1, 1, 1, 2, 3, 5, 10, 40])))

    def quiet(self):
        """Only commands without a reply; what they did is read in a later batch."""
        self.exchange([self.set_(True) for _ in range(self.random.randrange(1, 5))])
        self.exchange([self.get() for _ in range(3)])

    def refused(self):
        """A header that is not passed on, with commands in its value."""
        if self.kind == "binary":
            self.pipeline()
            return
        value = b"mn\r\nset place 0 0 5\r\nwrong\r\n"
        data = b"set %s 4294967296 0 %d\r\n%s\r\n" % (self.key(), len(value), value)
        self.exchange([(data, self.text_line(b"a refused set", lambda line: line.startswith(
            b"CLIENT_ERROR "))), *self.simple(3)])

    def barrier(self):
        if self.kind == "binary":
            self.serial += 1
            batch = [self.set_(True), self.binary("noop", b"")]
        else:
            batch = [self.set_(True), (b"mn\r\n", self.text_line(b"mn", b"MN"))]
        self.exchange(batch + [self.get()])

    def multi_get(self):
        """As libmemcached does it in binary: quiet ones, then NOOP in a write of its own."""
        if self.kind != "binary":
            self.pipeline()
            return
        keys = [self.key() for _ in range(5)]
        self.last = "a quiet multi-get"
        try:
            self.channel.send(b"".join(packet("getkq", key, opaque=number)
                                       for number, key in enumerate(keys)))
            self.channel.send(packet("noop", opaque=77))
            found = {}
            while (answer := Answer(self)).opaque != 77 or answer.status:
                if answer.status >= 0x80:
                    self.lost(f"{answer}")
                found[answer.key] = answer.value
                self.expect(answer.key, keys[answer.opaque], answer.key)
            right = {key: self.values[key] for key in keys if key in self.values}
            if not self.world.calm:  # what was lost with a connection looks like a miss
                right = {key: right.get(key) for key in found}
            self.expect(b"a quiet multi-get", found, right)
        except (OSError, Ended) as error:
            self.lost(f"{error!r}")

    def leave(self):
        data = b"".join(data for data, _ in self.simple(self.random.randrange(1, 20)))
        self.last = "leaves"
        try:
            self.channel.send(data[:self.random.choice([len(data), len(data) // 2])])
            if self.random.random() < 0.5:
                self.channel.reset()
        except OSError:
            pass
        self.begin()

    def quit(self):
        batch = self.simple(2)
        if self.kind == "binary":
            batch.append(self.binary("quit", b""))
        else:
            batch.append((b"quit\r\n", lambda: None))
        self.exchange(batch)
        try:
            if self.buffer or self.channel.read_end()[0]:
                raise Wrong("something behind quit's reply")
        except OSError:
            pass
        self.begin()

    KINDS_OF_BATCHES = ((pipeline, 50), (quiet, 10), (refused, 5), (barrier, 5), (multi_get, 8),
                        (leave, 4), (quit, 8))

    def run(self):
        kinds, weights = zip(*self.KINDS_OF_BATCHES)
        while self.run_.take():
            try:
                if self.channel is None:
                    self.begin()
                self.random.choices(kinds, weights)[0](self)
                self.run_.count("whole")
            except Lost:
                self.end()
            except Failure as error:
                raise Wrong(f"{self.kind}, batch {self.last}: {error}") from None
        self.end()
