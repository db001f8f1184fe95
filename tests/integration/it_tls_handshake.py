#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a handshake that fails, in whatever way, is reported to the client and the log;
one that stalls ends with connect_timeout."""

import re
import ssl
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ScriptedUpstream, main, test
from kaptest.http import check_line, client, describe, one_shot, response
from kaptest.tls import HttpsUpstream, Records, handshakes, settings, start, upstream_context
from kaptest.tls_ca import authority
from kaptest.tls_peers import OpensslUpstream

CLIENT_HELLO = b"\x16\x03"


def start_both(t, upstream, **options):
    """Listeners "main", https, and "opaque"."""
    port = upstream.port
    more = {"listener opaque": {"listen": "127.0.0.1:{port}", "upstream": f"tls://127.0.0.1:{port}",
                                "reuse": "quiet", **settings()}}
    return start(t, f"https://127.0.0.1:{port}", more=more, **options)


def check_failure(t, upstream, text, *, status=502, function="tls", **options):
    """`text` is a regular expression for the error's text, which both listeners must give."""
    kaproxy = start_both(t, upstream, **options)
    got = one_shot(t, kaproxy)
    t.equal(got.status, status, "status")
    t.check(re.search(f"{function}: {text}", got.body.decode()),
            f"text of the response: {got.body!r}")
    t.equal(kaproxy.connect("opaque").read_end(), (b"", "reset"), "the opaque client's end")
    for line in kaproxy.wait_sessions(2):
        t.equal((line["end"], line["function"]), ("alloc_failed", function), "end of the session")
        t.check(re.fullmatch(text, line["error"]), f"error in the access log: {line['error']!r}")
    t.equal(len(kaproxy.wait_log(rf'no connection: .* function={function} .*error="{text}"', 2)), 2,
            "warnings")
    counters = kaproxy.counters()
    t.equal([counters[k] for k in ("busy", "connecting", "idle", "discard_dial_failed")],
            [0, 0, 0, 2], "connections left, dials that failed")
    return kaproxy


def after_hello(action):
    def script(connection):
        hello = connection.receive()
        if not hello.startswith(CLIENT_HELLO):
            raise ValueError(f"not a ClientHello: {hello!r}")
        action(connection)
    return script


@test("the upstream uses another protocol")
def no_tls(t):
    for greeting in b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"+OK ready here\r\n":
        upstream = t.own(ScriptedUpstream(after_hello(lambda c, text=greeting: c.send(text))))
        check_failure(t, upstream, "the upstream does not speak TLS")


@test("it closes in the middle, or resets")
def ends(t):
    upstream = t.own(ScriptedUpstream(after_hello(lambda c: None)))
    check_failure(t, upstream, "the upstream closed the connection during the handshake")
    upstream = t.own(ScriptedUpstream(lambda c: None))
    check_failure(t, upstream, "(the upstream closed the connection|Connection reset by peer) "
                               "during the handshake")
    upstream = t.own(ScriptedUpstream(after_hello(lambda c: c.reset())))
    check_failure(t, upstream, "Connection reset by peer during the handshake")


@test("it sends an alert, or a part of a record and then its end")
def alert(t):
    upstream = t.own(ScriptedUpstream(after_hello(
        lambda c: c.send(b"\x15\x03\x03\x00\x02\x02\x28"))))
    check_failure(t, upstream, "alert from the upstream: handshake failure")
    upstream = t.own(ScriptedUpstream(after_hello(lambda c: c.send(b"\x16\x03\x03\x00\x50\x02"))))
    check_failure(t, upstream, "the upstream closed the connection during the handshake")


@test("no version in common")
def versions(t):
    upstream = t.own(HttpsUpstream(context=upstream_context(version=ssl.TLSVersion.TLSv1_2)))
    kaproxy = start(t, upstream, listener={"tls_min_version": "1.3"})
    t.equal(one_shot(t, kaproxy).status, 502, "status")
    check_line(t, kaproxy, function="tls", error="alert from the upstream: protocol version")


@test("an upstream that has no protocol in common with us, by ALPN (openssl s_server)")
def alpn(t):
    upstream = t.own(OpensslUpstream(t, "-alpn", "h2"))
    kaproxy = start_both(t, upstream)
    got = one_shot(t, kaproxy)
    t.equal(got.status, 502, "status")
    t.check(b"tls: alert from the upstream: no application protocol" in got.body, "text")
    opaque = kaproxy.connect("opaque")  # for which nothing is offered
    opaque.send(b"question\n")
    upstream.wait_output("question")
    upstream.type("answer\n")
    t.equal(opaque.read_line(), b"answer", "response on the opaque listener")


@test("a handshake that stalls ends with connect_timeout: 504")
def stalls(t):
    upstream = t.own(ScriptedUpstream(after_hello(lambda c: c.read_end())))
    kaproxy = check_failure(t, upstream, "handshake not finished within connect_timeout = 200 ms",
                            status=504, pool={"connect_timeout": "200ms"})
    for line in kaproxy.sessions():
        t.equal(line["errno"], "110", "errno")
        t.at_least(float(line["wait_ms"]), 200, "milliseconds waited")
        t.at_most(float(line["wait_ms"]), 5000, "milliseconds waited")


