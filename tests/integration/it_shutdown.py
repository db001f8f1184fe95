#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a signal ends kaproxy in order, after its sessions and with exit status 0."""

import signal
import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test, wait_until


def start(t, **options):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, **options)
    return kaproxy, upstream


def refuses(kaproxy):
    try:
        kaproxy.connect().close()
        return False
    except ConnectionError:
        return True


@test("SIGTERM and SIGINT without a session: the end at once, idle connections closed in order")
def idle(t):
    for number in signal.SIGTERM, signal.SIGINT:
        kaproxy, upstream = start(t, pool={"min_idle": 2})
        upstream.wait_accepted(2)
        kaproxy.connect().close()
        kaproxy.wait_sessions(1)
        kaproxy.stop(number, timeout=10)
        upstream.join()
        t.at_most(upstream.accepted, 3, "connections")


@test("SIGTERM with a session: no new clients, the session continues to its end")
def with_session(t):
    kaproxy, _ = start(t)
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response before")
    kaproxy.signal(signal.SIGTERM)
    wait_until(lambda: refuses(kaproxy), "kaproxy to stop listening")
    t.equal(client.ask(b"b"), b"1 b", "response after")
    t.check(kaproxy.is_running(), "kaproxy did not wait for its session")
    t.equal(client.end(), "eof", "end of the session")
    kaproxy.wait_exit(10)
    t.equal(kaproxy.wait_session(client)["end"], "complete", "end in the access log")


@test("SIGTERM with clients in the queue: they are served, then the end")
def with_queue(t):
    kaproxy, _ = start(t, pool={"max_per_host": 1})
    busy = kaproxy.connect()
    t.equal(busy.ask(b"a"), b"1 a", "response")
    waiting = kaproxy.connect()
    waiting.send(b"b\n")
    t.check(waiting.is_silent(0.1), "the second client was served together with the first")
    kaproxy.signal(signal.SIGTERM)
    wait_until(lambda: refuses(kaproxy), "kaproxy to stop listening")
    t.equal(busy.end(), "eof", "end of the first")
    t.check(waiting.read_line().endswith(b" b"), "the second client was not served")
    t.equal(waiting.end(), "eof", "end of the second")
    kaproxy.wait_exit(10)


@test("shutdown_timeout ends a session that does not end")
def shutdown_timeout(t):
    kaproxy, upstream = start(t, main={"shutdown_timeout": "600ms"})
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response")
    started = time.monotonic()
    kaproxy.signal(signal.SIGTERM)
    t.equal(client.read_end(), (b"", "reset"), "what the client saw")
    t.at_least(time.monotonic() - started, 0.5, "seconds until the end")
    kaproxy.wait_exit(10)
    t.equal(kaproxy.wait_session(client)["end"], "shutdown", "end in the log")
    upstream.join()


@test("a second SIGTERM ends at once")
def second_signal(t):
    for second in signal.SIGTERM, signal.SIGINT:
        kaproxy, upstream = start(t)
        client = kaproxy.connect()
        t.equal(client.ask(b"a"), b"1 a", "response")
        kaproxy.signal(signal.SIGTERM)
        wait_until(lambda: refuses(kaproxy), "kaproxy to stop listening")
        started = time.monotonic()
        kaproxy.stop(second, timeout=10)
        t.equal(client.read_end(), (b"", "reset"), "what the client saw")
        t.at_most(time.monotonic() - started, 10, "seconds until the end")
        upstream.join()



@test("a second signal, or no shutdown_timeout, while clients wait in the backlog: the end, in order")
def backlog_is_cut_off(t):
    for seconds, numbers in (30, [signal.SIGTERM, signal.SIGINT]), (0, [signal.SIGTERM]):
        kaproxy, _ = start(t, listen=f"unix:{t.folder}/socket", main={"shutdown_timeout": seconds})
        with kaproxy.paused():
            clients = [kaproxy.connect() for _ in range(3)]
            for number in numbers:
                kaproxy.signal(number)
        kaproxy.wait_exit()
        t.check(not (t.folder / "socket").exists(), "the socket's file is left")
        for client in clients:
            client.close()


@test("SIGTERM with more clients in the backlog than are accepted at once: all are served")
def long_backlog(t):
    kaproxy, _ = start(t, pool={"max_per_host": 300, "max_open": 300})
    with kaproxy.paused():
        clients = [kaproxy.connect() for _ in range(200)]
        for client in clients:
            client.send(b"a\n")
        kaproxy.signal(signal.SIGTERM)
    for client in clients:
        t.equal(client.read_line()[-1:], b"a", "a response")
        client.close()
    kaproxy.wait_exit()


@test("clients in the backlog that exceed max_clients: closed, with a message")
def full_backlog(t):
    kaproxy, _ = start(t, main={"max_clients": 2})
    with kaproxy.paused():
        clients = [kaproxy.connect() for _ in range(3)]
        kaproxy.signal(signal.SIGTERM)
    kaproxy.wait_log(r"listener main: connections waiting at \S+ are closed: max_clients")
    t.equal(clients[2].read_end()[1], "reset", "the client that there was no place for")
    for client in clients:
        client.close()
    kaproxy.wait_exit()


main()
