#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a listener serves IPv4, IPv6 and unix sockets, several of them at once."""

import socket
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, answer_lines, main, test
from kaptest.peers import need_localhost


def need_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        raise Skip(f"no IPv6 here: {error}") from None


def check_all(t, listen):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, listen=listen)
    for index in range(len(listen.split())):
        client = kaproxy.connect(index=index)
        t.equal(client.ask(b"a"), b"1 a", f"response at address {index}")
        t.equal(client.end(), "eof", f"end at address {index}")
    return kaproxy.wait_sessions(len(listen.split()))


@test("two IPv4 addresses and a unix socket in one listener")
def several(t):
    sessions = check_all(t, f"127.0.0.1:{{port}} 127.0.0.2:{{port}} unix:{t.folder}/k.sock")
    t.check(sessions[0]["client"].startswith("127.0.0.1:"), "client at IPv4")
    t.check(sessions[2]["client"].startswith("unix"), "client at the unix socket")


@test("IPv6, next to IPv4")
def ipv6(t):
    need_ipv6()
    sessions = check_all(t, "[::1]:{port} 127.0.0.1:{port}")
    t.check(sessions[0]["client"].startswith("[::1]:"), "client at IPv6")


@test("the IPv4 and the IPv6 wildcard on one port")
def wildcards(t):
    need_ipv6()
    from kaptest import free_port
    port = free_port(socket.AF_INET6, "::")
    check_all(t, f"0.0.0.0:{port} [::]:{port}")


@test("an upstream over IPv6")
def ipv6_upstream(t):
    need_ipv6()
    listener = socket.socket(socket.AF_INET6)
    listener.bind(("::1", 0))
    upstream = t.upstream(answer_lines, listener=listener)
    kaproxy = t.kaproxy(f"tcp://[::1]:{upstream.port}")
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response")
    client.end()


@test("an upstream by name, whose addresses are tried in turn")
def by_name(t):
    need_localhost()
    upstream = t.upstream(answer_lines)  # on 127.0.0.1 only; localhost may be ::1 first
    kaproxy = t.kaproxy(f"tcp://localhost:{upstream.port}")
    client = kaproxy.connect()
    t.equal(client.ask(b"a"), b"1 a", "response")
    client.end()
    t.equal(kaproxy.wait_sessions(1)[0]["upstream"], f"tcp://localhost:{upstream.port}", "upstream")


main()
