#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: of processes that start at the same time on one unix socket, exactly one gets
it, and it stays reachable."""

import os
import socket
import sys
import threading

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Failure, Kaproxy, Skip, answer_lines, main, test
from kaptest.peers import need

STARTERS = 5


def start_together(t, wrap):
    """The one that started; the file of a socket without a listener is in its way."""
    path = t.folder / "k.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    endpoint = t.upstream(answer_lines).endpoint
    starters = [Kaproxy(t, endpoint, listen=f"unix:{path}", wrap=wrap) for _ in range(STARTERS)]
    started = []

    def start(kaproxy):
        try:
            kaproxy.start()
        except Failure:
            return
        started.append(t.own(kaproxy))

    threads = [threading.Thread(target=start, args=(kaproxy,)) for kaproxy in starters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for kaproxy in starters:
        if "ptrace" in kaproxy.stderr():
            raise Skip("strace may not trace")
    t.equal(len(started), 1, "kaproxys that started")
    for kaproxy in starters:
        if kaproxy not in started:
            t.check(kaproxy.find_log(r"cannot listen on unix:.*: Address already in use"),
                    "another one failed, but not since the address is in use")
    return started[0]


def check_reachable(t, kaproxy):
    client = kaproxy.connect()
    t.check(client.ask(b"a").endswith(b" a"), "no response")
    t.equal(client.end(), "eof", "end")
    kaproxy.wait_sessions(1)


@test("at full speed, over and over")
def fast(t):
    for _ in range(4):
        kaproxy = start_together(t, ())
        check_reachable(t, kaproxy)
        kaproxy.stop()


@test("each of them slow between the check and the removal, and before it listens")
def slow(t):
    for call in "unlink", "listen":
        trace = [need("strace"), "-D", "-f", "-o", os.devnull, "-e", f"trace={call}",
                 "-e", f"inject={call}:delay_enter=200000"]
        # A traced program cannot check for its leaks.
        kaproxy = start_together(t, ["env", "ASAN_OPTIONS=detect_leaks=0", *trace])
        check_reachable(t, kaproxy)
        kaproxy.stop()
        t.check(not (t.folder / "k.sock").exists(), "the socket's file stayed behind")


main()
