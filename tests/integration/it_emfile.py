#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: out of descriptors, kaproxy pauses accepting, does not spin, and resumes."""

import os
import resource
import sys
import time

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import answer_lines, main, test

MESSAGE = r"accept.*Too many open files: raise LimitNOFILE or lower max_open"


def exhaust(kaproxy):
    """Takes away every descriptor above those in use; returns the limits before."""
    numbers = {int(name) for name in os.listdir(f"/proc/{kaproxy.pid}/fd")}
    lowest_free = min(set(range(len(numbers) + 1)) - numbers)
    before = resource.prlimit(kaproxy.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(kaproxy.pid, resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    return before


def paused_clients(t, kaproxy):
    """Five clients that are not accepted, and a check of what kaproxy does meanwhile."""
    clients = [kaproxy.connect() for _ in range(5)]
    for client in clients:
        client.send(b"x\n")
    kaproxy.wait_log(MESSAGE)
    cpu = kaproxy.cpu_seconds()
    time.sleep(0.7)
    t.at_most(kaproxy.cpu_seconds() - cpu, 0.2, "processor time while accepting pauses")
    t.check(all(client.is_silent(0.01) for client in clients), "a client was accepted")
    return clients


@test("the limit is raised again: all are served, one message for the pause")
def raised(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint)
    held = kaproxy.connect()
    t.equal(held.ask(b"a"), b"1 a", "response before")
    before = exhaust(kaproxy)
    clients = paused_clients(t, kaproxy)
    t.equal(held.ask(b"b"), b"1 b", "response during the pause")
    resource.prlimit(kaproxy.pid, resource.RLIMIT_NOFILE, before)
    for client in clients:
        t.check(client.read_line().endswith(b" x"), "a client was not served")
        t.equal(client.end(), "eof", "end")
    t.equal(len(kaproxy.wait_log(MESSAGE)), 1, "messages about the first pause")

    before = exhaust(kaproxy)
    late = kaproxy.connect()
    kaproxy.wait_log(MESSAGE, 2)
    resource.prlimit(kaproxy.pid, resource.RLIMIT_NOFILE, before)
    t.check(late.ask(b"x").endswith(b" x"), "the late client was not served")


@test("a session ends: its descriptor serves the next, one after the other")
def one_by_one(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint, pool={"max_per_host": 1})
    held = kaproxy.connect()
    t.equal(held.ask(b"a"), b"1 a", "response")
    exhaust(kaproxy)
    clients = paused_clients(t, kaproxy)
    t.equal(held.end(), "eof", "end of the first client")
    for client in clients:
        t.equal(client.read_line(), b"1 x", "response")
        t.equal(client.end(), "eof", "end")


main()
