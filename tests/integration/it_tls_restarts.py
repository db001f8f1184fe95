#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: while an https upstream is reloaded, restarted or just closes connections,
no GET fails, and no POST reaches it twice."""

import random
import signal
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import SLOW, Failure, main, test, wait_until
from kaptest.http import one_shot, response
from kaptest.tls import HttpsUpstream, start
from kaptest.tls_peers import HeldNginx, Nginx

CLIENTS = 4
ROUNDS = 3 if SLOW else 10
REQUESTS = 30  # between two disturbances


class Load:
    """One-shot clients, each request with its own target, until stopped."""

    def __init__(self, t, kaproxy):
        self.t = t
        self.kaproxy = kaproxy
        self.responses = []  # (method, target, status)
        self.errors = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(number,), daemon=True)
                        for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _ask(self, number):
        serial = 0
        while not self.stopped.is_set():
            serial += 1
            method = "GET" if serial % 2 else "POST"
            target = f"/echo?{number}-{serial}"
            try:
                got = one_shot(self.t, self.kaproxy, method, target,
                               body=b"once" if method == "POST" else None)
                if got.status == 200 and got.body != f"{method} {target}".encode():
                    raise Failure(f"another client's response: {got.body!r}")
                self.responses.append((method, target, got.status))
            except Exception as error:
                self.errors.append((target, error))

    def wait_more(self, count=REQUESTS):
        wanted = len(self.responses) + count
        wait_until(lambda: self.errors or len(self.responses) >= wanted, f"response {wanted}")

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        self.t.equal(self.errors, [], "clients that got no response")
        return self.responses


def check(t, responses, posted, logged=True):
    """`posted` are the targets that were posted to the upstream, as often as they were; without
    `logged` there may be more of them."""
    failed = [(method, target) for method, target, status in responses if status != 200]
    gets = [target for method, target in failed if method == "GET"]
    print(f"# {len(responses)} answers, of which 502: {len(gets)} to GET, "
          f"{len(failed) - len(gets)} to POST", flush=True)
    t.equal({status for _, _, status in responses} - {200, 502}, set(), "other status")
    t.equal(len(posted), len(set(posted)), "POSTs that arrived, and different ones of them")
    if logged:
        t.equal(gets, [], "GETs that failed")
        done = {target for method, target, status in responses if method == "POST" and status == 200}
        t.equal(done - set(posted), set(), "POSTs with a response that did not arrive")


def blows(t, nginx, blow, logged=True):
    t.own(nginx)
    kaproxy = start(t, nginx)
    load = Load(t, kaproxy)
    for _ in range(ROUNDS):
        load.wait_more()
        blow(nginx)
    load.wait_more()
    responses = load.stop()
    if logged:
        nginx.wait_requests(sum(status == 200 for _, _, status in responses))
    requests = nginx.requests()
    check(t, responses, [r.target for r in requests if r.method == "POST"], logged)
    t.at_least(len({r.connection for r in requests}), 2, "connections")


@test("nginx -s reload")
def reload(t):
    for version in "TLSv1.2", "TLSv1.3":
        blows(t, Nginx(t, f"ssl_protocols {version};"), lambda nginx: nginx.reload())


@test("nginx is stopped in order and restarted")
def restart(t):
    for version in "TLSv1.2", "TLSv1.3":
        blows(t, HeldNginx(t, f"ssl_protocols {version};"), lambda nginx: nginx.restart())


@test("nginx is stopped at once and restarted: its exchanges in progress are lost")
def fast_restart(t):
    blows(t, HeldNginx(t), lambda nginx: nginx.restart(signal.SIGTERM), logged=False)


@test("nginx closes each connection after three requests")
def short_lives(t):
    blows(t, Nginx(t, "keepalive_requests 3;"), lambda nginx: None)


@test("an upstream that closes connections at any time but the first request, in any way")
def scripted(t):
    chance, begun = random.Random(4), set()

    def handler(connection, message):
        whim = chance.random() if connection.number in begun else 1
        begun.add(connection.number)
        if whim < 0.1:  # read, and without a response
            chance.choice([connection.reset, connection.cut, connection.send_close_notify])()
            return None
        connection.send(response(f"{message.method} {message.target}".encode()))
        if whim < 0.3:  # with a response, and gone while the next request may be in flight
            chance.choice([connection.reset, connection.cut, connection.send_close_notify])()
            return None
        return b""

    upstream = t.own(HttpsUpstream(handler))
    load = Load(t, start(t, upstream))
    load.wait_more(REQUESTS * ROUNDS * 4)
    responses = load.stop()
    check(t, responses, [r.target for r in upstream.requests if r.method == "POST"])
    t.at_least(upstream.accepted, 10, "connections")


main()
