#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: an operator's orders are carried out while clients wait, or continue: pause,
resume, reconnect, drain, log-level."""

import json
import signal
import socket
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, free_port, main, test, wait_until
from kaptest.admin import admin_post, admin_request, admin_section
from kaptest.http import HttpUpstream, client, held, start


def post(t, status, verb, **query):
    """Gives a command that must have this status; returns its response."""
    got, answer = admin_post(t, verb, **query)
    t.equal((got, answer.get("text") if got != status else None), (status, None), f"/{verb}")
    return answer


def snapshot(t):
    return json.loads(admin_request(t, "GET", "/status?sessions=1")[1])


def wait_states(t, *states):
    """Waits until the sessions, oldest first, are in these states. Snapshots are cached."""
    wait_until(lambda: [session["state"] for session in snapshot(t)["sessions"]] == list(states),
               f"sessions to be {states}")


@test("pause, restart of the upstream, resume: clients wait, in order, and none sees an error")
def restart(t):
    listening = t.own(socket.socket())
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", free_port()))
    upstream = t.own(HttpUpstream(listener=listening))
    kaproxy = start(t, upstream, pool={"max_per_host": 1, "fail_after": 1}, more=admin_section(t))
    kept = client(t, kaproxy)
    t.equal(kept.ask().body, b"1 GET / ", "before")
    answer = post(t, 200, "pause")
    t.equal((answer["matched"], answer["busy"]), (1, 0), "the response")
    upstream.join()  # the idle connection is closed
    upstream.refuse()
    new = client(t, kaproxy)
    for number, peer in enumerate((kept, new), 1):
        peer.send(target=f"/{number}")
        wait_until(lambda n=number: kaproxy.counters()["queued"] == n, "a client to wait")
    t.equal(kaproxy.counters()["dials"], 1, "dials")
    t.equal(kaproxy.counters()["paused"], 1, "paused")
    upstream.listen()
    post(t, 200, "resume", pool="default")
    t.equal([peer.response().body for peer in (kept, new)], [b"2 GET /1 ", b"2 GET /2 "], "bodies")
    t.equal(len(kaproxy.wait_log(r"admin: pause by unix:uid:\d+,pid:\d+: ")), 1, "log lines")


@test("a pause while connections are in use: 202 until they are returned, and then they are closed")
def in_use(t):
    upstream, go = held(t)
    kaproxy = start(t, upstream, more=admin_section(t))
    peer = client(t, kaproxy)
    peer.send()
    upstream.wait_requests(1)
    t.equal(post(t, 202, "pause", host=upstream.endpoint)["busy"], 1, "busy")
    go.set()
    t.equal(peer.response().status, 200, "status")
    upstream.join()  # it is closed
    wait_until(lambda: admin_post(t, "pause")[0] == 200, "the pause")
    t.equal(kaproxy.counters()["discard_paused"], 1, "discarded")


@test("clients whose time expires in a pause: 504, and why; too many: 503")
def out_of_time(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, pool={"timeout": "1s", "max_waiting": 1}, more=admin_section(t))
    post(t, 200, "pause", pool="default")
    late, refused = client(t, kaproxy), client(t, kaproxy)
    late.send()
    wait_until(lambda: kaproxy.counters()["queued"] == 1, "the client to wait")
    refused = refused.ask()
    t.equal(refused.status, 503, "status of one too many")
    response = late.response()
    t.equal(response.status, 504, "status")
    t.check(b"paused by the operator" in response.body, f"not said: {response.body!r}")
    t.equal(upstream.accepted, 0, "connections")


@test("a listener is paused: its clients wait, those of another with the same upstream continue")
def listener(t):
    upstream = t.upstream(answer_lines)
    more = {"listener other": {"listen": "127.0.0.1:{port}", "upstream": upstream.endpoint,
                               "reuse": "quiet"}}
    kaproxy = t.kaproxy(upstream.endpoint, more={**more, **admin_section(t)})
    post(t, 200, "pause", listener="main")
    first, second = kaproxy.connect(), kaproxy.connect()
    for peer in (first, second):
        peer.send(b"x\n")
    wait_states(t, "waiting", "waiting")
    t.equal(kaproxy.connect("other").ask(b"y"), b"1 y", "another listener's response")
    t.equal(kaproxy.counters()["waiting"], 0, "waiting in the pool")
    post(t, 200, "resume", listener="main")
    t.equal(sorted(peer.read_line()[-1:] for peer in (first, second)), [b"x", b"x"], "responses")


@test("clients that had to wait at the end of a pause are not logged as delayed by max_per_host")
def no_blame(t):
    for place, said in (({"pool": "default"}, ": the upstream was paused until 2"),
                        ({"listener": "main"}, ": listener main was paused until 2")):
        upstream, go = held(t)
        kaproxy = start(t, upstream, pool={"max_per_host": 1}, more=admin_section(t))
        post(t, 200, "pause", **place)
        peers = [client(t, kaproxy) for _ in range(2)]
        for peer in peers:
            peer.send()
        wait_states(t, "waiting", "waiting")
        post(t, 200, "resume", **place)
        upstream.wait_requests(1)
        wait_until(lambda: max(session["waiting"] for session in snapshot(t)["sessions"]) > 0.2,
                   "a long wait")
        go.set()
        t.equal([peer.response().status for peer in peers], [200] * 2, "statuses")
        problems = wait_until(lambda: [problem["text"] for problem in snapshot(t)["problems"]
                                       if problem["code"] == "waits_lately"], "the problem")
        t.check(said in problems[0] and "max_per_host" not in problems[0], problems[0])
        kaproxy.stop()


@test("reconnect: idle connections are closed at once, those in use when they are returned")
def reconnect(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, more=admin_section(t))
    busy, other = kaproxy.connect(), kaproxy.connect()
    t.equal((busy.ask(b"a"), other.ask(b"b")), (b"1 a", b"2 b"), "responses")
    other.end()
    kaproxy.wait_idle(1)
    t.equal(post(t, 202, "reconnect")["busy"], 1, "busy")
    t.equal(kaproxy.counters()["discard_reconnect"], 1, "discarded")
    t.equal(busy.ask(b"c"), b"1 c", "one in use continues")
    t.equal(kaproxy.connect().ask(b"d"), b"3 d", "a new client's")
    busy.end()
    wait_until(lambda: kaproxy.counters()["discard_reconnect"] == 2, "the end of the old one")


@test("an upstream drains: 503 at once, exchanges in progress continue; resumed it serves again")
def drained(t):
    upstream, go = held(t, "/held")
    kaproxy = start(t, upstream, more=admin_section(t))
    busy, peer = client(t, kaproxy), client(t, kaproxy)
    busy.send(target="/held")
    upstream.wait_requests(1)
    post(t, 202, "drain", pool="default")
    response = peer.ask()
    t.equal(response.status, 503, "status")
    t.check(b"drained by the operator" in response.body, f"not said: {response.body!r}")
    go.set()
    t.equal(busy.response().status, 200, "status of the one in progress")
    post(t, 200, "resume")
    t.equal(client(t, kaproxy).ask().status, 200, "status afterwards")


@test("a listener drains: kept clients end, new ones are refused; resumed it listens again")
def drained_listener(t):
    upstream, go = held(t, "/held")
    kaproxy = start(t, upstream, more=admin_section(t))
    idle, busy = client(t, kaproxy), client(t, kaproxy)
    t.equal(idle.ask().status, 200, "status")
    busy.send(target="/held")
    upstream.wait_requests(2)
    post(t, 202, "drain")
    t.equal(idle.channel.read_end(), (b"", "eof"), "end of one that is idle")
    wait_until(kaproxy.refuses, "the port to refuse")
    t.equal(admin_request(t, "GET", "/readyz")[0], 503, "/readyz")
    go.set()
    response = busy.response()
    t.equal((response.status, response.get("Connection")), (200, "close"), "the last response")
    wait_until(lambda: admin_post(t, "drain")[0] == 200, "the last session's end")
    post(t, 200, "resume", listener="main")
    t.equal(admin_request(t, "GET", "/readyz")[0], 200, "/readyz afterwards")
    t.equal(client(t, kaproxy).ask().status, 200, "status afterwards")


@test("a listener that drains does so after a reload, too, and that is not a shortage")
def drained_in_a_reload(t):
    upstream = t.own(HttpUpstream())
    kaproxy = start(t, upstream, listen="127.0.0.1:{port} [::1]:{port}", more=admin_section(t))
    post(t, 200, "drain")
    for _ in range(2):
        post(t, 200, "reload")
    t.check(kaproxy.refuses(), "the port does not refuse")
    post(t, 200, "resume", listener="main")
    t.equal(client(t, kaproxy).ask().status, 200, "status afterwards")
    t.equal(kaproxy.find_log("accepting pauses"), [], "what it says of a shortage")


@test("a stop amid a pause: waiting clients can still be resumed, and that is the end")
def stop_in_a_pause(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, more=admin_section(t))
    post(t, 200, "pause", pool="default")
    peer = kaproxy.connect()
    peer.send(b"x\n")
    wait_until(lambda: kaproxy.counters()["queued"] == 1, "the client to wait")
    kaproxy.signal(signal.SIGTERM)
    wait_until(kaproxy.refuses, "kaproxy to stop listening")
    t.equal(admin_post(t, "drain", listener="main")[0], 409, "a drain then")
    post(t, 200, "resume", pool="default")
    t.equal(peer.read_line(), b"1 x", "the response")
    peer.end()
    kaproxy.wait_exit()


@test("log-level: at once, and back")
def log_level(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, more=admin_section(t))
    kaproxy.connect().ask(b"x")
    t.equal(kaproxy.find_log(" debug: "), [], "messages before")
    post(t, 200, "log-level", level="debug")
    kaproxy.connect().ask(b"x")
    kaproxy.wait_log(" debug: ")
    post(t, 200, "log-level", level="error")
    kaproxy.wait_log("admin: log-level level=error by ")


main()
