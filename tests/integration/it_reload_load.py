#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: reloads under load cost no client anything, and leave nothing behind."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import LONG, SLOW, answer_lines, main, test
from kaptest.http import HttpUpstream
from kaptest.load import Load, kept, lines, one_shot, redis
from kaptest.reload import reload
from kaptest.resp import ScriptedRedis
from kaptest.tls import HttpsUpstream, settings, upstream_context
from kaptest.tls_ca import authority

RELOADS = 200 if LONG else 20
MEMORY = 16 << 20  # bytes, between a tenth of the reloads and the end


def pair(certificate):
    return {"tls_cert_file": certificate.file, "tls_key_file": certificate.key}


def changes(number, endpoint, certificates):
    """What differs from one reload to the next."""
    return {"pool": {"max_per_host": 2 + number % 3, "keep_alive": 1 + number % 2},
            f"pool p{number % 2}": {}, f"pool p{1 - number % 2}": None,
            "listener http": {"pool": f"p{number % 2}", "idle_timeout": 100 + number},
            "listener tls": pair(certificates[number % 2]),
            f"listener extra{number % 2}": {"listen": "127.0.0.1:{port}", "upstream": endpoint},
            f"listener extra{1 - number % 2}": None}


@test("http kept and one-shot, https, tcp and redis, while limits, listeners, pools, certificates change")
def under_load(t):
    plain, far = t.own(HttpUpstream()), t.upstream(answer_lines)
    secure = t.own(HttpsUpstream(context=upstream_context(clients=authority().root)))
    database = t.own(ScriptedRedis())
    certificates = authority().leaf("client one"), authority().leaf("client two")
    here = {"listen": "127.0.0.1:{port}"}
    kaproxy = t.kaproxy(far.endpoint, more={
        "pool p1": {}, "listener http": {**here, "upstream": plain.endpoint, "pool": "p1"},
        "listener extra1": {**here, "upstream": plain.endpoint},
        "listener tls": {**here, "upstream": secure.endpoint, **settings(),
                         **pair(certificates[1])},
        "listener redis": {**here, "upstream": database.endpoint}})
    load = Load(t)
    for _ in range(2):
        load.add("one-shot", one_shot(kaproxy.address("http")))
        load.add("kept", kept(kaproxy.address("http")))
        load.add("tls", one_shot(kaproxy.address("tls")))
        load.add("tcp", lines(kaproxy.address()))
        load.add("redis", redis(kaproxy.address("redis")))
    descriptors = memory = 0
    for number in range(RELOADS):
        reload(kaproxy, changes(number, plain.endpoint, certificates))
        if number < RELOADS // 10:
            descriptors, memory = max(descriptors, kaproxy.descriptors()), kaproxy.private_memory()
    t.check(not load.failures, f"clients that failed: {load.failures}")
    t.equal(len(load.served), 5, "kinds of clients served")
    load.stop()
    t.at_most(kaproxy.descriptors(), descriptors + 8, "descriptors at the end")
    if not SLOW:
        t.at_most(kaproxy.private_memory() - memory, MEMORY, "memory at the end")


main()
