#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: a connection is found dead, too, when its bytes cannot leave this machine, for
which the kernel has other counters than for what is lost on the way."""

import contextlib
import ctypes
import os
import pathlib
import socket
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, answer_lines, main, test
from kaptest.http import HttpUpstream, check_line, one_shot
from kaptest.peers import need

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # <linux/sched.h>
POOL = {"unacked_timeout": 1}
UPSTREAM = "127.0.0.5"


def enter_network():
    """A network of this process's own, where it may do anything. To be called before there are
    threads. Returns why the system does not allow it, or None."""
    user, group = os.geteuid(), os.getegid()
    flags = CLONE_NEWNET if user == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        return os.strerror(ctypes.get_errno())
    try:
        if user != 0:
            own = pathlib.Path("/proc/self")
            (own / "setgroups").write_text("deny")
            (own / "uid_map").write_text(f"0 {user} 1")
            (own / "gid_map").write_text(f"0 {group} 1")
    except PermissionError as error:
        return str(error)
    return None


REFUSED = enter_network()


def ip(*arguments):
    subprocess.run([need("ip"), *arguments], check=True)


def listener():
    """What an upstream listens on, in that network."""
    if REFUSED:
        raise Skip(f"no network of its own is allowed: {REFUSED}")
    ip("link", "set", "lo", "up")
    return socket.create_server((UPSTREAM, 0))


@contextlib.contextmanager
def nothing_leaves():
    """Meanwhile nothing can be sent to the upstream."""
    route = "blackhole", UPSTREAM, "table", "local"
    ip("route", "add", *route)
    try:
        yield
    finally:
        ip("route", "del", *route)


@test("http: 504, and when the network is back all is well")
def http(t):
    upstream = t.own(HttpUpstream(listener=listener()))
    kaproxy = t.kaproxy(f"http://{UPSTREAM}:{upstream.port}", reuse=None, pool=POOL)
    t.equal(one_shot(t, kaproxy).status, 200, "status of the first")
    kaproxy.wait_idle(1)
    with nothing_leaves():
        t.equal(one_shot(t, kaproxy, "POST", "/x", body=b"x").status, 504, "status")
    check_line(t, kaproxy, 2, status=504, end="upstream_reset")
    t.equal(kaproxy.counters()["discard_unacked"], 1, "discarded")
    t.equal(one_shot(t, kaproxy).body, b"2 GET / ", "response")


@test("tcp: a reset")
def opaque(t):
    upstream = t.upstream(answer_lines, listener=listener())
    kaproxy = t.kaproxy(f"tcp://{UPSTREAM}:{upstream.port}", pool=POOL)
    peer = kaproxy.connect()
    t.equal(peer.ask(b"a"), b"1 a", "response")
    with nothing_leaves():
        peer.send(b"b\n")
        t.equal(peer.read_end(), (b"", "reset"), "what the client read")
    t.equal(kaproxy.wait_session(peer)["end"], "upstream_reset", "end")
    t.equal(kaproxy.counters()["discard_unacked"], 1, "discarded")


main()
