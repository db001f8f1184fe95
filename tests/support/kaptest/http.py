# SPDX-License-Identifier: ISC
"""HTTP/1.x for the tests: messages, a strict independent reader, scripted upstreams, clients."""

import re
import threading
import time

from .channel import connect
from .tap import Failure, WAIT_MAX, wait_until
from .upstream import ScriptedUpstream


class Cut(Failure):
    """The connection ended in the middle of a message; `end` is "eof" or "reset"."""

    def __init__(self, message, end):
        super().__init__(f"cut in the middle of a message ({end})")
        self.message = message  # as far as it arrived
        self.end = end


# Writing


def head(first_line, fields=()):
    lines = [first_line, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def chunked(*parts, trailer=()):
    """The parts as a chunked body."""
    return b"".join(map(chunk, parts)) + head("0", trailer)


def request(method="GET", target="/", fields=(), body=None, *, version="1.1", host="client.test"):
    """A request; with a body and without the caller's framing it has a Content-Length."""
    fields = [*([("Host", host)] if host else []), *fields]
    framed = any(name in ("Content-Length", "Transfer-Encoding") for name, _ in fields)
    if body is not None and not framed:
        fields.append(("Content-Length", len(body)))
    return head(f"{method} {target} HTTP/{version}", fields) + (body or b"")


def response(body=b"", fields=(), status=200, *, version="1.1"):
    """A response; without the caller's framing it has a Content-Length."""
    fields = list(fields)
    framed = any(name in ("Content-Length", "Transfer-Encoding") for name, _ in fields)
    if not framed and status >= 200 and status not in (204, 304):
        fields.append(("Content-Length", len(body)))
    return head(f"HTTP/{version} {status} Reason", fields) + body


def response_chunked(*parts, fields=(), trailer=()):
    return response(chunked(*parts, trailer=trailer), [*fields, ("Transfer-Encoding", "chunked")])


def response_until_close(body, fields=()):
    return head("HTTP/1.1 200 OK", fields) + body


# Reading: whatever a strict peer must not accept is a failure


class Message:
    def __init__(self):
        self.first_line = ""
        self.fields = []
        self.body = b""
        self.trailer = []

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name, default=None):
        """The field's value; more than one line of it is a failure."""
        values = self.all(name)
        if len(values) > 1:
            raise Failure(f"{name} appears {len(values)} times in {self.fields!r}")
        return values[0] if values else default

    def names(self):
        return {name.lower() for name, _ in self.fields}


class Request(Message):
    method = target = version = ""
    connection = 0  # number of the upstream's connection it arrived on


class Response(Message):
    status = 0
    version = ""
    interim = ()  # the 1xx before it

    def closes(self):
        return self.get("Connection", "").lower() == "close"


def _line(channel):
    line = channel.read_line()
    if line is None:
        return None
    if not line.endswith(b"\r") or b"\r" in line[:-1]:
        raise Failure(f"not a line that ends in CRLF: {line!r}")
    return line[:-1].decode("latin-1")


def _read_fields(channel, message):
    fields = []
    while line := _line(channel):
        match = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", line)
        if not match:
            raise Failure(f"not a field: {line!r}")
        fields.append((match[1], match[2]))
    if line is None:
        raise Cut(message, "eof")
    return fields


def _read_chunked(channel, message):
    parts = []
    try:
        while True:
            line = _line(channel)
            if line is None:
                raise Cut(message, "eof")
            if not re.fullmatch(r"[0-9a-fA-F]+", line):
                raise Failure(f"not a chunk's line: {line!r}")
            size = int(line, 16)
            if size == 0:
                message.trailer = _read_fields(channel, message)
                return
            parts.append(_read_length(channel, message, size))
            if channel.read(2) != b"\r\n":
                raise Failure("no CRLF after a chunk")
    finally:
        message.body = b"".join(parts)


def _read_length(channel, message, size):
    parts = []
    while size > 0:
        data = channel.receive(min(size, 1 << 16))
        if not data:
            message.body = b"".join(parts)
            raise Cut(message, "eof")
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _read_body(channel, message, until_close):
    codings, length = message.get("Transfer-Encoding"), message.get("Content-Length")
    if codings is not None:
        if length is not None or codings.lower() != "chunked":
            raise Failure(f"ambiguous framing: {message.fields!r}")
        _read_chunked(channel, message)
    elif length is not None:
        if not re.fullmatch(r"[0-9]+", length):
            raise Failure(f"not a length: {length!r}")
        message.body = _read_length(channel, message, int(length))
    elif until_close:
        message.body, end = channel.read_end()
        if end == "reset":
            raise Cut(message, "reset")


def read_request(channel, with_body=None):
    """The next request; None at the end of the connection. with_body(request) says whether its body
    is to be read; without it, it is."""
    line = _line(channel)
    if line is None:
        return None
    message = Request()
    match = re.fullmatch(r"(\S+) (\S+) HTTP/(1\.[01])", line)
    if not match:
        raise Failure(f"not a request line: {line!r}")
    message.method, message.target, message.version = match.groups()
    message.first_line = line
    message.fields = _read_fields(channel, message)
    if with_body is None or with_body(message):
        _read_body(channel, message, until_close=False)
    return message


