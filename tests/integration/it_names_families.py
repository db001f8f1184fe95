#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: one family of a name that arrives late, fails or is lost costs neither clients
nor connections anything, and both queries are for one name."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test, wait_until
from kaptest.dns import (A, AAAA, HOLD, MUTE, NAME, SERVFAIL, ScriptedDns, count_gone, listeners,
                         start_named, upstreams, use)
from kaptest.peers import need_localhost

IN4, IN6 = "127.0.0.1", "::1"
TRIES = 4  # of c-ares, for a query without an answer; in c-ares since 1.20 there are 3


def both(t, **options):
    """A DNS server, and an upstream on either address."""
    dns = t.own(ScriptedDns())
    in4, in6 = upstreams(t, IN4, IN6)
    dns.set(NAME, IN4, IN6, **options)
    return dns, in4, in6


def use_until_asked(t, kaproxy, dns, count, kind=A):
    """Clients connect until the name was queried that many times."""
    def asked():
        use(kaproxy)
        return dns.count(NAME, kind) >= count

    wait_until(asked, f"query {count}")


def lost(t, kind):
    dns, *ups = both(t)
    dns.set_family(NAME, kind, MUTE)
    kaproxy = start_named(t, dns, ups[0].port, pool={"max_uses": 1})
    use(kaproxy)
    t.check(dns.count(NAME, kind) < TRIES, "the first client waited for a lost answer")
    use_until_asked(t, kaproxy, dns, 2, A + AAAA - kind)
    t.equal(kaproxy.find_log("no answer in time"), [], "messages")
    t.equal(ups[kind == A].accepted, kaproxy.counters()["dials"], "dials to what arrived")


@test("a lost AAAA: neither the first client waits for it nor one after the TTL")
def lost_in6(t):
    lost(t, AAAA)


@test("a lost A: the same")
def lost_in4(t):
    lost(t, A)


@test("a lost AAAA, and connect_timeout = 1: clients are served")
def lost_with_a_short_limit(t):
    dns, in4, _ = both(t)
    dns.set_family(NAME, AAAA, MUTE)
    kaproxy = start_named(t, dns, in4.port, pool={"connect_timeout": 1, "max_uses": 1})
    for _ in range(3):
        use(kaproxy)
    t.equal(in4.accepted, 3, "connections")


def keeps(t, kind, answer):
    """Connections to addresses whose family fails at each later query."""
    dns, in4, in6 = both(t)
    dns.set_family(NAME, A if kind == AAAA else AAAA, SERVFAIL)
    kaproxy = start_named(t, dns, in4.port)
    use(kaproxy)  # one there
    dns.set_family(NAME, A if kind == AAAA else AAAA)
    dns.set_family(NAME, kind, answer)
    use_until_asked(t, kaproxy, dns, dns.count(NAME, A + AAAA - kind) + 4, A + AAAA - kind)
    kaproxy.wait_idle(1)
    t.equal((in6 if kind == AAAA else in4).accepted, 1, "connections to it")
    t.equal((in4.accepted + in6.accepted, count_gone(kaproxy)), (1, 0), "connections, discards")
    family = "IPv6" if kind == AAAA else "IPv4"
    t.equal(len(kaproxy.wait_log(f"warning.*name={NAME} lookup of {family} addresses failed")), 1,
            "messages")


@test("AAAA that fails closes no connections to IPv6 addresses")
def keeps_in6(t):
    keeps(t, AAAA, SERVFAIL)


@test("A that fails closes no connections to IPv4 addresses")
def keeps_in4(t):
    keeps(t, A, SERVFAIL)


@test("a family that arrives late is for the next dial")
def late(t):
    dns, in4, in6 = both(t, ttl=600)
    dns.set_family(NAME, AAAA, HOLD)
    kaproxy = start_named(t, dns, in4.port, pool={"max_uses": 1})
    use(kaproxy)
    t.equal((in4.accepted, in6.accepted), (1, 0), "connections")
    dns.release()

    def reached():
        use(kaproxy)
        return in6.accepted > 0

    wait_until(reached, "a client to reach the IPv6 address")
    t.equal(dns.count(NAME), 1, "queries")


