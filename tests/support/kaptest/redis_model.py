# SPDX-License-Identifier: ISC
"""Clients of Redis that act at random and know each reply: by user, database, transaction."""

import random
import threading

from . import resp
from .channel import connect
from .model import SEED, Lost, Wrong

PASSWORDS = {"default": "open", "alice": "rabbit", "bob": "builder", "carol": "piano",
             "dave": "first"}
RULES = {"alice": "~* &* +@all", "bob": "~* &* +@all", "carol": "~* &* +@all -select",
         "dave": "~* &* +@all"}
DATABASES = 3
CLIENTS = 32
KEYS = 6
BIG = 300_000


class World:
    """What all clients know: what was pushed and popped, and how the server is currently
    configured."""

    def __init__(self, redis, kaproxy, calm):
        self.redis, self.kaproxy = redis, kaproxy
        self.calm = calm  # nothing is killed: no error is right
        self.popped = set()
        self.pushed = set()
        self.may_be_popped = 0
        self.increments = [[0, 0] for _ in range(DATABASES)]  # sure, and possible ones
        self.up = threading.Event()  # while it is not, most clients wait
        self.up.set()
        self.phase = 0  # of the user default: 0 no password, 2 with one; odd while that changes
        for database in range(DATABASES):
            redis.admin("SELECT", database)
            redis.admin("SET", "place", f"database {database}")
            redis.admin("SET", "shared", 0)
            redis.admin("HSET", "hash", "field", "value")


# After an error to one of these, or in an affinity, the client is closed.
STATEFUL = {"AUTH", "HELLO", "SELECT", "MULTI", "WATCH", "RESET", "CLIENT", "QUIT"}


DONE, POSSIBLE, NEVER = "done", "possible", "never"


def own_error(reply):
    return isinstance(reply, resp.Error) and reply.startswith((b"ERR kaproxy:", b"LOADING"))


