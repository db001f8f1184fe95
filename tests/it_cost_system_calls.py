#!/usr/bin/env python3
"""Goal of this test: an exchange takes no more system calls than it has to, each kind by itself."""

import functools
import sys

sys.path.insert(0, sys.path[0] + "/harness")
from kaptest import Failure, Skip, main, test
from kaptest.counting import NotTraceable, SystemCalls
from kaptest.kaproxy import need_plain_build
from kaptest.peers import need
from kaptest.steady import LOADS

# At most so many for each exchange, as strace counted them for the program as it stands: whole
# numbers, and the same at each run. Only "queued" varies a little with who comes when. What does
# not stand here must not happen for each exchange. When a change saves a call, take it out here.
LIMITS = {
    "one-shot http": {"accept4": 1, "close": 1, "epoll_wait": 2, "recvfrom": 3, "sendmsg": 2},
    "logged http": {"accept4": 1, "close": 1, "epoll_wait": 2, "recvfrom": 3, "sendmsg": 2,
                    "write": 1},
    "queued http": {"accept4": 1, "close": 1, "epoll_wait": 2, "recvfrom": 3, "sendmsg": 2},
    "one-shot https": {"accept4": 1, "close": 1, "epoll_wait": 2, "read": 1, "recvfrom": 3,
                       "sendmsg": 1, "write": 1},
    "kept http": {"epoll_wait": 2, "recvfrom": 3, "sendmsg": 2},
    "kept https": {"epoll_wait": 2, "read": 1, "recvfrom": 3, "sendmsg": 1, "write": 1},
    "one-shot tcp": {"accept4": 1, "close": 1, "epoll_ctl": 1, "epoll_wait": 2, "recvfrom": 5,
                     "sendmsg": 2},
}
MARGIN = 0.5  # finds one call more for every second exchange

# At most so many, of all kinds, for each MB: 1.25 of what was counted. How much can be read at once
# depends on who is faster, so the best of some attempts counts.
BULK_LIMITS = {
    "down http": 42, "up http": 42, "down https": 63, "up https": 98, "down tcp": 42, "up tcp": 42,
}
ATTEMPTS = 5
EXCHANGES, MEGABYTES = 200, 32


def count(t, kaproxy, load, units):
    """System calls by name for each of so many units."""
    try:
        with SystemCalls(kaproxy.pid, t.folder / "strace.out", need("strace")) as counted:
            load.drive(kaproxy, units)
    except NotTraceable as why:
        raise Skip(str(why)) from None
    calls = counted.calls
    calls["epoll_wait"] -= counted.failed["epoll_wait"]  # EINTR, which the load causes
    return {name: calls[name] / units for name in sorted(calls)}


def check(each, limits):
    for name, number in {**each, "all": sum(each.values())}.items():
        limit = sum(limits.values()) if name == "all" else limits.get(name, 0)
        if number > limit + MARGIN:
            raise Failure(f"{name}: {number:.2f} for each exchange, expected {limit}; {each}")


def exchanges(t, name, limits):
    need_plain_build()
    load = LOADS[name]
    kaproxy = load.start(t)
    load.drive(kaproxy, 16)
    check(count(t, kaproxy, load, EXCHANGES), limits)


def bulk(t, name, limit):
    need_plain_build()
    load = LOADS[name]
    kaproxy = load.start(t)
    load.drive(kaproxy, 1)
    seen = []
    while len(seen) < ATTEMPTS and not (seen and sum(seen[-1].values()) <= limit):
        seen.append(count(t, kaproxy, load, MEGABYTES))
    t.at_most(min(sum(each.values()) for each in seen), limit, f"calls for each MB, of {seen}")


for case, its in LIMITS.items():
    test(f"{case}: calls for each exchange")(functools.partial(exchanges, name=case, limits=its))
for case, most in BULK_LIMITS.items():
    test(f"{case}: calls for each MB")(functools.partial(bulk, name=case, limit=most))
main()
