#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: connections leave an address within a minute after its name did, and stay if
DNS merely answers with others in turn."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, answer_lines, main, test, wait_until
from kaptest.dns import (NAME, Dnsmasq, ScriptedDns, count_gone, start_named, upstreams, use,
                         wait_closed)
from kaptest.http import HttpUpstream, describe, one_shot

HERE, THERE = "127.0.0.1", "127.0.0.2"

# Three answers over 30 seconds; generous, as it only bounds a failing test.
GONE = 90

LONG = {"keep_alive": 300}


def patient(script):
    """The script, for connections that are idle for that long."""
    def run(connection):
        connection.socket.settimeout(GONE)
        script(connection)
    return run


class Opaque:
    """One connection is reused again and again, one is busy, one is idle all the time."""

    def __init__(self, t, dns):
        self.t = t
        self.here, self.there = upstreams(t, HERE, THERE, script=patient(answer_lines))
        self.kaproxy = start_named(t, dns, self.here.port, pool={**LONG, "max_per_host": 4})
        self.busy, idle, used = [self.kaproxy.connect() for _ in range(3)]
        for client in self.busy, idle, used:
            client.ask(b"x")
        idle.end()
        used.end()
        self.kaproxy.wait_idle(2)

    def has_moved(self):
        use(self.kaproxy)
        return self.there.accepted > 0

    def check(self):
        t = self.t
        for connection in self.here.connections[1:]:
            wait_closed(connection)
        t.equal(count_gone(self.kaproxy), 2, "discards while one is busy")
        t.equal(self.busy.ask(b"still"), b"1 still", "answer on the busy connection")
        self.busy.end()
        wait_closed(self.here.connections[0])
        t.equal(count_gone(self.kaproxy), 3, "discards")
        t.equal(self.here.accepted, 3, "connections to the old address")


class Http:
    """Exchanges go to the new address, and none fails on the way."""

    def __init__(self, t, dns):
        self.t = t
        self.here, self.there = upstreams(t, HERE, THERE, kind=HttpUpstream, script=describe)
        self.kaproxy = start_named(t, dns, self.here.port, scheme="http", pool=LONG)
        t.equal(one_shot(t, self.kaproxy).status, 200, "status")

    def has_moved(self):
        self.t.equal(one_shot(self.t, self.kaproxy).status, 200, "status")
        return self.there.accepted > 0

    def check(self):
        wait_closed(self.here.connections[0])
        self.t.equal((self.here.accepted, self.there.accepted), (1, 1), "connections")
        self.t.equal(count_gone(self.kaproxy), 1, "discards")


class Spares:
    """min_idle connections follow the name, even without a client."""

    def __init__(self, t, dns):
        self.t = t
        self.here, self.there = upstreams(t, HERE, THERE, script=patient(answer_lines))
        self.kaproxy = start_named(t, dns, self.here.port, pool={**LONG, "min_idle": 2})
        self.here.wait_accepted(2)
        self.kaproxy.wait_idle(2)

    def has_moved(self):
        return self.there.accepted >= 2

    def check(self):
        self.kaproxy.wait_idle(2)
        for connection in self.here.connections:
            wait_closed(connection)
        self.t.equal(count_gone(self.kaproxy), 2, "discards")


class Unused:
    """Nor does an idle connection need one, once its address is known to be missing; and answers
    are valid for much longer than that."""

    def __init__(self, t):
        self.t = t
        self.dns = t.own(ScriptedDns())
        self.dns.set(NAME, HERE)
        self.here, self.there = upstreams(t, HERE, THERE, script=patient(answer_lines))
        self.kaproxy = start_named(t, self.dns, self.here.port, pool=LONG)
        use(self.kaproxy)

    def move(self):
        self.dns.set(NAME, THERE, ttl=3000)

        def asked():
            use(self.kaproxy)
            return self.dns.count(NAME) > 1

        wait_until(asked, "the name to be asked for")

    def has_moved(self):
        return self.here.connections[0].socket.fileno() == -1

    def check(self):
        self.t.equal(self.dns.count(NAME), 4, "queries")
        self.t.equal(self.here.accepted, 1, "connections to the old address")


@test("the name moves: new connections follow at once, idle ones close within a minute, busy ones "
      "when they are released")
def moves(t):
    dns = t.own(Dnsmasq(t))
    dns.set(NAME, HERE)
    unused = Unused(t)
    cases = [Opaque(t, dns), Http(t, dns), Spares(t, dns), unused]
    dns.set(NAME, THERE)
    unused.move()

    def have_moved():
        return all([case.has_moved() for case in cases])

    wait_until(have_moved, "all connections to leave the old address", GONE)
    for case in cases:
        case.check()


@test("new connections go to the new address at once")
def new_ones(t):
    dns = t.own(ScriptedDns())
    here, there = upstreams(t, HERE, THERE, script=patient(answer_lines))
    dns.set(NAME, HERE)
    kaproxy = start_named(t, dns, here.port)
    kept = kaproxy.connect()
    kept.ask(b"x")
    dns.set(NAME, THERE)

    def dialled():
        client = kaproxy.connect()  # next to the other one
        client.ask(b"x")
        client.reset()
        return there.accepted > 0

    wait_until(dialled, "a connection to the new address")
    t.equal(kept.ask(b"y"), b"1 y", "answer on the old one")
    t.equal(count_gone(kaproxy), 0, "discards")
    kept.end()


@test("4 of 16 addresses in turn, valid for a second: connections are reused")
def rotating(t):
    dns = t.own(ScriptedDns())
    addresses = [f"127.0.0.{i}" for i in range(1, 17)]
    ups = upstreams(t, *addresses)
    dns.set(NAME, *addresses, ttl=1, some=4)
    kaproxy = start_named(t, dns, ups[0].port, pool=LONG)
    uses = 0

    def enough():
        nonlocal uses
        for _ in range(2):  # two at a time
            clients = [kaproxy.connect(), kaproxy.connect()]
            for client in clients:
                client.ask(b"x")
            for client in clients:
                client.end()
                uses += 1
        return dns.count(NAME) >= 6 and uses >= (100 if SLOW else 400)

    wait_until(enough, "six answers", 60)
    t.equal(count_gone(kaproxy), 0, "discards")
    dials = kaproxy.counters()["dials"]
    t.at_most(dials, 4, "dials")
    t.equal(sum(up.accepted for up in ups), dials, "connections")


main()
