#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: an exchange takes no more instructions of kaproxy and its libraries than it
did, each kind separately."""

import functools
import os
import platform
import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, main
from kaptest.counting import Instructions, NotTraceable
from kaptest.kaproxy import need_plain_build
from kaptest.peers import need
from kaptest.steady import LOADS, tests_of

# What callgrind counted for each exchange of the current program: on Debian 12, with gcc 12, -O2,
# x86-64. Each run finds the same, to about 1 %; other compilers and libraries do not. When a change
# makes an exchange cheaper, lower its number too. (Since a thread writes the logs, each system call
# takes some 35 more: glibc 2.36 checks whether the thread is cancelled. The control thread has no
# part in an exchange; but a load that stops the program interrupts its wait as well, which is some
# 200.)
COUNTED = {
    "one-shot http": 8_400,
    "logged http": 11_300,
    "queued http": 8_400,
    "one-shot https": 26_800,
    "kept http": 7_900,
    "kept https": 26_300,
    "one-shot tcp": 4_250,
    "one-shot redis": 7_650,
    "kept redis": 5_750,
    "pipelined redis": 1_310,
    "one-shot memcached": 7_300,
    "kept memcached": 6_000,
    "pipelined memcached": 1_600,
}
MARGIN = 1.2

# At most this many for each MB. How much can be moved at once depends on which side is faster:
# 2,000 to 11,000 were counted. These find a pass over the bytes: a copy is at least 60,000, or
# 1,000,000 if it is one instruction that repeats itself.
BULK_LIMITS = {
    "down http": 30_000,
    "up http": 30_000,
    "down tcp": 30_000,
    "up tcp": 30_000,
}
EXCHANGES, MEGABYTES = 200, 16


def need_like_build():
    """As COUNTED was found."""
    need_plain_build()
    need("valgrind")
    flags = os.environ.get("KAPROXY_CFLAGS", "-O2")
    if not re.search(r"-O[23]\b", flags):
        raise Skip(f"built with CFLAGS={flags}")
    if platform.machine() != "x86_64":
        raise Skip(f"the limits are for x86_64, not for {platform.machine()}")


def instructions(t, name, units, limit):
    load = LOADS[name]
    counted = Instructions(t.folder, need("valgrind"))
    kaproxy = load.start(t, wrap=counted.wrap)
    load.drive(kaproxy, 1 if load.bulk else 16)
    try:
        counted.part(kaproxy.pid)
        load.drive(kaproxy, units)
        t.at_most(round(counted.part(kaproxy.pid) / units), limit, "instructions")
    except NotTraceable as why:
        raise Skip(str(why)) from None


def cases(unit, units, limits):
    return {f"{name}: instructions for each {unit}": functools.partial(
        instructions, name=name, units=units, limit=limit) for name, limit in limits.items()}


tests_of(need_like_build, {
    **cases("exchange", EXCHANGES, {name: round(MARGIN * n) for name, n in COUNTED.items()}),
    **cases("MB", MEGABYTES, BULK_LIMITS),
})
main()
