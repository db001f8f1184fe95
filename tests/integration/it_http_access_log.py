#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: one logfmt line for each exchange, whatever it contains; and the counters."""

import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ReservedPort, main, test, wait_until
from kaptest.http import HttpUpstream, check_line, client, one_shot, response, start


@test("the fields of an exchange")
def fields(t):
    kaproxy = start(t, t.own(HttpUpstream()))
    peer = client(t, kaproxy)
    got = peer.ask("POST", "/v1/x?y=%20", body=b"hello")
    line = check_line(t, kaproxy, listener="main", client="{}:{}".format(*peer.channel.name),
                      from_cache="none", status=200, method="POST", target="/v1/x?y=%20",
                      end="complete")
    t.check(line["upstream"].startswith("http://127.0.0.1:"), line["upstream"])
    t.equal(int(line["bytes_down"]), len(peer.channel.received), "bytes_down")
    t.at_least(int(line["bytes_up"]), 40, "bytes_up")
    t.check("retried" not in line and "function" not in line, "fields that do not apply")
    t.equal(got.status, 200, "status")


@test("one line for each exchange of a client, with its own numbers")
def several(t):
    kaproxy = start(t, t.own(HttpUpstream(lambda c, m: response(b"x" * int(m.target[1:])))))
    peer = client(t, kaproxy)
    for size in 10, 1000, 10:
        peer.ask("GET", f"/{size}")
    lines = kaproxy.wait_sessions(3)
    down = [int(line["bytes_down"]) for line in lines]
    t.equal((down[0], down[1] - down[0]), (down[2], 992), "bytes_down")
    t.equal([line["from_cache"] for line in lines], ["none", "immediate", "immediate"],
            "from_cache")
    t.equal([line["uses"] for line in lines], ["1", "2", "3"], "uses")
    t.equal(len({(line["conn"], line["addr"]) for line in lines}), 1, "connections")
    t.equal(["connect_ms" in line for line in lines], [True, False, False], "connect_ms")


@test("which connection it was, and how long its parts took, in their order")
def connection(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream)
    t.equal(one_shot(t, kaproxy).status, 200, "status")
    check_line(t, kaproxy, conn=1, uses=1, addr=f"127.0.0.1:{upstream.port}")
    raw = kaproxy.access_file.read_text()
    t.equal(re.findall(r"(\w+)=", raw),
            "ts listener client upstream from_cache wait_ms conn uses addr connect_ms duration_ms "
            "bytes_up bytes_down first_byte_ms status method target end".split(), "fields")
    t.equal(re.findall(r" (?:connect_ms|first_byte_ms)=(?!\d+\.\d )", raw), [], "malformed times")


@test("connection numbers are unique, in all pools; a preconnected one is unused")
def numbers(t):
    upstream = t.own(HttpUpstream())
    more = {"pool p": {"min_idle": 1},
            "listener other": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                               "pool": "p"}}
    kaproxy = start(t, upstream, more=more, pool={"max_uses": 1})
    kaproxy.wait_idle(1, pool="p")
    for listener in "main", "main", "other":
        one_shot(t, kaproxy, listener=listener)
    lines = kaproxy.wait_sessions(3)
    t.equal(len({line["conn"] for line in lines}), 3, "connections")
    t.equal([(line["from_cache"], line["uses"], "connect_ms" in line) for line in lines],
            [("none", "1", True), ("none", "1", True), ("immediate", "1", False)], "reuse")


@test("the upstream sent nothing: no first byte; refused: no connection")
def no_response(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, port)
    one_shot(t, kaproxy)
    line = check_line(t, kaproxy, conn="-", uses="-", addr="-", from_cache="-", status=502)
    t.check("connect_ms" not in line and "first_byte_ms" not in line, f"times in {line}")
    upstream = t.own(HttpUpstream(lambda connection, message: None, listener=port.socket))
    one_shot(t, kaproxy)
    line = check_line(t, kaproxy, 2, uses=1, addr=f"127.0.0.1:{port.port}", status=502)
    t.check("first_byte_ms" not in line, f"first_byte_ms in {line}")
    upstream.close()
    one_shot(t, kaproxy)
    check_line(t, kaproxy, 3, conn="-", uses="-", addr="-", from_cache="-", status=502)


