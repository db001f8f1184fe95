#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a port in use is a clear error, one with closed connections is not."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Kaproxy, Skip, answer_lines, main, test


TIME_WAIT = "06"  # in /proc/net/tcp


@test("two instances on one port: the second ends with 1 and names the address")
def two_instances(t):
    upstream = t.upstream(answer_lines)
    first = t.kaproxy(upstream.endpoint)
    port = first.address()[1]
    second = Kaproxy(t, upstream.endpoint, listen=f"127.0.0.1:{port}")
    status, text = second.start_failing()
    t.equal(status, 1, "exit status")
    t.check(f"127.0.0.1:{port}" in text, f"the message does not name the address: {text!r}")
    t.check("Address already in use" in text, f"the message gives no reason: {text!r}")
    client = first.connect()
    t.equal(client.ask(b"a"), b"1 a", "response of the first")


@test("an address that is not this machine's: an error that names it")
def foreign_address(t):
    kaproxy = Kaproxy(t, t.upstream(answer_lines).endpoint, listen="192.0.2.77:{port}")
    status, text = kaproxy.start_failing()
    t.equal(status, 1, "exit status")
    t.check("192.0.2.77" in text, f"the message does not name the address: {text!r}")


@test("a restart takes the port over at once, though closed connections linger on it")
def restart(t):
    def one_answer(connection):
        connection.send(connection.read_line() + b"\n")

    upstream = t.upstream(one_answer)
    first = t.kaproxy(upstream.endpoint)
    port = first.address()[1]
    client = first.connect()  # the upstream ends first, so kaproxy's end is the one that lingers
    client.send(b"a\n")
    t.equal(client.read_end(), (b"a\n", "eof"), "response")
    client.close()
    first.wait_sessions(1)
    first.stop()
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [row.split() for row in table]
    lingering = [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] == TIME_WAIT]
    if not lingering:
        raise Skip("the kernel keeps no closed connections, its table of them may be full")
    second = t.kaproxy(upstream.endpoint, listen=f"127.0.0.1:{port}")
    t.equal(second.connect().ask(b"b"), b"b", "response after the restart")


main()
