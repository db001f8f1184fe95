#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: an upstream's name is followed where it moves, and survives DNS failures."""

import socket
import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test, wait_until
from kaptest.dns import (NAME, SERVFAIL, Dnsmasq, ScriptedDns, count_gone, listeners, start_named,
                         upstreams, use)
from kaptest.http import HttpUpstream, describe, one_shot

HERE, THERE = "127.0.0.1", "127.0.0.2"


def wait_moved(kaproxy, there):
    """Clients connect until one of them reaches the new address."""
    def moved():
        use(kaproxy)
        return there.accepted > 0

    wait_until(moved, "a client to reach the new address")


@test("a name that keeps one of its addresses keeps the connections to it")
def keeps_some(t):
    dns = t.own(ScriptedDns())
    here, there = upstreams(t, HERE, THERE)
    dns.set(NAME, HERE)
    kaproxy = start_named(t, dns, here.port)
    use(kaproxy)
    dns.set(NAME, THERE, HERE)
    asked = dns.count(NAME)

    def refreshed():
        use(kaproxy)
        return dns.count(NAME) > asked + 1

    wait_until(refreshed, "two more queries")
    t.equal((here.accepted, there.accepted, count_gone(kaproxy)), (1, 0, 0), "connections, discards")


@test("an answer is kept for its TTL, an alias included")
def kept(t):
    dns = t.own(ScriptedDns())
    here, = upstreams(t, HERE)
    dns.set(NAME, HERE, ttl=600, alias="x.test")
    kaproxy = start_named(t, dns, here.port, pool={"max_uses": 1})
    for _ in range(5):
        use(kaproxy)
    t.equal((here.accepted, dns.count(NAME)), (5, 1), "connections, queries")


@test("a TTL of 0 is treated as 1 second, after which the next connection asks again")
def ttl(t):
    dns = t.own(ScriptedDns())
    here, there = upstreams(t, HERE, THERE)
    dns.set(NAME, HERE, ttl=0)
    kaproxy = start_named(t, dns, here.port, pool={"max_uses": 1})
    started = time.monotonic()
    use(kaproxy)
    dns.set(NAME, THERE, ttl=0)
    wait_moved(kaproxy, there)
    t.at_least(time.monotonic() - started, 1, "seconds until it was asked for")


@test("no such name: the client gets an error, and the name works once it exists")
def not_found(t):
    dns = t.own(Dnsmasq(t))
    here, = upstreams(t, HERE, kind=HttpUpstream, script=describe)
    kaproxy = start_named(t, dns, here.port, scheme="http")
    t.equal(one_shot(t, kaproxy).status, 502, "status")
    line = kaproxy.wait_sessions(1)[0]
    t.equal((line["function"], line["errno"], line["error"]),
            ("resolve", "0", f"Domain name not found (asked {dns.resolver})"), "failure")
    dns.set(NAME, HERE)
    t.equal(one_shot(t, kaproxy).status, 200, "status")
    t.equal(kaproxy.find_log("lookup"), [], "log")


@test("a name that vanishes: the last addresses serve, and that is logged once")
def vanishes(t):
    dns = t.own(Dnsmasq(t))
    here, = upstreams(t, HERE)
    dns.set(NAME, HERE)
    kaproxy = start_named(t, dns, here.port, pool={"max_uses": 2})
    use(kaproxy)
    dns.set(NAME)

    def noticed():
        use(kaproxy)
        return kaproxy.find_log(f"warning.*name={NAME} lookup failed: .*Domain name not found")

    wait_until(noticed, "a failed lookup")
    accepted = here.accepted
    for _ in range(10):
        use(kaproxy)
    t.at_least(here.accepted, accepted + 4, "connections")
    t.equal(len(kaproxy.find_log("lookup failed")), 1, "messages")
    t.equal(count_gone(kaproxy), 0, "discards")


@test("SERVFAIL, then recovery at another address: each is logged once")
def servfail(t):
    dns = t.own(ScriptedDns())
    here, there = upstreams(t, HERE, THERE)
    dns.set(NAME, HERE)
    kaproxy = start_named(t, dns, here.port, pool={"min_idle": 1, "max_uses": 1})
    here.wait_accepted(1)
    dns.set(NAME, status=SERVFAIL)
    kaproxy.wait_log(f"name={NAME} lookup failed: .*SERVFAIL")
    use(kaproxy)
    dns.set(NAME, THERE)
    kaproxy.wait_log(f"name={NAME} lookups work again")
    wait_moved(kaproxy, there)
    t.equal((len(kaproxy.find_log("lookup failed")), len(kaproxy.find_log("work again"))), (1, 1),
            "messages")
    t.equal(count_gone(kaproxy), 0, "discards")


@test("SERVFAIL from the start: a client is refused")
def servfail_first(t):
    dns = t.own(ScriptedDns())
    dns.set(NAME, status=SERVFAIL)
    kaproxy = start_named(t, dns, 9)
    client = kaproxy.connect()
    t.equal(client.read_end(), (b"", "reset"), "end")
    line = kaproxy.wait_session(client)
    t.equal((line["function"], line["error"]),
            ("resolve", f"a name server answered SERVFAIL (asked {dns.resolver})"), "failure")


