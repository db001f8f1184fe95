#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: an exchange takes no more system calls than necessary, each kind
separately."""

import collections
import functools
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Failure, Skip, main
from kaptest.counting import NotTraceable, SystemCalls
from kaptest.kaproxy import need_plain_build
from kaptest.peers import need
from kaptest.steady import LOADS, tests_of

# At most this many for each exchange, as strace counted them for the current program: whole
# numbers, and the same at each run. Only "queued" varies a little with the order of arrival. What
# is not listed here must not happen for each exchange. When a change saves a call, remove it here.
# All threads are counted: the one that writes the logs writes the lines of many exchanges together,
# and the control thread only waits. OpenSSL's calls are read and write.
LIMITS = {
    "one-shot http": {"accept": 1, "close": 1, "recv": 3, "send": 2, "wait": 2},
    "logged http": {"accept": 1, "close": 1, "recv": 3, "send": 2, "wait": 2},
    "queued http": {"accept": 1, "close": 1, "recv": 3, "send": 2, "wait": 2},
    "one-shot https": {"accept": 1, "close": 1, "read": 1, "recv": 2, "send": 1, "wait": 2,
                       "write": 1},
    "kept http": {"recv": 3, "send": 2, "wait": 2},
    "kept https": {"read": 1, "recv": 2, "send": 1, "wait": 2, "write": 1},
    "one-shot tcp": {"accept": 1, "close": 1, "epoll_ctl": 1, "recv": 5, "send": 2, "wait": 2},
    "one-shot redis": {"accept": 1, "close": 1, "epoll_ctl": 1, "recv": 4, "send": 2, "wait": 2},
    "kept redis": {"recv": 3, "send": 2, "wait": 2},
    "pipelined redis": {"recv": 0.2, "send": 0.14, "wait": 0.14},
    "one-shot memcached": {"accept": 1, "close": 1, "epoll_ctl": 1, "recv": 4, "send": 2,
                           "wait": 2},
    "kept memcached": {"recv": 3, "send": 2, "wait": 2},
    "pipelined memcached": {"recv": 0.2, "send": 0.14, "wait": 0.14},
}
MARGIN = 0.5  # finds one call more for every second exchange

# At most this many, of all kinds, for each MB. A call moves what the sockets' buffers hold at the
# time: 3 to 16 were counted with splice, 9 to 20 with TLS down, 74 up, where each record is a
# write. A copy in pieces of 64 KiB has 34, and TLS down had 43. That bytes are spliced at all is
# tested by test_relay_splice and it_http_large. The best of some attempts is used, each with new
# connections.
BULK_LIMITS = {
    "down http": 20, "up http": 20, "down https": 30, "up https": 92, "down tcp": 20, "up tcp": 20,
}
ATTEMPTS = 5
EXCHANGES, MEGABYTES = 200, 32

# Names of the same call, on other architectures and with other C libraries too.
KINDS = {"accept4": "accept", "epoll_pwait": "wait", "epoll_pwait2": "wait", "epoll_wait": "wait",
         "readv": "read", "recvfrom": "recv", "recvmsg": "recv", "sendmsg": "send",
         "sendto": "send", "writev": "write"}


def count(t, kaproxy, load, units):
    """System calls by kind for each of these units."""
    try:
        with SystemCalls(kaproxy.pid, t.folder / "strace.out", need("strace")) as counted:
            load.drive(kaproxy, units)
    except NotTraceable as why:
        raise Skip(str(why)) from None
    each = collections.Counter()
    for name, number in counted.calls.items():
        if name == "restart_syscall":
            continue  # the poll(2) of the log's writer continues, when the load has stopped kaproxy
        kind = KINDS.get(name, name)
        interrupted = counted.failed[name] if kind == "wait" else 0  # by the load
        each[kind] += (number - interrupted) / units
    return {kind: round(each[kind], 2) for kind in sorted(each)}


def check(each, limits):
    for kind, number in {**each, "all": sum(each.values())}.items():
        limit = sum(limits.values()) if kind == "all" else limits.get(kind, 0)
        if number > limit + MARGIN:
            raise Failure(f"{kind}: {number:.2f} for each exchange, expected {limit}; {each}")


def exchanges(t, name, limits):
    load = LOADS[name]
    kaproxy = load.start(t)
    load.drive(kaproxy, 16)
    check(count(t, kaproxy, load, EXCHANGES), limits)


def bulk(t, name, limit):
    load = LOADS[name]
    seen = []
    while len(seen) < ATTEMPTS and not (seen and sum(seen[-1].values()) <= limit):
        kaproxy = load.start(t)
        load.drive(kaproxy, 1)
        seen.append(count(t, kaproxy, load, MEGABYTES))
    t.at_most(min(sum(each.values()) for each in seen), limit, f"calls for each MB, of {seen}")


def need_all():
    need_plain_build()
    need("strace")


tests_of(need_all, {
    **{f"{name}: calls for each exchange": functools.partial(exchanges, name=name, limits=limits)
       for name, limits in LIMITS.items()},
    **{f"{name}: calls for each MB": functools.partial(bulk, name=name, limit=limit)
       for name, limit in BULK_LIMITS.items()},
})
main()
