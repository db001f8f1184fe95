#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: an upstream is used only if its certificate is valid for its name; otherwise
the client and the log get what is wrong with it."""

import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import check_line, client
from kaptest.peers import need_localhost
from kaptest.tls import HttpsUpstream, handshakes, settings, start, upstream_context
from kaptest.tls_ca import authority


def two_listeners(t, certificate, addr="127.0.0.1", **listener):
    """https:// and tls:// to the same upstream."""
    upstream = t.own(HttpsUpstream(context=upstream_context(certificate)))
    upstream.endpoint = upstream.endpoint.replace("127.0.0.1", addr)
    more = {"listener opaque": {
        "listen": "127.0.0.1:{port}", "upstream": upstream.endpoint.replace("https:", "tls:"),
        "reuse": "quiet", **settings(**listener)}}
    return upstream, start(t, upstream, listener=listener, more=more)


def check_good(t, certificate, **options):
    upstream, kaproxy = two_listeners(t, certificate, **options)
    t.equal(client(t, kaproxy).ask("GET", "/x").body, b"1 GET /x ", "response over https")
    t.equal(client(t, kaproxy, "opaque").ask("GET", "/y").body, b"2 GET /y ", "response over tls")
    check_line(t, kaproxy, 1, status=200, end="complete", from_cache="none")
    t.equal(handshakes(kaproxy), (1, 0, 0), "handshakes for https")
    return upstream


def check_bad(t, certificate, text, **options):
    """`text` is a regular expression: OpenSSL's words change a little with its releases."""
    upstream, kaproxy = two_listeners(t, certificate, **options)
    text = "certificate verify failed: " + text
    got = client(t, kaproxy).ask("GET", "/x")
    t.equal(got.status, 502, "status")
    t.check(re.search("tls: " + text, got.body.decode()), f"text of the response: {got.body!r}")
    t.equal(kaproxy.connect("opaque").read_end(), (b"", "reset"), "the opaque client's end")
    for line in kaproxy.wait_sessions(2):
        t.equal((line["end"], line["function"], line["errno"]), ("alloc_failed", "tls", "0"),
                "end of the session")
        t.check(re.fullmatch(text, line["error"]), f"error in the access log: {line['error']!r}")
    warnings = kaproxy.wait_log(rf'no connection: .* function=tls errno=0 error="{text}"', 2)
    t.equal(len(warnings), 2, "warnings")
    t.check("_ALERT_" in upstream.wait_refusals(2), "the upstream got no alert")
    t.equal((upstream.handshakes, upstream.requests), ([], []), "what the upstream saw")
    t.equal(handshakes(kaproxy), (0, 0, 1), "handshakes for https")
    t.equal(kaproxy.counters()["discard_dial_failed"], 2, "failed dials")


@test("a valid one, for the name in tls_server_name, which is the SNI as well")
def valid(t):
    upstream = check_good(t, authority().valid)
    t.equal([h.server_name for h in upstream.handshakes], ["upstream.test"] * 2, "SNI")
    t.equal([h.alpn for h in upstream.handshakes], [None, None], "ALPN with none of the upstream's")


@test("a valid one, for the endpoint's name when there is no tls_server_name")
def endpoint_name(t):
    need_localhost()
    upstream = check_good(t, authority().leaf("localhost", names=["DNS:localhost"]),
                          addr="localhost", tls_server_name=None)
    t.equal([h.server_name for h in upstream.handshakes], ["localhost"] * 2, "SNI")


@test("an IP address as the name: compared with the IP SANs, and no SNI")
def address(t):
    upstream = check_good(t, authority().valid, tls_server_name=None)
    t.equal([h.server_name for h in upstream.handshakes], [None] * 2, "SNI")


@test("an IP address that is in no SAN, or in a DNS SAN only")
def wrong_address(t):
    text = r"IP address mismatch \(expected 127\.0\.0\.1; the certificate is for "
    other = authority().leaf("other address", names=["IP:127.0.0.2", "DNS:upstream.test"])
    check_bad(t, other, text + r"127\.0\.0\.2, upstream\.test\)", tls_server_name=None)
    as_name = authority().leaf("address as name", names=["DNS:127.0.0.1"])
    check_bad(t, as_name, text + r"127\.0\.0\.1\)", tls_server_name=None)


