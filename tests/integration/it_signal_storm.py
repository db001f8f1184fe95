#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: while a signal arrives every millisecond nothing stalls and nothing is lost,
through pipes and by copying, with TLS and without. The longer it runs, the more certain it is: make
check-long."""

import concurrent.futures
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import LONG, SLOW, WAIT_MAX, main, test
from kaptest.crosstalk import exchange, mostly_whole
from kaptest.http import head, read_request, read_response, request, response
from kaptest.large import drain, pour
from kaptest.peers import need
from kaptest.storm import Storm
from kaptest.tls_ca import authority

# A stall is ended by that, and then the response is incomplete.
IDLE = f"{WAIT_MAX:g}s"

SIZE = (8000 if LONG else 500) << (19 if SLOW else 20)


def crosstalk(t, exchanges, **options):
    """Mostly large bodies; returns the further counts."""
    storms = []

    def storm(kaproxy):
        storms.append(Storm(kaproxy))
        return storms[0]

    counts = exchange(t, exchanges, {"max_per_host": 8}, ["large"], during=storm,
                      idle_timeout=IDLE, **options)
    mostly_whole(t, *counts)
    t.at_least(storms[0].count, 10, "signals")
    return counts[2]


@test("http: 32 clients, large bodies, which go through pipes")
def pipes(t):
    t.at_least(crosstalk(t, 2500)["spliced"], 10 << 20, "bytes spliced")


@test("http: 32 clients, large bodies, and no descriptors to spare for pipes")
def copied(t):
    spliced = crosstalk(t, 2500, wrap=[need("prlimit"), "--nofile=512"])["spliced"]
    t.equal(spliced, 0, "bytes spliced")


@test("https: 32 clients, large bodies")
def tls(t):
    crosstalk(t, 1000, certificate=authority().valid)


def one_way(t, endpoint, talk, listen_to, **options):
    """For each of two clients one direction carries much, and the other one's events do not help it
    along. talk(client, number) and listen_to(connection) give the digests of both ends."""
    results = {}

    def run(connection):
        number, digest = listen_to(connection)
        results[number] = digest

    upstream = t.upstream(run)
    kaproxy = t.kaproxy(endpoint(upstream), pool={"max_per_host": 2},
                        listener={"idle_timeout": IDLE}, **options)
    clients = [kaproxy.connect() for _ in range(2)]
    with Storm(kaproxy) as storm, concurrent.futures.ThreadPoolExecutor(2) as threads:
        ends = list(threads.map(talk, clients, range(2)))
        upstream.join()
    t.equal([results.get(0), results.get(1)], ends, "digests")
    t.at_least(storm.count, 10, "signals")
    t.at_least(kaproxy.pipes()["spliced"], SIZE, "bytes spliced")


@test("tcp: much down and much up, each alone, through pipes")
def tcp(t):
    def talk(client, number):
        client.send(bytes([number]))
        if number == 0:
            client.fin()
            return drain(client)
        return pour(client, number, SIZE)

    def listen_to(connection):
        number = connection.read(1)[0]
        if number == 0:
            return number, pour(connection, number, SIZE)
        connection.fin()
        return number, drain(connection)

    one_way(t, lambda upstream: upstream.endpoint, talk, listen_to, reuse="never")


@test("http: much down and much up, each alone, through pipes")
def http(t):
    lengths = [("Host", "x"), ("Content-Length", SIZE)]

    def talk(client, number):
        if number == 0:
            client.send(request("GET", "/0"))
            while client.read_line() != b"\r":
                continue
            return drain(client, SIZE)
        client.send(head("PUT /1 HTTP/1.1", lengths))
        digest = pour(client, number, SIZE, end=False)
        t.equal(read_response(client).status, 200, "status")
        return digest

    def listen_to(connection):
        message = read_request(connection, with_body=lambda _: False)
        if message.method == "GET":
            connection.send(head("HTTP/1.1 200 OK", lengths))
            return 0, pour(connection, 0, SIZE)
        digest = drain(connection, SIZE)
        connection.send(response())
        return 1, digest

    one_way(t, lambda upstream: upstream.endpoint.replace("tcp:", "http:"), talk, listen_to,
            reuse=None)


main()