@test("DNS that does not answer: clients wait 2 seconds for it, then for nothing")
def mute(t):
    dns = t.own(ScriptedDns())
    here, = upstreams(t, HERE)
    dns.set(NAME, HERE)
    kaproxy = start_named(t, dns, here.port, pool={"max_uses": 1})
    use(kaproxy)
    dns.set(NAME, mute=True)
    time.sleep(1.1)  # the answer's TTL
    started = time.monotonic()
    use(kaproxy)
    t.at_least(time.monotonic() - started, 1.5, "seconds for the first")
    t.equal(len(kaproxy.wait_log("no answer in time")), 1, "messages")
    started = time.monotonic()
    for _ in range(5):
        use(kaproxy)
    t.at_most(time.monotonic() - started, 1.5, "seconds for five more")
    t.equal(here.accepted, 7, "connections")


@test("DNS that never answered: connect_timeout ends the wait, and DNS is to blame")
def mute_first(t):
    dns = t.own(ScriptedDns())
    dns.set(NAME, mute=True)
    kaproxy = start_named(t, dns, 9, scheme="http", pool={"connect_timeout": "300ms"})
    t.equal(one_shot(t, kaproxy).status, 504, "status")
    line = kaproxy.wait_sessions(1)[0]
    text = "no answer from the name servers within connect_timeout = 300 ms"
    t.equal((line["function"], line["errno"], line["error"]),
            ("resolve", "110", f"{text} (asked {dns.resolver})"), "failure")


@test("DNS that never answered: a client's own timeout ends the wait for its connection")
def mute_until_timeout(t):
    dns = t.own(ScriptedDns())
    dns.set(NAME, mute=True)
    kaproxy = start_named(t, dns, 9, scheme="http", listener={"timeout": "300ms"})
    t.equal(one_shot(t, kaproxy).status, 504, "status")
    line = kaproxy.wait_sessions(1)[0]
    text = "no answer from the name servers within timeout = 300 ms"
    t.equal((line["function"], line["errno"], line["error"]),
            ("resolve", "110", f"{text} (asked {dns.resolver})"), "failure")


@test("AAAA arrives first, and refuses: A is used at once")
def refused_in6(t):
    dns = t.own(ScriptedDns())
    in6, in4 = listeners("::1", HERE)
    t.own(in6)  # bound, but does not listen
    here = t.upstream(answer_lines, listener=in4)
    dns.set(NAME, HERE, "::1")
    use(start_named(t, dns, here.port))
    t.equal(here.accepted, 1, "connections")


@test("AAAA arrives first, and does not answer: A is used after 250 ms")
def mute_in6(t):
    dns = t.own(ScriptedDns())
    in6, in4 = listeners("::1", HERE)
    t.own(in6)
    in6.listen(0)
    fill(t, in6)
    here = t.upstream(answer_lines, listener=in4)
    dns.set(NAME, HERE, "::1")
    kaproxy = start_named(t, dns, here.port)
    started = time.monotonic()
    use(kaproxy)
    t.at_least(time.monotonic() - started, 0.2, "seconds")
    kaproxy.wait_idle(1)
    t.equal(kaproxy.counters()["connecting"], 0, "connects left behind")


def fill(t, listener):
    """Connects until the backlog is full."""
    for _ in range(4):
        filler = t.own(socket.socket(listener.family))
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname()[:2])


@test("AAAA without a route: A is used")
def unreachable_in6(t):
    dns = t.own(ScriptedDns())
    here, = upstreams(t, HERE)
    dns.set(NAME, HERE, "100::1")  # the discard prefix
    use(start_named(t, dns, here.port))
    t.equal(here.accepted, 1, "connections")


@test("several A, the first of which refuse")
def refused_first(t):
    dns = t.own(ScriptedDns())
    sockets = listeners("127.0.0.3", "127.0.0.4", HERE)
    for sock in sockets[:2]:
        t.own(sock)
    here = t.upstream(answer_lines, listener=sockets[2])
    dns.set(NAME, "127.0.0.3", "127.0.0.4", HERE)
    kaproxy = start_named(t, dns, here.port, pool={"max_uses": 1, "max_per_host": 1, "max_open": 1})
    for _ in range(3):
        use(kaproxy)
    t.equal(here.accepted, 3, "connections")


@test("an address that refuses, and the name moves away from it")
def refused_then_moves(t):
    dns = t.own(Dnsmasq(t))
    here, there = listeners(HERE, THERE)
    t.own(here)
    there = t.upstream(lambda connection: connection.send(b"hello"), listener=there)
    dns.set(NAME, HERE)
    kaproxy = start_named(t, dns, there.port)
    refused = kaproxy.connect()
    t.equal(refused.read_end(), (b"", "reset"), "end")
    t.equal(kaproxy.wait_session(refused)["errno"], "111", "errno")
    dns.set(NAME, THERE)

    wait_until(lambda: kaproxy.connect().read_end() and there.accepted > 0,
               "a client to reach the new address")


main()
