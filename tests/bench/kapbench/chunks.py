# SPDX-License-Identifier: ISC
"""An upstream whose response is an endless chunked body, except for /1k: chunks.py PORT"""

import socket
import sys
import threading

SIZE = 1 << 20
CHUNK = b"%x\r\n" % SIZE + bytes(SIZE) + b"\r\n"
SEND = 256 * 1024  # at a time
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SMALL = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + bytes(1024)


def answer(peer, target):
    if target == b"/1k":
        peer.sendall(SMALL)
        return
    peer.sendall(HEAD)
    view = memoryview(CHUNK)
    while True:
        for start in range(0, len(view), SEND):
            peer.sendall(view[start:start + SEND])


def serve(peer):
    text = b""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with peer:
        try:
            while more := peer.recv(65536):
                text += more
                while b"\r\n\r\n" in text:
                    head, _, text = text.partition(b"\r\n\r\n")
                    answer(peer, head.split()[1])
        except OSError:
            pass  # it has left


def main():
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as listener:
        while True:
            threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()


if __name__ == "__main__":
    main()
