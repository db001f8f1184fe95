#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: PHP's one-shot clients of memcached, which end with quit, share a few
connections, and each gets its own values."""

import hashlib
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import connect, main, test
from kaptest.memcached_peers import MemcachedServer, start
from kaptest.scripts import Script

# PORT NUMBER BINARY
WORK = """\
[, $port, $number, $binary] = $argv;
$cache = new Memcached();
$cache->setOption(Memcached::OPT_BINARY_PROTOCOL, (bool)$binary);
$cache->setOption(Memcached::OPT_COMPRESSION, false);
$cache->addServer('127.0.0.1', (int)$port);
$cache->set("key$number", "value $number");
$cache->set("large$number", str_repeat("$number ", 10000));
$got = [$cache->get("key$number"), $cache->getMulti(["key$number", 'none', 'place']),
        md5($cache->get("large$number")), $cache->add("count$number", 5),
        $cache->increment("count$number"), $cache->get('none'), $cache->getResultCode()];
$got[] = $cache->quit();
echo json_encode($got);
"""


def many(t, binary, scheme_tls=False):
    peer = t.own(MemcachedServer(t, tls=scheme_tls))
    port = start(t, peer, pool={"max_per_host": 4}).address()[1]
    directly = t.own(connect(peer.address))
    directly.send(b"set place 0 0 4\r\nhere\r\n")
    t.equal(directly.read_line(), b"STORED\r", "what all of them read")
    peer.asked += 1
    script = Script(t, "php", "memcached", WORK)
    said = script.run_all([(port, number, binary) for number in range(30)])
    for number, got in enumerate(said):
        large = hashlib.md5(f"{number} ".encode() * 10000).hexdigest()
        t.equal(got[:5], [f"value {number}", {f"key{number}": f"value {number}", "place": "here"},
                          large, True, 6], f"what client {number} got")
        t.equal((got[5], got[6], got[7]), (False, 16, True), "a miss, and quit")
    t.at_most(peer.connections(), 4, "connections memcached received")


@test("30 clients of the text protocol on four connections [F6, M1]")
def text(t):
    many(t, 0)


@test("30 clients of the binary protocol on four connections [F6, M1, M2]")
def binary(t):
    many(t, 1)


@test("30 clients of the text protocol, over TLS upstream [F6, M1]")
def over_tls(t):
    many(t, 0, True)


main()