@test("a family that arrives late is waited for if the other one refuses")
def late_and_needed(t):
    dns = t.own(ScriptedDns())
    in4, in6 = listeners(IN4, IN6)
    t.own(in4)  # bound, but does not listen
    upstream = t.upstream(answer_lines, listener=in6)
    dns.set(NAME, IN4, IN6)
    dns.set_family(NAME, AAAA, HOLD)
    kaproxy = start_named(t, dns, upstream.port)
    client = kaproxy.connect()
    client.send(b"x\n")
    wait_until(lambda: dns.count(NAME, AAAA) >= 2, "AAAA to be asked for again")
    t.equal(kaproxy.counters()["connecting"], 1, "dials")
    dns.release()
    t.equal(client.read_line(), b"1 x", "answer")
    client.end()


@test("RFC 6724 decides which family is first, not the order of arrival")
def order(t):
    dns, in4, in6 = both(t)
    for held in A, AAAA, None:
        if held:
            dns.set_family(NAME, held, HOLD)
        kaproxy = start_named(t, dns, in4.port, pool={"max_uses": 1})
        use(kaproxy)
        dns.release()
        before = in6.accepted

        def reached():
            use(kaproxy)
            return in6.accepted > before

        wait_until(reached, "a client to reach the IPv6 address")


@test("both families are of the same name of the search list")
def search_list(t):
    dns = t.own(ScriptedDns())
    in4, in6 = upstreams(t, IN4, IN6)
    dns.set("up.one.test", IN6)
    dns.set("up.two.test", IN4)
    wrap = ["env", "LOCALDOMAIN=one.test two.test"]
    kaproxy = start_named(t, dns, in4.port, name="up", wrap=wrap, pool={"max_uses": 1})
    use(kaproxy)
    t.equal((in4.accepted, in6.accepted), (0, 1), "connections")
    t.equal(dns.count("up.two.test"), 0, "queries for the next name")
    dns.set("up.one.test")  # it exists, but has no address

    def reached():
        use(kaproxy)
        return in4.accepted > 0

    wait_until(reached, "a client to reach the next name")


@test("a name of the search list is skipped only if it is known not to exist")
def search_list_failure(t):
    dns = t.own(ScriptedDns())
    in4, = upstreams(t, IN4)
    dns.set("up.one.test")
    dns.set_family("up.one.test", AAAA, SERVFAIL)
    dns.set("up.two.test", IN4)
    kaproxy = start_named(t, dns, in4.port, name="up", wrap=["env", "LOCALDOMAIN=one.test two.test"])
    client = kaproxy.connect()
    t.equal(client.read_end(), (b"", "reset"), "end")
    t.equal(kaproxy.wait_session(client)["function"], "resolve", "function")
    t.equal(dns.count("up.two.test"), 0, "queries for the next name")


@test("a lost AAAA of a name that does not exist does not delay the search")
def search_list_lost(t):
    dns = t.own(ScriptedDns())
    in4, = upstreams(t, IN4)
    for name in "up.one.test", "up.two.test", "up.three.test":
        dns.set_family(name, AAAA, MUTE)
    dns.set("up.three.test", IN4)
    wrap = ["env", "LOCALDOMAIN=one.test two.test three.test"]
    kaproxy = start_named(t, dns, in4.port, name="up", wrap=wrap)
    use(kaproxy)
    t.equal(in4.accepted, 1, "connections")
    t.check(dns.count("up.one.test", AAAA) < TRIES, "the client waited for a lost answer")


@test("a name of the hosts file is answered from there alone")
def hosts(t):
    need_localhost()
    dns = t.own(ScriptedDns())
    in4, in6 = upstreams(t, IN4, IN6)
    dns.set("localhost", "127.0.0.9")
    kaproxy = start_named(t, dns, in4.port, name="localhost")
    use(kaproxy)
    t.equal(in4.accepted + in6.accepted, 1, "connections")
    t.equal(dns.queries, [], "queries")


main()
