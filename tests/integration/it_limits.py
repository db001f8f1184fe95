#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: max_per_host and max_open are never exceeded, idle connections included."""

import concurrent.futures
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, answer_lines, main, test


def one_shot(kaproxy, listener):
    client = kaproxy.connect(listener)
    answer = client.ask(b"x")
    end = client.end()
    client.close()
    return answer.endswith(b" x") and end == "eof"


def load(t, kaproxy, listeners, upstreams):
    """Runs one-shot clients, twelve at a time; the most connections seen at once."""
    count = 600 if SLOW else 1500
    most = samples = 0
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        done = [threads.submit(one_shot, kaproxy, listeners[i % len(listeners)])
                for i in range(count)]
        while not all(d.done() for d in done):
            if samples < 5:
                with kaproxy.paused():
                    most = max(most, kaproxy.connections(*upstreams))
                samples += 1
            concurrent.futures.wait(done, timeout=0.005)
        t.equal([d.result() for d in done].count(True), count, "clients served")
    t.at_least(samples, 2, "checks of the connections")
    return most


@test("max_per_host: one endpoint, twelve clients at a time, three connections in all")
def per_host(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"max_per_host": 3})
    t.equal(load(t, kaproxy, ["main"], [upstream]), 3, "connections at once")
    t.at_most(upstream.accepted, 3, "connections")


@test("max_open: three endpoints share two connections, and no client is left out")
def max_open(t):
    upstreams = [t.upstream(answer_lines) for _ in range(3)]
    more = {f"listener l{number}": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                                    "reuse": "quiet"} for number, upstream in enumerate(upstreams)}
    kaproxy = t.kaproxy(pool={"max_open": 2}, more=more)
    t.equal(load(t, kaproxy, ["l0", "l1", "l2"], upstreams), 2, "connections at once")


@test("max_open: an idle connection of another endpoint makes room for a client")
def makes_room(t):
    upstreams = [t.upstream(answer_lines) for _ in range(2)]
    more = {f"listener l{number}": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                                    "reuse": "quiet"} for number, upstream in enumerate(upstreams)}
    kaproxy = t.kaproxy(pool={"max_open": 1, "timeout": "10s"}, more=more)
    for number in 1, 2:
        t.check(one_shot(kaproxy, "l0"), "the first endpoint's client was not served")
        t.check(one_shot(kaproxy, "l1"), "the second endpoint's client was not served")
        t.equal([u.accepted for u in upstreams], [number, number], "connections")


@test("two pools share nothing, though the endpoint is the same")
def two_pools(t):
    upstream = t.upstream(answer_lines)
    more = {"pool one": {"max_open": 1}, "pool two": {"max_open": 1}}
    for name in "one", "two":
        more[f"listener {name}"] = {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                                    "reuse": "quiet", "pool": name}
    kaproxy = t.kaproxy(more=more)
    one, two = kaproxy.connect("one"), kaproxy.connect("two")
    t.equal(one.ask(b"a"), b"1 a", "response through the first pool")
    t.equal(two.ask(b"b"), b"2 b", "response through the second pool")
    one.end()
    two.end()
    again = kaproxy.connect("two")
    t.equal(again.ask(b"c"), b"2 c", "response through the second pool again")
    again.end()


@test("tcp+NAME is pooled apart from tcp and from other names")
def custom_schemes(t):
    upstream = t.upstream(answer_lines)
    address = upstream.endpoint.removeprefix("tcp://")
    schemes = "tcp", "tcp+one", "tcp+two"
    more = {f"listener l{number}": {"listen": "127.0.0.1:{port}", "reuse": "quiet",
                                    "upstream": f"{scheme}://{address}"}
            for number, scheme in enumerate(schemes, 1)}
    kaproxy = t.kaproxy(more=more)
    for _ in range(2):
        for number, scheme in enumerate(schemes, 1):
            client = kaproxy.connect(f"l{number}")
            t.equal(client.ask(b"x"), b"%d x" % number, f"response through {scheme}")
            client.end()


main()