def _read_response_head(channel):
    message = Response()
    line = _line(channel)
    if line is None:
        raise Cut(message, "eof")
    match = re.fullmatch(r"HTTP/(1\.[01]) ([1-9][0-9][0-9]) .*", line)
    if not match:
        raise Failure(f"not a status line: {line!r}")
    message.first_line = line
    message.version, message.status = match[1], int(match[2])
    message.fields = _read_fields(channel, message)
    return message


def read_response(channel, method="GET", interim=True):
    """The next response, with the interim ones before it. Cut when the connection ends first."""
    before, message = [], Response()
    try:
        while True:
            message = _read_response_head(channel)
            if message.status >= 200 or message.status == 101 or not interim:
                break
            before.append(message)
        message.interim = before
        if method != "HEAD" and message.status >= 200 and message.status not in (204, 304) and not (
                method == "CONNECT" and message.status < 300):
            _read_body(channel, message, until_close=True)
        return message
    except ConnectionResetError:
        raise Cut(message, "reset") from None


# Peers


def describe(_connection, message):
    """The usual response: which connection, and what was requested on it."""
    return response(f"{message.connection} {message.method} {message.target} ".encode() +
                    message.body)


class HttpUpstream(ScriptedUpstream):
    """Reads requests and sends what handler(connection, request) returns; None: closes instead.
    `requests` are those read so far, of all connections. with_body as in read_request."""

    def __init__(self, handler=describe, *, with_body=None, **options):
        self.requests = []
        self.handler = handler
        self.with_body = with_body
        self._requests_lock = threading.Lock()
        super().__init__(self._serve, **options)
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def _serve(self, connection):
        with_body = self.with_body and (lambda message: self.with_body(connection, message))
        while (message := read_request(connection, with_body)) is not None:
            message.connection = connection.number
            with self._requests_lock:
                self.requests.append(message)
            reply = self.handler(connection, message)
            if reply is None:
                return
            connection.send(reply)

    def wait_requests(self, count):
        wait_until(lambda: len(self.requests) >= count, f"request {count} at the upstream")
        return self.requests[count - 1]


def held(t, *targets, **options):
    """An upstream whose responses, to these targets or to all, wait until the event is set, which
    is returned as well."""
    go = threading.Event()

    def handler(connection, message):
        if not targets or message.target in targets:
            go.wait(WAIT_MAX)
        return describe(connection, message)

    upstream = t.own(HttpUpstream(handler, **options))
    t.callback(go.set)
    return upstream, go


class HttpClient:
    """A client on its own channel."""

    def __init__(self, t, address, **options):
        self.channel = connect(address, **options)
        t.callback(self.channel.close)
        self.method = "GET"
        self.sent_at = None  # when it began to send, by time.monotonic

    def send(self, method="GET", target="/", fields=(), body=None, **options):
        self.method, self.sent_at = method, time.monotonic()
        self.channel.send(request(method, target, fields, body, **options))

    def send_last(self, method="GET", target="/", fields=(), body=None, **options):
        """And half-closes right after it."""
        self.method = method
        self.channel.send_last(request(method, target, fields, body, **options))

    def response(self, **options):
        return read_response(self.channel, self.method, **options)

    def ask(self, *arguments, **options):
        self.send(*arguments, **options)
        return self.response()


def start(t, upstream, **options):
    """A kaproxy with an http listener for this upstream, which may be any kind of peer."""
    endpoint = upstream.endpoint.replace("tcp://", "http://")
    return t.kaproxy(endpoint, **{"reuse": None, **options})


def client(t, kaproxy, listener="main", **options):
    return HttpClient(t, kaproxy.address(listener), **options)


def one_shot(t, kaproxy, *arguments, version="1.0", listener="main", **options):
    """The response to one request on its own connection, which must end with it."""
    peer = client(t, kaproxy, listener)
    fields = options.pop("fields", ()) if version == "1.0" else [
        ("Connection", "close"), *options.pop("fields", ())]
    message = peer.ask(*arguments, version=version, fields=fields, **options)
    rest, end = peer.channel.read_end()
    if rest or end != "eof":
        raise Failure(f"after the response: {rest!r}, {end}")
    peer.channel.close()
    return message


def wait_line(kaproxy, count=1):
    """Line `count` of the access log."""
    return kaproxy.wait_sessions(count)[count - 1]


def proxy_status(message):
    """The parameters of a local reply's Proxy-Status (RFC 9209); another one's is a failure."""
    value = message.get("Proxy-Status")
    parameter = r'; ([a-z-]+)=([a-z_]+|[0-9]+|"(?:[ !#-\[\]-~]|\\["\\])*")'
    if not value or not re.fullmatch(f"kaproxy(?:{parameter})+", value):
        raise Failure(f"not a local reply's Proxy-Status: {value!r}")
    return {key: re.sub(r"\\(.)", r"\1", got[1:-1]) if got.startswith('"') else got
            for key, got in re.findall(parameter, value)}


def check_line(t, kaproxy, count=1, **wanted):
    """Checks fields of that line."""
    line = wait_line(kaproxy, count)
    wanted = {key: str(value) for key, value in wanted.items()}
    t.equal({key: line.get(key) for key in wanted}, wanted, f"access-log line {count}")
    return line
