#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a client whose upstream refuses sees a reset, and one log line says why."""

import contextlib
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ReservedPort, answer_lines, main, test


@test("connection refused")
def refused(t):
    port = t.own(ReservedPort())
    kaproxy = t.kaproxy(port.endpoint, main={"log_level": "debug"})  # which logs each
    for number in range(1, 4):
        client = kaproxy.connect()
        if number > 1:
            with contextlib.suppress(ConnectionError):
                client.send(b"hello\n")
        t.equal(client.read_end(), (b"", "reset"), "what the client saw")
        session = kaproxy.wait_sessions(number)[-1]
        wanted = {"listener": "main", "upstream": port.endpoint, "from_cache": "-",
                  "function": "connect", "errno": "111", "error": "Connection refused",
                  "bytes_up": "0", "bytes_down": "0"}
        t.equal({key: session.get(key) for key in wanted}, wanted, "access-log line")
        lines = kaproxy.wait_log("no connection: .*main.*Connection refused", number)
        t.equal(len(lines), number, "log lines")
        for word in port.endpoint, "connect", "main":
            t.check(word in lines[-1], f"{word} is not in {lines[-1]!r}")


@test("and when the upstream is back, the next client is served")
def comes_up(t):
    port = t.own(ReservedPort())
    kaproxy = t.kaproxy(port.endpoint)
    t.equal(kaproxy.connect().read_end(), (b"", "reset"), "what the first client saw")
    t.upstream(answer_lines, listener=port.socket)
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response")
    t.equal(client.end(), "eof", "end")


main()
