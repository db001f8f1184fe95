# SPDX-License-Identifier: ISC
"""Connections whose network drops everything: packets are discarded before TCP sees them, so that
nothing is acknowledged. That is a filter on the socket, for which some systems require root."""

import ctypes
import socket
import struct

from .tap import Skip

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27  # <asm-generic/socket.h>

RETURN = 0x06  # instructions of <linux/bpf_common.h>
LOAD_BYTE = 0x30
SKIP_UNLESS_SET = 0x45
ALL = 0xffffffff
FLAGS, PUSH = 13, 8  # of TCP's header

DROP = [(RETURN, 0, 0, 0)]
DROP_DATA = [(LOAD_BYTE, 0, 0, FLAGS), (SKIP_UNLESS_SET, 0, 1, PUSH), (RETURN, 0, 0, 0),
             (RETURN, 0, 0, ALL)]


def _attach(sock, instructions):
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *i) for i in instructions))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(code))
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    except PermissionError:
        raise Skip("only root may attach a filter to a socket here") from None


def need_filters():
    """Before anything is under way that would not end well."""
    deaf_listener().close()


def deafen(connection):
    """From now on nothing reaches this channel's socket."""
    _attach(connection.socket, DROP)


def undeafen(connection):
    """What the other side retransmits reaches it."""
    connection.socket.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, struct.pack("i", 0))


def deaf_listener():
    """A socket to listen on, whose connections are established, and then receive nothing of what is
    sent."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    _attach(sock, DROP_DATA)
    return sock
