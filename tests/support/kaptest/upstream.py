# SPDX-License-Identifier: ISC
"""An upstream that follows a script, for what real programs do not do."""

import socket
import threading

from .channel import Channel
from .tap import Failure, WAIT_MAX, wait_until


def answer_lines(connection):
    """Answers each line with the connection's number and the line."""
    while (line := connection.read_line()) is not None:
        connection.send(b"%d %s\n" % (connection.number, line))


class ScriptedUpstream:
    """Accepts connections and runs script(connection) for each in its own thread; connections are
    numbered from 1. Without a script they stay open and silent. A script's connection is closed in
    order when the script returns, unless keep is set."""

    def __init__(self, script=None, *, listener=None, receive_buffer=None, keep=False):
        self.script = script
        self.keep = keep
        self.connections = []
        self.errors = []
        self._lock = threading.Lock()
        self._threads = []
        self._closing = False
        self._socket = listener or socket.socket()
        if listener is None:
            if receive_buffer:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.listen()

    def listen(self):
        self._socket.listen(1024)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def refuse(self):
        """Stops listening: existing connections continue, further ones are refused. It can listen
        again if its port was chosen by the test, with SO_REUSEADDR; one that the kernel chose is
        given up."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()

    @property
    def accepted(self):
        """How many connections were accepted so far."""
        return len(self.connections)

    def wait_accepted(self, count):
        wait_until(lambda: self.accepted >= count, f"connection {count} at the upstream")
        return self.connections[count - 1]

    def join(self):
        """Waits until every script has come to its end."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(WAIT_MAX)
            if thread.is_alive():
                raise Failure("an upstream's script did not end")

    def close(self):
        self._closing = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the accept
        except OSError:
            pass
        self._socket.close()
        self._acceptor.join()
        for connection in self.connections:
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(5)
        for connection in self.connections:
            connection.close()
        if self.errors:
            raise Failure(f"the upstream's script failed: {self.errors[0]!r}")

    def _accept(self):
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                connection = Channel(sock, len(self.connections) + 1)
                self.connections.append(connection)
                if self.script:
                    thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
                    thread.start()
                    self._threads.append(thread)

    def _run(self, connection):
        try:
            self.script(connection)
        except OSError:
            pass  # the other side left, or the test is over
        except Exception as error:
            if not self._closing:
                self.errors.append(error)
        finally:
            if not self.keep:
                connection.close()