class RedisUser:
    """One client of the model. A command of a batch is its words and a function that checks the
    reply; a batch is done by exchange()."""

    def __init__(self, number, world, run):
        self.number, self.world, self.run_ = number, world, run
        self.random = random.Random(f"{SEED} {number}")
        self.generation = 0
        self.serial = 0
        self.log = []  # [database, value, what became of it] of pushes to the own list
        self.settled = 0  # this many of them are of earlier batches
        self.client = None
        self.inside = False  # of an affinity
        self.last = "nothing"

    def __str__(self):
        return f"client {self.number}, last: {self.last}"

    # A session

    def begin(self, login=True):
        self.end()
        self.phase = self.world.phase
        self.client = resp.Client(connect(self.world.kaproxy.address()))
        self.user, self.database, self.name, self.version = None, 0, None, 2
        self.values = {}
        self.inside = False
        self.generation += 1
        if login:
            user = self.random.choice(["default", "alice", "alice", "bob", "carol", "dave"])
            self.log_in(user)

    def end(self):
        if self.client is not None:
            self.client.close()
            self.client = None

    def log_in(self, user):
        """With something after it, unless it may be refused."""
        password = PASSWORDS[user]
        version = self.random.choice([2, 2, 3])
        hello = version == 3 or self.version == 3
        words = (["HELLO", version, "AUTH", user, password] if hello else ["AUTH", user, password])
        if user == "dave":
            (reply,) = self.exchange([(words, None)])
            if isinstance(reply, resp.Error):
                if not reply.startswith(b"WRONGPASS"):
                    raise Wrong(f"{words}: {reply!r}")
                self.exchange([self.who()] if self.user else [])
                if self.user is None:
                    self.log_in("alice")
                return
            self.logged_in(user, version if hello else self.version)
            return
        batch = [(words, lambda reply: not isinstance(reply, resp.Error))]
        self.logged_in(user, version if hello else self.version)
        database = self.random.randrange(DATABASES)
        if database and user != "carol":
            batch.append((["SELECT", database], b"OK"))
            self.database = database
        self.exchange(batch + self.simple(self.random.randrange(3)))

    def logged_in(self, user, version):
        self.user, self.version = user, version

    # An exchange

    def exchange(self, batch):
        """Sends it, in one write or in several, and checks the replies."""
        self.last = "; ".join(" ".join(str(w)[:30] for w in words) for words, _ in batch)[:500]
        data = resp.encode(*(words for words, _ in batch))
        replies = []
        try:
            self.send(data)
            for words, check in batch:
                reply = self.client.reply()
                replies.append(reply)
                if own_error(reply):
                    self.failed(batch, replies)
                self.verify(words, check, reply)
        except (OSError, resp.Ended) as error:
            self.lost(f"{error!r} after {len(replies)} of {len(batch)} replies")
        finally:
            self.settled = len(self.log)
        return replies

    def failed(self, batch, replies):
        """By an error of kaproxy's. If the rest of the session does not depend on the batch, it
        must continue; what the batch wrote is left alone."""
        for _ in batch[len(replies):]:
            if not isinstance(self.client.reply(), resp.Error):
                self.run_.count("replies behind an error")
        depends = {words[0] for words, _ in batch} & STATEFUL or self.inside or not self.user
        self.generation += 1
        self.values = {}
        self.lost(f"{replies[-1]!r}", stays=not depends)

    def send(self, data):
        if self.random.random() < 0.8:
            self.client.channel.send(data)
            return
        at = 0
        while at < len(data):
            step = self.random.choice([1, 5, 100, 20_000])
            self.client.channel.send(data[at:at + step])
            at += step
            if step < 10:
                step = len(data)

    def verify(self, words, check, reply):
        if self.user == "dave" and isinstance(reply, resp.Error) and reply.startswith(b"WRONGPASS"):
            self.run_.count("refused logins of kaproxy's")
            for entry in self.log[self.settled:]:
                entry[2] = NEVER if entry[2] == POSSIBLE else entry[2]
            raise Lost
        right = check is None or (check(reply) if callable(check) else (
            reply == check and type(reply) is type(check)
            or reply == check and not isinstance(reply, resp.Error)))
        if not right:
            raise Wrong(f"user {self.user}, database {self.database}, batch {self.last}: "
                        f"{str(words)[:200]} gave {str(reply)[:300]}"
                        + ("" if callable(check) else f", expected {str(check)[:300]}"))

    def lost(self, why, stays=False):
        if self.world.calm:
            raise Wrong(f"batch {self.last}: {why}, and nothing was disturbed")
        self.run_.count("errors" if stays else "lost")
        raise Lost(stays)

    # Commands with their checks

    def key(self, number=None):
        number = self.random.randrange(KEYS) if number is None else number
        return f"c{self.number}:{self.generation}:{number}"

    def value(self):
        self.serial += 1
        text = f"{self.user}/{self.database}/{self.number}/{self.serial}/"
        return text.encode() + b"x" * (BIG if self.random.random() < 0.01 else
                                       self.random.randrange(60))

    def set_(self):
        key, value = self.key(), self.value()
        self.values[self.database, key] = value
        return ["SET", key, value], b"OK"

    def get(self):
        key = self.key()
        return ["GET", key], self.values.get((self.database, key))

    def increment(self):
        key = self.key("counter")
        value = int(self.values.get((self.database, key), 0)) + 1
        self.values[self.database, key] = b"%d" % value
        return ["INCR", key], value

    def delete(self):
        key = self.key()
        return ["DEL", key], int(self.values.pop((self.database, key), None) is not None)

    def of_another(self):
        """A value of another client's must be of this database, if there is one."""
        other = self.random.randrange(CLIENTS)
        middle = b"/%d/%d/" % (self.database, other)
        key = f"c{other}:{self.random.randrange(1, self.generation + 1)}:{self.random.randrange(KEYS)}"
        return ["GET", key], lambda reply: reply is None or middle in reply[:40]

    def place(self):
        return ["GET", "place"], b"database %d" % self.database

    def who(self):
        return ["ACL", "WHOAMI"], (self.user or "default").encode()

    def named(self):
        return ["CLIENT", "GETNAME"], self.name

    def rename(self):
        self.name = b"name-%d-%d" % (self.number, self.random.randrange(3))
        return ["CLIENT", "SETNAME", self.name], b"OK"

    def hash_(self):
        kind = resp.Map if self.version == 3 else list
        return ["HGETALL", "hash"], lambda reply: type(reply) is kind and len(reply) == 2

    def push(self):
        """To the own list, which is read at the end to check that nothing is there twice."""
        value = self.value()[:80]
        entry = [self.database, value, POSSIBLE]
        self.log.append(entry)

        def acknowledged(reply):
            entry[2] = DONE
            return isinstance(reply, int)

        return ["RPUSH", f"log:{self.number}:{self.database}", value], acknowledged

    def produce(self):
        value = self.value()[:80]
        self.world.pushed.add(value)
        return ["RPUSH", f"queue:{self.database}", value], lambda reply: isinstance(reply, int)

    def echo(self):
        value = self.value()
        return ["ECHO", value], value

    def error(self):
        return ["LPUSH", "place", "x"], lambda reply: reply.startswith(b"WRONGTYPE")

    def simple(self, count):
        kinds = [self.set_, self.get, self.get, self.increment, self.delete, self.of_another,
                 self.place, self.who, self.hash_, self.push, self.produce, self.echo, self.error]
        return [self.random.choice(kinds)() for _ in range(count)]

    # Batches

    def pipeline(self):
        count = self.random.choice([1, 1, 1, 2, 3, 5, 10, 40])
        batch = self.simple(count)
        if self.random.random() < 0.3:
            batch.insert(0, self.named())
        if self.random.random() < 0.2:
            batch += [self.rename(), self.named()]
        self.exchange(batch)

    def select(self):
        database = self.random.randrange(DATABASES)
        if self.user == "carol":
            batch = [(["SELECT", database], lambda reply: reply.startswith(b"NOPERM"))]
        else:
            batch = self.simple(1) + [(["SELECT", database], b"OK")]
            self.database = database
        self.exchange(batch + [self.place()] + self.simple(2))

    def transaction(self):
        """In one write with what is around it, or one command after the other."""
        before = self.simple(1)
        inner = self.simple(self.random.randrange(4))
        batch = [(["MULTI"], b"OK")]
        batch += [(words, b"QUEUED") for words, _ in inner]

        def executed(reply):
            if not isinstance(reply, list) or len(reply) != len(inner):
                return False
            for (words, check), one in zip(inner, reply):
                self.verify(words, check, one)
            return True

        batch.append((["EXEC"], executed))
        if self.random.random() < 0.5:
            self.exchange(before + batch + self.simple(1))
        else:
            self.exchange(before)
            self.exchange(batch[:1])
            self.inside = True
            for one in batch[1:]:
                self.exchange([one])
            self.inside = False

    def discarded(self):
        end = self.random.choice(["DISCARD", "EXEC"])
        bad = (["NOSUCHCOMMAND"], lambda reply: reply.startswith(b"ERR unknown command"))
        inner = (["SET", self.key(), "never"], b"QUEUED")
        batch = [(["MULTI"], b"OK"), inner]
        if end == "EXEC":
            batch += [bad, (["EXEC"], lambda reply: reply.startswith(b"EXECABORT"))]
        else:
            batch.append((["DISCARD"], b"OK"))
        self.exchange(batch + self.simple(2))

    def optimistic(self):
        """Increments what all share, if no other client was faster."""
        database = self.database
        batch = [(["WATCH", "shared"], b"OK"), (["GET", "shared"], lambda reply: int(reply) >= 0)]
        value = int(self.exchange(batch)[1])
        possible = self.world.increments[database]
        self.inside = True
        try:
            *_, result = self.exchange([(["MULTI"], b"OK"), (["SET", "shared", value + 1], b"QUEUED"),
                                        (["EXEC"], lambda reply: reply in (None, [b"OK"]))])
        except Lost:
            with self.run_.lock:
                possible[1] += 1
            raise
        self.inside = False
        with self.run_.lock:
            possible[0] += result is not None
        self.run_.count("increments" if result else "aborted increments")

    def unwatch(self):
        self.exchange([(["WATCH", self.key()], b"OK")])
        self.inside = True
        self.exchange([self.get(), (["UNWATCH"], b"OK"), self.place()])
        self.inside = False

    def pop(self, seconds="0.05"):
        """Whatever is in the queue is of this database, and no other client got it."""
        name = f"queue:{self.database}"

        def popped(reply):
            if reply is None:
                return seconds != "0"
            value = reply[1]
            with self.run_.lock:
                twice = value in self.world.popped and value != b"stop"
                self.world.popped.add(value)
            return (not twice and reply[0] == name.encode()
                    and (value == b"stop" or b"/%d/" % self.database in value[:30]))

        self.run_.count("pops")
        try:
            return self.exchange([(["BLPOP", name, seconds], popped)])[0]
        except Lost:
            with self.run_.lock:
                self.world.may_be_popped += 1
            raise

    def change_user(self):
        """A client that may not SELECT could rightly be lost in another database."""
        self.log_in(self.random.choice([user for user in PASSWORDS
                                        if user != "carol" or self.database == 0]))

    def refused_login(self):
        self.exchange([(["AUTH", "alice", "wrong"], lambda reply: reply.startswith(b"WRONGPASS")),
                       self.who(), self.place()])

    def version_change(self):
        self.version = self.random.choice([2, 3])
        kind = resp.Map if self.version == 3 else list
        self.exchange([(["HELLO", self.version], lambda reply: type(reply) is kind), self.hash_(),
                       self.who(), self.place()])

    def reset(self):
        """Then it has to log in."""
        self.exchange(self.simple(1) + [(["RESET"], b"RESET")])
        self.user, self.database, self.name, self.version = None, 0, None, 2
        self.log_in(self.random.choice(["default", "alice", "bob", "carol"]))

    def without_login(self):
        """Only a client that began while there was no password may read, as `default`."""
        self.begin(login=False)
        batch = [self.place(), self.who(), self.hash_(), self.place()]
        for _ in range(self.random.randrange(1, 4)):
            replies = self.exchange([(words, None) for words, _ in batch])
            stable = self.phase == self.world.phase and self.phase % 2 == 0
            for (words, check), reply in zip(batch, replies):
                refused = isinstance(reply, resp.Error) and reply.startswith(b"NOAUTH")
                if stable and refused != (self.phase % 4 == 2):
                    raise Wrong(f"without a login in phase {self.phase}: {words}: {reply!r}")
                if not refused:
                    self.verify(words, check, reply)
            self.run_.count("refusals" if refused else "reads without login")
        self.begin()

    def leave(self):
        """In the middle of a batch."""
        data = resp.encode(*(words for words, _ in self.simple(self.random.randrange(1, 20))))
        self.last = "leaves"
        try:
            self.client.channel.send(data[:self.random.choice([len(data), len(data) // 2])])
            if self.random.random() < 0.5:
                self.client.channel.reset()
        except OSError:
            pass
        self.begin()

    def leave_transaction(self):
        self.exchange([(["MULTI"], b"OK"), (["SET", "place", "wrong"], b"QUEUED")])
        self.begin()

    def quit(self):
        batch = self.simple(2) + [(["QUIT"], b"OK")]
        self.exchange(batch)
        if self.client.read_end():
            raise Wrong("something behind QUIT's reply")
        self.begin()

    KINDS = ((pipeline, 40), (select, 10), (transaction, 10), (discarded, 3), (optimistic, 8),
             (unwatch, 2), (pop, 5), (change_user, 5), (refused_login, 3), (version_change, 3),
             (reset, 2), (without_login, 8), (leave, 3), (leave_transaction, 1), (quit, 3))

    def run(self):
        kinds, weights = zip(*self.KINDS)
        while self.run_.take():
            try:
                if self.client is None:
                    self.begin()
                self.random.choices(kinds, weights)[0](self)
                self.run_.count("whole")
            except Lost as lost:
                if not lost.stays:
                    self.end()
                if self.random.random() < 0.9:
                    self.world.up.wait(60)
        self.end()


class Consumer(RedisUser):
    """Waits for items, until one says that it is over."""

    def run(self):
        while True:
            try:
                if self.client is None:
                    self.begin(login=False)
                    self.log_in(self.random.choice(["alice", "bob"]))
                    self.exchange([(["SELECT", 0], b"OK")])
                    self.database = 0
                self.client.channel.socket.settimeout(None)
                if self.pop("0")[1] == b"stop":
                    break
                self.run_.count("items")
            except Lost:
                self.end()
                self.world.up.wait(60)
        self.end()

