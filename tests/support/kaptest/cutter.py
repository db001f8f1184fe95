# SPDX-License-Identifier: ISC
"""A relay between kaproxy and an upstream, that can break connections which the upstream would
keep."""

import random
import socket
import threading


class Cutter:
    """Listens; each connection is relayed to `address`."""

    def __init__(self, address, scheme):
        self.address = address
        self.open = []
        self.closing = False
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.endpoint = f"{scheme}://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, share=1.0):
        """Ends some of the connections, wherever they are."""
        with self.lock:
            pairs = [pair for pair in self.open if random.random() < share]
        for pair in pairs:
            self._end(pair)
        return len(pairs)

    def close(self):
        self.closing = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.cut()

    def _end(self, pair):
        for sock in pair:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while not self.closing:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            far = socket.create_connection(self.address)
        except OSError:
            sock.close()
            return
        pair = (sock, far)
        for one in pair:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.open.append(pair)
        back = threading.Thread(target=self._pump, args=(far, sock), daemon=True)
        back.start()
        self._pump(sock, far)
        back.join()
        with self.lock:
            self.open.remove(pair)
        for one in pair:
            one.close()

    @staticmethod
    def _pump(source, target):
        """Up to the end, which is passed on."""
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for sock in source, target:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
