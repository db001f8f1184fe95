#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: sockets have TCP_NODELAY, keep-alive probes towards the upstream, a backlog of
somaxconn, and the bind_address."""

import ctypes
import os
import pathlib
import socket
import struct
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, answer_lines, main, test

PIDFD_GETFD = 438  # the same number on every architecture
TCP_INFO_BACKLOG = 28  # offset of tcpi_sacked, which holds a listening socket's backlog


def sockets(kaproxy):
    """Copies of kaproxy's TCP sockets."""
    if not hasattr(os, "pidfd_open"):
        raise Skip("this Python has no pidfd_open")
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    process = os.pidfd_open(kaproxy.pid)
    found = []
    try:
        for number in os.listdir(f"/proc/{kaproxy.pid}/fd"):
            if not os.readlink(f"/proc/{kaproxy.pid}/fd/{number}").startswith("socket:"):
                continue
            copy = syscall(PIDFD_GETFD, process, int(number), 0)
            if copy < 0:
                raise Skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
            sock = socket.socket(fileno=copy)
            kaproxy.t.callback(sock.close)
            if sock.family == socket.AF_INET:
                found.append(sock)
    finally:
        os.close(process)
    return found


def is_listening(sock):
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


@test("TCP_NODELAY towards the client and towards the upstream")
def nodelay(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint)
    client = kaproxy.connect()
    client.ask(b"x")
    connected = [s for s in sockets(kaproxy) if not is_listening(s)]
    t.equal(len(connected), 2, "connected sockets")
    for sock in connected:
        t.equal(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1, "TCP_NODELAY")
        t.check(not os.get_blocking(sock.fileno()), "a socket blocks")


@test("probes towards the upstream after 30 s of silence, every 10 s, three of them")
def keep_alive(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint)
    kaproxy.connect().ask(b"x")
    found = [s for s in sockets(kaproxy)
             if not is_listening(s) and s.getpeername()[1] == upstream.port]
    t.equal(len(found), 1, "connections")
    t.equal(found[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1, "SO_KEEPALIVE")
    options = socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT
    t.equal([found[0].getsockopt(socket.IPPROTO_TCP, option) for option in options],
            [30, 10, 3, 0], "idle time, interval, count, TCP_USER_TIMEOUT")


@test("the backlog of the listening socket is somaxconn")
def backlog(t):
    kaproxy = t.kaproxy(t.upstream(answer_lines).endpoint)
    listening = [s for s in sockets(kaproxy) if is_listening(s)]
    t.equal(len(listening), 1, "listening sockets")
    info = listening[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    somaxconn = int(pathlib.Path("/proc/sys/net/core/somaxconn").read_text())
    t.equal(struct.unpack_from("I", info, TCP_INFO_BACKLOG)[0], somaxconn, "backlog")


@test("connections come from bind_address")
def bind_address(t):
    upstream = t.upstream(answer_lines)
    kaproxy = t.kaproxy(upstream.endpoint, pool={"bind_address": "127.0.0.3"})
    kaproxy.connect().ask(b"x")
    t.equal(upstream.connections[0].socket.getpeername()[0], "127.0.0.3", "local address")


main()