@test("a request that is retried: the second connection's fields")
def again(t):
    def handler(connection, message):
        return None if message.target == "/close" and connection.number == 1 else response(b"x")

    kaproxy = start(t, t.own(HttpUpstream(handler)))
    one_shot(t, kaproxy)
    t.equal(one_shot(t, kaproxy, "GET", "/close").status, 200, "status")
    line = check_line(t, kaproxy, 2, retried=1, from_cache="none", conn=2, uses=1)
    t.check("connect_ms" in line and "first_byte_ms" in line, f"times in {line}")


@test("nothing that a client sends breaks a line: quotes, controls, spaces, very long targets")
def escaping(t):
    kaproxy = start(t, t.own(HttpUpstream()))
    nasty = (b'GET /"quoted" HTTP/1.1\r\nHost: h\r\n\r\n', b"GET /a\\b HTTP/1.1\r\nHost: h\r\n\r\n",
             b"GET /\x1b[31m HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n",
             b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /a=b HTTP/1.1\r\nHost: h\r\n\r\n",
             b'G"T / HTTP/1.1\r\nHost: h\r\n\r\n', b"\x16\x03\x01 / HTTP/1.1\r\n\r\n",
             b"GET /\xe4 end=complete HTTP/1.1\r\nHost: h\r\n\r\n",
             b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n" % (b"x" * 8000),
             b"M" * 300 + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
    for number, data in enumerate(nasty, 1):
        peer = client(t, kaproxy)
        peer.channel.send(data)
        peer.response()
        line = kaproxy.wait_sessions(number)[number - 1]  # fails if it is not logfmt
        for key in "status", "method", "target", "end", "duration_ms":
            t.check(key in line, f"{key} is missing after {data[:40]!r}")
    raw = kaproxy.access_file.read_bytes()
    t.equal(len(raw.splitlines()), len(nasty), "lines")
    t.equal(re.findall(rb"[\x00-\x09\x0b-\x1f\x7f]", raw), [], "control characters")
    t.at_most(max(map(len, raw.splitlines())), 8192, "bytes of the longest line")


@test("the target is quoted if necessary, and can be read back")
def quoted(t):
    kaproxy = start(t, t.own(HttpUpstream()))
    peer = client(t, kaproxy)
    peer.channel.send(b'GET /"x"\\ HTTP/1.1\r\nHost: h\r\n\r\n')
    t.equal(peer.response().status, 200, "status")
    line = kaproxy.wait_sessions(1)[0]
    t.equal(re.sub(r"\\(.)", r"\1", line["target"]), '/"x"\\', "target")


@test("counters: discards, retries, responses by class")
def counters(t):
    counts = {}

    def handler(connection, message):
        counts[connection.number] = counts.get(connection.number, 0) + 1
        if message.target == "/close" and counts[connection.number] > 1:
            return None
        return response(b"", status=int(message.target[1:]) if message.target[1:].isdigit() else 200)

    kaproxy = start(t, t.own(HttpUpstream(handler)))
    for target in "/200", "/201", "/304", "/404", "/503", "/600", "/999", "/close":
        one_shot(t, kaproxy, "GET", target)
    peer = client(t, kaproxy)
    peer.channel.send(b"nonsense\r\n\r\n")
    t.equal(peer.response().status, 400, "status")
    kaproxy.wait_sessions(9)
    kaproxy.counters()
    line = wait_until(lambda: kaproxy.find_log(r"stats listener=main "), "the counters")[-1]
    got = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)\b", line)}
    wanted = {"accepted": 9, "complete": 8, "bad_request": 1, "retries": 1, "answers_2xx": 3,
              "answers_3xx": 1, "answers_4xx": 2, "answers_5xx": 1, "answers_1xx": 0,
              "answers_other": 2}
    t.equal({key: got.get(key) for key in wanted}, wanted, "counters")


main()
