#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: what TLS does on its own leaves an idle connection in the pool; data, alerts
and ends take it out, before a client can get it."""

import select
import socket
import ssl
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import WAIT_MAX, answer_lines, main, test, wait_until
from kaptest.http import response
from kaptest.http import client as http_client
from kaptest.tls import Records, TlsUpstream, handshakes, start, upstream_context
from kaptest.tls_peers import OpensslUpstream

VERSIONS = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def one(t, kaproxy, line=b"x"):
    """One client: the response, and where its connection came from."""
    client = kaproxy.connect()
    response = client.ask(line)
    t.equal(client.end(), "eof", "the client's end")
    return response, kaproxy.wait_session(client)["from_cache"]


class Doing:
    """A script that responds to lines; when the test says so, it does something with its
    connection."""

    def __init__(self, action):
        self.action = action
        self.go, self.done = threading.Event(), threading.Event()

    def __call__(self, connection):
        connection.send(b"%d %s\n" % (connection.number, connection.read_line()))
        if connection.number == 1:
            self.go.wait(WAIT_MAX)
            self.action(connection)
            self.done.set()
        answer_lines(connection)

    def now(self):
        self.go.set()
        self.done.wait(WAIT_MAX)


def check_discarded(t, action, counter, version, **options):
    """What `action` does while the connection is idle makes kaproxy close it."""
    script = Doing(action)
    upstream = t.own(TlsUpstream(script, context=upstream_context(version=version), **options))
    kaproxy = start(t, upstream)
    t.equal(one(t, kaproxy), (b"1 x", "none"), "the first client")
    kaproxy.wait_idle(1)
    script.now()
    kaproxy.wait_idle(0)
    t.equal(kaproxy.counters()[counter], 1, counter)
    t.equal(one(t, kaproxy), (b"2 x", "none"), "the next client")
    return upstream


@test("close_notify, with the end of the connection or without")
def close_notify(t):
    for version in VERSIONS:
        check_discarded(t, lambda c: c.send_close_notify(), "discard_upstream_closed", version)
        check_discarded(t, lambda c: c.fin(), "discard_upstream_closed", version)


@test("an end without close_notify; a reset")
def ends(t):
    for version in VERSIONS:
        check_discarded(t, lambda c: c.cut(), "discard_upstream_closed", version)
        check_discarded(t, lambda c: c.reset(), "discard_upstream_error", version)


@test("data")
def data(t):
    for version in VERSIONS:
        check_discarded(t, lambda c: c.send(b"more"), "discard_unread_data", version)


def send_raw(connection, data):
    """Past TLS."""
    socket.socket.sendall(connection.socket, data)


@test("bytes that are not TLS; a part of a record, after which only an end arrives")
def garbage(t):
    for version in VERSIONS:
        check_discarded(t, lambda c: send_raw(c, b"HTTP/1.1 408 Timeout\r\n\r\n"),
                        "discard_upstream_error", version)
        check_discarded(t, lambda c: (send_raw(c, b"\x17\x03\x03\x01\x00abc"), c.cut()),
                        "discard_upstream_closed", version)


@test("a part of a record: the next client does not get the rest of it")
def part(t):
    for version in VERSIONS:
        for some in b"abc", b"":  # after the header
            script = Doing(lambda c, some=some: send_raw(c, b"\x17\x03\x03\x01\x00" + some))
            kaproxy = start(t, t.own(TlsUpstream(script,
                                                 context=upstream_context(version=version))))
            t.equal(one(t, kaproxy), (b"1 x", "none"), "the first client")
            kaproxy.wait_idle(1)
            script.now()
            t.equal(one(t, kaproxy), (b"2 x", "none"), "the next client")
            t.equal(kaproxy.counters()["discard_unread_data"], 1, "discarded")


@test("a part of a record after a response: the waiting client does not get the rest of it")
def part_behind(t):
    """The record is a complete, unsolicited response, of which a header and more arrives, or just
    the header."""
    def script(connection):
        records = Records(connection, upstream_context(version=version))
        records.receive()
        right, wrong = records.encrypt(response(b"right")), records.encrypt(response(b"wrong"))
        if connection.number > 1:
            connection.send(right)
        else:
            waiting.wait(WAIT_MAX)
            connection.send(right + wrong[:size])
            if records.receive():
                connection.send(wrong[size:])
        connection.read_end()

    for version, size in [(version, size) for version in VERSIONS for size in (20, 5)]:
        waiting = threading.Event()
        upstream = t.upstream(script)
        kaproxy = start(t, f"https://127.0.0.1:{upstream.port}", pool={"max_per_host": 1})
        clients = []
        for number in 1, 2:
            clients.append(http_client(t, kaproxy))
            clients[-1].send()
            wait_until(lambda: kaproxy.counters()["none"] + kaproxy.counters()["waiting"] == number,
                       f"client {number} to be served or to wait")
        waiting.set()
        t.equal([peer.response().body for peer in clients], [b"right"] * 2, "responses")
        t.equal(kaproxy.counters()["discard_unread_data"], 1, "discarded")


@test("it checks before it hands out: what arrived in the meantime is considered")
def looks(t):
    """kaproxy is stopped while it arrives, and then finds the client first."""
    for version in VERSIONS:
        for action in (lambda c: c.send_close_notify(), lambda c: c.cut(),
                       lambda c: c.send(b"more")):
            script = Doing(action)
            upstream = t.own(TlsUpstream(script, context=upstream_context(version=version)))
            kaproxy = start(t, upstream)
            t.equal(one(t, kaproxy), (b"1 x", "none"), "the first client")
            kaproxy.wait_idle(1)
            with kaproxy.paused():
                client = kaproxy.connect()
                client.send(b"y\n")
                script.now()
            t.equal(client.read_line(), b"2 y", "the next client's response")


class Late(TlsUpstream):
    """Ends its part of the handshake, and so sends its tickets, only when the test says so."""

    def __init__(self, *arguments, **options):
        self.go = threading.Event()
        super().__init__(*arguments, **options)

    def shake_hands(self, connection):
        """The first step reads the ClientHello and answers it, and needs to read more."""
        select.select([connection.socket], [], [], WAIT_MAX)
        connection.socket.settimeout(0)
        try:
            connection.socket.do_handshake()
        except ssl.SSLWantReadError:
            self.go.wait(WAIT_MAX)
        connection.socket.settimeout(WAIT_MAX)
        connection.socket.do_handshake()


@test("TLS 1.3 tickets arrive while a preconnected connection is idle: it stays; they are used")
def tickets(t):
    upstream = t.own(Late(answer_lines, context=upstream_context(version=VERSIONS[1])))
    kaproxy = start(t, upstream, pool={"min_idle": 1, "max_per_host": 2})
    kaproxy.wait_idle(1)
    upstream.go.set()
    upstream.wait_handshakes(1)
    t.equal(one(t, kaproxy), (b"1 x", "immediate"), "the first client")
    clients = [kaproxy.connect() for _ in range(2)]
    t.equal(sorted(client.ask(b"y") for client in clients), [b"1 y", b"2 y"], "responses to both")
    t.check(upstream.wait_handshakes(2).resumed, "the second connection was not resumed")


def converse(t, kaproxy, upstream, number):
    """One client's question to openssl s_server; returns from_cache."""
    client = kaproxy.connect()
    upstream.converse(t, client, number)
    return kaproxy.wait_session(client)["from_cache"]


