# SPDX-License-Identifier: ISC
"""What the kernel knows about other processes' sockets, queried for one of them: the table of all
in /proc/net is long after a load, and takes seconds to read on a busy machine."""

import socket
import struct

from .tap import Failure

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
ANY_COOKIE = 0xFFFFFFFF
RECEIVE_QUEUE = 16 + 4 + 48 + 4  # its place behind header, state, addresses and timer


def receive_queue(local, remote):
    """How many bytes an IPv4 socket's program has not read, by both of its addresses."""
    ends = struct.pack("!HH4s12x4s12x", local[1], remote[1], socket.inet_aton(local[0]),
                       socket.inet_aton(remote[0]))
    asks = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, ANY_COOKIE) + ends + \
        struct.pack("=III", 0, ANY_COOKIE, ANY_COOKIE)
    header = struct.pack("=IHHII", 16 + len(asks), SOCK_DIAG_BY_FAMILY, 1, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.send(header + asks)
        answer = kernel.recv(4096)
    if struct.unpack_from("=H", answer, 4)[0] != SOCK_DIAG_BY_FAMILY:
        raise Failure(f"no socket from {local} to {remote}")
    return struct.unpack_from("=I", answer, RECEIVE_QUEUE)[0]