@test("another name, which is reported")
def wrong_name(t):
    check_bad(t, authority().valid, r"[Hh]ostname mismatch \(expected api\.example\.com; the "
              r"certificate is for upstream\.test, 127\.0\.0\.1\)", tls_server_name="api.example.com")


@test("the name in the subject only")
def subject_only(t):
    subject = authority().leaf("upstream.test", names=["DNS:other.test"])
    check_bad(t, subject, r"[Hh]ostname mismatch \(expected upstream\.test; the certificate is for "
                          r"other\.test\)")


@test("no name except in the subject: the text says so")
def nameless(t):
    nameless = authority().leaf("nameless.test", names=())
    for name in "nameless.test", "127.0.0.1":
        check_bad(t, nameless, r"it has no subjectAltName, and its subject is not considered "
                               r"\(expected " + re.escape(name) + r"\)", tls_server_name=name)


@test("a wildcard, for one label and no more")
def wildcard(t):
    wild = authority().leaf("*.upstream.test", names=["DNS:*.upstream.test"])
    check_good(t, wild, tls_server_name="a.upstream.test")
    for name in "a.b.upstream.test", "upstream.test":
        check_bad(t, wild, r"[Hh]ostname mismatch \(expected " + re.escape(name) +
                  r"; the certificate is for \*\.upstream\.test\)", tls_server_name=name)


@test("expired")
def expired(t):
    check_bad(t, authority().expired, r"certificate has expired \(CN=expired on 2021-01-01\)")


@test("not yet valid")
def not_yet_valid(t):
    check_bad(t, authority().not_yet_valid, r"certificate is not yet valid \(CN=not yet valid "
              r"before 2048-01-01\)")


@test("self-signed")
def self_signed(t):
    check_bad(t, authority().self_signed, r"self.signed certificate \(issuer CN=self-signed\): "
                                          r"check tls_ca_file")


@test("self-signed, but given as tls_ca_file")
def self_signed_trusted(t):
    own = authority().self_signed
    check_good(t, own, tls_ca_file=own.alone)


@test("an intermediate certificate, sent along; or missing")
def intermediate(t):
    below = authority().below_intermediate
    check_good(t, below)
    check_bad(t, below.without_chain(), r"unable to get local issuer certificate \(issuer "
              r"CN=intermediate\): check tls_ca_file")


@test("tls_ca_file with the intermediate alone, or the certificate itself: no root is needed")
def partial_chain(t):
    below = authority().below_intermediate
    check_good(t, below.without_chain(), tls_ca_file=authority().intermediate.alone)
    check_good(t, below.without_chain(), tls_ca_file=below.alone)
    check_good(t, authority().valid, tls_ca_file=authority().valid.alone)
    check_bad(t, below.without_chain(), r"[Hh]ostname mismatch \(expected other\.test; the "
              r"certificate is for .*\)", tls_ca_file=below.alone, tls_server_name="other.test")


@test("and what is trusted so is not a CA, unless its certificate says so")
def trusted_leaf(t):
    check_bad(t, authority().below_leaf, "invalid CA certificate",
              tls_ca_file=authority().valid.alone)


@test("issued by a certificate that is not a CA's")
def below_leaf(t):
    check_bad(t, authority().below_leaf, "invalid CA certificate")


@test("of a CA that is not trusted; the system's store does not trust the tests' own")
def unknown_authority(t):
    text = r"unable to get local issuer certificate \(issuer CN=root\): check tls_ca_file"
    check_bad(t, authority().valid, text, tls_ca_file=authority().other_root.alone)
    check_bad(t, authority().valid, text, tls_ca_file=None)


@test("tls_verify = no accepts any, and warns at the start")
def unverified(t):
    upstream, kaproxy = two_listeners(t, authority().expired, tls_verify="no", tls_ca_file=None,
                                      tls_server_name="other.test")
    t.equal(client(t, kaproxy).ask("GET", "/x").body, b"1 GET /x ", "response")
    t.equal(upstream.handshakes[0].server_name, "other.test", "SNI")
    warnings = kaproxy.find_log("warning.*listener (main|opaque): tls_verify = no")
    t.equal(len(warnings), 2, "warnings")


main()
