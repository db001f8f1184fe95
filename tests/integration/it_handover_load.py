#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: handovers under load cost no client anything, and leave nothing behind."""

import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import LONG, answer_lines, main, test
from kaptest.handover import adopt_orphans, hand_over
from kaptest.http import HttpUpstream
from kaptest.load import Load, kept, lines, one_shot, redis
from kaptest.resp import ScriptedRedis

HAND_OVERS = 50 if LONG else 5

adopt_orphans()


@test("http kept and one-shot, tcp, over a unix socket too, and redis, during successive handovers")
def under_load(t):
    plain, far = t.own(HttpUpstream()), t.upstream(answer_lines)
    database = t.own(ScriptedRedis())
    here = {"listen": "127.0.0.1:{port}"}
    kaproxy = t.kaproxy(far.endpoint, listen=f"127.0.0.1:{{port}} unix:{t.folder}/socket", more={
        "listener http": {**here, "upstream": plain.endpoint},
        "listener redis": {**here, "upstream": database.endpoint}})
    load = Load(t)
    for index in range(2):
        load.add("one-shot", one_shot(kaproxy.address("http")))
        load.add("kept", kept(kaproxy.address("http")))
        load.add("tcp", lines(kaproxy.address("main", index)))
        load.add("redis", redis(kaproxy.address("redis"), commands=20))
    descriptors = []
    for _ in range(HAND_OVERS):
        served = dict(load.served)
        hand_over(kaproxy)
        descriptors.append(kaproxy.descriptors())
        t.check(not load.failures, f"clients that failed: {load.failures}")
        t.check(load.served != served, "no client was served")
    t.equal(len(load.served), 4, "kinds of clients served")
    load.stop()
    t.check(not load.failures, f"clients that failed: {load.failures}")
    t.at_most(max(descriptors), min(descriptors) + 30, "descriptors")


main()
