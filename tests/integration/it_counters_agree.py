#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: what SIGUSR1 writes about listeners and upstreams is what clients and
upstreams have seen, for each way in which sessions end, connections are discarded, and allocations
fail."""

import socket
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Blackhole, ReservedPort, answer_lines, main, test, wait_until
from kaptest.http import one_shot, start

FUNCTIONS = ("queue", "allocate", "resolve", "connect", "tls", "shutdown", "other")
ENDS = ("complete", "client_left", "client_reset", "upstream_reset", "upstream_closed",
        "bad_request", "bad_response", "alloc_failed", "idle_timeout", "shutdown", "error")


def check(t, counters, **wanted):
    t.equal({key: counters.get(key) for key in wanted}, wanted, "counters")


def check_ends(t, kaproxy, **wanted):
    """Those, and no others."""
    check(t, kaproxy.listener_counters(), **{end: wanted.get(end, 0) for end in ENDS})


def check_failures(t, kaproxy, endpoint, **wanted):
    counters = kaproxy.upstream_counters(endpoint)
    check(t, counters, failures=sum(wanted.values()),
          **{f"failed_{name}": wanted.get(name, 0) for name in FUNCTIONS})
    pool = kaproxy.counters()
    t.equal({key: pool[key] for key in pool if key.startswith("failed_")},
            {key: counters[key] for key in counters if key.startswith("failed_")},
            "the pool's sums")


def check_discards(t, kaproxy, **wanted):
    counters = kaproxy.counters()
    got = {key.removeprefix("discard_"): counters[key] for key in counters
           if key.startswith("discard_") and counters[key] > 0}
    t.equal(got, wanted, "discarded, by reason")


def ask_and_end(kaproxy):
    client = kaproxy.connect()
    client.ask(b"x")
    client.end()
    client.close()


@test("two upstreams of one pool: each has its own, and the pool their sums")
def by_upstream(t):
    upstreams = [t.upstream(answer_lines) for _ in range(2)]
    more = {"listener other": {"listen": "127.0.0.1:{port}", "upstream": upstreams[1].endpoint,
                               "reuse": "quiet"}}
    kaproxy = t.kaproxy(upstreams[0].endpoint, more=more)
    for listener, count in ("main", 3), ("other", 2):
        for _ in range(count):
            client = kaproxy.connect(listener)
            client.ask(b"x")
            client.end()
            client.close()
    kaproxy.wait_sessions(5)
    wanted = {"none": 1, "dials": 1, "deferred": 0, "busy": 0, "busy_peak": 1, "idle": 1,
              "connect_count": 1, "failures": 0}
    for upstream, count in zip(upstreams, (3, 2)):
        check(t, kaproxy.upstream_counters(upstream.endpoint), immediate=count - 1,
              released=count, wait_count=count, **wanted)
    check(t, kaproxy.counters(), none=2, immediate=3, dials=sum(u.accepted for u in upstreams),
          released=5, idle=2, wait_count=5, connect_count=2, max_per_host=4)
    for listener, count in ("main", 3), ("other", 2):
        check(t, kaproxy.listener_counters(listener), accepted=count, complete=count, sessions=0,
              sessions_peak=1, bytes_up=2 * count, bytes_down=4 * count, exchange_count=count,
              local_replies=0)
    check(t, kaproxy.pipes(), clients=0, clients_peak=1, max_clients_reached=0)


@test("sessions by their ends, connections by why they were discarded")
def ends(t):
    def script(connection):
        while (line := connection.read_line()) is not None:
            if line == b"reset":
                connection.reset()
                return
            connection.send(b"x\n")

    kaproxy = t.kaproxy(t.upstream(script).endpoint, listener={"idle_timeout": "700ms"})
    ask_and_end(kaproxy)
    clients = [kaproxy.connect() for _ in range(4)]
    for client in clients:
        client.ask(b"x")
    clients[0].reset()
    clients[1].send(b"reset\n")
    t.equal(clients[1].read_end()[1], "reset", "what the client saw of the upstream's reset")
    clients[2].end()
    t.equal(clients[3].read_end()[1], "reset", "what the client saw of idle_timeout")
    kaproxy.wait_sessions(5)
    check_ends(t, kaproxy, complete=2, client_reset=1, upstream_reset=1, idle_timeout=1)
    check_discards(t, kaproxy, client_abort=1, upstream_error=1, idle_timeout=1)
    check(t, kaproxy.listener_counters(), accepted=5, exchange_count=5, sessions_peak=4)


@test("an upstream that refuses; names that do not exist; responses are counted, and local replies")
def refused(t):
    port = t.own(ReservedPort())
    kaproxy = start(t, port)
    for _ in range(3):
        t.equal(one_shot(t, kaproxy).status, 502, "status")
    kaproxy.wait_sessions(3)
    check_failures(t, kaproxy, f"http://127.0.0.1:{port.port}", connect=3)
    check_ends(t, kaproxy, alloc_failed=3)
    check_discards(t, kaproxy, dial_failed=3)
    check(t, kaproxy.listener_counters(), answers_5xx=3, answers_2xx=0, local_replies=3)
    kaproxy.stop()
    name = "http://no-such-host.invalid:80"
    kaproxy = t.kaproxy(name, reuse=None)
    t.equal(one_shot(t, kaproxy).status, 502, "status")
    kaproxy.wait_sessions(1)
    check_failures(t, kaproxy, name, resolve=1)
    t.at_least(kaproxy.pipes()["dns_queries"], 1, "names asked for")


@test("a full pool: waiting, queued, their peaks, max_waiting, and the timeout")
def full(t):
    kaproxy = t.kaproxy(t.upstream(keep=True).endpoint,
                        pool={"max_per_host": 1, "max_waiting": 2, "timeout": "1500ms"})
    first = kaproxy.connect()
    wait_until(lambda: kaproxy.counters()["busy"] == 1, "the first to have a connection")
    others = [kaproxy.connect() for _ in range(2)]
    wait_until(lambda: kaproxy.counters()["queued"] == 2, "two to wait")
    t.equal(kaproxy.connect().read_end()[1], "reset", "what the fourth saw")
    for client in others:
        t.equal(client.read_end()[1], "reset", "what those in the queue saw")
    kaproxy.wait_sessions(3)
    endpoint = f"tcp://127.0.0.1:{kaproxy.sessions()[0]['upstream'].rpartition(':')[2]}"
    check_failures(t, kaproxy, endpoint, queue=2, allocate=1)
    check(t, kaproxy.upstream_counters(endpoint), waiting=0, waiting_peak=2, queued=0,
          queued_peak=2, dials=1)
    first.end()


@test("one that waits for its own dial is not queued")
def not_queued(t):
    hole = t.own(Blackhole())
    kaproxy = t.kaproxy(f"tcp://127.0.0.1:{hole.port}", pool={"timeout": "500ms"})
    t.equal(kaproxy.connect().read_end()[1], "reset", "what the client saw")
    kaproxy.wait_sessions(1)
    endpoint = f"tcp://127.0.0.1:{hole.port}"
    check_failures(t, kaproxy, endpoint, connect=1)
    counters = kaproxy.upstream_counters(endpoint)
    check(t, counters, waiting_peak=1, connecting_peak=1)
    t.check("queued_peak" not in counters, "it was counted as queued")


@test("commands with a local reply: each is counted as one")
def commands(t):
    port = t.own(ReservedPort()).port
    asked = {"redis": (b"GET a\r\nGET b\r\n", rb"-ERR kaproxy: "),
             "memcached": (b"get a\r\nset b 0 0 1 noreply\r\nx\r\nget c\r\n",
                           rb"SERVER_ERROR kaproxy: ")}
    more = {f"listener {scheme}": {"listen": "127.0.0.1:{port}",
                                   "upstream": f"{scheme}://127.0.0.1:{port}"} for scheme in asked}
    kaproxy = t.kaproxy(more=more)
    for scheme, (sent, error) in asked.items():
        client = kaproxy.connect(scheme)
        client.send(sent)
        for _ in range(2):
            line = client.read_line()
            t.check(line.startswith(error), f"{line!r}")
        check(t, kaproxy.listener_counters(scheme), local_replies=2)


@test("a name server that does not answer: each time is counted")
def no_answer(t):
    silent = t.own(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    silent.bind(("127.0.0.1", 0))
    kaproxy = t.kaproxy("http://somewhere.test:80", reuse=None,
                        main={"resolver": "127.0.0.1:{}".format(silent.getsockname()[1])})
    t.equal(one_shot(t, kaproxy).status, 502, "status")
    counters = kaproxy.pipes()
    check(t, counters, dns_queries=1, dns_failures=1)
    t.at_least(counters["dns_timeouts"], 2, "missing responses counted")


main()
