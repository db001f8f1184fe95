#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: common memcached clients work through kaproxy as they do without it, and leave
their connections for others."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import main, test
from kaptest.memcached_clients import CLIENTS, conversation
from kaptest.memcached_peers import MemcachedServer, start


def same_as_directly(t, name, tls):
    expected = conversation(t, name, t.own(MemcachedServer(t)).address)
    peer = t.own(MemcachedServer(t, tls=tls))
    address = start(t, peer, pool={"max_per_host": 4}).address()
    got = conversation(t, name, address)
    t.equal([pair for pair in zip(got, expected) if pair[0] != pair[1]], [],
            "what it got, with what it gets without kaproxy")
    t.equal(len(got), len(expected), "its amount")
    before = peer.connections()
    conversation(t, name, address)  # in a store that is not empty any more
    t.at_most(peer.connections(), 4, "connections memcached received")
    t.at_most(peer.connections() - before, 1, "further ones for a second client")


for client_name in CLIENTS:
    for client_tls in False, True:
        test(f"{client_name}{', over TLS' if client_tls else ''} [F6, M1, M2, M3]")(
            lambda t, n=client_name, s=client_tls: same_as_directly(t, n, s))


main()
