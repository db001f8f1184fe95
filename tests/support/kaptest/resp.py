# SPDX-License-Identifier: ISC
"""Redis' protocol, RESP2 and RESP3, for clients that choose their bytes, and for upstreams that
follow a script. Values are Python's; what Python has no type for is a bytes or a list with a name.
An error is a value too."""

from .tap import Failure
from .upstream import ScriptedUpstream


class Status(bytes):
    """+OK"""


class Error(bytes):
    """-ERR: also what starts with !"""


class Push(list):
    """>: unsolicited."""


class Map(list):
    """%: keys and values in turn."""


class Set(list):
    """~"""


class Ended(Exception):
    """The peer ended the connection at a boundary (cut: in the middle)."""


def _words(command):
    """Of a command's text, or of its words: bytes."""
    if isinstance(command, bytes):
        return command.split()
    if isinstance(command, str):
        return command.encode().split()
    return [word if isinstance(word, bytes) else str(word).encode() for word in command]


def encode(*commands):
    """Each is text, to be split at spaces, or a sequence of words."""
    parts = []
    for command in commands:
        words = _words(command)
        parts.append(b"*%d\r\n" % len(words))
        parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def bulk(data):
    return b"$-1\r\n" if data is None else b"$%d\r\n%s\r\n" % (len(data), data)


class Reader:
    """Takes values from a stream: `receive` returns what is there, b"" at the end. `raw` has the
    bytes of the last one."""

    def __init__(self, receive):
        self.receive = receive
        self.buffer = bytearray()
        self.raw = b""
        self._at = 0

    def value(self):
        """A reply. The end of the stream is Ended."""
        self._at = 0
        value = self._value()
        self.raw = bytes(self.buffer[:self._at])
        del self.buffer[:self._at]
        return value

    def command(self):
        """A command's words, also those of an inline one."""
        self._at = 0
        self._need(1)
        if self.buffer[:1] == b"*":
            words = self._value()
        else:
            words = bytes(self._line()).split()
        self.raw = bytes(self.buffer[:self._at])
        del self.buffer[:self._at]
        return words

    def _need(self, count):
        while len(self.buffer) < self._at + count:
            more = self.receive()
            if not more:
                raise Ended(f"after {bytes(self.buffer[:200])!r}" if self.buffer else "in order")
            self.buffer += more

    def _line(self):
        start = self._at
        while (end := self.buffer.find(b"\r\n", start)) < 0:
            before = len(self.buffer)
            self._need(before - self._at + 1)
            start = max(self._at, before - 1)
        line = self.buffer[self._at:end]
        self._at = end + 2
        return line

    def _bytes(self, count):
        self._need(count + 2)
        data = bytes(self.buffer[self._at:self._at + count])
        if self.buffer[self._at + count:self._at + count + 2] != b"\r\n":
            raise Failure(f"no end of a bulk string: {bytes(self.buffer[:200])!r}")
        self._at += count + 2
        return data

    def _value(self):
        line = self._line()
        kind, rest = bytes(line[:1]), bytes(line[1:])
        if kind in (b"$", b"=", b"!"):
            data = None if rest == b"-1" else self._bytes(int(rest))
            return Error(data) if kind == b"!" else data
        if kind in b"*~>%":
            if rest == b"-1":
                return None
            count = int(rest) * (2 if kind == b"%" else 1)
            kinds = {b"*": list, b"~": Set, b">": Push, b"%": Map}
            return kinds[kind](self._value() for _ in range(count))
        simple = {b"+": Status, b"-": Error, b":": int, b"_": lambda _: None,
                  b"#": lambda text: text == b"t", b",": float, b"(": int}
        if kind not in simple:
            raise Failure(f"no reply: {bytes(self.buffer[:200])!r}")
        return simple[kind](rest)


class Client:
    """A client on a Channel."""

    def __init__(self, channel):
        self.channel = channel
        self.reader = Reader(channel.receive)

    @property
    def name(self):
        return self.channel.name

    def send(self, *commands):
        """All in one write."""
        self.channel.send(encode(*commands))

    def reply(self):
        return self.reader.value()

    def ask(self, *words):
        """One command: its text, or its words."""
        self.send(words[0] if len(words) == 1 else words)
        return self.reply()

    def pipeline(self, *commands):
        self.send(*commands)
        return [self.reply() for _ in commands]

    def is_silent(self, seconds=0.2):
        return not self.reader.buffer and self.channel.is_silent(seconds)

    def read_end(self):
        """Reads on to the end: the values before it."""
        values = []
        try:
            while True:
                values.append(self.reply())
        except (Ended, ConnectionResetError):
            return values

    def end(self):
        """Ends our direction; the other side ends the other."""
        self.channel.fin()
        rest = self.read_end()
        if rest:
            raise Failure(f"unexpected replies at the end: {rest!r}")

    def close(self):
        self.channel.close()


OK = b"+OK\r\n"


class ScriptedRedis(ScriptedUpstream):
    """Commands in, replies out. answer(connection, words) gives the bytes of a reply, b"" for none,
    or None for the default: values that name key and connection, and +OK. `commands` has all that
    arrived: (connection's number, words)."""

    def __init__(self, answer=None, **options):
        self.answer = answer or (lambda *_: None)
        self.commands = []
        super().__init__(self._serve, **options)
        self.endpoint = f"redis://127.0.0.1:{self.port}"

    def _serve(self, connection):
        connection.reader = reader = Reader(connection.receive)
        try:
            while True:
                words = reader.command()
                self.commands.append((connection.number, words))
                reply = self.answer(connection, words)
                if reply is None:
                    reply = usual(connection, words)
                if reply:
                    connection.send(reply)
        except Ended:
            pass

    def words(self, *names):
        """The commands so far, as text; with names only these."""
        texts = [b" ".join(words).decode(errors="replace") for _, words in list(self.commands)]
        return [text for text in texts if not names or text.split()[0].upper() in names]

    def clients_words(self):
        """Without what prepares connections, if no client of the test sends such."""
        return [text for text in self.words()
                if text.split()[0].upper() not in ("RESET", "AUTH", "HELLO", "SELECT")]


def usual(connection, words):
    name = words[0].upper()
    if name == b"GET":
        return bulk(b"%s at %d" % (words[1], connection.number))
    if name == b"RESET":
        return b"+RESET\r\n"
    if name == b"PING":
        return b"+PONG\r\n"
    if name == b"HELLO":
        version = words[1] if len(words) > 1 else b"2"
        start = b"%1\r\n" if version == b"3" else b"*2\r\n"
        return start + bulk(b"proto") + b":%s\r\n" % version
    return OK