@test("a handshake that stalls, and the client's own timeout ends its wait: 504")
def stalls_beyond_timeout(t):
    upstream = t.own(ScriptedUpstream(after_hello(lambda c: c.read_end())))
    kaproxy = start(t, f"https://127.0.0.1:{upstream.port}", pool={"timeout": "200ms"})
    t.equal(one_shot(t, kaproxy).status, 504, "status")
    check_line(t, kaproxy, function="tls", errno=110,
               error="handshake not finished within timeout = 200 ms")


@test("one that stalls delays only those that wait for it, and none is left at the end")
def stalls_alone(t):
    stalling = t.own(ScriptedUpstream(after_hello(lambda c: c.read_end())))
    fine = t.own(HttpsUpstream())
    more = {"listener fine": {"listen": "127.0.0.1:{port}", "upstream": fine.endpoint,
                              **settings()}}
    kaproxy = start(t, f"https://127.0.0.1:{stalling.port}", more=more)
    waiting = client(t, kaproxy)
    waiting.send()
    stalling.wait_accepted(1)
    t.equal(one_shot(t, kaproxy, listener="fine").status, 200, "status")
    t.equal(kaproxy.counters()["connecting"], 1, "handshakes in progress")
    waiting.channel.reset()
    kaproxy.stop()
    stalling.join()


@test("byte by byte from an upstream that is slow")
def slowly(t):
    def script(connection):
        records = Records(connection, upstream_context(), step=1)
        records.receive()
        connection.send(records.encrypt(response(b"at last")))

    upstream = t.upstream(script)
    kaproxy = start(t, f"https://127.0.0.1:{upstream.port}")
    t.equal(one_shot(t, kaproxy).body, b"at last", "response")


@test("a client certificate that is required: TLS 1.2 refuses in the handshake, 1.3 after it")
def client_certificate(t):
    """The alert may arrive together with a reset."""
    stranger = authority().leaf("stranger", issuer=authority().other_root)
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        for certificate, text in ((None, "certificate required|handshake failure"),
                                  (stranger, "unknown ca")):
            context = upstream_context(version=version, clients=authority().root)
            upstream = t.own(HttpsUpstream(context=context))
            keys = {"tls_cert_file": certificate.file, "tls_key_file": certificate.key} \
                if certificate else {}
            kaproxy = start(t, upstream, listener=keys)
            for _ in range(5):
                got = one_shot(t, kaproxy)
                t.equal(got.status, 502, "status")
                t.check(re.search(f"tls: alert from the upstream: ({text})", got.body.decode()),
                        f"text of the response: {got.body!r}")
            kaproxy.wait_log(f"alert from the upstream: ({text})")  # the others are counted
            kaproxy.wait_idle(0)


@test("a client certificate is required, and connections are only preconnected: the log reports it")
def spares_without_certificate(t):
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        context = upstream_context(version=version, clients=authority().root)
        kaproxy = start(t, t.own(HttpsUpstream(context=context)), pool={"min_idle": 1})
        kaproxy.wait_log('no spare connection: .* function=tls errno=0 error="alert from the '
                         'upstream: (certificate required|handshake failure)"')


@test("a client certificate that is requested after the handshake (RFC 8446 4.6.2)")
def post_handshake(t):
    seen = []

    def handler(connection, message):
        seen.append(connection.socket.getpeercert())
        if message.target == "/private":
            connection.socket.verify_client_post_handshake()  # goes out with the response
        return describe(connection, message)

    certificate = authority().leaf("client")
    context = upstream_context(version=ssl.TLSVersion.TLSv1_3, clients=authority().root)
    context.post_handshake_auth = True
    upstream = t.own(HttpsUpstream(handler, context=context))
    kaproxy = start(t, upstream, listener={"tls_cert_file": certificate.file,
                                           "tls_key_file": certificate.key})
    for target in "/public", "/private", "/private", "/more":
        t.equal(one_shot(t, kaproxy, "GET", target).body, f"1 GET {target} ".encode(), "response")
    t.equal([bool(shown) for shown in seen], [False, False, True, True], "certificate shown")
    t.equal(seen[-1]["subject"], ((("commonName", "client"),),), "subject")
    t.equal(handshakes(kaproxy), (1, 0, 0), "handshakes")


@test("the right client certificate")
def right_client_certificate(t):
    certificate = authority().leaf("client")
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        context = upstream_context(version=version, clients=authority().root)
        upstream = t.own(HttpsUpstream(context=context))
        kaproxy = start(t, upstream, listener={"tls_cert_file": certificate.file,
                                               "tls_key_file": certificate.key})
        t.equal(one_shot(t, kaproxy).status, 200, "status")
        t.equal(upstream.handshakes[0].client["subject"], ((("commonName", "client"),),), "subject")


main()
