#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: with log_format = json each line of the access log is a JSON object, with the fields and values that the same line has in logfmt."""

import codecs
import json
import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ReservedPort, answer_lines, main, memcached_peers, redis_peers, test, tls
from kaptest.http import HttpUpstream, client, one_shot, response, start
from kaptest.memcached_peers import ScriptedMemcached
from kaptest.resp import ScriptedRedis

# Differ from one run to the next, only in numbers.
VARYING = ("ts", "client", "upstream", "addr")

codecs.register_error("each byte", lambda error: ("\ufffd", error.start + 1))


def unquoted(text):
    """What a value of logfmt means, in JSON's terms."""
    def character(match):
        escape = match[1]
        return bytes.fromhex(escape[1:]) if len(escape) == 3 else escape.encode()

    pieces = re.split(r"\\(x[0-9a-f]{2}|.)", text)
    data = b"".join(character(("", piece)) if number % 2 else piece.encode()
                    for number, piece in enumerate(pieces))
    return data.decode(errors="each byte")


def form(name, value):
    """What must be the same in both."""
    if name.endswith("_ms"):
        return bool(re.fullmatch(r"\d+\.\d", value))
    return re.sub(r"\d+", "0", value) if name in VARYING else value


def compare(t, count, drive):
    """This many lines of what drive(options) makes kaproxy do, in each format."""
    lines = {}
    for log_format in "logfmt", "json":
        kaproxy = drive({"log_format": log_format})
        lines[log_format] = kaproxy.wait_sessions(count)
        t.equal(len(lines[log_format]), count, "lines")
    for logfmt, of_json in zip(lines["logfmt"], lines["json"]):
        t.equal(list(of_json), list(logfmt), "fields in order")
        for name, value in logfmt.items():
            t.equal(form(name, of_json[name]), form(name, unquoted(value)), name)
    raw = kaproxy.access_file.read_bytes()
    t.equal(re.findall(rb"[^\n -~]", raw), [], "bytes that are not ASCII, or controls")
    return [json.loads(line) for line in raw.splitlines()]


@test("http: new, reused, retried, without a connection, refused")
def http(t):
    def handler(connection, message):
        return None if message.target == "/close" and connection.number == 1 else response(b"x")

    def drive(options):
        kaproxy = start(t, t.own(HttpUpstream(handler)), main=options)
        for target in "/new", "/reused", "/close":
            t.equal(one_shot(t, kaproxy, "GET", target).status, 200, "status")
        peer = client(t, kaproxy)
        peer.channel.send(b"nonsense\r\n\r\n")
        t.equal(peer.response().status, 400, "status")
        return kaproxy

    new, reused, again, bad = compare(t, 4, drive)
    t.check(isinstance(new["connect_ms"], float), f"{new['connect_ms']!r}")
    t.equal((new["status"], new["uses"], new["from_cache"]), (200, 1, "none"), "the first")
    t.equal((reused["uses"], "connect_ms" in reused), (2, False), "the second")
    t.equal(again["retried"], 1, "retried")
    t.equal([bad[name] for name in ("conn", "uses", "addr", "from_cache", "target")], [None] * 5,
            "what the bad request does not have")


@test("http: no connection is available")
def failure(t):
    def drive(options):
        kaproxy = start(t, t.own(ReservedPort()), main=options, pool={"fail_after": 1})
        for status in 502, 503:
            t.equal(one_shot(t, kaproxy).status, status, "status")
        return kaproxy

    lines = compare(t, 1, lambda options: failing(t, options))
    t.equal((lines[0]["function"], lines[0]["errno"], lines[0]["error"]),
            ("connect", 111, "Connection refused"), "the failure")
    kaproxy = drive({"log_format": "json"})
    down = kaproxy.wait_sessions(2)[1]
    t.check(re.search(r"down since .* \(connect: Connection refused\)$", down["error"]), str(down))


def failing(t, options):
    kaproxy = start(t, t.own(ReservedPort()), main=options)
    t.equal(one_shot(t, kaproxy).status, 502, "status")
    return kaproxy


@test("targets of any possible bytes, and the longest")
def targets(t):
    nasty = [b'"quoted"', b"a\\b", b"\\x41", b"a=b", b"\xc3\xa4", "\u20ac\U0001f600".encode(),
             b"\xff\xfe", b"\xe4", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc0\xaf", b"\xef\xbf\xbe",
             b"%22", b"x" * 2000, b"\xff" * 2000, b'"' * 2000, "\u20ac".encode() * 700]

    def answer(connection):
        while (line := connection.read_line()) is not None:
            if line == b"\r":
                connection.send(response(b"x"))

    def drive(options):
        kaproxy = start(t, t.upstream(answer), main=options)
        for target in nasty:
            peer = client(t, kaproxy)
            peer.channel.send(b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n" % target)
            t.equal(peer.response().status, 200, f"status for {target[:9]!r}")
            peer.channel.end()
        return kaproxy

    lines = compare(t, len(nasty), drive)
    for target, line in zip(nasty, lines):
        t.equal(line["target"], (b"/" + target)[:1024].decode(errors="each byte"), "target")
        t.equal(line["end"], "complete", "what follows")


@test("https: how long the handshake took")
def https(t):
    def drive(options):
        kaproxy = tls.start(t, t.own(tls.HttpsUpstream()), main=options)
        t.equal(one_shot(t, kaproxy).status, 200, "status")
        return kaproxy

    line, = compare(t, 1, drive)
    t.check(isinstance(line["tls_ms"], float), f"{line['tls_ms']!r}")


@test("opaque bytes, by clients on a unix socket too")
def opaque(t):
    def drive(options, listen="127.0.0.1:{port}"):
        kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, main=options, listen=listen)
        here = kaproxy.connect()
        t.equal(here.ask(b"a"), b"1 a", "response")
        here.end()
        return kaproxy

    line, = compare(t, 1, drive)
    t.equal((line["bytes_up"], line["bytes_down"], line["end"]), (2, 4, "complete"), "fields")
    line, = compare(t, 1, lambda options: drive(
        options, f"unix:{t.folder}/{options['log_format']}.sock"))
    t.check(line["client"].startswith("unix:uid:"), line["client"])


@test("Redis: batches, one of them retried, and what cannot be served")
def redis(t):
    def end_once(connection, words):
        if words == [b"GET", b"again"] and connection.number == 1:
            connection.socket.close()
            raise OSError
        return None

    def drive(options):
        kaproxy = redis_peers.start(t, t.own(ScriptedRedis(end_once)), main=options)
        one = redis_peers.client(kaproxy)
        for key in "a", "again", "b":
            t.check(one.ask("GET", key).startswith(key.encode()), "the reply")
        one.end()
        return kaproxy

    line, = compare(t, 1, drive)
    t.equal((line["commands"], line["leases"], line["retried"], line["prepared"]), (3, 4, 1, 0),
            "batches")

    def refused(options):
        port = t.own(ReservedPort())
        kaproxy = redis_peers.start(t, port.endpoint.replace("tcp", "redis"), main=options)
        one = redis_peers.client(kaproxy)
        one.ask("GET", "a")
        one.end()
        return kaproxy

    line, = compare(t, 1, refused)
    t.equal((line["commands"], line["leases"], line["conn"]), (1, 0, None), "batches")


@test("memcached: batches")
def memcached(t):
    def drive(options):
        kaproxy = memcached_peers.start(t, t.own(ScriptedMemcached()), main=options)
        one = kaproxy.connect()
        one.ask(b"version\r")
        one.end()
        return kaproxy

    line, = compare(t, 1, drive)
    t.equal(line["commands"], 1, "commands")


main()