@test("a key update by openssl s_server: answered if it asks, and the connection stays")
def key_update(t):
    """The response may go out with the next data (RFC 8446 4.6.3)."""
    for letter, responses in ("k", 0), ("K", 3):
        upstream = t.own(OpensslUpstream(t, "-tls1_3", "-msg"))
        kaproxy = start(t, upstream, pool={"max_per_host": 1})
        for number in range(3):
            t.equal(converse(t, kaproxy, upstream, number), "immediate" if number else "none",
                    "from_cache")
            upstream.type(letter + "\n")
            upstream.wait_output(">>> TLS 1.3, Handshake [length 0005], KeyUpdate", number + 1)
        t.equal(converse(t, kaproxy, upstream, 3), "immediate", "from_cache")
        t.equal(upstream.output().count("<<< TLS 1.3, Handshake [length 0005], KeyUpdate"), responses,
                "answers to key updates")


@test("a renegotiation that openssl s_server requests: refused, without harm")
def renegotiation(t):
    upstream = t.own(OpensslUpstream(t, "-tls1_2", "-msg"))
    kaproxy = start(t, upstream, pool={"max_per_host": 1})
    for number in range(2):
        t.equal(converse(t, kaproxy, upstream, number), "none", "from_cache")
        upstream.type("r\n")
        upstream.wait_output("warning no_renegotiation", number + 1)
        kaproxy.wait_idle(0)
    t.equal(handshakes(kaproxy)[2], 0, "handshakes that failed")


main()
