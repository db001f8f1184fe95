#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: nginx over https with either version of TLS and with client certificates."""

import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.http import check_line, client, one_shot
from kaptest.tls import handshakes, settings, start
from kaptest.tls_ca import authority
from kaptest.tls_peers import Nginx


def ask(t, kaproxy, listener="main", status=200):
    got = one_shot(t, kaproxy, "GET", "/page", listener=listener)
    t.equal(got.status, status, "status")
    return got


def with_page(t, settings=""):
    nginx = t.own(Nginx(t, settings))
    nginx.put("page", b"hello")
    return nginx


@test("TLS 1.2 only, TLS 1.3 only: one-shot clients on one connection, ALPN http/1.1")
def versions(t):
    for version in "TLSv1.2", "TLSv1.3":
        nginx = with_page(t, f"ssl_protocols {version};")
        kaproxy = start(t, nginx)
        for _ in range(5):
            t.equal(ask(t, kaproxy).body, b"hello", "response")
        requests = nginx.wait_requests(5)
        t.equal({(r.version, r.alpn) for r in requests}, {(version, "http/1.1")},
                "version and ALPN")
        t.equal(len({r.connection for r in requests}), 1, "connections")
        t.equal(handshakes(kaproxy), (1, 0, 0), "handshakes")


@test("a version below tls_min_version is refused, and reported")
def too_old(t):
    kaproxy = start(t, with_page(t, "ssl_protocols TLSv1.2;"), listener={"tls_min_version": "1.3"})
    t.check(b"tls: alert from the upstream: protocol version" in ask(t, kaproxy, status=502).body,
            "text of the response")
    check_line(t, kaproxy, end="alloc_failed", function="tls",
               error="alert from the upstream: protocol version")


def asking_for_certificates(t, version):
    return with_page(t, f"ssl_protocols {version}; ssl_verify_client on; "
                        f"ssl_client_certificate {authority().root.alone};")


def with_certificate(certificate):
    return {"tls_cert_file": certificate.file, "tls_key_file": certificate.key}


@test("client certificates: shown where one is required, its intermediate as well")
def client_certificate(t):
    for version in "TLSv1.2", "TLSv1.3":
        for certificate in authority().valid, authority().below_intermediate:
            nginx = asking_for_certificates(t, version + "; ssl_verify_depth 2")
            kaproxy = start(t, nginx, listener=with_certificate(certificate))
            for _ in range(2):
                ask(t, kaproxy)
            subjects = {r.client for r in nginx.wait_requests(2)}
            t.equal(len(subjects), 1, "subjects that nginx saw")
            t.check(re.fullmatch(f"CN={certificate.key.stem.replace('-', ' ')}", *subjects),
                    f"subject that nginx saw: {subjects}")


@test("none where one is required, or an untrusted one: nginx responds 400 itself")
def wrong_client_certificate(t):
    stranger = authority().leaf("stranger", issuer=authority().other_root)
    for version in "TLSv1.2", "TLSv1.3":
        nginx = asking_for_certificates(t, version)
        more = {"listener stranger": {"listen": "127.0.0.1:{port}", "upstream": nginx.endpoint,
                                      **settings(**with_certificate(stranger))}}
        kaproxy = start(t, nginx, more=more)
        t.check(b"No required SSL certificate" in ask(t, kaproxy, status=400).body, "nginx's text")
        t.check(b"SSL certificate error" in ask(t, kaproxy, "stranger", status=400).body,
                "nginx's text")
        t.equal(kaproxy.counters()["idle"], 0, "idle connections")


@test("listeners with different certificates, and with none, never share a connection")
def apart(t):
    first, second = authority().valid, authority().leaf("second")
    nginx = with_page(t, f"ssl_verify_client optional; "
                         f"ssl_client_certificate {authority().root.alone};")
    sections = {
        f"listener {name}": {"listen": "127.0.0.1:{port}", "upstream": nginx.endpoint,
                             **settings(**more)}
        for name, more in {"first": with_certificate(first), "second": with_certificate(second),
                           "again": with_certificate(first), "none": {}}.items()}
    kaproxy = t.kaproxy(more=sections)
    for _ in range(3):
        for name in "first", "second", "again", "none":
            got = client(t, kaproxy, name).ask("GET", f"/page?{name}")
            t.equal(got.status, 200, "status")
    used = {}
    for request in nginx.wait_requests(12):
        used.setdefault(request.target.partition("?")[2], set()).add(
            (request.connection, request.client))
    t.equal([len(used[name]) for name in sorted(used)], [1] * 4, "connections of each listener")
    t.equal(used["first"], used["again"], "what listeners with the same settings share")
    t.equal({subject for name in used for _, subject in used[name]},
            {"CN=valid", "CN=second", "-"}, "subjects that nginx saw")
    t.equal(len(set.union(*used.values())), 3, "connections in all")


main()
