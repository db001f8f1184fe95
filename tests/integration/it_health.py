#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: an upstream that is down costs its clients no wait, is noticed when it is
back, and one that restarts causes no errors."""

import re
import socket
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Blackhole, ReservedPort, answer_lines, main, test, wait_until
from kaptest import free_port, memcached_peers, redis_peers
from kaptest.http import (HttpUpstream, check_line, client, held, one_shot, proxy_status, start,
                          wait_line)
from kaptest.resp import ScriptedRedis

SINCE = r"allocate: the upstream has been down since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ "


def check_refused(t, got, reason):
    t.equal(got.status, 503, "status")
    t.check(re.search(SINCE + re.escape(f"({reason})"), got.body.decode()), f"{got.body!r}")
    t.check(1 <= int(got.get("Retry-After")) <= 30, f"Retry-After: {got.get('Retry-After')}")
    t.equal(proxy_status(got)["error"], "destination_unavailable", "error of Proxy-Status")


def check_health(t, kaproxy, **wanted):
    counters = kaproxy.counters()
    t.equal({key: counters[key] for key in wanted}, wanted, "counters")


def wait_up(kaproxy, refused):
    kaproxy.wait_log(rf"notice: reachable again: .* failures=\d+ refused={refused}$")


@test("a black hole: those with a place wait, the others are refused together, then all at once")
def black_hole(t):
    hole = t.own(Blackhole())
    kaproxy = start(t, hole, pool={"max_per_host": 2, "connect_timeout": "1s", "fail_after": 2})
    clients = [client(t, kaproxy) for _ in range(10)]
    for number, peer in enumerate(clients):
        peer.send("GET", f"/{number}")
    wait_until(lambda: kaproxy.counters()["waiting"] == 10, "all clients to wait")
    got = [peer.response() for peer in clients]
    t.equal(sorted(message.status for message in got), [503] * 8 + [504] * 2, "status")
    reason = "connect: no connection within connect_timeout = 1 s"
    for message in got:
        if message.status == 503:
            check_refused(t, message, reason)
    lines = wait_line(kaproxy, 10) and kaproxy.sessions()
    t.equal([line["status"] for line in lines], ["504"] * 2 + ["503"] * 8, "status in order")
    # New clients wait for nothing, not even for the attempt that may be in progress.
    for number in range(3):
        check_refused(t, one_shot(t, kaproxy, "GET", f"/late/{number}"), reason)
        line = check_line(t, kaproxy, 11 + number, status=503, function="allocate", errno=112,
                          end="alloc_failed", from_cache="-")
        t.equal(line["wait_ms"], "0.0", "wait_ms")
    check_health(t, kaproxy, down=1, downs=1, refused=11, waiting=0)
    t.own(HttpUpstream(listener=hole.socket))
    wait_up(kaproxy, 11)
    t.equal(one_shot(t, kaproxy).status, 200, "status once it is back")
    check_health(t, kaproxy, down=0, downs=1, refused=11)
    t.equal(len(kaproxy.find_log("upstream is down")), 1, "lines that say that it is down")


@test("refused, refused, down; back again without any client, which the log says once")
def comes_back(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, port, pool={"fail_after": 2})
    for _ in range(2):
        t.equal(one_shot(t, kaproxy).status, 502, "status")
    for _ in range(3):
        check_refused(t, one_shot(t, kaproxy), "connect: Connection refused")
    lines = kaproxy.wait_log("warning: upstream is down: pool=default upstream=http://.* failures=2 "
                             "function=connect errno=111 error=\"Connection refused\"$")
    t.equal(len(lines), 1, "lines that say that it is down")
    t.equal(kaproxy.find_log("warning: .*errno=112"), [], "warnings of those that were refused")
    upstream = t.own(HttpUpstream(listener=port.socket))
    wait_up(kaproxy, 3)
    t.equal(upstream.requests, [], "requests")
    t.equal(one_shot(t, kaproxy).status, 200, "status")
    t.equal(upstream.accepted, 1, "connections: the attempt's is used")
    t.equal(len(kaproxy.find_log("reachable again")), 1, "lines that say that it is back")


@test("one attempt at a time, and ever fewer, with preconnected connections too")
def attempts(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, port, pool={"fail_after": 3, "min_idle": 3})
    kaproxy.wait_log("upstream is down: ")  # without a client
    dials = kaproxy.counters()["dials"]
    t.equal(dials, 3, "dials until it is down")
    wait_until(lambda: kaproxy.counters()["dials"] >= dials + 2, "two attempts")
    t.equal(kaproxy.counters()["dials"], dials + 2, "attempts, one at a time")
    t.equal(kaproxy.counters()["spares"], 3, "preconnected ones among them")
    upstream = t.own(HttpUpstream(listener=port.socket))
    upstream.wait_accepted(3)
    kaproxy.wait_idle(3)
    wait_up(kaproxy, 0)
    t.equal(one_shot(t, kaproxy).status, 200, "status")


@test("existing connections continue, and serve any client they can")
def idle_ones_serve(t):
    listener = t.own(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", free_port()))
    upstream, go = held(t, "/held", listener=listener)
    kaproxy = start(t, upstream, pool={"fail_after": 1, "max_per_host": 3})
    first, second = client(t, kaproxy), client(t, kaproxy)
    first.send("GET", "/held")
    upstream.wait_requests(1)
    upstream.refuse()
    t.equal(second.ask("GET", "/").status, 502, "status of the one that it fails by")
    check_refused(t, one_shot(t, kaproxy), "connect: Connection refused")
    go.set()
    t.equal(first.response().status, 200, "status of the one in progress")
    kaproxy.wait_idle(1)
    t.equal([one_shot(t, kaproxy).status for _ in range(3)], [200] * 3, "those on its connection")
    check_health(t, kaproxy, down=1, refused=1)
    upstream.listen()
    wait_up(kaproxy, 1)


@test("opaque bytes: reset at once")
def opaque(t):
    port = t.own(ReservedPort())
    kaproxy = t.kaproxy(port.endpoint, pool={"fail_after": 1})
    for number in range(1, 3):
        t.equal(kaproxy.connect().read_end(), (b"", "reset"), "what the client saw")
        line = kaproxy.wait_sessions(number)[-1]
    t.equal((line["function"], line["errno"]), ("allocate", "112"), "the failure")
    t.check(re.search(SINCE[10:], line["error"]), line["error"])
    t.upstream(answer_lines, listener=port.socket)
    wait_up(kaproxy, 1)
    t.check(kaproxy.connect().ask(b"a").endswith(b" a"), "the client was not served")


@test("Redis: an error to each command, at once, and the client stays and is served later")
def redis(t):
    port = t.own(ReservedPort())
    kaproxy = redis_peers.start(t, port.endpoint.replace("tcp", "redis"), pool={"fail_after": 1})
    one = redis_peers.client(kaproxy)
    t.equal(one.ask("GET", "k"), b"ERR kaproxy: connect: Connection refused", "the first")
    for reply in one.pipeline("GET k", "SET k v"):
        t.check(re.fullmatch(f"ERR kaproxy: {SINCE}\\(connect: Connection refused\\)",
                             reply.decode()), f"{reply!r}")
    t.own(ScriptedRedis(listener=port.socket))
    wait_up(kaproxy, 1)
    t.equal(one.ask("GET", "k"), b"k at 1", "once it is back")


@test("memcached: the same")
def memcached(t):
    port = t.own(ReservedPort())
    kaproxy = memcached_peers.start(t, port.endpoint.replace("tcp", "memcached"),
                                    pool={"fail_after": 1})
    one = kaproxy.connect()
    t.equal(one.ask(b"get k\r"), b"SERVER_ERROR kaproxy: connect: Connection refused\r", "the first")
    reply = one.ask(b"get k\r")
    t.check(re.match(f"SERVER_ERROR kaproxy: {SINCE}", reply.decode()), f"{reply!r}")
    check_health(t, kaproxy, down=1, refused=1)


@test("an upstream that restarts: with connect_retries no client sees an error")
def restarts(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, port, pool={"connect_retries": 30, "max_per_host": 2, "fail_after": 1})
    clients = [client(t, kaproxy) for _ in range(4)]
    for number, peer in enumerate(clients):
        peer.send("POST", f"/{number}", body=b"once")
    wait_until(lambda: kaproxy.counters()["waiting"] == 4, "the clients to wait")
    t.equal(kaproxy.counters()["connecting"], 2, "dials")
    upstream, go = held(t, listener=port.socket)
    upstream.wait_accepted(2)  # both are tried again
    go.set()
    t.equal([peer.response().status for peer in clients], [200] * 4, "status")
    counters = kaproxy.counters()
    t.equal((counters["dials"], counters["failures"], counters["down"]), (2, 0, 0), "counters")
    t.at_least(counters["dial_retries"], 2, "tries")
    t.equal(sorted(message.target for message in upstream.requests), ["/0", "/1", "/2", "/3"],
            "requests")


@test("connect_retries exhausted: 502; a client's own time that expires first: 504")
def used_up(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, port, pool={"connect_retries": 1})
    got = one_shot(t, kaproxy)
    t.equal((got.status, got.body.strip().splitlines()[-1]), (502, b"connect: Connection refused"),
            "response")
    check_health(t, kaproxy, dials=1, dial_retries=1)
    kaproxy = start(t, port, pool={"connect_retries": 100, "timeout": "1500ms"})
    got = one_shot(t, kaproxy)
    t.equal((got.status, got.body.strip().splitlines()[-1]),
            (504, b"connect: no connection within timeout = 1500 ms (Connection refused)"), "reply")
    check_health(t, kaproxy, connecting=0, dials=1)


@test("a dial that has no waiter any more is not retried")
def nobody_waits(t):
    silent = t.upstream()
    kaproxy = start(t, silent, pool={"connect_retries": 50, "connect_timeout": "3s"},
                    more={"listener tls": {"listen": "127.0.0.1:{port}", "tls_verify": "no",
                                           "upstream": f"https://127.0.0.1:{silent.port}"}})
    peer = client(t, kaproxy, listener="tls")
    peer.send("GET", "/")
    silent.wait_accepted(1)
    peer.channel.reset()
    wait_until(lambda: kaproxy.counters()["discard_dial_failed"] == 1, "the end of the dial")
    check_health(t, kaproxy, dials=1, dial_retries=0, connecting=0)
    t.equal(silent.accepted, 1, "connections")


main()
