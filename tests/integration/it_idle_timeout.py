#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: idle_timeout ends a session in which nothing moves, and no other."""

import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test


def wait_end(t, kaproxy, client, seconds, session):
    started = time.monotonic()
    data, _ = client.read_end()
    t.equal(data, b"", "bytes at the end")
    t.at_least(time.monotonic() - started, seconds * 0.8, "seconds until the end")
    t.equal(kaproxy.wait_sessions(session)[session - 1]["end"], "idle_timeout", "end in the log")


@test("a client that never sends anything")
def never_sends(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, listener={"idle_timeout": "600ms"})
    wait_end(t, kaproxy, kaproxy.connect(), 0.6, 1)
    client = kaproxy.connect()
    t.check(client.ask(b"a").endswith(b" a"), "the next client was not served")


@test("an upstream that never responds: the connection is not reused")
def never_answers(t):
    def silent_first(connection):
        if connection.number == 1:
            connection.read_end()
        else:
            answer_lines(connection)

    upstream = t.upstream(silent_first)
    kaproxy = t.kaproxy(upstream.endpoint, listener={"idle_timeout": "600ms"})
    client = kaproxy.connect()
    client.send(b"a\n")
    wait_end(t, kaproxy, client, 0.6, 1)
    t.equal(kaproxy.connect().ask(b"b"), b"2 b", "the next client's response")


@test("a half-closed session in which nothing moves")
def half_closed(t):
    upstream = t.upstream(keep=True)
    kaproxy = t.kaproxy(upstream.endpoint, listener={"idle_timeout": "600ms"})
    client = kaproxy.connect()
    client.send(b"a\n")
    client.fin()
    wait_end(t, kaproxy, client, 0.6, 1)


@test("traffic in either direction keeps the session")
def traffic(t):
    def tick(connection):
        connection.read_line()
        for _ in range(20):
            time.sleep(0.1)
            connection.send(b".")
        answer_lines(connection)

    kaproxy = t.kaproxy(t.upstream(tick).endpoint, listener={"idle_timeout": "1s"})
    client = kaproxy.connect()
    client.send(b"a\n")
    t.equal(client.read(20), b"." * 20, "what the upstream sent over two seconds")
    for _ in range(20):
        time.sleep(0.1)
        client.send(b"b")
    t.equal(client.ask(b""), b"1 " + b"b" * 20, "the response after two more seconds")
    t.equal(client.end(), "eof", "end")


@test("idle_timeout = 0: no end, however long nothing moves")
def none(t):
    upstream = t.upstream(answer_lines)
    other = {"listener other": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                                "reuse": "quiet", "idle_timeout": "600ms"}}
    kaproxy = t.kaproxy(upstream.endpoint, listener={"idle_timeout": 0}, more=other)
    clients = [kaproxy.connect() for _ in range(3)]
    answer = clients[0].ask(b"a")  # one that has its response, two that sent nothing
    for number in 1, 2:  # what ends others ends none of them
        wait_end(t, kaproxy, kaproxy.connect("other"), 0.6, number)
    t.equal(clients[0].ask(b"b"), answer[:-1] + b"b", "the second response")
    for client in clients[1:]:
        t.check(client.ask(b"c").endswith(b" c"), "a client was not served")
    for client in clients:
        t.equal(client.end(), "eof", "end")


main()
